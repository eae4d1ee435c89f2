"""How long predict takes, per stage, cold and warm, beside only decoding the same clip with PyAV.

    python benchmarks/predict.py CLIP... [--bundle face-voice-words] [--transcript TEXT] [--repeats 7] [--out FILE.md]

Floors: decoding the clip's sound only (for bundles that listen), decoding every frame (for bundles that look).
Warm: one process, the bundle loaded; the median over clips and repeats. Pairs: each prediction beside the floor of the
same clip at the same moment, as ratios of wall and of CPU seconds, which a busy machine hardly changes. Cold:
`thinslice predict CLIP --json` from the shell, with its CPU seconds and peak memory. Speech to text is reported apart:
give --transcript to leave it out.
"""

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av


def decode_sound(path: Path) -> None:
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[0]):
            frame.to_ndarray()


def decode_pictures(path: Path) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _ in container.decode(stream):
            pass


def median_seconds(run: Callable[[Path], object], clips: list[Path], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        for clip in clips:
            began = time.perf_counter()
            run(clip)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def warm(clips: list[Path], bundle: str, transcript: str | None, repeats: int) -> dict[str, float]:
    from thinslice.infer.predictor import Predictor

    predictor = Predictor(bundle)
    for explain in (True, False):
        predictor.predict(clips[0], transcript=transcript, explain=explain)
    stages: dict[str, list[float]] = {}
    for _ in range(repeats):
        for clip in clips:
            began = time.perf_counter()
            prediction = predictor.predict(clip, transcript=transcript, explain=False)
            stages.setdefault("predict, all", []).append(time.perf_counter() - began)
            for stage, seconds in prediction.seconds.items():
                if stage != "total":
                    stages.setdefault(f"predict: {stage}", []).append(seconds)
            explained = predictor.predict(clip, transcript=transcript)
            stages.setdefault("explain", []).append(explained.seconds["explain"])
    stages["report.html"] = report_seconds(predictor, clips[0], transcript, repeats)
    return {stage: statistics.median(seconds) for stage, seconds in stages.items()}


def pairs(clips: list[Path], bundle: str, transcript: str | None, repeats: int, looks: bool) -> tuple[float, float]:
    """Return the median ratios of prediction and floor, of wall seconds and of CPU seconds."""
    from thinslice.infer.predictor import Predictor

    predictor = Predictor(bundle)
    floor = decode_pictures if looks else decode_sound
    ratios = []
    for turn in range(repeats + 1):
        for clip in clips:
            taken = []
            for run in (floor, lambda path: predictor.predict(path, transcript=transcript, explain=False)):
                began = time.perf_counter(), time.process_time()
                run(clip)
                taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
            if turn:  # The first turn loads what is loaded once.
                ratios.append([taken[1][kind] / taken[0][kind] for kind in (0, 1)])
    wall, cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
    return wall, cpu


def report_seconds(predictor, clip: Path, transcript: str | None, repeats: int) -> list[float]:  # type: ignore[no-untyped-def]
    from thinslice.report.html import write_report

    prediction = predictor.predict(clip, transcript=transcript)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats + 1):
            began = time.perf_counter()
            write_report([prediction], [], predictor.cards, Path(folder) / "report.html")
            seconds.append(time.perf_counter() - began)
    return seconds[1:]


def child(command: list[str]) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak memory (MB) of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit


def cold(command: list[str], repeats: int) -> tuple[float, float, float]:
    child(command)  # fills the disk cache
    runs = [child(command) for _ in range(repeats)]
    wall, cpu, memory = zip(*runs, strict=True)
    return statistics.median(wall), statistics.median(cpu), max(memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--bundle", default="face-voice-words")
    parser.add_argument("--transcript")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    thinslice = shutil.which("thinslice", path=str(Path(sys.executable).parent)) or "thinslice"
    words = ["--transcript", args.transcript] if args.transcript else []
    command = [thinslice, "predict", str(args.clips[0]), "--bundle", args.bundle, "--json", *words]

    # First, while this process is small: Linux counts a parent's memory into its child's peak.
    processes = {
        "import thinslice.infer.predictor": [sys.executable, "-c", "import thinslice.infer.predictor"],
        "thinslice predict CLIP --json": command,
    }
    whole = [(label, *cold(run, args.repeats)) for label, run in processes.items()]

    lines = [
        f"{len(args.clips)} clips, {args.repeats} repeats, {os.cpu_count()} cores, Python {platform.python_version()}",
        "",
        "| stage | median seconds |",
        "|---|---|",
        f"| floor: decode the sound | {median_seconds(decode_sound, args.clips, args.repeats):.3f} |",
        f"| floor: decode every frame | {median_seconds(decode_pictures, args.clips[:6], 2):.3f} |",
    ]
    for stage, seconds in warm(args.clips, args.bundle, args.transcript, args.repeats).items():
        lines.append(f"| warm: {stage} | {seconds:.4f} |")
    looks = args.bundle != "voice-words"
    wall, cpu = pairs(args.clips[:6], args.bundle, args.transcript, max(args.repeats // 2, 1), looks)
    floor = "decoding every frame" if looks else "decoding the sound"
    lines += ["", f"Pairs: a prediction takes {wall:.2f} of the wall and {cpu:.2f} of the CPU seconds of {floor}.", ""]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    lines += ["", f"Peak memory of that process: {peak:.0f} MB", ""]
    lines += ["| whole process | wall s | CPU s | peak MB |", "|---|---|---|---|"]
    lines += [f"| {label} | {wall:.2f} | {cpu:.2f} | {memory:.0f} |" for label, wall, cpu, memory in whole]
    table = "\n".join(lines) + "\n"
    print(table)
    if args.out:
        args.out.write_text(table, "utf-8")


if __name__ == "__main__":
    main()
