"""The scorecard as tables: for a terminal, Markdown, LaTeX and, one number a row, CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thinslice.evaluate.protocols import OFFICIAL, PROTOCOLS, SEEN, UNSEEN

PROTOCOL_NAMES: Final = {OFFICIAL: "all", SEEN: "seen speakers", UNSEEN: "unseen speakers"}
SYSTEM_NAMES: Final = {"predictions": "predictions", "training_mean": "training mean", "lookup": "lookup"}
METRIC_NAMES: Final = {
    "accuracy": "accuracy",
    "r2": "R²",
    "pcc": "Pearson r",
    "ccc": "CCC",
    "mse": "MSE",
    "bias": "bias",
    "calibration_slope": "calibration slope",
    "response_slope": "response slope",
    "spread_ratio": "spread ratio",
    "pair_order": "pair order",
    "coverage": "coverage",
    "width": "width",
}
_DECIMALS: Final = {"accuracy": 4, "mse": 4}
_NOTHING = "–"

CSV_COLUMNS: Final = ("protocol", "system", "metric", "target", "value", "low", "high", "num_clips", "num_speakers")


@dataclass(frozen=True)
class Table:
    """A table ready to be shown.

    Attributes:
        title: one line.
        header: names of the columns; the first holds row names.
        rows: cells, as long as the header.
        note: what a reader must know, in one or more lines, or "".
        align: "l" or "r" for each column; by default the first left, the others right.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    align: str = ""

    def __post_init__(self) -> None:
        if not self.align:
            object.__setattr__(self, "align", "l" + "r" * (len(self.header) - 1))


def build_tables(card: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a scorecard (`thinslice.evaluate.scorecard.build_scorecard`), most important first."""
    tables = [_headline(card), _traits(card), _shape(card)]
    if card["comparison"]:
        tables.append(_comparison(card["comparison"]))
        tables += [_compared_groups(column, entry, card) for column, entry in card["comparison"]["groups"].items()]
    if card["extremes"]:
        tables.append(_extremes(card["extremes"]))
    return tables + [_group(column, entry) for column, entry in card["groups"].items()]


def to_markdown(tables: Sequence[Table]) -> str:
    """Return tables in Markdown."""
    out = []
    for table in tables:
        lines = [f"### {table.title}", ""]
        lines.append("| " + " | ".join(table.header) + " |")
        lines.append("|" + "|".join(":--" if side == "l" else "--:" for side in table.align) + "|")
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows]
        out.append("\n".join(lines) + (f"\n\n{table.note.replace(chr(10), '  ' + chr(10))}" if table.note else ""))
    return "\n\n".join(out) + "\n"


def to_latex(tables: Sequence[Table]) -> str:
    """Return tables in LaTeX; they need the package booktabs."""
    out = ["% \\usepackage{booktabs}"]
    for table in tables:
        caption = _tex(table.title + (f". {table.note}" if table.note else ""))
        out += [
            "\\begin{table}",
            "\\centering",
            "\\small",
            f"\\caption{{{caption}}}",
            f"\\begin{{tabular}}{{{table.align}}}",
            "\\toprule",
            " & ".join(map(_tex, table.header)) + " \\\\",
            "\\midrule",
            *(" & ".join(map(_tex, row)) + " \\\\" for row in table.rows),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    return "\n".join(out)


def to_csv(card: Mapping[str, Any]) -> str:
    """Return every score of a scorecard, one a row; columns `CSV_COLUMNS`, empty where a value is not defined."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for protocol, system, panel in _panels(card):
        for metric in METRIC_NAMES:
            for target, value in panel.get(metric, {}).items():
                low, high = panel["ci95"].get(metric, {}).get(target) or ("", "")
                shown = "" if value is None else repr(value)
                count = panel["num_clips"][target] if isinstance(panel["num_clips"], dict) else panel["num_clips"]
                if target == "average" and count is None:
                    count = ""
                writer.writerow(
                    [protocol, system, metric, target, shown, low, high, count, panel.get("num_speakers", "")]
                )
    return buffer.getvalue()


def _panels(card: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    everyone = {"predictions": card["protocols"]} | card["baselines"]
    if card["comparison"]:
        everyone["compared predictions"] = card["comparison"]["protocols"]
    for protocol in PROTOCOLS:
        for system, panels in everyone.items():
            if panels[protocol] is not None:
                yield protocol, system, panels[protocol]
    for column, entry in card["groups"].items():
        for group, panel in entry["groups"].items():
            yield f"{column}: {group}", "predictions", panel
    for end in ("low", "high") if card["extremes"] else ():
        for system, panel in card["extremes"][end].items():
            yield f"{end} extreme", system, panel | {"num_clips": panel["num_clips"] | {"average": None}}


def _headline(card: Mapping[str, Any]) -> Table:
    header = [""]
    for protocol in PROTOCOLS:
        panel = card["protocols"][protocol]
        count = "no --train" if panel is None else f"{panel['num_clips']:,} clips"
        header.append(f"{PROTOCOL_NAMES[protocol]} ({count})")
    rows = []
    everyone = {"predictions": card["protocols"]} | card["baselines"]
    for metric in ("accuracy", "r2"):
        for system, panels in everyone.items():
            if system != "predictions" and panels[OFFICIAL] is None:
                continue
            cells = (_with_interval(panels[protocol], metric, "average") for protocol in PROTOCOLS)
            rows.append((f"{METRIC_NAMES[metric]}, {SYSTEM_NAMES[system]}", *cells))
        for system, protocols in card["paired_differences"].items():
            if protocols[OFFICIAL] is not None:
                cells = (_difference(protocols[protocol], metric) for protocol in PROTOCOLS)
                rows.append((f"  over the {SYSTEM_NAMES[system]}", *cells))
        if card["ceiling"]:
            ceiling = _shown(card["ceiling"][metric]["average"], metric)
            seen = card["protocols"][SEEN]["num_clips"] > 0
            rows.append((f"{METRIC_NAMES[metric]}, speakers known", ceiling, ceiling if seen else _NOTHING, _NOTHING))
    note = "Average of the five traits; in brackets 95% intervals from resampling speakers."
    if card["ceiling"]:
        note += (
            " Training mean: says the same of every clip. Lookup: knows nothing but the speaker's training labels. "
            "Speakers known: what a perfect table of speakers would score."
        )
    return Table("Scores beside the baselines", tuple(header), tuple(rows), note)


def _traits(card: Mapping[str, Any]) -> Table:
    panel = card["protocols"][OFFICIAL]
    lookup = card["baselines"]["lookup"][OFFICIAL]
    header: tuple[str, ...] = ("trait", "accuracy", "R²", "Pearson r", "CCC", "pair order")
    if lookup:
        header += ("lookup accuracy", "lookup R²")
    rows = []
    for target in panel["accuracy"]:
        row = [target]
        row += [_with_interval(panel, metric, target) for metric in ("accuracy", "r2")]
        row += [_shown(panel[metric][target], metric) for metric in ("pcc", "ccc", "pair_order")]
        if lookup:
            row += [_shown(lookup[metric][target], metric) for metric in ("accuracy", "r2")]
        rows.append(tuple(row))
    tops = ", ".join(f"{name} {high}" for name, (_, high) in card["poles"].items())
    return Table("Per trait, all clips", header, tuple(rows), f"A score of 1 means: {tops}.")


def _shape(card: Mapping[str, Any]) -> Table:
    panel = card["protocols"][OFFICIAL]
    metrics = ["calibration_slope", "response_slope", "spread_ratio", "bias"]
    metrics += [metric for metric in ("coverage", "width") if metric in panel]
    rows = tuple(
        (target, *(_with_interval(panel, metric, target, brief=metric == "width") for metric in metrics))
        for target in panel["accuracy"]
    )
    note = (
        "Calibration slope: label on prediction, 1 is calibrated. Response slope: prediction on label, far below 1 is "
        "regression to the mean. Bias: prediction minus label."
    )
    return Table(
        "Regression to the mean and intervals" if "coverage" in panel else "Regression to the mean",
        ("trait", *(METRIC_NAMES[metric] for metric in metrics)),
        rows,
        note,
    )


def _comparison(comparison: Mapping[str, Any]) -> Table:
    rows = []
    for protocol in PROTOCOLS:
        panel, differences = comparison["protocols"][protocol], comparison["paired_differences"][protocol]
        if panel is None or not panel["num_clips"]:
            continue
        for metric in ("accuracy", "r2", "ccc"):
            entry = differences[metric]["average"]
            rows.append(
                (
                    f"{METRIC_NAMES[metric]}, {PROTOCOL_NAMES[protocol]}",
                    str(panel["num_clips"]),
                    _shown(panel[metric]["average"], metric),
                    _signed(entry["difference"], metric),
                    _bracket(entry["ci95"], metric, signed=True),
                    _p(entry["p"]),
                )
            )
    return Table(
        f"Against {comparison['predictions']}",
        ("", "clips", "the other", "difference", "95% interval", "p"),
        tuple(rows),
        "Paired on the same clips and resampled speakers; above 0 these predictions score higher.",
    )


def _extremes(extremes: Mapping[str, Any]) -> Table:
    systems = list(extremes["low"])
    header = ["trait"]
    for end in ("low", "high"):
        header += [f"{end}: clips", *(f"{end}: {SYSTEM_NAMES[system]}" for system in systems)]
    rows = []
    for target in extremes["low"]["predictions"]["accuracy"]:
        row = [target]
        for end in ("low", "high"):
            count = extremes[end]["predictions"]["num_clips"].get(target)
            row.append(_NOTHING if count is None else str(count))
            row += [_shown(extremes[end][system]["accuracy"][target], "accuracy") for system in systems]
        rows.append(tuple(row))
    note = "Labels at least one training standard deviation below or above the training mean of the trait."
    return Table("Accuracy on the extremes", tuple(header), tuple(rows), note)


def _group(column: str, entry: Mapping[str, Any]) -> Table:
    header = ("group", "clips", "speakers", "accuracy", "R²", "bias", "training mean", "best", "worst")
    rows = []
    for name, panel in entry["groups"].items():
        mean = panel["baselines"].get("training_mean")
        rows.append(
            (
                name + (" *" if panel["small"] else ""),
                str(panel["num_clips"]),
                str(panel["num_speakers"]),
                *(_with_interval(panel, metric, "average") for metric in ("accuracy", "r2", "bias")),
                _shown(mean["accuracy"]["average"], "accuracy") if mean else _NOTHING,
                panel["best_trait"] or _NOTHING,
                panel["worst_trait"] or _NOTHING,
            )
        )
    notes = ["Bias: mean prediction minus label. Training mean: its accuracy in that group."]
    if any(panel["small"] for panel in entry["groups"].values()):
        notes.append("* few speakers: the interval is too narrow.")
    for metric in ("accuracy", "r2", "bias") if entry["gap"] else ():
        gap = entry["gap"][metric]["average"]
        if gap["gap"] is not None:
            by_chance = "" if gap["chance95"] is None else f", chance alone up to {_shown(gap['chance95'], metric)}"
            notes.append(
                f"Gap in {METRIC_NAMES[metric]}: {_shown(gap['gap'], metric)} {_bracket(gap['ci95'], metric)}"
                f"{by_chance}, p {_p(gap['p'])} ({gap['highest']} highest, {gap['lowest']} lowest)."
            )
    if entry["balanced"]:
        cells = (f"{METRIC_NAMES[m]} {_with_interval(entry['balanced'], m, 'average')}" for m in ("accuracy", "r2"))
        notes.append(f"Each group counting alike: {', '.join(cells)}.")
    if entry["share"]:
        notes.append(_share(column, entry["share"]))
    return Table(f"By {column}", header, tuple(rows), "\n".join(notes))


def _share(column: str, share: Mapping[str, Any]) -> str:
    def shown(name: str) -> str:
        by_chance = share["chance"].get(name)
        value = _with_interval(share, name, "average")
        return value + (f" (luck {_shown(by_chance['average'], name)})" if by_chance else "")

    return (
        f"Share of the variance that {column} explains: of the labels {shown('labels_on_group')}, of the predictions "
        f"{shown('predictions_on_group')}. Partial R²: predictions given {column} {shown('model_given_group')}, "
        f"{column} given predictions {shown('group_given_model')}."
    )


def _compared_groups(column: str, entry: Mapping[str, Any], card: Mapping[str, Any]) -> Table:
    def cells(differences: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(_difference(differences, metric) for metric in ("accuracy", "r2", "bias"))

    rows = [(name, *cells(differences)) for name, differences in entry["groups"].items()]
    if entry["gap"]:
        rows += [("each group alike", *cells(entry["balanced"])), ("gap between groups", *cells(entry["gap"]))]
    return Table(
        f"By {column}, against {card['comparison']['predictions']}",
        ("group", "accuracy", "R²", "bias"),
        tuple(rows),
        "These predictions less the other's, average of the five traits, paired. Below 0, a gap has become smaller.",
    )


def _shown(value: float | None, metric: str) -> str:
    decimals = _DECIMALS.get(metric, 3)
    return _NOTHING if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no -0.000


def _signed(value: float | None, metric: str) -> str:
    decimals = _DECIMALS.get(metric, 3)
    return _NOTHING if value is None else f"{round(value, decimals) + 0.0:+.{decimals}f}"


def _bracket(interval: Sequence[float] | None, metric: str, signed: bool = False) -> str:
    show = _signed if signed else _shown
    return "" if interval is None else f"[{show(interval[0], metric)}, {show(interval[1], metric)}]"


def _with_interval(panel: Mapping[str, Any] | None, metric: str, target: str, brief: bool = False) -> str:
    if panel is None or panel[metric][target] is None:
        return _NOTHING
    interval = None if brief else panel["ci95"].get(metric, {}).get(target)
    return f"{_shown(panel[metric][target], metric)} {_bracket(interval, metric)}".strip()


def _difference(entry: Mapping[str, Any] | None, metric: str) -> str:
    if entry is None:
        return _NOTHING
    found = entry[metric]["average"]
    return f"{_signed(found['difference'], metric)} {_bracket(found['ci95'], metric, signed=True)}".strip()


def _p(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _tex(text: str) -> str:
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    special |= {"²": "$^2$", "–": "--", "<": "$<$", ">": "$>$", "\n": " "}
    return "".join(special.get(character, character) for character in text.strip())
