"""The commands of docs/own-videos.md run as they stand, in a folder with planted clips and made-up ratings."""

import csv
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("lightning")

from thinslice.bundle import load_bundle
from thinslice.cli import cli
from thinslice.data.manifest import load_manifest
from thinslice.traits import TRAITS

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """interviews/ with 12 clips of 12 people, ratings.csv from 1 to 7 with commas, and my_system.py."""
    call("data", "planted", tmp_path / "planted", "--clips", 12, "--speakers", 12, "--seconds", 2, "--seed", 1)
    planted = load_manifest(tmp_path / "planted" / "manifest.csv")
    (tmp_path / "interviews").mkdir()
    rng = np.random.default_rng(0)
    with (tmp_path / "ratings.csv").open("w", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["Video", "Person", *"OCEAN", "Warmth"])
        for i, clip in enumerate(planted.clips):
            shutil.move(planted.path(i), tmp_path / "interviews" / clip)
            rated = 1 + 6 * np.append(planted.labels(TRAITS)[i], rng.uniform())
            table.writerow([clip, planted.speakers[i], *(f"{value:.2f}".replace(".", ",") for value in rated)])
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "your-own-system.md").read_text("utf-8"), re.S)
    (tmp_path / "my_system.py").write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_system", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, f"{arguments}\n{done.output}"
    return done.output


def test_every_command_of_the_page_runs(folder: Path) -> None:
    page = (DOCS / "own-videos.md").read_text("utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.splitlines()]
    said = {}
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "thinslice"
        said[line.split()[1]] = call(*arguments)
    assert len(lines) == 11
    rated = load_manifest("rated.csv")
    assert len(set(rated.speakers)) == 12
    assert set(rated.columns) == {*TRAITS, "warmth"}
    assert "R² on speakers not met (12 speakers, 12 clips)" in said["adapt"]
    assert load_bundle(folder / "bundles" / "ours").card.num_training_clips == 12
    assert load_bundle(folder / "bundles" / "warmth").outputs == ("warmth",)
    for name in ("as-it-is", "ours", "warmth"):
        with (folder / name / "predictions.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == 12
        assert (folder / name / "report.html").is_file()
    run = json.loads((folder / "runs" / "warmth" / "run.json").read_text())
    assert run["arguments"]["targets"] == "warmth"
