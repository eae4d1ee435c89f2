"""What the trainer sees of the training clips: their portraits, put into standard position and described.

A portrait is a crop that somebody cut around a face already, so the mesh is fitted where a face usually is in one, and
the detector is asked only where that finds none.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from thinslice.errors import ManifestError
from thinslice.face_voice_words.descriptor import BLOCKS, FaceDescriber
from thinslice.features.face_boxes import mesh_face, mesh_point
from thinslice.features.face_light import LightDetector, load_light_detector
from thinslice.features.face_portraits import cut_portrait

USUAL_BOX = np.array([[60.0, 35.0], [140.0, 145.0]])  # Where faces are in portraits of 170 x 228 pixels.
USUAL_EYES = np.array([[81.0, 70.0], [119.0, 70.0]])
SURE = 0.9


def look_at_portraits(
    archives: Sequence[Path], clips: Sequence[str], describer: FaceDescriber
) -> tuple[np.ndarray, np.ndarray]:
    """Describe the faces of clips from their portraits.

    Every second picture of a clip, in the order of their names, is looked at in its mirror image: the mean over a clip
    sees both sides, at the cost of one.

    Args:
        archives: zip files with ``.../CLIP/NUMBER.jpg``.
        clips: names, such as ``x.003.mp4``.
        describer: the networks.

    Returns:
        float16 (n, sum of `BLOCKS`), the mean over a clip's pictures that show a face, zero where there are none; and
        int (n,), how many those were.

    Raises:
        ManifestError: a clip has no portrait.
    """
    members = portraits_of(archives)
    missing = [clip for clip in clips if clip not in members]
    if missing:
        raise ManifestError(f"{missing[0]} and {len(missing) - 1} more clips have no portrait in {archives[0].parent}")
    rows = np.zeros((len(clips), sum(BLOCKS.values())), np.float16)
    counts = np.zeros(len(clips), int)
    detector = load_light_detector()
    for row, clip in enumerate(clips):
        faces = []
        for number, picture in enumerate(_pictures(members[clip])):
            face = align_portrait(picture, detector)
            if face is not None:
                faces.append(face[:, ::-1] if number % 2 else face)
        if faces:
            rows[row] = describer.describe(np.stack(faces)).mean(axis=0)
            counts[row] = len(faces)
    return rows, counts


def portraits_of(archives: Sequence[Path]) -> dict[str, list[tuple[Path, str]]]:
    """Return clip -> its portraits, as (archive, name), in the order of their names."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".jpg"):
                    found.setdefault(name.split("/")[-2], []).append((path, name))
    return found


def align_portrait(picture: np.ndarray, detector: LightDetector) -> np.ndarray | None:
    """Return the face of a portrait in standard position, uint8 (176, 176, 3), or None where none is found.

    Args:
        picture: uint8 (height, width, 3), RGB.
        detector: finds the face.
    """
    mesh, presence = detector.fit_mesh(picture, *USUAL_BOX, *USUAL_EYES)
    if presence >= SURE:
        eyes = mesh_point(mesh, "left_eye"), mesh_point(mesh, "right_eye")
        mesh, presence = detector.fit_mesh(picture, mesh.min(axis=0), mesh.max(axis=0), *eyes)
    if presence >= SURE:
        return cut_portrait(picture, mesh_face(mesh, presence))
    faces = detector.find(picture)
    return cut_portrait(picture, max(faces, key=lambda face: face.size)) if faces else None


def _pictures(members: Sequence[tuple[Path, str]]) -> Iterator[np.ndarray]:
    from PIL import Image

    for path, name in members:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(name)
        yield np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
