"""Whether votes and ratings are what they should be: findings as those on manifests, see `thinslice.data.verify`."""

from collections import Counter
from typing import Final

import numpy as np

from thinslice.data.verify import Finding
from thinslice.errors import counted
from thinslice.evaluate.ratings import Ratings, answers_on, z_scores
from thinslice.evaluate.votes import Votes, components

FEW: Final = 5
"""Votes about a clip, below which its score is mostly the prior."""

_SIDED: Final = 4.0
"""Standard errors from a half, from which one side is chosen more often than chance lets it."""


def verify_answers(answers: Votes | Ratings) -> tuple[Finding, ...]:
    """Return what is odd about votes or ratings that could be read, warnings first."""
    findings = _check_votes(answers) if isinstance(answers, Votes) else _check_ratings(answers)
    return tuple(sorted(findings, key=lambda finding: finding.severity, reverse=True))


def _check_votes(votes: Votes) -> list[Finding]:
    out: list[Finding] = []
    pairs = Counter(tuple(sorted(pair)) for pair in zip(votes.left.tolist(), votes.right.tolist(), strict=True))
    if repeated := sum(count > 1 for count in pairs.values()):
        out.append(Finding("note", "pairs", f"{counted(repeated, 'pair')} voted on more than once"))
    for target in votes.targets:
        asked = votes.answered(target)
        if empty := len(votes) - len(asked):
            share = 100 * empty / len(votes)
            out.append(
                Finding("note", "answers", f"{target}: {counted(empty, 'empty vote')} ({share:.0f}%), don't know")
            )
        if not len(asked):
            continue
        decided = asked.choice[asked.choice != 0]
        sided = float(decided.mean()) * np.sqrt(len(decided)) if len(decided) else 0.0
        if abs(sided) > _SIDED:
            side, share = ("left", 50 * (1 + decided.mean())) if sided > 0 else ("right", 50 * (1 - decided.mean()))
            text = f"{target}: the clip on the {side} is chosen in {share:.1f}% of votes, more than chance explains"
            out.append(Finding("warning", "sides", text))
        count = asked.num_votes
        few = tuple(votes.clips[i] for i in np.flatnonzero(count < FEW).tolist())
        if few:
            out.append(
                Finding("warning", "few", f"{target}: {counted(len(few), 'clip')} with fewer than {FEW} votes", few)
            )
        sizes = np.unique(components(asked)[count > 0], return_counts=True)[1]
        if len(sizes) > 1:
            text = (
                f"{target}: the clips fall into {len(sizes):,} sets that no vote joins; one set is needed for one scale"
            )
            out.append(Finding("warning", "components", text))
    return out


def _check_ratings(ratings: Ratings) -> list[Finding]:
    out: list[Finding] = []
    for target in ratings.targets:
        answers = answers_on(ratings, target)
        alike = np.unique(answers.rater[np.isnan(z_scores(answers))])
        if len(alike):
            named = ", ".join(ratings.raters[i] for i in alike[:3].tolist())
            who = f"{counted(len(alike), 'rater')}, such as {named}"
            text = f"{target}: not counted, as all their ratings are alike: {who}"
            out.append(Finding("warning", "raters", text))
        count = np.bincount(answers.clip, minlength=len(ratings.clips))
        once = tuple(ratings.clips[i] for i in np.flatnonzero(count < 2).tolist())
        if once:
            out.append(
                Finding("warning", "few", f"{target}: {counted(len(once), 'clip')} with fewer than two ratings", once)
            )
    return out
