"""Scores of predicted against labelled traits, from their definitions.

Conventions, the same everywhere in thinslice:

* Arrays are float64 (n, k): n clips, k targets. A pair in which either value is NaN does not count.
* A score is a value per target, shape (k,). *Average* is the plain mean of the five per-trait values, whatever the
  metric (also of Pearson's r: no Fisher transform), never a score of pooled traits; without all five it is NaN.
* accuracy    = 1 - mean |p - y|.  FI's "mean accuracy" (Ponce-López et al. 2016), R_acc of Fodor et al., Eq. 9.
* mse         = mean (p - y)^2.
* r2          = 1 - sum (p - y)^2 / sum (y - mean(y))^2, about the evaluated clips' own mean: what scikit-learn and the
  ChaLearn challenge call R². Negative where the evaluated clips' own mean would do better.
* pcc         = Pearson's correlation.
* ccc         = 2 cov(y, p) / (var(y) + var(p) + (mean(y) - mean(p))^2), population variances (divided by n), as in
  Lin 1989. (With n - 1 throughout, the value differs in the order of 1/n.)
* bias        = mean (p - y): positive where people are scored too high.
* calibration_slope = cov(y, p) / var(p), the slope of *label on prediction*: 1 where a predicted difference is, on
  average, a real one of that size; above 1 where predictions are timid, below 1 where they are bold.
* response_slope    = cov(y, p) / var(y), the slope of *prediction on label*: how much of a real difference the
  predictions show. Regression to the mean is this slope being far below 1.
* spread_ratio      = sd(p) / sd(y). So pcc = spread_ratio * calibration_slope and response_slope = pcc * spread_ratio.
* pair_order  = share of pairs of clips that the predictions put in the order of the labels; pairs with equal labels do
  not count, pairs with equal predictions count half. 0.5 is chance. It is (1 + Somers' D(p | y)) / 2. This is the
  measure of *ranking*: annotators of First Impressions only ever said which of two clips shows more of a trait, and
  the labels were fitted to those answers, so it scores predictions on the question that was asked.
* coverage    = share of clips with low <= y <= high; width = mean (high - low). Clips without an interval do not count.

A score that has no meaning is NaN, never 0 or 1: R² and slopes where the labels do not vary, pcc and the calibration
slope where the predictions do not (a training mean has none), everything without clips.

Each metric is declared once, in `METRICS`: its formula as a function of sums over clips (so that the bootstrap only has
to draw sums), its label, its decimals and where it is shown. Panels, intervals, differences, tables, the history of a
training run and `thinslice table` follow from there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thinslice.evaluate.pair_order import pair_order_interval, pair_order_of
from thinslice.targets import averaged

Floats = NDArray[np.float64]
Sums = Mapping[str, Floats]
"""Name of a sum -> its value per target, (..., k)."""

_TINY: Final = 1e-12

HEADLINE, TRAIT, SHAPE, GROUP, EXTREME, DIFFERENCE, COMPARED, HISTORY, PUBLISHED = (
    "headline",  # beside the baselines, under every protocol
    "trait",  # in the table of traits
    "shape",  # in the table on regression to the mean and intervals
    "group",  # per group, with gaps
    "extreme",  # on the extremes of each trait
    "difference",  # compared between two systems
    "compared",  # of these, in the table that compares two files
    "history",  # after every epoch of training
    "published",  # in `thinslice table`, beside what papers print
)


@dataclass(frozen=True, eq=False)
class Clips:
    """What a summand is made of, each (n, k), from the mean of the known labels, NaN where unknown."""

    labels: Floats
    predictions: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Summand:
    """A number per clip that is summed.

    Attributes:
        of: its value (n, k); what it gives where something is NaN does not count.
        needs_interval: whether it counts where there is an interval, not where there is a prediction.
    """

    of: Callable[[Clips], NDArray[np.generic]]
    needs_interval: bool = False


SUMMANDS: Final[dict[str, Summand]] = {
    "n": Summand(lambda c: np.ones_like(c.labels)),
    "abs": Summand(lambda c: np.abs(c.predictions - c.labels)),
    "sq": Summand(lambda c: np.square(c.predictions - c.labels)),
    "y": Summand(lambda c: c.labels),
    "yy": Summand(lambda c: np.square(c.labels)),
    "p": Summand(lambda c: c.predictions),
    "pp": Summand(lambda c: np.square(c.predictions)),
    "yp": Summand(lambda c: c.labels * c.predictions),
    "n_interval": Summand(lambda c: np.ones_like(c.labels), needs_interval=True),
    "inside": Summand(lambda c: (c.low <= c.labels) & (c.labels <= c.high), needs_interval=True),
    "width": Summand(lambda c: c.high - c.low, needs_interval=True),
}
"""The sums that the metrics below share. y and p are measured from the evaluated labels' mean, for precision."""


@dataclass(frozen=True)
class Metric:
    """One score.

    Attributes:
        label: what people read.
        formula: the score from sums over clips, (..., k), NaN where it has no meaning; None for one of pairs of clips.
        shown_in: of `HEADLINE` and the others above.
        decimals: how many are shown.
        needs_interval: whether it is one of prediction intervals.
        summands: sums of its own, beside `SUMMANDS`.
        of_pairs: for a metric without formula: the score of one target's labels and predictions, (n,) each, no NaN.
        interval_of_pairs: its 95% interval: labels (n, k), predictions (n, k), number of each speaker (n,) -> ends.
    """

    label: str
    formula: Callable[[Sums], Floats] | None
    shown_in: frozenset[str]
    decimals: int = 3
    needs_interval: bool = False
    summands: Mapping[str, Summand] = field(default_factory=dict)
    of_pairs: Callable[[Floats, Floats], float] | None = None
    interval_of_pairs: Callable[[ArrayLike, ArrayLike, NDArray[np.intp]], tuple[Floats, Floats]] | None = None

    def __call__(
        self, labels: ArrayLike, predictions: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None
    ) -> Floats:
        """Return the score of each target, (k,); arguments as in `score`."""
        if self.formula is not None:
            with np.errstate(all="ignore"):
                return self.formula(_SumsOf(labels, predictions, low, high))
        assert self.of_pairs is not None
        y, p = _matrices(labels, predictions)
        known = ~np.isnan(y + p)
        return np.array([self.of_pairs(y[rows, k], p[rows, k]) for k, rows in enumerate(known.T)])


def _moments(s: Sums) -> tuple[Floats, Floats, Floats]:
    """Return the variances of labels and predictions and their covariance; 0 where a side is constant."""
    n = s["n"]
    var_y, var_p = s["yy"] / n - (s["y"] / n) ** 2, s["pp"] / n - (s["p"] / n) ** 2
    cov = s["yp"] / n - (s["y"] / n) * (s["p"] / n)
    # A constant leaves rounding error where its variance should be 0.
    flat_y = var_y <= _TINY * np.maximum(s["yy"] / n, 1e-300)
    flat_p = var_p <= _TINY * np.maximum(s["pp"] / n, 1e-300)
    return np.where(flat_y, 0.0, var_y), np.where(flat_p, 0.0, var_p), np.where(flat_y | flat_p, 0.0, cov)


def _over(top: Floats, bottom: Floats) -> Floats:
    """Return a quotient, NaN where the bottom is not above 0."""
    return np.where(bottom > 0, top / bottom, np.nan)


def _r2(s: Sums) -> Floats:
    var_y, _, _ = _moments(s)
    return np.where(var_y > 0, 1.0 - (s["sq"] / s["n"]) / var_y, np.nan)


def _pcc(s: Sums) -> Floats:
    var_y, var_p, cov = _moments(s)
    return _over(cov, np.sqrt(var_y * var_p))


def _ccc(s: Sums) -> Floats:
    var_y, var_p, cov = _moments(s)
    return _over(2.0 * cov, var_y + var_p + (s["p"] / s["n"] - s["y"] / s["n"]) ** 2)


def _calibration_slope(s: Sums) -> Floats:
    _, var_p, cov = _moments(s)
    return _over(cov, var_p)


def _response_slope(s: Sums) -> Floats:
    var_y, _, cov = _moments(s)
    return _over(cov, var_y)


def _spread_ratio(s: Sums) -> Floats:
    var_y, var_p, _ = _moments(s)
    return np.sqrt(_over(var_p, var_y))


METRICS: Final[dict[str, Metric]] = {
    "accuracy": Metric(
        "accuracy", lambda s: 1.0 - s["abs"] / s["n"], decimals=4,
        shown_in=frozenset({HEADLINE, TRAIT, GROUP, EXTREME, DIFFERENCE, COMPARED, HISTORY, PUBLISHED}),
    ),
    "r2": Metric(
        "R²", _r2, frozenset({HEADLINE, TRAIT, GROUP, DIFFERENCE, COMPARED, HISTORY, PUBLISHED})
    ),
    "pcc": Metric("Pearson r", _pcc, frozenset({TRAIT, DIFFERENCE, HISTORY})),
    "ccc": Metric("CCC", _ccc, frozenset({TRAIT, DIFFERENCE, COMPARED, HISTORY})),
    "mse": Metric("MSE", lambda s: s["sq"] / s["n"], frozenset({EXTREME, DIFFERENCE, PUBLISHED}), decimals=4),
    "bias": Metric("bias", lambda s: s["p"] / s["n"] - s["y"] / s["n"], frozenset({SHAPE, GROUP, EXTREME})),
    "calibration_slope": Metric("calibration slope", _calibration_slope, frozenset({SHAPE})),
    "response_slope": Metric("response slope", _response_slope, frozenset({SHAPE})),
    "spread_ratio": Metric("spread ratio", _spread_ratio, frozenset({SHAPE})),
    "pair_order": Metric(
        "pair order", None, frozenset({TRAIT}), of_pairs=pair_order_of, interval_of_pairs=pair_order_interval
    ),
    "coverage": Metric("coverage", lambda s: s["inside"] / s["n_interval"], frozenset({SHAPE}), needs_interval=True),
    "width": Metric("width", lambda s: s["width"] / s["n_interval"], frozenset({SHAPE}), needs_interval=True),
}  # fmt: skip
"""Name -> metric, in the order in which they are shown. Add one here, and it is everywhere."""

accuracy = METRICS["accuracy"]
r2 = METRICS["r2"]
pcc = METRICS["pcc"]
ccc = METRICS["ccc"]
mse = METRICS["mse"]
bias = METRICS["bias"]
calibration_slope = METRICS["calibration_slope"]
response_slope = METRICS["response_slope"]
spread_ratio = METRICS["spread_ratio"]
pair_order = METRICS["pair_order"]


def coverage(labels: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Return the share of labels inside their interval, ends included, shape (k,)."""
    return METRICS["coverage"](labels, labels, low, high)


def width(labels: ArrayLike, low: ArrayLike, high: ArrayLike) -> Floats:
    """Return the mean width of the intervals of labelled clips, shape (k,)."""
    return METRICS["width"](labels, labels, low, high)


def metrics_in(place: str) -> tuple[str, ...]:
    """Return the names of the metrics that are shown in a place, in order."""
    return tuple(name for name, metric in METRICS.items() if place in metric.shown_in)


def summed_metrics() -> tuple[str, ...]:
    """Return the names of the metrics that follow from sums over clips."""
    return tuple(name for name, metric in METRICS.items() if metric.formula is not None)


def sum_names() -> tuple[str, ...]:
    """Return what is summed over clips, in order: `SUMMANDS`, then what single metrics add."""
    return tuple(_summands())


def clip_sums(
    labels: ArrayLike, predictions: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None
) -> Floats:
    """Return the summands of each clip and target, shape (n, k, len(sum_names())); 0 where a value is NaN.

    Args:
        labels: (n, k).
        predictions: (n, k).
        low: lower interval ends (n, k), or None.
        high: upper interval ends (n, k), or None.
    """
    sums = _SumsOf(labels, predictions, low, high)
    return np.stack([sums.of_clips(name) for name in sum_names()], axis=-1)


class _SumsOf(dict[str, Floats]):
    """The sums of some clips, each made when it is asked for."""

    def __init__(self, labels: ArrayLike, predictions: ArrayLike, low: ArrayLike | None, high: ArrayLike | None):
        y, p = _matrices(labels, predictions)
        nothing = np.broadcast_to(np.nan, y.shape)
        lo, hi = (nothing if end is None else _matrices(y, end)[1] for end in (low, high))
        self._known, self._bounded = ~np.isnan(y + p), ~np.isnan(y + lo + hi)
        count = self._known.sum(axis=0)
        top = np.where(self._known, y, 0).sum(axis=0)
        centre = np.divide(top, count, out=np.zeros(y.shape[1]), where=count > 0)
        self._clips = Clips(
            y - centre, p - centre, lo if low is None else lo - centre, hi if high is None else hi - centre
        )

    def of_clips(self, name: str) -> Floats:
        """Return a summand of each clip, (n, k)."""
        summand = _summands()[name]
        known = self._bounded if summand.needs_interval else self._known
        return np.where(known, summand.of(self._clips), 0.0)

    def __missing__(self, name: str) -> Floats:
        found: Floats = self.of_clips(name).sum(axis=0)
        self[name] = found
        return found


def metrics_from_sums(sums: Floats) -> dict[str, Floats]:
    """Return each of `summed_metrics`, shape (..., k), from sums (..., k, len(sum_names())); NaN without meaning."""
    named = _named(sums)
    with np.errstate(all="ignore"):
        return {name: metric.formula(named) for name, metric in METRICS.items() if metric.formula is not None}


def score(
    labels: ArrayLike, predictions: ArrayLike, low: ArrayLike | None = None, high: ArrayLike | None = None
) -> dict[str, Floats]:
    """Return every metric: its name -> value per target, shape (k,).

    Args:
        labels: (n, k), NaN where unknown.
        predictions: (n, k), NaN where missing.
        low: lower interval ends (n, k), or None.
        high: upper interval ends (n, k), or None; without both there are no metrics of intervals.
    """
    summed = metrics_from_sums(clip_sums(labels, predictions, low, high).sum(axis=0))
    has_interval = low is not None and high is not None
    return {
        name: summed[name] if name in summed else metric(labels, predictions)
        for name, metric in METRICS.items()
        if has_interval or not metric.needs_interval
    }


def average(values: ArrayLike, targets: Sequence[str]) -> Floats:
    """Return the mean of values (..., k) over what is averaged of their targets; NaN where one of these is NaN.

    Args:
        values: last axis runs over `targets`.
        targets: names of the last axis; `thinslice.targets.averaged` says which enter: the five traits where all are
            there, else all but the interview.
    """
    array = np.asarray(values, dtype=np.float64)
    mean: Floats = array[..., [list(targets).index(name) for name in averaged(targets)]].mean(axis=-1)
    return mean


def _summands() -> dict[str, Summand]:
    own = {name: summand for metric in METRICS.values() for name, summand in metric.summands.items()}
    return SUMMANDS | own


def _named(sums: Floats) -> dict[str, Floats]:
    return dict(zip(sum_names(), np.moveaxis(sums, -1, 0), strict=True))


def _matrices(*arrays: ArrayLike) -> list[Floats]:
    matrices = [np.asarray(array, dtype=np.float64) for array in arrays]
    matrices = [matrix[:, None] if matrix.ndim == 1 else matrix for matrix in matrices]
    if len({matrix.shape for matrix in matrices}) != 1 or matrices[0].ndim != 2:
        shapes = ", ".join(str(matrix.shape) for matrix in matrices)
        raise ValueError(f"labels and predictions must have one shape (n, k); got {shapes}")
    return matrices
