"""Systems from outside: a file, an installed package, and what is said where they are wrong."""

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("lightning")

from media_files import voice_like, write_media
from thinslice import systems
from thinslice.cli import cli
from thinslice.errors import UsageError
from thinslice.systems import RECIPES, build_recipe
from thinslice.traits import TRAITS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "your-own-system.md"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system of the documentation, in a file of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert len(code.splitlines()) < 60
    file = tmp_path / f"own_system_{tmp_path.name.replace('-', '_')}.py"
    file.write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return file


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = ["clip,path,split,speaker," + ",".join(TRAITS)]
    for i, split in enumerate(("train",) * 5 + ("validation",) * 2):
        write_media(tmp_path / f"{i}.mp4", [voice_like(1.5, 16_000, i)], rate_hz=16_000)
        labels = np.random.default_rng(i).uniform(0.2, 0.8, len(TRAITS)).round(4)
        rows.append(f"{i}.mp4,{i}.mp4,{split},s{i}," + ",".join(map(str, labels)))
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clips.csv"


def call(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_file_is_trained_resumed_exported_and_predicts(example: Path, manifest: Path, tmp_path: Path) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    training = ("train", example, "--data", manifest, "--out", run, "--device", "cpu", "--max-steps")
    call(*training, 1)
    call(*training, 2, "--resume")
    document = json.loads((run / "run.json").read_text())
    assert document["recipe"] == "voice_network"
    assert document["source"] == str(example)
    call("export", run, "--out", bundle)
    (row,) = json.loads(call("predict", tmp_path / "0.mp4", "--bundle", bundle, "--json"))
    assert set(row["traits"]) == set(TRAITS)
    assert row["used"] == ["voice"]


def test_an_installed_package_brings_a_system(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("toy", "toy_recipe:toy_recipe", systems.ENTRY_POINTS)
    monkeypatch.setattr(systems, "entry_points", lambda group: [point] if group == systems.ENTRY_POINTS else [])
    assert "toy" in RECIPES
    assert len(RECIPES) == len(list(RECIPES))
    assert build_recipe("toy").name == "toy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe = 3\n", r"defines no function recipe\(variant"),
        ("1 / 0\n", "cannot be imported .*ZeroDivisionError: division by zero"),
    ],
)
def test_a_wrong_file_is_one_line(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / f"wrong_{abs(hash(text))}.py"
    file.write_text(text)
    with pytest.raises(UsageError, match=f"{file.name}.*{message}"):
        build_recipe(str(file))


def test_a_file_that_is_absent_or_hidden_by_another_module_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(UsageError, match=r"absent\.py: no such file"):
        build_recipe(str(tmp_path / "absent.py"))
    (tmp_path / "json.py").write_text("def recipe(): ...\n")
    with pytest.raises(UsageError, match=r"another module is called json"):
        build_recipe(str(tmp_path / "json.py"))
