"""``thinslice extract``: the features that a recipe needs, of a whole dataset."""

import itertools
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thinslice.cli.sizes import build_changed, set_option
from thinslice.cli.workers import ray_option, workers_option
from thinslice.errors import counted
from thinslice.output import detail, print_json, volume, warn
from thinslice.progress import progress

if TYPE_CHECKING:
    from thinslice.extraction.run import Extracted, Outcome

NUM_SHOWN = 5

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  thinslice extract fi.csv --recipe deep_impression --store features/ --workers 2
  thinslice extract fi.csv --recipe deep_impression --variant small --store features/
  thinslice extract fi.csv --recipe cr_net --set detector=landmarker --store features/
  thinslice extract fi.csv --recipe deep_impression --store /shared/features --ray head-node:6379
"""
)
@click.argument("manifest", metavar="MANIFEST", type=_PATH)
@click.option("--recipe", required=True, metavar="NAME", help="Whose features; see thinslice systems.")
@click.option("--variant", metavar="NAME", help="A variant of the recipe, if it needs other features.")
@set_option
@click.option("--companion", metavar="NAME", help="MANIFEST is this companion data set of the recipe.")
@click.option("--store", required=True, type=_PATH, metavar="DIR", help="The feature store; made if it is not there.")
@workers_option
@ray_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def extract(
    manifest: Path,
    recipe: str,
    variant: str | None,
    changes: tuple[str, ...],
    companion: str | None,
    store: Path,
    workers: int,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Compute what a recipe needs of every clip in MANIFEST, and keep it in a store.

    What is there already is not computed again: an interrupted call, even a killed one, goes on where it stopped, and
    two calls may fill one store at the same time. Clips that fail are listed in DIR/failures.csv; the exit code is
    then 1.
    """
    from thinslice.data.manifest import load_manifest
    from thinslice.extraction.run import FAILURES
    from thinslice.extraction.run import extract as extract_manifest

    specs = _specs(recipe, variant, changes, companion)
    table = load_manifest(manifest)

    done = itertools.count(1)
    with progress("extract") as step:
        step(0, len(table))

        def on_done(outcome: "Outcome") -> None:
            step(next(done), len(table))
            for name, why in outcome.failures:
                detail(f"failed: {name + ': ' if name else ''}{why}")

        extracted = extract_manifest(table, specs, store, workers, ray_address, on_done, isolated=True)
    if as_json:
        document: dict[str, Any] = asdict(extracted)
        del document["clips"]
        document["num_clips"] = extracted.num_clips
        document["failures"] = [
            dict(zip(("clip", "path", "feature", "error"), row, strict=True)) for row in extracted.failures
        ]
        document["store"] = str(store)
        document["features"] = {name: spec.to_dict() for name, spec in specs.items()}
        print_json(document)
    else:
        _print(extracted, specs, store)
    if extracted.failures:
        shown = 0 if volume().verbose else NUM_SHOWN  # with --verbose they were said when they came
        for _, _, feature, why in extracted.failures[:shown]:
            warn(f"failed: {feature + ': ' if feature else ''}{why}")
        warn(f"{counted(len(extracted.failures), 'failure')}: {store / FAILURES}")
        sys.exit(1)


def _specs(recipe: str, variant: str | None, changes: tuple[str, ...], companion: str | None) -> Any:
    from thinslice.errors import UsageError

    built = build_changed(recipe, variant, changes)
    if companion is None:
        return built.features
    if companion not in built.companions:
        found = ", ".join(built.companions) or "none"
        raise UsageError(f"{recipe} has no companion {companion!r}; it has {found}")
    return built.companions[companion].features


def _print(extracted: "Extracted", specs: Any, store: Path) -> None:
    if extracted.num_without_media:
        click.echo(f"left out, without media: {counted(extracted.num_without_media, 'clip')} of the manifest")
    for name, seconds in extracted.seconds_of.items():
        if extracted.num_written:
            click.echo(f"{name}: {specs[name].extractor}, {seconds:.1f} s")
    counts = f"{counted(extracted.num_written, 'feature')} written, {extracted.num_present:,} there before"
    click.echo(f"{counts}, in {extracted.seconds:.1f} s")
    click.echo(
        f"{store}: {extracted.num_complete:,} of {extracted.num_clips:,} clips complete, digest {extracted.digest[:12]}"
    )
