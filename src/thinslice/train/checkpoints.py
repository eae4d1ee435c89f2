"""Scores of a run at a checkpoint: the weights that a stage had after some epochs."""

from pathlib import Path

import numpy as np

from thinslice.errors import UsageError
from thinslice.train.data import RunData
from thinslice.train.processes import Processes, find_device
from thinslice.train.recipe import Recipe, Stage
from thinslice.train.run import RunFolder, write_predictions
from thinslice.train.settings import LoopSettings
from thinslice.train.stage import load_weights
from thinslice.train.system import predict_system, weights_of


def predict_at(
    recipe: Recipe, data: RunData, folder: RunFolder, checkpoint: str, split: str, settings: LoopSettings
) -> Path:
    """Write the predictions of a finished run's last stage at one of its checkpoints; return the file.

    What is there already is not computed again. A trial that was cut short before the checkpoint is scored as it ended.

    Args:
        recipe: the run's.
        data: the run's.
        folder: the run.
        checkpoint: of `Stage.checkpoints`.
        split: whose clips.
        settings: how to compute, and the run's seed.

    Raises:
        UsageError: the last stage has no such checkpoint.
    """
    path = folder.path / f"predictions_{split}_{checkpoint}.csv"
    stage = recipe.stages[-1]
    if not isinstance(stage, Stage) or checkpoint not in stage.checkpoints:
        raise UsageError(f"{recipe.name} {recipe.variant}: its last stage has no checkpoint {checkpoint}")
    weights = folder.stage(stage.name) / f"{checkpoint}.pt"
    if folder.load_end(stage.name).cut_short and not weights.is_file():
        weights = weights_of(folder, stage.name)
    if path.exists() and path.stat().st_mtime_ns > weights.stat().st_mtime_ns:
        return path
    model = recipe.build_model()
    load_weights(model, weights)
    seed = recipe.seed if settings.seed is None else settings.seed
    device = find_device(settings.device, Processes())
    clips = data.splits[split]
    sharing = {"seed": seed, "device": device, "num_readers": settings.num_readers}
    predicted = predict_system(recipe, folder, model.to(device), clips, "test", **sharing)
    write_predictions(path, clips.clips, recipe.outputs, np.asarray(predicted))
    return path
