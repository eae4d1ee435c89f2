"""Agreement with voters, beside what other voters reach: counts by hand, simulated voters, the real votes."""

from pathlib import Path

import numpy as np
import pytest

from thinslice.evaluate.human import agreement, ceiling_line, crossfit, dyadic_error, equal_raters, score_against_votes
from thinslice.evaluate.reliability import spearman_brown
from thinslice.evaluate.votes import Votes, build_votes, vote_reliability
from thinslice.traits import TARGETS, TRAITS
from vote_files import simulate


def _columns(values: np.ndarray) -> np.ndarray:
    out = np.full((len(values), len(TARGETS)), np.nan)
    out[:, : values.shape[1]] = values
    return out


def test_agreement_counts_votes_in_the_predicted_order_and_equal_predictions_as_a_half() -> None:
    rows = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("a", "missing"), ("b", "a")]
    votes = build_votes(rows, np.array([[1.0], [-1.0], [1.0], [np.nan], [1.0], [0.0]]), ("openness",))
    predictions = _columns(np.array([[0.9], [0.2], [0.2]]))
    found = score_against_votes(votes, ["a.mp4", "b.mp4", "c.mp4"], predictions, ["a", "b", "c"])["openness"]
    # a over b: agreed; c over b: equal; c over a: not. Empty, tied and unpredicted ones are left out.
    assert found.num_votes == 3
    assert found.agreement == pytest.approx((1 + 0.5 + 0) / 3)


def test_agreement_equals_a_plain_count() -> None:
    votes, strength = simulate(80, 900, 0.8)
    rng = np.random.default_rng(1)
    predictions = np.round(strength + rng.normal(0, 0.5, strength.shape), 1)
    found = score_against_votes(votes, votes.clips[:60], _columns(predictions[:60]), votes.clips[:60])["openness"]
    count = total = 0.0
    for a, b, choice in zip(votes.left, votes.right, votes.choices[:, 0], strict=True):
        if a < 60 and b < 60:
            total += 1
            ahead = predictions[a, 0] - predictions[b, 0]
            count += 0.5 if ahead == 0 else float((ahead > 0) == (choice > 0))
    assert found.num_votes == total
    assert found.agreement == count / total


def test_a_vote_never_predicts_itself() -> None:
    rng = np.random.default_rng(0)
    left = rng.integers(300, size=4000)
    right = (left + 1 + rng.integers(299, size=4000)) % 300
    names = [(f"c{a}", f"c{b}") for a, b in zip(left, right, strict=True)]
    noise = build_votes(names, rng.choice([-1.0, 1.0], (4000, 1)), ("openness",)).answered("openness")
    assert crossfit(noise, np.arange(4000)).mean() == pytest.approx(0.5, abs=0.025)


def test_the_other_voters_fall_short_of_the_truth_and_the_formula_says_by_how_much() -> None:
    votes, strength = simulate(1500, 24_000, 0.5)
    pairs = votes.answered("openness")
    wanted = np.arange(len(pairs))
    truth = agreement(strength[:, 0], pairs).mean()
    g = vote_reliability(pairs)
    for share in (0.25, 0.5, 1.0):
        behind = 0.9 * share * pairs.num_votes.mean()
        expected = 0.5 + (truth - 0.5) * np.sqrt(spearman_brown(g, behind))
        assert crossfit(pairs, wanted, share).mean() == pytest.approx(expected, abs=0.008)


def test_one_rater_is_how_often_two_voters_on_one_pair_agree() -> None:
    _, strength = simulate(1500, 24_000, 0.5)
    votes, _ = simulate(1500, 24_000, 0.5)
    rng = np.random.default_rng(5)
    chance = 1 / (1 + np.exp(strength[votes.right, 0] - strength[votes.left, 0]))
    again = np.where(rng.random(len(chance)) < chance, 1.0, -1.0)
    found = score_against_votes(votes, votes.clips, _columns(strength), votes.clips)["openness"]
    assert found.one_rater == pytest.approx((again == votes.choices[:, 0]).mean(), abs=0.01)


def test_equal_raters_turns_the_curve_of_others_round() -> None:
    assert equal_raters(0.57, 0.57, 0.03, 36) == pytest.approx(36)
    at_ten = 0.5 + 0.07 * np.sqrt(spearman_brown(0.03, 10) / spearman_brown(0.03, 36))
    assert equal_raters(at_ten, 0.57, 0.03, 36) == pytest.approx(10)
    assert equal_raters(0.5, 0.57, 0.03, 36) == 0.0
    assert equal_raters(0.7, 0.57, 0.03, 36) is None  # more than any number of votes reaches
    assert equal_raters(0.6, 0.5, 0.03, 36) is None


def test_the_interval_over_speakers_holds_the_truth() -> None:
    inside = 0
    for seed in range(200):
        votes, strength = simulate(120, 600, 0.6, seed)
        pairs = votes.answered("openness")
        chance = 1 / (1 + np.exp(strength[pairs.right, 0] - strength[pairs.left, 0]))
        right = np.where(strength[pairs.left, 0] > strength[pairs.right, 0], chance, 1 - chance).mean()
        agreed = agreement(strength[:, 0], pairs)
        error = dyadic_error((agreed - agreed.mean()) / len(pairs), pairs.left // 2, pairs.right // 2)
        inside += abs(agreed.mean() - right) < 1.96 * error
    assert 180 <= inside <= 199


def test_votes_that_share_speakers_widen_the_interval() -> None:
    votes, strength = simulate(120, 1500, 0.6)
    wrong = strength.copy()
    wrong[:20] *= -1  # all clips of ten speakers are misjudged
    apart = score_against_votes(votes, votes.clips, _columns(wrong), votes.clips)["openness"].ci95.agreement
    together = score_against_votes(
        votes, votes.clips, _columns(wrong), ["all" if i < 20 else str(i) for i in range(120)]
    )
    ends = together["openness"].ci95.agreement
    assert apart is not None
    assert ends is not None
    assert ends[1] - ends[0] > 1.1 * (apart[1] - apart[0])


def test_the_average_is_over_the_five_and_interview_stands_beside_it() -> None:
    votes, strength = simulate(60, 900, 0.8, targets=TARGETS)
    found = score_against_votes(votes, votes.clips, strength, votes.clips)
    assert list(found) == [*TRAITS, "average", "interview"]
    assert found["average"].agreement == pytest.approx(np.mean([found[trait].agreement for trait in TRAITS]))
    assert found["average"].num_votes == 5 * 900
    only = score_against_votes(votes, votes.clips, _columns(strength[:, :2]), votes.clips)
    assert list(only) == ["openness", "conscientiousness"]


def test_votes_on_other_clips_are_scored_as_none() -> None:
    votes, _ = simulate(10, 50, 0.8)
    found = score_against_votes(votes, ["x", "y"], _columns(np.ones((2, 1))), ["x", "y"])["openness"]
    assert (found.num_votes, found.agreement, found.others, found.ci95.agreement) == (0, None, None, None)
    nobody = score_against_votes(votes, [], np.empty((0, 6)), [])
    assert nobody == {}


def test_the_real_voters_agree_with_each_other_as_theory_says(real_votes: Path) -> None:
    from thinslice.data.votes import load_votes

    votes: Votes = load_votes(real_votes)
    pairs = votes.answered("extraversion")
    g = vote_reliability(pairs)
    found = crossfit(pairs, np.arange(len(pairs))).mean()
    # A difference of two clips, drawn with variance 2g: E|d| / 2 beyond a half for the truth itself.
    perfect = np.sqrt(2 * 2 * g / np.pi) / 2
    expected = 0.5 + perfect * np.sqrt(spearman_brown(g, 0.9 * pairs.num_votes.mean()))
    assert found == pytest.approx(0.597, abs=0.004)
    assert found == pytest.approx(expected, abs=0.006)


def test_the_ceiling_is_one_line_that_people_understand() -> None:
    votes, strength = simulate(80, 900, 0.8)
    score = score_against_votes(votes, votes.clips, _columns(strength), votes.clips)["openness"]
    line = ceiling_line(score) or ""
    assert f"in {100 * (score.agreement or 0):.0f} of 100 cases" in line
    assert "\n" not in line
    nothing = score_against_votes(votes, ["x"], _columns(np.ones((1, 1))), ["x"])["openness"]
    assert ceiling_line(nothing) is None
