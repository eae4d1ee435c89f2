"""PyTorch's weight files of before version 1.6, read without PyTorch and without running what is in them."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.errors import AssetError
from thinslice.files import read_file


def load_weights(path: Path) -> dict[str, np.ndarray]:
    """Read a file of weights: pickles, then the raw numbers. Only what a dictionary of float32
    tensors needs is known to this reader; anything else in the file is an error, and no code of it runs.

    Args:
        path: such as facenet-pytorch's `pnet.pt`.

    Returns:
        Name of a parameter -> float32 array, its shape as in torch.

    Raises:
        AssetError: not such a file.
    """
    try:
        file = io.BytesIO(read_file(path))
        for _ in range(3):  # A magic number, a format version, the sizes of C's types.
            _Unpickler(file).load()
        tensors = _Unpickler(file)
        state = tensors.load()
        for key in _Unpickler(file).load():
            storage = tensors.storages[key]
            if int.from_bytes(file.read(8), "little") != len(storage):
                raise ValueError(f"storage {key} has another length than promised")
            storage[:] = np.frombuffer(file.read(4 * len(storage)), "<f4")
        return {str(name): np.ascontiguousarray(tensor) for name, tensor in state.items()}
    except Exception as error:  # Whatever is wrong inside a damaged pickle.
        raise AssetError(f"{path}: is no weight file of facenet-pytorch ({error}); fetch it again") from None


class _Unpickler(pickle.Unpickler):
    """Knows ordered dictionaries and float32 tensors, and nothing else."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch", "FloatStorage"): "float32",
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in it")
        return known[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, _dtype, key, _device, length, _view = pid
        if kind != "storage" or not 0 < length < 1_000_000:
            raise pickle.UnpicklingError(f"{kind} of length {length} is not expected in it")
        return self.storages.setdefault(key, np.zeros(length, np.float32))


def _rebuild_tensor(
    storage: np.ndarray, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> np.ndarray:
    """Return a view of a storage; it is filled later, when the raw numbers are read."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min(*size, *stride, offset) < 0 or last >= len(storage) or np.prod(size, dtype=float) > len(storage):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)
