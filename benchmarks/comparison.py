"""The five systems' visual ideas on the same portraits of the same people, speakers apart: docs/comparison.md.

    python benchmarks/comparison.py train MANIFEST EMOTION STORE OUT --expressions TABLE.csv --vectors GLOVE.txt
    python benchmarks/comparison.py score MANIFEST EMOTION STORE OUT --expressions TABLE.csv [--bundled SCORES.npz]

MANIFEST has the splits train, validation and test with no speaker in two of them; the path of a clip is its folder of
portraits. EMOTION is a manifest of pictures with valence and arousal. `train` trains every run of `RUNS`, or those that
are named with --only, one after the other, and goes on where it was stopped; one that fails does not stop the others.
`score` writes a prediction file of each of their stages, has thinslice's own evaluation score them and prints the
tables. TABLE.csv has estimated emotions (`emotion_happy`, ...), SCORES.npz is what the trainer of face-voice-words
keeps with --scores: each clip's scores by a model that has not seen its speaker.
"""

import argparse
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from comparison_runs import ATTRIBUTES_RECIPE, PAIRS, RUNS, Reading
from thinslice.cli.labelled import read_labelled
from thinslice.data.manifest import Manifest, load_manifest
from thinslice.data.table import read_table
from thinslice.evaluate.predictions import read_predictions
from thinslice.evaluate.scorecard import LOOKUP, TRAINING_MEAN, build_scorecard
from thinslice.extraction.run import fill_store
from thinslice.features.attributes import ATTRIBUTES, EMOTIONS, annotated_attributes
from thinslice.features.store import Index
from thinslice.systems import RECIPES
from thinslice.systems.persemon.emotion import (
    features_of_clips,
    features_of_pictures,
    load_system,
    open_pictures,
    score_pictures,
)
from thinslice.train.columns import with_columns
from thinslice.train.data import ClipData, FeatureReader, RunData, Sampled
from thinslice.train.inputs import load_run_data
from thinslice.train.loop import train
from thinslice.train.recipe import FitStage, Recipe, Stage
from thinslice.train.run import RunFolder, write_predictions
from thinslice.train.scoring import apply_to_clips
from thinslice.train.settings import LoopSettings
from thinslice.train.stage import load_weights
from thinslice.train.system import as_scores, predict_system, weights_of
from thinslice.traits import TRAITS

SEED: Final = 1
SETTINGS: Final = LoopSettings(device="cpu", seed=SEED, resume=True, tensorboard=False, score_splits=())
OF_TABLE: Final = dict(zip(EMOTIONS, ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), strict=True))
"""Emotion -> its column in the table of estimates, after "emotion_"."""


@dataclass(frozen=True)
class WithConstants:
    """Reads some features of every clip as the same array, the others from another reader."""

    features: FeatureReader
    constants: Mapping[str, np.ndarray]

    def shape(self, clip: str, feature: str) -> tuple[int, ...]:
        """Return its shape."""
        return self.constants[feature].shape if feature in self.constants else self.features.shape(clip, feature)

    def read(self, clip: str, feature: str, index: Index = None) -> np.ndarray:
        """Return it, or entries of its first axis."""
        if feature not in self.constants:
            return self.features.read(clip, feature, index)
        return self.constants[feature] if index is None else self.constants[feature][index]

    def digest(self) -> str:
        """Return what identifies the values."""
        return f"{self.features.digest()}+{'+'.join(self.constants)}"

    def only(self, features: Sequence[str]) -> FeatureReader:
        """Return a reader of some of the features."""
        kept = {name: value for name, value in self.constants.items() if name in features}
        return WithConstants(self.features.only([name for name in features if name not in kept]), kept)


@dataclass(frozen=True)
class Data:
    """Where everything is.

    Attributes:
        manifest: of the clips.
        emotion: of the pictures with valence and arousal.
        store: of features.
        out: of runs and tables.
        expressions: table of estimated emotions.
        vectors: of words.
    """

    manifest: Path
    emotion: Path
    store: Path
    out: Path
    expressions: Path
    vectors: str


def strongest_emotions(table: Path, clips: tuple[str, ...]) -> tuple[str, ...]:
    """Return each clip's most probable emotion by somebody's detector, "" where there is none."""
    read = read_table(table, ("clip",))
    columns = [read.column(f"emotion_{name}") for name in OF_TABLE.values()]
    found = {}
    for clip, *cells in zip(read.column("clip"), *columns, strict=True):
        if any(cells):
            found[clip] = EMOTIONS[int(np.argmax([float(cell or 0) for cell in cells]))]
    return tuple(found.get(clip, "") for clip in clips)


def with_emotions(data: Data) -> Manifest:
    """Return the manifest with each clip's strongest estimated emotion."""
    table = load_manifest(data.manifest)
    return replace(table, columns={**table.columns, "emotion": strongest_emotions(data.expressions, table.clips)})


def load_data(recipe: Recipe, data: Data) -> RunData:
    """Return a run's clips. Where a recipe wants sound, still pictures give silence; attributes are the annotators'."""
    companions = {name: data.emotion for name in recipe.companions if any(needs(recipe, name))}
    for name in companions:  # The pictures held out too.
        fill_store(load_manifest(data.emotion), recipe.companions[name].features, data.store)
    if recipe.name != ATTRIBUTES_RECIPE:
        return load_run_data(recipe, data.manifest, data.store, companions)[0]
    seen = replace(recipe, features={"faces": recipe.features["faces"]}, columns=())
    found, _ = load_run_data(seen, data.manifest, data.store)
    silence = np.zeros(round(recipe.arguments["rate_hz"] * recipe.arguments["seconds"]), np.float32)
    constants = {"waveform": silence, "attributes": np.full(len(ATTRIBUTES), np.nan, np.float32)}
    table = with_emotions(data)

    def extended(clips: ClipData) -> ClipData:
        return replace(clips, features=with_columns(WithConstants(clips.features, constants), table, recipe.columns))

    return replace(found, splits={split: extended(clips) for split, clips in found.splits.items()})


def needs(recipe: Recipe, companion: str) -> list[bool]:
    """Return of each stage whether it learns from a companion data set."""
    return [isinstance(stage, Stage) and companion in stage.companions for stage in recipe.stages]


def train_all(data: Data, names: list[str]) -> None:
    """Train runs one after the other."""
    for name in names:
        try:
            recipe = RUNS[name].recipe(data.vectors)
            clips = load_data(recipe, data)
            counts = {split: len(found) for split, found in clips.splits.items()}
            print(name, recipe.variant, counts, flush=True)
            train(recipe, clips, data.out / name, SETTINGS)
            print(name, "trained", flush=True)
        except Exception:  # The next one may work.
            print(name, "failed", flush=True)
            traceback.print_exc()


def predict(recipe: Recipe, run: RunFolder, reading: Reading, clips: ClipData) -> np.ndarray:
    """Return the scores (clips, outputs) of a reading, limited to [0, 1]."""
    stages = {stage.name: stage for stage in recipe.stages}
    stage = stages[reading.stage]
    model = recipe.build_model()
    running: dict[str, Any] = {"seed": SEED, "device": torch.device("cpu")}
    if isinstance(stage, FitStage):
        before = [entry.name for entry in recipe.stages if isinstance(entry, Stage)][-1]
        load_weights(model, weights_of(run, before))
        return predict_system(recipe, run, model, clips, "test", **running)
    load_weights(model, weights_of(run, stage.name))
    way = reading.predict or (stage.predict if stage.precompute is None else None) or recipe.predict
    if stage.precompute is not None and stage.predict is not None and reading.predict is None:
        held, of_held = stage.precompute, stage.predict
        way = lambda model, inputs: of_held(model, held(model, inputs))  # noqa: E731
    source = Sampled(clips, stage.sample or recipe.sample, recipe.ragged)
    rows = apply_to_clips(model, source, "test", partial(as_scores, way), **running)
    return np.clip(np.stack([row["scores"] for row in rows]).astype(np.float64), 0.0, 1.0)


def predict_all(data: Data) -> dict[str, tuple[str, str, Path]]:
    """Write the test clips' predictions of all finished runs.

    Returns:
        "system reading" -> (system, reading, prediction file).
    """
    found = {}
    for name, run in RUNS.items():
        folder = RunFolder(data.out / name)
        if not (folder.path / "run.json").is_file():
            continue
        recipe = run.recipe(data.vectors)
        clips: ClipData | None = None
        for reading, how in run.readings.items():
            if not (folder.stage(how.stage) / "done.json").is_file():
                continue
            path = (
                data.out / "predictions" / f"{name} {reading}.csv".replace(" ", "_").replace(":", "").replace(",", "")
            )
            if not path.is_file():
                clips = clips or load_data(recipe, data).splits["test"]
                path.parent.mkdir(exist_ok=True)
                write_predictions(path, clips.clips, recipe.outputs, predict(recipe, folder, how, clips))
            found[f"{run.system} {reading}"] = run.system, reading, path
    return found


def attributes_alone(data: Data) -> Path:
    """Write predictions by linear regression on perceived age group, gender and estimated emotion, no picture seen."""
    table = with_emotions(data)
    cells = [table.columns[name] for name in ("age_group", "gender", "emotion")]
    rows = np.stack([annotated_attributes(age, gender, emotion) for age, gender, emotion in zip(*cells, strict=True)])
    means = np.nanmean(rows, axis=0)
    design = np.column_stack([np.where(np.isnan(rows), means, rows), np.square(rows[:, 0]), np.ones(len(rows))])
    design = np.where(np.isnan(design), np.nanmean(design, axis=0), design)
    splits, labels = np.array(table.splits), table.labels(TRAITS)
    weights = np.linalg.lstsq(design[splits == "train"], labels[splits == "train"], rcond=None)[0]
    path = data.out / "predictions" / "attributes.csv"
    chosen = np.flatnonzero(splits == "test")
    clips = [table.clips[i] for i in chosen]
    write_predictions(path, clips, TRAITS, np.clip(design[chosen] @ weights, 0.0, 1.0))
    return path


def bundled(data: Data, scores: Path) -> Path:
    """Write what face-voice-words says of the test clips from the face alone, by models that met no speaker of them."""
    table = load_manifest(data.manifest).select("test")
    with np.load(scores) as file:
        of_clip = dict(zip(file["clip"].tolist(), file["face"], strict=True))
    path = data.out / "predictions" / "bundled.csv"
    known = [clip for clip in table.clips if clip in of_clip and np.isfinite(of_clip[clip]).all()]
    write_predictions(path, known, TRAITS, np.stack([of_clip[clip][: len(TRAITS)] for clip in known]))
    return path


def style_told(data: Data, name: str) -> float:
    """Return how well a linear probe on the face network's features tells portraits from generated faces.

    Logistic regression on the held-out clips' first faces and the held-out pictures, five folds, each class counting
    half: 0.5 is chance.
    """
    system = load_system(data.out / name)
    clips = load_data(system.recipe, data).splits["test"]
    pictures = open_pictures(system, load_manifest(data.emotion).select("test"), data.store)
    faces = [features_of_clips(system, clips)[:, 0], features_of_pictures(system, pictures)]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000))
    which = np.repeat([0, 1], [len(part) for part in faces])
    folds = StratifiedKFold(5, shuffle=True, random_state=SEED)
    return float(cross_val_score(probe, np.concatenate(faces), which, cv=folds, scoring="balanced_accuracy").mean())


def score_all(data: Data, kept: Path | None) -> None:
    """Print every reading's scores, the paired differences, and the errors of emotion; write rows for measured.csv."""
    readings = predict_all(data)
    readings["attributes"] = ("-", "age group, gender, emotion: linear", attributes_alone(data))
    if kept is not None:
        readings["bundled"] = ("face-voice-words", "face, five folds", bundled(data, kept))
    labels = read_labelled(data.manifest, ("test",))
    training = [read_labelled(data.manifest, ("train",))]
    card_of = partial(card, labels, training)
    rows: list[str] = []
    head = True
    for system, reading, path in readings.values():
        found = card_of(path)
        if head:
            head = False
            print(
                f"{found.num_clips} clips of {found.num_speakers} speakers\n\n{HEADER}\n{'|---' * (len(TRAITS) + 4)}|"
            )
            print(line("-", "training mean", found.baselines[TRAINING_MEAN]["official"]))
            print(line("-", "speaker lookup", found.baselines[LOOKUP]["official"]))
        panel = found.protocols["official"]
        print(line(system, reading, panel), flush=True)
        if system in RECIPES:
            rows += measured(system, reading, panel)
    print("\n| system | with | without | accuracy, mean | R², mean |\n|---|---|---|---|---|")
    for system, with_it, without in PAIRS:
        names = f"{system} {with_it}", f"{system} {without}"
        if all(name in readings for name in names):
            compared = card_of(readings[names[0]][2], readings[names[1]][2]).comparison
            found = compared.paired_differences["official"]
            print(f"| {system} | {with_it} | {without} | {difference(found, 'accuracy')} | {difference(found, 'r2')} |")
    joint = [name for name in RUNS if (data.out / name / "stages" / "fusion" / "done.json").is_file()]
    for name in joint:
        if RUNS[name].system == "persemon":
            print(f"\n{EMOTION_HEADER}\n{'|---' * 6}|")
            found = score_pictures(data.out / name, data.emotion, data.store, "test")
            cells = [found[metric][label] for metric in ("mse", "ccc") for label in ("valence", "arousal")]
            cells.append(style_told(data, name))
            print(f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |", flush=True)
    (data.out / "measured.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


EMOTION_HEADER: Final = (
    "| run | squared error of valence | of arousal | CCC of valence | of arousal | portrait or generated: accuracy |"
)
HEADER: Final = (
    "| system | reading | " + " | ".join(f"{trait}, R²" for trait in TRAITS) + " | accuracy, mean | R², mean |"
)


def card(labels: Any, training: Any, path: Path, other: Path | None = None) -> Any:
    """Return the scorecard of a prediction file."""
    compare = None if other is None else read_predictions(other)
    return build_scorecard(labels, read_predictions(path), training, compare=compare)[0]


def line(system: str, reading: str, panel: Any) -> str:
    """Return a row of the table of scores."""
    cells = [f"{round(panel.scores['r2'][trait], 3) + 0.0:.3f}" for trait in TRAITS]  # No -0.000.
    cells += [with_interval(panel, metric) for metric in ("accuracy", "r2")]
    return f"| {system} | {reading} | " + " | ".join(cells) + " |"


def with_interval(panel: Any, metric: str) -> str:
    """Return a mean score with its 95% interval."""
    digits = 4 if metric == "accuracy" else 3
    ends = panel.scores[metric]["average"], *panel.interval(metric, "average")
    mean, low, high = (f"{round(value, digits) + 0.0:.{digits}f}" for value in ends)
    return f"{mean} ({low} to {high})"


def difference(found: Any, metric: str) -> str:
    """Return a paired difference with its 95% interval."""
    entry = found[metric]["average"]
    return f"{entry.difference:+.4f} ({entry.ci95[0]:+.4f} to {entry.ci95[1]:+.4f})"


def measured(system: str, reading: str, panel: Any) -> list[str]:
    """Return a reading's rows of src/thinslice/published/measured.csv."""
    start = f'{system},"{reading} (portraits; small)",FI-V2,"train: 20% held out, speakers apart"'
    command = "python benchmarks/comparison.py score MANIFEST EMOTION STORE OUT --expressions TABLE.csv"
    return [
        f"{start},{metric},{target},{round(panel.scores[metric][target], 4) + 0.0:.4f},{command}"
        for metric in ("accuracy", "r2")
        for target in (*TRAITS, "average")
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=("train", "score"))
    for name in ("manifest", "emotion", "store", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--expressions", type=Path, required=True)
    parser.add_argument("--vectors", default="glove.6B.50d.txt")
    parser.add_argument("--only", default=",".join(RUNS))
    parser.add_argument("--bundled", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(given.manifest, given.emotion, given.store, given.out, given.expressions, given.vectors)
    if given.step == "train":
        train_all(data, given.only.split(","))
    else:
        score_all(data, given.bundled)


if __name__ == "__main__":
    main()
