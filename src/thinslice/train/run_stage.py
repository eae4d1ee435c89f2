"""One stage of a run: its data, its trainer, and what it leaves in the run folder."""

import shutil
import signal
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch import nn

from thinslice.train.background import BackgroundWriter, CheckpointsBehind
from thinslice.train.context import RunContext
from thinslice.train.data import ArrayReader, Batches, Sampled, TrainingSet
from thinslice.train.division import Division, divide
from thinslice.train.documents import StageEnd
from thinslice.train.epoch import EpochScorer
from thinslice.train.history import History
from thinslice.train.processes import wait_for_all
from thinslice.train.readers import build_loader, bytes_of
from thinslice.train.recipe import Arrays, ClipReader, FitStage, Mode, Predict, Stage
from thinslice.train.run import save_json
from thinslice.train.scoring import apply_to_clips
from thinslice.train.shared_stages import fill_in, shared_stage
from thinslice.train.stage import StageModule, freeze, load_checkpoint, load_weights
from thinslice.train.system import as_scores, weights_of


def run_stage(context: RunContext, stage: Stage, model: nn.Module) -> nn.Module:
    """Train one stage, or take it from the stages that runs share; return the model with the weights that it keeps.

    The model is on the CPU, before and after.
    """
    stage = fill_in(stage, context)
    folder = context.folder
    base = {name: value.clone() for name, value in model.state_dict().items()} if _shares(context) else {}
    if not (folder.stage(stage.name) / "last.ckpt").is_file() and stage.prepare is not None:
        stage.prepare(model, context.splits_of(stage)["train"])
    with shared_stage(context, stage, model, base, partial(_open_history, context, stage, -1)) as is_taken:
        if not is_taken:
            model = _train_stage(context, stage, model)
    wait_for_all()
    load_weights(model, weights_of(folder, stage.name))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def _shares(context: RunContext) -> bool:
    return context.settings.shared_stages is not None and context.processes.rank == 0


def _open_history(context: RunContext, stage: Stage, kept: int) -> History:
    """Return the run's history, cut back to the stages before this one and its own rows up to a step (-1: none)."""
    path = context.folder.stage(stage.name)
    path.mkdir(parents=True, exist_ok=True)
    (path / "done.json").unlink(missing_ok=True)
    history = History(context.folder.path, context.settings.tensorboard)
    names = [entry.name for entry in context.recipe.stages]
    history.cut(names[: names.index(stage.name)], stage.name, kept)
    return history


def _train_stage(context: RunContext, stage: Stage, model: nn.Module) -> nn.Module:
    """Train one stage whose network is prepared; return the model, on the CPU."""
    settings, path = context.settings, context.folder.stage(stage.name)
    checkpoint = path / "last.ckpt"
    state: dict[str, Any] = {"num_epochs": 0, "steps_done": 0, "progress": {}}
    if checkpoint.is_file():
        state = load_checkpoint(checkpoint)
    freeze(model, stage)
    history = None
    if context.processes.rank == 0:
        history = _open_history(context, stage, state["steps_done"] if checkpoint.is_file() else -1)

    sources, predict = find_sources(context, stage, model)
    division = divide(stage, model, context.processes, context.device, settings.batch_size_per_device)
    loader = build_stage_loader(context, stage, sources, state["num_epochs"], division)
    limits = [limit for limit in (stage.steps, settings.max_steps) if limit is not None]
    with BackgroundWriter() as writer:
        scorer = EpochScorer(context, stage, sources, predict, history, writer)
        module = StageModule(
            model,
            stage,
            seed=context.seed,
            history=history,
            max_steps=min(limits) if limits else None,
            on_epoch=scorer.end_epoch,
            on_start=scorer.start if stage.validate_start else None,
            division=division,
        )
        # A run that was killed after its last epoch's checkpoint has nothing left to train.
        if not state["progress"].get("ended") and (module.max_steps is None or state["steps_done"] < module.max_steps):
            trainer = build_trainer(context, stage, division, writer)
            fit(trainer, module, loader, checkpoint if checkpoint.is_file() else None)
        else:
            module.steps_done, module.progress = state["steps_done"], state["progress"]
        scorer.close()
    if history is not None:
        history.close()
    model = module.model.cpu()
    if context.processes.rank == 0:
        keep: Literal["best", "last"] = "best" if stage.keep == "best" and (path / "best.pt").is_file() else "last"
        cut_short = settings.max_steps is not None and module.steps_done == settings.max_steps
        end = StageEnd(
            keep=keep,
            steps=module.steps_done,
            cut_short=cut_short,
            accumulated=division.num_passes,
            progress=dict(module.progress),
        )
        save_json(path / "done.json", end)
    return model


def fit(trainer: L.Trainer, module: StageModule, loader: Any, checkpoint: Path | None) -> None:
    """Run a trainer, on from a checkpoint where there is one; Ctrl-C stays KeyboardInterrupt."""
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


def find_sources(context: RunContext, stage: Stage, model: nn.Module) -> tuple[dict[str, Sampled], Predict]:
    """Return each split's clips as the stage sees them, and how it predicts."""
    recipe = context.recipe
    sample, predict = stage.sample or recipe.sample, stage.predict or recipe.predict
    sources = {split: Sampled(clips, sample, recipe.ragged) for split, clips in context.splits_of(stage).items()}
    if stage.precompute is None:
        return sources, predict
    model.to(context.device)
    ready = {}
    for split, source in sources.items():
        rows = apply_to_clips(model, source, "validation", stage.precompute, **context.sharing)
        clips = source.data
        arrays = ArrayReader(dict(zip(clips.clips, rows, strict=True)))
        held = replace(clips, features=arrays)
        ready[split] = Sampled(held, _AllOf(tuple(rows[0])), tuple(name for name in rows[0] if name in recipe.ragged))
    return ready, predict


@dataclass(frozen=True)
class _AllOf:
    """Samples features held in memory: all of them, as they are."""

    names: tuple[str, ...]

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        return {name: clip.read(name) for name in self.names}


def build_stage_loader(
    context: RunContext, stage: Stage, sources: Mapping[str, Sampled], epoch: int, division: Division
) -> "torch.utils.data.DataLoader[Any]":
    """Return the loader of this process's passes."""
    recipe, settings = context.recipe, context.settings
    others = {name: context.data.companions[name] for name in stage.companions}
    batches = Batches(
        num_clips=len(sources["train"].data),
        batch_size=stage.batch_size,
        seed=context.seed,
        stage=stage.name,
        rank=division.rank,
        num_processes=division.num_shares,
        num_accumulated=division.num_passes,
        drop_last=stage.drop_last,
        companions={name: (len(clips), recipe.companions[name].batch_size) for name, clips in others.items()},
        epoch=epoch,
        weights=sources["train"].data.weights,
    )
    dataset = TrainingSet(
        clips=sources["train"],
        companions={name: Sampled(clips, recipe.companions[name].sample) for name, clips in others.items()},
        seed=context.seed,
        stage=stage.name,
    )
    num_bytes = 0
    if settings.num_readers:
        parts = [(dataset.clips, stage.batch_size)]
        parts += [(own, recipe.companions[name].batch_size) for name, own in dataset.companions.items()]
        divided = division.num_shares * division.num_passes
        num_bytes = sum(bytes_of(source, "train") * -(-count // divided) for source, count in parts)
    return build_loader(
        dataset, batches, settings.num_readers, pin_memory=context.device.type == "cuda", num_bytes=num_bytes
    )


def fit_stage(context: RunContext, stage: FitStage, model: nn.Module) -> None:
    """Fit an estimator on what the networks give for the training clips."""
    path = context.folder.stage(stage.name)
    source = Sampled(context.data.splits["train"], context.recipe.sample, context.recipe.ragged)
    features_of = partial(as_scores, stage.features)
    rows = apply_to_clips(model.to(context.device), source, "validation", features_of, **context.sharing)
    model.cpu()
    if context.processes.rank == 0:
        features = np.stack([row["scores"] for row in rows])
        estimator = stage.fit(features, source.data.labels, context.seed)
        target = path / "estimator"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        stage.save(estimator, target)
        save_json(path / "done.json", StageEnd(keep="", steps=0, cut_short=False))
    wait_for_all()


class _Bar(RichProgressBar):
    """A progress bar that names the stage, and counts epochs from 1 as everything else does."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def _get_train_description(self, current_epoch: int) -> str:
        of = "" if self._stage.epochs is None else f" of {self._stage.epochs}"
        return f"{self._stage.name}: epoch {current_epoch + 1}{of}"


def build_trainer(context: RunContext, stage: Stage, division: Division, writer: BackgroundWriter) -> L.Trainer:
    """Return Lightning's trainer of a stage."""
    processes = context.processes
    strategy: Strategy
    if processes.count > 1:
        # Several updates in turn, and losses on some of the outputs, leave parameters without a gradient.
        strategy = DDPStrategy(find_unused_parameters=True, checkpoint_io=CheckpointsBehind(writer))
    else:
        strategy = SingleDeviceStrategy(device=context.device, checkpoint_io=CheckpointsBehind(writer))
    shows = context.settings.progress and processes.rank == 0
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
            sync_batchnorm=context.device.type == "cuda" and division.num_shares > 1,
            use_distributed_sampler=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=shows,
            callbacks=[_Bar(stage)] if shows else [],
            default_root_dir=context.folder.path,
        )
