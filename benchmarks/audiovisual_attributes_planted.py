"""What each row of audiovisual_attributes learns of planted clips, on speakers it has not met. Synthetic throughout.

python benchmarks/audiovisual_attributes_planted.py MANIFEST STORE OUT [--size NAME=VALUE ...]

First come two probes: linear regression on the logarithm of the sound's level, and on the nine estimated attributes.
MANIFEST is from `thinslice data planted planted/ --clips 600 --speakers 150 --seed 1`. Trains the small variants into
OUT (or goes on there) and prints R² of each trait on the test speakers. The networks on sound and on faces are the same
in every row that has them, since seed and stages are, so that they are trained once.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from thinslice.evaluate.metrics import score
from thinslice.systems.audiovisual_attributes.recipe import SMALL_PREFIX, audiovisual_attributes
from thinslice.train.data import ClipData, RunData, Sampled
from thinslice.train.history import read_rows
from thinslice.train.inputs import load_run_data
from thinslice.train.loop import train
from thinslice.train.recipe import ClipReader, Recipe, Stage, call_model
from thinslice.train.run import RunFolder
from thinslice.train.scoring import apply_to_clips
from thinslice.train.settings import LoopSettings
from thinslice.train.stage import load_weights, save_weights
from thinslice.train.system import as_scores, build_seeded, weights_of
from thinslice.traits import TRAITS

SETTINGS = LoopSettings(device="cpu", tensorboard=False, resume=True)
NETWORKS = ("audio", "visual")


def value_of(text: str) -> object:
    return json.loads(text) if text[:1] in "-0123456789tf" else text


def show(name: str, recipe: Recipe, run: RunFolder, stage: Stage, test: ClipData) -> None:
    """Print a row: the scores of the test clips by the weights that a stage left."""
    model = recipe.build_model()
    load_weights(model, weights_of(run, stage.name))
    predict = call_model if stage.precompute or stage.predict is None else stage.predict
    source = Sampled(test, stage.sample or recipe.sample)
    rows = apply_to_clips(model, source, "test", partial(as_scores, predict), seed=0, device=torch.device("cpu"))
    values = score(test.labels, np.stack([entry["scores"] for entry in rows]).astype(np.float64))
    history = [row for row in read_rows(run.path / "history.csv") if row["stage"] == stage.name]
    cells = " | ".join(f"{r2:.2f}" for r2 in values["r2"])
    seconds = sum(float(row["seconds"]) for row in history)
    print(f"| {name} | {cells} | {np.mean(values['accuracy']):.4f} | {len(history)} | {seconds:.0f} |", flush=True)


def probe(name: str, features: Callable[[ClipReader], np.ndarray], data: RunData) -> None:
    """Print a row: linear regression on a few numbers of each clip, fitted on the training clips."""
    designs = {}
    for split in ("train", "test"):
        clips = data.splits[split]
        designs[split] = np.stack([np.append(features(clips.reader(i)), 1.0) for i in range(len(clips))])
    weights = np.linalg.lstsq(designs["train"], data.splits["train"].labels, rcond=None)[0]
    values = score(data.splits["test"].labels, designs["test"] @ weights)
    cells = " | ".join(f"{r2:.2f}" for r2 in values["r2"])
    print(f"| {name} | {cells} | {np.mean(values['accuracy']):.4f} | | |", flush=True)


def log_level(clip: ClipReader) -> np.ndarray:
    return np.log([np.sqrt(np.square(clip.read("waveform")).mean()) + 1e-6])


def estimates(clip: ClipReader) -> np.ndarray:
    return clip.read("attributes")


def train_on_shared_networks(recipe: Recipe, data: RunData, path: Path, other: RunFolder) -> RunFolder:
    """Train a row whose networks on sound and faces another row's run has trained already."""
    if not path.exists():
        run = train(recipe, data, path, LoopSettings(device="cpu", tensorboard=False, max_steps=1))
        model = build_seeded(recipe, recipe.seed)
        state = model.state_dict()
        for stage in NETWORKS:
            theirs = torch.load(weights_of(other, stage), weights_only=True)
            state |= {name: value for name, value in theirs.items() if name.partition(".")[0] in NETWORKS}
            model.load_state_dict(state)
            shutil.copy(other.stage(stage) / "done.json", run.stage(stage) / "done.json")
            save_weights(model, weights_of(run, stage))
    return train(recipe, data, path, SETTINGS)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", action="append", default=[])
    arguments = parser.parse_args()
    sizes = {name: value_of(value) for name, _, value in (entry.partition("=") for entry in arguments.size)}
    whole = audiovisual_attributes(f"{SMALL_PREFIX}audio+visual+attributes", **sizes)
    both = audiovisual_attributes(f"{SMALL_PREFIX}audio+visual", **sizes)
    data, left_out = load_run_data(whole, arguments.manifest, arguments.store)
    counts = {split: len(clips) for split, clips in data.splits.items()}
    print(f"{sizes or 'small sizes'}; clips {counts}, {len(left_out)} left out; {torch.get_num_threads()} threads")
    print("| row | " + " | ".join(TRAITS) + " | accuracy | epochs | seconds |", flush=True)
    print("|---" * (len(TRAITS) + 4) + "|")
    probe("probe: level of sound", log_level, data)
    probe("probe: attributes", estimates, data)
    run = train(whole, data, arguments.out / "attributes", SETTINGS)
    audio, visual, fusion = (stage for stage in whole.stages if isinstance(stage, Stage))
    show("audio", whole, run, audio, data.splits["test"])
    show("visual", whole, run, visual, data.splits["test"])
    pair = train_on_shared_networks(both, data, arguments.out / "both", run)
    *_, joined = (stage for stage in both.stages if isinstance(stage, Stage))
    show("audio+visual", both, pair, joined, data.splits["test"])
    show("audio+visual+attributes", whole, run, fusion, data.splits["test"])


if __name__ == "__main__":
    main()
