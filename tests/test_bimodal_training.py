"""The recipe of the bimodal networks: what it feeds them, loss and steps by hand, fine-tuning, the exported graph."""

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from test_bimodal import FILES, lstm_file, random_weights, write  # noqa: E402
from thinslice.bundle import load_bundle  # noqa: E402
from thinslice.errors import AssetError, UsageError  # noqa: E402
from thinslice.evaluate.predictions import read_predictions  # noqa: E402
from thinslice.formats.torch7 import Torch7Error  # noqa: E402
from thinslice.infer.onnx_model import OnnxModel  # noqa: E402
from thinslice.systems import RECIPES  # noqa: E402
from thinslice.systems.bimodal.network import build_bimodal  # noqa: E402
from thinslice.systems.bimodal.recipe import VARIANTS, bimodal, predict_scores, squared_error  # noqa: E402
from thinslice.systems.bimodal.torch7_weights import read_bimodal  # noqa: E402
from thinslice.systems.bimodal.weights import convert_bimodal  # noqa: E402
from thinslice.train.data import (  # noqa: E402
    ArrayReader,
    ClipData,
    RunData,
    StoredClip,
)
from thinslice.train.export import export_run  # noqa: E402
from thinslice.train.history import read_rows  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import describe  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.train.stage import build_optimiser, load_weights  # noqa: E402
from thinslice.train.system import build_seeded, weights_of  # noqa: E402
from thinslice.traits import TRAITS  # noqa: E402

COUNTS = {"lstm": 316_549, "3dcnn": 167_138}
SETTINGS = LoopSettings(device="cpu", tensorboard=False)


def clips(count: int, seed: int = 0, draws: int = 3, more: int = 0) -> ClipData:
    """Clips of large blots and sound on the scale of real features."""
    chance = np.random.default_rng(seed)

    def faces(*shape: int) -> np.ndarray:
        return chance.integers(0, 256, (*shape, 7, 7, 3), dtype=np.uint8).repeat(16, axis=-3).repeat(16, axis=-2)

    arrays = {}
    for number in range(count):
        arrays[f"clip{number}"] = {
            "pictures": faces(draws, 6),
            "sound": chance.normal(0, 1, (6, 68)).astype(np.float32),
        }
        if more:
            arrays[f"clip{number}"]["more_pictures"] = faces(6 * more, 1)
    return ClipData(tuple(arrays), chance.uniform(0.2, 0.8, (count, 5)), TRAITS, ArrayReader(arrays))


def batch_of(data: ClipData, recipe, mode="train") -> dict:
    rng = np.random.default_rng(1)
    samples = [recipe.sample(data.reader(row), mode, rng) for row in range(len(data))]
    inputs = {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}
    return {"inputs": inputs, "labels": torch.from_numpy(data.labels.astype(np.float32))}


# ---- the recipe


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_builds_the_published_network_and_again_from_its_arguments(variant):
    recipe = RECIPES["bimodal"](variant=variant)
    assert recipe.variant == variant
    model = recipe.build_model()
    assert (
        sum(parameter.numel() for parameter in model.parameters()) == COUNTS["3dcnn" if "3dcnn" in variant else "lstm"]
    )
    assert describe(RECIPES["bimodal"](**recipe.arguments)) == describe(recipe)
    (stage,) = recipe.stages
    assert (stage.prepare is not None) == variant.endswith("finetune")
    assert set(recipe.inputs) <= set(recipe.features)


def test_the_settings_are_the_authors():
    for variant, epochs in (("lstm", 440), ("3dcnn", 600)):
        (stage,) = bimodal(variant).stages
        assert (stage.batch_size, stage.epochs) == (128, epochs)
    recipe = bimodal("lstm", epochs=7, batch_size=9)
    assert (recipe.stages[0].epochs, recipe.stages[0].batch_size) == (7, 9)


def test_a_reading_changes_one_thing():
    """Each by hand, on the same batch or in the same words."""
    (theirs,) = bimodal("lstm").stages[0].updates
    (undamped,) = bimodal("reading_undamped").stages[0].updates
    assert (theirs.optimiser.keywords["dampening"], undamped.optimiser.keywords["dampening"]) == (0.9, 0.0)
    (averaged,) = bimodal("reading_averaged").stages[0].updates
    model = bimodal().build_model()
    pictures = torch.randint(0, 256, (2, 1, 6, 112, 112, 3), dtype=torch.uint8)
    batch = {"inputs": {"pictures": pictures, "sound": torch.randn(2, 6, 68)}, "labels": torch.rand(2, 5)}
    model.eval()
    with torch.no_grad():
        assert theirs.loss(model, batch).item() == pytest.approx(30 * averaged.loss(model, batch).item(), rel=1e-5)
    own, library = (bimodal(name).features["sound"].params for name in ("lstm", "small_reading_library_eps"))
    assert (own["epsilon"], library["epsilon"]) == (1e-8, 2.0**-52)
    assert {**own, "epsilon": 0} == {**library, "epsilon": 0}
    assert bimodal("small_reading_undamped", dampening=0.5).stages[0].updates[0].optimiser.keywords["dampening"] == 0.5


def test_stored_features_are_those_of_the_bundle(tmp_path):
    path = write(tmp_path / "some.net", lstm_file(random_weights("lstm")))
    inputs = load_bundle(convert_bimodal(path, None, tmp_path / "bundle")).inputs
    recipe = bimodal()
    assert {name: entry.spec for name, entry in inputs.items()} == recipe.features
    assert {name: entry.label for name, entry in inputs.items()} == recipe.inputs
    more = bimodal(faces_per_part=9)
    assert set(more.features) == {"pictures", "sound", "more_pictures"}
    assert more.features["more_pictures"].params["draws"] == 54
    assert more.inputs == recipe.inputs  # prediction does not look at them


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"variant": "gru"}, "no variant 'gru'; there are lstm"),
        ({"learning_rte": 1}, "no hyperparameter learning_rte"),
        ({"start_from": "x.net"}, "lstm-finetune"),
        ({"faces_per_part": 2}, "3 or more"),
    ],
)
def test_wrong_hyperparameters_are_one_clear_line(choices, message):
    with pytest.raises(UsageError, match=message) as caught:
        bimodal(**choices)
    assert "\n" not in str(caught.value)


# ---- what the networks see


class Counting(ArrayReader):
    """Counts the pictures read."""

    def read(self, clip, feature, index=None):
        array = super().read(clip, feature, index)
        if feature != "sound":
            object.__setattr__(self, "seen", getattr(self, "seen", 0) + math.prod(array.shape[:-3]))
        return array


def marked(shape: tuple[int, ...], numbers: np.ndarray) -> np.ndarray:
    """Pictures each of one value."""
    pictures = np.zeros((*shape, 112, 112, 3), np.uint8)
    pictures[:] = numbers.reshape(shape)[..., None, None, None]
    return pictures


@pytest.mark.parametrize("each", [3, 5])
def test_training_draws_one_stored_face_of_each_sixth(each):
    sound = np.ones((6, 68), np.float32)
    fixed = marked((3, 6), np.arange(18) + 100)
    # In the order of time: faces 0 to each - 1 are the first sixth's.
    row = marked((6 * each, 1), np.arange(6 * each))
    reader = Counting({"a": {"pictures": fixed, "sound": sound, "more_pictures": row}})
    recipe = bimodal(faces_per_part=each)
    drawn = []
    for seed in range(60):
        inputs = recipe.sample(StoredClip("a", reader), "train", np.random.default_rng(seed))
        assert inputs["pictures"].shape == (1, 6, 112, 112, 3)
        assert np.ptp(inputs["pictures"], axis=(2, 3, 4)).max() == 0
        drawn.append(inputs["pictures"][0, :, 0, 0, 0].astype(int))
    values = np.array(drawn)
    if each == 3:  # 100 + 6 draw + part
        assert ((values - 100) % 6 == np.arange(6)).all()
        choices = (values - 100) // 6
    else:
        assert (values // each == np.arange(6)).all()
        choices = values % each
        assert reader.seen == 60 * 6  # nothing was read, or decoded, in vain
    for part in range(6):
        assert set(choices[:, part]) == set(range(each))
    assert len({tuple(choice) for choice in choices}) > 50  # the parts are drawn independently

    for mode in ("validation", "test"):
        inputs = recipe.sample(StoredClip("a", reader), mode, np.random.default_rng(0))
        np.testing.assert_array_equal(inputs["pictures"], fixed)


def test_scores_are_the_mean_over_draws_of_colours_in_0_to_1():
    recipe, data = bimodal("lstm"), clips(2)
    model = recipe.build_model().eval()
    batch = batch_of(data, recipe, "validation")
    with torch.no_grad():
        scores = recipe.predict(model, batch["inputs"])
        for row in range(2):
            pictures = batch["inputs"]["pictures"][row].permute(0, 1, 4, 2, 3) / 255
            sound = batch["inputs"]["sound"][row].repeat(3, 1, 1)
            torch.testing.assert_close(scores[row], model(pictures, sound).mean(0), atol=1e-6, rtol=1e-5)


# ---- loss and steps, by hand


def test_lstm_loss_is_the_squared_error_of_every_step_and_trait_summed_and_averaged_over_clips():
    recipe, data = bimodal("lstm"), clips(3)
    model = recipe.build_model().eval()
    batch = batch_of(data, recipe)
    with torch.no_grad():
        by_hand = 0.0
        for row in range(3):
            picture = batch["inputs"]["pictures"][row].permute(0, 1, 4, 2, 3) / 255
            steps = model.forward_steps(picture, batch["inputs"]["sound"][row : row + 1])[0]
            for step in range(6):
                for trait in range(5):
                    by_hand += (float(steps[step, trait]) - data.labels[row, trait]) ** 2
        assert float(squared_error(model, batch)) == pytest.approx(by_hand / 3, rel=1e-5)

        # An unknown label counts as the mean of the others.
        known = squared_error(model, batch)
        batch["labels"][1, 2] = torch.nan
        without = squared_error(model, batch)
        assert torch.isfinite(without)
        assert abs(float(without - known)) < 0.5 * float(known)


def test_3dcnn_loss_is_the_squared_error_of_every_trait_summed_and_averaged_over_clips():
    recipe, data = bimodal("3dcnn"), clips(3)
    model = recipe.build_model().eval()
    batch = batch_of(data, recipe)
    with torch.no_grad():
        errors = predict_scores(model, batch["inputs"]).double().numpy() - data.labels
        assert float(squared_error(model, batch)) == pytest.approx((errors**2).sum() / 3, rel=1e-5)


@pytest.mark.parametrize(("variant", "rate"), [("lstm", 0.05), ("3dcnn", 0.05), ("lstm-finetune", 0.0015)])
def test_steps_are_those_of_torch7(variant, rate):
    """Its optim.sgd: weight decay, then v <- 0.9 v + 0.1 g (the first g whole), x <- x - rate / (1 + 1e-4 n) v."""
    (stage,) = bimodal(variant).stages
    (update,) = stage.updates
    assert update.per_step
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 0.7)
    optimiser = build_optimiser(model, update)
    schedule = update.schedule(optimiser)
    x, v = 0.7, None
    for step, gradient in enumerate([0.3, -0.8, 0.5, 0.1] * 50):
        model.weight.grad = torch.full((1, 1), gradient)
        optimiser.step()
        schedule.step()
        g = gradient + 5e-4 * x
        v = g if v is None else 0.9 * v + 0.1 * g
        x -= rate / (1 + 1e-4 * step) * v
        assert model.weight.item() == pytest.approx(x, abs=1e-5)


# ---- runs


@pytest.mark.parametrize("variant", ["lstm", "3dcnn"])
def test_two_steps_change_every_parameter(tmp_path, variant):
    recipe = bimodal(variant, batch_size=2)
    settings = LoopSettings(device="cpu", tensorboard=False, max_steps=2)
    data = RunData(splits={"train": clips(4), "validation": clips(2, 1)})
    folder = train(recipe, data, tmp_path / "run", settings)
    assert [int(row["step"]) for row in read_rows(folder.path / "steps.csv")] == [1, 2]
    assert folder.predictions("validation").is_file()
    before, after = build_seeded(recipe, recipe.seed), build_seeded(recipe, recipe.seed)
    load_weights(after, weights_of(folder, "network"))
    states = before.state_dict(), after.state_dict()
    assert set(states[0]) == {name for name, _ in before.named_parameters()}  # there is nothing else
    for name, old in states[0].items():
        assert torch.isfinite(states[1][name]).all(), name
        assert not torch.equal(old, states[1][name]), name

    clip = data.splits["validation"].reader(0)
    sample = recipe.sample(clip, "test", np.random.default_rng(0))
    bundle = load_bundle(export_run(recipe, folder, tmp_path / "bundle", [sample]).folder)
    assert {name: entry.spec for name, entry in bundle.inputs.items()} == recipe.features
    with torch.no_grad():
        inputs = {name: torch.from_numpy(array)[None] for name, array in sample.items()}
        expected = recipe.predict(after.eval(), inputs)[0].numpy()
    np.testing.assert_allclose(OnnxModel(bundle.folder).predict(sample), expected, atol=1e-5)
    assert "6,000" not in " ".join(bundle.card.limits)


def test_a_resumed_run_takes_the_same_steps(tmp_path):
    recipe = bimodal("3dcnn", batch_size=2, faces_per_part=5)
    data = RunData(splits={"train": clips(4, more=5)})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(recipe, data, whole, LoopSettings(device="cpu", tensorboard=False, max_steps=4))
    train(recipe, data, parts, LoopSettings(device="cpu", tensorboard=False, max_steps=2))
    train(recipe, data, parts, LoopSettings(device="cpu", tensorboard=False, max_steps=4, resume=True))
    assert (whole / "steps.csv").read_text() == (parts / "steps.csv").read_text()
    assert len(read_rows(whole / "steps.csv")) == 4


def test_finetuning_starts_from_the_file_given(tmp_path):
    weights = random_weights("lstm")
    path = write(tmp_path / "some.net", lstm_file(weights))
    recipe = bimodal("lstm-finetune", start_from=str(path), learning_rate=0.0)
    data = RunData(splits={"train": clips(2), "validation": clips(3, 1)})
    folder = train(recipe, data, tmp_path / "run", LoopSettings(device="cpu", tensorboard=False, max_steps=1))
    model = recipe.build_model()
    load_weights(model, weights_of(folder, "finetune"))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), weights.arrays[name], err_msg=name)


def test_what_finetuning_cannot_start_from(tmp_path, monkeypatch):
    path = write(tmp_path / "some.net", lstm_file(random_weights("lstm")))
    (stage,) = bimodal("3dcnn-finetune", start_from=str(path)).stages
    with pytest.raises(UsageError, match="holds the lstm network, not the 3dcnn"):
        stage.prepare(bimodal("3dcnn").build_model(), clips(1))
    (stage,) = bimodal("lstm-finetune", start_from=str(tmp_path / "no.net")).stages
    with pytest.raises(Torch7Error, match=r"no\.net"):
        stage.prepare(bimodal("lstm").build_model(), clips(1))
    monkeypatch.setenv("THINSLICE_ASSETS", "")
    monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path / "empty"))
    (stage,) = bimodal("lstm-finetune").stages
    with pytest.raises(AssetError, match="thinslice assets get bimodal"):
        stage.prepare(bimodal("lstm").build_model(), clips(1))


@pytest.mark.parametrize("architecture", ["lstm", "3dcnn"])
def test_finetuning_begins_with_the_published_scores(tmp_path, monkeypatch, bimodal_weights, architecture):
    """At a learning rate of 0 the whole loop must leave the converted network's scores as they are."""
    monkeypatch.setenv("THINSLICE_ASSETS", str(bimodal_weights))
    held_out = clips(3, 1)
    data = RunData(splits={"train": clips(2), "validation": held_out})
    settings = LoopSettings(device="cpu", tensorboard=False, max_steps=1)
    variant = f"{architecture}-finetune"
    folder = train(bimodal(variant, learning_rate=0.0), data, tmp_path / "still", settings)
    files = {"lstm": None, "3dcnn": None, architecture: bimodal_weights / FILES[architecture]}
    converted = OnnxModel(convert_bimodal(files["lstm"], files["3dcnn"], tmp_path / "bundle"))
    expected = np.stack(
        [
            converted.predict({name: held_out.reader(row).read(name) for name in ("pictures", "sound")})
            for row in range(len(held_out))
        ]
    )
    table = read_predictions(folder.predictions("validation"))
    assert tuple(table.clips) == held_out.clips
    np.testing.assert_allclose(table.scores[:, :5], expected, atol=1e-5)
    (row,) = read_rows(folder.path / "history.csv")
    assert float(row["accuracy"]) == pytest.approx(1 - np.abs(expected - held_out.labels).mean(), abs=1e-5)

    samples = [bimodal(variant).sample(held_out.reader(row), "test", np.random.default_rng(0)) for row in range(3)]
    exported = export_run(bimodal(variant, learning_rate=0.0), folder, tmp_path / "exported", samples)
    bundle = load_bundle(exported.folder)
    assert exported.largest_difference < 1e-5
    assert bundle.interval(("face", "sound"), "openness")[0] <= 0
    assert "learned from the 6,000 training clips" in " ".join(bundle.card.limits)
    scores = [OnnxModel(bundle.folder).predict(sample) for sample in samples]
    np.testing.assert_allclose(scores, expected, atol=1e-5)

    published = read_bimodal(bimodal_weights / FILES[architecture])
    (stage,) = bimodal(variant).stages
    model = bimodal(variant).build_model()
    stage.prepare(model, data.splits["train"])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), published.arrays[name], err_msg=name)

    moved = train(bimodal(variant), data, tmp_path / "moved", settings)
    changed = read_predictions(moved.predictions("validation")).scores[:, :5]
    assert np.abs(changed - expected).max() > 1e-5


# ---- export


def run_graph(graph, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], inputs)
    return scores


@pytest.mark.parametrize("variant", ["lstm", "3dcnn"])
def test_the_exported_graph_scores_as_the_recipe_does(variant):
    recipe, data = bimodal(variant), clips(2, 3)
    torch.manual_seed(0)
    model = recipe.build_model().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # so that scores differ
        expected = recipe.predict(model, batch_of(data, recipe, "test")["inputs"]).numpy()
    graph = recipe.build_graph(model)
    for row in range(2):
        inputs = {name: data.reader(row).read(name) for name in recipe.inputs}
        np.testing.assert_allclose(run_graph(graph, inputs), expected[row], atol=1e-5)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("architecture", ["lstm", "3dcnn"])
def test_the_published_network_exports_to_what_conversion_gives(tmp_path, bimodal_weights, architecture):
    weights = read_bimodal(bimodal_weights / FILES[architecture])
    graph = bimodal(architecture).build_graph(build_bimodal(weights))
    files = {"lstm": None, "3dcnn": None, architecture: bimodal_weights / FILES[architecture]}
    converted = convert_bimodal(files["lstm"], files["3dcnn"], tmp_path / "bundle")
    data = clips(1, 5)
    inputs = {name: data.reader(0).read(name) for name in ("pictures", "sound")}
    np.testing.assert_allclose(run_graph(graph, inputs), OnnxModel(converted).predict(inputs), atol=1e-5)
    assert graph.SerializeToString() == Path(converted, "model.onnx").read_bytes()
