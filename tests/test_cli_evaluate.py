"""``thinslice evaluate`` as other programs see it: keys, exit codes, files, hostile input."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import run as _run
from thinslice.traits import TARGETS, TRAITS

Row = dict[str, Any]
TARGET_KEYS = [*TRAITS, "average", "interview"]
PROTOCOLS = ["official", "seen_speakers", "unseen_speakers"]


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folder with train.csv, test.csv, all.csv, predictions.csv: made-up clips, half of the test speakers seen."""
    rng = np.random.default_rng(0)
    people = {f"s{i:02d}": np.clip(rng.normal(0.5, 0.12, 6), 0.2, 0.8) for i in range(60)}
    rows: list[Row] = []
    for number in range(300):
        speaker = f"s{number % 60:02d}"
        split = "train" if number < 180 and number % 60 < 40 else "test"
        labels = np.clip(people[speaker] + rng.normal(0, 0.08, 6), 0, 1).round(4)
        extra = {"gender": "fm"[int(speaker[1:]) % 2], "mood": ["calm", "glad", ""][number % 3]}
        clip = f"{speaker}.{number // 60:03d}.mp4"
        rows.append(
            {"clip": clip, "path": "", "split": split, "speaker": speaker}
            | dict(zip(TARGETS, labels, strict=True))
            | extra
        )
    _write(tmp_path / "all.csv", rows)
    for split in ("train", "test"):
        _write(tmp_path / f"{split}.csv", [row for row in rows if row["split"] == split])
    _write(tmp_path / "predictions.csv", _predict([row for row in rows if row["split"] == "test"], rng))
    return tmp_path


def _predict(rows: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    out = []
    for row in rows:
        scores = {name: round(0.5 + 0.5 * (row[name] - 0.5) + rng.normal(0, 0.05), 4) for name in TARGETS}
        ends = {f"{name}_low": round(s - 0.1, 4) for name, s in scores.items()}
        ends |= {f"{name}_high": round(s + 0.1, 4) for name, s in scores.items()}
        out.append({"clip": row["clip"]} | scores | ends)
    return out


def _rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _json(*args: object, code: int = 0) -> Any:
    found, stdout, stderr = _run(*args, "--json", "--resamples", 200)
    assert found == code, stderr
    return json.loads(stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def _labels(rows: Sequence[Row]) -> np.ndarray:
    return np.array([[float(row[name]) for name in TARGETS] for row in rows])


def test_the_contract(data: Path) -> None:
    found = _json("evaluate", data / "predictions.csv", "--labels", data / "test.csv", "--train", data / "train.csv")
    for key in ("num_clips", "num_speakers", "missing", "unknown", "protocols", "baselines", "groups", "extremes"):
        assert key in found
    assert found["num_clips"] == 180
    assert found["num_speakers"] == 60
    assert found["missing"] == found["unknown"] == []
    assert list(found["protocols"]) == PROTOCOLS
    assert list(found["baselines"]) == ["training_mean", "lookup"]
    for panels in (found["protocols"], *found["baselines"].values()):
        counts = [panels[protocol]["num_clips"] for protocol in PROTOCOLS]
        assert counts == [180, 80, 100]
        for panel in panels.values():
            for metric in ("accuracy", "r2", "pcc", "ccc", "mse", "calibration_slope"):
                assert list(panel[metric]) == TARGET_KEYS
            for metric in ("accuracy", "r2"):
                low, high = panel["ci95"][metric]["average"]
                assert low <= panel[metric]["average"] <= high
    assert found["groups"] == {}
    assert set(found["extremes"]) == {"thresholds", "low", "high"}


def test_the_numbers(data: Path) -> None:
    found = _json("evaluate", data / "predictions.csv", "--labels", data / "test.csv", "--train", data / "train.csv")
    test, train = _rows(data / "test.csv"), _rows(data / "train.csv")
    y, p = _labels(test), _labels(_rows(data / "predictions.csv"))
    known = np.array([row["speaker"] in {row["speaker"] for row in train} for row in test])
    mean = _labels(train).mean(axis=0)
    naive = np.array([_naive_lookup(train, row["speaker"]) for row in test])
    masks = {"official": np.ones(180, bool), "seen_speakers": known, "unseen_speakers": ~known}
    systems = {"protocols": p, "training_mean": np.tile(mean, (180, 1)), "lookup": naive}
    for name, guess in systems.items():
        panels = found["protocols"] if name == "protocols" else found["baselines"][name]
        for protocol, mask in masks.items():
            error = guess[mask] - y[mask]
            accuracy = 1 - np.abs(error).mean(axis=0)
            r2 = 1 - (error**2).sum(axis=0) / ((y[mask] - y[mask].mean(axis=0)) ** 2).sum(axis=0)
            got = panels[protocol]
            assert [got["accuracy"][t] for t in TARGETS] == pytest.approx(accuracy.tolist(), abs=1e-12)
            assert [got["r2"][t] for t in TARGETS] == pytest.approx(r2.tolist(), abs=1e-12)
            assert got["accuracy"]["average"] == pytest.approx(accuracy[:5].mean(), abs=1e-12)
            assert got["r2"]["average"] == pytest.approx(r2[:5].mean(), abs=1e-12)
    panel = found["protocols"]["official"]
    inside = (np.abs(p - y) <= 0.1 + 1e-9).mean(axis=0)
    assert [panel["coverage"][t] for t in TARGETS] == pytest.approx(inside.tolist())
    assert panel["width"]["average"] == pytest.approx(0.2)
    assert found["baselines"]["training_mean"]["official"]["pcc"]["average"] is None
    gain = found["paired_differences"]["lookup"]["official"]["accuracy"]["average"]
    lookup = found["baselines"]["lookup"]["official"]["accuracy"]["average"]
    assert gain["difference"] == pytest.approx(panel["accuracy"]["average"] - lookup)
    assert gain["ci95"][0] < gain["difference"] < gain["ci95"][1]


def _naive_lookup(train: Sequence[Row], speaker: str) -> np.ndarray:
    y = _labels(train)
    speakers = [row["speaker"] for row in train]
    mu = y.mean(axis=0)
    residuals = np.vstack([y[[s == name for s in speakers]] - y[[s == name for s in speakers]].mean(axis=0)
                           for name in sorted(set(speakers))])  # fmt: skip
    vw = (residuals**2).sum(axis=0) / (len(y) - len(set(speakers)))
    vb = np.maximum(0, y.var(axis=0, ddof=1) - vw)
    own = y[[s == speaker for s in speakers]]
    n = len(own)
    return mu + n * vb / (n * vb + vw) * (own.mean(axis=0) - mu) if n else mu


def test_without_training_what_needs_it_is_null(data: Path) -> None:
    found = _json("evaluate", data / "predictions.csv", "--labels", data / "test.csv")
    assert found["protocols"]["official"]["num_clips"] == 180
    assert found["protocols"]["seen_speakers"] is None
    assert found["protocols"]["unseen_speakers"] is None
    assert found["baselines"] == {name: dict.fromkeys(PROTOCOLS) for name in ("training_mean", "lookup")}
    assert found["extremes"] is None
    assert found["ceiling"] is None


def test_one_manifest_with_several_splits(data: Path) -> None:
    apart = _json("evaluate", data / "predictions.csv", "--labels", data / "test.csv", "--train", data / "train.csv")
    options = ("--labels", data / "all.csv", "--split", "test", "--train", data / "all.csv")
    for more in ((), ("--train-split", "train")):
        together = _json("evaluate", data / "predictions.csv", *options, *more)
        assert together["protocols"] == apart["protocols"]
        assert together["baselines"] == apart["baselines"]


def test_several_training_manifests_are_pooled(data: Path) -> None:
    train = _rows(data / "train.csv")
    one, two = _write(data / "one.csv", train[:50]), _write(data / "two.csv", train[40:])
    options = ("evaluate", data / "predictions.csv", "--labels", data / "test.csv")
    whole = _json(*options, "--train", data / "train.csv")
    parts = _json(*options, "--train", one, "--train", two)
    assert parts["training"]["num_clips"] == whole["training"]["num_clips"] == 120
    got, expected = (x["baselines"]["lookup"]["official"]["r2"]["average"] for x in (parts, whole))
    assert got == pytest.approx(expected, abs=1e-12)


def test_missing_and_unknown_clips_are_listed_and_change_the_exit_code(data: Path) -> None:
    rows = _rows(data / "predictions.csv")
    rows[3]["extraversion"] = "nan"
    rows[5]["clip"] = "nobody.000.mp4"
    path = _write(data / "ragged.csv", rows[:170])
    found = _json("evaluate", path, "--labels", data / "test.csv", code=1)
    test = [row["clip"] for row in _rows(data / "test.csv")]
    assert found["missing"] == [test[3], test[5], *test[170:]]
    assert found["unknown"] == ["nobody.000.mp4"]
    assert found["num_clips"] == found["protocols"]["official"]["num_clips"] == 168
    assert any("line 5" in line and "extraversion" in line for line in found["warnings"])
    code, stdout, stderr = _run("evaluate", path, "--labels", data / "test.csv", "--resamples", 0)
    assert code == 1
    assert "12 labelled clips without a (complete) prediction" in stderr
    assert "nobody.000.mp4" in stderr
    assert "nobody" not in stdout


def test_missing_clips_count_with_the_training_mean_beside(data: Path) -> None:
    """As papers score all clips: those that a system leaves out, such as without a face, are not left out of scores."""
    files = ("--labels", data / "test.csv", "--train", data / "train.csv")
    whole = _json("evaluate", data / "predictions.csv", *files)
    assert whole["with_missing"] is None
    rows = _rows(data / "predictions.csv")
    path = _write(data / "faceless.csv", rows[:150])
    found = _json("evaluate", path, *files, code=1)["with_missing"]
    labels, mean = _labels(_rows(data / "test.csv")), _labels(_rows(data / "train.csv")).mean(0)
    scores = np.concatenate([_labels(rows)[:150], np.tile(mean, (30, 1))])
    errors = np.abs(labels - scores).mean(0)
    residuals, spread = ((labels - scores) ** 2).sum(0), ((labels - labels.mean(0)) ** 2).sum(0)
    assert found["num_clips"] == 180
    assert found["accuracy"]["average"] == pytest.approx(1 - errors[:5].mean())
    assert found["r2"]["interview"] == pytest.approx(1 - residuals[5] / spread[5])
    code, stdout, _ = _run("evaluate", path, *files, "--resamples", 0, "--out", data / "scores")
    assert code == 1
    row = next(line for line in stdout.splitlines() if line.strip().startswith("accuracy, with the missing"))
    assert f"{found['accuracy']['average']:.4f}" in row
    assert "of all 180 labelled clips" in " ".join(stdout.split())
    counted = [row for row in _rows(data / "scores" / "scores.csv") if row["protocol"] == "with the missing"]
    assert {row["metric"] for row in counted} == {"accuracy", "r2"}
    assert float(counted[-1]["value"]) == pytest.approx(found["r2"][counted[-1]["target"]])
    without = _json("evaluate", path, "--labels", data / "test.csv", code=1)
    assert without["with_missing"] is None


def test_whoever_forgets_the_split_is_told(data: Path) -> None:
    code, _, stderr = _run("evaluate", data / "predictions.csv", "--labels", data / "all.csv", "--resamples", 0)
    assert code == 1
    assert "holds the splits train, test; --split NAME scores one of them" in stderr


def test_odd_but_complete_files_succeed_and_say_what_is_odd(data: Path) -> None:
    rows = _rows(data / "predictions.csv")
    rows[0]["openness"] = "1.25"
    rows.append(dict(rows[7]))
    found = _json("evaluate", _write(data / "odd.csv", rows), "--labels", data / "test.csv")
    assert any("line 2" in line and "outside [0, 1]" in line for line in found["warnings"])
    assert any("lines 9, 182" in line for line in found["warnings"])


def test_contradicting_rows_are_missing(data: Path) -> None:
    rows = _rows(data / "predictions.csv")
    rows.append(rows[7] | {"openness": "0.99"})
    found = _json("evaluate", _write(data / "odd.csv", rows), "--labels", data / "test.csv", code=1)
    assert found["missing"] == [rows[7]["clip"]]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spell=st.sampled_from(
        [
            lambda name: name.removesuffix(".mp4"),
            lambda name: f"/data/fi/{name}",
            lambda name: f"C:\\fi\\{name.upper().replace('S', 's')}",
        ]
    ),
    seed=st.integers(0, 9),
)
def test_spelling_and_order_are_irrelevant(data: Path, spell: Callable[[str], str], seed: int) -> None:
    rows = _rows(data / "predictions.csv")
    np.random.default_rng(seed).shuffle(rows)  # type: ignore[arg-type]
    other = _write(data / "other.csv", [row | {"clip": spell(row["clip"])} for row in rows])
    options = ("--labels", data / "test.csv", "--train", data / "train.csv", "--resamples", 200)
    one, two = (_json("evaluate", path, *options) for path in (data / "predictions.csv", other))
    assert one["protocols"] == two["protocols"]
    assert one["baselines"] == two["baselines"]


def test_comparison_with_itself_shows_no_difference(data: Path) -> None:
    path = data / "predictions.csv"
    found = _json("evaluate", path, "--labels", data / "test.csv", "--compare", path)["comparison"]
    assert found["num_clips"] == 180
    for metric in ("accuracy", "r2", "pcc", "ccc", "mse"):
        for entry in found["paired_differences"]["official"][metric].values():
            assert entry == {"difference": 0, "ci95": [0, 0], "p": 1}


def test_comparison_with_a_worse_file(data: Path) -> None:
    rows, rng = _rows(data / "predictions.csv"), np.random.default_rng(1)
    worse = [row | {name: float(row[name]) + rng.normal(0, 0.1) for name in TARGETS} for row in rows]
    path = _write(data / "worse.csv", worse[5:])
    options = ("--labels", data / "test.csv", "--train", data / "train.csv", "--compare", path)
    found = _json("evaluate", data / "predictions.csv", *options, code=1)["comparison"]
    assert found["num_clips"] == 175
    assert found["missing"] == [row["clip"] for row in rows[:5]]
    for protocol in PROTOCOLS:
        entry = found["paired_differences"][protocol]["accuracy"]["average"]
        assert entry["ci95"][0] > 0
        assert entry["p"] < 0.05


def test_groups(data: Path) -> None:
    options = ("--labels", data / "test.csv", "--train", data / "train.csv", "--group-by", "gender, mood")
    found = _json("evaluate", data / "predictions.csv", *options)["groups"]
    assert list(found) == ["gender", "mood"]
    assert list(found["gender"]["groups"]) == ["f", "m"]
    assert list(found["mood"]["groups"]) == ["calm", "glad", "(unknown)"]
    assert sum(group["num_clips"] for group in found["mood"]["groups"].values()) == 180
    assert found["gender"]["gap"]["accuracy"]["average"]["gap"] >= 0
    assert found["gender"]["groups"]["f"]["baselines"]["lookup"]["r2"]["average"] is not None


def test_a_file_with_some_traits(data: Path) -> None:
    rows = [{"clip": row["clip"], "E": row["extraversion"]} for row in _rows(data / "predictions.csv")]
    found = _json("evaluate", _write(data / "e.csv", rows), "--labels", data / "test.csv")
    panel = found["protocols"]["official"]
    assert panel["accuracy"]["extraversion"] > 0.9
    assert panel["accuracy"]["openness"] is None
    assert panel["accuracy"]["average"] is None
    assert "interview" not in panel["accuracy"]
    assert any("no average" in line for line in found["warnings"])


def test_interview_stands_only_where_both_have_it(data: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "interview"} for row in _rows(data / "test.csv")]
    found = _json("evaluate", data / "predictions.csv", "--labels", _write(data / "five.csv", rows))
    assert list(found["protocols"]["official"]["accuracy"]) == [*TRAITS, "average"]


def test_clips_without_labels_are_listed(data: Path) -> None:
    rows = _rows(data / "test.csv")
    rows[0] |= dict.fromkeys(TARGETS, "")
    rows[1]["openness"] = ""
    found = _json("evaluate", data / "predictions.csv", "--labels", _write(data / "holes.csv", rows), code=1)
    assert found["unlabelled"] == [rows[0]["clip"]]
    assert found["num_clips"] == 179
    assert found["missing"] == []


def test_a_trait_scored_the_other_way_round_is_suspected(data: Path) -> None:
    rows = [row | {"neuroticism": 1 - float(row["neuroticism"])} for row in _rows(data / "predictions.csv")]
    found = _json("evaluate", _write(data / "turned.csv", rows), "--labels", data / "test.csv")
    assert any("neuroticism" in line and "other way round" in line for line in found["warnings"])


def test_nothing_in_common_is_said_not_raised(data: Path) -> None:
    path = data / "strange.csv"
    path.write_text("clip,openness\nq.001,0.5\n")
    found = _json("evaluate", path, "--labels", data / "test.csv", "--train", data / "train.csv", code=1)
    assert found["num_clips"] == 0
    assert len(found["missing"]) == 180
    assert found["unknown"] == ["q.001"]
    assert found["protocols"]["official"]["accuracy"]["openness"] is None
    code, _, stderr = _run("evaluate", path, "--labels", data / "test.csv", "--out", data / "scores")
    assert code == 1
    assert "no clip was scored" in stderr


def test_out_writes_tables_and_figures(data: Path) -> None:
    options = ("--labels", data / "test.csv", "--train", data / "train.csv", "--group-by", "gender")
    more = ("--compare", data / "predictions.csv", "--out", data / "a" / "b", "--resamples", 100)
    code, stdout, stderr = _run("evaluate", data / "predictions.csv", *options, *more)
    assert code == 0
    out = data / "a" / "b"
    assert sorted(path.name for path in out.iterdir()) == [
        "accuracy_r2.png",
        "accuracy_r2.svg",
        "scatter.png",
        "scatter.svg",
        "scores.csv",
        "scores.json",
        "scores.md",
        "scores.tex",
    ]
    card = json.loads((out / "scores.json").read_text())
    accuracy = card["protocols"]["official"]["accuracy"]["average"]
    assert f"{accuracy:.4f}" in stdout
    for line in (out / "scores.md").read_text().splitlines():
        assert not line.startswith("|") or line.endswith("|")
    assert f"{accuracy:.4f}" in (out / "scores.md").read_text()
    tex = (out / "scores.tex").read_text()
    assert f"{accuracy:.4f}" in tex
    assert tex.count("\\begin{tabular}") == tex.count("\\end{tabular}") == tex.count("\\begin{table}") == 7
    for block in tex.split("\\toprule")[1:]:
        counts = {line.count(" & ") for line in block.split("\\bottomrule")[0].splitlines() if line.endswith("\\\\")}
        assert len(counts) == 1
    rows = _rows(out / "scores.csv")
    wanted = ("official", "predictions", "accuracy", "average")
    line = next(row for row in rows if (row["protocol"], row["system"], row["metric"], row["target"]) == wanted)
    assert float(line["value"]) == accuracy
    assert float(line["low"]) == card["protocols"]["official"]["ci95"]["accuracy"]["average"][0]
    for name in ("accuracy_r2", "scatter"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse(out / f"{name}.svg").getroot().tag.endswith("svg")
    assert "wrote scores.md" in stderr


def test_the_human_table_shows_every_score_beside_the_baselines(data: Path) -> None:
    options = ("--labels", data / "test.csv", "--train", data / "train.csv", "--resamples", 100)
    _, stdout, _ = _run("evaluate", data / "predictions.csv", *options)
    for words in ("training mean", "lookup", "seen speakers (80", "unseen speakers (100", "speakers known", "[0."):
        assert words in stdout
    assert "neuroticism comfortable" in stdout  # the column's direction, in words


@pytest.mark.parametrize("training", ["none", "one clip a speaker"])
def test_what_is_not_known_of_speakers_is_said_and_not_shown_as_dashes(data: Path, training: str) -> None:
    options: list[object] = ["--labels", data / "test.csv", "--resamples", 20]
    if training != "none":
        first = {row["speaker"]: row for row in reversed(_rows(data / "train.csv"))}
        options += ["--train", _write(data / "one.csv", list(first.values()))]
    found, stdout, stderr = _run("evaluate", data / "predictions.csv", *options)
    assert found == 0, stderr
    assert "speakers known" not in stdout.lower()
    said = " ".join(stdout.split())
    assert ("need training labels: give --train" in said) == (training == "none")
    assert ("no speaker has two training labels" in said) == (training != "none")


def test_seed_and_resamples(data: Path) -> None:
    options = ("evaluate", data / "predictions.csv", "--labels", data / "test.csv", "--json", "--resamples", 50)
    same, again, other = (_run(*options, "--seed", seed)[1] for seed in (1, 1, 2))
    assert same == again
    assert same != other
    none = json.loads(
        _run("evaluate", data / "predictions.csv", "--labels", data / "test.csv", "--json", "--resamples", 0)[1]
    )
    assert none["protocols"]["official"]["ci95"] == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions.csv": "clip,nothing\na,1\n"}, "no column is a trait"),
        ({"predictions.csv": ""}, "empty"),
        ({"test.csv": "clip,path\n"}, "no columns split, speaker"),
    ],
)
def test_unreadable_files_are_one_line(data: Path, change: dict[str, str], message: str) -> None:
    for name, text in change.items():
        (data / name).write_text(text)
    code, stdout, stderr = _run("evaluate", data / "predictions.csv", "--labels", data / "test.csv", "--json")
    assert code == 2
    assert stdout == ""
    assert message in stderr
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", "absent.csv"], "does not exist"),
        ([], "Missing option '--labels'"),
        (["--labels", "test.csv", "--split", "nowhere"], "no split nowhere; there are: test"),
        (["--labels", "test.csv", "--group-by", "shoe_size"], "no column shoe_size"),
        (["--labels", "test.csv", "--group-by", "clips"], "no column clips"),
        (["--labels", "test.csv", "--train-split", "train"], "--train-split needs --train"),
        (["--labels", "all.csv", "--train", "all.csv"], "say which with --split"),
    ],
)
def test_wrong_calls(data: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str) -> None:
    monkeypatch.chdir(data)
    code, _, stderr = _run("evaluate", "predictions.csv", *options)
    assert code == 2
    assert message in stderr
    assert "Traceback" not in stderr


def test_the_installed_command(data: Path) -> None:
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-m", "thinslice", "evaluate", "predictions.csv", "--labels", "test.csv", "--json"]
    found = subprocess.run(command, cwd=data, capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["num_clips"] == 180
    (data / "predictions.csv").write_bytes(b"\x00\x01")
    found = subprocess.run(command, cwd=data, capture_output=True, text=True, env=environment)
    assert found.returncode == 2
    assert "not a text file" in found.stderr
    assert "Traceback" not in found.stderr


def test_evaluate_imports_neither_torch_nor_figures_it_does_not_draw(data: Path) -> None:
    code = (
        "import sys; from thinslice.cli import cli\n"
        "try: cli(['evaluate', 'predictions.csv', '--labels', 'test.csv', '--json', '--resamples', '10'])\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in ('torch', 'matplotlib', 'scipy', 'sklearn') if m in sys.modules), file=sys.stderr)"
    )
    root = Path(__file__).resolve().parents[1]
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=data,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root / "src")},
    )
    assert found.stderr.strip().splitlines()[-1] == "[]"


def _vote_file(data: Path, clips: Sequence[str], labels: Mapping[str, float]) -> Path:
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(1500):
        left, right = rng.choice(len(clips), 2, replace=False)
        ahead = 4 * (labels[clips[left]] - labels[clips[right]])
        chosen = "left" if rng.random() < 1 / (1 + np.exp(-ahead)) else "right"
        row = {"left": clips[left], "right": clips[right]}
        rows.append(row | {name: chosen if rng.random() < 0.9 else "" for name in TARGETS})
    return _write(data / "votes.csv", rows)


def test_votes_give_the_keys_of_the_contract_and_an_exact_agreement(data: Path) -> None:
    labelled = {row["clip"]: float(row["openness"]) for row in _rows(data / "all.csv")}
    votes = _vote_file(data, list(labelled), labelled)
    options = ("--labels", data / "test.csv", "--resamples", 0, "--json")
    code, stdout, _ = _run("evaluate", data / "predictions.csv", *options, "--votes", votes)
    assert code == 0
    document = json.loads(stdout)
    assert list(document["votes"]) == TARGET_KEYS
    keys = ["num_votes", "agreement", "others", "one_rater", "equal_raters", "reliability", "ci95"]
    scores = {row["clip"]: float(row["openness"]) for row in _rows(data / "predictions.csv")}
    agreed = []
    for vote in _rows(votes):
        if vote["openness"] and vote["left"] in scores and vote["right"] in scores:
            order = np.sign(scores[vote["left"]] - scores[vote["right"]])
            agreed.append((1 + order * (1 if vote["openness"] == "left" else -1)) / 2)
    for name, entry in document["votes"].items():
        assert list(entry) == keys, name
        assert list(entry["ci95"]) == ["agreement"]
        low, high = entry["ci95"]["agreement"]
        assert low <= entry["agreement"] <= high
    assert document["votes"]["openness"]["num_votes"] == len(agreed)
    assert document["votes"]["openness"]["agreement"] == np.mean(agreed)
    assert set(document["noise_corrected"]) == {"pcc", "r2_share"}
    code, without, _ = _run("evaluate", data / "predictions.csv", *options)
    assert "votes" not in json.loads(without)
    code, table, _ = _run("evaluate", data / "predictions.csv", *options[:-1], "--votes", votes)
    assert "Agreement with voters" in table


def test_votes_about_other_clips_are_told(data: Path) -> None:
    votes = _write(data / "votes.csv", [{"left": "x", "right": "y", "openness": "left"}])
    code, _, stderr = _run("evaluate", data / "predictions.csv", "--labels", data / "test.csv", "--votes", votes)
    assert code == 0
    assert "no vote is about two scored clips" in stderr


def test_targets_of_ones_own_have_every_part_of_the_scorecard(data: Path) -> None:
    """Under other names the same numbers give the same scores, their average over the targets named."""
    own = ("warmth", "competence")
    for name in ("all.csv", "predictions.csv"):
        rows = _rows(data / name)
        text = (data / name).read_text().replace("openness", own[0]).replace("extraversion", own[1])
        (data / f"own-{name}").write_text(text)
        assert rows
    given = ("--split", "test", "--train-split", "train", "--group-by", "gender")
    common = ("--labels", data / "all.csv", "--train", data / "all.csv", *given)
    traits = _json("evaluate", data / "predictions.csv", *common)
    mine = ("--labels", data / "own-all.csv", "--train", data / "own-all.csv", *given, "--targets", ",".join(own))
    found = _json("evaluate", data / "own-predictions.csv", *mine, "--out", data / "scores")
    assert found["poles"] == {name: ["low", "high"] for name in own}
    for protocol in PROTOCOLS:
        for metric in ("accuracy", "r2", "ccc"):
            was, now = traits["protocols"][protocol][metric], found["protocols"][protocol][metric]
            assert list(now) == [*own, "average"]
            assert [now[name] for name in own] == [was["openness"], was["extraversion"]]
            assert now["average"] == pytest.approx((was["openness"] + was["extraversion"]) / 2)
    assert list(found["baselines"]["lookup"]["official"]["r2"]) == [*own, "average"]
    assert list(found["groups"]["gender"]["groups"]["f"]["accuracy"]) == [*own, "average"]
    assert list(found["extremes"]["thresholds"]["low"]) == list(own)
    assert list(found["training"]["mean"]) == [*own, "average"]
    assert "Average of the targets" in (data / "scores" / "scores.md").read_text()
    assert (data / "scores" / "scatter.png").is_file()
    code, _, stderr = _run("evaluate", data / "own-predictions.csv", "--labels", data / "own-all.csv")
    assert code == 1
    assert "--split NAME scores one of them" in stderr
    assert _run("evaluate", data / "predictions.csv", *mine)[0] == 2


def test_targets_may_be_some_of_the_traits(data: Path) -> None:
    files = (data / "predictions.csv", "--labels", data / "test.csv", "--train", data / "train.csv")
    every, some = _json("evaluate", *files), _json("evaluate", *files, "--targets", "extraversion,agreeableness")
    was, now = every["protocols"]["official"]["r2"], some["protocols"]["official"]["r2"]
    assert now["average"] == pytest.approx((was["extraversion"] + was["agreeableness"]) / 2)
    assert not [line for line in some["warnings"] if "no average" in line]
