"""The training loop: the only one. It runs a recipe's stages on clips and leaves a run folder.

Exact resumption: after every epoch the stage's whole state is written; what is random afterwards is derived from seed,
stage, epoch, clip and step (see `thinslice.train.data`). A run that was killed goes back to its last whole epoch and
from there repeats, to the last digit, what an uninterrupted one does on the same machine.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from thinslice.errors import UsageError, reason_of
from thinslice.train.context import RunContext
from thinslice.train.data import RunData
from thinslice.train.documents import FORMAT
from thinslice.train.opening import check_data, check_folder, open_run
from thinslice.train.processes import Processes, find_device, from_first, wait_for_all
from thinslice.train.recipe import FitStage, Recipe, Stage
from thinslice.train.run import RunFolder, save_json, write_predictions
from thinslice.train.run_stage import fit_stage, run_stage
from thinslice.train.scoring import headline_scores
from thinslice.train.settings import LoopSettings
from thinslice.train.stage import TrainingError, load_weights
from thinslice.train.system import build_seeded, predict_system, weights_of


def train(recipe: Recipe, data: RunData, out: str | Path, settings: LoopSettings | None = None) -> RunFolder:
    """Run a recipe's stages, score the result, and leave a run folder.

    Args:
        recipe: what to run.
        data: what on.
        out: the run folder: new, empty, or, to resume, that of the same run.
        settings: how to run.

    Returns:
        The run folder.

    Raises:
        UsageError: arguments that do not fit each other, or a folder that holds something else.
        TrainingError: a loss that is not a number, or memory that does not suffice.
    """
    settings = settings or LoopSettings()
    folder = RunFolder(Path(out))
    seed = recipe.seed if settings.seed is None else settings.seed
    processes = Processes.from_environment()
    device = find_device(settings.device, processes)
    processes.join(device)
    check_data(recipe, data)
    context = RunContext(recipe, data, folder, settings, seed, processes, device)
    check_folder(folder, settings.resume)
    wait_for_all()  # Every process has looked before one of them writes.
    with _quiet_lightning(), _clear_memory_errors(), folder.locked() if processes.rank == 0 else nullcontext():
        document = open_run(context)
        _run_stages(context)
        if processes.rank == 0:
            folder.save(msgspec.structs.replace(document, status="finished"))
        wait_for_all()
    return folder


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's remarks on devices and its advertisements from stderr, not its warnings."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _clear_memory_errors() -> Iterator[None]:
    """Turn what PyTorch raises where memory does not suffice into one line with the remedy."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        is_full = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "t allocate memory" in str(error)
        if not is_full:
            raise
        raise TrainingError(
            f"not enough memory ({reason_of(error)}); with --batch-size-per-device N fewer clips are computed at once"
        ) from error


def _run_stages(context: RunContext) -> None:
    """Run the stages that are not finished, then score the result."""
    recipe, folder = context.recipe, context.folder
    model = build_seeded(recipe, context.seed)
    previous = ""
    stale = False
    for stage in recipe.stages:
        stale = stale or not _is_done(folder, stage, context.settings.max_steps)
        if stale:
            if context.processes.rank == 0:  # They are of other weights.
                (folder.path / "scores.json").unlink(missing_ok=True)
            origin = stage.start or previous
            if origin:
                load_weights(model, weights_of(folder, origin))
            if isinstance(stage, Stage):
                model = run_stage(context, stage, model)
            else:
                fit_stage(context, stage, model)
            # A later stage of an earlier, shorter session was built on other weights.
            _forget_after(folder, recipe, stage.name, context.processes)
        previous = stage.name if isinstance(stage, Stage) else previous
    if stale or not from_first(_is_scored(context)):
        if previous:
            load_weights(model, weights_of(folder, previous))
        _score_run(context, model)


def _is_scored(context: RunContext) -> bool:
    """Return whether the scores and predictions of a run that has nothing left to train are there."""
    folder, splits = context.folder, context.data.splits
    try:
        found = folder.load_scores()
    except UsageError:
        return False
    wanted = [split for split in context.settings.score_splits if len(splits.get(split, ()))]
    return all(split in found and folder.predictions(split).is_file() for split in wanted)


def _is_done(folder: RunFolder, stage: Stage | FitStage, max_steps: int | None) -> bool:
    """Return whether a stage is finished, and not by a smaller limit of steps than now."""
    if not (folder.stage(stage.name) / "done.json").is_file():
        return False
    end = folder.load_end(stage.name)
    limit = stage.steps if isinstance(stage, Stage) else None
    return not end.cut_short or (max_steps is not None and end.steps >= max_steps) or end.steps == limit


def _forget_after(folder: RunFolder, recipe: Recipe, name: str, processes: Processes) -> None:
    names = [stage.name for stage in recipe.stages]
    if processes.rank == 0:
        for later in names[names.index(name) + 1 :]:
            shutil.rmtree(folder.stage(later), ignore_errors=True)
    wait_for_all()


def _score_run(context: RunContext, model: nn.Module) -> None:
    """Write predictions and scores of the splits asked for, sampled as the paper's test does."""
    recipe, settings = context.recipe, context.settings
    model.to(context.device)
    scores: dict[str, Any] = {}
    for split in settings.score_splits:
        clips = context.data.splits.get(split)
        if clips is None or not len(clips):
            continue
        predicted = predict_system(recipe, context.folder, model, clips, "test", **context.sharing)
        residuals = {
            target: [float(q) for q in np.nanquantile(clips.labels[:, k] - predicted[:, k], [0.1, 0.9])]
            for k, target in enumerate(recipe.outputs)
            if not np.isnan(clips.labels[:, k]).all()
        }
        row = headline_scores(clips.labels, predicted, recipe.outputs)
        scores[split] = {"num_clips": len(clips), **row, "residuals": residuals}
        if context.processes.rank == 0:
            write_predictions(context.folder.predictions(split), clips.clips, recipe.outputs, predicted)
    if context.processes.rank == 0:
        save_json(context.folder.path / "scores.json", {"format": FORMAT, "splits": scores})
    model.cpu()
