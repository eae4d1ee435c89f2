"""Every recipe's first steps, divided among processes and passes. Also run by itself under torchrun: OUT."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from golden_curves import SMALLEST, build_golden, plant_data
from thinslice.train.history import read_rows
from thinslice.train.loop import train
from thinslice.train.recipe import Recipe
from thinslice.train.settings import LoopSettings

NAMES = [name for name in SMALLEST if name != "persemon lstm"]
NUM_STEPS = 3


def build(recipe: Recipe) -> nn.Module:
    """Return the network without dropout, whose random numbers are others in every division."""
    model = recipe.build_model()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.GRU | nn.LSTM):
            module.dropout = 0.0
    return model


def first_losses(name: str, out: Path, per_device: int | None = None) -> dict[str, np.ndarray]:
    """Train a recipe's stages for some steps; return "stage/update" -> losses."""
    recipe = build_golden(name)
    divided = replace(recipe, build_model=partial(build, recipe))
    settings = LoopSettings(
        device="cpu", tensorboard=False, max_steps=NUM_STEPS, score_splits=(), batch_size_per_device=per_device
    )
    return losses_of(train(divided, plant_data(recipe), out, settings).path)


def losses_of(run: Path) -> dict[str, np.ndarray]:
    found: dict[str, list[float]] = {}
    for row in read_rows(run / "steps.csv"):
        found.setdefault(f"{row['stage']}/{row['update']}", []).append(float(row["loss"]))
    return {name: np.array(values) for name, values in found.items()}


def main() -> None:
    for name in NAMES:
        first_losses(name, Path(sys.argv[1]) / name)


if __name__ == "__main__":
    main()
