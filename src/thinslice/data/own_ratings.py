"""What one's own tables of ratings have that a corpus's have not: other names, commas, scales, targets of their own."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from thinslice.errors import ManifestError, counted
from thinslice.evaluate.spellings import CLIP_SPELLINGS, plain, target_of
from thinslice.targets import parse_targets
from thinslice.traits import SCORE_RANGE, TARGETS

CLIPS: Final = (*CLIP_SPELLINGS, "stimulus", "stimulusid", "recording", "media")
"""Headers, in the form of `plain`, under which people name their clips, most telling first."""

SPEAKERS: Final = ("speaker", "speakerid", "person", "personid", "participant", "participantid", "subject", "subjectid")
"""Headers under which people say who speaks, most telling first."""

RATERS: Final = ("rater", "raterid", "annotator", "judge", "coder", "rateridentifier")
"""Headers that say who rated: then a clip has a row for each of them."""

NEUROTICISM: Final = "neuroticism"

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_NO_RATING: Final = frozenset({"na", "nan", "n/a", "null", "none", "-", "."})
_COMMONER_THAN_CHANCE = 3  # A column E alone may be anything.


@dataclass(frozen=True)
class RatingScale:
    """How one's own ratings are meant.

    Attributes:
        ends: lowest and highest rating of all rated columns; None for 0 to 1.
        targets: columns that are rated beside the traits and the interview.
        reversed: rated columns to be reversed: the highest rating becomes the lowest.

    Raises:
        UsageError: a name that cannot be a target's.
    """

    ends: tuple[float, float] | None = None
    targets: tuple[str, ...] = ()
    reversed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.targets:
            parse_targets(",".join(self.targets))

    @property
    def rated(self) -> tuple[str, ...]:
        """All columns that may hold ratings."""
        return tuple(dict.fromkeys((*TARGETS, *self.targets)))


def rated_headers(headers: Sequence[str], rated: Sequence[str]) -> dict[str, str]:
    """Return header -> the rated column that it means.

    Single letters stand for traits only where there are three of them at least.
    """
    found = {header: match[0] for header in headers if (match := target_of(header, rated)) and not match[1]}
    letters = [header for header, name in found.items() if len(plain(header)) == 1 and name in TARGETS]
    if len(letters) < _COMMONER_THAN_CHANCE:
        for header in letters:
            del found[header]
    return found


def read_ratings(
    cells: dict[str, dict[str, str]],
    headers: Mapping[str, str],
    scale: RatingScale,
    numbers: Iterable[str],
    where: str,
) -> list[str]:
    """Bring columns of numbers to points and ratings to 0 to 1, in place; return what was done, one line each.

    Args:
        cells: column -> clip -> text.
        headers: column -> its header in the file.
        scale: how ratings are meant.
        numbers: the other columns of numbers.
        where: the file, for messages.

    Raises:
        ManifestError: a rating outside the scale, or that is not a number; a column to be reversed that is not there.
    """
    renamed = [
        f"{headers[name]} = {name}" for name in scale.rated if name in cells and plain(headers[name]) != plain(name)
    ]
    notes = [f"{where}: read {', '.join(renamed)}"] if renamed else []
    with_commas, num_blank = [], 0
    for name in dict.fromkeys((*scale.rated, *numbers)):
        column = cells.get(name, {})
        blank = [clip for clip, text in column.items() if text.lower() in _NO_RATING]
        num_blank += len(blank)
        for clip in blank:
            del column[clip]
        found = {clip: text.replace(",", ".") for clip, text in column.items() if _DECIMAL_COMMA.fullmatch(text)}
        column |= found
        with_commas += [name] if found else []
    if with_commas:
        notes.append(f"{where}: decimal commas read as points in {', '.join(with_commas)}")
    if num_blank:
        notes.append(f"{where}: {counted(num_blank, 'cell')} such as NA taken for no rating")
    absent = [name for name in scale.reversed if name not in cells]
    if absent:
        raise ManifestError(f"{where}: no column {', '.join(absent)} to reverse; there are {', '.join(cells)}")
    scaled = [name for name in scale.rated if cells.get(name)]
    for name in scaled:
        turned = name in scale.reversed
        for clip, text in cells[name].items():
            cells[name][clip] = _rescaled(text, scale.ends, turned, f"{where}: {name} of {clip}")
    if scaled and scale.ends is not None:
        notes.append(f"{where}: {', '.join(scaled)} brought from {scale.ends[0]:g}-{scale.ends[1]:g} to 0-1")
    if scale.reversed:
        notes.append(f"{where}: {', '.join(scale.reversed)} reversed: the highest rating became the lowest")
    if cells.get(NEUROTICISM) and NEUROTICISM not in scale.reversed and "stability" not in plain(headers[NEUROTICISM]):
        notes.append(
            f"{where}: neuroticism is taken as it stands; in First Impressions 1 is comfortable and 0 uneasy, so "
            "reverse yours (--reverse neuroticism) if a high value means neurotic"
        )
    return notes


def parse_scale(text: str) -> tuple[float, float]:
    """Return the ends of a scale written as "1:7"; ValueError where it is none."""
    low, _, high = text.replace(",", ".").partition(":")
    ends = float(low), float(high)
    if not (ends[0] < ends[1] and all(map(math.isfinite, ends))):
        raise ValueError(text)
    return ends


def _rescaled(text: str, ends: tuple[float, float] | None, turned: bool, where: str) -> str:
    """Return a rating between 0 and 1; as it was written where nothing is to be done."""
    if ends is None and not turned:
        return text
    low, high = ends or SCORE_RANGE
    try:
        value = float(text)
    except ValueError:
        raise ManifestError(f"{where} is {text!r}, not a number; leave it empty if unknown") from None
    if not low <= value <= high:
        raise ManifestError(f"{where} is {text}, outside the scale {low:g} to {high:g}; correct --scale, or the value")
    share = (value - low) / (high - low)
    return f"{1.0 - share if turned else share:.6g}"
