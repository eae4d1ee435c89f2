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
