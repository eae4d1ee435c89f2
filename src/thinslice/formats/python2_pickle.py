"""Annotation pickles of First Impressions, read without running anything that is in them.

A pickle is a program: loading one of unknown origin with `pickle` may run any command. Here the program is interpreted
on a whitelist: dictionaries, tuples, text, numbers and NumPy scalars are built; every other instruction, and every name
but the few that a NumPy scalar needs, is refused. Nothing is imported and nothing of the file's choosing is called, so
that neither a class registered elsewhere in the process nor a fault in a C extension can be reached. The parser of the
instructions is the standard library's `pickletools.genops`. Byte strings of Python 2 become text as with
``pickle.load(file, encoding="latin1")``, the usual way to read these files.
"""

import os
import pickletools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.errors import ManifestError
from thinslice.traits import SCORE_RANGE, TARGETS

MAX_BYTES: Final = 32 * 2**20
"""Largest pickle read; the largest official one has 1.5 MB."""

MAX_STEPS: Final = 1_000_000
"""Most instructions interpreted; the longest official file has 120,000."""

MAX_DICTS: Final = 1_000
MAX_STACK: Final = 100_000

TRAIT_SPELLINGS: Final = {"neurotisicm": "neuroticism"}
"""Spellings of a variable in official files that are not thinslice's own."""


@dataclass(frozen=True)
class _Name:
    """A name the file mentions, never looked up."""

    text: str


@dataclass
class _Dtype:
    """A NumPy dtype under construction: "f8" and its byte order."""

    code: str
    order: str = "<"


_SCALAR = ("numpy.core.multiarray scalar", "numpy._core.multiarray scalar")
_DTYPE = ("numpy dtype",)
_ENCODE = ("_codecs encode",)  # how Python 3 writes bytes under protocol 2
_NAMES = (*_SCALAR, *_DTYPE, *_ENCODE)
_CODE = re.compile(r"[fiu][248]|[iu]1|b1", re.ASCII)
_MARK = object()

_NUMBERS = frozenset({"BINFLOAT", "FLOAT", "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1"})
_TEXTS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"})
_BYTES = frozenset({"SHORT_BINSTRING", "BINSTRING", "STRING", "SHORT_BINBYTES", "BINBYTES"})
_VALUES = _NUMBERS | _TEXTS | _BYTES
"""Instructions that push their own argument."""


def load_annotations(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Read an official annotation pickle: variable -> clip -> label.

    Returns:
        The variables that are there, named and ordered as `thinslice.traits.TARGETS`; labels in [0, 1].

    Raises:
        ManifestError: not such a file; a file with anything in it but dictionaries, text and numbers.
    """
    return parse_annotations(_read(path), os.fspath(path))


def load_transcripts(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read an official transcription pickle: clip -> text, verbatim.

    Raises:
        ManifestError: as `load_annotations`.
    """
    return parse_transcripts(_read(path), os.fspath(path))


def parse_annotations(data: bytes, source: str) -> dict[str, dict[str, float]]:
    """Read the bytes of an annotation pickle; as `load_annotations`."""
    found: dict[str, dict[str, float]] = {}
    low, high = SCORE_RANGE
    for spelling, labels in _as_dict(_load(data, source), source, "variables").items():
        name = TRAIT_SPELLINGS.get(spelling, spelling)
        if name not in TARGETS:
            raise ManifestError(
                f"{source}: {_shown(spelling)} is none of {', '.join(TARGETS)}; is it an annotation file?"
            )
        if name in found:
            raise ManifestError(f"{source}: {name} is listed twice, under two spellings")
        for clip, value in _as_dict(labels, source, f"labels of {name}").items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                raise ManifestError(
                    f"{source}: {name} of {_shown(clip)} is {_shown(value)}, no number in [{low:g}, {high:g}]"
                )
        found[name] = {clip: float(value) for clip, value in labels.items()}
    if not found:
        raise ManifestError(f"{source}: no labels in it")
    return {name: found[name] for name in TARGETS if name in found}


def parse_transcripts(data: bytes, source: str) -> dict[str, str]:
    """Read the bytes of a transcription pickle; as `load_transcripts`."""
    texts = _as_dict(_load(data, source), source, "transcripts")
    for clip, text in texts.items():
        if not isinstance(text, str):
            raise ManifestError(f"{source}: the transcript of {_shown(clip)} is {_shown(text)}, not text")
    return texts


def _load(data: bytes, source: str) -> Any:
    """Return what a pickle of protocol 0 to 5 holds; ManifestError if it is refused, damaged or out of bounds."""
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{source}: {len(data):,} bytes are too many for an annotation file")
    if not data:
        raise ManifestError(f"{source}: empty")
    try:
        return _interpret(data, source)
    except (IndexError, KeyError, ValueError, TypeError, OverflowError) as error:
        # What a damaged file makes of a stack machine: a missing mark, an unknown memo entry, a cut-off argument.
        raise ManifestError(f"{source}: not a pickle, or a damaged one ({_one_line(error)})") from None


def _read(path: str | os.PathLike[str]) -> bytes:
    source = os.fspath(path)
    try:
        with open(Path(path), "rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ManifestError(f"{source}: no such file") from None
    except OSError as error:
        raise ManifestError(f"{source}: cannot be read ({error.strerror})") from None


def _interpret(data: bytes, source: str) -> Any:
    """Run the pickle's instructions on a stack of plain values."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    num_dicts = 0
    for step, (name, arg, position) in enumerate(_instructions(data)):
        if step >= MAX_STEPS or num_dicts > MAX_DICTS or len(stack) > MAX_STACK:
            raise ManifestError(f"{source}: too large or too deep for an annotation file")
        if name in _VALUES:
            stack.append(arg)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(arg)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(arg)])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "EMPTY_DICT":
            num_dicts += 1
            stack.append({})
        elif name == "DICT":
            num_dicts += 1
            stack.append(_set_items({}, _pop_to_mark(stack), source))
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set_items(stack[-1], [key, value], source)
        elif name == "SETITEMS":
            items = _pop_to_mark(stack)
            _set_items(stack[-1], items, source)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            items = stack[len(stack) - size :]
            if len(stack) < size:
                raise ValueError("stack underflow")
            del stack[len(stack) - size :]
            stack.append(tuple(items))
        elif name == "TUPLE":
            stack.append(tuple(_pop_to_mark(stack)))
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                arg = f"{module} {attribute}"
            if arg not in _NAMES:
                raise _refused(source, f"the name {_shown(arg.replace(' ', '.', 1))}")
            stack.append(_Name(arg))
        elif name == "REDUCE":
            args, function = stack.pop(), stack.pop()
            stack.append(_reduce(function, args, source))
        elif name == "BUILD":
            state, target = stack.pop(), stack[-1]
            _build(target, state, source)
        elif name in ("PROTO", "FRAME"):
            continue
        elif name == "STOP":
            if len(stack) != 1:
                raise ValueError("stack not empty at the end")
            if position + 1 != len(data):
                raise ValueError(f"{len(data) - position - 1} bytes after the end")
            return stack[0]
        else:
            raise _refused(source, f"the instruction {name}")
    raise ValueError("no end")


def _instructions(data: bytes) -> Iterator[tuple[str, Any, int]]:
    for opcode, arg, position in pickletools.genops(data):
        yield opcode.name, arg, position or 0


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    for i in range(len(stack) - 1, -1, -1):
        if stack[i] is _MARK:
            items = stack[i + 1 :]
            del stack[i:]
            return items
    raise ValueError("no mark")


def _set_items(target: Any, items: list[Any], source: str) -> dict[str, Any]:
    if not isinstance(target, dict) or len(items) % 2:
        raise ValueError("items without a dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Only text as key: the hash of a tuple nested a million deep would overflow the C stack.
        if not isinstance(key, str):
            raise _refused(source, f"a dictionary key that is a {type(key).__name__}")
        if isinstance(value, _Name | _Dtype):
            raise _refused(source, "a class or function as value")
        if value is _MARK:
            raise ValueError("a mark as value")
        target[key] = value
    return target


def _reduce(function: Any, args: Any, source: str) -> Any:
    """Do what the three admitted names would do, in our own code."""
    if not isinstance(function, _Name) or not isinstance(args, tuple):
        raise _refused(source, "a call of something that is not a name")
    if function.text in _DTYPE:
        code, align, copy = args
        if not isinstance(code, str) or not _CODE.fullmatch(code) or align not in (0, 1) or copy not in (0, 1):
            raise _refused(source, f"the NumPy type {_shown(code)}")
        return _Dtype(code)
    if function.text in _ENCODE:
        text, encoding = args
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise _refused(source, f"the encoding {_shown(encoding)}")
        return text.encode("latin-1")
    dtype, raw = args
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        raise _refused(source, "a NumPy scalar that is not a number")
    numpy_dtype = np.dtype(dtype.order + dtype.code)
    if len(raw) != numpy_dtype.itemsize:
        raise ValueError(f"{len(raw)} bytes for a {dtype.code}")
    return np.frombuffer(raw, numpy_dtype)[0].item()


def _build(target: Any, state: Any, source: str) -> None:
    """Set a dtype's byte order, the only state that an instance may be given."""
    if not isinstance(target, _Dtype) or not isinstance(state, tuple) or len(state) < 8:
        raise _refused(source, "state for an object")
    version, order, *rest = state
    if version not in (3, 4) or order not in ("<", ">", "|", "=") or any(part is not None for part in rest[:3]):
        raise _refused(source, f"the NumPy type {_shown(order)}")
    target.order = "<" if order == "=" else order


def _as_dict(value: Any, source: str, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(f"{source}: holds {_shown(value)} where a dictionary of {what} belongs")
    return value


def _refused(source: str, what: str) -> ManifestError:
    return ManifestError(
        f"{source}: refused, it holds {what}, which no annotation file needs; do not open it with pickle either"
    )


def _shown(value: Any) -> str:
    """A value on one short line; containers by their kind, since printing one may never end."""
    if isinstance(value, str | bytes | int | float | None):
        text = ascii(value)
        return text if len(text) <= 60 else text[:60] + "..."
    return f"a {type(value).__name__.lstrip('_')}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
