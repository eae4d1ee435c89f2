"""Columns of a prediction file that are absent, scored the other way round, or exchanged, as far as labels tell."""

from itertools import permutations
from typing import Final

import numpy as np

from thinslice.evaluate.metrics import Floats, pcc
from thinslice.evaluate.predictions import PredictionFile
from thinslice.targets import averaged, poles_of
from thinslice.traits import TARGETS, TRAITS

_TURNED_ROUND: Final = -0.3
"""A correlation below this suggests that a column is scored the other way round."""
_ENOUGH: Final = 30
"""Clips from which correlations are told from chance."""
_CLEARLY: Final = 2.0
"""How many times 1 / sqrt(clips) the correlation of each exchanged column must rise."""


def odd_columns(labels: Floats, scores: Floats, predictions: PredictionFile) -> list[str]:
    """Say which columns are absent, scored the other way round, or exchanged."""
    columns, targets = predictions.columns, predictions.targets
    absent = [name for name in averaged(columns) if name not in targets]
    whole = "the five traits" if averaged(columns) == TRAITS else "all targets"
    out = [f"no column for {', '.join(absent)}: there is no average over {whole}"] if absent else []
    if len(labels) < _ENOUGH:
        return out
    out += [
        f"{name} correlates {r:.2f} with its labels: is it scored the other way round? "
        f"Here 1 is {poles_of(name)[1]}, 0 is {poles_of(name)[0]}"
        for name, r in zip(columns, pcc(labels, scores), strict=True)
        if r < _TURNED_ROUND
    ]
    present = [k for k, name in enumerate(columns) if name in targets and np.isfinite(scores[:, k]).all()]
    if not 2 <= len(present) <= len(TARGETS):  # all orders are tried
        return out
    order = swapped_columns(labels[:, present], scores[:, present])
    moved = [(columns[present[i]], columns[present[j]]) for i, j in enumerate(order) if i != j]
    if moved:
        pairs = ", ".join(f"{label} is in column {column}" for label, column in moved)
        out.append(f"columns seem exchanged: the labels fit better if {pairs}")
    return out


def swapped_columns(labels: Floats, scores: Floats) -> tuple[int, ...]:
    """Return which column of scores each column of labels seems to be: (0, 1, ..., k - 1) where all are in place.

    Of all orders of the columns the one with the highest sum of correlations, if it is ahead by more than chance:
    traits correlate with each other, so every column that an order moves must gain, see `_CLEARLY`.

    Args:
        labels: (n, k), NaN where unknown.
        scores: (n, k), no NaN.
    """
    size = labels.shape[1]
    known = np.isfinite(labels).all(axis=1)
    in_place = tuple(range(size))
    if (
        known.sum() < _ENOUGH
        or (np.ptp(labels[known], axis=0) == 0).any()
        or (np.ptp(scores[known], axis=0) == 0).any()
    ):
        return in_place
    r = np.corrcoef(labels[known].T, scores[known].T)[:size, size:]
    rows, needed = np.arange(size), _CLEARLY / np.sqrt(known.sum())

    def gain(order: tuple[int, ...]) -> float:
        moved = sum(i != j for i, j in enumerate(order))
        return float(r[rows, order].sum() - r[rows, rows].sum()) - float(moved * needed)

    best = max(permutations(range(size)), key=gain)
    return best if gain(best) > 0 else in_place
