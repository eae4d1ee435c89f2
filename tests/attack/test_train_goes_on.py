"""Training that is interrupted, or runs out of disk: one line, nothing lost, and it goes on where it stopped."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from hostile import write_clips, write_system  # noqa: E402
from test_files import full_disk  # noqa: E402
from thinslice.errors import OutputError  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import Recipe, Update  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from toy_recipe import adam, mae_loss, toy_data, toy_recipe, toy_stage  # noqa: E402

HERE = Path(__file__).parent
SETTINGS = LoopSettings(device="cpu", tensorboard=False)
RESUME = LoopSettings(device="cpu", tensorboard=False, resume=True)
AT_STEP: dict[int, Callable[[], object]] = {}
"""What happens to a training: number of steps still to go -> what is called then."""


def disturbed_loss(model, batch):  # type: ignore[no-untyped-def]
    for left in list(AT_STEP):
        happens = AT_STEP.pop(left)
        if left:
            AT_STEP[left - 1] = happens
        else:
            happens()
    return mae_loss(model, batch)


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def recipe() -> Recipe:
    update = Update(loss=disturbed_loss, optimiser=partial(adam, lr=0.01))
    return toy_recipe(toy_stage(updates=(update,), epochs=3))


def test_ctrl_c_ends_training_as_such_and_it_resumes_to_the_same_curve(tmp_path: Path) -> None:
    AT_STEP[5] = press_ctrl_c
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), toy_data(), tmp_path / "run", SETTINGS)
    train(recipe(), toy_data(), tmp_path / "run", RESUME)
    train(recipe(), toy_data(), tmp_path / "whole", SETTINGS)
    assert (tmp_path / "run" / "steps.csv").read_bytes() == (tmp_path / "whole" / "steps.csv").read_bytes()


def test_a_full_disk_keeps_the_last_checkpoint_whole(tmp_path: Path) -> None:
    train(toy_recipe(toy_stage(epochs=1)), toy_data(), tmp_path / "short", SETTINGS)
    size = (tmp_path / "short" / "stages" / "all" / "last.ckpt").stat().st_size
    with ExitStack() as disk:
        AT_STEP[0] = lambda: disk.enter_context(full_disk(size - 500))  # run.json is larger, and stands by then.
        with pytest.raises(OutputError, match=r"last\.ckpt: cannot be written \(File too large\)"):
            train(recipe(), toy_data(), tmp_path / "run", SETTINGS)
    assert not list((tmp_path / "run" / "stages" / "all").glob("*.ckpt"))
    train(recipe(), toy_data(), tmp_path / "run", RESUME)
    assert (tmp_path / "run" / "scores.json").exists()


def test_a_clip_that_crashes_its_decoder_is_left_out_and_the_others_are_trained_on(tmp_path: Path) -> None:
    write_system(tmp_path / "voices.py")
    write_clips(tmp_path, ["0.wav", "crash.wav", "2.wav", "3.wav"])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "THINSLICE_SABOTAGE": "1"}
    call = [sys.executable, "-m", "thinslice", "train", "voices.py", "--data", "m.csv", "--out", "run"]
    call += ["--device", "cpu", "--max-steps", "1"]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "1 clip left out (1 train)" in done.stderr
    left_out = json.loads((tmp_path / "run" / "run.json").read_text())["data"]["origin"]["left_out"]
    assert [entry[:2] for entry in left_out] == [["crash.wav", "train"]]
    with open(tmp_path / "features" / "failures.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert "the process that read it died twice (SIGSEGV)" in row["error"]
