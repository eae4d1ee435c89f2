"""ResNet-34 and ResNet-50 with torchvision's parameter names, over pictures or, unrolled, over sound.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, table 1; parameter names as in
torchvision's ``resnet34`` and ``resnet50``, so that their ImageNet weights load.

Deviations: as torchvision, a bottleneck strides in its 3 x 3 convolution, not in its first (ResNet v1.5). In one
dimension every k x k kernel is one of k² samples and every stride of 2 one of 4, so that all but the first layer have
as many weights as in two dimensions; ours, since no paper says how a ResNet takes a vector. In three dimensions every
k x k kernel is k x k x k and strides are over time too, but for the first layer's, as Hara, Kataoka, Satoh, "Can
Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", CVPR 2018.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor, nn

from thinslice.errors import UsageError, reason_of

_CONVOLUTIONS: Final = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: Final = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOLINGS: Final = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


@dataclass(frozen=True)
class Layout:
    """How many blocks, and of which kind.

    Attributes:
        num_blocks: of each of the four layers.
        is_bottleneck: whether a block is 1 x 1, 3 x 3, 1 x 1 with four times the channels, or 3 x 3 twice.
    """

    num_blocks: tuple[int, ...]
    is_bottleneck: bool

    @property
    def expansion(self) -> int:
        """Channels that leave a block, per channel of its 3 x 3 convolution."""
        return 4 if self.is_bottleneck else 1


LayoutName = Literal["resnet10", "resnet18", "resnet34", "resnet50"]

LAYOUTS: Final[Mapping[str, Layout]] = {
    "resnet10": Layout((1, 1, 1, 1), False),
    "resnet18": Layout((2, 2, 2, 2), False),
    "resnet34": Layout((3, 4, 6, 3), False),
    "resnet50": Layout((3, 4, 6, 3), True),
}
"""Name -> layout. resnet10 is ours, for CPUs and small corpora."""

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class _Shapes:
    """Layers in one, two or three dimensions."""

    def __init__(self, num_dimensions: int) -> None:
        self.num_dimensions = num_dimensions

    def convolution(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
        """Return a convolution without bias; kernel and stride are those of two dimensions."""
        kernel, stride = self._length(kernel), self._length(stride)
        return _CONVOLUTIONS[self.num_dimensions](inputs, outputs, kernel, stride, kernel // 2, bias=False)

    def first(self, inputs: int, outputs: int) -> nn.Module:
        """Return the first convolution, of stride 2 over a picture's sides and 1 over time."""
        if self.num_dimensions == 3:
            return nn.Conv3d(inputs, outputs, 7, (1, 2, 2), 3, bias=False)
        return self.convolution(inputs, outputs, 7, 2)

    def norm(self, channels: int) -> nn.Module:
        return _NORMS[self.num_dimensions](channels)

    def pool(self) -> nn.Module:
        kernel = self._length(3)
        return _POOLINGS[self.num_dimensions](kernel, self._length(2), kernel // 2)

    def _length(self, side: int) -> int:
        return side**2 if self.num_dimensions == 1 else side


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, shapes: _Shapes, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = shapes.convolution(inputs, channels, 3, stride)
        self.bn1 = shapes.norm(channels)
        self.conv2 = shapes.convolution(channels, channels, 3)
        self.bn2 = shapes.norm(channels)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(shapes, inputs, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.bn2(self.conv2(hidden)) + shortcut)
        return out


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, the last to four times the channels, and a shortcut."""

    def __init__(self, shapes: _Shapes, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = shapes.convolution(inputs, channels, 1)
        self.bn1 = shapes.norm(channels)
        self.conv2 = shapes.convolution(channels, channels, 3, stride)
        self.bn2 = shapes.norm(channels)
        self.conv3 = shapes.convolution(channels, 4 * channels, 1)
        self.bn3 = shapes.norm(4 * channels)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(shapes, inputs, 4 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.bn3(self.conv3(hidden)) + shortcut)
        return out


def _shortcut(shapes: _Shapes, inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(shapes.convolution(inputs, outputs, 1, stride), shapes.norm(outputs))


class ResNet(nn.Module):
    """A residual network without its last linear layer: torchvision's, whose ``fc`` is left out.

    Args:
        layout: a name of `LAYOUTS`.
        in_channels: 3 for RGB.
        width: channels of the first layer; each of the next three has twice as many. 64 in the paper.
        num_dimensions: 2 for pictures (batch, channels, height, width), 1 for vectors (batch, channels, length), 3 for
            clips (batch, channels, time, height, width).

    Attributes:
        num_features: length of the pooled features: 512 for ResNet-34, 2048 for ResNet-50.
    """

    def __init__(self, layout: str, in_channels: int = 3, width: int = 64, num_dimensions: int = 2) -> None:
        super().__init__()
        chosen, shapes = LAYOUTS[layout], _Shapes(num_dimensions)
        block = Bottleneck if chosen.is_bottleneck else BasicBlock
        self.conv1 = shapes.first(in_channels, width)
        self.bn1 = shapes.norm(width)
        self.relu = nn.ReLU()
        self.maxpool = shapes.pool()
        inputs = width
        layers = []
        for index, num_blocks in enumerate(chosen.num_blocks):
            channels = width * 2**index
            blocks: list[nn.Module] = []
            for position in range(num_blocks):
                blocks.append(block(shapes, inputs, channels, 2 if index and not position else 1))
                inputs = channels * chosen.expansion
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.num_features = inputs
        _initialise(self)

    def feature_maps(self, x: Tensor) -> Tensor:
        """Return the last activations (batch, features, ...), before pooling."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (batch, features), averaged over all positions."""
        return self.feature_maps(x).flatten(2).mean(2)


def _initialise(network: nn.Module) -> None:
    """Draw weights as torchvision does: He et al. 2015 by fan-out; batch normalisation starts as the identity."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def need_torchvision(path: str | Path) -> None:
    """Raise UsageError where torchvision's weights that a network is to start from are not there; "" is none."""
    if path and not Path(path).is_file():
        raise UsageError(f"{path}: no such file; download the weights of torchvision's ResNet and name them")


def load_torchvision(network: ResNet, path: str | Path) -> None:
    """Load a state dict of torchvision's resnet34 or resnet50, such as ImageNet's; its ``fc`` is not used.

    Args:
        network: over pictures, of the same layout and width.
        path: a .pth file as torchvision distributes it; it is read without running code that may be in it.

    Raises:
        UsageError: the file is missing, no state dict, or of another network.
    """
    need_torchvision(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    except Exception as error:  # torch raises many types for damaged and for foreign files
        line = reason_of(error)
        raise UsageError(f"{path}: not the weights of this ResNet ({line}); give torchvision's state dict") from error


def normalise_imagenet(pictures: Tensor) -> Tensor:
    """Return pictures (n, height, width, 3), RGB in [0, 255], as torchvision scales them: (n, 3, height, width)."""
    mean = torch.tensor(IMAGENET_MEAN, device=pictures.device)
    std = torch.tensor(IMAGENET_STD, device=pictures.device)
    # Contiguous: with the channels last in memory, torch 2.13's backward pass on CPUs corrupts the heap where a
    # network is a few channels wide, and the process ends in "free(): invalid size".
    return ((pictures.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
