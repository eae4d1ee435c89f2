"""Every recipe: found, built, described and documented; the commands' flags, frozen."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from thinslice.cli.systems import systems
from thinslice.systems import RECIPES

ROOT = Path(__file__).resolve().parents[1]


def test_names_are_known_without_torch() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from thinslice.systems import RECIPES; names = list(RECIPES); assert 'deep_impression' in names; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_systems_lists_every_recipe() -> None:
    result = CliRunner().invoke(systems, ["--json"], catch_exceptions=False)
    entries = {entry["name"]: entry for entry in json.loads(result.output)}
    assert {name for name, entry in entries.items() if entry["is_recipe"]} == set(RECIPES)
    published = [figure["value"] for figure in entries["deep_impression"]["published"]]
    assert 0.910932616931 in published


torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from thinslice.errors import UsageError  # noqa: E402
from thinslice.features.extractor import EXTRACTORS  # noqa: E402
from thinslice.systems import build_recipe  # noqa: E402
from thinslice.train.recipe import FitStage, Recipe, Stage, describe  # noqa: E402
from thinslice.train.stage import trained_parameters  # noqa: E402
from thinslice.traits import TARGETS  # noqa: E402


@pytest.mark.parametrize("name", list(RECIPES))
class TestEveryRecipe:
    def test_is_whole(self, name: str) -> None:
        recipe = RECIPES[name]()
        assert isinstance(recipe, Recipe)
        assert recipe.name == name
        assert recipe.variant in recipe.variants
        assert set(recipe.outputs) <= set(TARGETS)
        assert set(recipe.inputs) <= set(recipe.features)
        assert set(recipe.inputs.values()) <= {"voice", "words", "face", "scene", "sound"}
        assert {spec.extractor for spec in recipe.features.values()} <= set(EXTRACTORS)

    def test_every_variant_is_built_again_from_its_arguments(self, name: str) -> None:
        for variant in RECIPES[name]().variants:
            recipe = RECIPES[name](variant=variant)
            again = RECIPES[name](**json.loads(json.dumps(dict(recipe.arguments))))
            assert describe(again) == describe(recipe)
            assert json.loads(json.dumps(describe(recipe)))["name"] == name

    def test_stages_train_parts_that_exist(self, name: str) -> None:
        recipe = RECIPES[name]()
        model = recipe.build_model()
        assert sum(parameter.numel() for parameter in model.parameters()) > 0
        for stage in recipe.stages:
            if isinstance(stage, Stage):
                assert all(trained_parameters(model, update) for update in stage.updates)
                assert set(stage.companions) <= set(recipe.companions)
            else:
                assert isinstance(stage, FitStage)

    def test_is_documented(self, name: str) -> None:
        text = (ROOT / "docs" / "systems" / f"{name}.md").read_text("utf-8")
        assert "Deviations" in text
        assert f"thinslice train {name}" in text


def test_unknown_recipe_is_named() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'deep_impresion'; there are .*deep_impression"):
        build_recipe("deep_impresion")


FLAGS = {
    "train": [
        "NAME",
        "--data",
        "--out",
        "--store",
        "--variant",
        "--set",
        "--targets",
        "--companion",
        "--shared-stages",
        "--decoded",
        "--resume",
        "--device",
        "--batch-size-per-device",
        "--max-steps",
        "--seed",
        "--workers",
        "--precision",
    ],
    "export": ["RUN", "--out", "--name", "--data", "--store"],
}


@pytest.mark.parametrize("command", list(FLAGS))
def test_flags_are_frozen(command: str) -> None:
    """All but --variant and --set leave alone what is learned. Other programs call these flags."""
    import importlib

    built = getattr(importlib.import_module(f"thinslice.cli.{command}"), command)
    names = [p.metavar if isinstance(p, click.Argument) else p.opts[0] for p in built.params]
    assert [name for name in names if name not in ("-q", "-v")] == FLAGS[command]  # Every command gets these two.
    assert "Example" in built.epilog
