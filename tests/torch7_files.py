"""Writes Torch7 binary files, so that tests of the reader need no file of anybody else's."""

import struct
from typing import Any

import numpy as np

from thinslice.formats.torch7 import LuaTable, Module

CLASSES = {"u1": "Byte", "i1": "Char", "i2": "Short", "i4": "Int", "i8": "Long", "f4": "Float", "f8": "Double"}


class Writer:
    """Writes values as Torch7 does; an object met again is written as a reference to the first."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.numbers: dict[int, int] = {}
        self.alive: list[Any] = []  # so that no id is used twice

    def int32(self, *values: int) -> None:
        self.parts.append(struct.pack(f"<{len(values)}i", *values))

    def int64(self, *values: int) -> None:
        self.parts.append(struct.pack(f"<{len(values)}q", *values))

    def string(self, text: str) -> None:
        self.int32(len(text))
        self.parts.append(text.encode("latin-1"))

    def begin(self, value: Any, tag: int) -> bool:
        """Write tag and number; return whether the object itself has to follow."""
        known = id(value) in self.numbers
        self.alive.append(value)
        number = self.numbers.setdefault(id(value), len(self.numbers) + 1)
        self.int32(tag, number)
        return not known

    def value(self, value: Any) -> None:
        if value is None:
            self.int32(0)
        elif isinstance(value, bool):
            self.int32(5, int(value))
        elif isinstance(value, int | float):
            self.int32(1)
            self.parts.append(struct.pack("<d", value))
        elif isinstance(value, str):
            self.int32(2)
            self.string(value)
        elif isinstance(value, LuaTable):
            if self.begin(value, 3):
                self.int32(len(value.pairs))
                for key, entry in value.pairs:
                    self.value(key)
                    self.value(entry)
        elif isinstance(value, Module):
            if self.begin(value, 4):
                self.string("V 2" if value.class_name == "nn.VolumetricMaxPooling" else "V 1")
                self.string(value.class_name)
                self.value(value.fields)
        else:
            self.tensor(np.asarray(value))

    def tensor(self, array: np.ndarray) -> None:
        name = CLASSES[array.dtype.str[1:]]
        if self.begin(array, 4):
            self.string("V 1")
            self.string(f"torch.{name}Tensor")
            self.int32(array.ndim)
            self.int64(*array.shape)
            self.int64(*(stride // array.itemsize for stride in np.zeros(array.shape, array.dtype).strides))
            self.int64(1)
            if array.size:
                self.storage(array.reshape(-1))
            else:
                self.int32(0)

    def storage(self, array: np.ndarray) -> None:
        if self.begin(array, 4):
            self.string("V 1")
            self.string(f"torch.{CLASSES[array.dtype.str[1:]]}Storage")
            self.int64(array.size)
            self.parts.append(array.astype(array.dtype.newbyteorder("<")).tobytes())

    def bytes(self) -> bytes:
        return b"".join(self.parts)


def torch7_bytes(value: Any) -> bytes:
    """Return the file of one value."""
    writer = Writer()
    writer.value(value)
    return writer.bytes()


def table(pairs: Any) -> LuaTable:
    """Return a table of a dict's items, or of a list's under 1, 2, 3 ..."""
    made = LuaTable()
    for key, value in pairs.items() if isinstance(pairs, dict) else enumerate(pairs, 1):
        made.add(key, value)
    return made


def module(class_name: str, **fields: Any) -> Module:
    """Return a module with these fields."""
    return Module(class_name, table(fields))
