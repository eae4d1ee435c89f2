"""NumPy archives (.npz): written as bytes, and read within bounds, for they may come from strangers."""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from thinslice.errors import first_line

MAX_BYTES: Final = 2 * 2**30
"""What an archive may unpack to."""

_DAMAGED: Final = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def format_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a compressed archive of arrays."""
    stream = io.BytesIO()
    named: Any = dict(arrays)  # NumPy's signature names allow_pickle among the arrays.
    np.savez_compressed(stream, **named)
    return stream.getvalue()


def load_arrays(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read all arrays of an archive; what a header claims is compared with what is there before memory is taken.

    Args:
        path: the archive.
        max_bytes: of all arrays together.

    Returns:
        Name -> array of numbers, text or booleans; never objects.

    Raises:
        ValueError: not such an archive, damaged, or larger: one line, without the path.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > max_bytes:
                raise ValueError(f"unpacks to {size / 2**20:,.0f} MB, over {max_bytes / 2**20:,.0f} MB")
            found = {}
            for entry in entries:
                with archive.open(entry) as file:
                    found[entry.filename.removesuffix(".npy")] = _read(file, entry)
            return found
    except _DAMAGED as error:
        reason = first_line(error) or type(error).__name__
        raise ValueError(reason) from None


def _read(file: IO[bytes], entry: zipfile.ZipInfo) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read_header: Any = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read_header = np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{entry.filename} holds Python objects")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > entry.file_size:
        raise ValueError(f"{entry.filename} says that it holds {size:,} bytes, in a file of {entry.file_size:,}")
    data = file.read(size)
    if len(data) < size or file.read(1):
        raise ValueError(f"{entry.filename} is longer or shorter than its header says")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape, order="F" if fortran_order else "C").copy()
