"""Readings: where a paper, its authors' code and a library disagree, each by its name, as a variant of a recipe.

A recipe lists its readings, has a variant for each (`reading_variants`) and the table "readings" (`readings_table`):
``thinslice table NAME readings`` then trains them beside the recipe's own choice and prints how far each moves scores.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from thinslice.errors import UsageError
from thinslice.features.spec import Scalar

PREFIX: Final = "reading_"
SMALL: Final = "small_"
TABLE: Final = "readings"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way of reading what is open, other than the recipe's own.

    Attributes:
        says: what is read how, and whose reading it is.
        changes: hyperparameters that differ from the variant that it is a reading of.
    """

    says: str
    changes: Mapping[str, Scalar]


def reading_variants(readings: Mapping[str, Reading]) -> tuple[str, ...]:
    """Return the variants that readings make, and each at the small size."""
    names = [f"{PREFIX}{name}" for name in readings]
    return (*names, *(f"{SMALL}{name}" for name in names))


def readings_table(variant: str, says: str, readings: Mapping[str, Reading]) -> dict[str, str]:
    """Return the table: a recipe's own variant first, then its readings -> what each is.

    Args:
        variant: that the readings are of.
        says: what the recipe's own choice is.
        readings: by name.
    """
    return {variant: says, **{f"{PREFIX}{name}": reading.says for name, reading in readings.items()}}


def apply_reading(variant: str, base: str, readings: Mapping[str, Reading]) -> tuple[str, dict[str, Any]]:
    """Return the variant that a reading is of, and what it changes; other variants as they are, with no changes.

    Args:
        variant: with or without "small_" before it.
        base: the variant that readings are of.
        readings: by name.
    """
    size = SMALL if variant.startswith(SMALL) else ""
    name = variant.removeprefix(size)
    if not name.startswith(PREFIX):
        return variant, {}
    return size + base, dict(readings[name.removeprefix(PREFIX)].changes)


def check_variant(system: str, variant: str, kinds: Iterable[str], readings: Mapping[str, Reading]) -> None:
    """Raise UsageError where a recipe has no such variant, naming those that there are.

    Args:
        system: its name.
        variant: what was asked for.
        kinds: its variants without readings, those at the small size among them.
        readings: by name.
    """
    known = tuple(kinds)
    if variant not in (*known, *reading_variants(readings)):
        raise UsageError(
            f"{system} has no variant {variant!r}; there are {', '.join(known)}"
            + (f", and readings: {', '.join(reading_variants(readings))}" if readings else "")
        )


def check_draws(system: str, draws: int) -> None:
    """Raise UsageError where not an odd number of frames is kept of each part of a clip."""
    if draws < 1 or draws % 2 == 0:
        raise UsageError(f"{system}: draws={draws}; take an odd number, so that one is a part's centre")
