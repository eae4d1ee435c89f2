"""Whether another loss, or the votes behind the labels, beats plain least squares for unseen speakers.

    python benchmarks/face_losses.py DATA DESCRIPTORS VOTES

DATA is the folder of `thinslice.voice_words.trainer.FILES`, DESCRIPTORS the file that the trainer of face-voice-words
keeps what it saw in, VOTES ``votes_train.csv.gz``. The face alone; a function linear in its 192 main directions and in
bumps on them, the same for every loss; five folds, speakers apart. Scores from votes alone are brought to the labels'
scale by a straight line fitted on the training folds.
"""

import csv
import gzip
import sys
from pathlib import Path

import numpy as np
import torch

from face_scores import report
from thinslice.face_voice_words.trainer import FaceVoiceWordsSettings, fit_face_part
from thinslice.traits import TARGETS
from thinslice.voice_words.trainer import grouped_folds, load_training_data


def main() -> None:
    torch.manual_seed(0)
    data = load_training_data(Path(sys.argv[1]))
    with np.load(sys.argv[2]) as file:
        descriptors, counts = file["descriptors"], file["counts"]
    settings = FaceVoiceWordsSettings(num_centres=600)
    arrays, parts = fit_face_part(descriptors, counts > 0, settings, 0)
    size = len(arrays["face_mean"])
    features = parts["face"].features
    scaled = features[:, :size] @ arrays["face_basis"].astype(np.float32) * arrays["face_basis_steps"]
    inputs = torch.tensor(np.hstack([scaled, features[:, size:]]))
    labels = torch.tensor(data.labels, dtype=torch.float32)
    pairs, signs = load_votes(Path(sys.argv[3]), data.clips)
    number = np.bincount(pairs.ravel(), minlength=len(data.clips))
    weights = torch.tensor(number / number.mean(), dtype=torch.float32)[:, None]
    folds = grouped_folds(data.speakers, 5, 0)
    ways = {
        "squared": lambda f, y, w: ((f - y) ** 2).mean() / 0.02,
        "absolute": lambda f, y, w: (f - y).abs().mean() / 0.1,
        "Bell": lambda f, y, w: bell(f, y),
        "squared, labels weighted by votes": lambda f, y, w: (w * (f - y) ** 2).mean() / 0.02,
    }
    for name, loss in ways.items():
        scores = cross_fit(
            inputs, labels, folds, lambda net, rows, loss=loss: loss(net(rows), labels[rows], weights[rows])
        )
        report(name, "unseen", data.labels, scores)
    for share in (0.1, 0.3, 1.0):
        scores = cross_fit(
            inputs,
            labels,
            folds,
            lambda net, rows, share=share: (
                (1 - share) * ((net(rows) - labels[rows]) ** 2).mean() / 0.02
                + share * vote_loss(net, rows, pairs, signs)
            ),
            calibrate=share == 1.0,
        )
        report(f"squared, and votes for {share:.0%} of the loss", "unseen", data.labels, scores)


def bell(found: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The form of CR-Net's Bell loss, as wide as the labels spread."""
    return (1 - torch.exp(-((found - labels) ** 2) / (2 * 0.1**2))).mean()


def vote_loss(net, rows: torch.Tensor, pairs: np.ndarray, signs: np.ndarray) -> torch.Tensor:
    """Bradley and Terry's likelihood of the votes of which both clips are among `rows`; 12 logits a point of score."""
    among = np.zeros(pairs.max() + 1, bool)
    among[rows.numpy()] = True
    inside = among[pairs].all(axis=1)
    left, right = (torch.tensor(pairs[inside, side]) for side in (0, 1))
    sign = torch.tensor(signs[inside], dtype=torch.float32)
    logits = 12 * (net(left) - net(right)) * sign
    return (torch.nn.functional.softplus(-logits) * (sign != 0)).sum() / (sign != 0).sum() * 2


def load_votes(path: Path, clips: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return int (v, 2) numbers of clips and float (v, 6): 1 where the left one has more, -1 less, 0 none."""
    number = {clip: row for row, clip in enumerate(clips)}
    pairs, signs = [], []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            pairs.append((number[row["left"]], number[row["right"]]))
            signs.append([{"left": 1.0, "right": -1.0}.get(row[target], 0.0) for target in TARGETS])
    return np.array(pairs), np.array(signs, np.float32)


def cross_fit(inputs, labels, folds, loss, calibrate=False) -> np.ndarray:
    scores = np.zeros(labels.shape)
    for fold in range(int(folds.max()) + 1):
        rows = torch.tensor(np.flatnonzero(folds != fold))
        held = torch.tensor(np.flatnonzero(folds == fold))
        weights = torch.zeros(inputs.shape[1], labels.shape[1], requires_grad=True)
        constant = labels[rows].mean(dim=0).clone().requires_grad_(True)

        def net(some, weights=weights, constant=constant):
            return constant + inputs[some] @ weights

        optimiser = torch.optim.LBFGS([weights, constant], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

        def closure(optimiser=optimiser, weights=weights, net=net, rows=rows):
            optimiser.zero_grad()
            value = loss(net, rows) + PENALTY * (weights**2).sum()
            value.backward()
            return value

        optimiser.step(closure)
        with torch.no_grad():
            found = net(held).numpy()
            if calibrate:
                fitted, known = net(rows).numpy(), labels[rows].numpy()
                slope = ((fitted - fitted.mean(0)) * (known - known.mean(0))).mean(0) / fitted.var(0)
                found = known.mean(0) + slope * (found - fitted.mean(0))
        scores[held] = found
    return scores


PENALTY = 1.1 / (4800 * 6 * 0.02)
"""Of the squared weights: about what the Gaussian process has for the mode "face"."""


if __name__ == "__main__":
    main()
