"""Prediction intervals from out-of-fold residuals, valid for speakers that the model has not heard."""

import numpy as np


def conformal_offsets(residuals: np.ndarray, speakers: np.ndarray, coverage: float = 0.8) -> tuple[float, float]:
    """Return the offsets (low, high) from the score between which `coverage` of new speakers' labels should lie.

    Split-conformal with both tails (Lei et al. 2018, section 2.2; Romano et al. 2019, theorem 2), residuals pooled
    over folds that no speaker straddles. Every speaker weighs the same, however many clips there are of them, since a
    new clip is of a new speaker (Dunn et al. 2022, "Distribution-free prediction sets for two-layer hierarchical
    models", section 3.2, pooled CDFs).

    Args:
        residuals: label minus out-of-fold score, (n,).
        speakers: int (n,).
        coverage: share of labels that the interval should hold.
    """
    _, inverse, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[inverse]
    order = np.argsort(residuals, kind="stable")
    values, parts = residuals[order], weights[order] / (len(counts) + 1)  # the last part is the new speaker's
    needed = 1.0 - (1.0 - coverage) / 2.0
    return -_quantile(-values[::-1], parts[::-1], needed), _quantile(values, parts, needed)


def _quantile(values: np.ndarray, parts: np.ndarray, needed: float) -> float:
    """Return the first of the ascending values up to which the parts reach `needed`, the last if they never do."""
    place = int(np.searchsorted(np.cumsum(parts), needed))
    return float(values[min(place, len(values) - 1)])
