"""Golden curves: every system's first losses on planted features, the same for whoever trains.

The features are made, not extracted: seeded arrays of the shapes that the extractors give, whose levels follow the
labels. So the curves say whether networks, losses, samples, order and loop are what they were, and nothing else.

    python tests/golden_curves.py --reason "why the curves may change"

writes tests/golden_curves.json again. Without a reason it writes nothing.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from thinslice.features.face_align import REFERENCES
from thinslice.features.spec import FeatureSpec
from thinslice.systems import RECIPES
from thinslice.train.data import ArrayReader, ClipData, RunData
from thinslice.train.history import read_rows
from thinslice.train.loop import train
from thinslice.train.recipe import Recipe, Stage
from thinslice.train.settings import LoopSettings

STORED: Final = Path(__file__).with_name("golden_curves.json")
NUM_LOSSES: Final = 20
"""Of each curve, at least: a recipe of several stages takes a share of them in each."""
LAST_DIGIT: Final = 1e-7
"""Of a float32 weight, relative."""

SMALLEST: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "audiovisual_attributes": (
        "small_audio+visual+attributes",
        {"seconds": 1.0, "num_faces": 2, "shrink": 7, "width": 4, "batch_size": 6},
    ),
    "bimodal lstm": ("lstm", {"batch_size": 2}),
    "bimodal 3dcnn": ("3dcnn", {"batch_size": 2}),
    "cr_net": (
        "small_all",
        {"num_frames": 4, "draws": 3, "side": 32, "num_samples": 2048, "batch_size": 4, "num_trees": 4},
    ),
    "cross_modal": (
        "small_cross-modal",
        {
            "num_frames": 2,
            "frame_height": 40,
            "frame_width": 48,
            "side": 32,
            "width": 8,
            "vector_size": 12,
            "num_words": 20,
            "audio_batch": 6,
            "video_batch": 6,
            "text_batch": 6,
            "late_batch": 6,
        },
    ),
    "deep_impression": (
        "small",
        {
            "frame_width": 48,
            "frame_height": 48,
            "crop": 48,
            "num_frames": 4,
            "num_samples": 4096,
            "batch_size": 4,
            "learning_rate": 2e-4,
        },
    ),
    "deep_impression five": (
        "5xdnn",
        {
            "width": 4,
            "frame_width": 40,
            "frame_height": 36,
            "crop": 32,
            "num_frames": 4,
            "num_samples": 2048,
            "validation_frames": 2,
            "batch_size": 4,
            "epochs": 60,
        },
    ),
    "deep_impression recurrent": (
        "dnn_rnn",
        {
            "width": 4,
            "frame_width": 40,
            "frame_height": 36,
            "crop": 32,
            "num_frames": 4,
            "num_samples": 2048,
            "validation_frames": 2,
            "batch_size": 4,
            "epochs": 60,
        },
    ),
    "persemon": ("small_joint", {"width": 4, "num_features": 16, "shrink": 4, "draws": 1, "faces_per_step": 12}),
    "persemon lstm": ("small_lstm", {"width": 4, "num_features": 16, "shrink": 4, "draws": 1, "faces_per_step": 12}),
}
"""Curve -> variant and hyperparameters: the small variants, cut down further, so that all together take seconds."""


def build_golden(name: str) -> Recipe:
    """Return the recipe of a curve."""
    variant, sizes = SMALLEST[name]
    return RECIPES[name.split()[0]](variant=variant, **sizes)


def _waveform(params: Mapping[str, Any], cues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rate = int(params["rate_hz"])
    length = round(rate * min(float(params.get("duration_s", 1.5)), 1.5))
    hum = np.sin(2 * np.pi * (80 + 60 * cues[2]) * np.arange(length) / rate)
    return ((0.1 + 0.2 * cues[3]) * hum + rng.normal(0, 0.05, length)).astype(np.float32)


def _pictures(shape: tuple[int, ...], cues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise whose three colours are as bright as the first labels are high."""
    noise = rng.integers(0, 80, (*shape, 3))
    return (noise + np.round(160 * cues[:3])).astype(np.uint8)


def _frames(params: Mapping[str, Any], cues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _pictures((params["num_frames"], params["height"], params["width"]), cues, rng)


def _faces(params: Mapping[str, Any], cues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if params["reference"] == "box":
        side = params["size"], params["size"]
    else:
        side = REFERENCES[params["reference"]].height, REFERENCES[params["reference"]].width
    return _pictures((params["draws"], params["num_parts"], *side), cues, rng)


def _face(params: Mapping[str, Any], cues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    reference = REFERENCES[params["reference"]]
    return _pictures((params["num_frames"], reference.height, reference.width), cues, rng)


def _numbers(size: Callable[[Mapping[str, Any]], tuple[int, ...]]) -> Callable[..., np.ndarray]:
    def make(params: Mapping[str, Any], cues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        array = rng.normal(0, 0.5, size(params)).astype(np.float32)
        array[..., : len(cues)] += cues[: array.shape[-1]].astype(np.float32)
        return array

    return make


def _attributes(params: Mapping[str, Any], cues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.array([20 + 40 * cues[0], 1 + cues[1], *rng.dirichlet(np.ones(7))], np.float32)


MAKERS: Final[Mapping[str, Callable[..., np.ndarray]]] = {
    "waveform": _waveform,
    "frames": _frames,
    "aligned_faces": _faces,
    "face_picture": _face,
    "attributes": _attributes,
    "egemaps": _numbers(lambda params: (88,)),
    "text_embedding": _numbers(lambda params: (384,)),
    "word_vectors": _numbers(lambda params: (params["num_words"], params["size"])),
    "short_term_audio": _numbers(lambda params: (params["num_parts"], 68)),
}
"""Extractor -> what stands for what it gives: (parameters, cues (n,) of [0, 1], random generator) -> array."""


def plant_features(
    specs: Mapping[str, FeatureSpec], targets: tuple[str, ...], num_clips: int, seed: int, columns: tuple[str, ...] = ()
) -> ClipData:
    """Return clips with labels of [0, 1] and features that follow them."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(0.1, 0.9, (num_clips, len(targets)))
    empty = {f"column:{name}": np.array("") for name in columns}
    arrays = {}
    for number, row in enumerate(labels):
        cues = np.resize(row, 5)
        made = {name: MAKERS[spec.extractor](spec.params, cues, rng) for name, spec in specs.items()}
        arrays[f"{seed}.{number}"] = made | empty
    return ClipData(tuple(arrays), labels, targets, ArrayReader(arrays))


def plant_data(recipe: Recipe) -> RunData:
    """Return 13 training and 3 validation clips for a recipe, and 9 entries of each of its further data sets."""
    splits = {
        split: plant_features(recipe.features, recipe.outputs, num_clips, seed, recipe.columns)
        for seed, (split, num_clips) in enumerate({"train": 13, "validation": 3}.items(), start=1)
    }
    further = {
        name: plant_features(companion.features, companion.targets, 9, 9)
        for name, companion in recipe.companions.items()
    }
    return RunData(splits=splits, companions=further)


def measure_curve(name: str, change: float = 0.0) -> dict[str, list[float]]:
    """Train each stage of a curve's recipe for some steps.

    Args:
        name: of the curve.
        change: relative change of the first weights, to see what rounding does.

    Returns:
        "stage/update" -> losses in their order.
    """
    recipe = build_golden(name)
    recipe = replace(recipe, build_model=partial(_build_changed, recipe.build_model, change))
    updates = sum(len(stage.updates) for stage in recipe.stages if isinstance(stage, Stage))
    settings = LoopSettings(device="cpu", tensorboard=False, max_steps=-(-NUM_LOSSES // updates), score_splits=())
    with tempfile.TemporaryDirectory() as folder:
        run = train(recipe, plant_data(recipe), Path(folder) / "run", settings)
        rows = read_rows(run.path / "steps.csv")
    curves: dict[str, list[float]] = {}
    for row in rows:
        curves.setdefault(f"{row['stage']}/{row['update']}", []).append(float(row["loss"]))
    return curves


def _build_changed(build_model: Callable[[], nn.Module], change: float) -> nn.Module:
    model = build_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + change)
    return model


def measure_drift(name: str, curve: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return how far each loss moves when the last digit of the first weights does, relative to the curve's mean."""
    changed = [measure_curve(name, change) for change in (LAST_DIGIT, -LAST_DIGIT)]
    drift = {}
    for update, losses in curve.items():
        moved = np.abs(np.array([other[update] for other in changed]) - losses).max(0)
        # Once it has moved it may not count on coming back.
        drift[update] = [float(f"{x:.1e}") for x in np.maximum.accumulate(moved) / np.mean(np.abs(losses))]
    return drift


def load_curves() -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return the stored curves: name -> "losses" and "drift" -> "stage/update" -> numbers."""
    curves: dict[str, dict[str, dict[str, list[float]]]] = json.loads(STORED.read_text("utf-8"))["curves"]
    return curves


def main() -> None:
    """Write the curves again, with the reason."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--reason", required=True, help="why the curves may change; it is stored with them")
    reason = parser.parse_args().reason.strip()
    if not reason:
        sys.exit("give a reason: curves that change without one are a fault")
    old = json.loads(STORED.read_text("utf-8")) if STORED.exists() else {"reasons": []}
    curves = {}
    for name in SMALLEST:
        losses = measure_curve(name)
        curves[name] = {"losses": losses, "drift": measure_drift(name, losses)}
    lines = []
    for name, curve in curves.items():
        parts = [f"  {json.dumps(what)}: {{\n{_lines(entries)}\n  }}" for what, entries in curve.items()]
        lines.append(f" {json.dumps(name)}: {{\n" + ",\n".join(parts) + "\n }")
    reasons = json.dumps([*old["reasons"], reason], ensure_ascii=False)
    STORED.write_text(f'{{"reasons": {reasons},\n"curves": {{\n' + ",\n".join(lines) + "\n}}\n", "utf-8")


def _lines(entries: Mapping[str, list[float]]) -> str:
    return ",\n".join(f"   {json.dumps(name)}: {json.dumps(values)}" for name, values in entries.items())


if __name__ == "__main__":
    main()
