"""A function of what is seen in a face: linear in the whole descriptor, plus smooth bumps on its main directions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thinslice.voice_words.voice_function import bumps


@dataclass(frozen=True)
class FaceView:
    """How a descriptor is scaled and its main directions are read; the same for every mode.

    Attributes:
        mean: float32 (d,), of the training clips' descriptors.
        scale: float32 (d,); makes a block's numbers count as much as was chosen for it.
        basis: int8 (d, m), the main directions of the scaled descriptors, with `basis_steps` as unit.
        basis_steps: float32 (m,).
        centres: float64 (c, m), places of the bumps; each a mean over at least three training clips.
        gamma: the bump around a centre is exp(-gamma * mean squared difference).
    """

    mean: np.ndarray
    scale: np.ndarray
    basis: np.ndarray
    basis_steps: np.ndarray
    centres: np.ndarray
    gamma: float

    def scaled(self, descriptors: np.ndarray) -> np.ndarray:
        """Return float32 (n, d) of descriptors (n, d)."""
        return np.asarray((descriptors - self.mean) * self.scale, np.float32)

    def near(self, scaled: np.ndarray) -> np.ndarray:
        """Return float64 (n, c): how near scaled descriptors (n, d) are to each centre, in [0, 1]."""
        directions = (scaled @ self.basis.astype(np.float32)) * self.basis_steps
        return bumps(directions.astype(np.float64), self.centres, self.gamma)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "FaceView":
        """Read the arrays that `thinslice.face_voice_words.trainer` writes; KeyError where one is missing."""
        return cls(
            mean=arrays["face_mean"].astype(np.float32),
            scale=arrays["face_scale"].astype(np.float32),
            basis=arrays["face_basis"],
            basis_steps=arrays["face_basis_steps"].astype(np.float32),
            centres=arrays["face_centres"].astype(np.float64),
            gamma=float(arrays["face_gamma"]),
        )


@dataclass(frozen=True)
class FaceFunction:
    """Descriptors of a face -> deviations of the six targets from their baseline.

    Attributes:
        view: shared by all modes.
        linear: float32 (d, 6), of the scaled descriptor.
        bumps: float64 (c, 6).
        offset: float64 (6,), makes the face's part zero on average over the training clips.
    """

    view: FaceView
    linear: np.ndarray
    bumps: np.ndarray
    offset: np.ndarray

    def predict(self, descriptors: np.ndarray) -> np.ndarray:
        """Return deviations (n, 6) in score units for descriptors (n, d)."""
        # Row by row, so that a clip's score does not depend on what else is in the batch, to the last bit.
        scaled = self.view.scaled(descriptors)
        return np.array([self._one(row[None]) for row in scaled]).reshape(len(scaled), len(self.offset))

    def _one(self, scaled: np.ndarray) -> np.ndarray:
        total = scaled @ self.linear + self.view.near(scaled) @ self.bumps
        return np.asarray(total[0] + self.offset, np.float64)

    @classmethod
    def all_from_arrays(cls, arrays: Mapping[str, np.ndarray], modes: list[str]) -> dict[str, "FaceFunction"]:
        """Read mode -> function; KeyError where an array is missing."""
        view = FaceView.from_arrays(arrays)
        return {
            mode: cls(
                view=view,
                linear=arrays[f"face_linear:{mode}"].astype(np.float32),
                bumps=arrays[f"face_bumps:{mode}"].astype(np.float64),
                offset=arrays[f"face_offset:{mode}"].astype(np.float64),
            )
            for mode in modes
        }
