"""What the model sees in a face: two fixed networks' inner maps, averaged over a grid, edges, and colours.

A picture of 176 x 176 in standard position becomes one long row of numbers, in `BLOCKS`. The networks were trained by
others for other ends (recognising faces, their age and gender; telling objects apart) and were not changed. Since the
face is in standard position, a place of the grid is a place of the face.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.errors import BundleError

SIZE: Final = 176
"""Side of a picture, pixels: reference "portrait_176" of `thinslice.features.face_align.REFERENCES`."""

NETWORKS: Final[Mapping[str, Mapping[str, int]]] = {
    "face.onnx": {"face_pooled": 1024, "face_late": 9216, "face_middle": 4608},
    "picture.onnx": {"picture_7": 4000, "picture_10": 5600},
}
"""File in the bundle -> its outputs and how many numbers each gives of a picture."""

BLOCKS: Final[Mapping[str, int]] = {
    **NETWORKS["face.onnx"],
    **NETWORKS["picture.onnx"],
    "edges": 2304,
    "colours": 1452,
}
"""Blocks of a descriptor in order, and their lengths."""

_CELL = 8  # Pixels of a cell of the edges, and of the colours.
_EDGE_WINDOW = slice(24, 152)  # The edges look at the face alone.
_NUM_BINS = 9
_EDGE_LIMIT = 0.3


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
                reason = str(error).splitlines()[0]
                raise BundleError(f"{path}: ONNX Runtime cannot load it ({reason}); install it again") from None

    def describe(self, faces: np.ndarray) -> np.ndarray:
        """Return float32 (k, sum of `BLOCKS`): one row of each picture, as it is.

        Args:
            faces: uint8 (k, 176, 176, 3), RGB, in standard position.
        """
        parts = []
        for name, outputs in NETWORKS.items():
            found = self._sessions[name].run(list(outputs), {"faces": np.ascontiguousarray(faces)})
            parts += [part.reshape(len(faces), -1) for part in found]
        return np.concatenate([*parts, edges(faces), colours(faces)], axis=1, dtype=np.float32)

    def describe_both_ways(self, faces: np.ndarray) -> np.ndarray:
        """Return float32 (k, sum of `BLOCKS`): the mean of each picture's row and of its mirror image's.

        The last answer is kept, so that explaining a prediction does not look again.
        """
        if self._last is not None and np.array_equal(self._last[0], faces):
            return self._last[1]
        rows = self.describe(np.concatenate([faces, faces[:, :, ::-1]]))
        both = np.asarray((rows[: len(faces)] + rows[len(faces) :]) / 2)
        self._last = (faces.copy(), both)
        return both


def edges(faces: np.ndarray) -> np.ndarray:
    """Return float32 (k, 2304): histograms of the directions of brightness' gradients in cells of 8 x 8 pixels.

    Each cell is divided by the length of its neighbourhood of 3 x 3 cells, and cut (after Dalal and Triggs 2005,
    "Histograms of oriented gradients for human detection", section 6).
    """
    grey = faces[:, _EDGE_WINDOW, _EDGE_WINDOW].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    size = np.hypot(across, down)
    direction = (np.arctan2(down, across) / np.float32(np.pi)) % 1 * _NUM_BINS
    below = np.floor(direction)
    share = direction - below
    number = grey.shape[1] // _CELL
    cells = np.zeros((len(faces), number, number, _NUM_BINS), np.float32)
    for place in range(_NUM_BINS):
        part = np.where(below % _NUM_BINS == place, size * (1 - share), 0)
        part += np.where((below + 1) % _NUM_BINS == place, size * share, 0)
        cells[..., place] = part.reshape(-1, number, _CELL, number, _CELL).sum(axis=(2, 4))
    energy = np.pad((cells**2).sum(axis=-1), ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(energy[:, y : y + number, x : x + number] for y in range(3) for x in range(3))
    result = np.minimum(cells / np.sqrt(around + 1e-3)[..., None], _EDGE_LIMIT)
    return np.asarray(result.reshape(len(faces), -1), np.float32)


def colours(faces: np.ndarray) -> np.ndarray:
    """Return float32 (k, 1452): the mean colour of cells of 8 x 8 pixels, in [0, 1]."""
    number = SIZE // _CELL
    cells = faces.reshape(-1, number, _CELL, number, _CELL, 3).mean(axis=(2, 4), dtype=np.float32) / 255
    return np.asarray(cells.reshape(len(faces), -1), np.float32)
