"""How much of labels and predictions a group explains."""

import numpy as np
import pytest

from thinslice.evaluate.attribute_share import SHARES, attribute_shares
from thinslice.evaluate.panel import Resampling
from thinslice.traits import TARGETS


def _data(n: int = 900, leaning: float = 0.05) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Labels, predictions that lean on the group, speakers of three clips, and three groups of unequal size."""
    rng = np.random.default_rng(0)
    speakers = [f"s{i // 3}" for i in range(n)]
    level = rng.choice(3, n // 3, p=[0.6, 0.3, 0.1]).repeat(3)
    labels = rng.normal(0.5, 0.15, (n, 6)) + 0.02 * level[:, None]
    scores = 0.5 + 0.3 * (labels - 0.5) + rng.normal(0, 0.05, (n, 6)) + leaning * level[:, None]
    return labels, scores, speakers, [f"g{i}" for i in level]


def _r2(design: np.ndarray, y: np.ndarray) -> float:
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return 1 - (rest @ rest) / np.square(y - y.mean()).sum()


def test_shares_are_those_of_least_squares() -> None:
    labels, scores, speakers, groups = _data()
    found = attribute_shares(labels, scores, speakers, groups, Resampling(200, 0))
    dummies = np.array([[name == g for g in ("g0", "g1", "g2")] for name in groups], dtype=float)
    for k, target in enumerate(TARGETS):
        y, p = labels[:, k], scores[:, k]
        on_group, alone = _r2(dummies, y), _r2(np.c_[np.ones(len(y)), p], y)
        both = _r2(np.c_[dummies, p], y)
        expected = (on_group, _r2(dummies, p), alone, (both - on_group) / (1 - on_group), (both - alone) / (1 - alone))
        for name, value in zip(SHARES, expected, strict=True):
            assert found[name][target] == pytest.approx(value, abs=1e-9), name
            low, high = found.ci95[name][target]
            assert low <= value <= high


def test_a_missing_label_leaves_its_trait_only() -> None:
    labels, scores, speakers, groups = _data()
    whole = attribute_shares(labels, scores, speakers, groups, Resampling(0))
    labels[:90, 0] = np.nan
    found = attribute_shares(labels, scores, speakers, groups, Resampling(0))
    part = attribute_shares(labels[90:], scores[90:], speakers[90:], groups[90:], Resampling(0))
    assert found["model"]["openness"] == pytest.approx(part["model"]["openness"])
    assert found["model"]["extraversion"] == whole["model"]["extraversion"]
    assert found.ci95 == {}


def test_luck_is_what_a_meaningless_group_explains() -> None:
    labels, scores, speakers, _ = _data(leaning=0.0)
    rng = np.random.default_rng(5)
    shuffled = [f"g{i}" for i in rng.integers(30, size=300).repeat(3)]
    found = attribute_shares(labels, scores, speakers, shuffled, Resampling(0))
    # Labels are independent between clips: 29 levels explain 29 / 899 of them by luck.
    assert found.chance["labels_on_group"]["average"] == pytest.approx(29 / 899, rel=0.3)
    assert found["labels_on_group"]["average"] == pytest.approx(found.chance["labels_on_group"]["average"], abs=0.02)


def test_what_does_not_vary_has_no_share() -> None:
    labels, scores, speakers, groups = _data()
    found = attribute_shares(labels, np.full_like(scores, 0.5), speakers, groups, Resampling(50, 0))
    assert found["labels_on_group"]["average"] is not None
    for name in ("predictions_on_group", "model", "model_given_group"):
        assert found[name]["average"] is None
        assert found.ci95[name]["average"] is None
    found = attribute_shares(np.full_like(labels, 0.5), scores, speakers, groups, Resampling(0))
    assert all(found[name]["openness"] is None for name in SHARES)


def test_a_group_that_says_it_all_leaves_nothing_to_the_model() -> None:
    _, scores, speakers, groups = _data()
    means = {"g0": 0.4, "g1": 0.5, "g2": 0.7}
    labels = np.array([[means[name]] * 6 for name in groups]) + np.random.default_rng(1).normal(0, 1e-3, (900, 6))
    found = attribute_shares(labels, scores, speakers, groups, Resampling(0))
    assert found["labels_on_group"]["average"] > 0.999
    assert found["model_given_group"]["average"] < 0.02
    assert found["group_given_model"]["average"] > 0.99
