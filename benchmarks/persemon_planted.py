"""What PersEmoN learns on planted data (synthetic: no word on accuracy on people), and what that took.

    thinslice data planted planted/ --clips 600 --speakers 150 --seed 1
    python benchmarks/persemon_planted.py pictures emotion/            # drawn faces in another style
    python benchmarks/persemon_planted.py ablations planted/ emotion/ store/ runs/ joint without_coherence
    python benchmarks/persemon_planted.py map shaded/ emotion/ store/ runs/map joint without_coherence

`ablations` trains small variants and scores, on people not seen in training, personality (extraversion is what a face
shows), emotion, and how well fresh classifiers tell the two data sets apart by the features. `map` trains on clips
whose traits are a known function of valence and arousal, and compares what RAM says over the disk with it; there the
two data sets differ in nothing but their style, so that what tells them apart is what coherence ought to hide. Finished
runs are not trained again, interrupted ones go on; `thinslice table persemon 5 --small` prints those of `ablations`
beside the paper's.
"""

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from thinslice.cli.table_rows import measure, scores_in_order
from thinslice.data.manifest import SPLITS, Manifest, load_manifest
from thinslice.data.planted.emotion import planted_emotion
from thinslice.evaluate.metrics import score
from thinslice.extraction.run import extract
from thinslice.systems.persemon.emotion import (
    TrainedPersEmoN,
    emotions_of,
    features_of_clips,
    features_of_pictures,
    open_pictures,
    relationship_of,
    score_emotions,
)
from thinslice.systems.persemon.figures import disk_grid, draw_disks, draw_domains, tell_apart
from thinslice.systems.persemon.network import PersEmoN
from thinslice.systems.persemon.recipe import KINDS, SparseFaces, persemon
from thinslice.train.data import ArrayReader, ClipData, RunData
from thinslice.train.export import load_trained
from thinslice.train.inputs import load_run_data
from thinslice.train.loop import train
from thinslice.train.recipe import Recipe, Stage
from thinslice.train.settings import LoopSettings
from thinslice.traits import TRAITS

NUM_PICTURES = 1500
NUM_PARTS = 4
SEEDS = (0, 1)


def pictures(folder: Path, seed: int = 1, style: str = "sketch") -> Manifest:
    if (folder / "manifest.csv").is_file():
        return load_manifest(folder / "manifest.csv")
    return planted_emotion(folder, NUM_PICTURES, seed, style)


def run_recipe(recipe: Recipe, data: RunData, out: Path, seed: int = 0) -> tuple[TrainedPersEmoN, float]:
    began = time.perf_counter()
    run = train(recipe, data, out, LoopSettings(device="cpu", resume=True, tensorboard=False, seed=seed))
    model = load_trained(recipe, run)
    assert isinstance(model, PersEmoN)
    return TrainedPersEmoN(recipe, model), time.perf_counter() - began


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
        system, seconds = run_recipe(recipe, data, runs / recipe.variant)
        scores = json.loads((runs / recipe.variant / "scores.json").read_text())["splits"]["test"]
        row = {f"r2_{trait}": scores[f"r2_{trait}"] for trait in TRAITS}
        row |= {"accuracy": scores["accuracy"], "seconds": seconds, "pam_weight": system.model.fusion.item()}
        test = data.splits["test"]
        predicted = scores_in_order(runs / recipe.variant / "predictions_test.csv", test.clips, TRAITS)
        row["mse"] = measure(test.labels, predicted, data.splits["train"].labels, TRAITS)["mse"]["average"]
        if KINDS[variant].emotion:
            held_out = open_pictures(system, emotion.select("test"), store)
            features = features_of_pictures(system, held_out)
            row["emotion"] = score_emotions(held_out.labels, emotions_of(system, features))  # type: ignore[assignment]
            of_clips = features_of_clips(system, data.splits["test"])
            flat = of_clips.reshape(-1, of_clips.shape[2])
            names = [person[clip] for clip in data.splits["test"].clips for _ in range(NUM_PARTS)]
            apart = tell_apart(flat, features, (names, [speakers[c] for c in held_out.clips]))
            row["told_apart"] = asdict(apart)  # type: ignore[assignment]
            panels[f"{variant}: told apart {apart.neighbours:.0%}"] = flat[::2], features
        rows[variant] = row
        print(variant, json.dumps(row, indent=1))
    (runs / "planted.json").write_text(json.dumps(rows, indent=1))
    if panels:
        draw_domains(panels, runs / "domains.png", ("personality clips", "emotion pictures"))


def planted_map(emotions: np.ndarray) -> np.ndarray:
    """Return traits (n, 5) of valence and arousal (n, 2); agreeableness depends on both at once only."""
    v, a = emotions.T
    return np.clip(0.5 + np.stack([0.25 * a, -0.2 * v, 0.3 * v, 0.5 * v * a, 0.2 * (v - a)], 1), 0, 1)


def recover_map(shaded: Path, drawn: Path, store: Path, out: Path, variants: list[str]) -> None:
    """Clips are drawn faces in the clips' style, one to a clip; the emotion data are drawn in the other style."""
    table, emotion = pictures(shaded, 2, "shaded"), pictures(drawn)
    first = persemon("small_joint")
    for manifest in (table, emotion):
        extract(manifest, first.companions["emotion"].features, store)
    fresh = first.build_model()
    assert isinstance(fresh, PersEmoN)
    faces = {split: open_pictures(TrainedPersEmoN(first, fresh), table.select(split), store) for split in SPLITS}
    splits = {split: clips_of_pictures(entries) for split, entries in faces.items()}
    learned_from, held_out = (
        open_pictures(TrainedPersEmoN(first, fresh), emotion.select(s), store) for s in ("train", "test")
    )
    people = [dict(zip(manifest.clips, manifest.speakers, strict=True)) for manifest in (table, emotion)]
    groups = [[of[clip] for clip in part.clips] for of, part in zip(people, (faces["test"], held_out), strict=True)]
    points = 0.7 * disk_grid(41)
    panels = {}
    rows = {}
    for seed in SEEDS:
        for variant in variants:
            recipe = one_face_a_clip(persemon(f"small_{variant}", draws=1))
            run = out / f"{variant}-{seed}"
            data = RunData(splits=splits, companions={"emotion": learned_from})
            system, seconds = run_recipe(recipe, data, run, seed)
            of_clips, of_pictures = (features_of_pictures(system, part) for part in (faces["test"], held_out))
            relationship, told = relationship_of(system), emotions_of(system, of_pictures)
            scores = json.loads((run / "scores.json").read_text())["splits"]["test"]
            found = score(planted_map(points), relationship(points))
            apart = tell_apart(of_clips, of_pictures, groups)
            rows[f"{variant}-{seed}"] = {
                "personality_r2": {trait: scores[f"r2_{trait}"] for trait in TRAITS},
                "emotion": score_emotions(held_out.labels, told),
                "map": {name: dict(zip(TRAITS, found[name].tolist(), strict=True)) for name in ("pcc", "r2")},
                "told_apart": asdict(apart),
                "seconds": seconds,
            }
            print(variant, seed, json.dumps(rows[f"{variant}-{seed}"]), flush=True)
            if seed == SEEDS[0]:
                panels[f"{variant}: told apart {apart.neighbours:.0%}"] = of_clips, of_pictures
                draw_disks(relationship, TRAITS, out / f"disks_{variant}.png", told)
    (out / "map.json").write_text(json.dumps(rows, indent=1))
    draw_disks(planted_map, TRAITS, out / "disks_planted.png")
    draw_domains(panels, out / "domains.png", ("personality clips", "emotion pictures"))


def clips_of_pictures(pictures: ClipData) -> ClipData:
    """Return clips of one face each, with the traits of the planted map."""
    faces = [pictures.reader(i).read("face", 0)[None, None] for i in range(len(pictures))]
    arrays = {clip: {"faces": face} for clip, face in zip(pictures.clips, faces, strict=True)}
    return ClipData(pictures.clips, planted_map(pictures.labels), TRAITS, ArrayReader(arrays))


def one_face_a_clip(recipe: Recipe) -> Recipe:
    """Return a recipe that sees one face of a clip, and as many clips in a step as faces before."""
    network, *others = recipe.stages
    assert isinstance(network, Stage)
    network = replace(network, batch_size=network.batch_size * NUM_PARTS)
    return replace(recipe, sample=SparseFaces(1), stages=(network, *others))


def main() -> None:
    what, *paths = sys.argv[1:]
    if what == "pictures":
        pictures(Path(paths[0]))
    elif what == "ablations":
        ablations(Path(paths[0]), Path(paths[1]), Path(paths[2]), Path(paths[3]), paths[4:])
    else:
        recover_map(Path(paths[0]), Path(paths[1]), Path(paths[2]), Path(paths[3]), paths[4:])


if __name__ == "__main__":
    main()
