"""``thinslice groups``, ``thinslice calibrate``, and ``thinslice evaluate --attributes``."""

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import run as _run
from thinslice.traits import TARGETS, TRAITS


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Made-up clips: fi.csv (validation and test), predictions of each that place women 0.05 too low, moods.csv."""
    rng = np.random.default_rng(0)
    rows, predictions, moods = [], {"validation": [], "test": []}, []
    for number in range(600):
        speaker = f"s{number // 2:03d}"
        gender = ["female", "male"][number // 2 % 2]
        labels = np.clip(rng.normal(0.5, 0.12, 6), 0, 1)
        split = "validation" if number < 400 else "test"
        clip = f"{speaker}.{number % 2:03d}.mp4"
        known = {"gender": gender if number % 50 else "", "age_group": str(15 + number % 30)}
        rows.append({"clip": clip, "path": "", "split": split, "speaker": speaker} | _named(labels) | known)
        scores = 0.5 + 0.4 * (labels - 0.5) + rng.normal(0, 0.04, 6) - 0.05 * (gender == "female")
        ends = {f"{name}_{end}": round(score + by, 4) for end, by in (("low", -0.1), ("high", 0.1))
                for name, score in _named(scores).items()}  # fmt: skip
        predictions[split].append({"clip": clip} | _named(scores) | ends)
        emotion = {"emotion": ["happy", "anger"][number % 2], "emotion_confidence": round(number / 600, 3)}
        moods.append({"clip": clip.removesuffix(".mp4")} | emotion | {"gender": "other"})
    _write(tmp_path / "fi.csv", rows)
    for split, found in predictions.items():
        _write(tmp_path / f"{split}.csv", found)
    _write(tmp_path / "moods.csv", moods)
    return tmp_path


def _named(values: np.ndarray) -> dict[str, float]:
    return dict(zip(TARGETS, values.round(4).tolist(), strict=True))


def _bias(path: Path, labels: Path, gender: str) -> float:
    truth = {row["clip"]: row for row in _rows(labels)}
    found = [(row, truth[row["clip"]]) for row in _rows(path) if truth[row["clip"]]["gender"] == gender]
    return float(np.mean([float(p[t]) - float(y[t]) for p, y in found for t in TRAITS]))


def test_calibrate_on_the_validation_clips(data: Path) -> None:
    labels, out = data / "fi.csv", data / "out.csv"
    arguments = ("calibrate", data / "test.csv", "--fit", data / "validation.csv", "--labels", labels, "--by", "gender")
    code, stdout, stderr = _run(*arguments, "--out", out)
    assert code == 0, stderr
    assert "female" in stdout
    assert "wrote 200 clips" in stderr
    assert _bias(data / "test.csv", labels, "female") < -0.04
    assert abs(_bias(out, labels, "female")) < 0.012
    assert abs(_bias(out, labels, "male")) < 0.012
    before, after = _rows(data / "test.csv"), _rows(out)
    assert [row["clip"] for row in after] == [row["clip"] for row in before]
    for row in after:
        assert float(row["openness_high"]) - float(row["openness_low"]) == pytest.approx(0.2, abs=3e-4)
    assert "own labels" not in stderr
    code, stdout, _ = _run(*arguments, "--out", out, "--json")
    fitted = json.loads(stdout)
    assert set(fitted) == {"intercept", "slope", "groups"}
    assert set(fitted["groups"]) == {"female", "male"}
    assert fitted["groups"]["female"]["shift"]["openness"] > fitted["groups"]["male"]["shift"]["openness"]


def test_calibrating_clips_by_their_own_labels_is_named(data: Path) -> None:
    test, out = data / "test.csv", data / "out.csv"
    arguments = ("--fit", test, "--labels", data / "fi.csv", "--by", "gender", "--out", out)
    code, _, stderr = _run("calibrate", test, *arguments)
    assert code == 0
    assert "200 clips are also in" in stderr


def test_calibrate_without_further_clips_and_compare(data: Path) -> None:
    labels, out = data / "fi.csv", data / "new" / "out.csv"
    code, _, stderr = _run("calibrate", data / "validation.csv", "--labels", labels, "--by", "gender", "--out", out)
    assert code == 0, stderr
    assert abs(_bias(out, labels, "female")) < 0.012
    compared = ("--compare", data / "validation.csv", "--labels", labels, "--split", "validation")
    code, stdout, _ = _run("evaluate", out, *compared, "--group-by", "gender", "--resamples", 100, "--json")
    assert code == 0
    found = json.loads(stdout)["comparison"]["groups"]["gender"]
    assert found["gap"]["bias"]["average"]["difference"] < -0.03
    assert found["groups"]["female"]["accuracy"]["average"]["difference"] > 0
    code, stdout, _ = _run("evaluate", out, *compared, "--group-by", "gender", "--resamples", 100)
    assert "gap between groups" in stdout
    assert "Share of the variance that gender explains" in stdout


def test_calibrate_says_what_it_cannot_use(data: Path) -> None:
    labels, out = data / "fi.csv", data / "out.csv"
    code, _, stderr = _run("calibrate", data / "test.csv", "--labels", labels, "--by", "shoe", "--out", out)
    assert code == 2
    assert "fi.csv: no column shoe; there are" in stderr
    code, _, stderr = _run("calibrate", data / "test.csv", "--labels", labels, "--by", " , ", "--out", out)
    assert code == 2
    assert "--by names no column" in stderr
    rows = _rows(data / "test.csv")
    _write(data / "more.csv", [*rows, rows[0] | {"clip": "stranger"}])
    code, _, stderr = _run("calibrate", data / "more.csv", "--labels", labels, "--by", "gender", "--out", out)
    assert code == 1
    assert "1 predicted clip" in stderr
    assert len(_rows(out)) == 200
    few = _write(data / "few.csv", rows[:4])
    code, _, stderr = _run("calibrate", few, "--labels", labels, "--by", "gender", "--out", out)
    assert code == 2
    assert "2 speakers cannot be divided into 5 folds" in stderr


def test_crossed_columns(data: Path) -> None:
    arguments = ("--labels", data / "fi.csv", "--by", "gender,age_group", "--out", data / "out.csv", "--json")
    code, stdout, stderr = _run("calibrate", data / "validation.csv", *arguments)
    assert code == 0, stderr
    names = set(json.loads(stdout)["groups"])
    assert len(names) == 8  # two genders, ages cut at their quartiles
    assert any(name.startswith("female [15, ") for name in names)


def test_attributes_are_joined_and_annotations_go_first(data: Path) -> None:
    arguments = ("--labels", data / "fi.csv", "--split", "test", "--attributes", data / "moods.csv")
    by = ("--group-by", "emotion,gender", "--resamples", 0, "--json")
    code, stdout, stderr = _run("evaluate", data / "test.csv", *arguments, *by)
    assert code == 0, stderr
    groups = json.loads(stdout)["groups"]
    assert {name: panel["num_clips"] for name, panel in groups["emotion"]["groups"].items()} == {
        "anger": 100,
        "happy": 100,
    }
    assert groups["gender"]["groups"]["other"]["num_clips"] == 4  # only where the manifest is blank
    assert "for other clips, not used: 400 rows" in stderr
    rows = _rows(data / "moods.csv")
    _write(data / "twice.csv", [rows[-1], rows[-1]])
    code, _, stderr = _run("evaluate", data / "test.csv", *arguments[:-1], data / "twice.csv", *by)
    assert code == 2
    assert "twice.csv, line 3: clip s299.001.mp4 is listed twice" in stderr


def test_groups_prints_the_tables_and_writes_them(data: Path) -> None:
    arguments = ("--labels", data / "fi.csv", "--split", "test", "--attributes", data / "moods.csv")
    out = data / "groups"
    code, stdout, stderr = _run("groups", f"voice={data / 'test.csv'}", *arguments, "--resamples", 50, "--out", out)
    assert code == 0, stderr
    for text in ("Accuracy by modality and gender", "published: audio+visual", "33-45", "published: happy", "anger"):
        assert text in stdout
    names = ["ages.png", "ages.svg", "emotions.png", "emotions.svg", "groups.json", "groups.md", "groups.tex"]
    assert sorted(path.name for path in out.iterdir()) == names
    found = json.loads((out / "groups.json").read_text())["voice"]
    assert found["num_clips"] == 200
    assert set(found["groups"]) == {"gender", "age_group", "emotion"}
    code, stdout, _ = _run("groups", f"voice={data / 'test.csv'}", *arguments, "--resamples", 50, "--json")
    assert json.loads(stdout)["voice"] == found


def test_groups_without_a_column_or_a_file(data: Path) -> None:
    labels = ("--labels", data / "fi.csv", "--split", "test", "--resamples", 0)
    code, stdout, stderr = _run("groups", data / "test.csv", *labels)
    assert code == 0
    assert "nothing in a column emotion; no table by emotion" in stderr
    assert "published: happy" not in stdout
    code, _, stderr = _run("groups", data / "test.csv", *labels, "--age", "x", "--gender", "y")
    assert code == 2
    assert "no column to group by" in stderr
    code, _, stderr = _run("groups", f"voice={data / 'absent.csv'}", *labels)
    assert code == 2
    assert "no such file" in stderr
    one = f"voice={data / 'test.csv'}"
    code, _, stderr = _run("groups", one, one, *labels)
    assert code == 2
    assert "voice is named twice" in stderr


def test_estimated_attributes_become_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from thinslice.features.attributes import ATTRIBUTES
    from thinslice.features.spec import FeatureSpec
    from thinslice.features.store import FeatureStore

    params: dict[str, Any] = {"age": True, "gender": True, "emotion": True, "detector": "landmarker"}
    spec, store = FeatureSpec(extractor="attributes", params=params), FeatureStore(tmp_path / "store")
    found = {"a": (31.24, 1.9, "happiness", 0.7), "b": (8.0, 1.2, "neutral", 0.4)}
    rows = []
    for name, (age, gender, emotion, sure) in found.items():
        media = tmp_path / f"{name}.mp4"
        media.write_bytes(name.encode())
        emotions = [sure if emotion == other else (1 - sure) / 6 for other in ATTRIBUTES[2:]]
        digest = hashlib.sha256(media.read_bytes()).hexdigest()
        store.write(digest, spec, np.array([age, gender, *emotions], np.float32))
        store.remember(name, media, digest)
        rows.append({"clip": name, "path": media.name, "split": "test", "speaker": name})
    manifest = _write(tmp_path / "clips.csv", [*rows, {"clip": "c", "path": "", "split": "test", "speaker": "c"}])
    code, _, stderr = _run("data", "attributes", manifest, "--store", tmp_path / "store", "--out", tmp_path / "out.csv")
    assert code == 0, stderr
    assert "wrote 2 of 3 clips" in stderr
    assert _rows(tmp_path / "out.csv") == [
        {"clip": "a", "age": "31.2", "gender": "female", "emotion": "happiness", "emotion_confidence": "0.700"},
        {"clip": "b", "age": "8.0", "gender": "male", "emotion": "neutral", "emotion_confidence": "0.400"},
    ]


def test_the_estimates_are_the_recipes_features() -> None:
    pytest.importorskip("torch")
    from thinslice.systems.audiovisual_attributes.recipe import audiovisual_attributes

    spec = audiovisual_attributes().features["attributes"]
    assert spec.params == {"age": True, "gender": True, "emotion": True, "detector": "landmarker"}
    assert (spec.extractor, spec.version) == ("attributes", 2)


def test_targets_of_ones_own_are_calibrated_as_traits_are(data: Path) -> None:
    for name in ("fi.csv", "test.csv", "validation.csv"):
        text = (data / name).read_text().replace("openness", "warmth").replace("extraversion", "wit")
        (data / f"own-{name}").write_text(text)
    common = ("--by", "gender", "--json")
    for prefix, more in (("", ()), ("own-", ("--targets", "warmth,wit"))):
        files = ("--fit", data / f"{prefix}validation.csv", "--labels", data / f"{prefix}fi.csv")
        code, stdout, stderr = _run(
            "calibrate", data / f"{prefix}test.csv", *files, *common, *more, "--out", data / f"{prefix}out.csv"
        )
        assert code == 0, stderr
        if not prefix:
            traits = json.loads(stdout)
    own = json.loads(stdout)
    assert list(own["slope"]) == ["warmth", "wit"]
    assert own["slope"]["wit"] == traits["slope"]["extraversion"]
    rows = zip(_rows(data / "out.csv"), _rows(data / "own-out.csv"), strict=True)
    assert all(mine["warmth"] == trait["openness"] for trait, mine in rows)
