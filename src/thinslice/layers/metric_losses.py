"""The multi-similarity loss for several traits at once, with extreme clips as anchors.

Source: Fodor, Saboundji, Lőrincz, "Enhancing Apparent Personality Trait Analysis with Cross-Modal Embeddings",
sections 3.3 (equation 7) and 4.4; the loss itself: Wang et al., "Multi-Similarity Loss with General Pair Weighting for
Deep Metric Learning", CVPR 2019, as pytorch-metric-learning implements it.

Deviations: the paper compares embeddings by their dot product and does not say whether they have unit length; here they
do, as in Wang et al., unless `unit_length` is False. alpha, beta, lambda and the mining margin are not printed; here
they are pytorch-metric-learning's defaults. As in that library, the loss is 0 where mining finds no more than one pair
of either kind in the whole batch.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from thinslice.errors import MissingExtraError

NUM_CLASSES: Final = 4
UNKNOWN: Final = -1
EXTREMES: Final = (0, 3)
"""C1 and C4."""


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Settings of the loss.

    Attributes:
        alpha: weight in the exponent of positive pairs.
        beta: weight in the exponent of negative pairs.
        base: lambda, the similarity that separates near from far.
        margin: epsilon of the mining: a pair counts if it is by no more than this easier than the hardest pair of the
            other kind.
        unit_length: whether embeddings are compared by their cosine; else by their dot product.
        anchors: classes whose members may be anchors; None for all.
    """

    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5
    margin: float = 0.1
    unit_length: bool = True
    anchors: tuple[int, ...] | None = EXTREMES


PUBLISHED: Final = Similarity()


def trait_classes(labels: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Return the class of each label: 0 (C1) below mean - sd, 1 (C2) below the mean, 2 (C3) below mean + sd, else 3.

    Source: section 4.4.

    Args:
        labels: (n, traits), NaN where unknown.
        mean: (traits,), of the training labels.
        sd: (traits,), likewise.

    Returns:
        int64 (n, traits), `UNKNOWN` where the label is.
    """
    classes = (labels >= mean - sd).long() + (labels >= mean).long() + (labels >= mean + sd).long()
    return classes.masked_fill(torch.isnan(labels), UNKNOWN)


def multi_similarity(embeddings: Tensor, classes: Tensor, settings: Similarity = PUBLISHED) -> Tensor:
    """Return the loss over one trait: for each embedding its mined pairs' loss, averaged over all embeddings.

    Args:
        embeddings: (n, d), those of all modalities one below the other.
        classes: int64 (n,); embeddings of `UNKNOWN` class are in no pair and not counted.
        settings: of the loss.

    Returns:
        A scalar: 0, with a gradient of 0, where there is no pair: one class only, or nothing that may be an anchor.

    Raises:
        MissingExtraError: pytorch-metric-learning is not installed.
    """
    if embeddings.shape[0] != classes.shape[0] or classes.ndim != 1:
        raise ValueError(f"{tuple(embeddings.shape)} embeddings and {tuple(classes.shape)} classes")
    known = classes != UNKNOWN
    loss, miner = _make(settings)
    embeddings, classes = embeddings[known], classes[known]
    if len(classes) < 2:
        return embeddings.sum() * 0
    anchor, positive, other_anchor, negative = miner(embeddings, classes)
    if settings.anchors is not None:
        may = torch.isin(classes, torch.tensor(settings.anchors, device=classes.device))
        anchor, positive = anchor[may[anchor]], positive[may[anchor]]
        other_anchor, negative = other_anchor[may[other_anchor]], negative[may[other_anchor]]
    value: Tensor = loss(embeddings, classes, (anchor, positive, other_anchor, negative))
    return value


def trait_wise_multi_similarity(embeddings: Tensor, classes: Tensor, settings: Similarity = PUBLISHED) -> Tensor:
    """Return the mean of `multi_similarity` over the traits: equation 7.

    Args:
        embeddings: (n, d).
        classes: int64 (n, traits), `UNKNOWN` where a label is not known.
        settings: of the loss.
    """
    return torch.stack([multi_similarity(embeddings, column, settings) for column in classes.unbind(1)]).mean()


def stack_modalities(embeddings: Tensor, classes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the triple-sized batch of section 3.3: all modalities' embeddings one below the other, and their classes.

    Args:
        embeddings: (batch, modalities, d).
        classes: int64 (batch, traits).
        present: bool (batch, modalities): which modalities the clip has; the others' embeddings are in no pair.

    Returns:
        ((modalities * batch, d), int64 (modalities * batch, traits)), modality by modality.
    """
    modalities = embeddings.shape[1]
    stacked = classes.repeat(modalities, 1)
    return embeddings.transpose(0, 1).flatten(0, 1), stacked.masked_fill(~present.T.flatten()[:, None], UNKNOWN)


def _make(settings: Similarity) -> tuple[Any, Any]:
    try:
        from pytorch_metric_learning.distances import CosineSimilarity, DotProductSimilarity
        from pytorch_metric_learning.losses import MultiSimilarityLoss
        from pytorch_metric_learning.miners import MultiSimilarityMiner
    except ImportError:
        raise MissingExtraError("the multi-similarity loss (pytorch-metric-learning)", "train") from None
    distance = CosineSimilarity() if settings.unit_length else DotProductSimilarity(normalize_embeddings=False)
    loss = MultiSimilarityLoss(settings.alpha, settings.beta, settings.base, distance=distance)
    return loss, MultiSimilarityMiner(settings.margin, distance=distance)
