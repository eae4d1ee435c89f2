"""``thinslice table``: a table's variants are run once and shown beside the published figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")

from media_files import voice_like, write_media  # noqa: E402
from thinslice.cli import COMMANDS  # noqa: E402
from thinslice.cli.table import compare, measure, show, table  # noqa: E402
from thinslice.errors import UsageError  # noqa: E402
from thinslice.systems import build_recipe  # noqa: E402
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
    assert document["data"] == {"manifest": "clips.csv", "split": "test", "num_clips": 3}
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
    assert "3 test clips of clips.csv, the recipe's small size, trial of 1 steps a stage" in again.stdout


def test_rows_by_hand() -> None:
    accuracies = {trait: 0.8 + 0.01 * k for k, trait in enumerate(TRAITS)}
    entry = {"accuracy": {**accuracies, "average": 0.82}, "r2": {"openness": 0.25}, "mse": {"openness": 0.1}}
    rows = compare("cr_net", {"face": "face"}, {"face": entry})
    assert rows[0]["accuracy"]["published"]["interview"] == 0.9177
    assert rows[0]["r2"] == {"measured": {"openness": 0.25}, "published": {}}
    assert "mse" not in rows[0]  # The paper prints none.
    data = {"manifest": "m.csv", "split": "test", "num_clips": 9}
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
    assert found["accuracy"] == {"openness": pytest.approx(1 - 0.4 / 3), "extraversion": pytest.approx(0.95)}
    assert found["mse"] == {"openness": pytest.approx(0.1 / 3), "extraversion": pytest.approx(0.005)}
    assert found["accuracy_low_extreme"] == {"openness": pytest.approx(0.9)}
    assert found["accuracy_high_extreme"] == {"openness": pytest.approx(0.7)}
    every = measure(np.tile(labels[:, :1], 5), np.tile(predicted[:, :1], 5), np.tile(training[:, :1], 5), TRAITS)
    assert every["mse"]["average"] == pytest.approx(0.1 / 3)


def test_the_papers_other_scores_get_lines_and_columns() -> None:
    names = build_recipe("persemon").tables["5"]
    joint = {"accuracy": {"openness": 0.9}, "mse": {"openness": 0.02, "arousal_valence": 0.05}}
    rows = compare("persemon", names, {"joint": joint, "emotion": {"mse": {"arousal_valence": 0.06}}})
    assert rows[0]["mse"]["published"] == {"average": 0.027, "arousal_valence": 0.071}
    data = {"manifest": "m.csv", "split": "test", "num_clips": 9}
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
    ):
        assert message in str(CliRunner().invoke(table, [*arguments, *places]).exception)


def test_a_recipe_without_tables_is_said(manifest: Path, tmp_path: Path) -> None:
    command = ["deep_impression", "1", "--data", str(manifest), "--out", str(tmp_path / "runs")]
    with pytest.raises(UsageError, match="deep_impression has no tables to run"):
        CliRunner().invoke(table, command, catch_exceptions=False)


def test_where_every_clip_fails_the_first_reason_is_said(manifest: Path, tmp_path: Path) -> None:
    command = ["cr_net", "3", "--small", "--only", "scene", "--data", str(manifest), "--out", str(tmp_path / "runs")]
    with pytest.raises(UsageError, match=r"no clip has all its features: .*0\.mp4: .*failures\.csv"):
        CliRunner().invoke(table, command, catch_exceptions=False)
