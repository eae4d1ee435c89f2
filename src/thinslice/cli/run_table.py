"""Running a published table: each of its rows is trained, or taken where it was, and scored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from thinslice.cli.decoded import read_decoded
from thinslice.cli.sizes import build_changed
from thinslice.cli.table_rows import Scores, average_seeds, compare, measure, scores_in_order
from thinslice.errors import counted
from thinslice.output import say
from thinslice.train.readings import TABLE as READINGS

if TYPE_CHECKING:
    import numpy as np

    from thinslice.train.data import RunData
    from thinslice.train.recipe import Recipe

SMALL: Final = "small_"
SHARED: Final = "shared_stages"
"""Folder of the stages that rows share, beside their runs."""


@dataclass(frozen=True, kw_only=True)
class TableJob:
    """What all rows are run with.

    Attributes:
        data: the manifest.
        out: folder of the runs.
        shared: folder of the stages that they share.
        store: the feature store.
        companions: manifests of companion data sets.
        is_small: whether the variants' small size is run.
        changes: of `--set`.
        only: of the table's rows; all without any.
        device: where to compute.
        max_steps: of each stage; None for no limit.
        num_seeds: 0, 1 and so on; None for each recipe's own seed alone.
        num_workers: clips side by side.
        decoded: folder of a decoded copy to read from; None to read the store.
    """

    data: Path
    out: Path
    shared: Path
    store: Path
    companions: Mapping[str, Path] = field(default_factory=dict)
    is_small: bool = False
    changes: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    device: str = "auto"
    max_steps: int | None = None
    num_seeds: int | None = None
    num_workers: int = 1
    decoded: Path | None = None


@dataclass(frozen=True)
class TableRow:
    """What a row's runs say.

    Attributes:
        scores: of each seed.
        clips: names (n).
        labels: (n, k).
        predictions: (n, k) of each seed.
        targets: names of the k columns.
    """

    scores: list[Scores]
    clips: tuple[str, ...]
    labels: "np.ndarray"
    predictions: list["np.ndarray"]
    targets: tuple[str, ...]


def run_table(job: TableJob, system: str, number: str) -> dict[str, Any]:
    """Return the table as one JSON document.

    Raises:
        UsageError: a system without this table, a row that it does not have, or data that a row cannot be run on.
    """
    from thinslice.data.manifest import load_manifest
    from thinslice.errors import UsageError
    from thinslice.systems import build_recipe
    from thinslice.train.processes import Processes, find_device

    recipe = build_recipe(system)
    if not recipe.tables:
        raise UsageError(f"{system} has no tables to run; train its variants one by one")
    if number not in recipe.tables:
        raise UsageError(f"{system} has no table {number}; there are {', '.join(recipe.tables)}, and all")
    names = recipe.tables[number]
    unknown = [variant for variant in job.only if variant not in names]
    if unknown:
        raise UsageError(f"table {number} has no variant {', '.join(unknown)}; there are {', '.join(names)}")
    wanted = recipe.table_splits.get(number, "test")
    find_device(job.device, Processes())  # Before features are extracted, which takes long.
    split, rows = "", {}
    for variant in telling_rows(job, system, number, job.only or tuple(names)):
        rows[variant], split = _run_row(job, system, variant, wanted)
    table = load_manifest(job.data)
    speakers = dict(zip(table.clips, table.speakers, strict=True))
    averaged = {variant: average_seeds(row.scores) for variant, row in rows.items()}
    measured = {variant: means for variant, (means, _) in averaged.items()}
    document_rows = compare(system, {variant: names[variant] for variant in rows}, measured, wanted)
    first = next(iter(rows.values()))
    for entry, row in zip(document_rows, rows.values(), strict=True):
        if averaged[entry["variant"]][1]:
            entry["spread"] = averaged[entry["variant"]][1]
        comparable = row.targets == first.targets and all("accuracy" in one.scores[0] for one in (row, first))
        if row is not first and comparable:
            entry["differences"] = _differences(row, first, speakers)
    return {
        "system": system,
        "table": number,
        "is_small": job.is_small,
        "max_steps": job.max_steps,
        "seeds": list(range(job.num_seeds)) if job.num_seeds is not None else [recipe.seed],
        "published_split": wanted,
        "data": {
            "manifest": job.data.name,
            "split": split,
            "num_clips": len(first.clips),
            "num_speakers": len({speakers[clip] for clip in first.clips}),
        },
        "rows": document_rows,
    }


def telling_rows(job: TableJob, system: str, number: str, rows: Sequence[str]) -> list[str]:
    """Return the rows without those readings that, at this size or with `--set`, are the recipe's own choice."""
    if number != READINGS:
        return list(rows)
    prefix = SMALL if job.is_small else ""
    chosen = {row: {**build_changed(system, f"{prefix}{row}", job.changes).arguments, "variant": ""} for row in rows}
    telling = [row for row in rows if row == rows[0] or chosen[row] != chosen[rows[0]]]
    for row in rows:
        if row not in telling:
            say(f"{prefix}{row}: here the same as {prefix}{rows[0]}, left out")
    return telling


def _run_row(job: TableJob, system: str, row: str, wanted: str) -> tuple[TableRow, str]:
    """Train a row with each seed, or take what is finished; return what its runs say, and of which split."""
    from thinslice.errors import UsageError
    from thinslice.train.checkpoints import predict_at
    from thinslice.train.inputs import fill_companions, load_run_data
    from thinslice.train.left_out import count_left_out
    from thinslice.train.loop import train
    from thinslice.train.settings import LoopSettings

    variant, _, checkpoint = row.partition("@")
    recipe = build_changed(system, f"{SMALL}{variant}" if job.is_small else variant, job.changes)
    say(f"{recipe.name} {recipe.variant}{f' at {checkpoint}' if checkpoint else ''}")
    data, left_out = load_run_data(recipe, job.data, job.store, job.companions, num_workers=job.num_workers)
    data = read_decoded(data, job.decoded, job.num_workers)
    if left_out:
        say(f"{counted(len(left_out), 'clip')} left out; run.json lists them")
    if recipe.further_scores is not None:  # Of entries that are held out.
        fill_companions(recipe, job.companions, job.store, job.num_workers)
    split = next((name for name in (wanted, "test", "validation") if len(data.splits.get(name, ()))), "")
    if not split:
        raise UsageError(f"{job.data}: no clip is for testing or validation, so that there is nothing to score")
    found: list[Scores] = []
    predictions = []
    clips = data.splits[split]
    for seed in [recipe.seed] if job.num_seeds is None else range(job.num_seeds):
        settings = LoopSettings(
            device=job.device,
            seed=seed,
            max_steps=job.max_steps,
            num_readers=job.num_workers if job.num_workers > 1 else 0,
            resume=True,
            shared_stages=str(job.shared),
        )
        name = recipe.variant if seed == recipe.seed else f"{recipe.variant}.seed{seed}"
        folder = train(recipe, data, job.out / name, settings)
        path = folder.predictions(split)
        if checkpoint:
            path = predict_at(recipe, data, folder, checkpoint, split, settings)
        predicted = scores_in_order(path, clips.clips, recipe.outputs)
        predictions.append(predicted)
        scores = _score(job, recipe, data, folder.path, split, predicted)
        training = data.splits["train"].labels
        found.append(count_left_out(scores, job.data, left_out, split, clips, predicted, training))
    return TableRow(found, clips.clips, clips.labels, predictions, recipe.outputs), split


def _score(job: TableJob, recipe: "Recipe", data: "RunData", run: Path, split: str, predicted: "np.ndarray") -> Scores:
    scores = measure(data.splits[split].labels, predicted, data.splits["train"].labels, recipe.outputs)
    if recipe.further_scores is None:
        return scores
    return recipe.further_scores(run, job.companions, job.store, split, scores)


def _differences(row: TableRow, first: TableRow, speakers: Mapping[str, str]) -> dict[str, Any]:
    """Return metric -> target -> how far a row is ahead of the first, on the clips of both."""
    import numpy as np

    from thinslice.evaluate.panel import Resampling, compare_rows

    places_of = [{clip: place for place, clip in enumerate(one.clips)} for one in (row, first)]
    both = [clip for clip in row.clips if clip in places_of[1]]
    ours, theirs = (
        np.stack([predicted[[places[clip] for clip in both]] for predicted in one.predictions])
        for one, places in zip((row, first), places_of, strict=True)
    )
    labels = row.labels[[places_of[0][clip] for clip in both]]
    found = compare_rows(labels, ours, theirs, [speakers[clip] for clip in both], Resampling(), row.targets)
    return {
        metric: {target: asdict(difference) for target, difference in values.items()}
        for metric, values in found.items()
    }
