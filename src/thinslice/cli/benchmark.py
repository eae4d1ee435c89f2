"""``thinslice benchmark``: how fast recipes train here, what they wait for, and what would help."""

import os
from typing import TYPE_CHECKING, Any, Final

import click

from thinslice.cli.numbers import FiniteRange
from thinslice.cli.workers import workers_option
from thinslice.output import print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thinslice.evaluate.tables import Table
    from thinslice.published.figures import TrainingSpeed
    from thinslice.train.benchmark.measure import Speed
    from thinslice.train.recipe import Recipe

NOTE: Final = (
    "On smooth noise of the recipe's own sizes, from a feature store in the page cache. Without reading: the same loop "
    "on one batch that lies on the device. Waits: the share of its time that the loop waits for data. A clip, ms: "
    "processor time that reading it takes."
)


@click.command(
    epilog="""\b
Examples:
  thinslice benchmark --workers 14
  thinslice benchmark cr_net cross_modal --workers 14 --decoded
  thinslice benchmark deep_impression --small --device cpu
"""
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--small/--full", "small", default=None, help="The recipes' small size.  [default: --full on a GPU, else --small]"
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@workers_option
@click.option("--decoded", is_flag=True, help="Read a decoded copy, as train --decoded does.")
@click.option(
    "--seconds",
    type=FiniteRange(0, min_open=True),
    default=20.0,
    show_default=True,
    metavar="S",
    help="How long each loop of each stage runs, about.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def benchmark(
    names: tuple[str, ...],
    small: bool | None,
    device: str,
    workers: int,
    decoded: bool,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure how fast the recipes NAME train on this machine, all without any.

    Each stage that reads clips runs with reading and without, beside figures of other machines; a line says where its
    time goes and which option of train would help. Nothing is learned, and no data are needed. GPUs compute in bf16.
    """
    from thinslice.errors import MissingExtraError
    from thinslice.systems import RECIPES, find_builder

    for name in names:  # Before PyTorch is loaded, which takes long.
        find_builder(name)
    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("training", "train") from None
    from thinslice.train.benchmark.measure import advise
    from thinslice.train.processes import Processes, find_device
    from thinslice.train.settings import LoopSettings

    place = find_device(device, Processes())
    small = place.type != "cuda" if small is None else small
    settings = LoopSettings(
        device=device,
        tensorboard=False,
        num_readers=workers if workers > 1 else 0,
        precision="bf16-mixed" if place.type == "cuda" else "32",
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = []
    for recipe in [_build(name, small) for name in names or RECIPES]:
        for speed in _measure(recipe, settings, decoded, seconds):
            found.append((speed, advise(speed, workers, cores, decoded)))
    if as_json:
        rows = [{**speed.to_dict(), "advice": advice} for speed, advice in found]
        print_json({"device": _describe(place), "cores": cores, "workers": workers, "decoded": decoded, "rows": rows})
        return
    from thinslice.cli.show_table import print_tables

    print_tables([_table([speed for speed, _ in found], _describe(place), cores, workers)])
    for speed, advice in found:
        click.echo(f"{speed.recipe} {speed.stage}: {advice}")


def _build(name: str, small: bool) -> "Recipe":
    from thinslice.cli.run_table import SMALL
    from thinslice.systems import build_recipe

    recipe = build_recipe(name)
    sized = f"{SMALL}{recipe.variant}"
    return build_recipe(name, sized) if small and sized in recipe.variants else recipe


def _measure(recipe: "Recipe", settings: Any, decoded: bool, seconds: float) -> "Iterator[Speed]":
    import logging
    import tempfile
    from pathlib import Path

    from thinslice.train.benchmark.measure import measure_stage, trained_stages
    from thinslice.train.benchmark.plausible import NUM_MEDIA, build_plausible_data
    from thinslice.train.decoded import plan_copy

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="thinslice-benchmark-") as place:
        folder = Path(place)
        data = build_plausible_data(recipe, folder / "store", NUM_MEDIA)
        if decoded:
            data, copying = plan_copy(data, folder / "decoded")
            for _ in copying.do():
                pass
        for stage in trained_stages(recipe):
            say(f"{recipe.name} {recipe.variant}: {stage.name}")
            yield measure_stage(recipe, stage, data, folder / "run", settings, seconds)


def _table(speeds: "list[Speed]", device: str, cores: int, workers: int) -> "Table":
    from thinslice.evaluate.tables import Table
    from thinslice.published.figures import load_speeds

    others = load_speeds()
    beside = [{entry.machine: entry for entry in others if _is_of(entry, speed)} for speed in speeds]
    machines = sorted({machine for found in beside for machine in found})
    rows = []
    for speed, found in zip(speeds, beside, strict=True):
        cells = [f"{speed.recipe} {speed.variant}", speed.stage, f"{speed.reading_ms:.2f}"]
        cells += _cells(speed.clips_per_s, speed.held_clips_per_s)
        for machine in machines:
            same = found.get(machine)
            cells += _cells(same.clips_per_s, same.held_clips_per_s) if same else ("–", "–", "–")
        rows.append(tuple(cells))
    columns = ("clips/s", "without reading", "waits")
    header = ["recipe", "stage", "a clip, ms", *columns]
    header += [f"{machine}: {column}" for machine in machines for column in columns]
    title = f"training on {device}, {cores} cores, --workers {workers}"
    return Table(title, tuple(header), tuple(rows), NOTE, "ll" + "r" * (len(header) - 2))


def _is_of(entry: "TrainingSpeed", speed: "Speed") -> bool:
    """Return whether a figure of another machine is of the same stage at the same size."""
    stages = speed.stage, speed.stage.partition("_")[0]
    return entry.recipe == speed.recipe and entry.is_small == ("small" in speed.variant) and entry.stage in stages


def _cells(loop: float, held: float) -> tuple[str, str, str]:
    return f"{loop:,.4g}", f"{held:,.4g}", f"{max(0.0, 1 - loop / held):.0%}"


def _describe(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
