"""cross_modal: its inputs, networks by their parameter counts, four stages with their frozen parts, missing inputs."""

import colorsys
import hashlib
import logging
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("pytorch_metric_learning")

from media_files import numbered, voice_like, write_media  # noqa: E402
from thinslice.errors import AssetError, MediaError, UsageError  # noqa: E402
from thinslice.explain.embedding_map import (  # noqa: E402
    balanced_subsample,
    measure_separation,
    plot_class_histograms,
    plot_embeddings,
)
from thinslice.features import word_vectors  # noqa: E402
from thinslice.features.egemaps import extract_egemaps, functional_names  # noqa: E402
from thinslice.features.extract import extract_features  # noqa: E402
from thinslice.features.extractor import find_extractor  # noqa: E402
from thinslice.features.word_vectors import (  # noqa: E402
    extract_word_vectors,
    find_vectors,
    load_word_vectors,
    split_words,
    vectorise,
)
from thinslice.layers.losses import cr_net_regression_loss  # noqa: E402
from thinslice.layers.metric_losses import PUBLISHED, Similarity  # noqa: E402
from thinslice.media.source import Source  # noqa: E402
from thinslice.systems import RECIPES  # noqa: E402
from thinslice.systems.cross_modal.augment import change_frames, colour_matrices, shift_colours  # noqa: E402
from thinslice.systems.cross_modal.look import Augmentation, Look  # noqa: E402
from thinslice.systems.cross_modal.network import (  # noqa: E402
    AudioNetwork,
    CrossModal,
    Siamese,
    TextNetwork,
    VideoNetwork,
)
from thinslice.systems.cross_modal.recipe import (  # noqa: E402
    DENSE,
    cross_modal,
    regression_loss,
    set_classes,
    set_stand_ins,
)
from thinslice.systems.cross_modal.variants import READINGS, ROWS, TABLES, VARIANTS, Hyperparameters  # noqa: E402
from thinslice.train.data import (  # noqa: E402
    ArrayReader,
    ClipData,
    RunData,
    random_state,
)
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.train.stage import build_optimiser, freeze, trained_parameters  # noqa: E402
from thinslice.traits import TRAITS  # noqa: E402

TINY = {
    "num_frames": 2,
    "frame_height": 36,
    "frame_width": 48,
    "side": 32,
    "layout": "resnet10",
    "width": 4,
    "vectors": "tiny.txt",
    "vector_size": 6,
    "num_words": 8,
    "hidden": 16,
    "fused": 12,
    "neurons": 10,
    "embedding": 4,
    "audio_epochs": 2,
    "video_epochs": 1,
    "text_epochs": 2,
    "late_epochs": 2,
    "audio_batch": 8,
    "video_batch": 8,
    "text_batch": 8,
    "late_batch": 8,
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def make_clips(num_clips, seed, prefix="clip", missing=True):
    """Clips whose sound, pictures and words hold one trait each."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(0.2, 0.8, size=(num_clips, 5))
    arrays = {}
    for index in range(num_clips):
        frames = rng.integers(0, 60, size=(2, 36, 48, 3))
        frames[..., 0] += int(190 * labels[index, 0])
        words = np.zeros((8, 6), np.float32)
        words[:5] = rng.normal(size=(5, 6)) * 0.1
        words[:5, 0] += labels[index, 2]
        egemaps = rng.normal(size=88).astype(np.float32)
        egemaps[:10] = labels[index, 1] * 50
        arrays[f"{prefix}{index}"] = {"egemaps": egemaps, "frames": frames.astype(np.uint8), "words": words}
    if missing and num_clips > 2:
        arrays[f"{prefix}0"]["egemaps"] = np.full(88, np.nan, np.float32)
        arrays[f"{prefix}1"]["words"] = np.zeros((8, 6), np.float32)
    return ClipData(tuple(arrays), labels, TRAITS, ArrayReader(arrays))


def batch_of(clips, size=4):
    arrays = [clips.features.arrays[clip] for clip in clips.clips[:size]]
    inputs = {name: torch.from_numpy(np.stack([entry[name] for entry in arrays])) for name in arrays[0]}
    return {"inputs": inputs, "labels": torch.from_numpy(clips.labels[:size]).float()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole system, all four stages, at toy size."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    recipe = cross_modal("cross-modal", **TINY)
    data = RunData(splits={"train": make_clips(24, 0), "validation": make_clips(6, 1), "test": make_clips(5, 2)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = train(
            recipe, data, tmp_path_factory.mktemp("run") / "run", LoopSettings(device="cpu", tensorboard=False)
        )
    return recipe, data, folder


def test_parameter_counts_follow_from_the_layers():
    assert count(AudioNetwork()) == 88 * 256 + 256 + 256 * 256 + 256 == 88_576
    # torchvision's ResNet-50 has 25,557,032, of which its last layer 2048 * 1000 + 1000.
    assert count(VideoNetwork()) == 25_557_032 - 2_049_000 + 2048 * 256 + 256 == 24_032_576
    gates = 3 * (300 * 128 + 128 * 128 + 128 + 128)
    assert count(TextNetwork()) == 2 * gates + 256 + 1 == 330_497
    assert count(Siamese()) == 256 * 200 + 200 + 200 * 200 + 200 + 200 * 128 + 128 == 117_328
    model = CrossModal({name: torch.nn.Identity() for name in ("audio", "video", "text")}, True)
    heads, head = 3 * (256 * 5 + 5), 512 * 5 + 5
    fusion = 768 * 512 + 512 + head
    fused = (512 + 3 * 128) * 512 + 512 + head
    assert count(model) == heads + fusion + 117_328 + fused


def test_sizes_are_the_papers():
    sizes = Hyperparameters()
    assert (sizes.num_frames, sizes.frame_height, sizes.frame_width, sizes.side) == (6, 140, 248, 128)
    assert (sizes.num_words, sizes.vector_size, sizes.hidden, sizes.fused) == (80, 300, 256, 512)
    assert (sizes.neurons, sizes.embedding) == (200, 128)
    assert (sizes.learning_rate, sizes.weight_decay) == (0.001, 0.0005)
    assert (sizes.head_scale, sizes.head_bias) == (1, 0)
    assert (sizes.audio_batch, sizes.video_batch) == (128, 22)
    assert (sizes.audio_epochs, sizes.video_epochs, sizes.text_epochs) == (100, 80, 50)


def test_small_variants_scores_start_near_the_middle():
    sizes = {**TINY, "hidden": 256, "fused": 512}
    models = {}
    for prefix in ("", "small_"):
        torch.manual_seed(0)
        models[prefix] = dict(cross_modal(f"{prefix}cross-modal", **sizes).build_model().named_parameters())
    names = [name for name in models[""] if "head" in name]
    assert len(names) == 2 * 5
    for name in names:
        expected = 0.1 * models[""][name] if name.endswith("weight") else torch.full((5,), 0.5)
        assert torch.equal(models["small_"][name], expected)


@pytest.mark.parametrize("row", list(ROWS))
def test_every_row_of_table_1_is_a_variant(row):
    recipe = RECIPES["cross_modal"](row, **TINY)
    names = {"audio": "egemaps", "video": "frames", "text": "words"}
    assert list(recipe.features) == [names[modality] for modality in ROWS[row]]
    stages = [stage.name for stage in recipe.stages]
    expected = list(ROWS[row]) + (["fusion"] if len(ROWS[row]) > 1 else [])
    assert stages == expected + (["siamese", "fused"] if row == "cross-modal" else [])
    batch = batch_of(make_clips(4, 0))
    model = recipe.build_model().eval()
    scores = recipe.predict(model, {name: batch["inputs"][name] for name in recipe.features})
    assert scores.shape == (4, 5)
    assert torch.isfinite(scores).all()


def test_scene_is_one_frame_and_published_rows_are_known():
    assert cross_modal("scene").features["frames"].params["num_frames"] == 1
    assert cross_modal("video").features["frames"].params["num_frames"] == 6
    published = {figure.variant for figure in cross_modal("audio").published}
    assert published == {*ROWS, "cross-modal (ours)"} - {"cross-modal"}
    assert len(VARIANTS) == 2 * len(ROWS) + 2 * len(READINGS)
    assert set(TABLES["1"]) == set(ROWS)
    assert set(TABLES["1"].values()) == published


def test_wrong_arguments_are_named():
    with pytest.raises(UsageError, match="no variant 'sound'"):
        cross_modal("sound")
    with pytest.raises(UsageError, match="no hyperparameter depth"):
        cross_modal("audio", depth=3)
    with pytest.raises(UsageError, match="does not fit"):
        cross_modal("video", side=141)


def test_exactly_the_stages_parameters_get_gradients_and_decay():
    recipe = cross_modal("cross-modal", **TINY)
    model = recipe.build_model()
    clips = make_clips(12, 0)
    set_classes(model, clips)
    batch = batch_of(clips, 12)
    hidden, present = model.hidden(**batch["inputs"])
    late = {**batch, "inputs": {"hidden": hidden.detach(), "present": present.float()}}
    expected = {
        "audio": ("networks.audio.", "heads.audio."),
        "video": ("networks.video.", "heads.video."),
        "text": ("networks.text.", "heads.text."),
        "fusion": ("fusion.",),
        "siamese": ("siamese.",),
        "fused": ("fused.",),
    }
    assert [stage.name for stage in recipe.stages] == list(expected)
    for stage in recipe.stages:
        freeze(model, stage)
        model.zero_grad(set_to_none=True)
        torch.manual_seed(0)
        (update,) = stage.updates
        result = update.loss(model, late if stage.precompute else batch)
        (result["loss"] if isinstance(result, dict) else result).backward()
        got = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        wanted = {name for name, _ in model.named_parameters() if name.startswith(expected[stage.name])}
        assert got == wanted == set(trained_parameters(model, update))
        decaying = {
            id(parameter)
            for group in build_optimiser(model, update).param_groups
            if group["weight_decay"] == 0.0005
            for parameter in group["params"]
        }
        dense = {
            f"{name}.weight"
            for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.Linear) and f"{name}.weight" in wanted and not name.startswith("siamese")
        }
        assert dense == set(DENSE.get(stage.name, ()))
        assert decaying == {id(model.get_parameter(name)) for name in dense}


def test_training_changes_exactly_the_stages_parameters(run):
    recipe, _, folder = run
    previous = None
    for stage in recipe.stages:
        state = torch.load(folder.stage(stage.name) / "last.pt", weights_only=True)
        if previous is not None:
            (update,) = stage.updates
            # The weights a stage ends with may be its best, so the next stage begins with those.
            changed = {name for name in state if not torch.equal(state[name], previous[name])}
            allowed = (*update.trains, "stand_in") if stage.name == "fusion" else update.trains
            allowed = (*allowed, "class_mean", "class_sd") if stage.name == "siamese" else allowed
            assert changed
            assert all(any(name == part or name.startswith(f"{part}.") for part in allowed) for name in changed)
        keep = "best" if (folder.stage(stage.name) / "best.pt").exists() and stage.keep == "best" else "last"
        previous = torch.load(folder.stage(stage.name) / f"{keep}.pt", weights_only=True)


def test_preparation_looks_at_training_clips_only(run):
    _, data, folder = run
    state = torch.load(folder.stage("fused") / "last.pt", weights_only=True)
    clips = data.splits["train"]
    assert np.allclose(state["class_mean"], clips.labels.mean(0), atol=1e-6)
    assert np.allclose(state["class_sd"], clips.labels.std(0), atol=1e-6)
    sound = np.stack([clips.features.arrays[clip]["egemaps"] for clip in clips.clips[1:]])
    assert np.allclose(state["networks.audio.lowest"], sound.min(0))
    assert np.allclose(state["networks.audio.highest"], sound.max(0))


def test_polynomial_decay(run):
    recipe, _, folder = run
    assert recipe.stages[0].name == "audio"
    rows = np.genfromtxt(folder.path / "steps.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    rates = [row["rate"] for row in rows if row["stage"] == "audio"]
    assert rates == [0.001] * 3 + [0.0005] * 3


def test_loss_is_mae_mse_and_bell_on_cr_nets_scale():
    predictions, labels = torch.tensor([[0.5, 0.62]]), torch.tensor([[0.5, 0.5]])
    found = regression_loss(predictions, labels)
    bell = 300 * (1 - np.exp(-(12**2) / (2 * 81))) / 2
    assert found["loss"].item() == pytest.approx(6 + 72 + bell, rel=1e-5)
    assert found["loss"].item() == cr_net_regression_loss(predictions, labels, ("l1", "l2", "bell"))["loss"].item()


def test_a_clip_without_the_input_teaches_its_network_nothing():
    recipe = cross_modal("audio+text", **TINY)
    model = recipe.build_model().eval()
    clips = make_clips(6, 0)
    batch = batch_of(clips, 6)
    (update,) = recipe.stages[0].updates
    loss = update.loss(model, batch)["loss"]
    without = {
        "inputs": {name: tensor[1:] for name, tensor in batch["inputs"].items()},
        "labels": batch["labels"][1:],
    }
    assert loss.item() == pytest.approx(update.loss(model, without)["loss"].item(), rel=1e-6)
    assert torch.isfinite(loss)


def test_missing_inputs_take_their_stand_in():
    recipe = cross_modal("cross-modal", **TINY)
    model = recipe.build_model().eval()
    clips = make_clips(9, 0)
    set_stand_ins(model, clips)
    batch = batch_of(clips, 9)["inputs"]
    hidden, present = model.hidden(**batch)
    assert present.tolist() == [[False, True, True], [True, True, False], *[[True, True, True]] * 7]
    assert torch.equal(hidden[0, 0], model.stand_in[0])
    assert torch.equal(hidden[1, 2], model.stand_in[2])
    assert torch.allclose(model.stand_in[0], hidden[1:, 0].mean(0), atol=1e-5)
    black = {**batch, "frames": torch.zeros_like(batch["frames"])}
    assert torch.equal(model.hidden(**black)[0][3, 1], model.stand_in[1])
    assert torch.isfinite(model(**black)).all()


def test_scores_do_not_depend_on_the_rest_of_the_batch():
    model = cross_modal("cross-modal", **TINY).build_model().eval()
    batch = batch_of(make_clips(5, 0), 5)["inputs"]
    together = model(**batch)
    alone = torch.cat([model(**{name: tensor[i : i + 1] for name, tensor in batch.items()}) for i in range(5)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_attention_does_not_see_what_follows_the_last_word():
    network = TextNetwork(6, 16).eval()
    words = torch.zeros(1, 8, 6)
    words[:, :3] = torch.randn(1, 3, 6)
    seen = {}
    network.gru.register_forward_hook(lambda module, inputs, output: seen.update(steps=output[0]))
    found = network(words)
    steps = seen["steps"][:, :3]
    weights = torch.softmax(torch.tanh(network.attention(steps)), 1)
    assert torch.allclose(found, (weights * steps).sum(1), atol=1e-6)


def test_crop_is_one_for_all_frames_and_central_in_tests():
    frames = np.broadcast_to(np.arange(36 * 48, dtype=np.int64).reshape(36, 48, 1) % 251, (3, 36, 48, 3))
    clip = ClipData(("a",), np.zeros((1, 5)), TRAITS, ArrayReader({"a": {"frames": frames.astype(np.uint8)}})).reader(0)
    still = Augmentation(0, 0, 1, 1)
    places = set()
    for seed in range(20):
        out = Look(("frames",), 32, still)(clip, "train", random_state(seed))["frames"]
        assert out.shape == (3, 32, 32, 3)
        assert np.array_equal(out[0], out[2])
        places.add(tuple(np.sort(out[0, 0, [0, -1], 0])))
    assert len(places) > 5
    network = VideoNetwork("resnet10", 4, 32, 16).eval()
    whole = torch.from_numpy(frames.astype(np.uint8))[None]
    assert torch.allclose(network(whole), network(whole[:, :, 2:34, 8:40]), atol=1e-6)


def changed(frames, augmentation, seed, space="hsv"):
    changes = torch.from_numpy(augmentation.draw(np.random.default_rng(seed)))[None]
    return change_frames(torch.from_numpy(frames)[None], changes, space)[0].numpy()


def test_augmentation_stays_within_its_ranges():
    rng = np.random.default_rng(0)
    frames = rng.integers(60, 200, size=(2, 16, 16, 3)).astype(np.uint8)
    frames[1] = frames[0]
    seen = {"same": 0, "flipped": 0}
    for seed in range(200):
        out = changed(frames, Augmentation(), seed)
        assert out.dtype == np.float32
        assert out.min() >= 0
        assert out.max() <= 255
        assert np.allclose(out[0], out[1], atol=1e-3)
        seen["same"] += np.array_equal(out, frames)
        seen["flipped"] += np.array_equal(out, frames[:, :, ::-1])
    # Each of five changes is left out half of the time: of 200 about 6 are left alone, and about 6 only flipped.
    assert 1 <= seen["same"] <= 15
    assert 1 <= seen["flipped"] <= 15
    light = [np.median(changed(frames, Augmentation(0, 0.2, 1, 1), seed).mean() - frames.mean()) for seed in range(100)]
    assert -51.01 <= min(light) < -30
    assert 30 < max(light) <= 51.01


@pytest.mark.parametrize(("turn", "saturation"), [(0.0, 1.2), (0.1, 0.8), (-0.15, 1.0), (0.15, 1.2)])
def test_hue_and_saturation_are_those_of_hsv(turn, saturation):
    """As colorsys converts; saturation is clipped at 1, as TensorFlow's, and grey and black stay."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 3))
    pixels[:4] = [[120, 120, 120], [0, 0, 0], [255, 0, 0], [10, 200, 200]]
    expected = []
    for pixel in pixels / 255:
        hue, colour, value = colorsys.rgb_to_hsv(*pixel)
        expected.append(colorsys.hsv_to_rgb((hue + turn) % 1, min(colour * saturation, 1), value))
    pictures = torch.from_numpy(pixels.astype(np.float32)).reshape(4, 10, 3)
    found = shift_colours(pictures, *(torch.tensor([[[number]]], dtype=torch.float64) for number in (turn, saturation)))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.reshape(-1, 3), 255 * np.array(expected), atol=1e-3)


@pytest.mark.parametrize("space", ["hsv", "yiq"])
def test_each_clip_of_a_batch_is_changed_by_itself(space):
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, size=(6, 2, 8, 8, 3)).astype(np.uint8))
    changes = torch.from_numpy(np.stack([Augmentation().draw(rng) for _ in range(6)]))
    together = change_frames(frames, changes, space)
    for clip in range(6):
        alone = change_frames(frames[clip : clip + 1], changes[clip : clip + 1], space)
        assert torch.allclose(together[clip], alone[0], atol=1e-4)


def test_readings_change_one_thing_each_and_are_a_table():
    assert next(iter(TABLES["readings"])) == "cross-modal"
    usual = cross_modal().arguments
    for name, reading in READINGS.items():
        arguments = cross_modal(f"reading_{name}").arguments
        changed = {key: value for key, value in arguments.items() if value != usual[key]}
        expected = {key: value for key, value in reading.changes.items() if value != usual[key]}
        assert changed == {**expected, "variant": f"reading_{name}"}
    assert all(READINGS[a].changes != READINGS[b].changes for a in READINGS for b in READINGS if a != b)
    patience = {stage.name: stage.patience for stage in cross_modal().stages}
    assert (patience["audio"], patience["video"], patience["text"]) == (10, None, None)
    patience = {stage.name: stage.patience for stage in cross_modal("small_cross-modal").stages}
    assert (patience["audio"], patience["video"], patience["text"]) == (30, 30, 30)
    (update,) = cross_modal(unit_length=False, threshold=1.0).stages[4].updates
    assert update.loss.args[0] == Similarity(unit_length=False, base=1.0)
    (update,) = cross_modal().stages[4].updates
    assert update.loss.args[0] == PUBLISHED


def test_colours_turn_about_grey():
    grey = np.full((1, 3), 120.0, np.float32)
    pairs = [(0.15, 1.2), (0, 1), (1, 1), (0.15, 1), (0, 1.2)]
    both, same, whole, turning, stretching = colour_matrices(*torch.tensor(pairs, dtype=torch.float64).t()).numpy()
    assert np.allclose(grey @ both, grey, atol=1e-3)
    assert np.allclose(same, np.eye(3), atol=1e-5)
    assert np.allclose(whole, np.eye(3), atol=1e-5)
    turned = np.array([[200.0, 100.0, 100.0]]) @ turning
    assert turned[0, 1] > turned[0, 2]  # red goes towards green
    stretched = np.array([[150.0, 100.0, 100.0]]) @ stretching
    assert np.ptp(stretched) == pytest.approx(60, abs=0.1)


def test_sound_is_scaled_to_unit_range():
    network = AudioNetwork(3, 4)
    network.set_range(torch.tensor([[1.0, 5.0, 2.0], [3.0, 5.0, -2.0], [float("nan")] * 3]))
    seen = {}
    network.first.register_forward_hook(lambda module, inputs, output: seen.update(x=inputs[0]))
    network(torch.tensor([[2.0, 5.0, 2.0]]))
    assert seen["x"].tolist() == [[0.5, 0.0, 1.0]]


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    """The run's bundle, with intervals for missing inputs from the validation clips."""
    pytest.importorskip("onnxscript")
    from thinslice.train.export import export_run

    recipe, data, folder = run
    clips = data.splits["test"]
    samples = [recipe.sample(clips.reader(i), "test", random_state(0)) for i in range(5)]
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    exported = export_run(recipe, folder, out, samples, validation=data.splits["validation"])
    assert exported.largest_difference < 1e-4
    return exported.folder


def test_a_bundle_does_without_any_input_but_not_without_all(run, bundle):
    from thinslice.infer.members import load_member
    from thinslice.train.export import load_trained

    recipe, data, folder = run
    member, model = load_member(str(bundle), 1), load_trained(recipe, folder)
    arrays = data.splits["test"].features.arrays["clip3"]
    inputs = member.bundle.inputs
    assert [entry.optional for entry in inputs.values()] == [True] * 3
    assert not any("allow_missing" in entry.spec.params for entry in inputs.values())
    names = [("egemaps", "voice"), ("frames", "scene"), ("words", "words")]
    stand_ins = {"egemaps": 0, "frames": 1, "words": 2}
    widths = {}
    for chosen in range(1, 8):
        part = [pair for k, pair in enumerate(names) if chosen >> k & 1]
        scores, used = member.score({name: arrays[name] for name, _ in part}, None)
        assert used == tuple(label for _, label in part)
        hidden, _ = model.hidden(**{name: torch.from_numpy(arrays[name])[None] for name, _ in names})
        for name, index in stand_ins.items():
            if name not in dict(part):
                hidden[:, index] = model.stand_in[index]
        with torch.no_grad():
            expected = model.score_hidden(hidden)[0].clamp(0, 1)
        assert np.allclose(scores, expected, atol=1e-4)
        widths[frozenset(used)] = [np.ptp(member.bundle.interval(used, trait)) for trait in TRAITS]
    for part, width in widths.items():
        assert all(np.less_equal(width, wider).all() for fewer, wider in widths.items() if fewer < part)
    assert sum(widths[frozenset({"words"})]) > sum(widths[frozenset({"voice", "scene", "words"})])


def test_residuals_of_parts_are_those_of_clips_that_lack_the_inputs(run):
    from thinslice.train.export import load_trained, residuals_of_parts

    recipe, data, folder = run
    clips, model = data.splits["validation"], load_trained(recipe, folder)
    found = residuals_of_parts(recipe, folder, model, clips)
    assert set(found) == {("egemaps",), ("frames",), ("words",), *((a, b) for a, b in PAIRS)}
    batch = batch_of(clips, len(clips))["inputs"]
    batch["frames"] = torch.zeros_like(batch["frames"])
    with torch.no_grad():
        residuals = clips.labels - model(**batch).clamp(0, 1).double().numpy()
    expected = np.quantile(residuals, [0.1, 0.9], axis=0)
    assert np.allclose(np.transpose([found["egemaps", "words"][trait] for trait in TRAITS]), expected, atol=1e-5)


PAIRS = (("egemaps", "frames"), ("egemaps", "words"), ("frames", "words"))


def test_predict_says_what_a_clip_lacks(bundle, tmp_path, monkeypatch):
    pytest.importorskip("spacy")
    pytest.importorskip("opensmile")
    from thinslice.infer.predictor import Predictor

    monkeypatch.setenv("THINSLICE_ASSETS", str(tmp_path))
    (tmp_path / "tiny.txt").write_text("i 1 2 3 4 5 6\nlike 6 5 4 3 2 1\n", encoding="utf-8")
    predictor = Predictor(bundle, 1)
    whole = write_media(tmp_path / "whole.mp4", [voice_like(2.0)], numbered(50))
    found = predictor.predict(whole, transcript="I like it.")  # Scores are beyond 1: the clip is unlike the toy ones.
    assert found.used == ("voice", "scene", "words")
    assert not found.warnings
    mute = write_media(tmp_path / "mute.mp4", pictures=numbered(50))
    lacking = predictor.predict(mute, transcript="I like it.")
    assert lacking.used == ("scene", "words")
    assert any("sound" in line for line in lacking.warnings)
    silent = write_media(tmp_path / "silent.mp4", [np.zeros((1, 88200), np.float32)], numbered(50))
    assert any("silence" in line for line in predictor.predict(silent, transcript="I like it.").warnings)
    (tmp_path / "whole.txt").write_text("", encoding="utf-8")
    unsaid = predictor.predict(whole)
    assert unsaid.used == ("voice", "scene")
    assert any("words" in line for line in unsaid.warnings)
    heard = predictor.predict(write_media(tmp_path / "heard.m4a", [voice_like(2.0)]), transcript="I like it.")
    assert heard.used == ("voice", "words")
    for few in (lacking, unsaid, heard):
        for trait in TRAITS:
            offsets = predictor.members[0].bundle.interval(few.used, trait)
            fewer, more = few.traits[trait], predictor.members[0].bundle.interval(found.used, trait)
            assert offsets[0] <= more[0] <= 0 <= more[1] <= offsets[1]
            assert fewer.low == pytest.approx(max(0, fewer.score + offsets[0]))


def test_scores_of_a_run_are_finite(run):
    _, _, folder = run
    rows = np.genfromtxt(folder.predictions("test"), delimiter=",", names=True, dtype=None, encoding="utf-8")
    scores = np.stack([rows[trait] for trait in TRAITS], 1)
    assert scores.shape == (5, 5)
    assert ((scores >= 0) & (scores <= 1)).all()


GLOVE = "the 0.1 0.2 0.3\ndo 1 2 3\nn't -1 0 1\nlike 4 5 6\ncafé 7 8 9\n"


def test_word_vectors_by_hand(tmp_path):
    pytest.importorskip("spacy")
    path = tmp_path / "tiny.txt"
    path.write_text(GLOVE, encoding="utf-8")
    table = load_word_vectors(path)
    assert table.vectors.dtype == np.float32
    array = vectorise("I DON'T like zebras; the café!", table, 6)
    assert array.tolist() == [[1, 2, 3], [-1, 0, 1], [4, 5, 6], pytest.approx([0.1, 0.2, 0.3]), [7, 8, 9], [0, 0, 0]]
    assert vectorise("like like like", table, 2).tolist() == [[4, 5, 6]] * 2
    assert not vectorise("", table, 2).any()
    only = load_word_vectors(path, {"like"})
    assert (list(only.rows), only.size) == (["like"], 3)
    path.write_text("2 3\n" + GLOVE.split("\n", 1)[1], encoding="utf-8")
    assert "2" not in load_word_vectors(path).rows


def test_what_is_no_word_is_left_out():
    pytest.importorskip("spacy")
    text = "See http://a.com/b or www.x.org, mail me@x.org — 3 of 24/7 COVID19 #wow \u201cwe\u2019re\u201d $5 ... ok"
    assert split_words(text) == ["see", "or", "mail", "of", "wow", "we", "'re", "ok"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "holds no word vectors"), ("the 0.1 0.2\ndo 1\n", "line 2"), ("the x y\n", "line 1"), ("the\n", "line 1")],
)
def test_a_damaged_file_of_vectors_is_named(tmp_path, text, message):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(AssetError, match=message):
        load_word_vectors(path)


def test_vectors_are_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "tiny.txt").write_text(GLOVE, encoding="utf-8")
    monkeypatch.setenv("THINSLICE_ASSETS", str(tmp_path))
    assert find_vectors("tiny.txt") == tmp_path / "tiny.txt"
    with pytest.raises(AssetError, match=r"glove\.6B\.zip"):
        find_vectors("absent.txt")


def test_vectors_are_mapped_after_the_first_time_and_pinned_by_their_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("THINSLICE_ASSETS", str(tmp_path))
    path = tmp_path / "tiny.txt"
    path.write_text(GLOVE, encoding="utf-8")
    first = word_vectors._load(str(path), 3, None)
    word_vectors._load.cache_clear()
    monkeypatch.setattr(word_vectors, "load_word_vectors", None)  # Not called again.
    again = word_vectors._load(str(path), 3, None)
    word_vectors._load.cache_clear()
    assert isinstance(again.vectors, np.memmap)
    assert again.rows == first.rows == {"the": 0, "do": 1, "n't": 2, "like": 3, "café": 4}
    np.testing.assert_array_equal(again.vectors, first.vectors)
    monkeypatch.undo()
    monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("THINSLICE_ASSETS", str(tmp_path))
    (cached,) = (tmp_path / "cache" / "word_vectors").glob("*.words")
    cached.write_text("the")  # Damaged: read anew.
    assert word_vectors._load(str(path), 3, None).rows == first.rows
    word_vectors._load.cache_clear()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    params = {"vectors": "tiny.txt", "size": 3, "sha256": None}
    assert find_extractor("word_vectors").pin(params) == {**params, "sha256": digest}
    assert find_extractor("word_vectors").pin({**params, "vectors": "absent.txt"})["sha256"] is None
    with pytest.raises(AssetError, match="other word vectors"):
        find_extractor("word_vectors").pin({**params, "sha256": "0" * 64})


def test_features_of_clips(tmp_path, monkeypatch):
    """Words beside the clip; a clip without sound or words gives a missing input, or an error where not allowed."""
    pytest.importorskip("spacy")
    pytest.importorskip("opensmile")
    monkeypatch.setenv("THINSLICE_ASSETS", str(tmp_path))
    (tmp_path / "tiny.txt").write_text(GLOVE, encoding="utf-8")
    talking = write_media(tmp_path / "talking.mp4", [voice_like(2.0)], numbered(50))
    (tmp_path / "talking.txt").write_text("I do like the café", encoding="utf-8")
    mute = write_media(tmp_path / "mute.mp4", pictures=numbered(50))
    silent = write_media(tmp_path / "silent.mp4", [np.zeros((1, 88200), np.float32)], numbered(50))
    specs = dict(cross_modal("audio+text", vectors="tiny.txt", vector_size=3, num_words=6).features)

    arrays, _ = extract_features(Source(talking), specs)
    assert arrays["egemaps"].dtype == np.float32
    assert arrays["egemaps"].shape == (88,)
    assert np.isfinite(arrays["egemaps"]).all()
    assert arrays["words"][0].tolist() == [1, 2, 3]
    assert (arrays["words"] != 0).any(1).tolist() == [True] * 4 + [False] * 2
    for path in (mute, silent):
        arrays, _ = extract_features(Source(path), specs)
        assert np.isnan(arrays["egemaps"]).all()
        assert not arrays["words"].any()
        with pytest.raises(MediaError):
            extract_egemaps(Source(path))
        with pytest.raises(MediaError, match=r"put its transcript into"):
            extract_word_vectors(Source(path), "tiny.txt", 3)
    with pytest.raises(AssetError, match="vectors of 3 numbers, 4 are needed"):
        extract_word_vectors(Source(mute), "tiny.txt", 4)
    with pytest.raises(AssetError, match="sha256 differs"):
        extract_word_vectors(Source(mute), "tiny.txt", 3, sha256="0" * 64)


def test_egemaps_are_opensmiles(real_clips):
    opensmile = pytest.importorskip("opensmile")
    found = extract_egemaps(Source(real_clips[0]))
    names = functional_names()
    assert len(names) == len(set(names)) == len(found) == 88
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
    expected = smile.process_signal(Source(real_clips[0]).audio(44100), 44100)
    assert list(expected.columns) == names
    assert np.allclose(found, expected.to_numpy()[0], rtol=1e-6)
    assert np.isfinite(found).all()


def test_separation_by_hand():
    # Two clips of each extreme, two modalities; the extremes lie on two axes.
    low, high = [1.0, 0.0], [0.0, 1.0]
    apart = np.array([[low, low], [low, low], [high, high], [high, high], [low, high]])
    classes = np.array([0, 0, 3, 3, 1])
    found = measure_separation(apart, classes)
    assert (found.silhouette, found.retrieval, found.across, found.num_embeddings) == (1, 1, 1, 8)
    # The second modality says the opposite of the first. Across modalities a query ranks two of the other class before
    # its one partner: average precision 1/3. Among all six of the other clips: one of its own, two of the other class
    # (the other modality), then, equally far, its partner and two of the other class of its own modality.
    opposed = np.array([[low, high], [low, high], [high, low], [high, low]])
    found = measure_separation(opposed, classes[:4])
    assert found.across == pytest.approx(1 / 3)
    assert found.retrieval > found.across
    assert found.silhouette <= 0
    with pytest.raises(UsageError, match="too few"):
        measure_separation(apart[:3], classes[:3])


def test_separation_of_noise_is_chance():
    rng = np.random.default_rng(0)
    found = measure_separation(rng.normal(size=(80, 3, 16)), rng.integers(0, 4, 80))
    assert found.retrieval == pytest.approx(found.chance, abs=0.03)
    assert abs(found.silhouette) < 0.03


def test_missing_embeddings_are_left_out():
    rng = np.random.default_rng(1)
    embeddings, classes = rng.normal(size=(30, 3, 4)), rng.integers(0, 4, 30)
    embeddings[np.flatnonzero(classes == 0)[0], 1] = np.nan
    extremes = int(np.isin(classes, (0, 3)).sum())
    assert measure_separation(embeddings, classes).num_embeddings == 3 * extremes - 1


def test_subsample_is_balanced():
    classes = np.repeat([0, 1, 2, 3], [40, 100, 100, 30])
    rows = balanced_subsample(classes, 3)
    assert rows.shape == (300, 2)
    cells = np.unique(np.column_stack([classes[rows[:, 0]], rows[:, 1]]), axis=0, return_counts=True)[1]
    assert cells.tolist() == [25] * 12
    assert len(np.unique(rows, axis=0)) == 300


def test_figures_show_what_they_say():
    rng = np.random.default_rng(0)
    labels = {"train": rng.normal(0.5, 0.15, (300, 2)).clip(0, 1), "test": rng.normal(0.5, 0.15, (90, 2)).clip(0, 1)}
    mean, sd = labels["train"].mean(0), labels["train"].std(0)
    histograms = plot_class_histograms(labels, mean, sd, ("openness", "neuroticism"))
    assert [axis.get_title() for axis in histograms.axes][-1] == "neuroticism, test"
    heights = [[bar.get_height() for bar in axis.patches] for axis in histograms.axes]
    assert [sum(bars) for bars in heights] == [300, 300, 90, 90]
    colours = {bar.get_facecolor() for bar in histograms.axes[0].patches}
    assert len(colours) == 4
    classes = np.repeat([0, 1, 2, 3], 10)
    picture = plot_embeddings(rng.normal(size=(40, 3, 5)), classes, ("audio", "video", "text"), "neuroticism", each=4)
    dots = [sum(len(cloud.get_offsets()) for cloud in axis.collections) for axis in picture.axes]
    assert dots == [48, 48, 48]


def test_figures_of_a_run(run, tmp_path):
    pytest.importorskip("matplotlib")
    from thinslice.systems.cross_modal.figures import draw_figures

    _, data, folder = run
    paths = draw_figures(folder.path, data, "cpu", tmp_path)
    assert [path.name for path in paths] == ["figure3.png", "figure4_hidden.png", "figure4_embeddings.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
