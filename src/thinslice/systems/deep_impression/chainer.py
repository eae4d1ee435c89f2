"""The authors' trained Deep Impression network: from the Chainer file in their repository to PyTorch.

The file ``model`` of github.com/yagguc/deep_impression is a NumPy archive that Chainer 1 wrote (``save_npz``). Its
names are those of the authors' chains:

    aud|vis / conv1_relu / conv / W, b            aud|vis / conv1_relu / bn_conv / gamma, beta, avg_mean, avg_var, N
    aud|vis / res2a_relu ... res5b_relu / res_branch2a, res_branch2b / W, b       ... bn_branch2a, bn_branch2b / ...
    aud|vis / res3a_relu, res4a_relu, res5a_relu / res_branch1 / W, b             ... bn_branch1 / ...
    fc / W, b

Kernels of the auditory stream are 4-D with height 1. ``N`` counts training batches and plays no part here. ``fc`` has
the traits in the order of `AUTHORS_ORDER`.
"""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from thinslice.errors import UsageError
from thinslice.formats.npz import read_npz
from thinslice.systems.deep_impression.network import DeepImpression
from thinslice.traits import TRAITS

AUTHORS_ORDER: Final = ("extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness")

_STREAMS: Final = {"sound": "aud", "pictures": "vis"}
_LAYERS: Final = {
    "conv_a": "res_branch2a",
    "norm_a": "bn_branch2a",
    "conv_b": "res_branch2b",
    "norm_b": "bn_branch2b",
    "conv_shortcut": "res_branch1",
    "norm_shortcut": "bn_branch1",
}
_CONVOLUTION: Final = {"weight": "W", "bias": "b"}
_NORM: Final = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "avg_mean",
    "running_var": "avg_var",
    "num_batches_tracked": "N",
}


def chainer_name(name: str) -> str:
    """Return what a parameter or buffer of `DeepImpression` is called in the authors' file."""
    stream, *rest = name.split(".")
    if stream == "head":
        return f"fc/{_CONVOLUTION[rest[0]]}"
    if rest[0] == "blocks":
        stage, block = divmod(int(rest[1]), 2)
        inside = f"res{stage + 2}{'ab'[block]}_relu/{_LAYERS[rest[2]]}"
    else:
        inside = {"conv": "conv1_relu/conv", "norm": "conv1_relu/bn_conv"}[rest[0]]
    names = _NORM if "/bn_" in inside else _CONVOLUTION
    return f"{_STREAMS[stream]}/{inside}/{names[rest[-1]]}"


def read_chainer(path: Path) -> DeepImpression:
    """Read the authors' network; nothing in the file is executed.

    Args:
        path: the archive, under whatever name.

    Returns:
        The network, in evaluation mode, its scores in the order of `thinslice.traits.TRAITS`.

    Raises:
        UsageError: not a NumPy archive; a name that is missing, unknown or of another shape; a value that is not
            finite, or a variance below 0.
    """
    model = DeepImpression()
    state = model.state_dict()
    names = {chainer_name(name): name for name in state}
    shapes = {theirs: _their_shape(theirs, state[ours]) for theirs, ours in names.items()}
    # Old versions of Chainer count batches without writing the count.
    counts = [name for name in shapes if name.endswith("/N")]
    arrays = read_npz(path, shapes, "the authors' deep_impression network", may_lack=counts)
    for theirs, ours in names.items():
        if theirs in arrays and not theirs.endswith("/N"):
            state[ours] = torch.from_numpy(_checked(path, theirs, arrays[theirs]).reshape(state[ours].shape))
    order = [AUTHORS_ORDER.index(trait) for trait in TRAITS]
    for name in ("head.weight", "head.bias"):
        state[name] = state[name][order]
    model.load_state_dict(state)
    return model.eval()


def _their_shape(name: str, ours: Tensor) -> tuple[int, ...]:
    shape = tuple(ours.shape)
    if name.endswith("/W") and len(shape) == 3:
        return (*shape[:2], 1, shape[2])
    return shape


def _checked(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise UsageError(f"{path}: {name} holds values that are no numbers; download it again")
    if name.endswith("/avg_var") and (values < 0).any():
        raise UsageError(f"{path}: {name} holds a variance below 0; download it again")
    return values
