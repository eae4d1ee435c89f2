"""``thinslice systems``: recipes and systems of the literature, their published figures beside measured ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from thinslice.output import print_json

EPILOG = """\b
Examples:
  thinslice systems
  thinslice systems cr_net deep_impression
  thinslice systems --json
"""


@click.command(epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def systems(names: tuple[str, ...], as_json: bool) -> None:
    """List recipes and published systems, or the figures of NAMEs.

    A NAME may be a file of yours. Published figures are as the papers print them, with the table they come from.
    Measured ones have the command that repeats them. No published figure separates seen from unseen speakers;
    `thinslice evaluate` does.
    """
    from thinslice.published.figures import list_systems

    found = list_systems(_recipes(own=[name for name in names if name.endswith(".py")]))
    if names:
        known = [entry["name"] for entry in found]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise click.UsageError(f"no system {', '.join(unknown)}; there are {', '.join(known)}")
        found = [entry for entry in found if entry["name"] in names]
    if as_json:
        print_json(found)
        return
    from thinslice.cli.show_table import print_tables

    if not names:
        print_tables([_overview(found)])
    for entry in found if names else ():
        print_tables([*_figures(entry), *_variants(entry), *_readings(entry), *_hyperparameters(entry)])


def _variants(entry: Mapping[str, Any]) -> list[Any]:
    """Return the table of a recipe's variants and of the published tables that each is in; readings have their own.

    Small sizes of variants are a sentence of the note.
    """
    from thinslice.evaluate.tables import Table
    from thinslice.train.readings import PREFIX, SMALL

    name, tables = entry["name"], entry["tables"]
    if not (entry["hyperparameters"] or tables):  # No recipe, or PyTorch is absent.
        return []
    known = [variant for variant in entry["variants"] if not variant.removeprefix(SMALL).startswith(PREFIX)]
    small = {SMALL + variant for variant in known} & set(known)
    shown = [variant for variant in known if variant not in small]
    note = f"`thinslice train {name} --variant VARIANT` trains one"
    if tables:
        note += f", `thinslice table {name} TABLE` all of a table; TABLE is {', '.join(tables)} or all"
    note += "."
    if entry["draws_figures"]:
        note += " `thinslice figures RUN` draws the paper's figures from a finished run."
    if small:
        without = [variant for variant in shown if SMALL + variant not in small and not variant.startswith(SMALL[:-1])]
        but = f" but {', '.join(without)}" if without else ""
        note += f" With {SMALL} before its name each{but} is of a small size, for CPUs."
    rows = []
    for variant in [*shown, *dict.fromkeys(row for table in tables.values() for row in table if "@" in row)]:
        places = {number: row[variant] for number, row in tables.items() if variant in row}
        rows.append((variant, ", ".join(places), "; ".join(dict.fromkeys(places.values()))))
    return [Table(f"{name}: variants", ("variant", "tables", "in the paper"), tuple(rows), note, "lll")]


def _readings(entry: Mapping[str, Any]) -> list[Any]:
    """Return the table of readings of what the paper leaves open, where the entry is a recipe that has some."""
    from thinslice.evaluate.tables import Table

    if not entry["readings"]:
        return []
    note = f"`thinslice table {entry['name']} readings` trains them and prints how far each moves the scores."
    return [Table(f"{entry['name']}: readings", ("variant", "reading"), tuple(entry["readings"].items()), note, "ll")]


def _hyperparameters(entry: Mapping[str, Any]) -> list[Any]:
    """Return the table of what `--set` takes, where the entry is a recipe and PyTorch is there."""
    from thinslice.evaluate.tables import Table
    from thinslice.systems.hyperparameters import show_value

    found = entry["hyperparameters"]
    if not found:
        return []
    rows = []
    for row in found:
        first, *others = map(show_value, row["defaults"].values())
        rows.append((row["name"], first, *("" if other == first else other for other in others), row["allowed"],
                     row["about"]))  # fmt: skip
    header = ("--set", *found[0]["defaults"], "allowed", "")
    note = "Defaults of these variants; a second column shows what differs."
    return [Table(f"{entry['name']}: hyperparameters", header, tuple(rows), note, align="l" * len(header))]


def _settable(name: str, recipe: Any) -> list[dict[str, Any]]:
    """Return each hyperparameter with its defaults: the first variant's and, where there is one, the small one's."""
    from thinslice.systems import build_recipe, find_builder
    from thinslice.systems.hyperparameters import list_hyperparameters

    shown = [recipe]
    small = [variant for variant in recipe.variants if variant in ("small", f"small_{recipe.variant}")]
    shown += [build_recipe(name, variant) for variant in small[:1]]
    known = [list_hyperparameters(one, find_builder(name)) for one in shown]
    return [
        {
            "name": entry.name,
            "defaults": {one.variant: own[entry.name].default for one, own in zip(shown, known, strict=True)},
            "allowed": entry.allowed,
            "about": entry.about,
        }
        for entry in known[0].values()
    ]


def _recipes(own: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return what each recipe says of itself; only its name where PyTorch, which recipes are made of, is absent.

    Args:
        own: files of the user's own systems, listed too.
    """
    from thinslice.errors import MissingExtraError
    from thinslice.systems import RECIPES, build_recipe
    from thinslice.train.readings import TABLE

    out: dict[str, dict[str, Any]] = {}
    for name in (*RECIPES, *own):
        try:
            recipe = build_recipe(name)
        except (ImportError, MissingExtraError):
            out[name] = {}
        else:
            inputs = list(dict.fromkeys(recipe.inputs.values()))
            out[name] = {"paper": recipe.paper, "inputs": inputs, "variants": list(recipe.variants)}
            out[name]["hyperparameters"] = _settable(name, recipe)
            tables = {number: dict(row) for number, row in recipe.tables.items()}
            out[name] |= {"readings": tables.pop(TABLE, {}), "tables": tables}
            out[name]["draws_figures"] = recipe.draw_figures is not None
    return out


def _overview(found: Sequence[Mapping[str, Any]]) -> Any:
    from thinslice.evaluate.tables import Table
    from thinslice.published.figures import headline

    rows = []
    for entry in found:
        published, measured = headline(entry["published"]), headline(entry["measured"])
        rows.append(
            (
                entry["name"] + (" *" if entry["is_recipe"] else ""),
                entry["paper"],
                ", ".join(entry["inputs"]),
                "–" if published is None else _shown(published["value"]),
                "" if published is None else f"{published['dataset']} {published['split']}: {published['variant']}",
                "" if published is None else published["source"],
                "–" if measured is None else _of_ours(measured),
            )
        )
    header = ("system", "paper", "inputs", "published", "of", "source", "measured here")
    note = (
        "Average accuracy of the five traits, each system's best variant; `thinslice systems NAME` lists all. "
        "Predicting the training mean scores 0.8814 on FI-V2 test. * has a recipe: `thinslice train NAME`."
    )
    return Table("Systems", header, tuple(rows), note, align="lllrllr")


def _of_ours(figure: Mapping[str, Any]) -> str:
    return f"{figure['value']:.4f} ({figure['variant']}; {figure['dataset']} {figure['split']})"


def _figures(entry: Mapping[str, Any]) -> list[Any]:
    """One table per split of a dataset: its figures have the same targets."""
    from thinslice.evaluate.tables import Table
    from thinslice.traits import INTERVIEW, TRAITS

    figures = [(figure, f"{figure['source']}") for figure in entry["published"]]
    figures += [(figure, f"measured: {figure['command']}") for figure in entry["measured"]]
    usual = (*TRAITS, "average", INTERVIEW)
    tables = []
    for data in dict.fromkeys((figure["dataset"], figure["split"]) for figure, _ in figures):
        chosen = [(f, source) for f, source in figures if (f["dataset"], f["split"]) == data]
        found = dict.fromkeys(figure["target"] for figure, _ in chosen)
        targets = [name for name in usual if name in found] + [name for name in found if name not in usual]
        lines: dict[tuple[str, str, str], dict[str, float]] = {}
        for figure, source in chosen:
            values = lines.setdefault((figure["variant"], figure["metric"], source), {})
            values[figure["target"]] = figure["value"]
        sources = list(dict.fromkeys(source for _, source in chosen))
        is_shared = len(sources) == 1  # Then it is said once, below.
        note = sources[0][0].upper() + sources[0][1:] if is_shared else ""
        rows = tuple(
            (variant, metric, *(_shown(values[name]) if name in values else "–" for name in targets), source)
            for (variant, metric, source), values in lines.items()
        )
        header = ("variant", "metric", *(name[:5] if name in TRAITS else name for name in targets), "source")
        if is_shared:
            header, rows = header[:-1], tuple(row[:-1] for row in rows)
        title = f"{entry['name']}, {' '.join(data)}: {entry['title'] or entry['paper']}"
        tables.append(Table(title, header, rows, note, align=f"ll{'r' * len(targets)}{'' if is_shared else 'l'}"))
    return tables


def _shown(value: float) -> str:
    """Show a figure with the digits it was printed with, four decimals at most."""
    return f"{round(value, 4) + 0.0:g}"  # No -0.
