"""The private folder of uploads: made at start, swept of what a killed server left, gone at the end."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from thinslice.assets.folders import cache_dir
from thinslice.errors import UsageError

LOCK = ".lock"


def uploads_dir() -> Path:
    """Return the folder in which every running server has a folder of its own."""
    return cache_dir() / "uploads"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder that only this user may enter; remove it in the end, and those of dead servers at once.

    Raises:
        UsageError: the folder cannot be made.
    """
    root = uploads_dir()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        # While one server starts no other does: a folder without a lock on it is a dead server's.
        with filelock.FileLock(root / LOCK):
            sweep(root)
            folder = Path(tempfile.mkdtemp(prefix="server-", dir=root))
            lock = filelock.FileLock(folder / LOCK)
            lock.acquire()
    except OSError as error:
        raise UsageError(f"{root}: cannot keep uploads there ({error.strerror}); set THINSLICE_CACHE") from None
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> int:
    """Remove the folders of servers that no longer run; return how many there were."""
    num_removed = 0
    for folder in root.glob("server-*"):
        try:
            with filelock.FileLock(folder / LOCK, blocking=False):
                pass
        except filelock.Timeout:
            continue  # its server lives
        except OSError:
            pass
        shutil.rmtree(folder, ignore_errors=True)
        num_removed += 1
    return num_removed
