"""Deep Impression's networks and recipe: counts and shapes from the paper by hand, pooling, variants, real clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from torch.nn import functional as F  # noqa: E402

from thinslice.errors import UsageError  # noqa: E402
from thinslice.systems import RECIPES  # noqa: E402
from thinslice.systems.deep_impression.network import (  # noqa: E402
    FRAMES_AT_ONCE,
    DeepImpression,
    FiveNetworks,
    RecurrentImpression,
)
from thinslice.systems.deep_impression.recipe import VARIANTS, _recurrent_loss, deep_impression  # noqa: E402
from thinslice.train.data import (  # noqa: E402
    ArrayReader,
    ClipData,
    RunData,
    StoredClip,
)
from thinslice.train.history import read_rows  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.train.system import weights_of  # noqa: E402
from thinslice.traits import TRAITS  # noqa: E402

SMALL = (4, 8, 16, 32)
TINY = {
    "width": 4,
    "frame_width": 40,
    "frame_height": 36,
    "crop": 32,
    "num_frames": 4,
    "num_samples": 4096,
    "validation_frames": 2,
    "batch_size": 4,
    "epochs": 3,
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def small_network(**changes: bool) -> DeepImpression:
    """Return a network whose scores spread over (0, 1) and whose batch normalisations are not the identity."""
    torch.manual_seed(0)
    model = DeepImpression(SMALL, **changes).eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    with torch.no_grad():
        model.head.weight *= 0.05
    return model


def clip_inputs(num_samples: int, num_frames: int, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return {
        "waveform": torch.from_numpy(rng.normal(0, 0.1, (1, num_samples)).astype(np.float32)),
        "frames": torch.from_numpy(rng.integers(0, 3, (1, num_frames, 36, 40, 3), dtype=np.uint8)),
    }


def tiny_data(num_clips: int = 9) -> RunData:
    rng = np.random.default_rng(0)

    def clips(count: int, prefix: str) -> ClipData:
        arrays = {
            f"{prefix}{i}": {
                "waveform": rng.normal(0, 0.1, 32000 + 800 * i).astype(np.float32),
                "frames": rng.integers(0, 256, (4, 36, 40, 3), dtype=np.uint8),
            }
            for i in range(count)
        }
        return ClipData(tuple(arrays), rng.uniform(size=(count, 5)), TRAITS, ArrayReader(arrays))

    return RunData(splits={"train": clips(num_clips, "a"), "validation": clips(3, "b"), "test": clips(2, "c")})


class TestArchitecture:
    def test_parameters_by_hand(self) -> None:
        """17 layers a stream, widths 32, 64, 128, 256 (half of ResNet-18's), biases, batch normalisation."""

        def conv(kernel: int, channels_in: int, channels_out: int) -> int:
            return kernel * channels_in * channels_out + channels_out

        def stream(first: int) -> int:
            norm = 2  # Scale and shift of every channel.
            total = first + norm * 32
            # Both 1 x 9 and 3 x 3 kernels have 9 weights, so that the streams differ in the first layer only.
            total += 4 * (conv(9, 32, 32) + norm * 32)  # 2a, 2b: identity shortcuts.
            for a, b in ((32, 64), (64, 128), (128, 256)):
                total += conv(9, a, b) + conv(9, b, b) + norm * 2 * b  # 3a, 4a, 5a ...
                total += conv(1, a, b) + norm * b  # ... with a convolutional shortcut.
                total += 2 * (conv(9, b, b) + norm * b)  # 3b, 4b, 5b.
            return total

        auditory, visual = stream(conv(49, 1, 32)), stream(conv(7 * 7, 3, 32))
        head = 512 * 5 + 5
        assert (auditory, visual, head) == (2_798_144, 2_801_280, 2_565)
        model = DeepImpression()
        assert count(model.sound) == auditory
        assert count(model.pictures) == visual
        assert count(model) == auditory + visual + head == 5_601_989

    def test_each_stream_has_17_layers(self) -> None:
        model = DeepImpression()
        for stream in (model.sound, model.pictures):
            assert stream is not None
            layers = [n for n, m in stream.named_modules() if isinstance(m, torch.nn.Conv1d | torch.nn.Conv2d)]
            assert len([name for name in layers if "shortcut" not in name]) == 17
            assert len([name for name in layers if "shortcut" in name]) == 3

    @pytest.mark.parametrize("round_up", [False, True])
    def test_shapes_correspond(self, round_up: bool) -> None:
        """An n^2 input of the auditory stream corresponds to an n x n one of the visual (section 2.1)."""
        model = DeepImpression((2, 3, 4, 5), round_up=round_up).eval()
        assert model.sound is not None
        assert model.pictures is not None
        with torch.no_grad():
            sound, picture = torch.zeros(1, 1, 50176), torch.zeros(1, 3, 224, 224)
            assert model.sound.conv(sound).shape[2] == 112**2
            assert model.pictures.conv(picture).shape[2:] == (112, 112)
            shapes = model.sound.feature_maps(sound).shape[2], tuple(model.pictures.feature_maps(picture).shape[2:])
        # Rounded down as in ResNet: 56, 28, 14, 7. Rounded up as in Chainer: 57, 29, 15, 8.
        assert shapes == ((50, (8, 8)) if round_up else (49, (7, 7)))

    def test_equal_to_plain_functions(self) -> None:
        """The whole forward pass again, from functions of torch alone."""
        model = small_network()
        state = model.state_dict()
        inputs = clip_inputs(20001, 3)

        def normed(x: torch.Tensor, name: str) -> torch.Tensor:
            keys = ("running_mean", "running_var", "weight", "bias")
            return F.batch_norm(x, *(state[f"{name}.{key}"] for key in keys), eps=2e-5)

        def stream(x: torch.Tensor, name: str, conv, pool, first: tuple, stride: int) -> torch.Tensor:  # type: ignore[no-untyped-def, type-arg]
            kernel, by, pool_kernel, pool_by = first
            x = conv(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], by, kernel // 2)
            x = pool(F.relu(normed(x, f"{name}.norm")), pool_kernel, pool_by, pool_kernel // 2, ceil_mode=True)
            padding = 4 if conv is F.conv1d else 1
            for block in range(8):
                at = f"{name}.blocks.{block}"
                changes = block in (2, 4, 6)
                y = conv(x, state[f"{at}.conv_a.weight"], state[f"{at}.conv_a.bias"], stride if changes else 1, padding)
                y = F.relu(normed(y, f"{at}.norm_a"))
                y = normed(
                    conv(y, state[f"{at}.conv_b.weight"], state[f"{at}.conv_b.bias"], 1, padding), f"{at}.norm_b"
                )
                if changes:
                    x = conv(x, state[f"{at}.conv_shortcut.weight"], state[f"{at}.conv_shortcut.bias"], stride)
                    x = normed(x, f"{at}.norm_shortcut")
                x = F.relu(x + y)
            return x.flatten(2).mean(2)

        with torch.no_grad():
            sound = stream(inputs["waveform"][:, None], "sound", F.conv1d, F.max_pool1d, (49, 4, 9, 4), 4)
            frames = inputs["frames"][0].permute(0, 3, 1, 2).float()
            pictures = stream(frames, "pictures", F.conv2d, F.max_pool2d, (7, 2, 3, 2), 2).mean(0, keepdim=True)
            x = torch.cat([sound, pictures], 1) @ state["head.weight"].T + state["head.bias"]
            torch.testing.assert_close(model(**inputs), (torch.tanh(x) + 1) / 2)

    def test_weights_start_as_he_draws_them(self) -> None:
        torch.manual_seed(0)
        model = DeepImpression()
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                expected = (2 / parameter[0].numel()) ** 0.5
                assert parameter.std().item() == pytest.approx(expected, rel=0.1), name
            elif "norm" not in name:
                assert parameter.abs().max() == 0, name

    def test_every_parameter_gets_a_gradient(self) -> None:
        model = small_network().train()
        model(**clip_inputs(4096, 1)).sum().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
        assert all(p.grad.abs().sum() > 0 for n, p in model.named_parameters() if p.ndim > 1)  # type: ignore[union-attr]


class TestPooling:
    def test_any_length_number_and_order_of_frames(self) -> None:
        model = small_network()
        with torch.no_grad():
            for samples, frames in ((16000, 1), (50177, 2 * FRAMES_AT_ONCE + 1)):
                inputs = clip_inputs(samples, frames)
                scores = model(**inputs)
                assert scores.shape == (1, 5)
                assert ((scores > 0) & (scores < 1)).all()
                order = torch.randperm(frames)
                shuffled = model(inputs["waveform"], inputs["frames"][:, order])
                torch.testing.assert_close(shuffled, scores, rtol=1e-5, atol=1e-5)

    def test_frames_are_pooled_however_they_are_divided(self) -> None:
        model = small_network()
        frames = clip_inputs(1, 2 * FRAMES_AT_ONCE + 5)["frames"][0]
        with torch.no_grad():
            single = torch.cat([model.picture_features(frame[None]) for frame in frames])
            torch.testing.assert_close(model.picture_features(frames), single, rtol=1e-4, atol=1e-5)

    def test_batch_does_not_change_a_clip(self) -> None:
        model = small_network()
        clips = [clip_inputs(8000, 3, seed) for seed in range(3)]
        with torch.no_grad():
            together = model(*(torch.cat([clip[name] for clip in clips]) for name in ("waveform", "frames")))
            alone = torch.cat([model(**clip) for clip in clips])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)

    def test_ablations_take_one_input(self) -> None:
        inputs = clip_inputs(8000, 2)
        sound, pictures = small_network(with_pictures=False), small_network(with_sound=False)
        assert sound(inputs["waveform"]).shape == pictures(frames=inputs["frames"]).shape == (1, 5)
        assert sound.pictures is None
        assert pictures.sound is None


class TestRecurrent:
    def test_parameters_by_hand(self) -> None:
        model = RecurrentImpression(DeepImpression())
        # Two layers of 4 gates x 512 units x (512 inputs + 512 units + 2 biases: torch has two where one would do).
        assert count(model.lstm) == 2 * 4 * 512 * (512 + 512 + 2)
        assert count(model.linear) == 512 * 5 + 5

    def test_seconds_see_their_own_sound_and_frames(self) -> None:
        model = RecurrentImpression(small_network(), 8).eval()
        inputs = clip_inputs(3 * 16000 + 4000, 13)
        waveform, frames = inputs["waveform"][0], inputs["frames"][0]
        with torch.no_grad():
            features = model.features_per_second(waveform, frames)
            assert features.shape == (3, 64)
            # 13 frames of 3.25 s, at the middles of quarters: 4 in each second, one left over.
            for second in range(3):
                part = {
                    "waveform": waveform[None, second * 16000 : (second + 1) * 16000],
                    "frames": frames[None, 4 * second : 4 * (second + 1)],
                }
                torch.testing.assert_close(features[second], model.network.features(**part)[0], rtol=1e-4, atol=1e-5)

    def test_a_second_without_a_frame_has_the_nearest(self) -> None:
        model = RecurrentImpression(small_network(), 8).eval()
        inputs = clip_inputs(4 * 16000, 2)
        with torch.no_grad():
            features = model.features_per_second(inputs["waveform"][0], inputs["frames"][0])[:, 32:]
            frames = model.network.picture_features(inputs["frames"][0])
        torch.testing.assert_close(features, frames[[0, 0, 1, 1]])

    def test_gradient_stops_after_15_seconds(self) -> None:
        model = RecurrentImpression(DeepImpression(SMALL), 8, dropout=0.0).train()
        features = torch.randn(1, 31, 64, requires_grad=True)
        model.score_steps(features)[:, 20].sum().backward()
        reached = features.grad.abs().sum((0, 2)) > 0  # type: ignore[union-attr]
        assert reached.tolist() == [15 <= second <= 20 for second in range(31)]
        whole = model.eval().score_steps(features)
        torch.testing.assert_close(model.train().score_steps(features), whole)

    def test_loss_counts_every_second_of_every_clip_once(self) -> None:
        model = RecurrentImpression(DeepImpression(SMALL), 8, dropout=0.0)
        features, labels = torch.randn(2, 7, 64), torch.rand(2, 5)
        batch = {"inputs": {"features": features, "features_length": torch.tensor([7, 3])}, "labels": labels}
        errors = [
            (model.score_steps(features[i : i + 1])[0, t] - labels[i]).abs()
            for i, n in ((0, 7), (1, 3))
            for t in range(n)
        ]
        assert _recurrent_loss(model, batch).item() == pytest.approx(torch.stack(errors).mean().item())


class TestRecipe:
    def test_defaults_are_the_papers(self) -> None:
        recipe = deep_impression()
        (stage,) = recipe.stages
        assert (stage.epochs, stage.batch_size, stage.keep) == (900, 32, "last")  # type: ignore[union-attr]
        (update,) = stage.updates  # type: ignore[union-attr]
        optimiser = update.optimiser([torch.nn.Parameter(torch.zeros(1))])
        assert isinstance(optimiser, torch.optim.Adam)
        assert {k: optimiser.defaults[k] for k in ("lr", "betas", "eps", "weight_decay")} == {
            "lr": 2e-4,
            "betas": (0.5, 0.999),
            "eps": 1e-8,
            "weight_decay": 0,
        }
        schedule = update.schedule(optimiser)
        rates = []
        for _ in range(900):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        assert rates == pytest.approx([2e-4] * 300 + [2e-5] * 300 + [2e-6] * 300)
        assert recipe.features["frames"].params == {"num_frames": 375, "width": 456, "height": 256}
        assert recipe.features["waveform"].params == {"rate_hz": 16000}
        assert count(recipe.build_model()) == 5_601_989

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_every_variant_is_rebuilt_from_its_arguments(self, variant: str) -> None:
        recipe = deep_impression(variant, width=4)
        again = RECIPES["deep_impression"](**recipe.arguments)
        assert again.arguments == recipe.arguments
        assert again.variant == variant
        assert again.features == recipe.features
        assert {figure.target for figure in recipe.published} >= set(TRAITS)

    def test_a_reading_changes_one_thing(self) -> None:
        down = deep_impression("reading_rounds_down", width=4).build_model()
        assert isinstance(down, DeepImpression)
        assert [down.sound.pool.ceil_mode, down.pictures.pool.ceil_mode] == [False, False]
        own, squared = (deep_impression(name, width=4) for name in ("dnn", "reading_squared"))
        model = own.build_model().eval()
        inputs = {"waveform": torch.randn(2, 4000), "frames": torch.rand(2, 1, 64, 64, 3)}
        batch = {"inputs": inputs, "labels": torch.rand(2, 5)}
        with torch.no_grad():
            errors = model(**inputs) - batch["labels"]
            absolute, square = (recipe.stages[0].updates[0].loss(model, batch).item() for recipe in (own, squared))
        assert absolute == pytest.approx(errors.abs().mean().item())
        assert square == pytest.approx(errors.square().mean().item())
        scales = [deep_impression(name).arguments["head_scale"] for name in ("small_dnn", "small_reading_he_head")]
        assert scales == [0.1, 1.0]

    def test_wrong_hyperparameters_are_named(self) -> None:
        with pytest.raises(UsageError, match="loss=cubed; take absolute or squared"):
            deep_impression(loss="cubed")
        with pytest.raises(UsageError, match="no variant 'deep'"):
            deep_impression("deep")
        with pytest.raises(UsageError, match="no hyperparameter depth"):
            deep_impression(depth=3)
        with pytest.raises(UsageError, match="crop of 300"):
            deep_impression(crop=300)

    def test_crops_are_the_papers(self) -> None:
        recipe = deep_impression()
        rng = np.random.default_rng(0)
        frames = np.stack([np.full((256, 456, 3), i, np.uint8) for i in range(9)])
        frames[..., 1] = np.arange(456) // 2  # Brighter to the right; the other way round where it was flipped.
        sound = np.arange(60000, dtype=np.float32)
        clip = StoredClip("a", ArrayReader({"a": {"waveform": sound, "frames": frames}}))
        seen, starts, slopes, lefts = set(), set(), set(), set()
        for _ in range(400):
            sample = recipe.sample(clip, "train", rng)
            assert sample["waveform"].shape == (50176,)
            assert (np.diff(sample["waveform"]) == 1).all()
            assert sample["frames"].shape == (1, 224, 224, 3)
            seen.add(int(sample["frames"][0, 0, 100, 0]))
            starts.add(int(sample["waveform"][0]))
            row = sample["frames"][0, 0, :, 1].astype(int)
            slopes.add(int(np.sign(row[-1] - row[0])))
            lefts.add(int(row.min()))
        assert seen == set(range(9))
        assert min(starts) < 500
        assert max(starts) > 60000 - 50176 - 500
        assert slopes == {-1, 1}
        assert min(lefts) < 5
        assert max(lefts) > (456 - 224) // 2 - 5
        assert recipe.sample(clip, "test", rng)["frames"].shape == (9, 256, 456, 3)
        assert recipe.sample(clip, "test", rng)["waveform"].shape == (60000,)
        short = StoredClip("b", ArrayReader({"b": {"waveform": np.ones(20000, np.float32), "frames": frames}}))
        padded = recipe.sample(short, "train", rng)["waveform"]
        assert padded.shape == (50176,)
        assert padded.sum() == 20000

    def test_validation_looks_at_frames_spread_evenly(self) -> None:
        recipe = deep_impression(validation_frames=5)
        frames = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
        clip = StoredClip("a", ArrayReader({"a": {"waveform": np.zeros(16000, np.float32), "frames": frames}}))
        sample = recipe.sample(clip, "validation", np.random.default_rng(0))
        assert sample["frames"].ravel().tolist() == [10, 30, 50, 70, 90]

    def test_trains_and_resumes(self, tmp_path: Path) -> None:
        recipe = deep_impression(**TINY)
        settings = LoopSettings(device="cpu", tensorboard=False)
        whole = train(recipe, tiny_data(), tmp_path / "whole", settings).path
        train(recipe, tiny_data(), tmp_path / "part", replace(settings, max_steps=4))
        part = train(recipe, tiny_data(), tmp_path / "part", replace(settings, resume=True)).path
        assert read_rows(part / "steps.csv") == read_rows(whole / "steps.csv")
        assert len(read_rows(whole / "steps.csv")) == 3 * 3

    @pytest.mark.parametrize("variant", ["sound", "pictures"])
    def test_ablations_train(self, variant: str, tmp_path: Path) -> None:
        settings = LoopSettings(device="cpu", tensorboard=False, max_steps=1)
        run = train(deep_impression(variant, **TINY), tiny_data(4), tmp_path / "run", settings)
        assert len(read_rows(run.predictions("test"))) == 2

    def test_five_networks_are_fine_tuned_from_one(self, tmp_path: Path) -> None:
        recipe = deep_impression("5xdnn", **TINY)
        run = train(recipe, tiny_data(4), tmp_path / "run", LoopSettings(device="cpu", tensorboard=False))
        shared = torch.load(weights_of(run, "shared"), weights_only=True)
        after = torch.load(weights_of(run, "single"), weights_only=True)
        rows = read_rows(run.path / "history.csv")
        assert [row["stage"] for row in rows] == ["shared", "single", "single"]  # A third of the epochs, then the rest.
        for trait in range(5):
            first = shared["shared.head.weight"][trait]
            moved = after[f"single.{trait}.head.weight"][0]
            assert 0 < (moved - first).abs().max() < 0.01  # From the shared row, by a few small steps.
        assert all(torch.equal(after[name], value) for name, value in shared.items() if name.startswith("shared."))
        # Each network learns from its own trait alone.
        model = recipe.build_model()
        assert isinstance(model, FiveNetworks)
        _, stage = recipe.stages
        batch = {"inputs": clip_inputs(4096, 1), "labels": torch.rand(1, 5)}
        for index, update in enumerate(stage.updates):  # type: ignore[union-attr]
            model.zero_grad()
            update.loss(model, batch).backward()  # type: ignore[union-attr]
            touched = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None}
            assert touched == {str(index)}

    def test_recurrent_layers_train_on_frozen_features(self, tmp_path: Path) -> None:
        recipe = deep_impression("dnn_rnn", **TINY)
        run = train(recipe, tiny_data(4), tmp_path / "run", LoopSettings(device="cpu", tensorboard=False))
        network = torch.load(weights_of(run, "network"), weights_only=True)
        after = torch.load(weights_of(run, "recurrent"), weights_only=True)
        changed = {name.split(".")[0] for name in network if not torch.equal(network[name], after[name])}
        assert changed == {"lstm", "linear"}


def test_full_size_on_real_clips(real_clips: list[Path], tmp_path: Path) -> None:
    """Two training steps at the paper's size on two real clips, and scores from all their frames."""
    from thinslice.features.extract import extract_features
    from thinslice.media.source import Source

    recipe = deep_impression(batch_size=2, num_frames=10)  # Not 375: the time of this test is decoding them.
    arrays = {clip.name: extract_features(Source(clip), recipe.features)[0] for clip in real_clips[:2]}
    labels = np.random.default_rng(0).uniform(size=(2, 5))
    clips = ClipData(tuple(arrays), labels, TRAITS, ArrayReader(arrays))
    data = RunData(splits={"train": clips, "test": clips})
    run = train(recipe, data, tmp_path / "run", LoopSettings(device="cpu", tensorboard=False, max_steps=2))
    losses = [float(row["loss"]) for row in read_rows(run.path / "steps.csv")]
    assert len(losses) == 2
    assert all(0 < loss < 1 for loss in losses)
    assert len(read_rows(run.predictions("test"))) == 2
