"""Files that appear whole or not at all, whatever ends the program in between: a full disk, a kill, a power cut.

And files that are read whole, but never from what may not end.
"""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from thinslice.errors import OutputError

LOCK: Final = ".lock"
"""File in a folder that a program is writing into."""
_HELD_OPEN: Final = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return a file's bytes.

    Raises:
        OSError: as opening and reading do; also for a pipe or a device, see `check_ordinary`.
    """
    check_ordinary(path)
    return Path(path).read_bytes()


def check_ordinary(path: str | os.PathLike[str]) -> None:
    """Raise OSError for a pipe that nobody may ever write into, or a device that may never end.

    What the caller's shell holds open, such as /dev/stdin or the /dev/fd/63 of ``<(zcat table.csv.gz)``, is no such.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or os.fspath(path).startswith(_HELD_OPEN)):
        raise OSError(errno.EINVAL, "it is a pipe or a device; save it to a file first", os.fspath(path))


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a reader, also after a crash, finds the old content or the new, never a part.

    Missing folders above it are made. A symbolic link is followed, not replaced. The data are on the disk on return.

    Raises:
        OutputError: the place cannot be written.
    """
    with atomic_path(path) as part:
        part.write_bytes(data)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path beside `path` to write to; what was written takes its place at the end, unless something was raised.

    For writers that want a file's name. A device or a pipe is written to directly.

    Raises:
        OutputError: the place cannot be written.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise OutputError(f"{os.fspath(path)}: is a folder; name a file")
    if target.exists() and not target.is_file():
        with clear_write_errors(path):
            yield target
        return
    part = target.with_name(f".{target.name[:200]}.{uuid.uuid4().hex[:12]}.part")
    try:
        with clear_write_errors(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield part
            _flush(part)
            os.replace(part, target)
            _flush(target.parent)
    finally:
        with suppress(OSError):
            part.unlink()


def append_line(path: Path, line: bytes) -> None:
    """Append to a file of lines; it is on the disk on return.

    The line break comes first and all of it in one write, so that a line cut short by a kill spoils only itself.

    Raises:
        OutputError: the place cannot be written.
    """
    with clear_write_errors(path), open(path, "ab", buffering=0) as file:
        data = b"\n" + line
        if file.write(data) != len(data):
            raise OutputError(f"{path}: cannot be written (the disk is full); make room and call again")
        os.fsync(file.fileno())


@contextmanager
def clear_write_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the system's errors into one line on the file that cannot be written."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"{os.fspath(path)}: cannot be written ({why}); make room, or choose another place") from None


@contextmanager
def locked(folder: Path, wait_s: float = 0.0, name: str = LOCK) -> Iterator[None]:
    """Keep other programs from writing their results into a folder; the lock ends with the process, even killed.

    Args:
        folder: the folder.
        wait_s: how long to wait for another program that has it, seconds.
        name: of the lock's file, for programs that write one file of the folder only.

    Raises:
        OutputError: another program has it, or it cannot be written.
    """
    import filelock

    lock = filelock.FileLock(folder / name, timeout=wait_s)
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except filelock.Timeout:
            why = "another program is writing into it; wait for it, or choose another"
            raise OutputError(f"{folder}: {why}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / name).unlink()  # whoever opened it meanwhile notices
        lock.release()


def _flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk; some file systems cannot do it for folders."""
    if path.is_dir():
        with suppress(OSError):
            _fsync(path, os.O_RDONLY)
    else:
        _fsync(path, os.O_RDWR)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
