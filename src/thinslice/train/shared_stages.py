"""Finished stages that runs share: a stage that is determined by the same things is trained once.

What determines a stage is in its digest: the values, structure and names of the network's parts that it reads, after
`Stage.prepare` (so that the stages before it and public weights are in it), its losses, optimisers, schedule and
sampling, the clips with their labels and the stored features that it reads, the seed, the limit of steps, and the code.
How it was computed (device, processes, precision) is not: that changes rounding alone.

```
SHARED/DIGEST/stage.json           what it is, for people, and the hashes of the other files
              done.json            how it ended
              best.pt, last.pt...  of each file of weights, what differs from the weights that the stage began with
              steps.csv, history.csv
SHARED/.DIGEST.lock                held by the program that trains it: others wait for it, and then take it
```

A folder appears whole or not at all. A lock ends with its process.
"""

import hashlib
import inspect
import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from thinslice.documents import load_document
from thinslice.errors import UsageError, reason_of
from thinslice.files import clear_write_errors, write_atomically
from thinslice.train.context import RunContext
from thinslice.train.data import ClipData
from thinslice.train.documents import StageEnd
from thinslice.train.history import History, read_rows, write_rows
from thinslice.train.processes import from_first
from thinslice.train.recipe import Stage, describe
from thinslice.train.run import describe_code, save_json
from thinslice.train.stage import save_state

State = dict[str, Tensor]

_UNJUDGED: Final = {"predict": None, "monitor": "", "validate_every": 0, "validate_start": False}
"""What of a stage says nothing of its weights, where no validation clip chooses among them."""


@dataclass(frozen=True)
class Identity:
    """What identifies a stage.

    Attributes:
        weights: digest of what determines its weights; "" where that cannot be told, and nothing is shared.
        scores: digest of what determines its validation scores too.
        about: what went into them, for people.
    """

    weights: str
    scores: str
    about: Mapping[str, Any]


def identify(context: RunContext, stage: Stage, model: nn.Module, splits: Mapping[str, ClipData]) -> Identity:
    """Return what identifies a stage that is about to begin.

    Args:
        context: of the run.
        stage: the stage, its `sample` and `predict` filled in.
        model: the network, prepared for the stage, on the CPU.
        splits: its clips, with the features that it reads.
    """
    judged = stage.keep == "best" or stage.patience is not None
    settings = describe(stage)
    about = {
        "stage": settings if judged else {**settings, **_UNJUDGED},
        "ragged": list(context.recipe.ragged),
        "network": _structure(model, stage.parts),
        "weights": _digest_state(select_parts(model.state_dict(), stage.parts)),
        "data": {split: _digest_clips(clips) for split, clips in splits.items() if split == "train" or judged},
        "companions": {
            name: [describe(context.recipe.companions[name]), _digest_clips(context.data.companions[name])]
            for name in stage.companions
        },
        "seed": context.seed,
        "max_steps": context.settings.max_steps,
        "code": _describe_code(stage),
    }
    if "<locals>" in (text := json.dumps(about)) or "<lambda>" in text:  # What such a function holds cannot be seen.
        return Identity("", "", about)
    return _name(about, stage, splits)


def _name(about: Mapping[str, Any], stage: Stage, splits: Mapping[str, ClipData]) -> Identity:
    text = json.dumps(about, sort_keys=True)
    validation = {split: _digest_clips(clips) for split, clips in splits.items()}
    scored = json.dumps([text, describe(stage), validation], sort_keys=True)
    return Identity(_sha256(text), _sha256(scored), about)


def select_parts(state: Mapping[str, Tensor], parts: tuple[str, ...]) -> State:
    """Return the entries of a state that belong to parts of the network."""
    return {name: value for name, value in state.items() if any(_within(name, part) for part in parts)}


@dataclass(frozen=True)
class SharedStages:
    """A folder of finished stages.

    Attributes:
        root: made when the first is kept.
    """

    root: Path

    @contextmanager
    def held(self, digest: str) -> Iterator[Path | None]:
        """Keep others from training a stage; gives its folder where it is finished, else None.

        Waits for a program that is training it.

        Raises:
            OutputError: the folder cannot be written.
        """
        import filelock

        with clear_write_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.root / f".{digest}.lock")
            lock.acquire()
        try:
            for part in self.root.glob(f".{digest}.*.part"):  # Of a killed program: who trains a stage holds its lock.
                shutil.rmtree(part, ignore_errors=True)
            folder = self.root / digest
            yield folder if folder.is_dir() else None
        finally:
            lock.release()

    def keep(self, identity: Identity, stage: Stage, run: Path, base: Mapping[str, Tensor]) -> None:
        """Keep a finished stage.

        Args:
            identity: its.
            stage: what it is.
            run: the folder of the run that trained it.
            base: the network's state when the stage began, before it was prepared.

        Raises:
            UsageError: it changed something that is in none of its parts.
        """
        source, target = run / "stages" / stage.name, self.root / identity.weights
        part = self.root / f".{identity.weights}.{uuid.uuid4().hex[:12]}.part"
        try:
            with clear_write_errors(target):
                part.mkdir(parents=True)
            for file in sorted(source.glob("*.pt")):
                changed = _changes(torch.load(file, map_location="cpu", weights_only=True), base)
                if strange := sorted(set(changed) - set(select_parts(changed, stage.parts))):
                    raise UsageError(f"stage {stage.name}: changes {strange[0]}, which is in none of its parts")
                save_state(changed, part / file.name)
            for name in ("steps.csv", "history.csv"):
                if (run / name).exists():
                    rows = read_rows(run / name)
                    write_rows(part / name, [row for row in rows if row["stage"] == stage.name], list(rows[0]))
            write_atomically(part / "done.json", (source / "done.json").read_bytes())
            files = {file.name: _sha256_of(file) for file in sorted(part.iterdir())}
            save_json(part / "stage.json", {**json.loads((source / "stage.json").read_text("utf-8")), "files": files})
            with clear_write_errors(target):
                if not target.is_dir():
                    os.replace(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def shared_stage(
    context: RunContext, stage: Stage, model: nn.Module, base: Mapping[str, Tensor], open_history: Callable[[], History]
) -> Iterator[bool]:
    """Say whether a stage was taken from the run's shared stages; keep it there afterwards where it was not.

    Args:
        context: of the run.
        stage: its `sample` and `predict` filled in.
        model: prepared for it, unless it goes on from a checkpoint; on the CPU.
        base: the network's state when the stage began, before it was prepared.
        open_history: opens the run's history, cut back to the stage's beginning.

    Raises:
        UsageError: what was kept is damaged, or a stage changes what is in none of its parts.
    """
    root, run = context.settings.shared_stages, context.folder.path
    if root is None:
        yield False
        return
    shared, identity = SharedStages(Path(root)), None
    with ExitStack() as stack:
        is_taken = False
        if context.processes.rank == 0:
            identity = _recall(context, stage, model)
            folder = stack.enter_context(shared.held(identity.weights)) if identity is not None else None
            if identity is not None and folder is not None:
                history = open_history()
                _take(folder, identity, run / "stages" / stage.name, base, history)
                history.close()
                is_taken = True
        is_taken = from_first(is_taken)
        yield is_taken
        if identity is not None and not is_taken:
            shared.keep(identity, stage, run, base)


def _recall(context: RunContext, stage: Stage, model: nn.Module) -> Identity | None:
    """Return what identifies a stage that begins or goes on; None where it cannot be shared."""
    folder = context.folder.stage(stage.name)
    path = folder / "stage.json"
    if (folder / "last.ckpt").is_file():
        # The network is not prepared: what it was prepared to is known from the beginning.
        try:
            about = json.loads(path.read_text("utf-8"))
            begun = Identity(about.pop("digest"), about.pop("scores"), about)
        except (OSError, ValueError, KeyError):  # It was begun without sharing.
            return None
        if about["code"] != _describe_code(stage):  # What two versions of the code made is nobody else's.
            return None
        if about["max_steps"] == context.settings.max_steps:
            return begun
        # A trial goes on: it becomes what a run of the new limit is.
        about["max_steps"] = context.settings.max_steps
        return _keep_name(path, _name(about, stage, context.splits_of(stage)))
    identity = identify(context, stage, model, context.splits_of(stage))
    return _keep_name(path, identity) if identity.weights else None


def _keep_name(path: Path, identity: Identity) -> Identity:
    save_json(path, {"digest": identity.weights, "scores": identity.scores, **identity.about})
    return identity


def _take(folder: Path, identity: Identity, target: Path, base: Mapping[str, Tensor], history: History) -> None:
    """Put a finished stage into a run's folder of it, as if it had been trained there.

    Validation scores are left out where they were got in another way than the stage's.
    """
    remedy = "delete this folder, and the stage is trained again"
    try:
        about = json.loads((folder / "stage.json").read_text("utf-8"))
        is_same = about["scores"] == identity.scores
        for name, sha256 in about["files"].items():
            if _sha256_of(folder / name) != sha256:
                raise ValueError(f"{name} is not what was written")
        states = {
            file.name: torch.load(file, map_location="cpu", weights_only=True) for file in sorted(folder.glob("*.pt"))
        }
        steps, epochs = read_rows(folder / "steps.csv"), read_rows(folder / "history.csv")
    except Exception as error:  # torch raises many types for damaged files
        reason = reason_of(error)
        raise UsageError(f"{folder}: damaged ({reason}); {remedy}") from None
    end = load_document(folder / "done.json", StageEnd, remedy)
    for name, changed in states.items():
        save_state({**base, **changed}, target / name)
    history.add_steps([{**row, "step": int(row["step"])} for row in steps])
    for row in epochs:
        if is_same or row["epoch"] != "0":
            numbers = {name: _number(value) for name, value in row.items() if name != "stage" and value}
            kept = {name: value for name, value in numbers.items() if is_same or _is_of_training(name)}
            history.add_epoch({"stage": row["stage"], **kept})
    (target / "last.ckpt").unlink(missing_ok=True)
    save_json(target / "done.json", msgspec.structs.replace(end, taken=True))


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)


def _is_of_training(column: str) -> bool:
    return column in ("epoch", "step", "seconds") or column.startswith("train_")


def _changes(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> State:
    return {name: value for name, value in state.items() if not torch.equal(value, base[name])}


def _within(name: str, part: str) -> bool:
    return part == "" or name == part or name.startswith(part + ".")


def _structure(model: nn.Module, parts: tuple[str, ...]) -> list[Any]:
    """Return class and plain attributes of every module of the parts: what weights alone do not say."""
    found = []
    for name, module in model.named_modules():
        if any(_within(name, part) for part in parts):
            plain = {
                key: describe(value)
                for key, value in vars(module).items()
                if not key.startswith("_") and key != "training" and not isinstance(value, nn.Module | Tensor)
            }
            found.append([name, f"{type(module).__module__}.{type(module).__qualname__}", plain])
    return found


def _digest_state(state: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name, value in sorted(state.items()):
        array = value.detach().cpu().contiguous()
        sha.update(f"{name}\n{array.dtype}{tuple(array.shape)}\n".encode())
        sha.update(array.reshape(-1).view(torch.uint8).numpy().tobytes() if array.numel() else b"")
    return sha.hexdigest()


def _digest_clips(clips: ClipData) -> str:
    sha = hashlib.sha256(json.dumps([clips.clips, clips.targets, clips.features.digest()]).encode())
    for array in (clips.labels, clips.weights):
        sha.update(b"" if array is None else np.ascontiguousarray(array, dtype="<f8").tobytes())
    return sha.hexdigest()


def _digest_own_code(stage: Stage) -> list[str]:
    """Return digests of the files outside thinslice that the stage's functions come from."""
    functions: list[Any] = [stage.sample, stage.predict, stage.precompute, stage.prepare]
    functions += [part for update in stage.updates for part in (update.loss, update.optimiser, update.schedule)]
    files = set()
    for function in functions:
        while isinstance(function, partial):
            function = function.func
        name = getattr(function, "__module__", None) or ""
        if name and name.split(".")[0] not in ("thinslice", "torch"):
            with suppress(TypeError, OSError):
                files.add(inspect.getfile(sys.modules[name]))
    return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sorted(files)]


def _describe_code(stage: Stage) -> list[str]:
    return [describe_code().source_sha256, str(torch.__version__), *_digest_own_code(stage)]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def fill_in(stage: Stage, context: RunContext) -> Stage:
    """Return a stage with the recipe's `sample` and `predict` where it has none of its own."""
    recipe = context.recipe
    return replace(stage, sample=stage.sample or recipe.sample, predict=stage.predict or recipe.predict)
