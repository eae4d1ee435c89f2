"""What each row of audiovisual_attributes learns of planted clips, on speakers it has not met. Synthetic throughout.

python benchmarks/audiovisual_attributes_planted.py MANIFEST STORE OUT [--rows ROW,...] [--size NAME=VALUE ...]

MANIFEST is from `thinslice data planted planted/ --clips 600 --speakers 150 --seed 1`. Trains the small variant of each
row into OUT/ROW (or goes on with it) and prints R² of each trait on the test speakers, of the row and of the networks
it is made of, as each stood after its own stage.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from thinslice.evaluate.metrics import score
from thinslice.recipes.audiovisual_attributes import ROWS, SMALL_PREFIX, audiovisual_attributes
from thinslice.train.data import Source
from thinslice.train.inputs import load_run_data
from thinslice.train.loop import Settings, _as_scores, train, weights_of
from thinslice.train.recipe import Stage, call_model
from thinslice.train.scoring import apply_to_clips
from thinslice.train.stage import load_weights
from thinslice.traits import TRAITS


def value_of(text: str) -> object:
    return json.loads(text) if text[:1] in "-0123456789tf" else text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--size", action="append", default=[])
    arguments = parser.parse_args()
    sizes = {name: value_of(value) for name, _, value in (entry.partition("=") for entry in arguments.size)}
    print(f"{sizes or 'small sizes'}, {torch.get_num_threads()} threads", flush=True)
    print("| row | network | " + " | ".join(TRAITS) + " | accuracy | seconds |")
    print("|---|---" + "|---" * (len(TRAITS) + 2) + "|")
    for row in arguments.rows.split(","):
        recipe = audiovisual_attributes(SMALL_PREFIX + row, **sizes)
        data, left_out = load_run_data(recipe, arguments.manifest, arguments.store)
        began = time.perf_counter()
        run = train(recipe, data, arguments.out / row, Settings(device="cpu", tensorboard=False, resume=True))
        seconds = time.perf_counter() - began
        test = data.splits["test"]
        for stage in recipe.stages:
            assert isinstance(stage, Stage)
            model = recipe.build_model()
            load_weights(model, weights_of(run, stage.name))
            predict = call_model if stage.precompute or stage.predict is None else stage.predict
            compute = partial(_as_scores, predict)
            source = Source(test, stage.sample or recipe.sample)
            rows = apply_to_clips(model, source, "test", compute, seed=0, device=torch.device("cpu"))
            values = score(test.labels, np.stack([entry["scores"] for entry in rows]).astype(np.float64))
            cells = " | ".join(f"{r2:.2f}" for r2 in values["r2"])
            accuracy = float(np.mean(values["accuracy"]))
            print(f"| {row} | {stage.name} | {cells} | {accuracy:.4f} | {seconds:.0f} |", flush=True)
        print({split: len(clips) for split, clips in data.splits.items()}, len(left_out), "left out", flush=True)


if __name__ == "__main__":
    main()
