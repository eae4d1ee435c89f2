"""A metric is declared once: one that is added to the table of metrics is found everywhere scores are shown."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from thinslice.cli import table_rows
from thinslice.evaluate import metrics
from thinslice.evaluate.groups import metric_frame
from thinslice.evaluate.metrics import (
    COMPARED,
    DIFFERENCE,
    EXTREME,
    GROUP,
    HEADLINE,
    HISTORY,
    METRICS,
    PUBLISHED,
    SHAPE,
    TRAIT,
    Metric,
    Summand,
)
from thinslice.evaluate.odd_columns import swapped_columns
from thinslice.evaluate.panel import Resampling
from thinslice.evaluate.predictions import PredictionFile
from thinslice.evaluate.scorecard import LabelledClips, build_scorecard
from thinslice.evaluate.tables import build_tables, to_csv, to_latex, to_markdown
from thinslice.traits import TARGETS, TRAITS

EVERYWHERE = frozenset({HEADLINE, TRAIT, SHAPE, GROUP, EXTREME, DIFFERENCE, COMPARED, HISTORY, PUBLISHED})
NEAR = Metric(
    label="within a tenth",
    formula=lambda s: s["num_near"] / s["n"],
    shown_in=EVERYWHERE,
    decimals=1,
    summands={"num_near": Summand(lambda c: np.abs(c.predictions - c.labels) <= 0.1)},
)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "near", NEAR)


def _clips(seed: int, num_clips: int = 240) -> LabelledClips:
    rng = np.random.default_rng(seed)
    speakers = [f"s{i // 2}" for i in range(num_clips)]
    groups = ["a" if i % 4 < 2 else "b" for i in range(num_clips)]
    labels = np.clip(rng.normal(0.5, 0.15, (num_clips, 6)), 0, 1)
    return LabelledClips([f"{seed}.{i}" for i in range(num_clips)], speakers, labels, {"group": groups})


def _file(clips: LabelledClips, noise: float, name: str) -> PredictionFile:
    rng = np.random.default_rng(1)
    nothing = np.full_like(clips.labels, np.nan)
    scores = 0.5 + 0.6 * (clips.labels - 0.5) + rng.normal(0, noise, clips.labels.shape)
    return PredictionFile(name, tuple(clips.clips), scores, nothing, nothing, TARGETS)


@pytest.mark.usefixtures("near")
def test_a_new_metric_is_in_every_part_of_the_scorecard() -> None:
    clips, train = _clips(0), _clips(1)
    first, other = _file(clips, 0.05, "one.csv"), _file(clips, 0.15, "two.csv")
    card, scored = build_scorecard(clips, first, [train], ["group"], compare=other, resampling=Resampling(40, 0))
    expected = (np.abs(scored.system.scores - clips.labels) <= 0.1).mean(axis=0)
    for k, target in enumerate(TARGETS):
        assert card.official["near"][target] == pytest.approx(expected[k])
    low, high = card.official.interval("near", "average") or (0.0, 0.0)
    assert low < expected[:5].mean() < high
    document = json.loads(json.dumps(card.to_dict(), allow_nan=False))
    panels = [
        document["protocols"]["official"],
        document["baselines"]["training_mean"]["official"],
        document["comparison"]["protocols"]["official"],
        document["groups"]["group"]["groups"]["a"],
        document["groups"]["group"]["balanced"],
        document["extremes"]["high"]["predictions"],
    ]
    for panel in panels:
        assert set(panel["near"]) == {*TRAITS, "average", "interview"}
        assert set(panel["ci95"]["near"]) == set(panel["near"])
    assert document["paired_differences"]["lookup"]["official"]["near"]["average"]["difference"] > 0
    assert document["comparison"]["paired_differences"]["official"]["near"]["average"]["p"] > 0
    assert document["groups"]["group"]["gap"]["near"]["average"]["gap"] >= 0
    assert "near" in document["comparison"]["groups"]["group"]["gap"]


@pytest.mark.usefixtures("near")
def test_a_new_metric_is_in_every_table_with_its_label_and_decimals() -> None:
    clips, train = _clips(0), _clips(1)
    other = _file(clips, 0.15, "two.csv")
    card, _ = build_scorecard(
        clips, _file(clips, 0.05, "one.csv"), [train], ["group"], compare=other, resampling=Resampling(40, 0)
    )
    tables = build_tables(card)
    assert len(tables) == 8
    for table in (table for table in tables if table.title != "Accuracy on the extremes"):
        text = to_markdown([table])
        assert "within a tenth" in text.lower(), table.title
        assert "within a tenth" in to_latex([table]).lower()
    value = card.official["near"]["average"]
    assert f"| within a tenth, predictions | {value:.1f} [" in to_markdown(tables)
    rows = [row for row in csv.DictReader(io.StringIO(to_csv(card))) if row["metric"] == "near"]
    assert {"official", "group: a", "high extreme"} <= {row["protocol"] for row in rows}


@pytest.mark.usefixtures("near")
def test_a_new_metric_is_in_training_histories_tables_of_papers_and_frames() -> None:
    pytest.importorskip("torch")
    from thinslice.train.scoring import headline_scores

    clips = _clips(0)
    scores = _file(clips, 0.05, "one.csv").scores
    assert "near" in headline_scores(clips.labels, scores, TARGETS)
    measured = table_rows.measure(clips.labels, scores, clips.labels, TARGETS)
    assert measured["near"]["openness"] == pytest.approx(metrics.score(clips.labels, scores)["near"][0])
    assert table_rows.table_metrics()["near"] == "within a tenth"
    assert "near" in next(iter(table_rows.compare("cr_net", {"v": "v"}, {"v": measured})))
    pytest.importorskip("fairlearn", reason="the extra groups is not installed")
    frame = metric_frame(clips.labels, scores, clips.columns["group"], "openness")
    assert "near" in frame.by_group


def test_every_metric_has_a_place_and_a_formula() -> None:
    for name, metric in METRICS.items():
        assert metric.shown_in <= EVERYWHERE, name
        assert metric.shown_in, name
        assert (metric.formula is None) != (metric.of_pairs is None), name


def test_exchanged_columns_are_told_and_columns_in_place_are_not() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(0, 0.1, (400, 1))
    labels = 0.5 + common + rng.normal(0, 0.1, (400, 6))  # traits correlate 0.5 with each other
    scores = 0.5 * labels + rng.normal(0, 0.05, labels.shape)
    assert swapped_columns(labels, scores) == (0, 1, 2, 3, 4, 5)
    assert swapped_columns(labels, scores[:, [0, 3, 2, 1, 4, 5]]) == (0, 3, 2, 1, 4, 5)
    assert swapped_columns(labels, scores[:, [1, 2, 0, 3, 4, 5]]) == (2, 0, 1, 3, 4, 5)
    assert swapped_columns(labels, rng.normal(size=labels.shape)) == (0, 1, 2, 3, 4, 5)
    assert swapped_columns(labels[:10], scores[:10, [1, 0, 2, 3, 4, 5]]) == (0, 1, 2, 3, 4, 5)


def test_exchanged_columns_are_named_in_the_scorecard(tmp_path: Path) -> None:
    clips = _clips(0)
    good = _file(clips, 0.05, "one.csv")
    wrong = PredictionFile("w.csv", good.clips, good.scores[:, [0, 3, 2, 1, 4, 5]], good.low, good.high, TARGETS)
    assert not [w for w in build_scorecard(clips, good, resampling=Resampling(0))[0].warnings if "exchanged" in w]
    told = [w for w in build_scorecard(clips, wrong, resampling=Resampling(0))[0].warnings if "exchanged" in w]
    assert told == [
        "columns seem exchanged: the labels fit better if conscientiousness is in column agreeableness, "
        "agreeableness is in column conscientiousness"
    ]
