"""The extractors there are. Each one states its name, version, parameters and the extra it needs, beside its code.

A new extractor x is a function `extract_x(source, ...)` in a module of this package, `X_EXTRACTOR` below it, and one
line in `EXTRACTORS`. The module must import without any extra: optional packages are imported where used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from inspect import signature
from typing import Any, Final, get_type_hints

import msgspec
import numpy as np

from thinslice.errors import UsageError

EXTRACTORS: Final[dict[str, str]] = {
    "voice_profile": "thinslice.features.voice",
    "waveform": "thinslice.features.waveform",
    "frames": "thinslice.features.frames",
    "short_term_audio": "thinslice.features.short_term_audio",
    "aligned_faces": "thinslice.features.faces",
    "face_picture": "thinslice.features.face_picture",
    "face_portraits": "thinslice.features.face_portraits",
    "attributes": "thinslice.features.attributes",
    "egemaps": "thinslice.features.egemaps",
    "word_vectors": "thinslice.features.word_vectors",
    "text_embedding": "thinslice.features.text_embedding",
    "text_vector": "thinslice.features.text_embedding",
}
"""Name in a spec -> module with the constant `<NAME>_EXTRACTOR`, imported when a spec first names it."""

MAX_PARAMETER: Final = 1_000_000
"""Largest number that a parameter takes: sampling rates in Hz, seconds, pixels, counts."""


class _OutOfBoundsError(ValueError):
    pass


def _within_bounds(params: msgspec.Struct) -> msgspec.Struct:
    """Return parameters whose counts are at least 1, whose seconds are above 0 and whose other numbers are not below
    0."""
    for name, value in msgspec.structs.asdict(params).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        above = isinstance(value, int) or name.endswith("_s")
        if not 0 <= value <= MAX_PARAMETER or (above and value == 0):
            raise _OutOfBoundsError(f"{name} {value:g} is not between 0 and {MAX_PARAMETER:,}")
    return params


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """What computes a feature of one clip.

    Attributes:
        name: by which specs, stores and bundles know it.
        version: of its code; raise it whenever its values may change, also by a change in what it calls. Stores then
            compute again, and bundles made with another version are refused.
        serves: earlier versions whose bundles this one may serve: where its values differ, theirs were wrong, as those
            of a sound track with one silent channel.
        extract: `(source, **params) -> array`. Its signature is where the parameters' names, types (JSON scalars) and
            defaults are written.
        extra: the optional part of thinslice that it needs; "" for none.
        reads_words: whether it looks at nothing but the words, where the source has its transcript.
        pin: parameters -> the same with what fixes the files that they name, such as a hash: what a bundle states.
            None where they name none.
    """

    name: str
    version: int
    serves: tuple[int, ...] = ()
    extract: Callable[..., np.ndarray]
    extra: str = ""
    reads_words: bool = False
    pin: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    @cached_property
    def params(self) -> type[msgspec.Struct]:
        """The type of its parameters, frozen: `extract`'s without the source."""
        hints = get_type_hints(self.extract)
        fields: list[Any] = []
        for name, parameter in list(signature(self.extract).parameters.items())[1:]:
            required = parameter.default is parameter.empty
            fields.append((name, hints[name]) if required else (name, hints[name], parameter.default))
        return msgspec.defstruct(self.name, fields, frozen=True, kw_only=True, forbid_unknown_fields=True)

    def read_params(self, params: Mapping[str, Any]) -> msgspec.Struct:
        """Return parameters as their type; UsageError for one unknown, missing, of another type or out of bounds."""
        try:
            return _within_bounds(msgspec.convert(dict(params), self.params))
        except (msgspec.ValidationError, _OutOfBoundsError) as error:
            known = ", ".join(self.params.__struct_fields__) or "none"
            raise UsageError(f"feature {self.name}: {error}; its parameters are: {known}") from None


def find_extractor(name: str) -> Extractor:
    """Return the extractor of that name; UsageError if this version has none."""
    if name not in EXTRACTORS:
        raise UsageError(f"unknown feature {name!r}; this version has {', '.join(sorted(EXTRACTORS))}")
    found: Extractor = getattr(import_module(EXTRACTORS[name]), f"{name.upper()}_EXTRACTOR")
    return found
