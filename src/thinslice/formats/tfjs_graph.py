"""Reading TensorFlow.js graph models: their weights, and the whole graph as ONNX.

Covers what the small face networks of ``@vladmandic/human`` need: convolutions with their fused biases and
activations, pooling, padding, sums, reshapes, means and dense layers.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.errors import AssetError


def read_weights(model_json: Path) -> dict[str, np.ndarray]:
    """Return the weights of a graph model by name, in the types they are stored in (float16 stays float16).

    Args:
        model_json: the model's ``.json``; the ``.bin`` files that it names lie beside it.

    Raises:
        AssetError: a file is missing or too short, or a weight is quantised to integers.
    """
    document = _read(model_json)
    weights: dict[str, np.ndarray] = {}
    for group in document["weightsManifest"]:
        try:
            data = b"".join((model_json.parent / path).read_bytes() for path in group["paths"])
        except OSError as error:
            raise AssetError(f"{error.filename}: cannot be read ({error.strerror})") from None
        offset = 0
        for entry in group["weights"]:
            stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
            if stored not in {"float32", "float16", "int32"}:
                raise AssetError(
                    f"{model_json}: weight {entry['name']} is stored as {stored}; float and int32 are read"
                )
            dtype = np.dtype(stored).newbyteorder("<")
            count = int(np.prod(entry["shape"], dtype=np.int64))
            if offset + count * dtype.itemsize > len(data):
                raise AssetError(f"{model_json}: its weight files are too short; get them again")
            weights[entry["name"]] = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
            offset += count * dtype.itemsize
    return weights


def convert_graph(model_json: Path, outputs: Mapping[str, str]) -> Any:
    """Return a graph model as an ONNX model.

    Pictures go in as float32 (n, channels, height, width). What comes out of convolutions has that order too; what is
    reshaped keeps TensorFlow's order of values.

    Args:
        model_json: the model's ``.json``.
        outputs: name of a node -> name of the ONNX output that gives it.

    Returns:
        An `onnx.ModelProto` whose float16 weights stay float16 in the file.

    Raises:
        AssetError: as `read_weights`, or the graph has an operation that is not known here.
    """
    return _Converter(_read(model_json), read_weights(model_json), model_json.name).convert(outputs)


def _read(model_json: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(model_json.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssetError(f"{model_json}: not a TensorFlow.js model ({error})") from None
    if document.get("format") != "graph-model":
        raise AssetError(f"{model_json}: not a TensorFlow.js graph model")
    return document


class _Converter:
    """Builds the nodes one by one; a tensor keeps its TensorFlow name."""

    def __init__(self, document: Mapping[str, Any], weights: Mapping[str, np.ndarray], name: str) -> None:
        self.nodes = document["modelTopology"]["node"]
        self.weights = weights
        self.name = name
        self.built: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def convert(self, outputs: Mapping[str, str]) -> Any:
        from onnx import TensorProto, helper, shape_inference

        inputs = []
        for node in self.nodes:
            if node["op"] == "Placeholder":
                _, height, width, channels = (int(d["size"]) for d in node["attr"]["shape"]["shape"]["dim"])
                shape: list[str | int | None] = ["n", channels, height, width]
                inputs.append(helper.make_tensor_value_info(node["name"], TensorProto.FLOAT, shape))
            elif node["op"] != "Const":
                self._add(node)
        for name, renamed in outputs.items():
            self._node("Identity", [name], renamed)
        graph = helper.make_graph(
            self.built,
            self.name,
            inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs.values()],
            list(self.initializers.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return shape_inference.infer_shapes(_without_dead_ends(model))

    def _add(self, node: Mapping[str, Any]) -> None:
        simple = {"Relu": "Relu", "Sigmoid": "Sigmoid", "Identity": "Identity"}
        pairs = {"Add": "Add", "AddV2": "Add", "Mul": "Mul", "Minimum": "Min", "Maximum": "Max"}
        others: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "Conv2D": self._convolution,
            "_FusedConv2D": self._convolution,
            "DepthwiseConv2dNative": self._convolution,
            "_FusedMatMul": self._dense,
            "MaxPool": self._pool,
            "Pad": self._pad,
            "Reshape": self._reshape,
            "Mean": self._mean,
            "Prelu": self._prelu,
            "Softmax": self._softmax,
        }
        operation = node["op"]
        if operation in simple:
            self._node(simple[operation], node["input"][:1], node["name"])
        elif operation in pairs:
            left, right = (self._channels(name) for name in node["input"])
            self._node(pairs[operation], [left, right], node["name"])
        elif operation in others:
            others[operation](node)
        else:
            raise AssetError(f"{self.name}: operation {operation} is not known here")

    def _node(self, operation: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.built.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def _constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant; float16 is stored as it is and cast when the model is loaded."""
        from onnx import TensorProto, numpy_helper

        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
            if value.dtype == np.float16:
                self._node("Cast", [name], f"{name}:float", to=TensorProto.FLOAT)
        return f"{name}:float" if value.dtype == np.float16 else name

    def _channels(self, name: str) -> str:
        """Return a tensor as it is; a constant of one value per channel so that it fits (n, channels, h, w)."""
        if name not in self.weights:
            return name
        value = self.weights[name]
        return self._constant(f"{name}:channels", value.reshape(-1, 1, 1) if value.ndim else value)

    def _convolution(self, node: Mapping[str, Any]) -> None:
        names = node["input"]
        kernel = self.weights[names[1]]
        depthwise = node["op"] == "DepthwiseConv2dNative"
        height, width, channels, count = kernel.shape
        if depthwise:
            turned = kernel.transpose(2, 3, 0, 1).reshape(channels * count, 1, height, width)
        else:
            turned = kernel.transpose(3, 2, 0, 1)
        inputs = [names[0], self._constant(f"{names[1]}:turned", turned)]
        fused = [_text(item) for item in node["attr"].get("fused_ops", {}).get("list", {}).get("s", [])]
        if "BiasAdd" in fused:
            inputs.append(self._constant(names[2], self.weights[names[2]]))
        activation = next((item for item in fused if item != "BiasAdd"), None)
        raw = node["name"] if activation is None else f"{node['name']}:raw"
        self._node(
            "Conv",
            inputs,
            raw,
            kernel_shape=[height, width],
            strides=_sizes(node, "strides"),
            dilations=_sizes(node, "dilations"),
            group=channels if depthwise else 1,
            auto_pad=_padding(node),
        )
        if activation == "Prelu":
            self._node("PRelu", [raw, self._slope(names[3])], node["name"])
        elif activation == "Relu":
            self._node("Relu", [raw], node["name"])
        elif activation == "Relu6":
            low, high = (self._constant(f"limit{v}", np.array(v, np.float32)) for v in (0, 6))
            self._node("Clip", [raw, low, high], node["name"])
        elif activation is not None:
            raise AssetError(f"{self.name}: activation {activation} is not known here")

    def _slope(self, name: str) -> str:
        return self._constant(f"{name}:slope", self.weights[name].reshape(-1, 1, 1))

    def _prelu(self, node: Mapping[str, Any]) -> None:
        self._node("PRelu", [node["input"][0], self._slope(node["input"][1])], node["name"])

    def _dense(self, node: Mapping[str, Any]) -> None:
        fused = [_text(item) for item in node["attr"]["fused_ops"]["list"]["s"]]
        raw = node["name"] if fused == ["BiasAdd"] else f"{node['name']}:raw"
        parts = [self._constant(name, self.weights[name]) for name in node["input"][1:3]]
        self._node("Gemm", [node["input"][0], *parts], raw)
        if fused == ["BiasAdd", "Relu"]:
            self._node("Relu", [raw], node["name"])
        elif fused != ["BiasAdd"]:
            raise AssetError(f"{self.name}: a dense layer with {', '.join(fused)} is not known here")

    def _pool(self, node: Mapping[str, Any]) -> None:
        self._node(
            "MaxPool",
            node["input"][:1],
            node["name"],
            kernel_shape=_sizes(node, "ksize"),
            strides=_sizes(node, "strides"),
            auto_pad=_padding(node),
        )

    def _pad(self, node: Mapping[str, Any]) -> None:
        pads = self.weights[node["input"][1]].astype(np.int64)[[0, 3, 1, 2]]
        self._node("Pad", [node["input"][0], self._constant(f"{node['name']}:pads", pads.T.ravel())], node["name"])

    def _reshape(self, node: Mapping[str, Any]) -> None:
        turned = self._node("Transpose", node["input"][:1], f"{node['name']}:turned", perm=[0, 2, 3, 1])
        shape = self.weights[node["input"][1]].astype(np.int64).copy()
        shape[0] = 0  # The batch's size.
        self._node("Reshape", [turned, self._constant(f"{node['name']}:shape", shape)], node["name"])

    def _mean(self, node: Mapping[str, Any]) -> None:
        axes = [{0: 0, 1: 2, 2: 3, 3: 1}[int(axis)] for axis in self.weights[node["input"][1]].ravel()]
        keep = int(node["attr"].get("keep_dims", {}).get("b", False))
        self._node("ReduceMean", node["input"][:1], node["name"], axes=axes, keepdims=keep)

    def _softmax(self, node: Mapping[str, Any]) -> None:
        self._node("Softmax", node["input"][:1], node["name"], axis=-1)


def _without_dead_ends(model: Any) -> Any:
    """Drop nodes and weights that no output needs."""
    wanted = {output.name for output in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    weights = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    return model


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode("ascii")


def _padding(node: Mapping[str, Any]) -> str:
    return {"SAME": "SAME_UPPER", "VALID": "VALID"}[_text(node["attr"]["padding"]["s"])]


def _sizes(node: Mapping[str, Any], key: str) -> list[int]:
    values = node["attr"].get(key, {}).get("list", {}).get("i", [1, 1, 1, 1])
    return [int(value) for value in values[1:3]]
