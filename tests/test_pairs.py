"""Which pairs are shown next: everybody compared, nothing twice, votes where they say most."""

from collections import Counter

import numpy as np
import pytest

from thinslice.errors import UsageError
from thinslice.evaluate.bradley_terry import fit_pairs
from thinslice.evaluate.pairs import POLICIES, expected_gain, plan_round
from thinslice.evaluate.votes import Votes, build_votes, components


def _collect(num_clips: int, sd: float, policy: str, num_rounds: int, seed: int) -> tuple[Votes, np.ndarray]:
    rng = np.random.default_rng(seed)
    clips = [f"c{i}" for i in range(num_clips)]
    truth = rng.normal(0, sd, num_clips)
    strength = dict(zip(clips, truth, strict=True))
    rows: list[tuple[str, str]] = []
    choices: list[list[float]] = []
    votes = build_votes([], np.empty((0, 1)), ("x",), clips=clips)
    for number in range(num_rounds):
        for a, b in plan_round(votes, policy, seed=number):  # type: ignore[arg-type]
            rows.append((a, b))
            choices.append([1.0 if rng.random() < 1 / (1 + np.exp(strength[b] - strength[a])) else -1.0])
        votes = build_votes(rows, np.array(choices), ("x",), clips=clips)
    return votes, truth


def test_a_round_shows_every_clip_once() -> None:
    votes = build_votes([], np.empty((0, 1)), ("x",), clips=[f"c{i}" for i in range(21)])
    shown = Counter(name for pair in plan_round(votes) for name in pair)
    assert len(shown) == 20
    assert set(shown.values()) == {1}


def test_all_clips_can_be_compared_after_few_rounds() -> None:
    votes, _ = _collect(50, 1.0, "active", 6, 0)
    assert len(set(components(votes.answered("x")).tolist())) == 1


def test_pairs_that_are_with_a_rater_are_not_shown_again() -> None:
    votes = build_votes([], np.empty((0, 1)), ("x",), clips=["a", "b", "c"])
    first = plan_round(votes, seed=1)[0]
    for policy in POLICIES:
        others = plan_round(votes, policy, seed=1, skip=[first[::-1]])
        assert frozenset(first) not in {frozenset(pair) for pair in others}
    assert plan_round(votes, skip=[("a", "b"), ("b", "c"), ("c", "a")]) == []


def test_a_foregone_outcome_gains_less_than_an_open_one() -> None:
    rows = [("top", "middle")] * 20 + [("middle", "bottom")] * 20 + [("even", "middle"), ("middle", "even")] * 10
    votes = build_votes(rows, np.ones((60, 1)), ("x",))
    name = {clip: i for i, clip in enumerate(votes.clips)}
    ends = [("top", "bottom"), ("even", "middle")]
    gain = expected_gain(votes, *np.array([[name[a], name[b]] for a, b in ends]).T)
    assert gain[0] < gain[1]


def test_active_pairs_need_fewer_votes_where_raters_see_clear_differences() -> None:
    def known(policy: str) -> float:
        found = []
        for seed in range(4):
            votes, truth = _collect(60, 3.0, policy, 10, seed)
            found.append(np.corrcoef(fit_pairs(votes.answered("x"), 3.0, False).strength, truth)[0, 1] ** 2)
        return float(np.mean(found))

    assert known("active") > known("random") + 0.02


def test_many_clips_are_planned_from_sampled_candidates() -> None:
    votes = build_votes([], np.empty((0, 1)), ("x",), clips=[f"c{i}" for i in range(1000)])
    assert len(plan_round(votes)) > 480


def test_one_clip_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="at least two clips"):
        plan_round(build_votes([], np.empty((0, 1)), ("x",), clips=["a"]))
