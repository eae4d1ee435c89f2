"""Who is in a data set: histograms of ages, and of emotions by the confidence of whoever recognised them."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from thinslice.errors import UsageError
from thinslice.evaluate.figures import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIDENCES: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Edges of the confidence ranges, the last one closed. The slides do not say theirs."""

_CLIPS, _SPEAKERS = "#0072b2", "#e69f00"
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#6e7781", "#e69f00")


def plot_ages(groups: Sequence[str], ages: Sequence[str], speakers: Sequence[str]) -> "Figure":
    """Draw how many clips and speakers there are of each age group.

    Args:
        groups: the age groups in the order in which to draw them.
        ages: group of each clip; other cells are not counted.
        speakers: of each clip.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    clips = Counter(ages)
    people = Counter(age for age, _ in set(zip(ages, speakers, strict=True)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.8), layout="constrained")
        axes = figure.add_subplot()
        place = np.arange(len(groups))
        for offset, count, colour, label in (
            (-0.2, clips, _CLIPS, "clips"),
            (0.2, people, _SPEAKERS, "speakers"),
        ):
            bars = axes.bar(place + offset, [count[name] for name in groups], 0.38, color=colour, label=label)
            axes.bar_label(bars, fontsize=6, padding=1)
        axes.set_xticks(place, list(groups))
        axes.set_xlabel("perceived age, years")
        axes.legend()
    return figure


def plot_emotions(emotions: Sequence[str], confidences: Sequence[str]) -> "Figure":
    """Draw how many clips there are of each emotion, in ranges of confidence (the slides' histogram).

    Args:
        emotions: of each clip; blank where unknown.
        confidences: in [0, 1], as text; clips without one count under "unknown".

    Raises:
        UsageError: a confidence that is not a number in [0, 1].
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    counts, ranges = count_emotions(emotions, confidences)
    names = sorted({name for name, _ in counts})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.8), layout="constrained")
        axes = figure.add_subplot()
        width = 0.8 / max(len(names), 1)
        for i, name in enumerate(names):
            heights = [counts[name, label] for label in ranges]
            offsets = np.arange(len(ranges)) + (i - (len(names) - 1) / 2) * width
            axes.bar(offsets, heights, width * 0.92, color=_COLOURS[i % len(_COLOURS)], label=name)
        axes.set_xticks(np.arange(len(ranges)), ranges)
        axes.set_xlabel("confidence of the recogniser")
        axes.set_ylabel("clips")
        axes.legend(ncol=2)
    return figure


def count_emotions(emotions: Sequence[str], confidences: Sequence[str]) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Return (emotion, range) -> clips, and the ranges; arguments and errors as in `plot_emotions`."""
    labels = [f"{low:g}–{high:g}" for low, high in pairwise(CONFIDENCES)]
    counts: Counter[tuple[str, str]] = Counter()
    for emotion, cell in zip(emotions, confidences, strict=True):
        if emotion.strip():
            counts[emotion.strip(), labels[_range(cell)] if cell.strip() else "unknown"] += 1
    return counts, [label for label in (*labels, "unknown") if label != "unknown" or _any_unknown(counts)]


def _range(cell: str) -> int:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"confidence {cell!r} of an emotion is not a number from 0 to 1")
    return min(int(np.searchsorted(CONFIDENCES, value, side="right")) - 1, len(CONFIDENCES) - 2)


def _any_unknown(counts: Any) -> bool:
    return any(label == "unknown" for _, label in counts)
