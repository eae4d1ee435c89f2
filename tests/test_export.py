"""From a run to a bundle: parity checked when it is written, and predict without PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from test_deep_impression import TINY, clip_inputs, small_network, tiny_data  # noqa: E402
from thinslice.bundle import load_bundle  # noqa: E402
from thinslice.cli.export import export  # noqa: E402
from thinslice.errors import UsageError  # noqa: E402
from thinslice.infer.onnx_model import OnnxModel  # noqa: E402
from thinslice.layers.blocks import ResidualStream  # noqa: E402
from thinslice.systems.deep_impression.graph import build_deep_impression_graph  # noqa: E402
from thinslice.systems.deep_impression.network import PICTURES, SOUND, FiveNetworks, RecurrentImpression  # noqa: E402
from thinslice.systems.deep_impression.recipe import deep_impression  # noqa: E402
from thinslice.train.data import (  # noqa: E402
    ClipData,
    RunData,
    random_state,
)
from thinslice.train.export import build_card, export_run, load_trained  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.recipe import Arrays  # noqa: E402
from thinslice.train.run import RunFolder  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from thinslice.traits import TRAITS  # noqa: E402
from toy_recipe import toy_clips, toy_data, toy_recipe, toy_stage  # noqa: E402

SETTINGS = LoopSettings(device="cpu", tensorboard=False, max_steps=2)


def samples_of(recipe, clips: ClipData) -> list[Arrays]:  # type: ignore[no-untyped-def]
    return [recipe.sample(clips.reader(i), "test", random_state(0)) for i in range(len(clips))]


def run_graph(graph, inputs: dict[str, np.ndarray]) -> np.ndarray:  # type: ignore[no-untyped-def]
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {entry.name: inputs[entry.name] for entry in session.get_inputs()})[0]


def networks() -> dict[str, torch.nn.Module]:
    five = FiveNetworks(small_network(), (4, 8, 16, 32))
    five.single = torch.nn.ModuleList(small_network() for _ in TRAITS)
    for trait, network in enumerate(five.single):
        network.head = torch.nn.Linear(64, 1)
        torch.nn.init.normal_(network.head.weight, std=0.02 * (trait + 1))
    return {
        "dnn": small_network(),
        "sound": small_network(with_pictures=False),
        "pictures": small_network(with_sound=False),
        "5xdnn": five,
        "dnn_rnn": RecurrentImpression(small_network(), 8),
    }


@pytest.mark.parametrize("variant", list(networks()))
def test_graph_scores_clips_of_any_length_as_torch_does(variant: str) -> None:
    model = networks()[variant].eval()
    graph = build_deep_impression_graph(model, 36, 40)  # type: ignore[arg-type]
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    seen = []
    for samples, frames in ((16000, 1), (50177, 40), (100003, 7)):
        inputs = clip_inputs(samples, frames)
        feed = {entry.name: inputs[entry.name] for entry in session.get_inputs()}
        with torch.no_grad():
            expected = model(**feed)[0].numpy()
        scores = session.run(None, {name: tensor[0].numpy() for name, tensor in feed.items()})[0]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        seen.append(expected)
    assert scores.shape == (5,)
    assert np.ptp(seen, axis=0).max() > 1e-3  # The clips do differ.


def test_memory_does_not_grow_with_frames() -> None:
    """The visual stream is inside a Scan: no tensor of all frames but the input and one vector of each."""
    graph = build_deep_impression_graph(small_network(), 36, 40).graph
    outside = [node.op_type for node in graph.node]
    assert outside.count("Scan") == 1
    assert all(
        len(a.g.node) > 20 for node in graph.node if node.op_type == "Scan" for a in node.attribute if a.name == "body"
    )
    takers = [node.op_type for node in graph.node if "frames" in node.input]
    assert takers == ["Scan"]


@pytest.mark.parametrize(("shape", "size"), [(SOUND, (777,)), (PICTURES, (45, 61))])
@pytest.mark.parametrize("round_up", [True, False])
def test_edges_are_pooled_as_in_torch(shape, size: tuple[int, ...], round_up: bool) -> None:  # type: ignore[no-untyped-def]
    from thinslice.layers.onnx_graph import GraphWriter
    from thinslice.systems.deep_impression.graph import _stream

    stream = ResidualStream(shape, (2, 3), 1e-3, round_up).eval()
    graph = GraphWriter()
    x = torch.randn(1, shape.in_channels, *size)
    last = _stream(graph, "x", stream)
    info = onnx.helper.make_tensor_value_info
    model = graph.model([info("x", 1, list(x.shape))], [info(last, 1, ["batch", "width"])])
    with torch.no_grad():
        np.testing.assert_allclose(run_graph(model, {"x": x.numpy()}), stream(x).numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    recipe, data = deep_impression(**TINY), tiny_data(4)
    return recipe, data, train(recipe, data, tmp_path_factory.mktemp("run") / "run", SETTINGS)


def test_bundle_says_what_the_run_was(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    recipe, data, run = trained
    exported = export_run(recipe, run, tmp_path / "bundle", samples_of(recipe, data.splits["test"]))
    assert exported.largest_difference < 1e-4
    assert exported.num_compared == 2
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.name == "deep_impression-dnn"
    assert {name: entry.label for name, entry in bundle.inputs.items()} == {"waveform": "sound", "frames": "scene"}
    assert {name: entry.spec for name, entry in bundle.inputs.items()} == dict(recipe.features)
    labels, validation = data.splits["train"].labels, data.splits["validation"]
    predicted = np.loadtxt(run.predictions("validation"), delimiter=",", skiprows=1, usecols=range(1, 6))
    for k, trait in enumerate(TRAITS):
        assert bundle.percentile(trait, np.median(labels[:, k])) == pytest.approx(50, abs=1)
        low, high = np.quantile(validation.labels[:, k] - predicted[:, k], [0.1, 0.9])
        assert bundle.interval(("sound", "scene"), trait) == pytest.approx((min(low, 0), max(high, 0)), abs=1e-3)
    document = run.load()
    assert bundle.card.digests["labels"] == document.data.labels.digest
    assert bundle.card.num_training_clips == len(labels)
    splits = run.load_scores()
    assert bundle.card.r2_for(("scene", "sound")) == pytest.approx(splits["test"].r2, abs=1e-4)
    assert not bundle.card.synthetic
    drawn = msgspec.structs.replace(document, data=msgspec.structs.replace(document.data, origin={"synthetic": True}))
    assert build_card(recipe, drawn, splits).synthetic
    scores = OnnxModel(bundle.folder).predict(samples_of(recipe, data.splits["test"])[1])
    theirs = np.loadtxt(run.predictions("test"), delimiter=",", skiprows=1, usecols=range(1, 6))[1]
    np.testing.assert_allclose(scores, theirs, atol=1e-4)


def test_graph_that_differs_is_not_written(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from dataclasses import replace

    recipe, data, run = trained

    def wrong(model: torch.nn.Module):  # type: ignore[no-untyped-def]
        with torch.no_grad():
            changed = load_trained(recipe, run)
            changed.head.bias += 0.01  # type: ignore[union-attr, operator]
        return build_deep_impression_graph(changed, 36, 40)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match=r"differ from PyTorch's by 0\.00"):
        export_run(
            replace(recipe, build_graph=wrong), run, tmp_path / "bundle", samples_of(recipe, data.splits["test"])
        )
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(UsageError, match="no clip to compare"):
        export_run(recipe, run, tmp_path / "bundle", [])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="is not a bundle"):
        export_run(recipe, run, tmp_path / "mine", samples_of(recipe, data.splits["test"]))


def test_network_without_its_own_graph_is_traced(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    recipe = toy_recipe(toy_stage(epochs=2))
    run = train(recipe, toy_data(), tmp_path / "run", LoopSettings(device="cpu", tensorboard=False))
    export_run(recipe, run, tmp_path / "bundle", samples_of(recipe, toy_clips(2, 3)))
    model = load_trained(recipe, run)
    clips = toy_clips(5, 9)
    for i in range(5):
        x = clips.reader(i).read("x")
        with torch.no_grad():
            expected = model(torch.from_numpy(x)[None])[0].numpy()
        np.testing.assert_allclose(OnnxModel(tmp_path / "bundle").predict({"x": x}), expected, atol=1e-5)


def test_unfinished_run_is_named(tmp_path: Path) -> None:
    recipe = toy_recipe(toy_stage("first"), toy_stage("second"))
    run = train(recipe, toy_data(), tmp_path / "run", SETTINGS)
    (run.stage("second") / "done.json").unlink()
    with pytest.raises(UsageError, match="stage second is not finished; go on with --resume"):
        export_run(recipe, run, tmp_path / "bundle", [])
    with pytest.raises(UsageError, match="not a run"):
        export_run(recipe, RunFolder(tmp_path), tmp_path / "bundle", [])


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    run = train(toy_recipe(toy_stage(epochs=1)), toy_data(), tmp_path / "run", SETTINGS)
    (run.stage("all") / "last.pt").write_bytes(b"garbage")
    with pytest.raises(UsageError, match=r"last\.pt: cannot be loaded"):
        load_trained(toy_recipe(), run)


def test_without_validation_intervals_are_the_labels_spread(tmp_path: Path) -> None:
    recipe, clips = deep_impression("sound", **TINY), tiny_data(4).splits["train"]
    run = train(recipe, RunData(splits={"train": clips}), tmp_path / "run", SETTINGS)
    export_run(recipe, run, tmp_path / "bundle", samples_of(recipe, clips))
    bundle = load_bundle(tmp_path / "bundle")
    half = 1.2815516 * clips.labels[:, 0].std()
    assert bundle.interval(("sound",), "openness") == pytest.approx((-half, half), abs=1e-4)
    assert "no validation clips" in bundle.card.interval_source


def test_from_media_to_prediction_without_torch(real_clips: list[Path], tmp_path: Path) -> None:
    """extract, train, export and predict as a user calls them; predict must not import PyTorch."""
    from thinslice.cli.train import train as train_command

    rows = ["clip,path,split,speaker," + ",".join(TRAITS)]
    for i, (clip, split) in enumerate(zip(real_clips[:4], ("train", "train", "validation", "test"), strict=True)):
        rows.append(f"{clip.name},{clip},{split},s{i}," + ",".join(f"{0.3 + 0.1 * ((i + k) % 4)}" for k in range(5)))
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    command = ["deep_impression", "--variant", "small", "--data", str(tmp_path / "m.csv"), "--out", str(run)]
    result = CliRunner().invoke(
        train_command, [*command, "--device", "cpu", "--max-steps", "1"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "2 train, 1 validation, 1 test clips" in result.output
    result = CliRunner().invoke(export, [str(run), "--out", str(bundle)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    program = (
        "import sys, json; from thinslice.infer.predictor import Predictor; "
        f"p = Predictor({str(bundle)!r}).predict({str(real_clips[3])!r}, explain=False); "
        "assert not {'torch', 'lightning'} & set(sys.modules); print(json.dumps(p.to_dict()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    prediction = json.loads(done.stdout)
    assert prediction["used"] == ["sound", "scene"]
    theirs = np.loadtxt(run / "predictions_test.csv", delimiter=",", skiprows=1, usecols=range(1, 6))
    scores = [prediction["traits"][trait]["score"] for trait in TRAITS]
    np.testing.assert_allclose(scores, theirs, atol=0.02)  # Frames were kept as JPEG files for training.
    missing = CliRunner().invoke(export, [str(run), "--out", str(bundle), "--store", str(tmp_path / "none")])
    assert isinstance(missing.exception, UsageError)
