"""The scorecard as tables: for a terminal, Markdown, LaTeX and, one number a row, CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from thinslice.errors import counted
from thinslice.evaluate.card import (
    Comparison,
    Differences,
    Extremes,
    GroupComparison,
    GroupScores,
    GroupShares,
    Interval,
    Scorecard,
    Scores,
    Values,
    VoteScore,
)
from thinslice.evaluate.metrics import COMPARED, EXTREME, GROUP, HEADLINE, METRICS, SHAPE, TRAIT, metrics_in
from thinslice.evaluate.protocols import OFFICIAL, PROTOCOLS, SEEN, UNSEEN
from thinslice.targets import averaged
from thinslice.traits import TRAITS

PROTOCOL_NAMES: Final = {OFFICIAL: "all", SEEN: "seen speakers", UNSEEN: "unseen speakers"}
SYSTEM_NAMES: Final = {"predictions": "predictions", "training_mean": "training mean", "lookup": "lookup"}
_NOTHING = "–"

CSV_COLUMNS: Final = ("protocol", "system", "metric", "target", "value", "low", "high", "num_clips", "num_speakers")


def over(card: Scorecard) -> str:
    """Return what a scorecard's averages are over, in words."""
    return "the five traits" if averaged(card.poles) == TRAITS else "the targets"


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


def build_tables(card: Scorecard) -> list[Table]:
    """Return the tables of a scorecard (`thinslice.evaluate.scorecard.build_scorecard`), most important first."""
    tables = [_headline(card), _traits(card), _shape(card)]
    if card.votes:
        tables.insert(2, _voters(card.votes))
    if card.comparison:
        tables.append(_comparison(card.comparison))
        tables += [
            _compared_groups(column, entry, card.comparison.predictions)
            for column, entry in card.comparison.groups.items()
        ]
    if card.extremes:
        tables += _extremes(card.extremes)
    return tables + [_group(column, entry) for column, entry in card.groups.items()]


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


def to_csv(card: Scorecard) -> str:
    """Return every score of a scorecard, one a row; columns `CSV_COLUMNS`, empty where a value is not defined."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for protocol, system, panel, num_clips, num_speakers in _panels(card):
        for metric, values in panel.scores.items():
            for target, value in values.items():
                low, high = panel.interval(metric, target) or ("", "")
                shown = "" if value is None else repr(value)
                count = num_clips.get(target, "") if isinstance(num_clips, Mapping) else num_clips
                writer.writerow([protocol, system, metric, target, shown, low, high, count, num_speakers])
    if (counted := card.with_missing) is not None:
        for metric in metrics_in(HEADLINE):
            for target, value in getattr(counted, metric).items():
                shown = "" if value is None else repr(value)
                writer.writerow(
                    ["with the missing", "predictions", metric, target, shown, "", "", counted.num_clips, ""]
                )
    for target, score in (card.votes or {}).items():
        for metric, ends in (("agreement", score.ci95.agreement), ("others", None), ("one_rater", None)):
            value = getattr(score, metric)
            low, high = ends or ("", "")
            shown = "" if value is None else repr(value)
            writer.writerow(["voted pairs", "predictions", metric, target, shown, low, high, score.num_votes, ""])
    return buffer.getvalue()


def _panels(card: Scorecard) -> Iterator[tuple[str, str, Scores, int | Mapping[str, int], int | str]]:
    everyone = {"predictions": card.protocols, **card.baselines}
    if card.comparison:
        everyone["compared predictions"] = card.comparison.protocols
    for protocol in PROTOCOLS:
        for system, panels in everyone.items():
            if (panel := panels[protocol]) is not None:
                yield protocol, system, panel, panel.num_clips, panel.num_speakers
    for column, entry in card.groups.items():
        for group, one in entry.groups.items():
            yield f"{column}: {group}", "predictions", one, one.num_clips, one.num_speakers
    for end, systems in (card.extremes.ends if card.extremes else {}).items():
        for system, extreme in systems.items():
            yield f"{end} extreme", system, extreme, extreme.num_clips, ""


def _headline(card: Scorecard) -> Table:
    header = [""]
    for protocol in PROTOCOLS:
        panel = card.protocols[protocol]
        count = "no --train" if panel is None else counted(panel.num_clips, "clip")
        header.append(f"{PROTOCOL_NAMES[protocol]} ({count})")
    rows = []
    everyone = {"predictions": card.protocols, **card.baselines}
    for metric in metrics_in(HEADLINE):
        label = METRICS[metric].label
        for system, panels in everyone.items():
            if system != "predictions" and panels[OFFICIAL] is None:
                continue
            cells = (_with_interval(panels[protocol], metric, "average") for protocol in PROTOCOLS)
            rows.append((f"{label}, {SYSTEM_NAMES[system]}", *cells))
        for system, protocols in card.paired_differences.items():
            if protocols[OFFICIAL] is not None:
                cells = (_difference(protocols[protocol], metric) for protocol in PROTOCOLS)
                rows.append((f"  over the {SYSTEM_NAMES[system]}", *cells))
        if card.with_missing is not None:
            value = _shown(getattr(card.with_missing, metric)["average"], metric)
            rows.append((f"{label}, with the missing", value, *[_NOTHING] * (len(PROTOCOLS) - 1)))
        known: Values | None = getattr(card.ceiling, metric, None)  # only accuracy and R² have a ceiling
        if known is not None and known["average"] is not None:
            ceiling, seen = _shown(known["average"], metric), card.protocols[SEEN]
            some = seen is not None and seen.num_clips > 0
            rows.append((f"{label}, speakers known", ceiling, ceiling if some else _NOTHING, _NOTHING))
    note = f"Average of {over(card)}; in brackets 95% intervals from resampling speakers."
    if card.ceiling:
        note += " Training mean: says the same of every clip. Lookup: knows nothing but the speaker's training labels. "
        if card.ceiling.accuracy["average"] is None:
            note += "What a perfect table of speakers would score is not known: no speaker has two training labels."
        else:
            note += "Speakers known: what a perfect table of speakers would score."
    else:
        note += " The baselines, and what a perfect table of speakers would score, need training labels: give --train."
    if card.with_missing is not None:
        note += (
            f" With the missing: of all {card.with_missing.num_clips:,} labelled clips, those without a prediction "
            "predicted by the training mean."
        )
    return Table("Scores beside the baselines", tuple(header), tuple(rows), note)


def _traits(card: Scorecard) -> Table:
    panel, lookup = card.official, card.baselines["lookup"][OFFICIAL]
    metrics, beside = metrics_in(TRAIT), metrics_in(HEADLINE)
    header = ("trait", *(METRICS[metric].label for metric in metrics))
    if lookup:
        header += tuple(f"lookup {METRICS[metric].label}" for metric in beside)
    rows = []
    for target in panel["accuracy"]:
        row = [target]
        row += [_with_interval(panel, metric, target, brief=metric not in beside) for metric in metrics]
        row += [_shown(lookup[metric][target], metric) for metric in beside] if lookup else []
        rows.append(tuple(row))
    tops = ", ".join(f"{name} {high}" for name, (_, high) in card.poles.items())
    return Table("Per trait, all clips", header, tuple(rows), f"A score of 1 means: {tops}.")


def _voters(votes: Mapping[str, VoteScore]) -> Table:
    rows = []
    for target, one in votes.items():
        equal = "more than any" if one.others and one.agreement and one.equal_raters is None else _NOTHING
        rows.append(
            (
                target,
                f"{one.num_votes:,}",
                f"{_shown(one.agreement)} {_bracket(one.ci95.agreement)}".strip(),
                *(_shown(value) for value in (one.others, one.one_rater)),
                equal if one.equal_raters is None else f"{one.equal_raters:.0f}",
                _shown(one.reliability, decimals=2),
            )
        )
    note = (
        "Agreement: share of votes whose choice has the higher prediction. Others: the same of all other votes "
        "together. Equal raters: so many votes a clip agree as often as the predictions do. 0.5 is chance."
    )
    header = ("trait", "votes", "agreement", "others", "one rater", "equal raters", "reliability")
    return Table("Agreement with voters", header, tuple(rows), note)


def _shape(card: Scorecard) -> Table:
    panel = card.official
    metrics = [metric for metric in metrics_in(SHAPE) if metric in panel]
    rows = tuple(
        (target, *(_with_interval(panel, metric, target, brief=metric == "width") for metric in metrics))
        for target in panel["accuracy"]
    )
    note = (
        "Calibration slope: label on prediction, 1 is calibrated. Response slope: prediction on label, far below 1 is "
        "regression to the mean. Bias: prediction minus label."
    )
    has_intervals = any(METRICS[metric].needs_interval for metric in metrics)
    return Table(
        "Regression to the mean and intervals" if has_intervals else "Regression to the mean",
        ("trait", *(METRICS[metric].label for metric in metrics)),
        rows,
        note,
    )


def _comparison(comparison: Comparison) -> Table:
    rows = []
    for protocol in PROTOCOLS:
        panel, differences = comparison.protocols[protocol], comparison.paired_differences[protocol]
        if panel is None or differences is None or not panel.num_clips:
            continue
        for metric in metrics_in(COMPARED):
            entry = differences[metric]["average"]
            rows.append(
                (
                    f"{METRICS[metric].label}, {PROTOCOL_NAMES[protocol]}",
                    str(panel.num_clips),
                    _shown(panel[metric]["average"], metric),
                    _signed(entry.difference, metric),
                    _bracket(entry.ci95, metric, signed=True),
                    _p(entry.p),
                )
            )
    return Table(
        f"Against {comparison.predictions}",
        ("", "clips", "the other", "difference", "95% interval", "p"),
        tuple(rows),
        "Paired on the same clips and resampled speakers; above 0 these predictions score higher.",
    )


def _extremes(extremes: Extremes) -> list[Table]:
    """Return a table for each headline metric of the extremes."""
    note = "Labels at least one training standard deviation below or above the training mean of the trait."
    tables = []
    for metric in (name for name in metrics_in(EXTREME) if name in metrics_in(HEADLINE)):
        label = METRICS[metric].label
        systems = list(extremes.ends["low"])
        header = ["trait"]
        for end in extremes.ends:
            header += [f"{end}: clips", *(f"{end}: {SYSTEM_NAMES[system]}" for system in systems)]
        rows = []
        for target in extremes.ends["low"]["predictions"][metric]:
            row = [target]
            for panels in extremes.ends.values():
                count = panels["predictions"].num_clips.get(target)
                row.append(_NOTHING if count is None else str(count))
                row += [_shown(panels[system][metric][target], metric) for system in systems]
            rows.append(tuple(row))
        tables.append(Table(f"{label[:1].upper()}{label[1:]} on the extremes", tuple(header), tuple(rows), note))
    return tables


def _group(column: str, entry: GroupScores) -> Table:
    metrics = metrics_in(GROUP)
    labels = [METRICS[metric].label for metric in metrics]
    header = ("group", "clips", "speakers", *labels, "training mean", "best", "worst")
    rows = []
    for name, panel in entry.groups.items():
        mean = panel.baselines.get("training_mean")
        rows.append(
            (
                name + (" *" if panel.small else ""),
                str(panel.num_clips),
                str(panel.num_speakers),
                *(_with_interval(panel, metric, "average") for metric in metrics),
                _shown(mean["accuracy"]["average"], "accuracy") if mean else _NOTHING,
                panel.best_trait or _NOTHING,
                panel.worst_trait or _NOTHING,
            )
        )
    notes = ["Bias: mean prediction minus label. Training mean: its accuracy in that group."]
    if any(panel.small for panel in entry.groups.values()):
        notes.append("* few speakers: the interval is too narrow.")
    for metric in metrics if entry.gap else ():
        assert entry.gap is not None
        gap = entry.gap[metric]["average"]
        if gap.gap is not None:
            by_chance = "" if gap.chance95 is None else f", chance alone up to {_shown(gap.chance95, metric)}"
            notes.append(
                f"Gap in {METRICS[metric].label}: {_shown(gap.gap, metric)} {_bracket(gap.ci95, metric)}"
                f"{by_chance}, p {_p(gap.p)} ({gap.highest} highest, {gap.lowest} lowest)."
            )
    if entry.balanced:
        balanced = entry.balanced
        cells = (f"{METRICS[m].label} {_with_interval(balanced, m, 'average')}" for m in metrics_in(HEADLINE))
        notes.append(f"Each group counting alike: {', '.join(cells)}.")
    if entry.share:
        notes.append(_share(column, entry.share))
    return Table(f"By {column}", header, tuple(rows), "\n".join(notes))


def _share(column: str, share: GroupShares) -> str:
    def shown(name: str) -> str:
        by_chance = share.chance.get(name)
        value = _with_interval(share, name, "average")
        return value + (f" (luck {_shown(by_chance['average'], name)})" if by_chance else "")

    return (
        f"Share of the variance that {column} explains: of the labels {shown('labels_on_group')}, of the predictions "
        f"{shown('predictions_on_group')}. Partial R²: predictions given {column} {shown('model_given_group')}, "
        f"{column} given predictions {shown('group_given_model')}."
    )


def _compared_groups(column: str, entry: GroupComparison, other: str) -> Table:
    metrics = metrics_in(GROUP)

    def cells(differences: Differences) -> tuple[str, ...]:
        return tuple(_difference(differences, metric) for metric in metrics)

    rows = [(name, *cells(differences)) for name, differences in entry.groups.items()]
    if entry.gap and entry.balanced:
        rows += [("each group alike", *cells(entry.balanced)), ("gap between groups", *cells(entry.gap))]
    return Table(
        f"By {column}, against {other}",
        ("group", *(METRICS[metric].label for metric in metrics)),
        tuple(rows),
        "These predictions less the other's, averages, paired. Below 0, a gap has become smaller.",
    )


def _decimals(metric: str) -> int:
    return METRICS[metric].decimals if metric in METRICS else 3


def _shown(value: float | None, metric: str = "", decimals: int | None = None) -> str:
    places = _decimals(metric) if decimals is None else decimals
    return _NOTHING if value is None else f"{round(value, places) + 0.0:.{places}f}"  # + 0.0: no -0.000


def _signed(value: float | None, metric: str) -> str:
    places = _decimals(metric)
    return _NOTHING if value is None else f"{round(value, places) + 0.0:+.{places}f}"


def _bracket(interval: Interval | None, metric: str = "", signed: bool = False) -> str:
    show = _signed if signed else _shown
    return "" if interval is None else f"[{show(interval[0], metric)}, {show(interval[1], metric)}]"


def _with_interval(panel: Scores | None, metric: str, target: str, brief: bool = False) -> str:
    if panel is None or panel[metric][target] is None:
        return _NOTHING
    interval = None if brief else panel.interval(metric, target)
    return f"{_shown(panel[metric][target], metric)} {_bracket(interval, metric)}".strip()


def _difference(entry: Differences | None, metric: str) -> str:
    if entry is None or metric not in entry:
        return _NOTHING
    found = entry[metric]["average"]
    return f"{_signed(found.difference, metric)} {_bracket(found.ci95, metric, signed=True)}".strip()


def _p(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _tex(text: str) -> str:
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    special |= {"²": "$^2$", "–": "--", "<": "$<$", ">": "$>$", "\n": " "}
    return "".join(special.get(character, character) for character in text.strip())
