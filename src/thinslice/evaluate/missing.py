"""Scores in which missing clips count with the training mean."""

from collections.abc import Sequence

import numpy as np

from thinslice.evaluate.card import WithMissing
from thinslice.evaluate.metrics import Floats, accuracy, r2
from thinslice.evaluate.panel import by_target


def score_with_missing(labels: Floats, scores: Floats, mean: Floats, targets: Sequence[str]) -> WithMissing:
    """Score predicted and missing clips together, these as if the training mean had been predicted.

    Args:
        labels: (n + m, k or more), of the n predicted clips, then of the m missing ones; NaN where unknown.
        scores: (n, k or more), NaN in the column of a target that is not predicted.
        mean: (k or more,) of the training labels.
        targets: names of the columns that are scored; further columns are not.
    """
    told = np.concatenate([scores, np.tile(mean, (len(labels) - len(scores), 1))])
    told[:, np.isnan(scores).all(0)] = np.nan
    return WithMissing(
        num_clips=len(labels),
        accuracy=by_target(accuracy(labels, told), targets),
        r2=by_target(r2(labels, told), targets),
    )
