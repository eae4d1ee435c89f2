"""``thinslice data balance``: a manifest whose rare groups count as much in training as its common ones."""

from collections import Counter
from pathlib import Path

import click

from thinslice.cli.numbers import FiniteRange
from thinslice.errors import counted
from thinslice.output import say

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  thinslice data balance fi.csv --by age_group --out fi-balanced.csv
  thinslice data balance fi.csv --by gender,age_group --most 3 --out fi-balanced.csv
  thinslice train deep_impression --data fi-balanced.csv --store features/ --out runs/balanced
"""
)
@click.argument("manifest", type=_PATH)
@click.option("--by", required=True, metavar="COLUMN,...", help="Columns that make the groups; several are crossed.")
@click.option("--out", required=True, type=_PATH, metavar="MANIFEST.csv", help="Manifest to write.")
@click.option("--split", default="train", show_default=True, metavar="NAME", help="The split whose clips get weights.")
@click.option("--most", type=FiniteRange(1.0), default=5.0, show_default=True, help="Largest weight of a clip.")
def balance(manifest: Path, by: str, out: Path, split: str, most: float) -> None:
    """Weigh training clips so that groups count alike.

    `thinslice train` draws a clip as often as its weight says, for every recipe; a FitStage (trees) takes each clip
    once. What balancing gains and costs on real labels is in docs/groups.md.
    """
    from thinslice.data.balance import balance as balanced
    from thinslice.data.manifest import WEIGHT, load_manifest, save_manifest
    from thinslice.evaluate.groups import ordered_groups
    from thinslice.targets import split_names

    columns = split_names(by, "--by")
    made = balanced(load_manifest(manifest), columns, split, most)
    save_manifest(made, out)
    cells = zip(*(made.column(name) for name in columns), made.column(WEIGHT), strict=True)
    counts = Counter((" ".join(cell.strip() or "unknown" for cell in row[:-1]), row[-1]) for row in cells if row[-1])
    places = {group: place for place, group in enumerate(ordered_groups([group for group, _ in counts]))}
    for (group, weight), count in sorted(counts.items(), key=lambda item: places.get(item[0][0], len(places))):
        click.echo(
            f"{group}: {counted(count, 'clip')}, weight {float(weight):.3g}{' (cut)' if float(weight) == most else ''}"
        )
    say(f"wrote {out}: digest {made.digest[:12]}")
