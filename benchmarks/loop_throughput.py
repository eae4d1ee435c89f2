"""How much of a bare PyTorch loop's speed the training loop keeps, on the same batches.

    python benchmarks/loop_throughput.py [--device cpu] [--steps 200] [--size small|full] [--batch 32]

Both loops take the same batches from memory, so that reading does not count, and run the same network, loss and Adam;
they take turns, and the median over turns counts. On a CPU processor time is measured, since machines are shared. Clips
are noise.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from thinslice.systems.deep_impression.recipe import deep_impression
from thinslice.train.data import ArrayReader, ClipData, Plan, Sampled, TrainingSet
from thinslice.train.history import History
from thinslice.train.stage import StageModule, freeze
from thinslice.train.system import build_seeded
from thinslice.traits import TRAITS


class Held:
    """Batches made beforehand."""

    def __init__(self, batches: list[dict[str, Any]], count: int) -> None:
        self.batches, self.count = batches, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for step in range(self.count):
            yield self.batches[step % len(self.batches)]


def make_batches(recipe: Any, count: int, batch_size: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    shape = recipe.features["frames"].params
    arrays = {
        f"clip{i}": {
            "waveform": rng.normal(0, 0.1, 16000 * 15).astype(np.float32),
            "frames": rng.integers(0, 256, (1, shape["height"], shape["width"], 3), dtype=np.uint8),
        }
        for i in range(batch_size)
    }
    clips = ClipData(tuple(arrays), rng.uniform(size=(batch_size, 5)), TRAITS, ArrayReader(arrays))
    dataset = TrainingSet(Sampled(clips, recipe.sample), {}, 0, "network")
    return [dataset[Plan(epoch, tuple(range(batch_size)), 1.0, True)] for epoch in range(count)]


def to(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch["inputs"].items()}
    return {"inputs": moved, "labels": batch["labels"].to(device, non_blocking=True)}


def bare(recipe: Any, held: Held, device: torch.device) -> float:
    model = build_seeded(recipe, 0).to(device).train()
    (update,) = recipe.stages[0].updates
    optimiser = update.optimiser(model.parameters())
    began = 0.0
    for step, batch in enumerate(held):
        if step == 3:
            began = now(device)
        batch = to(batch, device)
        loss = update.loss(model, batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return (len(held) - 3) / (now(device) - began)


def ours(recipe: Any, held: Held, device: torch.device) -> float:
    times: list[float] = []

    class Clock(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 3:
                times.append(now(device))

        def on_train_end(self, trainer: Any, module: Any) -> None:
            times.append(now(device))

    with tempfile.TemporaryDirectory() as folder:
        stage = recipe.stages[0]
        model = build_seeded(recipe, 0)
        freeze(model, stage)
        history = History(Path(folder), tensorboard=True)
        module = StageModule(model, stage, seed=0, history=history, max_steps=None, on_epoch=lambda *_: True)
        trainer = L.Trainer(
            accelerator=device.type,
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            limit_val_batches=0,
            callbacks=[Clock()],
        )
        trainer.fit(module, held)
        history.close()
    return (len(held) - 3) / (times[1] - times[0])


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--size", choices=["small", "full"], default="small")
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    device = torch.device(arguments.device)
    recipe = deep_impression("small" if arguments.size == "small" else "dnn", batch_size=arguments.batch)
    held = Held(make_batches(recipe, 4, arguments.batch), arguments.steps)
    ratios = []
    for turn in range(arguments.turns):
        order = (bare, ours) if turn % 2 else (ours, bare)
        speeds = {loop.__name__: loop(recipe, held, device) for loop in order}
        ratios.append(speeds["ours"] / speeds["bare"])
        print(f"turn {turn}: bare {speeds['bare']:.2f} steps/s, loop {speeds['ours']:.2f}, ratio {ratios[-1]:.3f}")
    print(f"{arguments.size}, batch {arguments.batch}, {device}: median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
