import json

import numpy as np
import pytest

pytest.importorskip("onnx")

from thinslice.errors import AssetError
from thinslice.formats.tfjs_graph import convert_graph, read_weights

SAME, BIAS, RELU = "U0FNRQ==", "Qmlhc0FkZA==", "UmVsdQ=="


def node(name, op, inputs=(), **attributes):
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def write_model(folder, nodes, weights, **changes):
    manifest = [
        {"name": name, "shape": list(value.shape), "dtype": "int32" if value.dtype == np.int32 else "float32"}
        | ({"quantization": {"dtype": "float16"}} if value.dtype == np.float16 else {})
        for name, value in weights.items()
    ]
    (folder / "model.bin").write_bytes(b"".join(value.tobytes() for value in weights.values()))
    document = {
        "format": "graph-model",
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["model.bin"], "weights": manifest}],
    }
    (folder / "model.json").write_text(json.dumps(document | changes))
    return folder / "model.json"


def run(model, picture):
    import onnxruntime

    (result,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": picture})
    return result


def placeholder(size):
    dims = [{"size": str(n)} for n in (-1, size, size, 2)]
    return node("input", "Placeholder", shape={"shape": {"dim": dims}})


def test_a_small_graph_gives_what_tensorflow_would(tmp_path):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 2, 4)).astype(np.float16)
    bias = rng.normal(size=4).astype(np.float32)
    deep = rng.normal(size=(1, 1, 4, 1)).astype(np.float32)
    twos = {"list": {"i": ["1", "2", "2", "1"]}}
    ones = {"list": {"i": ["1", "1", "1", "1"]}}
    nodes = [
        placeholder(6),
        *(node(name, "Const") for name in ("kernel", "bias", "deep", "shape")),
        node(
            "conv",
            "_FusedConv2D",
            ["input", "kernel", "bias"],
            strides=twos,
            padding={"s": SAME},
            fused_ops={"list": {"s": [BIAS, RELU]}},
        ),
        node("scaled", "DepthwiseConv2dNative", ["conv", "deep"], strides=ones, padding={"s": SAME}),
        node("flat", "Reshape", ["scaled", "shape"]),
    ]
    weights = {"kernel": kernel, "bias": bias, "deep": deep, "shape": np.array([-1, 36], np.int32)}
    picture = rng.normal(size=(2, 2, 6, 6)).astype(np.float32)
    result = run(convert_graph(write_model(tmp_path, nodes, weights), {"flat": "out"}), picture)
    # SAME with stride 2 on 6 pixels: one row and column of zeros, at the end.
    padded = np.pad(picture.transpose(0, 2, 3, 1), ((0, 0), (0, 1), (0, 1), (0, 0)))
    expected = np.zeros((2, 3, 3, 4))
    for y in range(3):
        for x in range(3):
            block = padded[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
            expected[:, y, x] = np.maximum(np.einsum("nijc,ijcd->nd", block, kernel.astype(float)) + bias, 0)
    np.testing.assert_allclose(result, (expected * deep[0, 0, :, 0]).reshape(2, 36), rtol=1e-4, atol=1e-4)


def test_unknown_operations_and_broken_files_are_said(tmp_path):
    path = write_model(tmp_path, [placeholder(4), node("x", "FFT", ["input"])], {})
    with pytest.raises(AssetError, match="operation FFT"):
        convert_graph(path, {"x": "x"})
    path = write_model(tmp_path, [], {"w": np.zeros(4, np.float32)})
    (tmp_path / "model.bin").write_bytes(b"1234")
    with pytest.raises(AssetError, match="too short"):
        read_weights(path)
    with pytest.raises(AssetError, match="graph model"):
        read_weights(write_model(tmp_path, [], {}, format="layers-model"))
    with pytest.raises(AssetError, match=r"missing\.json"):
        read_weights(tmp_path / "missing.json")
