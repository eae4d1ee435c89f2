"""What makes a clip's media the same: the hash of its content, and a stamp that changes when the content may have."""

import hashlib
import os
from pathlib import Path

from thinslice.errors import MediaError
from thinslice.media.check import check_file
from thinslice.media.pictures import RATE_FILE, TIMES_FILE, picture_files


def media_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a clip's bytes, as 64 hexadecimal digits.

    Of a folder of frames it is that over the names and hashes of its pictures and of what says their times.

    Raises:
        MediaError: no readable file, or a folder without pictures.
        OSError: the file cannot be read to its end.
    """
    path = Path(path)
    if not path.is_dir():
        check_file(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    sha = hashlib.sha256(b"thinslice pictures 1\n")
    for part in _parts(path):
        sha.update(f"{part.name}\0{media_sha256(part)}\n".encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def media_stamp(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return size in bytes and time of the last change in nanoseconds; of a folder, over what `media_sha256` reads.

    Raises:
        OSError: it is not there.
        MediaError: a folder without pictures.
    """
    path = Path(path)
    parts = _parts(path) if path.is_dir() else [path]
    status = [part.stat() for part in parts]
    return sum(entry.st_size for entry in status), max(entry.st_mtime_ns for entry in status)


def _parts(folder: Path) -> list[Path]:
    pictures = picture_files(folder)
    if not pictures:
        raise MediaError(f"{folder}: is a folder without pictures; give the media files inside it")
    return pictures + [folder / name for name in (TIMES_FILE, RATE_FILE) if (folder / name).is_file()]
