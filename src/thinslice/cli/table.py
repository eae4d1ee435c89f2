"""``thinslice table``: train the variants of a published table and print them beside it.

A recipe's module says which tables it has: ``TABLES``, table -> variant -> the variant's name in published.csv.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

_PATH = click.Path(path_type=Path)

METRICS: Final = {"accuracy": "accuracy", "r2": "R²"}
"""Scores per target that runs record -> what they are called."""

SMALL: Final = "small_"


@click.command(
    epilog="""\b
Examples:
  thinslice table cr_net 3 --data fi.csv --store features/ --out runs/table3 --workers 8
  thinslice table cr_net 4 --small --data planted/manifest.csv --out runs/table4 --device cpu
"""
)
@click.argument("name", metavar="NAME")
@click.argument("number", metavar="TABLE")
@click.option("--data", required=True, type=_PATH, metavar="MANIFEST", help="Clips, labels and splits.")
@click.option("--out", required=True, type=_PATH, metavar="RUNS", help="Folder of the runs, one per variant.")
@click.option("--store", type=_PATH, metavar="DIR", help="The feature store.  [default: features beside MANIFEST]")
@click.option("--extra", multiple=True, metavar="NAME=MANIFEST", help="A further data set of the recipe; repeatable.")
@click.option("--small", is_flag=True, help="The variants' small size, for CPUs and small corpora.")
@click.option("--only", multiple=True, metavar="VARIANT", help="Of the table's variants; repeatable.  [default: all]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--max-steps", type=click.IntRange(1), metavar="N", help="For a trial: steps of each stage at most.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Reading processes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def table(
    name: str,
    number: str,
    data: Path,
    out: Path,
    store: Path | None,
    extra: tuple[str, ...],
    small: bool,
    only: tuple[str, ...],
    device: str,
    max_steps: int | None,
    workers: int,
    as_json: bool,
) -> None:
    """Run the variants of table TABLE of the paper of NAME on MANIFEST, and print them beside the published figures.

    What is finished in RUNS is not run again; what was interrupted goes on. Scores are those of the test clips, or of
    the validation clips where no clip is for testing.
    """
    from thinslice.errors import MissingExtraError, UsageError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("training", "train") from None
    from thinslice.cli.recipes import build_recipe
    from thinslice.cli.show_table import print_tables
    from thinslice.cli.train import parse_extra
    from thinslice.train.inputs import load_run_data
    from thinslice.train.loop import Settings, train
    from thinslice.train.run import load_json

    tables = tables_of(name)
    if number not in tables:
        raise UsageError(f"{name} has no table {number}; there are {', '.join(tables)}")
    names = tables[number]
    unknown = [variant for variant in only if variant not in names]
    if unknown:
        raise UsageError(f"table {number} has no variant {', '.join(unknown)}; there are {', '.join(names)}")
    store = data.absolute().parent / "features" if store is None else store
    scores: dict[str, Mapping[str, Any]] = {}
    split = ""
    for variant in only or names:
        recipe = build_recipe(name, f"{SMALL}{variant}" if small else variant)
        click.echo(f"{recipe.name} {recipe.variant}", err=True)
        run_data, left_out = load_run_data(recipe, data, store, parse_extra(extra), num_workers=workers)
        if left_out:
            click.echo(f"{len(left_out):,} clips left out; run.json lists them", err=True)
        settings = Settings(device=device, max_steps=max_steps, num_workers=workers, resume=True)
        folder = train(recipe, run_data, out / recipe.variant, settings)
        splits = load_json(folder.path / "scores.json", "no scores")["splits"]
        split = "test" if "test" in splits else "validation"
        scores[variant] = splits.get(split, {})
    document = {
        "system": name,
        "table": number,
        "is_small": small,
        "max_steps": max_steps,
        "data": {"manifest": data.name, "split": split, "num_clips": next(iter(scores.values())).get("num_clips", 0)},
        "rows": compare(name, {variant: names[variant] for variant in scores}, scores),
    }
    if as_json:
        click.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print_tables([show(document)])


def compare(name: str, names: Mapping[str, str], scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the table's rows: {"variant", "published_name", metric: {"measured": {...}, "published": {...}}}.

    Args:
        name: the system.
        names: variant -> its name in published.csv.
        scores: variant -> a split's entry of scores.json.

    Returns:
        For each variant, by metric, target -> score, and "average" over the five traits where all are known. Of
        published figures those of the test clips.
    """
    from thinslice.evaluate.published import load_published
    from thinslice.traits import TARGETS, TRAITS

    published: dict[tuple[str, str], dict[str, float]] = {}
    for figure in load_published():
        if figure.system == name and figure.split == "test":
            published.setdefault((figure.variant, figure.metric), {})[figure.target] = figure.value
    rows = []
    for variant, entry in scores.items():
        row: dict[str, Any] = {"variant": variant, "published_name": names[variant]}
        for metric in METRICS:
            measured = {target: entry.get(f"{metric}_{target}") for target in TARGETS}
            known = {target: value for target, value in measured.items() if value is not None}
            if set(TRAITS) <= set(known):
                known["average"] = sum(known[trait] for trait in TRAITS) / len(TRAITS)
            row[metric] = {"measured": known, "published": published.get((names[variant], metric), {})}
        rows.append(row)
    return rows


def show(document: Mapping[str, Any]) -> Any:
    """Return the table for people: of each variant the published accuracy, the measured one, and R² below."""
    from thinslice.evaluate.tables import Table
    from thinslice.traits import TARGETS

    columns = (*TARGETS, "average")
    lines = []
    for row in document["rows"]:
        first = row["variant"]
        for metric, title in METRICS.items():
            for whose in ("published", "measured"):
                values = row[metric][whose]
                if values or whose == "measured":
                    cells = ("–" if values.get(name) is None else f"{values[name]:.4f}" for name in columns)
                    lines.append((first, f"{title}, {whose}", *cells))
                    first = ""
    data = document["data"]
    note = f"Measured: {data['num_clips']:,} {data['split']} clips of {data['manifest']}"
    note += ", the recipe's small size" if document["is_small"] else ""
    steps = document["max_steps"]
    note += f", trial of {steps:,} steps a stage" if steps else ""
    note += ". Published: official test clips."
    header = ("variant", "", *(name[:6] for name in columns[:-1]), "average")
    title = f"{document['system']}, table {document['table']}"
    return Table(title, header, tuple(lines), note, "ll" + "r" * len(columns))


def tables_of(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the tables that a recipe's module names, table -> variant -> its published name."""
    import importlib

    from thinslice.errors import UsageError
    from thinslice.recipes import RECIPES

    if name not in RECIPES:
        raise UsageError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    found = getattr(importlib.import_module(RECIPES[name].__module__), "TABLES", None)
    if found is None:
        raise UsageError(f"{name} has no tables to run; train its variants one by one")
    tables: Mapping[str, Mapping[str, str]] = found
    return tables
