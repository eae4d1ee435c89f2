"""Which two clips to show next: pairs in rounds, so that every clip is compared and votes go where they say most.

A round shows every clip once (one clip of an odd number is left out), so all clips stay about equally well compared.
Its pairs are taken in the order of their *gain*, the information about the scores that one more vote is expected to
bring under the Bradley-Terry posterior so far, log(1 + w var(s_i - s_j)) / 2 summed over the questions, with
w = p (1 - p) at the expected chance p (a pair of foregone outcome says little, a pair of well-known clips too). Pairs
that join two components go first, so after about log2(n) rounds every clip can be compared with every other.
Greedy matching on expected information is Hybrid-MST's idea (Li et al. 2018) with a matching in the place of the tree.

The control is `random`: pairs drawn uniformly, whatever is known. docs/human-ceiling.md has the measured difference.
"""

from collections.abc import Collection
from typing import Final, Literal

import numpy as np

from thinslice.errors import UsageError
from thinslice.evaluate.bradley_terry import covariance, fit_pairs
from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.votes import Index, Pairs, Votes, components

Policy = Literal["active", "random"]
POLICIES: Final[tuple[Policy, ...]] = ("active", "random")

_EXACT: Final = 400
"""Up to so many clips every pair is weighed, above that each clip's `_NUM_PARTNERS` drawn at random."""
_NUM_PARTNERS: Final = 40
_PRIOR_SD: Final = 1.0
"""Of strengths while there are too few votes to estimate it."""
_ENOUGH: Final = 5
"""Votes a clip from which the prior is estimated."""


def plan_round(
    votes: Votes, policy: Policy = "active", seed: int = 0, skip: Collection[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """Return the next pairs to show, best first, left and right by chance.

    Args:
        votes: all votes so far; `votes.clips` are all clips, also those without a vote (`build_votes(clips=...)`).
        policy: "active" or "random".
        seed: of what is random; give every round another one.
        skip: pairs not to show, in either order, such as those that are with a rater just now.

    Returns:
        Up to half as many pairs as there are clips; fewer only where `skip` leaves no others.

    Raises:
        UsageError: fewer than two clips, or another policy.
    """
    size = len(votes.clips)
    if size < 2:
        raise UsageError("comparing needs at least two clips")
    if policy not in POLICIES:
        raise UsageError(f"no policy {policy}; there are {', '.join(POLICIES)}")
    rng = np.random.default_rng(seed)
    place = {name: i for i, name in enumerate(votes.clips)}
    barred = {frozenset((place[a], place[b])) for a, b in skip if a in place and b in place}
    chosen = _random_pairs(size, rng, barred) if policy == "random" else _matching(votes, rng, barred)
    flips = rng.random(len(chosen)) < 0.5
    ordered = [(b, a) if flip else (a, b) for (a, b), flip in zip(chosen, flips, strict=True)]
    return [(votes.clips[a], votes.clips[b]) for a, b in ordered]


def expected_gain(votes: Votes, left: Index, right: Index) -> Floats:
    """Return the information, in nats, that one vote on each of some pairs is expected to bring, (m,).

    Args:
        votes: all votes so far.
        left: a clip of each pair, (m,).
        right: the other, (m,).
    """
    gain = np.zeros(len(left))
    for target in votes.targets:
        pairs = votes.answered(target)
        enough = len(pairs) >= _ENOUGH * pairs.num_clips / 2
        is_small = pairs.num_clips <= _EXACT
        fit = fit_pairs(pairs, prior_sd=None if enough else _PRIOR_SD, with_errors=not is_small)
        if is_small:
            whole = covariance(pairs, fit)
            spread = whole[left, left] + whole[right, right] - 2.0 * whole[left, right]
        else:  # among many clips two hardly depend on each other
            spread = np.square(fit.error[left]) + np.square(fit.error[right])
        # The mean of p (1 - p) over what is still open about the difference, by the probit approximation.
        difference = (fit.strength[left] - fit.strength[right]) / np.sqrt(1.0 + np.pi * spread / 8.0)
        p = 1.0 / (1.0 + np.exp(-difference))
        gain += 0.5 * np.log1p(p * (1.0 - p) * spread)
    return gain


def _matching(votes: Votes, rng: np.random.Generator, barred: Collection[frozenset[int]]) -> list[tuple[int, int]]:
    """Match the clips greedily: pairs that join components first, then by gain."""
    size = len(votes.clips)
    left, right = _candidates(size, rng)
    gain = expected_gain(votes, left, right)
    group = components(Pairs(size, votes.left, votes.right, np.ones(len(votes))))
    order = np.lexsort((rng.random(len(left)), -gain, group[left] == group[right]))
    used = np.zeros(size, dtype=bool)
    chosen: list[tuple[int, int]] = []
    for i, j in zip(left[order].tolist(), right[order].tolist(), strict=True):
        if not used[i] and not used[j] and frozenset((i, j)) not in barred:
            used[[i, j]] = True
            chosen.append((i, j))
            if len(chosen) == size // 2:
                break
    return chosen


def _candidates(size: int, rng: np.random.Generator) -> tuple[Index, Index]:
    if size <= _EXACT:
        left, right = np.triu_indices(size, k=1)
        return left, right
    # Each clip with the 1st, 2nd ... next one of random orders: every clip is in as many candidates.
    orders = [rng.permutation(size) for _ in range(_NUM_PARTNERS // 2)]
    return np.concatenate(orders), np.concatenate([np.roll(order, 1) for order in orders])


def _random_pairs(size: int, rng: np.random.Generator, barred: Collection[frozenset[int]]) -> list[tuple[int, int]]:
    """Draw half as many pairs as there are clips, each pair once."""
    chosen: dict[frozenset[int], tuple[int, int]] = {}
    for _ in range(50):
        for i, j in rng.integers(size, size=(size, 2)).tolist():
            if i != j and frozenset((i, j)) not in barred and len(chosen) < size // 2:
                chosen.setdefault(frozenset((i, j)), (i, j))
        if len(chosen) >= size // 2:
            break
    return list(chosen.values())
