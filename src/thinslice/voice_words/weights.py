"""Reads the ``weights.npz`` of the bundled models."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from thinslice.arrays import load_arrays
from thinslice.errors import BundleError
from thinslice.traits import TARGETS

Model = TypeVar("Model")


def load_weights(folder: Path, outputs: Sequence[str], build: Callable[[Mapping[str, np.ndarray]], Model]) -> Model:
    """Read a bundle's arrays and build its model from them.

    Args:
        folder: the bundle's folder.
        outputs: those of its ``bundle.json``; the checksums are the caller's to verify.
        build: arrays by name -> the model; it raises LookupError, TypeError, ValueError or OSError where they do not
            fit together.

    Raises:
        BundleError: the weights are missing, damaged, or not those of this kind of model.
    """
    path = Path(folder) / "weights.npz"
    if tuple(outputs) != TARGETS:
        raise BundleError(f"{folder}: outputs {tuple(outputs)} are not {TARGETS}; install the bundle again")
    try:
        arrays = load_arrays(path)
        broken = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
        if broken:
            raise ValueError(f"{broken[0]} holds values that are not finite")
        return build(arrays)
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: damaged weights ({type(error).__name__}: {error}); install it again") from None


def baselines(arrays: Mapping[str, np.ndarray], modes: Sequence[str]) -> dict[str, np.ndarray]:
    """Return mode -> float64 (6,), what its scores start from; KeyError or ValueError where they are not there."""
    baseline = np.asarray(arrays["baseline"], dtype=np.float64)
    if baseline.shape != (len(modes), len(TARGETS)):
        raise ValueError(f"baseline has shape {baseline.shape}")
    return dict(zip(modes, baseline, strict=True))
