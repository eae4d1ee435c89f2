"""``thinslice conform``: the networks, losses and features beside independent implementations, with equal weights."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from thinslice.errors import MissingExtraError, UsageError
from thinslice.output import print_json

if TYPE_CHECKING:
    from thinslice.conform.comparison import Outcome
    from thinslice.evaluate.tables import Table


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Folder of checkouts, each under its repository's name. Code in them is run.",
)
@click.option("--chainer", metavar="PYTHON", help="A Python from 2.7 to 3.9 that has Chainer 1.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def conform(names: tuple[str, ...], folder: Path | None, chainer: str | None, as_json: bool) -> None:
    """Compare thinslice with independent implementations.

    Equal weights are put into ours and theirs, both run on the same inputs, and the largest difference is printed
    beside the one that was found when this was written. NAME is a comparison; without one all are made, which also
    shows their names.

    Nothing is downloaded: an implementation that is not here is named with the line that brings it. Exit code 1: a
    difference is larger than rounding, or a comparison that was named could not be made.

    \b
    Examples:
      thinslice conform
      thinslice conform sphereface multi_similarity --from checkouts/
    """
    try:
        from thinslice.conform.comparison import Given, compare
        from thinslice.conform.table import COMPARISONS
    except ModuleNotFoundError as error:
        if error.name in ("torch", "lightning"):
            raise MissingExtraError("conform", "train") from None
        raise
    unknown = [name for name in names if name not in COMPARISONS]
    if unknown:
        raise UsageError(f"no comparison {unknown[0]!r}; there are {', '.join(COMPARISONS)}")
    given = Given(folder, chainer)
    outcomes = [compare(COMPARISONS[name], given) for name in names or COMPARISONS]
    if as_json:
        print_json([_document(outcome) for outcome in outcomes])
    else:
        _print(outcomes)
    if any(outcome.verdict == "DIFFERS" or (names and outcome.verdict == "not here") for outcome in outcomes):
        raise SystemExit(1)


def _print(outcomes: "list[Outcome]") -> None:
    from thinslice.cli.show_table import print_tables

    made = [outcome for outcome in outcomes if outcome.verdict != "not here"]
    if made:
        print_tables([_table(made)])
    missing = [outcome for outcome in outcomes if outcome.verdict == "not here"]
    for outcome in made:
        if outcome.remedy:
            click.echo(f"{outcome.comparison.name} ended in an error: {outcome.remedy}\n")
    if missing:
        click.echo("Not compared; this brings what is missing:")
    for outcome in missing:
        click.echo(f"  {outcome.comparison.name:<20} {outcome.remedy}")


def _table(outcomes: "list[Outcome]") -> "Table":
    from thinslice.evaluate.tables import Table

    header = ("comparison", "of", "with", "licence", "largest difference", "expected", "at most", "verdict")
    rows = tuple(
        (
            outcome.comparison.name,
            outcome.comparison.what,
            outcome.version,
            outcome.comparison.theirs.licence,
            f"{outcome.difference:.1e}",
            f"{outcome.comparison.expected:.0e}",
            f"{outcome.comparison.most:.0e}",
            outcome.verdict,
        )
        for outcome in outcomes
    )
    return Table("Ours beside independent implementations, with equal weights", header, rows, align="llllrrrl")


def _document(outcome: "Outcome") -> dict[str, object]:
    difference = outcome.difference
    return {
        "comparison": outcome.comparison.name,
        "of": outcome.comparison.what,
        "systems": list(outcome.comparison.systems),
        "with": outcome.version,
        "licence": outcome.comparison.theirs.licence,
        "largest_difference": None if difference is None or difference == float("inf") else difference,
        "expected": outcome.comparison.expected,
        "at_most": outcome.comparison.most,
        "verdict": outcome.verdict,
        "remedy": outcome.remedy,
    }
