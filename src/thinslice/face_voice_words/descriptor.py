"""What the model sees in a face: two fixed networks' inner maps, averaged over a grid.

A picture of 176 x 176 in standard position becomes one long row of numbers, in `BLOCKS`. The networks were trained by
others for other ends (recognising faces, their age and gender; telling objects apart) and were not changed. Since the
face is in standard position, a place of the grid is a place of the face.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.errors import BundleError, reason_of

SIZE: Final = 176
"""Side of a picture, pixels: reference "portrait_176" of `thinslice.features.face_align.REFERENCES`."""

NETWORKS: Final[Mapping[str, Mapping[str, int]]] = {
    "face.onnx": {"face_pooled": 1024, "face_middle": 4608},
    "picture.onnx": {"picture_7": 4000, "picture_10": 5600},
}
"""File in the bundle -> its outputs and how many numbers each gives of a picture."""

BLOCKS: Final[Mapping[str, int]] = {name: length for blocks in NETWORKS.values() for name, length in blocks.items()}
"""Blocks of a descriptor in order, and their lengths."""


class FaceDescriber:
    """The two networks, loaded.

    Args:
        folder: the bundle's, with the files of `NETWORKS`.
        threads: that ONNX Runtime may use; None for its default.

    Raises:
        BundleError: a network is missing or not what it should be.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._sessions: dict[str, Any] = {}
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        for name in NETWORKS:
            path = Path(folder) / name
            try:
                self._sessions[name] = onnxruntime.InferenceSession(
                    str(path), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # ONNX Runtime raises many types of its own, all meaning: unusable graph
                reason = reason_of(error)
                raise BundleError(f"{path}: ONNX Runtime cannot load it ({reason}); install it again") from None

    def describe(self, faces: np.ndarray) -> np.ndarray:
        """Return float32 (k, sum of `BLOCKS`): one row of each picture, as it is.

        Args:
            faces: uint8 (k, 176, 176, 3), RGB, in standard position.
        """
        parts: list[np.ndarray] = []
        for name, outputs in NETWORKS.items():
            parts += self._sessions[name].run(list(outputs), {"faces": np.ascontiguousarray(faces)})
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def describe_both_ways(self, faces: np.ndarray) -> np.ndarray:
        """Return float32 (k, sum of `BLOCKS`): the mean of each picture's row and of its mirror image's.

        The last answer is kept, so that explaining a prediction does not look again.
        """
        last = self._last
        if last is None or not np.array_equal(last[0], faces):
            rows = self.describe(np.concatenate([faces, faces[:, :, ::-1]]))
            last = self._last = (faces.copy(), (rows[: len(faces)] + rows[len(faces) :]) / 2)
        return last[1]
