"""How often a prediction orders two clips as a person did, beside what other people reach: the human ceiling.

For the decided votes on pairs of clips that are both predicted, per trait:

* agreement    = share of votes whose choice has the higher prediction; equal predictions count a half. Exact.
* others       = the same of the consensus of all other votes (`thinslice.evaluate.votes`), about all clips, also those
  that are not predicted. Cross-fitted: votes are dealt into ten folds, and those of a fold are predicted by the votes
  of the other nine, so that no vote predicts itself.
* one_rater    = how often one more voter on the same pair would agree. Two voters agree with probability
  (1 + E[d^2]) / 2, where d, the expected vote on the pair, has variance 2g (g, the reliability of one vote): 1/2 + g.
* equal_raters = the number n of votes a clip whose consensus would agree as often as the prediction. Agreement beyond a
  half grows with the correlation of a consensus with what all voters have in common, so with the root of its
  reliability: (agreement - 1/2) / (others - 1/2) = sqrt(reliability(n) / reliability(n0)), with n0 the votes a clip
  behind `others` and reliability(n) = n g / (1 + (n - 1) g). None where no number of votes would be enough.
* reliability  = of all votes together, split-half with Spearman-Brown (`thinslice.evaluate.reliability`).

Intervals are over speakers. A vote joins two speakers, and votes that share one are not independent: the variance is
the dyadic one (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015), never below that of independent votes.

The labels' noise bounds every score against them: with their reliability R, a prediction of what voters have in common
correlates r / sqrt(R) with it, and R² cannot pass R. `noise_corrected` gives both, as far as the labels are the scores
of these votes (labels of more votes have a higher R).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from thinslice.evaluate.card import VoteIntervals, VoteScore
from thinslice.evaluate.clip_names import match_clips
from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.reliability import spearman_brown, split_half
from thinslice.evaluate.votes import Index, Pairs, Votes, consensus, vote_reliability
from thinslice.traits import TARGETS, TRAITS

NUM_FOLDS: Final = 10

CEILING_LINE: Final = (
    "Shown two clips, one more voter agrees with the combined votes of some 36 others in 55 to 63 of 100 cases, "
    "depending on the trait, where 50 is chance: nobody, person or model, predicts a single person's impression well."
)
"""The ceiling in one line, for the report and model cards; measured on First Impressions' test votes, see
docs/human-ceiling.md."""
_NORMAL_95: Final = 1.959964


def agreement(predictions: Floats, pairs: Pairs) -> Floats:
    """Return 1 for each vote that has the higher prediction on its side, 0.5 for equal ones, 0 otherwise, (v,).

    Args:
        predictions: of each clip, (n,).
        pairs: decided votes.
    """
    order = np.sign(predictions[pairs.left] - predictions[pairs.right])
    agreed: Floats = (1.0 + order * pairs.choice) / 2.0
    return agreed


def crossfit(pairs: Pairs, wanted: Index, share: float = 1.0, num_folds: int = NUM_FOLDS, seed: int = 0) -> Floats:
    """Return the agreement of each wanted vote with the consensus of votes of other folds, (len(wanted),).

    Args:
        pairs: all votes on a trait.
        wanted: rows of those to be predicted; they must be decided.
        share: random part of the other folds' votes that the consensus is made from.
        num_folds: folds into which the votes are dealt.
        seed: of the folds and parts.
    """
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(pairs)) % num_folds
    g = vote_reliability(pairs)
    out = np.empty(len(wanted))
    for number in range(num_folds):
        others = np.flatnonzero(fold != number)
        if share < 1.0:
            others = rng.permutation(others)[: round(share * len(others))]
        mine = fold[wanted] == number
        out[mine] = agreement(consensus(pairs.of(others), g), pairs.of(wanted[mine]))
    return out


def equal_raters(agreed: float, others: float, one_vote: float, votes_per_clip: float) -> float | None:
    """Return the votes a clip whose consensus agrees as often as a prediction does; None where no number is enough.

    Args:
        agreed: agreement of the prediction.
        others: agreement of a consensus.
        one_vote: reliability of one vote.
        votes_per_clip: votes about a clip behind that consensus.
    """
    if not (others > 0.5 and 0 < one_vote < 1):
        return None
    if agreed <= 0.5:
        return 0.0
    needed = spearman_brown(one_vote, votes_per_clip) * ((agreed - 0.5) / (others - 0.5)) ** 2
    return needed * (1.0 - one_vote) / (one_vote * (1.0 - needed)) if needed < 1.0 else None


def score_against_votes(
    votes: Votes,
    clips: Sequence[str],
    predictions: Floats,
    speakers: Sequence[str],
    seed: int = 0,
    targets: Sequence[str] = TARGETS,
) -> dict[str, VoteScore]:
    """Return what votes say of predictions: trait -> score, "average" of the five, and interview where both have it.

    Args:
        votes: all votes there are; those about clips that are not predicted help the consensus.
        clips: n predicted clips.
        predictions: (n, k) in the order of `targets`, NaN where missing.
        speakers: of each predicted clip.
        seed: of folds and halves.
        targets: names of the columns.
    """
    row_of = match_clips(clips, votes.clips)
    rows = np.array([-1 if row is None else row for row in row_of], dtype=np.intp)
    person = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)[1]
    out: dict[str, VoteScore] = {}
    influence = np.zeros(len(votes))
    for k, target in enumerate(targets):
        scores = predictions[:, k]
        if target not in votes.targets or np.isnan(scores).all():
            continue
        choice = votes.choices[:, votes.targets.index(target)]
        answered = np.flatnonzero(~np.isnan(choice))
        pairs = votes.answered(target)
        predicted = np.where(rows >= 0, scores[rows], np.nan) if len(scores) else np.full(len(rows), np.nan)
        known = ~np.isnan(predicted)
        wanted = np.flatnonzero(known[pairs.left] & known[pairs.right] & (pairs.choice != 0))
        score, apart = _score(pairs, wanted, predicted, person, rows, seed)
        out[target] = score
        if target in TRAITS and len(wanted):
            influence[answered[wanted]] += apart / len(TRAITS)
    if set(TRAITS) <= set(out):
        both = np.flatnonzero(influence)
        ends = [person[rows[side[both]]] for side in (votes.left, votes.right)]
        average = _average([out[trait] for trait in TRAITS], dyadic_error(influence[both], *ends))
        interview = {name: one for name, one in out.items() if name not in TRAITS}
        out = {trait: out[trait] for trait in TRAITS} | {"average": average} | interview
    return out


def ceiling_line(score: VoteScore) -> str | None:
    """Return what one trait's scores say, or the average's, in one line for people; None without votes."""
    if score.agreement is None or score.others is None or score.one_rater is None:
        return None
    model, others, one = (round(100 * value) for value in (score.agreement, score.others, score.one_rater))
    return (
        f"Shown two clips, a voter chooses the one that this model scores higher in {model} of 100 cases; all other "
        f"voters together agree with that voter in {others}, one other voter in {one}. 50 is chance."
    )


def _score(
    pairs: Pairs, wanted: Index, predicted: Floats, person: Index, rows: Index, seed: int
) -> tuple[VoteScore, Floats]:
    """Return one trait's score, and what each wanted vote adds to the agreement's error."""
    mine = pairs.of(wanted)
    reliability = split_half(pairs, seed=seed)
    one_vote = vote_reliability(pairs)
    one_rater = _number(0.5 + one_vote)
    if not len(wanted):
        return VoteScore(0, None, None, one_rater, None, _number(reliability.value), VoteIntervals(None)), np.empty(0)
    agreed = agreement(predicted, mine)
    value = float(agreed.mean())
    others = float(crossfit(pairs, wanted, seed=seed).mean())
    apart = (agreed - value) / len(wanted)
    deviation = dyadic_error(apart, person[rows[mine.left]], person[rows[mine.right]])
    behind = (1.0 - 1.0 / NUM_FOLDS) * reliability.votes_per_clip
    raters = equal_raters(value, others, one_vote, behind)
    interval = VoteIntervals(_interval(value, deviation) if len(wanted) > 1 else None)
    return VoteScore(len(wanted), value, others, one_rater, raters, _number(reliability.value), interval), apart


def _average(scores: Sequence[VoteScore], deviation: float) -> VoteScore:
    """Return the mean of the five; `equal_raters` is the median, None counting as more than any number."""

    def mean(values: Sequence[float | None]) -> float | None:
        return float(np.mean([v for v in values if v is not None])) if None not in values else None

    agreed = mean([score.agreement for score in scores])
    middle = float(np.median([math.inf if score.equal_raters is None else score.equal_raters for score in scores]))
    return VoteScore(
        num_votes=sum(score.num_votes for score in scores),
        agreement=agreed,
        others=mean([score.others for score in scores]),
        one_rater=mean([score.one_rater for score in scores]),
        equal_raters=_number(middle) if agreed is not None else None,
        reliability=mean([score.reliability for score in scores]),
        ci95=VoteIntervals(None if agreed is None else _interval(agreed, deviation)),
    )


def dyadic_error(apart: Floats, left: Index, right: Index) -> float:
    """Return the standard error of a sum of votes' shares (v,), of speakers `left` and `right`, (v,) each.

    The dyadic variance: products of all pairs of votes that share a speaker. Each speaker's sum squared counts those,
    but pairs of votes that share both speakers twice.
    """
    if not len(apart):
        return 0.0
    across = left != right
    size = int(max(left.max(), right.max())) + 1
    by_person = np.bincount(left, apart, size) + np.bincount(right[across], apart[across], size)
    dyad = np.minimum(left, right)[across] * size + np.maximum(left, right)[across]
    by_dyad = np.bincount(np.unique(dyad, return_inverse=True)[1], apart[across]) if across.any() else np.zeros(1)
    variance = float(np.square(by_person).sum() - np.square(by_dyad).sum())
    return math.sqrt(max(variance, float(np.square(apart).sum())))


def _interval(value: float, deviation: float) -> tuple[float, float]:
    return max(0.0, value - _NORMAL_95 * deviation), min(1.0, value + _NORMAL_95 * deviation)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
