"""A face out of a picture, as emotion data sets have them, or out of a few moments of a clip; in standard position."""

import numpy as np

from thinslice.errors import MediaError, UsageError
from thinslice.features.extractor import Extractor
from thinslice.features.face_align import REFERENCES, Face, align_face
from thinslice.features.face_detect import find_faces_in_image
from thinslice.features.faces import extract_aligned_faces
from thinslice.media.source import Source


def extract_face_picture(
    source: Source, reference: str = "sphereface_112x96", num_frames: int = 1, detector: str = "landmarker"
) -> np.ndarray:
    """Return the largest face of a picture, or the main speaker's face in some frames of a video or folder.

    Where no face is found in a picture, it is looked for once more with a black border of half the picture's size on
    each side: detectors overlook faces that fill a picture, as in data sets of face crops.

    Args:
        source: a picture, or the window of a video or a folder of frames.
        reference: of `thinslice.features.face_align.REFERENCES`.
        num_frames: of a video, evenly spread; a picture has one.
        detector: "landmarker" or "mtcnn".

    Returns:
        uint8 array (1 or num_frames, height, width, 3), RGB.

    Raises:
        MediaError: the file cannot be read, or shows no face.
        UsageError: an unknown reference or detector.
        AssetError: the detector's files are not on this machine and cannot be had.
        MissingExtraError: what runs the detector is not installed.
    """
    if source.pictures is None or source.path.is_dir():
        return extract_aligned_faces(source, reference, num_frames, 1, detector)[0]
    if reference not in REFERENCES:
        raise UsageError(f"unknown face reference {reference!r}; there are {', '.join(REFERENCES)}")
    (frame,) = source.frames([0.0])
    picture = frame.image
    faces = find_faces_in_image(picture, detector)
    if not faces:
        height, width = picture.shape[:2]
        picture = np.pad(picture, ((height // 2,) * 2, (width // 2,) * 2, (0, 0)))
        faces = find_faces_in_image(picture, detector)
    if not faces:
        raise MediaError(f"{source.path}: no face is found in this picture; leave it out, or give a closer one")
    if len(faces) > 1:
        source.warn(f"{len(faces)} faces; the largest was taken")
    return align_face(picture, max(faces, key=_size).landmarks, reference)[None]


FACE_PICTURE_EXTRACTOR = Extractor(
    name="face_picture", version=2, serves=(1,), extract=extract_face_picture, extra="video"
)


def _size(face: Face) -> float:
    return face.size
