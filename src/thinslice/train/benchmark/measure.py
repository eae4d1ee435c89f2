"""How many clips a second a stage's loop trains, with reading and without, and what reading costs."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import lightning as L
import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import nn

from thinslice.errors import ThinsliceError
from thinslice.train.background import BackgroundWriter
from thinslice.train.context import RunContext
from thinslice.train.data import RunData
from thinslice.train.division import WHOLE
from thinslice.train.processes import Processes, find_device
from thinslice.train.recipe import Batch, Recipe, Stage
from thinslice.train.run import RunFolder
from thinslice.train.run_stage import build_stage_loader, build_trainer, find_sources, fit
from thinslice.train.settings import LoopSettings
from thinslice.train.shared_stages import fill_in
from thinslice.train.stage import StageModule, freeze
from thinslice.train.system import build_seeded

WARM_STEPS: Final = 2
"""Steps before the clock starts, at least; at least a third of the time is spent before it too."""
NUM_STEPS: Final = 2
"""Steps that are timed, at least."""
MOST_STEPS: Final = 20_000

WAITS: Final = 0.1
"""Share of its time that a loop may wait for data without advice."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast one stage trains.

    Attributes:
        recipe: the system.
        variant: of it.
        stage: of that.
        batch_size: clips per optimiser step.
        clips_per_s: of the loop as it is.
        held_clips_per_s: of the same loop on one batch that lies on the device.
        reading_ms: processor time that reading takes for each clip, its companions' entries and stacking counted in.
        reads_pictures: whether there are pictures among what it reads.
    """

    recipe: str
    variant: str
    stage: str
    batch_size: int
    clips_per_s: float
    held_clips_per_s: float
    reading_ms: float
    reads_pictures: bool

    @property
    def waits(self) -> float:
        """The share of its time that the loop waits for data."""
        return max(0.0, 1 - self.clips_per_s / self.held_clips_per_s)

    def to_dict(self) -> dict[str, Any]:
        """Return its numbers and `waits`."""
        return {**asdict(self), "waits": self.waits}


def advise(speed: Speed, num_workers: int, num_cores: int, is_decoded: bool) -> str:
    """Return where a stage's time goes and what would help, in one line.

    Args:
        speed: of the stage.
        num_workers: processes that read; 1 for the training process itself.
        num_cores: of the machine.
        is_decoded: whether it read a decoded copy.
    """
    if speed.waits < WAITS:
        return "the network takes the time; other readers would not help"
    wanted = int(np.ceil(speed.held_clips_per_s * speed.reading_ms / 1000)) + 1
    why = f"it waits {speed.waits:.0%} for data, {speed.reading_ms:.1f} ms of a core for each clip"
    if num_workers < wanted <= num_cores:
        return f"{why}; try --workers {wanted}"
    if speed.reads_pictures and not is_decoded:
        return f"{why}; try --decoded DIR" + (f" and --workers {num_cores}" if num_workers < num_cores else "")
    if num_workers < num_cores:
        return f"{why}; try --workers {num_cores}"
    return f"{why}; more cores would help"


def trained_stages(recipe: Recipe) -> list[Stage]:
    """Return the stages that read clips while they train: not those on held features, not trees."""
    return [stage for stage in recipe.stages if isinstance(stage, Stage) and stage.precompute is None]


def measure_stage(
    recipe: Recipe, stage: Stage, data: RunData, folder: Path, settings: LoopSettings, seconds: float
) -> Speed:
    """Train a stage for a while, with reading and without.

    Args:
        recipe: whose stage it is.
        stage: one of `trained_stages`.
        data: few clips, which are read over and over.
        folder: for what a run leaves.
        settings: device, readers, precision.
        seconds: about how long each of the two loops runs.
    """
    device = find_device(settings.device, Processes())
    clips = data.splits["train"]
    many = clips.select(np.arange(MOST_STEPS * stage.batch_size) % len(clips))
    longer = replace(data, splits={"train": many})
    context = RunContext(recipe, longer, RunFolder(folder), settings, 0, Processes(), device)
    still = [replace(own, optimiser=partial(_stand_still, own.optimiser), schedule=None) for own in stage.updates]
    stage = replace(fill_in(stage, context), updates=tuple(still), epochs=1, steps=None)
    model = build_seeded(recipe, 0)
    if stage.prepare is not None:
        with suppress(ThinsliceError):  # Public weights that are not here: fresh ones are as fast.
            stage.prepare(model, clips.only(stage.features))
    freeze(model, stage)
    sources, _ = find_sources(context, stage, model)
    loader = build_stage_loader(context, stage, sources, 0, WHOLE)
    began = time.process_time()
    batches = [loader.dataset[plan] for _, plan in zip(range(2), loader.sampler, strict=False)]
    reading_ms = 1e3 * (time.process_time() - began) / (2 * stage.batch_size)
    held = _Held(move_data_to_device(batches[0], device))
    return Speed(
        recipe=recipe.name,
        variant=recipe.variant,
        stage=stage.name,
        batch_size=stage.batch_size,
        held_clips_per_s=stage.batch_size * _steps_per_s(context, stage, model, held, seconds),
        clips_per_s=stage.batch_size * _steps_per_s(context, stage, model, loader, seconds),
        reading_ms=reading_ms,
        reads_pictures=any(_is_pictures(value) for value in _tensors(batches[0])),
    )


@dataclass(frozen=True)
class _Held:
    """One batch again and again."""

    batch: Batch

    def __len__(self) -> int:
        return MOST_STEPS

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(MOST_STEPS):
            yield dict(self.batch)


def _stand_still(optimiser: Callable[[Any], torch.optim.Optimizer], parameters: Any) -> torch.optim.Optimizer:
    """Return an optimiser that computes its steps and takes none: on noise a network might run away."""
    built = optimiser(parameters)
    for group in built.param_groups:
        group["lr"] = 0.0
    return built


class _Clock(L.Callback):
    """Ends a training when its time is over; counts the steps in the later part of it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = self.started = self.ended = 0.0
        self.first = self.last = 0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        self.began = self.began or now
        if not self.started and batch_idx + 1 >= WARM_STEPS and now - self.began >= self.seconds / 3:
            self.started, self.first = self._now(module), batch_idx
        elif self.started and batch_idx - self.first >= NUM_STEPS and now - self.began >= self.seconds:
            self.ended, self.last = self._now(module), batch_idx
            trainer.should_stop = True

    def _now(self, module: Any) -> float:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        return time.perf_counter()


def _steps_per_s(context: RunContext, stage: Stage, model: nn.Module, loader: Any, seconds: float) -> float:
    clock = _Clock(seconds)
    module = StageModule(model, stage, seed=0, history=None, max_steps=None, on_epoch=lambda *_: False)
    with BackgroundWriter() as writer:
        trainer: Any = build_trainer(context, stage, WHOLE, writer)
        trainer.callbacks.append(clock)
        fit(trainer, module, loader, None)
    return (clock.last - clock.first) / (clock.ended - clock.started)


def _tensors(batch: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    for value in batch.values():
        if isinstance(value, Mapping):
            yield from _tensors(value)
        elif isinstance(value, torch.Tensor):
            yield value


def _is_pictures(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.uint8 and tensor.ndim >= 4
