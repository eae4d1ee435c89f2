"""PersEmoN at the paper's size on real clips: from face alignment to prediction, by the commands a user types.

    python benchmarks/persemon_full_size.py DATA/first_impressions_v2 OUT [NUM_CLIPS]

Two steps teach nothing: this shows that it runs, and what it takes. The emotion data are the same clips' own ratings
(mood_train.csv). Prints seconds of wall time for each command.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from thinslice.data.emotion import import_emotion_csv
from thinslice.data.first_impressions import import_first_impressions
from thinslice.data.manifest import Manifest, save_manifest
from thinslice.evaluate.predictions import read_predictions


def thinslice(*arguments: object) -> str:
    began = time.perf_counter()
    command = [sys.executable, "-m", "thinslice", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines()
    seconds, last = time.perf_counter() - began, lines[-1] if lines else ""
    print(f"{seconds:7.1f} s  thinslice {' '.join(map(str, arguments[:3]))}: {last}")
    if done.returncode:
        sys.exit("\n".join(lines))
    return done.stdout


def some_clips(data: Path, count: int) -> Manifest:
    """Return clips whose media are at hand, a few of them called validation and test."""
    everything = import_first_impressions(data).manifest
    clips = everything.select([i for i, path in enumerate(everything.paths) if path][:count])
    splits = tuple("test" if i == 0 else "validation" if i == 1 else "train" for i in range(len(clips)))
    return Manifest(clips.clips, clips.paths, splits, clips.speakers, clips.columns, clips.folder)


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 12
    out.mkdir(parents=True, exist_ok=True)
    clips = some_clips(data, count)
    save_manifest(clips, out / "clips.csv")
    ratings = import_emotion_csv(data / "mood_train.csv", data / "clips", (1, 3))
    save_manifest(ratings.manifest, out / "emotion.csv")
    print(f"{len(clips)} clips, {len(ratings.manifest)} of the clips at hand with ratings of mood")
    recipe = ("--recipe", "persemon", "--variant", "fresh", "--store", out / "store")
    thinslice("extract", out / "clips.csv", *recipe)
    thinslice("extract", out / "emotion.csv", *recipe, "--companion", "emotion")
    thinslice("train", "persemon", "--variant", "fresh", "--data", out / "clips.csv",
              "--companion", f"emotion={out / 'emotion.csv'}", "--store", out / "store", "--out", out / "run",
              "--resume", "--device", "cpu", "--max-steps", 2, "--batch-size-per-device", 2)  # fmt: skip
    thinslice("export", out / "run", "--out", out / "bundle")
    clip = clips.path(0)
    thinslice("predict", clip, "--bundle", out / "bundle", "--out", out / "report")
    predicted = read_predictions(out / "report" / "predictions.csv").scores[0, :5]
    scored = read_predictions(out / "run" / "predictions_test.csv").scores[0, :5]
    print(f"predict and the run's test score of that clip differ by {np.abs(predicted - scored).max():.2e} at most")
    print(thinslice("emotion", out / "run", clip, "--frames", 30, "--out", out / "emotion"), end="")


if __name__ == "__main__":
    main()
