"""The slides' tables by gender, age and emotion, and the histograms."""

import csv
from pathlib import Path

import numpy as np
import pytest

from thinslice.errors import UsageError
from thinslice.evaluate.attribute_figures import count_emotions, plot_ages, plot_emotions
from thinslice.evaluate.attribute_tables import age_ranges, build_attribute_tables
from thinslice.evaluate.figures import save_figure
from thinslice.evaluate.panel import Resampling
from thinslice.evaluate.predictions import PredictionFile
from thinslice.evaluate.scorecard import LabelledClips, build_scorecard
from thinslice.traits import TARGETS, TRAITS


def _cards() -> tuple[dict, LabelledClips]:
    rng = np.random.default_rng(0)
    n = 240
    labels = rng.normal(0.5, 0.1, (n, 6))
    columns = {
        "gender": ["male" if i // 2 % 2 else "female" for i in range(n)],
        "age": [str(17 + i % 40) for i in range(n)],
        "emotion": ["happy" if i % 3 else "anger" for i in range(n)],
    }
    columns["age_range"] = age_ranges(columns["age"])
    clips = LabelledClips([f"c{i}" for i in range(n)], [f"s{i // 2}" for i in range(n)], labels, columns)
    cards = {}
    for name, error in (("audio", 0.15), ("visual", 0.05)):
        wrong = error * rng.standard_normal((n, 6))
        wrong[:, 2] *= 0.1  # extraversion is easy
        nothing = np.full_like(labels, np.nan)
        file = PredictionFile(name, tuple(clips.clips), labels + wrong, nothing, nothing, TARGETS)
        by = ["gender", "age_range", "emotion"]
        cards[name] = build_scorecard(clips, file, group_by=by, resampling=Resampling(50, 0))[0]
    return cards, clips


def test_measured_stand_beside_published() -> None:
    cards, _ = _cards()
    overall, gender, age, emotion, places = build_attribute_tables(cards, "gender", "age_range", "emotion")
    assert [row[0] for row in overall.rows] == [
        *("audio", "visual", "published: audio", "published: visual", "published: audio+visual"),
        "published: audio+visual+attributes",
    ]
    assert overall.rows[-1][-2] == "0.9089"
    accuracy = cards["visual"].groups["gender"].groups["female"]["accuracy"]
    row = next(row for row in gender.rows if row[:2] == ("visual", "female"))
    assert row[3:8] == tuple(f"{accuracy[trait]:.4f}" for trait in TRAITS)
    printed = next(row for row in gender.rows if row[:2] == ("published: audio+visual+attributes", "female"))
    assert printed[3:9] == ("0.9063", "0.9155", "0.9125", "0.9079", "0.9046", "0.9093")
    assert [row[1].rstrip(" *") for row in age.rows][:5] == ["14-18", "19-24", "25-32", "33-45", "46-60"]
    assert "without numbers" in age.note
    first = emotion.rows[0]
    assert first[:2] == ("anger", "audio")
    assert first[5].startswith("extraversion 0.9")
    found = {row[0]: row for row in places.rows}
    assert found["happy"][1].startswith("extraversion")
    assert "(visual)" in found["happy"][1]
    assert found["happy"][2].endswith("(audio)")
    assert found["happy"][3].endswith("(visual)")
    assert places.header[3] == "worst without audio"
    assert "conscientiousness 0.9193 (audio+visual+attributes)" in found["published: happy"][1]
    assert found["published: anger"][3] == "agreeableness 0.9038 (visual)"


def test_one_system_without_emotions() -> None:
    cards, _ = _cards()
    tables = build_attribute_tables({"visual": cards["visual"]}, "gender", None, None)
    assert len(tables) == 2


def test_printed_emotions_are_those_of_the_slides(papers: Path) -> None:
    text = (papers / "audiovisual_attributes_slides.txt").read_text("utf-8")
    source = Path(__file__).resolve().parents[1] / "src" / "thinslice" / "published" / "published_emotions.csv"
    rows = list(csv.DictReader(source.open(newline="")))
    assert len(rows) == 28
    modalities = {"audio+visual+attributes": "Audio+Visual+handcrafted features"}
    for row in rows:
        name = row["emotion"].capitalize()
        line = next(line for line in text.splitlines() if line.startswith(name) and "<b>" in line)
        modality = modalities.get(row["variant"], row["variant"].title())
        assert f"({row['accuracy']} with {modality} modality)" in line, row
        assert f"<b>{row['trait'].capitalize()}</b> ({row['accuracy']}" in line, row


def test_ages_in_years_become_the_corpus_age_groups() -> None:
    years = ["6", "7", "13", "14", "18.5", "24", "25", "32", "45", "46", "60", "61", "", "99"]
    assert age_ranges(years) == [
        *("0-6", "7-13", "7-13", "14-18", "14-18", "19-24", "25-32", "25-32", "33-45", "46-60", "46-60", "61+", ""),
        "61+",
    ]
    assert age_ranges(["25-32", "", "61+"]) == ["25-32", "", "61+"]


def test_emotions_are_counted_by_confidence() -> None:
    counts, ranges = count_emotions(["happy", "happy", "anger", "", "fear"], ["0.95", "1", "0.2", "0.5", ""])
    assert ranges == ["0–0.2", "0.2–0.4", "0.4–0.6", "0.6–0.8", "0.8–1", "unknown"]
    assert counts["happy", "0.8–1"] == 2
    assert counts["anger", "0.2–0.4"] == 1
    assert counts["fear", "unknown"] == 1
    assert sum(counts.values()) == 4
    for wrong in ("1.2", "high", "-0.1"):
        with pytest.raises(UsageError, match="not a number from 0 to 1"):
            count_emotions(["happy"], [wrong])


def test_histograms_are_drawn(tmp_path: Path) -> None:
    _, clips = _cards()
    ages = plot_ages(["14-18", "19-24"], clips.columns["age_range"], clips.speakers)
    heights = [patch.get_height() for patch in ages.axes[0].patches]
    assert heights[:2] == [clips.columns["age_range"].count(name) for name in ("14-18", "19-24")]
    emotions = plot_emotions(clips.columns["emotion"], ["0.9"] * 240)
    assert sum(patch.get_height() for patch in emotions.axes[0].patches) == 240
    assert all(path.stat().st_size > 1000 for path in save_figure(ages, tmp_path / "ages"))
