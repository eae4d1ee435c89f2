"""thinslice adapt: a planted shift and scale are found, chance is no gain, and too few speakers are refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from command_line import run
from thinslice.bundle import LinearMap, load_bundle
from thinslice.errors import UsageError
from thinslice.evaluate.adaptation import MIN_SPEAKERS, Lines, fit_lines, judge
from thinslice.evaluate.metrics import r2
from thinslice.evaluate.panel import Resampling
from thinslice.features.typical_voices import REFERENCE
from thinslice.infer.adapted import write_adapted
from thinslice.infer.predictor import Predictor
from thinslice.traits import TARGETS, TRAITS

QUICK = Resampling(400)


def planted(num_speakers: int, shift: float, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return labels, scores and speakers of a population whose labels are shift + scale * score, with noise."""
    rng = np.random.default_rng(seed)
    speakers = [f"s{i}" for i in range(num_speakers) for _ in range(1 + i % 3)]
    scores = rng.uniform(0.3, 0.6, (len(speakers), 5))
    of_speaker = rng.normal(0, 0.03, (num_speakers, 5))[[int(name[1:]) for name in speakers]]
    labels = shift + scale * scores + of_speaker + rng.normal(0, 0.03, scores.shape)
    return np.clip(labels, 0, 1), scores, speakers


def test_a_planted_shift_and_scale_are_found() -> None:
    labels, scores, speakers = planted(60, -0.2, 1.6)
    lines = fit_lines(labels, scores, speakers)
    assert lines.intercept == pytest.approx(np.full(5, -0.2), abs=0.06)
    assert lines.slope == pytest.approx(np.full(5, 1.6), abs=0.13)
    verdict, crossed = judge(labels, scores, speakers, TRAITS, QUICK)
    assert verdict.is_sure
    assert np.isfinite(crossed).all()
    assert verdict.panels["adapted"]["r2"]["average"] > 0.8 > verdict.panels["as_it_is"]["r2"]["average"]
    assert "it helped" in verdict.sentences()[1]


def test_where_nothing_is_to_be_gained_nothing_is_claimed() -> None:
    claimed = 0
    for seed in range(8):
        labels, scores, speakers = planted(20, 0.0, 1.0, seed)
        verdict, _ = judge(labels, scores, speakers, TRAITS, QUICK)
        claimed += verdict.is_sure
        lines = fit_lines(labels, scores, speakers)
        assert lines.apply(scores) == pytest.approx(scores, abs=0.06)
    assert claimed <= 1


def test_scores_that_know_nothing_are_told_from_the_mean_of_the_ratings() -> None:
    rng = np.random.default_rng(2)
    speakers = [f"s{i}" for i in range(40)]
    verdict, _ = judge(rng.uniform(0, 1, (40, 5)), rng.uniform(0, 1, (40, 5)), speakers, TRAITS, QUICK)
    assert any("do not rely on it" in line for line in verdict.sentences())


def of_inputs(num_speakers: int, weights: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, dict, list[str]]:
    """Return labels, scores, shares and speakers where voice and words count `weights` times as much as in the scores.

    Every seventh clip has no voice.
    """
    labels, _, speakers = planted(num_speakers, 0.0, 1.0)
    rng = np.random.default_rng(1)
    voice, words = rng.normal(0, 0.08, (2, *labels.shape))
    voice[::7] = np.nan
    heard = np.nan_to_num(voice)
    noise = rng.normal(0, 0.02, labels.shape)
    rated = 0.55 + weights[0] * heard + weights[1] * words + noise
    return rated, 0.5 + heard + words, {"voice": voice, "words": words}, speakers


def test_inputs_that_count_differently_get_weights() -> None:
    labels, scores, shares, speakers = of_inputs(40, (1.5, 0.2))
    lines = fit_lines(labels, scores, speakers, shares=shares)
    assert lines.inputs["voice"].slope == pytest.approx(np.full(5, 0.5), abs=0.1)
    assert lines.inputs["words"].slope == pytest.approx(np.full(5, -0.8), abs=0.1)
    assert lines.apply(scores, shares) == pytest.approx(labels, abs=0.1)
    verdict, crossed = judge(labels, scores, speakers, TRAITS, QUICK, shares=shares)
    assert np.isfinite(crossed).all()
    alone = r2(labels, fit_lines(labels, scores, speakers).apply(scores)).mean()
    assert verdict.panels["adapted"]["r2"]["average"] > 0.9 > alone


def test_inputs_that_count_alike_get_a_shift_and_a_scale() -> None:
    labels, scores, shares, speakers = of_inputs(40, (1.3, 1.3))
    lines = fit_lines(labels, scores, speakers, shares=shares)
    assert lines.slope == pytest.approx(np.full(5, 1.3), abs=0.1)
    assert not lines.inputs


def test_too_few_speakers_are_refused() -> None:
    labels, scores, speakers = planted(MIN_SPEAKERS - 1, 0.1, 1.0)
    with pytest.raises(UsageError, match="9 speakers with a rated clip: too few"):
        judge(labels, scores, speakers, TRAITS, QUICK)
    labels, scores, speakers = planted(MIN_SPEAKERS, 0.2, 1.0)
    verdict, _ = judge(labels, scores, speakers, TRAITS, QUICK)
    assert "10 speakers: few; rate 30 or more" in verdict.sentences()[-1]


def test_a_clip_of_many_from_one_speaker_weighs_no_more() -> None:
    labels, scores, speakers = planted(30, 0.1, 1.0)
    times = np.repeat(np.arange(len(speakers)), [9 if name == "s0" else 1 for name in speakers])
    once = fit_lines(labels, scores, speakers)
    often = fit_lines(labels[times], scores[times], [speakers[i] for i in times])
    assert often.intercept == pytest.approx(once.intercept, abs=1e-9)


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Transcripts scored by voice-words as words alone, and ratings that are shifted and stretched from its scores."""
    predictor = Predictor("voice-words")
    rng = np.random.default_rng(0)
    words = ["hello", "great", "friend", "work", "money", "sad", "family", "trip", "school", "music", "angry", "love"]
    with (tmp_path / "rated.csv").open("w", newline="") as file, (tmp_path / "scores.csv").open("w", newline="") as out:
        manifest, scores = csv.writer(file), csv.writer(out)
        manifest.writerow(["clip", "path", "split", "speaker", "transcript", *TARGETS])
        scores.writerow(["clip", *TARGETS])
        for number in range(36):
            text = " ".join(rng.choice(words, 30))
            found = predictor.predict_inputs(f"c{number}", transcript=text, explain=False)
            row = np.array([found.traits[name].score for name in TARGETS])
            label = np.clip(0.2 + 0.8 * row + rng.normal(0, 0.01, 6), 0, 1)
            manifest.writerow([f"c{number}", "", "train", f"s{number // 2}", text, *label.round(5)])
            scores.writerow([f"c{number}", *row.round(6)])
    return tmp_path


def test_the_new_bundle_predicts_on_its_lines_with_new_intervals(rated: Path) -> None:
    given = ("--data", rated / "rated.csv", "--predictions", rated / "scores.csv", "--out", rated / "new")
    code, stdout, stderr = run("adapt", "voice-words", *given, "--json")
    assert code == 0, stderr
    said = json.loads(stdout)
    assert said["helped"]
    assert said["moved"]
    assert (said["num_clips"], said["num_speakers"]) == (36, 18)
    new, old = load_bundle(rated / "new"), load_bundle("voice-words")
    assert new.name == "voice-words-adapted"
    assert new.document.lines["openness"].intercept == pytest.approx(said["lines"]["openness"]["intercept"], abs=1e-5)
    assert "Adapted to rated.csv by a shift and a scale" in new.card.summary
    assert new.card.notes["adapted"]["says"] == said["says"]
    before, after = (
        Predictor(folder).predict_inputs("x", transcript="a great trip") for folder in (old.folder, new.folder)
    )
    for target in TARGETS:
        line = new.document.lines.get(target, LinearMap())
        assert after.traits[target].score == pytest.approx(line.intercept + line.slope * before.traits[target].score)
        assert (
            after.traits[target].high - after.traits[target].low
            < before.traits[target].high - before.traits[target].low
        )
        shares = sum(part[target] for part in after.explanation.inputs.values())
        assert after.explanation.baseline[target] + shares == pytest.approx(after.traits[target].score, abs=1e-6)


def test_few_speakers_write_nothing_and_lacking_scores_are_said(rated: Path) -> None:
    lines = (rated / "rated.csv").read_text().splitlines()
    (rated / "few.csv").write_text("\n".join(lines[:17]) + "\n")
    code, _, stderr = run("adapt", "voice-words", "--data", rated / "few.csv", "--out", rated / "none")
    assert code == 2
    assert "8 speakers with a rated clip: too few" in stderr
    assert not (rated / "none").exists()
    scores = (rated / "scores.csv").read_text().splitlines()
    (rated / "part.csv").write_text("\n".join(scores[:-2]) + "\n")
    given = ("--data", rated / "rated.csv", "--predictions", rated / "part.csv", "--out", rated / "part")
    code, _, stderr = run("adapt", "voice-words", *given)
    assert code == 1
    assert "left out, without a score: 2 rated clips, c34, c35" in stderr


def test_predictions_without_a_column_of_the_bundle_are_named(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("clip,openness\nc0,0.5\n", "utf-8")
    lines = [f"c{i},,train,s{i},0.5" for i in range(12)]
    (tmp_path / "rated.csv").write_text("\n".join(["clip,path,split,speaker,openness", *lines, ""]), "utf-8")
    given = ("--data", tmp_path / "rated.csv", "--predictions", tmp_path / "scores.csv", "--out", tmp_path / "new")
    code, _, stderr = run("adapt", "voice-words", *given)
    assert code == 2
    assert "scores.csv: no column conscientiousness" in stderr


def test_weights_of_inputs_in_a_bundle_twice_over(tmp_path: Path) -> None:
    """Scores, shares and a clip without words, of a bundle that was adapted and then adapted again."""
    labels, scores, _, speakers = of_inputs(40, (1.5, 0.2))
    six = [np.hstack([array, array[:, :1]]) for array in (labels, scores)]
    verdict, crossed = judge(six[0], six[1], speakers, TARGETS, QUICK)
    rng = np.random.default_rng(4)

    def drawn(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, 6).round(3)

    each = [
        Lines(drawn(-0.05, 0.05), drawn(0.8, 1.2), {"voice": Lines(drawn(-0.01, 0.01), drawn(-0.5, 0.5))}),
        Lines(
            drawn(-0.05, 0.05),
            drawn(0.8, 1.2),
            {name: Lines(drawn(-0.01, 0.01), drawn(-0.5, 0.5)) for name in ("voice", "words")},
        ),
    ]
    folder = "voice-words"
    for number, lines in enumerate(each):
        folder = write_adapted(
            load_bundle(folder), tmp_path / str(number), lines=lines, labels=six[0], residuals=six[0] - crossed,
            speakers=speakers, used=["voice+words"] * len(speakers), verdict=verdict, source="x.csv", digest="0",
        )  # fmt: skip
    assert "a weight of each input" in load_bundle(folder).card.summary
    with np.load(REFERENCE) as file:
        voice = file["mean"]
    for given in ({"voice_profile": voice, "transcript": "a great trip with friends"}, {"voice_profile": voice}):
        found = Predictor("voice-words").predict_inputs("x", **given)
        after = Predictor(str(folder)).predict_inputs("x", **given)
        for k, target in enumerate(TARGETS):
            score = found.traits[target].score
            parts = {name: share[target] for name, share in found.explanation.inputs.items()}
            for lines in each:
                added = {name: lines.inputs[name] for name in lines.inputs if name in parts}
                score = lines.intercept[k] + lines.slope[k] * score
                score += sum(line.intercept[k] + line.slope[k] * parts[name] for name, line in added.items())
                weight = {name: lines.slope[k] + (added[name].slope[k] if name in added else 0) for name in parts}
                parts = {name: weight[name] * value for name, value in parts.items()}
            assert after.traits[target].score == pytest.approx(score, abs=1e-5)
            assert {name: share[target] for name, share in after.explanation.inputs.items()} == pytest.approx(
                parts, abs=1e-5
            )
            total = after.explanation.baseline[target] + sum(parts.values())
            assert total == pytest.approx(score, abs=1e-5)
