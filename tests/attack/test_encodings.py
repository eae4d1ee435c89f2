"""Every command writes to terminals and pipes of any encoding."""

import io
import json
import sys
from pathlib import Path

import pytest

from media_files import voice_like, write_media
from thinslice.cli import COMMANDS, main

ENCODINGS = ("cp1252", "gbk", "cp932", "cp1251")
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


@pytest.mark.parametrize("encoding", ENCODINGS)
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
