"""The processes that train together, and the device of each."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch

from thinslice.errors import UsageError, counted
from thinslice.processes import end_with_parent

LONGEST_WAIT: Final = timedelta(days=2)
"""For which processes wait for each other: the first may fit trees for hours, or wait for a stage of another run. Where
a process dies, torchrun ends the others at once."""


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
        """Connect the processes: before Lightning would, since they share the run folder from the start.

        None outlives torchrun, even where that is killed.
        """
        if self.count > 1 and not torch.distributed.is_initialized():
            end_with_parent()
            if device.type == "cuda":
                torch.cuda.set_device(device)
            backend = "nccl" if device.type == "cuda" else "gloo"
            torch.distributed.init_process_group(backend, timeout=LONGEST_WAIT)


def find_device(name: str, processes: Processes) -> torch.device:
    """Return the device of this process; UsageError where torch finds none of that name, or too few for all."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if (count := torch.cuda.device_count()) < processes.per_node:
        raise UsageError(
            f"{counted(count, 'GPU')} for {processes.per_node} processes; call torchrun with --nproc-per-node {count}"
        )
    return torch.device("cuda", processes.local_rank)


def from_first(value: bool) -> bool:
    """Return the first process's value in all of them."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]
    return value


def wait_for_all() -> None:
    """Wait until every process is here."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
