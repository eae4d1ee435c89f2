"""Both bimodal networks as one ONNX graph, built from their weights without PyTorch.

The graph takes the bundle's features as they are and does all that stands between them and the scores:

- ``pictures``: uint8 (draws, 6, 112, 112, 3), RGB in [0, 255]: aligned faces, one from each sixth of the clip,
  several draws of them.
- ``sound``: float32 (6, 68).
- ``scores``: float32 (5,) in the order of `thinslice.traits.TRAITS`, the mean over the draws, the LSTM's six
  steps and the networks.

Deviations: a 3-D convolution over t frames is computed as a 2-D convolution over t times the channels, which is
the same sum and faster in ONNX Runtime.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from thinslice.errors import MissingExtraError
from thinslice.systems.bimodal.torch7_weights import BimodalWeights

OPSET = 17
IR_VERSION = 8
"""Read by ONNX Runtime 1.13 and later."""


def build_bimodal_graph(networks: Sequence[BimodalWeights]) -> Any:
    """Return the onnx.ModelProto of the mean of one or two networks.

    Raises:
        MissingExtraError: the package `onnx` is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError:
        raise MissingExtraError("converting the bimodal networks", "video") from None

    graph = _Graph()
    graph.constant("per_level", np.float32(1 / 255))
    graph.add("Cast", ["pictures"], "levels", to=TensorProto.FLOAT)
    graph.add("Mul", ["levels", "per_level"], "unit")
    # (draws, 6, rows, columns, 3) -> (draws, 6, 3, rows, columns)
    graph.add("Transpose", ["unit"], "faces", perm=[0, 1, 4, 2, 3])
    scores = [
        _add_lstm(graph, network.arrays) if network.architecture == "lstm" else _add_3dcnn(graph, network.arrays)
        for network in networks
    ]
    graph.add("Mean", scores, "per_draw")
    graph.add("ReduceMean", ["per_draw"], "scores", axes=[0], keepdims=0)
    proto = helper.make_graph(
        graph.nodes,
        "bimodal",
        [
            helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["draws", 6, 112, 112, 3]),
            helper.make_tensor_value_info("sound", TensorProto.FLOAT, [6, 68]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [len(networks[0].arrays["traits.bias"])])],
        graph.constants,
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="thinslice"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and constants in the making; every value has a name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def reshape(self, value: str, shape: Sequence[int], output: str) -> str:
        return self.add("Reshape", [value, self.constant(f"{output}.shape", np.array(shape, np.int64))], output)

    def linear(self, prefix: str, value: str, arrays: Mapping[str, np.ndarray], layer: str) -> str:
        """Multiply the last dimension by a layer's weight and add its bias."""
        name = f"{prefix}.{layer}"
        weight = self.constant(f"{name}.weight", arrays[f"{layer}.weight"].T)
        bias = self.constant(f"{name}.bias", arrays[f"{layer}.bias"])
        self.add("MatMul", [value, weight], f"{name}.product")
        return self.add("Add", [f"{name}.product", bias], name)

    def convolve(self, name: str, value: str, weight: np.ndarray, bias: np.ndarray) -> str:
        parts = [value, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.add("Conv", parts, name, kernel_shape=list(weight.shape[2:]))

    def rectify_and_pool(self, value: str) -> str:
        self.add("Relu", [value], f"{value}.relu")
        return self.add("MaxPool", [f"{value}.relu"], f"{value}.pool", kernel_shape=[2, 2], strides=[2, 2])


def _add_lstm(graph: _Graph, arrays: Mapping[str, np.ndarray]) -> str:
    """Add the LSTM network; return the name of its scores (draws, 5)."""
    value = graph.reshape("faces", (-1, 3, 112, 112), "lstm.faces")
    for layer in ("conv1", "conv2", "conv3"):
        value = graph.convolve(f"lstm.{layer}", value, arrays[f"{layer}.weight"], arrays[f"{layer}.bias"])
        value = graph.rectify_and_pool(value)
    value = graph.reshape(value, (-1, 6, 1024), "lstm.flat")
    value = graph.linear("lstm", value, arrays, "picture")
    seen = graph.add("Relu", [value], "lstm.seen")

    heard = graph.linear("lstm", "sound", arrays, "sound")
    # The sound is the same in every draw: (6, 32) -> (draws, 6, 32).
    graph.add("Shape", [seen], "lstm.draws", start=0, end=1)
    graph.constant("lstm.sound_shape", np.array([6, 32], np.int64))
    graph.add("Concat", ["lstm.draws", "lstm.sound_shape"], "lstm.expanded", axis=0)
    graph.add("Expand", [heard, "lstm.expanded"], "lstm.heard")
    graph.add("Concat", ["lstm.heard", seen], "lstm.joined", axis=2)
    graph.add("Transpose", ["lstm.joined"], "lstm.steps", perm=[1, 0, 2])

    # The file's columns are input, forget, output gate, candidate; ONNX wants input, output, forget, candidate.
    enter, forget, leave, candidate = np.split(arrays["lstm.weight"], 4, axis=1)
    weight = np.concatenate([enter, leave, forget, candidate], axis=1).T
    enter, forget, leave, candidate = np.split(arrays["lstm.bias"], 4)
    bias = np.concatenate([enter, leave, forget, candidate, np.zeros(512, np.float32)])
    parts = [
        graph.constant("lstm.input_weight", weight[None, :, :160]),
        graph.constant("lstm.hidden_weight", weight[None, :, 160:]),
        graph.constant("lstm.gate_bias", bias[None]),
    ]
    # (6, 1, draws, 128): ONNX has a dimension for the two directions.
    graph.add("LSTM", ["lstm.steps", *parts], "lstm.states", hidden_size=128)
    value = graph.reshape("lstm.states", (6, -1, 128), "lstm.hidden")
    value = graph.linear("lstm", value, arrays, "traits")
    graph.add("Sigmoid", [value], "lstm.step_scores")
    return graph.add("ReduceMean", ["lstm.step_scores"], "lstm.scores", axes=[0], keepdims=0)


def _add_3dcnn(graph: _Graph, arrays: Mapping[str, np.ndarray]) -> str:
    """Add the 3-D network; return the name of its scores (draws, 5)."""
    # Four windows of three frames, frame by frame in the channels: 4 x (draws, 9, 112, 112), then in the batch.
    windows = []
    for first in range(4):
        ends = [graph.constant(f"3dcnn.window{first}.{end}", np.array([first + add], np.int64)) for end, add in _WINDOW]
        graph.add(
            "Slice",
            ["faces", *ends, graph.constant(f"3dcnn.window{first}.axis", np.array([1], np.int64))],
            f"3d.{first}",
        )
        windows.append(graph.reshape(f"3d.{first}", (-1, 9, 112, 112), f"3dcnn.window{first}"))
    graph.add("Concat", windows, "3dcnn.windows", axis=0)
    value = graph.convolve("3dcnn.conv1", "3dcnn.windows", _stack(arrays["conv1.weight"]), arrays["conv1.bias"])
    value = graph.rectify_and_pool(value)
    # Pool the windows 0 and 1, and 2 and 3: (4 draws, 16, 54, 54) -> (2, draws, 16, 54, 54).
    value = graph.reshape(value, (2, 2, -1, 16, 54, 54), "3dcnn.pairs")
    value = graph.add("ReduceMax", [value], "3dcnn.pooled", axes=[1], keepdims=0)
    value = graph.add("Transpose", [value], "3dcnn.by_draw", perm=[1, 0, 2, 3, 4])
    value = graph.reshape(value, (-1, 32, 54, 54), "3dcnn.stacked")
    value = graph.convolve("3dcnn.conv2", value, _stack(arrays["conv2.weight"]), arrays["conv2.bias"])
    value = graph.rectify_and_pool(value)
    value = graph.convolve("3dcnn.conv3", value, _stack(arrays["conv3.weight"]), arrays["conv3.bias"])
    seen = graph.reshape(value, (-1, 441), "3dcnn.seen")

    flat = graph.reshape("sound", (1, 408), "3dcnn.sound_row")
    value = graph.linear("3dcnn", flat, arrays, "sound")
    graph.add("Relu", [value], "3dcnn.heard_once")
    graph.add("Shape", [seen], "3dcnn.draws", start=0, end=1)
    graph.constant("3dcnn.sound_shape", np.array([100], np.int64))
    graph.add("Concat", ["3dcnn.draws", "3dcnn.sound_shape"], "3dcnn.expanded", axis=0)
    graph.add("Expand", ["3dcnn.heard_once", "3dcnn.expanded"], "3dcnn.heard")
    value = graph.add("Concat", ["3dcnn.heard", seen], "3dcnn.joined", axis=1)
    value = graph.linear("3dcnn", value, arrays, "joint")
    graph.add("Relu", [value], "3dcnn.fused")
    value = graph.linear("3dcnn", "3dcnn.fused", arrays, "traits")
    return graph.add("Sigmoid", [value], "3dcnn.scores")


_WINDOW = (("start", 0), ("end", 3))


def _stack(weight: np.ndarray) -> np.ndarray:
    """Turn a 3-D kernel (out, in, time, rows, columns) into (out, time * in, rows, columns)."""
    out, channels, time, rows, columns = weight.shape
    return weight.transpose(0, 2, 1, 3, 4).reshape(out, time * channels, rows, columns)
