"""Whether a run can begin or go on in a folder, and how it begins."""

from dataclasses import asdict
from datetime import UTC, datetime

import msgspec

from thinslice.errors import UsageError
from thinslice.files import LOCK
from thinslice.train.context import RunContext
from thinslice.train.data import RunData
from thinslice.train.documents import RunDocument, RunFacts, RunSession
from thinslice.train.inputs import check_companions
from thinslice.train.processes import wait_for_all
from thinslice.train.recipe import Recipe
from thinslice.train.run import RunFolder, check_same, describe_labels, new_document, new_session


def check_data(recipe: Recipe, data: RunData) -> None:
    """Raise UsageError where a recipe cannot learn from data."""
    if not len(data.splits.get("train", ())):
        raise UsageError(f"no training clip with features and labels of {', '.join(recipe.outputs)}; see the manifest")
    weights = data.splits["train"].weights
    if weights is not None and not weights.any():
        raise UsageError("every training clip has weight 0 in the manifest; nothing would be learned from")
    for split, clips in data.splits.items():
        if clips.targets != recipe.outputs:
            raise UsageError(f"the {split} clips have labels {clips.targets}, {recipe.name} predicts {recipe.outputs}")
    check_companions(recipe, [name for name, clips in data.companions.items() if len(clips)])


def check_folder(folder: RunFolder, resume: bool) -> None:
    """Raise UsageError where the folder holds something else, or a run that is not to be resumed."""
    path = folder.path
    if folder.exists():
        if not resume:
            raise UsageError(f"{path}: there is a run already; go on with --resume, or choose another folder")
    elif path.exists() and (not path.is_dir() or {entry.name for entry in path.iterdir()} - {LOCK}):
        raise UsageError(f"{path}: is there already and is not a run; choose another folder")


def open_run(context: RunContext) -> RunDocument:
    """Check that a run in the folder is this very run, write its run.json and return it."""
    recipe, data, folder, settings = context.recipe, context.data, context.folder, context.settings
    facts = RunFacts(
        num_clips={split: len(clips) for split, clips in data.splits.items()},
        labels=describe_labels(data.splits["train"].labels, recipe.outputs),
        companions={name: len(clips) for name, clips in data.companions.items()},
        origin=dict(data.facts),
    )
    document = new_document(recipe, facts, context.seed, settings.max_steps)
    sessions: tuple[RunSession, ...] = ()
    if folder.exists():
        old = folder.load()
        check_same(old, document, folder.path)
        sessions = old.sessions
    wait_for_all()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    device = f"{context.processes.count} x {context.device.type}"
    sessions = (*sessions, new_session(device, asdict(settings), began, data.origin))
    document = msgspec.structs.replace(document, sessions=sessions)
    if context.processes.rank == 0:
        folder.save(document)
    return document
