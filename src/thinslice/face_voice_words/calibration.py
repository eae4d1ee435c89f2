"""Prediction intervals that hold for speakers the model has met and for those it has not.

A face, more than a voice, tells who someone is: the model errs less with speakers of its training clips. Intervals from
one kind of residuals would be too wide or too narrow for the other, so both kinds are pooled, half and half.
"""

from collections.abc import Mapping

import numpy as np

from thinslice.traits import TARGETS
from thinslice.voice_words.conformal import conformal_offsets
from thinslice.voice_words.training_data import TrainingData

Predictions = Mapping[str, np.ndarray]


def pooled_intervals(
    data: TrainingData, unseen: Predictions, seen: Predictions
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return mode -> target -> offsets (low, high) of the 80% interval.

    Args:
        data: the training clips.
        unseen: mode -> predictions (n, 6) out of folds with speakers apart; rows of NaN where an input is missing.
        seen: the same out of folds over which speakers repeat.
    """
    result = {}
    for mode in unseen:
        rows = np.flatnonzero(np.isfinite(unseen[mode]).all(axis=1))
        offsets = [_offsets(data, unseen[mode], seen[mode], rows, index) for index in range(len(TARGETS))]
        result[mode] = {
            target: (round(low, 6), round(high, 6)) for target, (low, high) in zip(TARGETS, offsets, strict=True)
        }
    return result


def pooled_coverages(
    data: TrainingData, unseen: Predictions, seen: Predictions, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the share of labels inside the intervals, for both kinds of speakers.

    Calibrated on the residuals of one half of the speakers, counted on the other's, and the other way round.

    Args:
        data: as in `pooled_intervals`; `unseen` and `seen` too.
        unseen: see above.
        seen: see above.
        seed: of the halves.
    """
    first = (np.random.default_rng(seed).permutation(int(data.speakers.max()) + 1) % 2 == 0)[data.speakers]
    result: dict[str, dict[str, dict[str, float]]] = {"unseen_speakers": {}, "seen_speakers": {}}
    for mode in unseen:
        there = np.asarray(np.isfinite(unseen[mode]).all(axis=1))
        for index, target in enumerate(TARGETS):
            inside = {kind: np.zeros(len(there), dtype=bool) for kind in result}
            for half in (first, ~first):
                low, high = _offsets(data, unseen[mode], seen[mode], np.flatnonzero(there & half), index)
                for kind, scores in (("unseen_speakers", unseen[mode]), ("seen_speakers", seen[mode])):
                    residuals = data.labels[:, index] - scores[:, index]
                    inside[kind][~half] = ((low <= residuals) & (residuals <= high))[~half]
            for kind, held in inside.items():
                result[kind].setdefault(mode, {})[target] = round(float(held[there].mean()), 4)
    return result


def _offsets(
    data: TrainingData, unseen: np.ndarray, seen: np.ndarray, rows: np.ndarray, index: int
) -> tuple[float, float]:
    residuals = np.concatenate([data.labels[rows, index] - scores[rows, index] for scores in (unseen, seen)])
    return conformal_offsets(residuals, np.tile(data.speakers[rows], 2))
