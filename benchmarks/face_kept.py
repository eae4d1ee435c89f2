"""Keeps the faces of two portraits of each training clip, in standard position, for the benchmarks that look again."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from thinslice.face_voice_words.descriptor import FaceDescriber
from thinslice.face_voice_words.portraits import align_portrait, portraits_of
from thinslice.features.face_light import load_light_detector

PICTURES = (0, 2)
"""Of a clip's portraits, in the order of their frames."""

WHOLE = (176, 176)
"""Size that whole portraits of 170 x 228, with hair and clothes, are scaled to."""


def keep_faces(portraits: Path, clips: Sequence[str], kept: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the faces, the whole portraits and their clips; found once, then read from `kept`.

    Args:
        portraits: folder of the portraits' zip files.
        clips: names.
        kept: folder; made if need be.

    Returns:
        uint8 (k, 176, 176, 3) faces as face-voice-words sees them, on disk; uint8 (k, 176, 176, 3) the portraits that
        they come from, on disk; int (k,) numbers of the clips. Portraits without a face are left out.
    """
    kept.mkdir(parents=True, exist_ok=True)
    if not (kept / "owners.npy").is_file():
        archives = sorted(portraits.glob("*.zip"))
        members, detector = portraits_of(archives), load_light_detector()
        opened = {path: zipfile.ZipFile(path) for path in archives}
        faces, wholes, owners = [], [], []
        for row, clip in enumerate(clips):
            for path, name in [members[clip][at] for at in PICTURES if at < len(members[clip])]:
                picture = Image.open(io.BytesIO(opened[path].read(name))).convert("RGB")
                if (face := align_portrait(np.asarray(picture), detector)) is not None:
                    faces.append(face)
                    wholes.append(np.asarray(picture.resize(WHOLE, Image.Resampling.BILINEAR)))
                    owners.append(row)
        np.save(kept / "faces.npy", np.stack(faces))
        np.save(kept / "wholes.npy", np.stack(wholes))
        np.save(kept / "owners.npy", np.array(owners))
    faces, wholes = (np.load(kept / f"{name}.npy", mmap_mode="r") for name in ("faces", "wholes"))
    return faces, wholes, np.load(kept / "owners.npy")


def keep_descriptors(faces: np.ndarray, networks: Path, kept: Path) -> np.ndarray:
    """Return face-voice-words' descriptors of faces (k, 176, 176, 3), float16 (k, d); computed once.

    Args:
        faces: those of `keep_faces`.
        networks: folder of ``face.onnx`` and ``picture.onnx``: that of the bundle.
        kept: folder.
    """
    path = kept / "descriptors.npy"
    if not path.is_file():
        describer = FaceDescriber(networks)
        parts = [describer.describe(np.asarray(faces[at : at + 32])) for at in range(0, len(faces), 32)]
        np.save(path, np.concatenate(parts, dtype=np.float16))
    return np.load(path)


def clip_means(rows: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return the means (n, d), float32, over the pictures (k, d) of each clip that has one, in the order of clips."""
    _, firsts, counts = np.unique(owners, return_index=True, return_counts=True)
    return np.add.reduceat(rows.astype(np.float32), firsts) / counts[:, None].astype(np.float32)


def resized(faces: np.ndarray, window: tuple[int, int], side: int) -> np.ndarray:
    """Return the part of faces (n, height, width, 3) from `window` in both axes, scaled to uint8 (n, side, side, 3)."""
    box = (window[0],) * 2 + (window[1],) * 2
    pictures = (Image.fromarray(face).resize((side, side), Image.Resampling.BILINEAR, box) for face in faces)
    return np.stack([np.asarray(picture) for picture in pictures])
