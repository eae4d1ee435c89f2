"""What all stages of one run share."""

from dataclasses import dataclass
from typing import Any

import torch

from thinslice.train.data import ClipData, RunData
from thinslice.train.processes import Processes
from thinslice.train.recipe import Recipe, Stage
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

    def splits_of(self, stage: Stage) -> dict[str, ClipData]:
        """Return the clips that a stage learns from and is validated on, with the features that it reads."""
        names = (name for name in self.data.splits if name != "test")
        return {name: self.data.splits[name].only(stage.features) for name in names}

    @property
    def sharing(self) -> dict[str, Any]:
        """How `apply_to_clips` divides its work."""
        shared = {"rank": self.processes.rank, "num_processes": self.processes.count}
        return {"num_readers": self.settings.num_readers, "device": self.device, "seed": self.seed, **shared}
