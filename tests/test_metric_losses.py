"""The trait-wise multi-similarity loss: by hand, against its library, against loops, on degenerate batches."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_metric_learning")

from thinslice.layers.metric_losses import (  # noqa: E402
    UNKNOWN,
    Similarity,
    multi_similarity,
    stack_modalities,
    trait_classes,
    trait_wise_multi_similarity,
)


def naive(embeddings, classes, settings):
    """Equation 7 with Wang et al.'s mining, pair by pair, for one trait."""
    e = np.asarray(embeddings, dtype=np.float64)
    if settings.unit_length:
        e = e / np.linalg.norm(e, axis=1, keepdims=True)
    known = [i for i in range(len(e)) if classes[i] != UNKNOWN]
    total = 0.0
    for i in known:
        if settings.anchors is not None and classes[i] not in settings.anchors:
            continue
        positives = [float(e[i] @ e[k]) for k in known if k != i and classes[k] == classes[i]]
        negatives = [float(e[i] @ e[k]) for k in known if classes[k] != classes[i]]
        if not positives or not negatives:
            continue
        near = [s for s in positives if s - settings.margin < max(negatives)]
        far = [s for s in negatives if s + settings.margin > min(positives)]
        total += math.log(1 + sum(math.exp(-settings.alpha * (s - settings.base)) for s in near)) / settings.alpha
        total += math.log(1 + sum(math.exp(settings.beta * (s - settings.base)) for s in far)) / settings.beta
    return total / max(len(known), 1)


def draw(n=24, d=6, traits=5, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d))), torch.tensor(rng.integers(0, 4, size=(n, traits)))


def test_classes_by_hand():
    nan = float("nan")
    labels = torch.tensor([[0.0, 0.5], [0.3999, 0.6], [0.4, 0.4], [0.5, nan], [0.6, 0.59], [1.0, 0.3]])
    found = trait_classes(labels, torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.1]))
    assert found.tolist() == [[0, 2], [0, 3], [1, 1], [2, UNKNOWN], [3, 2], [3, 0]]


def test_value_by_hand():
    # Two of class C1 at right angles, one of C2 that is the first one's double.
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    classes = torch.tensor([0, 0, 1])
    # First: positive similarity 0, negative 1. Second: positive 0, negative 0. Third: no positive, so no pair.
    first = math.log(1 + math.exp(-2 * (0 - 0.5))) / 2 + math.log(1 + math.exp(50 * (1 - 0.5))) / 50
    second = math.log(1 + math.exp(1)) / 2 + math.log(1 + math.exp(-25)) / 50
    assert multi_similarity(embeddings, classes).item() == pytest.approx((first + second) / 3, rel=1e-12)
    # None of them in an extreme class: no anchor.
    assert multi_similarity(embeddings, classes + 1).item() == 0


@pytest.mark.parametrize("unit_length", [True, False])
def test_one_trait_with_ordinary_mining_is_pytorch_metric_learning(unit_length):
    from pytorch_metric_learning import distances, losses, miners

    embeddings, classes = draw(traits=1)
    distance = (
        distances.CosineSimilarity() if unit_length else distances.DotProductSimilarity(normalize_embeddings=False)
    )
    pairs = miners.MultiSimilarityMiner(0.1, distance=distance)(embeddings, classes[:, 0])
    expected = losses.MultiSimilarityLoss(2, 50, 0.5, distance=distance)(embeddings, classes[:, 0], pairs)
    found = trait_wise_multi_similarity(embeddings, classes, Similarity(unit_length=unit_length, anchors=None))
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert found.item() > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "settings", [Similarity(), Similarity(anchors=None), Similarity(alpha=1, beta=4, base=1, margin=0.3, anchors=(3,))]
)
def test_equal_to_loops(settings, seed):
    embeddings, classes = draw(seed=seed)
    classes[torch.tensor([1, 7]), 2] = UNKNOWN
    expected = np.mean([naive(embeddings, classes[:, j].tolist(), settings) for j in range(5)])
    found = trait_wise_multi_similarity(embeddings, classes, settings).item()
    assert found == pytest.approx(expected, rel=1e-9)
    assert found > 0


def test_float32_is_close_to_float64():
    embeddings, classes = draw(48)
    exact = trait_wise_multi_similarity(embeddings, classes)
    assert trait_wise_multi_similarity(embeddings.float(), classes).item() == pytest.approx(exact.item(), rel=1e-4)


def test_only_extremes_are_anchors():
    embeddings, classes = draw(seed=3)
    column = classes[:, 0]
    swapped = column.clone()
    swapped[column == 1], swapped[column == 2] = 2, 1
    # The two ordinary classes are only ever negatives, so which of them a clip is in does not matter.
    one, other = (multi_similarity(embeddings, c).item() for c in (column, swapped))
    assert one == pytest.approx(other, rel=1e-12)
    merged = column.clone()
    merged[column == 1] = 2
    assert multi_similarity(embeddings, merged).item() == pytest.approx(one, rel=1e-12)
    everything = Similarity(anchors=None)
    assert multi_similarity(embeddings, merged, everything).item() != pytest.approx(
        multi_similarity(embeddings, column, everything).item(), rel=1e-3
    )


@pytest.mark.parametrize(
    "classes",
    [[0, 0, 0, 0], [1, 2, 1, 2], [UNKNOWN] * 4, [0, UNKNOWN, UNKNOWN, UNKNOWN], [0, 1, 2, 3], [3, 3, 1, 1]],
    ids=["one class", "no extremes", "all unknown", "one known", "no positives", "ordinary"],
)
@pytest.mark.parametrize("equal", [False, True])
def test_finite_on_degenerate_batches(classes, equal):
    embeddings = torch.zeros(4, 3) if equal else torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    embeddings.requires_grad_()
    loss = trait_wise_multi_similarity(embeddings, torch.tensor(classes)[:, None].repeat(1, 5))
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.item() >= 0
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


def test_gradient_pulls_together_and_pushes_apart():
    embeddings = torch.tensor([[1.0, 0.1], [0.2, 1.0], [1.0, -0.1], [0.1, -1.0]], requires_grad=True)
    classes = torch.tensor([0, 0, 3, 3])
    optimiser = torch.optim.SGD([embeddings], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        multi_similarity(embeddings, classes).backward()
        optimiser.step()
    e = torch.nn.functional.normalize(embeddings.detach(), dim=1)
    similar = e @ e.T
    # Before: 0.33 and 0.24 within the classes, 0.97 between them. Mining lets go of pairs that are easy enough.
    assert min(similar[0, 1], similar[2, 3]) > 0.6
    assert similar[:2, 2:].max() < 0.6


def test_stacking_keeps_clips_and_modalities_together():
    embeddings = torch.arange(2 * 3 * 2, dtype=torch.float32).reshape(2, 3, 2)
    classes = torch.tensor([[0, 1], [2, 3]])
    present = torch.tensor([[True, True, False], [True, False, True]])
    stacked, labels = stack_modalities(embeddings, classes, present)
    assert stacked.tolist() == [[0, 1], [6, 7], [2, 3], [8, 9], [4, 5], [10, 11]]
    assert labels.tolist() == [[0, 1], [2, 3], [0, 1], [-1, -1], [-1, -1], [2, 3]]


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match="classes"):
        multi_similarity(torch.zeros(4, 2), torch.zeros(3, dtype=torch.int64))
