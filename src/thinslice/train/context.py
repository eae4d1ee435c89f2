"""What all stages of one run share."""

from dataclasses import dataclass
from typing import Any

import torch

from thinslice.train.data import RunData
from thinslice.train.processes import Processes
from thinslice.train.recipe import Recipe
from thinslice.train.run import RunFolder
from thinslice.train.settings import LoopSettings


@dataclass(frozen=True)
class RunContext:
    """What all stages of a run share."""

    recipe: Recipe
    data: RunData
    folder: RunFolder
    settings: LoopSettings
    seed: int
    processes: Processes
    device: torch.device

    @property
    def sharing(self) -> dict[str, Any]:
        """How `apply_to_clips` divides its work."""
        shared = {"rank": self.processes.rank, "num_processes": self.processes.count}
        return {"num_readers": self.settings.num_readers, "device": self.device, "seed": self.seed, **shared}
