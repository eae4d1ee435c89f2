"""Prints how well scores of the five traits are, for the benchmarks of faces."""

import numpy as np

from thinslice.evaluate.metrics import accuracy, r2
from thinslice.traits import TRAITS


def report(name: str, kind: str, labels: np.ndarray, scores: np.ndarray) -> None:
    """Print accuracy / R², means over the traits.

    Args:
        name: what was scored.
        kind: on which clips.
        labels: (n, traits or more), the traits first.
        scores: the same shape.
    """
    traits = slice(0, len(TRAITS))
    close = accuracy(labels, scores)[traits].mean()
    print(f"{name:40s} {kind:7s} {close:.4f} / {r2(labels, scores)[traits].mean():.3f}", flush=True)
