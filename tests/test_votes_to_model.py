"""From simulated raters of known noise over votes and scores to a trained and evaluated model."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("lightning")

from media_files import voice_like, write_media
from thinslice.cli import cli
from thinslice.data.manifest import Manifest, load_manifest, save_manifest
from thinslice.rate.answers import FILE, open_answers
from thinslice.rate.export import export
from thinslice.rate.questions import open_study
from thinslice.rate.session import Session
from thinslice.traits import TRAITS

NUM_TRAIN, NUM_TEST = 40, 12
PAGE = Path(__file__).resolve().parents[1] / "docs" / "your-own-system.md"


def call(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def clips(tmp_path: Path) -> tuple[Manifest, dict[str, float]]:
    """Voices under more or less hiss, one of each speaker, and how strongly raters choose each."""
    names = tuple(f"{number}.mp4" for number in range(NUM_TRAIN + NUM_TEST))
    strengths = np.random.default_rng(0).permutation(np.linspace(-3, 3, len(names)))
    rng = np.random.default_rng(1)
    for number, (name, strength) in enumerate(zip(names, strengths, strict=True)):
        voice = voice_like(1.2, 16_000, number)
        hiss = 0.01 * np.exp(strength / 2) * rng.normal(size=voice.shape)
        write_media(tmp_path / name, [(voice + hiss).astype(np.float32)], rate_hz=16_000)
    splits = ("train",) * NUM_TRAIN + ("test",) * NUM_TEST
    save_manifest(Manifest(names, names, splits, names, folder=tmp_path), tmp_path / "clips.csv")
    return load_manifest(tmp_path / "clips.csv"), dict(zip(names, strengths.tolist(), strict=True))


def collect(manifest: Manifest, strengths: dict[str, float], out: Path) -> None:
    """Let twelve raters answer as Bradley and Terry's law says, and export what they answered."""
    rng = np.random.default_rng(2)
    study = open_study("first-impressions", out)
    sides = [-1.0 if question.reversed else 1.0 for question in study.questions]
    with open_answers(out / FILE) as file:
        running = Session(study, manifest.clips, file, b"s" * 32)
        for rater in "abcdefghijkl":
            if not running.consented(rater):
                running.consent(rater)
            for _ in range(80):
                task = running.next(rater)
                if task is None:
                    break
                left, right = (strengths[clip] for clip in task.clips)
                chances = [1 / (1 + np.exp(-side * (left - right))) for side in sides]
                answers = [1.0 if rng.random() < chance else -1.0 for chance in chances]
                if task.check.startswith("told"):
                    answers = [1.0 if task.check == "told:left" else -1.0] * len(sides)
                running.answer(rater, task.token, answers, 9.0, (8.0, 8.0))
        export(file.entries, study, manifest, out)


def test_the_whole_way(clips: tuple[Manifest, dict[str, float]], tmp_path: Path) -> None:
    manifest, strengths = clips
    study, run = tmp_path / "study", tmp_path / "run"
    study.mkdir()
    collect(manifest, strengths, study)
    call("votes", study / "votes.csv", "--clips", tmp_path / "clips.csv", "--out", tmp_path / "scores.csv")

    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    own = tmp_path / f"own_{tmp_path.name.replace('-', '_')}.py"
    own.write_text(code)
    call("train", own, "--data", tmp_path / "scores.csv", "--out", run, "--device", "cpu")
    call("export", run, "--out", tmp_path / "bundle")
    tests = [tmp_path / clip for clip, split in zip(manifest.clips, manifest.splits, strict=True) if split == "test"]
    call("predict", *tests, "--bundle", tmp_path / "bundle", "--out", tmp_path / "out")

    predictions = tmp_path / "out" / "predictions.csv"
    labels = ("--labels", tmp_path / "scores.csv", "--split", "test", "--train", tmp_path / "scores.csv")
    scores = json.loads(
        call("evaluate", predictions, *labels, "--train-split", "train", "--votes", study / "votes.csv", "--json")
    )
    unseen = scores["protocols"]["unseen_speakers"]
    assert unseen["num_clips"] == NUM_TEST
    assert unseen["r2"]["average"] > 0.3
    voted = scores["votes"]["average"]
    assert voted["agreement"] > 0.6
    assert voted["others"] > 0.55
    with predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth = [strengths[Path(row["clip"]).name] for row in rows]
    for trait in TRAITS:
        assert abs(np.corrcoef(truth, [float(row[trait]) for row in rows])[0, 1]) > 0.7
