"""The published VGG-Face weights, read and kept: the authors' Torch7 or Caffe file, or a state dict of their network.

Every value of a file is used or named as left over; every shape is checked; nothing is unpickled freely.

The weights are the Visual Geometry Group's, https://www.robots.ox.ac.uk/~vgg/software/vgg_face/, for non-commercial
research (CC BY-NC 4.0).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from thinslice.arrays import load_arrays
from thinslice.errors import UsageError, reason_of
from thinslice.formats.caffemodel import read_caffemodel
from thinslice.formats.torch7 import MODULES, LuaTable, Module, Torch7Error, read_torch7
from thinslice.systems.audiovisual_attributes.network import AudiovisualAttributes
from thinslice.systems.audiovisual_attributes.vgg_face import BLOCKS, LAYERS, SCALE, VggFace
from thinslice.train.imported import IMPORTED, imported_weights, keep_imported
from thinslice.train.recipe import TrainingClips
from thinslice.train.stage import load_weights

SOURCE: Final = "VGG_FACE.t7 or VGG_FACE.caffemodel from www.robots.ox.ac.uk/~vgg/software/vgg_face"
"""Where people get the file."""

NAME: Final = "vgg-face"
"""What `thinslice import` calls the weights."""

COLOURS: Final = ("rgb", "bgr")
"""Order of the channels that a file's first layer was made for."""

MAX_BYTES: Final = 1 << 30
"""Largest Torch7 file read; the published one has 580 MB."""

_NAME: Final = re.compile(r"(?:\w+\.)?(?:conv(?P<mark>_?)(?P<block>\d)_(?P<index>\d)|fc(?P<dense>\d))[._](?P<kind>\w+)")
_KINDS: Final = {"weight": "weight", "w": "weight", "bias": "bias", "b": "bias"}
_TORCH7: Final = MODULES | {"nn.SoftMax": 1, "nn.SpatialConvolutionMM": 1, "nn.Threshold": 1, "nn.Reshape": 1}
_CONVOLUTIONS: Final = ("nn.SpatialConvolution", "nn.SpatialConvolutionMM")


def import_vgg_face(file: Path, colours: str = "") -> Path:
    """Check a public file of VGG-Face and keep its weights for the variants that start from them.

    Args:
        file: see `load_vgg_face`.
        colours: likewise.

    Returns:
        Where they are kept: a PyTorch state dict of the network up to fc7, whose first layer takes red first.

    Raises:
        UsageError: the file is of another network, or damaged; the cache cannot be written.
    """
    network = VggFace(num_outputs=0)
    load_vgg_face(network, file, colours)
    return keep_imported(network, NAME)


def need_vgg_face(path: str) -> None:
    """Raise UsageError, with the remedy, where the weights that a training is to start from are not there."""
    if path == IMPORTED and not imported_weights(NAME).is_file():
        raise UsageError(
            f"audiovisual_attributes starts from VGG-Face's public weights: get {SOURCE} and run "
            "thinslice import vgg-face FILE; or take a variant that starts from random weights, fresh or small_visual"
        )
    if path not in ("", IMPORTED) and not Path(path).is_file():
        raise UsageError(f"{path}: no such file; weights is a file of VGG-Face, or {IMPORTED!r}")


def start_from_vgg_face(path: str, colours: str, model: nn.Module, data: TrainingClips) -> None:
    """Give the network on faces the weights of a file, or with `IMPORTED` those imported before."""
    assert isinstance(model, AudiovisualAttributes)
    assert model.visual is not None
    need_vgg_face(path)
    if path != IMPORTED:
        load_vgg_face(model.visual.network, path, colours)
        return
    if model.visual.network.norms:
        raise UsageError(
            "audiovisual_attributes: VGG-Face has no batch normalisation; give norm=False with its weights"
        )
    load_weights(model.visual.network, imported_weights(NAME))


def load_vgg_face(network: VggFace, path: str | Path, colours: str = "") -> tuple[str, ...]:
    """Give a network the published weights.

    Args:
        network: of the published sizes, without batch normalisation.
        path: a Torch7 file (.t7), a Caffe file (.caffemodel), an archive of arrays (.npz) or a PyTorch state dict with
            the layers' names as ``conv_1_1.weight``, ``features.conv_1_1.weight`` or ``conv1_1.weight``.
        colours: one of `COLOURS`; "" for what the layout says: "bgr" for the authors' two files and for names with
            conv_1_1, which come from the first. Names with conv1_1 do not tell.

    Returns:
        The names of the values that the network has no place for: fc8's, where it ends with fc7.

    Raises:
        UsageError: the file is missing, damaged, of another network, or does not tell the order of its colours.
    """
    if network.norms:
        raise UsageError(f"{path}: the published VGG-Face has no batch normalisation; build the network without it")
    if colours and colours not in COLOURS:
        raise UsageError(f"VGG-Face: unknown order of colours {colours!r}; there are {', '.join(COLOURS)}")
    raw, order = _read(Path(path))
    order = colours or order
    if not order:
        raise UsageError(
            f"{path}: names such as conv1_1 do not tell the order of the colours; say colours='bgr' where the file "
            "comes from the authors' Caffe model, 'rgb' where from MatConvNet's (vgg_face_dag)"
        )
    state, left = {}, []
    for name, wanted in network.state_dict().items():
        layer = name.removeprefix("layers.")
        if layer not in raw:
            raise UsageError(f"{path}: has no {layer}; not the whole of VGG-Face")
        state[name] = _fitting(raw[layer], tuple(wanted.shape), layer, path)
    left = [name for name in raw if f"layers.{name}" not in state]
    if any(not name.startswith("fc8.") for name in left):
        raise UsageError(f"{path}: this network has no place for {', '.join(left)}; not VGG-Face")
    first = state["layers.conv1_1.weight"]
    state["layers.conv1_1.weight"] = (first.flip(1) if order == "bgr" else first) * SCALE
    network.load_state_dict(state)
    return tuple(left)


def _fitting(array: np.ndarray, shape: tuple[int, ...], name: str, path: str | Path) -> torch.Tensor:
    # Torch7 stores a convolution's kernel as one row, Caffe a dense layer as a convolution: the same order of values.
    if array.shape != shape and not (array.size == np.prod(shape) and array.shape[:1] == shape[:1]):
        raise UsageError(f"{path}: {name} has shape {array.shape} instead of {shape}; not this size of VGG-Face")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise UsageError(f"{path}: {name} holds a non-finite number; the file is damaged")
    return torch.from_numpy(np.array(array, np.float32)).reshape(shape)


def _read(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """Return layer.weight and layer.bias -> array, and the order of the colours, "" where it cannot be told."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; check its name and folder, or get {SOURCE}")
    if path.suffix == ".t7":
        return _read_torch7(path), "bgr"
    if path.suffix == ".caffemodel":
        return _read_caffe(path), "bgr"
    try:
        if path.suffix == ".npz":
            values: Mapping[str, Any] = load_arrays(path)
        else:
            values = torch.load(path, map_location="cpu", weights_only=True)
            values = {
                str(name): (value.float() if value.is_floating_point() else value).detach().numpy()
                for name, value in values.items()
            }
    except Exception as error:  # torch and NumPy raise many types for damaged and for foreign files
        line = reason_of(error)
        raise UsageError(f"{path}: cannot be read as weights ({line}); give a state dict of tensors") from error
    return _renamed(values, path)


def _renamed(values: Mapping[str, np.ndarray], path: Path) -> tuple[dict[str, np.ndarray], str]:
    out: dict[str, np.ndarray] = {}
    marks = set()
    for name, value in values.items():
        found = _NAME.fullmatch(name)
        kind = _KINDS.get(found["kind"].lower()) if found else None
        layer = ""
        if found:
            layer = f"fc{found['dense']}" if found["dense"] else f"conv{found['block']}_{found['index']}"
        if found is None or kind is None or layer not in LAYERS:
            raise UsageError(f"{path}: unknown value {name[:80]!r}; names must be such as conv1_1.weight or fc6.bias")
        if f"{layer}.{kind}" in out:
            raise UsageError(f"{path}: {layer}.{kind} is listed twice")
        if found["mark"] is not None:
            marks.add(found["mark"])
        out[f"{layer}.{kind}"] = np.asarray(value)
    return out, "bgr" if marks == {"_"} else ""


def _read_caffe(path: Path) -> dict[str, np.ndarray]:
    out = {}
    for layer, blobs in read_caffemodel(path).items():
        if layer not in LAYERS or len(blobs) != 2:
            raise UsageError(f"{path}: layer {layer[:80]!r} with {len(blobs)} arrays is none of VGG-Face's")
        weight, bias = blobs
        # Before 2014 Caffe kept every array with four dimensions, the first of them 1 where there were fewer.
        while layer.startswith("fc") and weight.ndim > 2 and weight.shape[0] == 1:
            weight = weight[0]
        out[f"{layer}.weight"], out[f"{layer}.bias"] = weight, bias.ravel()
    return out


def _read_torch7(path: Path) -> dict[str, np.ndarray]:
    """Return layer.weight and layer.bias -> array of a sequence of Torch7 layers in VGG-16's order."""
    try:
        root = read_torch7(path, _TORCH7, MAX_BYTES)
    except Torch7Error as error:
        raise UsageError(str(error)) from error
    table = root.fields.get("modules") if isinstance(root, Module) and root.class_name == "nn.Sequential" else None
    if not isinstance(table, LuaTable):
        raise UsageError(f"{path}: not a sequence of layers; give the authors' VGG_FACE.t7")
    modules = [module for module in table.sequence() if isinstance(module, Module)]
    expected = _expected()
    if len(modules) != len(expected) or len(modules) != len(table.sequence()):
        raise UsageError(f"{path}: {len(modules)} layers where VGG-Face has {len(expected)}")
    out: dict[str, np.ndarray] = {}
    for position, (module, (name, kinds)) in enumerate(zip(modules, expected, strict=True)):
        if module.class_name not in kinds:
            raise UsageError(f"{path}: layer {position + 1} is a {module.class_name} where VGG-Face has a {kinds[0]}")
        if not name:
            continue
        for kind in ("weight", "bias"):
            value = module.fields.get(kind)
            if not isinstance(value, np.ndarray):
                raise UsageError(f"{path}: layer {position + 1}, {name}, has no {kind}")
            out[f"{name}.{kind}"] = value
    return out


def _expected() -> Sequence[tuple[str, tuple[str, ...]]]:
    """Return of every Torch7 layer the name, "" where it has no weights, and the classes that it may have."""
    relu = ("", ("nn.ReLU", "nn.Threshold"))
    out: list[tuple[str, tuple[str, ...]]] = []
    for block, (_, count) in enumerate(BLOCKS):
        for index in range(count):
            out += [(f"conv{block + 1}_{index + 1}", _CONVOLUTIONS), relu]
        out.append(("", ("nn.SpatialMaxPooling",)))
    out.append(("", ("nn.View", "nn.Reshape")))
    for name in ("fc6", "fc7"):
        out += [(name, ("nn.Linear",)), relu, ("", ("nn.Dropout",))]
    return [*out, ("fc8", ("nn.Linear",)), ("", ("nn.SoftMax",))]
