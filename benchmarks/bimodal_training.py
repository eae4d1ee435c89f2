"""The bimodal recipe on a few real clips: does the code learn, and what does storing faces as JPEG change.

    python benchmarks/bimodal_training.py store MANIFEST STORE     # stored faces against fresh ones; reading time
    python benchmarks/bimodal_training.py rate MANIFEST STORE      # fine-tuning at several learning rates
    python benchmarks/bimodal_training.py overfit MANIFEST STORE   # fresh weights on eight clips, some minutes

STORE is what `thinslice extract MANIFEST --recipe bimodal --store STORE` filled; the published weights are the asset
`bimodal`. Of 24 clips every third is held out, whatever the manifest's split. All of them are training clips of the
published networks: the figures prove code and are no accuracy.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.assets import asset_files
from thinslice.data.manifest import load_manifest
from thinslice.features.extract import extract_features
from thinslice.features.store import open_reader
from thinslice.infer.onnx_model import OnnxModel
from thinslice.media.source import Source
from thinslice.systems.bimodal.recipe import bimodal
from thinslice.systems.bimodal.weights import install_bimodal
from thinslice.train.data import ClipData, RunData
from thinslice.train.history import read_rows
from thinslice.train.loop import train
from thinslice.train.settings import LoopSettings
from thinslice.traits import TRAITS


def load(manifest: Path, store: Path, recipe: Any) -> tuple[ClipData, list[Path]]:
    table = load_manifest(manifest)
    table = table.select([row for row, path in enumerate(table.paths) if path])
    paths = [table.path(row) for row in range(len(table))]
    reader, _ = open_reader(store, recipe.features, zip(table.clips, paths, strict=True))
    rows = [row for row, clip in enumerate(table.clips) if clip in reader.origins]
    clips = ClipData(tuple(table.clips[row] for row in rows), table.labels(TRAITS)[rows], TRAITS, reader)
    return clips, [paths[row] for row in rows]


def compare_stored(manifest: Path, store: Path) -> None:
    recipe = bimodal()
    clips, paths = load(manifest, store, recipe)
    with tempfile.TemporaryDirectory() as folder:
        models = {path.name: OnnxModel(path) for path in install_bimodal(asset_files("bimodal"), Path(folder))}
        changes: dict[str, list[np.ndarray]] = {name: [] for name in models}
        for row, path in enumerate(paths):
            fresh, _ = extract_features(Source(path), recipe.features)
            stored = {name: clips.reader(row).read(name) for name in recipe.features}
            for name, model in models.items():
                changes[name].append(np.abs(model.predict(stored) - model.predict(fresh)))
    for name, values in changes.items():
        print(
            f"{name}: scores from stored faces differ by {np.mean(values):.4f} on average, {np.max(values):.4f} at most"
        )
    began = time.process_time()
    for row in range(len(clips)):
        recipe.sample(clips.reader(row), "train", np.random.default_rng(row))
    print(f"reading a clip for training: {(time.process_time() - began) / len(clips) * 1000:.1f} ms of processing")


def run(recipe: Any, splits: dict[str, ClipData]) -> tuple[np.ndarray, list[dict[str, str]]]:
    with tempfile.TemporaryDirectory() as folder:
        found = train(
            recipe, RunData(splits=splits), Path(folder) / "run", LoopSettings(device="cpu", tensorboard=False)
        )
        losses = np.array([float(row["loss"]) for row in read_rows(found.path / "steps.csv")])
        return losses, read_rows(found.path / "history.csv")


def compare_rates(manifest: Path, store: Path) -> None:
    for variant in ("lstm-finetune", "3dcnn-finetune"):
        for rate in (0.0, 0.0005, 0.0015, 0.005, 0.0163):
            recipe = bimodal(variant, batch_size=16, epochs=6, learning_rate=rate)
            clips, _ = load(manifest, store, recipe)
            held_out = np.arange(len(clips)) % 3 == 2
            splits = {
                "train": clips.select(np.flatnonzero(~held_out)),
                "validation": clips.select(np.flatnonzero(held_out)),
            }
            losses, history = run(recipe, splits)
            accuracies = " ".join(f"{float(row['accuracy']):.3f}" for row in history)
            print(f"{variant} {rate}: loss {' '.join(f'{loss:.3f}' for loss in losses)}; held out {accuracies}")


def overfit(manifest: Path, store: Path) -> None:
    for variant in ("lstm", "3dcnn"):
        recipe = bimodal(variant, batch_size=8, epochs=350)
        clips, _ = load(manifest, store, recipe)
        clips = clips.select(np.flatnonzero(np.arange(len(clips)) % 3 != 2)[:8])
        losses, _ = run(recipe, {"train": clips})
        outputs = 30 if variant == "lstm" else 5
        constant = outputs * clips.labels.var(axis=0).mean()
        means = " ".join(f"{part.mean():.4f}" for part in np.array_split(losses, 7))
        print(f"{variant}: mean loss of 50 steps each {means}; the clips' mean label has {constant:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = {"store": compare_stored, "rate": compare_rates, "overfit": overfit}
    parser.add_argument("what", choices=what)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("store", type=Path)
    given = parser.parse_args()
    what[given.what](given.manifest, given.store)


if __name__ == "__main__":
    main()
