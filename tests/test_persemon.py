"""PersEmoN: the network of Table 1 by hand, its losses, who is changed by which update, what it learns, real clips."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from torch.nn import functional as F  # noqa: E402

from thinslice.errors import UsageError  # noqa: E402
from thinslice.layers.losses import confusion_loss, domain_loss, smooth_l1  # noqa: E402
from thinslice.published.figures import load_published  # noqa: E402
from thinslice.systems.persemon.fusion import RATIOS  # noqa: E402
from thinslice.systems.persemon.network import EMOTION, EMOTIONS, PAPER_FUSION, PERSONALITY, PersEmoN  # noqa: E402
from thinslice.systems.persemon.recipe import (  # noqa: E402
    SMALL,
    SparseFaces,
    classifier_loss,
    networks_loss,
    persemon,
    sample_face,
)
from thinslice.systems.persemon.sphereface import (  # noqa: E402
    SphereFace,
    faces_to_tensor,
    load_sphereface,
    parameter_names,
)
from thinslice.systems.persemon.variants import KINDS, READINGS, TABLES, VARIANTS  # noqa: E402
from thinslice.train.data import (  # noqa: E402
    ArrayReader,
    ClipData,
    RunData,
    StoredClip,
)
from thinslice.train.export import build_graph, largest_difference, load_trained  # noqa: E402
from thinslice.train.history import read_rows  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import Stage  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.train.stage import build_optimiser, trained_parameters  # noqa: E402
from thinslice.train.system import weights_of  # noqa: E402
from thinslice.traits import TARGETS, TRAITS  # noqa: E402

TINY = {
    "width": 4,
    "deep": "0,0,0,0",
    "num_features": 16,
    "shrink": 4,
    "draws": 1,
    "faces_per_step": 40,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "classifier_weight": 1.0,
    "confusion_weight": 0.3,
}
AUTHORS_TINY = {name: value for name, value in TINY.items() if not name.endswith("weight")}
SETTINGS = LoopSettings(device="cpu", tensorboard=False)
NAN = float("nan")


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tiny_network(consensus: str = "mean") -> PersEmoN:
    torch.manual_seed(0)
    return PersEmoN((4, 8, 16, 32), (0, 0, 0, 0), 16, 4, consensus)  # type: ignore[arg-type]


def random_faces(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (*shape, 112, 96, 3), dtype=np.uint8))


class TestSphereFace:
    SHAPES = ((1, 64, 56, 48), (1, 128, 28, 24), (1, 256, 14, 12), (1, 512, 7, 6))

    def test_shapes_of_table_1(self) -> None:
        """Conv 1 to Conv 4 begin with a stride of 2, on faces of 112 x 96; FC1 has 512 outputs."""
        model = SphereFace()
        with torch.no_grad():
            maps = list(model.groups(torch.zeros(1, 3, 112, 96)))
            assert tuple(tuple(x.shape) for x in maps) == self.SHAPES
            assert model(torch.zeros(2, 3, 112, 96)).shape == (2, 512)
        convolutions = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d)}
        assert len(convolutions) == 20
        assert {n for n, m in convolutions.items() if m.stride == (2, 2)} == {f"conv{g}_1" for g in (1, 2, 3, 4)}
        assert all(m.kernel_size == (3, 3) and m.padding == (1, 1) for m in convolutions.values())

    def test_parameters_by_hand(self) -> None:
        def layer(channels: int, out: int) -> int:
            return 9 * channels * out + out + out  # Kernel, bias, and a PReLU slope for each channel.

        total = 0
        for channels, out, units in ((3, 64, 1), (64, 128, 2), (128, 256, 4), (256, 512, 1)):
            total += layer(channels, out) + 2 * units * layer(out, out)
        total += 7 * 6 * 512 * 512 + 512
        assert count(SphereFace()) == total == 22_670_656
        # PAM, EAM, RAM, the classifier of data sets, and the weight of PAM beside RAM.
        heads = (512 * 5 + 5) + (512 * 2 + 2) + (2 * 128 + 128) + (128 * 5 + 5) + (512 * 2 + 2) + 1
        assert count(PersEmoN()) == total + heads == 22_676_303
        # The LSTM of 128 on 512 features: four gates, two biases each; PAM is then on 128 numbers.
        lstm = 4 * 128 * (512 + 128 + 2)
        assert count(PersEmoN(consensus="lstm")) == total + heads + lstm - (512 - 128) * 5

    def test_equal_to_plain_functions(self) -> None:
        """Strided layer, then x + prelu(conv(prelu(conv(x)))): nothing after the addition."""
        torch.manual_seed(0)
        model = SphereFace((4, 6, 8, 10), (1, 2, 4, 1), 7)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, 0.05, 0.2)
        state = model.state_dict()
        faces = torch.randn(2, 3, 112, 96)
        with torch.no_grad():
            torch.testing.assert_close(model(faces), plain_forward(state, faces, (1, 2, 4, 1)))

    def test_pixels_are_scaled_as_caffe_reads_them(self) -> None:
        red = torch.tensor([255, 0, 127], dtype=torch.uint8).expand(1, 112, 96, 3)
        x = faces_to_tensor(red)
        assert x.shape == (1, 3, 112, 96)
        torch.testing.assert_close(x[0, :, 5, 5], (torch.tensor([127.0, 0, 255]) - 127.5) / 128)  # Blue, green, red.

    def test_weights_start_as_the_definition_says(self) -> None:
        model = SphereFace()
        for name, parameter in model.named_parameters():
            if "relu" in name:
                assert (parameter == 0.25).all()
            elif name.endswith("bias"):
                assert (parameter == 0).all()
            else:
                is_xavier = "_1." in name or name.startswith("fc5")
                expected = (1 / parameter[0].numel()) ** 0.5 if is_xavier else 0.01
                assert parameter.std().item() == pytest.approx(expected, rel=0.05), name


def plain_forward(state: dict[str, torch.Tensor], x: torch.Tensor, units: tuple[int, ...]) -> torch.Tensor:
    def layer(name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
        x = F.conv2d(x, state[f"conv{name}.weight"], state[f"conv{name}.bias"], stride, 1)
        return torch.where(x > 0, x, state[f"relu{name}.weight"][:, None, None] * x)

    for group, number in enumerate(units, 1):
        x = layer(f"{group}_1", x, 2)
        for unit in range(number):
            x = x + layer(f"{group}_{2 * unit + 3}", layer(f"{group}_{2 * unit + 2}", x, 1), 1)
    return x.flatten(1) @ state["fc5.weight"].T + state["fc5.bias"]


SLIM = ((4, 6, 8, 10), (1, 2, 4, 1), 12)
"""SphereFace-20 with all its layers, but few channels: for tests of what does not depend on their number."""


def public_weights(widths: tuple[int, ...] = (64, 128, 256, 512), num_features: int = 512) -> dict[str, torch.Tensor]:
    """Return weights with the public files' names and shapes, written down by hand."""
    rng = np.random.default_rng(0)

    def draw(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))

    out: dict[str, torch.Tensor] = {}
    channels = 3
    for group, (width, layers) in enumerate(zip(widths, (3, 5, 9, 3), strict=True), 1):
        for number in range(1, layers + 1):
            out[f"conv{group}_{number}.weight"] = draw(-0.1, 0.1, width, channels, 3, 3)
            out[f"conv{group}_{number}.bias"] = torch.zeros(width)
            out[f"relu{group}_{number}.weight"] = draw(0, 1, width)
            channels = width
    out["fc5.weight"] = draw(-0.1, 0.1, num_features, 7 * 6 * widths[-1])
    out["fc5.bias"] = draw(-0.1, 0.1, num_features)
    out["fc6.weight"] = torch.zeros(num_features, 3)  # The classifier, over fewer identities than 10,574.
    return out


def write_caffemodel(weights: dict[str, torch.Tensor], path: Path, *, old: bool = False) -> None:
    """Write a .caffemodel by Google's implementation of protocol buffers, from the fields of caffe.proto."""
    pb = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = pb.FileDescriptorProto(name=f"caffe{old}.proto", package=f"caffe{old}", syntax="proto2")
    kinds = {"string": 9, "float": 2, "int64": 3, "int32": 5}

    def message(name: str, *fields: tuple[str, int, str, bool]) -> None:
        added = file.message_type.add(name=name)
        for label, number, kind, repeated in fields:
            field = added.field.add(name=label, number=number, label=3 if repeated else 1)
            field.type = kinds.get(kind, 11)
            if kind not in kinds:
                field.type_name = f".caffe{old}.{kind}"
            elif repeated:
                field.options.packed = True

    message("Shape", ("dim", 1, "int64", True))
    legacy = [(name, n, "int32", False) for n, name in enumerate(("num", "channels", "height", "width"), 1)]
    message("Blob", *legacy, ("data", 5, "float", True), ("shape", 7, "Shape", False))
    message("Layer", ("name", 4 if old else 1, "string", False), ("blobs", 6 if old else 7, "Blob", True))
    message("Net", ("name", 1, "string", False), ("layer", 2 if old else 100, "Layer", True))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    net = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe{old}.Net"))(name="SpherefaceNet-20")
    net.layer.add(name="data")
    for name in dict.fromkeys(entry.partition(".")[0] for entry in weights):
        layer = net.layer.add(name=name)
        for part in ("weight", "bias"):
            value = weights.get(f"{name}.{part}")
            if value is not None and not (part == "bias" and name.endswith("_2")):  # As if without a bias.
                blob = layer.blobs.add(data=value.flatten().tolist())
                if old:
                    sizes = [1] * (4 - value.ndim) + list(value.shape)
                    for label, size in zip(("num", "channels", "height", "width"), sizes, strict=True):
                        setattr(blob, label, size)
                else:
                    blob.shape.dim.extend(value.shape)
    path.write_bytes(net.SerializeToString())


class TestPublicWeights:
    @pytest.mark.parametrize("kind", ["torch", "torch_legacy", "caffe"])
    def test_every_layer_arrives(self, kind: str, tmp_path: Path) -> None:
        weights = public_weights(SLIM[0], SLIM[2])
        path = tmp_path / ("sphereface_model.caffemodel" if kind == "caffe" else "sphere20a.pth")
        if kind == "caffe":
            write_caffemodel(weights, path)
        else:
            named = {f"module.{name}": value for name, value in weights.items()}
            torch.save(named, path, _use_new_zipfile_serialization=kind == "torch")
        model = SphereFace(*SLIM)
        load_sphereface(model, path)
        state = model.state_dict()
        assert set(state) == {name for name in weights if not name.startswith("fc6")}
        assert all(torch.equal(state[name], weights[name]) for name in state)
        faces = faces_to_tensor(random_faces(2))
        with torch.no_grad():
            torch.testing.assert_close(model(faces), plain_forward(weights, faces, SLIM[1]), rtol=1e-4, atol=1e-5)

    def test_the_recipe_starts_from_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Full-size variants do, once imported; without that the remedy is named. Small and fresh ones do not."""
        from click.testing import CliRunner

        from thinslice.cli.import_ import import_

        monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path / "cache"))
        stage = persemon().stages[0]
        assert isinstance(stage, Stage)
        assert stage.prepare is not None
        assert persemon("fresh").stages[0].prepare is None  # type: ignore[union-attr]
        assert persemon("small_joint").stages[0].prepare is None  # type: ignore[union-attr]
        model, clips = PersEmoN(), made_up_data(3, 1).splits["train"]
        with pytest.raises(UsageError, match="thinslice import sphereface FILE; or take a variant with fresh weights"):
            stage.prepare(model, clips)
        weights = public_weights()
        torch.save(weights, tmp_path / "sphere20a.pth")
        result = CliRunner().invoke(import_, ["sphereface", str(tmp_path / "sphere20a.pth")], catch_exceptions=False)
        assert result.exit_code == 0
        stage.prepare(model, clips)
        assert torch.equal(model.fem.conv4_3.weight, weights["conv4_3.weight"])
        with pytest.raises(UsageError, match=r"conv1_1.weight has shape \(64, 3, 3, 3\), and \(4, 3, 3, 3\)"):
            load_sphereface(SphereFace(*SLIM), tmp_path / "sphere20a.pth")

    def test_old_caffe_files_with_four_axes(self, tmp_path: Path) -> None:
        from thinslice.formats.caffemodel import read_caffemodel

        weights = {"conv1_1.weight": torch.rand(4, 3, 3, 3), "fc5.weight": torch.rand(6, 5), "fc5.bias": torch.rand(6)}
        write_caffemodel(weights, tmp_path / "old.caffemodel", old=True)
        layers = read_caffemodel(tmp_path / "old.caffemodel")
        assert [blob.shape for blob in layers["fc5"]] == [(1, 1, 6, 5), (1, 1, 1, 6)]
        np.testing.assert_array_equal(layers["fc5"][0].reshape(6, 5), weights["fc5.weight"])

    def test_what_is_refused(self, tmp_path: Path) -> None:
        weights = public_weights(SLIM[0], SLIM[2])
        path = tmp_path / "weights.pth"
        cases = (
            (
                {k: v for k, v in weights.items() if k != "conv3_4.weight"},
                r"not hold this network: without conv3_4.weight",
            ),
            ({**weights, "conv5_1.weight": torch.zeros(1)}, r"not hold this network: with conv5_1.weight"),
            ({**weights, "conv1_1.weight": torch.zeros(4, 1, 3, 3)}, r"conv1_1.weight has shape \(4, 1, 3, 3\)"),
            ({**weights, "fc5.bias": torch.full((12,), NAN)}, "values that are no numbers"),
            ([1, 2], "no table of weights"),
        )
        for content, message in cases:
            torch.save(content, path)
            with pytest.raises(UsageError, match=message):
                load_sphereface(SphereFace(*SLIM), path)
        with pytest.raises(UsageError, match="no such file"):
            load_sphereface(SphereFace(*SLIM), tmp_path / "absent.pth")

    @pytest.mark.parametrize("content", [b"", b"no model", b"\xa2\x06\xff\xff\xff\x07ab", b"\x03\x00"])
    def test_damaged_files(self, content: bytes, tmp_path: Path) -> None:
        for name in ("a.caffemodel", "a.pth"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UsageError, match=name):
                load_sphereface(SphereFace(*SLIM), tmp_path / name)

    def test_no_code_in_a_pickle_is_run(self, tmp_path: Path) -> None:
        import pickle

        class Attack:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return Path.touch, (str(tmp_path / "owned"),)

        (tmp_path / "weights.pth").write_bytes(pickle.dumps({"conv1_1.weight": Attack()}))
        with pytest.raises(UsageError, match="no PyTorch state dict"):
            load_sphereface(SphereFace(*SLIM), tmp_path / "weights.pth")
        assert not (tmp_path / "owned").exists()


class TestNetwork:
    def test_modules_of_table_1(self) -> None:
        model = PersEmoN()
        sizes = {n: (m.in_features, m.out_features) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        assert sizes == {
            "fem.fc5": (21504, 512),
            "pam": (512, 5),
            "eam": (512, 2),
            "ram.0": (2, 128),
            "ram.2": (128, 5),
            "domain": (512, 2),
        }

    def test_consensus_by_hand(self) -> None:
        features = torch.randn(3, 4, 16)
        mean, largest = tiny_network(), tiny_network("max")
        with torch.no_grad():
            raw = features @ mean.pam.weight.T + mean.pam.bias
            torch.testing.assert_close(mean.personality(features), torch.sigmoid(raw.mean(1)))
            torch.testing.assert_close(largest.personality(features), torch.sigmoid(raw.max(1).values))
            # RAM agrees on the emotion first (equation 11).
            emotions = mean.emotion(features)
            torch.testing.assert_close(emotions, torch.tanh(features @ mean.eam.weight.T + mean.eam.bias))
            hidden = torch.relu(emotions.mean(1) @ mean.ram[0].weight.T + mean.ram[0].bias)
            expected = torch.sigmoid(hidden @ mean.ram[2].weight.T + mean.ram[2].bias)
            torch.testing.assert_close(mean.relationship(emotions), expected)
            hidden = torch.relu(emotions.amax(1) @ mean.ram[0].weight.T + mean.ram[0].bias)
            expected = torch.sigmoid(hidden @ mean.ram[2].weight.T + mean.ram[2].bias)
            torch.testing.assert_close(largest.relationship(emotions), expected)

    def test_lstm_steps_by_hand(self) -> None:
        model = tiny_network("lstm")
        assert model.lstm is not None
        features = torch.randn(2, 5, 16)
        h = c = torch.zeros(2, 128)
        states = []
        with torch.no_grad():
            for step in features.unbind(1):
                gates = step @ model.lstm.weight_ih_l0.T + h @ model.lstm.weight_hh_l0.T
                i, f, g, o = (gates + model.lstm.bias_ih_l0 + model.lstm.bias_hh_l0).chunk(4, 1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                states.append(h)
            expected = torch.sigmoid(model.pam(torch.stack(states).mean(0)))
            torch.testing.assert_close(model.personality(features), expected)

    @pytest.mark.parametrize("consensus", ["mean", "max", "lstm"])
    def test_order_of_faces_and_batch(self, consensus: str) -> None:
        model = tiny_network(consensus)
        faces = random_faces(2, 1, 4)
        with torch.no_grad():
            scores = model(faces)
            alone = torch.cat([model(faces[:1]), model(faces[1:])])
            reversed_scores = model(faces.flip(2))
        torch.testing.assert_close(scores, alone, rtol=1e-5, atol=1e-6)
        same = torch.allclose(scores, reversed_scores, atol=1e-6)
        assert same == (consensus != "lstm")

    def test_draws_are_averaged_and_modules_weighted(self) -> None:
        model = tiny_network()
        faces = random_faces(1, 3, 4)
        with torch.no_grad():
            by_draw = [model.scores(faces[:, k : k + 1]) for k in range(3)]
            pam = torch.stack([pair[0] for pair in by_draw]).mean(0)
            ram = torch.stack([pair[1] for pair in by_draw]).mean(0)
            torch.testing.assert_close(model(faces), (6 * pam + ram) / 7)


class TestLosses:
    def test_smooth_l1_by_hand(self) -> None:
        predictions, labels = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([[0.48, 0.2], [0.5, NAN]])
        # Errors 0.02, 0.3; 0, unknown. Margin 0.05: 0.02² / 0.1 = 0.004; 0.3 - 0.025 = 0.275. Columns averaged, summed.
        assert smooth_l1(predictions, labels).item() == pytest.approx(0.004 / 2 + 0.275, abs=1e-7)
        # As printed: 0.02² / 2 = 0.0002; 0.3 - 0.5 = -0.2.
        assert smooth_l1(predictions, labels, printed=True).item() == pytest.approx(0.0002 / 2 - 0.2, abs=1e-7)

    def test_equal_to_torch(self) -> None:
        predictions, labels = torch.rand(6, 5), torch.rand(6, 5)
        expected = F.smooth_l1_loss(predictions, labels, beta=0.05) * 5  # torch averages over the five targets.
        torch.testing.assert_close(smooth_l1(predictions, labels), expected)

    @pytest.mark.parametrize(("printed", "jump", "slopes"), [(False, 0.0, (1.0, 1.0)), (True, -0.45125, (0.05, 1.0))])
    def test_at_the_margin(self, printed: bool, jump: float, slopes: tuple[float, float]) -> None:
        values, gradients = [], []
        for error in (0.05 - 1e-5, 0.05 + 1e-5):
            x = torch.tensor([[error]], dtype=torch.float64, requires_grad=True)
            value = smooth_l1(x, torch.zeros(1, 1, dtype=torch.float64), printed=printed)
            value.backward()
            values.append(value.item())
            assert x.grad is not None
            gradients.append(x.grad.item())
        assert values[1] - values[0] == pytest.approx(jump, abs=1e-4)
        assert gradients == pytest.approx(slopes, abs=1e-3)

    def test_unknown_labels_get_no_gradient(self) -> None:
        predictions = torch.full((2, 2), 0.3, requires_grad=True)
        smooth_l1(predictions, torch.tensor([[0.5, NAN], [NAN, NAN]])).backward()
        assert predictions.grad is not None
        assert [value != 0 for value in predictions.grad.flatten().tolist()] == [True, False, False, False]

    def test_domains_by_hand(self) -> None:
        logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])  # Probabilities 3/4, 1/4 and 1/2, 1/2.
        assert domain_loss(logits, PERSONALITY).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
        assert domain_loss(logits, EMOTION).item() == pytest.approx((math.log(4) + math.log(2)) / 2)
        sure = (math.log(4 / 3) + math.log(4)) / 2
        assert confusion_loss(logits).item() == pytest.approx((sure + math.log(2)) / 2)

    def test_confusion_is_lowest_where_nobody_can_tell(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            assert confusion_loss(torch.randn(5, 2, generator=generator)) > math.log(2)
        assert confusion_loss(torch.full((5, 2), 7.0)).item() == pytest.approx(math.log(2))


def tiny_batch(seed: int = 0) -> dict[str, object]:
    rng = torch.Generator().manual_seed(seed)
    return {
        "inputs": {"faces": random_faces(3, 1, 4, seed=seed)},
        "labels": torch.rand(3, 5, generator=rng),
        "emotion": {
            "inputs": {"face": random_faces(8, seed=seed + 1)},
            "labels": torch.rand(8, 2, generator=rng) * 2 - 1,
        },
    }


def reached(model: PersEmoN) -> set[str]:
    """Return the modules that have a gradient other than zero."""
    found = set()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and parameter.grad.abs().sum() > 0:
            found.add(name.partition(".")[0])
    return found


class TestUpdates:
    def stage(self, variant: str = "small_joint", **sizes: object) -> Stage:
        stage = persemon(variant, **{**TINY, **sizes}).stages[0]
        assert isinstance(stage, Stage)
        return stage

    def test_each_update_reaches_only_what_it_should(self) -> None:
        stage, model = self.stage(), tiny_network()
        parts = {update.name: update.trains for update in stage.updates}
        assert parts == {"networks": ("fem", "pam", "eam", "ram"), "classifier": ("domain",)}
        for update in stage.updates:
            chosen = set(trained_parameters(model, update))
            for name, parameter in model.named_parameters():  # As the loop does before each update.
                parameter.requires_grad_(name in chosen)
            model.zero_grad()
            result = update.loss(model, tiny_batch())
            assert isinstance(result, dict)
            result["loss"].backward()
            assert reached(model) == set(update.trains)
            assert all(p.grad is None for n, p in model.named_parameters() if n not in chosen)

    def test_each_term_reaches_only_what_it_should(self) -> None:
        expected = {
            "personality": {"fem", "pam"},
            "emotion": {"fem", "eam"},
            "relationship": {"fem", "eam", "ram"},
            "confusion": {"fem", "domain"},  # The loop keeps it from the classifier, as the test above shows.
        }
        for term, parts in expected.items():
            model = tiny_network()
            networks_loss(KINDS["joint"], SMALL, model, tiny_batch())[term].backward()
            assert reached(model) == parts, term
        model = tiny_network()
        alone = networks_loss(KINDS["joint"], replace(SMALL, ram_reaches="ram"), model, tiny_batch())
        alone["relationship"].backward()
        assert reached(model) == {"ram"}
        model = tiny_network()
        classifier_loss(SMALL, model, tiny_batch())["loss"].backward()  # Nothing is frozen here.
        assert reached(model) == {"domain"}

    def test_total_is_equation_13(self) -> None:
        model = tiny_network()
        sizes = replace(SMALL, emotion_weight=0.7, confusion_weight=0.3, ram_weight=0.2, classifier_weight=0.4)
        batch = tiny_batch()
        with torch.no_grad():
            parts = networks_loss(KINDS["joint"], sizes, model, batch)
            clips, images = (
                model.features(batch["inputs"]["faces"][:, 0]),
                model.features(batch["emotion"]["inputs"]["face"]),
            )  # type: ignore[index]
            labels, emotions = batch["labels"], batch["emotion"]["labels"]  # type: ignore[index]
            expected = smooth_l1(model.personality(clips), labels)  # type: ignore[arg-type]
            expected = expected + 0.7 * smooth_l1(model.emotion(images), emotions)
            told = torch.cat([model.domain(clips.flatten(0, 1)), model.domain(images)]).log_softmax(1)
            uniform = -told.mean(1)
            expected = expected + 0.3 * (uniform[:12].mean() + uniform[12:].mean())
            expected = expected + 0.2 * smooth_l1(model.relationship(model.emotion(clips)), labels)  # type: ignore[arg-type]
            torch.testing.assert_close(parts["loss"], expected)
            classifier = classifier_loss(sizes, model, batch)
            torch.testing.assert_close(classifier["loss"], 0.4 * (-told[:12, 0].mean() - told[12:, 1].mean()))
            right = ((told[:12, 0] > told[:12, 1]).float().mean() + (told[12:, 1] > told[12:, 0]).float().mean()) / 2
            torch.testing.assert_close(classifier["accuracy"], right)

    def test_both_losses_see_the_parameters_of_before_the_step(self, tmp_path: Path) -> None:
        """The classifier's loss is that of features which the other update has not changed yet."""
        recipe = persemon("small_joint", **TINY, steps=1)
        data = made_up_data(20, 12)
        stage = recipe.stages[0]
        assert isinstance(stage, Stage)
        seen = []

        def watched(model: torch.nn.Module, batch: dict[str, object]) -> object:
            with torch.no_grad():
                fresh = classifier_loss(SMALL, model, dict(batch))
                late = classifier_loss(SMALL, model, {k: v for k, v in batch.items() if k != "features"})
            seen.append((float(fresh["loss"]), float(late["loss"])))
            return classifier_loss(SMALL, model, batch)

        updates = (replace(stage.updates[0]), replace(stage.updates[1], loss=watched))
        run = train(replace(recipe, stages=(replace(stage, updates=updates),)), data, tmp_path / "run", SETTINGS)
        ((before, after),) = seen
        assert before != after  # The face network has changed in between ...
        rows = {row["update"]: float(row["loss"]) for row in read_rows(run.path / "steps.csv")}
        assert rows["classifier"] == pytest.approx(before)  # ... and the classifier learned from what it was before.

    def test_ablations_train_what_they_say(self) -> None:
        batch = tiny_batch()
        expected = {
            "emotion": {"fem", "eam"},
            "personality": {"fem", "pam"},
            "without_ram": {"fem", "pam", "eam"},
            "without_coherence": {"fem", "pam", "eam", "ram"},
            "lstm": {"fem", "lstm", "pam", "eam", "ram"},
        }
        for name, parts in expected.items():
            stage = self.stage(f"small_{name}")
            assert set(stage.updates[0].trains) == parts
            assert len(stage.updates) == (1 if name != "lstm" else 2) + (name == "without_ram")
            assert stage.companions == (() if name == "personality" else ("emotion",))
            model = persemon(f"small_{name}", **TINY).build_model()
            result = stage.updates[0].loss(model, dict(batch))
            assert isinstance(result, dict)
            result["loss"].backward()
            assert reached(model) - {"domain"} == parts  # type: ignore[arg-type]


class TestRecipe:
    def test_schedule_and_batches_of_section_4_2(self) -> None:
        for variant, clips in (("joint", 10), ("k5", 20), ("k20", 5)):
            recipe = persemon(variant)
            stage = recipe.stages[0]
            assert isinstance(stage, Stage)
            assert (stage.steps, stage.batch_size, recipe.companions["emotion"].batch_size) == (56_000, clips, 100)
            assert stage.batch_size * int(str(recipe.features["faces"].params["num_parts"])) == 100
        parameter = torch.nn.Parameter(torch.zeros(1))
        for update in stage.updates:
            optimiser = update.optimiser([{"params": [parameter]}])
            assert isinstance(optimiser, torch.optim.SGD)
            assert update.schedule is not None
            assert update.per_step
            schedule = update.schedule(optimiser)
            assert dict(schedule.milestones) == {32_000: 1, 48_000: 1}
            assert (schedule.gamma, optimiser.param_groups[0]["lr"]) == (0.1, 0.01)

    def test_paper_settings(self) -> None:
        arguments = persemon().arguments
        lambdas = ("emotion_weight", "classifier_weight", "confusion_weight", "ram_weight")
        assert [arguments[name] for name in lambdas] == [1.0, 0.1, 0.1, 0.1]
        assert (arguments["margin"], arguments["loss"], arguments["detector"]) == (0.05, "smooth_l1", "mtcnn")
        spec = persemon().features["faces"]
        assert (spec.extractor, spec.params["reference"]) == ("aligned_faces", "sphereface_112x96")
        assert RATIOS[-1] == pytest.approx(6)

    def test_tables_name_published_figures(self) -> None:
        published = {figure.variant for figure in load_published() if figure.system == "persemon"}
        assert {name for table, rows in TABLES.items() if table != "readings" for name in rows.values()} <= published
        assert {variant for rows in TABLES.values() for variant in rows} <= set(VARIANTS)

    @pytest.mark.parametrize(
        ("variant", "sizes", "message"),
        [
            ("all", {}, "no variant 'all'; there are joint"),
            ("joint", {"depth": 3}, "no hyperparameter depth"),
            ("joint", {"draws": 2}, "odd number"),
            ("joint", {"deep": "9"}, "deep is one of"),
            ("joint", {"margin": 0.0}, "margin above 0"),
            ("joint", {"loss": "l3"}, "loss is one of smooth_l1, smooth_l1_printed, euclidean"),
            ("reading_none", {}, "readings: reading_printed_loss"),
        ],
    )
    def test_wrong_arguments(self, variant: str, sizes: dict[str, object], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            persemon(variant, **sizes)

    def test_faces_are_sampled_sparsely(self) -> None:
        stored = np.zeros((3, 4, 112, 96, 3), np.uint8)
        stored[:, :, 0, 0, 0] = np.arange(12).reshape(3, 4)  # Draw and part of each face, at its left edge.
        clip = StoredClip("a", ArrayReader({"a": {"faces": stored, "face": stored[0]}}))
        sample, rng = SparseFaces(4), np.random.default_rng(0)
        seen, mirrored = set(), set()
        for _ in range(60):
            faces = sample(clip, "train", rng)["faces"]
            assert faces.shape == (1, 4, 112, 96, 3)
            edge = faces[0, :, 0, [0, -1], 0].max(0)
            assert (edge % 4 == np.arange(4)).all()  # One face of each part, in their order.
            seen |= set(edge.tolist())
            sides = {int(np.argmax(face[0, [0, -1], 0])) for face in faces[0, 1:]}
            assert len(sides) == 1  # All of a clip's faces are mirrored, or none.
            mirrored |= sides
        assert (seen, mirrored) == (set(range(12)), {0, 1})
        assert sample(clip, "validation", rng)["faces"][0, :, 0, 0, 0].tolist() == [4, 5, 6, 7]
        assert np.array_equal(sample(clip, "test", rng)["faces"], stored)
        assert sample_face(clip, "test", rng)["face"].shape == (112, 96, 3)


class TestAuthors:
    """The variant of the authors' definition, against their file's layers written down as plain functions."""

    def test_every_reading_is_one_change_of_joint(self) -> None:
        assert next(iter(TABLES["readings"])) == "joint"
        usual = persemon().arguments
        for name, reading in READINGS.items():
            recipe = persemon(f"reading_{name}")
            changed = {key: value for key, value in recipe.arguments.items() if value != usual[key]}
            expected = {key: value for key, value in reading.changes.items() if value != usual[key]}
            assert changed == {**expected, "variant": f"reading_{name}"}
            assert persemon(**recipe.arguments).arguments == recipe.arguments
            small = persemon(f"small_reading_{name}")
            assert all(small.arguments[key] == value for key, value in reading.changes.items())
            assert small.arguments["width"] == SMALL.width
        authors = persemon("authors")
        assert authors.outputs == TARGETS
        for reading in READINGS.values():
            rest = {k: v for k, v in reading.changes.items() if k not in ("loss", "ram_reaches")}
            assert all(authors.arguments[key] == value for key, value in rest.items())

    def test_losses_are_those_of_the_definition(self) -> None:
        """Half of squared errors, 1, 1 and 0.2; 0.05 on means over all 200 faces, the second on exchanged labels."""
        stage = persemon("small_authors", **AUTHORS_TINY).stages[0]
        assert isinstance(stage, Stage)
        model = persemon("small_authors", **AUTHORS_TINY).build_model()
        assert isinstance(model, PersEmoN)
        batch = tiny_batch()
        batch["inputs"] = {"faces": random_faces(2, 1, 4)}  # As many faces as pictures.
        labels = torch.rand(2, 6)
        batch["labels"] = labels
        state = model.state_dict()

        def dense(name: str, x: torch.Tensor) -> torch.Tensor:
            return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

        def euclidean(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return ((x - y) ** 2).sum() / (2 * len(x))

        with torch.no_grad():
            clips = model.features(batch["inputs"]["faces"][:, 0]).flatten(0, 1)  # type: ignore[index]
            images = model.features(batch["emotion"]["inputs"]["face"])  # type: ignore[index]
            results = dense("pam", clips).reshape(2, 4, 6).mean(1)
            of_clips, of_images = torch.tanh(dense("eam", clips)), torch.tanh(dense("eam", images))
            embedded = torch.tanh(dense("ram.2", torch.relu(dense("ram.0", of_clips))))
            results_ep = embedded.reshape(2, 4, 6).mean(1)
            domain = dense("domain", torch.cat([clips, images]))
            source = torch.cat([torch.zeros(8, dtype=torch.long), torch.ones(8, dtype=torch.long)])
            expected = euclidean(results, labels) + 0.2 * euclidean(results_ep, labels)
            expected = expected + euclidean(of_images, batch["emotion"]["labels"])  # type: ignore[index]
            expected = expected + 0.05 * F.cross_entropy(domain, 1 - source)
            networks, classifier = (update.loss(model, batch) for update in stage.updates)
            torch.testing.assert_close(networks["loss"], expected)  # type: ignore[index]
            torch.testing.assert_close(classifier["loss"], 0.05 * F.cross_entropy(domain, source))  # type: ignore[index]

    def test_residual_biases_stay_and_others_learn_twice_as_fast(self) -> None:
        sizes = {**AUTHORS_TINY, "deep": "1,1,1,1", "momentum": 0.0, "weight_decay": 0.1}
        stage = persemon("small_authors", **sizes).stages[0]
        assert isinstance(stage, Stage)
        model = persemon("small_authors", **sizes).build_model()
        update, classifier = stage.updates
        chosen = trained_parameters(model, update)
        missing = {name for name, _ in model.named_parameters()} - set(chosen)
        assert missing == {
            "domain.weight", "domain.bias", "fusion", *(f"fem.conv{g}_{k}.bias" for g in (1, 2, 3, 4) for k in (2, 3))
        }  # fmt: skip
        groups = {
            id(p): (group["lr"], group["weight_decay"])
            for group in build_optimiser(model, update).param_groups
            for p in group["params"]
        }
        found = {name: groups[id(p)] for name, p in chosen.items()}
        assert {name for name, (rate, _) in found.items() if rate == 0.2} == {n for n in found if n.endswith("bias")}
        undecayed = {name for name, (_, decay) in found.items() if decay == 0}
        assert undecayed == {"fem.fc5.bias", *(f"fem.conv{g}_1.bias" for g in (1, 2, 3, 4))}
        (bias,) = [g for g in build_optimiser(model, classifier).param_groups if g["lr"] == 0.2]
        assert (bias["weight_decay"], len(bias["params"])) == (0.0, 1)
        # The paper's full size too: Caffe's file knows no such biases.
        names = trained_parameters(PersEmoN(), persemon("fresh").stages[0].updates[0])  # type: ignore[union-attr]
        assert "fem.conv3_2.bias" not in names
        assert "fem.conv3_1.bias" in names
        assert set(parameter_names((1, 2, 4, 1), True)) == {name for name, _ in SphereFace().named_parameters()}

    def test_it_learns_six_targets(self, tmp_path: Path) -> None:
        data = made_up_data(12, 40)
        splits = {
            split: replace(clips, labels=np.column_stack([clips.labels, clips.labels.mean(1)]), targets=TARGETS)
            for split, clips in data.splits.items()
        }
        recipe = persemon("small_authors", **AUTHORS_TINY, steps=3)
        run = train(recipe, RunData(splits=splits, companions=data.companions), tmp_path / "run", SETTINGS)
        assert list(read_rows(run.predictions("test"))[0]) == ["clip", *TARGETS]


def paint(emotions: np.ndarray, rng: np.random.Generator, *, pale: bool) -> np.ndarray:
    """Return made-up faces (..., 112, 96, 3): the upper half is as bright as valence, the lower one as arousal.

    Pale ones are another data set's: less contrast, another colour.
    """
    faces = np.empty((*emotions.shape[:-1], 112, 96, 3), np.float32)
    scale, shift = (50, (40, 0, -40)) if pale else (90, (-20, 10, 20))
    faces[..., :56, :, :] = emotions[..., :1, None, None] * scale
    faces[..., 56:, :, :] = emotions[..., 1:, None, None] * scale
    faces += 128 + np.array(shift, np.float32) + 4 * rng.standard_normal(faces.shape, np.float32)
    return np.clip(faces, 0, 255).astype(np.uint8)


def traits_of(emotions: np.ndarray) -> np.ndarray:
    """Return the planted map (n, 5) of valence and arousal (n, 2), one trait of which is no straight line."""
    v, a = emotions.T
    return 0.5 + np.stack([0.3 * a, -0.2 * v, 0.3 * v, 0.4 * v * a, 0.2 * (v - a)], 1)


def made_up_data(num_clips: int, num_images: int, seed: int = 0) -> RunData:
    rng = np.random.default_rng(seed)

    def clips(count: int, prefix: str) -> ClipData:
        emotions = rng.uniform(-0.9, 0.9, (count, 2))
        shown = np.broadcast_to(emotions[:, None, None], (count, 1, 4, 2))
        faces = paint(shown, rng, pale=False)
        names = tuple(f"{prefix}{i}" for i in range(count))
        return ClipData(
            names,
            traits_of(emotions),
            TRAITS,
            ArrayReader({n: {"faces": f} for n, f in zip(names, faces, strict=True)}),
        )

    emotions = rng.uniform(-0.9, 0.9, (num_images, 2))
    names = tuple(f"image{i}" for i in range(num_images))
    faces = paint(emotions, rng, pale=True)
    held = ArrayReader({n: {"face": f[None]} for n, f in zip(names, faces, strict=True)})
    images = ClipData(names, emotions, EMOTIONS, held)
    splits = {"train": clips(num_clips, "a"), "validation": clips(num_clips // 3, "b"), "test": clips(5, "c")}
    return RunData(splits=splits, companions={"emotion": images})


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, object, object, RunData]:
    recipe = persemon("small_joint", **TINY, steps=100)
    data = made_up_data(150, 150)
    run = train(recipe, data, tmp_path_factory.mktemp("persemon") / "run", SETTINGS)
    return recipe, run, load_trained(recipe, run), data


class TestLearning:
    def test_personality_and_emotion_on_data_not_seen(self, learned) -> None:  # type: ignore[no-untyped-def]
        _, run, model, _ = learned
        scores = run.load_scores()["validation"]
        assert scores.r2 > 0.9
        rng = np.random.default_rng(9)
        emotions = rng.uniform(-0.9, 0.9, (50, 2))
        with torch.no_grad():
            told = model.emotion(model.features(torch.from_numpy(paint(emotions, rng, pale=True)))).numpy()
        for k in range(2):
            assert np.corrcoef(told[:, k], emotions[:, k])[0, 1] > 0.9

    def test_ram_recovers_the_planted_map(self, learned) -> None:  # type: ignore[no-untyped-def]
        *_, model, _ = learned
        grid = np.stack(np.meshgrid(np.linspace(-0.7, 0.7, 9), np.linspace(-0.7, 0.7, 9)), -1).reshape(-1, 2)
        with torch.no_grad():
            told = model.relationship(torch.from_numpy(grid.astype(np.float32))[:, None]).numpy()
        for k in range(5):
            assert np.corrcoef(told[:, k], traits_of(grid)[:, k])[0, 1] > 0.9, TRAITS[k]

    def test_fusion_is_the_best_of_the_grid_on_the_validation_clips(self, learned) -> None:  # type: ignore[no-untyped-def]
        recipe, run, model, data = learned
        clips = data.splits["validation"]
        rng = np.random.default_rng(0)
        inputs = [recipe.sample(clips.reader(i), "validation", rng)["faces"] for i in range(len(clips))]
        before = recipe.build_model()
        before.load_state_dict(torch.load(weights_of(run, "network"), weights_only=True))
        with torch.no_grad():
            pam, ram = (part.numpy() for part in before.scores(torch.from_numpy(np.stack(inputs))))
        errors = {}
        for ratio in RATIOS:
            weight = 1.0 if math.isinf(ratio) else ratio / (1 + ratio)
            errors[weight] = np.abs(weight * pam + (1 - weight) * ram - clips.labels).mean()
        chosen = model.fusion.item()
        assert errors[min(errors, key=lambda weight: abs(weight - chosen))] == pytest.approx(
            min(errors.values()), rel=1e-5
        )
        rows = [row for row in read_rows(run.path / "history.csv") if row["stage"] == "fusion"]
        assert len(rows) == len(RATIOS) + 1
        accuracies = [float(row["accuracy"]) for row in rows[1:]]
        np.testing.assert_allclose(accuracies, [1 - error for error in errors.values()], atol=1e-6)
        # Nothing but the weight has changed.
        after, state = model.state_dict(), before.state_dict()
        assert {name for name in state if not torch.equal(state[name], after[name])} <= {"fusion"}

    def test_exported_graph_is_the_network(self, learned) -> None:  # type: ignore[no-untyped-def]
        pytest.importorskip("onnxruntime")
        recipe, _, model, data = learned
        clips = data.splits["test"]
        samples = [recipe.sample(clips.reader(i), "test", np.random.default_rng(0)) for i in range(2)]
        graph = build_graph(recipe, model, samples)
        assert [entry.name for entry in graph.graph.input] == ["faces"]
        assert largest_difference(recipe, graph, model, samples) < 1e-5

    def test_without_validation_clips_the_weight_is_the_papers(self, tmp_path: Path) -> None:
        """And however few clips go through at once, each weight is tried for an epoch."""
        data = made_up_data(12, 40)
        recipe = persemon("small_joint", **TINY, steps=2)
        train_only = RunData(splits={"train": data.splits["train"]}, companions=data.companions)
        run = train(recipe, train_only, tmp_path / "run", replace(SETTINGS, batch_size_per_device=5))
        assert load_trained(recipe, run).fusion.item() == pytest.approx(PAPER_FUSION)
        tried = [float(row["rate"]) for row in read_rows(run.path / "steps.csv") if row["stage"] == "fusion"]
        assert tried == pytest.approx([1.0 if math.isinf(ratio) else ratio / (1 + ratio) for ratio in RATIOS], abs=1e-5)

    def test_resumed_run_is_the_same(self, tmp_path: Path) -> None:
        data = made_up_data(12, 40)
        recipe = persemon("small_joint", **TINY, steps=6)
        whole = train(recipe, data, tmp_path / "whole", SETTINGS)
        train(recipe, data, tmp_path / "cut", replace(SETTINGS, max_steps=3))
        cut = train(recipe, data, tmp_path / "cut", replace(SETTINGS, resume=True))
        assert read_rows(whole.path / "steps.csv") == read_rows(cut.path / "steps.csv")

    @pytest.mark.parametrize("variant", ["emotion", "personality", "lstm"])
    def test_ablations_run(self, variant: str, tmp_path: Path) -> None:
        data = made_up_data(12, 40)
        recipe = persemon(f"small_{variant}", **TINY, steps=2)
        others = {} if variant == "personality" else data.companions
        run = train(recipe, RunData(splits=data.splits, companions=others), tmp_path / "run", SETTINGS)
        assert len(read_rows(run.predictions("test"))) == 5


def test_full_size_on_a_real_clip(real_clips: list[Path], tmp_path: Path) -> None:
    """From face alignment over two steps at the paper's network size to a prediction."""
    from thinslice.features.extract import extract_features
    from thinslice.media.source import Source

    pytest.importorskip("cv2")
    recipe = persemon("joint_pam", sphereface="", draws=1, detector="landmarker", faces_per_step=4)
    faces = {clip.name: extract_features(Source(clip), recipe.features)[0] for clip in real_clips[:1]}
    shown = {
        f"{name}/{k}": {"face": arrays["faces"][0, k : k + 1]} for name, arrays in faces.items() for k in range(10)
    }
    images = ClipData(tuple(shown), np.zeros((10, 2)), EMOTIONS, ArrayReader(shown))
    clips = ClipData(tuple(faces), np.full((1, 5), 0.6), TRAITS, ArrayReader(faces))
    assert next(iter(faces.values()))["faces"].shape == (1, 10, 112, 96, 3)
    data = RunData(splits={"train": clips, "test": clips}, companions={"emotion": images})
    run = train(recipe, data, tmp_path / "run", replace(SETTINGS, max_steps=2))
    rows = [row for row in read_rows(run.path / "steps.csv") if row["stage"] == "network"]
    assert len(rows) == 4  # Two steps of two updates.
    assert all(0 < float(row["loss"]) < 3 for row in rows)
    assert len(read_rows(run.predictions("test"))) == 1
