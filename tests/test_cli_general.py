"""What holds for every command: a wrong one is told which is right, how much is said, completion, progress lines."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from command_line import run
from thinslice.cli import cli, how_to_go_on
from thinslice.errors import MediaError, counted
from thinslice.media.check import check_file
from thinslice.output import Volume, detail, say, warn
from thinslice.progress import LINE_EVERY_S, progress, track


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (["predct", "a.mp4"], "did you mean thinslice predict?"),
        (["sytems"], "did you mean thinslice systems?"),
        (["verify", "fi.csv"], "did you mean thinslice data verify?"),
        (["data", "verfy", "fi.csv"], "did you mean thinslice data verify?"),
        (["a talk.mp4", "--json"], "to score it: thinslice predict 'a talk.mp4' --json"),
        (["https://example.org/a.mp4"], "download it first"),
        (["qqqqqqqq"], "see thinslice --help"),
        (["import", "qqqqqqqq"], "see thinslice import --help"),
    ],
)
def test_a_wrong_command_is_told_which_one_is_right(call, meant):
    result = CliRunner().invoke(cli, call, prog_name="thinslice")
    assert result.exit_code == 2
    assert meant in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("train cr_net --out run", "continue with: thinslice train cr_net --out run --resume"),
        ("-q train cr_net --out run --resume", "continue with: thinslice -q train cr_net --out run --resume"),
        ("--quiet data planted clips", "finished work is kept; the same call continues"),
        ("data balance fi.csv", "nothing is kept; start again"),
    ],
)
def test_an_interrupted_command_says_how_to_go_on(call, said):
    assert how_to_go_on(call.split()).startswith(said)


def every_command(group, context):
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield name, command
        if isinstance(command, click.Group):
            yield from every_command(command, click.Context(command, parent=context))


def test_every_command_can_be_quiet_and_verbose():
    for name, command in every_command(cli, click.Context(cli)):
        options = [option for parameter in command.params for option in parameter.opts]
        assert {"-q", "--quiet", "-v", "--verbose"} <= set(options), name
        assert len(options) == len(set(options)), name


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("talk", ["a note", "a warning"]),
        ("talk -q", ["a warning"]),
        ("--quiet talk", ["a warning"]),
        ("--verbose talk", ["a note", "a warning", "a detail"]),
        ("talk -v", ["a note", "a warning", "a detail"]),
    ],
)
def test_quiet_and_verbose_mean_the_same_before_and_after_the_command(call, said, monkeypatch):
    @click.command()
    def talk() -> None:
        say("a note")
        warn("a warning")
        detail("a detail")
        click.echo("result")

    monkeypatch.setattr(type(cli), "find", lambda self, ctx, name: talk if name == "talk" else None)
    result = CliRunner().invoke(cli, call.split(), obj=Volume())
    assert result.stdout == "result\n"
    assert [line for line in result.stderr.splitlines() if not line.startswith("thinslice ")] == said


def test_quiet_and_verbose_at_once_are_a_wrong_call():
    code, _, stderr = run("-q", "systems", "-v")
    assert code == 2
    assert "give one" in stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_commands_and_options(shell):
    def ask(words, place):
        environment = {
            **os.environ, "_THINSLICE_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(place),
        }  # fmt: skip
        if shell == "fish":
            environment["COMP_CWORD"] = words.split()[place] if len(words.split()) > place else ""
        call = [sys.executable, "-c", "from thinslice.cli import main; main()"]
        return subprocess.run(call, env=environment, capture_output=True, text=True, check=False).stdout

    assert "predict" in ask("thinslice pre", 1)
    assert "--without" in ask("thinslice predict --wi", 2)


@pytest.mark.parametrize("address", ["https://example.org/talk.mp4", "s3://bucket/talk.mp4"])
def test_an_address_is_no_file(address, tmp_path, monkeypatch):
    from pathlib import Path

    with pytest.raises(MediaError, match=f"^{address}: .* download it first$"):
        check_file(Path(address))


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys):
    times = iter([0.0, 1.0, LINE_EVERY_S, LINE_EVERY_S + 1, 3 * LINE_EVERY_S])
    with progress("predict", clock=lambda: next(times)) as step:
        for done in (1, 1000, 1001, 2000):
            step(done, 2000)
    assert capsys.readouterr().err.splitlines() == [
        "predict: 1,000 of 2,000 in 10 s, about 10 s left",
        "predict: 2,000 of 2,000 in 30 s",
    ]


def test_quick_work_and_single_results_say_nothing(capsys):
    assert list(track(iter("ab"), "predict", 2)) == ["a", "b"]
    assert list(track(iter("a"), "predict", 1)) == ["a"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "call", [("predict", ""), ("evaluate", "", "--labels", "x.csv"), ("web", "--bundle", ""), ("",)]
)
def test_an_empty_argument_is_not_the_folder_one_is_in(call):
    code, _, stderr = run(*call)
    assert code == 2
    assert "an argument is empty" in stderr


def test_numbers_stand_with_their_nouns():
    said = [counted(0, "clip"), counted(1, "clip"), counted(1200, "clip is", "clips are")]
    assert said == ["0 clips", "1 clip", "1,200 clips are"]
