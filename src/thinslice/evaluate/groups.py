"""Scores per group of people or clips, and how far the groups are apart.

A group is what one column says of a clip: gender, age group, ethnicity, an emotion, anything. Numbers with many values
are cut at their quartiles. Clips of which the column says nothing form the group "(unknown)", which is shown and
takes no part in gaps.

Read with care:

* Accuracy depends on how much a group's labels vary: where they vary less, the same knowledge scores more. So R² stands
  beside it, and so do the accuracies of the training mean and the lookup *for that group*.
* *bias* (mean predicted minus label) is the one to watch for fairness: whom does the system place too high or too low?
* The *gap* is the highest minus the lowest of the groups' values. It is never negative, so with small groups it
  is large by chance alone, and its (percentile) interval stays above 0. `chance95` says how large: the 95th
  percentile of the gap if all groups were equal (the resampled values, each group's centred on its own estimate), and
  `p` how often a gap this large comes from chance.
* *balanced* is the mean over the groups that the gap compares: a score in which each group counts alike, however many
  clips it has.
* *share* says how much of labels and predictions the column explains (`thinslice.evaluate.attribute_share`).
* Intervals from few speakers are too narrow (docs/evaluation.md has the measured coverage): a group of fewer than 50
  speakers is marked small, warned of, and left out of the gap as long as two others remain.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np

from thinslice.errors import UsageError, counted
from thinslice.evaluate import bootstrap, metrics
from thinslice.evaluate.attribute_share import attribute_shares
from thinslice.evaluate.card import Difference, Differences, Gap, GroupComparison, GroupPanel, GroupScores, Scores
from thinslice.evaluate.metrics import GROUP, METRICS, Floats, metrics_in
from thinslice.evaluate.panel import (
    AVERAGE,
    Resampling,
    System,
    by_target,
    intervals_by_target,
    names,
    number,
    pair,
    with_average,
)
from thinslice.targets import averaged
from thinslice.traits import TARGETS

SMALL: Final = 50
"""A group of fewer speakers is marked."""

MAX_VALUES: Final = 12
"""A column of numbers with more different values is cut at its quartiles."""

MAX_GROUPS: Final = 50
"""A column with more different words names things, not groups."""

UNKNOWN: Final = "(unknown)"


def group_names(column: Sequence[str]) -> list[str]:
    """Return each clip's group from a column of text.

    Args:
        column: cells; blank where nothing is known.

    Raises:
        UsageError: more than `MAX_GROUPS` different values that are not numbers.
    """
    cells = [str(cell).strip() for cell in column]
    values = sorted({cell for cell in cells if cell})
    if len(values) > MAX_VALUES:
        try:
            numbers = np.array([float(cell) if cell else np.nan for cell in cells])
        except ValueError:
            numbers = np.array([np.inf])
        if not np.isinf(numbers).any():
            return _quartiles(numbers)
    if len(values) > MAX_GROUPS:
        raise UsageError(f"{len(values)} different values make no groups (at most {MAX_GROUPS})")
    return [cell or UNKNOWN for cell in cells]


def ordered_groups(column: Sequence[str]) -> list[str]:
    """Return the different groups of a column in the order in which they are shown, without the unknown."""
    return sorted({cell.strip() for cell in column} - {UNKNOWN, ""}, key=_natural)


def _quartiles(values: Floats) -> list[str]:
    ends = np.unique(np.nanpercentile(values, [0, 25, 50, 75, 100]))
    part = np.clip(np.searchsorted(ends, values, side="right") - 1, 0, max(len(ends) - 2, 0))
    brackets = [f"[{low:g}, {high:g})" for low, high in pairwise(ends)]
    brackets[-1] = brackets[-1][:-1] + "]"
    return [UNKNOWN if np.isnan(value) else brackets[i] for value, i in zip(values, part, strict=True)]


def score_groups(
    labels: Floats,
    system: System,
    baselines: Mapping[str, System],
    speakers: Sequence[str],
    groups: Sequence[str],
    resampling: Resampling,
    targets: Sequence[str] = TARGETS,
) -> GroupScores:
    """Score one system per group.

    Args:
        labels: (n, 6).
        system: the system.
        baselines: name -> what to show beside it, points only.
        speakers: of each clip.
        groups: of each clip, see `group_names`.
        resampling: how intervals are made; all groups share the draws, since speakers may have clips in several.
        targets: names of the first columns; those after them are left out.

    Returns:
        Scores of each group, best and worst trait by accuracy; gaps and what follows between the groups that are not
        small, if two remain.
    """
    membership = np.asarray(groups, dtype=str)
    found, rows = _found(membership)
    index, _ = bootstrap.speaker_index(speakers)
    draws = _draws(labels, system, speakers, rows, resampling)
    shown = metrics_in(GROUP)

    out: dict[str, GroupPanel] = {}
    for g, name in enumerate(found):
        own = {metric: draws[metric].of(g) for metric in shown}
        scores = {metric: by_target(own[metric].point, targets) for metric in shown}
        mine = labels[rows[name]]
        best, worst = _best_and_worst(scores["accuracy"])
        out[name] = GroupPanel(
            **asdict(_size(rows[name], index)),
            best_trait=best,
            worst_trait=worst,
            scores=scores,
            ci95={m: intervals_by_target(own[m], targets) for m in shown if resampling.num_resamples},
            baselines={
                other: {m: by_target(METRICS[m](mine, b.scores[rows[name]]), targets) for m in ("accuracy", "r2")}
                for other, b in baselines.items()
            },
        )
    compared, warnings = _compared(out)
    gap = balanced = share = None
    if len(compared) > 1:
        picked = [found.index(name) for name in compared]
        gap = {metric: _gaps(draws[metric].of(picked), compared, targets) for metric in shown}
        balanced = _balanced({metric: draws[metric].of(picked) for metric in shown}, targets)
        known = np.flatnonzero(membership != UNKNOWN)
        share = attribute_shares(
            labels[known],
            system.scores[known],
            [speakers[i] for i in known.tolist()],
            membership[known].tolist(),
            resampling,
            targets,
        )
    return GroupScores(groups=out, gap=gap, balanced=balanced, share=share, warnings=tuple(warnings))


def compare_groups(
    labels: Floats,
    system: System,
    other: System,
    speakers: Sequence[str],
    groups: Sequence[str],
    resampling: Resampling,
    targets: Sequence[str] = TARGETS,
) -> GroupComparison:
    """Say group by group how far a system is ahead of another, and how much wider its gaps are, paired.

    Args:
        labels: (n, 6).
        system: the system.
        other: what it is compared with, on the same clips.
        speakers: of each clip.
        groups: of each clip, see `group_names`.
        resampling: how intervals are made.
        targets: names of the first columns; those after them are left out.

    Returns:
        The system's values less the other's; a negative difference of gaps is a gap that the system makes smaller.
    """
    membership = np.asarray(groups, dtype=str)
    found, rows = _found(membership)
    draws = [_draws(labels, one, speakers, rows, resampling) for one in (system, other)]
    pairs = {
        metric: [one[metric].map(partial(with_average, targets=targets)) for one in draws]
        for metric in metrics_in(GROUP)
    }
    index, _ = bootstrap.speaker_index(speakers)
    compared, _ = _compared({name: _size(rows[name], index) for name in found})
    balanced = gap = None
    if len(compared) > 1:
        picked = [found.index(name) for name in compared]
        balanced, gap = (
            {m: _difference([one.of(picked).map(over) for one in both], targets) for m, both in pairs.items()}
            for over in (_mean, _range)
        )
    by_group: dict[str, Differences] = {
        name: {metric: _difference([one.of(g) for one in both], targets) for metric, both in pairs.items()}
        for g, name in enumerate(found)
    }
    return GroupComparison(groups=by_group, balanced=balanced, gap=gap)


def metric_frame(labels: Floats, predictions: Floats, groups: Sequence[str], trait: str) -> Any:
    """Return a `fairlearn.metrics.MetricFrame` of one trait, for those who go on with fairlearn.

    Its `by_group`, `difference()` and `ratio()` take over from there. Its own intervals resample clips as if
    they were independent, which clips of one speaker are not; ours are in `score_groups`.

    Args:
        labels: (n, 6).
        predictions: (n, 6).
        groups: of each clip.
        trait: one of `thinslice.traits.TARGETS`.

    Raises:
        MissingExtraError: fairlearn is not installed.
    """
    try:
        from fairlearn.metrics import MetricFrame
    except ImportError:
        from thinslice.errors import MissingExtraError

        raise MissingExtraError("metric_frame()", "groups") from None
    k = TARGETS.index(trait)
    known = ~np.isnan(labels[:, k] + predictions[:, k])
    functions = [(name, METRICS[name]) for name in metrics_in(GROUP)]
    return MetricFrame(
        metrics={name: _single(function) for name, function in functions},
        y_true=labels[known, k],
        y_pred=predictions[known, k],
        sensitive_features=np.asarray(groups, dtype=str)[known],
    )


def _single(function: Any) -> Any:
    return lambda y_true, y_pred: float(function(np.asarray(y_true), np.asarray(y_pred))[0])


@dataclass(frozen=True)
class _Size:
    num_clips: int
    num_speakers: int
    small: bool


def _size(mask: Any, index: Any) -> _Size:
    """Return how large the group of some clips, bool (n,), is; `index` numbers each clip's speaker."""
    count = len(set(index[mask].tolist()))
    return _Size(int(mask.sum()), count, count < SMALL)


def _found(membership: Any) -> tuple[list[str], dict[str, Any]]:
    """Return the groups in the order in which they are shown, and the clips of each, bool (n,)."""
    found = ordered_groups(membership.tolist()) + ([UNKNOWN] if UNKNOWN in membership else [])
    return found, {name: membership == name for name in found}


def _draws(
    labels: Floats, system: System, speakers: Sequence[str], rows: Mapping[str, Any], resampling: Resampling
) -> dict[str, bootstrap.Draws]:
    """Return each metric's draws (..., G, 6)."""
    index, num_speakers = bootstrap.speaker_index(speakers)
    summands = metrics.clip_sums(labels, system.scores)
    sums = [bootstrap.group_sums(summands * mask[:, None, None], index, num_speakers) for mask in rows.values()]
    return bootstrap.draw(np.stack(sums, axis=1), resampling.num_resamples, resampling.seed)


def _mean(values: Floats) -> Floats:
    """Return the mean over groups, (..., G, k) to (..., k)."""
    return np.asarray(values.mean(axis=-2))


def _range(values: Floats) -> Floats:
    """Return the highest less the lowest of the groups' values, (..., G, k) to (..., k)."""
    return np.asarray(np.ptp(values, axis=-2))


def _balanced(draws: Mapping[str, bootstrap.Draws], targets: Sequence[str]) -> Scores:
    """Return the mean over groups of each metric; draws (..., G, 6)."""
    means = {metric: one.map(_mean) for metric, one in draws.items()}
    return Scores(
        scores={metric: by_target(one.point, targets) for metric, one in means.items()},
        ci95={metric: intervals_by_target(one, targets) for metric, one in means.items() if len(one.samples)},
    )


def _difference(pairs: Sequence[bootstrap.Draws], targets: Sequence[str]) -> dict[str, Difference]:
    """Return the first less the second of draws (..., 7), the average among them; percentile intervals as gaps have."""
    difference = pairs[0].minus(pairs[1])
    low, high = bootstrap.interval(difference, corrected=False)
    return {
        name: Difference(number(difference.point[i]), pair(low[i], high[i])) for i, name in enumerate(names(targets))
    }


def _natural(name: str) -> tuple[int, float, str]:
    """Sort numbers, and ranges such as "25-32" or "[0.1, 0.2)", by value, before words."""
    number = re.match(r"[\[(]?\s*(-?[0-9]+(\.[0-9]+)?)", name)
    return (0, float(number[1]), name) if number else (1, 0.0, name)


def _best_and_worst(accuracy: Mapping[str, float | None]) -> tuple[str | None, str | None]:
    known = {
        name: value for name in averaged(n for n in accuracy if n != AVERAGE) if (value := accuracy[name]) is not None
    }
    if not known:
        return None, None
    return max(known, key=known.__getitem__), min(known, key=known.__getitem__)


def _compared(sizes: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the groups between which the gap is taken, and warnings, of group -> `_Size`."""
    named = [name for name in sizes if name != UNKNOWN]
    small = [name for name in named if sizes[name].small]
    warnings = [
        f"group {name} is small (speakers: {sizes[name].num_speakers}, clips: {sizes[name].num_clips}); "
        "its intervals are too narrow"
        for name in small
    ]
    if UNKNOWN in sizes:
        warnings.append(f"{counted(sizes[UNKNOWN].num_clips, 'clip')} of no known group")
    large = [name for name in named if name not in small]
    if len(large) < 2:
        return named, warnings
    if small:
        warnings.append(f"the gap leaves out the small groups: {', '.join(small)}")
    return large, warnings


def _gaps(draws: bootstrap.Draws, compared: Sequence[str], targets: Sequence[str]) -> dict[str, Gap]:
    """Gaps of one metric; draws (..., G, 6)."""
    draws = draws.map(partial(with_average, targets=targets))
    gaps = draws.map(_range)
    # No bias correction: near 0, where a gap cannot go below, it would shrink the interval to nothing.
    low, high = bootstrap.interval(gaps, corrected=False)
    by_chance = _range(draws.samples - draws.point)
    out = {}
    for i, target in enumerate(names(targets)):
        gap = number(gaps.point[i])
        if gap is None:
            out[target] = Gap(None)
            continue
        ends = pair(low[i], high[i])
        chance = by_chance[~np.isnan(by_chance[:, i]), i]
        out[target] = Gap(
            gap,
            ends,
            None if ends is None else float(np.percentile(chance, 95)),
            None if ends is None else float((np.count_nonzero(chance >= gap) + 1) / (len(chance) + 1)),
            compared[int(np.argmax(draws.point[:, i]))],
            compared[int(np.argmin(draws.point[:, i]))],
        )
    return out
