"""``thinslice data import-emotion``: data sets of valence and arousal as manifests."""

import sys
from collections import Counter
from pathlib import Path

import click

from thinslice.errors import counted
from thinslice.output import print_json, say, warn
from thinslice.progress import progress

_PATH = click.Path(path_type=Path)

NUM_SHOWN = 5


@click.command(
    epilog="""\b
Examples:
  thinslice data import-emotion aff-wild Aff-Wild/ --frames-to aff-wild-frames/ --out emotion.csv
  thinslice data import-emotion afew-va AFEW-VA/ --out emotion.csv
  thinslice data import-emotion csv ratings.csv --media images/ --scale 1,9 --out emotion.csv
  thinslice data import-emotion csv mood_train.csv --media clips/ --scale 1,3 --out mood.csv
"""
)
@click.argument("kind", metavar="FORMAT", type=click.Choice(["aff-wild", "afew-va", "csv"]))
@click.argument("source", metavar="SOURCE", type=_PATH)
@click.option("--out", required=True, type=_PATH, metavar="MANIFEST.csv", help="The manifest to write.")
@click.option("--frames-to", type=_PATH, metavar="DIR", help="aff-wild: where frames of the videos are written.")
@click.option(
    "--every", "every_s", type=float, default=1.0, show_default=True, help="aff-wild: seconds between frames."
)
@click.option("--media", type=_PATH, metavar="DIR", help="csv: folder of the pictures or clips.  [default: SOURCE's]")
@click.option("--scale", default="-1,1", show_default=True, metavar="LOW,HIGH", help="csv: ends of its values' scale.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def import_emotion(
    kind: str,
    source: Path,
    out: Path,
    frames_to: Path | None,
    every_s: float,
    media: Path | None,
    scale: str,
    as_json: bool,
) -> None:
    """Make a manifest of pictures or clips with emotions.

    It has valence and arousal in [-1, 1], for systems that learn emotion too. FORMAT is aff-wild (Aff-Wild and
    Aff-Wild2: videos with values per frame), afew-va (folders of frames with a JSON file) or csv (a table). Exits with
    1 if something could not be read; the rest is still in the manifest.
    """
    from thinslice.data.emotion import import_afew_va, import_aff_wild, import_emotion_csv
    from thinslice.data.manifest import save_manifest

    if kind == "aff-wild":
        if frames_to is None:
            raise click.UsageError("aff-wild needs --frames-to DIR: its frames become pictures")
        with progress("frames") as step:
            imported = import_aff_wild(source, frames_to, every_s, step)
    elif kind == "afew-va":
        imported = import_afew_va(source)
    else:
        imported = import_emotion_csv(source, media, _parse_scale(scale))
    manifest = imported.manifest
    save_manifest(manifest, out)
    splits = Counter(manifest.splits)
    if as_json:
        document = {
            "manifest": str(out),
            "num_rows": len(manifest),
            "num_speakers": len(set(manifest.speakers)),
            "splits": splits,
            "digest": manifest.digest,
            "notes": imported.notes,
            "problems": imported.problems,
        }
        print_json(document)
    else:
        for note in imported.notes[:NUM_SHOWN]:
            say(f"note: {note}")
        if len(imported.notes) > NUM_SHOWN:
            say(f"{counted(len(imported.notes) - NUM_SHOWN, 'more note')}: --json")
        counts = ", ".join(f"{count:,} {split}" for split, count in splits.items())
        click.echo(
            f"wrote {out}: {counted(len(manifest), 'row')} ({counts}) of "
            f"{counted(len(set(manifest.speakers)), 'speaker')}, "
            f"digest {manifest.digest[:12]}"
        )
    for problem in imported.problems:
        warn(f"problem: {problem}")
    sys.exit(1 if imported.problems else 0)


def _parse_scale(text: str) -> tuple[float, float]:
    low, comma, high = text.partition(",")
    try:
        if comma:
            return float(low), float(high)
    except ValueError:
        pass
    raise click.BadParameter(f"{text!r}: give the lowest and the highest value, such as 1,9", param_hint="--scale")
