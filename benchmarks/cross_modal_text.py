"""Trains cross_modal's text stage on the real transcripts, in cross-validation, beside the training mean.

    python benchmarks/cross_modal_text.py DATA VECTORS OUT [--folds 5] [--held-out 5] [--epochs 50] [--only SCHEME]

DATA is the folder of First Impressions V2's training split; VECTORS a file in GloVe's format; OUT gets a run per fold,
and a call that was interrupted goes on there. Speaker-grouped folds keep all clips of a speaker together, random folds
do not, as the official splits. Of the clips outside the held-out fold one in ten (grouped: of the speakers) chooses the
epoch. Needs the extras ``train`` and ``words``.
"""

import argparse
import logging
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from thinslice.evaluate.metrics import accuracy, r2
from thinslice.features.word_vectors import load_word_vectors, split_words, vectorise
from thinslice.systems.cross_modal.recipe import cross_modal
from thinslice.train.data import ArrayReader, ClipData, RunData
from thinslice.train.loop import train
from thinslice.train.settings import LoopSettings
from thinslice.traits import TRAITS
from thinslice.voice_words.trainer import grouped_folds, load_training_data, random_folds

PUBLISHED = 0.8882


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--held-out", type=int, help="how many of the folds are held out in turn; all by default")
    parser.add_argument("--only", choices=["speakers apart", "random"])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)

    began = time.perf_counter()
    data = load_training_data(chosen.data)
    known = {word for text in data.transcripts for word in split_words(text or "")}
    table = load_word_vectors(chosen.vectors, known)
    arrays = {
        clip: {"words": vectorise(text or "", table)} for clip, text in zip(data.clips, data.transcripts, strict=True)
    }
    words = np.array([int((entry["words"] != 0).any(1).sum()) for entry in arrays.values()])
    labels = data.labels[:, : len(TRAITS)]
    clips = ClipData(tuple(data.clips), labels, TRAITS, ArrayReader(arrays))
    print(
        f"{len(clips)} clips, {len(set(data.speakers))} speakers, {(words == 0).sum()} without a word, median "
        f"{int(np.median(words))} of 80 words; {table.size}-d vectors; {time.perf_counter() - began:.0f} s to read",
        flush=True,
    )
    recipe = cross_modal("text", vector_size=table.size, text_epochs=chosen.epochs, patience=chosen.patience)
    print("| cross-validation | accuracy | R² | " + " | ".join(TRAITS) + " |\n|---|---|---|" + "---|" * len(TRAITS))
    for name, folds in (
        ("speakers apart", grouped_folds(data.speakers, chosen.folds, chosen.seed)),
        ("random", random_folds(len(clips), chosen.folds, chosen.seed)),
    ):
        if chosen.only not in (None, name):
            continue
        began = time.perf_counter()
        scores, mean, epochs = np.full_like(labels, np.nan), np.empty_like(labels), []
        for fold in range(chosen.held_out or chosen.folds):
            test = np.flatnonzero(folds == fold)
            rest = np.flatnonzero(folds != fold)
            if name == "random":
                inner = random_folds(len(rest), 10, chosen.seed + 1)
            else:
                # The same seed would draw the held-out fold again.
                inner = grouped_folds(data.speakers[rest], 10, chosen.seed + 1)
            splits = {"train": rest[inner != 0], "validation": rest[inner == 0], "test": test}
            run = train(
                recipe,
                RunData(splits={split: clips.select(rows) for split, rows in splits.items()}),
                chosen.out / f"{name.replace(' ', '_')}-{fold}",
                LoopSettings(device="cpu", tensorboard=False, score_splits=("test",), seed=chosen.seed, resume=True),
            )
            table_of = np.genfromtxt(run.predictions("test"), delimiter=",", names=True, dtype=None, encoding="utf-8")
            scores[test] = np.stack([table_of[trait] for trait in TRAITS], 1)
            epochs.append(int(run.load_end("text").progress["best_epoch"]))
            mean[test] = labels[splits["train"]].mean(0)
        there = np.isfinite(scores).all(1)
        for label, found in (("text", scores[there]), ("training mean", mean[there])):
            by_trait = accuracy(labels[there], found)
            cells = " | ".join(f"{value:.4f}" for value in by_trait)
            print(
                f"| {label}, {name} | {by_trait.mean():.4f} | {r2(labels[there], found).mean():+.3f} | {cells} |",
                flush=True,
            )
        print(f"{there.sum()} clips; best epochs {epochs}; {time.perf_counter() - began:.0f} s", flush=True)
    print(f"published, official test split, 300-d vectors: {PUBLISHED}")


if __name__ == "__main__":
    main()
