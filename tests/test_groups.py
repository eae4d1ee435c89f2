"""Groups and extremes."""

import numpy as np
import pytest

from thinslice.errors import UsageError
from thinslice.evaluate import metrics
from thinslice.evaluate.card import Difference
from thinslice.evaluate.extremes import score_extremes
from thinslice.evaluate.groups import UNKNOWN, compare_groups, group_names, metric_frame, score_groups
from thinslice.evaluate.lookup import variance_parts
from thinslice.evaluate.panel import Resampling, System
from thinslice.traits import TARGETS, TRAITS

QUICK = Resampling(400, 0)


def _data(n: int = 600, shift: float = 0.0) -> tuple[np.ndarray, System, list[str], list[str]]:
    """Labels, predictions, speakers (each in one group) and groups; `shift` is group b's bias."""
    rng = np.random.default_rng(0)
    speakers = [f"s{i // 2}" for i in range(n)]
    groups = ["a" if (i // 2) % 2 else "b" for i in range(n)]
    labels = rng.normal(0.5, 0.15, (n, 6))
    scores = 0.5 + 0.5 * (labels - 0.5) + rng.normal(0, 0.06, (n, 6))
    return labels, System(scores + shift * (np.array(groups) == "b")[:, None]), speakers, groups


def test_scores_of_a_group_are_those_of_its_clips() -> None:
    labels, system, speakers, groups = _data()
    mean = System(np.full_like(labels, 0.5))
    found = score_groups(labels, system, {"training_mean": mean}, speakers, groups, QUICK)
    for name in "ab":
        rows = np.array(groups) == name
        panel = found.groups[name]
        assert panel.num_clips == 300
        assert panel.num_speakers == 150
        expected = metrics.score(labels[rows], system.scores[rows])
        for metric in ("accuracy", "r2", "bias"):
            assert [panel[metric][t] for t in TARGETS] == pytest.approx(expected[metric].tolist())
            low, high = panel.ci95[metric]["average"]
            assert low < panel[metric]["average"] < high
        assert panel.baselines["training_mean"]["accuracy"]["openness"] == pytest.approx(
            metrics.accuracy(labels[rows], mean.scores[rows])[0]
        )
        assert panel.best_trait == max(TRAITS, key=lambda t: panel["accuracy"][t])
        assert panel.worst_trait == min(TRAITS, key=lambda t: panel["accuracy"][t])


def test_a_real_gap_is_told_from_chance() -> None:
    labels, system, speakers, groups = _data(shift=0.05)
    found = score_groups(labels, system, {}, speakers, groups, QUICK).gap["bias"]["average"]
    assert found.highest == "b"
    assert found.lowest == "a"
    assert found.gap == pytest.approx(0.05, abs=0.02)
    assert found.ci95[0] > found.chance95
    assert found.p < 0.01
    labels, system, speakers, groups = _data()
    found = score_groups(labels, system, {}, speakers, groups, QUICK).gap["bias"]["average"]
    assert found.p > 0.05


def test_chance_gaps_are_as_likely_as_they_say() -> None:
    rng = np.random.default_rng(0)
    found = []
    for trial in range(150):
        labels, errors = np.full((120, 6), 0.5), rng.normal(0, 0.1, (120, 6))
        groups = [f"g{i % 3}" for i in range(120)]
        names = [f"s{i}" for i in range(120)]
        result = score_groups(labels, System(labels + errors), {}, names, groups, Resampling(300, trial))
        found.append(result.gap["bias"]["openness"].p)
    assert 0.005 <= np.mean(np.array(found) < 0.05) <= 0.12


def test_small_groups_are_marked_and_left_out_of_the_gap() -> None:
    labels, system, speakers, groups = _data()
    groups[:6] = ["tiny"] * 6
    groups[6:9] = [UNKNOWN] * 3
    found = score_groups(labels, system, {}, speakers, groups, QUICK)
    assert found.groups["tiny"].small
    assert found.groups["tiny"].num_speakers == 3
    assert not found.groups["a"].small
    gap = found.gap["accuracy"]["average"]
    assert {gap.highest, gap.lowest} == {"a", "b"}
    assert any(line.startswith("group tiny is small (speakers: 3, clips: 6)") for line in found.warnings)
    assert any("3 clips of no known group" in line for line in found.warnings)
    assert any("leaves out the small groups: tiny" in line for line in found.warnings)
    assert list(found.groups)[-1] == UNKNOWN


def test_one_group_has_no_gap() -> None:
    labels, system, speakers, _ = _data(n=20)
    found = score_groups(labels, system, {}, speakers, ["only"] * 20, Resampling(0))
    assert found.gap is None
    assert found.groups["only"].ci95 == {}


def test_order_of_clips_is_irrelevant() -> None:
    labels, system, speakers, groups = _data(n=80)
    order = np.random.default_rng(1).permutation(80).tolist()
    one = score_groups(labels, system, {}, speakers, groups, QUICK)
    other = score_groups(
        labels[order], system.of(order), {}, [speakers[i] for i in order], [groups[i] for i in order], QUICK
    )
    low, high = one.groups["a"].ci95["r2"]["average"]
    assert other.groups["a"].ci95["r2"]["average"] == pytest.approx([low, high])
    assert other.gap["bias"]["average"].p == one.gap["bias"]["average"].p


def test_groups_from_columns() -> None:
    assert group_names(["m", " f ", "", "m"]) == ["m", "f", UNKNOWN, "m"]
    assert group_names(["1", "2", "3"]) == ["1", "2", "3"]
    values = [f"{i / 100}" for i in range(101)] + [""]
    found = group_names(values)
    assert found[0] == "[0, 0.25)"
    assert found[25] == "[0.25, 0.5)"
    assert found[100] == "[0.75, 1]"
    assert found[101] == UNKNOWN
    with pytest.raises(UsageError, match="60 different values"):
        group_names([f"sentence {i}" for i in range(60)])
    skewed = ["0"] * 90 + [f"{i}" for i in range(1, 20)]
    assert set(group_names(skewed)) == {"[0, 19]"}


def test_ages_are_sorted_by_age() -> None:
    labels, system, speakers, _ = _data(n=40)
    ages = ["61+", "7-13", "19-24", "0-6"] * 10
    found = score_groups(labels, system, {}, speakers, ages, Resampling(0))
    assert list(found.groups) == ["0-6", "7-13", "19-24", "61+"]
    moods = ["1", "-1", "0", "sad"] * 10
    found = score_groups(labels, system, {}, speakers, moods, Resampling(0))
    assert list(found.groups) == ["-1", "0", "1", "sad"]


def test_agrees_with_fairlearn() -> None:
    pytest.importorskip("fairlearn")
    labels, system, speakers, groups = _data(shift=0.03)
    found = score_groups(labels, system, {}, speakers, groups, Resampling(0))
    frame = metric_frame(labels, system.scores, groups, "extraversion")
    for name in "ab":
        for metric in ("accuracy", "r2", "bias"):
            expected = frame.by_group.loc[name, metric]
            assert found.groups[name][metric]["extraversion"] == pytest.approx(expected)
    for metric in ("accuracy", "r2", "bias"):
        assert found.gap[metric]["extraversion"].gap == pytest.approx(frame.difference()[metric])


def test_extremes_are_beyond_one_training_standard_deviation() -> None:
    labels, system, speakers, _ = _data()
    train = np.random.default_rng(5).normal(0.5, 0.15, (500, 6))
    parts = variance_parts(train, [f"t{i // 2}" for i in range(500)])
    found = score_extremes(labels, {"predictions": system}, speakers, parts, QUICK)
    for k, name in enumerate(TARGETS):
        low, high = train[:, k].mean() - train[:, k].std(), train[:, k].mean() + train[:, k].std()
        assert found.thresholds["low"][name] == pytest.approx(low)
        assert found.thresholds["high"][name] == pytest.approx(high)
        for end, rows in (("low", labels[:, k] < low), ("high", labels[:, k] >= high)):
            panel = found.ends[end]["predictions"]
            assert panel.num_clips[name] == rows.sum()
            error = system.scores[rows, k] - labels[rows, k]
            assert panel["accuracy"][name] == pytest.approx(1 - np.abs(error).mean())
            assert panel["bias"][name] == pytest.approx(error.mean())
            assert panel.ci95["accuracy"][name][0] < panel["accuracy"][name] < panel.ci95["accuracy"][name][1]
    # Predictions shrunk to the mean are too high for the low and too low for the high.
    assert found.ends["low"]["predictions"]["bias"]["average"] > 0.05
    assert found.ends["high"]["predictions"]["bias"]["average"] < -0.05


def test_extremes_without_any_clip() -> None:
    labels = np.full((4, 6), 0.5)
    parts = variance_parts(np.random.default_rng(0).random((50, 6)), ["s"] * 50)
    found = score_extremes(labels, {"predictions": System(labels)}, list("abcd"), parts, QUICK)
    assert found.ends["low"]["predictions"].num_clips["openness"] == 0
    assert found.ends["low"]["predictions"]["accuracy"]["openness"] is None
    assert found.ends["low"]["predictions"].ci95["accuracy"]["average"] is None


def test_balanced_scores_count_each_group_alike() -> None:
    labels, system, speakers, _ = _data(shift=0.0)
    groups = ["a" if i < 450 else "b" for i in range(600)]
    found = score_groups(labels, system, {}, speakers, groups, QUICK)
    for metric in ("accuracy", "r2", "bias"):
        mean = np.mean([found.groups[name][metric]["openness"] for name in "ab"])
        assert found.balanced[metric]["openness"] == pytest.approx(mean)
        low, high = found.balanced.ci95[metric]["openness"]
        assert low < mean < high


def test_two_systems_are_compared_group_by_group() -> None:
    labels, system, speakers, groups = _data(shift=0.05)
    _, fair, _, _ = _data()
    found = compare_groups(labels, fair, system, speakers, groups, QUICK)
    one, other = (score_groups(labels, s, {}, speakers, groups, QUICK) for s in (fair, system))
    for metric in ("accuracy", "r2", "bias"):
        for name in "ab":
            expected = one.groups[name][metric]["average"] - other.groups[name][metric]["average"]
            assert found.groups[name][metric]["average"].difference == pytest.approx(expected)
        expected = one.gap[metric]["average"].gap - other.gap[metric]["average"].gap
        assert found.gap[metric]["average"].difference == pytest.approx(expected)
    moved = found.groups["b"]["bias"]["average"]
    assert moved.difference == pytest.approx(-0.05)
    assert moved.ci95 == pytest.approx([-0.05, -0.05])
    assert found.groups["a"]["accuracy"]["average"].difference == pytest.approx(0.0)
    assert found.gap["bias"]["average"].ci95[1] < 0
    same = compare_groups(labels, system, system, speakers, ["only"] * len(labels), Resampling(0))
    assert same.gap is None
    assert same.groups["only"]["r2"]["average"] == Difference(0.0, None)
