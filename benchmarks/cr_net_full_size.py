"""CR-Net at full size on a few real clips, by the commands that a user calls, each with its time and peak memory.

python benchmarks/cr_net_full_size.py DATA/first_impressions_v2 [NUM_CLIPS]

extract, train (one step of each stage, 1,000 trees), export, predict; predict in a Python in which PyTorch cannot be
imported. The labels are made up: nothing is said about accuracy. Needs the assets mtcnn and all-minilm-l6-v2.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from thinslice.bundle import load_bundle
from thinslice.traits import TARGETS

THINSLICE = [sys.executable, "-m", "thinslice"]
WITHOUT_TORCH = [
    sys.executable,
    "-c",
    "import sys; sys.modules['torch'] = None; from thinslice.cli import main; main()",
]


def write_manifest(corpus: Path, count: int, out: Path) -> list[Path]:
    """Write a manifest of the first clips, with their transcripts and made-up labels; return the clips."""
    clips = sorted((corpus / "clips").glob("*.mp4"))[:count]
    with (corpus / "metadata_train.csv").open(newline="", encoding="utf-8") as file:
        words = {row["file_name"]: row["transcription"] for row in csv.DictReader(file)}
    labels = np.random.default_rng(0).uniform(0.2, 0.8, (len(clips), len(TARGETS))).round(4)
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "path", "split", "speaker", "transcript", *TARGETS])
        for clip, row in zip(clips, labels, strict=True):
            writer.writerow([clip.name, clip, "train", clip.name, words[clip.name] or "Nothing.", *row])
    return clips


def call(title: str, command: list[str]) -> str:
    """Run a command; print its seconds and peak memory; return what it printed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, stdout=printed)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{title}: exit code {process.returncode}")
        seconds, peak = time.perf_counter() - began, usage.ru_maxrss / 2**20
        print(f"{title}: {seconds:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} processor seconds, {peak:.1f} GiB")
        printed.seek(0)
        return printed.read()


def main(corpus: Path, count: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clips = write_manifest(corpus, count, folder / "clips.csv")
        store = ["--store", str(folder / "store")]
        data = ["--data", str(folder / "clips.csv"), *store]
        run, bundle = str(folder / "run"), folder / "bundle"
        print(call("extract", [*THINSLICE, "extract", str(folder / "clips.csv"), "--recipe", "cr_net", *store]).strip())
        call("train", [*THINSLICE, "train", "cr_net", *data, "--out", run, "--max-steps", "1"])
        with (folder / "run" / "history.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                print(f"  one step of stage {row['stage']} on {len(clips)} clips: {float(row['seconds']):.1f} s")
        call("export", [*THINSLICE, "export", run, "--out", str(bundle)])
        print(f"  model.onnx: {(bundle / 'model.onnx').stat().st_size / 2**20:.0f} MiB")
        print(" ", load_bundle(bundle).card.compared_with_pytorch)
        words = ["--transcript", "I think that we should all be friends.", "--json"]
        printed = call("predict", [*WITHOUT_TORCH, "predict", str(clips[0]), "--bundle", str(bundle), *words])
        (prediction,) = json.loads(printed)
        print("  used:", prediction["used"], "seconds:", prediction["seconds"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4)
