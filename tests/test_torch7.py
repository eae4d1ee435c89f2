"""The Torch7 reader: what it reads, and that nothing in a file can make it do anything else."""

import contextlib
import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinslice.formats import torch7
from thinslice.formats.torch7 import LuaTable, Module, Torch7Error, parse_torch7, read_torch7
from torch7_files import Writer, module, table, torch7_bytes

NUMBERS = st.floats(allow_nan=False) | st.integers(-(2**31), 2**31).map(float)
TEXT = st.text(st.characters(max_codepoint=255), max_size=12)
ARRAYS = st.builds(
    lambda dtype, shape, start: np.arange(start, start + int(np.prod(shape))).reshape(shape).astype(dtype),
    st.sampled_from(["u1", "i1", "i2", "i4", "<i8", "<f4", "<f8"]),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(0, 20),
)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT | ARRAYS
KEYS = TEXT | NUMBERS
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.dictionaries(KEYS, inner, max_size=4).map(table)
        | st.dictionaries(TEXT, inner, max_size=3).map(lambda fields: Module("nn.Linear", table(fields)))
    ),
    max_leaves=12,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, Module) and isinstance(b, Module):
        return a.class_name == b.class_name and same(a.fields, b.fields)
    if isinstance(a, LuaTable) and isinstance(b, LuaTable):
        return len(a) == len(b) and all(
            same(x, y) for pair, other in zip(a.pairs, b.pairs, strict=True) for x, y in zip(pair, other, strict=True)
        )
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    return type(a) is type(b) and a == b


@given(VALUES)
def test_reads_what_torch7_writes(value):
    assert same(parse_torch7(torch7_bytes(value)), value)


def test_objects_met_twice_are_one_object():
    shared = np.arange(6, dtype=np.float32).reshape(2, 3)
    inner = table({"weight": shared})
    read = parse_torch7(torch7_bytes(table([inner, inner, table({"weight": shared})])))
    first, second, third = read.sequence()
    assert first is second
    assert third.get("weight") is first.get("weight")


def test_a_table_may_contain_itself_and_be_a_key():
    loop = LuaTable()
    loop.add("me", loop)
    loop.add(loop, 1.0)
    read = parse_torch7(torch7_bytes(loop))
    assert read.get("me") is read
    assert read.get(read) == 1.0


def test_true_and_one_are_different_keys():
    read = parse_torch7(torch7_bytes(table({1.0: "one"})))
    assert read.get(1) == "one"
    assert read.get(True) is None
    both = LuaTable()
    assert both.add(1.0, "one")
    assert both.add(True, "yes")
    assert not both.add(1, "again")
    assert both.get(True) == "yes"


def test_arrays_are_views_of_the_file_and_cannot_be_written():
    read = parse_torch7(torch7_bytes(np.zeros((3, 2), np.float32)))
    with pytest.raises(ValueError, match="read-only"):
        read[0, 0] = 1.0


def test_strides_and_offset_are_followed():
    writer = Writer()
    writer.int32(4, 99)
    writer.string("V 1")
    writer.string("torch.FloatTensor")
    writer.int32(2)
    writer.int64(2, 3, 1, 2, 2)  # shape (2, 3), strides (1, 2): a transposed matrix, from the second element on
    writer.storage(np.arange(8, dtype=np.float32))
    assert parse_torch7(writer.bytes()).tolist() == [[1, 3, 5], [2, 4, 6]]


def tensor(ndim=1, shape=(2,), strides=(1,), offset=1, storage=None, element="Float"):
    writer = Writer()
    writer.int32(4, 99)
    writer.string("V 1")
    writer.string(f"torch.{element}Tensor")
    writer.int32(ndim)
    writer.int64(*shape, *strides, offset)
    writer.value(storage) if not isinstance(storage, np.ndarray) else writer.storage(storage)
    return writer.bytes()


TWO = np.zeros(2, np.float32)
ONE, SEVEN = struct.pack("<ii", 4, 1), struct.pack("<ii", 4, 7)
HOSTILE = {
    "empty file": b"",
    "unknown tag": struct.pack("<i", 77),
    "function": struct.pack("<iii", 6, 1, 0),
    "recursive function": struct.pack("<iii", 8, 1, 0),
    "legacy function": struct.pack("<iii", 7, 1, 0),
    "negative tag": struct.pack("<i", -1),
    "boolean of 2": struct.pack("<ii", 5, 2),
    "string longer than the file": struct.pack("<ii", 2, 2**31 - 1),
    "string of negative length": struct.pack("<ii", 2, -5),
    "table larger than the file": struct.pack("<iii", 3, 1, 2**31 - 1),
    "table of negative size": struct.pack("<iii", 3, 1, -1),
    "something after the object": torch7_bytes(1.0) + b"\0",
    "nil key": struct.pack("<iiiii", 3, 1, 1, 0, 0),
    "nan key": struct.pack("<iiiidi", 3, 1, 1, 1, float("nan"), 0),
    "key twice": struct.pack("<iii", 3, 1, 2) + 2 * (torch7_bytes("k") + torch7_bytes(1.0)),
    "array as key": struct.pack("<iii", 3, 1, 1) + tensor(storage=TWO).replace(ONE, SEVEN),
    "unknown class": torch7_bytes(module("os.system", command="true")),
    "python module": torch7_bytes(module("torch.nn.Linear")),
    "class of another version": torch7_bytes(module("nn.Linear")).replace(b"V 1", b"V 7"),
    "file before versions": struct.pack("<ii", 4, 1) + torch7_bytes("nn.Linear")[4:] + torch7_bytes("x")[4:],
    "module whose fields are a number": struct.pack("<ii", 4, 1)
    + torch7_bytes("V 1")[4:]
    + torch7_bytes("nn.Linear")[4:]
    + torch7_bytes(1.0),
    "storage larger than the file": struct.pack("<ii", 4, 1)
    + torch7_bytes("V 1")[4:]
    + torch7_bytes("torch.FloatStorage")[4:]
    + struct.pack("<q", 2**62),
    "storage of negative size": struct.pack("<ii", 4, 1)
    + torch7_bytes("V 1")[4:]
    + torch7_bytes("torch.FloatStorage")[4:]
    + struct.pack("<q", -1),
    "tensor beyond its storage": tensor(shape=(3,), storage=TWO),
    "tensor far beyond its storage": tensor(shape=(2**62,), storage=TWO),
    "tensor that repeats one number": tensor(shape=(2**40,), strides=(0,), storage=TWO),
    "product that overflows": tensor(2, (2**32, 2**32), (0, 0), storage=TWO),
    "stride that overflows": tensor(strides=(2**63 - 1,), storage=TWO),
    "negative stride": tensor(strides=(-1,), offset=2, storage=TWO),
    "negative size": tensor(shape=(-2,), storage=TWO),
    "offset 0": tensor(offset=0, storage=TWO),
    "offset beyond": tensor(offset=2, storage=TWO),
    "negative dimensions": tensor(ndim=-1, shape=(), strides=(), storage=TWO),
    "too many dimensions": tensor(ndim=10**6, storage=TWO),
    "storage of another type": tensor(storage=np.zeros(2)),
    "storage that is a string": tensor(storage="x"),
    "no storage": tensor(),
    "tensor inside itself": tensor()[:-4] + struct.pack("<ii", 4, 99),
    "reference of another kind": struct.pack("<iii", 3, 1, 1) + torch7_bytes("k") + ONE,
    "too deep": b"".join(struct.pack("<iii", 3, depth, 1) + torch7_bytes("k") for depth in range(1, 5000)),
}


REASONS = {
    "empty file": "ends too early",
    "unknown tag": "type tag 77",
    "function": "Lua function",
    "recursive function": "Lua function",
    "legacy function": "Lua function",
    "negative tag": "type tag -1",
    "boolean of 2": "boolean",
    "string longer than the file": "characters",
    "string of negative length": "characters",
    "table larger than the file": "table entries",
    "table of negative size": "table entries",
    "something after the object": "bytes follow",
    "nil key": "key",
    "nan key": "key",
    "key twice": "one key twice",
    "array as key": "an array",
    "unknown class": "unknown class",
    "python module": "unknown class",
    "class of another version": "V 7",
    "file before versions": "unknown class",
    "module whose fields are a number": "not a table",
    "storage larger than the file": "storage of",
    "storage of negative size": "storage of -1",
    "tensor beyond its storage": "does not hold",
    "tensor far beyond its storage": "does not hold",
    "tensor that repeats one number": "does not hold",
    "product that overflows": "does not hold",
    "stride that overflows": "does not hold",
    "negative stride": "negative",
    "negative size": "negative",
    "offset 0": "negative",
    "offset beyond": "does not hold",
    "negative dimensions": "-1 dimensions",
    "too many dimensions": "1000000 dimensions",
    "storage of another type": "another type",
    "storage that is a string": "another type",
    "no storage": "does not hold",
    "tensor inside itself": "what it is not",
    "reference of another kind": "what it is not",
    "too deep": "nested deeper",
}


@pytest.mark.parametrize("name", HOSTILE, ids=str)
def test_hostile_files_are_refused_in_one_line(name):
    tracemalloc.start()
    try:
        with pytest.raises(Torch7Error, match=REASONS[name]) as caught:
            parse_torch7(HOSTILE[name], "some.net")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("some.net: ")
    assert peak < 10_000_000


def test_a_stride_of_a_single_element_means_nothing():
    assert parse_torch7(tensor(shape=(1,), strides=(2**63 - 1,), storage=TWO)).shape == (1,)


def test_too_many_values(monkeypatch):
    monkeypatch.setattr(torch7, "MAX_VALUES", 50)
    with pytest.raises(Torch7Error, match="more than 50 values"):
        parse_torch7(torch7_bytes(table(["x"] * 40)))


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(Torch7Error, match="cannot be read"):
        read_torch7(tmp_path / "absent.net")
    with pytest.raises(Torch7Error, match="cannot be read"):
        read_torch7(tmp_path)
    (tmp_path / "big.net").write_bytes(bytes(200))
    with pytest.raises(Torch7Error, match="200 bytes"):
        read_torch7(tmp_path / "big.net", max_bytes=100)


def read_or_refuse(data: bytes) -> None:
    """Pass where the bytes are read, and where they are refused in one line; fail on any other exception."""
    with contextlib.suppress(Torch7Error):
        parse_torch7(data, "fuzzed")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    read_or_refuse(data)


@given(VALUES, st.data())
@settings(max_examples=200)
def test_damaged_files_are_read_or_refused(value, data):
    original = torch7_bytes(value)
    position = data.draw(st.integers(0, len(original) - 1))
    change = data.draw(st.integers(1, 255))
    damaged = bytearray(original)
    damaged[position] ^= change
    read_or_refuse(bytes(damaged))
    with pytest.raises(Torch7Error):
        parse_torch7(original[:position])


@pytest.mark.parametrize("name", ["bimodal_lstm.net", "bimodal_3dcnn.net"])
def test_damaged_real_files_are_read_or_refused(bimodal_weights: Path, name):
    """Structure lies between long runs of weights: flips are drawn where bytes differ from float data, and anywhere."""
    original = (bimodal_weights / name).read_bytes()
    chance = random.Random(1)
    marks = [at for at in range(len(original) - 4) if original[at : at + 3] in (b"nn.", b"V 1", b"tor", b"_ty")]
    for _ in range(150):
        damaged = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            near = chance.choice(marks) + chance.randint(-24, 40) if chance.random() < 0.8 else chance.randrange(10**6)
            damaged[max(0, min(near, len(original) - 1))] ^= 1 << chance.randrange(8)
        read_or_refuse(bytes(damaged))
    for _ in range(40):
        with pytest.raises(Torch7Error):
            parse_torch7(original[: chance.randrange(len(original))])
