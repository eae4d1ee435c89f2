"""``thinslice table``: train the variants of a published table and print them beside it.

A recipe says which tables it has (`tables`) and what its runs are scored by beside their traits (`further_scores`).
"""

import sys
from pathlib import Path
from typing import Any

import click

from thinslice.cli.decoded import decoded_option
from thinslice.cli.sizes import set_option
from thinslice.cli.workers import workers_option
from thinslice.output import print_json, warn

_PATH = click.Path(path_type=Path)

ALL = "all"


@click.command(
    epilog="""\b
Examples:
  thinslice table cr_net 3 --data fi.csv --store features/ --out runs/ --workers 8
  thinslice table cr_net 4 --small --data planted/manifest.csv --out runs/ --device cpu
  thinslice table cross_modal 2 --seeds 3 --set patience=20 --data fi.csv --out runs/
  thinslice table cr_net all --small --data planted/manifest.csv --out runs/
  thinslice table all --data planted/manifest.csv --companion emotion=emotion/manifest.csv --out runs/ --device cpu
"""
)
@click.argument("name", metavar="NAME")
@click.argument("number", metavar="[TABLE]", required=False)
@click.option("--data", required=True, type=_PATH, metavar="MANIFEST", help="Clips, labels and splits.")
@click.option("--out", required=True, type=_PATH, metavar="RUNS", help="Folder of the runs, one per variant and seed.")
@click.option("--store", type=_PATH, metavar="DIR", help="The feature store.  [default: features beside MANIFEST]")
@click.option("--companion", multiple=True, metavar="NAME=MANIFEST", help="A companion data set; repeatable.")
@click.option(
    "--small/--full",
    "small",
    default=None,
    help="The variants' small size, for CPUs and small corpora, or not.  [default: --full; --small for all systems]",
)
@set_option
@click.option("--only", multiple=True, metavar="VARIANT", help="Of the table's variants; repeatable.  [default: all]")
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="Run seeds 0 to N-1; print mean and spread.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--max-steps", type=click.IntRange(1), metavar="N", help="For a trial: steps of each stage at most.")
@workers_option
@decoded_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def table(
    name: str,
    number: str | None,
    data: Path,
    out: Path,
    store: Path | None,
    companion: tuple[str, ...],
    small: bool | None,
    changes: tuple[str, ...],
    only: tuple[str, ...],
    seeds: int | None,
    device: str,
    max_steps: int | None,
    workers: int,
    decoded: Path | None,
    as_json: bool,
) -> None:
    """Run the variants of table TABLE of the paper of NAME on MANIFEST, and print them beside the published figures.

    TABLE all runs every table of NAME; NAME all runs every published table of every system, at the small size, and goes
    on where one cannot be run. What is finished in RUNS is not run again, what was interrupted goes on, and a stage
    that several rows have in common is trained once. Scores are those of the split that the paper's table scores, the
    test clips as a rule, or of the validation clips where no clip is for testing. Differences from the first row have
    intervals, paired, over speakers.
    """
    from thinslice.errors import MissingExtraError, UsageError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("training", "train") from None
    from thinslice.cli.run_table import SHARED, TableJob
    from thinslice.cli.train import parse_companions
    from thinslice.systems import build_recipe

    every = name == ALL
    if number is None and not every:
        known = ", ".join([*build_recipe(name).tables, ALL])
        raise UsageError(f"which table of {name}? There are {known}")
    if every and (changes or only or number not in (None, ALL)):
        raise UsageError("table all runs every system: --set, --only and TABLE are for one system")
    if number == ALL and only:
        raise UsageError("--only is for one table")
    job = TableJob(
        data=data,
        out=out,
        shared=out / SHARED,
        store=data.absolute().parent / "features" if store is None else store,
        companions=parse_companions(companion),
        is_small=every if small is None else small,
        changes=changes,
        only=only,
        device=device,
        max_steps=max_steps,
        num_seeds=seeds,
        num_workers=workers,
        decoded=decoded,
    )
    if every:
        _run_all(job, as_json)
        return
    numbers = list(build_recipe(name).tables) if number == ALL else [str(number)]
    documents = _run(job, name, numbers, as_json)
    if as_json:
        print_json(documents if number == ALL else documents[0])


def _run(job: Any, system: str, numbers: list[str], as_json: bool) -> list[dict[str, Any]]:
    from thinslice.cli.run_table import run_table
    from thinslice.cli.show_table import print_tables
    from thinslice.cli.table_rows import show, show_differences

    documents = []
    for number in numbers:
        document = run_table(job, system, number)
        documents.append(document)
        if not as_json:
            differences = show_differences(document)
            print_tables([show(document), *([] if differences is None else [differences])])
    return documents


def _run_all(job: Any, as_json: bool) -> None:
    """Run every table of every system, each system in a folder of its own; exit 1 where one could not be run."""
    from dataclasses import replace

    from thinslice.errors import ThinsliceError
    from thinslice.systems import RECIPES, build_recipe
    from thinslice.train.readings import TABLE as READINGS

    documents, failures = [], []
    for system in RECIPES:
        recipe = build_recipe(system)
        companions = {name: path for name, path in job.companions.items() if name in recipe.companions}
        own = replace(job, out=job.out / system, companions=companions)
        for number in (number for number in recipe.tables if number != READINGS):
            try:
                documents += _run(own, system, [number], as_json)
            except ThinsliceError as error:
                failures.append(f"{system} {number}: {error}")
                warn(f"failed: {failures[-1]}")
    if as_json:
        print_json(documents)
    if failures:
        warn(f"{len(failures):,} of {len(failures) + len(documents):,} tables could not be run")
        sys.exit(1)
