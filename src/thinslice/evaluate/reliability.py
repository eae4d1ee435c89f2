"""How far scores from votes would come out the same with other voters, and how many votes a wanted reliability needs.

*Split-half*: the votes are divided at random in two, each half gives its own consensus (`thinslice.evaluate.votes`),
and r is the correlation of the two over clips. The Spearman-Brown formula says what twice as many votes would reach,
2 r / (1 + r): the reliability of all votes together, the squared correlation of their scores with those of endlessly
many voters. It is averaged over many random halves. Its interval is from resampling clips (or their speakers, where
they are known), with the halves as they are: the number of clips limits what is known, not the number of halves.

*Votes per clip*: reliability(n) = n g / (1 + (n - 1) g), Spearman-Brown again, with g that of one vote.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from thinslice.evaluate import bootstrap
from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.votes import Index, Pairs, consensus, vote_reliability

NUM_HALVES: Final = 20
_NUM_RESAMPLES: Final = 400


@dataclass(frozen=True)
class Reliability:
    """How reliable scores are; NaN where it cannot be said.

    Attributes:
        value: of all votes together, split-half with Spearman-Brown; at most 1, below 0 by chance.
        low: lower end of its 95% interval.
        high: upper end.
        votes_per_clip: mean number of votes about a clip, of clips that have any.
        one_vote: g, the value that one vote a clip would have, from `value`.
    """

    value: float
    low: float
    high: float
    votes_per_clip: float
    one_vote: float

    def at(self, votes_per_clip: float) -> float:
        """Return the reliability of so many votes a clip."""
        return spearman_brown(self.one_vote, votes_per_clip)

    def votes_for(self, reliability: float) -> float:
        """Return how many votes a clip a reliability below 1 needs; NaN where one vote says nothing."""
        if not self.one_vote > 0:
            return float("nan")
        return reliability / (1.0 - reliability) * (1.0 - self.one_vote) / self.one_vote


def spearman_brown(reliability: float, times: float) -> float:
    """Return the reliability of `times` as many measurements as those that have `reliability`."""
    return times * reliability / (1.0 + (times - 1.0) * reliability)


def split_half(
    pairs: Pairs, speakers: Sequence[str] | None = None, num_halves: int = NUM_HALVES, seed: int = 0
) -> Reliability:
    """Return the reliability of the answers to one question.

    Args:
        pairs: the votes.
        speakers: of each clip, for the interval; by default each clip is its own.
        num_halves: random divisions.
        seed: of the divisions and the resamples.
    """
    count = pairs.num_votes
    used = np.flatnonzero(count)
    if len(pairs) < 4 or len(used) < 3:
        return Reliability(np.nan, np.nan, np.nan, float(count[used].mean()) if len(used) else 0.0, np.nan)
    per_clip = float(count[used].mean())
    g = vote_reliability(pairs)
    rng = np.random.default_rng(seed)
    halves = []
    for _ in range(num_halves):
        order = rng.permutation(len(pairs))
        half = len(pairs) // 2
        halves.append([consensus(pairs.of(part), g, tolerance=1e-3)[used] for part in (order[:half], order[half:])])
    names = None if speakers is None else [speakers[i] for i in used.tolist()]
    return from_halves(np.array(halves), per_clip, names, seed)


def from_halves(halves: Floats, per_clip: float, speakers: Sequence[str] | None = None, seed: int = 0) -> Reliability:
    """Return the reliability that scores from random halves show.

    Args:
        halves: (H, 2, n): scores of n clips from either half of H divisions, NaN where a half says nothing of a clip.
        per_clip: votes or ratings a clip behind both halves together.
        speakers: of each clip, for the interval; by default each clip is its own.
        seed: of the resamples.
    """
    a, b = halves[:, 0], halves[:, 1]
    known = ~np.isnan(a + b)
    if not known.any():
        return Reliability(np.nan, np.nan, np.nan, per_clip, np.nan)
    a, b = np.where(known, a, 0.0), np.where(known, b, 0.0)
    summands = np.stack([known.astype(np.float64), a, b, a * a, b * b, a * b], axis=-1).transpose(1, 0, 2)
    index, num_groups = np.arange(a.shape[1]), a.shape[1]
    if speakers is not None:
        index, num_groups = bootstrap.speaker_index(speakers)
    sums = bootstrap.group_sums(summands, index, num_groups)
    value = float(_doubled(sums.sum(axis=0)))
    samples = _doubled(bootstrap.resample(sums, _NUM_RESAMPLES, seed))
    samples = samples[np.isfinite(samples)]
    low, high = np.quantile(samples, [0.025, 0.975]) if len(samples) else (np.nan, np.nan)
    return Reliability(value, float(low), float(high), per_clip, spearman_brown(value, 1.0 / per_clip))


def _doubled(sums: Floats) -> Floats:
    """Return 2 r / (1 + r) of sums (..., H, 6), averaged over the halves."""
    n, a, b, aa, bb, ab = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (ab - a * b / n) / np.sqrt((aa - a * a / n) * (bb - b * b / n))
        mean: Floats = np.mean(2.0 * r / (1.0 + r), axis=-1)
    return mean


def parts_of(pairs: Pairs, share: float, seed: int) -> Index:
    """Return the rows of a random part of some votes, without replacement."""
    size = round(share * len(pairs))
    return np.asarray(np.random.default_rng(seed).permutation(len(pairs))[:size], dtype=np.intp)
