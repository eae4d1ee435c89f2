"""What PersEmoN learns on planted data (synthetic: no word on accuracy on people), and what that took.

    thinslice data planted planted/ --clips 600 --speakers 150 --seed 1
    python benchmarks/persemon_planted.py pictures emotion/            # drawn faces in another style
    python benchmarks/persemon_planted.py ablations planted/ emotion/ store/ runs/ joint without_coherence
    python benchmarks/persemon_planted.py map shaded/ emotion/ store/ runs/map

`ablations` trains small variants and scores, on people not seen in training, personality (extraversion is what a face
shows), emotion, and how well a fresh classifier tells the two data sets apart by the features. `map` trains on clips
whose traits are a known function of valence and arousal, and compares what RAM says over the disk with it. Finished
runs are not trained again, interrupted ones go on.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from thinslice.data.extraction import extract
from thinslice.data.manifest import Manifest, load_manifest
from thinslice.data.planted.emotion import planted_emotion
from thinslice.evaluate.metrics import score
from thinslice.evaluate.published import load_published
from thinslice.explain.emotion_map import disk_grid, draw_disks, draw_domains, tell_apart
from thinslice.models.persemon import PersEmoN
from thinslice.recipes.persemon import KINDS, TABLES, persemon
from thinslice.recipes.persemon_emotion import (
    System,
    emotions_of,
    features_of_clips,
    features_of_pictures,
    open_pictures,
    relationship_of,
    score_emotions,
)
from thinslice.train.data import ArrayReader, ClipData
from thinslice.train.export import load_trained
from thinslice.train.inputs import load_run_data
from thinslice.train.loop import RunData, Settings, train
from thinslice.train.recipe import Recipe
from thinslice.traits import TRAITS

NUM_PICTURES = 1500
NUM_PARTS = 4
MAP_STEPS = 600


def pictures(folder: Path, seed: int = 1, style: str = "sketch") -> Manifest:
    if (folder / "manifest.csv").is_file():
        return load_manifest(folder / "manifest.csv")
    return planted_emotion(folder, NUM_PICTURES, seed, style)


def run_recipe(recipe: Recipe, data: RunData, out: Path) -> tuple[System, float]:
    began = time.perf_counter()
    run = train(recipe, data, out, Settings(device="cpu", resume=True, tensorboard=False))
    model = load_trained(recipe, run)
    assert isinstance(model, PersEmoN)
    return System(recipe, model), time.perf_counter() - began


def ablations(planted: Path, drawn: Path, store: Path, runs: Path, variants: list[str]) -> None:
    emotion = pictures(drawn)
    speakers = dict(zip(emotion.clips, emotion.speakers, strict=True))
    clips = load_manifest(planted / "manifest.csv")
    person = dict(zip(clips.clips, clips.speakers, strict=True))
    panels = {}
    rows = {}
    for variant in variants:
        recipe = persemon(f"small_{variant}")
        data, _ = load_run_data(recipe, planted / "manifest.csv", store, {"emotion": drawn / "manifest.csv"})
        system, seconds = run_recipe(recipe, data, runs / variant)
        scores = json.loads((runs / variant / "scores.json").read_text())["splits"]["test"]
        row = {f"r2_{trait}": scores[f"r2_{trait}"] for trait in TRAITS}
        row |= {"accuracy": scores["accuracy"], "seconds": seconds, "pam_weight": system.model.fusion.item()}
        row["mse"] = float(np.mean(_squared_errors(runs / variant, data.splits["test"])))
        if KINDS[variant].emotion:
            held_out = open_pictures(system, emotion.select("test"), store)
            features = features_of_pictures(system, held_out)
            row["emotion"] = score_emotions(held_out.labels, emotions_of(system, features))  # type: ignore[assignment]
            of_clips = features_of_clips(system, data.splits["test"])
            flat = of_clips.reshape(-1, of_clips.shape[2])
            names = [person[clip] for clip in data.splits["test"].clips for _ in range(NUM_PARTS)]
            row["told_apart"] = tell_apart(flat, features, (names, [speakers[c] for c in held_out.clips])).accuracy
            panels[f"{variant}: told apart {row['told_apart']:.0%}"] = flat[::2], features
        rows[variant] = row
        print(variant, json.dumps(row, indent=1))
    (runs / "planted.json").write_text(json.dumps(rows, indent=1))
    if panels:
        draw_domains(panels, runs / "domains.png", ("personality clips", "emotion pictures"))
    print_beside_published(rows)


def print_beside_published(rows: dict[str, dict[str, object]]) -> None:
    """Print both mean squared errors of each variant, ours on planted data beside the paper's on its own."""
    names = {**TABLES["5"], "without_coherence": "without coherence"}
    found = {(f.variant, f.target): f.value for f in load_published() if f.system == "persemon" and f.metric == "mse"}
    print(f"{'variant':20}{'emotion MSE':>14}{'published':>12}{'personality MSE':>18}{'published':>12}")
    for variant, row in rows.items():
        emotion = row["emotion"]["mse"]["average"] if "emotion" in row else float("nan")  # type: ignore[index]
        theirs = [
            found.get((names.get(variant, ""), target), float("nan")) for target in ("arousal_valence", "average")
        ]
        print(f"{variant:20}{emotion:14.4f}{theirs[0]:12.3f}{row['mse']:18.4f}{theirs[1]:12.3f}")


def _squared_errors(run: Path, clips: ClipData) -> np.ndarray:
    from thinslice.evaluate.predictions import read_predictions

    predicted = read_predictions(run / "predictions_test.csv")
    at = {clip: i for i, clip in enumerate(predicted.clips)}
    return (predicted.scores[[at[clip] for clip in clips.clips], : len(TRAITS)] - clips.labels) ** 2


def planted_map(emotions: np.ndarray) -> np.ndarray:
    """Return traits (n, 5) of valence and arousal (n, 2); agreeableness depends on both at once only."""
    v, a = emotions.T
    return np.clip(0.5 + np.stack([0.25 * a, -0.2 * v, 0.3 * v, 0.5 * v * a, 0.2 * (v - a)], 1), 0, 1)


def recover_map(shaded: Path, drawn: Path, store: Path, out: Path) -> None:
    """Clips are drawn faces in the clips' style, shown K times; the emotion data are drawn in the other style."""
    recipe = persemon("small_joint", steps=MAP_STEPS, draws=1)
    specs = recipe.companions["emotion"].features
    table = pictures(shaded, 2, "shaded")
    emotion = pictures(drawn)
    for manifest in (table, emotion):
        extract(manifest, specs, store)
    fresh = recipe.build_model()
    assert isinstance(fresh, PersEmoN)
    untrained = System(recipe, fresh)
    split_of = dict(zip(table.clips, table.splits, strict=True))
    held = open_pictures(untrained, table, store)
    arrays = {}
    for i, clip in enumerate(held.clips):
        face = held.reader(i).read("face", 0)
        arrays[clip] = {"faces": np.tile(face, (1, NUM_PARTS, 1, 1, 1))}
    everything = ClipData(held.clips, planted_map(held.labels), TRAITS, ArrayReader(arrays))
    splits = {
        split: everything.select([i for i, clip in enumerate(held.clips) if split_of[clip] == split])
        for split in ("train", "validation", "test")
    }
    learned_from = open_pictures(untrained, emotion.select("train"), store)
    system, seconds = run_recipe(recipe, RunData(splits=splits, companions={"emotion": learned_from}), out)
    print(f"trained in {seconds:.0f} s")
    relationship = relationship_of(system)
    points = 0.7 * disk_grid(41)
    values = score(planted_map(points), relationship(points))
    print("RAM against the planted map over the disk of radius 0.7:")
    for k, trait in enumerate(TRAITS):
        print(f"  {trait:17} r {values['pcc'][k]:.3f}  R2 {values['r2'][k]:.3f}")
    test = open_pictures(system, emotion.select("test"), store)
    told = emotions_of(system, features_of_pictures(system, test))
    print("emotion on people not seen:", json.dumps(score_emotions(test.labels, told)))
    print("personality:", json.dumps(json.loads((out / "scores.json").read_text())["splits"]["test"]))
    draw_disks(relationship, TRAITS, out / "disks.png", told)
    draw_disks(planted_map, TRAITS, out / "disks_planted.png")


def main() -> None:
    what, *paths = sys.argv[1:]
    if what == "pictures":
        pictures(Path(paths[0]))
    elif what == "ablations":
        ablations(Path(paths[0]), Path(paths[1]), Path(paths[2]), Path(paths[3]), paths[4:])
    else:
        recover_map(*map(Path, paths))


if __name__ == "__main__":
    main()
