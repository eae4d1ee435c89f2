"""Every command writes to terminals and pipes of any encoding."""

import io
import json
import sys
from pathlib import Path

import pytest

from hostile import write_system
from media_files import voice_like, write_media
from thinslice.cli import COMMANDS, main

ENCODINGS = ("cp1252", "gbk", "cp932", "cp1251")
MOST = [pytest.param(name, marks=() if name in ("cp1252", "gbk") else pytest.mark.slow) for name in ENCODINGS]
TRAITS = "openness,conscientiousness,extraversion,agreeableness,neuroticism"
NAME = "naïve – 日本.wav"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a clip and tables whose names and cells no old encoding holds all of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("thinslice.features.asr.recognise", lambda samples, cpu_threads: (None, "not recognised"))
    write_media(tmp_path / NAME, [voice_like(1.5, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
    rows = [
        f"{NAME},,{split},Zoë–{k},{','.join(['0.5', '0.4', '0.6', '0.3', '0.7'])}" for k, split in enumerate(["test"])
    ]
    rows += [f"{k}.wav,,train,Zoë–{k % 3},0.{k + 1},0.4,0.6,0.3,0.{9 - k}" for k in range(8)]
    (tmp_path / "m.csv").write_text(f"clip,path,split,speaker,{TRAITS}\n" + "\n".join(rows) + "\n", "utf-8")
    (tmp_path / "p.csv").write_text(f"clip,{TRAITS}\n{NAME},0.5,0.5,0.5,0.5,0.5\n", "utf-8")
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, encoding: str, *words: str) -> tuple[int, str, str]:
    """Return exit code, stdout, stderr of the command line on streams of an encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "argv", ["thinslice", *words])
    monkeypatch.setattr("thinslice.cli._supervise", lambda arguments: None)  # It would fork the tests themselves.
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(encoding))
    return code, texts[0], texts[1]


@pytest.mark.parametrize("encoding", MOST)
def test_tables_and_json_come_out(encoding: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, encoding, "systems")[0] == 0
    assert call(monkeypatch, encoding, "systems", "bimodal")[0] == 0
    assert call(monkeypatch, encoding, "doctor")[0] == 0
    evaluate = ("evaluate", "p.csv", "--labels", "m.csv", "--split", "test", "--resamples", "0")
    for words in (("audit", "m.csv"), evaluate, ("predict", NAME), ("data", "verify", "m.csv")):
        code, _, err = call(monkeypatch, encoding, *words)
        assert code in (0, 1), err
    for words in (
        ("predict", NAME, "absent – 本.wav", "--json"),
        ("systems", "--json"),
        ("doctor", "--json"),
        (*evaluate, "--json"),
    ):
        _, out, err = call(monkeypatch, encoding, *words)
        assert json.loads(out), err
        if words[0] == "predict":
            assert [entry["clip"] for entry in json.loads(out)] == list(words[1:3])


def test_every_command_s_help_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in COMMANDS:
        code, out, err = call(monkeypatch, "cp932", command, "--help")
        assert code == 0, err
        assert "xample" in out, command


ODD = "Zoë–日本 "


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of odd names with eight clips, labels, groups, predictions and ratings, and a system to train."""
    folder = tmp_path_factory.mktemp("corpus") / "Ωmega – 本"
    folder.mkdir()
    rows, predictions, ratings = [], [], []
    for number, split in enumerate(("train",) * 5 + ("test",) * 3):
        name = f"{ODD}{number}.wav"
        write_media(folder / name, [voice_like(1.5, 16_000, number)], rate_hz=16_000, audio_codec="pcm_s16le")
        scores = ",".join(f"0.{(number * 7 + k) % 10}" for k in range(6))
        gender = ("Männer", "женщины")[number % 2]
        rows.append(f"{name},{name},{split},{ODD}{number // 2},{scores},{gender},so happy to be here")
        predictions.append(f"{name},0.5,0.4,0.6,0.5,0.{number}")
        ratings += [f"{name},{ODD}{rater},{1 + (number + rater) % 5}" for rater in range(3)]
    tables = {
        "m.csv": [f"clip,path,split,speaker,{TRAITS},interview,gender,transcript", *rows],
        "p.csv": [f"clip,{TRAITS}", *predictions],
        "ratings.csv": ["clip,rater,openness", *ratings],
    }
    for name, lines in tables.items():
        (folder / name).write_text("\n".join([*lines, ""]), "utf-8")
    write_system(folder / "voices.py")
    return folder


@pytest.mark.parametrize("encoding", MOST)
def test_what_is_computed_from_tables_comes_out(encoding: str, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus)
    out = f"{encoding} – 本"
    groups = ("groups", f"{ODD}=p.csv", "--labels", "m.csv", "--resamples", "0", "--out", out)
    calibrate = ("calibrate", "p.csv", "--labels", "m.csv", "--by", "gender", "--folds", "2", "--out", f"{out}.csv")
    for words in (groups, calibrate, ("votes", "ratings.csv", "--out", f"{out} scores.csv"), ("assets",)):
        code, text, err = call(monkeypatch, encoding, *words)
        assert code == 0, err
        assert text or err
        code, text, err = call(monkeypatch, encoding, *words, "--json")
        assert code == 0, err
        assert json.loads(text)
    for words in (
        ("data", "resplit", "m.csv", "--out", f"{out} split.csv"),
        ("data", "balance", "m.csv", "--by", "gender", "--out", f"{out} weights.csv"),
    ):
        code, _, err = call(monkeypatch, encoding, *words)
        assert code == 0, err
    code, _, err = call(monkeypatch, encoding, "import", "bimodal", "absent – 本.net", "absent – 日.net", "--out", out)
    assert code == 2
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "encoding", ["gbk", *(pytest.param(e, marks=pytest.mark.slow) for e in ENCODINGS if e != "gbk")]
)
def test_what_is_trained_comes_out(encoding: str, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("lightning")
    monkeypatch.chdir(corpus)
    run, bundle = f"run {encoding} – 本", f"bundle {encoding} – 本"
    name = f"{ODD}6.wav"
    for words in (
        ("extract", "m.csv", "--recipe", "voices.py", "--store", "features"),
        ("train", "voices.py", "--data", "m.csv", "--out", run, "--device", "cpu", "--max-steps", "1"),
        ("export", run, "--out", bundle, "--name", "voices"),
        ("predict", name, "--bundle", bundle),
        ("predict", name, "--bundle", bundle, "--json"),
    ):
        code, text, err = call(monkeypatch, encoding, *words)
        assert code == 0, err
        assert text or err
    assert json.loads(text)[0]["clip"] == name
    code, _, err = call(monkeypatch, encoding, "train", "voices.py", "--data", "m.csv", "--out", run)
    assert code == 2
    assert "--resume" in err


def test_a_published_table_comes_out(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("lightning")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(corpus)
    words = ("table", "cr_net", "3", "--small", "--only", "audio", "--data", "m.csv", "--out", "runs – 本")
    for encoding in ENCODINGS:  # The first runs it, the others print it.
        code, text, err = call(monkeypatch, encoding, *words, "--device", "cpu", "--max-steps", "1")
        assert code == 0, err
        assert "published" in text
