"""Metrics against SciPy, scikit-learn, naive loops and numbers worked out by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from thinslice.evaluate import metrics, pair_order
from thinslice.traits import TARGETS, TRAITS

stats = pytest.importorskip("scipy.stats")

pairs = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 40), st.just(2)),
    # A coarse grid, as the labels have: ties are the rule, not the exception.
    elements=st.integers(0, 20).map(lambda i: i / 20),
)


def _random(seed: int = 0, n: int = 300, k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.clip(np.round(rng.normal(0.5, 0.15, (n, k)) * 107) / 107, 0, 1)
    return labels, 0.5 + 0.4 * (labels - 0.5) + rng.normal(0, 0.07, (n, k))


def test_by_hand() -> None:
    y, p = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.3, 0.3, 0.7, 0.5])
    found = {name: value[0] for name, value in metrics.score(y, p).items()}
    # errors 0.1, -0.1, 0.1, -0.3; squares sum to 0.12; SST 0.2; cov(n) 0.025; var(y) 0.05; var(p) 0.0275; mean p 0.45
    assert found["accuracy"] == pytest.approx(1 - 0.15)
    assert found["mse"] == pytest.approx(0.03)
    assert found["bias"] == pytest.approx(-0.05)
    assert found["r2"] == pytest.approx(1 - 0.12 / 0.2)
    assert found["pcc"] == pytest.approx(0.025 / np.sqrt(0.05 * 0.0275))
    assert found["ccc"] == pytest.approx(2 * 0.025 / (0.05 + 0.0275 + 0.05**2))
    assert found["calibration_slope"] == pytest.approx(0.025 / 0.0275)
    assert found["response_slope"] == pytest.approx(0.5)
    assert found["spread_ratio"] == pytest.approx(np.sqrt(0.0275 / 0.05))
    # Of six pairs the first is tied in the predictions, the last is the wrong way round.
    assert found["pair_order"] == pytest.approx(4.5 / 6)


def test_agrees_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    y, p = _random()
    assert metrics.accuracy(y, p) == pytest.approx(
        1 - sklearn.mean_absolute_error(y, p, multioutput="raw_values"), abs=1e-12
    )
    assert metrics.mse(y, p) == pytest.approx(sklearn.mean_squared_error(y, p, multioutput="raw_values"), abs=1e-12)
    assert metrics.r2(y, p) == pytest.approx(sklearn.r2_score(y, p, multioutput="raw_values"), abs=1e-12)


def test_agrees_with_scipy() -> None:
    y, p = _random(1)
    for k in range(y.shape[1]):
        r = stats.pearsonr(y[:, k], p[:, k]).statistic
        assert metrics.pcc(y, p)[k] == pytest.approx(r, abs=1e-12)
        assert metrics.calibration_slope(y, p)[k] == pytest.approx(stats.linregress(p[:, k], y[:, k]).slope, abs=1e-12)
        assert metrics.response_slope(y, p)[k] == pytest.approx(stats.linregress(y[:, k], p[:, k]).slope, abs=1e-12)
        sd = np.std(p[:, k]) / np.std(y[:, k])
        assert metrics.spread_ratio(y, p)[k] == pytest.approx(sd, abs=1e-12)
        gap = y[:, k].mean() - p[:, k].mean()
        lin = 2 * r * np.std(y[:, k]) * np.std(p[:, k]) / (np.var(y[:, k]) + np.var(p[:, k]) + gap**2)
        assert metrics.ccc(y, p)[k] == pytest.approx(lin, abs=1e-12)
        somers = stats.somersd(y[:, k], p[:, k]).statistic
        assert metrics.pair_order(y, p)[k] == pytest.approx((1 + somers) / 2, abs=1e-12)


@given(pairs)
def test_pair_order_is_the_naive_count(values: np.ndarray) -> None:
    y, p = values.T
    agreeing = counted = 0.0
    for i, j in itertools.combinations(range(len(y)), 2):
        if y[i] != y[j]:
            counted += 1
            agreeing += 0.5 if p[i] == p[j] else float((y[i] < y[j]) == (p[i] < p[j]))
    found = metrics.pair_order(y, p)[0]
    assert (np.isnan(found) and counted == 0) or found == pytest.approx(agreeing / counted, abs=1e-12)


def test_pair_order_over_several_blocks() -> None:
    y, p = _random(2, n=2 * pair_order._BLOCK + 17, k=1)
    tau_like = stats.somersd(y[:, 0], p[:, 0]).statistic
    assert metrics.pair_order(y, p)[0] == pytest.approx((1 + tau_like) / 2, abs=1e-12)


@given(pairs, st.randoms(use_true_random=False))
def test_order_of_clips_is_irrelevant(values: np.ndarray, random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    before = metrics.score(values[:, 0], values[:, 1])
    after = metrics.score(values[order, 0], values[order, 1])
    for name in before:
        assert after[name] == pytest.approx(before[name], abs=1e-9, nan_ok=True), name


@settings(max_examples=50)
@given(pairs)
def test_identities_between_metrics(values: np.ndarray) -> None:
    y, p = values.T
    found = {name: value[0] for name, value in metrics.score(y, p).items()}
    if np.ptp(y) and np.ptp(p):
        assert found["pcc"] == pytest.approx(found["spread_ratio"] * found["calibration_slope"], abs=1e-9)
        assert found["response_slope"] == pytest.approx(found["pcc"] * found["spread_ratio"], abs=1e-9)
        assert abs(found["ccc"]) <= abs(found["pcc"]) + 1e-9
        assert found["r2"] <= found["pcc"] ** 2 + 1e-9
    assert found["mse"] >= found["bias"] ** 2 - 1e-12
    perfect = {name: value[0] for name, value in metrics.score(y, y).items()}
    assert perfect["accuracy"] == 1
    assert perfect["mse"] == 0
    if np.ptp(y):
        assert [perfect[m] for m in ("r2", "pcc", "ccc", "calibration_slope", "pair_order")] == pytest.approx([1] * 5)


def test_constant_predictions_have_no_correlation() -> None:
    y = np.array([0.1, 0.5, 0.9])
    found = {name: value[0] for name, value in metrics.score(y, np.full(3, 0.1 + 0.2)).items()}
    assert np.isnan(found["pcc"])
    assert np.isnan(found["calibration_slope"])
    assert found["ccc"] == 0
    assert found["response_slope"] == pytest.approx(0)
    assert found["spread_ratio"] == pytest.approx(0)
    assert found["pair_order"] == 0.5


def test_constant_labels_have_no_r2() -> None:
    found = {name: value[0] for name, value in metrics.score(np.full(3, 0.5), np.array([0.1, 0.5, 0.9])).items()}
    for name in ("r2", "pcc", "response_slope", "spread_ratio", "pair_order"):
        assert np.isnan(found[name]), name
    assert found["ccc"] == 0
    assert np.isnan(metrics.ccc(np.full(3, 0.5), np.full(3, 0.5))[0])


@pytest.mark.parametrize("shape", [(0, 6), (1, 6)])
def test_few_clips_warn_nobody(shape: tuple[int, int]) -> None:
    with np.errstate(all="raise"):
        found = metrics.score(np.full(shape, 0.5), np.full(shape, 0.4), np.full(shape, 0.3), np.full(shape, 0.6))
    assert np.isnan(found["r2"]).all()
    assert found["accuracy"].shape == (6,)


def test_nan_pairs_do_not_count() -> None:
    y, p = _random(3, n=50)
    holes = y.copy()
    holes[::3, 2] = np.nan
    kept = np.delete(np.arange(50), np.arange(0, 50, 3))
    whole, part = metrics.score(holes, p), metrics.score(y[kept], p[kept])
    for name in whole:
        assert whole[name][2] == pytest.approx(part[name][2]), name
    assert np.isnan(metrics.score(np.full((4, 1), np.nan), p[:4, :1])["accuracy"][0])


def test_coverage_and_width() -> None:
    y = np.array([[0.1], [0.5], [0.9], [0.3]])
    low, high = np.array([[0.1], [0.6], [0.8], [np.nan]]), np.array([[0.3], [0.8], [0.9], [0.5]])
    assert metrics.coverage(y, low, high)[0] == pytest.approx(2 / 3)  # the ends belong to the interval
    assert metrics.width(y, low, high)[0] == pytest.approx((0.2 + 0.2 + 0.1) / 3)
    assert np.isnan(metrics.coverage(y, np.full((4, 1), np.nan), high)[0])


def test_average_is_the_mean_of_the_five_traits() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 99.0])
    assert metrics.average(values, TARGETS) == pytest.approx(0.3)
    assert metrics.average(values[:4], TRAITS[:4]) == pytest.approx(0.25), "fewer targets: of those there are"
    assert metrics.average(values[[0, 5]], ("warmth", "interview")) == pytest.approx(0.1)
    values[1] = np.nan
    assert np.isnan(metrics.average(values, TARGETS))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        metrics.accuracy(np.zeros((3, 2)), np.zeros((3, 1)))
