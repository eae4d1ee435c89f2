"""The audit of splits, on made-up datasets with known leaks and on the real training split."""

import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from thinslice.cli import cli
from thinslice.data.manifest import load_manifest
from thinslice.errors import ManifestError
from thinslice.evaluate import metrics
from thinslice.evaluate.audit import audit
from thinslice.evaluate.lookup import fit_lookup, leave_one_out
from thinslice.traits import TARGETS


def _data(num_speakers: int = 80, clips: int = 4) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(0)
    speakers = [f"s{i:02d}" for i in range(num_speakers) for _ in range(clips)]
    own = np.repeat(rng.normal(0.5, 0.12, (num_speakers, 6)), clips, axis=0)
    return speakers, np.clip(own + rng.normal(0, 0.08, own.shape), 0, 1)


def test_a_split_by_clips_leaks() -> None:
    speakers, labels = _data()
    splits = ["test" if i % 4 == 3 else "train" for i in range(len(speakers))]
    found = audit(speakers, splits, labels)
    test = found["splits"]["test"]
    assert test["seen_share"] == 1.0
    assert test["shared_speakers"] == 80
    train = [i for i, split in enumerate(splits) if split == "train"]
    rows = [i for i, split in enumerate(splits) if split == "test"]
    guess = fit_lookup(labels[train], [speakers[i] for i in train]).predict([speakers[i] for i in rows])
    assert test["lookup"]["accuracy"]["average"] == pytest.approx(metrics.accuracy(labels[rows], guess)[:5].mean())
    assert test["lookup"]["r2"]["average"] > 0.5 > test["training_mean"]["r2"]["average"]
    assert found["shared_speakers"] == [{"splits": ["train", "test"], "num_speakers": 80}]
    text = " ".join(found["verdict"])
    assert "100% of the 80 test clips are of speakers who also have clips in train" in text
    assert f"{test['lookup']['accuracy']['average']:.4f}" in text
    assert "seen and unseen speakers apart" in text


def test_a_split_by_speaker_does_not() -> None:
    speakers, labels = _data()
    splits = ["test" if int(speaker[1:]) < 20 else "train" for speaker in speakers]
    found = audit(speakers, splits, labels)
    assert found["splits"]["test"]["seen_clips"] == 0
    assert found["splits"]["test"]["lookup"] == found["splits"]["test"]["training_mean"]
    text = " ".join(found["verdict"])
    assert "No speaker of test is in train" in text
    assert "Report scores on seen" not in text
    # What a split by clips would have leaked is said all the same.
    rows = [i for i, split in enumerate(splits) if split == "train"]
    guess = leave_one_out(labels[rows], [speakers[i] for i in rows])
    assert found["leave_one_out"]["r2"]["average"] == pytest.approx(metrics.r2(labels[rows], guess)[:5].mean())
    assert "Do not split it by clips" in text


def test_without_labels_the_overlap_is_still_known() -> None:
    speakers, labels = _data()
    splits = ["test" if i % 4 == 3 else "train" for i in range(len(speakers))]
    hidden = labels.copy()
    hidden[[split == "test" for split in splits]] = np.nan
    found = audit(speakers, splits, hidden)
    assert found["splits"]["test"]["seen_share"] == 1.0
    assert found["splits"]["test"]["lookup"] is None
    assert found["reliability"] is not None
    found = audit(speakers, splits, np.full_like(labels, np.nan))
    assert found["reliability"] is None
    assert found["ceiling"] is None
    assert any("no labels" in line for line in found["verdict"])


def test_one_clip_per_speaker() -> None:
    speakers, labels = _data(clips=1)
    found = audit(speakers, ["train"] * 80, labels)
    assert found["reliability"]["icc"]["average"] is None
    assert found["leave_one_out"]["seen_share"] == 0
    assert any("cannot be said" in line for line in found["verdict"])


def test_the_training_split_must_be_there() -> None:
    with pytest.raises(ManifestError, match="no split train; there are a, b: name one with --train-split"):
        audit(["x", "y"], ["a", "b"], np.zeros((2, 6)))
    with pytest.raises(ManifestError, match="no clips"):
        audit([], [], np.empty((0, 6)))


def test_the_command(tmp_path: Path) -> None:
    speakers, labels = _data(20)
    lines = ["clip,path,split,speaker,openness,conscientiousness,extraversion,agreeableness,neuroticism"]
    for i, speaker in enumerate(speakers):
        split = "heldout" if i % 4 == 3 else "learn"
        lines.append(",".join([f"{speaker}.{i:03d}", "", split, speaker, *map(repr, labels[i, :5].tolist())]))
    path = tmp_path / "m.csv"
    path.write_text("\n".join(lines))
    result = CliRunner().invoke(cli, ["audit", str(path), "--train-split", "learn", "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["num_speakers"] == 20
    assert found["splits"]["heldout"]["seen_share"] == 1.0
    assert list(found["reliability"]["icc"])[-1] == "average"  # no interview labels
    result = CliRunner().invoke(cli, ["audit", str(path), "--train-split", "learn"])
    assert result.exit_code == 0
    assert "20 (100.0%)" in result.stdout
    assert "100% of the 20 heldout clips" in result.stdout
    result = CliRunner().invoke(cli, ["audit", str(tmp_path / "absent.csv")])
    assert result.exit_code == 2


def test_the_real_training_split(real_data: Path) -> None:
    from thinslice.data.first_impressions import import_first_impressions

    manifest = import_first_impressions(real_data).manifest.select("train")
    found = audit(manifest.speakers, manifest.splits, manifest.labels())
    assert found["num_clips"] == 6000
    assert found["num_speakers"] == found["reliability"]["num_speakers"] == 2624
    rounded = {name: round(value, 3) for name, value in found["reliability"]["icc"].items()}
    assert rounded == {
        "openness": 0.590,
        "conscientiousness": 0.707,
        "extraversion": 0.638,
        "agreeableness": 0.516,
        "neuroticism": 0.621,
        "average": 0.615,
        "interview": 0.668,
    }
    assert found["ceiling"]["accuracy"]["average"] == pytest.approx(0.927, abs=0.0005)


def test_the_official_splits_share_speakers(real_data: Path) -> None:
    """84% of the official test clips are of a video that is in training; the names alone say so."""
    from thinslice.data.manifest import speaker_of
    from thinslice.data.official import load_official_clips

    clips = load_official_clips()
    splits = [entry.split for entry in clips.values()]
    found = audit([speaker_of(name) for name in clips], splits, np.full((len(clips), 6), np.nan))
    assert round(found["splits"]["test"]["seen_share"], 2) == 0.84
    assert "84% of the 2,000 test clips" in " ".join(found["verdict"])


def test_work_and_memory_grow_with_the_table_and_no_faster(tmp_path: Path) -> None:
    def cost(num: int) -> tuple[int, int]:
        """Return how many functions are called for a table of so many clips, and the most bytes that reading holds."""
        rng = np.random.default_rng(0)
        scores = rng.uniform(size=(num, 6))
        rows = [
            f"c{i:06d}.mp4,clips/c{i:06d}.mp4,{('train', 'test')[i % 4 == 3]},s{i // 3},"
            + ",".join(f"{score:.6f}" for score in scores[i])
            for i in range(num)
        ]
        path = tmp_path / f"{num}.csv"
        path.write_text("\n".join([f"clip,path,split,speaker,{','.join(TARGETS)}", *rows, ""]))
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event == "call"

        def work() -> None:
            table = load_manifest(path)
            audit(table.speakers, table.splits, table.labels())
            assert table.digest

        work()  # What is imported and compiled at the first time does not count.
        sys.setprofile(count)
        work()
        sys.setprofile(None)
        tracemalloc.start()
        load_manifest(path)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return calls, held

    (few_calls, few_bytes), (many_calls, many_bytes) = cost(1_000), cost(4_000)
    assert (many_calls - few_calls) / 3_000 < 22
    assert (many_bytes - few_bytes) / 3_000 < 1_200
    assert many_calls < 4.2 * few_calls
