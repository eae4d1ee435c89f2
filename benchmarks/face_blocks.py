"""Compares single descriptors of a face, each by one radial kernel; dlib's face descriptor may be one of them.

    python benchmarks/face_blocks.py DATA PORTRAITS DESCRIPTORS [--dlib FILE.npz]

DATA is the folder of `thinslice.voice_words.trainer.FILES`, PORTRAITS that of the portraits' zip files, DESCRIPTORS
what the trainer of face-voice-words keeps. FILE.npz keeps dlib's 128 numbers (ResNet-29 on faces, CC0), of the first
portrait of each clip; it is made where it is absent, which needs `dlib-bin` and `face_recognition_models` and takes
ten minutes. As in face_learners.py each clip is left out in closed form; gamma 1.6, the noise that is best for unseen
speakers out of 2 and 4.
"""

import argparse
import io
import zipfile
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from face_learners import leave_out, report
from thinslice.evaluate.metrics import r2
from thinslice.face_voice_words.descriptor import BLOCKS
from thinslice.face_voice_words.portraits import USUAL_BOX, portraits_of
from thinslice.features.face_light import load_light_detector
from thinslice.traits import TRAITS
from thinslice.voice_words.trainer import load_training_data

NOISES = (2.0, 4.0)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("data", "portraits", "descriptors"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--dlib", type=Path)
    given = parser.parse_args()
    data = load_training_data(given.data)
    with np.load(given.descriptors) as file:
        descriptors, counts = file["descriptors"], file["counts"]
    blocks = {
        name: descriptors[:, start:end].astype(np.float32)
        for name, (start, end) in zip(BLOCKS, pairwise(np.cumsum([0, *BLOCKS.values()])), strict=True)
    }
    if given.dlib is not None:
        if not given.dlib.is_file():
            np.savez(given.dlib, rows=dlib_rows(given.portraits, data.clips))
        with np.load(given.dlib) as file:
            blocks["dlib"] = file["rows"]
    there = np.flatnonzero((counts > 0) & np.all([np.isfinite(rows).all(axis=1) for rows in blocks.values()], axis=0))
    labels, speakers = data.labels[there], data.speakers[there]
    print(len(there), "clips")
    kernels = {name: radial(rows[there]) for name, rows in blocks.items()}
    if "dlib" in kernels:
        kernels["the four of face-voice-words"] = np.mean([kernels[name] for name in BLOCKS], axis=0)
        kernels["these and dlib"] = (4 * kernels["the four of face-voice-words"] + kernels["dlib"]) / 5
    for name, kernel in kernels.items():
        found = [leave_out(np.float32(3) * kernel, labels, speakers, noise, 0.05) for noise in NOISES]
        traits = slice(0, len(TRAITS))
        best = int(np.argmax([r2(labels, way["unseen"])[traits].mean() for way in found]))
        report(f"{name:30s} noise {NOISES[best]:g}", labels, found[best])


def radial(rows: np.ndarray) -> np.ndarray:
    """Return exp(-1.6 squared distance / its mean) of standardised rows."""
    rows = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + np.float32(1e-6))
    inner = rows @ rows.T
    length = np.diag(inner)
    distances = np.maximum(length[:, None] + length[None] - 2 * inner, 0)
    return np.exp(-1.6 * distances / distances.mean())


def dlib_rows(portraits: Path, clips: tuple[str, ...]) -> np.ndarray:
    """Return float32 (n, 128), rows of NaN where no face is found in a clip's first portrait."""
    import dlib

    spec = find_spec("face_recognition_models")
    models = Path(next(iter(spec.submodule_search_locations))) / "models"
    predictor = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
    detector = load_light_detector()
    members = portraits_of(sorted(portraits.glob("*.zip")))
    rows = np.full((len(clips), 128), np.nan, np.float32)
    for row, clip in enumerate(clips):
        archive, name = members[clip][0]
        with zipfile.ZipFile(archive) as file:
            picture = np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGB"))
        faces = detector.find(picture)
        if not faces:
            continue
        face = max(faces, key=lambda face: face.size)
        eyes = np.array([face.landmarks["left_eye"], face.landmarks["right_eye"]])
        middle, apart = eyes.mean(axis=0), np.linalg.norm(eyes[1] - eyes[0])
        side = (USUAL_BOX[1] - USUAL_BOX[0])[0] / 38 * apart  # As wide as faces are for the eyes' distance.
        left, top = middle[0] - side / 2, middle[1] - 0.35 * side
        box = dlib.rectangle(int(left), int(top), int(left + side), int(top + side))
        rows[row] = network.compute_face_descriptor(picture, predictor(picture, box))
    return rows


if __name__ == "__main__":
    main()
