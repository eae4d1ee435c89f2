"""What movement and expressions would add to face-voice-words: somebody's estimates from some 31 frames of each clip.

    python benchmarks/face_movement.py DATA SCORES

DATA has ``expression_train.csv`` beside `thinslice.voice_words.trainer.FILES`, SCORES is what the trainer of
face-voice-words writes with ``--scores``: each clip's scores by a model that has not met its speaker. What these leave
of the labels is predicted from the estimates, in five other folds with speakers apart: by ridge regression, and by
boosted trees. A gain of R² is what a model that saw movement could add at least.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from face_scores import report
from thinslice.voice_words.trainer import grouped_folds, load_training_data

MOVEMENT = ("face_detection_rate", "eye_contact_ratio", "head_yaw_std_deg", "head_pitch_std_deg")


def main() -> None:
    folder = Path(sys.argv[1])
    data = load_training_data(folder)
    with (folder / "expression_train.csv").open(newline="") as file:
        table = {row["clip"]: row for row in csv.DictReader(file)}
    emotions = tuple(name for name in next(iter(table.values())) if name.startswith("emotion_"))
    with np.load(sys.argv[2]) as file:
        scores = file["face+voice+words"]
    for name, columns in (("movement", MOVEMENT), ("emotions", emotions), ("both", MOVEMENT + emotions)):
        rows = np.array([[float(table[clip][column] or "nan") for column in columns] for clip in data.clips])
        there = np.flatnonzero(np.isfinite(scores).all(axis=1))
        known = rows[there]
        gaps = np.isnan(known)
        filled = np.hstack([np.where(gaps, np.nanmean(known, axis=0), known), gaps[:, gaps.any(axis=0)]])
        labels, base, speakers = data.labels[there], scores[there], data.speakers[there]
        if name == "movement":
            report("face-voice-words", "unseen", labels, base)
        folds = grouped_folds(speakers, 5, 1)
        learners = {
            "ridge": lambda: make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 11))),
            "boosted trees": lambda: MultiOutputRegressor(
                HistGradientBoostingRegressor(max_iter=60, learning_rate=0.05, max_leaf_nodes=8, random_state=0)
            ),
        }
        for learner, make in learners.items():
            found = base.copy()
            for fold in range(5):
                train, held = folds != fold, folds == fold
                found[held] += make().fit(filled[train], (labels - base)[train]).predict(filled[held])
            report(f"and {name}, {learner}", "unseen", labels, found)


if __name__ == "__main__":
    main()
