"""What an attack on thinslice finds: thousands of damaged files, hundreds of kills, files built to exhaust the machine.

    python benchmarks/attack.py --files 10000 --kills 200 --workers 2       # about an hour on two cores
    python benchmarks/attack.py --only bounds

A file that is scored, or refused in one line that names it, is right. Counted as faults: tracebacks, "unexpected ...
please report", a process that died, an interrupted run that goes on to other scores, anything left in the folder.
Figures: docs/reliability.md. Other files and other kills: --seed.
"""

import argparse
import contextlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "attack")]

import hostile  # noqa: E402
from media_files import numbered, voice_like, write_media  # noqa: E402
from thinslice.data.archives import list_members  # noqa: E402
from thinslice.data.manifest import load_manifest  # noqa: E402
from thinslice.errors import ThinsliceError  # noqa: E402
from thinslice.evaluate.predictions import read_predictions  # noqa: E402
from thinslice.features.transcript import find_transcript  # noqa: E402
from thinslice.formats.python2_pickle import load_annotations  # noqa: E402
from thinslice.infer.batch import Batch, predict_unordered  # noqa: E402
from thinslice.media.source import Source  # noqa: E402
from thinslice.types import Failure  # noqa: E402

OPTIONS = {"transcript": "so happy to be here with you", "explain": False}


def attack_media(folder: Path, count: int, workers: int, seed: int) -> dict[str, Any]:
    """Score damaged recordings in worker processes."""
    rng = np.random.default_rng([seed, 1])
    whole = hostile.sound_files(folder)
    paths, damage_of = [], {}
    for number in range(count):
        source = whole[number % len(whole)]
        name, data = hostile.damaged(source.read_bytes(), rng)
        paths.append(folder / f"{number}{source.suffix}")
        paths[-1].write_bytes(data)
        damage_of[str(paths[-1])] = f"{source.suffix}, {name}"
    for name, data in hostile.absurd_sounds():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    found: Counter[str] = Counter()
    faults = []
    batch = Batch("voice-words", OPTIONS, workers=workers, isolated=True)
    for _, result in predict_unordered(list(enumerate(paths)), batch):
        failed = isinstance(result, Failure)
        found["refused" if failed else "scored"] += 1
        if failed and ("unexpected" in result.error or "died" in result.error or "\n" in result.error):
            faults.append(f"{damage_of.get(result.clip, '')}: {result.error}")
    return {"files": len(paths), **found, "faults": faults}


def attack_texts(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Read damaged tables, subtitles, pickles and archives in this process."""
    rng = np.random.default_rng([seed, 2])
    labels = {trait: {f"c{i}.mp4": i / 40 for i in range(40)} for trait in hostile.TRAITS}
    kinds: dict[str, tuple[bytes, Callable[[Path], object]]] = {
        "manifest": (hostile.manifest_text().encode(), load_manifest),
        "predictions": (hostile.predictions_text().encode(), read_predictions),
        "subtitles": (hostile.subtitles_text().encode(), lambda path: find_transcript("x.mp4", path)),
        "pickle": (pickle.dumps(labels, 2), load_annotations),
        "archive": (hostile.zip_bomb(2_000, 2), lambda path: list_members(path, None, [])),
    }
    found: Counter[str] = Counter()
    faults = []
    path = folder / "t.srt"
    for number in range(count):
        kind = list(kinds)[number % len(kinds)]
        data, read = kinds[kind]
        what, hurt = hostile.damaged(data, rng)
        path.write_bytes(hurt)
        try:
            read(path)
            found["read"] += 1
        except ThinsliceError as error:
            found["refused"] += 1
            if "\n" in str(error):
                faults.append(f"{kind}, {what}: more than a line")
        except Exception as error:
            faults.append(f"{kind}, {what}: {type(error).__name__}: {error}")
    return {"files": count, **found, "faults": faults}


def attack_runs(folder: Path, count: int, workers: int, seed: int) -> dict[str, Any]:
    """Kill predict, or one of its workers, at any moment; go on; compare with what an undisturbed run writes."""
    rng = np.random.default_rng([seed, 3])
    clips = []
    for number in range(8):
        clips.append(folder / f"{number}.wav")
        sound = voice_like(4.0, 16_000, seed=number)
        write_media(clips[-1], [sound], rate_hz=16_000, audio_codec="pcm_s16le")
        clips[-1].with_suffix(".txt").write_text(f"I am number {number} and so happy to be here")

    def start(out: Path) -> "subprocess.Popen[bytes]":
        call = [sys.executable, "-m", "thinslice", "predict", *map(str, clips), "--out", str(out)]
        call += ["--workers", str(workers)]
        return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    began = time.monotonic()
    start(folder / "whole").communicate()
    whole_s = time.monotonic() - began
    expected = (folder / "whole" / "predictions.csv").read_bytes()
    faults, orphans, kinds = [], 0, Counter[str]()
    for number in range(count):
        out = folder / f"out{number}"
        process = start(out)
        time.sleep(float(rng.uniform(0.1, 1.0)) * whole_s)
        family = children(process.pid)
        how = str(rng.choice(["SIGKILL", "SIGTERM", "SIGINT", "a worker's SIGKILL"]))
        kinds[how] += 1
        if how.startswith("a worker"):
            for pid in family[:1]:
                kill(pid, signal.SIGKILL)
        else:
            kill(process.pid, signal.Signals[how])
        _, stderr = process.communicate()
        time.sleep(5)
        orphans += sum(is_alive(pid) for pid in family)
        if b"Traceback" in stderr:
            faults.append(f"{how}: {stderr.decode(errors='replace')[-300:]}")
        if process.returncode:
            _, stderr = (again := start(out)).communicate()
            if again.returncode:
                faults.append(f"{how}, then: {stderr.decode(errors='replace')[-300:]}")
        if (out / "predictions.csv").read_bytes() != expected:
            faults.append(f"{how}: other scores than undisturbed")
        left = {path.name for path in out.iterdir()} - {"predictions.csv", "report.html"}
        if left:
            faults.append(f"{how}: left {sorted(left)}")
    return {"kills": count, **kinds, "orphans_after_5_s": orphans, "faults": faults}


def children(pid: int) -> list[int]:
    """Return the processes of a parent that work, not multiprocessing's own tracker."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(") ")[2].split()[1])
            tracks = b"resource_tracker" in (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and not tracks:
            found.append(int(path.name))
    return found


def kill(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def attack_bounds(folder: Path) -> dict[str, Any]:
    """Measure processor time and memory of files built to exhaust them, each in a process of its own."""
    whole = write_media(folder / "a.mp4", [voice_like(1.5, 16_000)], numbered(12), rate_hz=16_000).read_bytes()
    (folder / "boxes.mp4").write_bytes(whole + hostile.many_boxes(3_000_000))
    (folder / "deep.mp4").write_bytes(whole + hostile.nested_boxes(1_100))
    for name, side in (("8k x 8k", 8192), ("6k x 6k", 6144)):
        write_media(
            folder / f"{name}.mp4", [voice_like(1.5, 16_000)], [(0.0, np.zeros((side, side, 3), np.uint8))] * 2,
            rate_hz=16_000, codec_options={"preset": "ultrafast"},
        )  # fmt: skip
    (folder / "words.txt").write_text("the words of a very long book " * 270_000)
    (folder / "bomb.zip").write_bytes(hostile.zip_bomb(600_000_000))
    cases: dict[str, tuple[str, Path]] = {
        "a usual clip": ("media", folder / "a.mp4"),
        "3 million boxes (24 MB)": ("media", folder / "boxes.mp4"),
        "boxes 1,100 deep (9 KB)": ("media", folder / "deep.mp4"),
        "pictures of 67 megapixels": ("media", folder / "8k x 8k.mp4"),
        "pictures of 38 megapixels": ("media", folder / "6k x 6k.mp4"),
        "8 MB of words": ("words", folder / "words.txt"),
        "0.6 MB that unpack to 600 MB": ("archive", folder / "bomb.zip"),
    }
    found = {}
    for name, (kind, path) in cases.items():
        call = [sys.executable, __file__, "--case", kind, str(path)]
        found[name] = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    return found


def run_case(kind: str, path: Path) -> None:
    """Read one file as predict would, and print what it cost."""
    said = "read"
    began = time.process_time()
    try:
        if kind == "media":
            Source(path).audio(16_000)
            list(Source(path).frames([0.0]))
        elif kind == "words":
            find_transcript("x.mp4", path)
        else:
            problems: list[str] = []
            list_members(path, None, problems)
            said = problems[0] if problems else said
    except ThinsliceError as error:
        said = str(error)
    # Not ru_maxrss, which a process takes over from the one that started it.
    used = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert used is not None
    row = {"said": said.replace(f"{path}: ", ""), "processor_s": round(time.process_time() - began, 2)}
    print(json.dumps({**row, "memory_mb": int(used[1]) // 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["media", "texts", "runs", "bounds"])
    parser.add_argument("--case", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        run_case(arguments.case[0], Path(arguments.case[1]))
        return
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "media": lambda folder: attack_media(folder, arguments.files // 2, arguments.workers, arguments.seed),
        "texts": lambda folder: attack_texts(folder, arguments.files // 2, arguments.seed),
        "runs": lambda folder: attack_runs(folder, arguments.kills, arguments.workers, arguments.seed),
        "bounds": attack_bounds,
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                found = part(Path(folder))
                print(json.dumps({name: found, "seconds": round(time.monotonic() - began)}, indent=1), flush=True)


if __name__ == "__main__":
    main()
