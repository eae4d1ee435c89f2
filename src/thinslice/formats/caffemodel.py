"""Weights out of a ``.caffemodel``: as much of Caffe's protocol-buffer format as they need, and no more.

Source: ``src/caffe/proto/caffe.proto`` (github.com/BVLC/caffe): a NetParameter has its layers in field 100
(LayerParameter: name 1, blobs 7) or, in files before 2014, in field 2 (V1LayerParameter: name 4, blobs 6). A BlobProto
has its values in field 5, float32, and its shape in field 7 (BlobShape: dim 1) or in fields 1 to 4 (num, channels,
height, width). Protocol buffers' wire format: protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.errors import UsageError
from thinslice.files import read_file

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_LAYERS: Final = {100: (1, 7), 2: (4, 6)}
"""Field of a layer in the net -> fields of its name and of its blobs."""


class _BadFileError(Exception):
    """What stands in the file is no protocol buffer."""


def read_caffemodel(path: Path) -> dict[str, list[np.ndarray]]:
    """Return layer name -> its arrays of weights, float32, of all layers that have any.

    Raises:
        UsageError: the file cannot be read, or is no Caffe model.
    """
    try:
        data = memoryview(read_file(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        layers = dict(_layers(data))
    except (_BadFileError, IndexError, ValueError) as error:
        raise UsageError(f"{path}: is no Caffe model, or damaged ({error})") from None
    if not layers:
        raise UsageError(f"{path}: is no Caffe model: it has no layer with weights")
    return layers


def _layers(data: memoryview) -> Iterator[tuple[str, list[np.ndarray]]]:
    for field, value in _fields(data):
        if field not in _LAYERS or not isinstance(value, memoryview):
            continue
        of_name, of_blob = _LAYERS[field]
        name, blobs = "", []
        for inner, content in _fields(value):
            if inner == of_name and isinstance(content, memoryview):
                name = bytes(content).decode()
            elif inner == of_blob and isinstance(content, memoryview):
                blobs.append(_blob(content))
        if blobs:
            yield name, blobs


def _blob(data: memoryview) -> np.ndarray:
    parts: list[bytes] = []
    shape: list[int] = []
    old_shape: dict[int, int] = {}
    for field, value in _fields(data):
        if field == 5 and isinstance(value, memoryview):
            parts.append(bytes(value))
        elif field == 7 and isinstance(value, memoryview):
            shape = [size for inner, content in _fields(value) if inner == 1 for size in _integers(content)]
        elif field in (1, 2, 3, 4) and isinstance(value, int):
            old_shape[field] = value
    values = np.frombuffer(b"".join(parts), "<f4").astype(np.float32)
    sizes = shape or [old_shape.get(field, 1) for field in (1, 2, 3, 4)]
    if int(np.prod(sizes)) != len(values):
        raise _BadFileError(f"{len(values)} values for an array of {sizes}")
    return values.reshape(sizes)


def _integers(content: "memoryview | int") -> list[int]:
    """Return the integers of a field that may be packed."""
    if isinstance(content, int):
        return [content]
    out, at = [], 0
    while at < len(content):
        value, at = _varint(content, at)
        out.append(value)
    return out


def _fields(data: memoryview) -> "Iterator[tuple[int, memoryview | int]]":
    """Yield the fields of a message: their number, and an integer or the bytes as they stand."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise _BadFileError(f"a field of kind {kind}")
        if at + size > len(data):
            raise _BadFileError("it ends too early")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _BadFileError("it ends too early")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
