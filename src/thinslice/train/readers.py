"""Processes that read ahead of the training, within a bound on the memory that they share with it."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from thinslice.errors import UsageError
from thinslice.processes import end_with_parent
from thinslice.train.data import Sampled, sample_clip
from thinslice.train.recipe import Mode

MOST_AHEAD: Final = 4
"""Batches that a reading process makes ahead at most."""

SHARED_BYTES: Final = 2 * 2**30
"""What batches made ahead may take together, unless one for each process is more."""

SHARED_MEMORY: Final = Path("/dev/shm")
"""Where Linux has the memory that processes share."""


def build_loader(
    dataset: Dataset[Any],
    order: Sampler[Any] | Sequence[int],
    num_readers: int,
    pin_memory: bool = False,
    num_bytes: int = 0,
) -> "DataLoader[Any]":
    """Return a loader of what a data set makes of each entry of `order`; batches are made by the data set itself.

    Its processes stay from one pass through `order` to the next.

    Args:
        dataset: gives the batches.
        order: what is asked of it.
        num_readers: processes that read; 0 to read in this one.
        pin_memory: whether batches are copied to where a GPU takes them from.
        num_bytes: of a batch, about.

    Raises:
        UsageError: the memory that processes share is too small.
    """
    workers: dict[str, Any] = {}
    if num_readers:
        ahead = count_ahead(num_bytes, num_readers)
        workers = {"persistent_workers": True, "prefetch_factor": ahead, "worker_init_fn": partial(_one_thread)}
    return DataLoader(
        dataset, batch_size=None, sampler=order, num_workers=num_readers, pin_memory=pin_memory, **workers
    )


def count_ahead(num_bytes: int, num_readers: int) -> int:
    """Return how many batches of a size each reading process may make ahead: 1 to `MOST_AHEAD`.

    Raises:
        UsageError: not even one of each process fits into the memory that they share.
    """
    needed = num_bytes * num_readers
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None
    if free is not None and needed > free:
        fitting = int(free // max(num_bytes, 1))
        raise UsageError(
            f"{SHARED_MEMORY}: {free / 2**20:,.0f} MB are free, and {num_readers} reading processes need "
            f"{needed / 2**20:,.0f} MB; take --workers {max(fitting, 1)}, or give it more room (Docker: --shm-size)"
        )
    bound = SHARED_BYTES if free is None else min(SHARED_BYTES, free // 2)
    return max(1, min(MOST_AHEAD, bound // max(needed, 1)))


def bytes_of(source: Sampled, mode: Mode) -> int:
    """Return how large the inputs of a source's first clip are."""
    return sum(np.asarray(array).nbytes for array in sample_clip(source.data, 0, source.sample, mode, seed=0).values())


def _one_thread(worker: int) -> None:
    end_with_parent()
    # Workers work side by side: each of them taking all cores would slow down the training itself.
    torch.set_num_threads(1)
