"""A trained CR-Net, with its trees, as one ONNX graph that predict runs without PyTorch."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from thinslice.layers.onnx_graph import GraphWriter, require_onnx, trace
from thinslice.systems.cr_net.network import STREAM_INPUTS, CRNet
from thinslice.systems.cr_net.trees import Forest, SupportVectors

INPUTS: Final = ("frames", "faces", "waveform", "text")


class _OneClip(nn.Module):
    """Scores and features of one clip's inputs, which have no batch axis."""

    def __init__(self, network: CRNet, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(
        self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None, fourth: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        given = [entry for entry in (first, second, third, fourth) if entry is not None]
        output = self.network.fuse({name: entry[None] for name, entry in zip(self.names, given, strict=True)})
        return output.scores[0], output.features[0].flatten()


def input_names(network: CRNet) -> tuple[str, ...]:
    """Return the names of a network's inputs, in the graph's order."""
    needed = {name for stream in network.shape.streams for name in STREAM_INPUTS[stream]}
    return tuple(name for name in INPUTS if name in needed)


def build_graph(side: int, network: nn.Module, estimator: Forest | SupportVectors | None = None) -> Any:
    """Return the ONNX model of a network and, where there is one, of the estimator on its features.

    Args:
        side: of the network's pictures, pixels.
        network: the trained CR-Net.
        estimator: the third stage; None for the network's own scores.

    Returns:
        A model of one clip: "frames" uint8 (frames, side, side, 3), "faces" uint8 (frames, 1, side, side, 3),
        "waveform" and "text", float32 vectors of any length; "scores" (targets,) and "features" (targets * features,).
    """
    require_onnx()
    from onnx import TensorProto, checker, helper

    assert isinstance(network, CRNet)
    shape = network.shape
    examples = {
        "frames": torch.zeros(shape.num_frames, side, side, 3, dtype=torch.uint8),
        "faces": torch.zeros(shape.num_frames, 1, side, side, 3, dtype=torch.uint8),
        "waveform": torch.zeros(max(shape.num_samples // 2, 2)),
        "text": torch.zeros(384),
    }
    inputs = {name: examples[name] for name in input_names(network)}
    dynamic = {name: [0] for name in inputs if name in ("waveform", "text")}
    model = trace(_OneClip(network, tuple(inputs)), inputs, dynamic, ("network_scores", "features"))
    writer = GraphWriter("t")
    scores = "network_scores" if estimator is None else estimator.add_to_graph(writer, "features")
    writer.add("Identity", scores, result="scores")
    model.graph.node.extend(writer.nodes)
    model.graph.initializer.extend(writer.constants)
    features = next(entry for entry in model.graph.output if entry.name == "features")
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape.num_targets]))
    model.graph.output.append(features)
    checker.check_model(model)
    return model
