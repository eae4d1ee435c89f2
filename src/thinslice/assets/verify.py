"""Checksums of files, computed once and remembered for as long as a file's size and time stay the same.

Hashing the 75 MB of the speech recogniser on every start would cost more than loading it.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from thinslice.assets.folders import cache_dir
from thinslice.errors import OutputError
from thinslice.files import write_atomically

STAMPS = "verified.json"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, from memory where the file has not changed since it was computed.

    A file counts as unchanged while its length and modification time (nanoseconds) are. Where the cache folder
    cannot be written, the hash is computed again each time.

    Raises:
        OSError: the file cannot be read.
    """
    key = os.path.abspath(path)
    status = os.stat(path)
    stamp = [status.st_size, status.st_mtime_ns]
    known = _read_stamps().get(key)
    if isinstance(known, list) and known[:2] == stamp and isinstance(known[2], str):
        return known[2]
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    _remember(key, [*stamp, digest])
    return digest


def forget_stamps() -> None:
    """Delete what is remembered."""
    with contextlib.suppress(OSError):
        (cache_dir() / STAMPS).unlink(missing_ok=True)


def _read_stamps() -> dict[str, list]:
    try:
        stamps = json.loads((cache_dir() / STAMPS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _remember(key: str, stamp: list) -> None:
    """Add one stamp; two processes at once may lose one of theirs, which only costs hashing again."""
    folder = cache_dir()
    with contextlib.suppress(OutputError):
        write_atomically(folder / STAMPS, json.dumps(_read_stamps() | {key: stamp}, indent=0).encode())
