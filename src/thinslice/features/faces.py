"""The main speaker's face through a clip: found in a few frames, followed, cut out in a standard position.

The one implementation for every system that looks at faces. docs/faces.md has the choices and what they were
measured on.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from thinslice.errors import MediaError, UsageError, counted
from thinslice.features.extractor import Extractor
from thinslice.features.face_align import REFERENCES, Face, align_face, crop_box
from thinslice.features.face_detect import find_faces_in_image
from thinslice.features.face_track import FaceTrack, follow_faces
from thinslice.features.frames import frame_times
from thinslice.media.source import Source

BOX: Final = "box"
"""The reference that is no alignment: an upright square around the face."""

MIN_SEEN: Final = 1 / 3
"""The no-face policy: in at least this share of the frames looked at, the main speaker's face must be found."""

SMALL_EYE_DISTANCE: Final = 23.0
"""Eyes nearer together than this, pixels, are half as far apart as in OpenFace's crop: a warning."""

_PASSING = 0.1


def find_faces(source: Source, times_s: Sequence[float], detector: str = "landmarker") -> list[FaceTrack]:
    """Find the people in a source and follow their faces.

    Args:
        source: the window of a media file; its pictures are decoded in order.
        times_s: ascending times to look at, seconds from the window's start.
        detector: "landmarker" (MediaPipe's, 478 points) or "mtcnn" (five points).

    Returns:
        One track per person, the main speaker first: the largest and most central over the frames. Empty where
        there is no face.

    Raises:
        MediaError: the file cannot be read, or has no pictures.
        UsageError: an unknown detector.
        AssetError: the detector's files are not on this machine and cannot be had.
        MissingExtraError: what runs the detector is not installed.
    """
    return _look(source, times_s, detector, None)[0]


def extract_face_crops(
    source: Source,
    times_s: Sequence[float],
    reference: str = "openface_112",
    detector: str = "landmarker",
    size: int = 224,
    margin: float = 0.2,
    min_seen: float = MIN_SEEN,
) -> np.ndarray:
    """Return the main speaker's face at given times.

    The no-face policy: a frame in which the face is not found shows it as in the nearest frame (the earlier of two)
    in which it is, and a warning is added to the source. Where it is found in fewer than `min_seen` of the
    frames, that is an error. Where several people are seen, the largest and most central is followed, with a warning.

    Args:
        source: the window of a media file.
        times_s: ascending times, seconds from the window's start.
        reference: "openface_112", "sphereface_112x96" (see `face_align.REFERENCES`), or "box".
        detector: "landmarker" or "mtcnn".
        size: side of the crop, pixels; for "box" only.
        margin: what a box gets on each side, as a share of its longer side; for "box" only.
        min_seen: share of the frames in which the face must be found, in [0, 1]; one frame at least.

    Returns:
        uint8 array (len(times_s), height, width, 3), RGB, not masked, black outside the frame.

    Raises:
        MediaError: the file cannot be read, has no pictures, no face, or too few.
        UsageError: no times, or an unknown reference or detector.
        AssetError: the detector's files are not on this machine and cannot be had.
        MissingExtraError: what runs the detector is not installed.
    """
    if reference != BOX and reference not in REFERENCES:
        raise UsageError(f"unknown face reference {reference!r}; there are {', '.join(REFERENCES)} and {BOX}")
    if not len(times_s):
        raise UsageError("no times to look for a face at; give one or more")

    def cut(image: np.ndarray, face: Face) -> np.ndarray:
        if reference == BOX:
            return crop_box(image, face.box, size, margin)
        return align_face(image, face.landmarks, reference)

    tracks, crops = _look(source, times_s, detector, cut)
    num_frames = len(times_s)
    if not tracks:
        raise MediaError(
            f"{source.path}: no face in the {counted(num_frames, 'frame')} looked at; "
            "give a part of a video in which the speaker's face can be seen"
        )
    track = tracks[0]
    needed = max(int(np.ceil(min_seen * num_frames - 1e-9)), 1)
    if track.num_seen < needed:
        raise MediaError(
            f"{source.path}: the speaker's face is found in {track.num_seen} of the {counted(num_frames, 'frame')} "
            f"looked at, not in {needed} as needed; give the part in which it can be seen (--start, --end)"
        )
    for line in _warnings(tracks, times_s):
        source.warn(line)
    return np.stack([_crop(crops, track, index) for index in stand_ins(track)])


def extract_aligned_faces(
    source: Source,
    reference: str = "openface_112",
    num_parts: int = 6,
    draws: int = 3,
    detector: str = "landmarker",
    size: int = 224,
    margin: float = 0.2,
    min_seen: float = MIN_SEEN,
) -> np.ndarray:
    """Return the main speaker's face in equal parts of a clip, several times over.

    The clip is cut into num_parts * draws equal pieces, and the frame in the middle of each is taken: draw d looks at
    piece d of every part. So every draw sees each part once, no two draws see the same frame, and the choice is
    always the same.

    Args:
        source: the window of a media file.
        reference: as in `extract_face_crops`; the other arguments too.
        num_parts: equal parts of the clip, each of which one draw sees once.
        draws: frames of each part.
        detector: as in `extract_face_crops`.
        size: as in `extract_face_crops`.
        margin: as in `extract_face_crops`.
        min_seen: as in `extract_face_crops`.

    Returns:
        uint8 array (draws, num_parts, height, width, 3), RGB.

    Raises:
        MediaError: the file cannot be read, has no pictures, no face, or too few.
        UsageError: parts or draws below 1, or an unknown reference or detector.
        AssetError: the detector's files are not on this machine and cannot be had.
        MissingExtraError: what runs the detector is not installed.

    Deviations:
        Subramaniam et al. (2016), CR-Net (section 3.1.1) and PersEmoN (section III-B) take one random frame of each
        part; here the draws are fixed, so that a prediction can be repeated. Training picks among them at random.
    """
    if num_parts < 1 or draws < 1:
        raise UsageError(f"{num_parts} parts and {draws} draws of faces; both must be 1 or more")
    times = frame_times(source.duration_s, num_parts * draws)
    crops = extract_face_crops(source, list(times), reference, detector, size, margin, min_seen)
    return np.ascontiguousarray(crops.reshape(num_parts, draws, *crops.shape[1:]).swapaxes(0, 1))


ALIGNED_FACES_EXTRACTOR = Extractor(
    name="aligned_faces", version=2, serves=(1,), extract=extract_aligned_faces, extra="video"
)


def stand_ins(track: FaceTrack) -> list[int]:
    """Return, for each frame, the nearest in which the track's face was found; the earlier of two equally near."""
    seen = np.flatnonzero([face is not None for face in track.faces])
    return [int(seen[np.argmin(np.abs(seen - index))]) for index in range(len(track.faces))]


_Crops = list[list[np.ndarray]]
_Cut = Callable[[np.ndarray, Face], np.ndarray]


def _look(source: Source, times_s: Sequence[float], detector: str, cut: _Cut | None) -> tuple[list[FaceTrack], _Crops]:
    """Return the tracks and, of each frame, what `cut` made of each face; one frame is in memory at a time."""
    frames: list[list[Face]] = []
    crops: _Crops = []
    shown: np.ndarray | None = None
    height = width = 0
    for frame in source.frames(times_s):
        if frame.image is not shown:  # More times than frames: the same one is shown again.
            shown = frame.image
            height, width = shown.shape[:2]
            faces = find_faces_in_image(shown, detector, frames[-1] if frames else ())
            cuts = [cut(shown, face) for face in faces] if cut else []
        frames.append(faces)
        crops.append(cuts)
    return follow_faces(frames, height, width), crops


def _crop(crops: _Crops, track: FaceTrack, index: int) -> np.ndarray:
    position = track.positions[index]
    assert position is not None  # `stand_ins` gives only frames in which the face was found.
    return crops[index][position]


def _warnings(tracks: Sequence[FaceTrack], times_s: Sequence[float]) -> list[str]:
    """Return what a careful user wants to know about the faces, one line each."""
    track = tracks[0]
    lines = []
    passing = len(times_s) * _PASSING  # Seen in no more frames: a passer-by, or something that resembles a face.
    people = [other.faces for other in tracks if other is track or other.num_seen > passing]
    num_people = max(sum(face is not None for face in faces) for faces in zip(*people, strict=True))
    if num_people > 1:
        lines.append(f"up to {num_people} faces in one frame; the largest and most central was followed")
    missing = [time for time, face in zip(times_s, track.faces, strict=True) if face is None]
    if missing:
        lines.append(
            f"the speaker's face is found in {track.num_seen} of {len(times_s)} frames looked at (not at "
            f"{_spans(missing, times_s)}); the nearest one that shows it stands in"
        )
    if track.num_pieces > 1:
        lines.append("the face jumps, as after a cut; all of it was taken for one person")
    distance = float(np.median([face.eye_distance for face in track.faces if face is not None]))
    if distance < SMALL_EYE_DISTANCE:
        lines.append(f"the face is small (eyes {distance:.0f} pixels apart); a closer picture shows more")
    return lines


def _spans(missing: Sequence[float], times_s: Sequence[float]) -> str:
    """Return times in words: runs of neighbouring ones as from-to."""
    runs: list[list[float]] = []
    for time in missing:
        if runs and list(times_s).index(time) == list(times_s).index(runs[-1][-1]) + 1:
            runs[-1].append(time)
        else:
            runs.append([time])
    spans = [f"{run[0]:.1f}" if len(run) == 1 else f"{run[0]:.1f}-{run[-1]:.1f}" for run in runs]
    return ", ".join(spans[:3]) + (" and more" if len(spans) > 3 else "") + " s"
