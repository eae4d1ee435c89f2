"""A face detector and face mesh that travel with the package: 1.6 MB, ONNX Runtime and NumPy alone.

The networks are Google's BlazeFace (back camera; Bazarevsky et al. 2019) and face mesh of 468 points (Kartynnik et al.
2019), Apache License 2.0, as ``@vladmandic/human`` carries them. ``benchmarks/make_face_networks.py`` makes the two
ONNX files out of that package. What lies around the networks is as in `thinslice.features.face_landmarker`.
"""

import os
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import numpy as np

from thinslice.features.face_align import Face
from thinslice.features.face_boxes import anchor_centres, merge_detections, mesh_face, mesh_point, place_detections
from thinslice.features.face_sample import sample_picture

MIN_SCORE: Final = 0.5
"""A detection less sure than this is dropped, and so is a mesh."""

MAX_FACES: Final = 4
"""Of a crowd, only so many of the surest detections are looked at more closely."""

_DETECTOR_SIZE = 256
_MESH_SIZE = 192
_MESH_MARGIN = 1.5
_NUM_POINTS = 468


class LightDetector:
    """The two networks, loaded; several threads may use them."""

    def __init__(self) -> None:
        self._detector = _session("face_detector.onnx")
        self._mesh = _session("face_mesh.onnx")
        self._anchors = anchor_centres()

    def find(self, image: np.ndarray) -> list[Face]:
        """Return the faces in a picture, the surest first.

        Args:
            image: uint8 (height, width, 3), RGB.

        Deviations:
            MediaPipe fits the mesh once to what the detector gives. Here a second fit looks at the square around the
            first mesh, as MediaPipe does in the next frame of a video, so that a face is placed alike whatever the
            detector was shown.
        """
        faces = []
        for score, points in self._detect(image)[:MAX_FACES]:
            left_eye, right_eye = points[2:4]
            mesh, presence = self.fit_mesh(image, points[0], points[1], left_eye, right_eye)
            if presence >= MIN_SCORE:
                low, high = mesh.min(axis=0), mesh.max(axis=0)
                eyes = mesh_point(mesh, "left_eye"), mesh_point(mesh, "right_eye")
                mesh, presence = self.fit_mesh(image, low, high, *eyes)
            if presence >= MIN_SCORE:
                faces.append(mesh_face(mesh, min(score, presence)))
        return sorted(faces, key=lambda face: -face.score)

    def _detect(self, image: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Return (score, float64 (8, 2) points) of detections: two corners of the box, eyes, nose, mouth, ears."""
        height, width = image.shape[:2]
        step = max(height, width) / _DETECTOR_SIZE
        corner = np.array([width, height]) / 2 - max(height, width) / 2
        matrix = np.column_stack([np.eye(2) * step, corner + (step - 1) / 2])
        pixels = sample_picture(image, matrix, _DETECTOR_SIZE, _DETECTOR_SIZE)
        outputs = self._detector.run(
            ["scores_fine", "scores_coarse", "places_fine", "places_coarse"],
            {"input": _network_input(pixels) / np.float32(127.5) - np.float32(1)},
        )
        logits = np.concatenate(outputs[:2], axis=1)[0, :, 0].astype(np.float64)
        sure = logits >= np.log(MIN_SCORE / (1 - MIN_SCORE))
        if not sure.any():
            return []
        places = np.concatenate(outputs[2:], axis=1)[0, sure] / _DETECTOR_SIZE
        points = place_detections(places, self._anchors[sure]) * max(height, width) + corner - 0.5
        return merge_detections(1 / (1 + np.exp(-logits[sure])), points)

    def fit_mesh(
        self, image: np.ndarray, low: np.ndarray, high: np.ndarray, left_eye: np.ndarray, right_eye: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return float64 (468, 2) mesh points and how sure the network is that they are a face."""
        turn = float(np.arctan2(right_eye[1] - left_eye[1], right_eye[0] - left_eye[0]))
        side = float((high - low).max()) * _MESH_MARGIN
        centre = (low + high) / 2
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = rotation * (side / _MESH_SIZE)
        offset = centre - linear @ np.full(2, (_MESH_SIZE - 1) / 2)
        pixels = sample_picture(image, np.column_stack([linear, offset]), _MESH_SIZE, _MESH_SIZE, extend=True)
        coordinates, presence = self._mesh.run(
            ["mesh", "presence"], {"input_1": _network_input(pixels) / np.float32(255)}
        )
        # The network counts from the corner of the first pixel.
        mesh = coordinates.reshape(_NUM_POINTS, 3)[:, :2].astype(np.float64) - 0.5
        return mesh @ linear.T + offset, float(presence.item())


@lru_cache(maxsize=1)
def load_light_detector() -> LightDetector:
    """Return the detector, loaded once."""
    return LightDetector()


def _session(name: str) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = (files("thinslice.features") / "networks" / name).read_bytes()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _network_input(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
