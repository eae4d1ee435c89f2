"""Files written behind the training, one after the other, in the order in which they were asked for."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from thinslice.files import atomic_path

MOST_WAITING: Final = 2
"""Files that wait, each with a copy of what it will hold in memory; who wants to write another waits for the oldest."""


class BackgroundWriter:
    """Writes whole files in a thread; an error is raised by the next call, at the latest by `wait`.

    What is to be written is copied first. A program that is killed leaves the files that were written so far, each of
    them whole.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._waiting: list[Future[None]] = []

    def write(self, job: Callable[[], None]) -> None:
        """Do a job behind what is going on, after those asked for before.

        Raises:
            OutputError: an earlier file could not be written.
        """
        while len(self._waiting) >= MOST_WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(job))

    def write_torch(self, value: Any, path: Path) -> None:
        """Write tensors in dicts, lists and tuples by `torch.save`; as `write`."""
        copied = copy_tensors(value)
        self.write(lambda: _save(copied, path))

    def wait(self) -> None:
        """Return when everything is on the disk; raises as `write`."""
        while self._waiting:
            self._waiting.pop(0).result()

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            self.wait()


class CheckpointsBehind(TorchCheckpointIO):
    """Lightning's checkpoints, written by a `BackgroundWriter`.

    Args:
        writer: what writes them.
    """

    def __init__(self, writer: BackgroundWriter) -> None:
        super().__init__()
        self._writer = writer

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; the old file stays whole until the new one is."""
        self._writer.write_torch(checkpoint, Path(path))


def copy_tensors(value: Any) -> Any:
    """Return the same dicts, lists and tuples with copies of all tensors, on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: copy_tensors(entry) for name, entry in value.items()}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(copy_tensors(entry) for entry in value)
    if isinstance(value, list):
        return [copy_tensors(entry) for entry in value]
    return value


def _save(value: Any, path: Path) -> None:
    with atomic_path(path) as part:
        try:
            torch.save(value, part)
        except RuntimeError:
            # PyTorch does not say why a file cannot be written; the next bytes do, if the disk is full.
            with part.open("ab") as file:
                file.write(bytes(2**20))
            raise
