"""The optimiser steps of one stage, as the module that Lightning's trainer drives: the same one for every system."""

import io
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from thinslice.errors import ThinsliceError, UsageError, reason_of
from thinslice.files import write_atomically
from thinslice.train.data import random_state
from thinslice.train.division import WHOLE, Division
from thinslice.train.history import History
from thinslice.train.recipe import Batch, Stage, Update

FLUSH_EVERY = 20
"""Optimiser steps between two looks at the losses: each look makes a GPU's queue run dry for a moment."""


class TrainingError(ThinsliceError):
    """A training that cannot go on, such as a loss that is not a number."""


def trained_parameters(model: nn.Module, update: Update) -> dict[str, nn.Parameter]:
    """Return the parameters that an update changes, by name; UsageError where a part it names does not exist."""
    names = dict(model.named_parameters())
    chosen = {name: p for name, p in names.items() if any(_within(name, part) for part in update.trains)}
    for part in (*update.trains, *update.options):
        if not any(_within(name, part) for name in names):
            raise UsageError(f"update {update.name}: no parameter of the model begins with {part!r}")
    return chosen


def _within(name: str, part: str) -> bool:
    return part == "" or name == part or name.startswith(part if part.endswith(".") else part + ".")


def freeze(model: nn.Module, stage: Stage) -> None:
    """Let exactly the stage's parameters train, and put every module without any of them in evaluation mode."""
    trained = {id(p) for update in stage.updates for p in trained_parameters(model, update).values()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)
    set_modes(model)


def set_modes(model: nn.Module) -> None:
    """Put modules in training mode, those whose parameters are all frozen in evaluation mode.

    A module without parameters, such as dropout, follows the module that holds it.
    """

    def visit(module: nn.Module, training: bool) -> None:
        parameters = list(module.parameters())
        if parameters:
            training = any(parameter.requires_grad for parameter in parameters)
        module.training = training
        for child in module.children():
            visit(child, training)

    visit(model, True)


def build_optimiser(model: nn.Module, update: Update) -> torch.optim.Optimizer:
    """Return an update's optimiser: one group of parameters for each of its `options`, and one for the rest."""
    groups: dict[str, list[nn.Parameter]] = {part: [] for part in ("", *update.options)}
    for name, parameter in trained_parameters(model, update).items():
        fitting = [part for part in update.options if _within(name, part)]
        groups[max(fitting, key=len) if fitting else ""].append(parameter)
    settings = {"": {}, **update.options}
    return update.optimiser([{"params": group, **settings[part]} for part, group in groups.items() if group])


class StageModule(L.LightningModule):
    """Does a stage's updates on every batch, records their losses, and calls back after every epoch.

    Args:
        model: the network, its parameters frozen as the stage wants.
        stage: what to do.
        seed: of dropout and other randomness in the network: the same in every step however it was reached.
        history: where losses go; None in processes that write nothing.
        max_steps: optimiser steps after which to stop; None for no limit.
        division: how a step's clips are divided among processes and passes.
        on_start: called before the first step of a stage that does not go on from a checkpoint.
        on_epoch: called with (this module, epoch from 1, the epoch's means, whether the epoch is whole) after every
            epoch; returns whether to stop.
    """

    def __init__(
        self,
        model: nn.Module,
        stage: Stage,
        *,
        seed: int,
        history: History | None,
        max_steps: int | None,
        on_epoch: Callable[["StageModule", int, dict[str, float], bool], bool],
        on_start: Callable[["StageModule"], None] | None = None,
        division: Division = WHOLE,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # Several optimisers in turn, and weighted accumulation, need this.
        self.model = model
        self.stage = stage
        self.seed = seed
        self.max_steps = max_steps
        self.steps_done = 0
        self.progress: dict[str, float] = {}
        self._division = division
        self._history = history
        self._on_epoch = on_epoch
        self._on_start = on_start
        self._trained = [list(trained_parameters(model, update).values()) for update in stage.updates]
        self._pending: list[dict[str, Tensor]] = []  # Of each step not yet looked at: name -> loss.
        self._rates: list[list[float]] = []
        self._sums: dict[str, float] = {}
        self._count = 0
        self._part = 0
        self._current: dict[str, Tensor] = {}
        self._began = time.perf_counter()

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        """Return the updates' optimisers and schedules."""
        optimisers = [build_optimiser(self.model, update) for update in self.stage.updates]
        schedules = [
            update.schedule(optimiser)
            for update, optimiser in zip(self.stage.updates, optimisers, strict=True)
            if update.schedule is not None
        ]
        return optimisers, schedules

    @property
    def epoch(self) -> int:
        """The epoch, counted from 1."""
        return int(self.current_epoch) + 1

    def on_train_start(self) -> None:
        """Call back before the first step."""
        if self._on_start is not None and self.steps_done == 0:
            self._on_start(self)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's means afresh."""
        set_modes(self.model)
        self._sums, self._count, self._part = {}, 0, 0
        self._began = time.perf_counter()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Do one pass: the gradients of every update and, with the step's last pass, the optimisers' steps."""
        is_last = bool(batch["is_last"])
        for index, (update, optimiser) in enumerate(zip(self.stage.updates, self._optimisers(), strict=True)):
            self._seed(index)
            if len(self.stage.updates) > 1:
                self._let_train(index)
            with self._where_results_are_kept():
                result = update.loss(self.model, batch)
            parts = result if isinstance(result, dict) else {"loss": result}
            self.manual_backward(parts["loss"] * batch["weight"])
            self._record(update.name, parts, batch["weight"])
            if is_last:
                optimiser.step()
                optimiser.zero_grad()
        if len(self.stage.updates) > 1:
            self._let_train(None)
        self._part += 1
        if is_last:
            self._finish_step()

    def on_train_epoch_end(self) -> None:
        """Step the schedules that count epochs, and call back."""
        is_whole = self.trainer.fit_loop.epoch_loop._num_ready_batches_reached()
        self._flush()
        if is_whole:
            self._step_schedules(per_step=False)
        means = {name: total / max(self._count, 1) for name, total in self._sums.items()}
        means["seconds"] = time.perf_counter() - self._began
        if self._on_epoch(self, self.epoch, means, is_whole):
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed stage has to know."""
        checkpoint["thinslice"] = {
            "stage": self.stage.name,
            "num_epochs": self.epoch,
            "steps_done": self.steps_done,
            "progress": dict(self.progress),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        self.steps_done = checkpoint["thinslice"]["steps_done"]
        self.progress = dict(checkpoint["thinslice"]["progress"])

    def _optimisers(self) -> Sequence[Any]:
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def _schedules(self) -> Iterator[tuple[Update, Any]]:
        found = self.lr_schedulers()
        schedules = iter(found if isinstance(found, list) else [found] if found is not None else [])
        for update in self.stage.updates:
            if update.schedule is not None:
                yield update, next(schedules)

    def _step_schedules(self, per_step: bool) -> None:
        for update, schedule in self._schedules():
            if update.per_step == per_step:
                schedule.step()

    def _seed(self, index: int) -> None:
        # Dropout of a step depends on which step it is, not on what was computed before: a resumed run draws the same.
        path = (self.stage.name, "step", self.steps_done, self._division.rank, self._part, index)
        torch.manual_seed(int(random_state(self.seed, *path).integers(2**63)))

    def _where_results_are_kept(self) -> AbstractContextManager[object]:
        """Keep what the backward pass needs in main memory, where a batch must go through at once and may not fit."""
        on_gpu = self.device.type == "cuda"
        return torch.autograd.graph.save_on_cpu(pin_memory=on_gpu) if self._division.spares_memory else nullcontext()

    def _let_train(self, index: int | None) -> None:
        chosen = None if index is None else {id(parameter) for parameter in self._trained[index]}
        for parameters in self._trained:
            for parameter in parameters:
                parameter.requires_grad_(chosen is None or id(parameter) in chosen)

    def _record(self, update: str, parts: dict[str, Tensor], weight: float) -> None:
        for name, value in parts.items():
            key = update if name == "loss" else f"{update}_{name}"
            share = value.detach().float() * weight
            self._current[key] = self._current[key] + share if key in self._current else share

    def _finish_step(self) -> None:
        self._rates.append([float(optimiser.param_groups[0]["lr"]) for optimiser in self._optimisers()])
        self._step_schedules(per_step=True)
        self._pending.append(self._current)
        self._current, self._part = {}, 0
        self.steps_done += 1
        if self.steps_done == self.max_steps:
            self.trainer.should_stop = True
        if len(self._pending) >= FLUSH_EVERY:
            self._flush()

    def _flush(self) -> None:
        """Look at the losses since the last look: all processes' means, checked and recorded."""
        if not self._pending:
            return
        names = list(self._pending[0])
        table = torch.stack([torch.stack([step[name] for name in names]) for step in self._pending])
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(table)
        losses = table.cpu().numpy().astype(np.float64) / self.trainer.world_size
        first = self.steps_done - len(self._pending)
        updates = [update.name for update in self.stage.updates]
        rows = []
        for offset, (values, rates) in enumerate(zip(losses, self._rates, strict=True)):
            by_name = dict(zip(names, values, strict=True))
            for name, value in by_name.items():
                if not math.isfinite(value):
                    raise TrainingError(
                        f"stage {self.stage.name}, epoch {self.epoch}, step {first + offset + 1}: the loss {name} "
                        f"is {value}; look at the clips' features, lower the learning rate, or use --precision 32"
                    )
            for name, rate in zip(updates, rates, strict=True):
                at = {"stage": self.stage.name, "epoch": self.epoch, "step": first + offset + 1}
                rows.append({**at, "update": name, "loss": f"{by_name[name]:.9g}", "rate": f"{rate:.6g}"})
            self._count += 1
            for name, value in by_name.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
        if self._history is not None:
            self._history.add_steps(rows)
        self.log_dict(dict(zip(names, map(float, losses[-1]), strict=True)), prog_bar=True)
        self._pending, self._rates = [], []


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a network's parameters and buffers, nothing else; OutputError where that cannot be."""
    save_state(model.state_dict(), path)


def save_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors by their names, nothing else; OutputError where that cannot be."""
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu() for name, value in state.items()}, buffer)
    write_atomically(path, buffer.getvalue())


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote; UsageError where it is absent, damaged or of another network."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except FileNotFoundError:
        raise UsageError(f"{path}: no weights there; the run was not trained so far") from None
    except Exception as error:  # torch raises many types for damaged files
        line = reason_of(error)
        raise UsageError(f"{path}: cannot be loaded ({line}); made by another version, or damaged") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a stage's checkpoint says of its progress; UsageError where it is cut or otherwise damaged."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        state: dict[str, Any] = found["thinslice"]
        if not isinstance(state["progress"], dict):
            raise TypeError("its progress is not a table")
        return {name: state[name] for name in ("num_epochs", "steps_done", "progress")}
    except Exception as error:  # torch raises many types for damaged files
        reason = reason_of(error)
        raise UsageError(f"{path}: damaged ({reason}); delete it, and --resume begins this stage again") from None
