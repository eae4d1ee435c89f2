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

    def get(self, clip: str) -> Prediction | None:
        """Return the finished prediction of a file that has not changed since, else None."""
        return self._known.get(self._key(clip))

    def add(self, clip: str, prediction: Prediction) -> None:
        """Append the finished prediction of a file; it is on disk when this returns.

        Raises:
            OutputError: it cannot be written.
        """
        append_line(self._path, format_document(JournalLine(key=self._key(clip), prediction=prediction)).encode())

    def close(self) -> None:
        """Remove the file: the batch is complete and its results are written."""
        self._path.unlink(missing_ok=True)

    def _key(self, clip: str) -> str:
        try:
            size, mtime_ns = media_stamp(clip)
            state = f"{size} {mtime_ns}"
        except (OSError, MediaError):
            state = "absent"
        return hashlib.sha256(f"{clip}\n{state}\n{self._settings}".encode("utf-8", "backslashreplace")).hexdigest()
