"""Scores of clips from pairwise votes: the Bradley-Terry-Luce model, with a prior and standard errors.

    P(left is chosen) = 1 / (1 + exp(s_right - s_left)),   s ~ N(0, sd^2)

(Bradley and Terry 1952; Luce 1959.) The mode of the posterior is found by Newton's method with conjugate gradients on
the sparse Hessian (SciPy), so 200,000 votes about 10,000 clips take a fraction of a second for each trait. `sd` is
chosen by the votes themselves: it is the one under which two votes about a clip agree as often as they do
(`thinslice.evaluate.votes.vote_reliability`). The prior keeps a clip that won all of its few votes finite, and draws
clips of few votes towards the middle.

* A tie counts as half a vote for either. An empty answer is no vote.
* Clips of different connected components were never compared, not even through others: their scores are on one
  scale only because of the prior. `Scores.components` says which belong together.
* A *score* is logistic(s) in [0, 1]: the share of voters who would choose this clip over an average one.
* Standard errors are those of the posterior, from the diagonal of the inverse Hessian: exact up to `_EXACT` clips,
  above that estimated from `_NUM_PROBES` random probes, to 1 or 2% (Bekas, Kokiopoulou and Saad 2007).

Deviations: the organisers of First Impressions do not print their scale; theirs runs from the lowest clip at 0 to the
highest at 1. The two correlate, but are not equal.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.votes import Index, Pairs, Votes, components, solve, usable_reliability, vote_reliability

_EXACT: Final = 1500
_NUM_PROBES: Final = 50
_GAUSS: Final = np.polynomial.hermite_e.hermegauss(41)


@dataclass(frozen=True, eq=False)
class Fit:
    """The model fitted to the answers to one question; arrays (n,).

    Attributes:
        strength: s, on the scale of log odds; 0 without votes.
        error: posterior standard deviation of s; `prior_sd` without votes.
        prior_sd: standard deviation of s in the prior.
        num_votes: votes about each clip.
        components: connected component of each clip.
    """

    strength: Floats
    error: Floats
    prior_sd: float
    num_votes: Index
    components: Index

    @property
    def score(self) -> Floats:
        """logistic(s), in [0, 1]."""
        return 1.0 / (1.0 + np.exp(-self.strength))

    @property
    def score_error(self) -> Floats:
        """Standard error of the score: the root mean square of what s's error makes of it, below 0.71."""
        nodes, weights = _GAUSS
        apart = [1.0 / (1.0 + np.exp(-self.strength - self.error * node)) - self.score for node in nodes]
        mean: Floats = np.tensordot(weights / weights.sum(), np.square(apart), axes=1)
        return np.sqrt(mean)

    @property
    def reliability(self) -> Floats:
        """Share of the prior's variance that each clip's votes have settled, in [0, 1]."""
        return np.clip(1.0 - np.square(self.error / self.prior_sd), 0.0, 1.0)


def fit_votes(votes: Votes, with_errors: bool = True) -> dict[str, Fit]:
    """Fit every target of some votes; see `fit_pairs`."""
    return {target: fit_pairs(votes.answered(target), with_errors=with_errors) for target in votes.targets}


def fit_pairs(pairs: Pairs, prior_sd: float | None = None, with_errors: bool = True) -> Fit:
    """Fit the model to the answers to one question.

    Args:
        pairs: the votes.
        prior_sd: standard deviation of s; by default chosen from the votes.
        with_errors: False saves the time that the errors take; they are NaN.
    """
    sd = sd_for_reliability(vote_reliability(pairs)) if prior_sd is None else prior_sd
    strength = _mode(pairs, sd)
    error = np.full(pairs.num_clips, np.nan)
    if with_errors:
        error = np.sqrt(_inverse_diagonal(pairs, strength, sd))
    return Fit(strength, error, sd, pairs.num_votes, components(pairs))


def sd_for_reliability(reliability: float) -> float:
    """Return the prior's standard deviation under which votes have this reliability.

    The expected vote on a pair is tanh(d / 2) with d = s_left - s_right ~ N(0, 2 sd^2). Two clips share its variance:
    E[tanh(d / 2)^2] = 2 g. The expectation is by Gauss-Hermite quadrature; sd is found by bisection.
    """
    goal = 2.0 * usable_reliability(reliability)
    nodes, weights = _GAUSS
    low, high = 0.0, 50.0
    for _ in range(60):
        sd = (low + high) / 2
        share = float((weights * np.tanh(sd * nodes / np.sqrt(2.0)) ** 2).sum() / weights.sum())
        low, high = (sd, high) if share < goal else (low, sd)
    return (low + high) / 2


def covariance(pairs: Pairs, fit: Fit) -> Floats:
    """Return the posterior covariance of the strengths, dense (n, n): for some hundreds of clips."""
    return _inverse(pairs, fit.strength, fit.prior_sd)


def _mode(pairs: Pairs, sd: float) -> Floats:
    """Newton's method: the Hessian is a weighted Laplacian, so each step is one sparse solve."""
    ridge, wins = 1.0 / sd**2, (pairs.choice + 1.0) / 2.0
    s = np.zeros(pairs.num_clips)
    for _ in range(100):
        p = _chance(pairs, s)
        gradient = pairs.tally(wins - p) - ridge * s
        step = solve(pairs.laplacian(p * (1.0 - p)), ridge, gradient[:, None])[:, 0]
        # The posterior is concave; a step of at most 1 in any strength keeps Newton inside where it converges.
        s += step / max(1.0, float(np.abs(step).max(initial=0.0)))
        if np.abs(step).max(initial=0.0) < 1e-7:
            break
    return s


def _chance(pairs: Pairs, s: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(s[pairs.right] - s[pairs.left])))


def _inverse_diagonal(pairs: Pairs, s: Floats, sd: float) -> Floats:
    """Return the diagonal of the inverse of the Hessian at s, (n,)."""
    size = pairs.num_clips
    if size <= _EXACT:
        return np.diag(_inverse(pairs, s, sd)).copy()
    p = _chance(pairs, s)
    matrix, ridge = pairs.laplacian(p * (1.0 - p)), 1.0 / sd**2
    probes = np.random.default_rng(0).choice([-1.0, 1.0], size=(size, _NUM_PROBES))
    # Of 1/diagonal the probes would only make noise: they estimate what is left of it.
    inverse = 1.0 / (matrix.diagonal() + ridge)
    rest = solve(matrix, ridge, probes, tolerance=1e-4) - inverse[:, None] * probes
    estimate: Floats = inverse + (probes * rest).mean(axis=1)
    return np.clip(estimate, inverse, sd**2)


def _inverse(pairs: Pairs, s: Floats, sd: float) -> Floats:
    from scipy.linalg import inv

    p = _chance(pairs, s)
    hessian = pairs.laplacian(p * (1.0 - p)).toarray() + np.eye(pairs.num_clips) / sd**2
    inverse: Floats = inv(hessian, check_finite=False)
    return inverse
