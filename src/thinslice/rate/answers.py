"""The answers on disk: one line each, appended and flushed to the disk before the rater is told that it is kept."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from thinslice.documents import Document, format_document, parse_document
from thinslice.errors import ThinsliceError, UsageError
from thinslice.files import locked

FILE = "answers.jsonl"


class Answer(Document):
    """One thing that a rater did.

    Attributes:
        kind: "consent", "answer" (to what `clips` and `check` say), or "undo" of the rater's last answer.
        rater: the rater's code.
        at: when, UTC, ISO 8601.
        task: of an answer, so that the same one sent twice counts once.
        clips: the two clips, left and right, or the one.
        answers: one for each question, null for "cannot say": 1 left, -1 right; or a rating.
        check: "" for a question in earnest, "told:left" and the like for an attention check, "repeat" for a pair or
            clip that this rater has had before.
        seconds: from the task's appearance to its last answer.
        watched_s: how long each clip was played.
    """

    kind: Literal["consent", "answer", "undo"]
    rater: str
    at: str
    task: str = ""
    clips: tuple[str, ...] = ()
    answers: tuple[float | None, ...] = ()
    check: str = ""
    seconds: float = 0.0
    watched_s: tuple[float, ...] = ()


class NotKeptError(ThinsliceError):
    """An answer that could not be written; sent again, it may."""


class AnswerFile:
    """An open file of answers; only one server has it.

    Attributes:
        entries: everything in it.
        torn: bytes of a last line that a crash cut off; they were removed.
    """

    def __init__(self, file: BinaryIO, entries: list[Answer], torn: int) -> None:
        self._file = file
        self.entries = entries
        self.torn = torn

    def append(self, entry: Answer) -> None:
        """Write an entry; when this returns it is on the disk.

        Raises:
            NotKeptError: the disk is full or gone; nothing of the entry is kept.
        """
        line = format_document(entry).encode("utf-8") + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            self._undo_write(end)
            raise NotKeptError(f"the answer could not be written ({error.strerror}); make room on the disk") from None
        self.entries.append(entry)

    def _undo_write(self, end: int) -> None:
        """Take back half a line, so that the next begins on one of its own."""
        try:
            self._file.truncate(end)
        except OSError:
            self._file.seek(end)


def read_answers(path: Path) -> tuple[list[Answer], int]:
    """Return the entries of a file, and the bytes of its last line if that was cut off.

    Raises:
        UsageError: a line that is not the last cannot be read.
    """
    data = path.read_bytes() if path.exists() else b""
    whole, _, torn = data.rpartition(b"\n")
    entries = []
    for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
        try:
            entries.append(parse_document(line, Answer))
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: damaged ({error}); take the line out to go on") from None
    return entries, len(torn)


@contextmanager
def open_answers(path: Path) -> Iterator[AnswerFile]:
    """Open a file of answers for appending, alone.

    Raises:
        UsageError: it is damaged, or cannot be written.
        OutputError: another server has its folder.
    """
    with locked(path.parent):
        yield from _opened(path)


def _opened(path: Path) -> Iterator[AnswerFile]:
    entries, torn = read_answers(path)
    try:
        # Unbuffered: what is not written must not come back later.
        file = path.open("r+b" if path.exists() else "x+b", buffering=0)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
    with file:
        if torn:
            file.truncate(path.stat().st_size - torn)
        _sync_folder(path.parent)
        yield AnswerFile(file, entries, torn)


def _sync_folder(folder: Path) -> None:
    """Have a new file's name survive a power cut too."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
