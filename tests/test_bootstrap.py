"""The bootstrap over speakers against loops, and what it must say of easy cases."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.evaluate import bootstrap, metrics, pair_order


def _data(seed: int = 0, n: int = 400, speakers: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    index = rng.integers(speakers, size=n)
    index = np.unique(index, return_inverse=True)[1]
    labels = 0.5 + rng.normal(0, 0.1, (speakers, 3))[index] + rng.normal(0, 0.1, (n, 3))
    return labels, 0.5 + 0.5 * (labels - 0.5) + rng.normal(0, 0.05, (n, 3)), index


def test_sums_give_the_metrics_of_the_definitions() -> None:
    y, p, index = _data()
    y[5, 1] = np.nan
    low, high = p - 0.1, p + 0.1
    low[7:90] = np.nan
    sums = bootstrap.group_sums(metrics.clip_sums(y, p, low, high), index, index.max() + 1)
    assert len(sums) == index.max() + 1
    found, expected = metrics.metrics_from_sums(sums.sum(axis=0)), metrics.score(y, p, low, high)
    assert set(found) == set(metrics.summed_metrics()) == set(expected) - {"pair_order"}
    for name, value in found.items():
        assert value == pytest.approx(expected[name], abs=1e-10), name


@pytest.mark.parametrize("what", ["labels", "predictions", "both"])
def test_sums_of_constants(what: str) -> None:
    y, p, _ = _data(n=30)
    y = np.full_like(y, 0.1 + 0.2) if what != "predictions" else y
    p = np.full_like(p, 0.3 if what == "both" else 1 / 3) if what != "labels" else p
    found = metrics.metrics_from_sums(metrics.clip_sums(y, p).sum(axis=0))
    for name, value in metrics.score(y, p).items():
        if name in found and name not in ("coverage", "width"):
            # 0.1 + 0.2 is not 0.3, so that two different constants have a ccc of 0, not 0/0.
            assert found[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_resampling_is_drawing_speakers_with_all_their_clips() -> None:
    y, p, index = _data(n=60, speakers=20)
    num = index.max() + 1
    sums = bootstrap.group_sums(metrics.clip_sums(y, p), index, num)
    found = metrics.metrics_from_sums(bootstrap.resample(sums, 25, seed=3))
    rng = np.random.default_rng(3)
    for b, drawn in enumerate(rng.integers(num, size=(25, num), dtype=np.int32)):
        clips = np.concatenate([np.flatnonzero(index == speaker) for speaker in drawn])
        expected = metrics.score(y[clips], p[clips])
        for name in ("accuracy", "r2", "pcc", "ccc", "calibration_slope", "bias"):
            assert found[name][b] == pytest.approx(expected[name], abs=1e-10), name


def test_chunks_do_not_show() -> None:
    sums = np.random.default_rng(0).random((7, 2))
    whole = bootstrap.resample(sums, 2 * bootstrap._CHUNK + 3, seed=1)
    assert whole.shape == (2 * bootstrap._CHUNK + 3, 2)
    assert bootstrap.resample(sums, bootstrap._CHUNK, seed=1) == pytest.approx(whole[: bootstrap._CHUNK])
    assert (bootstrap.resample(sums, 10, seed=2) != whole[:10]).any()


def test_clusters_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(40), 10)
    y = np.full((400, 1), 0.5)
    p = y + rng.normal(0, 0.1, (40, 1))[speakers]  # each speaker's clips have the same error
    ends = {}
    for name, index in (("speakers", speakers), ("clips", np.arange(400))):
        sums = bootstrap.group_sums(metrics.clip_sums(y, p), index, index.max() + 1)
        low, high = bootstrap.interval(bootstrap.draw(sums, 2000)["accuracy"])
        ends[name] = high[0] - low[0]
    assert ends["speakers"] == pytest.approx(ends["clips"] * np.sqrt(10), rel=0.2)


def test_interval_of_a_mean_is_the_normal_one() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 0.1, (1000, 1))
    sums = metrics.clip_sums(np.zeros((1000, 1)), values)
    low, high = bootstrap.interval(bootstrap.draw(sums, 20_000)["bias"])
    error = values.std() / np.sqrt(1000)
    assert low[0] == pytest.approx(values.mean() - 1.96 * error, abs=0.12 * error)
    assert high[0] == pytest.approx(values.mean() + 1.96 * error, abs=0.12 * error)


@given(st.integers(0, 50))
def test_identical_files_do_not_differ(seed: int) -> None:
    y, p, index = _data(seed, n=40, speakers=15)
    sums = bootstrap.group_sums(np.stack([metrics.clip_sums(y, p)] * 2, axis=1), index, index.max() + 1)
    found = bootstrap.draw(sums, 200, seed)
    for name in ("accuracy", "r2", "ccc"):
        difference = found[name].of(0).minus(found[name].of(1))
        assert (difference.samples == 0).all()
        assert (bootstrap.p_value(difference) == 1).all()
        assert [end.tolist() for end in bootstrap.interval(difference)] == [[0, 0, 0], [0, 0, 0]]


def _difference(seed: int, shift: float, speakers: int = 60) -> bootstrap.Draws:
    """Accuracy of one system less that of another, whose errors are larger by `shift` of their size; skewed errors."""
    rng = np.random.default_rng(seed)
    errors = rng.exponential(0.1, (speakers, 2)) * [1, 1 + shift]
    sums = np.stack([metrics.clip_sums(np.zeros((speakers, 1)), errors[:, [i]]) for i in (0, 1)], axis=1)
    accuracy = bootstrap.draw(sums, 400, seed)["accuracy"]
    return accuracy.of(0).minus(accuracy.of(1))


@given(st.integers(0, 10_000), st.floats(-0.6, 1.5))
def test_p_value_and_interval_agree(seed: int, shift: float) -> None:
    difference = _difference(seed, shift)
    low, high = (float(end[0]) for end in bootstrap.interval(difference))
    p = float(bootstrap.p_value(difference)[0])
    assert 0 < p <= 1
    if abs(p - 0.05) > 0.01:  # at the edge a quantile lies between two samples
        assert (p < 0.05) == (not low <= 0 <= high)


def test_p_value_is_uniform_where_nothing_differs() -> None:
    found = np.array([bootstrap.p_value(_difference(trial, 0.0))[0] for trial in range(300)])
    assert 0.02 <= np.mean(found < 0.05) <= 0.10
    assert 0.4 <= np.mean(found < 0.5) <= 0.6


def test_p_value_is_never_zero() -> None:
    samples = np.ones((999, 1)) + np.random.default_rng(0).normal(0, 0.01, (999, 1))
    draws = bootstrap.Draws(np.array([1.0]), samples, 1 + np.random.default_rng(1).normal(0, 0.001, (50, 1)))
    assert bootstrap.p_value(draws) == pytest.approx(2 / 1000)
    assert bootstrap.p_value(draws.map(lambda values: -values)) == pytest.approx(2 / 1000)


def test_intervals_are_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).exponential(0.1, 40)  # skewed, so that bias and acceleration matter
    for name, statistic in (("accuracy", lambda x: 1 - np.mean(x)), ("mse", lambda x: np.mean(np.square(x)))):
        draws = bootstrap.draw(metrics.clip_sums(np.zeros((40, 1)), values[:, None]), 20_000)[name]
        for method, ends in (
            ("BCa", bootstrap.interval(draws)),
            ("percentile", np.percentile(draws.samples, [2.5, 97.5], axis=0)),
        ):
            found = stats.bootstrap(
                (values,), statistic, n_resamples=20_000, method=method, vectorized=False, rng=np.random.default_rng(1)
            ).confidence_interval
            spread = found.high - found.low
            assert ends[0][0] == pytest.approx(found.low, abs=0.03 * spread), (name, method)
            assert ends[1][0] == pytest.approx(found.high, abs=0.03 * spread), (name, method)


@pytest.mark.parametrize("speakers", [5, 40])
def test_the_estimate_lies_in_its_interval(speakers: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(0.5, 0.1, (speakers * 2, 6))
    p = np.full_like(y, 0.52)  # the R² of a constant is biased in every resample: it cannot be above 0
    sums = bootstrap.group_sums(metrics.clip_sums(y, p), np.repeat(np.arange(speakers), 2), speakers)
    draws = bootstrap.draw(sums, 500)
    for name in ("accuracy", "r2", "mse", "bias"):
        low, high = bootstrap.interval(draws[name])
        assert (low <= draws[name].point + 1e-12).all(), name
        assert (draws[name].point <= high + 1e-12).all(), name


def test_undefined_resamples() -> None:
    rng = np.random.default_rng(0)
    samples = rng.random((1000, 2))
    samples[:20, 0] = np.nan
    samples[:80, 1] = np.nan
    draws = bootstrap.Draws(np.array([0.5, 0.5]), samples, 0.5 + rng.normal(0, 0.01, (30, 2)))
    low, high = bootstrap.interval(draws)
    assert 0 < low[0] < high[0] < 1
    assert np.isnan([low[1], high[1]]).all()
    p = bootstrap.p_value(draws)
    assert np.isfinite(p[0])
    assert np.isnan(p[1])


def test_one_speaker_has_no_interval() -> None:
    draws = bootstrap.draw(metrics.clip_sums(np.zeros((1, 3)), np.ones((1, 3))), 100)["accuracy"]
    assert draws.point.tolist() == [0, 0, 0]
    assert np.isnan(bootstrap.interval(draws)).all()
    assert np.isnan(bootstrap.p_value(draws)).all()


def test_pair_order_interval_is_the_naive_jackknife() -> None:
    y, p, index = _data(n=60, speakers=20)
    y, p = np.round(y, 1), np.round(p, 1)  # with ties
    y[3, 0] = np.nan
    low, high = pair_order.pair_order_interval(y, p, index)
    for k in range(3):
        people = np.unique(index[~np.isnan(y[:, k])])
        values = np.array([metrics.pair_order(y[index != s], p[index != s])[k] for s in people])
        error = np.sqrt((len(people) - 1) / len(people) * ((values - values.mean()) ** 2).sum())
        estimate = metrics.pair_order(y, p)[k]
        assert (low[k], high[k]) == pytest.approx((estimate - 1.96 * error, estimate + 1.96 * error))


def test_pair_order_interval_of_one_speaker_is_undefined() -> None:
    y, p, _ = _data(n=10)
    assert np.isnan(pair_order.pair_order_interval(y, p, np.zeros(10, dtype=np.intp))).all()


def test_ten_thousand_resamples_of_two_thousand_clips_in_two_seconds() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.random((2000, 6)), rng.random((2000, 6))
    index, num = bootstrap.speaker_index([str(i) for i in rng.integers(1600, size=2000)])
    start = time.process_time()
    sums = bootstrap.group_sums(metrics.clip_sums(y, p), index, num)
    draws = bootstrap.draw(sums)
    for metric in draws.values():
        bootstrap.interval(metric)
    assert draws["r2"].samples.shape == (10_000, 6)
    assert time.process_time() - start < 2.0  # processor seconds, of all threads: what else runs does not count
