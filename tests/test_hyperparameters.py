"""``--set``: what of a recipe can be changed, how it is read, shown and kept."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("lightning")

import msgspec

from thinslice.cli.extract import extract
from thinslice.cli.sizes import build_changed
from thinslice.cli.systems import systems
from thinslice.cli.table import table
from thinslice.cli.train import train
from thinslice.errors import UsageError
from thinslice.systems import RECIPES, build_recipe, find_builder
from thinslice.systems.hyperparameters import Even, Hyperparameter, Share, list_hyperparameters


@pytest.mark.parametrize(
    ("kind", "default", "text", "value"),
    [
        (int, 5, "7", 7),
        (int, 0, "0", 0),
        (float, 0.5, "1e-3", 0.001),
        (float, 0.5, "-2", -2.0),
        (bool, True, "false", False),
        (str, "a", "b=c", "b=c"),
        (str, "a", "", ""),
        (str, "a", '""', ""),
        (Literal["x", "y"], "x", "y", "y"),
        (int | None, None, "none", None),
        (int | None, None, "3", 3),
        (str | None, None, "3", "3"),
        (int | float | bool | str, None, "3.5", 3.5),
        (Annotated[int, msgspec.Meta(le=3)], 1, "3", 3),
    ],
)
def test_values_are_typed(kind: Any, default: Any, text: str, value: Any) -> None:
    found = Hyperparameter("size", default, kind, "").parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "default", "text", "allowed"),
    [
        (int, 5, "0", "a whole number, 1 or more"),
        (int, 0, "-1", "a whole number, 0 or more"),
        (int, 5, "1.5", "a whole number"),
        (float, 0.5, "nan", "a number"),
        (float, 0.5, "much", "a number"),
        (bool, True, "perhaps", "true or false"),
        (Literal["x", "y", ""], "x", "z", 'one of x, y, ""'),
        (int | None, None, "few", "a whole number or none, 1 or more"),
        (Annotated[int, msgspec.Meta(le=3)], 1, "4", "a whole number, 3 at most"),
        (Share | None, None, "1.5", "a number or none, 0 or more, 1 at most"),
        (Even, 8, "3", "a whole number, 2 or more, a multiple of 2"),
    ],
)
def test_what_is_allowed_is_said(kind: Any, default: Any, text: str, allowed: str) -> None:
    with pytest.raises(UsageError) as raised:
        Hyperparameter("size", default, kind, "").parse(text)
    assert allowed in str(raised.value)


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipes_hyperparameters_have_meanings_and_can_be_set(name: str) -> None:
    recipe = build_recipe(name)
    known = list_hyperparameters(recipe)
    assert set(known) == set(recipe.arguments) - {"variant"}
    for entry in known.values():
        assert entry.about, f"{name}: {entry.name} has no line in the docstring"
        assert entry.default == recipe.arguments[entry.name]
        if entry.default is not None:
            assert entry.parse(str(entry.default).lower() if isinstance(entry.default, bool) else str(entry.default)) \
                == entry.default  # fmt: skip
        if entry.name.endswith(("rate", "decay", "momentum", "dampening", "dropout")):
            with pytest.raises(UsageError, match="0 or more"):
                entry.parse("-1")


def test_unknown_names_and_forms_are_said() -> None:
    with pytest.raises(UsageError, match=r"cr_net has no hyperparameter trees; there are layout, .*num_trees"):
        build_changed("cr_net", None, ("trees=5",))
    with pytest.raises(UsageError, match="give it as NAME=VALUE"):
        build_changed("cr_net", None, ("num_trees",))
    with pytest.raises(UsageError, match="detector is one of mtcnn, landmarker, hog; by default mtcnn"):
        build_changed("cr_net", None, ("detector=nose",))


def test_the_last_of_a_name_counts_and_becomes_an_argument() -> None:
    recipe = build_changed("cr_net", "small_face", ("num_trees=5", "epochs=2", "num_trees=7"))
    assert (recipe.arguments["num_trees"], recipe.arguments["epochs"]) == (7, 2)
    assert recipe.arguments["width"] == 8
    assert build_recipe("cr_net", **recipe.arguments).arguments == recipe.arguments


def test_one_frame_stays_one_frame_in_a_table_of_more() -> None:
    assert build_changed("cross_modal", "scene", ("num_frames=9",)).arguments["num_frames"] == 1
    assert build_changed("cross_modal", "video", ("num_frames=9",)).arguments["num_frames"] == 9


OWN = '''
from functools import partial
import torch
from thinslice.features.spec import FeatureSpec
from thinslice.train.recipe import Recipe, Stage, Update
from thinslice.traits import TRAITS

def loss(model, batch): ...
def sample(clip, mode, rng): ...

def recipe(variant="voice", width=32, rate: float | None = None, last=True):
    """Return it.

    Args:
        width: of the hidden layer,
            neurons.
    """
    update = Update(loss=loss, optimiser=torch.optim.Adam)
    return Recipe(name="own", arguments={"variant": variant, "width": width, "rate": rate, "last": last},
        variants=("voice",), paper="none", inputs={"voice": "voice"}, outputs=TRAITS,
        features={"voice": FeatureSpec(extractor="voice_profile")}, sample=sample, build_model=torch.nn.Identity,
        stages=(Stage(name="network", updates=(update,), batch_size=32, epochs=1),))
'''


def test_arguments_of_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own_sizes.py"
    path.write_text(OWN)
    known = list_hyperparameters(build_recipe(str(path)), find_builder(str(path)))
    assert [(one.name, one.default, one.about) for one in known.values()] == [
        ("width", 32, "of the hidden layer, neurons."), ("rate", None, ""), ("last", True, ""),
    ]  # fmt: skip
    recipe = build_changed(str(path), None, ("width=8", "rate=0.5", "last=false"))
    assert recipe.arguments == {"variant": "voice", "width": 8, "rate": 0.5, "last": False}
    shown = CliRunner().invoke(systems, [str(path), "--json"], catch_exceptions=False)
    (entry,) = json.loads(shown.stdout)
    assert [row["name"] for row in entry["hyperparameters"]] == ["width", "rate", "last"]
    assert entry["hyperparameters"][0]["defaults"] == {"voice": 32}
    with pytest.raises(UsageError, match="no hyperparameter depth; there are width, rate, last"):
        build_changed(str(path), None, ("depth=8",))


def test_systems_shows_each_with_its_default() -> None:
    shown = CliRunner().invoke(systems, ["cr_net"], catch_exceptions=False).stdout
    line = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["num_trees"])
    assert line[:6] == ["num_trees", "1000", "200", "a", "whole", "number,"]
    (entry,) = json.loads(CliRunner().invoke(systems, ["cr_net", "--json"], catch_exceptions=False).stdout)
    found = {row["name"]: row["defaults"] for row in entry["hyperparameters"]}
    assert found["num_trees"] == {"all": 1000, "small_all": 200}


@pytest.mark.parametrize("command", [train, table, extract])
def test_every_command_checks_before_it_reads_anything(command: Any, tmp_path: Path) -> None:
    places = {
        train: ["cr_net", "--data", "none.csv", "--out", "run"],
        table: ["cr_net", "3", "--data", "none.csv", "--out", "runs"],
        extract: ["none.csv", "--recipe", "cr_net", "--store", "features"],
    }[command]
    result = CliRunner().invoke(command, [*places, "--set", "num_trees=many"])
    assert "num_trees is a whole number, 1 or more; by default 1000" in str(result.exception)
