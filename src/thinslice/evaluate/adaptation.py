"""Scores fitted to a new population, and whether that helps people not met.

A model that learned from one population may place another too high or too low, and too far or too near to the middle.
With a few dozen rated clips of the new population, of target k

    y = c + (1 + e) (p - c) + d

with p the model's score and c its weighted mean over the rated clips. d and e are ridge estimates towards 0, the
model as it is: each is what least squares gives, times S / (S + penalty), with S the number of speakers. Each speaker
weighs the same, since a new clip is of a new speaker.

A model whose score is a sum of shares x_i of its inputs may count each input more or less than before:

    y = p + sum over i of e_i (x_i - c_i) + d

with c_i the weighted mean of x_i, and e a ridge estimate towards 0; an input that a clip lacks adds nothing.

Which of the two, and the two penalties, among `PENALTIES`, is chosen by cross-validation within the clips that are
fitted on, alike for all targets; an infinite penalty, no change, is among them.

Whether it helps is asked of speakers that the fit has not met: the whole procedure, with its choice, is repeated
without each fold of speakers in turn, and scored on that fold beside the model as it is and the mean of the ratings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from thinslice.errors import UsageError, counted
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
    """score -> intercept + slope * score, for each target, and lines of the shares of inputs that are added to it.

    Attributes:
        intercept: (k,).
        slope: (k,).
        inputs: input -> line of its share of the score, added where the input is there.
    """

    intercept: Floats
    slope: Floats
    inputs: Mapping[str, "Lines"] = field(default_factory=dict)

    def apply(self, scores: Floats, shares: Mapping[str, Floats] | None = None) -> Floats:
        """Return scores (n, k) on their lines, cut to [0, 1].

        Args:
            scores: (n, k).
            shares: input -> its share of the scores, (n, k), NaN where it is not there; for lines with `inputs`.
        """
        moved = self.intercept + self.slope * scores
        for name, line in self.inputs.items():
            moved = moved + np.nan_to_num(line.intercept + line.slope * (shares or {})[name])
        return np.clip(moved, *SCORE_RANGE)

    def describe(self) -> str:
        """Return in words what these lines do."""
        return (
            "a shift of each target and a weight of each input" if self.inputs else "a shift and a scale of each target"
        )


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
            said.append(f"{counted(self.num_speakers, 'speaker')}: few; rate {FEW_SPEAKERS} or more to be surer")
        return said


def fit_lines(
    labels: Floats,
    scores: Floats,
    speakers: Sequence[str],
    seed: int = 0,
    shares: Mapping[str, Floats] | None = None,
) -> Lines:
    """Fit the lines of this module's header, chosen by cross-validation over speakers.

    Args:
        labels: (n, k), NaN where unknown.
        scores: (n, k), of a model that has not learned from these clips.
        speakers: of each clip.
        seed: of the folds.
        shares: input -> its share of the scores, (n, k), NaN where it is not there; None for a shift and a scale alone.
    """
    num_folds = min(INNER_FOLDS, len(set(speakers)))
    folds = speaker_folds(speakers, num_folds, seed)
    weights = _weights(speakers)
    names = np.asarray(speakers, dtype=str)
    errors: dict[tuple[tuple[str, ...], int, int], float] = {}
    for inputs in ((), tuple(shares)) if shares else ((),):
        x = _features(scores, shares, inputs)
        found = np.zeros((len(PENALTIES), len(PENALTIES)))
        for fold in range(num_folds):
            kept, held = folds != fold, folds == fold
            sums = _sums(labels[kept], scores[kept], x[kept], _weights(names[kept]))
            moves = np.einsum("pmk,nmk->pnk", _tilts(sums, PENALTIES), np.nan_to_num(x[held] - sums.centre))
            predicted = np.clip(scores[held] + _shifts(sums, PENALTIES)[:, None, None] + moves, *SCORE_RANGE)
            found += np.nansum(weights[held, None] * np.square(labels[held] - predicted), axis=(2, 3))
        errors |= {(inputs, a, b): value for a, row in enumerate(found.tolist()) for b, value in enumerate(row)}
    # Of equal errors a shift and a scale, with the larger penalties: nearer to the model as it is.
    inputs, a, b = min(errors, key=lambda one: (round(errors[one], 12), len(one[0]), -one[1], -one[2]))
    sums = _sums(labels, scores, _features(scores, shares, inputs), weights)
    (shift,), (tilt,) = _shifts(sums, PENALTIES[a : a + 1]), _tilts(sums, PENALTIES[b : b + 1])
    if not inputs:
        return Lines(shift - tilt[0] * sums.centre[0], 1.0 + tilt[0])
    lines = {name: Lines(-one * centre, one) for name, one, centre in zip(inputs, tilt, sums.centre, strict=True)}
    return Lines(shift, np.ones_like(shift), lines)


def judge(
    labels: Floats,
    scores: Floats,
    speakers: Sequence[str],
    targets: Sequence[str],
    resampling: Resampling | None = None,
    seed: int = 0,
    shares: Mapping[str, Floats] | None = None,
) -> tuple[Verdict, Floats]:
    """Say whether fitting helps speakers not met, by cross-validation of the whole procedure.

    Args:
        labels: (n, k), NaN where unknown.
        scores: (n, k), of a model that has not learned from these clips.
        speakers: of each clip.
        targets: names of the columns.
        resampling: how intervals are made.
        seed: of the folds.
        shares: as in `fit_lines`.

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
        lines = fit_lines(labels[kept], scores[kept], own, seed, _rows(shares, kept))
        adapted[held] = lines.apply(scores[held], _rows(shares, held))
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
            f"{counted(found, 'speaker')} with a rated clip: too few to tell whether adapting helps others; rate clips "
            f"of at least {MIN_SPEAKERS} speakers, better {FEW_SPEAKERS}"
        )


@dataclass(frozen=True, eq=False)
class _Sums:
    """What the lines follow from, for k targets and m features x.

    Attributes:
        count: speakers, (k,).
        centre: weighted means of x, (m, k).
        rest: weighted sums of label less score, (k,).
        tilt: of that times x - centre, (m, k).
        spread: of products of x - centre, (k, m, m).
    """

    count: Floats
    centre: Floats
    rest: Floats
    tilt: Floats
    spread: Floats


def _features(scores: Floats, shares: Mapping[str, Floats] | None, inputs: Sequence[str]) -> Floats:
    """Return what the rest is regressed on, (n, m, k): the shares of inputs, or the score itself."""
    return np.stack([shares[name] for name in inputs] if shares and inputs else [scores], axis=1)


def _rows(shares: Mapping[str, Floats] | None, rows: NDArray[np.bool_]) -> dict[str, Floats] | None:
    return None if shares is None else {name: values[rows] for name, values in shares.items()}


def _sums(labels: Floats, scores: Floats, x: Floats, weights: Floats) -> _Sums:
    known = np.isfinite(labels + scores)
    own = weights[:, None] * known
    rest = np.where(known, labels - scores, 0.0)
    there = np.isfinite(x)
    weighed = own[:, None] * there
    total = weighed.sum(axis=0)
    x = np.where(there, x, 0.0)
    centre = (weighed * x).sum(axis=0) / np.where(total > 0, total, 1.0)
    z = np.where(there, x - centre, 0.0)
    return _Sums(
        own.sum(axis=0),
        centre,
        (own * rest).sum(axis=0),
        np.einsum("nk,nmk->mk", own * rest, z),
        np.einsum("nk,nmk,nlk->kml", own, z, z),
    )


def _shifts(sums: _Sums, penalties: Sequence[float]) -> Floats:
    """Return the ridge estimate of d for each penalty, (p, k); 0 for a target without a label."""
    shifts: Floats = sums.rest / np.maximum(sums.count + np.array(penalties)[:, None], 1e-12)
    return shifts


def _tilts(sums: _Sums, penalties: Sequence[float]) -> Floats:
    """Return the ridge estimates of e for each penalty, (p, m, k); 0 for features that do not vary."""
    given, num_features = np.array(penalties), len(sums.tilt)
    # A penalty counts speakers: so many more whose features vary alike, and who need no change.
    unit = np.trace(sums.spread, axis1=1, axis2=2) / num_features / np.maximum(sums.count, 1e-12)
    some = np.isfinite(given)
    # A little more than nothing, so that what does not vary gets nothing.
    ridge = np.where(some, np.maximum(given, 1e-9), 1.0)[:, None] * unit + 1e-12
    matrix = sums.spread + ridge[:, :, None, None] * np.eye(num_features)
    tilts = np.linalg.solve(matrix, np.broadcast_to(sums.tilt.T[:, :, None], (*ridge.shape, num_features, 1)))
    return np.asarray(np.where(some[:, None, None], tilts[..., 0], 0.0).swapaxes(1, 2))


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
