"""Figures of PersEmoN and the numbers behind them: disks, timelines, data sets told apart; `thinslice emotion`."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("sklearn")

from thinslice.data.table import read_table
from thinslice.errors import UsageError
from thinslice.systems.persemon.figures import disk_grid, draw_disks, draw_domains, draw_timeline, tell_apart
from thinslice.traits import TRAITS

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "sample.mp4"


class TestDisk:
    def test_grid_is_the_unit_disk(self) -> None:
        points = disk_grid(41)
        assert np.hypot(*points.T).max() <= 1 + 1e-9
        assert len(points) / 41**2 == pytest.approx(np.pi / 4, rel=0.05)
        for corner in ([1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]):
            assert (np.abs(points - corner).max(1) < 1e-9).any()

    def test_colours_lie_where_valence_and_arousal_say(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Valence to the right, arousal upwards: the drawn arrays have the function's values in their places."""
        from matplotlib.axes import Axes

        drawn = []
        original = Axes.imshow

        def watched(axes: Axes, image: np.ndarray, *args: object, **options: object) -> object:
            drawn.append((np.array(image), options))
            return original(axes, image, *args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Axes, "imshow", watched)
        path = draw_disks(lambda e: np.stack([e[:, 0], e[:, 1]], 1), ("v", "a"), tmp_path / "d.png",
                          np.random.default_rng(0).normal(0, 0.3, (50, 2)), 21)  # fmt: skip
        assert path.stat().st_size > 1000
        (valence, options), (arousal, _) = drawn
        assert (options["origin"], options["extent"]) == ("lower", (-1, 1, -1, 1))
        np.testing.assert_allclose(valence[10], np.linspace(-1, 1, 21), atol=1e-9)
        np.testing.assert_allclose(arousal[:, 10], np.linspace(-1, 1, 21), atol=1e-9)
        assert np.isnan(valence[0, 0])

    def test_wrong_number_of_traits(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="2 traits"):
            draw_disks(lambda e: e[:, :1], ("a", "b"), tmp_path / "d.png")


def test_timeline(tmp_path: Path) -> None:
    path = draw_timeline(np.arange(5.0), np.zeros((5, 2)), tmp_path / "t.png", "clip")
    assert path.stat().st_size > 1000


class TestTellApart:
    def groups(self, count: int) -> list[str]:
        return [f"speaker{i // 4}" for i in range(count)]

    def test_far_apart_and_alike(self) -> None:
        rng = np.random.default_rng(0)
        first, second = rng.normal(0, 1, (120, 8)), rng.normal(0, 1, (80, 8))
        groups = (self.groups(120), self.groups(80))
        alike, apart = tell_apart(first, second, groups), tell_apart(first, second + 3, groups)
        assert (alike.linear, alike.neighbours) == pytest.approx((0.5, 0.5), abs=0.12)
        assert min(apart.linear, apart.neighbours) > 0.98

    def test_a_small_trace_is_found_along_a_line_and_not_by_the_nearest(self) -> None:
        rng = np.random.default_rng(2)
        first, second = rng.normal(0, 1, (120, 8)), rng.normal(0, 1, (120, 8))
        first[:, 0], second[:, 0] = rng.normal(0, 0.01, 120), rng.normal(0.1, 0.01, 120)
        apart = tell_apart(first, second, (self.groups(120), self.groups(120)))
        assert apart.linear > 0.98
        assert apart.neighbours < 0.65

    def test_what_is_learned_of_single_speakers_does_not_count(self) -> None:
        """Every speaker has features of their own; nothing but who it is tells the data sets apart."""
        rng = np.random.default_rng(0)
        halves = [np.repeat(rng.normal(0, 1, (30, 40)), 4, axis=0) + rng.normal(0, 0.01, (120, 40)) for _ in range(2)]
        apart = tell_apart(halves[0], halves[1], (self.groups(120), self.groups(120)))
        assert max(apart.linear, apart.neighbours) < 0.7
        with pytest.raises(UsageError, match="five groups or more"):
            tell_apart(halves[0], halves[1], (["one"] * 120, self.groups(120)))

    def test_unequal_numbers_do_not_raise_it(self) -> None:
        rng = np.random.default_rng(1)
        apart = tell_apart(rng.normal(size=(400, 3)), rng.normal(size=(40, 3)), (self.groups(400), self.groups(40)))
        assert (apart.linear, apart.neighbours) == pytest.approx(
            (0.5, 0.5), abs=0.15
        )  # Saying "the first" always would be right in 91%.

    def test_map(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        panels = {"with": (rng.normal(size=(12, 4)), rng.normal(size=(9, 4)))}
        assert draw_domains(panels, tmp_path / "m.png", ("a", "b")).stat().st_size > 1000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of a tiny PersEmoN that has learned nothing."""
    pytest.importorskip("lightning")
    from test_persemon import SETTINGS, TINY, made_up_data
    from thinslice.systems.persemon.recipe import persemon
    from thinslice.train.loop import train

    recipe = persemon("small_joint", **TINY, steps=1)
    return train(recipe, made_up_data(6, 40), tmp_path_factory.mktemp("runs") / "run", SETTINGS).path


class TestCommand:
    def test_clip_and_figures(self, run: Path, tmp_path: Path) -> None:
        from thinslice.systems.persemon.commands import emotion

        out = tmp_path / "out"
        arguments = [str(run), str(EXAMPLE), str(tmp_path / "absent.mp4"), "--frames", "3", "--out", str(out), "--json"]
        result = CliRunner().invoke(emotion, arguments, catch_exceptions=False)
        assert result.exit_code == 1  # One clip is not there; the other is done.
        document = json.loads((out / "emotion.json").read_text())
        good, bad = document["clips"]
        assert "absent.mp4: no such file" in bad["error"]
        table = read_table(out / good["table"])
        assert table.header == ("time_s", "valence", "arousal")
        values = np.array([row[1:] for row in table.rows], float)
        assert values.shape == (3, 2)
        assert (np.abs(values) < 1).all()
        assert good["valence"] == pytest.approx(values[:, 0].mean(), abs=1e-3)
        assert {path.name for path in out.iterdir()} == {
            "sample_emotion.csv", "sample_timeline.png", "disks.png", "emotion.json"
        }  # fmt: skip

    def test_scores_of_an_emotion_data_set(self, run: Path, tmp_path: Path) -> None:
        import torch

        from thinslice.data.planted.emotion import planted_emotion
        from thinslice.extraction.run import extract
        from thinslice.systems.persemon.commands import emotion
        from thinslice.systems.persemon.emotion import load_system, open_pictures
        from thinslice.systems.persemon.recipe import further_scores

        drawn, system = planted_emotion(tmp_path / "drawn", 15), load_system(run)
        call = [str(run), "--pictures", str(tmp_path / "drawn/manifest.csv"), "--store", str(tmp_path / "store")]
        call += ["--out", str(tmp_path / "out")]
        with pytest.raises(UsageError, match="no feature store; make it with"):
            CliRunner().invoke(emotion, call, catch_exceptions=False)
        extract(drawn, system.recipe.companions["emotion"].features, tmp_path / "store")
        result = CliRunner().invoke(emotion, call, catch_exceptions=False)
        assert result.exit_code == 0
        scores = json.loads((tmp_path / "out" / "emotion.json").read_text())["pictures"]
        assert {split: row["num_pictures"] for split, row in scores.items()} == {
            split: drawn.splits.count(split) for split in drawn.splits
        }
        chosen = open_pictures(system, drawn.select("test"), tmp_path / "store")
        faces = torch.from_numpy(np.stack([chosen.reader(i).read("face", 0) for i in range(len(chosen))]))
        with torch.no_grad():
            told = system.model.emotion(system.model.features(faces)).numpy()
        expected = ((told - chosen.labels) ** 2).mean(0)
        assert scores["test"]["mse"]["valence"] == pytest.approx(expected[0], rel=1e-4)
        assert scores["test"]["mse"]["average"] == pytest.approx(expected.mean(), rel=1e-4)
        assert (tmp_path / "out" / "disks.png").is_file()

        # What `thinslice table` shows of it beside the scores on clips.
        on_clips = {"accuracy": {"openness": 0.9}, "mse": {"openness": 0.02}}
        manifest = {"emotion": tmp_path / "drawn/manifest.csv"}
        shown = further_scores(run, manifest, tmp_path / "store", "test", on_clips)
        assert shown["accuracy"] == on_clips["accuracy"]
        errors = {"valence": expected[0], "arousal": expected[1], "arousal_valence": expected.mean()}
        assert shown["mse"] == pytest.approx({"openness": 0.02, **errors}, rel=1e-4)
        absent = further_scores(run, manifest, tmp_path / "store", "private", on_clips)
        assert absent["mse"]["valence"] == pytest.approx(scores["validation"]["mse"]["valence"])
        assert further_scores(run, {}, tmp_path / "store", "test", on_clips) == on_clips

    def test_pams_own_error_stands_beside_the_fused_ones(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from dataclasses import replace

        import torch

        from test_persemon import SETTINGS, TINY, made_up_data
        from thinslice.systems.persemon import emotion
        from thinslice.systems.persemon.recipe import persemon
        from thinslice.train.export import load_trained
        from thinslice.train.loop import train

        recipe = persemon("small_joint", **TINY, steps=1)
        data = replace(made_up_data(6, 40), origin={"manifest": "clips.csv", "store": "store"})
        folder = train(recipe, data, tmp_path / "run", SETTINGS)
        clips = data.splits["test"]
        monkeypatch.setattr(emotion, "load_split", lambda *_: clips)
        shown = emotion.further_scores(folder.path, {}, tmp_path, "test", {"mse": {"average": 0.5}})
        model = load_trained(recipe, folder)
        faces = torch.from_numpy(np.stack([clips.reader(i).read("faces") for i in range(len(clips))]))
        with torch.no_grad():
            told = model.scores(faces)[0].numpy()  # type: ignore[operator]
        assert shown["mse"]["average"] == 0.5
        assert shown["mse"]["PAM"] == pytest.approx(((told - clips.labels) ** 2).mean(), rel=1e-4)

    def test_relationship_is_the_networks_ram(self, run: Path) -> None:
        import torch

        from thinslice.systems.persemon.emotion import load_system, relationship_of

        system = load_system(run)
        points = disk_grid(5)
        told = relationship_of(system)(points)
        assert told.shape == (len(points), len(TRAITS))
        with torch.no_grad():
            one = system.model.relationship(torch.tensor([[points[3].tolist()] * 4]))
        np.testing.assert_allclose(told[3], one[0].numpy(), atol=1e-6)

    def test_other_runs_are_refused(self, run: Path, tmp_path: Path) -> None:
        from test_persemon import SETTINGS, TINY, made_up_data
        from thinslice.systems.persemon.emotion import load_system, relationship_of
        from thinslice.systems.persemon.recipe import persemon
        from thinslice.train.data import RunData
        from thinslice.train.loop import train

        data = made_up_data(6, 40)
        alone = train(
            persemon("small_personality", **TINY, steps=1), RunData(splits=data.splits), tmp_path / "a", SETTINGS
        )
        with pytest.raises(UsageError, match="trained without emotion"):
            load_system(alone.path)
        without = train(persemon("small_without_ram", **TINY, steps=1), data, tmp_path / "w", SETTINGS)
        with pytest.raises(UsageError, match="trained without RAM"):
            relationship_of(load_system(without.path))
        document = json.loads((run / "run.json").read_text())
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "run.json").write_text(json.dumps({**document, "recipe": "cr_net"}))
        with pytest.raises(UsageError, match="is a run of cr_net"):
            load_system(tmp_path / "other")
