"""Calibration per group: a shift and a scale for each group of people, fitted on clips with labels.

First one line for everybody, label on prediction by least squares, y = a + b p. Then, for each group, a correction of
its height and one of its slope, fitted to what that line leaves over in the group: y - (a + b p) = d + e (p - c), with
c the group's mean prediction. Both are shrunk toward nothing, the more the less is known of the group:

* Clips of one speaker err alike, so what the line leaves over has the variance parts vb (shared by a speaker's clips)
  and vw of `thinslice.evaluate.lookup`. The variance of a weighted sum of n clips' errors follows from them; no group
  is asked for its own variance, which a group of five speakers could not tell.
* How much groups truly differ, tau², is what their corrections vary beyond that: the moment estimate of DerSimonian
  and Laird (1986, Controlled Clinical Trials 7, eq. 8), 0 where chance explains it all.
* A correction d of variance v is multiplied by tau² / (tau² + v).

So a large group whose error is systematic is corrected nearly in full, a small one little, and where groups do not
differ beyond chance everybody gets the one line.

What it does *not* do is remove the annotators' own prejudice: it brings each group's mean prediction to the mean of
what the annotators said of the group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thinslice.errors import UsageError, counted
from thinslice.evaluate.groups import ordered_groups
from thinslice.evaluate.lookup import variance_parts
from thinslice.evaluate.metrics import Floats
from thinslice.traits import SCORE_RANGE

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class GroupCalibration:
    """Shift and scale per group; arrays have one entry per target.

    Attributes:
        intercept: a, shape (k,), NaN where the fit had no clip.
        slope: b, shape (k,).
        centres: group -> c, its mean prediction, (k,).
        shifts: group -> d after shrinkage, (k,).
        slopes: group -> e after shrinkage, (k,).
        num_speakers: group -> speakers it was fitted on.
    """

    intercept: Floats
    slope: Floats
    centres: Mapping[str, Floats]
    shifts: Mapping[str, Floats]
    slopes: Mapping[str, Floats]
    num_speakers: Mapping[str, int]

    def apply(self, scores: Floats, groups: Sequence[str]) -> Floats:
        """Return calibrated scores (n, k), cut to [0, 1]; a clip of another or no known group gets the common line.

        Args:
            scores: (n, k), NaN where missing, which stays so.
            groups: of each clip.
        """
        out = self.intercept + self.slope * scores
        membership = np.asarray(groups, dtype=str)
        for name, centre in self.centres.items():
            rows = membership == name
            out[rows] += self.shifts[name] + self.slopes[name] * (scores[rows] - centre)
        return np.clip(out, *SCORE_RANGE)


def fit_calibration(labels: Floats, scores: Floats, speakers: Sequence[str], groups: Sequence[str]) -> GroupCalibration:
    """Fit the calibration of this module's header.

    Args:
        labels: (n, k), NaN where unknown.
        scores: (n, k), of a system that did not learn from these labels.
        speakers: of each clip.
        groups: of each clip; "(unknown)" belongs to none.

    Raises:
        UsageError: no clip has both a label and a score.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if not np.isfinite(y + p).any():
        raise UsageError("no clip to calibrate on has both a label and a score")
    membership = np.asarray(groups, dtype=str)
    names = ordered_groups(membership.tolist())
    owners = np.asarray(speakers, dtype=str)
    num_targets = y.shape[1]
    intercept, slope = np.full(num_targets, np.nan), np.full(num_targets, np.nan)
    centres, shifts, slopes = ({name: np.zeros(num_targets) for name in names} for _ in range(3))
    for k in range(num_targets):
        known = np.isfinite(y[:, k] + p[:, k])
        if not known.any():
            continue
        x, target = p[known, k], y[known, k]
        spread = np.square(x - x.mean()).sum()
        slope[k] = ((x - x.mean()) * target).sum() / spread if spread > _TINY else 1.0
        intercept[k] = target.mean() - slope[k] * x.mean()
        rest = target - intercept[k] - slope[k] * x
        parts = variance_parts(rest[:, None], owners[known].tolist())
        between, within = np.nan_to_num(parts.between[0]), parts.within[0]
        if np.isnan(within):  # no speaker has two clips: all of it is the clip's own
            within = rest.var()
        heights, tilts = [], []
        for name in names:
            rows = membership[known] == name
            own, who = x[rows], owners[known][rows]
            centres[name][k] = own.mean() if len(own) else 0.0
            weights = np.full(len(own), 1.0 / max(len(own), 1))
            heights.append(_weighted(weights, rest[rows], who, between, within))
            deviation = own - centres[name][k]
            spread = np.square(deviation).sum()
            # A line needs a slope's worth of speakers; below that its height is all that is asked.
            weights = deviation / spread if spread > _TINY else np.zeros(len(own))
            tilts.append(_weighted(weights, rest[rows], who, between, within))
        for name, shift, tilt in zip(names, shrink(heights), shrink(tilts), strict=True):
            shifts[name][k], slopes[name][k] = shift, tilt
    counts = {name: len(set(owners[membership == name].tolist())) for name in names}
    return GroupCalibration(intercept, slope, centres, shifts, slopes, counts)


def cross_calibrate(
    labels: Floats, scores: Floats, speakers: Sequence[str], groups: Sequence[str], num_folds: int = 5, seed: int = 0
) -> Floats:
    """Return calibrated scores (n, k), each clip's from a calibration that has not met its speaker.

    Args:
        labels: (n, k).
        scores: (n, k).
        speakers: of each clip.
        groups: of each clip.
        num_folds: into how many parts the speakers are divided; at least 2.
        seed: of the division.

    Raises:
        UsageError: fewer speakers than folds.
    """
    folds = speaker_folds(speakers, num_folds, seed)
    membership, owners = np.asarray(groups, dtype=str), np.asarray(speakers, dtype=str)
    out = np.full(scores.shape, np.nan)
    for fold in range(num_folds):
        held, kept = folds == fold, folds != fold
        fitted = fit_calibration(labels[kept], scores[kept], owners[kept].tolist(), membership[kept].tolist())
        out[held] = fitted.apply(scores[held], membership[held].tolist())
    return out


def speaker_folds(speakers: Sequence[str], num_folds: int, seed: int) -> NDArray[np.intp]:
    """Return each clip's fold, (n,), all clips of a speaker in one; UsageError for fewer speakers than folds."""
    names, index = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    if len(names) < num_folds:
        raise UsageError(f"{counted(len(names), 'speaker')} cannot be divided into {num_folds} folds")
    return np.asarray((np.random.default_rng(seed).permutation(len(names)) % num_folds)[index])


def shrink(estimates: Sequence[tuple[float, float]]) -> Floats:
    """Return groups' corrections, shrunk toward 0 as this module's header says.

    Args:
        estimates: (correction, its variance) of each group; infinite where the group says nothing.
    """
    if not estimates:
        return np.zeros(0)
    values, variances = (np.array(column, dtype=np.float64) for column in zip(*estimates, strict=True))
    told = np.isfinite(variances) & (variances > 0)
    if told.sum() < 2:
        return np.zeros(len(values))
    weights = 1.0 / variances[told]
    centre = (weights * values[told]).sum() / weights.sum()
    beyond = (weights * np.square(values[told] - centre)).sum() - (told.sum() - 1)
    truth = max(0.0, beyond / (weights.sum() - np.square(weights).sum() / weights.sum()))
    out = np.zeros(len(values))
    out[told] = values[told] * truth / (truth + variances[told])
    return out


def _weighted(
    weights: Floats, rest: Floats, speakers: NDArray[np.str_], between: float, within: float
) -> tuple[float, float]:
    """Return a weighted sum of clips' errors and its variance; infinite where all weights are 0."""
    if not weights.any():
        return 0.0, np.inf
    _, index = np.unique(speakers, return_inverse=True)
    shared = np.bincount(index, weights)
    return float(weights @ rest), float(between * (shared @ shared) + within * (weights @ weights))
