"""Clips that are no files yet, bytes, open files and pipes, written to one for as long as they are looked at."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from thinslice.errors import MediaError, OutputError, UsageError
from thinslice.media.limits import MAX_SPOOLED_BYTES

Clip = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""What can be scored: a path, a media file's bytes, or a file open for reading bytes."""

_BLOCK: Final = 1 << 20


def is_path(clip: Clip) -> bool:
    """Return whether a clip is named, not given."""
    return isinstance(clip, str | os.PathLike)


def name_of(clip: Clip) -> str:
    """Return what a clip is called: its path, an open file's own name, or "bytes"."""
    if isinstance(clip, str | os.PathLike):
        return os.fspath(clip)
    name = getattr(clip, "name", None)
    return name if isinstance(name, str) and name else "stream" if hasattr(clip, "read") else "bytes"


def read_clip(clip: Clip) -> str | bytes:
    """Return what crosses to another process: a path, or the bytes of what is none; raises as `as_file`."""
    if isinstance(clip, str | os.PathLike):
        return os.fspath(clip)
    if isinstance(clip, bytes | bytearray | memoryview):
        return bytes(clip)
    return b"".join(_blocks(clip, name_of(clip)))


@contextmanager
def as_file(clip: Clip, name: str | None = None) -> Iterator[Path]:
    """Give a path under which a clip can be read: its own, or that of a copy in the folder for temporary files.

    An open file is read from where it stands; it need not be able to seek.

    Args:
        clip: what to read.
        name: what errors call it; None for `name_of`.

    Raises:
        MediaError: nothing in it, or over `MAX_SPOOLED_BYTES`; the path is empty.
        UsageError: not a path, not bytes and not a file of bytes.
        OutputError: no room for the copy.
    """
    if clip == "":
        raise MediaError("the path of a clip is empty; name a file or a folder")
    if isinstance(clip, str | os.PathLike):
        yield Path(clip)
        return
    name = name or name_of(clip)
    with tempfile.TemporaryDirectory(prefix="thinslice-") as folder:
        path = Path(folder) / "clip"
        try:
            with path.open("xb") as file:
                for block in _blocks(clip, name):
                    file.write(block)
        except OSError as error:
            why = error.strerror or error
            raise OutputError(f"{name}: cannot be copied to {tempfile.gettempdir()} ({why}); make room there") from None
        yield path


def _blocks(clip: Clip, name: str) -> Iterator[bytes]:
    size = 0
    for block in _pieces(clip, name):
        size += len(block)
        if size > MAX_SPOOLED_BYTES:
            raise MediaError(f"{name}: over {MAX_SPOOLED_BYTES / 1e9:g} GB; save it to a file and name that")
        yield block
    if not size:
        raise MediaError(f"{name}: nothing came (0 bytes)")


def _pieces(clip: Clip, name: str) -> Iterator[bytes]:
    if isinstance(clip, bytes | bytearray | memoryview):
        yield bytes(clip)
        return
    if isinstance(clip, str | os.PathLike) or not hasattr(clip, "read"):
        raise UsageError(f"{type(clip).__name__} is no clip; give a path, bytes, or an open file of bytes")
    while block := clip.read(_BLOCK):
        if not isinstance(block, bytes):
            raise UsageError(f"{name}: gives text; open it with open(PATH, 'rb')")
        yield block
