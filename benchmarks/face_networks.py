"""Whether a trained network on the fixed maps of a face beats the Gaussian process for unseen speakers, or helps it.

    python benchmarks/face_networks.py DATA DESCRIPTORS FACES_RATED NETWORKS

The network has two layers on 512 main directions of the descriptor of face-voice-words (inner maps of two fixed
networks over a grid), so what is trained is the last third of a network for faces. Ways that should keep it from
learning who people are: fewer steps, mixing two clips, all speakers counting alike, an adversary that must not tell
the speaker, ratings of other faces first. Unseen: five folds, speakers apart. Seen: five folds over which speakers
repeat. "Sum": the mean of network and process. DATA is the folder of `thinslice.voice_words.trainer.FILES`,
DESCRIPTORS what the trainer of face-voice-words keeps, FACES_RATED the 1,004 rated faces, NETWORKS the folder of
``face.onnx`` and ``picture.onnx``.
"""

import csv
import io
import sys
import time
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.utils.extmath import randomized_svd

from face_scores import report
from thinslice.face_voice_words.descriptor import FaceDescriber
from thinslice.face_voice_words.portraits import align_portrait
from thinslice.face_voice_words.trainer import FaceVoiceWordsSettings, fit_face_part
from thinslice.features.face_light import load_light_detector
from thinslice.voice_words.additive import fit_additive, kernel_of
from thinslice.voice_words.trainer import grouped_folds, load_training_data, random_folds

DIRECTIONS = 512
HIDDEN = 256
BATCH = 64


@dataclass(frozen=True)
class Way:
    """How the network is trained."""

    epochs: int = 12
    mix: float = 0.0  # mixup of two clips and their labels: alpha of the beta distribution
    by_speaker: bool = False  # one clip of a speaker an epoch, so that all speakers count alike
    adversary: float = 0.0  # the gradient reversed from a linear classifier of the training speakers
    rated_first: bool = False  # first trained on 34 attributes of the rated faces


WAYS = {
    "two layers": Way(),
    "4 epochs": Way(epochs=4),
    "40 epochs": Way(epochs=40),
    "two clips mixed": Way(mix=0.4),
    "all speakers count alike": Way(by_speaker=True, epochs=28),
    "adversary against identity": Way(adversary=0.1),
    "a stronger adversary": Way(adversary=1.0),
    "rated faces first": Way(rated_first=True),
}


def main() -> None:
    torch.manual_seed(0)
    data = load_training_data(Path(sys.argv[1]))
    with np.load(sys.argv[2]) as file:
        there = np.flatnonzero(file["counts"] > 0)
        descriptors = file["descriptors"][there].astype(np.float32)
    labels, speakers = data.labels[there], data.speakers[there]
    rated, ratings = rated_faces(Path(sys.argv[3]), Path(sys.argv[4]))
    rows, rated = main_directions(descriptors, rated)
    folds = {"unseen": grouped_folds(data.speakers, 5, 0)[there], "seen": random_folds(len(data.clips), 5, 0)[there]}
    process = {kind: gaussian_process(descriptors, labels, speakers, fold) for kind, fold in folds.items()}
    for kind in folds:
        report("Gaussian process", kind, labels, process[kind])
    for name, way in WAYS.items():
        began = time.process_time()
        for kind, fold in folds.items():
            found = np.zeros_like(labels)
            for number in range(int(fold.max()) + 1):
                train, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
                found[held] = train_network(rows, labels, speakers, train, held, way, rated, ratings)
            report(name, kind, labels, found)
            report("  sum with the process", kind, labels, (found + process[kind]) / 2)
        print(f"  {(time.process_time() - began) / 60:.1f} minutes of processor time", flush=True)


def main_directions(descriptors: np.ndarray, rated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both in the main directions of the first, (n, `DIRECTIONS`), the first of which has a variance of 1."""
    mean, deviation = descriptors.mean(axis=0), descriptors.std(axis=0) + np.float32(1e-6)
    rows, rated = (descriptors - mean) / deviation, (rated - mean) / deviation
    _, _, basis = randomized_svd(rows, DIRECTIONS, n_iter=2, random_state=0)
    found, others = rows @ basis.T, rated @ basis.T
    unit = found[:, 0].std()
    # Equal to what a first layer on all numbers can do, but for the smallest directions.
    return (found / unit).astype(np.float32), (others / unit).astype(np.float32)


def train_network(rows, labels, speakers, train, held, way: Way, rated, ratings) -> np.ndarray:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(
        torch.nn.Dropout(0.1), torch.nn.Linear(rows.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Dropout(0.5)
    )
    if way.rated_first:
        head = torch.nn.Linear(HIDDEN, ratings.shape[1])
        fit(trunk, head, rated, ratings, None, np.arange(len(rated)), replace(way, epochs=30), rng)
    head = torch.nn.Linear(HIDDEN, labels.shape[1])
    middle, spread = labels[train].mean(axis=0), labels[train].std(axis=0)
    fit(trunk, head, rows, ((labels - middle) / spread).astype(np.float32), speakers, train, way, rng)
    trunk.eval()
    with torch.no_grad():
        return middle + spread * head(trunk(torch.tensor(rows[held]))).numpy()


def fit(trunk, head, rows, targets, speakers, train, way: Way, rng) -> None:
    """Minimise the squared error by AdamW on one cycle."""
    trunk.train()
    parameters = [*trunk.parameters(), *head.parameters()]
    adversary = None
    if way.adversary and speakers is not None:
        adversary = torch.nn.Linear(HIDDEN, int(speakers.max()) + 1)
        parameters += adversary.parameters()
    optimiser = torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0.3)
    steps = way.epochs * (len(order_of(train, speakers, way, rng)) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-4, total_steps=steps + 1)
    for _ in range(way.epochs):
        order = order_of(train, speakers, way, rng)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            some = order[start : start + BATCH]
            x, y = torch.tensor(rows[some]), torch.tensor(targets[some])
            if way.mix and speakers is not None:
                share, other = float(rng.beta(way.mix, way.mix)), torch.tensor(rng.permutation(len(some)))
                x, y = share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]
            hidden = trunk(x)
            loss = ((head(hidden) - y) ** 2).mean()
            if adversary is not None:
                who = adversary(Reversed.apply(hidden, way.adversary))
                loss = loss + 0.1 * torch.nn.functional.cross_entropy(who, torch.tensor(speakers[some]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


class Reversed(torch.autograd.Function):
    """The identity, whose gradient is turned round and scaled (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.scale * gradient, None


def order_of(train: np.ndarray, speakers, way: Way, rng) -> np.ndarray:
    order = rng.permutation(train)
    if way.by_speaker and speakers is not None:
        order = rng.permutation(order[np.unique(speakers[order], return_index=True)[1]])
    return order


def rated_faces(folder: Path, networks: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the descriptors (n, d) of the rated faces and their standardised ratings (n, 34)."""
    detector, describer = load_light_detector(), FaceDescriber(networks)
    with (folder / "attribute_means.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    names = [name for name in table[0] if name != "stimulus"]
    found, ratings = [], []
    with zipfile.ZipFile(folder / "faces.zip") as archive:
        for row in table:
            picture = np.asarray(Image.open(io.BytesIO(archive.read(f"{row['stimulus']}.jpg"))).convert("RGB"))
            if (face := align_portrait(picture, detector)) is not None:
                found.append(describer.describe(face[None])[0])
                ratings.append([float(row[name]) for name in names])
    values = np.array(ratings)
    print(f"{len(found)} rated faces, {values.shape[1]} attributes", flush=True)
    return np.stack(found), ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)


def gaussian_process(descriptors, labels, speakers, folds) -> np.ndarray:
    """Return what the face's process of face-voice-words says of each clip, fitted on the other folds."""
    settings = FaceVoiceWordsSettings()
    _, parts = fit_face_part(descriptors, np.ones(len(labels), bool), settings, 0)
    kernel = kernel_of(parts["face"].features)
    scores = np.zeros_like(labels)
    for number in range(int(folds.max()) + 1):
        train, held = np.flatnonzero(folds != number), np.flatnonzero(folds == number)
        constant, duals = fit_additive(
            {"face": kernel[np.ix_(train, train)]},
            labels[train],
            speakers[train],
            {"face": 1.0},
            settings.noise["face"],
            settings.speaker_noise,
        )
        scores[held] = constant + kernel[np.ix_(held, train)] @ duals
    return scores


if __name__ == "__main__":
    main()
