"""``thinslice data attributes``: perceived age, gender and emotion of every clip, as a table to group scores by."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from thinslice.cli.workers import workers_option
from thinslice.errors import counted
from thinslice.output import say, warn

_PATH = click.Path(path_type=Path)
COLUMNS = ("clip", "age", "gender", "emotion", "emotion_confidence")
NUM_SHOWN = 5


@click.command(
    epilog="""\b
Examples:
  thinslice data attributes fi.csv --store features/ --workers 8 --out attributes.csv
  thinslice groups system=predictions.csv --labels fi.csv --attributes attributes.csv --age age --out groups/
"""
)
@click.argument("manifest", type=_PATH)
@click.option("--store", required=True, type=_PATH, metavar="DIR", help="The feature store; made if it is not there.")
@click.option("--out", required=True, type=_PATH, metavar="TABLE.csv", help="The table to write.")
@workers_option
def attributes(manifest: Path, store: Path, out: Path, workers: int) -> None:
    """Estimate age, gender and emotion of every clip.

    Clips without media are left out. The emotion is the one of seven that the network finds likeliest; its probability
    is the confidence. They are the features of the recipe audiovisual_attributes: what the store has already is not
    computed again. Estimates are what a network perceives, not what a person is or feels. Exit code 1 if any clip
    fails; the others are written.
    """
    from thinslice.data.manifest import load_manifest
    from thinslice.data.table import format_table
    from thinslice.extraction.run import extract
    from thinslice.features.spec import FeatureSpec
    from thinslice.features.store import open_reader
    from thinslice.files import write_atomically

    params: dict[str, Any] = {"age": True, "gender": True, "emotion": True, "detector": "landmarker"}
    specs = {"attributes": FeatureSpec(extractor="attributes", params=params)}
    table = load_manifest(manifest)
    extracted = extract(table, specs, store, workers, isolated=True)
    reader, _ = open_reader(store, specs, zip(table.clips, table.media, strict=True))
    there = set(reader.clips)
    rows = [(clip, *_cells(reader.read(clip, "attributes"))) for clip in table.clips if clip in there]
    write_atomically(out, format_table(COLUMNS, rows).encode())
    say(f"wrote {len(rows):,} of {counted(len(table), 'clip')} to {out}")
    if extracted.failures:
        for _, _, _, why in extracted.failures[:NUM_SHOWN]:
            warn(f"failed: {why}")
        warn(f"{counted(len(extracted.failures), 'clip')} failed")
        sys.exit(1)


def _cells(values: Any) -> Sequence[str]:
    """Return the cells of one clip's attributes (9,), see `thinslice.features.attributes.ATTRIBUTES`."""
    from thinslice.features.attributes import EMOTIONS

    emotions = values[2:]
    best = int(emotions.argmax())
    return (
        f"{values[0]:.1f}",
        "female" if values[1] > 1.5 else "male",
        EMOTIONS[best],
        f"{min(float(emotions[best]), 1.0):.3f}",
    )
