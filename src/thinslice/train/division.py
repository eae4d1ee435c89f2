"""How an optimiser step's clips are divided among processes and passes, so that it changes nothing but rounding."""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from thinslice.train.processes import Processes
from thinslice.train.recipe import Stage

_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True, kw_only=True)
class Division:
    """How a step's clips are divided.

    Attributes:
        rank: which share this process takes.
        num_shares: as many as there are processes; 1 where each of them computes the whole step.
        num_passes: of each share, one after the other.
        spares_memory: whether what the backward pass needs is kept in main memory.
    """

    rank: int = 0
    num_shares: int = 1
    num_passes: int = 1
    spares_memory: bool = False


WHOLE: Final = Division()


def divide(
    stage: Stage, model: nn.Module, processes: Processes, device: torch.device, batch_size_per_device: int | None
) -> Division:
    """Return how a stage's steps are divided.

    A mean over a batch is the mean of its parts' means, weighted; what compares the clips of a batch with each other is
    not, and sees the whole batch:

    - Where a stage says so (`Stage.whole_batch`), and where its inputs are held in memory (`Stage.precompute`), every
      process computes the whole step. The gradients are then equal in all of them.
    - Where batch normalisation learns, a process's share goes through in one pass. If it was to be divided, what the
      backward pass needs is kept in main memory meanwhile, so that the device holds little more than one layer's. On
      GPUs the statistics are those of all processes; on CPUs, where PyTorch cannot do that, every process computes the
      whole step.

    Args:
        stage: what is trained.
        model: its network, the parts that do not learn frozen.
        processes: that train together.
        device: of this one.
        batch_size_per_device: clips in one pass at most; None for all.
    """
    share = math.ceil(stage.batch_size / processes.count)
    num_passes = math.ceil(share / (batch_size_per_device or share))
    has_norm = any(isinstance(module, _NORMS) and module.training for module in model.modules())
    if stage.precompute is not None or stage.whole_batch or (has_norm and processes.count > 1 and device.type == "cpu"):
        return Division(spares_memory=num_passes > 1 and stage.precompute is None)
    if has_norm:
        return Division(rank=processes.rank, num_shares=processes.count, spares_memory=num_passes > 1)
    return Division(rank=processes.rank, num_shares=processes.count, num_passes=num_passes)
