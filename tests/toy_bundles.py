"""Bundles made by hand: a graph that tells how many samples of sound it was given."""

import hashlib
import json
from pathlib import Path
from typing import Any

from thinslice.traits import TRAITS

SAMPLES_PER_POINT = 1e5


def length_graph() -> bytes:
    """Return an ONNX model whose five scores are the number of samples of `waveform` divided by 100,000."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["waveform"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["length"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["length", "unit"], ["score"]),
            helper.make_node("Expand", ["score", "five"], ["scores"]),
        ],
        "length",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [5])],
        [
            helper.make_tensor("unit", TensorProto.FLOAT, [1], [SAMPLES_PER_POINT]),
            helper.make_tensor("five", TensorProto.INT64, [1], [5]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def toy_document(name: str, **waveform: Any) -> dict[str, Any]:
    """Return a bundle.json of format 1 without its files; `waveform` are the parameters of its sound."""
    return {
        "format": 1,
        "name": name,
        "version": "1",
        "kind": "onnx",
        "outputs": list(TRAITS),
        "inputs": {"waveform": {"extractor": "waveform", "version": 1, "params": waveform, "label": "sound"}},
        "files": {},
        "intervals": {"sound": {trait: [-0.1, 0.1] for trait in TRAITS}},
        "percentiles": {trait: [0.0, 0.5, 1.0] for trait in TRAITS},
        "card": {"summary": "A toy."},
    }


def write_toy_bundle(folder: Path, document: dict[str, Any], graph: bytes | None = None) -> Path:
    """Write a bundle's folder by hand, as other people's tools would."""
    folder.mkdir(parents=True)
    content = length_graph() if graph is None else graph
    (folder / "model.onnx").write_bytes(content)
    files = {"model.onnx": hashlib.sha256(content).hexdigest()}
    (folder / "bundle.json").write_text(json.dumps({**document, "files": files}), "utf-8")
    return folder


def write_looking_bundle(folder: Path) -> Path:
    """Write a bundle of a face and a voice, each optional: its scores are half how bright the pictures are, plus 0.25
    where there is not a picture; the voice counts for nothing but being there."""
    import numpy as np
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pictures"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["levels"], ["level"], keepdims=0),
            helper.make_node("Div", ["level", "full"], ["score"]),
            helper.make_node("ReduceMean", ["profile"], ["voice"], keepdims=0),
            helper.make_node("Mul", ["voice", "none"], ["nothing"]),
            helper.make_node("Add", ["score", "nothing"], ["sum"]),
            helper.make_node("Expand", ["sum", "five"], ["scores"]),
        ],
        "brightness",
        [
            helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", 12, 16, 3]),
            helper.make_tensor_value_info("profile", TensorProto.DOUBLE, [26]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [5])],
        [
            helper.make_tensor("full", TensorProto.FLOAT, [], [510.0]),
            helper.make_tensor("none", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("five", TensorProto.INT64, [1], [5]),
        ],
    )
    graph.node[3].input[0] = "numbers"
    graph.node.insert(3, helper.make_node("Cast", ["profile"], ["numbers"], to=TensorProto.FLOAT))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "neutral.npz", pictures=np.full((1, 12, 16, 3), 127, np.uint8), profile=np.zeros(26))
    document = toy_document(folder.name)
    document["inputs"] = {
        "pictures": {
            "extractor": "frames",
            "version": 1,
            "params": {"num_frames": 4, "width": 16, "height": 12},
            "label": "face",
            "optional": True,
        },
        "profile": {"extractor": "voice_profile", "version": 1, "params": {}, "label": "voice", "optional": True},
    }
    widths = {"face+voice": 0.1, "face": 0.2, "voice": 0.3}
    document["intervals"] = {used: {trait: [-w, w] for trait in TRAITS} for used, w in widths.items()}
    document["neutral"] = "neutral.npz"
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", "neutral.npz")}
    (folder / "bundle.json").write_text(json.dumps({**document, "files": files}), "utf-8")
    return folder
