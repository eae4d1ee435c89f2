"""Votes: the consensus, Bradley-Terry scores and their errors, reliability, against other solvers and known truth."""

from pathlib import Path

import numpy as np
import pytest

from thinslice.evaluate import bradley_terry
from thinslice.evaluate.bradley_terry import covariance, fit_pairs, sd_for_reliability
from thinslice.evaluate.reliability import spearman_brown, split_half
from thinslice.evaluate.scores import score_votes
from thinslice.evaluate.votes import Pairs, build_votes, components, consensus, ridge_weight, solve, vote_reliability
from vote_files import simulate


def _design(pairs: Pairs) -> np.ndarray:
    rows = np.arange(len(pairs))
    design = np.zeros((len(pairs), pairs.num_clips))
    design[rows, pairs.left] += 1
    design[rows, pairs.right] -= 1
    return design


def test_the_consensus_is_the_ridge_solution_on_differences_of_pairs() -> None:
    pairs = simulate(30, 200, 0.6)[0].answered("openness")
    x = _design(pairs)
    expected = np.linalg.solve(x.T @ x + ridge_weight(0.05) * np.eye(30), x.T @ pairs.choice)
    assert consensus(pairs, 0.05) == pytest.approx(expected, abs=1e-5)


def test_bradley_terry_is_logistic_regression_without_intercept() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    pairs = simulate(40, 400, 0.8)[0].answered("openness")
    fit = fit_pairs(pairs, prior_sd=0.7)
    other = linear.LogisticRegression(C=0.7**2, fit_intercept=False, tol=1e-8)
    other.fit(_design(pairs), pairs.choice > 0)
    assert fit.strength == pytest.approx(other.coef_[0], abs=1e-5)


def test_a_tie_is_half_a_vote_for_either() -> None:
    tied = build_votes([("a", "b"), ("a", "b")], np.array([[0.0], [0.0]]), ("x",)).answered("x")
    split = build_votes([("a", "b"), ("a", "b")], np.array([[1.0], [-1.0]]), ("x",)).answered("x")
    won = build_votes([("a", "b"), ("b", "c")], np.array([[0.0], [1.0]]), ("x",)).answered("x")
    for pairs in (tied, split):
        fit = fit_pairs(pairs, prior_sd=1.0)
        assert fit.score == pytest.approx([0.5, 0.5])
    both = fit_pairs(won, prior_sd=1.0).score
    assert both[1] > both[0] > both[2]


def test_an_empty_answer_is_no_vote() -> None:
    votes = build_votes([("a", "b"), ("b", "c")], np.array([[1.0], [np.nan]]), ("x",))
    pairs = votes.answered("x")
    assert len(pairs) == 1
    assert pairs.num_votes.tolist() == [1, 1, 0]


def test_standard_errors_are_those_of_the_inverse_hessian_and_probes_estimate_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = simulate(300, 3000, 0.6)[0].answered("openness")
    exact = fit_pairs(pairs)
    assert exact.error == pytest.approx(np.sqrt(np.diag(covariance(pairs, exact))))
    p = 1 / (1 + np.exp(exact.strength[pairs.right] - exact.strength[pairs.left]))
    x = _design(pairs)
    hessian = (x * (p * (1 - p))[:, None]).T @ x + np.eye(300) / exact.prior_sd**2
    assert exact.error == pytest.approx(np.sqrt(np.diag(np.linalg.inv(hessian))))
    monkeypatch.setattr(bradley_terry, "_EXACT", 0)
    assert np.sqrt(np.mean(np.square(fit_pairs(pairs).error / exact.error - 1))) < 0.02


def test_scores_hold_the_truth_as_often_as_their_errors_say() -> None:
    inside = []
    for seed in range(5):
        votes, strength = simulate(200, 3000, 0.6, seed)
        fit = fit_pairs(votes.answered("openness"))
        inside.append(np.abs(fit.strength - strength[:, 0]) < 1.96 * fit.error)
    assert 0.91 < np.mean(inside) < 0.98


def test_the_prior_is_found_from_the_votes_themselves() -> None:
    found = [fit_pairs(simulate(400, 8000, 0.6, seed)[0].answered("openness")).prior_sd for seed in range(3)]
    assert np.mean(found) == pytest.approx(0.6, rel=0.08)
    assert sd_for_reliability(-1.0) > 0  # votes that contradict each other still have scores


def test_the_reliability_of_a_vote_is_the_mean_product_of_two_about_a_clip() -> None:
    pairs = simulate(12, 60, 1.0)[0].answered("openness")
    products = [
        pairs.choice[a] * (1 if pairs.left[a] == clip else -1) * pairs.choice[b] * (1 if pairs.left[b] == clip else -1)
        for clip in range(12)
        for a in range(60)
        for b in range(60)
        if a != b and clip in (pairs.left[a], pairs.right[a]) and clip in (pairs.left[b], pairs.right[b])
    ]
    assert vote_reliability(pairs) == pytest.approx(np.mean(products))


def test_split_half_tells_the_squared_correlation_with_the_truth() -> None:
    votes, strength = simulate(600, 9000, 0.6)
    pairs = votes.answered("openness")
    found = split_half(pairs)
    truth = np.corrcoef(consensus(pairs), strength[:, 0])[0, 1] ** 2
    assert found.low < truth < found.high
    assert found.value == pytest.approx(truth, abs=0.05)
    assert found.at(found.votes_per_clip) == pytest.approx(found.value)
    assert spearman_brown(found.one_vote, found.votes_for(0.8)) == pytest.approx(0.8)


def test_the_reliability_of_noise_is_near_zero_and_of_nothing_is_nan() -> None:
    rng = np.random.default_rng(0)
    left = rng.integers(100, size=2000)
    noise = Pairs(100, left, (left + 1 + rng.integers(99, size=2000)) % 100, rng.choice([-1.0, 1.0], 2000))
    assert abs(split_half(noise).value) < 0.25
    nothing = Pairs(5, np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp), np.empty(0))
    assert np.isnan(split_half(nothing).value)
    assert fit_pairs(nothing).strength.tolist() == [0.0] * 5


def test_clips_that_no_vote_joins_are_told() -> None:
    votes = build_votes([("a", "b"), ("c", "d"), ("d", "e")], np.ones((3, 1)), ("x",))
    assert len(set(components(votes.answered("x")).tolist())) == 2
    sheet = score_votes(votes)
    assert sheet.traits["x"].num_components == 2
    assert "no vote joins 2 of 5 clips" in sheet.warnings[0]


def test_a_clip_without_votes_has_no_score_and_no_weight_above_others() -> None:
    votes = build_votes([("a", "b"), ("a", "b")], np.ones((2, 1)), ("openness",), clips=["a", "b", "alone"])
    sheet = score_votes(votes)
    assert np.isnan(sheet.scores[2]).all()
    assert sheet.weights[2] < sheet.weights[0]


def test_several_systems_are_solved_at_once() -> None:
    pairs = simulate(50, 300, 0.6)[0].answered("openness")
    right = np.random.default_rng(0).normal(size=(50, 3))
    dense = np.linalg.solve(pairs.laplacian().toarray() + 0.5 * np.eye(50), right)
    assert solve(pairs.laplacian(), 0.5, right) == pytest.approx(dense, abs=1e-4)


def test_the_training_votes_give_back_the_official_labels_as_far_as_their_number_allows(
    real_votes: Path, real_data: Path
) -> None:
    from thinslice.data.votes import load_votes
    from thinslice.formats.python2_pickle import load_annotations

    votes = load_votes(real_votes)
    labels = load_annotations(real_data / "annotation_training.pkl")
    for trait, least in {"openness": 0.77, "conscientiousness": 0.83, "interview": 0.82}.items():
        fit = fit_pairs(votes.answered(trait), with_errors=False)
        official = [labels[trait][clip] for clip in votes.clips]
        assert np.corrcoef(fit.score, official)[0, 1] > least
