"""The trained weights of both bimodal networks, read from the authors' Torch7 files into NumPy arrays.

The layers are found by walking the modules in the order in which the authors built them and checked one by one
against the published architecture (class, kernel, stride, padding, size), so a file of anything else is refused
and no weight is left over. Names are those of `thinslice.systems.bimodal.network`'s state dicts.

Source: Subramaniam et al., "Bi-modal First Impressions Recognition using Temporally Ordered Deep Audio and
Stochastic Visual Features", ECCV 2016 workshops; https://github.com/InnovArul/first-impressions (Apache-2.0),
``src/2_model_LSTMSpatial.lua`` and ``src/2_model_multimodal6blocks.lua``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from thinslice.formats.torch7 import LuaTable, Module, Torch7Error, read_torch7
from thinslice.traits import TRAITS

Architecture = Literal["lstm", "3dcnn"]

KNOWN_FILES: Final[Mapping[str, Architecture]] = {
    "0c361619c07a1fb8cced8343f2555961992c9ea1b1d71ae3a08cf060b4035ddd": "lstm",
    "e41d998d62e10fce5a398c7d0f2365e901fb397f663a5537f37d1122c885d737": "3dcnn",
}
"""SHA-256 of the two files the authors published, and which network each holds."""

_DEEPEST: Final = 4
"""Both networks nest their modules up to three deep; one that contains itself would never end."""

_FILE_ORDER: Final = ("extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness")


@dataclass(frozen=True)
class _Layer:
    """One module as the authors built it: its class, the fields that fix it, and its name here if it has weights."""

    class_name: str
    fields: Mapping[str, float]
    name: str = ""


def _linear(name: str) -> _Layer:
    return _Layer("nn.Linear", {}, name)


def _conv2d(name: str, channels: tuple[int, int], kernel: int) -> _Layer:
    fields = {"nInputPlane": channels[0], "nOutputPlane": channels[1], "kW": kernel, "kH": kernel}
    return _Layer("nn.SpatialConvolution", fields | {"dW": 1, "dH": 1, "padW": 0, "padH": 0}, name)


def _conv3d(name: str, channels: tuple[int, int], kernel: tuple[int, int]) -> _Layer:
    fields = {"nInputPlane": channels[0], "nOutputPlane": channels[1], "kT": kernel[0], "kW": kernel[1]}
    fields |= {"kH": kernel[1], "dT": 1, "dW": 1, "dH": 1, "padT": 0, "padW": 0, "padH": 0}
    return _Layer("nn.VolumetricConvolution", fields, name)


def _pool3d(time: int) -> _Layer:
    fields = {"kT": time, "kW": 2, "kH": 2, "dT": time, "dW": 2, "dH": 2, "padT": 0, "padW": 0, "padH": 0}
    return _Layer("nn.VolumetricMaxPooling", fields | {"ceil_mode": False})


_RELU: Final = _Layer("nn.ReLU", {"threshold": 0, "val": 0})
_POOL: Final = _Layer(
    "nn.SpatialMaxPooling",
    {"kW": 2, "kH": 2, "dW": 2, "dH": 2, "padW": 0, "padH": 0, "ceil_mode": False},
)
_VIEW: Final = _Layer("nn.View", {})
_DROPOUT: Final = _Layer("nn.Dropout", {"p": 0.2})
_IDENTITY: Final = _Layer("nn.Identity", {})
_SIGMOID: Final = _Layer("nn.Sigmoid", {})

_LAYERS: Final[Mapping[Architecture, Sequence[_Layer]]] = {
    "lstm": (
        _VIEW,
        _linear("sound"),
        *(_conv2d("conv1", (3, 16), 5), _RELU, _POOL),
        *(_conv2d("conv2", (16, 16), 7), _RELU, _POOL),
        *(_conv2d("conv3", (16, 16), 9), _RELU, _POOL),
        *(_VIEW, _linear("picture"), _RELU),
        *(_Layer("nn.JoinTable", {"dimension": 2}), _DROPOUT, _VIEW),
        _Layer("nn.LSTM", {"input_dim": 160, "hidden_dim": 128, "remember_states": False}, "lstm"),
        *(_VIEW, _DROPOUT, _linear("traits"), _SIGMOID),
    ),
    "3dcnn": (
        *(_IDENTITY, _VIEW, _linear("sound"), _RELU, _IDENTITY),
        *(_conv3d("conv1", (3, 16), (3, 5)), _RELU, _pool3d(2)),
        *(_conv3d("conv2", (16, 16), (2, 5)), _RELU, _pool3d(1)),
        _conv3d("conv3", (16, 1), (1, 5)),
        *(_VIEW, _Layer("nn.JoinTable", {"dimension": 1}), _DROPOUT),
        *(_linear("joint"), _RELU, _DROPOUT, _linear("traits"), _SIGMOID),
    ),
}

SHAPES: Final[Mapping[Architecture, Mapping[str, tuple[int, ...]]]] = {
    "lstm": {
        "sound.weight": (32, 68),
        "sound.bias": (32,),
        "conv1.weight": (16, 3, 5, 5),
        "conv1.bias": (16,),
        "conv2.weight": (16, 16, 7, 7),
        "conv2.bias": (16,),
        "conv3.weight": (16, 16, 9, 9),
        "conv3.bias": (16,),
        "picture.weight": (128, 1024),
        "picture.bias": (128,),
        "lstm.weight": (288, 512),
        "lstm.bias": (512,),
        "traits.weight": (5, 128),
        "traits.bias": (5,),
    },
    "3dcnn": {
        "sound.weight": (100, 408),
        "sound.bias": (100,),
        "conv1.weight": (16, 3, 3, 5, 5),
        "conv1.bias": (16,),
        "conv2.weight": (16, 16, 2, 5, 5),
        "conv2.bias": (16,),
        "conv3.weight": (1, 16, 1, 5, 5),
        "conv3.bias": (1,),
        "joint.weight": (200, 541),
        "joint.bias": (200,),
        "traits.weight": (5, 200),
        "traits.bias": (5,),
    },
}
"""Name and shape of every weight: 316,549 numbers in the LSTM network, 167,138 in the 3-D network."""


@dataclass(frozen=True)
class BimodalWeights:
    """One trained network.

    Attributes:
        architecture: "lstm" or "3dcnn".
        arrays: weight name -> float32 array; the last layer's rows are in the order of `thinslice.traits.TRAITS`.
        sha256: of the file they came from.
        official: whether that is one of the files the authors published.
    """

    architecture: Architecture
    arrays: Mapping[str, np.ndarray]
    sha256: str
    official: bool


def read_bimodal(path: str | Path) -> BimodalWeights:
    """Read one of the authors' networks from its Torch7 file.

    Deviations: the file's outputs are extraversion, agreeableness, conscientiousness, neuroticism, openness; the
    rows of the last layer are put into thinslice's order here, once.

    Raises:
        Torch7Error: the file is damaged, or holds another network.
    """
    path = Path(path)
    root = read_torch7(path)
    layers = _leaves(path, root)
    architecture: Architecture = "3dcnn" if _is(root, "nn.gModule") else "lstm"
    expected = _LAYERS[architecture]
    if [layer.class_name for layer in layers] != [layer.class_name for layer in expected]:
        raise _unlike(path, "its layers are others")

    arrays: dict[str, np.ndarray] = {}
    for layer, wanted in zip(layers, expected, strict=True):
        for name, value in wanted.fields.items():
            if layer.fields.get(name) != value:
                raise _unlike(path, f"{wanted.class_name}.{name} is {layer.fields.get(name)!r}, not {value}")
        for part in ("weight", "bias"):
            array = layer.fields.get(part)
            if wanted.name:
                shape = SHAPES[architecture][f"{wanted.name}.{part}"]
                if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.float32:
                    raise _unlike(path, f"{wanted.name}.{part} is not {shape} of float32")
                if not np.isfinite(array).all():
                    raise _unlike(path, f"{wanted.name}.{part} is not finite")
                arrays[f"{wanted.name}.{part}"] = np.array(array, dtype=np.float32)
            elif array is not None:
                raise _unlike(path, f"{wanted.class_name} has a {part}")
    order = [_FILE_ORDER.index(trait) for trait in TRAITS]
    arrays |= {name: arrays[name][order] for name in ("traits.weight", "traits.bias")}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return BimodalWeights(architecture, arrays, digest, KNOWN_FILES.get(digest) == architecture)


def _leaves(path: Path, module: Any, depth: int = 0) -> list[Module]:
    """Return the modules that hold no others, in the order in which they stand in the file."""
    if not isinstance(module, Module) or depth > _DEEPEST:
        raise _unlike(path, "it holds no network" if depth == 0 else "its layers are others")
    children = module.fields.get("modules")
    if children is None:
        return [module]
    if not isinstance(children, LuaTable) or len(children.sequence()) != len(children):
        raise _unlike(path, f"the modules of a {module.class_name} are not a list")
    return [leaf for child in children.sequence() for leaf in _leaves(path, child, depth + 1)]


def _is(value: Any, class_name: str) -> bool:
    return isinstance(value, Module) and value.class_name == class_name


def _unlike(path: Path, reason: str) -> Torch7Error:
    return Torch7Error(
        f"{path}: not one of the two networks of Subramaniam et al. 2016: {reason}; "
        "download LSTMModel#440.net or 3DCNNModel#600.net from github.com/InnovArul/first-impressions"
    )
