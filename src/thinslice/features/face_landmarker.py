"""MediaPipe's face landmarker, run on LiteRT: faces and their landmarks in one picture.

Google's `face_landmarker.task` is a zip of TensorFlow Lite networks: a short-range BlazeFace detector (Bazarevsky et
al. 2019) and a face mesh of 478 points (Kartynnik et al. 2019). MediaPipe's own runtime is not used, because its wheels
since 0.10.30 report each use to a server of Google's (issue 6291 of google-ai-edge/mediapipe; seen in a system-call
trace of 1.2.2), and thinslice promises that nothing leaves the machine. What MediaPipe does around the two networks is
written down here; on real clips the landmarks are MediaPipe's to a few hundredths of a pixel (docs/faces.md).
"""

import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.errors import AssetError, MissingExtraError
from thinslice.features.face_align import Face, Point
from thinslice.features.face_boxes import anchor_centres, merge_detections, mesh_face, place_detections
from thinslice.media.pictures import opencv

MIN_SCORE: Final = 0.5
"""A detection less sure than this is dropped, and so is a mesh; MediaPipe's defaults."""

MAX_FACES: Final = 8
"""Of a crowd, only so many of the surest detections are looked at more closely."""

_DETECTOR_SIZE = 128
_MESH_SIZE = 256
_MESH_MARGIN = 1.5  # The mesh looks at a square this much larger than the detected box.


class Landmarker:
    """The two networks, loaded. May be used by several threads, which then wait for each other.

    Args:
        path: `face_landmarker.task`.
        num_threads: that one picture may use.

    Raises:
        MissingExtraError: LiteRT or OpenCV is not installed.
        AssetError: the file is not what it should be.
    """

    def __init__(self, path: Path, num_threads: int = 2) -> None:
        self._cv2 = opencv()
        try:
            with zipfile.ZipFile(path) as archive:
                detector, mesh = (
                    archive.read(f"{name}.tflite") for name in ("face_detector", "face_landmarks_detector")
                )
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise AssetError(f"{path}: is not MediaPipe's face landmarker ({error}); download it again") from None
        self._detector = TfliteNetwork(detector, num_threads)
        self._mesh = TfliteNetwork(mesh, num_threads)
        self._anchors = anchor_centres()

    def find(self, image: np.ndarray, window: tuple[float, float, float] | None = None) -> list[Face]:
        """Return the faces in a picture, the surest first.

        Args:
            image: uint8 (height, width, 3), RGB.
            window: left, top, side of the square to search, pixels; None for all. A face narrower than about a
                twelfth of the side is overlooked.
        """
        if window is None:
            height, width = image.shape[:2]
            side = max(height, width)
            window = ((width - side) / 2, (height - side) / 2, side)
        faces = []
        for score, points in self._detect(image, *window)[:MAX_FACES]:
            mesh, presence = self._fit_mesh(image, points)
            if presence >= MIN_SCORE:
                faces.append(mesh_face(mesh, min(score, presence)))
        return sorted(faces, key=lambda face: -face.score)

    def _detect(self, image: np.ndarray, left: float, top: float, side: float) -> list[tuple[float, np.ndarray]]:
        """Return (score, float64 (8, 2) points) of detections: two corners of the box, eyes, nose, mouth, ears."""
        centre = (left + side / 2, top + side / 2)
        pixels = self._sample(image, centre, side, 0.0, _DETECTOR_SIZE, self._cv2.BORDER_CONSTANT)
        regressors, logits = self._detector(pixels.astype(np.float32) / 127.5 - 1)
        if regressors.shape[-1] == 1:
            regressors, logits = logits, regressors
        scores = _expit(logits[0, :, 0])
        sure = scores >= MIN_SCORE
        if not sure.any():
            return []
        points = place_detections(regressors[0, sure] / _DETECTOR_SIZE, self._anchors[sure])
        return merge_detections(scores[sure], (points - 0.5) * side + centre)

    def _fit_mesh(self, image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
        """Return float64 (478, 2) mesh points and how sure the network is that they are a face."""
        (left, top), (right, bottom), left_eye, right_eye = points[:4]
        turn = float(np.arctan2(right_eye[1] - left_eye[1], right_eye[0] - left_eye[0]))
        side = max(right - left, bottom - top) * _MESH_MARGIN
        centre = ((left + right) / 2, (top + bottom) / 2)
        pixels = self._sample(image, centre, side, turn, _MESH_SIZE, self._cv2.BORDER_REPLICATE)
        outputs = self._mesh(pixels.astype(np.float32) / 255)
        coordinates = next(output for output in outputs if output.size == 478 * 3)
        presence = next(output for output in outputs if output.shape == (1, 1, 1, 1))
        mesh = coordinates.reshape(478, 3)[:, :2].astype(np.float64) / _MESH_SIZE - 0.5
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return mesh @ rotation * side + centre, float(_expit(presence.item()))

    def _sample(self, image: np.ndarray, centre: Point, side: float, turn: float, size: int, border: int) -> np.ndarray:
        """Return a turned square of a picture as uint8 (size, size, 3), placed as MediaPipe places it.

        Its first pixel shows the square's corner itself, not the middle of the corner's cell.
        """
        step = side / size
        cosine, sine = np.cos(turn), np.sin(turn)
        matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]]) * step
        matrix[:, 2] = centre - matrix[:, :2] @ np.array([size / 2, size / 2])
        flags = self._cv2.INTER_LINEAR | self._cv2.WARP_INVERSE_MAP
        return np.asarray(self._cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=border))


class TfliteNetwork:
    """A TensorFlow Lite network of one input and several outputs: takes an input without its batch axis of 1.

    Args:
        content: the file's.
        num_threads: that one input may use.

    Raises:
        MissingExtraError: LiteRT is not installed.
    """

    def __init__(self, content: bytes, num_threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise MissingExtraError("looking at faces", "video") from None
        with _silent_stderr():  # LiteRT announces its CPU kernels there.
            self._interpreter: Any = Interpreter(model_content=content, num_threads=num_threads)
            self._interpreter.allocate_tensors()
        self._lock = threading.Lock()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]

    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Return all outputs, with their batch axes, of a float32 input."""
        with self._lock:
            self._interpreter.set_tensor(self._input, pixels[None])
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index) for index in self._outputs]


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send what native code writes to file descriptor 2 nowhere, for a moment."""
    try:
        saved = os.dup(2)
    except OSError:  # No standard error at all, as in some services: nothing to silence.
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _expit(values: Any) -> Any:
    from scipy.special import expit

    return expit(values)
