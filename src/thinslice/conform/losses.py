"""Losses beside independent ones, in float64."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import torch

from thinslice.conform.comparison import Checkout, Comparison, Given, Pair, load_file
from thinslice.conform.networks import pair
from thinslice.layers.losses import bell_loss
from thinslice.layers.metric_losses import Similarity, multi_similarity

MULTI_SIMILARITY = Checkout(
    "msight-tech/research-ms-loss", "ret_benchmark/losses/multi_similarity_loss.py", "CC-BY-NC-4.0"
)
BELL = Checkout("liaorongfan/DeepPersonality", "dpcv/modeling/loss/cr_loss.py", "MIT")

NUM_BATCHES = 20


def multi_similarity_of_the_authors(given: Given) -> Sequence[Pair]:
    """The loss and its gradient with ordinary mining, all classes as anchors, beside Wang et al.'s own program."""
    path = MULTI_SIMILARITY.path(given)
    with _on_path(path.parents[2]):
        program = import_module("ret_benchmark.losses.multi_similarity_loss")
    scales = SimpleNamespace(SCALE_POS=2.0, SCALE_NEG=50.0)
    theirs = program.MultiSimilarityLoss(SimpleNamespace(LOSSES=SimpleNamespace(MULTI_SIMILARITY_LOSS=scales)))
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for _ in range(NUM_BATCHES):
        drawn = torch.randn(48, 16, generator=generator, dtype=torch.float64)
        embeddings = torch.nn.functional.normalize(drawn, dim=1).requires_grad_()
        classes = torch.randint(0, 4, (48,), generator=generator)
        # Their program compares by dot products; the vectors have unit length already.
        settings = Similarity(anchors=None, unit_length=False)
        values = multi_similarity(embeddings, classes, settings), theirs(embeddings, classes)
        slopes = (torch.autograd.grad(value, embeddings)[0] for value in values)
        pairs += [pair(*values), pair(*slopes)]
    return pairs


def bell(given: Given) -> Sequence[Pair]:
    """The Bell loss beside DeepPersonality's, which is summed where ours is averaged."""
    theirs = load_file(BELL.path(given)).BellLoss()
    generator = torch.Generator().manual_seed(0)
    predictions, labels = 100 * torch.rand(2, 32, 6, generator=generator, dtype=torch.float64)
    return [pair(bell_loss(predictions, labels) * labels.numel(), theirs(predictions, labels))]


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


LOSSES = (
    Comparison(
        name="multi_similarity",
        what="loss and gradient",
        systems=("cross_modal",),
        theirs=MULTI_SIMILARITY,
        expected=5e-16,
        most=1e-12,
        run=multi_similarity_of_the_authors,
    ),
    Comparison(
        name="bell_loss",
        what="loss",
        systems=("cr_net",),
        theirs=BELL,
        expected=0.0,
        most=1e-12,
        run=bell,
    ),
)
