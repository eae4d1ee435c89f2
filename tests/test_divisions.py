"""However a step is divided among passes and processes, every recipe learns the same."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from division_runs import NAMES, first_losses, losses_of  # noqa: E402
from thinslice.errors import UsageError  # noqa: E402
from thinslice.train.data import Batches  # noqa: E402
from thinslice.train.division import Division, divide  # noqa: E402
from thinslice.train.history import read_rows  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.processes import Processes, find_device  # noqa: E402
from thinslice.train.recipe import Update  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from toy_recipe import Toy, adam, toy_data, toy_recipe, toy_stage  # noqa: E402

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@cache
def whole(name: str) -> dict[str, np.ndarray]:
    """Return a recipe's losses in one pass of one process."""
    return first_losses(name, Path(mkdtemp()) / "run")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29627"]
    command = [*launcher, str(Path(__file__).with_name("division_runs.py")), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for number, (name, losses) in enumerate(expected.items()):
        # Rounding moves the run's first step alone by the last digits; the next steps and stages multiply it.
        np.testing.assert_allclose(found[name][0], losses[0], rtol=5e-3 if number else 2e-5, err_msg=name)
        np.testing.assert_allclose(found[name], losses, rtol=5e-3, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_four_passes_equal_one(name: str, tmp_path: Path) -> None:
    assert_same(first_losses(name, tmp_path / "run", per_device=1), whole(name))


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_equal_one(name: str, two_processes: Path) -> None:
    assert_same(losses_of(two_processes / name), whole(name))


def spread_loss(model: Toy, batch: dict) -> torch.Tensor:
    """Compare the batch's clips with each other: nothing to compare, nothing to learn."""
    scores = model(**batch["inputs"])
    return ((scores - scores.mean(0)) - (batch["labels"] - batch["labels"].mean(0))).abs().mean()


def test_losses_that_compare_clips_see_the_whole_batch(tmp_path: Path) -> None:
    update = Update(loss=spread_loss, optimiser=partial(adam, lr=0.01))
    curves = []
    for whole_batch in (True, False):
        recipe = toy_recipe(toy_stage(updates=(update,), whole_batch=whole_batch, epochs=2), dropout=0.0)
        for per_device in (None, 1):
            out = tmp_path / f"{whole_batch} {per_device}"
            settings = LoopSettings(device="cpu", tensorboard=False, batch_size_per_device=per_device)
            run = train(recipe, toy_data(), out, settings)
            curves.append([float(row["loss"]) for row in read_rows(run.path / "steps.csv")])
    assert curves[1] == curves[0]
    assert max(curves[3]) == 0.0  # Of single clips there is nothing to compare.


def test_how_stages_are_divided() -> None:
    two, stage = Processes(rank=1, count=2), toy_stage()  # Batches of 8.
    plain, norm = Toy(), Toy(batch_norm=True)
    assert divide(stage, plain, two, CPU, 2) == Division(rank=1, num_shares=2, num_passes=2)
    assert divide(stage, plain, two, CPU, None) == Division(rank=1, num_shares=2)
    assert divide(toy_stage(whole_batch=True), plain, two, CPU, 2) == Division(spares_memory=True)
    assert divide(toy_stage(precompute=lambda model, inputs: inputs), plain, two, CPU, 2) == Division()
    assert divide(stage, norm, Processes(), CPU, 2) == Division(spares_memory=True)
    assert divide(stage, norm, two, GPU, 2) == Division(rank=1, num_shares=2, spares_memory=True)
    assert divide(stage, norm, two, CPU, None) == Division()
    assert divide(stage, norm.eval(), two, CPU, 2) == Division(rank=1, num_shares=2, num_passes=2)


def test_companions_are_divided_as_the_clips_are() -> None:
    batches = Batches(13, 10, 0, "s", num_accumulated=3, companions={"emotion": (9, 40)})
    steps = list(batches)
    assert [(len(plan.rows), len(plan.companions["emotion"])) for plan in steps[:3]] == [(4, 16), (3, 12), (3, 12)]
    last = [entry for plan in steps[3:] for entry in plan.companions["emotion"]]
    assert sorted(last) == sorted(
        list(Batches(13, 10, 0, "s", companions={"emotion": (9, 40)}))[1].companions["emotion"]
    )


def test_more_processes_than_gpus_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    last = Processes(rank=1, count=2, local_rank=1, per_node=2)
    assert find_device("auto", last) == torch.device("cuda", 1)
    with pytest.raises(UsageError, match="2 GPUs for 4 processes; call torchrun with --nproc-per-node 2"):
        find_device("auto", replace(last, count=4, per_node=4))
