"""What a run scores with estimated attributes, as a bundle has them, where its manifest has annotated ones."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.evaluate.metrics import average, score
from thinslice.systems import rebuild_recipe
from thinslice.systems.audiovisual_attributes.look import COLUMNS, Look
from thinslice.train.columns import PREFIX
from thinslice.train.data import ClipData
from thinslice.train.export import load_trained
from thinslice.train.inputs import load_split
from thinslice.train.processes import Processes, find_device
from thinslice.train.recipe import Recipe, Scores
from thinslice.train.run import RunFolder, write_predictions
from thinslice.train.system import predict_system

ESTIMATED: Final = "estimated"
"""Under this name a table has the average over the traits with estimated attributes."""


def further_scores(
    run: Path, companions: Mapping[str, Path], store: Path, split: str, personality: Scores
) -> dict[str, dict[str, float]]:
    """Add the scores of a run on clips whose annotated attributes are replaced by estimates.

    They are written as predictions_SPLIT_estimated.csv beside the run's own predictions.

    Args:
        run: a finished run's folder.
        companions: not used.
        store: the feature store.
        split: of the clips.
        personality: metric -> target -> score with annotated attributes where the manifest has them.

    Returns:
        The same; where the system sees attributes of which some are annotated also "estimated" of "accuracy" and "r2",
        the average over the traits.
    """
    folder = RunFolder(run)
    document = folder.load()
    recipe = rebuild_recipe(document)
    out = {metric: dict(values) for metric, values in personality.items()}
    clips = load_split(recipe, document, split, None, store) if recipe.columns else None
    if clips is None or not _has_annotations(clips):
        return out
    scores = score_estimated(recipe, folder, clips)
    write_predictions(run / f"predictions_{split}_{ESTIMATED}.csv", clips.clips, recipe.outputs, scores)
    values = score(clips.labels, scores)
    for metric in ("accuracy", "r2"):
        mean = float(average(values[metric], recipe.outputs))
        if np.isfinite(mean):  # Of the five traits, where all are predicted.
            out.setdefault(metric, {})[ESTIMATED] = mean
    return out


def score_estimated(recipe: Recipe, folder: RunFolder, clips: ClipData) -> np.ndarray:
    """Return the scores (clips, 5) of a finished run that sees estimated attributes only."""
    assert isinstance(recipe.sample, Look)
    blind = replace(recipe, sample=replace(recipe.sample, hyper=replace(recipe.sample.hyper, annotated=False)))
    device = find_device("auto", Processes.from_environment())
    model = load_trained(recipe, folder).to(device)
    return predict_system(blind, folder, model, clips, "test", seed=folder.load().seed, device=device)


def _has_annotations(clips: ClipData) -> bool:
    return any(str(clips.reader(i).read(PREFIX + name)) for i in range(len(clips)) for name in COLUMNS)
