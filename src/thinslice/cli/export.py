"""``thinslice export``: from a run to a bundle."""

from pathlib import Path

import click

from thinslice.errors import counted
from thinslice.output import say

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  thinslice export runs/dnn --out bundles/dnn --data fi.csv --store features/
  thinslice predict talk.mp4 --bundle bundles/dnn
"""
)
@click.argument("run", metavar="RUN", type=_PATH)
@click.option("--out", required=True, type=_PATH, metavar="BUNDLE", help="The bundle folder to write.")
@click.option("--name", metavar="NAME", help="Of the bundle.  [default: recipe and variant]")
@click.option(
    "--data", type=_PATH, metavar="MANIFEST", help="Clips to compare the graph with PyTorch on; else the run's."
)
@click.option("--store", type=_PATH, metavar="DIR", help="Their feature store; else the run's.")
def export(run: Path, out: Path, name: str | None, data: Path | None, store: Path | None) -> None:
    """Make a bundle from a finished training run.

    predict runs it without PyTorch. The network becomes an ONNX graph; its scores are compared with PyTorch's on clips,
    and nothing is written where they differ by 0.0001 or more.
    """
    from thinslice.errors import MissingExtraError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("export", "train") from None
    from thinslice.bundle import load_bundle
    from thinslice.systems import rebuild_recipe
    from thinslice.train.export import export_run
    from thinslice.train.inputs import load_samples, load_split
    from thinslice.train.run import RunFolder

    folder = RunFolder(run)
    document = folder.load()
    recipe = rebuild_recipe(document)
    samples = load_samples(recipe, document, data, store)
    validation = load_split(recipe, document, "validation", data, store) if recipe.absent else None
    exported = export_run(recipe, folder, out, samples, name=name, validation=validation)
    load_bundle(out)  # What was written is what predict will accept.
    say(
        f"wrote {exported.folder}: differs from PyTorch by {exported.largest_difference:.1e} at most, on "
        f"{counted(exported.num_compared, 'clip')}"
    )
