"""The run folder: everything there is to know of a training.

```
RUN/
  run.json                    recipe, arguments, code version, digests, seed, settings, environment, sessions, status
  history.csv                 a row per epoch: losses, learning time, validation scores
  steps.csv                   a row per optimiser step: the loss curve
  stages/NAME/last.ckpt       all that resuming the stage needs, after its last whole epoch
  stages/NAME/best.pt, last.pt  weights only
  stages/NAME/done.json       how the stage ended
  predictions_validation.csv, predictions_test.csv
  scores.json                 their scores
  tensorboard/
```
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice import __version__
from thinslice.data.table import format_table
from thinslice.documents import Document, format_document, load_document, to_plain
from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.files import locked, write_atomically
from thinslice.train.documents import (
    CodeVersion,
    LabelFacts,
    RunDocument,
    RunFacts,
    RunScores,
    RunSession,
    SplitScores,
    StageEnd,
    upgrade_run,
)
from thinslice.train.recipe import Recipe, describe

PACKAGES: Final = ("torch", "lightning", "numpy", "scipy", "scikit-learn", "onnx", "av", "soxr")


@dataclass(frozen=True)
class RunFolder:
    """Names of what lies in a run folder, and its JSON documents."""

    path: Path

    @property
    def document_path(self) -> Path:
        """Where run.json is."""
        return self.path / "run.json"

    def exists(self) -> bool:
        """Return whether a run was begun here."""
        return self.document_path.is_file()

    def locked(self) -> AbstractContextManager[None]:
        """Keep other programs from training in this folder, see `thinslice.files.locked`."""
        return locked(self.path)

    def stage(self, name: str) -> Path:
        """Return a stage's folder."""
        return self.path / "stages" / name

    def predictions(self, split: str) -> Path:
        """Return where the predictions of a split are."""
        return self.path / f"predictions_{split}.csv"

    def load(self) -> RunDocument:
        """Return run.json; UsageError where this is not a run, or the file is damaged."""
        if not self.exists():
            raise UsageError(f"{self.path}: not a run (no run.json in it); make one with: thinslice train")
        return load_document(self.document_path, RunDocument, "train again into another folder", upgrade=upgrade_run)

    def save(self, document: RunDocument) -> None:
        """Write run.json."""
        save_json(self.document_path, document)

    def load_end(self, stage: str) -> StageEnd:
        """Return how a stage ended; UsageError where it has not, or the file is damaged."""
        path = self.stage(stage) / "done.json"
        if not path.is_file():
            raise UsageError(f"{self.path}: stage {stage} is not finished; go on with --resume")
        return load_document(path, StageEnd, "delete it and go on with --resume")

    def load_scores(self) -> Mapping[str, SplitScores]:
        """Return the final scores by split; UsageError where the run is not finished, or the file is damaged."""
        path = self.path / "scores.json"
        if not path.is_file():
            raise UsageError(f"{self.path}: the run was not finished; go on with: thinslice train ... --resume")
        return load_document(path, RunScores, "delete it and go on with --resume").splits


def save_json(path: Path, document: Document | Mapping[str, Any]) -> None:
    """Write a JSON object in one piece; NaN becomes null."""
    text = format_document(_finite(to_plain(document)), indent=1)
    write_atomically(path, (text + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def describe_labels(labels: np.ndarray, targets: Sequence[str]) -> LabelFacts:
    """Return what export needs of the training labels (clips, targets)."""
    quantiles: dict[str, tuple[float, ...]] = {}
    means: dict[str, float] = {}
    deviations: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, column in zip(targets, labels.T, strict=True):
        known = column[~np.isnan(column)]
        counts[name] = len(known)
        if len(known):
            quantiles[name] = tuple(round(float(q), 6) for q in np.quantile(known, np.linspace(0, 1, 101)))
            means[name], deviations[name] = float(known.mean()), float(known.std())
    digest = hashlib.sha256(np.ascontiguousarray(labels, dtype="<f8").tobytes()).hexdigest()
    return LabelFacts(digest=digest, count=counts, mean=means, deviation=deviations, quantiles=quantiles)


def spec_digest(spec: FeatureSpec) -> str:
    """Return what identifies a feature's definition, whatever clip it is computed from."""
    return spec.key("")


def describe_environment() -> dict[str, Any]:
    """Return Python, machine and the versions of what computed."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "platform": platform.platform(), "versions": versions}


@cache
def describe_code() -> CodeVersion:
    """Return which code this is: two runs of one digest ran the same code.

    It is looked at once in a program, whose code does not change while it runs.
    """
    root = Path(__file__).resolve().parents[1]
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return CodeVersion(version=__version__, source_sha256=sha.hexdigest())


def new_document(recipe: Recipe, data: RunFacts, seed: int, max_steps: int | None) -> RunDocument:
    """Return the run.json of a new run.

    Args:
        recipe: what is run.
        data: what it is run on.
        seed: the run's.
        max_steps: see `thinslice.train.settings.LoopSettings`.
    """
    return RunDocument(
        recipe=recipe.name,
        source=recipe.source,
        arguments=dict(recipe.arguments),
        resolved=describe(replace(recipe, source="", hyperparameters=None)),
        features={name: {**spec.to_dict(), "digest": spec_digest(spec)} for name, spec in recipe.features.items()},
        data=data,
        seed=seed,
        max_steps=max_steps,
        code=describe_code(),
    )


def check_same(old: RunDocument, new: RunDocument, path: Path) -> None:
    """Raise UsageError, naming what differs, where a run is to be resumed with another recipe, data or seed."""
    before, now = (json.loads(json.dumps(_finite(to_plain(document)))) for document in (old, new))
    for what in ("recipe", "arguments", "resolved", "features", "data", "seed"):
        was, would_be = before[what], now[what]
        if was != would_be:
            keys = sorted(set(was) | set(would_be)) if isinstance(was, dict) and isinstance(would_be, dict) else []
            which = ", ".join(key for key in keys if was.get(key) != would_be.get(key))
            raise UsageError(
                f"{path}: was begun with another {what}{f' ({which})' if which else f' ({was})'}; a resumed run "
                "must be the same one: start again in another folder"
            )


def new_session(device: str, settings: Mapping[str, Any], began: str, origin: Mapping[str, str]) -> RunSession:
    """Return the entry of one start or resumption, see `RunSession`."""
    return RunSession(
        began=began,
        command=(os.path.basename(sys.argv[0]), *sys.argv[1:]),
        device=device,
        settings=dict(settings),
        environment=describe_environment(),
        origin=dict(origin),
    )


def write_predictions(path: Path, clips: Sequence[str], outputs: Sequence[str], scores: np.ndarray) -> None:
    """Write a prediction file."""
    rows = [[clip, *(f"{value:.6f}" for value in line)] for clip, line in zip(clips, scores, strict=True)]
    write_atomically(path, format_table(["clip", *outputs], rows).encode())
