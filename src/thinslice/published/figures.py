"""Published figures of systems, with their source, beside what was measured here.

Tables that ship with the package: `systems.csv` (what each system is), `published.csv` (figures as the papers print
them, also where their averages do not follow from their traits) and `measured.csv` (figures of this project, each with
the command that repeats it); `speed.csv` is how fast training was on which machine.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

_RECIPE_OF: Final = {"evolgen": "bimodal"}
"""Systems that the papers call by their team's name, and the recipe that thinslice has of them."""

_TEXT: Final = ("system", "variant", "dataset", "split", "metric", "target")


@dataclass(frozen=True)
class Figure:
    """One score of one system.

    Attributes:
        system: its name, the recipe's where there is one.
        variant: which version of it: inputs, loss, epochs.
        dataset: "FI-V1", "FI-V2" or another.
        split: of the dataset.
        metric: "accuracy", "r2", "mse", "accuracy_male" ...
        target: a trait, "average", "interview", "valence" ...
        value: the score.
        source: table of a paper, or the command that measured it.
    """

    system: str
    variant: str
    dataset: str
    split: str
    metric: str
    target: str
    value: float
    source: str


@dataclass(frozen=True)
class About:
    """What a published system is.

    Attributes:
        title: of its paper.
        reference: authors and place.
        inputs: what it looks at and listens to.
    """

    title: str
    reference: str
    inputs: tuple[str, ...]


def load_published() -> list[Figure]:
    """Return the published figures, in the file's order."""
    return _figures("published.csv", "source")


def load_measured() -> list[Figure]:
    """Return the figures measured by this project; `source` is the command that repeats each."""
    return _figures("measured.csv", "command")


@dataclass(frozen=True)
class TrainingSpeed:
    """How fast one stage of a recipe trained on one machine.

    Attributes:
        machine: what it was.
        recipe: the system.
        is_small: whether at its small size.
        stage: its name, or what the names of several like it begin with.
        clips_per_s: of the loop, reading from a feature store.
        held_clips_per_s: of the same loop on one batch that lay on the device.
    """

    machine: str
    recipe: str
    is_small: bool
    stage: str
    clips_per_s: float
    held_clips_per_s: float


def load_speeds() -> list[TrainingSpeed]:
    """Return how fast recipes trained on other machines, for `thinslice benchmark`; docs/training.md says how."""
    return [
        TrainingSpeed(
            machine=row["machine"],
            recipe=row["recipe"],
            is_small=row["size"] == "small",
            stage=row["stage"],
            clips_per_s=float(row["clips_per_s"]),
            held_clips_per_s=float(row["held_clips_per_s"]),
        )
        for row in _rows("speed.csv")
    ]


def load_about() -> dict[str, About]:
    """Return what each published system is."""
    return {
        row["system"]: About(row["title"], row["reference"], tuple(part.strip() for part in row["inputs"].split(";")))
        for row in _rows("systems.csv")
    }


def list_systems(recipes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every recipe and every system with published figures: recipes first, then by name.

    Args:
        recipes: name -> {"title", "paper", "inputs", "variants", "hyperparameters", "readings", "tables",
            "draws_figures"} of each recipe; what is absent or empty is filled from the tables of figures.

    Returns:
        [{"name", "is_recipe", "title", "paper", "inputs": [str], "variants": [str], "hyperparameters": [as given],
        "readings": {variant: what it reads how}, "tables": {what `thinslice table` takes: {variant: its published
        name}}, "draws_figures": whether `thinslice figures` can, "published": [figure], "measured": [figure]}], a
        figure being {"variant", "dataset", "split", "metric", "target", "value", "source"} or, if measured, with
        "command" in the place of "source".
    """
    about, published, measured = load_about(), load_published(), load_measured()
    names = [*recipes, *sorted({figure.system for figure in published + measured} - set(recipes))]
    out = []
    for name in names:
        own = recipes.get(name, {})
        known = about.get(name, About("", "", ()))
        theirs = [figure for figure in published if figure.system == name]
        ours = [figure for figure in measured if figure.system == name]
        variants = own.get("variants") or dict.fromkeys(figure.variant for figure in theirs + ours)
        out.append(
            {
                "name": name,
                "is_recipe": name in recipes,
                "title": own.get("title") or known.title,
                "paper": own.get("paper") or known.reference,
                "inputs": list(own.get("inputs") or known.inputs),
                "variants": list(variants),
                "hyperparameters": list(own.get("hyperparameters", ())),
                "readings": dict(own.get("readings", {})),
                "tables": dict(own.get("tables", {})),
                "draws_figures": bool(own.get("draws_figures")),
                "published": [_entry(figure, "source") for figure in theirs],
                "measured": [_entry(figure, "command") for figure in ours],
            }
        )
    return out


def headline(figures: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the figure that a system is known by: its best average accuracy on a test split, FI-V2 before FI-V1.

    Of folds of training clips those with speakers apart come first. Of the same figure quoted by two papers, the one
    with more digits.
    """
    scores = [f for f in figures if f["metric"] == "accuracy" and f["target"] == "average"]
    return max(
        scores,
        key=lambda f: (
            f["split"] == "test",
            f["split"].endswith("speakers apart"),
            f["dataset"] == "FI-V2",
            round(f["value"], 3),
            len(repr(f["value"])),
            f["value"],
        ),
        default=None,
    )


def _entry(figure: Figure, last: str) -> dict[str, Any]:
    return {name: getattr(figure, name) for name in (*_TEXT[1:], "value")} | {last: figure.source}


def _figures(file: str, last: str) -> list[Figure]:
    figures = []
    for row in _rows(file):
        texts = {name: row[name] for name in _TEXT} | {"system": _RECIPE_OF.get(row["system"], row["system"])}
        figures.append(Figure(**texts, value=float(row["value"]), source=row[last]))
    return figures


def _rows(file: str) -> list[dict[str, str]]:
    text = resources.files("thinslice.published").joinpath(file).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))
