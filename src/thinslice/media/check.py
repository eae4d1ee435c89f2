"""Whether a path can be read at all, before any decoder sees it."""

import os
import re
import stat
from pathlib import Path

from thinslice.errors import MediaError

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])", re.IGNORECASE)


def check_file(path: Path) -> None:
    """Raise MediaError where `path` cannot be a readable, ordinary, non-empty file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        if _ADDRESS.match(str(path)):
            # A path has lost one of the slashes.
            address = _ADDRESS.sub(r"\1://", str(path), count=1)
            raise MediaError(f"{address}: is an address, and thinslice reads files; download it first") from None
        raise MediaError(f"{path}: no such file; check its name and folder") from None
    except PermissionError:
        raise MediaError(f"{path}: may not be read; ask for read permission on its folder") from None
    except OSError as error:
        raise MediaError(f"{path}: cannot be opened ({error.strerror}); check its name") from None
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{path}: is a folder; give the media files inside it")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{path}: is not an ordinary file; save the recording to a file first")
    if not os.access(path, os.R_OK):
        raise MediaError(f"{path}: may not be read; ask for read permission on it")
    if status.st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes); copy or download it again")
