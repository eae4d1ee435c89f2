"""Scores fitted to a new population by a shift and a scale of each target, and whether that helps people not met.

A model that learned from one population may place another too high or too low, and too far or too near to the middle.
With a few dozen rated clips of the new population, of target k

    y = c + (1 + e) (p - c) + d

with p the model's score and c its weighted mean over the rated clips. d and e are ridge estimates towards 0, the
model as it is: each is what least squares gives, times S / (S + penalty), with S the number of speakers. Each speaker
weighs the same, since a new clip is of a new speaker. The two penalties are chosen among `PENALTIES` by
cross-validation within the clips that are fitted on, alike for all targets; infinity, no change, is among them.

Whether it helps is asked of speakers that the fit has not met: the whole procedure, with its choice, is repeated
without each fold of speakers in turn, and scored on that fold beside the model as it is and the mean of the ratings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from thinslice.errors import UsageError
from thinslice.evaluate.calibration import speaker_folds
from thinslice.evaluate.card import Difference, Panel
from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.panel import AVERAGE, Resampling, System, score_systems
from thinslice.traits import SCORE_RANGE

MIN_SPEAKERS: Final = 10
"""With fewer speakers nothing can be said about new ones, and nothing is fitted."""
FEW_SPEAKERS: Final = 30
"""With fewer the intervals are wide; that is said."""
PENALTIES: Final = (0.0, 3.0, 10.0, 30.0, 100.0, np.inf)
NUM_FOLDS: Final = 10
INNER_FOLDS: Final = 5
ADAPTED: Final = "adapted"
AS_IT_IS: Final = "as_it_is"
MEAN: Final = "mean_of_ratings"


@dataclass(frozen=True, eq=False)
class Lines:
    """score -> intercept + slope * score, for each target.

    Attributes:
        intercept: (k,).
        slope: (k,).
    """

    intercept: Floats
    slope: Floats

    def apply(self, scores: Floats) -> Floats:
        """Return scores (n, k) on their lines, cut to [0, 1]."""
        return np.clip(self.intercept + self.slope * scores, *SCORE_RANGE)


@dataclass(frozen=True)
class Verdict:
    """What cross-validation over speakers says.

    Attributes:
        panels: "adapted", "as_it_is" and "mean_of_ratings" -> scores on speakers not met.
        gain: R² of the adapted less that of the model as it is, average over the targets.
        over_mean: R² of the adapted less that of the mean of the ratings.
        num_clips: rated clips.
        num_speakers: their speakers.
    """

    panels: Mapping[str, Panel]
    gain: Difference
    over_mean: Difference
    num_clips: int
    num_speakers: int

    @property
    def helps(self) -> bool:
        """Whether the adapted scores are the better ones on speakers not met, be it by chance."""
        return self.gain.difference is not None and self.gain.difference > 0

    @property
    def is_sure(self) -> bool:
        """Whether that is more than chance: the 95% interval of the gain lies above 0."""
        return self.gain.ci95 is not None and self.gain.ci95[0] > 0

    def sentences(self) -> list[str]:
        """Return what to tell the user."""
        r2 = {name: panel["r2"][AVERAGE] for name, panel in self.panels.items()}
        between = _between(self.gain)
        said = [
            f"R² on speakers not met ({self.num_speakers} speakers, {self.num_clips} clips): as it is "
            f"{_shown(r2[AS_IT_IS])}, adapted {_shown(r2[ADAPTED])}, mean of the ratings {_shown(r2[MEAN])}"
        ]
        if self.is_sure:
            said.append(f"it helped: R² {self.gain.difference:+.3f}{between}")
        elif self.helps:
            said.append(f"it may have helped, which could be chance: R² {self.gain.difference:+.3f}{between}")
        else:
            said.append(f"it did not help (R² {_shown(self.gain.difference)}{between}): scores stay as they are")
        if self.over_mean.ci95 is None or self.over_mean.ci95[0] <= 0:
            said.append(
                "it is not shown to be better than giving every clip the mean of the ratings "
                f"(R² {_shown(self.over_mean.difference)}{_between(self.over_mean)}): do not rely on it here"
            )
        if self.num_speakers < FEW_SPEAKERS:
            said.append(f"{self.num_speakers} speakers are few; rate {FEW_SPEAKERS} or more to be surer")
        return said


def fit_lines(labels: Floats, scores: Floats, speakers: Sequence[str], seed: int = 0) -> Lines:
    """Fit the lines of this module's header, their penalties chosen by cross-validation over speakers.

    Args:
        labels: (n, k), NaN where unknown.
        scores: (n, k), of a model that has not learned from these clips.
        speakers: of each clip.
        seed: of the folds.
    """
    num_folds = min(INNER_FOLDS, len(set(speakers)))
    folds = speaker_folds(speakers, num_folds, seed)
    weights = _weights(speakers)
    names = np.asarray(speakers, dtype=str)
    sums = [_sums(labels[folds != f], scores[folds != f], _weights(names[folds != f])) for f in range(num_folds)]
    errors = {}
    for penalties in product(PENALTIES, PENALTIES):
        predicted = np.full(scores.shape, np.nan)
        for fold, one in enumerate(sums):
            predicted[folds == fold] = _lines(one, penalties).apply(scores[folds == fold])
        errors[penalties] = float(np.nansum(weights[:, None] * np.square(labels - predicted)))
    # Of equal errors the one with the larger penalties: nearer to the model as it is.
    chosen = min(errors, key=lambda one: (round(errors[one], 12), tuple(-value for value in one)))
    return _lines(_sums(labels, scores, weights), chosen)


def judge(
    labels: Floats,
    scores: Floats,
    speakers: Sequence[str],
    targets: Sequence[str],
    resampling: Resampling | None = None,
    seed: int = 0,
) -> tuple[Verdict, Floats]:
    """Say whether fitting helps speakers not met, by cross-validation of the whole procedure.

    Args:
        labels: (n, k), NaN where unknown.
        scores: (n, k), of a model that has not learned from these clips.
        speakers: of each clip.
        targets: names of the columns.
        resampling: how intervals are made.
        seed: of the folds.

    Returns:
        The verdict, and each clip's adapted scores by a fit that has not met its speaker, (n, k).

    Raises:
        UsageError: fewer than `MIN_SPEAKERS` speakers with a rated clip.
    """
    check_enough(speakers)
    folds = speaker_folds(speakers, min(NUM_FOLDS, len(set(speakers))), seed)
    names = np.asarray(speakers, dtype=str)
    adapted, mean = np.full(scores.shape, np.nan), np.full(scores.shape, np.nan)
    for fold in np.unique(folds):
        kept, held = folds != fold, folds == fold
        own = names[kept].tolist()
        adapted[held] = fit_lines(labels[kept], scores[kept], own, seed).apply(scores[held])
        mean[held] = _weighted_mean(labels[kept], _weights(own))
    systems = {ADAPTED: System(adapted), AS_IT_IS: System(scores), MEAN: System(mean)}
    panels, differences = score_systems(
        labels, systems, speakers, resampling or Resampling(), differences_of=ADAPTED, targets=targets
    )
    gain, over_mean = (differences[name]["r2"][AVERAGE] for name in (AS_IT_IS, MEAN))
    return Verdict(panels, gain, over_mean, len(labels), len(set(speakers))), adapted


def check_enough(speakers: Sequence[str]) -> None:
    """Raise UsageError where there are fewer than `MIN_SPEAKERS` speakers."""
    found = len(set(speakers))
    if found < MIN_SPEAKERS:
        raise UsageError(
            f"{found} speakers with a rated clip are too few to tell whether adapting helps others; rate clips of at "
            f"least {MIN_SPEAKERS} speakers, better {FEW_SPEAKERS}"
        )


@dataclass(frozen=True, eq=False)
class _Sums:
    """What the lines follow from, (k,) each: speakers, centre, weighted sums of the rest, and of it times p - c."""

    count: Floats
    centre: Floats
    rest: Floats
    tilt: Floats
    spread: Floats


def _sums(labels: Floats, scores: Floats, weights: Floats) -> _Sums:
    known = np.isfinite(labels + scores)
    own = weights[:, None] * known
    count = own.sum(axis=0)
    p, rest = np.where(known, scores, 0.0), np.where(known, labels - scores, 0.0)
    centre = (own * p).sum(axis=0) / np.where(count > 0, count, 1.0)
    x = p - centre
    return _Sums(count, centre, (own * rest).sum(axis=0), (own * rest * x).sum(axis=0), (own * x * x).sum(axis=0))


def _lines(sums: _Sums, penalties: tuple[float, float]) -> Lines:
    """Return the ridge estimates; a target without a label, or whose scores do not vary, keeps its slope of 1."""
    shift = sums.rest / np.maximum(sums.count + penalties[0], 1e-12)
    varies = sums.spread > 1e-12
    slope = np.divide(sums.tilt, sums.spread, out=np.zeros_like(sums.tilt), where=varies)
    tilt = slope * sums.count / np.maximum(sums.count + penalties[1], 1e-12)
    return Lines(shift - tilt * sums.centre, 1.0 + tilt)


def _weights(speakers: Sequence[str]) -> Floats:
    """Return a weight for each clip; those of a speaker sum to 1."""
    _, index, counts = np.unique(np.asarray(speakers, dtype=str), return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1.0 / counts[index]
    return weights


def _weighted_mean(labels: Floats, weights: Floats) -> Floats:
    known = np.isfinite(labels)
    total = (weights[:, None] * known).sum(axis=0)
    mean: Floats = np.nansum(weights[:, None] * labels, axis=0) / np.where(total > 0, total, np.nan)
    return mean


def _between(difference: Difference) -> str:
    ends = difference.ci95
    return "" if ends is None else f", 95% interval {ends[0]:+.3f} to {ends[1]:+.3f}"


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
