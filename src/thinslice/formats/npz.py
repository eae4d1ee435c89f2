"""NumPy archives from elsewhere, such as Chainer's: read only if they hold exactly what is expected."""

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from thinslice.arrays import load_arrays
from thinslice.errors import UsageError
from thinslice.files import check_ordinary


def read_npz(
    path: Path, shapes: Mapping[str, tuple[int, ...]], what: str, may_lack: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return the arrays of an archive; each is looked at before it is unpacked, and nothing in it is executed.

    Args:
        path: the archive, under whatever name.
        shapes: name -> shape of each array that it holds.
        what: what it should be, for messages.
        may_lack: names that it need not have.

    Raises:
        UsageError: no NumPy archive; a name that is missing or unknown; an array of another shape, or not of numbers.
    """
    try:
        check_ordinary(path)
        with zipfile.ZipFile(path) as archive:
            found = {entry.removesuffix(".npy"): entry for entry in archive.namelist()}
            missing = sorted(set(shapes) - set(found) - set(may_lack))
            unknown = sorted(set(found) - set(shapes))
            if missing or unknown:
                faults = [
                    f"{kind} {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
                    for kind, names in (("lacks", missing), ("holds the unknown", unknown))
                    if names
                ]
                raise UsageError(f"{path}: is not {what}: it {' and '.join(faults)}")
            for name, entry in found.items():
                with archive.open(entry) as file:
                    shape, dtype = _read_header(file)
                if shape != shapes[name] or dtype.kind not in "fiu":
                    raise UsageError(f"{path}: {name} is {dtype} {shape}, not numbers {shapes[name]}")
        return load_arrays(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, NotImplementedError) as error:
        raise UsageError(f"{path}: not a whole NumPy archive ({error}); download it again") from None


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
