"""Scores on the people who stand out: labels at least one training standard deviation from the training mean.

Fodor et al., Section 4.4 and Table 2: with the mean t and standard deviation s of a trait's training labels, the
*low* extreme (C1) holds the clips with a label in [0, t - s), the *high* extreme (C4) those in [t + s, 1], for each
trait on its own. Since First Impressions' labels crowd about their mean, predictions near it score well on average and
badly here. R² is not given: inside a class chosen by its labels these hardly vary, and it says nothing.

Deviations: the paper does not say which standard deviation; this is the population one (divided by n).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from thinslice.evaluate import bootstrap
from thinslice.evaluate.card import ExtremePanel, Extremes
from thinslice.evaluate.lookup import VarianceParts
from thinslice.evaluate.metrics import EXTREME, Floats, clip_sums, metrics_in
from thinslice.evaluate.panel import Resampling, System, by_target, intervals_by_target
from thinslice.traits import TARGETS

EXTREMES: Final = ("low", "high")


def extreme_masks(labels: Floats, mean: Floats, sd: Floats) -> dict[str, NDArray[np.bool_]]:
    """Return which labels (n, k) are in the low and in the high extreme, bool (n, k).

    Args:
        labels: (n, k), NaN where unknown.
        mean: of the training labels, (k,).
        sd: their standard deviation, (k,).
    """
    with np.errstate(invalid="ignore"):
        return {"low": labels < mean - sd, "high": labels >= mean + sd}


def score_extremes(
    labels: Floats,
    systems: Mapping[str, System],
    speakers: Sequence[str],
    parts: VarianceParts,
    resampling: Resampling,
    targets: Sequence[str] = TARGETS,
) -> Extremes:
    """Score systems on the extremes of each trait.

    Args:
        labels: (n, 6).
        systems: name -> system.
        speakers: of each clip.
        parts: of the training labels, which set the thresholds.
        resampling: how intervals are made.
        targets: names of the first columns; those after them are left out.
    """
    thresholds = {"low": parts.mean - parts.sd, "high": parts.mean + parts.sd}
    index, num_speakers = bootstrap.speaker_index(speakers)
    masks = extreme_masks(labels, parts.mean, parts.sd)
    cells = [(end, name) for end in EXTREMES for name in systems]
    summands = [clip_sums(np.where(masks[end], labels, np.nan), systems[name].scores) for end, name in cells]
    sums = bootstrap.group_sums(np.stack(summands, axis=1), index, num_speakers)
    draws = bootstrap.draw(sums, resampling.num_resamples, resampling.seed)
    shown = metrics_in(EXTREME)
    ends: dict[str, dict[str, ExtremePanel]] = {end: {} for end in EXTREMES}
    for i, (end, name) in enumerate(cells):
        count = zip(targets, masks[end].sum(axis=0), strict=False)
        own = {metric: draws[metric].of(i) for metric in shown}
        ends[end][name] = ExtremePanel(
            num_clips={target: int(n) for target, n in count},
            scores={metric: by_target(own[metric].point, targets) for metric in shown},
            ci95={m: intervals_by_target(own[m], targets) for m in shown if resampling.num_resamples},
        )
    return Extremes(
        thresholds={
            end: {name: value for name, value in by_target(values, targets).items() if name != "average"}
            for end, values in thresholds.items()
        },
        ends=ends,
    )
