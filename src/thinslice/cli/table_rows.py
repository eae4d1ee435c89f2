"""The rows of a published table: what runs score, and the published figures beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinslice.errors import counted

if TYPE_CHECKING:
    import numpy as np

Scores = Mapping[str, Mapping[str, float]]
"""Metric -> target -> score."""


def scores_in_order(path: Path, clips: Sequence[str], targets: Sequence[str]) -> "np.ndarray":
    """Return a prediction file's scores of clips, (n, k), NaN where it has none."""
    import numpy as np

    from thinslice.evaluate.predictions import read_predictions

    found = read_predictions(path, tuple(targets))
    row_of = dict(zip(found.clips, found.scores, strict=True))
    nothing = np.full(len(targets), np.nan)
    return np.stack([row_of.get(clip, nothing) for clip in clips])


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


def compare(
    name: str, names: Mapping[str, str], scores: Mapping[str, Scores], split: str = "test"
) -> list[dict[str, Any]]:
    """Return the table's rows: {"variant", "published_name", metric: {"measured": {...}, "published": {...}}}.

    Args:
        name: the system.
        names: variant -> its name in published.csv.
        scores: variant -> metric -> target -> score.
        split: of First Impressions, that the table scores.

    Returns:
        Of each variant the headline metrics and those others that are published of any. Published figures of First
        Impressions are those of that split; of other data, of whatever part the paper scores.
    """
    from thinslice.evaluate.metrics import HEADLINE, metrics_in
    from thinslice.published.figures import load_published

    published: dict[tuple[str, str], dict[str, float]] = {}
    for figure in load_published():
        if figure.system == name and (figure.split == split or not figure.dataset.startswith("FI")):
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


def average_seeds(found: Sequence[Scores]) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return the mean of several seeds' scores and, of two or more, their standard deviation."""
    import numpy as np

    means: dict[str, dict[str, float]] = {}
    spread: dict[str, dict[str, float]] = {}
    for metric, values in found[0].items():
        for target in values:
            every = [scores[metric][target] for scores in found if target in scores.get(metric, {})]
            if len(every) == len(found):
                means.setdefault(metric, {})[target] = float(np.mean(every))
                if len(every) > 1:
                    spread.setdefault(metric, {})[target] = float(np.std(every, ddof=1))
    return means, spread


def show(document: Mapping[str, Any]) -> Any:
    """Return the table for people: of each variant, for each metric, what is published and what was measured."""
    from thinslice.evaluate.tables import Table
    from thinslice.traits import TARGETS

    rows, titles = document["rows"], table_metrics()
    known = [name for row in rows for metric in titles for values in row.get(metric, {}).values() for name in values]
    usual = (*TARGETS, "average")
    others = [name for name in dict.fromkeys(known) if name not in usual]
    columns = (*(name for name in usual if name in known), *others)
    printed = [name for row in rows for metric in titles for name in row.get(metric, {}).get("published", {})]
    lines = []
    for row in rows:
        first = row["variant"]
        for metric, title in titles.items():
            for whose, values in sorted(row.get(metric, {}).items(), reverse=True):
                if values:
                    cells = ("–" if values.get(name) is None else f"{values[name]:.4f}" for name in columns)
                    lines.append((first, f"{title}, {whose}", *cells))
                    first = ""
            spread = row.get("spread", {}).get(metric)
            if spread and metric in row:
                cells = (f"±{spread[name]:.4f}" if name in spread else "–" for name in columns)
                lines.append(("", f"{title}, spread", *cells))
    data = document["data"]
    note = f"Measured: {data['num_clips']:,} {data['split']} clips of {data['manifest']}"
    note += ", the recipe's small size" if document["is_small"] else ""
    steps = document["max_steps"]
    note += f", trial of {counted(steps, 'step')} a stage" if steps else ""
    seeds = document.get("seeds") or []
    note += f", mean and standard deviation of {len(seeds)} seeds" if len(seeds) > 1 else ""
    note += "."
    if printed:
        more = ", and the paper's other data" if any(name in others for name in printed) else ""
        note += f" Published: official {document.get('published_split', 'test')} clips{more}."
    note += " All clips: those left out too, predicted by the training mean." if "all clips" in others else ""
    header = ("variant", "", *(name[:6] if name in TARGETS else name.replace("_", "+") for name in columns))
    title = f"{document['system']}, table {document['table']}"
    return Table(title, header, tuple(lines), note, "ll" + "r" * len(columns))


def show_differences(document: Mapping[str, Any]) -> Any:
    """Return the table of how far each row is ahead of the first; None where there is nothing to compare."""
    from thinslice.evaluate.groups import SMALL
    from thinslice.evaluate.metrics import METRICS
    from thinslice.evaluate.tables import Table

    lines = []
    for row in document["rows"]:
        first = row["variant"]
        for metric, found in row.get("differences", {}).items():
            average = found["average"]
            if average["difference"] is not None:
                ends, p = average["ci95"], average["p"]
                interval = "–" if ends is None else f"[{ends[0]:+.4f}, {ends[1]:+.4f}]"
                cells = (f"{average['difference']:+.4f}", interval, "–" if p is None else f"{p:.3f}")
                lines.append((first, METRICS[metric].label, *cells))
                first = ""
    if not lines:
        return None
    reference = document["rows"][0]["variant"]
    note = (
        f"Average of the five traits, less that of {reference}, on the clips that both score; above 0 is better. "
        "Intervals are over speakers, drawn alike for both"
        + (", of the mean over the seeds." if len(document["seeds"]) > 1 else ".")
    )
    speakers = document["data"]["num_speakers"]
    if speakers < SMALL:
        note += f" With only {counted(speakers, 'speaker')} such intervals are too narrow, or absurd."
    title = f"{document['system']}, table {document['table']}: less {reference}"
    return Table(title, ("variant", "", "difference", "95% interval", "p"), tuple(lines), note, "llrrr")
