"""Shift and scale per group."""

import numpy as np
import pytest

from thinslice.errors import UsageError
from thinslice.evaluate.calibration import cross_calibrate, fit_calibration, shrink, speaker_folds
from thinslice.evaluate.groups import UNKNOWN


def _data(
    num_speakers: int = 400, shift: float = 0.06, tilt: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Labels, scores, speakers of three clips whose errors are shared in part, groups a and b of half of them each.

    Group b's labels are `shift` above what the scores say, and rise `tilt` steeper with them.
    """
    rng = np.random.default_rng(seed)
    speakers = np.arange(num_speakers).repeat(3)
    groups = np.array(["a", "b"])[speakers % 2]
    scores = rng.normal(0.5, 0.08, (len(speakers), 6))
    noise = rng.normal(0, 0.08, (num_speakers, 6)).repeat(3, axis=0) + rng.normal(0, 0.06, scores.shape)
    b = (groups == "b")[:, None]
    labels = scores + noise + b * (shift + tilt * (scores - 0.5))
    return labels, scores, [f"s{i}" for i in speakers], groups.tolist()


def test_a_systematic_error_of_a_large_group_is_taken_away() -> None:
    labels, scores, speakers, groups = _data()
    out = fit_calibration(labels, scores, speakers, groups).apply(scores, groups)
    for name in "ab":
        rows = np.array(groups) == name
        before, after = (abs((p - labels)[rows].mean()) for p in (scores, out))
        assert after < 0.01
        if name == "b":
            assert before > 0.05


def test_groups_that_do_not_differ_get_one_line() -> None:
    moved = []
    for seed in range(10):
        labels, scores, speakers, groups = _data(shift=0.0, seed=seed)
        fitted = fit_calibration(labels, scores, speakers, groups)
        moved.append(np.abs([fitted.shifts[name] for name in "ab"]).mean())
        plain = fit_calibration(labels, scores, speakers, ["all"] * len(groups))
        assert fitted.slope == pytest.approx(plain.slope)
        assert not plain.shifts["all"].any()
    # The raw difference of two such groups of 200 speakers is 0.009 on average by chance.
    assert np.mean(moved) < 0.003


def test_a_difference_in_scale_is_found() -> None:
    labels, scores, speakers, groups = _data(num_speakers=2000, shift=0.0, tilt=-0.8)
    fitted = fit_calibration(labels, scores, speakers, groups)
    slopes = {name: (fitted.slope + fitted.slopes[name]).mean() for name in "ab"}
    assert slopes["a"] == pytest.approx(1.0, abs=0.1)
    assert slopes["b"] == pytest.approx(0.2, abs=0.1)


def test_a_small_group_is_corrected_less() -> None:
    labels, scores, speakers, groups = _data()
    names = np.array(groups, dtype=object)
    owners = np.array(speakers)
    few = np.isin(owners, ["s1", "s3"])  # two speakers of group b, off by as much as all others of it
    names[few] = "few"
    labels[few] = scores[few] + 0.06
    fitted = fit_calibration(labels, scores, speakers, names.tolist())
    small, large = fitted.shifts["few"].mean(), fitted.shifts["b"].mean()
    assert 0 < small < 0.5 * (large - fitted.shifts["a"].mean())
    assert fitted.num_speakers == {"a": 200, "b": 198, "few": 2}


def test_shrinkage_by_hand() -> None:
    # Q = 2 * 0.1² / 0.01 = 2, so tau² = (2 - 1) / (200 - 20000 / 200) = 0.01: as large as the variance, half is left.
    assert shrink([(0.1, 0.01), (-0.1, 0.01)]) == pytest.approx([0.05, -0.05])
    assert shrink([(0.05, 0.01), (-0.05, 0.01)]) == pytest.approx([0.0, 0.0])
    assert shrink([(0.4, np.inf), (0.1, 0.01)]) == pytest.approx([0.0, 0.0])
    assert shrink([]).shape == (0,)


def test_other_and_unknown_groups_get_the_common_line() -> None:
    labels, scores, speakers, groups = _data()
    groups[:30] = [UNKNOWN] * 30
    fitted = fit_calibration(labels, scores, speakers, groups)
    assert UNKNOWN not in fitted.centres
    new = np.full((2, 6), 0.6)
    assert fitted.apply(new, [UNKNOWN, "never seen"]) == pytest.approx(
        np.tile(fitted.intercept + fitted.slope * 0.6, (2, 1))
    )


def test_scores_stay_in_range_and_missing_ones_missing() -> None:
    labels, scores, speakers, groups = _data()
    fitted = fit_calibration(labels, scores, speakers, groups)
    out = fitted.apply(np.array([[5.0, -5.0, np.nan, 0.5, 0.5, 0.5]]), ["b"])
    assert out[0, 0] == 1.0
    assert out[0, 1] == 0.0
    assert np.isnan(out[0, 2])
    labels[:, 5] = np.nan  # a target without labels
    assert np.isnan(fit_calibration(labels, scores, speakers, groups).apply(scores, groups)[:, 5]).all()
    with pytest.raises(UsageError, match="no clip to calibrate on"):
        fit_calibration(np.full_like(labels, np.nan), scores, speakers, groups)


def test_constant_scores_are_moved_to_the_groups_means() -> None:
    labels, _, speakers, groups = _data(num_speakers=1000)
    out = fit_calibration(labels, np.zeros_like(labels), speakers, groups).apply(np.zeros_like(labels), groups)
    for name in "ab":
        rows = np.array(groups) == name
        assert out[rows].mean() == pytest.approx(labels[rows].mean(), abs=0.005)
        assert np.ptp(out[rows], axis=0) == pytest.approx(0.0)


def test_nobody_is_calibrated_by_their_own_labels() -> None:
    labels, scores, speakers, groups = _data(num_speakers=60)
    before = cross_calibrate(labels, scores, speakers, groups)
    mine = np.array(speakers) == "s7"
    fold = speaker_folds(speakers, 5, 0)
    assert len(set(fold[mine])) == 1
    labels[mine] += 0.3
    after = cross_calibrate(labels, scores, speakers, groups)
    same = fold == fold[mine][0]
    assert after[same] == pytest.approx(before[same], abs=1e-12)
    assert not np.allclose(after[~same], before[~same])
    with pytest.raises(UsageError, match="3 speakers cannot be divided into 5 folds"):
        speaker_folds(["a", "b", "c"], 5, 0)
