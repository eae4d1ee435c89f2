"""Targets of one's own, all the way: training, scores, bundles, predictions, report."""

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("lightning")

import golden_curves
from media_files import voice_like, write_media
from thinslice.bundle import load_bundle
from thinslice.cli import cli
from thinslice.cli.sizes import build_changed
from thinslice.errors import UsageError
from thinslice.infer.onnx_model import OnnxModel
from thinslice.systems import RECIPES
from thinslice.train.data import random_state
from thinslice.train.export import export_run
from thinslice.train.loop import train
from thinslice.train.settings import LoopSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "your-own-system.md"
OWN = ("warmth", "competence")


QUICK = ("bimodal lstm", "deep_impression five")
SYSTEMS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in golden_curves.SMALLEST]


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_learns_and_exports_other_targets(name: str, tmp_path: Path) -> None:
    variant, sizes = golden_curves.SMALLEST[name]
    recipe = RECIPES[name.split()[0]](variant=variant, **sizes, targets="warmth,competence,wit")
    assert recipe.outputs == ("warmth", "competence", "wit")
    data = golden_curves.plant_data(recipe)
    settings = LoopSettings(device="cpu", tensorboard=False, max_steps=1, score_splits=("validation",))
    run = train(recipe, data, tmp_path / "run", settings)
    with run.predictions("validation").open(newline="") as file:
        assert next(csv.reader(file)) == ["clip", "warmth", "competence", "wit"]
    clips = data.splits["validation"]
    samples = [recipe.sample(clips.reader(i), "test", random_state(0, i)) for i in range(2)]
    bundle = load_bundle(export_run(recipe, run, tmp_path / "bundle", samples).folder)
    assert bundle.outputs == recipe.outputs
    assert "Predicts warmth, competence, wit" in bundle.card.summary
    assert OnnxModel(bundle.folder).predict(samples[0]).shape == (3,)


@pytest.fixture
def own_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system of docs/your-own-system.md, in a file of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    file = tmp_path / f"own_targets_{tmp_path.name.replace('-', '_')}.py"
    file.write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return file


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eleven clips, rated 1 to 7 for warmth and competence, and brought to 0-1 as a user does."""
    rows = ["clip;speaker;split;Warmth;competence"]
    (tmp_path / "media").mkdir()
    for i, split in enumerate(("train",) * 5 + ("validation",) * 2 + ("test",) * 4):
        write_media(tmp_path / "media" / f"{i}.mp4", [voice_like(1.5, 16_000, i)], rate_hz=16_000)
        warmth, competence = np.random.default_rng(i).uniform(1, 7, 2).round(2)
        rows.append(f"{i};s{i};{split};{warmth};{competence}".replace(".", ","))
    (tmp_path / "ratings.csv").write_text("\n".join(rows) + "\n")
    ratings = ("--ratings", tmp_path / "ratings.csv", "--scale", "1:7", "--targets", "warmth,competence")
    call("data", "import-folder", tmp_path / "media", *ratings, "--out", tmp_path / "clips.csv")
    return tmp_path / "clips.csv"


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_from_ratings_to_a_report(own_system: Path, manifest: Path, tmp_path: Path) -> None:
    run, bundle, out = tmp_path / "run", tmp_path / "bundle", tmp_path / "out"
    training = ("--data", manifest, "--out", run, "--device", "cpu", "--max-steps", 1)
    call("train", own_system, "--targets", "warmth,competence", *training)
    call("export", run, "--out", bundle)
    assert load_bundle(bundle).outputs == OWN
    clips = [tmp_path / "media" / f"{i}.mp4" for i in range(2)]
    answer = json.loads(call("predict", *clips, "--bundle", bundle, "--out", out, "--json"))
    assert [list(row["traits"]) for row in answer] == [list(OWN)] * 2
    with (out / "predictions.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert header[:3] == ["clip", *OWN]
    assert {"warmth_low", "warmth_high", "competence_low", "competence_high"} <= set(header)
    page = (out / "report.html").read_text("utf-8")
    assert '<span class="trait">warmth</span>' in page
    assert not re.search(r"friendly|imaginative|openness", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    for text in (call("predict", clips[0], "--bundle", bundle), call("predict", *clips, *clips, "--bundle", bundle)):
        assert "warmth" in text or "warm." in text
        assert "friendly" not in text


def test_a_system_without_such_an_argument_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / f"fixed_{tmp_path.name.replace('-', '_')}.py"
    file.write_text("from toy_recipe import toy_recipe\n\n\ndef recipe(variant='toy'):\n    return toy_recipe()\n")
    with pytest.raises(UsageError, match="has no hyperparameter targets"):
        build_changed(str(file), None, (), "warmth")
    with pytest.raises(UsageError, match="--targets split: not the name"):
        build_changed(str(file), None, (), "split")
