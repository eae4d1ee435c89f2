"""Two simple predictors on the real training labels, split by clips and by speaker: what docs/evaluation.md shows.

    python benchmarks/evaluate_demo.py DATA OUT

DATA holds the First Impressions V2 training split (`annotation_training.pkl`, `voice_profile_train.csv`). OUT receives
by-clip.csv and by-speaker.csv (manifests of the same 6,000 clips, a third of them for testing), and for each the
prediction files of

* ridge: ridge regression on the 26 means of the voice profile;
* narrow: kernel ridge regression with a narrow Gaussian kernel on them, which can recognise a voice.

Both only listen to the average voice; they show what an evaluation says, not what a good system does.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from thinslice.data.first_impressions import import_first_impressions
from thinslice.data.manifest import Manifest, save_manifest
from thinslice.data.splits import resplit
from thinslice.traits import TARGETS

SHARES = {"train": 2, "test": 1}


def by_clip(manifest: Manifest, seed: int) -> Manifest:
    """Put a third of the clips into "test" without regard to who speaks, as the official split does."""
    order = np.random.default_rng(seed).permutation(len(manifest))
    splits = np.full(len(manifest), "train", dtype=object)
    splits[order[: len(manifest) // 3]] = "test"
    columns = ("clips", "paths", "speakers", "columns", "folder", "source")
    return Manifest(splits=tuple(splits), **{name: getattr(manifest, name) for name in columns})


def load_voices(path: Path, clips: tuple[str, ...]) -> np.ndarray:
    """Return the voice profiles of clips, (n, 26), standardised; the mean voice where a clip has none."""
    with path.open(newline="") as file:
        reader = csv.reader(file)
        next(reader)
        table = {row[0]: np.array(row[1:], dtype=float) for row in reader}
    known = np.array(list(table.values()))
    return np.array([(table.get(clip, known.mean(axis=0)) - known.mean(axis=0)) / known.std(axis=0) for clip in clips])


def fit_ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    return y.mean(axis=0) + new @ np.linalg.solve(x.T @ x + 100.0 * np.eye(x.shape[1]), x.T @ (y - y.mean(axis=0)))


def fit_narrow(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
        return np.exp(-0.12 * squared)

    weights = np.linalg.solve(kernel(x, x) + 0.7 * np.eye(len(x)), y - y.mean(axis=0))
    return y.mean(axis=0) + kernel(new, x) @ weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    whole = import_first_impressions(arguments.data).manifest.select("train")
    voices, labels = load_voices(arguments.data / "voice_profile_train.csv", whole.clips), whole.labels()
    for split, manifest in (("by-clip", by_clip(whole, 0)), ("by-speaker", resplit(whole, SHARES, 0))):
        save_manifest(manifest, arguments.out / f"{split}.csv")
        test = np.array([name == "test" for name in manifest.splits])
        for name, fit in (("ridge", fit_ridge), ("narrow", fit_narrow)):
            # 80% intervals from errors on a part of the training clips that the predictor has not seen.
            train = np.flatnonzero(~test)
            held = np.isin([whole.speakers[i] for i in train], sorted(set(whole.speakers))[::5])
            errors = labels[train[held]] - fit(voices[train[~held]], labels[train[~held]], voices[train[held]])
            low, high = np.quantile(errors, [0.1, 0.9], axis=0)
            scores = fit(voices[train], labels[train], voices[test])
            header = ["clip", *TARGETS, *(f"{t}_{end}" for end in ("low", "high") for t in TARGETS)]
            with (arguments.out / f"{split}-{name}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(header)
                for i, row in zip(np.flatnonzero(test), scores, strict=True):
                    writer.writerow([whole.clips[i], *np.concatenate([row, row + low, row + high]).round(6)])


if __name__ == "__main__":
    main()
