"""The training loop on a toy system: exact resumption, equality of divisions, freezing, and whatever stages need."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from thinslice.cli.train import describe_scores, published_accuracy  # noqa: E402
from thinslice.errors import UsageError  # noqa: E402
from thinslice.evaluate.metrics import accuracy  # noqa: E402
from thinslice.evaluate.predictions import read_predictions  # noqa: E402
from thinslice.features.spec import FeatureSpec  # noqa: E402
from thinslice.layers.losses import mean_absolute_error  # noqa: E402
from thinslice.systems import build_recipe  # noqa: E402
from thinslice.train.data import (  # noqa: E402
    ArrayReader,
    Batches,
    ClipData,
    RunData,
    collate,
)
from thinslice.train.history import read_rows  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import Companion, FitStage, Update  # noqa: E402
from thinslice.train.run_stage import _Bar  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.train.stage import TrainingError, build_optimiser, freeze, load_weights  # noqa: E402
from thinslice.train.system import build_seeded, weights_of  # noqa: E402
from thinslice.traits import TRAITS  # noqa: E402
from toy_recipe import Toy, adam, mae_loss, toy_clips, toy_data, toy_recipe, toy_stage  # noqa: E402

SETTINGS = LoopSettings(device="cpu", tensorboard=False)
TOY = Path(__file__).with_name("toy_recipe.py")


def curve(folder: Path) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in read_rows(folder / "steps.csv")]


def losses(folder: Path) -> np.ndarray:
    return np.array([float(row["loss"]) for row in read_rows(folder / "steps.csv")])


def scores(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(folder / "history.csv")]


def run_toy(out: Path, dropout: float, per_device: int, how: str, *launcher: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [*(launcher or (sys.executable,)), str(TOY), str(out), str(dropout), str(per_device), how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


class TestResume:
    def test_killed_run_resumes_to_the_identical_curve(self, tmp_path: Path) -> None:
        from toy_recipe import _dying_loss

        def recipe(how: str):  # type: ignore[no-untyped-def]
            update = Update(loss=partial(_dying_loss, how), optimiser=partial(adam, lr=0.01))
            return toy_recipe(toy_stage(updates=(update,)), dropout=0.3)

        whole = train(recipe("never"), toy_data(), tmp_path / "whole", SETTINGS).path
        # 30 clips in batches of 8 are 4 steps an epoch: step 11 is in the middle of the third.
        killed = run_toy(tmp_path / "killed", 0.3, 0, "11")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert killed.stderr == ""  # Lightning has nothing to say of its own.
        assert 0 < len(read_rows(tmp_path / "killed" / "history.csv")) < 5
        document = (tmp_path / "killed" / "run.json").read_text().replace('"11"', '"never"')
        (tmp_path / "killed" / "run.json").write_text(document)  # How it was to die is in the recipe.
        resumed = train(recipe("never"), toy_data(), tmp_path / "killed", LoopSettings(device="cpu", resume=True)).path
        assert curve(resumed) == curve(whole)
        assert scores(resumed) == scores(whole)
        assert (resumed / "predictions_test.csv").read_bytes() == (whole / "predictions_test.csv").read_bytes()

    def test_run_cut_short_by_max_steps_goes_on(self, tmp_path: Path) -> None:
        stages = (toy_stage("one"), toy_stage("two", epochs=2))
        whole = train(toy_recipe(*stages), toy_data(), tmp_path / "whole", SETTINGS).path
        for limit in (6, 13, None):
            settings = LoopSettings(device="cpu", tensorboard=False, max_steps=limit, resume=True)
            part = train(toy_recipe(*stages), toy_data(), tmp_path / "part", settings).path
            rows = read_rows(part / "steps.csv")
            for name, epochs in (("one", 5), ("two", 2)):
                assert sum(row["stage"] == name for row in rows) == min(limit or 99, 4 * epochs)
        assert curve(part) == curve(whole)
        assert scores(part) == scores(whole)

    def test_what_is_scored_is_not_scored_again(self, tmp_path: Path) -> None:
        recipe, out = toy_recipe(toy_stage(epochs=2)), tmp_path / "run"
        trial = replace(SETTINGS, max_steps=4, resume=True)
        file = train(recipe, toy_data(), out, trial).predictions("test")
        first, inode = file.read_bytes(), file.stat().st_ino
        train(recipe, toy_data(), out, trial)
        assert file.stat().st_ino == inode  # Files are replaced whole.
        train(recipe, toy_data(), out, replace(SETTINGS, resume=True))
        second = file.read_bytes()
        assert second != first
        for lost in (file, out / "scores.json"):
            lost.unlink()
            train(recipe, toy_data(), out, replace(SETTINGS, resume=True))
            assert lost.exists()
            assert file.read_bytes() == second

    def test_finished_run_resumes_to_itself(self, tmp_path: Path) -> None:
        folder = train(toy_recipe(), toy_data(), tmp_path / "run", SETTINGS).path
        before = curve(folder)
        train(toy_recipe(), toy_data(), tmp_path / "run", LoopSettings(device="cpu", tensorboard=False, resume=True))
        assert curve(folder) == before

    def test_other_data_seed_or_recipe_is_refused(self, tmp_path: Path) -> None:
        train(toy_recipe(), toy_data(), tmp_path / "run", SETTINGS)
        again = LoopSettings(device="cpu", tensorboard=False, resume=True)
        with pytest.raises(UsageError, match="another data"):
            train(toy_recipe(), toy_data(29), tmp_path / "run", again)
        with pytest.raises(UsageError, match="another seed"):
            train(toy_recipe(), toy_data(), tmp_path / "run", LoopSettings(device="cpu", resume=True, seed=5))
        with pytest.raises(UsageError, match=r"another resolved .*stages"):
            train(toy_recipe(toy_stage(epochs=6)), toy_data(), tmp_path / "run", again)
        with pytest.raises(UsageError, match="--resume"):
            train(toy_recipe(), toy_data(), tmp_path / "run", SETTINGS)

    def test_folder_of_something_else_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("x")
        with pytest.raises(UsageError, match="is not a run"):
            train(toy_recipe(), toy_data(), tmp_path / "mine", SETTINGS)
        assert os.listdir(tmp_path / "mine") == ["thesis.txt"]

    def test_start_is_scored_once_however_often_the_run_is_resumed(self, tmp_path: Path) -> None:
        recipe = toy_recipe(toy_stage(validate_start=True, keep="best", epochs=3))
        whole = train(recipe, toy_data(), tmp_path / "whole", SETTINGS).path
        for limit in (2, 6, None):  # The first is cut short within the first epoch: before any checkpoint.
            settings = replace(SETTINGS, max_steps=limit, resume=True)
            part = train(recipe, toy_data(), tmp_path / "part", settings).path
            assert [row["epoch"] for row in scores(part)][:2] == ["0", "1"]
        assert curve(part) == curve(whole)
        assert scores(part) == scores(whole)
        assert [row["epoch"] for row in scores(whole)] == ["0", "1", "2", "3"]

    def test_two_programs_in_one_folder_are_kept_apart(self, tmp_path: Path) -> None:
        train(toy_recipe(toy_stage(epochs=1)), toy_data(), tmp_path / "run", SETTINGS)
        with (
            FileLock(tmp_path / "run" / ".lock"),
            pytest.raises(UsageError, match="another program is writing into it"),
        ):
            train(toy_recipe(toy_stage(epochs=1)), toy_data(), tmp_path / "run", replace(SETTINGS, resume=True))


class TestDivision:
    def test_two_processes_equal_one(self, tmp_path: Path) -> None:
        launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29617")
        done = run_toy(tmp_path / "two", 0.0, 0, "never", *launcher)
        assert done.returncode == 0, done.stderr
        one = run_in_process(tmp_path / "one", 0.0)
        assert len(losses(one)) == 20
        np.testing.assert_allclose(losses(tmp_path / "two"), losses(one), rtol=2e-5)
        ours, theirs = (torch.load(p / "stages/all/last.pt", weights_only=True) for p in (one, tmp_path / "two"))
        for name, value in ours.items():
            torch.testing.assert_close(theirs[name], value, rtol=1e-4, atol=1e-6)
        assert len(read_rows(tmp_path / "two" / "predictions_test.csv")) == 7

    def test_accumulated_passes_equal_whole_batches(self, tmp_path: Path) -> None:
        whole = run_in_process(tmp_path / "whole", 0.0)
        parts = run_in_process(tmp_path / "parts", 0.0, batch_size_per_device=3)
        np.testing.assert_allclose(losses(parts), losses(whole), rtol=2e-5)

    @pytest.mark.parametrize(("num_processes", "num_accumulated"), [(1, 1), (2, 1), (3, 2), (8, 2)])
    def test_every_clip_counts_once_an_epoch(self, num_processes: int, num_accumulated: int) -> None:
        def batches(rank: int) -> Batches:
            return Batches(29, 8, 0, "s", rank, num_processes, num_accumulated)

        totals = np.zeros(29)
        for plans in zip(*(list(batches(rank)) for rank in range(num_processes)), strict=True):
            for plan in plans:
                for row in plan.rows:
                    totals[row] += plan.weight / len(plan.rows) / num_processes
        # In a full step of 8 clips each has an 8th, in the last one of 5 a 5th.
        assert sorted(np.round(totals, 6)) == [0.125] * 24 + [0.2] * 5
        assert [plan.is_last for plan in batches(0)] == ([False] * (num_accumulated - 1) + [True]) * 4

    def test_orders_differ_between_epochs_and_seeds_only(self) -> None:
        def order(seed: int, epoch: int) -> list[int]:
            return [row for plan in Batches(29, 8, seed, "s", epoch=epoch) for row in plan.rows]

        assert order(0, 0) == order(0, 0)
        assert order(0, 0) != order(0, 1) != order(1, 1)

    def test_workers_change_nothing(self, tmp_path: Path) -> None:
        alone = train(toy_recipe(), toy_data(), tmp_path / "alone", SETTINGS).path
        two = LoopSettings(device="cpu", tensorboard=False, num_readers=2)
        helped = train(toy_recipe(), toy_data(), tmp_path / "helped", two).path
        assert curve(helped) == curve(alone)


def run_in_process(out: Path, dropout: float, **settings: int) -> Path:
    update = Update(loss=mae_loss, optimiser=partial(adam, lr=0.01))
    recipe = toy_recipe(toy_stage(updates=(update,)), dropout=dropout)
    return train(recipe, toy_data(), out, LoopSettings(device="cpu", tensorboard=False, **settings)).path  # type: ignore[arg-type]


class TestScores:
    def test_history_and_prediction_files_agree(self, tmp_path: Path) -> None:
        data = toy_data()
        folder = train(toy_recipe(), data, tmp_path / "run", SETTINGS).path
        predicted = read_predictions(folder / "predictions_validation.csv")
        assert predicted.clips == data.splits["validation"].clips  # 11 clips in batches of 8: none left out.
        ours = accuracy(data.splits["validation"].labels, predicted.scores[:, :5]).mean()
        assert float(scores(folder)[-1]["accuracy"]) == pytest.approx(ours, abs=1e-5)

    def test_learns(self, tmp_path: Path) -> None:
        stage = toy_stage(updates=(Update(loss=mae_loss, optimiser=partial(adam, lr=0.03)),), epochs=12)
        folder = train(toy_recipe(stage, dropout=0.0), toy_data(200), tmp_path / "run", SETTINGS).path
        assert float(scores(folder)[-1]["r2"]) > 0.8

    def test_best_weights_and_patience(self, tmp_path: Path) -> None:
        # A rate so high that the first epochs are the best.
        update = Update(loss=mae_loss, optimiser=partial(adam, lr=3.0))
        stage = toy_stage(updates=(update,), epochs=50, patience=3, keep="best")
        run = train(toy_recipe(stage), toy_data(), tmp_path / "run", SETTINGS)
        values = [float(row["accuracy"]) for row in scores(run.path)]
        best = int(np.argmax(values))
        assert len(values) == best + 4 < 50
        assert weights_of(run, "all").name == "best.pt"
        predicted = read_predictions(run.path / "predictions_validation.csv").scores[:, :5]
        assert accuracy(toy_data().splits["validation"].labels, predicted).mean() == pytest.approx(
            max(values), abs=1e-5
        )
        resumed = LoopSettings(device="cpu", tensorboard=False, resume=True)
        (run.path / "stages/all/done.json").unlink()  # As if killed after the last checkpoint.
        train(toy_recipe(stage), toy_data(), run.path, resumed)
        assert [float(row["accuracy"]) for row in scores(run.path)] == values

    def test_weights_of_the_start_are_kept_where_training_hurts(self, tmp_path: Path) -> None:
        ruin = (Update(loss=mae_loss, optimiser=partial(torch.optim.SGD, lr=1e4)),)
        second = toy_stage("tune", updates=ruin, keep="best", validate_start=True, epochs=2)
        run = train(toy_recipe(toy_stage("first"), second), toy_data(), tmp_path / "run", SETTINGS)
        before, after = (torch.load(weights_of(run, name), weights_only=True) for name in ("first", "tune"))
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        rows = {row["epoch"]: row for row in scores(run.path) if row["stage"] == "tune"}
        assert list(rows) == ["0", "1", "2"]
        assert rows["0"]["train_loss"] == ""
        last_of_first = scores(run.path)[4]
        assert rows["0"]["accuracy"] == last_of_first["accuracy"]
        assert float(rows["2"]["accuracy"]) < float(rows["0"]["accuracy"]) - 0.05

    def test_start_cannot_be_judged_by_a_training_loss(self) -> None:
        with pytest.raises(UsageError, match="no train_loss before training"):
            toy_stage(validate_start=True, monitor="train_loss")

    @pytest.mark.parametrize(
        ("error", "raised"),
        [
            (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), TrainingError),
            (
                RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."),
                TrainingError,
            ),
            (RuntimeError("shapes do not fit"), RuntimeError),
        ],
    )
    def test_too_little_memory_is_one_line(self, error: Exception, raised: type[Exception], tmp_path: Path) -> None:
        def loss(model: Any, batch: Any) -> Any:
            raise error

        recipe = toy_recipe(toy_stage(updates=(Update(loss=loss, optimiser=partial(adam, lr=0.01)),)))
        with pytest.raises(raised, match="--batch-size-per-device" if raised is TrainingError else "shapes"):
            train(recipe, toy_data(), tmp_path / "run", SETTINGS)

    def test_loss_that_is_no_number_names_its_step(self, tmp_path: Path) -> None:
        clips = toy_clips(30, 1)
        clips.features.read("clip3", "x")[2] = np.nan  # type: ignore[index]
        with pytest.raises(TrainingError, match=r"stage all, epoch 1, step [1-4]: the loss loss is nan"):
            train(toy_recipe(), RunData(splits={"train": clips}), tmp_path / "run", SETTINGS)

    def test_without_validation_the_last_weights_are_kept(self, tmp_path: Path) -> None:
        data = RunData(splits={"train": toy_clips(30, 1)})
        run = train(toy_recipe(toy_stage(keep="best")), data, tmp_path / "run", SETTINGS)
        assert weights_of(run, "all").name == "last.pt"

    def test_half_precision(self, tmp_path: Path) -> None:
        half = LoopSettings(device="cpu", tensorboard=False, precision="bf16-mixed")
        folder = train(toy_recipe(), toy_data(), tmp_path / "half", half).path
        full = train(toy_recipe(), toy_data(), tmp_path / "full", SETTINGS).path
        np.testing.assert_allclose(losses(folder), losses(full), rtol=0.05)
        assert curve(folder) != curve(full)

    def test_tensorboard_events_are_written(self, tmp_path: Path) -> None:
        pytest.importorskip("tensorboard")
        folder = train(toy_recipe(toy_stage(epochs=1)), toy_data(), tmp_path / "run", LoopSettings(device="cpu")).path
        assert list((folder / "tensorboard" / "all").glob("events.*"))


class TestStages:
    def test_exactly_the_intended_parameters_change(self, tmp_path: Path) -> None:
        update = Update(loss=mae_loss, optimiser=partial(adam, lr=0.01), trains=("head",))
        recipe = toy_recipe(toy_stage(updates=(update,)), batch_norm=True)
        run = train(recipe, toy_data(), tmp_path / "run", SETTINGS)
        before = build_seeded(recipe, 0).state_dict()
        after = torch.load(weights_of(run, "all"), weights_only=True)
        changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
        assert changed == {"head.weight", "head.bias"}  # Not even the frozen batch normalisation's statistics.

    def test_frozen_modules_are_in_evaluation_mode(self) -> None:
        model = Toy(0.5, batch_norm=True)
        freeze(model, toy_stage(updates=(Update(loss=mae_loss, optimiser=adam, trains=("head", "body.0")),)))
        modes = {name: module.training for name, module in model.named_modules()}
        assert modes["dropout"]
        assert modes["body.0"]
        assert modes["head"]
        assert not modes["body.1"]
        assert not modes["other"]

    def test_unknown_part_is_named(self) -> None:
        with pytest.raises(UsageError, match="begins with 'hed'"):
            freeze(Toy(), toy_stage(updates=(Update(loss=mae_loss, optimiser=adam, trains=("hed",)),)))

    def test_losses_know_the_epoch(self, tmp_path: Path) -> None:
        seen = []

        def loss(model: torch.nn.Module, batch: dict) -> torch.Tensor:  # type: ignore[type-arg]
            seen.append(batch["epoch"])
            return mae_loss(model, batch)

        recipe = toy_recipe(toy_stage(updates=(Update(loss=loss, optimiser=partial(adam, lr=0.01)),), epochs=3))
        train(recipe, toy_data(), tmp_path / "run", replace(SETTINGS, max_steps=9))
        assert seen == [1] * 4 + [2] * 4 + [3]
        train(recipe, toy_data(), tmp_path / "run", replace(SETTINGS, resume=True))
        assert seen[9:] == [3] * 4  # From its last whole epoch on.
        assert [row["epoch"] for row in read_rows(tmp_path / "run" / "steps.csv")] == ["1"] * 4 + ["2"] * 4 + ["3"] * 4

    def test_options_make_groups(self) -> None:
        optimiser = partial(torch.optim.SGD, lr=0.1, weight_decay=0.01)
        update = Update(loss=mae_loss, optimiser=optimiser, options={"head": {"weight_decay": 0.0}})
        groups = build_optimiser(Toy(), update).param_groups
        assert [(len(g["params"]), g["weight_decay"], g["lr"]) for g in groups] == [(4, 0.01, 0.1), (2, 0.0, 0.1)]

    def test_stages_start_from_named_weights(self, tmp_path: Path) -> None:
        def trains(part: str) -> tuple[Update, ...]:
            return (Update(loss=mae_loss, optimiser=partial(adam, lr=0.01), trains=(part,)),)

        stages = (
            toy_stage("a"),
            toy_stage("b", updates=trains("body")),
            toy_stage("c", start="a", updates=trains("head")),
        )
        run = train(toy_recipe(*stages), toy_data(), tmp_path / "run", SETTINGS)
        a, b, c = (torch.load(weights_of(run, name), weights_only=True) for name in "abc")
        assert torch.equal(a["head.weight"], b["head.weight"])
        assert torch.equal(a["body.0.weight"], c["body.0.weight"])
        assert not torch.equal(a["body.0.weight"], b["body.0.weight"])

    def test_prepare_sees_the_training_clips_once(self, tmp_path: Path) -> None:
        calls = []

        def prepare(model: torch.nn.Module, data: object) -> None:
            calls.append(data.clips)  # type: ignore[attr-defined]
            with torch.no_grad():
                model.other.weight.fill_(float(np.nanmean(data.labels)))  # type: ignore[attr-defined, union-attr]

        run = train(toy_recipe(toy_stage(prepare=prepare, epochs=2)), toy_data(), tmp_path / "run", SETTINGS)
        train(toy_recipe(toy_stage(prepare=prepare, epochs=2)), toy_data(), run.path,
              LoopSettings(device="cpu", resume=True))  # fmt: skip
        assert calls == [toy_data().splits["train"].clips]
        weights = torch.load(weights_of(run, "all"), weights_only=True)["other.weight"]
        assert torch.allclose(weights, torch.tensor(toy_data().splits["train"].labels.mean(), dtype=torch.float32))

    def test_updates_alternate_and_reach_only_their_parts(self, tmp_path: Path) -> None:
        """Adversarial training: one update fits `other` to tell something, the next confuses it through `body`."""
        grads: dict[str, set[str]] = {"tell": set(), "confuse": set()}

        def make(name: str, sign: float):  # type: ignore[no-untyped-def]
            def loss(model: torch.nn.Module, batch: dict) -> dict:  # type: ignore[type-arg]
                for key, parameter in model.named_parameters():
                    if parameter.requires_grad:
                        grads[name].add(key)
                told = model.other(model.body(batch["inputs"]["x"]))
                target = (batch["inputs"]["x"][:, 0] > 0).long()
                entropy = torch.nn.functional.cross_entropy(told, target)
                return {"loss": sign * entropy, "entropy": entropy}

            return loss

        updates = (
            Update(name="tell", loss=make("tell", 1.0), optimiser=partial(adam, lr=0.01), trains=("other",)),
            Update(name="confuse", loss=make("confuse", -1.0), optimiser=partial(adam, lr=0.01), trains=("body",)),
        )
        run = train(toy_recipe(toy_stage(updates=updates)), toy_data(), tmp_path / "run", SETTINGS)
        assert grads == {"tell": {"other.weight", "other.bias"}, "confuse": {"body.0.weight", "body.0.bias"}}
        rows = read_rows(run.path / "steps.csv")
        assert [row["update"] for row in rows[:4]] == ["tell", "confuse", "tell", "confuse"]
        assert len(rows) == 2 * 20
        assert {"train_tell", "train_confuse", "train_confuse_entropy"} <= set(read_rows(run.path / "history.csv")[0])

    def test_schedule_by_steps(self, tmp_path: Path) -> None:
        schedule = partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[3, 6], gamma=0.1)
        update = Update(loss=mae_loss, optimiser=partial(adam, lr=1.0), schedule=schedule, per_step=True)
        stage = toy_stage(updates=(update,), steps=8, epochs=None)
        run = train(toy_recipe(stage), toy_data(), tmp_path / "run", SETTINGS)
        rates = [float(row["rate"]) for row in read_rows(run.path / "steps.csv")]
        assert rates == pytest.approx([1.0] * 3 + [0.1] * 3 + [0.01] * 2)

    def test_precomputed_features_are_what_the_frozen_part_gives(self, tmp_path: Path) -> None:
        seen = []

        def loss(model: torch.nn.Module, batch: dict) -> torch.Tensor:  # type: ignore[type-arg]
            seen.append((batch["clips"], batch["inputs"]["hidden"].clone()))
            return mean_absolute_error(head(model, batch["inputs"]), batch["labels"])

        def head(model: torch.nn.Module, inputs: dict) -> torch.Tensor:  # type: ignore[type-arg]
            return torch.sigmoid(model.head(inputs["hidden"]))

        second = toy_stage(
            "second",
            updates=(Update(loss=loss, optimiser=partial(adam, lr=0.01), trains=("head",)),),
            precompute=lambda model, inputs: {"hidden": model.body(inputs["x"])},
            predict=head,
        )
        recipe = toy_recipe(toy_stage("first"), second)
        run = train(recipe, toy_data(), tmp_path / "run", SETTINGS)
        model = Toy()
        load_weights(model, weights_of(run, "first"))
        model.eval()
        clips = toy_data().splits["train"]
        for rows, hidden in seen:
            x = torch.from_numpy(np.stack([clips.reader(int(row)).read("x") for row in rows]))
            torch.testing.assert_close(hidden, model.body(x))
        assert len(seen) == 20
        # Validation by precomputed features and the final scoring from the clips themselves agree.
        last = float(scores(run.path)[-1]["accuracy"])
        predicted = read_predictions(run.path / "predictions_validation.csv").scores[:, :5]
        assert accuracy(toy_data().splits["validation"].labels, predicted).mean() == pytest.approx(last, abs=1e-5)

    def test_estimator_on_the_networks_features(self, tmp_path: Path) -> None:
        class Ridge:
            def __init__(self, weights: np.ndarray) -> None:
                self.weights = weights

            def predict(self, features: np.ndarray) -> np.ndarray:
                return np.c_[features, np.ones(len(features))] @ self.weights

        def fit(features: np.ndarray, labels: np.ndarray, seed: int) -> Ridge:
            wide = np.c_[features, np.ones(len(features))]
            return Ridge(np.linalg.solve(wide.T @ wide + 0.1 * np.eye(wide.shape[1]), wide.T @ labels))

        stage = FitStage(
            name="ridge",
            features=lambda model, inputs: model.body(inputs["x"]),  # type: ignore[operator]
            fit=fit,
            save=lambda ridge, folder: np.save(folder / "ridge.npy", ridge.weights),
            load=lambda folder: Ridge(np.load(folder / "ridge.npy")),
        )
        recipe = toy_recipe(toy_stage("net"), stage)
        run = train(recipe, toy_data(), tmp_path / "run", SETTINGS)
        model = Toy()
        load_weights(model, weights_of(run, "net"))
        x = torch.from_numpy(np.stack([toy_data().splits["test"].reader(i).read("x") for i in range(7)]))
        features = model.eval().body(x).detach().numpy()
        expected = Ridge(np.load(run.stage("ridge") / "estimator" / "ridge.npy")).predict(features)
        predicted = read_predictions(run.predictions("test")).scores[:, :5]
        np.testing.assert_allclose(predicted, np.clip(expected, 0, 1), atol=2e-6)

    def test_companion_batches_run_beside(self, tmp_path: Path) -> None:
        seen = []

        def loss(model: torch.nn.Module, batch: dict) -> torch.Tensor:  # type: ignore[type-arg]
            seen.append(batch["emotion"])
            told = model.other(model.body(batch["emotion"]["inputs"]["face"]))  # type: ignore[operator]
            return mae_loss(model, batch) + mean_absolute_error(told, batch["emotion"]["labels"])

        def face(clip: object, mode: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
            return {"face": clip.read("face")}  # type: ignore[attr-defined]

        names = tuple(f"image{i}" for i in range(13))
        labels = np.random.default_rng(0).uniform(-1, 1, (13, 2))
        faces = {name: {"face": np.full(6, i, np.float32)} for i, name in enumerate(names)}
        emotion = ClipData(names, labels, ("valence", "arousal"), ArrayReader(faces))
        companion = Companion(
            targets=("valence", "arousal"),
            features={"face": FeatureSpec(extractor="voice_profile")},
            sample=face,
            batch_size=6,
        )
        update = Update(loss=loss, optimiser=partial(adam, lr=0.01))
        recipe = toy_recipe(toy_stage(updates=(update,), companions=("emotion",)), companions={"emotion": companion})
        with pytest.raises(UsageError, match="--companion emotion=MANIFEST"):
            train(recipe, toy_data(), tmp_path / "run", SETTINGS)
        data = RunData(splits=toy_data().splits, companions={"emotion": emotion})
        train(recipe, data, tmp_path / "run", SETTINGS)
        entries = [int(i) for batch in seen for i in batch["clips"]]
        assert len(seen) == 20
        assert all(len(batch["clips"]) == 6 for batch in seen)
        assert sorted(entries[:13]) == sorted(entries[13:26]) == list(range(13))  # Every image once a turn.
        for batch in seen:
            assert torch.equal(batch["inputs"]["face"][:, 0].long(), batch["clips"])
            np.testing.assert_allclose(batch["labels"], labels[batch["clips"]], rtol=1e-6)

    def test_same_result_whatever_was_trained_before_in_this_process(self, tmp_path: Path) -> None:
        first = train(toy_recipe(), toy_data(), tmp_path / "first", SETTINGS).path
        torch.manual_seed(99)
        np.random.default_rng().normal()
        second = train(toy_recipe(), toy_data(), tmp_path / "second", SETTINGS).path
        assert curve(first) == curve(second)
        other = train(toy_recipe(), toy_data(), tmp_path / "other", LoopSettings(device="cpu", seed=1)).path
        assert curve(first) != curve(other)


class TestShown:
    def test_bar_names_stage_and_epoch_from_one(self) -> None:
        assert _Bar(toy_stage("first"))._get_train_description(0) == "first: epoch 1 of 5"
        assert _Bar(toy_stage("first", epochs=None, steps=9))._get_train_description(2) == "first: epoch 3"

    def test_training_prints_five_traits_beside_published_five(self) -> None:
        accuracies = {f"accuracy_{trait}": 0.9 for trait in TRAITS} | {"accuracy_interview": 0.6}
        scores = {"accuracy": 0.85, **accuracies, **{name.replace("accuracy", "r2"): 0.5 for name in accuracies}}
        assert describe_scores(scores) == "accuracy 0.9000, R² 0.500 (average of the five traits); interview 0.6000"
        assert describe_scores({**scores, "r2_openness": None}).startswith("accuracy 0.9000, R² – (")
        assert describe_scores({**scores, "accuracy_interview": None}).endswith("(average of the five traits)")
        assert describe_scores({"accuracy_warmth": 0.8, "r2_warmth": 0.1}) == "accuracy 0.8000, R² 0.100"
        assert published_accuracy(build_recipe("cr_net", "all")).startswith("0.9188 on FI-V2 test (")
        assert published_accuracy(build_recipe("cr_net", "small_all")) == ""

    def test_checkpoints_are_the_weights_of_their_epochs(self, tmp_path: Path) -> None:
        stage = toy_stage(epochs=4, checkpoints={"half": 2})
        run = train(toy_recipe(stage), toy_data(), tmp_path / "four", SETTINGS)
        two = train(toy_recipe(toy_stage(epochs=2)), toy_data(), tmp_path / "two", SETTINGS)
        ours = torch.load(run.stage("all") / "half.pt", weights_only=True)
        theirs = torch.load(two.stage("all") / "last.pt", weights_only=True)
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
        with pytest.raises(UsageError, match="name a checkpoint otherwise"):
            toy_stage(checkpoints={"last": 2})

    def test_scoring_can_be_seldom(self, tmp_path: Path) -> None:
        run = train(toy_recipe(toy_stage(epochs=5, validate_every=2)), toy_data(), tmp_path / "run", SETTINGS)
        rows = read_rows(run.path / "history.csv")
        assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
        assert [bool(row.get("accuracy")) for row in rows] == [False, True, False, True, True]


class TestCollate:
    def test_ragged_inputs_are_padded_with_their_lengths(self) -> None:
        batch = collate([{"w": np.ones((n, 2), np.float32), "x": np.ones(3)} for n in (2, 5, 1)], ["w"])
        assert batch["w"].shape == (3, 5, 2)
        assert batch["w"].sum(dim=(1, 2)).tolist() == [4, 10, 2]
        assert batch["w_length"].tolist() == [2, 5, 1]
        with pytest.raises(ValueError, match="input w differs in shape"):
            collate([{"w": np.ones(n)} for n in (2, 3)])

    def test_clip_whose_features_do_not_fit_is_named(self, tmp_path: Path) -> None:
        clips = toy_clips(30, 1)
        clips.features.arrays["clip7"] = {}  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="clip clip7: its stored features do not fit"):
            train(toy_recipe(), RunData(splits={"train": clips}), tmp_path / "run", SETTINGS)
