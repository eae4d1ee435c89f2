"""Which pair or clip a rater sees next."""

import random
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from thinslice.evaluate.pairs import Policy, plan_round
from thinslice.evaluate.votes import build_votes
from thinslice.rate.answers import Answer

Pair = tuple[str, str]


class PairChooser:
    """Pairs in rounds, handed out one by one.

    Args:
        clips: names of all clips.
        traits: one for each question.
        policy: "active", or "random" as the control.
    """

    def __init__(self, clips: Sequence[str], traits: Sequence[str], policy: Policy) -> None:
        self._clips = tuple(clips)
        self._traits = tuple(traits)
        self._policy = policy
        self._queue: list[Pair] = []
        self._round = 0

    def next(
        self, answers: Sequence[Answer], seen: Collection[frozenset[str]], open_pairs: Collection[frozenset[str]]
    ) -> Pair | None:
        """Return the next pair for a rater; None where there is none left for them.

        Args:
            answers: all in earnest so far.
            seen: pairs that this rater has had.
            open_pairs: pairs that other raters have before them just now.
        """
        pair = self._take(seen, open_pairs)
        if pair is None:
            self._plan(answers, {*seen, *open_pairs})
            pair = self._take(seen, open_pairs)
        if pair is None and open_pairs:  # with few clips: rather one that another has too than none
            self._plan(answers, seen)
            pair = self._take(seen, ())
        return pair

    def _take(self, seen: Collection[frozenset[str]], open_pairs: Collection[frozenset[str]]) -> Pair | None:
        for place, pair in enumerate(self._queue):
            if frozenset(pair) not in seen and frozenset(pair) not in open_pairs:
                return self._queue.pop(place)
        return None

    def _plan(self, answers: Sequence[Answer], skip: Collection[frozenset[str]]) -> None:
        choices = [[np.nan if value is None else value for value in entry.answers] for entry in answers]
        rows = [(entry.clips[0], entry.clips[1]) for entry in answers]
        votes = build_votes(
            rows, np.array(choices, dtype=float).reshape(len(rows), len(self._traits)), self._traits, clips=self._clips
        )
        self._round += 1
        barred = {(first, second) for first, second in map(sorted, skip)}
        self._queue = plan_round(votes, self._policy, seed=len(answers) + self._round, skip=barred)


class ClipChooser:
    """Single clips: those with the fewest ratings first.

    Args:
        clips: names of all clips.
        seed: of the order among equals.
    """

    def __init__(self, clips: Sequence[str], seed: int = 0) -> None:
        self._clips = tuple(clips)
        self._random = random.Random(seed)

    def next(self, answers: Sequence[Answer], seen: Collection[str], open_clips: Collection[str]) -> str | None:
        """Return the next clip for a rater; None where they have rated all.

        Args:
            answers: all in earnest so far.
            seen: clips that this rater has had.
            open_clips: clips that other raters have before them just now.
        """
        count = Counter(entry.clips[0] for entry in answers) + Counter(open_clips)
        left = [clip for clip in self._clips if clip not in seen]
        return min(left, key=lambda clip: (count[clip], self._random.random()), default=None)
