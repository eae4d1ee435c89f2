"""SphereFace-20, the face network that PersEmoN starts from: its layers, and its public weights, read and checked.

Source: Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017; the authors' definition
``train/code/sphereface_deploy.prototxt`` (github.com/wy1iu/sphereface), whose layer names are the names here. PersEmoN
(Zhang et al.), Table 1, rows FEM: "truncated", that is without the layer that tells identities (``fc6``).

Faces are 112 x 96, aligned to the five points of `thinslice.features.face_align` ("sphereface_112x96"), channels in the
order blue, green, red, as Caffe reads pictures, values (x - 127.5) / 128.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from thinslice.errors import UsageError, reason_of
from thinslice.formats.caffemodel import read_caffemodel

HEIGHT: Final = 112
WIDTH: Final = 96
WIDTHS: Final = (64, 128, 256, 512)
"""Channels of the four groups of layers."""

UNITS: Final = (1, 2, 4, 1)
"""Residual units, of two layers each, of the four groups; before them stands a layer of stride 2."""

NUM_FEATURES: Final = 512
CLASSIFIER: Final = "fc6"
"""The layer over identities, in the public files, that nobody needs here."""

_MAX_BYTES: Final = 2_000_000_000


class SphereFace(nn.Module):
    """The network up to ``fc5``; at the paper's size 22,670,656 parameters.

    A residual unit is x + relu(conv(relu(conv(x)))): the last PReLU stands before the addition, and none after it.

    Args:
        widths: channels of each group.
        units: residual units of each group.
        num_features: outputs of ``fc5``.
        height: of the faces, pixels.
        width: of the faces, pixels.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = WIDTHS,
        units: tuple[int, ...] = UNITS,
        num_features: int = NUM_FEATURES,
        height: int = HEIGHT,
        width: int = WIDTH,
    ) -> None:
        super().__init__()
        self.units = units
        channels = 3
        for group, (out, count) in enumerate(zip(widths, units, strict=True), 1):
            for layer in range(1, 2 + 2 * count):
                stride = 2 if layer == 1 else 1
                self.add_module(f"conv{group}_{layer}", nn.Conv2d(channels, out, 3, stride, 1))
                self.add_module(f"relu{group}_{layer}", nn.PReLU(out))
                channels = out
            height, width = (height + 1) // 2, (width + 1) // 2
        self.fc5 = nn.Linear(channels * height * width, num_features)
        _initialise(self)

    def groups(self, faces: Tensor) -> Iterator[Tensor]:
        """Yield the maps after each group, (n, widths[i], height / 2^(i + 1), width / 2^(i + 1))."""
        x = faces
        for group, count in enumerate(self.units, 1):
            x = self._layer(f"{group}_1", x)
            for unit in range(count):
                x = x + self._layer(f"{group}_{2 * unit + 3}", self._layer(f"{group}_{2 * unit + 2}", x))
            yield x

    def forward(self, faces: Tensor) -> Tensor:
        """Return features (n, num_features) of faces (n, 3, height, width), as the module describes them."""
        *_, x = self.groups(faces)
        features: Tensor = self.fc5(x.flatten(1))
        return features

    def _layer(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(f"relu{name}")(self.get_submodule(f"conv{name}")(x))
        return out


def _initialise(model: SphereFace) -> None:
    """Draw weights as the authors' definition does: "xavier" where a layer strides and in fc5, else N(0, 0.01²)."""
    for name, module in model.named_children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if name.endswith("_1") or name == "fc5":
                bound = (3 / module.weight[0].numel()) ** 0.5
                nn.init.uniform_(module.weight, -bound, bound)
            else:
                nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def parameter_names(units: tuple[int, ...], residual_biases: bool) -> tuple[str, ...]:
    """Return the names of the network's parameters, those of residual layers' biases if asked for.

    The authors' definition gives these biases no rate: they stay what they are, zero in their public file.

    Args:
        units: residual units of each group.
        residual_biases: whether the biases of residual layers are among them.
    """
    names = []
    for group, count in enumerate(units, 1):
        for layer in range(1, 2 + 2 * count):
            names.append(f"conv{group}_{layer}.weight")
            names += [f"conv{group}_{layer}.bias"] if layer == 1 or residual_biases else []
            names.append(f"relu{group}_{layer}.weight")
    return (*names, "fc5.weight", "fc5.bias")


def faces_to_tensor(faces: Tensor) -> Tensor:
    """Return RGB faces (n, height, width, 3) in [0, 255] as `SphereFace` takes them: (n, 3, height, width)."""
    red, green, blue = faces.float().unbind(-1)
    return (torch.stack([blue, green, red], 1) - 127.5) / 128


def load_sphereface(model: SphereFace, path: str | Path) -> None:
    """Put a public file's weights into a network.

    Two kinds are read: Caffe's ``.caffemodel`` (the authors'), and a PyTorch state dict with the same layer names
    (``conv1_1.weight``, ``conv1_1.bias``, ``relu1_1.weight``, ..., ``fc5.bias``). Every layer must be there in its
    shape, and nothing else but the classifier ``fc6``. A Caffe layer without biases gets zeros: the authors keep
    the residual layers' biases at zero.

    Args:
        model: of the paper's size for the public files.
        path: the file. No code in it is run.

    Raises:
        UsageError: the file is absent, damaged, or of another network; the message names what does not fit.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{file}: no such file; give SphereFace-20's weights, a .caffemodel or a PyTorch state dict")
    if file.stat().st_size > _MAX_BYTES:
        raise UsageError(f"{file}: larger than any file of SphereFace-20's weights")
    arrays = _from_caffe(file) if file.suffix.lower() == ".caffemodel" else _from_torch(file)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(_checked(arrays, shapes, file))


def _from_torch(file: Path) -> dict[str, Tensor]:
    try:
        loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files and for pickles that hold more than weights
        line = reason_of(error)[:200]
        raise UsageError(f"{file}: is no PyTorch state dict ({line})") from None
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UsageError(f"{file}: holds no table of weights by name")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def _from_caffe(file: Path) -> dict[str, Tensor]:
    named = {}
    for layer, blobs in read_caffemodel(file).items():
        for suffix, blob in zip(("weight", "bias"), blobs, strict=False):
            named[f"{layer}.{suffix}"] = torch.from_numpy(blob.copy())
        if len(blobs) == 1 and layer.startswith("conv"):
            named[f"{layer}.bias"] = torch.zeros(blobs[0].shape[0])
        if len(blobs) > 2:
            raise UsageError(f"{file}: layer {layer} has {len(blobs)} arrays of weights; SphereFace-20 has 2 at most")
    return named


def _checked(found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], file: Path) -> dict[str, Tensor]:
    """Return the weights in the network's shapes; UsageError at the first thing that does not fit."""
    weights = {name: value for name, value in found.items() if name.partition(".")[0] != CLASSIFIER}
    missing = [name for name in expected if name not in weights]
    unknown = [name for name in weights if name not in expected]
    if missing or unknown:
        what = [f"without {', '.join(missing[:3])}"] if missing else []
        what += [f"with {', '.join(unknown[:3])}"] if unknown else []
        raise UsageError(f"{file}: does not hold this network: {' and '.join(what)}")
    out = {}
    for name, shape in expected.items():
        value = weights[name]
        # Old Caffe files have four axes everywhere: (1, 1, 512, 21504) for a matrix.
        if tuple(size for size in value.shape if size != 1) != tuple(size for size in shape if size != 1):
            raise UsageError(f"{file}: {name} has shape {tuple(value.shape)}, and {shape} is needed")
        value = value.reshape(shape).float()
        if not torch.isfinite(value).all():
            raise UsageError(f"{file}: {name} holds values that are no numbers; the file is damaged")
        out[name] = value
    return out
