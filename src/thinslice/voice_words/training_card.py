"""What the cards of the bundled models have in common: scores of both cross-validations, digests, provenance."""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from thinslice import __version__
from thinslice.bundle import Card, Score
from thinslice.evaluate.metrics import accuracy, r2
from thinslice.traits import TARGETS, TRAITS
from thinslice.voice_words.training_data import TrainingData

Predictions = Mapping[str, np.ndarray]
"""Mode -> predictions (n, 6), rows of NaN where a clip lacks an input of the mode."""


def training_card(
    data: TrainingData,
    unseen: Predictions,
    seen: Predictions,
    *,
    settings: Any,
    seed: int,
    num_folds: int,
    sources: Sequence[str],
    coverage: Mapping[str, Any],
    more_training: str = "",
    more_digests: Mapping[str, str] | None = None,
    **own: Any,
) -> Card:
    """Return the card of a model that was trained on the training clips.

    Args:
        data: the training clips.
        unseen: predictions out of folds with speakers apart.
        seen: predictions out of folds over which speakers repeat.
        settings: the trainer's, a dataclass.
        seed: of the training.
        num_folds: of each cross-validation.
        sources: files of the package that make the model what it is.
        coverage: of the intervals.
        more_training: what the model was trained on besides the clips.
        more_digests: name -> sha256 of what it was made from besides the clips' files.
        own: further fields of the card, such as its summary and limits.
    """
    folds = f"{num_folds}-fold cross-validation on the training split, speakers"
    apart = scores_of(data, unseen, f"{folds} apart")
    mean = {"": np.broadcast_to(data.labels.mean(axis=0), data.labels.shape)}
    return Card(
        r2={score.inputs: score.r2["average"] for score in apart},
        scores=(
            *apart,
            *scores_of(data, seen, f"{folds} in several folds"),
            *scores_of(data, mean, "the training mean predicted for every clip"),
        ),
        scores_note="accuracy is 1 - mean absolute error, average is over the five traits",
        trained_on=f"ChaLearn First Impressions V2, training split: {len(data.clips)} clips of about 15 s from "
        f"{len(np.unique(data.speakers))} YouTube videos of people speaking English to a camera{more_training}",
        num_training_clips=len(data.clips),
        seed=seed,
        digests={**data.digests, **(more_digests or {})},
        code_version=f"thinslice {__version__}, sources sha256 {digest_of_sources(sources)}",
        notes={"coverage": coverage, "settings": json.loads(json.dumps(asdict(settings)))},
        **own,
    )


def scores_of(data: TrainingData, predictions: Predictions, clips: str) -> tuple[Score, ...]:
    """Return a card's scores of predictions by the inputs that they are made from."""
    return tuple(
        Score(clips=clips, inputs=mode, **summary(data.labels, scores)) for mode, scores in predictions.items()
    )


def summary(labels: np.ndarray, scores: np.ndarray) -> dict[str, dict[str, float]]:
    """Return accuracy and R2 of every target and their average over the five traits, of the clips that have scores."""
    rows = np.isfinite(scores).all(axis=1)
    figures = {"accuracy": accuracy(labels[rows], scores[rows]), "r2": r2(labels[rows], scores[rows])}
    return {
        name: {
            **{target: round(float(value), 4) for target, value in zip(TARGETS, values, strict=True)},
            "average": round(float(values[: len(TRAITS)].mean()), 4),
        }
        for name, values in figures.items()
    }


def label_percentiles(labels: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Return target -> the labels' percentiles 0 to 100."""
    return {
        target: tuple(np.quantile(labels[:, index], np.linspace(0, 1, 101)).round(6).tolist())
        for index, target in enumerate(TARGETS)
    }


def digest_of_sources(names: Sequence[str]) -> str:
    """Return the sha256 of source files of the package, imports left out: a move changes nothing."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for name in names:
        text = (root / name).read_text("utf-8")
        lines = text.splitlines(keepends=True)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                end = node.end_lineno or node.lineno
                lines[node.lineno - 1 : end] = [""] * (end - node.lineno + 1)
        digest.update("".join(lines).encode())
    return digest.hexdigest()
