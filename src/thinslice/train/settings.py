"""How a training runs, never what it learns."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["32", "16-mixed", "bf16-mixed"]


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How to run, never what: none of these changes what is learned, but for rounding.

    Attributes:
        device: "auto", "cpu" or "cuda".
        seed: None for the recipe's.
        batch_size_per_device: clips in one pass of one process; gradients are accumulated over passes until the
            recipe's batch is full. None for as many as fit into one pass.
        max_steps: optimiser steps of each stage at most: for trials. A run that it cut short can be resumed with more.
        num_readers: processes per device that read and crop.
        precision: "32", "16-mixed" or "bf16-mixed".
        resume: whether to go on with the run in the folder; without one there, it begins.
        progress: whether to show a progress bar.
        tensorboard: whether to write events.
        shared_stages: folder of finished stages that runs share, see `thinslice.train.shared_stages`; None to share
            none.
        score_splits: splits whose predictions are written at the end.
    """

    device: str = "auto"
    seed: int | None = None
    batch_size_per_device: int | None = None
    max_steps: int | None = None
    num_readers: int = 0
    precision: Precision = "32"
    resume: bool = False
    progress: bool = False
    tensorboard: bool = True
    shared_stages: str | None = None
    score_splits: tuple[str, ...] = ("validation", "test")
