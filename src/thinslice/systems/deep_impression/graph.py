"""Deep Impression's three models as one ONNX graph each, for clips of any length.

The graph takes ``waveform``, float32 (samples,), and ``frames``, uint8 (frames, height, width, 3), and returns
``scores``, float32 (5,). Frames go through the visual stream one at a time, so that memory does not grow with them.
Batch normalisation is folded into the convolutions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from thinslice.layers.blocks import ResidualBlock, ResidualStream
from thinslice.layers.onnx_graph import GraphWriter, fold_norm, require_onnx
from thinslice.systems.deep_impression.network import RATE_HZ, DeepImpression, FiveNetworks, RecurrentImpression


def build_deep_impression_graph(
    model: DeepImpression | FiveNetworks | RecurrentImpression, height: int, width: int
) -> Any:
    """Return the ONNX model of a trained network for frames of one size.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    require_onnx()
    from onnx import TensorProto, helper

    graph = GraphWriter()
    networks = _networks(model)
    inputs, waveform, activations = [], None, None
    if networks[0].sound is not None:
        waveform = "waveform"
        inputs.append(helper.make_tensor_value_info(waveform, TensorProto.FLOAT, ["samples"]))
    if networks[0].pictures is not None:
        inputs.append(helper.make_tensor_value_info("frames", TensorProto.UINT8, ["frames", height, width, 3]))
        entry = helper.make_tensor_value_info("frame", TensorProto.UINT8, [height, width, 3])
        body = GraphWriter("frame_")
        last = _frame(body, "frame", networks)
        activations = graph.over_first_axis("frames", body, entry, last)
    if isinstance(model, RecurrentImpression):
        assert waveform is not None
        assert activations is not None
        features = _seconds(graph, model, waveform, activations)
        scores = _recurrent_layers(graph, model, features)
    else:
        scores = _heads(graph, networks, waveform, activations)
    graph.add("Identity", scores, result="scores")
    count = sum(network.head.out_features for network in networks)
    return graph.model(inputs, [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [count])])


def _networks(model: DeepImpression | FiveNetworks | RecurrentImpression) -> Sequence[DeepImpression]:
    if isinstance(model, FiveNetworks):
        return [network for network in model.single if isinstance(network, DeepImpression)]
    return [model.network if isinstance(model, RecurrentImpression) else model]


def _convolve(graph: GraphWriter, x: str, convolution: nn.Module, norm: nn.Module, relu: bool = True) -> str:
    assert isinstance(convolution, nn.Conv1d | nn.Conv2d)
    weight, bias = fold_norm(convolution, norm)
    padding = [int(p) for p in convolution.padding]
    out = graph.add(
        "Conv",
        x,
        graph.constant(weight),
        graph.constant(bias),
        strides=list(convolution.stride),
        pads=padding * 2,
    )
    return graph.add("Relu", out) if relu else out


def _stream(graph: GraphWriter, x: str, stream: ResidualStream) -> str:
    """Add a stream: (batch, channels, ...) -> pooled activations (batch, width)."""
    pool = stream.pool
    assert isinstance(pool, nn.MaxPool1d | nn.MaxPool2d)
    num_dimensions = 1 if isinstance(pool, nn.MaxPool1d) else 2
    x = _convolve(graph, x, stream.conv, stream.norm)
    x = graph.add(
        "MaxPool",
        x,
        kernel_shape=[pool.kernel_size] * num_dimensions,
        strides=[pool.stride] * num_dimensions,
        pads=[pool.padding] * 2 * num_dimensions,
        ceil_mode=int(pool.ceil_mode),
    )
    for block in stream.blocks:
        assert isinstance(block, ResidualBlock)
        shortcut = x
        if block.conv_shortcut is not None and block.norm_shortcut is not None:
            shortcut = _convolve(graph, x, block.conv_shortcut, block.norm_shortcut, relu=False)
        x = _convolve(graph, x, block.conv_a, block.norm_a)
        x = _convolve(graph, x, block.conv_b, block.norm_b, relu=False)
        x = graph.add("Relu", graph.add("Add", x, shortcut))
    axes = graph.constant(np.arange(2, 2 + num_dimensions))
    return graph.add("ReduceMean", x, axes, keepdims=0)


def _frame(graph: GraphWriter, frame: str, networks: Sequence[DeepImpression]) -> str:
    """Add the visual streams of all networks on one frame (height, width, 3): activations (networks * width,)."""
    x = graph.add("Cast", frame, to=1)
    x = graph.add("Transpose", x, perm=[2, 0, 1])
    x = graph.add("Unsqueeze", x, graph.constant(np.array([0])))
    parts = [_stream(graph, x, network.pictures) for network in networks if network.pictures is not None]
    joined = graph.add("Concat", *parts, axis=1)
    return graph.add("Squeeze", joined, graph.constant(np.array([0])))


def _heads(
    graph: GraphWriter, networks: Sequence[DeepImpression], waveform: str | None, activations: str | None
) -> str:
    """Add all that comes after the visual streams; return the scores (outputs,)."""
    pooled: list[str] = []
    if activations is not None:
        mean = graph.add("ReduceMean", activations, graph.constant(np.array([0])), keepdims=1)
        width = networks[0].num_features // (1 + (waveform is not None))
        for index in range(len(networks)):
            bounds = (graph.constant(np.array([i * width])) for i in (index, index + 1))
            pooled.append(graph.add("Slice", mean, *bounds, graph.constant(np.array([1]))))
    scores = []
    for index, network in enumerate(networks):
        parts = []
        if network.sound is not None and waveform is not None:
            x = graph.add("Unsqueeze", waveform, graph.constant(np.array([0, 1])))
            parts.append(_stream(graph, x, network.sound))
        parts += pooled[index : index + 1]
        joined = graph.add("Concat", *parts, axis=1)
        x = graph.add("Gemm", joined, graph.weight(network.head.weight), graph.weight(network.head.bias), transB=1)
        one, half = (graph.constant(np.array(value, np.float32)) for value in (1, 0.5))
        scores.append(graph.add("Mul", graph.add("Add", graph.add("Tanh", x), one), half))
    return graph.add("Squeeze", graph.add("Concat", *scores, axis=1), graph.constant(np.array([0])))


def _seconds(graph: GraphWriter, model: RecurrentImpression, waveform: str, activations: str) -> str:
    """Add what `RecurrentImpression.join_seconds` does: features (seconds, features)."""
    assert model.network.sound is not None
    rate = graph.constant(np.array([RATE_HZ]))
    first, last = graph.constant(np.array([0])), graph.constant(np.array([1]))
    length = graph.add("Shape", waveform)
    num_seconds = graph.add("Div", length, rate)
    whole = graph.add("Slice", waveform, first, graph.add("Mul", num_seconds, rate), first)
    shaped = graph.add("Reshape", whole, graph.constant(np.array([-1, 1, RATE_HZ])))
    sound = _stream(graph, shaped, model.network.sound)

    def count_up(number: str) -> str:
        start, step = graph.constant(np.array(0, np.int64)), graph.constant(np.array(1, np.int64))
        return graph.add("Cast", graph.add("Range", start, graph.add("Squeeze", number, first), step), to=1)

    half = graph.constant(np.array(0.5, np.float32))
    num_frames = graph.add("Shape", activations, start=0, end=1)
    duration = graph.add("Div", graph.add("Cast", length, to=1), graph.constant(np.array([RATE_HZ], np.float32)))
    times = graph.add("Mul", graph.add("Add", count_up(num_frames), half), duration)
    times = graph.add("Div", times, graph.add("Cast", num_frames, to=1))
    times = graph.add("Unsqueeze", times, first)
    seconds = graph.add("Unsqueeze", count_up(num_seconds), last)
    inside = graph.add("Cast", graph.add("Equal", graph.add("Floor", times), seconds), to=1)
    away = graph.add("Abs", graph.add("Sub", graph.add("Sub", times, seconds), half))
    nearest = graph.add("ArgMin", away, axis=1, keepdims=1)
    places = graph.add("Unsqueeze", count_up(num_frames), first)
    nearest = graph.add("Cast", graph.add("Equal", places, graph.add("Cast", nearest, to=1)), to=1)
    empty = graph.add(
        "Equal", graph.add("ReduceMax", inside, last, keepdims=1), graph.constant(np.zeros(1, np.float32))
    )
    shares = graph.add("Where", empty, nearest, inside)
    total = graph.add("ReduceSum", shares, last, keepdims=1)
    pictures = graph.add("Div", graph.add("MatMul", shares, activations), total)
    return graph.add("Concat", sound, pictures, axis=1)


def _recurrent_layers(graph: GraphWriter, model: RecurrentImpression, features: str) -> str:
    """Add the LSTM and the linear layer on features (seconds, features): scores (5,), the mean over seconds."""

    def gates(name: str) -> np.ndarray:
        enter, forget, candidate, leave = np.split(getattr(model.lstm, name).detach().cpu().numpy(), 4)
        return np.concatenate([enter, leave, forget, candidate])[None]  # ONNX has the gates in this order.

    batch = graph.constant(np.array([1]))
    x = graph.add("Unsqueeze", features, batch)
    for layer in range(model.lstm.num_layers):
        bias = np.concatenate([gates(f"bias_ih_l{layer}"), gates(f"bias_hh_l{layer}")], 1)
        weights = [graph.constant(gates(f"weight_{kind}_l{layer}")) for kind in ("ih", "hh")]
        x = graph.add("LSTM", x, *weights, graph.constant(bias), hidden_size=model.lstm.hidden_size)
        x = graph.add("Squeeze", x, batch)
    x = graph.add("Squeeze", x, batch)
    x = graph.add("Gemm", x, graph.weight(model.linear.weight), graph.weight(model.linear.bias), transB=1)
    return graph.add("ReduceMean", x, graph.constant(np.array([0])), keepdims=0)
