"""One score on its scale: positions in percent and what is said aloud of it."""

import math
from typing import NamedTuple

from thinslice.report.wording import REVERSED, percentile_words
from thinslice.targets import poles_of
from thinslice.traits import TARGETS
from thinslice.types import TraitScore


class Target(NamedTuple):
    """A target, as the page names it; `key` is what ids and classes call it: a trait's letter, else its name."""

    name: str
    key: str
    low_pole: str
    high_pole: str
    note: str


class ScaleView(NamedTuple):
    """One score on its scale. Positions are percent of the scale's width."""

    target: Target
    score: str
    interval: str
    place: str
    at: float
    low: float
    width: float
    mean: float | None
    spoken: str


def key_of(name: str) -> str:
    """Return what a target is called in ids and classes."""
    return name[0] if name in TARGETS else f"x-{name}_"


def target_of(name: str) -> Target:
    """Return how the page names a target."""
    low, high = poles_of(name)
    return Target(name=name, key=key_of(name), low_pole=low, high_pole=high, note=REVERSED.get(name, ""))


def build_scale(target: Target, score: TraitScore, mean: float | None, num_clips: int | None) -> ScaleView:
    """Place a score, its interval and the baseline on a scale from 0 to 1."""
    low, high = percent(score.low), percent(score.high)
    place = percentile_words(score.percentile, num_clips)
    interval = f"{score.low:.2f} to {score.high:.2f}"
    spoken = (
        f"{target.name}, from 0, {target.low_pole}, to 1, {target.high_pole}: {score.score:.2f}, "
        f"80% interval {interval}"
    )
    spoken += f", baseline {mean:.2f}" if mean is not None else ""
    return ScaleView(
        target=target,
        score=f"{score.score:.2f}",
        interval=interval,
        place=place,
        at=percent(score.score),
        low=low,
        width=round(max(0.0, high - low), 2),
        mean=None if mean is None else percent(mean),
        spoken=spoken + (f", {place}" if place else ""),
    )


def percent(value: float) -> float:
    """Return a value in [0, 1] as percent of the scale; what lies outside is put on its end."""
    return round(100.0 * min(1.0, max(0.0, finite(value))), 2)


def finite(value: float) -> float:
    """Return a number to draw: what is not finite becomes 0."""
    return float(value) if math.isfinite(value) else 0.0
