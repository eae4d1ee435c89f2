"""``thinslice table``: train the variants of a published table and print them beside it.

A recipe says which tables it has (`tables`) and what its runs are scored by beside their traits (`further_scores`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from thinslice.cli.sizes import build_changed, set_option
from thinslice.cli.workers import workers_option
from thinslice.output import print_json

if TYPE_CHECKING:
    import numpy as np

_PATH = click.Path(path_type=Path)

Scores = Mapping[str, Mapping[str, float]]
"""Metric -> target -> score."""

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
@click.option("--companion", multiple=True, metavar="NAME=MANIFEST", help="A companion data set; repeatable.")
@click.option("--small", is_flag=True, help="The variants' small size, for CPUs and small corpora.")
@set_option
@click.option("--only", multiple=True, metavar="VARIANT", help="Of the table's variants; repeatable.  [default: all]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--max-steps", type=click.IntRange(1), metavar="N", help="For a trial: steps of each stage at most.")
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def table(
    name: str,
    number: str,
    data: Path,
    out: Path,
    store: Path | None,
    companion: tuple[str, ...],
    small: bool,
    changes: tuple[str, ...],
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
    from thinslice.cli.show_table import print_tables
    from thinslice.cli.train import parse_companions
    from thinslice.systems import build_recipe
    from thinslice.train.inputs import load_run_data
    from thinslice.train.loop import train
    from thinslice.train.settings import LoopSettings

    tables = build_recipe(name).tables
    if not tables:
        raise UsageError(f"{name} has no tables to run; train its variants one by one")
    if number not in tables:
        raise UsageError(f"{name} has no table {number}; there are {', '.join(tables)}")
    names = tables[number]
    unknown = [variant for variant in only if variant not in names]
    if unknown:
        raise UsageError(f"table {number} has no variant {', '.join(unknown)}; there are {', '.join(names)}")
    store = data.absolute().parent / "features" if store is None else store
    companions = parse_companions(companion)
    scores: dict[str, Scores] = {}
    split, num_clips = "", 0
    for variant in only or names:
        recipe = build_changed(name, f"{SMALL}{variant}" if small else variant, changes)
        click.echo(f"{recipe.name} {recipe.variant}", err=True)
        run_data, left_out = load_run_data(recipe, data, store, companions, num_workers=workers)
        if left_out:
            click.echo(f"{len(left_out):,} clips left out; run.json lists them", err=True)
        split = next((name for name in ("test", "validation") if len(run_data.splits.get(name, ()))), "")
        if not split:
            raise UsageError(f"{data}: no clip is for testing or validation, so that there is nothing to score")
        settings = LoopSettings(
            device=device, max_steps=max_steps, num_readers=workers if workers > 1 else 0, resume=True
        )
        folder = train(recipe, run_data, out / recipe.variant, settings)
        clips, training = run_data.splits[split], run_data.splits["train"]
        num_clips = len(clips)
        predicted = scores_in_order(folder.predictions(split), clips.clips, recipe.outputs)
        scores[variant] = measure(clips.labels, predicted, training.labels, recipe.outputs)
        if recipe.further_scores is not None:
            scores[variant] = recipe.further_scores(folder.path, companions, store, split, scores[variant])
    document = {
        "system": name,
        "table": number,
        "is_small": small,
        "max_steps": max_steps,
        "data": {"manifest": data.name, "split": split, "num_clips": num_clips},
        "rows": compare(name, {variant: names[variant] for variant in scores}, scores),
    }
    if as_json:
        print_json(document)
    else:
        print_tables([show(document)])


def scores_in_order(path: Path, clips: Sequence[str], targets: Sequence[str]) -> "np.ndarray":
    """Return a prediction file's scores of clips, (n, k), NaN where it has none."""
    import numpy as np

    from thinslice.evaluate.predictions import read_predictions
    from thinslice.traits import TARGETS

    found = read_predictions(path)
    row_of = dict(zip(found.clips, found.scores, strict=True))
    nothing = np.full(len(TARGETS), np.nan)
    columns = [TARGETS.index(target) for target in targets]
    return np.stack([row_of.get(clip, nothing) for clip in clips])[:, columns]


def measure(labels: "np.ndarray", predictions: "np.ndarray", training: "np.ndarray", targets: Sequence[str]) -> Scores:
    """Score predictions by every metric that papers print, on all clips and on each trait's extremes.

    Args:
        labels: (n, k), NaN where unknown.
        predictions: (n, k), NaN where missing.
        training: the training clips' labels (m, k), from which the extremes are cut.
        targets: names of the k columns.

    Returns:
        Metric -> target -> score, and "average" over the five traits where all are known.
    """
    import numpy as np

    from thinslice.evaluate.extremes import extreme_masks
    from thinslice.evaluate.metrics import METRICS, PUBLISHED, accuracy, average, metrics_in

    masks = extreme_masks(labels, np.nanmean(training, 0), np.nanstd(training, 0))
    found = {metric: METRICS[metric](labels, predictions) for metric in metrics_in(PUBLISHED)}
    for end, mask in masks.items():
        found[f"accuracy_{end}_extreme"] = accuracy(np.where(mask, labels, np.nan), predictions)
    columns = (*targets, "average")
    return {
        metric: {
            target: float(value)
            for target, value in zip(columns, (*values, average(values, targets)), strict=True)
            if np.isfinite(value)
        }
        for metric, values in found.items()
    }


def table_metrics() -> dict[str, str]:
    """Return the scores that a table may show -> what they are called."""
    from thinslice.evaluate.extremes import EXTREMES
    from thinslice.evaluate.metrics import METRICS, PUBLISHED, metrics_in

    shown = {metric: METRICS[metric].label for metric in metrics_in(PUBLISHED)}
    return shown | {f"accuracy_{end}_extreme": f"accuracy, {end} extreme" for end in EXTREMES}


def compare(name: str, names: Mapping[str, str], scores: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Return the table's rows: {"variant", "published_name", metric: {"measured": {...}, "published": {...}}}.

    Args:
        name: the system.
        names: variant -> its name in published.csv.
        scores: variant -> metric -> target -> score.

    Returns:
        Of each variant the headline metrics and those others that are published of any. Published figures of First
        Impressions are those of its test clips; of other data, of whatever part the paper scores.
    """
    from thinslice.evaluate.metrics import HEADLINE, metrics_in
    from thinslice.published.figures import load_published

    published: dict[tuple[str, str], dict[str, float]] = {}
    for figure in load_published():
        if figure.system == name and (figure.split == "test" or not figure.dataset.startswith("FI")):
            published.setdefault((figure.variant, figure.metric), {})[figure.target] = figure.value
    always = set(metrics_in(HEADLINE))
    metrics = [m for m in table_metrics() if m in always or any((names[v], m) in published for v in scores)]
    return [
        {"variant": variant, "published_name": names[variant]}
        | {
            metric: {"measured": dict(entry.get(metric, {})), "published": published.get((names[variant], metric), {})}
            for metric in metrics
        }
        for variant, entry in scores.items()
    ]


def show(document: Mapping[str, Any]) -> Any:
    """Return the table for people: of each variant, for each metric, what is published and what was measured."""
    from thinslice.evaluate.tables import Table
    from thinslice.traits import TARGETS

    rows, titles = document["rows"], table_metrics()
    known = [name for row in rows for metric in titles for values in row.get(metric, {}).values() for name in values]
    usual = (*TARGETS, "average")
    others = [name for name in dict.fromkeys(known) if name not in usual]
    columns = (*(name for name in usual if name in known), *others)
    lines = []
    for row in rows:
        first = row["variant"]
        for metric, title in titles.items():
            for whose, values in sorted(row.get(metric, {}).items(), reverse=True):
                if values:
                    cells = ("–" if values.get(name) is None else f"{values[name]:.4f}" for name in columns)
                    lines.append((first, f"{title}, {whose}", *cells))
                    first = ""
    data = document["data"]
    note = f"Measured: {data['num_clips']:,} {data['split']} clips of {data['manifest']}"
    note += ", the recipe's small size" if document["is_small"] else ""
    steps = document["max_steps"]
    note += f", trial of {steps:,} steps a stage" if steps else ""
    note += ". Published: official test clips" + (", and the paper's other data." if others else ".")
    header = ("variant", "", *(name[:6] if name in TARGETS else name.replace("_", "+") for name in columns))
    title = f"{document['system']}, table {document['table']}"
    return Table(title, header, tuple(lines), note, "ll" + "r" * len(columns))
