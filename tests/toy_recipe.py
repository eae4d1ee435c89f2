"""A small system on made-up features, for tests of the loop: no media, no paper. Also run by itself under torchrun."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thinslice.features.spec import FeatureSpec
from thinslice.layers.losses import mean_absolute_error
from thinslice.train.data import ArrayReader, ClipData, RunData
from thinslice.train.loop import train
from thinslice.train.recipe import Arrays, Batch, ClipReader, Mode, Recipe, Stage, Update
from thinslice.train.settings import LoopSettings
from thinslice.traits import TRAITS


class Toy(nn.Module):
    def __init__(self, dropout: float = 0.0, batch_norm: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16) if batch_norm else nn.Identity(), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(16, 5)
        self.other = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.head(self.dropout(self.body(x))))


def sample(clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
    x = clip.read("x")
    return {"x": x + rng.normal(0, 0.01, x.shape).astype(np.float32) if mode == "train" else x}


def mae_loss(model: nn.Module, batch: Batch) -> Tensor:
    return mean_absolute_error(model(**batch["inputs"]), batch["labels"])


def adam(parameters: list[Mapping[str, object]], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr)


def toy_stage(name: str = "all", **changes: object) -> Stage:
    settings: dict[str, object] = {
        "name": name,
        "updates": (
            Update(
                loss=mae_loss,
                optimiser=partial(adam, lr=0.01),
                schedule=partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5),
            ),
        ),
        "batch_size": 8,
        "epochs": 5,
        "keep": "last",
    }
    return Stage(**(settings | changes))  # type: ignore[arg-type]


def toy_recipe(*stages: Stage, dropout: float = 0.3, batch_norm: bool = False, **changes: object) -> Recipe:
    settings: dict[str, object] = {
        "name": "toy",
        "arguments": {"variant": "toy"},
        "variants": ("toy",),
        "paper": "none",
        "inputs": {"x": "voice"},
        "outputs": TRAITS,
        "features": {"x": FeatureSpec(extractor="voice_profile")},
        "sample": sample,
        "build_model": partial(Toy, dropout, batch_norm),
        "stages": stages or (toy_stage(),),
    }
    return Recipe(**(settings | changes))  # type: ignore[arg-type]


def toy_clips(num_clips: int, seed: int, prefix: str = "clip") -> ClipData:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num_clips, 6)).astype(np.float32)
    weights = np.random.default_rng(0).normal(size=(6, 5))
    labels = 1 / (1 + np.exp(-0.5 * x @ weights))
    names = tuple(f"{prefix}{i}" for i in range(num_clips))
    arrays = {name: {"x": row} for name, row in zip(names, x, strict=True)}
    return ClipData(names, labels, TRAITS, ArrayReader(arrays))


def toy_data(num_train: int = 30) -> RunData:
    return RunData(splits={"train": toy_clips(num_train, 1), "validation": toy_clips(11, 2), "test": toy_clips(7, 3)})


def main() -> None:
    """Train the toy in this process, as torchrun starts several: OUT DROPOUT BATCH_PER_DEVICE [resume|KILL_AT_STEP]."""
    out, dropout, per_device, how = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    recipe = toy_recipe(toy_stage(updates=(Update(loss=partial(_dying_loss, how), optimiser=partial(adam, lr=0.01)),)),
                        dropout=dropout)  # fmt: skip
    settings = LoopSettings(device="cpu", batch_size_per_device=per_device or None, resume=how == "resume")
    train(recipe, toy_data(), out, settings)


CALLS = 0


def _dying_loss(how: str, model: nn.Module, batch: Batch) -> Tensor:
    global CALLS
    CALLS += 1
    if how.isdigit() and int(how) == CALLS:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
    return mae_loss(model, batch)


if __name__ == "__main__":
    # Imported, so that its functions have the names that a run records, in the test and here.
    import toy_recipe as itself

    itself.main()
