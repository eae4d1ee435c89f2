"""`thinslice benchmark`: what it measures, and what it says of it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("lightning", reason="the extra train is not installed")

import golden_curves
from thinslice.cli import benchmark as command
from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.published.figures import load_speeds
from thinslice.systems import RECIPES, build_recipe
from thinslice.train.benchmark.measure import Speed, advise, trained_stages
from thinslice.train.benchmark.plausible import plausible_feature, smooth_pictures

SPEED = Speed(
    recipe="cr_net",
    variant="all",
    stage="joint_face",
    batch_size=30,
    clips_per_s=100.0,
    held_clips_per_s=400.0,
    reading_ms=20.0,
    reads_pictures=True,
)


@pytest.mark.parametrize(
    ("changes", "workers", "cores", "is_decoded", "said"),
    [
        ({"clips_per_s": 380.0}, 4, 8, False, "the network takes the time"),
        ({}, 4, 16, False, "waits 75% for data, 20.0 ms of a core for each clip; try --workers 9"),
        ({}, 4, 8, False, "try --decoded DIR and --workers 8"),
        ({}, 8, 8, False, "try --decoded DIR"),
        ({}, 4, 8, True, "try --workers 8"),
        ({"reads_pictures": False}, 8, 8, False, "more cores would help"),
    ],
)
def test_advice(changes: dict[str, float], workers: int, cores: int, is_decoded: bool, said: str) -> None:
    assert said in advise(replace(SPEED, **changes), workers, cores, is_decoded)


def test_pictures_are_no_less_detailed_than_real_ones() -> None:
    from thinslice.features.jpeg import encode_pictures

    files = encode_pictures(smooth_pictures((4, 256, 456, 3), np.random.default_rng(0)))
    assert 20.7e3 < np.mean([len(file) for file in files]) < 60e3  # docs/feature-store.md has the size of real ones.


def test_every_recipe_has_plausible_features() -> None:
    rng = np.random.default_rng(0)
    for name in golden_curves.SMALLEST:
        recipe = golden_curves.build_golden(name)
        for spec in recipe.features.values():
            assert plausible_feature(spec, rng).size
    with pytest.raises(UsageError, match="no benchmark of features by voice_profile"):
        plausible_feature(FeatureSpec(extractor="voice_profile"), rng)


def test_figures_of_other_machines_are_of_stages_that_there_are() -> None:
    stages = {name: [stage.name for stage in trained_stages(build_recipe(name))] for name in RECIPES}
    for speed in load_speeds():
        assert any(name.startswith(speed.stage) for name in stages[speed.recipe]), speed
        assert speed.clips_per_s < speed.held_clips_per_s


@pytest.mark.parametrize(("options", "is_decoded"), [([], False), (["--decoded"], True)])
def test_the_command_measures_every_stage(
    options: list[str], is_decoded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PersEmoN: two updates, a companion, and a last stage on held features that is not measured."""
    monkeypatch.setattr(command, "_build", lambda name, small: golden_curves.build_golden(name))
    arguments = ["persemon", "--device", "cpu", "--seconds", "0.01", *options]
    result = CliRunner().invoke(command.benchmark, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["decoded"] is is_decoded
    (row,) = document["rows"]
    assert (row["recipe"], row["stage"], row["reads_pictures"]) == ("persemon", "network", True)
    assert min(row["clips_per_s"], row["held_clips_per_s"], row["reading_ms"]) > 0
    assert 0 <= row["waits"] < 1


def test_the_table_has_other_machines_beside() -> None:
    table = command._table([SPEED, replace(SPEED, variant="small_all")], "the CPU", 2, 1)
    none = ("–", "–", "–")
    assert table.rows[0][2:] == ("20.00", "100", "400", "75%", *none, "125", "311", "60%")
    assert table.rows[1][6:] == ("43.8", "44.7", "2%", *none)
    alone = command._table([SPEED], "the CPU", 2, 1)
    assert alone.header[6:] == tuple(
        f"NVIDIA H100, 16 cores: {name}" for name in ("clips/s", "without reading", "waits")
    )


@pytest.mark.parametrize(
    ("more", "said"), [(["wat"], "no recipe 'wat'"), (["--seconds", "nan"], "not a finite number")]
)
def test_what_cannot_be_measured_is_said_before_pytorch_is_loaded(
    more: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    answer = CliRunner().invoke(command.benchmark, more)
    assert answer.exit_code != 0
    assert said in answer.output + str(answer.exception)
