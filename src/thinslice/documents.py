"""Documents: the JSON files that we write and read back, as typed values.

A document's type is a `Document` (or a frozen dataclass) whose annotations say what the file must hold. JSON is read
and written by the standard library, whose escapes also keep file names that are not UTF-8; msgspec checks the types:
17 ms to import against 38 ms for cattrs, no dependencies, and its messages name the field.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, dataclass_transform

import msgspec

from thinslice.errors import ThinsliceError, UsageError

T = TypeVar("T")

MAX_BYTES = 64 * 2**20
"""A document file larger than this is refused."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of typed documents: fields are given by name, checked when read, and an unknown one is refused.

    Where a field without a default follows one with, msgspec wants `kw_only=True` said again.
    """


Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
"""Brings a JSON object of an older format to today's, before it is checked."""


def parse_document(text: str | bytes, kind: type[T], upgrade: Upgrade | None = None) -> T:
    """Return a JSON text as a typed value.

    Args:
        text: UTF-8 where it is bytes.
        kind: a `Document`, or another type that msgspec knows.
        upgrade: see `Upgrade`.

    Raises:
        ValueError: not JSON, a number that is not finite, or not a `kind`; one line that names the field.
    """
    try:
        data = json.loads(text, parse_float=_finite, parse_constant=_refuse)
        if upgrade is not None and isinstance(data, dict):
            data = upgrade(data)
        return msgspec.convert(data, kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def format_document(value: Any, indent: int | None = None) -> str:
    """Return the JSON text of a document.

    Args:
        value: a `Document`, dataclass, mapping, sequence or scalar, of Python or NumPy.
        indent: blanks per level; None for one line.

    Raises:
        ValueError: a number that is not finite.
    """
    return json.dumps(to_plain(value), indent=indent, ensure_ascii=indent is None, allow_nan=False)


def to_plain(value: Any) -> Any:
    """Return a document as dicts, lists and scalars."""
    return msgspec.to_builtins(value, enc_hook=_plain)


def load_document(
    path: Path,
    kind: type[T],
    remedy: str,
    error: type[ThinsliceError] = UsageError,
    upgrade: Upgrade | None = None,
) -> T:
    """Read a JSON file as a typed value.

    Args:
        path: the file.
        kind: as in `parse_document`.
        remedy: what the user can do where it is absent or damaged; ends the message.
        error: type of the error.
        upgrade: as in `parse_document`.

    Raises:
        ThinsliceError: the file is missing, damaged, too large or not a `kind`: one line with the remedy.
    """
    try:
        if not path.is_file():
            raise error(f"{path}: no such file; {remedy}")
        if path.stat().st_size > MAX_BYTES:
            raise error(f"{path}: over {MAX_BYTES // 2**20} MB; {remedy}")
        return parse_document(path.read_bytes(), kind, upgrade)
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror}); {remedy}") from None
    except ValueError as problem:
        raise error(f"{path}: damaged ({problem}); {remedy}") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")


def _plain(value: Any) -> Any:
    """Return what msgspec does not know, as it knows it: NumPy's scalars and arrays, mappings that are no dict."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot stand in a document")
