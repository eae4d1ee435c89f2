"""CR-Net: the CR-block by hand, parameter counts, what enters it, its stages, its trees."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from thinslice.errors import MediaError, UsageError  # noqa: E402
from thinslice.evaluate.metrics import accuracy  # noqa: E402
from thinslice.evaluate.predictions import read_predictions  # noqa: E402
from thinslice.features.text_embedding import extract_text_vector, tokenise  # noqa: E402
from thinslice.layers.resnet import ResNet  # noqa: E402
from thinslice.media.source import Source  # noqa: E402
from thinslice.published.figures import load_published  # noqa: E402
from thinslice.systems.cr_net.network import EDGES, CRBlock, CRNet, ExpectationHead, Shape, inflate, load_imagenet  # noqa: E402
from thinslice.systems.cr_net.recipe import Segments, cr_net, fused_features  # noqa: E402
from thinslice.systems.cr_net.trees import fit_estimator, load_estimator  # noqa: E402
from thinslice.systems.cr_net.variants import KINDS, TABLES, VARIANTS  # noqa: E402
from thinslice.systems.cr_net.warm_adam import WarmAdam  # noqa: E402
from thinslice.train.data import (  # noqa: E402
    ArrayReader,
    ClipData,
    RunData,
    StoredClip,
)
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import FitStage, Stage  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.train.stage import freeze  # noqa: E402
from thinslice.train.system import predict_system  # noqa: E402
from thinslice.traits import TARGETS  # noqa: E402

TINY = {
    "width": 4,
    "num_frames": 2,
    "draws": 3,
    "side": 32,
    "num_samples": 2048,
    "batch_size": 6,
    "epochs": 1,
    "num_trees": 5,
}


class TestBlock:
    def test_equations_by_hand(self) -> None:
        # One target, two classes, features of length 2; a = (1, 2).
        block = CRBlock(2, 2, 1)
        with torch.no_grad():
            block.classes.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [2, 0], [0, -1]]))
            block.classes.bias.copy_(torch.tensor([0.0, 0, 0, 1]))
            block.class_weight.copy_(torch.tensor([[[1.0, 0], [0, 1]]]))
            block.class_bias.copy_(torch.tensor([[0.0, 2 - math.log(3)]]))
            block.weight.copy_(torch.tensor([[10.0, 1]]))
            block.bias.copy_(torch.tensor([0.5]))
        output = block(torch.tensor([[1.0, 2.0]]))
        # f_1 = (1, 2), f_2 = (2, -1); logits 1 and -1 + 2 - log 3: weights 3/4 and 1/4.
        torch.testing.assert_close(torch.softmax(output.logits, -1), torch.tensor([[[0.75, 0.25]]]))
        torch.testing.assert_close(output.features, torch.tensor([[[1.25, 1.25]]]))
        torch.testing.assert_close(output.scores, torch.tensor([[12.5 + 1.25 + 0.5]]))

    def test_traits_do_not_share(self) -> None:
        block = CRBlock(4, 3, 2)
        block(torch.randn(5, 4)).scores[:, 0].sum().backward()
        assert block.weight.grad[1].abs().sum() == 0
        assert block.class_weight.grad[1].abs().sum() == 0
        assert block.classes.weight.grad[12:].abs().sum() == 0

    def test_expectation_by_hand(self) -> None:
        head = ExpectationHead(2, EDGES[4], 1)
        with torch.no_grad():
            head.linear.weight.zero_()
            head.linear.bias.copy_(torch.tensor([0.0, 0.0, 0.0, math.log(3)]))
        expected = (0.25 + 0.55 + 0.65 + 3 * 0.85) / 6
        assert head(torch.ones(1, 2)).scores.item() == pytest.approx(expected)

    @pytest.mark.parametrize("count", [4, 7, 10])
    def test_classes_are_as_many_as_their_edges_say(self, count: int) -> None:
        assert len(EDGES[count]) == count - 1
        assert list(EDGES[count]) == sorted(EDGES[count])
        assert CRBlock(4, count, 6)(torch.zeros(2, 4)).logits.shape == (2, 6, count)


class TestNetwork:
    def test_number_of_parameters(self) -> None:
        network = CRNet()
        resnet = 21_284_672  # Derived in test_resnet.py: RGB, without the last layer.
        first = 64 * 7 * 7
        block = 6 * (4 * (512 * 512 + 512) + 4 * (512 + 1) + 512 + 1)
        pictures, vector = resnet + first * (96 - 3) + block, resnet + first * (1 - 3) + block
        assert sum(p.numel() for p in network.parameters()) == 2 * pictures + vector

    def test_weights_are_7_5_3_in_the_order_of_section_3_4(self) -> None:
        network = CRNet(Shape(layout="resnet10", width=2, num_frames=2, num_samples=1024))
        assert network.shape.streams == ("scene", "face", "audio_text")
        assert network.fusion_weights == pytest.approx([7 / 15, 5 / 15, 3 / 15])
        assert CRNet(Shape(streams=("face", "audio"), layout="resnet10", width=2)).fusion_weights == [5 / 8, 3 / 8]

    def test_fusion_adds_up_weighted_features_and_scores(self) -> None:
        network = CRNet(Shape(streams=("audio", "text"), layout="resnet10", width=2, num_samples=1024)).eval()
        inputs = {"waveform": torch.randn(2, 900), "text": torch.randn(2, 7)}
        sound, words = network.run_stream("audio", inputs), network.run_stream("text", inputs)
        torch.testing.assert_close(fused_features(network, inputs), (sound.features + words.features).flatten(1) / 2)
        torch.testing.assert_close(network(**inputs), (sound.scores + words.scores) / 2)

    def test_sound_is_padded_or_cut(self) -> None:
        stream = CRNet(Shape(streams=("audio_text",), layout="resnet10", width=2, num_samples=6)).streams["audio_text"]
        prepared = stream.prepare(torch.ones(1, 4), torch.full((1, 2), 5.0))
        assert prepared.tolist() == [[[1, 1, 1, 1, 0, 0, 5, 5]]]
        assert stream.prepare(torch.ones(1, 9), torch.zeros(1, 1)).shape == (1, 1, 7)

    def test_frames_are_channels_in_their_order(self) -> None:
        network = CRNet(Shape(streams=("scene",), layout="resnet10", width=2, num_frames=3))
        frames = torch.zeros(1, 3, 4, 5, 3, dtype=torch.uint8)
        frames[0, 1, :, :, 2] = 255
        prepared = network.streams["scene"].prepare(frames)
        assert prepared.shape == (1, 9, 4, 5)
        assert (prepared[0] > 0).flatten(1).all(1).tolist() == [False] * 5 + [True] + [False] * 3

    def test_motion_is_enlarged_and_the_mean_kept(self) -> None:
        shape = Shape(streams=("scene",), layout="resnet10", width=2, num_frames=2, motion_gain=5.0)
        frames = torch.randint(0, 256, (1, 2, 4, 4, 3), dtype=torch.uint8)
        plain = CRNet(replace(shape, motion_gain=1.0)).streams["scene"].prepare(frames)[0].unflatten(0, (2, 3))
        large = CRNet(shape).streams["scene"].prepare(frames)[0].unflatten(0, (2, 3))
        torch.testing.assert_close(large.mean(0), plain.mean(0))
        torch.testing.assert_close(large[1] - large[0], 5 * (plain[1] - plain[0]))

    def test_unstacked_frames_are_averaged(self) -> None:
        shape = Shape(streams=("face",), layout="resnet10", width=2, num_frames=2, stacked=())
        stream = CRNet(shape).eval().streams["face"]
        faces = torch.randint(0, 256, (1, 2, 32, 32, 3), dtype=torch.uint8)
        single = torch.cat([stream.pooled(faces[:, :1]), stream.pooled(faces[:, 1:])])
        torch.testing.assert_close(stream.pooled(faces), single.mean(0, keepdim=True))

    def test_inflated_weights_see_a_still_clip_as_a_picture(self, tmp_path: Path) -> None:
        picture = ResNet("resnet10", width=4).eval()
        torch.save(picture.state_dict(), tmp_path / "imagenet.pth")
        network = CRNet(Shape(streams=("scene",), layout="resnet10", width=4, num_frames=5)).eval()
        load_imagenet(network, tmp_path / "imagenet.pth")
        stream = network.streams["scene"]
        frame = torch.randint(0, 256, (1, 1, 32, 32, 3), dtype=torch.uint8)
        prepared = stream.prepare(frame.expand(-1, 5, -1, -1, -1))
        torch.testing.assert_close(stream.backbone(prepared), picture(prepared[:, :3]), rtol=1e-4, atol=1e-5)
        assert inflate(torch.ones(1, 3, 7, 7), 2).sum() == 3 * 49

    def test_inflated_over_time_a_still_clip_is_a_picture(self, tmp_path: Path) -> None:
        """Away from the clip's ends, where zeros stand for frames."""
        picture = ResNet("resnet10", width=4).eval()
        torch.save(picture.state_dict(), tmp_path / "imagenet.pth")
        shape = Shape(streams=("face",), layout="resnet10", width=4, num_frames=40, stacked=(), inflated=("face",))
        stream = (network := CRNet(shape).eval()).streams["face"]
        load_imagenet(network, tmp_path / "imagenet.pth")
        still = torch.randint(0, 256, (1, 1, 1, 32, 32, 3), dtype=torch.uint8).expand(-1, 40, -1, -1, -1, -1)
        prepared = stream.prepare(still)
        assert prepared.shape == (1, 3, 40, 32, 32)
        with torch.no_grad():
            ours, theirs = stream.backbone.conv1(prepared), picture.conv1(prepared[:, :, 0])
            torch.testing.assert_close(ours[:, :, 20], theirs, rtol=1e-4, atol=1e-5)
            assert stream.pooled(still).shape == (1, 32)
            moving = still.clone()
            moving[:, 1::2] = 0
            turned = moving.flip(1)  # A mean over single frames could not tell these two apart.
            assert not torch.allclose(stream.pooled(moving), stream.pooled(turned), atol=1e-4)
        with pytest.raises(UsageError, match="stacked or inflated, not both"):
            CRNet(replace(shape, stacked=("face",)))
        # ResNet-34: k instead of 1 in every kernel but the shortcuts' of 1 x 1.
        flat, solid = ResNet("resnet34"), ResNet("resnet34", num_dimensions=3)
        sides = {name: p.shape[-1] for name, p in flat.named_parameters() if p.ndim == 4}
        expected = sum(p.numel() * sides.get(name, 1) for name, p in flat.named_parameters())
        assert sum(p.numel() for p in solid.parameters()) == expected

    def test_words_are_tiled_and_enlarged_beside_sound_alone(self) -> None:
        shape = Shape(layout="resnet10", width=2, num_samples=3, text_tiles=2, text_gain=10.0)
        both = CRNet(replace(shape, streams=("audio_text",))).streams["audio_text"]
        text = torch.tensor([[1.0, 2.0]])
        assert both.prepare(torch.zeros(1, 3), text).tolist() == [[[0, 0, 0, 10, 20, 10, 20]]]
        assert CRNet(replace(shape, streams=("text",))).streams["text"].prepare(text).tolist() == [[[1, 2]]]


class TestWarmAdam:
    def test_rate_rises_and_the_rest_is_adam(self) -> None:
        """With a gradient that stays, Adam's step is its rate: of 4 steps of warm-up a fifth, two fifths, ... of it."""
        weight = torch.nn.Parameter(torch.zeros(1))
        adam = WarmAdam([{"params": [weight]}], warmup_steps=4, lr=0.1, betas=(0.5, 0.999))
        places = [0.0]
        for step in range(7):
            if step == 3:  # As after an interruption.
                state = adam.state_dict()
                adam = WarmAdam([{"params": [weight]}], warmup_steps=4, lr=0.1, betas=(0.5, 0.999))
                adam.load_state_dict(state)
            weight.grad = torch.ones(1)
            adam.step()
            places.append(weight.item())
        assert -np.diff(places) == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1], rel=1e-4)
        assert adam.param_groups[0]["lr"] == 0.1

    def test_it_is_the_second_stages_where_asked_for(self) -> None:
        first, second, _ = cr_net("scene", warmup_steps=9).stages
        parameter = torch.nn.Parameter(torch.zeros(1))
        (update,) = second.updates
        assert isinstance(update.optimiser([{"params": [parameter]}]), WarmAdam)
        (update,) = first.updates
        assert isinstance(update.optimiser([{"params": [parameter]}]), torch.optim.SGD)
        (update,) = cr_net("scene").stages[1].updates
        assert type(update.optimiser([{"params": [parameter]}])) is torch.optim.Adam


class TestRecipe:
    def test_how_frames_enter_is_a_variant(self) -> None:
        for name, stacked, inflated in (("all", True, False), ("3d", False, True), ("single", False, False)):
            network = cr_net(name, width=4, layout="resnet10").build_model()
            for stream in ("scene", "face"):
                found = network.streams[stream]
                assert (found.is_stacked, found.is_inflated) == (stacked, inflated)
        assert cr_net("reading_tiled_words").build_model().shape.text_tiles == 64
        with pytest.raises(UsageError, match="name scene, face, both"):
            cr_net(inflated="words")

    def test_every_row_of_the_papers_tables_has_a_variant(self) -> None:
        figures = [f for f in load_published() if f.system == "cr_net" and f.metric == "accuracy"]
        for table, rows in TABLES.items():
            assert set(rows) <= set(VARIANTS)
            if table == "readings":
                continue
            names = {f.variant for f in figures if f.source.endswith(f"Table {table}")}
            assert set(rows.values()) >= names, table
            assert set(rows.values()) <= {f.variant for f in figures}, table

    def test_every_variant_builds(self) -> None:
        for name in KINDS:
            recipe = cr_net(f"small_{name}")
            network = recipe.build_model()
            for stage in recipe.stages:
                if isinstance(stage, Stage):
                    freeze(network, stage)
            assert isinstance(recipe.stages[-1], FitStage) == (KINDS[name].regressor is not None)

    def test_first_stage_trains_no_regression(self) -> None:
        recipe = cr_net("small_all")
        network = recipe.build_model()
        stages = {stage.name: stage for stage in recipe.stages}
        names = [f"{part}_{stream}" for stream in ("scene", "face", "audio_text") for part in ("classes", "joint")]
        assert list(stages) == [*names, "trees"]
        for stream in ("scene", "face", "audio_text"):
            own = {name for name, _ in network.named_parameters() if name.startswith(f"streams.{stream}.")}
            freeze(network, stages[f"classes_{stream}"])
            trained = {name for name, p in network.named_parameters() if p.requires_grad}
            assert own - trained == {f"streams.{stream}.head.weight", f"streams.{stream}.head.bias"}
            assert trained < own
            freeze(network, stages[f"joint_{stream}"])
            assert {name for name, p in network.named_parameters() if p.requires_grad} == own

    def test_rates_and_batches_are_the_papers(self) -> None:
        first, second, *_, trees = cr_net().stages
        assert (first.batch_size, first.epochs, second.batch_size, second.epochs) == (30, 50, 30, 50)
        sgd = first.updates[0].optimiser([torch.zeros(1, requires_grad=True)])
        adam = second.updates[0].optimiser([torch.zeros(1, requires_grad=True)])
        assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (0.002, 0.9, 0.005)
        assert (adam.defaults["lr"], adam.defaults["betas"], adam.defaults["weight_decay"]) == (
            0.002,
            (0.5, 0.999),
            0.005,
        )
        assert trees.fit.args == ("extra_trees", 1000, 512)

    def test_second_stage_weighs_classes_by_the_epoch(self) -> None:
        recipe = cr_net("small_audio", **TINY)
        network, stage = recipe.build_model().eval(), recipe.stages[1]
        batch = {"inputs": {"waveform": torch.randn(4, 2048)}, "labels": torch.rand(4, 6)}
        for epoch, weight in ((1, 4 * 1 / 1), (4, 4 * 1 / 4)):  # Equation 9 with E = 0 and 3; TINY has one epoch.
            parts = stage.updates[0].loss(network, {**batch, "epoch": epoch})
            others = parts["loss"] - parts["l1"] - parts["l2"] - parts["bell"]
            torch.testing.assert_close(others, weight * parts["classes"], rtol=1e-3, atol=1e-3)

    def test_draws_are_one_of_each_segment_and_the_same_moments(self) -> None:
        frames = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
        faces = frames[:, None]  # As extract_aligned_faces of one part: (draws, 1, ...).
        clip = StoredClip("a", ArrayReader({"a": {"frames": frames, "faces": faces}}))
        sample = Segments(("frames", "faces"), 4, 3, 0)
        seen = set()
        for seed in range(20):
            out = sample(clip, "train", np.random.default_rng(seed))
            moments = out["frames"][:, 0, 0, 0]
            assert (moments // 3).tolist() == [0, 1, 2, 3]
            np.testing.assert_array_equal(out["frames"], out["faces"][:, 0])
            seen.add(tuple(moments))
        assert len(seen) > 10
        assert sample(clip, "test", np.random.default_rng(0))["faces"][:, 0, 0, 0, 0].tolist() == [1, 4, 7, 10]

    def test_bundle_looks_at_the_centres_alone(self) -> None:
        recipe = cr_net("small_all", num_frames=7, draws=3)
        assert recipe.features["frames"].params["num_frames"] == 21
        assert recipe.bundle_features is not None
        assert recipe.bundle_features["frames"].params["num_frames"] == 7
        assert recipe.bundle_features["faces"].params == {**recipe.features["faces"].params, "draws": 7}

    def test_unknown_names_are_said(self) -> None:
        with pytest.raises(UsageError, match="no variant 'nose'"):
            cr_net("nose")
        with pytest.raises(UsageError, match="odd"):
            cr_net("small_all", draws=2)


class TestTrees:
    @pytest.fixture
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        features = rng.normal(size=(80, 12)).astype(np.float32)
        labels = np.stack([features[:, 0] * 0.1 + 0.5, features[:, 7] * 0.1 + 0.5], 1)
        labels[3, 1] = np.nan
        return features, labels

    @pytest.mark.parametrize("kind", ["extra_trees", "random_forest"])
    def test_says_what_scikit_learn_says(self, data: tuple[np.ndarray, np.ndarray], kind: str) -> None:
        from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

        features, labels = data
        known = ~np.isnan(labels[:, 1])
        make = {"extra_trees": partial_trees(ExtraTreesRegressor), "random_forest": RandomForestRegressor}[kind]
        theirs = make(n_estimators=20, random_state=3).fit(features[known, 6:], labels[known, 1])
        ours = fit_estimator(kind, 20, 512, features, labels, 3)
        new = np.random.default_rng(1).normal(size=(50, 12)).astype(np.float32)
        np.testing.assert_allclose(ours.predict(new)[:, 1], theirs.predict(new[:, 6:]), atol=1e-6)

    def test_support_vectors_are_scikit_learns(self, data: tuple[np.ndarray, np.ndarray]) -> None:
        from sklearn.svm import SVR

        features, labels = data
        x = (features[:, :6] - features[:, :6].mean(0)) / (features[:, :6].std(0) + 1e-6)
        theirs = SVR(C=1.0, epsilon=0.05, gamma=1 / 6).fit(x, labels[:, 0])
        ours = fit_estimator("svr", 0, 0, features, labels, 0)
        np.testing.assert_allclose(ours.predict(features)[:, 0], theirs.predict(x), atol=1e-5)

    @pytest.mark.parametrize("kind", ["extra_trees", "svr"])
    def test_graph_and_file_say_the_same(self, data: tuple[np.ndarray, np.ndarray], kind: str, tmp_path: Path) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        onnx = pytest.importorskip("onnx")
        from thinslice.layers.onnx_graph import GraphWriter

        features, labels = data
        fitted = fit_estimator(kind, 10, 512, features, labels, 0)
        fitted.save(tmp_path)
        loaded = load_estimator(tmp_path)
        np.testing.assert_array_equal(loaded.predict(features), fitted.predict(features))
        writer = GraphWriter("t")
        writer.add("Identity", loaded.add_to_graph(writer, "features"), result="scores")
        info = onnx.helper.make_tensor_value_info
        graph = writer.model([info("features", 1, [12])], [info("scores", 1, [2])])
        session = onnxruntime.InferenceSession(graph.SerializeToString())
        for row in features[:5]:
            np.testing.assert_allclose(session.run(None, {"features": row})[0], loaded.predict(row[None])[0], atol=1e-5)

    def test_a_target_without_labels_is_said(self) -> None:
        labels = np.full((4, 2), 0.5)
        labels[:, 1] = np.nan
        for kind in ("extra_trees", "svr"):
            with pytest.raises(UsageError, match="no training clip is labelled with output 2 of 2"):
                fit_estimator(kind, 1, 1, np.zeros((4, 4)), labels, 0)

    def test_damaged_file_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "trees.npz").write_bytes(b"PK nothing")
        with pytest.raises(UsageError, match=r"trees\.npz"):
            load_estimator(tmp_path)


def partial_trees(kind):  # type: ignore[no-untyped-def]
    """Extra trees that try all features, as m = 512 means for short ones."""
    return lambda **settings: kind(max_features=6, **settings)


class TestText:
    def test_word_pieces(self) -> None:
        words = ["[CLS]", "[SEP]", "[UNK]", "un", "##happy", "cafe", "'", "s", "!"]
        vocabulary = {word: i for i, word in enumerate(words)}
        assert tokenise("Unhappy CAFÉ's ☃!", vocabulary) == [0, 3, 4, 5, 6, 7, 2, 8, 1]
        assert len(tokenise("un " * 999, vocabulary)) == 256

    def test_own_vectors_of_any_size(self, tmp_path: Path) -> None:
        source = Source(tmp_path / "clip.mp4")
        with pytest.raises(MediaError, match="missing"):
            extract_text_vector(source)
        np.save(tmp_path / "clip.vector.npy", np.arange(5))
        assert extract_text_vector(source).tolist() == [0, 1, 2, 3, 4]
        np.save(tmp_path / "clip.vector.npy", np.array(["a"], dtype=object), allow_pickle=True)
        with pytest.raises(MediaError, match="cannot be read"):
            extract_text_vector(source)
        np.save(tmp_path / "clip.vector.npy", np.zeros((2, 2)))
        with pytest.raises(MediaError, match="not one vector"):
            extract_text_vector(source)


def make_clips(count: int, seed: int) -> ClipData:
    rng = np.random.default_rng(seed)
    arrays, labels = {}, rng.uniform(0.2, 0.8, (count, 6))
    for i in range(count):
        arrays[f"{seed}.{i}"] = {
            "frames": rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8),
            "faces": rng.integers(0, 256, (6, 1, 32, 32, 3), dtype=np.uint8),
            "waveform": rng.normal(0, 0.1, 1500 + 200 * i).astype(np.float32),
            "text": rng.normal(size=5).astype(np.float32),
        }
    labels[1, 2] = np.nan
    return ClipData(tuple(arrays), labels, TARGETS, ArrayReader(arrays))


def test_runs_all_stages_and_exports(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from thinslice.bundle import load_bundle
    from thinslice.infer.onnx_model import OnnxModel
    from thinslice.train.data import random_state
    from thinslice.train.export import export_run, load_trained

    recipe = cr_net("small_all", **TINY)
    clips = make_clips(8, 1)
    data = RunData(splits={"train": make_clips(13, 0), "test": clips})
    run = train(recipe, data, tmp_path / "run", LoopSettings(device="cpu", tensorboard=False))
    samples = [recipe.sample(clips.reader(i), "test", random_state(0)) for i in (0, 5)]
    exported = export_run(recipe, run, tmp_path / "bundle", samples)
    assert exported.largest_difference < 1e-5
    assert load_bundle(tmp_path / "bundle").inputs["faces"].spec == recipe.bundle_features["faces"]
    mute = replace(recipe, stages=(*recipe.stages[:-1], replace(recipe.stages[-1], build_graph=None)))
    with pytest.raises(UsageError, match="stage trees fits an estimator that cannot be exported"):
        export_run(mute, run, tmp_path / "other", samples)
    wrong = replace(recipe.stages[-1], features=lambda model, inputs: 2 * fused_features(model, inputs))
    with pytest.raises(UsageError, match=r"features differ from PyTorch's by 0\.5"):
        export_run(replace(recipe, stages=(*recipe.stages[:-1], wrong)), run, tmp_path / "other", samples)
    assert not (tmp_path / "other").exists()
    model = OnnxModel(tmp_path / "bundle")
    network = load_trained(recipe, run)
    expected = predict_system(recipe, run, network, clips, "test", seed=0, device=torch.device("cpu"))
    np.testing.assert_allclose(model.predict(samples[1]), expected[5], atol=2e-3)  # A cut may fall between.


def test_figures_of_a_run(tmp_path: Path) -> None:
    """Figures 6, 9 and 11 by one command; the run's own regressor is not fitted again."""
    pytest.importorskip("matplotlib")
    from thinslice.systems.cr_net.figures import compare_regressors, draw_figures

    recipe = cr_net("small_audio", **TINY)
    data = RunData(splits={"train": make_clips(9, 0), "test": make_clips(4, 1)})
    run = train(recipe, data, tmp_path / "run", LoopSettings(device="cpu", tensorboard=False, max_steps=1))
    paths = draw_figures(run.path, data, "cpu", tmp_path)
    assert [path.name for path in paths] == ["figure6.png", "figure9.png", "figure11.png", "figure11.csv"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[:3])
    found = compare_regressors(recipe, run, data.splits["train"], data.splits["test"], "cpu")
    assert list(found) == ["svr", "random_forest", "extra_trees"]
    own = read_predictions(run.predictions("test")).scores[:, : len(TARGETS)]
    np.testing.assert_allclose(found["extra_trees"], accuracy(data.splits["test"].labels, own), atol=1e-5)
    rows = (tmp_path / "figure11.csv").read_text().splitlines()
    assert rows[0] == "regressor," + ",".join(TARGETS)
    assert rows[3].startswith("ETR,")
