"""``thinslice import deep-impression``: the authors' trained network."""

import sys
from pathlib import Path

import click

from thinslice.output import say

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("deep-impression")
@click.argument("file", metavar="FILE", type=_FILE)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Bundle folder to write.")
@click.option(
    "--check",
    "clips",
    multiple=True,
    type=_FILE,
    metavar="CLIP",
    help="A clip whose scores the authors published, to compare with; repeatable.",
)
def deep_impression(file: Path, out: Path, clips: tuple[Path, ...]) -> None:
    """Convert the trained network of Güçlütürk et al. 2016: the file `model` of their repository, written by Chainer.

    The file is read as numbers, no code in it is run, and every name and shape in it is accounted for. --check scores
    First Impressions' clip FU1ak530DDo.005.mp4 and compares with what the authors' own demo gives; it exits with 1 if a
    score differs by more than 0.02.

    \b
    Example:
      thinslice import deep-impression model --out deep-impression --check FU1ak530DDo.005.mp4
      thinslice predict talk.mp4 --bundle ./deep-impression
    """
    from thinslice.errors import MissingExtraError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("import deep-impression", "train") from None
    from thinslice.infer.predictor import Predictor
    from thinslice.systems.deep_impression.weights import EXPECTED, compare, import_deep_impression

    unknown = [clip.name for clip in clips if compare(clip.name, {}) is None]
    if unknown:
        raise click.BadParameter(
            f"{', '.join(unknown)}: no published scores; there are {', '.join(EXPECTED)}", param_hint="--check"
        )
    exported = import_deep_impression(file, out)
    say(f"wrote {out}: differs from PyTorch by {exported.largest_difference:.1e} at most")
    predictor = Predictor(out)
    agreed = True
    for clip in clips:
        prediction = predictor.predict(clip, explain=False)
        check = compare(clip.name, {name: score.score for name, score in prediction.traits.items()})
        assert check is not None
        for trait, expected in check.expected.items():
            click.echo(f"{check.clip}  {trait:17}  {check.scores[trait]:.4f}  published {expected:.4f}")
        agreed = agreed and check.agrees
        verdict = "agrees" if check.agrees else "DOES NOT AGREE"
        click.echo(f"{check.clip}: {verdict}, largest difference {check.largest_difference:.4f}")
    if not agreed:
        sys.exit(1)
