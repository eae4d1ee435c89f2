"""MTCNN's three networks on ONNX Runtime, built from their weights.

In NumPy they took two to three times as long (P-Net on 305 x 172 pixels 26 ms of processor time against 11, O-Net on
20 patches 44 ms against 20); outputs agree to 2e-6.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from thinslice.errors import MissingExtraError

OPSET: Final = 18
IR_VERSION: Final = 9

Network = Callable[[np.ndarray], tuple[np.ndarray, ...]]
"""Takes float32 (n, height, width, 3), `(value - 127.5) / 128`. Returns box shifts and face probabilities: of P-Net
(n, rows, columns, 4) and (n, rows, columns), of R-Net on 24 x 24 pixels (n, 4) and (n,); of O-Net on 48 x 48 pixels the
points too: (n, 4), (n, 10) and (n,)."""

_TRUNKS: Final[Mapping[str, tuple[str, ...]]] = {
    "pnet": ("conv1", "prelu1", "pool2", "conv2", "prelu2", "conv3", "prelu3"),
    "rnet": ("conv1", "prelu1", "pool3", "conv2", "prelu2", "pool3", "conv3", "prelu3", "flatten", "dense4", "prelu4"),
    "onet": (
        *("conv1", "prelu1", "pool3", "conv2", "prelu2", "pool3", "conv3", "prelu3", "pool2"),
        *("conv4", "prelu4", "flatten", "dense5", "prelu5"),
    ),
}
_HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    "pnet": ("conv4_2", "conv4_1"),
    "rnet": ("dense5_2", "dense5_1"),
    "onet": ("dense6_2", "dense6_3", "dense6_1"),
}
"""Box shifts, points, and last the logits of no face and face."""


def build_network(name: str, weights: Mapping[str, np.ndarray]) -> Network:
    """Return a network.

    Args:
        name: "pnet", "rnet" or "onet".
        weights: name of a parameter -> array, shaped as in torch.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # Clips are extracted side by side; one of them does not take all cores.
    model = _build_graph(_TRUNKS[name], _HEADS[name], weights).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        *others, logits = session.run(None, {"pixels": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})
        return *(np.moveaxis(other, 1, -1) for other in others), _face_probability(logits)

    return run


def _face_probability(logits: np.ndarray) -> np.ndarray:
    """Softmax over axis 1 (no face, face); its second half."""
    return 1 / (1 + np.exp(np.clip(logits[:, 0] - logits[:, 1], -80, 80)))


def _build_graph(trunk: Sequence[str], heads: Sequence[str], weights: Mapping[str, np.ndarray]) -> Any:
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise MissingExtraError("the face detector mtcnn", "video") from None
    constants, nodes = [], []

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def add(layer: str, x: str, out: str) -> None:
        """Add a layer, whose kind is the letters of its name."""
        kind = layer.rstrip("0123456789_")
        if kind == "pool":  # A window that reaches past the edge takes what is there (Caffe's way).
            size = [int(layer.removeprefix("pool"))] * 2
            nodes.append(helper.make_node("MaxPool", [x], [out], kernel_shape=size, strides=[2, 2], ceil_mode=1))
        elif kind == "flatten":  # Caffe's order here: columns, rows, channels.
            nodes.append(helper.make_node("Transpose", [x], [f"{out}_turned"], perm=[0, 3, 2, 1]))
            nodes.append(helper.make_node("Flatten", [f"{out}_turned"], [out]))
        elif kind == "prelu":
            slope = weights[f"{layer}.weight"]
            is_flat = any(name.startswith("dense") for name in trunk[: trunk.index(layer)])
            slope = slope if is_flat else slope[:, None, None]
            nodes.append(helper.make_node("PRelu", [x, constant(f"{layer}.weight", slope)], [out]))
        else:
            inputs = [x, *(constant(f"{layer}.{part}", weights[f"{layer}.{part}"]) for part in ("weight", "bias"))]
            if kind == "conv":
                nodes.append(helper.make_node("Conv", inputs, [out]))
            else:
                nodes.append(helper.make_node("Gemm", inputs, [out], transB=1))

    x = "pixels"
    for index, layer in enumerate(trunk):
        add(layer, x, f"x{index}")
        x = f"x{index}"
    for head in heads:
        add(head, x, head)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, "height", "width"])
    outputs = [helper.make_tensor_value_info(head, TensorProto.FLOAT, None) for head in heads]
    graph = helper.make_graph(nodes, "mtcnn", [pixels], outputs, initializer=constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
