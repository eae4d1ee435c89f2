"""A trained system: its network, its weights, its scores."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thinslice.train.data import ClipData, Sampled, random_state
from thinslice.train.recipe import FitStage, Mode, Predict, Recipe
from thinslice.train.run import RunFolder
from thinslice.train.scoring import apply_to_clips


def build_seeded(recipe: Recipe, seed: int) -> nn.Module:
    """Return the recipe's network with the fresh weights that belong to a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random_state(seed, "weights").integers(2**63)))
        return recipe.build_model()


def weights_of(folder: RunFolder, stage: str) -> Path:
    """Return the file of the weights that a finished stage left; UsageError if it is not finished."""
    return folder.stage(stage) / f"{folder.load_end(stage).keep}.pt"


def predict_system(
    recipe: Recipe, folder: RunFolder, model: nn.Module, data: ClipData, mode: Mode, **running: Any
) -> np.ndarray:
    """Return the scores (clips, outputs) of a trained system, its fitted estimator included where it has one.

    Args:
        recipe: the system.
        folder: its run, for the estimator.
        model: with the final weights.
        data: the clips.
        mode: how they are sampled.
        **running: `seed`, `device` and the other arguments of `apply_to_clips`.
    """
    source = Sampled(data, recipe.sample, recipe.ragged)
    last = recipe.stages[-1]
    predict = last.features if isinstance(last, FitStage) else recipe.predict
    rows = apply_to_clips(model, source, mode, partial(as_scores, predict), **running)
    values = np.stack([row["scores"] for row in rows]).astype(np.float64)
    if isinstance(last, FitStage):
        values = np.asarray(last.load(folder.stage(last.name) / "estimator").predict(values), dtype=np.float64)
    return np.clip(values, 0.0, 1.0)


def as_scores(predict: Predict, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `predict` gives as `apply_to_clips` wants it."""
    return {"scores": predict(model, inputs)}
