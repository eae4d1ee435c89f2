"""MTCNN as a face detector of thinslice."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from thinslice.features.face_align import Face
from thinslice.features.mtcnn import Mtcnn
from thinslice.formats.torch_pickle import load_weights

_LARGE = 1 / 8  # A face is first looked for from this share of the picture's shorter side up ...
_SMALL = 1 / 24  # ... and, where none is found, from this share up.
_POINTS = ("left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right")


class MtcnnDetector:
    """MTCNN, loaded.

    Args:
        files: `pnet.pt`, `rnet.pt` and `onet.pt` -> where they are.

    Raises:
        AssetError: a file is not what it should be.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._networks = Mtcnn({name: load_weights(files[f"{name}.pt"]) for name in ("pnet", "rnet", "onet")})

    def find(self, image: np.ndarray) -> list[Face]:
        """Return the faces in a uint8 (height, width, 3) RGB picture, the surest first.

        Deviations:
            Small faces are looked for only where there is no large one, which takes a third of the time.
        """
        side = min(image.shape[:2])
        found = self._networks.detect(image, side * _LARGE)
        if not len(found.boxes):
            found = self._networks.detect(image, side * _SMALL)
        faces = []
        for box, score, points in zip(found.boxes, found.scores, found.points, strict=True):
            left, top, right, bottom = (float(side) for side in box)
            landmarks = {name: (float(x), float(y)) for name, (x, y) in zip(_POINTS, points, strict=True)}
            faces.append(Face((left, top, right, bottom), landmarks, float(score)))
        return faces
