"""The main speaker's head in standard position at some moments of a clip, with the networks that travel along.

Made for what has to look the same in a small portrait and in a frame of a large video: pixels are averaged where they
shrink, and the picture's edge goes on where the crop reaches beyond it. Nothing has to be fetched or installed.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from thinslice.errors import MediaError, UsageError, counted
from thinslice.features.extractor import Extractor
from thinslice.features.face_align import REFERENCES, Face, placement
from thinslice.features.face_light import LightDetector, load_light_detector
from thinslice.features.face_sample import sample_picture
from thinslice.features.face_track import FaceTrack, follow_faces
from thinslice.features.frames import look_times
from thinslice.media.source import Source

FEW: Final = 1 / 3
"""A warning where the face is found in less than this share of the frames looked at."""

DARK: Final = 45.0
"""`brightness` below this is warned of: of 396 training portraits none was darker (lowest 48.5, median 120)."""

GREY: Final = 6.0
"""`colourfulness` below this is warned of: without colours it is 0, and no coloured one of 1,680 training portraits had
less than 6.5 (median 49)."""

_PASSING = 0.25
_SURE = 0.85  # A face found with this score stands upright: of 250 training portraits turned upside down 1 has more.
_SURER = 0.05  # None of these portraits gains as much by being turned.


def extract_face_portraits(
    source: Source, num_frames: int = 4, first_s: float = 8.0, reference: str = "portrait_176"
) -> np.ndarray:
    """Return the main speaker's head, upright and of one size, at moments spread over a clip.

    The frame in the middle of each of `num_frames` equal parts of the clip's first seconds is looked at; of still
    pictures each, or that many evenly spread. Where several people are seen, the one who is largest and most central
    over all frames is taken. Frames without this person's face are left out.

    Args:
        source: the window of a media file.
        num_frames: how many to look at.
        first_s: how much of a video to look at, seconds; the portraits of First Impressions are of the first 8 s, and
            what comes later need not be decoded.
        reference: of `thinslice.features.face_align.REFERENCES`.

    Returns:
        uint8 array (k, height, width, 3), RGB, 1 <= k <= num_frames, in time order.

    Raises:
        MediaError: the file cannot be read, has no pictures, or shows no face.
        UsageError: no frames asked for, or an unknown reference.
    """
    if reference not in REFERENCES:
        raise UsageError(f"unknown face reference {reference!r}; there are {', '.join(REFERENCES)}")
    detector = load_light_detector()
    frames: list[list[Face]] = []
    portraits: list[list[np.ndarray]] = []
    shown: np.ndarray | None = None
    for frame in source.frames(look_times(source, num_frames, first_s)):
        if frame.image is shown:  # Fewer frames than asked for: each counts once.
            continue
        shown = frame.image
        frames.append(detector.find(shown))
        portraits.append([cut_portrait(shown, face, reference) for face in frames[-1]])
    upside_down = shown is not None and is_upside_down(shown, frames[-1], detector)
    if shown is None or not any(frames):
        usual = "give a part of a video in which the speaker's face can be seen"
        remedy = "there is one upside down: turn the picture" if upside_down else usual
        raise MediaError(f"{source.path}: no face in the {counted(len(frames), 'frame')} looked at; {remedy}")
    tracks = follow_faces(frames, *shown.shape[:2])
    for line in _warnings(tracks, len(frames)):
        source.warn(line)
    places = enumerate(tracks[0].positions)
    found = np.stack([portraits[index][position] for index, position in places if position is not None])
    if brightness(found) < DARK:
        source.warn("the face is shown darker than in nearly all training clips; scores from it are less certain")
    if colourfulness(found) < GREY:
        source.warn("the face is shown without colours, unlike in most training clips; scores from it are less certain")
    if upside_down:
        source.warn("the picture seems to be upside down; turn it: scores from it as it is mean nothing")
    return found


def brightness(portraits: np.ndarray) -> float:
    """Return the mean value, 0 to 255, of the middle half of portraits (k, height, width, 3)."""
    height, width = portraits.shape[1] // 4, portraits.shape[2] // 4
    return float(portraits[:, height:-height, width:-width].mean())


def colourfulness(portraits: np.ndarray) -> float:
    """Return how far red and blue lie from green, 0 to 510, in the middle half of portraits (k, height, width, 3)."""
    height, width = portraits.shape[1] // 4, portraits.shape[2] // 4
    red, green, blue = np.moveaxis(portraits[:, height:-height, width:-width].astype(np.int16), -1, 0)
    return float(np.abs(red - green).mean() + np.abs(blue - green).mean())


def is_upside_down(image: np.ndarray, faces: Sequence[Face], detector: LightDetector) -> bool:
    """Say whether a face is found more surely in a picture (height, width, 3) turned by half.

    Args:
        image: uint8, RGB.
        faces: found in it as it is; the picture is turned only where none of them is sure.
        detector: finds faces.
    """
    sure = max((face.score for face in faces), default=0.0)
    if sure >= _SURE:
        return False
    turned = detector.find(np.ascontiguousarray(image[::-1, ::-1]))
    return max((face.score for face in turned), default=0.0) > sure + _SURER


FACE_PORTRAITS_EXTRACTOR = Extractor(name="face_portraits", version=1, extract=extract_face_portraits, extra="video")


def cut_portrait(image: np.ndarray, face: Face, reference: str = "portrait_176") -> np.ndarray:
    """Return a face moved, turned and scaled so that its landmarks lie where a reference has them.

    Unlike `thinslice.features.face_align.align_face` it averages pixels where it makes the picture smaller, lets the
    picture's edge go on outside it, and needs no OpenCV.

    Args:
        image: uint8 (height, width, 3).
        face: one found in it.
        reference: a name in `REFERENCES`.

    Returns:
        uint8 (height, width, 3) of the reference's size.
    """
    size = REFERENCES[reference]
    return sample_picture(image, placement(face.landmarks, reference), size.height, size.width, extend=True)


def _warnings(tracks: Sequence[FaceTrack], num_frames: int) -> list[str]:
    lines = []
    num_people = sum(track.num_seen > num_frames * _PASSING for track in tracks)
    if num_people > 1:
        lines.append(f"{num_people} people; the largest and most central face was followed")
    if tracks[0].num_seen < num_frames * FEW:
        lines.append(f"the speaker's face is found in {tracks[0].num_seen} of the {num_frames} frames looked at")
    return lines
