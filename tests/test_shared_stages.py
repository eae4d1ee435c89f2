"""Stages that runs share: what is the same is trained once, to the bit; what differs is not taken for it."""

import shutil
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from golden_curves import SMALLEST, plant_data  # noqa: E402
from thinslice.errors import UsageError  # noqa: E402
from thinslice.systems import RECIPES, build_recipe  # noqa: E402
from thinslice.train.data import RunData  # noqa: E402
from thinslice.train.history import History, read_rows  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import Recipe, Stage, Update  # noqa: E402
from thinslice.train.run import RunFolder  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.train.shared_stages import SharedStages, select_parts  # noqa: E402
from thinslice.train.stage import load_weights  # noqa: E402
from thinslice.train.system import build_seeded, weights_of  # noqa: E402
from toy_recipe import adam, mae_loss, toy_data, toy_recipe, toy_stage  # noqa: E402


def settings(shared: Path, **changes: Any) -> LoopSettings:
    return LoopSettings(device="cpu", tensorboard=False, shared_stages=str(shared), **changes)


def taken(run: RunFolder, recipe: Recipe) -> list[bool]:
    return [run.load_end(stage.name).taken for stage in recipe.stages if isinstance(stage, Stage)]


def state_of(run: RunFolder, stage: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = torch.load(weights_of(run, stage), weights_only=True)
    return found


def smallest(name: str, variant: str) -> Recipe:
    return RECIPES[name](variant=variant, **SMALLEST[name][1])


def of_variant(data: RunData, recipe: Recipe) -> RunData:
    """Return the data with the features that a variant has, as a store would give them."""
    names = [*recipe.features, *(f"column:{name}" for name in recipe.columns)]
    return replace(data, splits={split: clips.only(names) for split, clips in data.splits.items()})


class TestSystems:
    def test_rows_of_a_table_share_their_networks_to_the_bit(self, tmp_path: Path) -> None:
        """Table 2 of cross_modal: its two rows, from modalities that were trained once (section 3.2)."""
        ours = smallest("cross_modal", "small_cross-modal")
        data = plant_data(ours)
        runs = {}
        for row in build_recipe("cross_modal").tables["2"]:
            recipe = smallest("cross_modal", f"small_{row}")
            assert recipe.features == ours.features
            runs[row] = train(recipe, data, tmp_path / row, settings(tmp_path / "shared", max_steps=3))
            assert (
                taken(runs[row], recipe)
                == {"audio+video+text": [False] * 4, "cross-modal": [True] * 4 + [False] * 2}[row]
            )
        first, second = (state_of(run, "fusion") for run in runs.values())
        assert set(first) < set(second)  # The other row has embeddings besides.
        for name, value in first.items():
            assert torch.equal(value, second[name]), name
        for stage in ("audio", "video", "text", "fusion"):
            both = [
                [row for row in read_rows(run.path / "steps.csv") if row["stage"] == stage] for run in runs.values()
            ]
            assert both[0] == both[1]
            scored = [
                [row for row in read_rows(run.path / "history.csv") if row["stage"] == stage] for run in runs.values()
            ]
            assert [row["accuracy"] for row in scored[0]] == [row["accuracy"] for row in scored[1]]
        assert len(list((tmp_path / "shared").glob("[!.]*"))) == 6

    def test_a_stage_alone_is_the_same_as_among_others(self, tmp_path: Path) -> None:
        """Trained anew in another variant, without sharing, a modality comes out the same to the bit."""
        data = plant_data(smallest("cross_modal", "small_cross-modal"))
        states = []
        for variant in ("small_text", "small_audio+text"):
            recipe = smallest("cross_modal", variant)
            run = train(
                recipe,
                of_variant(data, recipe),
                tmp_path / variant,
                LoopSettings(device="cpu", tensorboard=False, max_steps=3),
            )
            states.append(select_parts(state_of(run, "text"), ("networks.text", "heads.text")))
        assert set(states[0]) == set(states[1])
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

    def test_what_only_scores_differently_is_trained_once(self, tmp_path: Path) -> None:
        """Table 4 of persemon: PAM, RAM and both of one training. Scores of another module are not shown as its own."""
        data, runs, ends = None, {}, {}
        for row in build_recipe("persemon").tables["4"]:
            recipe = smallest("persemon", f"small_{row}")
            data = data or plant_data(recipe)
            runs[row] = train(recipe, data, tmp_path / row, settings(tmp_path / "shared", max_steps=30))
            ends[row] = taken(runs[row], recipe)
        assert ends == {"joint": [False, False], "joint_pam": [True], "joint_ram": [True]}
        states = [state_of(run, "network") for run in runs.values()]
        assert all(torch.equal(value, other[name]) for name, value in states[0].items() for other in states[1:])
        for row, run in runs.items():
            epochs = [line for line in read_rows(run.path / "history.csv") if line["stage"] == "network"]
            assert all(line["train_networks"] for line in epochs)
            assert any(line.get("accuracy") for line in epochs) == (row == "joint")

    def test_classes_are_learned_once_whatever_the_regression(self, tmp_path: Path) -> None:
        """Table 4 of cr_net, sound and words: the second stage differs between its rows, the first does not."""
        data = plant_data(smallest("cr_net", "small_all"))
        trained: Counter[str] = Counter()
        for row in build_recipe("cr_net").tables["4"]:
            if row.startswith("audio_text"):
                recipe = smallest("cr_net", f"small_{row}")
                run = train(
                    recipe, of_variant(data, recipe), tmp_path / row, settings(tmp_path / "shared", max_steps=1)
                )
                names = [stage.name for stage in recipe.stages if isinstance(stage, Stage)]
                trained.update(name for name, was in zip(names, taken(run, recipe), strict=True) if not was)
        assert trained == {"classes_audio_text": 1, "joint_audio_text": 4}

    @pytest.mark.parametrize("name", [name for name in RECIPES if name != "bimodal"])
    def test_first_weights_do_not_depend_on_the_variant(self, name: str) -> None:
        own = next(entry for entry in SMALLEST if entry.split()[0] == name)
        depths = {"streams": 3, "networks": 2, "heads": 2}
        rows = {
            row.partition("@")[0]
            for number, table in RECIPES[name]().tables.items()
            for row in table
            if number != "readings"  # Another reading may be another initialisation.
        }
        if name == "deep_impression":  # Its tables' models name their parts differently.
            rows = {"dnn", "sound", "pictures"}
        found: dict[Any, Any] = {}
        count = 0
        for row in sorted(rows):
            state = build_seeded(RECIPES[name](variant=f"small_{row}", **SMALLEST[own][1]), 0).state_dict()
            parts: dict[str, dict[str, Any]] = {}
            for key, value in state.items():
                names = key.split(".")
                parts.setdefault(".".join(names[: depths.get(names[0], 1)]), {})[key] = value
            for part in parts.values():
                before = found.setdefault(tuple((key, tuple(value.shape)) for key, value in part.items()), part)
                count += before is not part
                assert all(torch.equal(before[key], value) for key, value in part.items()), f"{row}: {list(part)}"
        assert count > 0

    @pytest.mark.parametrize("name", ["cross_modal", "cr_net", "audiovisual_attributes"])
    def test_a_stage_reads_nothing_but_its_parts(self, name: str, tmp_path: Path) -> None:
        """With everything else made NaN, each stage learns what it learns without."""
        variant, sizes = SMALLEST[name]
        recipe = RECIPES[name](variant=variant, **sizes)
        data = plant_data(recipe)
        stages = [stage for stage in recipe.stages if isinstance(stage, Stage)]
        limits = LoopSettings(device="cpu", tensorboard=False, max_steps=2, score_splits=())
        whole = train(replace(recipe, stages=tuple(stages)), data, tmp_path / "whole", limits)
        losses = [(row["stage"], row["loss"]) for row in read_rows(whole.path / "steps.csv")]
        for before, stage in zip([None, *stages], stages, strict=False):
            start = None if before is None else weights_of(whole, before.name)
            alone = replace(stage, prepare=partial(spoil, stage, start), start="")
            run = train(replace(recipe, stages=(alone,)), data, tmp_path / stage.name, limits)
            found = [(row["stage"], row["loss"]) for row in read_rows(run.path / "steps.csv")]
            assert found == [entry for entry in losses if entry[0] == stage.name]


def spoil(stage: Stage, start: Path | None, model: Any, data: Any) -> None:
    if start is not None:
        load_weights(model, start)
    if stage.prepare is not None:
        stage.prepare(model, data)
    state = model.state_dict()
    for name in set(state) - set(select_parts(state, stage.parts)):
        if state[name].is_floating_point():
            state[name].fill_(torch.nan)


class TestToy:
    @staticmethod
    def two(**changes: Any) -> Recipe:
        """A body and head that are trained first, and a head that is trained on it."""
        first = toy_stage("first", updates=(update("body", "head"),), parts=("body", "head"), epochs=2, keep="best")
        second = toy_stage("second", updates=(update("head"),), epochs=1, **changes)
        return toy_recipe(first, second)

    def test_taken_stage_is_the_trained_one(self, tmp_path: Path) -> None:
        shared = settings(tmp_path / "shared")
        one = train(self.two(), toy_data(), tmp_path / "one", shared)
        two = train(self.two(batch_size=4), toy_data(), tmp_path / "two", shared)
        alone = train(self.two(batch_size=4), toy_data(), tmp_path / "alone", replace(shared, shared_stages=None))
        assert (taken(one, self.two()), taken(two, self.two())) == ([False, False], [True, False])
        assert read_rows(two.path / "steps.csv") == read_rows(alone.path / "steps.csv")
        timeless = [[{**row, "seconds": ""} for row in read_rows(run.path / "history.csv")] for run in (two, alone)]
        assert timeless[0] == timeless[1]
        for run in (one, two, alone):
            assert (state_of(run, "second")["body.0.weight"] == state_of(alone, "second")["body.0.weight"]).all()
        assert two.load_end("first").progress == alone.load_end("first").progress
        names = ("best.pt", "last.pt", "done.json")
        assert {path.name for path in two.stage("first").iterdir()} == {*names, "stage.json"}

    @pytest.mark.parametrize(
        "changed",
        [
            {"data": 29},
            {"seed": 3},
            {"max_steps": 5},
            {"recipe": toy_recipe(toy_stage(keep="best", epochs=4))},
            {"recipe": toy_recipe(toy_stage(keep="best"), dropout=0.1)},
            {"recipe": toy_recipe(toy_stage(keep="best"), batch_norm=True)},
        ],
    )
    def test_what_differs_is_trained(self, changed: dict[str, Any], tmp_path: Path) -> None:
        recipe = toy_recipe(toy_stage(keep="best"))
        train(recipe, toy_data(), tmp_path / "one", settings(tmp_path / "shared"))
        other = changed.pop("recipe", recipe)
        data = toy_data(changed.pop("data", 30))
        run = train(other, data, tmp_path / "two", settings(tmp_path / "shared", **changed))
        assert taken(run, other) == [False]

    def test_validation_clips_count_where_they_choose(self, tmp_path: Path) -> None:
        data = toy_data()
        fewer = replace(data, splits={**data.splits, "validation": data.splits["validation"].select(range(5))})
        for keep, expected in (("best", [False]), ("last", [True])):
            recipe = toy_recipe(toy_stage(keep=keep, epochs=2))
            train(recipe, data, tmp_path / keep / "one", settings(tmp_path / keep / "shared"))
            run = train(recipe, fewer, tmp_path / keep / "two", settings(tmp_path / keep / "shared"))
            assert taken(run, recipe) == expected

    def test_what_a_function_hides_is_not_shared(self, tmp_path: Path) -> None:
        def loss(model: Any, batch: Any) -> Any:
            return mae_loss(model, batch)

        recipe = toy_recipe(toy_stage(epochs=1, updates=(Update(loss=loss, optimiser=partial(adam, lr=0.01)),)))
        for name in ("one", "two"):
            run = train(recipe, toy_data(), tmp_path / name, settings(tmp_path / "shared"))
            assert taken(run, recipe) == [False]
        assert not list((tmp_path / "shared").glob("[!.]*"))

    def test_a_stage_that_changes_more_than_its_parts_is_refused(self, tmp_path: Path) -> None:
        recipe = toy_recipe(toy_stage(epochs=1, parts=("body",)))
        with pytest.raises(UsageError, match=r"stage all: changes head\.bias, which is in none of its parts"):
            train(recipe, toy_data(), tmp_path / "run", settings(tmp_path / "shared"))
        assert not list((tmp_path / "shared").glob("[!.]*"))

    def test_a_stage_cannot_read_features_that_it_does_not_name(self, tmp_path: Path) -> None:
        recipe = toy_recipe(toy_stage(epochs=1, features=()))
        with pytest.raises(UsageError, match="its stored features do not fit the recipe"):
            train(recipe, toy_data(), tmp_path / "run", settings(tmp_path / "shared"))

    def test_damaged_stage_is_one_line_and_its_remedy_works(self, tmp_path: Path) -> None:
        """However it is damaged, also half deleted, nothing of it comes into a run."""
        recipe = toy_recipe(toy_stage(epochs=1))
        train(recipe, toy_data(), tmp_path / "one", settings(tmp_path / "shared"))
        (folder,) = (tmp_path / "shared").glob("[!.]*")
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["best.pt", "done.json", "history.csv", "last.pt", "stage.json", "steps.csv"]
        for name in names:
            whole = (folder / name).read_bytes()
            for spoil in (partial(Path.write_bytes, data=whole[: len(whole) // 2]), Path.unlink):
                spoil(folder / name)
                with pytest.raises(UsageError, match=r"damaged .*delete this folder, and the stage is trained again"):
                    train(recipe, toy_data(), tmp_path / "two", settings(tmp_path / "shared", resume=True))
            (folder / name).write_bytes(whole)
        shutil.rmtree(folder)
        run = train(recipe, toy_data(), tmp_path / "two", settings(tmp_path / "shared", resume=True))
        assert taken(run, recipe) == [False]

    def test_a_trial_that_goes_on_is_not_taken_for_the_whole(self, tmp_path: Path) -> None:
        """Also where the trial ended with an epoch, so that there is a checkpoint to go on from."""
        recipe, shared = toy_recipe(toy_stage(epochs=2)), settings(tmp_path / "shared", resume=True)
        assert train(recipe, toy_data(), tmp_path / "one", replace(shared, max_steps=4)).load_end("all").cut_short
        run = train(recipe, toy_data(), tmp_path / "one", shared)
        other = train(recipe, toy_data(), tmp_path / "two", shared)
        assert [(each.load_end("all").steps, each.load_end("all").taken) for each in (run, other)] == [
            (8, False),
            (8, True),
        ]
        trial = train(recipe, toy_data(), tmp_path / "three", replace(shared, max_steps=4))
        assert (trial.load_end("all").steps, taken(trial, recipe)) == (4, [True])

    def test_who_needs_a_stage_that_another_trains_waits_for_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe, shared = toy_recipe(toy_stage(epochs=1)), settings(tmp_path / "shared")
        train(recipe, toy_data(), tmp_path / "one", shared)
        (folder,) = (tmp_path / "shared").glob("[!.]*")
        folder.rename(tmp_path / "not yet")
        asked, acquire = threading.Event(), filelock.FileLock.acquire

        def ask(self: Any, *args: Any, **keywords: Any) -> Any:
            if Path(self.lock_file).parent == tmp_path / "shared":
                asked.set()
            return acquire(self, *args, **keywords)

        with ThreadPoolExecutor() as pool, SharedStages(tmp_path / "shared").held(folder.name) as found:
            assert found is None
            monkeypatch.setattr(filelock.FileLock, "acquire", ask)
            waiting = pool.submit(train, recipe, toy_data(), tmp_path / "two", replace(shared, score_splits=()))
            assert asked.wait(60)
            (tmp_path / "not yet").rename(folder)
        assert taken(waiting.result(), recipe) == [True]

    def test_killed_run_goes_on_and_shares(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The stage of a run that was stopped is kept when the run has gone on, and is the same."""
        recipe, shared = toy_recipe(toy_stage(epochs=3)), settings(tmp_path / "shared")
        add_epoch = History.add_epoch

        def stop(self: History, row: Mapping[str, Any]) -> None:
            if row["epoch"] == 2:
                raise RuntimeError("stopped")
            add_epoch(self, row)

        monkeypatch.setattr(History, "add_epoch", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            train(recipe, toy_data(), tmp_path / "one", shared)
        monkeypatch.undo()
        assert not list((tmp_path / "shared").glob("[!.]*"))
        (lock,) = (tmp_path / "shared").glob("*.lock")
        lock.with_suffix(".0123.part").mkdir()  # As a program leaves it that is killed while it writes.
        run = train(recipe, toy_data(), tmp_path / "one", replace(shared, resume=True))
        assert not list((tmp_path / "shared").glob("*.part"))
        other = train(recipe, toy_data(), tmp_path / "two", shared)
        assert (taken(run, recipe), taken(other, recipe)) == ([False], [True])
        assert read_rows(run.path / "steps.csv") == read_rows(other.path / "steps.csv")


def update(*trains: str) -> Update:
    return Update(loss=mae_loss, optimiser=partial(adam, lr=0.01), trains=trains)
