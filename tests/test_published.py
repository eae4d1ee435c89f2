"""The published figures that ship with the package, and ``thinslice systems``."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from thinslice.bundle import load_bundle
from thinslice.cli import cli
from thinslice.errors import MissingExtraError
from thinslice.published.figures import headline, list_systems, load_about, load_measured, load_published
from thinslice.traits import TRAITS


def test_known_figures() -> None:
    found = {(f.system, f.variant, f.dataset, f.split, f.metric, f.target): f for f in load_published()}
    ours = found["cross_modal", "cross-modal (ours)", "FI-V2", "test", "accuracy", "average"]
    assert ours.value == 0.9127
    assert ours.source == "Fodor et al., Table 1"
    assert found["cr_net", "face+scene+audio+text", "FI-V2", "test", "accuracy", "interview"].value == 0.9247
    assert found["persemon", "PAM+RAM", "FI-V1", "test", "r2", "average"].value == 0.485
    assert all(figure.source for figure in found.values())


def test_the_shipped_copy_is_the_shared_one(published: Path) -> None:
    with (published / "published.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    figures = load_published()
    assert [(r["system"].replace("evolgen", "bimodal"), r["target"], float(r["value"]), r["source"]) for r in rows] == [
        (f.system, f.target, f.value, f.source) for f in figures
    ]


def test_averages_follow_from_the_traits_but_where_the_paper_says_otherwise() -> None:
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for f in load_published():
        groups.setdefault((f.system, f.variant, f.dataset, f.split, f.metric, f.source), {})[f.target] = f.value
    off = {
        key[:2]
        for key, values in groups.items()
        if {*TRAITS, "average"} <= set(values)
        and abs(sum(values[t] for t in TRAITS) / 5 - values["average"]) > 0.00101  # what rounding can explain
    }
    assert off == {("persemon", "RAM")}  # its Table 4 prints 0.903 over traits whose mean is 0.907


def test_every_system_is_described() -> None:
    about = load_about()
    assert {figure.system for figure in load_published() + load_measured()} == set(about)
    assert all(entry.title and entry.reference and entry.inputs for entry in about.values())


def test_measured_figures_name_their_command() -> None:
    for figure in load_measured():
        assert figure.source.startswith(("thinslice ", "python ", "make ")), figure
        assert 0 <= abs(figure.value) <= 1


def test_headline_is_the_best_official_test_average() -> None:
    systems = {entry["name"]: entry for entry in list_systems({})}
    assert headline(systems["cr_net"]["published"])["value"] == 0.9188  # type: ignore[index]
    assert headline(systems["deep_impression"]["published"])["value"] == 0.910932616931  # type: ignore[index]
    assert headline(systems["audiovisual_attributes"]["published"])["value"] == 0.90893  # type: ignore[index]
    assert headline(systems["mm_net"]["published"]) is None


def test_headline_of_our_own_is_with_speakers_apart() -> None:
    """Folds in which speakers repeat score higher, and say less."""
    ours = {entry["name"]: entry for entry in list_systems({})}["voice-words"]["measured"]
    best = headline(ours)
    assert best is not None
    assert (best["variant"], best["split"]) == ("voice+words", "train: 5 folds, speakers apart")
    assert best["value"] < max(f["value"] for f in ours if f["metric"] == "accuracy" and f["target"] == "average")


def test_measured_figures_are_those_of_the_bundles_card() -> None:
    card = load_bundle("voice-words").card
    part = {"apart": "apart", "repeat": "in several folds"}
    ours = [figure for figure in load_measured() if figure.system == "voice-words"]
    assert ours
    for figure in ours:
        where = part[figure.split.split()[-1]]
        (score,) = [e for e in card.scores if e.clips.endswith(where) and e.inputs == figure.variant]
        assert figure.value == getattr(score, figure.metric)[figure.target], figure


def test_recipes_come_first_and_fill_what_they_know() -> None:
    own = {"title": "Mine", "paper": "Me 2026", "inputs": ["voice"], "variants": ["small"]}
    found = list_systems({"persemon": {}, "mine": own})
    assert [entry["name"] for entry in found[:2]] == ["persemon", "mine"]
    assert found[0]["is_recipe"]
    assert found[0]["paper"].startswith("Zhang")
    assert len(found[0]["published"]) == 49
    expected = own | {"name": "mine", "is_recipe": True, "hyperparameters": [], "readings": {}, "tables": {}}
    expected |= {"draws_figures": False}
    expected |= {"published": [], "measured": []}
    assert found[1] == expected
    assert [entry["name"] for entry in found].count("persemon") == 1


def test_recipes_describe_themselves_or_need_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    import thinslice.systems

    def make(variant: str = "large", width: int = 8) -> SimpleNamespace:
        inputs = {"frames": "face", "waveform": "sound", "crop": "face"}
        described = {"paper": "Me 2026", "inputs": inputs, "variants": ("small", "large")}
        return SimpleNamespace(
            **described, variant=variant, hyperparameters=None, arguments={}, tables={}, draw_figures=None
        )

    def fail() -> SimpleNamespace:
        raise MissingExtraError("training", "train")

    monkeypatch.setattr(thinslice.systems, "RECIPES", {"mine": make, "cr_net": fail}, raising=False)
    found = json.loads(CliRunner().invoke(cli, ["systems", "--json"]).stdout)
    assert [entry["name"] for entry in found if entry["is_recipe"]] == ["mine", "cr_net"]
    assert found[0]["inputs"] == ["face", "sound"]
    assert found[0]["variants"] == ["small", "large"]
    assert found[0]["hyperparameters"][0]["defaults"] == {"large": 8, "small": 8}
    assert found[1]["paper"] == "Li et al., IJCV 2020"
    assert found[1]["hyperparameters"] == []
    assert "mine *" in CliRunner().invoke(cli, ["systems"]).stdout


def test_the_command() -> None:
    found = CliRunner().invoke(cli, ["systems", "--json"])
    assert found.exit_code == 0
    systems = {entry["name"]: entry for entry in json.loads(found.stdout)}
    assert set(systems) >= {"deep_impression", "cr_net", "cross_modal", "persemon", "audiovisual_attributes"}
    assert sum(len(entry["published"]) for entry in systems.values()) == len(load_published())
    entry = systems["cross_modal"]
    assert set(entry) == {
        "name",
        "is_recipe",
        "title",
        "paper",
        "inputs",
        "variants",
        "hyperparameters",
        "readings",
        "tables",
        "draws_figures",
        "published",
        "measured",
    }
    assert entry["published"][0]["source"] == "Fodor et al., Table 1"
    table = CliRunner().invoke(cli, ["systems"])
    assert table.exit_code == 0
    assert "0.9188" in table.stdout
    assert "Li et al." in table.stdout
    one = CliRunner().invoke(cli, ["systems", "persemon"])
    assert "0.0270"[:5] in one.stdout
    assert "Aff-Wild" in one.stdout
    assert re.search(r"^joint +2, 4, 5, 6, 4.6.2 ", one.stdout, re.M)
    assert "With small_ before its name each but fresh" in " ".join(one.stdout.split())
    unknown = CliRunner().invoke(cli, ["systems", "astrology"])
    assert unknown.exit_code == 2
    assert "no system astrology" in unknown.stderr


def test_systems_are_listed_where_pytorch_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from click.testing import CliRunner

    from thinslice.cli.systems import systems

    for name in [name for name in sys.modules if name.startswith("thinslice.systems.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = CliRunner().invoke(systems, ["--json"])
    assert result.exit_code == 0
    assert '"deep_impression"' in result.stdout
