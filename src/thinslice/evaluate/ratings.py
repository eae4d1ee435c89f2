"""Scores of clips from ratings on a scale, and how far the raters agree.

A rating is a number that one rater gives one clip. Raters use a scale differently, so each rater's ratings of a trait
are first z-scored (less the rater's mean, over the rater's standard deviation); a clip's score is the mean of its z,
put back on the scale by the mean and standard deviation of all ratings and then on [0, 1] by the scale's ends. A rater
who gave fewer than two different values has no z and does not count.

Agreement is measured on the ratings as they were given, from one fitting of rating = clip + rater + rest, also where
not everybody rated everything (variance components by the fitting of constants, Henderson's method III, which is the
analysis of variance where nothing is missing; Shrout and Fleiss 1979 name the coefficients):

* icc1k = s / (s + w / k), raters as part of the noise (w: variance within clips). The agreement to expect where each
  clip has raters of its own.
* icc2k = s / (s + (r + e) / k), raters as a random factor (r), e the rest.
* k is the harmonic mean of the number of ratings a clip has, of clips with two or more.
* alpha = 1 - D_observed / D_expected with squared differences (Krippendorff 2011, interval level): one rater's
  agreement with another, absolute, chance-corrected.
* reliability = of the scores above: split-half with Spearman-Brown, each clip's raters divided at random.

Formulas instead of pingouin and krippendorff: the first brings 200 MB and takes no missing ratings, the second makes a
table of all pairs of values, which a slider's thousands do not fit. The tests compare with the published tables and
with krippendorff.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.reliability import NUM_HALVES, Reliability, from_halves
from thinslice.evaluate.votes import Index


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of clips by people.

    Attributes:
        clips: n names, each once.
        raters: names, each once.
        clip: row of `clips` of each rating, (m,).
        rater: row of `raters`, (m,).
        values: (m, k), on any scale, NaN where nothing was given.
        targets: names of the k columns.
        source: for messages.
    """

    clips: tuple[str, ...]
    raters: tuple[str, ...]
    clip: Index
    rater: Index
    values: Floats
    targets: tuple[str, ...]
    source: str = "ratings"


@dataclass(frozen=True, eq=False)
class Answers:
    """The ratings of one trait: clip, rater and value (m,), no NaN, of `num_clips` clips."""

    num_clips: int
    clip: Index
    rater: Index
    value: Floats


@dataclass(frozen=True, eq=False)
class RatedScores:
    """Scores of one trait from ratings.

    Attributes:
        score: in [0, 1], (n,), NaN without a rating that counts.
        error: standard error of the score, (n,).
        num_ratings: (n,).
        icc1k: see this module's header; NaN where it cannot be said.
        icc2k: likewise.
        alpha: likewise.
        num_raters_per_clip: k.
        reliability: split-half.
    """

    score: Floats
    error: Floats
    num_ratings: Index
    icc1k: float
    icc2k: float
    alpha: float
    num_raters_per_clip: float
    reliability: Reliability


def answers_on(ratings: Ratings, target: str) -> Answers:
    """Return the ratings of one trait."""
    value = ratings.values[:, ratings.targets.index(target)]
    rows = np.flatnonzero(~np.isnan(value))
    return Answers(len(ratings.clips), ratings.clip[rows], ratings.rater[rows], value[rows])


def score_ratings(
    answers: Answers, scale: tuple[float, float], speakers: Sequence[str] | None = None, seed: int = 0
) -> RatedScores:
    """Return scores, errors and agreement of the ratings of one trait.

    Args:
        answers: the ratings.
        scale: its lowest and highest possible value.
        speakers: of each clip, for the reliability's interval.
        seed: of the random halves.
    """
    z = z_scores(answers)
    counts = ~np.isnan(z)
    clip, z = answers.clip[counts], z[counts]
    size = answers.num_clips
    number = np.bincount(clip, minlength=size)
    mean = _divide(np.bincount(clip, z, size), number)
    rest = float(np.square(z - mean[clip]).sum())
    free = len(z) - int((number > 0).sum())
    noise = rest / free if free > 0 else np.nan
    low, high = scale
    centre = float(answers.value.mean()) if len(answers.value) else np.nan
    width = float(answers.value.std()) if len(answers.value) else np.nan
    score = np.clip((centre + width * mean - low) / (high - low), 0.0, 1.0)
    error = width / (high - low) * np.sqrt(_divide(np.full(size, noise), number))
    icc1k, icc2k, k = intraclass(answers)
    halves = _halves(clip, z, size, np.random.default_rng(seed))
    per_clip = float(number[number > 0].mean()) if number.any() else 0.0
    reliability = from_halves(halves, per_clip, speakers, seed)
    return RatedScores(score, error, number, icc1k, icc2k, alpha(answers), k, reliability)


def z_scores(answers: Answers) -> Floats:
    """Return each rating less its rater's mean over the rater's standard deviation, (m,); NaN where that is 0/0."""
    size = int(answers.rater.max(initial=-1)) + 1
    number = np.bincount(answers.rater, minlength=size)
    mean = _divide(np.bincount(answers.rater, answers.value, size), number)
    apart = answers.value - mean[answers.rater]
    sd = np.sqrt(_divide(np.bincount(answers.rater, np.square(apart), size), number))
    known = sd[answers.rater] > 1e-12
    return np.divide(apart, sd[answers.rater], out=np.full_like(apart, np.nan), where=known)


def intraclass(answers: Answers) -> tuple[float, float, float]:
    """Return ICC(1,k), ICC(2,k) and k of the clips with two ratings or more; NaN where there are too few."""
    number = np.bincount(answers.clip, minlength=answers.num_clips)
    keep = number[answers.clip] > 1
    clips, clip = np.unique(answers.clip[keep], return_inverse=True)
    raters, rater = np.unique(answers.rater[keep], return_inverse=True)
    value = answers.value[keep]
    num, num_clips, num_raters = len(value), len(clips), len(raters)
    if num_clips < 2 or num_raters < 2 or num <= num_clips:
        return np.nan, np.nan, np.nan
    by_clip, by_rater = np.bincount(clip), np.bincount(rater)
    k = float(num_clips / (1.0 / by_clip).sum())
    within = _squares_within(clip, value, by_clip)
    noise = within / (num - num_clips)
    total = float(np.square(value - value.mean()).sum())
    spread = (total - within - (num_clips - 1) * noise) / (num - np.square(by_clip).sum() / num)
    icc1k = _share(spread, noise / k)
    free = num - num_clips - num_raters + 1
    if free < 1:
        return icc1k, np.nan, k
    left = _squares_left(clip, rater, value, num_clips, num_raters)
    rest = left / free
    # Henderson III: what clips explain beyond raters, and raters beyond clips, less the rest's part of it.
    of_clips = (_squares_within(rater, value, by_rater) - left - (num_clips - 1) * rest) / _size(rater, clip, by_rater)
    of_raters = (within - left - (num_raters - 1) * rest) / _size(clip, rater, by_clip)
    return icc1k, _share(of_clips, (max(of_raters, 0.0) + rest) / k), k


def alpha(answers: Answers) -> float:
    """Return Krippendorff's alpha for interval data, of the clips with two ratings or more; NaN where undefined."""
    number = np.bincount(answers.clip, minlength=answers.num_clips)
    keep = number[answers.clip] > 1
    clip, value = answers.clip[keep], answers.value[keep]
    if len(value) < 2:
        return float("nan")
    size = number.astype(np.float64)
    mean = _divide(np.bincount(clip, value, answers.num_clips), size)
    apart = np.bincount(clip, np.square(value - mean[clip]), answers.num_clips)
    pairable = size > 1
    observed = float((apart[pairable] * size[pairable] / (size[pairable] - 1)).sum()) / len(value)
    expected = float(np.square(value - value.mean()).sum()) / (len(value) - 1)
    return 1.0 - observed / expected if expected > 0 else float("nan")


def _size(within: Index, factor: Index, count: Index) -> float:
    """Return the trace that goes with a factor's variance beyond another: m - sum over cells of c^2 / count."""
    cells, repeats = np.unique(np.stack([within, factor]), axis=1, return_counts=True)
    return float(count.sum() - (np.square(repeats) / count[cells[0]]).sum())


def _squares_within(group: Index, value: Floats, count: Index) -> float:
    mean = np.bincount(group, value) / count
    return float(np.square(value - mean[group]).sum())


def _squares_left(clip: Index, rater: Index, value: Floats, num_clips: int, num_raters: int) -> float:
    """Return the sum of squares that clip and rater together leave, by sparse least squares."""
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import lsmr

    rows = np.arange(len(value))
    design = csr_array(
        (np.ones(2 * len(value)), (np.tile(rows, 2), np.concatenate([clip, num_clips + rater]))),
        shape=(len(value), num_clips + num_raters),
    )
    centred = value - value.mean()
    fitted = lsmr(design, centred, atol=1e-12, btol=1e-12, maxiter=2000)[0]
    return float(np.square(centred - design @ fitted).sum())


def _share(spread: float, noise: float) -> float:
    spread = max(spread, 0.0)
    return spread / (spread + noise) if spread + noise > 0 else float("nan")


def _halves(clip: Index, z: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Return the mean z of two random halves of each clip's ratings, (H, 2, n), NaN for a clip with one."""
    out = np.empty((NUM_HALVES, 2, size))
    for number in range(NUM_HALVES):
        order = np.lexsort((rng.random(len(z)), clip))
        side = np.zeros(len(z), dtype=np.intp)
        # Every other rating of a clip in random order; which half begins is drawn for each clip.
        first = np.searchsorted(clip[order], clip[order])
        side[order] = (np.arange(len(z)) - first + rng.integers(2, size=size)[clip[order]]) % 2
        for half in (0, 1):
            mine = side == half
            out[number, half] = _divide(np.bincount(clip[mine], z[mine], size), np.bincount(clip[mine], minlength=size))
    return out


def _divide(top: NDArray[Any], bottom: NDArray[Any]) -> Floats:
    quotient: Floats = np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=np.asarray(bottom) > 0)
    return quotient
