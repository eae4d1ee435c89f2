"""``thinslice data planted``: synthetic talking heads whose labels have known causes."""

import json
from pathlib import Path

import click

from thinslice.cli.workers import workers_option
from thinslice.errors import counted
from thinslice.output import say
from thinslice.progress import progress


@click.command(
    epilog="""\b
Examples:
  thinslice data planted planted/ --clips 400 --speakers 100 --seed 1
  thinslice data planted planted15/ --clips 40 --seconds 15 --size 456x256 --rate 25
"""
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--clips", "num_clips", type=click.IntRange(3), default=400, show_default=True, help="How many clips.")
@click.option("--speakers", "num_speakers", type=click.IntRange(3), help="How many people.  [default: clips / 4]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, other clips.")
@click.option("--seconds", "duration_s", type=float, default=4.0, show_default=True, help="Length of a clip.")
@click.option("--size", default="228x128", show_default=True, metavar="WIDTHxHEIGHT", help="Of the pictures, pixels.")
@click.option("--rate", "rate_hz", type=int, default=15, show_default=True, help="Pictures per second.")
@click.option("--style", default="shaded", show_default=True, help="How faces are drawn: shaded or sketch.")
@click.option(
    "--emotion-images",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Also write so many faces with valence and arousal, in the other style, to DIR/emotion.",
)
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print what is planted as one JSON document.")
def planted(
    folder: Path,
    num_clips: int,
    num_speakers: int | None,
    seed: int,
    duration_s: float,
    size: str,
    rate_hz: int,
    style: str,
    emotion_images: int,
    workers: int,
    as_json: bool,
) -> None:
    """Draw talking heads whose labels have known causes.

    They have speech-like sound and transcripts, in the layout of First Impressions. Each trait has one known cause:
    mouth shape, background, head motion, voice, words. DIR/planted.json says which, and how well the best predictor
    from each input can do. Such clips show what a system can learn from; they say nothing about accuracy on people. An
    interrupted call continues where it stopped.
    """
    from thinslice.data.planted.clip import Format
    from thinslice.data.planted.corpus import plant

    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise click.UsageError(f"--size {size}: write width x height in pixels, such as 456x256")
    form = Format(width=int(width), height=int(height), rate_hz=rate_hz, duration_s=duration_s, style=style)

    with progress("draw") as step:
        manifest = plant(
            folder,
            num_clips,
            num_speakers,
            seed,
            form,
            workers,
            on_done=step,
        )
    written = [folder / "manifest.csv"]
    if emotion_images:
        from thinslice.data.planted.drawing import STYLES
        from thinslice.data.planted.emotion import planted_emotion

        other = next(name for name in STYLES if name != style)
        planted_emotion(folder / "emotion", emotion_images, seed, other)
        written.append(folder / "emotion" / "manifest.csv")
    if as_json:
        click.echo((folder / "planted.json").read_text(encoding="utf-8").rstrip())
        return
    about = json.loads((folder / "planted.json").read_text(encoding="utf-8"))
    for trait, cause in about["causes"].items():
        click.echo(f"{trait}: {cause['input']}, {cause['cue']}")
    click.echo(f"best possible R²: {about['best_r2_of_all_inputs']} from the right input, 0 from any other")
    speakers = len(set(manifest.speakers))
    click.echo(
        f"wrote {' and '.join(map(str, written))}: {counted(len(manifest), 'clip')} of {counted(speakers, 'speaker')}, "
        f"digest {manifest.digest[:12]}"
    )
    say("synthetic: these clips say nothing about accuracy on people")
