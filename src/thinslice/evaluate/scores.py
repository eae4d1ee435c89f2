"""Scores, standard errors and reliability from votes or ratings, in one document: what `thinslice votes` writes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from thinslice.evaluate.bradley_terry import Fit, fit_pairs
from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.ratings import RatedScores, Ratings, answers_on, score_ratings
from thinslice.evaluate.reliability import Reliability, split_half
from thinslice.evaluate.votes import Votes
from thinslice.traits import TRAITS

WANTED: Final = (0.7, 0.8, 0.9)
"""Reliabilities for which the number of votes a clip is given."""

CURVE: Final = (5, 10, 20, 40, 80)
"""Votes a clip for which the reliability is given."""


@dataclass(frozen=True)
class TraitSummary:
    """What is known of one trait's scores; NaN where it cannot be said.

    Attributes:
        num_answers: votes or ratings that say something.
        num_clips: clips with a score.
        num_components: sets of clips that no vote joins; 1 is what you want.
        num_in_largest: clips in the largest of them.
        reliability: split-half with Spearman-Brown.
        agreement: for ratings "icc1k", "icc2k", "alpha" and "raters_per_clip"; for votes "one_rater", how often two
            voters agree on a pair.
    """

    num_answers: int
    num_clips: int
    num_components: int
    num_in_largest: int
    reliability: Reliability
    agreement: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        one = self.reliability
        return {
            "num_answers": self.num_answers,
            "num_clips": self.num_clips,
            "num_components": self.num_components,
            "num_in_largest": self.num_in_largest,
            "reliability": number(one.value),
            "ci95": {"reliability": None if math.isnan(one.low) else [one.low, one.high]},
            "answers_per_clip": one.votes_per_clip,
            "reliability_at": {str(votes): number(one.at(votes)) for votes in CURVE},
            "answers_for": {f"{goal:g}": number(one.votes_for(goal)) for goal in WANTED},
            **{name: number(value) for name, value in self.agreement.items()},
        }


@dataclass(frozen=True, eq=False)
class ScoreSheet:
    """Scores of clips by people.

    Attributes:
        kind: "votes" or "ratings".
        source: for messages.
        clips: n names.
        targets: names of the k columns.
        scores: (n, k) in [0, 1], NaN where nobody said anything.
        errors: standard errors of the scores, (n, k).
        num_answers: votes or ratings behind each, (n, k).
        weights: (n,), mean 1: what each clip's labels are worth in training, in proportion to their reliability (one
            over the variance of a label, noise included), the mean over the traits.
        traits: target -> summary.
        warnings: what is odd, one line each.
    """

    kind: str
    source: str
    clips: tuple[str, ...]
    targets: tuple[str, ...]
    scores: Floats
    errors: Floats
    num_answers: NDArray[np.intp]
    weights: Floats
    traits: Mapping[str, TraitSummary]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the scores themselves."""
        return {
            "kind": self.kind,
            "source": self.source,
            "num_clips": len(self.clips),
            "traits": {name: summary.to_dict() for name, summary in self.traits.items()},
            "warnings": list(self.warnings),
        }


def score_votes(votes: Votes, speakers: Sequence[str] | None = None, seed: int = 0) -> ScoreSheet:
    """Return the Bradley-Terry scores of votes (`thinslice.evaluate.bradley_terry`).

    Args:
        votes: the votes.
        speakers: of each of `votes.clips`, for the reliability's interval.
        seed: of the random halves.
    """
    fits: dict[str, Fit] = {}
    traits, warnings = {}, []
    for target in votes.targets:
        pairs = votes.answered(target)
        fit = fits[target] = fit_pairs(pairs)
        seen = fit.components[fit.num_votes > 0]
        sizes = np.unique(seen, return_counts=True)[1]
        reliability = split_half(pairs, speakers, seed=seed)
        largest = int(sizes.max(initial=0))
        traits[target] = TraitSummary(
            len(pairs), len(seen), len(sizes), largest, reliability, {"one_rater": 0.5 + reliability.one_vote}
        )
        if len(sizes) > 1:
            warnings.append(
                f"{target}: no vote joins {len(seen) - largest:,} of {len(seen):,} clips to the others "
                f"({len(sizes):,} separate sets); their scores are comparable only within their set"
            )
    none = [fit.num_votes == 0 for fit in fits.values()]
    blank = np.stack(none, axis=1)
    scores = np.stack([fit.score for fit in fits.values()], axis=1)
    errors = np.stack([fit.score_error for fit in fits.values()], axis=1)
    worth = np.stack([fit.reliability for fit in fits.values()], axis=1)
    return ScoreSheet(
        "votes",
        votes.source,
        votes.clips,
        votes.targets,
        np.where(blank, np.nan, scores),
        np.where(blank, np.nan, errors),
        np.stack([fit.num_votes for fit in fits.values()], axis=1),
        _weights(worth, votes.targets),
        traits,
        tuple(warnings),
    )


def score_rated(
    ratings: Ratings, scale: tuple[float, float], speakers: Sequence[str] | None = None, seed: int = 0
) -> ScoreSheet:
    """Return the mean z-scored ratings on [0, 1] (`thinslice.evaluate.ratings`).

    Args:
        ratings: the ratings.
        scale: lowest and highest possible rating.
        speakers: of each of `ratings.clips`, for the reliability's interval.
        seed: of the random halves.
    """
    found: dict[str, RatedScores] = {}
    traits, worth = {}, []
    for target in ratings.targets:
        answers = answers_on(ratings, target)
        one = found[target] = score_ratings(answers, scale, speakers, seed)
        num_clips = int((one.num_ratings > 0).sum())
        agreement = {
            "icc1k": one.icc1k,
            "icc2k": one.icc2k,
            "alpha": one.alpha,
            "raters_per_clip": one.num_raters_per_clip,
        }
        traits[target] = TraitSummary(len(answers.value), num_clips, 1, num_clips, one.reliability, agreement)
        g = one.reliability.one_vote
        g = min(max(g, 0.01), 1.0) if math.isfinite(g) else 0.5
        worth.append(one.num_ratings * g / (1.0 + (one.num_ratings - 1.0) * g))
    return ScoreSheet(
        "ratings",
        ratings.source,
        ratings.clips,
        ratings.targets,
        np.stack([one.score for one in found.values()], axis=1),
        np.stack([one.error for one in found.values()], axis=1),
        np.stack([one.num_ratings for one in found.values()], axis=1),
        _weights(np.stack(worth, axis=1), ratings.targets),
        traits,
    )


def number(value: float) -> float | None:
    """Return a value as JSON can hold it: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def _weights(worth: Floats, targets: Sequence[str]) -> Floats:
    columns = [k for k, name in enumerate(targets) if name in TRAITS] or list(range(len(targets)))
    mean: Floats = worth[:, columns].mean(axis=1)
    return mean / mean.mean() if mean.any() else np.ones(len(mean))
