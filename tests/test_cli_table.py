"""``thinslice table``: a table's variants are run once and shown beside the published figures."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")

import thinslice.systems  # noqa: E402
from media_files import voice_like, write_media  # noqa: E402
from thinslice.cli import COMMANDS  # noqa: E402
from thinslice.cli.run_table import TableJob, telling_rows  # noqa: E402
from thinslice.cli.table import table  # noqa: E402
from thinslice.cli.table_rows import average_seeds, compare, measure, show  # noqa: E402
from thinslice.cli.train import train  # noqa: E402
from thinslice.errors import ThinsliceError, UsageError  # noqa: E402
from thinslice.evaluate.panel import Resampling, compare_rows  # noqa: E402
from thinslice.systems import build_recipe, find_builder  # noqa: E402
from thinslice.traits import TARGETS, TRAITS  # noqa: E402


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = ["clip,path,split,speaker," + ",".join(TARGETS)]
    for i, split in enumerate(("train",) * 5 + ("test",) * 3):
        write_media(tmp_path / f"{i}.mp4", [voice_like(1.2, 16_000, i)], rate_hz=16_000)
        labels = np.random.default_rng(i).uniform(0.2, 0.8, len(TARGETS)).round(4)
        rows.append(f"{i}.mp4,{i}.mp4,{split},s{i}," + ",".join(map(str, labels)))
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clips.csv"


def test_runs_a_variant_and_prints_it_beside_the_published(manifest: Path, tmp_path: Path) -> None:
    assert COMMANDS["table"] == "thinslice.cli.table:table"
    runs = tmp_path / "runs"
    command = ["cr_net", "3", "--small", "--only", "audio", "--data", str(manifest), "--out", str(runs)]
    command += ["--device", "cpu", "--max-steps", "1"]
    result = CliRunner().invoke(table, [*command, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["data"] == {"manifest": "clips.csv", "split": "test", "num_clips": 3, "num_speakers": 3}
    (row,) = document["rows"]
    assert (row["variant"], row["published_name"]) == ("audio", "audio")
    assert row["accuracy"]["published"]["average"] == 0.8959
    scores = json.loads((runs / "small_audio" / "scores.json").read_text())["splits"]["test"]
    assert row["r2"]["measured"]["openness"] == pytest.approx(scores["r2_openness"], rel=1e-3)
    before = (runs / "small_audio" / "history.csv").read_bytes()
    again = CliRunner().invoke(table, command, catch_exceptions=False)
    assert (runs / "small_audio" / "history.csv").read_bytes() == before  # Not run a second time.
    published = next(line for line in again.stdout.splitlines() if "accuracy, published" in line)
    assert published.split()[:4] == ["audio", "accuracy,", "published", "0.8996"]
    assert f"{row['accuracy']['measured']['average']:.4f}" in again.stdout
    assert "3 test clips of clips.csv, the recipe's small size, trial of 1 step a stage" in again.stdout


def test_rows_by_hand() -> None:
    accuracies = {trait: 0.8 + 0.01 * k for k, trait in enumerate(TRAITS)}
    entry = {"accuracy": {**accuracies, "average": 0.82}, "r2": {"openness": 0.25}, "mse": {"openness": 0.1}}
    rows = compare("cr_net", {"face": "face"}, {"face": entry})
    assert rows[0]["accuracy"]["published"]["interview"] == 0.9177
    assert rows[0]["r2"] == {"measured": {"openness": 0.25}, "published": {}}
    assert "mse" not in rows[0]  # The paper prints none.
    data = {"manifest": "m.csv", "split": "test", "num_clips": 9, "num_speakers": 50}
    shown = show({"system": "cr_net", "table": "3", "is_small": False, "max_steps": None, "data": data, "rows": rows})
    assert [line[:3] for line in shown.rows] == [
        ("face", "accuracy, published", "0.9125"),
        ("", "accuracy, measured", "0.8000"),
        ("", "R², measured", "0.2500"),
    ]
    assert shown.rows[2][3:] == ("–",) * 6


def test_scores_by_hand() -> None:
    labels = np.array([[0.1, 0.5], [0.5, 0.5], [0.9, np.nan]])
    predicted = np.array([[0.2, 0.5], [0.5, 0.6], [0.6, 0.5]])
    training = np.array([[0.3, 0.4], [0.7, 0.6]])  # Extremes: below 0.3, from 0.7; below 0.4, from 0.6.
    found = measure(labels, predicted, training, ("openness", "extraversion"))
    accuracies, errors = (1 - 0.4 / 3, 0.95), (0.1 / 3, 0.005)
    for metric, (openness, extraversion) in (("accuracy", accuracies), ("mse", errors)):
        assert found[metric] == {
            "openness": pytest.approx(openness),
            "extraversion": pytest.approx(extraversion),
            "average": pytest.approx((openness + extraversion) / 2),
        }
    assert found["accuracy_low_extreme"] == {"openness": pytest.approx(0.9)}
    assert found["accuracy_high_extreme"] == {"openness": pytest.approx(0.7)}
    every = measure(np.tile(labels[:, :1], 5), np.tile(predicted[:, :1], 5), np.tile(training[:, :1], 5), TRAITS)
    assert every["mse"]["average"] == pytest.approx(0.1 / 3)


def test_the_papers_other_scores_get_lines_and_columns() -> None:
    names = build_recipe("persemon").tables["5"]
    joint = {"accuracy": {"openness": 0.9}, "mse": {"openness": 0.02, "arousal_valence": 0.05}}
    rows = compare("persemon", names, {"joint": joint, "emotion": {"mse": {"arousal_valence": 0.06}}})
    assert rows[0]["mse"]["published"] == {"average": 0.027, "arousal_valence": 0.071}
    data = {"manifest": "m.csv", "split": "test", "num_clips": 9, "num_speakers": 50}
    shown = show({"system": "persemon", "table": "5", "is_small": True, "max_steps": 2, "data": data, "rows": rows})
    assert shown.header[-1] == "arousal+valence"
    assert [(line[0], line[1], line[-2], line[-1]) for line in shown.rows] == [
        ("joint", "accuracy, measured", "–", "–"),
        ("", "MSE, published", "0.0270", "0.0710"),
        ("", "MSE, measured", "–", "0.0500"),
        ("emotion", "MSE, published", "–", "0.0960"),
        ("", "MSE, measured", "–", "0.0600"),
    ]
    extremes = compare("cross_modal", build_recipe("cross_modal").tables["2"], {"cross-modal": {}})
    assert extremes[0]["accuracy_low_extreme"]["published"]["extraversion"] == 0.8841


def test_wrong_names_are_said(manifest: Path, tmp_path: Path) -> None:
    places = ["--data", str(manifest), "--out", str(tmp_path / "runs")]
    for arguments, message in (
        (["cr_net", "9"], "cr_net has no table 9; there are 1, 3, 4, 5, 6, 7"),
        (["cr_net", "3", "--only", "nose"], "table 3 has no variant nose"),
        (["nobody", "3"], "no recipe 'nobody'"),
        (["cr_net"], "which table of cr_net? There are 1, 3, 4, 5, 6, 7, readings, all"),
        (["cr_net", "all", "--only", "face"], "--only is for one table"),
        (["all", "--set", "epochs=2"], "table all runs every system"),
    ):
        assert message in str(CliRunner().invoke(table, [*arguments, *places]).exception)


def test_a_table_that_a_recipe_lacks_is_said(manifest: Path, tmp_path: Path) -> None:
    command = ["bimodal", "1", "--data", str(manifest), "--out", str(tmp_path / "runs")]
    with pytest.raises(UsageError, match="bimodal has no table 1; there are readings, and all"):
        CliRunner().invoke(table, command, catch_exceptions=False)


def test_where_every_clip_fails_the_first_reason_is_said(manifest: Path, tmp_path: Path) -> None:
    command = ["cr_net", "3", "--small", "--only", "scene", "--data", str(manifest), "--out", str(tmp_path / "runs")]
    with pytest.raises(UsageError, match=r"no clip has all its features: .*0\.mp4: .*failures\.csv"):
        CliRunner().invoke(table, command, catch_exceptions=False)


OWN = """
from dataclasses import asdict, dataclass
from functools import partial
import torch
from thinslice.features.spec import FeatureSpec
from thinslice.layers.losses import mean_absolute_error
from thinslice.train.recipe import Recipe, Stage, Update
from thinslice.traits import TRAITS

class Network(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body, self.head = torch.nn.Linear(26, width), torch.nn.Linear(width, 5)
    def forward(self, voice):
        return torch.sigmoid(self.head(torch.tanh(self.body(voice.float() / 100))))

def sample(clip, mode, rng):
    return {"voice": clip.read("voice")}

def loss(model, batch):
    return mean_absolute_error(model(**batch["inputs"]), batch["labels"])

@dataclass(frozen=True)
class Sizes:
    width: int = 4
    epochs: int = 4

def recipe(variant="long", **sizes):
    chosen = Sizes(**sizes)
    name = variant.removeprefix("small_")
    update = partial(Update, loss=loss, optimiser=partial(torch.optim.Adam, lr=1e-2))
    common = {"batch_size": 4, "epochs": chosen.epochs, "keep": "last"}
    stages = [Stage(name="body", updates=(update(),), checkpoints={"half": chosen.epochs // 2}, **common)]
    if name == "twice":
        stages.append(Stage(name="head", updates=(update(trains=("head",)),), **common))
    return Recipe(name="own", arguments={"variant": variant, **asdict(chosen)}, hyperparameters=chosen,
        variants=("long", "twice", "small_long", "small_twice"), paper="none",
        inputs={"voice": "voice"}, outputs=TRAITS, features={"voice": FeatureSpec(extractor="voice_profile")},
        sample=sample, build_model=partial(Network, chosen.width), stages=tuple(stages),
        tables={"1": {"long": "Long", "long@half": "Half", "twice": "Twice"}, "2": {"twice": "Twice"}})
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / f"{tmp_path.name}.py"  # A module's name is taken once.
    path.write_text(OWN)
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(table, [*map(str, arguments), "--device", "cpu"], catch_exceptions=False)


def test_a_recipe_without_tables_is_said(manifest: Path, own: Path, tmp_path: Path) -> None:
    own.write_text(OWN[: OWN.rindex("tables=")] + "tables={})\n")
    with pytest.raises(UsageError, match="has no tables to run"):
        run(own, "1", "--data", manifest, "--out", tmp_path / "runs")


def test_rows_share_stages_and_have_paired_differences(manifest: Path, own: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = (own, "1", "--data", manifest, "--out", runs, "--seeds", 2, "--set", "width=3")
    document = json.loads(run(*command, "--json").stdout)
    assert document["seeds"] == [0, 1]
    assert {path.name for path in runs.iterdir()} == {"long", "long.seed1", "twice", "twice.seed1", "shared_stages"}
    assert len(list((runs / "shared_stages").glob("[!.]*"))) == 4  # Of each seed the body, and the second row's head.
    assert json.loads((runs / "twice" / "stages" / "body" / "done.json").read_text())["taken"]
    assert json.loads((runs / "long" / "run.json").read_text())["arguments"]["width"] == 3
    first, half, twice = document["rows"]
    assert "differences" not in first
    scores = [
        json.loads((runs / name / "scores.json").read_text())["splits"]["test"] for name in ("long", "long.seed1")
    ]
    both = [np.mean([entry[f"accuracy_{trait}"] for trait in TRAITS]) for entry in scores]
    assert first["accuracy"]["measured"]["average"] == pytest.approx(np.mean(both), rel=1e-4)
    assert first["spread"]["accuracy"]["average"] == pytest.approx(np.std(both, ddof=1), rel=1e-2)
    for row in (half, twice):
        found = row["differences"]["accuracy"]["average"]
        expected = row["accuracy"]["measured"]["average"] - first["accuracy"]["measured"]["average"]
        assert found["difference"] == pytest.approx(expected, abs=1e-6)
        assert found["ci95"][0] <= found["difference"] <= found["ci95"][1]
    assert half["differences"]["accuracy"]["average"]["difference"] != 0  # Other weights than the end's.
    before = (runs / "long" / "steps.csv").read_bytes()
    shown = run(*command).stdout
    assert (runs / "long" / "steps.csv").read_bytes() == before
    assert "mean and standard deviation of 2 seeds" in shown
    assert "less long" in shown
    assert "only 3 speakers such intervals are too narrow" in shown
    measured, spread = (set(re.findall(rf"  (\S+(?: \S+)*), {kind} ", shown)) for kind in ("measured", "spread"))
    assert {"accuracy", "R²"} == spread <= measured
    assert "Published" not in shown  # Nobody published figures of this system.


def test_checkpoint_is_the_weights_of_its_epoch(manifest: Path, own: Path, tmp_path: Path) -> None:
    """The row at half of four epochs is the end of a training that has two."""
    rows = json.loads(
        run(own, "1", "--only", "long@half", "--data", manifest, "--out", tmp_path / "a", "--json").stdout
    )
    ends = run(own, "1", "--only", "long", "--set", "epochs=2", "--data", manifest, "--out", tmp_path / "b", "--json")
    (half,), (end,) = rows["rows"], json.loads(ends.stdout)["rows"]
    assert half["accuracy"]["measured"] == end["accuracy"]["measured"]


def test_all_tables_of_all_systems(manifest: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = find_builder(str(own))

    def fail(variant: str = "long", **sizes: Any) -> Any:
        needed = replace(build(variant=variant, **sizes), companions={"emotion": None})
        stage = replace(needed.stages[0], companions=("emotion",))
        return replace(needed, stages=(stage,))

    monkeypatch.setattr(thinslice.systems, "RECIPES", {"mine": build, "lacking": fail})
    result = run("all", "--data", manifest, "--out", tmp_path / "runs", "--max-steps", 1)
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in result.stdout.splitlines() if ", table" in line] == [
        "mine, table 1", "mine, table 1", "mine, table 2",
    ]  # fmt: skip
    assert "failed: lacking 1: own learns from emotion too: give --companion emotion=MANIFEST" in result.stderr
    assert "2 of 4 tables could not be run" in result.stderr
    assert {path.name for path in (tmp_path / "runs" / "mine").iterdir()} >= {"small_long", "small_twice"}


def test_readings_that_change_nothing_are_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the full size reads as printed the small one may read otherwise; --set may make a row another's equal."""
    names = tuple(build_recipe("cross_modal").tables["readings"])
    job = TableJob(data=tmp_path, out=tmp_path, shared=tmp_path, store=tmp_path)
    full = telling_rows(job, "cross_modal", "readings", names)
    assert set(names) - set(full) == {"reading_hsv", "reading_whole_schedules"}
    assert "reading_hsv: here the same as cross-modal, left out" in capsys.readouterr().err
    small = telling_rows(replace(job, is_small=True), "cross_modal", "readings", names)
    assert set(names) - set(small) == {"reading_yiq", "reading_stops_early"}
    own = telling_rows(replace(job, changes=("colours=yiq",)), "cross_modal", "readings", names)
    assert "reading_yiq" not in own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "persemon learns from emotion too: give --companion emotion=MANIFEST"),
        (("--companion", "mood=m.csv", "--companion", "emotion=clips.csv"), "persemon has no companion 'mood'; it has"),
        (("--companion", "emotion=absent.csv"), "absent.csv"),
        (("--companion", "emotion=clips.csv", "--device", "cuda"), "torch finds no CUDA device here"),
        (("--companion", "emotion=clips.csv", "--out", "."), "is there already and is not a run"),
    ],
)
def test_what_can_be_told_at_once_is_told_before_features_are_extracted(
    options: tuple[str, ...], message: str, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(manifest.parent)
    command = ["persemon", "--variant", "small_joint", "--data", "clips.csv", "--out", "run", *options]
    with pytest.raises(ThinsliceError, match=re.escape(message)):
        CliRunner().invoke(train, command, catch_exceptions=False)
    assert not (manifest.parent / "features").exists()


def test_intervals_of_differences_by_hand() -> None:
    rng = np.random.default_rng(0)
    labels = rng.uniform(0.2, 0.8, (40, 6))
    near, far = labels + 0.01, labels + 0.05
    speakers = [f"s{i // 4}" for i in range(40)]
    found = compare_rows(labels, np.stack([near, far]), far[None], speakers, Resampling(200))["accuracy"]["openness"]
    assert found.difference == pytest.approx(0.02)  # Means of 0.99 and 0.95, less 0.95.
    assert found.ci95 == pytest.approx((0.02, 0.02))
    same = compare_rows(labels, near[None], near[None], speakers, Resampling(200))["accuracy"]["average"]
    assert (same.difference, same.p) == (0.0, 1.0)


def test_scores_of_seeds_by_hand() -> None:
    means, spread = average_seeds([{"accuracy": {"openness": 0.8}}, {"accuracy": {"openness": 0.9}}])
    assert means == {"accuracy": {"openness": pytest.approx(0.85)}}
    assert spread == {"accuracy": {"openness": pytest.approx(0.05 * 2**0.5)}}
    assert average_seeds([{"accuracy": {"openness": 0.8}}])[1] == {}


def test_deep_impressions_tables_are_the_papers() -> None:
    recipe = build_recipe("deep_impression")
    assert recipe.stages[0].checkpoints == {"third": 300, "two_thirds": 600}
    rows = compare("deep_impression", recipe.tables["1"], {"dnn@third": {}, "dnn": {}}, recipe.table_splits["1"])
    assert rows[0]["accuracy"]["published"]["openness"] == 0.905451
    assert rows[1]["accuracy"]["published"]["openness"] == 0.911983  # On validation, not on test.
    test = compare("deep_impression", recipe.tables["2"], {"dnn": {}})
    assert test[0]["accuracy"]["published"]["openness"] == 0.91108539
    for rows in recipe.tables.values():
        for row in rows:
            assert f"small_{row.partition('@')[0]}" in recipe.variants
