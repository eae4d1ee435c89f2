"""Training clips that count by their weight: the column, the draws, and what a network learns from them."""

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from thinslice.cli import cli
from thinslice.data.balance import balance
from thinslice.data.manifest import Manifest, load_manifest, save_manifest
from thinslice.errors import ManifestError, UsageError
from thinslice.features.store import FeatureStore

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from thinslice.train.data import (  # noqa: E402
    ArrayReader,
    Batches,
    ClipData,
    RunData,
)
from thinslice.train.inputs import _weights, load_run_data  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import Update  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from toy_recipe import adam, mae_loss, toy_recipe, toy_stage  # noqa: E402


def _manifest(**more: tuple[str, ...]) -> Manifest:
    """Ten training clips, 6 of a, 3 of b, one of nobody knows, and two of b for testing."""
    return Manifest(
        clips=tuple(f"c{i}" for i in range(12)),
        paths=("",) * 12,
        splits=("train",) * 10 + ("test",) * 2,
        speakers=tuple(f"s{i}" for i in range(12)),
        columns={"gender": ("a",) * 6 + ("b",) * 3 + ("",) + ("b",) * 2, **more},
    )


def test_each_group_weighs_the_same() -> None:
    made = balance(_manifest(), ["gender"])
    weights = [float(cell) if cell else None for cell in made.columns["weight"]]
    assert weights == [0.75] * 6 + [1.5] * 3 + [1.0] + [None] * 2
    assert balance(_manifest(), ["gender"], most=1.2).columns["weight"][6] == "1.2"
    ages = ("old",) * 3 + ("young",) * 9
    crossed = balance(_manifest(age_group=ages), ["gender", "age_group"])
    assert [float(cell) for cell in crossed.columns["weight"][:10]] == [1.0] * 9 + [1.0]
    assert made.digest != _manifest().digest
    with pytest.raises(ManifestError, match="no column shoe"):
        balance(_manifest(), ["shoe"])
    with pytest.raises(ManifestError, match="no split dev"):
        balance(_manifest(), ["gender"], "dev")
    with pytest.raises(UsageError, match="age_group: nothing known of any train clip"):
        balance(_manifest(age_group=("",) * 12), ["age_group"])


def test_the_command(tmp_path: Path) -> None:
    save_manifest(_manifest(), tmp_path / "fi.csv")
    arguments = ["data", "balance", str(tmp_path / "fi.csv"), "--by", "gender", "--out", str(tmp_path / "out.csv")]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "a: 6 clips, weight 0.75",
        "b: 3 clips, weight 1.5",
        "unknown: 1 clip, weight 1",
    ]
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["weight"] for row in csv.DictReader(file)] == ["0.75"] * 6 + ["1.5"] * 3 + ["1"] + [""] * 2
    assert load_manifest(tmp_path / "out.csv").warnings == ()


def test_an_epoch_draws_clips_as_often_as_they_weigh() -> None:
    weights = np.array([0.0, 0.5, 1.0, 2.5, 4.0] * 6)
    expected = weights / weights.sum() * 30

    def drawn(epoch: int, **division: int) -> np.ndarray:
        division = {"rank": 0, "num_processes": 1, "num_accumulated": 1} | division
        plans = Batches(30, 8, 0, "s", epoch=epoch, weights=weights, **division)
        return np.bincount([row for plan in plans for row in plan.rows], minlength=30)

    total = np.zeros(30)
    for epoch in range(200):
        counts = drawn(epoch)
        assert counts.sum() == 30
        assert (np.floor(expected) <= counts).all()
        assert (counts <= np.ceil(expected)).all()
        total += counts
    assert total / 200 == pytest.approx(expected, abs=0.12)
    assert (drawn(3) == drawn(3)).all()
    halves = [drawn(3, rank=rank, num_processes=2) for rank in range(2)]
    assert (sum(halves) == drawn(3)).all()


def test_the_manifests_weights_reach_the_training_clips(tmp_path: Path) -> None:
    recipe, store, rows = toy_recipe(), FeatureStore(tmp_path / "store"), []
    for i, weight in enumerate(("2", "", "0.5")):
        media = tmp_path / f"c{i}.mp4"
        media.write_bytes(bytes([i]))
        digest = hashlib.sha256(media.read_bytes()).hexdigest()
        for spec in recipe.features.values():
            store.write(digest, spec, np.ones(6, np.float32))
        store.remember(f"c{i}", media, digest)
        rows.append({"clip": f"c{i}", "path": media.name, "split": "train", "speaker": "s", "weight": weight})
    with (tmp_path / "fi.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *TRAITS])
        writer.writeheader()
        writer.writerows(row | dict.fromkeys(TRAITS, "0.5") for row in rows)
    data, _ = load_run_data(recipe, tmp_path / "fi.csv", tmp_path / "store", extract_missing=False)
    assert data.splits["train"].weights == pytest.approx([2.0, 1.0, 0.5])


def test_equal_weights_draw_every_clip_once() -> None:
    plans = Batches(29, 8, 0, "s", weights=np.full(29, 0.7))
    assert sorted(row for plan in plans for row in plan.rows) == list(range(29))


def test_weights_come_from_the_manifest() -> None:
    cells = ("2", "", "0.5") + ("",) * 9
    assert _weights(_manifest(weight=cells), [2, 0, 1]) == pytest.approx([0.5, 2.0, 1.0])
    assert _weights(_manifest(weight=("",) * 12), [0, 1]) is None
    assert _weights(_manifest(), [0, 1]) is None
    with pytest.raises(ManifestError, match="weight is -1, outside"):
        _manifest(weight=("-1",) * 12)


def _clips(weights: np.ndarray | None, count: int = 60) -> ClipData:
    """Clips that look alike: four fifths are labelled 0.3, one fifth 0.7."""
    names = tuple(f"c{i}" for i in range(count))
    labels = np.where(np.arange(count) % 5 == 0, 0.7, 0.3)[:, None].repeat(5, axis=1)
    arrays = {name: {"x": np.ones(6, np.float32)} for name in names}
    return ClipData(names, labels, TRAITS, ArrayReader(arrays), weights)


TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")


def _prediction(folder: Any) -> float:
    with (folder.path / "predictions_validation.csv").open(newline="") as file:
        return float(np.mean([float(row["openness"]) for row in csv.DictReader(file)]))


def test_a_network_learns_what_the_weights_say(tmp_path: Path) -> None:
    # Of absolute errors the median is best: the many's label, until the few weigh more than they.
    stage = toy_stage(updates=(Update(loss=mae_loss, optimiser=lambda p: adam(p, lr=0.02)),), epochs=12)
    settings = LoopSettings(device="cpu", tensorboard=False)
    few = np.arange(60) % 5 == 0
    for name, weights, expected in (("plain", None, 0.3), ("few", np.where(few, 16.0, 1.0), 0.7)):
        data = RunData(splits={"train": _clips(weights), "validation": _clips(None, 10)})
        run = train(toy_recipe(stage, dropout=0.0), data, tmp_path / name, settings)
        assert _prediction(run) == pytest.approx(expected, abs=0.05), name


def test_weights_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="every training clip has weight 0"):
        train(
            toy_recipe(), RunData(splits={"train": _clips(np.zeros(60))}), tmp_path / "run", LoopSettings(device="cpu")
        )


def test_a_selection_keeps_its_weights() -> None:
    clips = _clips(np.arange(60.0))
    assert clips.select([5, 3]).weights == pytest.approx([5.0, 3.0])
    assert _clips(None).select([5, 3]).weights is None


@pytest.mark.parametrize("most", ["nan", "inf"])
def test_a_largest_weight_that_is_no_number_is_refused(most: str, tmp_path: Path) -> None:
    call = ["data", "balance", "m.csv", "--by", "age", "--out", str(tmp_path / "o.csv"), "--most", most]
    answer = CliRunner().invoke(cli, call)
    assert answer.exit_code == 2
    assert "not a finite number" in answer.output


def test_cells_with_blanks_around_them_are_the_same_group(tmp_path: Path) -> None:
    rows = [f"c{i},,train,s{i},{cell}" for i, cell in enumerate(("old", " old", "young ", "young", "not known", " "))]
    (tmp_path / "m.csv").write_text("\n".join(["clip,path,split,speaker,age", *rows, ""]), "utf-8")
    call = ["data", "balance", str(tmp_path / "m.csv"), "--by", "age", "--out", str(tmp_path / "o.csv")]
    answer = CliRunner().invoke(cli, call)
    assert answer.exit_code == 0, answer.output
    assert "old: 2 clips" in answer.output
    assert "young: 2 clips" in answer.output


@pytest.mark.parametrize(
    "call",
    [
        ["data", "balance", "m.csv", "--by", "age,gender, age", "--out", "o.csv"],
        ["data", "resplit", "m.csv", "--out", "o.csv", "--only", "age,age"],
        ["data", "resplit", "m.csv", "--out", "o.csv", "--shares", "age=3,age=1"],
        ["data", "import-folder", "clips", "--out", "o.csv", "--ratings", "m.csv", "--reverse", "age,age"],
        ["calibrate", "m.csv", "--labels", "m.csv", "--by", "age,age", "--out", "o.csv"],
        ["evaluate", "m.csv", "--labels", "m.csv", "--group-by", "age,age"],
    ],
    ids=lambda call: " ".join(call[:2]),
)
def test_a_name_that_stands_twice_in_a_list_is_refused(
    call: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    Path("m.csv").write_text("clip,path,split,speaker,age,gender\na,,train,s,old,f\nb,,train,t,young,m\n", "utf-8")
    answer = CliRunner().invoke(cli, call)
    assert answer.exit_code != 0
    assert "age is named twice" in f"{answer.output} {answer.exception}"
    assert not Path("o.csv").exists()
