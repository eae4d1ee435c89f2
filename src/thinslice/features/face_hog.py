"""dlib's histogram-of-oriented-gradients face detector as a detector of thinslice.

Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005; King, "Max-Margin Object
Detection", 2015; the detector that the audiovisual_attributes slides name. It sees upright faces from the front.

Deviations: it gives boxes only. The points of a face are the landmarker's, which looks at each box once; a box in
which the landmarker sees no face is dropped.
"""

import math

import numpy as np

from thinslice.errors import MissingExtraError
from thinslice.features.face_align import Face
from thinslice.features.face_boxes import overlaps
from thinslice.features.face_landmarker import Landmarker

_CLOSE_LOOK = 2.0  # The landmarker looks at a square this many times as wide as the box.
_LEAST_OVERLAP = 0.3  # Of the box with what the landmarker finds there.


class HogDetector:
    """The detector, loaded, with the landmarker beside it.

    Args:
        landmarker: finds the points.

    Raises:
        MissingExtraError: dlib is not installed.
    """

    def __init__(self, landmarker: Landmarker) -> None:
        try:
            import dlib
        except ImportError:
            raise MissingExtraError("looking for faces with dlib's HOG detector", "hog") from None
        self._detector = dlib.get_frontal_face_detector()
        self._landmarker = landmarker

    def find(self, image: np.ndarray) -> list[Face]:
        """Return the faces in a uint8 (height, width, 3) RGB picture, the surest first.

        Faces narrower than 80 pixels are looked for, in the picture at twice its size, only where there is no larger
        one: that takes several times as long. A score is the logistic function of the distance from the margin.
        """
        image = np.ascontiguousarray(image)
        for doublings in (0, 1):
            boxes, distances, _ = self._detector.run(image, doublings, 0.0)
            found = [self._with_points(image, *pair) for pair in zip(boxes, distances, strict=True)]
            faces = [face for face in found if face is not None]
            if faces:
                return sorted(faces, key=lambda face: -face.score)
        return []

    def _with_points(self, image: np.ndarray, rectangle: object, distance: float) -> Face | None:
        left, top, right, bottom = (float(getattr(rectangle, side)()) for side in ("left", "top", "right", "bottom"))
        side = max(right - left, bottom - top) * _CLOSE_LOOK
        window = ((left + right - side) / 2, (top + bottom - side) / 2, side)
        seen = self._landmarker.find(image, window)
        if not seen:
            return None
        box = (left, top, right + 1, bottom + 1)  # dlib's corners are pixels that belong to the box.
        shares = overlaps(np.array(box), np.array([face.box for face in seen]))
        best = int(np.argmax(shares))
        if shares[best] < _LEAST_OVERLAP:
            return None
        return Face(box, seen[best].landmarks, 1 / (1 + math.exp(-distance)))
