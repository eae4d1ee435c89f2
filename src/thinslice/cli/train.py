"""``thinslice train``: run a recipe."""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thinslice.cli.decoded import decoded_option, read_decoded
from thinslice.cli.sizes import build_changed, set_option
from thinslice.cli.workers import workers_option
from thinslice.errors import counted
from thinslice.output import say, volume

if TYPE_CHECKING:
    from thinslice.train.recipe import Recipe

_PATH = click.Path(path_type=Path)

NUM_SHOWN = 5


@click.command(
    epilog="""\b
Examples:
  thinslice train deep_impression --data fi.csv --out runs/dnn --store features/ --workers 8
  thinslice train deep_impression --data fi.csv --out runs/dnn --store features/ --resume
  thinslice train deep_impression --variant small --data planted.csv --out runs/small --device cpu
  thinslice train cr_net --set num_trees=500 --set detector=landmarker --data fi.csv --out runs/cr --store features/
  torchrun --nproc-per-node 4 -m thinslice train deep_impression --data fi.csv --out runs/dnn --store features/
"""
)
@click.argument("name", metavar="NAME")
@click.option("--data", required=True, type=_PATH, metavar="MANIFEST", help="Clips, labels and splits.")
@click.option("--out", required=True, type=_PATH, metavar="RUN", help="The run folder to write.")
@click.option(
    "--store", type=_PATH, metavar="DIR", help="The feature store.  [default: the folder features beside MANIFEST]"
)
@click.option("--variant", metavar="NAME", help="A variant of the recipe; see thinslice systems NAME.")
@set_option
@click.option("--targets", metavar="NAME,...", help="Columns of MANIFEST to predict.  [default: the Big Five]")
@click.option(
    "--companion",
    multiple=True,
    metavar="NAME=MANIFEST",
    help="A companion data set of the recipe; repeatable.",
)
@click.option("--shared-stages", type=_PATH, metavar="DIR", help="Take finished stages from DIR, and keep them there.")
@decoded_option
@click.option("--resume", is_flag=True, help="Go on with the run in RUN; without one there, begin.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--batch-size-per-device",
    type=click.IntRange(1),
    metavar="N",
    help="Clips at once; gradients are accumulated to the recipe's batch.  [default: the whole batch]",
)
@click.option("--max-steps", type=click.IntRange(1), metavar="N", help="For a trial: steps of each stage at most.")
@click.option("--seed", type=click.IntRange(0), help="Of weights, order and crops.  [default: the recipe's]")
@workers_option
@click.option("--precision", type=click.Choice(["32", "bf16-mixed", "16-mixed"]), default="32", show_default=True)
def train(
    name: str,
    data: Path,
    out: Path,
    store: Path | None,
    variant: str | None,
    changes: tuple[str, ...],
    targets: str | None,
    companion: tuple[str, ...],
    shared_stages: Path | None,
    decoded: Path | None,
    resume: bool,
    device: str,
    batch_size_per_device: int | None,
    max_steps: int | None,
    seed: int | None,
    workers: int,
    precision: Any,
) -> None:
    """Run the stages of the recipe NAME on the clips of MANIFEST.

    Features that the store lacks are extracted first. RUN then holds the weights, the loss curve, the scores, the
    predictions of validation and test clips, and what is needed to do it again. A run that was interrupted, even by
    kill -9, goes on with --resume and ends as if it had not been.
    """
    from thinslice.errors import MissingExtraError

    try:
        import lightning  # noqa: F401
        import torch
    except ImportError:
        raise MissingExtraError("training", "train") from None
    from thinslice.train.inputs import load_run_data
    from thinslice.train.loop import train as run
    from thinslice.train.opening import check_folder
    from thinslice.train.processes import Processes, find_device
    from thinslice.train.run import RunFolder
    from thinslice.train.settings import LoopSettings

    recipe = build_changed(name, variant, changes, targets)
    is_first = Processes.from_environment().rank == 0
    companions = parse_companions(companion)
    store = data.absolute().parent / "features" if store is None else store
    # Before features are extracted, which takes long. Others may look when the first has begun to write.
    find_device(device, Processes.from_environment())
    if is_first:
        check_folder(RunFolder(out), resume)
    run_data, left_out = load_run_data(recipe, data, store, companions, num_workers=workers, isolated=True)
    if is_first:
        counts = ", ".join(f"{len(clips):,} {split}" for split, clips in run_data.splits.items())
        say(f"{recipe.name} {recipe.variant}: {counts} clips")
        for entry in left_out[:NUM_SHOWN]:
            say(f"left out: {entry.clip} ({entry.split}): {entry.why}")
        if left_out:
            by_split = Counter(entry.split for entry in left_out)
            where = ", ".join(f"{count:,} {split}" for split, count in by_split.items())
            say(f"{counted(len(left_out), 'clip')} left out ({where}); run.json lists them")
    run_data = read_decoded(run_data, decoded, workers)
    settings = LoopSettings(
        device=device,
        seed=seed,
        batch_size_per_device=batch_size_per_device,
        max_steps=max_steps,
        num_readers=workers if workers > 1 else 0,
        precision=precision,
        resume=resume,
        progress=sys.stderr.isatty() and not volume().quiet,
        shared_stages=None if shared_stages is None else str(shared_stages),
    )
    folder = run(recipe, run_data, out, settings)
    if is_first:
        _print_scores(folder.path, recipe)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def parse_companions(given: tuple[str, ...]) -> dict[str, Path]:
    """Return the manifests of companion data sets by their names, of NAME=MANIFEST."""
    found = {}
    for entry in given:
        name, sign, path = entry.partition("=")
        if not (name and sign and path):
            raise click.BadParameter(f"{entry!r}: give it as NAME=MANIFEST", param_hint="--companion")
        found[name] = Path(path)
    return found


def _print_scores(folder: Path, recipe: "Recipe") -> None:
    import msgspec

    from thinslice.train.run import RunFolder

    run = RunFolder(folder)
    document = run.load()
    scored = msgspec.json.decode((folder / "scores.json").read_bytes())["splits"]
    for split, scores in run.load_scores().items():
        click.echo(f"{split}: {describe_scores(scored[split])} ({counted(scores.num_clips, 'clip')})")
    published = published_accuracy(recipe)
    if published and not document.max_steps and not document.data.origin.get("synthetic"):
        say(f"published, average of the five traits: {published}")
    say(f"{folder}: next, thinslice export {folder} --out BUNDLE")


def describe_scores(scores: Mapping[str, Any]) -> str:
    """Return a split's accuracy and R², averaged over what papers average over: the five traits where all are there.

    Args:
        scores: as in scores.json, with "accuracy_TARGET" and "r2_TARGET" of each target.
    """
    from thinslice.targets import averaged
    from thinslice.traits import TRAITS

    targets = [name.removeprefix("accuracy_") for name in scores if name.startswith("accuracy_")]
    shown = averaged(targets)
    means: dict[str, float | None] = {}
    for metric in ("accuracy", "r2"):
        values = [scores.get(f"{metric}_{target}") for target in shown]
        known = [value for value in values if value is not None]
        means[metric] = sum(known) / len(known) if len(known) == len(values) else None
    accuracy = "–" if means["accuracy"] is None else f"{means['accuracy']:.4f}"
    r2 = "–" if means["r2"] is None else f"{means['r2']:.3f}"
    of = "five traits" if shown == TRAITS else ", ".join(shown)
    text = f"accuracy {accuracy}, R² {r2} (average of the {of})" if len(shown) > 1 else f"accuracy {accuracy}, R² {r2}"
    beside = [target for target in targets if target not in shown and scores[f"accuracy_{target}"] is not None]
    return text + "".join(f"; {target} {scores[f'accuracy_{target}']:.4f}" for target in beside)


def published_accuracy(recipe: "Recipe") -> str:
    """Return the published average accuracies of a variant, with their sources; "" where there is none."""
    names = {row[recipe.variant] for row in recipe.tables.values() if recipe.variant in row}
    found = dict.fromkeys(
        f"{round(figure.value, 4):g} on {figure.dataset} {figure.split} ({figure.source})"
        for figure in recipe.published
        if figure.variant in names and (figure.metric, figure.target) == ("accuracy", "average")
    )
    return "; ".join(found)
