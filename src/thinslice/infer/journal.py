"""Finished predictions of a batch, kept line by line so that an interrupted run goes on where it stopped."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from thinslice.documents import Document, format_document, parse_document
from thinslice.errors import MediaError
from thinslice.files import append_line
from thinslice.infer.inputs_table import InputRow
from thinslice.media.identity import media_stamp
from thinslice.types import Prediction


class JournalLine(Document):
    """One finished prediction, under a key of all that decides it."""

    key: str
    prediction: Prediction


class Journal:
    """A JSON-lines file of predictions, each under a key of all that decides it."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Read what an earlier run finished; a line that a kill cut short is passed over."""
        self._path = path
        self._settings = json.dumps(settings, sort_keys=True, default=str)
        self._known: dict[str, Prediction] = {}
        if path.is_file():
            for line in path.read_text("utf-8", errors="replace").splitlines():
                with suppress(ValueError):
                    entry = parse_document(line, JournalLine)
                    self._known[entry.key] = entry.prediction

    def get(self, clip: str | InputRow, explained: bool = True) -> Prediction | None:
        """Return the finished prediction of a clip, unchanged since, or of the same row; else None."""
        return self._known.get(self._key(clip, explained))

    def add(self, clip: str | InputRow, prediction: Prediction, explained: bool = True) -> None:
        """Append the finished prediction of a file or row; it is on disk when this returns.

        Raises:
            OutputError: it cannot be written.
        """
        line = JournalLine(key=self._key(clip, explained), prediction=prediction)
        append_line(self._path, format_document(line).encode())

    def close(self) -> None:
        """Remove the file: the batch is complete and its results are written."""
        self._path.unlink(missing_ok=True)

    def _key(self, clip: str | InputRow, explained: bool) -> str:
        path = clip.pictures if isinstance(clip, InputRow) else clip
        state = "none"
        if path is not None:
            try:
                size, mtime_ns = media_stamp(path)
                state = f"{size} {mtime_ns}"
            except (OSError, MediaError):
                state = "absent"
        if isinstance(clip, InputRow):
            clip = repr(clip)
        text = f"{clip}\n{state}\n{explained}\n{self._settings}"
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
