"""``thinslice data``: what a shell sees of it, exit codes, streams and documents."""

import csv
import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from encrypted_zip import encrypted_zip
from thinslice import cli
from thinslice.cli.data import LAZY_COMMANDS, data
from thinslice.data.manifest import load_manifest
from thinslice.data.splits import speaker_overlap

CLIPS = ("--Ymqszjv54.001.mp4", "-2qsCrkXdWs.001.mp4")
LABELS = pickle.dumps({"openness": dict.fromkeys(CLIPS, 7 / 90)}, 2)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path_factory.mktemp("cache")))


def _run(*args: object, **options: Any) -> Result:
    return CliRunner().invoke(data, [str(arg) for arg in args], **options)


def _main(args: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the whole program and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["thinslice", *args])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    code = caught.value.code
    return code if isinstance(code, int) else 0


@pytest.fixture
def download(tmp_path: Path) -> Path:
    folder = tmp_path / "fi"
    folder.mkdir()
    (folder / "annotation_training.pkl").write_bytes(LABELS)
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    rows = [f"s{i}.{k:03d}.mp4,,train,s{i},0.{i}{k}" for i in range(10) for k in range(3)]
    path.write_text("clip,path,split,speaker,openness\n" + "\n".join(rows) + "\n")
    return path


def test_from_the_real_download_to_a_verified_manifest(real_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "fi.csv"
    done = _run("import-first-impressions", real_data, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["num_clips"] == 6000
    assert document["num_speakers"] == 2624
    assert document["splits"]["train"] == {
        "clips": 6000, "labelled": 6000, "transcripts": 5992, "media": 24, "official": 6000,
    }  # fmt: skip
    assert len(document["labels_without_media"]) == 5976
    assert document["digest"] == load_manifest(out).digest

    done = _run("verify", out, "--workers", 2, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert document["num_official"] == document["num_files"] == 24
    done = _run("verify", out, "--out", tmp_path / "findings.csv")
    assert "24 files looked at, 24 of them by an earlier run; 24 equal to the official ones" in done.stdout
    assert "0 errors, 0 warnings, 4 notes" in done.stdout
    with open(tmp_path / "findings.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["check"] == "media" for row in rows) == 5976


def test_import_says_what_is_there_and_what_is_missing(download: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "fi.csv"
    done = _run("import-first-impressions", download, "--out", out)
    assert done.exit_code == 0
    assert "2 clips with labels but no media: --Ymqszjv54.001.mp4, -2qsCrkXdWs.001.mp4" in done.stdout
    assert f"wrote {out}: 2 clips of 2 speakers, digest {load_manifest(out).digest[:12]}" in done.stdout
    assert "read annotation_training.pkl: 2 clips: openness" in done.stderr
    assert all(line == line.rstrip() for line in done.stdout.splitlines())


def test_what_cannot_be_read_changes_the_exit_code(download: Path, tmp_path: Path) -> None:
    archive = encrypted_zip({"annotation_validation.pkl": LABELS}, "secret")
    (download / "val-annotation-e.zip").write_bytes(archive)
    done = _run("import-first-impressions", download, "--out", tmp_path / "fi.csv")
    assert done.exit_code == 1
    assert "problem: val-annotation-e.zip/annotation_validation.pkl: encrypted, a password is required" in done.stderr
    assert len(load_manifest(tmp_path / "fi.csv")) == 2


@pytest.mark.parametrize("how", ["value", "prompt", "environment"])
def test_three_ways_to_give_the_password(download: Path, tmp_path: Path, how: str) -> None:
    (download / "annotation_training.pkl").unlink()
    (download / "train-annotation.zip").write_bytes(encrypted_zip({"annotation_training.pkl": LABELS}, "secret"))
    args = ["import-first-impressions", download, "--out", tmp_path / "fi.csv"]
    if how == "value":
        done = _run(*args, "--password", "secret")
    elif how == "prompt":
        done = _run(*args, "--password", input="secret\n")
    else:
        done = _run(*args, env={"THINSLICE_ZIP_PASSWORD": "secret"})
    assert done.exit_code == 0, done.output
    assert "secret" not in done.output
    assert len(load_manifest(tmp_path / "fi.csv")) == 2


def test_import_of_ones_own_folder(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.mp4").touch()
    (tmp_path / "t.csv").write_text("clip,openness,speaker\na,0.5,ann\n")
    done = _run("import-folder", tmp_path / "m", "--labels", tmp_path / "t.csv", "--out", tmp_path / "o.csv", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["splits"]["unassigned"]["media"] == 1
    assert load_manifest(tmp_path / "o.csv").path(0).resolve() == (tmp_path / "m" / "a.mp4").resolve()


@pytest.mark.parametrize(("scale", "code"), [("1:7", 0), ("0,5:5,5", 0), ("7", 2), ("7:1", 2), ("a:b", 2)])
def test_a_scale_has_two_ends(tmp_path: Path, scale: str, code: int) -> None:
    (tmp_path / "t.csv").write_text("clip,openness\na,4\n")
    (tmp_path / "m").mkdir()
    out = tmp_path / "o.csv"
    done = _run("import-folder", tmp_path / "m", "--labels", tmp_path / "t.csv", "--out", out, "--scale", scale)
    assert done.exit_code == code, done.output


def test_errors_in_a_manifest_are_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("clip;path;split;speaker\n")
    assert _main(["data", "verify", str(tmp_path / "m.csv")], monkeypatch) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"thinslice: {tmp_path / 'm.csv'}, line 1: columns are separated by semicolons; separate them by commas\n"
    )
    for args in (
        ["verify", "none.csv"],
        ["import-first-impressions", "none", "--out", "x.csv"],
        ["resplit", "none.csv"],
    ):
        assert _main(["data", *args], monkeypatch) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_verify_exits_with_1_on_errors_and_0_on_warnings(tmp_path: Path, manifest: Path) -> None:
    assert _run("verify", manifest).exit_code == 0
    manifest.write_text(manifest.read_text().replace("s0.000.mp4,,", "s0.000.mp4,gone.mp4,"))
    done = _run("verify", manifest)
    assert done.exit_code == 1
    assert "gone.mp4: no such file" in done.stdout
    assert "1 error," in done.stdout
    assert _run("verify", manifest, "--no-media").exit_code == 0
    leaking = manifest.read_text().replace("s1.000.mp4,,train", "s1.000.mp4,,test").replace("gone.mp4", "")
    manifest.write_text(leaking)
    done = _run("verify", manifest)
    assert done.exit_code == 0
    assert "1 speaker both in train and in test, with 1 clip of test (s1.000.mp4)" in done.stdout


def test_resplit_writes_a_manifest_and_a_split_file(manifest: Path, tmp_path: Path) -> None:
    done = _run("resplit", manifest, "--out", tmp_path / "r.csv", "--seed", 3, "--save-split", tmp_path / "s.csv")
    assert done.exit_code == 0, done.output
    divided = load_manifest(tmp_path / "r.csv")
    assert speaker_overlap(divided) == {}
    assert set(divided.splits) == {"train", "validation", "test"}
    assert f"wrote {tmp_path / 's.csv'}, SHA-256 " in done.stdout
    done = _run("resplit", manifest, "--out", tmp_path / "r2.csv", "--apply-split", tmp_path / "s.csv", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["manifests"][0]["digest"] == divided.digest
    assert document["manifests"][0]["splits"]["train"]["clips"] == len(divided.select("train"))
    assert (tmp_path / "r2.csv").read_bytes() == (tmp_path / "r.csv").read_bytes()


def test_folds_are_files_of_their_own(manifest: Path, tmp_path: Path) -> None:
    done = _run(
        "resplit", manifest, "--out", tmp_path / "f.csv", "--folds", 3, "--save-split", tmp_path / "s.csv", "--json"
    )
    assert done.exit_code == 0, done.output
    names = [Path(entry["manifest"]).name for entry in json.loads(done.stdout)["manifests"]]
    assert names == ["f-fold1of3.csv", "f-fold2of3.csv", "f-fold3of3.csv"]
    tested = [clip for name in names for clip in load_manifest(tmp_path / name).select("test").clips]
    assert sorted(tested) == sorted(load_manifest(manifest).clips)
    assert (tmp_path / "s-fold2of3.csv").exists()
    assert not (tmp_path / "f.csv").exists()


def test_resplit_of_some_splits_in_other_shares(manifest: Path, tmp_path: Path) -> None:
    manifest.write_text(manifest.read_text().replace("s9.000.mp4,,train", "s9.000.mp4,,test"))
    args = ("resplit", manifest, "--out", tmp_path / "r.csv", "--only", "train", "--shares", "train=4,validation=1")
    assert _run(*args).exit_code == 0
    divided = load_manifest(tmp_path / "r.csv")
    assert len(divided) == 29
    assert set(divided.splits) == {"train", "validation"}


@pytest.mark.parametrize(
    "args",
    [
        ["--folds", "1"],
        ["--shares", "train"],
        ["--shares", "train=0,test=1"],
        ["--shares", "train=0.8,test=0.2"],
        ["--shares", "train=1", "--folds", "3"],
        ["--folds", "3", "--apply-split", "s.csv"],
        ["--folds", "11"],
        ["--only", "validation"],
        ["--seed", "x"],
    ],
)
def test_wrong_calls_exit_with_2(
    args: list[str], manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(["data", "resplit", str(manifest), "--out", str(tmp_path / "r.csv"), *args], monkeypatch) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.glob("r*"))


@pytest.mark.parametrize("name", ["import-first-impressions", "import-folder", "verify", "resplit"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = _run(name, "--help")
    assert done.exit_code == 0
    assert "Example" in done.output
    assert f"thinslice data {name}" in done.output


def test_flags_are_frozen() -> None:
    flags = {
        name: sorted(
            option
            for param in command.params
            for option in param.opts
            if option.startswith("--") and option not in ("--quiet", "--verbose")  # those of every command
        )
        for name, command in data.commands.items()
    }
    assert flags == {
        "import-first-impressions": ["--extract-to", "--json", "--labels", "--out", "--password"],
        "verify": ["--decode", "--fresh", "--json", "--memory", "--no-media", "--out", "--workers"],
        "resplit": ["--apply-split", "--folds", "--json", "--only", "--out", "--save-split", "--seed", "--shares"],
    }


def test_a_folder_without_ratings_becomes_a_manifest_to_be_rated(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.mp4").write_bytes(b"")
    done = _run("import-folder", tmp_path / "m", "--out", tmp_path / "o.csv")
    assert done.exit_code == 0, done.output
    assert load_manifest(tmp_path / "o.csv").clips == ("a.mp4",)
    assert "no splits yet; thinslice data resplit" in done.stderr


@pytest.mark.parametrize("flag", ["--ratings", "--labels"])
def test_own_ratings_through_the_command_line(tmp_path: Path, flag: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.mp4").write_bytes(b"")
    (tmp_path / "t.csv").write_text("clip;E;A;N;Warmth;mood\na;1;4,0;7;2,5;fine\n")
    how = ("--scale", "1:7", "--targets", "warmth", "--reverse", "neuroticism")
    done = _run("import-folder", tmp_path / "m", flag, tmp_path / "t.csv", "--out", tmp_path / "o.csv", *how)
    assert done.exit_code == 0, done.output
    made = load_manifest(tmp_path / "o.csv")
    names = ("extraversion", "agreeableness", "neuroticism", "warmth")
    assert made.labels(names)[0].tolist() == [0.0, 0.5, 0.0, 0.25]
    assert "E = extraversion, A = agreeableness, N = neuroticism" in done.stderr
    assert "not recognised: mood" in done.stderr


def test_a_command_of_another_module_is_found_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAZY_COMMANDS, "absent", "thinslice.cli.no_such_module:absent")
    assert "absent" not in _run("--help").output
    assert _run("absent").exit_code == 2

    module = types.ModuleType("thinslice.cli.data_extra")
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]

    @click.command()
    def extra() -> None:
        """Say hello."""
        click.echo("hello")

    module.extra = extra  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "thinslice.cli.data_extra", module)
    monkeypatch.setitem(LAZY_COMMANDS, "extra", "thinslice.cli.data_extra:extra")
    assert "Say hello." in _run("--help").output
    assert _run("extra").output == "hello\n"


def test_the_documented_outputs_are_real(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line that docs/data.md shows of these three commands is what they print."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    (tmp_path / "first-impressions").symlink_to(real_data)
    monkeypatch.chdir(tmp_path)
    blocks = [block.partition("```")[0] for block in page.split("```console\n")[1:]]
    shown = [block for block in blocks if "fi.csv" in block and "--extract-to" not in block]
    assert len(shown) == 3
    for block in shown:
        command, _, expected = block.partition("\n")
        done = _run(*command.removeprefix("$ thinslice data ").split())
        assert done.exit_code == 0
        assert sorted((done.stderr + done.stdout).splitlines()) == sorted(expected.splitlines())
