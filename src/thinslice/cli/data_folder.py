"""``thinslice data import-folder``: a manifest of one's own videos and one's own ratings."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command(
    "import-folder",
    epilog="""\b
Examples:
  thinslice data import-folder interviews/ --ratings ratings.csv --scale 1:7 --out interviews.csv
  thinslice data import-folder interviews/ --ratings r.csv --scale 1:5 --targets warmth,competence --out i.csv
  thinslice data import-folder interviews/ --out to-be-rated.csv
""",
)
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option(
    "--ratings",
    "--labels",
    "ratings",
    multiple=True,
    type=_PATH,
    metavar="CSV",
    help="Table of ratings, one row a clip; repeatable. Without one the manifest has no labels yet.",
)
@click.option("--scale", metavar="LOW:HIGH", help="Of the ratings, such as 1:7; else they lie between 0 and 1.")
@click.option("--targets", metavar="NAME,...", help="Columns rated on that scale beside the traits.")
@click.option(
    "--reverse", metavar="NAME,...", help="Rated columns whose scale runs the other way, such as neuroticism."
)
@click.option("--out", required=True, type=_PATH, metavar="MANIFEST.csv", help="The manifest to write.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def import_folder_command(
    folder: Path,
    ratings: tuple[Path, ...],
    scale: str | None,
    targets: str | None,
    reverse: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Make a manifest of your own media and tables.

    A table has a column clip (or file_name, VideoName, stimulus, ...) and any of a manifest's columns, in any case; the
    traits may be O, C, E, A and N, or spelt as is usual. It may be separated by commas, semicolons or tabs, with
    decimal commas. Give it a column speaker (or person, participant): without one no split can keep speakers apart.
    What was converted, and which columns and clips were not recognised, is reported.
    """
    from thinslice.cli.data import finish_import
    from thinslice.data.first_impressions import import_folder
    from thinslice.data.own_ratings import RatingScale, parse_scale
    from thinslice.targets import parse_targets, split_names

    try:
        ends = None if scale is None else parse_scale(scale)
    except ValueError:
        raise click.UsageError(f"--scale {scale}: write the lowest and the highest rating, such as 1:7") from None
    own = RatingScale(
        ends,
        parse_targets(targets) if targets else (),
        split_names(reverse or "", "--reverse"),
    )
    finish_import(import_folder(folder, ratings, own), out, as_json)
