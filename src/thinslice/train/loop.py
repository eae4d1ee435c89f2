"""The training loop: the only one. It runs a recipe's stages on clips and leaves a run folder.

Exact resumption: after every epoch the stage's whole state is written; what is random afterwards is derived from seed,
stage, epoch, clip and step (see `thinslice.train.data`). A run that was killed goes back to its last whole epoch and
from there repeats, to the last digit, what an uninterrupted one does on the same machine.
"""

import logging
import math
import os
import shutil
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor, nn

from thinslice.errors import UsageError
from thinslice.files import LOCK
from thinslice.train.data import (
    ArrayReader,
    Batches,
    ClipData,
    Source,
    TrainingSet,
    build_loader,
    random_state,
)
from thinslice.train.history import History
from thinslice.train.recipe import Arrays, ClipReader, FitStage, Mode, Predict, Recipe, Stage
from thinslice.train.run import (
    RunFolder,
    check_same,
    describe_labels,
    load_json,
    new_document,
    save_json,
    session,
    write_predictions,
)
from thinslice.train.scoring import apply_to_clips, headline_scores
from thinslice.train.stage import StageModule, freeze, load_weights, save_checkpoint, save_weights

Precision = Literal["32", "16-mixed", "bf16-mixed"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to run, never what: none of these changes what is learned, but for rounding.

    Attributes:
        device: "auto", "cpu" or "cuda".
        seed: None for the recipe's.
        batch_size_per_device: clips in one pass of one process; gradients are accumulated over passes until the
            recipe's batch is full. None for as many as fit into one pass.
        max_steps: optimiser steps of each stage at most: for trials. A run that it cut short can be resumed with more.
        num_workers: processes per device that read and crop.
        precision: "32", "16-mixed" or "bf16-mixed".
        resume: whether to go on with the run in the folder; without one there, it begins.
        progress: whether to show a progress bar.
        tensorboard: whether to write events.
        score_splits: splits whose predictions are written at the end.
    """

    device: str = "auto"
    seed: int | None = None
    batch_size_per_device: int | None = None
    max_steps: int | None = None
    num_workers: int = 0
    precision: Precision = "32"
    resume: bool = False
    progress: bool = False
    tensorboard: bool = True
    score_splits: tuple[str, ...] = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What a run learns from and is scored on.

    Attributes:
        splits: "train" and any of "validation" and "test" -> clips with labels of the recipe's outputs.
        companions: the recipe's companion data sets.
        facts: about their origin, for run.json: digests, left-out clips. Compared when a run is resumed.
        origin: where they were on this machine: "manifest" and "store". Not compared: data may move.
    """

    splits: Mapping[str, ClipData]
    companions: Mapping[str, ClipData] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Context:
    """What all stages of a run share."""

    recipe: Recipe
    data: RunData
    folder: RunFolder
    settings: Settings
    seed: int
    processes: "Processes"
    device: torch.device

    @property
    def sharing(self) -> dict[str, Any]:
        """How `apply_to_clips` divides its work."""
        shared = {"rank": self.processes.rank, "num_processes": self.processes.count}
        return {"num_workers": self.settings.num_workers, "device": self.device, "seed": self.seed, **shared}


@dataclass(frozen=True)
class Processes:
    """The processes that train together, as torchrun says in the environment; one without it."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    per_node: int = 1

    @classmethod
    def from_environment(cls) -> "Processes":
        """Read what torchrun set."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return cls(*(int(os.environ[name]) for name in names))

    def join(self, device: torch.device) -> None:
        """Connect the processes: before Lightning would, since they share the run folder from the start."""
        if self.count > 1 and not torch.distributed.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def train(recipe: Recipe, data: RunData, out: str | Path, settings: Settings | None = None) -> RunFolder:
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
        TrainingError: a loss that is no number.
    """
    settings = settings or Settings()
    folder = RunFolder(Path(out))
    seed = recipe.seed if settings.seed is None else settings.seed
    processes = Processes.from_environment()
    device = _find_device(settings.device, processes)
    processes.join(device)
    _check_data(recipe, data)
    context = _Context(recipe, data, folder, settings, seed, processes, device)
    _check_folder(context)
    with _quiet_lightning(), folder.locked() if processes.rank == 0 else nullcontext():
        document = _open_run(context)
        _run_stages(context)
        if processes.rank == 0:
            folder.save({**document, "status": "finished"})
        _barrier()
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


def _run_stages(context: _Context) -> None:
    """Run the stages that are not finished, then score the result."""
    recipe, folder = context.recipe, context.folder
    model = build_seeded(recipe, context.seed)
    previous = ""
    stale = False
    for stage in recipe.stages:
        stale = stale or not _is_done(folder.stage(stage.name), context.settings.max_steps, _limit(stage))
        if stale:
            origin = stage.start or previous
            if origin:
                load_weights(model, weights_of(folder, origin))
            if isinstance(stage, Stage):
                model = _run_stage(context, stage, model)
            else:
                _fit_stage(context, stage, model)
            # A later stage of an earlier, shorter session was built on other weights.
            _forget_after(folder, recipe, stage.name, context.processes)
        previous = stage.name if isinstance(stage, Stage) else previous
    if previous:
        load_weights(model, weights_of(folder, previous))
    _score_run(context, model)


def build_seeded(recipe: Recipe, seed: int) -> nn.Module:
    """Return the recipe's network with the fresh weights that belong to a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random_state(seed, "weights").integers(2**63)))
        return recipe.build_model()


def weights_of(folder: RunFolder, stage: str) -> Path:
    """Return the file of the weights that a finished stage left; UsageError if it is not finished."""
    done = load_json(folder.stage(stage) / "done.json", f"stage {stage} is not finished; go on with --resume")
    return folder.stage(stage) / f"{done['keep']}.pt"


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
    source = Source(data, recipe.sample, recipe.ragged)
    last = recipe.stages[-1]
    predict = last.features if isinstance(last, FitStage) else recipe.predict
    rows = apply_to_clips(model, source, mode, partial(_as_scores, predict), **running)
    values = np.stack([row["scores"] for row in rows]).astype(np.float64)
    if isinstance(last, FitStage):
        values = np.asarray(last.load(folder.stage(last.name) / "estimator").predict(values), dtype=np.float64)
    return np.clip(values, 0.0, 1.0)


def _as_scores(predict: Predict, model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"scores": predict(model, inputs)}


def _check_data(recipe: Recipe, data: RunData) -> None:
    if not len(data.splits.get("train", ())):
        raise UsageError(f"no training clip with features and labels of {', '.join(recipe.outputs)}; see the manifest")
    weights = data.splits["train"].weights
    if weights is not None and not weights.any():
        raise UsageError("every training clip has weight 0 in the manifest; nothing would be learned from")
    for split, clips in data.splits.items():
        if clips.targets != recipe.outputs:
            raise UsageError(f"the {split} clips have labels {clips.targets}, {recipe.name} predicts {recipe.outputs}")
    needed = {name for stage in recipe.stages if isinstance(stage, Stage) for name in stage.companions}
    missing = sorted(needed - {name for name, clips in data.companions.items() if len(clips)})
    if missing:
        raise UsageError(f"{recipe.name} learns from {', '.join(missing)} too: give --companion {missing[0]}=MANIFEST")


def _check_folder(context: _Context) -> None:
    """Raise UsageError where the folder holds something else, or a run that is not to be resumed."""
    path = context.folder.path
    if context.folder.exists():
        if not context.settings.resume:
            raise UsageError(f"{path}: there is a run already; go on with --resume, or choose another folder")
    elif path.exists() and (not path.is_dir() or {entry.name for entry in path.iterdir()} - {LOCK}):
        raise UsageError(f"{path}: is there already and is no run; choose another folder")
    _barrier()  # Every process has looked before one of them writes.


def _open_run(context: _Context) -> dict[str, Any]:
    """Check that a run in the folder is this very run, and write run.json."""
    recipe, data, folder, settings = context.recipe, context.data, context.folder, context.settings
    facts = {
        **data.facts,
        "num_clips": {split: len(clips) for split, clips in data.splits.items()},
        "labels": describe_labels(data.splits["train"].labels, recipe.outputs),
        "companions": {name: len(clips) for name, clips in data.companions.items()},
    }
    document = new_document(recipe, facts, context.seed, settings.max_steps)
    if folder.exists():
        old = folder.load()
        check_same(old, document, folder.path)
        document = {**document, "sessions": old["sessions"]}
    _barrier()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    device = f"{context.processes.count} x {context.device.type}"
    entry = session(device, asdict(settings), began)
    document["sessions"] = [*document["sessions"], {**entry, "origin": dict(data.origin)}]
    if context.processes.rank == 0:
        folder.save(document)
    return document


def _limit(stage: Stage | FitStage) -> int | None:
    return stage.steps if isinstance(stage, Stage) else None


def _is_done(path: Path, max_steps: int | None, steps: int | None) -> bool:
    """Return whether a stage is finished, and not by a smaller limit of steps than now."""
    if not (path / "done.json").is_file():
        return False
    done = load_json(path / "done.json", "")
    return not done["cut_short"] or (max_steps is not None and done["steps"] >= max_steps) or done["steps"] == steps


def _forget_after(folder: RunFolder, recipe: Recipe, name: str, processes: Processes) -> None:
    names = [stage.name for stage in recipe.stages]
    if processes.rank == 0:
        for later in names[names.index(name) + 1 :]:
            shutil.rmtree(folder.stage(later), ignore_errors=True)
    _barrier()


def _barrier() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def _run_stage(context: _Context, stage: Stage, model: nn.Module) -> nn.Module:
    """Train one stage; return the model, on the CPU, with the weights that the stage keeps."""
    recipe, settings, folder = context.recipe, context.settings, context.folder
    path = folder.stage(stage.name)
    checkpoint = path / "last.ckpt"
    state: dict[str, Any] = {"num_epochs": 0, "steps_done": 0, "progress": {}}
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["thinslice"]
    elif stage.prepare is not None:
        stage.prepare(model, context.data.splits["train"])
    freeze(model, stage)
    history = None
    if context.processes.rank == 0:
        path.mkdir(parents=True, exist_ok=True)
        (path / "done.json").unlink(missing_ok=True)
        history = History(folder.path, settings.tensorboard)
        names = [entry.name for entry in recipe.stages]
        kept = state["steps_done"] if checkpoint.is_file() else -1
        history.cut(names[: names.index(stage.name)], stage.name, kept)

    sources, predict = _stage_sources(context, stage, model)
    loader, accumulated = _stage_loader(context, stage, sources, state["num_epochs"])
    limits = [limit for limit in (stage.steps, settings.max_steps) if limit is not None]
    scorer = _EpochScorer(context, stage, sources, predict, history)
    module = StageModule(
        model,
        stage,
        seed=context.seed,
        history=history,
        max_steps=min(limits) if limits else None,
        on_epoch=scorer.end_epoch,
        on_start=scorer.start if stage.validate_start else None,
    )
    # A run that was killed after its last epoch's checkpoint has nothing left to train.
    if not state["progress"].get("ended") and (module.max_steps is None or state["steps_done"] < module.max_steps):
        _fit(_build_trainer(context, stage), module, loader, checkpoint if checkpoint.is_file() else None)
    else:
        module.steps_done, module.progress = state["steps_done"], state["progress"]
    if history is not None:
        history.close()
    model = module.model.cpu()
    if context.processes.rank == 0:
        keep = "best" if stage.keep == "best" and (path / "best.pt").is_file() else "last"
        cut_short = settings.max_steps is not None and module.steps_done == settings.max_steps
        ended = {"keep": keep, "steps": module.steps_done, "cut_short": cut_short, "accumulated": accumulated}
        save_json(path / "done.json", {**ended, "progress": module.progress})
    _barrier()
    load_weights(model, weights_of(folder, stage.name))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def _fit(trainer: L.Trainer, module: StageModule, loader: Any, checkpoint: Path | None) -> None:
    with warnings.catch_warnings():
        # Frozen parts are meant to be in evaluation mode, and workers are the user's choice.
        for message in (".*in eval mode at the start of training.*", ".*does not have many workers.*"):
            warnings.filterwarnings("ignore", message=message)
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        try:
            trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):  # Lightning makes an exit with 1 of it.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                raise KeyboardInterrupt from None
            raise


def _stage_sources(context: _Context, stage: Stage, model: nn.Module) -> tuple[dict[str, Source], Predict]:
    """Return each split's clips as the stage sees them, and how it predicts."""
    recipe = context.recipe
    sample = stage.sample or recipe.sample
    sources = {split: Source(clips, sample, recipe.ragged) for split, clips in context.data.splits.items()}
    sources.pop("test", None)
    predict = stage.predict or recipe.predict
    if stage.precompute is None:
        return sources, predict
    model.to(context.device)
    ready = {}
    for split, source in sources.items():
        rows = apply_to_clips(model, source, "validation", stage.precompute, **context.sharing)
        clips = source.data
        arrays = ArrayReader(dict(zip(clips.clips, rows, strict=True)))
        held = replace(clips, features=arrays)
        ready[split] = Source(held, _AllOf(tuple(rows[0])), tuple(name for name in rows[0] if name in recipe.ragged))
    return ready, predict


@dataclass(frozen=True)
class _AllOf:
    """Samples features held in memory: all of them, as they are."""

    names: tuple[str, ...]

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        return {name: clip.read(name) for name in self.names}


def _stage_loader(
    context: _Context, stage: Stage, sources: Mapping[str, Source], epoch: int
) -> tuple["torch.utils.data.DataLoader[Any]", int]:
    """Return the loader of this process's passes, and how many make a step."""
    recipe, settings, processes = context.recipe, context.settings, context.processes
    per_process = math.ceil(stage.batch_size / processes.count)
    accumulated = math.ceil(per_process / (settings.batch_size_per_device or per_process))
    others = {name: context.data.companions[name] for name in stage.companions}
    batches = Batches(
        num_clips=len(sources["train"].data),
        batch_size=stage.batch_size,
        seed=context.seed,
        stage=stage.name,
        rank=processes.rank,
        num_processes=processes.count,
        num_accumulated=accumulated,
        drop_last=stage.drop_last,
        companions={name: (len(clips), recipe.companions[name].batch_size) for name, clips in others.items()},
        epoch=epoch,
        weights=sources["train"].data.weights,
    )
    dataset = TrainingSet(
        clips=sources["train"],
        companions={name: Source(clips, recipe.companions[name].sample) for name, clips in others.items()},
        seed=context.seed,
        stage=stage.name,
    )
    loader = build_loader(dataset, batches, settings.num_workers, pin_memory=context.device.type == "cuda")
    return loader, accumulated


class _EpochScorer:
    """Scores the validation clips, writes the history and the checkpoint, says when to stop."""

    def __init__(
        self,
        context: _Context,
        stage: Stage,
        sources: Mapping[str, Source],
        predict: Predict,
        history: History | None,
    ) -> None:
        self.context = context
        self.stage = stage
        self.validation = sources.get("validation")
        self.predict = predict
        self.history = history
        self.path = context.folder.stage(stage.name)

    def start(self, module: StageModule) -> None:
        """Score the weights that the stage starts with, as epoch 0."""
        if self.validation is None:
            return
        row = {"stage": self.stage.name, "epoch": 0, "step": 0, **self._scores(module)}
        self._note_best(module, row)
        if self.history is not None:
            self.history.add_epoch(row)

    def end_epoch(self, module: StageModule, epoch: int, means: dict[str, float], is_whole: bool) -> bool:
        """Score an epoch, counted from 1; return whether to stop."""
        stage, progress = self.stage, module.progress
        is_end = (
            module.steps_done == module.max_steps
            or (stage.epochs is not None and epoch >= stage.epochs)
            or module.trainer.should_stop
        )
        row: dict[str, Any] = {"stage": stage.name, "epoch": epoch, "step": module.steps_done}
        row |= {f"train_{name}" if name != "seconds" else name: value for name, value in means.items()}
        if self.validation is not None and (is_end or epoch % stage.validate_every == 0):
            row |= self._scores(module)
            self._note_best(module, row)
        if module.global_rank == 0:
            save_weights(module.model, self.path / "last.pt")
        if self.history is not None:
            self.history.add_epoch(row)
        waited = epoch - progress.get("best_epoch", epoch)
        progress["ended"] = stage.patience is not None and waited >= stage.patience
        if is_whole:
            save_checkpoint(module, self.path / "last.ckpt")
        return bool(progress["ended"])

    def _note_best(self, module: StageModule, row: Mapping[str, Any]) -> None:
        monitor, progress = self.stage.monitor, module.progress
        if monitor not in row:
            known = ", ".join(name for name, value in row.items() if isinstance(value, float))
            raise UsageError(f"stage {self.stage.name}: no {monitor} to choose the best epoch by; there is {known}")
        # Losses get better downwards, scores upwards.
        value = -row[monitor] if monitor.startswith("train_") else row[monitor]
        if "best" not in progress or value > progress["best"]:
            progress |= {"best": value, "best_epoch": row["epoch"]}
            if module.global_rank == 0:
                save_weights(module.model, self.path / "best.pt")

    def _scores(self, module: StageModule) -> dict[str, float]:
        assert self.validation is not None
        rows = apply_to_clips(
            module.model,
            self.validation,
            "validation",
            partial(_as_scores, self.predict),
            autocast=module.trainer.precision_plugin.forward_context,
            **self.context.sharing,
        )
        predicted = np.stack([row["scores"] for row in rows]).astype(np.float64)
        data = self.validation.data
        return headline_scores(data.labels, predicted, data.targets)


def _fit_stage(context: _Context, stage: FitStage, model: nn.Module) -> None:
    """Fit an estimator on what the networks give for the training clips."""
    path = context.folder.stage(stage.name)
    source = Source(context.data.splits["train"], context.recipe.sample, context.recipe.ragged)
    features_of = partial(_as_scores, stage.features)
    rows = apply_to_clips(model.to(context.device), source, "validation", features_of, **context.sharing)
    model.cpu()
    if context.processes.rank == 0:
        features = np.stack([row["scores"] for row in rows])
        estimator = stage.fit(features, source.data.labels, context.seed)
        target = path / "estimator"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        stage.save(estimator, target)
        save_json(path / "done.json", {"keep": "", "steps": 0, "cut_short": False})
    _barrier()


def _score_run(context: _Context, model: nn.Module) -> None:
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
        save_json(context.folder.path / "scores.json", {"splits": scores})
    model.cpu()


def _find_device(name: str, processes: Processes) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", processes.local_rank)


def _build_trainer(context: _Context, stage: Stage) -> L.Trainer:
    processes = context.processes
    strategy: Strategy
    if processes.count > 1:
        # Several updates in turn, and losses on some of the outputs, leave parameters without a gradient.
        strategy = DDPStrategy(find_unused_parameters=True)
    else:
        strategy = SingleDeviceStrategy(device=context.device)
    precision: Any = context.settings.precision
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        return L.Trainer(
            accelerator=context.device.type,
            devices=processes.per_node if processes.count > 1 else 1,
            num_nodes=processes.count // processes.per_node,
            strategy=strategy,
            precision=precision,
            max_epochs=-1 if stage.epochs is None else stage.epochs,
            sync_batchnorm=context.device.type == "cuda" and processes.count > 1,
            use_distributed_sampler=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=context.settings.progress and processes.rank == 0,
            default_root_dir=context.folder.path,
        )
