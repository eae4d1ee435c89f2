"""What one's own tables of ratings have that a corpus's have not: single letters for traits, commas, other scales."""

import re
from collections.abc import Iterable
from typing import Final

from thinslice.errors import ManifestError
from thinslice.traits import TARGETS

LETTERS: Final = {
    "o": "openness",
    "c": "conscientiousness",
    "e": "extraversion",
    "a": "agreeableness",
    "n": "neuroticism",
}
"""How psychologists abbreviate the five traits, in any case."""

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_COMMONER_THAN_CHANCE = 3  # A column E alone may be anything.


def letter_headers(keys: Iterable[str]) -> dict[str, str]:
    """Return the traits that single letters among lower-case headers stand for; none where there are under three."""
    found = {key: LETTERS[key] for key in keys if key in LETTERS}
    return found if len(found) >= _COMMONER_THAN_CHANCE else {}


def read_numbers(
    cells: dict[str, dict[str, str]], columns: Iterable[str], scale: tuple[float, float] | None, where: str
) -> list[str]:
    """Bring columns of numbers to points and to 0 to 1, in place; return what was done, one line each.

    Args:
        cells: column -> clip -> text.
        columns: those of numbers.
        scale: lowest and highest rating of the traits and the interview; None for 0 to 1 already.
        where: the file, for messages.

    Raises:
        ManifestError: a rating outside the scale, or that is no number.
    """
    notes, with_commas, scaled = [], [], []
    for name in columns:
        column = cells.get(name, {})
        found = {clip: text.replace(",", ".") for clip, text in column.items() if _DECIMAL_COMMA.fullmatch(text)}
        if found:
            column |= found
            with_commas.append(name)
        if scale is not None and name in TARGETS and column:
            column |= {clip: _rescaled(text, scale, f"{where}: {name} of {clip}") for clip, text in column.items()}
            scaled.append(name)
    if with_commas:
        notes.append(f"{where}: decimal commas read as points in {', '.join(with_commas)}")
    if scaled and scale is not None:
        notes.append(f"{where}: {', '.join(scaled)} brought from {scale[0]:g}-{scale[1]:g} to 0-1")
    if cells.get("neuroticism"):
        notes.append(
            f"{where}: neuroticism is taken as it stands; in First Impressions 1 is comfortable and 0 uneasy, so turn "
            "yours round if a high value means neurotic"
        )
    return notes


def parse_scale(text: str) -> tuple[float, float]:
    """Return the ends of a scale written as "1:7"; ValueError where it is none."""
    low, _, high = text.replace(",", ".").partition(":")
    ends = float(low), float(high)
    if not ends[0] < ends[1] < float("inf"):
        raise ValueError(text)
    return ends


def _rescaled(text: str, scale: tuple[float, float], where: str) -> str:
    low, high = scale
    try:
        value = float(text)
    except ValueError:
        raise ManifestError(f"{where} is {text!r}, not a number; leave it empty if unknown") from None
    if not low <= value <= high:
        raise ManifestError(f"{where} is {text}, outside the scale {low:g} to {high:g}; correct --scale, or the value")
    return f"{(value - low) / (high - low):.6g}"
