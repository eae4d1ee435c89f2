"""``thinslice predict`` as other programs call it: exit codes, stdout, JSON keys, files."""

import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy.io import wavfile

from thinslice.cli import cli
from thinslice.features.voice import VOICE_PROFILE_COLUMNS
from thinslice.traits import TARGETS


@pytest.fixture(autouse=True)
def no_recogniser(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = (None, "speech recognition is off")
    monkeypatch.setattr("thinslice.features.asr.recognise", lambda samples, cpu_threads: nothing)


@pytest.fixture
def wav(tmp_path: Path) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        rng = np.random.default_rng(sum(name.encode()))
        samples = rng.normal(0, 0.1, 8 * 16_000) * np.sin(np.arange(8 * 16_000) / 700)
        wavfile.write(tmp_path / name, 16_000, (samples * 20_000).astype(np.int16))
        return tmp_path / name

    return write


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_json_is_one_document_with_the_contract_s_keys(wav: Callable[[str], Path]) -> None:
    result = run("predict", wav("a.wav"), "--transcript", "so happy to be here", "--json")
    assert result.exit_code == 0
    (document,) = json.loads(result.stdout)
    assert set(document) == {"clip", "traits", "used", "transcript", "warnings", "seconds", "bundle"}
    assert list(document["traits"]) == list(TARGETS)
    assert set(document["traits"]["openness"]) == {"score", "low", "high", "percentile"}
    assert document["used"] == ["voice", "words"]
    assert "total" in document["seconds"]
    assert set(document["bundle"]) == {"name", "version"}


def test_a_bad_clip_is_an_entry_and_exit_code_1(wav: Callable[[str], Path], tmp_path: Path) -> None:
    result = run("predict", tmp_path / "absent.mp4", wav("a.wav"), "--json")
    assert result.exit_code == 1
    failed, scored = json.loads(result.stdout)
    assert set(failed) == {"clip", "error"}
    assert scored["traits"]
    assert result.stderr.count("absent.mp4") == 1


def test_a_failure_is_said_once_in_all_that_a_terminal_shows(wav: Callable[[str], Path], tmp_path: Path) -> None:
    result = run("predict", tmp_path / "absent.mp4", wav("a.wav"), "--bundle", "voice-words")
    assert result.exit_code == 1
    assert (result.stdout + result.stderr).count("no such file") == 1
    assert "failed: 1 of 2 clips" in result.stderr


def test_folders_and_patterns_are_scored_and_what_is_left_out_is_said(
    wav: Callable[[str], Path], tmp_path: Path
) -> None:
    paths = [wav("b.wav"), wav("a.wav")]
    (tmp_path / "notes.md").touch()
    for given in (tmp_path, tmp_path / "*"):
        result = run("predict", given, "--bundle", "voice-words", "--json")
        assert result.exit_code == 0
        assert [entry["clip"] for entry in json.loads(result.stdout)] == sorted(map(str, paths))
        assert f"left out, being no recordings: {tmp_path / 'notes.md'}" in result.stderr
    assert "left out" not in run("predict", tmp_path, "--bundle", "voice-words", "--json", "--quiet").stderr


def test_a_recording_from_a_pipe(wav: Callable[[str], Path], tmp_path: Path) -> None:
    path = wav("a.wav")
    call = ["predict", "-", "--bundle", "voice-words", "--json"]
    piped = CliRunner().invoke(cli, call, input=path.read_bytes())
    assert piped.exit_code == 0
    (document,) = json.loads(piped.stdout)
    (of_file,) = json.loads(run("predict", path, "--bundle", "voice-words", "--json").stdout)
    assert document["clip"] == "-"
    assert document["traits"] == of_file["traits"]
    assert document["warnings"] == of_file["warnings"]
    broken = CliRunner().invoke(cli, call, input=b"not a recording")
    assert broken.exit_code == 1
    assert json.loads(broken.stdout)[0]["clip"] == "-"
    assert "standard input: " in broken.stderr
    assert "/thinslice-" not in broken.stderr + broken.stdout
    empty = CliRunner().invoke(cli, [*call, str(path)], input=b"")
    assert empty.exit_code == 1
    assert ["error" in entry for entry in json.loads(empty.stdout)] == [True, False]
    assert CliRunner().invoke(cli, ["predict", "-", "-"], input=b"x").exit_code == 2


def test_tables_in_out(wav: Callable[[str], Path], tmp_path: Path) -> None:
    from thinslice.evaluate.predictions import read_predictions

    out = tmp_path / "out"
    call = ["predict", wav("a.wav"), "--bundle", "voice-words", "--out", out]
    assert run(*call, "absent.mp4", "--every", "4").exit_code == 1
    assert [path.name for path in sorted(out.iterdir())] == [
        "failures.csv", "predictions.csv", "report.html", "timeline.csv",
    ]  # fmt: skip
    (row,) = csv.DictReader((out / "predictions.csv").open())
    assert list(row)[-3:] == ["used", "bundle", "warnings"]
    assert row["used"] == "voice"
    assert row["bundle"].startswith("voice-words ")
    windows = list(csv.DictReader((out / "timeline.csv").open()))
    assert [(float(window["start_s"]), float(window["end_s"])) for window in windows] == [(0, 4), (4, 8)]
    scores = [float(window["openness"]) for window in windows]
    assert float(row["openness"]) == pytest.approx(sum(scores) / 2)
    (failed,) = csv.DictReader((out / "failures.csv").open())
    assert failed["clip"] == "absent.mp4"
    assert "no such file" in failed["error"]
    file = read_predictions(out / "predictions.csv")
    assert file.clips == (row["clip"],)
    assert file.problems == ()
    assert run(*call).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["predictions.csv", "report.html"]


def test_nothing_is_explained_that_nobody_sees(wav: Callable[[str], Path]) -> None:
    from thinslice.infer.batch import Batch, predict_unordered

    paths = [(place, str(wav(name))) for place, name in enumerate(("a.wav", "b.wav"))]
    results = dict(predict_unordered(paths, Batch("voice-words", {}, num_explained=1)))
    assert results[0].explanation is not None
    assert results[1].explanation is None


def test_verbose_says_what_each_clip_took(wav: Callable[[str], Path]) -> None:
    result = run("predict", wav("a.wav"), "--bundle", "voice-words", "--json", "--verbose")
    assert "a.wav: voice; " in result.stderr
    assert "total " in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["predict"],
        ["predict", "a.wav", "--inputs", "b.csv"],
        ["predict", "a.wav", "b.wav", "--transcript", "x"],
        ["predict", "--inputs", "b.csv"],
        ["predict", "a.wav", "--no-such-flag"],
        ["no-such-command"],
    ],
)
def test_wrong_calls_exit_with_2(words: list[str]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.parametrize("words", [["--bundle", "nowhere"], ["--every", "-3"], ["--inputs", "absent.csv", "--json"]])
def test_user_errors_are_one_line_and_exit_code_2(words: list[str], wav: Callable[[str], Path], tmp_path: Path) -> None:
    clips = [] if "--inputs" in words else [str(wav("a.wav"))]
    process = subprocess.run(
        [sys.executable, "-m", "thinslice", "predict", *clips, *words],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert process.returncode == 2
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1


def test_out_holds_a_prediction_file_and_a_page_that_needs_nothing_else(
    wav: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run("predict", wav("a.wav"), wav("b.wav"), "--out", out)
    assert result.exit_code == 0
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert [Path(row["clip"]).name for row in rows] == ["a.wav", "b.wav"]
    assert all(float(row["openness_low"]) <= float(row["openness"]) <= float(row["openness_high"]) for row in rows)
    page = (out / "report.html").read_text("utf-8")
    assert "practical" in page
    assert "imaginative" in page
    assert sorted(path.name for path in out.iterdir()) == ["predictions.csv", "report.html"]


def test_an_interrupted_batch_resumes(
    wav: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import thinslice.infer.batch as batch

    clips, out = [wav("a.wav"), wav("b.wav"), wav("c.wav")], tmp_path / "out"
    original = batch.predict_unordered

    def interrupted(*arguments, **options):  # type: ignore[no-untyped-def]
        yield from itertools.islice(original(*arguments, **options), 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "predict_unordered", interrupted)
    stopped = run("predict", *clips, "--out", out)
    assert stopped.exit_code == 130
    assert "continues where this one stopped" in stopped.stderr
    monkeypatch.setattr(batch, "predict_unordered", original)
    again = run("predict", *clips, "--out", out)
    assert again.exit_code == 0
    assert "scored by an earlier run: 2 of 3 clips" in again.stderr
    fresh = run("predict", *clips, "--out", tmp_path / "fresh")
    assert fresh.exit_code == 0
    assert (out / "predictions.csv").read_text() == (tmp_path / "fresh" / "predictions.csv").read_text()


def write_inputs(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["clip", "transcript", *VOICE_PROFILE_COLUMNS], restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_inputs_are_scored_without_media(tmp_path: Path) -> None:
    voice = dict.fromkeys(VOICE_PROFILE_COLUMNS, 0.3)
    inputs = write_inputs(
        tmp_path / "inputs.csv",
        [
            {"clip": "both.mp4", "transcript": "I love it, really.", **voice},
            {"clip": "voice.mp4", **voice},
            {"clip": "words.mp4", "transcript": "I love it, really."},
        ],
    )
    result = run("predict", "--inputs", inputs, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0
    assert [entry["used"] for entry in json.loads(result.stdout)] == [["voice", "words"], ["voice"], ["words"]]
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open()))
    assert [row["clip"] for row in rows] == ["both.mp4", "voice.mp4", "words.mp4"]


def test_bad_rows_of_inputs_are_named_and_the_rest_scored(tmp_path: Path) -> None:
    voice = dict.fromkeys(VOICE_PROFILE_COLUMNS, 0.3)
    inputs = write_inputs(
        tmp_path / "inputs.csv",
        [
            {"clip": "a", **voice},
            {"clip": "empty"},
            {"clip": "a", **voice},
            {"clip": "nan", **voice, "rms": "nan"},
            {"clip": "half", "rms": 0.1},
        ],
    )
    result = run("predict", "--inputs", inputs, "--json")
    assert result.exit_code == 1
    entries = json.loads(result.stdout)
    assert [("error" in entry) for entry in entries] == [False, True, True, True, True]
    assert "twice" in entries[2]["error"]
    assert "rms" in entries[3]["error"]


def test_every_command_has_help_with_an_example() -> None:
    for command in ("predict", "evaluate", "audit", "data", "systems", "assets"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert "xample" in result.stdout, command
