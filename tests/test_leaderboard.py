"""The leaderboard: what gets a row, what is refused, and that no row is ever lost."""

import csv
import importlib.util
import json
import multiprocessing
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import run
from thinslice.data.manifest import speaker_of
from thinslice.data.official import load_official_clips
from thinslice.errors import ManifestError, OutputError
from thinslice.evaluate import leaderboard
from thinslice.evaluate.leaderboard import LeaderboardRow, format_leaderboard, read_leaderboard, split_digest, submit
from thinslice.traits import TARGETS, TRAITS

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src" / "thinslice" / "published" / "leaderboard.csv"
NUMBERS = {name: 0.5 for name in ("accuracy", "r2", "ccc", "r2_low", "r2_high") for name in (name, f"unseen_{name}")}


def _entry(system: str, **changes: Any) -> LeaderboardRow:
    return replace(LeaderboardRow(system=system, num_clips=9, unseen_num_clips=3, **NUMBERS), **changes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """all.csv with splits train and test, some of whose speakers are in both; predictions.csv of the test clips."""
    rng = np.random.default_rng(1)
    people = rng.uniform(0.3, 0.7, (30, 6))
    with (tmp_path / "all.csv").open("w", newline="") as labels, (tmp_path / "p.csv").open("w", newline="") as scores:
        rows, predicted = csv.writer(labels), csv.writer(scores)
        rows.writerow(["clip", "path", "split", "speaker", *TARGETS])
        predicted.writerow(["clip", *TRAITS])
        for number in range(150):
            who = number % 30
            split = "train" if number < 75 and who < 20 else "test"
            said = np.clip(people[who] + rng.normal(0, 0.05, 6), 0, 1)
            rows.writerow([f"s{who}.{number:03d}.mp4", "", split, f"s{who}", *said.round(6)])
            if split == "test":
                predicted.writerow(
                    [f"x/s{who}.{number:03d}", *(said[:5] * 0.5 + 0.25 + rng.normal(0, 0.02, 5)).round(6)]
                )
    return tmp_path


def _submit(data: Path, *more: object, predictions: str = "p.csv") -> Any:
    labels = ("--labels", data / "all.csv", "--split", "test", "--train", data / "all.csv", "--train-split", "train")
    table = ("--submit-to", data / "table.csv", "--resamples", 200)
    return run("evaluate", data / predictions, *labels, *table, *more)


def test_a_row_has_the_scores_of_evaluate_beside_lookup_mean_and_hashes(data: Path) -> None:
    code, stdout, stderr = _submit(data, "--system", "mine", "--inputs", "face", "--repository", "me/mine", "--json")
    assert code == 0, stderr
    (row,) = read_leaderboard(data / "table.csv")
    card = json.loads(stdout)
    whole, unseen = card["protocols"]["official"], card["protocols"]["unseen_speakers"]
    assert (row.system, row.inputs, row.repository, row.trained_on) == ("mine", "face", "me/mine", "train")
    assert (row.num_clips, row.unseen_num_clips, row.missing) == (whole["num_clips"], unseen["num_clips"], 0)
    for name in ("accuracy", "r2", "ccc"):
        assert getattr(row, name) == round(whole[name]["average"], 6)
        assert getattr(row, f"unseen_{name}") == round(unseen[name]["average"], 6)
    assert [row.unseen_r2_low, row.unseen_r2_high] == [round(end, 6) for end in unseen["ci95"]["r2"]["average"]]
    assert row.lookup_r2 == round(card["baselines"]["lookup"]["official"]["r2"]["average"], 6)
    mean = card["baselines"]["training_mean"]["unseen_speakers"]["accuracy"]["average"]
    assert row.unseen_mean_accuracy == round(mean, 6)
    with (data / "all.csv").open(newline="") as file:
        rows = [entry for entry in csv.DictReader(file) if entry["split"] == "test"]
    assert row.test_sha256 == split_digest([entry["clip"] for entry in rows], [entry["speaker"] for entry in rows])
    assert len({row.test_sha256, row.train_sha256, row.labels_sha256, row.predictions_sha256}) == 4


def test_the_same_system_takes_its_own_place_and_no_other(data: Path) -> None:
    assert _submit(data)[0] == 0
    assert _submit(data, "--system", "other")[0] == 0
    assert "in the place of its earlier row" in _submit(data, "--repository", "new")[2]
    assert [(row.system, row.repository) for row in read_leaderboard(data / "table.csv")] == [
        ("p", "new"),
        ("other", ""),
    ]


def test_a_split_is_known_by_its_clips_and_speakers_alone() -> None:
    first = split_digest(["a.001.mp4", "b.002.mp4"], ["a", "b"])
    assert split_digest(["b.002", "a.001"], ["b", "a"]) == first
    assert split_digest(["a.001", "b.002"], ["a", "a"]) != first
    assert split_digest(["a.001"], ["a"]) != first


@pytest.mark.parametrize(
    ("change", "options", "why"),
    [
        (lambda lines: lines[:-3], (), "it is not complete, 3 clips are missing: "),
        (lambda lines: [*lines[:5], lines[5].rsplit(",", 1)[0] + ",NaN", *lines[6:]], (), "1 clip is missing"),
        (lambda lines: [line.rsplit(",", 1)[0] for line in lines], (), "no average R²"),
        (lambda lines: lines, ("--resamples", "0"), "there are no intervals"),
        (lambda lines: lines, ("--system", " "), "has no name"),
    ],
)
def test_what_is_not_complete_gets_no_row(data: Path, change: Any, options: tuple[str, ...], why: str) -> None:
    lines = (data / "p.csv").read_text().splitlines()
    (data / "q.csv").write_text("\n".join(change(lines)) + "\n")
    code, _, stderr = _submit(data, *options, predictions="q.csv")
    assert code == 2
    assert why in stderr
    assert not (data / "table.csv").exists()


def test_without_training_clips_nobody_is_unseen(data: Path) -> None:
    labels = ("--labels", data / "all.csv", "--split", "test")
    code, _, stderr = run("evaluate", data / "p.csv", *labels, "--resamples", 50, "--submit-to", data / "table.csv")
    assert code == 2
    assert "--train" in stderr
    assert not (data / "table.csv").exists()


def test_flags_of_a_row_need_a_table(data: Path) -> None:
    code, _, stderr = run("evaluate", data / "p.csv", "--labels", data / "all.csv", "--system", "x")
    assert code == 2
    assert "--system needs --submit-to" in stderr


def test_a_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [_entry('a, "b"\nc'), _entry("ü", lookup_r2=None, r2=-0.25, missing=1)]
    (tmp_path / "t.csv").write_text(format_leaderboard(rows), encoding="utf-8")
    assert read_leaderboard(tmp_path / "t.csv") == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("system,num_clips\na,x\n", "line 2: no row of a leaderboard"),
        ("system,charm\na,1\n", "line 1: no row of a leaderboard .*newer thinslice"),
        ("system\na\n", "line 2: no row"),
        ("system,r2\na\n", "line 2: no row"),
    ],
)
def test_a_table_that_cannot_be_read_is_left_as_it_is(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        submit(_entry("mine"), path)
    assert path.read_text() == text


def test_a_crash_while_writing_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    submit(_entry("first"), path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        submit(_entry("second"), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    submit(_entry("second"), path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["t.csv"]


def _submit_many(path: Path, name: str) -> None:
    for number in range(5):
        submit(_entry(f"{name}{number}"), path)


def test_rows_added_at_once_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_submit_many, args=(path, name)) for name in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    found = [row.system for row in read_leaderboard(path)]
    assert sorted(found) == sorted(f"{name}{number}" for name in "abcd" for number in range(5))


def test_rounding_touches_scores_alone() -> None:
    row = leaderboard.rounded(_entry("a", r2=0.123456, lookup_r2=None))
    assert asdict(row) == {**asdict(_entry("a")), "r2": 0.1235}


def test_the_table_that_ships_has_the_published_files_on_the_official_split() -> None:
    official = [clip for clip, entry in load_official_clips().items() if entry.split == "test"]
    digest = split_digest(official, [speaker_of(clip) for clip in official])
    assert set(leaderboard.KNOWN_SPLITS) == {digest}
    rows = [row for row in read_leaderboard(SHIPPED) if row.test_sha256 == digest]
    assert len(rows) >= 12
    assert all(row.num_clips + row.missing == len(official) for row in rows)
    winner = next(row for row in rows if row.system.startswith("BU-NKU") and row.inputs == "all")
    assert (winner.r2, winner.unseen_r2, winner.unseen_num_clips) == (0.497, 0.4727, 219)


def test_the_page_shows_what_the_table_has() -> None:
    spec = importlib.util.spec_from_file_location("benchmark_leaderboard", ROOT / "benchmarks" / "leaderboard.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    assert script.with_tables(page, read_leaderboard(SHIPPED)) == page, "python benchmarks/leaderboard.py page"
