"""``thinslice audit``: what a dataset's splits reveal before any model looks at a clip."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from thinslice.errors import counted
from thinslice.output import print_json

EPILOG = """\b
Examples:
  thinslice audit first_impressions.csv
  thinslice audit my_clips.csv --train-split training --json
  thinslice audit my_clips.csv --votes votes.csv.gz
"""


@click.command(epilog=EPILOG)
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--train-split", default="train", show_default=True, metavar="NAME", help="Split that systems learn from."
)
@click.option(
    "--votes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="VOTES.csv",
    help="The votes behind the labels: how many compare clips of different splits, and what that leaks.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def audit(manifest: Path, train_split: str, votes: Path | None, as_json: bool) -> None:
    """Report what the splits of a dataset reveal without a model.

    It shows which speakers the splits share, how much of the labels a speaker explains, and what a lookup of speakers
    scores on each split.
    """
    from thinslice.data.manifest import load_manifest
    from thinslice.data.votes import load_votes
    from thinslice.evaluate.audit import audit as audit_splits
    from thinslice.evaluate.audit_votes import audit_votes
    from thinslice.evaluate.card import to_plain

    table = load_manifest(manifest)
    found = audit_splits(table.speakers, table.splits, table.labels(), train_split)
    found = {"manifest": str(manifest), "digest": table.digest} | found
    if votes is not None:
        voted = audit_votes(load_votes(votes), table.clips, table.splits, table.labels(), train_split)
        found["votes"] = to_plain(voted)
        found["verdict"] += voted.verdict
    if as_json:
        print_json(found)
        return
    from thinslice.cli.show_table import print_tables

    print_tables(_tables(found))
    for sentence in found["verdict"]:
        click.echo(sentence)


def _tables(found: Mapping[str, Any]) -> list[Any]:
    from thinslice.evaluate.tables import Table

    train = found["train_split"]
    rows = []
    for name, entry in found["splits"].items():
        seen = "" if entry["seen_share"] is None else f"{entry['seen_clips']:,} ({100 * entry['seen_share']:.1f}%)"
        rows.append(
            (
                name,
                f"{entry['num_clips']:,}",
                f"{entry['num_speakers']:,}",
                f"{entry['num_labelled']:,}",
                seen,
                _pair(entry["training_mean"]),
                _pair(entry["lookup"]),
            )
        )
    columns = ("split", "clips", "speakers", "labelled", f"speaker in {train}", "mean: acc, R²", "lookup: acc, R²")
    tables = [Table(f"Splits of {found['manifest']}", columns, tuple(rows))]
    if found["reliability"]:
        parts, ceiling = found["reliability"], found["ceiling"]
        shown = tuple(
            (
                name,
                _number(icc, 3),
                _number(parts["within_speaker_sd"][name], 3),
                _number(parts["between_speaker_sd"][name], 3),
                _number(ceiling["accuracy"][name], 4),
                _pair(found["leave_one_out"], name),
            )
            for name, icc in parts["icc"].items()
        )
        size = f"{counted(parts['num_clips'], 'clip')}, {counted(parts['num_speakers'], 'speaker')}"
        title = f"Labels within speakers ({train}: {size})"
        note = (
            "ICC: share of the variance that a speaker's clips have in common. Ceiling: accuracy if every speaker's "
            "mean were known. Lookup of other clips: what a split by clips would leak."
        )
        header = ("trait", "ICC", "sd within", "sd between", "ceiling", "lookup of other clips: acc, R²")
        tables.append(Table(title, header, shown, note))
    if "votes" in found:
        counts = [(" – ".join(entry["splits"]), f"{entry['num_votes']:,}") for entry in found["votes"]["between"]]
        note = f"Of {found['votes']['num_votes']:,} votes; {found['votes']['num_unknown']:,} are about other clips."
        tables.append(Table("Votes between splits", ("splits", "votes"), tuple(counts), note))
    return tables


def _pair(scores: Mapping[str, Any] | None, target: str = "average") -> str:
    if scores is None or scores["accuracy"][target] is None:
        return ""
    return f"{scores['accuracy'][target]:.4f}, {_number(scores['r2'][target], 3)}"


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"
