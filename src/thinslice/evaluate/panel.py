"""The scores of several systems on one set of clips, with intervals and paired differences, in the JSON form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thinslice.evaluate import bootstrap, metrics
from thinslice.evaluate.card import Difference, Differences, Ends, Interval, Panel, Values
from thinslice.evaluate.metrics import DIFFERENCE, METRICS, Floats, metrics_in
from thinslice.traits import INTERVIEW, TARGETS, TRAITS


@dataclass(frozen=True, eq=False)
class System:
    """What one system says of the same n clips, columns in the order of `thinslice.traits.TARGETS`.

    Attributes:
        scores: (n, 6), NaN where it says nothing.
        low: lower ends of its intervals (n, 6), or None.
        high: upper ends, or None.
    """

    scores: Floats
    low: Floats | None = None
    high: Floats | None = None

    def of(self, rows: Any) -> "System":
        """Return what it says of some of the clips."""
        low = None if self.low is None else self.low[rows]
        return System(self.scores[rows], low, None if self.high is None else self.high[rows])


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: number of bootstrap samples of speakers (0: none) and the seed of the draws."""

    num_resamples: int = bootstrap.NUM_RESAMPLES
    seed: int = 0


def score_systems(
    labels: Floats,
    systems: Mapping[str, System],
    speakers: Sequence[str],
    resampling: Resampling,
    differences_of: str | None = None,
    interview: bool = True,
) -> tuple[dict[str, Panel], dict[str, Differences]]:
    """Score systems on the same clips and the same bootstrap draws.

    Args:
        labels: (n, 6), NaN where unknown.
        systems: name -> system, of the same clips.
        speakers: of each clip.
        resampling: how intervals are made.
        differences_of: the system whose differences from each other one are wanted, or None.
        interview: whether the interview variable is among the targets.

    Returns:
        The scores of each system, and how far `differences_of` is ahead of each other one.
    """
    index, num_speakers = bootstrap.speaker_index(speakers)
    summands = [metrics.clip_sums(labels, s.scores, s.low, s.high) for s in systems.values()]
    sums = bootstrap.group_sums(np.stack(summands, axis=1), index, num_speakers)
    draws = bootstrap.draw(sums, resampling.num_resamples, resampling.seed)
    place = {name: i for i, name in enumerate(systems)}
    resampled = resampling.num_resamples > 0 and num_speakers > 1
    panels = {}
    for name, system in systems.items():
        points = metrics.score(labels, system.scores, system.low, system.high)
        ci95: dict[str, Ends] = {}
        for metric in points if resampled else ():
            if metric in draws:
                ci95[metric] = intervals_by_target(draws[metric].of(place[name]), interview)
            elif of_pairs := METRICS[metric].interval_of_pairs:
                low, high = of_pairs(labels, system.scores, index)
                known = (k for k, target in enumerate(TARGETS) if interview or target != INTERVIEW)
                ci95[metric] = {TARGETS[k]: pair(low[k], high[k]) for k in known}
        scores = {metric: by_target(values, interview) for metric, values in points.items()}
        panels[name] = Panel(num_clips=len(labels), num_speakers=num_speakers, scores=scores, ci95=ci95)
    differences: dict[str, Differences] = {}
    for other in systems:
        if differences_of is not None and other != differences_of:
            differences[other] = {
                metric: _differences(
                    draws[metric].of(place[differences_of]).minus(draws[metric].of(place[other])), interview
                )
                for metric in metrics_in(DIFFERENCE)
            }
    return panels, differences


def with_average(values: Floats) -> Floats:
    """Return values (..., 6) with the average over the five traits put before interview, (..., 7)."""
    mean = metrics.average(values, TARGETS)
    return np.concatenate([values[..., :5], mean[..., None], values[..., 5:]], axis=-1)


def names(interview: bool) -> tuple[str, ...]:
    """Return what `with_average` holds: the traits, "average" and, where wanted, "interview"."""
    return (*TRAITS, "average", INTERVIEW) if interview else (*TRAITS, "average")


def by_target(values: Floats, interview: bool = True) -> Values:
    """Return values (6,) as {trait: value, ..., "average": mean of the five, "interview": value}; None for NaN."""
    return {name: number(value) for name, value in zip(names(interview), with_average(values), strict=False)}


def intervals_by_target(draws: bootstrap.Draws, interview: bool = True) -> Ends:
    """Return the intervals of a metric's draws (..., 6) in the form of `by_target`."""
    low, high = bootstrap.interval(draws.map(with_average))
    return {name: pair(lo, hi) for name, lo, hi in zip(names(interview), low, high, strict=False)}


def number(value: Any) -> float | None:
    """Return a value as JSON can hold it: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def pair(low: Any, high: Any) -> Interval | None:
    """Return an interval as JSON can hold it: None where an end is NaN or infinite."""
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None


def _differences(draws: bootstrap.Draws, interview: bool) -> dict[str, Difference]:
    values = by_target(draws.point, interview)
    averaged = draws.map(with_average)
    low, high = bootstrap.interval(averaged)
    p = bootstrap.p_value(averaged)
    return {
        name: Difference(value, pair(low[i], high[i]), number(p[i])) for i, (name, value) in enumerate(values.items())
    }
