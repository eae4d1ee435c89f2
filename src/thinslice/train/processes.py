"""The processes that train together, and the device of each."""

import os
from dataclasses import dataclass

import torch

from thinslice.errors import UsageError
from thinslice.processes import end_with_parent


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
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def find_device(name: str, processes: Processes) -> torch.device:
    """Return the device of this process; UsageError where torch finds none of that name."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", processes.local_rank)


def wait_for_all() -> None:
    """Wait until every process is here."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
