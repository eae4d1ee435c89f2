"""What a corpus takes: seconds and memory per clip, bytes of output, and what it costs to go on after a stop.

    python benchmarks/scale.py CLIP... [--copies 5] [--workers 2] [--planned 100000] [--bundle face-voice-words]

The clips, each several times under other names, with a transcript beside each, are scored by `thinslice predict --out`
in a temporary folder. Then what the main process does for as many clips as are planned is done and measured as it is,
with their results repeated under other names: reading the journal, writing the tables and the report. The first 50
clips' heat maps, which do not grow with the corpus, are left out (`--no-faces`).
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from thinslice.documents import format_document
from thinslice.infer.journal import Journal, JournalLine
from thinslice.infer.predictor import Predictor
from thinslice.report.html import write_report
from thinslice.types import predictions_csv

WORDS = "So today I want to talk about a few things that I have learned, and what I would do differently next time."


def run(folder: Path, out: Path, bundle: str, workers: int) -> dict[str, float]:
    """Score a folder; return wall and processor seconds, and the peaks of memory, MB, of main process and worker."""
    call = [sys.executable, "-m", "thinslice", "predict", str(folder), "--out", str(out), "--no-faces", "--quiet"]
    before, began = os.times(), time.perf_counter()
    call += ["--bundle", bundle, "--workers", str(workers)]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL)
    peaks: dict[int, float] = {}
    threading.Thread(target=watch, args=(process.pid, peaks), daemon=True).start()
    if process.wait():
        raise SystemExit(f"predict failed with {process.returncode}")
    wall_s, after = time.perf_counter() - began, os.times()
    largest = sorted((mb for mb in peaks.values() if mb > 40), reverse=True)  # what only waits is smaller
    return {
        "wall_s": wall_s,
        "processor_s": after.children_user + after.children_system - before.children_user - before.children_system,
        "worker_mb": statistics.median(largest[:workers]),
        "all_mb": sum(peaks.values()),
    }


def watch(pid: int, peaks: dict[int, float]) -> None:
    """Keep the peak of memory of each process below `pid`, MB, while there are any."""
    while Path(f"/proc/{pid}").exists():
        for child in below(pid):
            try:
                status = Path(f"/proc/{child}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM"):
                    peaks[child] = int(line.split()[1]) / 1024
        time.sleep(0.2)


def below(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [pid, *(found for child in children for found in below(child))]


def plan(predictions: list, bundle: str, count: int, out: Path) -> dict[str, float]:
    """Do the main process's part for `count` clips; return processor seconds, MB and bytes."""
    names = [f"corpus/{number:06d}.mp4" for number in range(count)]
    many = [replace(predictions[number % len(predictions)], clip=name) for number, name in enumerate(names)]
    path = out / "journal"
    with path.open("w") as file:
        for number, prediction in enumerate(many):
            file.write("\n" + format_document(JournalLine(key=f"{number:064d}", prediction=prediction)))
    del many
    began = time.process_time()
    known = list(Journal(path, {})._known.values())
    read_s = time.process_time() - began
    began = time.process_time()
    (out / "predictions.csv").write_text(predictions_csv(known))
    write_report(known, [], Predictor(bundle).cards, out / "report.html")
    write_s = time.process_time() - began
    return {
        "read_s": read_s,
        "write_s": write_s,
        "main_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "journal_mb": path.stat().st_size / 1e6,
        "csv_mb": (out / "predictions.csv").stat().st_size / 1e6,
        "report_mb": (out / "report.html").stat().st_size / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--planned", type=int, default=100_000)
    parser.add_argument("--bundle", default="face-voice-words")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name, "clips")
        folder.mkdir()
        for copy in range(arguments.copies):
            for number, clip in enumerate(arguments.clips):
                target = folder / f"{copy}-{number:04d}{clip.suffix}"
                shutil.copyfile(clip, target)
                target.with_suffix(".txt").write_text(WORDS)
        count = arguments.copies * len(arguments.clips)
        few = Path(name, "few")
        few.mkdir()
        for path in sorted(folder.iterdir())[:4]:
            shutil.copyfile(path, few / path.name)
        start = run(few, Path(name, "out-few"), arguments.bundle, arguments.workers)
        whole = run(folder, Path(name, "out"), arguments.bundle, arguments.workers)
        each_s = (whole["processor_s"] - start["processor_s"]) / (count - 2)
        print(f"{count} clips with {arguments.workers} workers: {whole['wall_s']:.0f} s of wall time")
        print(f"processor seconds per clip: {each_s:.2f}, beside {start['processor_s'] - 2 * each_s:.1f} to start")
        print(f"memory: {whole['worker_mb']:.0f} MB a worker, {whole['all_mb']:.0f} MB all processes together")
        predictor = Predictor(arguments.bundle)
        paths = sorted(path for path in folder.iterdir() if path.suffix != ".txt")[:8]
        sample = [predictor.predict(path, explain=False) for path in paths]
        found = plan(sample, arguments.bundle, arguments.planned, Path(name))
        print(f"main process, {arguments.planned:,} clips: " + ", ".join(f"{k} {v:.1f}" for k, v in found.items()))


if __name__ == "__main__":
    main()
