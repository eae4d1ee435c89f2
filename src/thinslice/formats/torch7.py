"""Reads Torch7 binary files as data: numbers, strings, tables, tensors and the modules of known networks.

Torch7's ``torch.save(file, object)`` writes a tree of tagged values, little-endian (torch/torch7, ``File.lua``,
``File:writeObject``; tensors and storages: ``generic/Tensor.c`` and ``generic/Storage.c``). The reader here is
for files of unknown origin: it runs no code and imports nothing by name, refuses what it does not know, and
bounds depth, number of values and memory. Arrays are read-only views of the file's bytes, so a small file
cannot claim a large array.

Deviations: Lua functions, closures, 32-bit ``long``, ASCII files and files written before version 1 are
refused; a tensor may not repeat elements by overlapping strides beyond the size of its storage.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.errors import ThinsliceError
from thinslice.files import read_file

MAX_BYTES: Final = 64 << 20
"""Largest file read, in bytes. The networks this reader is for have 1 to 3 MB."""

MAX_DEPTH: Final = 120
"""Deepest nesting of values; the deepest known file has 57."""

MAX_VALUES: Final = 200_000
"""Most values (of any kind) in one file; the largest known file has about 1,500."""

MAX_DIMENSIONS: Final = 16
"""Most dimensions of a tensor."""

MODULES: Final = {
    "graph.Edge": 1,
    "graph.Graph": 1,
    "nn.Dropout": 1,
    "nn.Identity": 1,
    "nn.JoinTable": 1,
    "nn.LSTM": 1,
    "nn.Linear": 1,
    "nn.ParallelTable": 1,
    "nn.ReLU": 1,
    "nn.Sequential": 1,
    "nn.Sigmoid": 1,
    "nn.SpatialConvolution": 1,
    "nn.SpatialMaxPooling": 1,
    "nn.View": 1,
    "nn.VolumetricConvolution": 1,
    "nn.VolumetricMaxPooling": 2,
    "nn.gModule": 1,
    "nngraph.Node": 1,
}
"""Class -> version of those read as a table of fields; each is known to store nothing but that table."""

_ELEMENTS: Final = {
    "Byte": "<u1",
    "Char": "<i1",
    "Short": "<i2",
    "Int": "<i4",
    "Long": "<i8",
    "Float": "<f4",
    "Double": "<f8",
    "Cuda": "<f4",
}
_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN = 0, 1, 2, 3, 4, 5
_FUNCTIONS = (6, 7, 8)


class Torch7Error(ThinsliceError):
    """A file that is not Torch7 binary, is damaged, or holds what thinslice does not read."""


@dataclass(eq=False)
class LuaTable:
    """A Lua table: pairs in the order of the file. Compared and hashed by identity, since tables can be keys."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list, repr=False)
    _values: dict[Any, Any] = field(default_factory=dict, repr=False)

    def add(self, key: Any, value: Any) -> bool:
        """Append a pair; return False if the key is there already."""
        lookup = (type(key) is bool, key)
        if lookup in self._values:
            return False
        self.pairs.append((key, value))
        self._values[lookup] = value
        return True

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key; 1 and 1.0 are one key, True is another."""
        return self._values.get((type(key) is bool, key), default)

    def sequence(self) -> list[Any]:
        """Return the values of the keys 1, 2, 3 ... up to the first that is missing."""
        values: list[Any] = []
        while (False, len(values) + 1) in self._values:
            values.append(self.get(len(values) + 1))
        return values

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(eq=False)
class Module:
    """An object of one of the known classes: its name and its fields."""

    class_name: str
    fields: LuaTable = field(default_factory=LuaTable, repr=False)


def read_torch7(path: str | Path, modules: Mapping[str, int] = MODULES, max_bytes: int = MAX_BYTES) -> Any:
    """Read the one value of a Torch7 binary file.

    Args:
        path: the file.
        modules: class name -> version of the objects to read as a `Module`; any other is an error.
        max_bytes: largest file read.

    Returns:
        None, bool, float, str, `LuaTable`, `Module`, or a read-only array: a tensor with its shape (one without
        elements with the shape (0,)), a storage with one dimension.

    Raises:
        Torch7Error: the file cannot be read, is too large, damaged, or holds something unknown.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise Torch7Error(f"{path}: {size} bytes, more than the {max_bytes} read of a Torch7 file")
        data = read_file(path)
    except OSError as error:
        raise Torch7Error(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
    return parse_torch7(data, str(path), modules)


def parse_torch7(data: bytes, name: str = "data", modules: Mapping[str, int] = MODULES) -> Any:
    """Read the one value of a Torch7 binary file from its bytes; see `read_torch7`."""
    reader = _Reader(data, name, modules)
    value = reader.value(0)
    if reader.position != len(data):
        raise reader.error(f"{len(data) - reader.position} bytes follow the object")
    return value


class _Unfinished:
    """Stands for a tensor that is still being read, so that one that contains itself is noticed."""


def _element(class_name: str) -> tuple[str, bool]:
    """Return the element type of "torch.FloatTensor" or "torch.FloatStorage" and which it is; "" for others."""
    for suffix in ("Tensor", "Storage"):
        element = class_name.removeprefix("torch.").removesuffix(suffix)
        if element in _ELEMENTS and class_name == f"torch.{element}{suffix}":
            return element, suffix == "Tensor"
    return "", False


class _Reader:
    """The position in the bytes and the objects read so far, which later ones may refer to by number."""

    def __init__(self, data: bytes, name: str, modules: Mapping[str, int]) -> None:
        self.data = data
        self.name = name
        self.modules = modules
        self.position = 0
        self.num_values = 0
        self.objects: dict[int, tuple[int, Any]] = {}

    def error(self, reason: str) -> Torch7Error:
        return Torch7Error(f"{self.name}: not a Torch7 file that thinslice reads: {reason} (byte {self.position})")

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self.error(f"values nested deeper than {MAX_DEPTH}")
        self.num_values += 1
        if self.num_values > MAX_VALUES:
            raise self.error(f"more than {MAX_VALUES} values")
        tag = self.int32()
        if tag == _NIL:
            return None
        if tag == _NUMBER:
            return float(self.unpack("<d", 8))
        if tag == _STRING:
            return self.string()
        if tag == _BOOLEAN:
            flag = self.int32()
            if flag not in (0, 1):
                raise self.error(f"a boolean of value {flag}")
            return bool(flag)
        if tag in (_TABLE, _TORCH):
            return self.object(tag, depth)
        if tag in _FUNCTIONS:
            raise self.error("a Lua function; data is read, code is not")
        raise self.error(f"type tag {tag}")

    def object(self, tag: int, depth: int) -> Any:
        number = self.int32()
        if number in self.objects:
            known_tag, known = self.objects[number]
            if known_tag != tag or isinstance(known, _Unfinished):
                raise self.error(f"object {number} is referred to as what it is not")
            return known
        if tag == _TABLE:
            table = LuaTable()
            # Registered before it is filled: a Lua table may contain itself.
            self.objects[number] = (tag, table)
            self.fill(table, depth)
            return table
        version = self.string()
        class_name = self.string()
        element, is_tensor = _element(class_name)
        if version != f"V {self.modules.get(class_name, 1 if element else None)}":
            raise self.error(f"an object of the unknown class {class_name[:80]!r}, {version[:20]!r}")
        if element:
            self.objects[number] = (tag, _Unfinished())
            array = self.tensor(element, depth) if is_tensor else self.storage(element)
            self.objects[number] = (tag, array)
            return array
        module = Module(class_name)
        self.objects[number] = (tag, module)
        fields = self.value(depth + 1)
        if not isinstance(fields, LuaTable):
            raise self.error(f"a {class_name} whose fields are not a table")
        module.fields = fields
        return module

    def fill(self, table: LuaTable, depth: int) -> None:
        for _ in range(self.count("table entries", 8)):
            key = self.value(depth + 1)
            if key is None or isinstance(key, np.ndarray) or (isinstance(key, float) and math.isnan(key)):
                raise self.error("a table key that is nil, not a number, or an array")
            if not table.add(key, self.value(depth + 1)):
                raise self.error("a table with one key twice")

    def storage(self, element: str) -> np.ndarray:
        dtype = np.dtype(_ELEMENTS[element])
        size = self.int64()
        if size < 0 or size * dtype.itemsize > len(self.data) - self.position:
            raise self.error(f"a storage of {size} elements, more than the file holds")
        array = np.frombuffer(self.data, dtype, size, self.position)
        self.position += size * dtype.itemsize
        return array

    def tensor(self, element: str, depth: int) -> np.ndarray:
        dtype = np.dtype(_ELEMENTS[element])
        num_dimensions = self.int32()
        if not 0 <= num_dimensions <= MAX_DIMENSIONS:
            raise self.error(f"a tensor of {num_dimensions} dimensions")
        shape = tuple(self.int64() for _ in range(num_dimensions))
        strides = tuple(self.int64() for _ in range(num_dimensions))
        offset = self.int64() - 1
        storage = self.value(depth + 1)
        if storage is None:
            storage = np.empty(0, dtype)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or storage.dtype != dtype:
            raise self.error(f"a {element} tensor whose storage is of another type")
        if min(shape, default=0) < 0 or min(strides, default=0) < 0 or offset < 0:
            raise self.error("a tensor with a negative size, stride or offset")
        if num_dimensions == 0 or 0 in shape:
            return np.empty(0, dtype)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if last >= len(storage) or math.prod(shape) > len(storage):
            raise self.error(f"a tensor of shape {shape} that its storage of {len(storage)} does not hold")
        # The stride of a dimension of size 1 means nothing, and may be of any size in a damaged file.
        steps = tuple(0 if size == 1 else stride * dtype.itemsize for size, stride in zip(shape, strides, strict=True))
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)

    def string(self) -> str:
        size = self.count("characters", 1)
        text = self.data[self.position : self.position + size].decode("latin-1")
        self.position += size
        return text

    def count(self, what: str, least_bytes: int) -> int:
        """Read a count of things that take at least so many bytes each, all still to come."""
        count = self.int32()
        if not 0 <= count <= (len(self.data) - self.position) // least_bytes:
            raise self.error(f"{count} {what}, more than the file holds")
        return count

    def int32(self) -> int:
        return int(self.unpack("<i", 4))

    def int64(self) -> int:
        return int(self.unpack("<q", 8))

    def unpack(self, layout: str, size: int) -> Any:
        if self.position + size > len(self.data):
            raise self.error("it ends too early")
        (value,) = struct.unpack_from(layout, self.data, self.position)
        self.position += size
        return value
