"""``thinslice table``: train the variants of a published table and print them beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)


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
@click.option("--small", is_flag=True, help="The variants' small size, for CPUs and small corpora.")
@click.option("--only", multiple=True, metavar="VARIANT", help="Of the table's variants; repeatable.  [default: all]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--max-steps", type=click.IntRange(1), metavar="N", help="For a trial: steps of each stage at most.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Reading processes.")
def table(
    name: str,
    number: str,
    data: Path,
    out: Path,
    store: Path | None,
    small: bool,
    only: tuple[str, ...],
    device: str,
    max_steps: int | None,
    workers: int,
) -> None:
    """Run the variants of table TABLE of the paper of NAME on MANIFEST, and print them beside the published figures.

    What is finished in RUNS is not run again; what was interrupted goes on.
    """
    from thinslice.errors import MissingExtraError, UsageError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("training", "train") from None
    from thinslice.cli.recipes import build_recipe
    from thinslice.cli.show_table import print_tables
    from thinslice.train.inputs import load_run_data
    from thinslice.train.loop import Settings, train
    from thinslice.train.run import load_json

    tables = _tables(name)
    if number not in tables:
        raise UsageError(f"{name} has no table {number}; there are {', '.join(tables)}")
    rows = dict(tables[number])
    unknown = [variant for variant in only if variant not in rows]
    if unknown:
        raise UsageError(f"table {number} has no variant {', '.join(unknown)}; there are {', '.join(rows)}")
    store = data.absolute().parent / "features" if store is None else store
    scores: dict[str, Mapping[str, Any]] = {}
    for variant in only or rows:
        recipe = build_recipe(name, f"small_{variant}" if small else variant)
        click.echo(f"{recipe.name} {recipe.variant}", err=True)
        run_data, left_out = load_run_data(recipe, data, store, num_workers=workers)
        if left_out:
            click.echo(f"{len(left_out):,} clips left out; run.json lists them", err=True)
        settings = Settings(device=device, max_steps=max_steps, num_workers=workers, resume=True)
        folder = train(recipe, run_data, out / recipe.variant, settings)
        splits = load_json(folder.path / "scores.json", "no scores")["splits"]
        scores[variant] = splits.get("test") or splits.get("validation") or {}
    note = f"Ours: {'the small size, ' if small else ''}clips of {data.name}. Published: test clips of FI-V2."
    print_tables([compare(name, number, rows, scores, note)])


def compare(name: str, number: str, rows: Mapping[str, str], scores: Mapping[str, Mapping[str, Any]], note: str) -> Any:
    """Return the table: of each variant our accuracies and, below, the published ones.

    Args:
        name: the system.
        number: of its table.
        rows: variant -> its name in published.csv.
        scores: variant -> a split's entry of scores.json.
        note: printed below.
    """
    from thinslice.evaluate.published import load_published
    from thinslice.evaluate.tables import Table
    from thinslice.traits import TARGETS, TRAITS

    published = {
        (f.variant, f.target): f.value for f in load_published() if f.system == name and f.metric == "accuracy"
    }
    lines = []
    for variant, entry in scores.items():
        ours = [entry.get(f"accuracy_{target}") for target in TARGETS]
        known = [value for value in ours[: len(TRAITS)] if value is not None]
        average = sum(known) / len(known) if len(known) == len(TRAITS) else None
        r2 = [entry.get(f"r2_{trait}") for trait in TRAITS]
        mean_r2 = None if None in r2 else sum(float(value or 0.0) for value in r2) / len(r2)
        lines.append((variant, "ours", *map(_text, [*ours, average, mean_r2])))
        theirs = [published.get((rows[variant], target)) for target in (*TARGETS, "average")]
        lines.append(("", "published", *map(_text, theirs), ""))
    header = ("variant", "", *(target[:6] for target in TARGETS), "average", "R²")
    return Table(f"{name}, table {number}: accuracy", header, tuple(lines), note, "ll" + "r" * (len(header) - 2))


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _tables(name: str) -> Mapping[str, Mapping[str, str]]:
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
