"""`thinslice predict` where clips crash, people interrupt, names are odd and two runs meet."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from media_files import voice_like, write_media
from test_processes import alive, wait_for

HERE = Path(__file__).parent
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux: looks under /proc")


def start(folder: Path, *words: object, sabotage: bool = True) -> "subprocess.Popen[str]":
    environment: Mapping[str, str] = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "THINSLICE_SABOTAGE": "1" if sabotage else "",
    }
    call = [sys.executable, "-m", "thinslice", "predict", *map(os.fspath, words)]  # type: ignore[call-overload]
    return subprocess.Popen(
        call, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def make_clip(path: str | Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_media(path, [voice_like(1.5, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
    path.with_suffix(".txt").write_text("so happy to be here")


def test_a_crash_and_odd_names_cost_nobody_else_anything(tmp_path: Path) -> None:
    odd = os.fsdecode(b"z\xfcri.wav")
    names = ["./clips/dot.wav", "clips//double.wav", "crash.wav", odd, "clips/../dot dot.wav"]
    (tmp_path / "clips").mkdir()
    for name in names[:-1]:
        make_clip(tmp_path / name)
    make_clip(tmp_path / "dot dot.wav")
    process = start(tmp_path, *names, "--out", "out", "--json")
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr
    entries = json.loads(stdout)
    shown = [name.replace(odd, r"z\xfcri.wav") for name in names]
    assert [entry["clip"] for entry in entries] == shown
    assert [name for name, entry in zip(shown, entries, strict=True) if "error" in entry] == ["crash.wav"]
    assert "the process that scored it died twice (SIGSEGV)" in entries[2]["error"]
    with open(tmp_path / "out" / "predictions.csv", newline="", encoding="utf-8") as file:
        assert [row["clip"] for row in csv.DictReader(file)] == [name for name in shown if name != "crash.wav"]
    assert r"z\xfcri" in (tmp_path / "out" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["crash.wav", "./crash 2.wav"])
def test_a_single_clip_that_crashes_is_one_line_too(tmp_path: Path, name: str) -> None:
    process = start(tmp_path, name, "--json", "--bundle", "voice-words")
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 1
    why = f"{name}: the process that scored it died (SIGSEGV): out of memory, or a crash in a decoder"
    assert stderr == f"failed: {why}\n"
    assert json.loads(stdout) == [{"clip": name, "error": why}]


@linux
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_single_clip_s_process_ends_with_the_program(tmp_path: Path, sent: int, code: int) -> None:
    process = start(tmp_path, "slow.wav", "--bundle", "voice-words")
    wait_for(lambda: (tmp_path / "slow.wav.asleep").exists() or process.poll() is not None)
    (child,) = workers_of(process.pid)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == code
    assert "Traceback" not in stderr
    if sent == signal.SIGINT:
        assert stderr.splitlines()[-1].startswith("interrupted; nothing is kept")
    wait_for(lambda: not alive(child))


def workers_of(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = path.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(rest[1]) == pid:
            child = int(path.parent.name)
            found += [child, *workers_of(child)]
    return found


@linux
def test_an_interrupted_run_says_how_to_go_on_and_goes_on(tmp_path: Path) -> None:
    for name in ("a.wav", "slow.wav"):
        make_clip(tmp_path / name)
    call = ("a.wav", "slow.wav", "--out", "my out")
    first = start(tmp_path, *call)
    journal = tmp_path / "my out" / ".finished.jsonl"
    wait_for(lambda: journal.exists() or first.poll() is not None)
    second = start(tmp_path, *call)
    _, stderr = second.communicate(timeout=300)
    assert (second.returncode, stderr) == (
        2,
        "thinslice: my out: another program is writing into it; wait for it, or choose another\n",
    )
    workers = workers_of(first.pid)
    assert workers
    first.send_signal(signal.SIGINT)
    _, stderr = first.communicate(timeout=300)
    assert first.returncode == 130
    assert stderr.splitlines()[-1].startswith("interrupted; finished work is kept")
    assert stderr.endswith("thinslice predict a.wav slow.wav --out 'my out'\n")
    wait_for(lambda: not any(map(alive, workers)))
    again = start(tmp_path, *call, sabotage=False)
    _, stderr = again.communicate(timeout=300)
    assert again.returncode == 0, stderr
    assert "scored by an earlier run: 1 of 2 clips" in stderr
    assert sorted(path.name for path in (tmp_path / "my out").iterdir()) == ["predictions.csv", "report.html"]
