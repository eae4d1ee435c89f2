"""What votes leak between splits: a comparison of a test clip with a training clip is part of both labels.

Who trains on votes, or looks them up, sees with each such comparison an answer that helped make the test clip's label.
`lookup_r2` says how much that is worth: the squared correlation of the test labels with scores made from nothing but
the comparisons with training clips, without looking at a clip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thinslice.evaluate.clip_names import match_clips
from thinslice.evaluate.metrics import Floats, pcc
from thinslice.evaluate.panel import by_target
from thinslice.evaluate.votes import Votes, consensus
from thinslice.traits import INTERVIEW, TARGETS, TRAITS


@dataclass(frozen=True)
class SplitVotes:
    """The votes about the clips of one split.

    Attributes:
        num_votes: votes about its clips.
        num_with_training: of these, how many compare with a training clip; None for the training split itself.
        lookup_r2: target -> squared correlation of its labels with scores from these alone; None where unknown.
    """

    num_votes: int
    num_with_training: int | None
    lookup_r2: Mapping[str, float | None] | None


@dataclass(frozen=True)
class BetweenSplits:
    """Votes that compare clips of two splits."""

    splits: tuple[str, str]
    num_votes: int


@dataclass(frozen=True)
class VoteAudit:
    """Where votes run.

    Attributes:
        num_votes: all votes.
        num_unknown: votes about a clip that the manifest does not have.
        between: pairs of splits and their votes.
        splits: split -> what is known of its votes.
        verdict: sentences.
    """

    num_votes: int
    num_unknown: int
    between: tuple[BetweenSplits, ...]
    splits: Mapping[str, SplitVotes]
    verdict: tuple[str, ...]


def audit_votes(
    votes: Votes, clips: Sequence[str], splits: Sequence[str], labels: Floats, train_split: str = "train"
) -> VoteAudit:
    """Count the comparisons between splits and say what they leak.

    Args:
        votes: the votes.
        clips: names of the manifest's clips.
        splits: of each clip.
        labels: (n, 6), NaN where unknown.
        train_split: the split that systems learn from.
    """
    names = list(dict.fromkeys(splits))
    row_of = match_clips(clips, votes.clips)
    code = np.array([-1 if row is None else names.index(splits[row]) for row in row_of], dtype=np.intp)
    left, right = code[votes.left], code[votes.right]
    known = (left >= 0) & (right >= 0)
    between = tuple(
        BetweenSplits((a, b), int((((left == i) & (right == j)) | ((left == j) & (right == i))).sum()))
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i < j
    )
    train = names.index(train_split) if train_split in names else -1
    found: dict[str, SplitVotes] = {}
    for number, name in enumerate(names):
        about = known & ((left == number) | (right == number))
        if number == train or train < 0:
            found[name] = SplitVotes(int(about.sum()), None, None)
            continue
        across = about & ((left == train) | (right == train))
        rows = [row for row in row_of if row is not None and splits[row] == name]
        worth = _lookup(votes.of(np.flatnonzero(across)), code == number, labels[rows]) if across.any() else None
        found[name] = SplitVotes(int(about.sum()), int(across.sum()), worth)
    return VoteAudit(len(votes), int((~known).sum()), between, found, tuple(_verdict(found, train_split)))


def _lookup(votes: Votes, mine: np.ndarray, labels: Floats) -> dict[str, float | None]:
    """Return r² of labels (m, 6) with the consensus of votes about the clips `mine`, bool (number of voted clips,)."""
    scores = np.full(labels.shape, np.nan)
    for k, target in enumerate(TARGETS):
        if target in votes.targets:
            pairs = votes.answered(target)
            asked = (pairs.num_votes > 0)[mine]
            scores[:, k] = np.where(asked, consensus(pairs)[mine], np.nan)
    targets = TARGETS if np.isfinite(labels[:, TARGETS.index(INTERVIEW)]).any() else TRAITS
    return dict(by_target(np.square(pcc(labels, scores)), targets))


def _verdict(found: Mapping[str, SplitVotes], train: str) -> list[str]:
    out = []
    for name, one in found.items():
        if one.num_with_training is None or not one.num_votes:
            continue
        if not one.num_with_training:
            out.append(f"No vote compares a clip of {name} with one of {train}: votes leak nothing between them.")
            continue
        share = f"{100 * one.num_with_training / one.num_votes:.0f}% of the {one.num_votes:,} votes about {name} clips"
        text = f"{share} compare them with {train} clips"
        r2 = None if one.lookup_r2 is None else one.lookup_r2["average"]
        if r2 is not None:
            text += f"; these alone, without opening a clip, explain {100 * r2:.0f}% of the variance of its labels"
        out.append(f"{text}. Leave them out when you train on votes.")
    return out
