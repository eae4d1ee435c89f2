"""Pairwise votes as data, and the sparse least squares behind every consensus of voters.

A *vote* is one person's answer to "which of these two clips shows more of the trait?". Written as v = 1 (left), -1
(right) or 0 (a tie), with one number s per clip, the linear model is

    v = s_left - s_right + noise,   s ~ (0, g),   Var(v) = 1,

and the *consensus* of votes is its ridge solution, argmin sum (v - s_left + s_right)^2 + (noise / g) sum s^2. `g` is
the *reliability of one vote*: the share of a vote's variance that one of its two clips explains, and so the expected
product of two people's votes about one clip. It is estimated from those products, not tuned (`vote_reliability`).
"Don't know" (an empty cell) is no vote: it says that the voter saw no difference or did not look, and nobody can tell
which; counted as ties such answers would pull clips together that nobody compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from thinslice.evaluate.metrics import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Index = NDArray[np.intp]

MIN_RELIABILITY: Final = 1e-3
"""A reliability of one vote below this is not told from nothing, and would make the ridge's weight infinite."""
_MAX_RELIABILITY: Final = 0.4
_MAX_STEPS: Final = 500


@dataclass(frozen=True, eq=False)
class Votes:
    """Comparisons of clips by people.

    Attributes:
        clips: n names, each once.
        left: row of `clips` that stood on the left, (v,).
        right: the other one, (v,).
        choices: (v, k): 1 left, -1 right, 0 a tie, NaN no answer.
        targets: names of the k columns.
        source: for messages.
    """

    clips: tuple[str, ...]
    left: Index
    right: Index
    choices: Floats
    targets: tuple[str, ...]
    source: str = "votes"

    def __len__(self) -> int:
        return len(self.left)

    def of(self, rows: NDArray[np.generic]) -> "Votes":
        """Return some of the votes, of the same clips."""
        return Votes(self.clips, self.left[rows], self.right[rows], self.choices[rows], self.targets, self.source)

    def answered(self, target: str) -> "Pairs":
        """Return the votes on one target, without those that gave no answer."""
        choice = self.choices[:, self.targets.index(target)]
        rows = np.flatnonzero(~np.isnan(choice))
        return Pairs(len(self.clips), self.left[rows], self.right[rows], choice[rows])


@dataclass(frozen=True, eq=False)
class Pairs:
    """The answers to one question.

    Attributes:
        num_clips: number n of clips; some may be in no pair.
        left: row of a clip, (v,).
        right: row of the other, (v,).
        choice: 1 left, -1 right, 0 a tie; (v,), no NaN.
    """

    num_clips: int
    left: Index
    right: Index
    choice: Floats

    def __len__(self) -> int:
        return len(self.left)

    def of(self, rows: NDArray[np.generic]) -> "Pairs":
        """Return some of the pairs, of the same clips."""
        return Pairs(self.num_clips, self.left[rows], self.right[rows], self.choice[rows])

    @property
    def num_votes(self) -> Index:
        """Number of votes about each clip, (n,)."""
        return np.bincount(self.left, minlength=self.num_clips) + np.bincount(self.right, minlength=self.num_clips)

    def tally(self, values: Floats) -> Floats:
        """Return for each clip the sum of values (v,) of the pairs it is left in, less those it is right in, (n,)."""
        size = self.num_clips
        tally = np.bincount(self.left, values, size) - np.bincount(self.right, values, size)
        return tally.astype(np.float64)

    def laplacian(self, weights: Floats | None = None) -> "csr_array":
        """Return sum over pairs of weight (e_left - e_right)(e_left - e_right)^T, sparse (n, n)."""
        from scipy.sparse import csr_array

        size = self.num_clips
        weights = np.ones(len(self)) if weights is None else weights
        degree = np.bincount(self.left, weights, size) + np.bincount(self.right, weights, size)
        each = np.arange(size)
        rows = np.concatenate([self.left, self.right, each]).astype(np.int32)
        columns = np.concatenate([self.right, self.left, each]).astype(np.int32)
        return csr_array((np.concatenate([-weights, -weights, degree]), (rows, columns)), shape=(size, size))


def components(pairs: Pairs) -> Index:
    """Return the connected component of each clip by its votes, (n,); clips of two are not comparable."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    shape = (pairs.num_clips, pairs.num_clips)
    links = csr_array((np.ones(len(pairs), dtype=np.int8), (pairs.left, pairs.right)), shape=shape)
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.intp)


def vote_reliability(pairs: Pairs) -> float:
    """Return g, the reliability of one vote: the mean product of two votes about one clip, each told from its side.

    (sum over clips of t^2 - u) / (sum of m (m - 1)), with m the votes about a clip, t their sum and u their number that
    are no ties: an unbiased estimate of the share of a vote's variance that is the clip's, whatever the others were.
    NaN where no clip has two votes. It may be negative by chance.
    """
    total = pairs.tally(pairs.choice)
    count = pairs.num_votes.astype(np.float64)
    products = float(np.square(total).sum() - 2.0 * np.square(pairs.choice).sum())
    possible = float((count * (count - 1)).sum())
    return products / possible if possible > 0 else float("nan")


def usable_reliability(reliability: float) -> float:
    """Return a reliability of one vote inside what the model allows: above 0, and below a half for each clip."""
    known = reliability if np.isfinite(reliability) else MIN_RELIABILITY
    return float(np.clip(known, MIN_RELIABILITY, _MAX_RELIABILITY))


def ridge_weight(reliability: float) -> float:
    """Return the ridge's weight on s^2: the votes' noise over the variance of s, (1 - 2g) / g."""
    g = usable_reliability(reliability)
    return (1.0 - 2.0 * g) / g


def consensus(pairs: Pairs, reliability: float | None = None, tolerance: float = 1e-6) -> Floats:
    """Return the ridge solution s, (n,), of this module's header; 0 for a clip without votes.

    Args:
        pairs: the votes.
        reliability: of one vote; by default `vote_reliability` of these.
        tolerance: see `solve`.
    """
    weight = ridge_weight(vote_reliability(pairs) if reliability is None else reliability)
    return solve(pairs.laplacian(), weight, pairs.tally(pairs.choice)[:, None], tolerance)[:, 0]


def solve(matrix: "csr_array", ridge: float, right_side: Floats, tolerance: float = 1e-6) -> Floats:
    """Solve (matrix + ridge I) x = b for several b by conjugate gradients, Jacobi-preconditioned.

    Votes join clips nearly at random, so the system is well conditioned and some ten steps solve it; a direct
    factorisation would fill in to a dense matrix.

    Args:
        matrix: positive semidefinite, sparse (n, n).
        ridge: what is added to its diagonal, above 0.
        right_side: (n, m).
        tolerance: relative residual at which a column is solved.

    Returns:
        x (n, m).
    """
    inverse = 1.0 / (matrix.diagonal() + ridge)[:, None]
    x: Floats = inverse * right_side
    residual = right_side - (matrix @ x + ridge * x)
    goal = tolerance * np.linalg.norm(right_side, axis=0)
    step = inverse * residual
    power = (residual * step).sum(axis=0)
    for _ in range(_MAX_STEPS):
        if (np.linalg.norm(residual, axis=0) <= goal).all():
            break
        image = matrix @ step + ridge * step
        bend = (step * image).sum(axis=0)
        length = np.divide(power, bend, out=np.zeros_like(power), where=bend > 0)
        x += length * step
        residual -= length * image
        scaled = inverse * residual
        before, power = power, (residual * scaled).sum(axis=0)
        step = scaled + np.divide(power, before, out=np.zeros_like(power), where=before > 0) * step
    return x


def build_votes(
    rows: Sequence[tuple[str, str]],
    choices: Floats,
    targets: Sequence[str],
    source: str = "votes",
    clips: Sequence[str] = (),
) -> Votes:
    """Return votes from names.

    Args:
        rows: the clip on the left and the clip on the right of each vote.
        choices: (v, k): 1 left, -1 right, 0 a tie, NaN no answer.
        targets: names of the k columns.
        source: for messages.
        clips: all clips there are, in the order wanted, where some may have no vote yet.
    """
    names = dict.fromkeys((*clips, *(name for pair in rows for name in pair)))
    place = {name: i for i, name in enumerate(names)}
    left = np.array([place[a] for a, _ in rows], dtype=np.intp)
    right = np.array([place[b] for _, b in rows], dtype=np.intp)
    return Votes(
        tuple(names),
        left,
        right,
        np.asarray(choices, dtype=np.float64).reshape(len(rows), len(targets)),
        tuple(targets),
        source,
    )
