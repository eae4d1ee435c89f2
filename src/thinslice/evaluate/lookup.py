"""What the training labels alone are worth: the mean, each speaker's mean, and how far labels of one speaker differ.

Model, for each trait on its own (a one-way random-effects model): the label of clip i of speaker s is

    y_si = mu + b_s + e_si,   Var(b_s) = vb,   Var(e_si) = vw

fitted by moments on the training clips: `mu` their mean over clips, `vw` the pooled variance within speakers (the sum
of squared deviations from the speaker's own mean over clips minus speakers), and `vb` the sample variance (ddof 1) of
the labels minus `vw`, not below 0.

*Lookup*: the best linear guess of a label from the speaker's n training labels alone (a random intercept, or shrunken
mean), `mu + n vb / (n vb + vw) * (mean of the n labels - mu)`. A speaker without training clips gets `mu`. It never
opens a clip; what it scores is what recognising people is worth.

*Intra-class correlation* ICC = vb / (vb + vw): the share of the label's variance that a speaker's clips have in common,
and so the correlation of the labels of two clips of one speaker.

*Ceiling*: if every speaker's true mean mu + b_s were known and predicted, the error would be e_si alone. For Gaussian
e_si its mean absolute value is sqrt(2 vw / pi), so the accuracy is 1 - sqrt(2 vw / pi), and R² is ICC. No system that
says the same of all clips of a person can do better. A system that tells a person's clips apart can, as far as the
differences between them are more than the annotators' noise, which the labels alone cannot say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from thinslice.evaluate.metrics import Floats


@dataclass(frozen=True)
class VarianceParts:
    """The model above, fitted; arrays of shape (k,), one value per target, NaN where it cannot be estimated.

    Attributes:
        mean: mu, mean of the training labels over clips; NaN without any.
        sd: population standard deviation of the training labels (divided by n), for the extremes.
        within: vw; NaN where no speaker has two clips.
        between: vb, not below 0; NaN where `within` is.
        num_clips: clips with a label.
        num_speakers: speakers with a labelled clip.
    """

    mean: Floats
    sd: Floats
    within: Floats
    between: Floats
    num_clips: Floats
    num_speakers: Floats

    @property
    def icc(self) -> Floats:
        """Intra-class correlation vb / (vb + vw), shape (k,); NaN where labels do not vary."""
        total = self.between + self.within
        return np.divide(self.between, total, out=np.full_like(total, np.nan), where=total > 0)

    @property
    def ceiling_accuracy(self) -> Floats:
        """Accuracy if each speaker's mean were known and the rest Gaussian, 1 - sqrt(2 vw / pi), shape (k,)."""
        return 1.0 - np.sqrt(2.0 * self.within / np.pi)


@dataclass(frozen=True)
class Lookup:
    """A table of speakers' shrunken means.

    Attributes:
        parts: the fitted model.
        table: speaker -> guess per target, shape (k,).
    """

    parts: VarianceParts
    table: Mapping[str, Floats]

    def predict(self, speakers: Sequence[str]) -> Floats:
        """Return the guess for clips of these speakers, shape (n, k); the training mean for an unknown speaker."""
        row_of = {name: row for row, name in enumerate(self.table)}
        guesses = np.array([*self.table.values(), self.parts.mean])
        return guesses[np.array([row_of.get(str(name), -1) for name in speakers], dtype=np.intp)]


def fit_lookup(labels: ArrayLike, speakers: Sequence[str]) -> Lookup:
    """Fit the lookup on training clips; those of several training sets are simply pooled.

    Args:
        labels: (n, k); NaN where unknown, which leaves that label out of that trait only.
        speakers: of each clip, n names.

    Raises:
        ValueError: as many speakers as clips are needed.
    """
    y, names, index = _grouped(labels, speakers)
    parts, counts, sums = _fit(y, index, len(names))
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    guess = parts.mean + _weight(counts, parts) * (means - parts.mean)
    return Lookup(parts, dict(zip(names.tolist(), np.where(counts > 0, guess, parts.mean), strict=True)))


def variance_parts(labels: ArrayLike, speakers: Sequence[str]) -> VarianceParts:
    """Fit the model of this module's header; arguments as in `fit_lookup`."""
    y, names, index = _grouped(labels, speakers)
    return _fit(y, index, len(names))[0]


def leave_one_out(labels: ArrayLike, speakers: Sequence[str]) -> Floats:
    """Return the lookup's guess for each clip from the *other* clips of its speaker, shape (n, k).

    It shows what a lookup would score on a split by clips, with all other clips in training. `mu`, `vw` and
    `vb` are those of all clips: leaving one of thousands out would not change them.

    Args:
        labels: (n, k).
        speakers: of each clip, n names.
    """
    y, names, index = _grouped(labels, speakers)
    parts, counts, sums = _fit(y, index, len(names))
    known = ~np.isnan(y)
    others = counts[index] - known
    total = sums[index] - np.where(known, y, 0.0)
    means = np.divide(total, others, out=np.zeros_like(total), where=others > 0)
    return np.where(
        others > 0, parts.mean + _weight(others, parts) * (means - parts.mean), np.broadcast_to(parts.mean, y.shape)
    )


def _grouped(labels: ArrayLike, speakers: Sequence[str]) -> tuple[Floats, np.ndarray, np.ndarray]:
    y = np.asarray(labels, dtype=np.float64)
    if y.ndim != 2 or len(y) != len(speakers):
        raise ValueError(f"labels (n, k) and n speakers do not fit: {y.shape} and {len(speakers)}")
    names, index = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    return y, names, index


def _fit(y: Floats, index: np.ndarray, num_speakers: int) -> tuple[VarianceParts, Floats, Floats]:
    """Return the model, and each speaker's number of labels and their sum, (S, k)."""
    known = ~np.isnan(y)
    filled = np.where(known, y, 0.0)
    counts, sums = np.zeros((num_speakers, y.shape[1])), np.zeros((num_speakers, y.shape[1]))
    np.add.at(counts, index, known)
    np.add.at(sums, index, filled)
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)

    total, speakers = counts.sum(axis=0), (counts > 0).sum(axis=0).astype(np.float64)
    mean = _divide(filled.sum(axis=0), total)
    deviation = np.where(known, y - mean, 0.0)
    spread = np.square(deviation).sum(axis=0)
    within = _divide(np.where(known, np.square(y - means[index]), 0.0).sum(axis=0), total - speakers)
    between = np.maximum(0.0, _divide(spread, total - 1) - within)
    parts = VarianceParts(mean, np.sqrt(_divide(spread, total)), within, between, total, speakers)
    return parts, counts, sums


def _weight(counts: Floats, parts: VarianceParts) -> Floats:
    """How far to trust a speaker's own mean: n vb / (n vb + vw), 0 where that is 0/0 or cannot be estimated."""
    top = counts * np.nan_to_num(parts.between)
    bottom = top + np.nan_to_num(parts.within)
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def _divide(top: Floats, bottom: Floats) -> Floats:
    quotient: Floats = np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=np.asarray(bottom) > 0)
    return quotient
