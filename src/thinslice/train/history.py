"""The loss of every step and the scores of every epoch, as CSV files that a resumed run continues exactly.

``steps.csv`` has a row per optimiser step and update: stage, epoch, step, update, loss, rate. ``history.csv`` has a row
per epoch; its columns are the union of what the stages report. Epochs and steps are counted from 1; epoch 0 is a
scoring before the first. Both can be cut back to a checkpoint: what a killed run wrote after it is written again, and
comes out the same.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from thinslice.errors import UsageError
from thinslice.files import clear_write_errors, write_atomically

STEP_COLUMNS: Final = ("stage", "epoch", "step", "update", "loss", "rate")


class History:
    """Writes a run's two tables and, where tensorboard is installed, the same numbers for it.

    Args:
        folder: the run's.
        tensorboard: whether to write events for TensorBoard.
    """

    def __init__(self, folder: Path, tensorboard: bool = True) -> None:
        self._steps, self._epochs = folder / "steps.csv", folder / "history.csv"
        self._events = folder / "tensorboard"
        self._tensorboard = tensorboard
        self._writers: dict[str, Any] = {}

    def cut(self, done: Sequence[str], stage: str, step: int) -> None:
        """Keep the rows of the stages `done`, and those of `stage` up to `step` (below 0: none); forget all others."""

        def kept(row: Mapping[str, str]) -> bool:
            return row["stage"] in done or (row["stage"] == stage and int(row["step"]) <= step)

        for path in (self._steps, self._epochs):
            if path.exists():
                rows = read_rows(path)
                try:
                    left = [row for row in rows if kept(row)]
                except (KeyError, TypeError, ValueError):
                    raise _damaged(path, "a row without its stage and step") from None
                write_rows(path, left, list(rows[0]) if rows else STEP_COLUMNS)
        self._writers = {}
        writer = self._writer(stage, purge_step=max(step, 0) + 1)
        if writer is not None:
            writer.flush()

    def add_steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows of `STEP_COLUMNS`."""
        if not rows:
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, STEP_COLUMNS, lineterminator="\n")
        if not self._steps.exists():
            writer.writeheader()
        writer.writerows(rows)
        with clear_write_errors(self._steps), open(self._steps, "a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
        for row in rows:
            self._show(row["stage"], f"step/{row['update']}", row["loss"], row["step"])

    def add_epoch(self, row: Mapping[str, Any]) -> None:
        """Add one epoch's row, with "stage", "epoch", "step" and whatever the stage reports."""
        rows = [*self.epochs(), {name: _cell(value) for name, value in row.items()}]
        columns = list(dict.fromkeys(name for entry in rows for name in entry))
        write_rows(self._epochs, rows, columns)
        for name, value in row.items():
            if isinstance(value, float) and name not in ("epoch", "step"):
                self._show(row["stage"], name, value, row["step"])
        if self._writers.get(row["stage"]) is not None:
            self._writers[row["stage"]].flush()

    def epochs(self) -> list[dict[str, str]]:
        """Return the rows of history.csv."""
        return read_rows(self._epochs) if self._epochs.exists() else []

    def close(self) -> None:
        """Close what is open."""
        for writer in self._writers.values():
            if writer is not None:
                writer.close()
        self._writers = {}

    def _show(self, stage: str, name: str, value: float, step: int) -> None:
        writer = self._writer(stage)
        if writer is not None:
            writer.add_scalar(name, value, step)

    def _writer(self, stage: str, purge_step: int | None = None) -> Any:
        if stage not in self._writers:
            self._writers[stage] = None
            if self._tensorboard:
                try:
                    from torch.utils.tensorboard import SummaryWriter
                except ImportError:  # The tables hold all there is to know; TensorBoard is a convenience.
                    return None
                self._writers[stage] = SummaryWriter(os.fspath(self._events / stage), purge_step=purge_step)
        return self._writers[stage]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the whole rows of a CSV file; a last line that a killed run left unfinished is not one.

    Raises:
        UsageError: the file is no such table.
    """
    try:
        text = path.read_text("utf-8")
        whole = text[: text.rfind("\n") + 1]
        rows = list(csv.DictReader(io.StringIO(whole, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, str(error)) from None
    if any(None in row or None in row.values() for row in rows):
        raise _damaged(path, "rows of different lengths")
    return rows


def _damaged(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path}: damaged ({reason}); delete it and go on with --resume: it then begins there")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a CSV file in one piece; cells that a row lacks are empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
