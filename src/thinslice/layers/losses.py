"""Losses as pure functions of tensors: means over all known entries, never sums, so that no batch size is in them.

Predictions and labels have one shape, by convention (batch, targets), labels in [0, 1] unless a docstring says
otherwise. An entry whose label is NaN is unknown: it adds nothing and gets no gradient. Where nothing is known a loss
is 0 with a gradient of 0.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def mean_absolute_error(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of |p - y| over known entries: 1 - the challenge's accuracy.

    Source: Güçlütürk et al. 2016 (Deep Impression), section 2.2.
    """
    return _mean_of_known((predictions - _filled(labels)).abs(), labels)


def mean_squared_error(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of (p - y)^2 over known entries."""
    return _mean_of_known((predictions - _filled(labels)).square(), labels)


def _filled(labels: Tensor) -> Tensor:
    # A NaN label would make the gradient NaN even where its entry has weight 0.
    return torch.nan_to_num(labels)


def _mean_of_known(values: Tensor, labels: Tensor) -> Tensor:
    if values.shape != labels.shape:
        raise ValueError(f"predictions and labels differ in shape: {tuple(values.shape)}, {tuple(labels.shape)}")
    known = ~torch.isnan(labels)
    return torch.where(known, values, 0.0).sum() / known.sum().clamp(min=1)


def bell_loss(predictions: Tensor, labels: Tensor, sigma: float = 9.0, gamma: float = 300.0) -> Tensor:
    """Return the mean of gamma (1 - exp(-(y - p)² / (2 sigma²))) over known entries.

    Its gradient is steepest at an error of sigma and fades beyond, so that a sample far away does not pull the
    prediction to the mean. sigma and gamma belong to predictions and labels multiplied by 100, as
    `cr_net_regression_loss` does. On scores in [0, 1] the exponent is at most 1 / 162: the loss is then gamma /
    (2 sigma²) = 1.85 times the squared error, to 0.4%, and no bell at all.

    Source: Li et al. 2020 (CR-Net), equation 6; sigma and gamma from section 4.2.1.
    """
    squares = (predictions - _filled(labels)).square()
    return _mean_of_known(gamma * (1 - torch.exp(-squares / (2 * sigma**2))), labels)


CR_NET_SCALE = 100.0
"""What CR-Net multiplies labels and predictions by before its losses (section 4.2.1)."""


def cr_net_regression_loss(predictions: Tensor, labels: Tensor, terms: Iterable[str]) -> dict[str, Tensor]:
    """Return CR-Net's losses of scores in [0, 1], each on values multiplied by 100, and their sum as "loss".

    Without that factor squared errors are of the order of 0.02 and vanish beside the L1 loss, the Bell loss is a
    multiple of them, and equation 9's weight, which is fixed, leaves the classes alone to be learned.

    Args:
        predictions: scores (batch, targets).
        labels: (batch, targets), NaN where unknown.
        terms: some of "l1", "l2" and "bell".

    Source: Li et al. 2020 (CR-Net), equation 8 without its last term.
    """
    functions = {"l1": mean_absolute_error, "l2": mean_squared_error, "bell": bell_loss}
    scaled = (predictions * CR_NET_SCALE, labels * CR_NET_SCALE)
    parts = {term: functions[term](*scaled) for term in terms}
    return {"loss": torch.stack(list(parts.values())).sum(), **parts}


def class_of(labels: Tensor, edges: Sequence[float]) -> Tensor:
    """Return the number, int64, of the interval that each label in [0, 1] lies in; -1 where it is unknown.

    Args:
        labels: of any shape, NaN where unknown.
        edges: inner ends of the intervals, ascending; a label on one belongs to the interval above it.
    """
    inner = torch.tensor(tuple(edges), dtype=labels.dtype, device=labels.device)
    classes = torch.bucketize(_filled(labels).contiguous(), inner, right=True)
    return torch.where(torch.isnan(labels), -1, classes)


def class_cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the cross-entropy summed over traits and averaged over the clips whose label is known.

    Args:
        logits: (batch, traits, classes).
        classes: int64 (batch, traits), -1 where unknown.

    Source: Li et al. 2020 (CR-Net), equation 7, in which the first factor must be the label's distribution, not the
    prediction's.
    """
    known = classes >= 0
    chosen = torch.log_softmax(logits, -1).gather(-1, classes.clamp(min=0)[..., None])[..., 0]
    per_trait = torch.where(known, -chosen, 0.0).sum(0) / known.sum(0).clamp(min=1)
    return per_trait.sum()


def cr_net_class_weight(epoch: int, num_epochs: int) -> float:
    """Return lambda = 4 E_max / (E + 1), the weight of the classes' loss in epoch E, counted from 0.

    Source: Li et al. 2020 (CR-Net), equation 9.
    """
    return 4 * num_epochs / (epoch + 1)


def smooth_l1(predictions: Tensor, labels: Tensor, margin: float = 0.05, *, printed: bool = False) -> Tensor:
    """Return the smooth L1 loss with a margin, summed over targets, averaged over the samples whose label is known.

    With x = p - y and m the margin:

    - here: x² / 2m for |x| < m, else |x| - m / 2, which is continuous, with a continuous slope of at most 1;
    - as printed: x² / 2 for |x| < m, else |x| - 1/2. At m = 0.05 it falls from 0.00125 to -0.45, so it is lowest
      at the margin and not at 0, and its slope jumps from 0.05 to 1. Training follows the slope: outside the margin
      both forms pull alike, inside it the printed one pulls a twentieth as much.

    Args:
        predictions: (batch, targets), on the labels' scale.
        labels: (batch, targets), NaN where unknown.
        margin: m, above 0.
        printed: whether to take the form as it is printed.

    Source: Zhang et al. (PersEmoN), equation 3; m from section 4.2. Targets are summed as in Caffe's SmoothL1Loss of
    Girshick 2015 (Fast R-CNN), which the paper refers to.
    """
    errors = (predictions - _filled(labels)).abs()
    if printed:
        values = torch.where(errors < margin, errors.square() / 2, errors - 0.5)
    else:
        values = torch.where(errors < margin, errors.square() / (2 * margin), errors - margin / 2)
    if values.shape != labels.shape:
        raise ValueError(f"predictions and labels differ in shape: {tuple(values.shape)}, {tuple(labels.shape)}")
    known = ~torch.isnan(labels)
    return (torch.where(known, values, 0.0).sum(0) / known.sum(0).clamp(min=1)).sum()


def euclidean_loss(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return half the squared error, summed over targets, averaged over the samples whose label is known.

    Args:
        predictions: (batch, targets), on the labels' scale.
        labels: (batch, targets), NaN where unknown.

    Source: Caffe's EuclideanLoss.
    """
    values = (predictions - _filled(labels)).square() / 2
    if values.shape != labels.shape:
        raise ValueError(f"predictions and labels differ in shape: {tuple(values.shape)}, {tuple(labels.shape)}")
    known = ~torch.isnan(labels)
    return (torch.where(known, values, 0.0).sum(0) / known.sum(0).clamp(min=1)).sum()


def domain_loss(logits: Tensor, domain: int) -> Tensor:
    """Return the cross-entropy of a classifier of data sets, over samples (n, domains) that all come from one.

    Source: Zhang et al. (PersEmoN), equations 6 and 7; their sum is equation 8.
    """
    return -torch.log_softmax(logits, -1)[:, domain].mean()


def confusion_loss(logits: Tensor) -> Tensor:
    """Return the cross-entropy between a uniform distribution and what a classifier of data sets says of samples.

    It is lowest, log(number of domains), where the classifier cannot tell.

    Source: Zhang et al. (PersEmoN), equation 9, after Tzeng et al. 2015, equation 4. As printed the last two terms have
    the opposite sign, which would reward a classifier that is sure of the wrong data set; the text says what is meant:
    "the cross entropy between the output predicted dataset labels and a uniform distribution".
    """
    return -torch.log_softmax(logits, -1).mean()
