"""The scores of several systems on one set of clips, with intervals and paired differences, in the JSON form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from thinslice.evaluate import bootstrap, metrics
from thinslice.evaluate.card import Difference, Differences, Ends, Interval, Panel, Values
from thinslice.evaluate.metrics import DIFFERENCE, HEADLINE, METRICS, Floats, metrics_in
from thinslice.targets import averaged
from thinslice.traits import TARGETS

AVERAGE: Final = "average"


@dataclass(frozen=True, eq=False)
class System:
    """What one system says of the same n clips, a column for each target.

    Attributes:
        scores: (n, k), NaN where it says nothing.
        low: lower ends of its intervals (n, k), or None.
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
    targets: Sequence[str] = TARGETS,
) -> tuple[dict[str, Panel], dict[str, Differences]]:
    """Score systems on the same clips and the same bootstrap draws.

    Args:
        labels: (n, k), NaN where unknown.
        systems: name -> system, of the same clips.
        speakers: of each clip.
        resampling: how intervals are made.
        differences_of: the system whose differences from each other one are wanted, or None.
        targets: names of the first columns; those after them are left out.

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
                ci95[metric] = intervals_by_target(draws[metric].of(place[name]), targets)
            elif of_pairs := METRICS[metric].interval_of_pairs:
                low, high = of_pairs(labels, system.scores, index)
                ci95[metric] = {target: pair(low[k], high[k]) for k, target in enumerate(targets)}
        scores = {metric: by_target(values, targets) for metric, values in points.items()}
        panels[name] = Panel(num_clips=len(labels), num_speakers=num_speakers, scores=scores, ci95=ci95)
    differences: dict[str, Differences] = {}
    for other in systems:
        if differences_of is not None and other != differences_of:
            differences[other] = {
                metric: _differences(
                    draws[metric].of(place[differences_of]).minus(draws[metric].of(place[other])), targets
                )
                for metric in metrics_in(DIFFERENCE)
            }
    return panels, differences


def compare_rows(
    labels: Floats,
    ours: Floats,
    theirs: Floats,
    speakers: Sequence[str],
    resampling: Resampling,
    targets: Sequence[str] = TARGETS,
) -> Differences:
    """Return how far one row of a table is ahead of another, each the mean of several seeds, paired.

    Args:
        labels: (n, k), NaN where unknown.
        ours: (seeds, n, k), NaN where a seed's run says nothing.
        theirs: (seeds, n, k), likewise; as many seeds or not.
        speakers: of each clip.
        resampling: how intervals are made: over speakers. How far seeds differ is not in them.
        targets: names of the k columns.
    """
    index, num_speakers = bootstrap.speaker_index(speakers)
    summands = np.stack([metrics.clip_sums(labels, scores) for scores in (*ours, *theirs)], axis=1)
    sums = bootstrap.group_sums(summands, index, num_speakers)
    draws = bootstrap.draw(sums, resampling.num_resamples, resampling.seed)

    def mean(metric: str, places: slice) -> bootstrap.Draws:
        return draws[metric].of(places).map(lambda values: values.mean(axis=-2))

    first, second = slice(len(ours)), slice(len(ours), None)
    return {
        metric: _differences(mean(metric, first).minus(mean(metric, second)), targets)
        for metric in metrics_in(HEADLINE)
    }


def with_average(values: Floats, targets: Sequence[str] = TARGETS) -> Floats:
    """Return values (..., k or more) of k targets, their average put in, (..., k + 1), in the order of `names`."""
    places = {name: k for k, name in enumerate(targets)}
    mean = metrics.average(values[..., : len(targets)], targets)
    columns = [mean if name == AVERAGE else values[..., places[name]] for name in names(targets)]
    return np.stack(columns, axis=-1)


def names(targets: Sequence[str]) -> tuple[str, ...]:
    """Return what `with_average` holds: the targets that are averaged, "average", and those beside them."""
    among = averaged(targets)
    return (*among, AVERAGE, *(name for name in targets if name not in among))


def by_target(values: Floats, targets: Sequence[str] = TARGETS) -> Values:
    """Return values (k or more,) as {target: value, ..., "average": their mean, ...}; None for NaN."""
    return {name: number(value) for name, value in zip(names(targets), with_average(values, targets), strict=True)}


def intervals_by_target(draws: bootstrap.Draws, targets: Sequence[str] = TARGETS) -> Ends:
    """Return the intervals of a metric's draws (..., k or more) in the form of `by_target`."""
    low, high = bootstrap.interval(draws.map(partial(with_average, targets=targets)))
    return {name: pair(lo, hi) for name, lo, hi in zip(names(targets), low, high, strict=True)}


def number(value: Any) -> float | None:
    """Return a value as JSON can hold it: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def pair(low: Any, high: Any) -> Interval | None:
    """Return an interval as JSON can hold it: None where an end is NaN or infinite."""
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None


def _differences(draws: bootstrap.Draws, targets: Sequence[str]) -> dict[str, Difference]:
    values = by_target(draws.point, targets)
    averaged = draws.map(partial(with_average, targets=targets))
    low, high = bootstrap.interval(averaged)
    p = bootstrap.p_value(averaged)
    return {
        name: Difference(value, pair(low[i], high[i]), number(p[i])) for i, (name, value) in enumerate(values.items())
    }
