"""``thinslice figures``: the figures of a system's paper, from a finished run."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  thinslice figures runs/cr_net --out figures/
  thinslice figures runs/cross_modal --data fi.csv --store features/ --device cuda --out figures/
"""
)
@click.argument("run", metavar="RUN", type=_PATH)
@click.option("--out", required=True, type=_PATH, metavar="DIR", help="Folder of the pictures.")
@click.option("--data", type=_PATH, metavar="MANIFEST", help="The clips; else the run's.")
@click.option("--store", type=_PATH, metavar="DIR", help="Their feature store; else the run's.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def figures(run: Path, out: Path, data: Path | None, store: Path | None, device: str) -> None:
    """Draw the figures of its paper from the finished training in RUN, on its test clips, or else validation clips.

    `thinslice systems NAME` says whether a system can. What a figure is fitted on, such as a regressor, is fitted on
    the training clips.
    """
    from thinslice.errors import MissingExtraError, UsageError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("figures", "train") from None
    from thinslice.output import make_folder, say
    from thinslice.systems import RECIPES, build_recipe, rebuild_recipe
    from thinslice.train.inputs import load_run_of
    from thinslice.train.run import RunFolder

    folder = RunFolder(run)
    document = folder.load()
    recipe = rebuild_recipe(document)
    if recipe.draw_figures is None:
        others = ", ".join(name for name in RECIPES if build_recipe(name).draw_figures)
        raise UsageError(f"{run}: {recipe.name} draws no figures of its paper; {others} do")
    clips = load_run_of(recipe, document, data, store)
    make_folder(out)
    for path in recipe.draw_figures(run, clips, device, out):
        say(f"wrote {path}")
