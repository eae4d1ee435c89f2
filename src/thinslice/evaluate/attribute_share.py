"""How much of what a system says is the group a clip belongs to: age, gender, mood, anything of `evaluate.groups`.

Per target, with y the labels, p the predictions and g the group (as a factor: each group has a level of its own), all
R² being those of least squares fitted to the very clips they describe:

* labels_on_group       = R²(y ~ g): how much of what the annotators said is the group.
* predictions_on_group  = R²(p ~ g): how much of what the system says is the group. Above `labels_on_group`, it leans on
  the group more than the annotators did.
* model                 = R²(y ~ p): the squared correlation of predictions and labels.
* model_given_group     = (R²(y ~ g + p) - R²(y ~ g)) / (1 - R²(y ~ g)): the partial R² of the predictions, what they
  know of people *of one group*.
* group_given_model     = (R²(y ~ g + p) - R²(y ~ p)) / (1 - R²(y ~ p)): the partial R² of the group, what it would add
  to the system at best.

p enters with one slope for all groups. Fitted to the clips it describes, a factor of G groups explains something by
luck too, about (G - 1) / (number of independent clips); `chance` is its mean over permutations of the groups among
speakers, and says what to deduct. What a group adds to a system on new speakers is for cross-validation to say
(benchmarks/groups.py).

All of it follows from sums over the clips of one speaker and group, so it is resampled like any other score.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from thinslice.evaluate import bootstrap
from thinslice.evaluate.bootstrap import Draws
from thinslice.evaluate.card import Ends, GroupShares
from thinslice.evaluate.metrics import Floats, clip_sums, sum_names
from thinslice.evaluate.panel import Resampling, by_target, intervals_by_target
from thinslice.traits import TARGETS

SHARES: Final = ("labels_on_group", "predictions_on_group", "model", "model_given_group", "group_given_model")
"""What `attribute_shares` gives per target, each in [0, 1]; NaN where labels or predictions do not vary."""

_SUMS: Final = ("n", "y", "yy", "p", "pp", "yp")
_PERMUTATIONS: Final = 20
_TINY: Final = 1e-12


def attribute_shares(
    labels: Floats,
    predictions: Floats,
    speakers: Sequence[str],
    groups: Sequence[str],
    resampling: Resampling,
    targets: Sequence[str] = TARGETS,
) -> GroupShares:
    """Return the shares of this module's header, with intervals over speakers.

    Args:
        labels: (n, 6), NaN where unknown.
        predictions: (n, 6).
        speakers: of each clip.
        groups: of each clip; clips of no known group are for the caller to leave out.
        resampling: how intervals are made.
        targets: names of the first columns; those after them are left out.

    Returns:
        Each of `SHARES`; `chance` has the three that a factor of so many groups has by luck.
    """
    index, num_speakers = bootstrap.speaker_index(speakers)
    names, level = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    summands = clip_sums(labels, predictions)[..., [sum_names().index(name) for name in _SUMS]]
    sums = _by_speaker_and_group(summands, index, level, num_speakers, len(names))
    point = shares_from_sums(sums.sum(axis=0))
    ci95: dict[str, Ends] = {}
    if resampling.num_resamples and num_speakers > 1:
        samples = shares_from_sums(bootstrap.resample(sums, resampling.num_resamples, resampling.seed))
        left_out = shares_from_sums(sums.sum(axis=0) - sums)
        for name in SHARES:
            ci95[name] = intervals_by_target(Draws(point[name], samples[name], left_out[name]), targets)
    by_chance = _by_chance(summands, index, level, num_speakers, len(names), resampling.seed)
    by_group = ("labels_on_group", "predictions_on_group", "group_given_model")
    return GroupShares(
        scores={name: by_target(point[name], targets) for name in SHARES},
        ci95=ci95,
        chance={name: by_target(by_chance[name], targets) for name in by_group},
    )


def shares_from_sums(sums: Floats) -> dict[str, Floats]:
    """Return each of `SHARES`, shape (..., k), from sums of n, y, yy, p, pp, yp, shape (..., G, k, 6)."""
    between = _centred(sums.sum(axis=-3))
    within = [part.sum(axis=-2) for part in _centred(sums)]  # about each group's own mean
    total_y, total_p, total_yp = between
    own_y, own_p, own_yp = within
    with np.errstate(divide="ignore", invalid="ignore"):
        model = np.where(total_p > _TINY, total_yp**2 / (total_y * total_p), np.nan)
        given_group = np.where(own_p > _TINY, own_yp**2 / (own_y * own_p), np.nan)
        left_by_model = total_y * (1.0 - model)
        left_by_both = own_y * (1.0 - given_group)
        shares = (
            1.0 - own_y / total_y,
            np.where(total_p > _TINY, 1.0 - own_p / total_p, np.nan),
            model,
            given_group,
            1.0 - left_by_both / left_by_model,
        )
    return {name: np.where(total_y > _TINY, share, np.nan) for name, share in zip(SHARES, shares, strict=True)}


def _centred(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the sums of (y - mean)², (p - mean)² and their product; 0 for a group without clips."""
    n, y, yy, p, pp, yp = np.moveaxis(sums, -1, 0)
    count = np.maximum(n, 1.0)
    return yy - y * y / count, pp - p * p / count, yp - y * p / count


def _by_speaker_and_group(
    summands: Floats, index: np.ndarray, level: np.ndarray, num_speakers: int, num_groups: int
) -> Floats:
    """Return sums (S, G, k, 6) of summands (n, k, 6)."""
    sums = bootstrap.group_sums(summands, index * num_groups + level, num_speakers * num_groups)
    return sums.reshape(num_speakers, num_groups, *summands.shape[1:])


def _by_chance(
    summands: Floats, index: np.ndarray, level: np.ndarray, num_speakers: int, num_groups: int, seed: int
) -> dict[str, Floats]:
    """Return the mean shares where each speaker's clips get the groups of another speaker's first clip."""
    first = np.zeros(num_speakers, dtype=np.intp)
    first[index[::-1]] = level[::-1]
    rng = np.random.default_rng([seed, 1])
    found = []
    for _ in range(_PERMUTATIONS):
        shuffled = rng.permutation(first)[index]
        found.append(bootstrap.group_sums(summands, shuffled, num_groups))
    shares = shares_from_sums(np.stack(found))
    return {name: values.mean(axis=0) for name, values in shares.items()}
