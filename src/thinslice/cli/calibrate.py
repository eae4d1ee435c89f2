"""``thinslice calibrate``: remove what is systematically too high or too low in each group of a prediction file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from thinslice.errors import counted
from thinslice.output import print_json, say, warn

EPILOG = """\b
Examples:
  thinslice calibrate run/predictions_test.csv --fit run/predictions_validation.csv --labels fi.csv --by gender
      --out calibrated.csv
  thinslice calibrate predictions.csv --labels fi.csv --by age_group,gender --out calibrated.csv
  thinslice evaluate calibrated.csv --compare predictions.csv --labels fi.csv --group-by gender
"""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=EPILOG)
@click.argument("predictions", type=_FILE, metavar="PREDICTIONS.csv")
@click.option("--labels", required=True, type=_FILE, metavar="MANIFEST", help="Groups of all clips, labels to fit on.")
@click.option("--by", required=True, metavar="COLUMN,...", help="Columns that make the groups; several are crossed.")
@click.option(
    "--fit",
    type=_FILE,
    metavar="FIT.csv",
    help="Predictions to fit on, such as the validation clips'.  [default: PREDICTIONS.csv, by folds of speakers]",
)
@click.option("--attributes", type=_FILE, metavar="TABLE.csv", help="Column clip and any others, for --by.")
@click.option("--targets", metavar="NAME,...", help="Columns to calibrate.  [default: the Big Five and interview]")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Without --fit.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the folds.")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The file to write."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was fitted as one JSON document.")
def calibrate(
    predictions: Path,
    labels: Path,
    by: str,
    fit: Path | None,
    attributes: Path | None,
    targets: str | None,
    folds: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Shift and scale predictions so that each group fits its labels.

    What is fitted for a group is shrunk toward what is fitted for everybody, the more the fewer speakers it has. The
    clips that are fitted on must not be those that the system was trained on. Without --fit, each clip is calibrated by
    the labels of other speakers. It needs to know a clip's group, also of new clips, and follows the annotators: what
    they thought of a group it says of the group (docs/groups.md).
    """
    from thinslice.cli.labelled import read_labelled
    from thinslice.evaluate.calibration import cross_calibrate, fit_calibration
    from thinslice.evaluate.predictions import read_predictions
    from thinslice.files import write_atomically
    from thinslice.targets import chosen_targets, split_names
    from thinslice.traits import TARGETS

    columns = split_names(by, "--by")
    if not columns:
        raise click.UsageError("--by names no column")
    names = chosen_targets(targets or "", TARGETS)
    clips = read_labelled(labels, attributes=attributes, targets=names)
    groups = _crossed(clips, columns)
    file = read_predictions(predictions, names)
    rows, where = _found(file, clips)
    fitted_on = file if fit is None else read_predictions(fit, names)
    fit_rows, fit_where = _found(fitted_on, clips)
    arguments = (
        clips.labels[fit_where],
        fitted_on.scores[fit_rows],
        [clips.speakers[i] for i in fit_where],
        [groups[i] for i in fit_where],
    )
    fitted = fit_calibration(*arguments)
    own = [groups[i] for i in where]
    scores = cross_calibrate(*arguments, folds, seed) if fit is None else fitted.apply(file.scores[rows], own)
    # An interval moves along with its score: how wide it must be follows from errors, not from the scores' scale.
    low, high = (scores + ends[rows] - file.scores[rows] for ends in (file.low, file.high))
    write_atomically(out, _csv([file.clips[i] for i in rows], scores, low, high, file).encode())
    _report(fitted, file, rows, own, as_json)
    if fit is not None and (own_labels := len(set(where) & set(fit_where))):
        warn(f"warning: {counted(own_labels, 'clip is', 'clips are')} also in {fit}: calibrated by their own labels")
    say(f"wrote {counted(len(rows), 'clip')} to {out}")
    if left := len(file.clips) - len(rows):
        say(f"left out, not in {labels}: {counted(left, 'predicted clip')}")
        raise SystemExit(1)


def _crossed(clips: Any, columns: Sequence[str]) -> list[str]:
    """Return each clip's group by several columns at once; unknown where one of them is."""
    from thinslice.evaluate.groups import UNKNOWN
    from thinslice.evaluate.scorecard import membership_of

    parts = zip(*(membership_of(clips, name) for name in columns), strict=True)
    return [UNKNOWN if UNKNOWN in cells else " ".join(cells) for cells in parts]


def _found(file: Any, clips: Any) -> tuple[list[int], list[int]]:
    """Return the rows of a prediction file that are of known clips, and which clips they are, each once."""
    from thinslice.evaluate.clip_names import match_clips

    found: dict[int, int] = {}
    for row, clip in enumerate(match_clips(clips.clips, file.clips)):
        if clip is not None:
            found.setdefault(clip, row)
    return list(found.values()), list(found)


def _csv(names: Sequence[str], scores: Any, low: Any, high: Any, file: Any) -> str:
    import numpy as np

    from thinslice.data.table import format_table

    header, columns = ["clip"], []
    for end, values in (("", scores), ("_low", low), ("_high", high)):
        for k, target in enumerate(file.columns):
            if target in file.targets and (not end or np.isfinite(values[:, k]).any()):
                header.append(target + end)
                columns.append(values[:, k])
    table = np.stack(columns, axis=1)
    cells = [["" if np.isnan(value) else f"{value:.6f}" for value in row] for row in table]
    return format_table(header, [(name, *row) for name, row in zip(names, cells, strict=True)])


def _report(fitted: Any, file: Any, rows: Sequence[int], groups: Sequence[str], as_json: bool) -> None:
    """Show by how much each group's mean score was moved, beyond what everybody's was."""
    import numpy as np

    from thinslice.cli.show_table import print_tables
    from thinslice.evaluate.tables import Table
    from thinslice.targets import averaged

    shown = averaged(file.columns)
    places = [file.columns.index(name) for name in shown]

    def named(values: Any) -> dict[str, float]:
        found = dict(zip(file.columns, values.tolist(), strict=True))
        return {name: value for name, value in found.items() if name in file.targets and np.isfinite(value)}

    if as_json:
        document = {
            "intercept": named(fitted.intercept),
            "slope": named(fitted.slope),
            "groups": {
                name: {
                    "num_speakers": fitted.num_speakers[name],
                    "centre": named(fitted.centres[name]),
                    "shift": named(fitted.shifts[name]),
                    "slope": named(fitted.slopes[name]),
                }
                for name in fitted.centres
            },
        }
        print_json(document)
        return
    body = [("(everybody: slope)", "", "", *(f"{value:.2f}" for value in fitted.slope[places]))]
    for name in fitted.centres:
        count = sum(group == name for group in groups)
        shifts = (f"{value + 0.0:+.4f}" for value in fitted.shifts[name][places])
        body.append((name, str(count), str(fitted.num_speakers[name]), *shifts))
    header = ("group", "clips", "speakers of the fit", *shown)
    note = "Shift of a group's mean score beyond everybody's line, after shrinkage."
    print_tables([Table("Calibration", header, tuple(body), note)])
