"""Ratings: agreement coefficients against published tables and libraries, scores against known truth."""

import numpy as np
import pytest

from thinslice.evaluate.ratings import Answers, Ratings, alpha, intraclass, score_ratings, z_scores
from thinslice.evaluate.scores import score_rated

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]])
"""Shrout and Fleiss 1979, Table 2: six targets, four judges."""


def _answers(table: np.ndarray) -> Answers:
    clip, rater = np.nonzero(~np.isnan(table))
    return Answers(len(table), clip, rater, table[clip, rater])


def _simulated(
    seed: int, num_clips: int = 200, num_raters: int = 30, share: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 1, num_clips)
    table = truth[:, None] + rng.normal(0, 0.7, num_raters) + rng.normal(0, 1.2, (num_clips, num_raters))
    table[rng.random(table.shape) > share] = np.nan
    return table, truth


def test_intraclass_correlations_are_those_of_shrout_and_fleiss() -> None:
    icc1k, icc2k, k = intraclass(_answers(SHROUT_FLEISS))
    assert (round(icc1k, 2), round(icc2k, 2), k) == (0.44, 0.62, 4.0)


def test_intraclass_correlations_hold_where_most_ratings_are_missing() -> None:
    found, expected = [], []
    for seed in range(25):
        table, truth = _simulated(seed, share=0.2)
        icc1k, icc2k, k = intraclass(_answers(table))
        found.append((icc1k, icc2k))
        spread = truth.var(ddof=1)
        expected.append(spread / (spread + (0.49 + 1.44) / k))  # variances of raters and of the rest
    assert np.mean(found, axis=0) == pytest.approx(np.full(2, np.mean(expected)), abs=0.025)


def test_alpha_is_that_of_krippendorff_with_and_without_missing_ratings() -> None:
    library = pytest.importorskip("krippendorff")
    for share in (1.0, 0.5):
        table = np.round(2 * _simulated(3, 40, 6, share)[0])
        expected = library.alpha(reliability_data=table.T, level_of_measurement="interval")
        assert alpha(_answers(table)) == pytest.approx(expected, abs=1e-10)
    # Krippendorff 2011, Section E: 0.849
    printed = np.array(
        [[1, 2, 3, 3, 2, 1, 4, 1, 2, np.nan, np.nan, np.nan], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, np.nan, 3],
         [np.nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, np.nan], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, np.nan]]
    )  # fmt: skip
    assert round(alpha(_answers(printed.T)), 3) == 0.849
    assert np.isnan(alpha(_answers(np.ones((1, 1)))))


def test_z_scores_take_out_how_a_rater_uses_the_scale() -> None:
    table, _ = _simulated(0, 50, 4)
    stretched = table * np.array([1.0, 3.0, 0.5, 2.0]) + np.array([0.0, 5.0, -2.0, 1.0])
    assert z_scores(_answers(stretched)) == pytest.approx(z_scores(_answers(table)))
    same = _answers(np.array([[4.0, 1.0], [4.0, 2.0]]))
    assert np.isnan(z_scores(same)[same.rater == 0]).all()


def test_scores_follow_the_truth_and_their_errors_shrink_with_more_raters() -> None:
    table, truth = _simulated(1, share=0.3)
    found = score_ratings(_answers(table), (-8.0, 8.0))
    assert np.corrcoef(found.score, truth)[0, 1] ** 2 == pytest.approx(found.reliability.value, abs=0.06)
    assert found.reliability.low < found.reliability.value < found.reliability.high
    many, few = np.argmax(found.num_ratings), np.argmin(found.num_ratings)
    assert found.error[many] < found.error[few]
    assert (found.score >= 0).all()
    assert (found.score <= 1).all()


def test_scores_keep_the_middle_of_the_scale() -> None:
    found = score_ratings(_answers(SHROUT_FLEISS), (1.0, 10.0))
    assert found.score.mean() == pytest.approx((SHROUT_FLEISS.mean() - 1) / 9)


def test_one_rater_says_nothing_of_agreement() -> None:
    answers = _answers(np.arange(5.0)[:, None])
    assert np.isnan(intraclass(answers)).all()
    found = score_ratings(answers, (0.0, 4.0))
    assert np.isnan(found.reliability.value)
    assert np.isnan(found.error).all()
    clips = tuple("abcde")
    sheet = score_rated(
        Ratings(clips, ("r",), answers.clip, answers.rater, answers.value[:, None], ("openness",)), (0.0, 4.0)
    )
    assert sheet.to_dict()["traits"]["openness"]["icc2k"] is None
    assert sheet.weights == pytest.approx(np.ones(5))
