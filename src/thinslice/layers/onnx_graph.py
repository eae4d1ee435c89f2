"""ONNX graphs: written node by node where lengths are free, or traced by torch.

Nodes are written with onnx's own helpers and not with onnxscript: a graph here is made of a network's layers in Python
loops, which onnxscript would only wrap, and the extra ``video`` makes bundles of foreign weights without it.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from thinslice.errors import MissingExtraError

OPSET: Final = 18
IR_VERSION: Final = 9


def require_onnx() -> Any:
    """Return the package onnx; MissingExtraError if it is not installed."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("export", "train") from None
    return onnx


@dataclass
class GraphWriter:
    """Collects nodes and constants; values are known by their names.

    Attributes:
        prefix: beginning of all names made here.
        nodes: in the order of computation.
        constants: initialisers.
    """

    prefix: str = "v"
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, array: Any) -> str:
        """Return the name of a constant."""
        from onnx import numpy_helper

        name = f"{self.prefix}c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, tensor: Tensor) -> str:
        """Return the name of a parameter's value."""
        return self.constant(tensor.detach().cpu().float().numpy())

    def add(self, op: str, *inputs: str, result: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its result."""
        from onnx import helper

        name = result or f"{self.prefix}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def over_first_axis(self, source: str, body: "GraphWriter", entry: Any, last: str) -> str:
        """Run a graph on every entry of an array, one after the other: memory does not grow with their number.

        Args:
            source: array (n, ...).
            body: the graph; its constants become this one's.
            entry: its input, an ONNX value without the first axis.
            last: its result.
        """
        from onnx import TensorProto, helper

        out = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
        graph = helper.make_graph(body.nodes, f"{body.prefix}body", [entry], [out])
        self.constants += body.constants
        return self.add("Scan", source, body=graph, num_scan_inputs=1)

    def model(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """Return the checked model."""
        from onnx import checker, helper

        graph = helper.make_graph(self.nodes, "thinslice", list(inputs), list(outputs), initializer=self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        checker.check_model(model)
        return model


def fold_norm(convolution: nn.Conv1d | nn.Conv2d, norm: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias, float32, of a convolution with the batch normalisation after it, as in evaluation."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():  # In double precision: the folded weights are rounded once.
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = convolution.weight.double() * scale.reshape(-1, *[1] * (convolution.weight.ndim - 1))
        bias = norm.bias.double() - norm.running_mean.double() * scale
        if convolution.bias is not None:
            bias = bias + convolution.bias.double() * scale
    return weight.float().cpu().numpy(), bias.float().cpu().numpy()


def trace(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    dynamic: Mapping[str, Sequence[int]],
    outputs: Sequence[str] = ("scores",),
) -> Any:
    """Return a module in evaluation mode as an ONNX model, traced by torch.

    torch makes constants of lengths that it cannot follow, such as an LSTM's; it then raises.

    Args:
        module: takes the inputs by position, in their order.
        inputs: input name -> example; on a dynamic axis of 2 or more, since torch takes a 1 for a constant.
        dynamic: input name -> axes whose length may differ.
        outputs: names of what it returns.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
    """
    require_onnx()
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingExtraError("export", "train") from None
    # Named dimensions would have to hold for every length; torch cannot prove that of strided convolutions.
    shapes = tuple(dict.fromkeys(dynamic.get(name, ()), torch.export.Dim.DYNAMIC) for name in inputs)
    was_training = {part: part.training for part in module.modules()}
    module.eval()
    # torch narrates the export at length; what matters is raised.
    narrator = logging.getLogger("torch.onnx")
    level = narrator.level
    narrator.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            traced = torch.export.export(module, tuple(inputs.values()), dynamic_shapes=shapes)
            program = torch.onnx.export(
                traced,
                input_names=list(inputs),
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        narrator.setLevel(level)
        for part, training in was_training.items():
            part.training = training
    assert program is not None
    return program.model_proto
