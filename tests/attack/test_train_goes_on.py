"""Training that is interrupted, or runs out of disk: one line, nothing lost, and it goes on where it stopped."""

from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from test_files import full_disk  # noqa: E402
from thinslice.errors import OutputError  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import Recipe, Update  # noqa: E402
from thinslice.train.settings import Settings  # noqa: E402
from toy_recipe import adam, mae_loss, toy_data, toy_recipe, toy_stage  # noqa: E402

SETTINGS = Settings(device="cpu", tensorboard=False)
RESUME = Settings(device="cpu", tensorboard=False, resume=True)
CALLS = {"left": 0}


def interrupted_loss(model, batch):  # type: ignore[no-untyped-def]
    CALLS["left"] -= 1
    if not CALLS["left"]:
        raise KeyboardInterrupt
    return mae_loss(model, batch)


def recipe() -> Recipe:
    update = Update(loss=interrupted_loss, optimiser=partial(adam, lr=0.01))
    return toy_recipe(toy_stage(updates=(update,), epochs=3))


def test_ctrl_c_ends_training_as_such_and_it_resumes_to_the_same_curve(tmp_path: Path) -> None:
    CALLS["left"] = 6
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), toy_data(), tmp_path / "run", SETTINGS)
    train(recipe(), toy_data(), tmp_path / "run", RESUME)
    train(recipe(), toy_data(), tmp_path / "whole", SETTINGS)
    assert (tmp_path / "run" / "steps.csv").read_bytes() == (tmp_path / "whole" / "steps.csv").read_bytes()


def test_a_full_disk_keeps_the_last_checkpoint_whole(tmp_path: Path) -> None:
    CALLS["left"] = 0
    train(toy_recipe(toy_stage(epochs=1)), toy_data(), tmp_path / "short", SETTINGS)
    size = (tmp_path / "short" / "stages" / "all" / "last.ckpt").stat().st_size
    with full_disk(size - 500), pytest.raises(OutputError, match=r"last\.ckpt: cannot be written \(File too large\)"):
        train(recipe(), toy_data(), tmp_path / "run", SETTINGS)
    assert not list((tmp_path / "run" / "stages" / "all").glob("*.ckpt"))
    train(recipe(), toy_data(), tmp_path / "run", RESUME)
    assert (tmp_path / "run" / "scores.json").exists()
