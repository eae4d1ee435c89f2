"""VGG-Face and the four networks: counts by hand, weights files, stages, attributes, export; real clips."""

import struct
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from click.testing import CliRunner  # noqa: E402

from thinslice.cli.import_ import import_  # noqa: E402
from thinslice.data.manifest import Manifest  # noqa: E402
from thinslice.errors import AssetError, UsageError  # noqa: E402
from thinslice.evaluate.predictions import read_predictions  # noqa: E402
from thinslice.features.attributes import (  # noqa: E402
    ATTRIBUTES,
    ESTIMATORS,
    annotated_attributes,
    extract_attributes,
)
from thinslice.features.face_align import REFERENCES, align_face  # noqa: E402
from thinslice.features.face_boxes import overlaps  # noqa: E402
from thinslice.features.face_detect import find_faces_in_image  # noqa: E402
from thinslice.media.source import Source  # noqa: E402
from thinslice.published.figures import load_published  # noqa: E402
from thinslice.systems import RECIPES  # noqa: E402
from thinslice.systems.audiovisual_attributes import network as networks  # noqa: E402
from thinslice.systems.audiovisual_attributes.network import AudioNetwork, Fusion, VisualNetwork  # noqa: E402
from thinslice.systems.audiovisual_attributes.recipe import (  # noqa: E402
    COLUMNS,
    READINGS,
    ROWS,
    TABLES,
    VARIANTS,
    Look,
    audiovisual_attributes,
)
from thinslice.systems.audiovisual_attributes.scores import score_estimated  # noqa: E402
from thinslice.systems.audiovisual_attributes.vgg_face import LAYERS, MEAN_RGB, SCALE, VggFace  # noqa: E402
from thinslice.systems.audiovisual_attributes.weights import load_vgg_face  # noqa: E402
from thinslice.train.columns import with_columns  # noqa: E402
from thinslice.train.data import (  # noqa: E402
    ArrayReader,
    ClipData,
    RunData,
    StoredClip,
    random_state,
)
from thinslice.train.export import load_trained  # noqa: E402
from thinslice.train.history import read_rows  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.train.system import predict_system, weights_of  # noqa: E402
from thinslice.traits import TRAITS  # noqa: E402

TINY = {
    "rate_hz": 1000,
    "seconds": 0.5,
    "audio_first": 8,
    "audio_second": 6,
    "audio_third": 4,
    "num_faces": 2,
    "shrink": 7,
    "width": 2,
    "hidden": 6,
    "norm": True,
    "weights": "",
    "fusion_first": 8,
    "fusion_second": 6,
    "fusion_third": 4,
    "dropout": 0.1,
    "batch_size": 4,
    "audio_epochs": 2,
    "visual_epochs": 2,
    "fusion_epochs": 2,
    "learning_rate": 1e-3,
    "audio_rate": 1e-3,
    "visual_rate": 1e-3,
}
"""Faces are stored at 224 pixels and shrunk to 32."""


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def arrays_of(rng: np.random.Generator, num_samples: int = 500) -> dict[str, np.ndarray]:
    emotions = rng.dirichlet(np.ones(7))
    columns = dict.fromkeys((f"column:{name}" for name in COLUMNS), np.array(""))
    return {
        "waveform": rng.normal(0, 0.05, num_samples).astype(np.float32),
        "faces": rng.integers(0, 256, (2, 1, 224, 224, 3), dtype=np.uint8),
        "attributes": np.array([rng.uniform(15, 70), rng.uniform(1, 2), *emotions], np.float32),
        **columns,
    }


def tiny_data(num_clips: int = 9) -> RunData:
    rng = np.random.default_rng(0)

    def clips(count: int, prefix: str) -> ClipData:
        arrays = {f"{prefix}{i}": arrays_of(rng, 500 - 20 * i) for i in range(count)}
        return ClipData(tuple(arrays), rng.uniform(size=(count, 5)), TRAITS, ArrayReader(arrays))

    return RunData(splits={"train": clips(num_clips, "a"), "validation": clips(3, "b"), "test": clips(2, "c")})


def test_the_table_has_the_slides_rows() -> None:
    published = {figure.variant for figure in load_published() if figure.system == "audiovisual_attributes"}
    assert set(TABLES["global"].values()) == published
    assert set(TABLES["global"]) | set(TABLES["readings"]) <= set(VARIANTS)


def test_readings_change_one_thing_each() -> None:
    usual = audiovisual_attributes().arguments
    for name, reading in READINGS.items():
        arguments = audiovisual_attributes(f"reading_{name}").arguments
        changed = {key: value for key, value in arguments.items() if value != usual[key]}
        assert changed == {**reading.changes, "variant": f"reading_{name}"}
        assert audiovisual_attributes(f"small_reading_{name}").arguments["width"] == 8
    prediction, labels = torch.full((2, 5), 0.5), torch.full((2, 5), 0.3)
    stage = audiovisual_attributes("reading_squared").stages[2]
    loss = stage.updates[0].loss  # type: ignore[union-attr]
    model = torch.nn.Module()
    model.fusion = lambda features: prediction  # type: ignore[assignment]
    batch = {"inputs": {"features": torch.zeros(2, 3)}, "labels": labels}
    model.get_submodule = lambda name: model.fusion  # type: ignore[method-assign, assignment, return-value]
    assert float(loss(model, batch)) == pytest.approx(0.04)  # type: ignore[arg-type]


class TestVggFace:
    def test_parameters_by_hand(self) -> None:
        """VGG-16, configuration D: thirteen convolutions of 3 x 3, then 25,088 - 4,096 - 4,096 - 2,622."""
        channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
        trunk = sum(9 * a * b + b for a, b in pairwise(channels))
        dense = [7 * 7 * 512, 4096, 4096, 2622]
        head = [a * b + b for a, b in pairwise(dense)]
        assert trunk == 14_714_688
        assert trunk + sum(head) == 145_002_878
        with torch.device("meta"):
            whole, cut = VggFace(), VggFace(num_outputs=0)
        assert count(whole) == 145_002_878
        assert count(cut) == 134_260_544 == trunk + sum(head[:2])
        assert tuple(whole.layers) == LAYERS
        assert len(LAYERS) == 16

    def test_maps_and_features(self) -> None:
        model = VggFace(2, 8, side=96, num_outputs=5).eval()
        pictures = torch.randint(0, 256, (3, 96, 96, 3), dtype=torch.uint8)
        with torch.no_grad():
            assert model.feature_maps(pictures).shape == (3, 16, 3, 3)
            features = model.features(pictures)
            assert features.shape == (3, 8)
            assert (features >= 0).all()
            assert model(pictures).shape == (3, 5)
            alone = torch.cat([model(picture[None]) for picture in pictures])
            torch.testing.assert_close(model(pictures), alone, rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match="vanish"):
            VggFace(side=96, shrink=4)

    def test_first_layer_sees_the_centred_picture_whatever_the_scale(self) -> None:
        """With the published weights taken in, the first map is that of the published network: W (x - mean) + b."""
        model = VggFace(2, 8, side=32, num_outputs=0).eval()
        weight, bias = torch.randn(2, 3, 3, 3), torch.randn(2)
        with torch.no_grad():
            model.layers["conv1_1"].weight.copy_(weight * SCALE)  # type: ignore[union-attr, operator]
            model.layers["conv1_1"].bias.copy_(bias)  # type: ignore[union-attr, operator]
            pictures = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
            seen = []
            model.layers["conv1_1"].register_forward_hook(lambda _, __, out: seen.append(out))
            model.feature_maps(pictures)
        centred = (pictures.float() - torch.tensor(MEAN_RGB)).permute(0, 3, 1, 2)
        wanted = torch.nn.functional.conv2d(centred, weight, bias, padding=1)
        torch.testing.assert_close(seen[0], wanted, rtol=1e-4, atol=1e-3)  # Sums of 27 products of up to 100.


def authors_weights(
    rng: np.random.Generator, width: int = 2, hidden: int = 4, people: int = 3
) -> dict[str, np.ndarray]:
    """Return weights of the published layout at a small size: side 32, one map of 8 width."""
    channels = [3, *(width * f for f in (1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8))]
    shapes = [(b, a, 3, 3) for a, b in pairwise(channels)]
    dense = [8 * width, hidden, hidden, people]
    shapes += [(b, a) for a, b in pairwise(dense)]  # type: ignore[misc]
    out = {}
    for name, shape in zip(LAYERS, shapes, strict=True):
        out[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        out[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
    return out


class TestWeights:
    @pytest.fixture
    def published(self) -> dict[str, np.ndarray]:
        return authors_weights(np.random.default_rng(0))

    def network(self, people: int = 0) -> VggFace:
        return VggFace(2, 4, 32, people)

    @pytest.mark.parametrize("layout", ["conv_1_1.pth", "features.conv_1_1.pth", "conv1_1.npz", "t7", "caffe"])
    def test_every_layout_gives_the_same_network(
        self, layout: str, published: dict[str, np.ndarray], tmp_path: Path
    ) -> None:
        colours = ""
        if layout == "t7":
            path = tmp_path / "VGG_FACE.t7"
            path.write_bytes(torch7_sequence(published))
        elif layout == "caffe":
            path = tmp_path / "VGG_FACE.caffemodel"
            path.write_bytes(caffe_network(published))
        elif layout == "conv1_1.npz":
            path, colours = tmp_path / "weights.npz", "bgr"
            np.savez(path, **published)
        else:
            path = tmp_path / "weights.pth"
            part = "features." if layout.startswith("features") else ""
            named = {
                f"{part if n.startswith('conv') else ('fc.' if part else '')}{n}": torch.from_numpy(v)
                for n, v in published.items()
            }
            torch.save({n.replace("conv", "conv_", 1) if "conv" in n else n: v for n, v in named.items()}, path)
        network = self.network()
        assert load_vgg_face(network, path, colours) == ("fc8.weight", "fc8.bias")
        state = network.state_dict()
        assert len(state) == 30
        for name, value in published.items():
            if name == "conv1_1.weight":  # Made for blue first, on values 64 times as large.
                value = value[:, ::-1] * 64
            if not name.startswith("fc8"):
                np.testing.assert_array_equal(state[f"layers.{name}"].numpy(), value, err_msg=name)
        whole = self.network(3)
        assert load_vgg_face(whole, path, colours) == ()
        np.testing.assert_array_equal(whole.layers["fc8"].weight.detach().numpy(), published["fc8.weight"])

    def test_what_is_wrong_is_named(self, published: dict[str, np.ndarray], tmp_path: Path) -> None:
        def saved(changes: dict[str, np.ndarray], without: str = "") -> Path:
            path = tmp_path / "weights.npz"
            np.savez(path, **{n: v for n, v in {**published, **changes}.items() if n != without})
            return path

        network = self.network()
        with pytest.raises(UsageError, match="no such file"):
            load_vgg_face(network, tmp_path / "none.pth")
        with pytest.raises(UsageError, match="order of the colours; say colours='bgr'"):
            load_vgg_face(network, saved({}))
        with pytest.raises(UsageError, match="unknown order of colours 'grey'"):
            load_vgg_face(network, saved({}), "grey")
        with pytest.raises(UsageError, match=r"has no fc7\.bias"):
            load_vgg_face(network, saved({}, "fc7.bias"), "rgb")
        with pytest.raises(UsageError, match=r"unknown value 'conv6_1\.weight'"):
            load_vgg_face(network, saved({"conv6_1.weight": np.zeros(1)}), "rgb")
        with pytest.raises(UsageError, match=r"unknown value 'fc8\.step'"):
            load_vgg_face(network, saved({"fc8.step": np.zeros(1)}), "rgb")
        with pytest.raises(UsageError, match=r"fc6\.weight has shape \(4, 3\) instead of \(4, 16\)"):
            load_vgg_face(network, saved({"fc6.weight": np.zeros((4, 3), np.float32)}), "rgb")
        with pytest.raises(UsageError, match=r"fc6\.bias holds a non-finite number"):
            load_vgg_face(network, saved({"fc6.bias": np.full(4, np.nan, np.float32)}), "rgb")
        with pytest.raises(UsageError, match="no batch normalisation"):
            load_vgg_face(VggFace(2, 4, 32, 0, norm=True), saved({}), "rgb")
        (tmp_path / "evil.pth").write_bytes(b"\x80\x02cposix\nsystem\n.")
        with pytest.raises(UsageError, match="cannot be read as weights"):
            load_vgg_face(network, tmp_path / "evil.pth")

    def test_torch7_file_of_other_layers_is_refused(self, published: dict[str, np.ndarray], tmp_path: Path) -> None:
        path = tmp_path / "VGG_FACE.t7"
        path.write_bytes(torch7_sequence(published, last="nn.Sigmoid"))
        with pytest.raises(UsageError, match=r"layer 40 is a nn\.Sigmoid where VGG-Face has a nn\.SoftMax"):
            load_vgg_face(self.network(), path)


class TestImport:
    def test_full_sizes_start_from_imported_weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Imported once at the size of the file, here a small one; without that the remedy is named, first of all."""
        monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path / "cache"))
        for variant in ("audio+visual+attributes", "visual"):
            recipe = audiovisual_attributes(variant)
            assert recipe.check_needs is not None
            with pytest.raises(UsageError, match=r"thinslice import vgg-face FILE; or take .* random weights"):
                recipe.check_needs()
        for variant in ("fresh", "small_visual", "small_audio+visual+attributes"):
            recipe = audiovisual_attributes(variant)
            assert recipe.check_needs is not None
            recipe.check_needs()
            assert "started from random weights" in recipe.limits
            assert all(stage.prepare is None for stage in recipe.stages if stage.name == "visual")  # type: ignore[union-attr]
        assert audiovisual_attributes("audio").check_needs is None
        assert "random" not in audiovisual_attributes("visual").limits
        monkeypatch.setattr("thinslice.systems.audiovisual_attributes.weights.VggFace", partial(VggFace, 2, 4, 32))
        published = authors_weights(np.random.default_rng(0))
        (tmp_path / "VGG_FACE.t7").write_bytes(torch7_sequence(published))
        result = CliRunner().invoke(import_, ["vgg-face", str(tmp_path / "VGG_FACE.t7")], catch_exceptions=False)
        assert result.exit_code == 0
        stage = audiovisual_attributes("visual", width=2, hidden=4, shrink=7).stages[0]
        model = audiovisual_attributes("visual", width=2, hidden=4, shrink=7).build_model()
        stage.prepare(model, tiny_data(1).splits["train"])  # type: ignore[union-attr, misc]
        first = model.get_submodule("visual.network.layers.conv1_1").weight
        np.testing.assert_array_equal(first.detach().numpy(), published["conv1_1.weight"][:, ::-1] * SCALE)
        with pytest.raises(UsageError, match="no such file; weights is a file of VGG-Face"):
            audiovisual_attributes("visual", weights="gone.t7").check_needs()  # type: ignore[misc]
        model = audiovisual_attributes("visual", **TINY).build_model()
        with pytest.raises(UsageError, match="give norm=False"):
            stage.prepare(model, tiny_data(1).splits["train"])  # type: ignore[union-attr, misc]

    def test_an_unreadable_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "VGG_FACE.t7").write_bytes(b"no")
        result = CliRunner().invoke(import_, ["vgg-face", str(tmp_path / "VGG_FACE.t7")])
        assert isinstance(result.exception, UsageError)
        assert "VGG_FACE.t7" in str(result.exception)


def caffe_network(weights: dict[str, np.ndarray]) -> bytes:
    """Return a Caffe file of before 2014: all arrays with four dimensions."""

    def number(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + number(value // 128)

    def part(field: int, content: bytes) -> bytes:
        return number(field * 8 + 2) + number(len(content)) + content

    def blob(array: np.ndarray) -> bytes:
        shape = (1,) * (4 - array.ndim) + array.shape
        sizes = b"".join(number(8 * (i + 1)) + number(size) for i, size in enumerate(shape))
        return part(6, sizes + part(5, array.astype("<f4").tobytes()))

    layers = [
        part(4, name.encode()) + blob(weights[f"{name}.weight"]) + blob(weights[f"{name}.bias"]) for name in LAYERS
    ]
    return b"".join(part(2, layer) for layer in layers)


def torch7_sequence(weights: dict[str, np.ndarray], last: str = "nn.SoftMax") -> bytes:
    """Return a Torch7 file of the authors' sequence of layers; kernels are stored as rows, as Torch7 often does."""
    numbers = iter(range(1, 10_000))

    def string(text: str) -> bytes:
        return struct.pack("<i", len(text)) + text.encode()

    def tensor(array: np.ndarray) -> bytes:
        flat = array.reshape(len(array), -1) if array.ndim > 1 else array
        strides = [s // 4 for s in np.ascontiguousarray(flat).strides]
        head = struct.pack("<ii", 4, next(numbers)) + string("V 1") + string("torch.FloatTensor")
        head += struct.pack(f"<i{2 * flat.ndim + 1}q", flat.ndim, *flat.shape, *strides, 1)
        storage = struct.pack("<ii", 4, next(numbers)) + string("V 1") + string("torch.FloatStorage")
        return head + storage + struct.pack("<q", flat.size) + np.ascontiguousarray(flat, "<f4").tobytes()

    def table(entries: list[tuple[bytes, bytes]]) -> bytes:
        return struct.pack("<iii", 3, next(numbers), len(entries)) + b"".join(k + v for k, v in entries)

    def text(value: str) -> bytes:
        return struct.pack("<i", 2) + string(value)

    def module(kind: str, fields: list[tuple[bytes, bytes]]) -> bytes:
        return struct.pack("<ii", 4, next(numbers)) + string("V 1") + string(kind) + table(fields)

    def layer(kind: str, name: str = "") -> bytes:
        parts = ("weight", "bias") if name else ()
        return module(kind, [(text(part), tensor(weights[f"{name}.{part}"])) for part in parts])

    modules = []
    for block, size in enumerate((2, 2, 3, 3, 3), 1):
        for index in range(1, size + 1):
            modules += [layer("nn.SpatialConvolution", f"conv{block}_{index}"), layer("nn.ReLU")]
        modules.append(layer("nn.SpatialMaxPooling"))
    modules.append(layer("nn.View"))
    for name in ("fc6", "fc7"):
        modules += [layer("nn.Linear", name), layer("nn.ReLU"), layer("nn.Dropout")]
    modules += [layer("nn.Linear", "fc8"), layer(last)]
    number = [(struct.pack("<id", 1, i), entry) for i, entry in enumerate(modules, 1)]
    return module("nn.Sequential", [(text("modules"), table(number))])


class TestNetworks:
    def test_parameters_by_hand(self) -> None:
        with torch.device("meta"):
            models = {row: audiovisual_attributes(row).build_model() for row in ROWS}
        dense = [5 * 16000, 256, 128, 64, 5]
        audio = sum(a * b + b for a, b in pairwise(dense))
        visual = 134_260_544 + 4096 * 5 + 5
        late = [64 + 4096, 512, 256, 128, 5]
        fusion = sum(a * b + b for a, b in pairwise(late))
        assert count(models["audio"]) == audio == 20_521_733
        assert count(models["visual"]) == visual == 134_281_029
        assert count(models["audio+visual"]) == audio + visual + fusion
        assert count(models["audio+visual+attributes"]) == audio + visual + fusion + 9 * 512 == 157_102_671

    def test_sound_is_cut_or_followed_by_silence_and_scaled(self) -> None:
        torch.manual_seed(0)
        model = AudioNetwork(100, (8, 6, 4)).eval()
        sound = torch.randn(2, 130)
        with torch.no_grad():
            torch.testing.assert_close(model(sound), model(sound[:, :100]))
            padded = torch.cat([sound[:, :60], torch.zeros(2, 40)], 1)
            torch.testing.assert_close(model(sound[:, :60]), model(padded))
            expected = model.features(sound)
            model.level.fill_(4.0)
            torch.testing.assert_close(model.features(4 * sound), expected)
            assert ((model(sound) > 0) & (model(sound) < 1)).all()

    def test_faces_are_averaged_however_many(self) -> None:
        torch.manual_seed(0)
        model = VisualNetwork(VggFace(2, 8, 32, 0)).eval()
        faces = torch.randint(0, 256, (2, 1, networks.FACES_AT_ONCE + 3, 32, 32, 3), dtype=torch.uint8)
        with torch.no_grad():
            features = model.features(faces)
            single = torch.stack([model.network.features(clip[0]).mean(0) for clip in faces])
            torch.testing.assert_close(features, single, rtol=1e-4, atol=1e-5)
            assert model(faces).shape == (2, 5)

    def test_an_unknown_attribute_counts_as_the_mean(self) -> None:
        torch.manual_seed(0)
        model = Fusion((2, 4), (0, 1), (8, 6, 4), 0.0).eval()
        known = torch.full((4, 9), torch.nan)
        known[:, 0] = torch.tensor([20.0, 30.0, 40.0, torch.nan])
        model.set_range(known)  # Nothing is known of gender: its mean stays 0, its deviation 1.
        assert model.attribute_mean.tolist() == [30.0, 0.0]
        assert model.attribute_sd.tolist() == [10.0, 1.0]
        features, unknown = torch.randn(1, 6), torch.full((1, 9), torch.nan)
        mean, other = unknown.clone(), unknown.clone()
        mean[0, 0], other[0, 0] = 30.0, 60.0
        with torch.no_grad():
            torch.testing.assert_close(model(features, unknown), model(features, mean))
            assert not torch.allclose(model(features, unknown), model(features, other))
            far = other.clone()
            far[0, 5] = 1.0  # An emotion, which this fusion does not look at.
            torch.testing.assert_close(model(features, far), model(features, other))

    def test_each_group_of_inputs_has_the_same_variance(self) -> None:
        model = Fusion((2, 60), (0, 1, 2), (8,), 0.0).train()
        model.set_range(torch.randn(500, 9))
        seen: list[torch.Tensor] = []
        model.dense.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        model(torch.randn(500, 62) * torch.linspace(0.1, 300, 62) + 7, torch.randn(500, 9))
        variances = [part.var(0).sum().item() for part in seen[0].split((2, 60, 3), 1)]
        assert variances == pytest.approx([65 / 3] * 3, rel=0.15)
        assert "scale" not in model.state_dict()

    def test_networks_and_fusion_go_together(self) -> None:
        audio, visual = AudioNetwork(10, (4,)), VisualNetwork(VggFace(1, 4, 32, 0))
        with pytest.raises(ValueError, match="one network, or two and what joins them"):
            networks.AudiovisualAttributes(audio, visual)
        with pytest.raises(ValueError, match="one network"):
            networks.AudiovisualAttributes(None, None)


class TestRecipe:
    def test_defaults_are_the_slides(self) -> None:
        recipe = audiovisual_attributes()
        assert recipe.features["waveform"].params == {"rate_hz": 16000, "duration_s": 5.0}
        assert recipe.features["faces"].params["reference"] == "dlib_224"
        assert [stage.name for stage in recipe.stages] == ["audio", "visual", "fusion"]
        assert {figure.variant for figure in recipe.published} == set(ROWS)
        for row, inputs in ROWS.items():
            assert tuple(audiovisual_attributes(row).inputs) == inputs

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_every_variant_is_rebuilt_from_its_arguments(self, variant: str) -> None:
        recipe = audiovisual_attributes(variant, width=4)
        again = RECIPES["audiovisual_attributes"](**recipe.arguments)
        assert (again.arguments, again.features, again.variant) == (recipe.arguments, recipe.features, variant)

    def test_wrong_hyperparameters_are_named(self) -> None:
        with pytest.raises(UsageError, match="no variant 'video'"):
            audiovisual_attributes("video")
        with pytest.raises(UsageError, match="no hyperparameter depth"):
            audiovisual_attributes(depth=3)
        with pytest.raises(UsageError, match="square faces: reference is one of openface_112, dlib_224"):
            audiovisual_attributes(reference="sphereface_112x96")
        with pytest.raises(UsageError, match="every attribute is turned off"):
            audiovisual_attributes(age=False, gender=False, emotion=False)
        assert audiovisual_attributes("audio+visual", age=False, gender=False, emotion=False).columns == ()

    @pytest.mark.parametrize(
        ("off", "left"), [("age", range(1, 9)), ("gender", (0, *range(2, 9))), ("emotion", (0, 1))]
    )
    def test_switches_turn_an_attribute_off(self, off: str, left: range) -> None:
        recipe = audiovisual_attributes("small_audio+visual+attributes", **{**TINY, off: False})
        assert recipe.build_model().fusion.attributes == tuple(left)
        assert recipe.features["attributes"].params[off] is False
        assert off not in recipe.limits

    def test_each_stage_changes_its_part_alone(self, tmp_path: Path) -> None:
        recipe = audiovisual_attributes(**TINY)
        run = train(recipe, tiny_data(), tmp_path / "run", LoopSettings(device="cpu", tensorboard=False))
        before = recipe.build_model().state_dict()
        states = {s: torch.load(weights_of(run, s), weights_only=True) for s in ("audio", "visual", "fusion")}
        for stage, changed in (("visual", "visual."), ("fusion", "fusion.")):
            previous = states["audio" if stage == "visual" else "visual"]
            moved = {name for name, value in states[stage].items() if not torch.equal(value, previous[name])}
            assert moved
            assert all(name.startswith(changed) for name in moved)
        assert set(before) == set(states["fusion"])
        assert states["audio"]["audio.level"] == pytest.approx(0.05, rel=0.1)
        ages = [float(tiny_data().splits["train"].reader(i).read("attributes")[0]) for i in range(9)]
        assert states["fusion"]["fusion.attribute_mean"][0] == pytest.approx(np.mean(ages), rel=1e-4)
        assert len(read_rows(run.predictions("test"))) == 2

    def test_trains_and_resumes(self, tmp_path: Path) -> None:
        recipe = audiovisual_attributes(**TINY)
        settings = LoopSettings(device="cpu", tensorboard=False)
        whole = train(recipe, tiny_data(), tmp_path / "whole", settings).path
        train(recipe, tiny_data(), tmp_path / "part", replace(settings, max_steps=3))
        part = train(recipe, tiny_data(), tmp_path / "part", replace(settings, resume=True)).path
        assert read_rows(part / "steps.csv") == read_rows(whole / "steps.csv")

    def test_estimates_are_scored_beside_annotations(self, tmp_path: Path) -> None:
        """The same run, blind to the manifest: as if its columns were empty, and so as a bundle."""
        recipe = audiovisual_attributes(**TINY)
        data = tiny_data(5)
        run = train(recipe, data, tmp_path / "run", LoopSettings(device="cpu", tensorboard=False))
        empty = data.splits["test"]
        arrays = {name: dict(empty.features.arrays[name]) for name in empty.clips}  # type: ignore[attr-defined]
        for entry in arrays.values():
            entry["column:age"] = np.array("90")
        annotated = replace(empty, features=ArrayReader(arrays))
        blind = score_estimated(recipe, run, annotated)
        own = read_predictions(run.predictions("test")).scores
        np.testing.assert_allclose(blind, own[:, : len(TRAITS)], atol=1e-5)
        model = load_trained(recipe, run)
        told = predict_system(recipe, run, model, annotated, "test", seed=0, device=torch.device("cpu"))
        assert np.abs(told - blind).max() > 1e-4

    def test_fine_tuning_moves_the_networks_too(self, tmp_path: Path) -> None:
        recipe = audiovisual_attributes(**TINY, fine_tune=True)
        run = train(recipe, tiny_data(5), tmp_path / "run", LoopSettings(device="cpu", tensorboard=False, max_steps=1))
        first, last = (torch.load(weights_of(run, s), weights_only=True) for s in ("visual", "fusion"))
        moved = {name.split(".")[0] for name, value in last.items() if not torch.equal(value, first[name])}
        assert moved == {"audio", "visual", "fusion"}

    def test_published_weights_are_where_the_faces_start(self, tmp_path: Path) -> None:
        sizes = TINY | {"norm": False, "visual_rate": 0.0, "weights": str(tmp_path / "vgg.npz"), "colours": "rgb"}
        published = {n: v / 50 for n, v in authors_weights(np.random.default_rng(1), 2, 6).items()}
        np.savez(tmp_path / "vgg.npz", **published)
        run = train(
            audiovisual_attributes("visual", **sizes),
            tiny_data(4),
            tmp_path / "run",
            LoopSettings(device="cpu", tensorboard=False, max_steps=1),
        )
        state = torch.load(weights_of(run, "visual"), weights_only=True)
        np.testing.assert_array_equal(
            state["visual.network.layers.conv3_2.weight"].numpy(), published["conv3_2.weight"]
        )
        assert not torch.equal(state["visual.head.bias"], torch.zeros(5))

    def test_a_face_is_flipped_and_shifted_and_sound_rolled(self) -> None:
        recipe = audiovisual_attributes(**TINY, sound_shift=0.1, face_shift=10)
        faces = np.zeros((2, 1, 224, 224, 3), np.uint8)
        faces[:, 0, 100:120, 40:60], faces[1, ..., 1] = 255, 7
        sound = np.arange(400, dtype=np.float32)
        arrays = {**arrays_of(np.random.default_rng(0)), "faces": faces, "waveform": sound}
        clip = StoredClip("a", ArrayReader({"a": arrays}))
        lefts, tops, greens, starts, signs = set(), set(), set(), set(), set()
        for seed in range(200):
            sample = recipe.sample(clip, "train", np.random.default_rng(seed))
            assert sample["faces"].shape == (1, 1, 224, 224, 3)
            assert sample["waveform"].shape == (500,)  # Followed by silence to half a second.
            signs.add(float(np.sign(sample["waveform"].sum())))
            assert sorted(np.abs(sample["waveform"])) == sorted([*sound, *np.zeros(100)])
            rows, columns = np.nonzero(sample["faces"][0, 0, ..., 0])
            tops.add(int(rows.min()))
            lefts.add(int(columns.min()))
            greens.add(int(sample["faces"][0, 0, 0, 0, 1]))
            starts.add(int(np.argmax(np.abs(sample["waveform"]) == 1)) - 1)
        assert greens == {0, 7}
        assert signs == {-1, 1}
        assert min(tops) == 90
        assert max(tops) == 110
        assert min(lefts) in range(30, 34)
        assert max(lefts) in range(171, 175)  # Flipped: 224 - 60, and 10 more.
        assert min(starts) < 5
        assert max(starts) in range(95, 101)
        np.testing.assert_array_equal(recipe.sample(clip, "test", np.random.default_rng(0))["waveform"], sound)

    @pytest.mark.parametrize("row", ["audio", "audio+visual+attributes"])
    def test_exported_graph_scores_as_pytorch(self, row: str, tmp_path: Path) -> None:
        from thinslice.train.export import largest_difference

        recipe = audiovisual_attributes(row, **TINY)
        torch.manual_seed(0)
        model = recipe.build_model().eval()
        assert recipe.build_graph is not None
        graph = recipe.build_graph(model)
        rng = np.random.default_rng(0)
        clips = {str(length): arrays_of(rng, length) for length in (300, 500)}
        clips["300"]["attributes"][2:] = np.nan
        reader = ArrayReader(clips)
        samples = [recipe.sample(StoredClip(clip, reader), "test", random_state(0)) for clip in clips]
        assert largest_difference(recipe, graph, model, samples) < 1e-5


class TestAttributes:
    @pytest.mark.parametrize(
        ("group", "years"),
        [
            ("25-32", 28.5),
            ("0–6", 3.0),
            ("61+", 70.0),
            (" 41 ", 41.0),
            ("", np.nan),
            ("young", np.nan),
            ("1-2-3", np.nan),
        ],
    )
    def test_age_groups(self, group: str, years: float) -> None:
        np.testing.assert_equal(float(annotated_attributes(group)[0]), years)

    def test_annotations(self) -> None:
        assert annotated_attributes("", "Female")[1] == 2
        assert annotated_attributes("", "1")[1] == 1
        assert np.isnan(annotated_attributes("", "unknown")[1])
        assert annotated_attributes(emotion="happiness")[2:].tolist() == [0, 0, 0, 1, 0, 0, 0]
        assert np.isnan(annotated_attributes(emotion="bored")[2:]).all()
        assert set(ESTIMATORS) == {"age", "gender", "emotion"}
        assert networks.ATTRIBUTES == ATTRIBUTES

    def test_the_manifest_wins_over_the_estimate(self) -> None:
        table = Manifest(
            ("a", "b"),
            ("", ""),
            ("train", "train"),
            ("s", "t"),
            {"age_group": ("19-24", "7-13"), "gender": ("", "male"), "age": ("", "41")},
        )
        estimates = np.array([50, 1.8, *np.full(7, 1 / 7)], np.float32)
        reader = with_columns(
            ArrayReader({clip: {"attributes": estimates} for clip in "ab"}), table, audiovisual_attributes().columns
        )
        look = Look(("attributes",), audiovisual_attributes(**TINY).sample.hyper)  # type: ignore[attr-defined]
        seen = {clip: look(StoredClip(clip, reader), "test", random_state(0))["attributes"] for clip in "ab"}
        np.testing.assert_allclose(seen["a"], [21.5, 1.8, *estimates[2:]])
        np.testing.assert_allclose(seen["b"], [41, 1, *estimates[2:]])
        without = Look(("attributes",), replace(look.hyper, annotated=False))
        np.testing.assert_allclose(without(StoredClip("a", reader), "test", random_state(0))["attributes"], estimates)
        assert audiovisual_attributes(annotated=False).columns == ()
        other = replace(table, columns={"gender": ("", "female")})
        assert with_columns(reader.features, other, ("gender",)).digest() != reader.digest()  # type: ignore[attr-defined]


EYES_AND_NOSE = {
    "right_eye_outer": (310.0, 150.0),
    "right_eye_inner": (268.0, 158.0),
    "left_eye_outer": (170.0, 170.0),
    "left_eye_inner": (210.0, 168.0),
    "nose_base": (245.0, 240.0),
}
"""In the order of dlib's five points."""


class TestFaces:
    def test_reference_by_hand(self) -> None:
        reference = REFERENCES["dlib_224"]
        assert (reference.height, reference.width) == (224, 224)
        x, y = reference.points["nose_base"]
        assert x == pytest.approx((0.25 + 0.4901123135679) / 1.5 * 224 - 0.5)
        assert y == pytest.approx((0.25 + 0.6277975316475) / 1.5 * 224 - 0.5)
        assert reference.fallback_points is not None
        assert reference.fallback_points["left_eye"][0] == pytest.approx(
            (reference.points["left_eye_outer"][0] + reference.points["left_eye_inner"][0]) / 2
        )

    @pytest.mark.parametrize(("name", "size", "padding"), [("dlib_224", 224, 0.25), ("dlib_256", 256, 0.2)])
    def test_faces_are_cut_as_dlib_cuts_them(self, name: str, size: int, padding: float) -> None:
        dlib = pytest.importorskip("dlib")
        waves = np.sin(np.arange(500) / 17)[None] + np.cos(np.arange(400) / 13)[:, None]
        image = np.stack([(waves * 60 + 128 + shift).astype(np.uint8) for shift in (-5, 0, 5)], -1)
        points = dlib.points([dlib.point(int(x), int(y)) for x, y in EYES_AND_NOSE.values()])
        shape = dlib.full_object_detection(dlib.rectangle(150, 100, 330, 280), points)
        theirs = dlib.get_face_chip(image, shape, size, padding).astype(int)
        assert np.abs(align_face(image, EYES_AND_NOSE, name).astype(int) - theirs).mean() < 0.6

    def test_hog_finds_the_landmarkers_face(self, real_clips: list[Path]) -> None:
        pytest.importorskip("dlib")
        (frame,) = Source(real_clips[0]).frames([1.0])
        found, expected = (find_faces_in_image(frame.image, detector)[0] for detector in ("hog", "landmarker"))
        assert overlaps(np.array(found.box), np.array([expected.box]))[0] > 0.5
        for name, point in expected.landmarks.items():
            assert np.hypot(*np.subtract(found.landmarks[name], point)) < 0.15 * expected.eye_distance
        assert find_faces_in_image(np.zeros((120, 160, 3), np.uint8), "hog") == []

    def test_estimates_on_a_real_clip(self, real_clips: list[Path]) -> None:
        try:
            values = extract_attributes(Source(real_clips[0]), num_frames=2)
        except AssetError as error:
            pytest.skip(str(error))
        assert values.dtype == np.float32
        assert 0 < values[0] < 80
        assert 1 <= values[1] <= 2
        assert values[2:].sum() == pytest.approx(1, abs=1e-3)
        off = extract_attributes(Source(real_clips[0]), num_frames=2, age=False, emotion=False)
        np.testing.assert_array_equal(off, [np.nan, values[1], *[np.nan] * 7])
        nothing = extract_attributes(Source(real_clips[0]), age=False, gender=False, emotion=False)
        assert np.isnan(nothing).all()
