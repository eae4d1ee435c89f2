"""Scores of clips by a network in training: each clip by itself, none left out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from thinslice.evaluate.metrics import HISTORY, metrics_in, score
from thinslice.train.data import Sampled, ScoringSet
from thinslice.train.readers import build_loader, bytes_of
from thinslice.train.recipe import Mode

Loader = DataLoader[Any]
Compute = Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]]


def apply_to_clips(
    model: nn.Module,
    source: Sampled,
    mode: Mode,
    compute: Compute,
    *,
    seed: int,
    device: torch.device,
    num_readers: int = 0,
    rank: int = 0,
    num_processes: int = 1,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    loader: Loader | None = None,
) -> list[dict[str, np.ndarray]]:
    """Run a network over all clips, one at a time, so that no clip's result depends on another or on padding.

    Processes share the clips and all return all results. The model is in evaluation mode meanwhile, and afterwards as
    it was.

    Args:
        model: on `device`.
        source: the clips.
        mode: how they are sampled.
        compute: (model, inputs of a batch of one) -> name -> tensor (1, ...).
        seed: of what is random in the sampling.
        device: where to compute.
        num_readers: processes that read ahead.
        rank: this process.
        num_processes: how many there are.
        autocast: makes the context to compute in.
        loader: made by `build_scoring_loader` of the same clips, whose processes serve again; None for one of its own.

    Returns:
        For each clip what `compute` gave, without the batch axis, float32.
    """
    if loader is None:
        loader = build_scoring_loader(
            source, mode, seed=seed, device=device, num_readers=num_readers, rank=rank, num_processes=num_processes
        )
    results: list[dict[str, np.ndarray]] = []
    with evaluating(model), torch.no_grad():
        for sample in loader:
            inputs = {
                name: torch.as_tensor(array)[None].to(device, non_blocking=True) for name, array in sample.items()
            }
            for name in set(source.ragged) & set(sample):
                inputs[f"{name}_length"] = torch.tensor([inputs[name].shape[1]], device=device)
            with autocast():
                computed = compute(model, inputs)
            results.append({name: value[0].float().cpu().numpy() for name, value in computed.items()})
    if num_processes == 1:
        return results
    shares: list[list[dict[str, np.ndarray]]] = [[] for _ in range(num_processes)]
    torch.distributed.all_gather_object(shares, results)
    return [shares[index % num_processes][index // num_processes] for index in range(len(source.data))]


def build_scoring_loader(
    source: Sampled,
    mode: Mode,
    *,
    seed: int,
    device: torch.device,
    num_readers: int = 0,
    rank: int = 0,
    num_processes: int = 1,
) -> Loader:
    """Return what reads this process's share of the clips, one at a time; arguments as `apply_to_clips`."""
    indices = list(range(rank, len(source.data), num_processes))
    return build_loader(
        ScoringSet(source, mode, seed),
        indices,
        min(num_readers, len(indices)),
        pin_memory=device.type == "cuda",
        num_bytes=bytes_of(source, mode) if num_readers and indices else 0,
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode for a while, and each of its modules back into its own mode."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def headline_scores(labels: np.ndarray, predictions: np.ndarray, targets: tuple[str, ...]) -> dict[str, float]:
    """Return history.csv's columns for predictions (n, k): the metrics' means over all targets, and each accuracy."""
    values = score(labels, predictions)
    row = {name: float(np.mean(values[name])) for name in metrics_in(HISTORY)}
    row |= {f"accuracy_{target}": float(v) for target, v in zip(targets, values["accuracy"], strict=True)}
    return row | {f"r2_{target}": float(v) for target, v in zip(targets, values["r2"], strict=True)}
