"""Residual streams for sound and pictures: the same blocks in one dimension or two."""

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

_CONVOLUTIONS: Final = {1: nn.Conv1d, 2: nn.Conv2d}
_NORMS: Final = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
_POOLINGS: Final = {1: nn.MaxPool1d, 2: nn.MaxPool2d}


@dataclass(frozen=True)
class StreamShape:
    """Kernels and strides of a residual stream; every kernel is padded by half its size.

    Attributes:
        num_dimensions: 1 for sound, 2 for pictures.
        in_channels: channels of the input.
        first_kernel: kernel of the first convolution.
        first_stride: its stride.
        pool_kernel: kernel of the max pooling after it.
        pool_stride: its stride.
        kernel: kernel of all other convolutions.
        stride: stride of a block that changes the number of channels.
    """

    num_dimensions: int
    in_channels: int
    first_kernel: int
    first_stride: int
    pool_kernel: int
    pool_stride: int
    kernel: int
    stride: int


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalisation and a shortcut: identity, or a convolution where the shape changes.

    Source: He et al. 2015, "Deep Residual Learning for Image Recognition", figure 2 and section 3.3 (option B).

    Args:
        shape: of the stream.
        in_channels: channels in.
        out_channels: channels out; with another number the block also strides.
        eps: batch normalisation's.
    """

    def __init__(self, shape: StreamShape, in_channels: int, out_channels: int, eps: float) -> None:
        super().__init__()
        convolution, norm = _CONVOLUTIONS[shape.num_dimensions], _NORMS[shape.num_dimensions]
        changes = in_channels != out_channels
        stride = shape.stride if changes else 1
        padding = shape.kernel // 2
        self.conv_a = convolution(in_channels, out_channels, shape.kernel, stride, padding)
        self.norm_a = norm(out_channels, eps=eps)
        self.conv_b = convolution(out_channels, out_channels, shape.kernel, 1, padding)
        self.norm_b = norm(out_channels, eps=eps)
        self.relu = nn.ReLU()
        self.conv_shortcut = convolution(in_channels, out_channels, 1, stride) if changes else None
        self.norm_shortcut = norm(out_channels, eps=eps) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x (batch, channels, ...)."""
        shortcut = x
        if self.conv_shortcut is not None and self.norm_shortcut is not None:
            shortcut = self.norm_shortcut(self.conv_shortcut(x))
        hidden = self.relu(self.norm_a(self.conv_a(x)))
        return self.relu(shortcut + self.norm_b(self.conv_b(hidden)))


class ResidualStream(nn.Module):
    """One convolution, max pooling, two residual blocks for each width, global average pooling.

    With four widths these are 17 convolutional layers, the shortcuts not counted.

    Args:
        shape: kernels and strides.
        widths: channels of each pair of blocks; the first also of the first convolution.
        eps: batch normalisation's.
        round_up: whether max pooling keeps what is left at an edge as one more output (Chainer's rule), or drops it.
    """

    def __init__(self, shape: StreamShape, widths: tuple[int, ...], eps: float, round_up: bool) -> None:
        super().__init__()
        norm, pool = _NORMS[shape.num_dimensions], _POOLINGS[shape.num_dimensions]
        self.conv = _CONVOLUTIONS[shape.num_dimensions](
            shape.in_channels, widths[0], shape.first_kernel, shape.first_stride, shape.first_kernel // 2
        )
        self.norm = norm(widths[0], eps=eps)
        self.relu = nn.ReLU()
        self.pool = pool(shape.pool_kernel, shape.pool_stride, shape.pool_kernel // 2, ceil_mode=round_up)
        blocks: list[nn.Module] = []
        previous = widths[0]
        for width in widths:
            blocks += [ResidualBlock(shape, previous, width, eps), ResidualBlock(shape, width, width, eps)]
            previous = width
        self.blocks = nn.Sequential(*blocks)

    def feature_maps(self, x: Tensor) -> Tensor:
        """Return the last activations, before pooling, (batch, widths[-1], ...), of x (batch, in_channels, ...)."""
        maps: Tensor = self.blocks(self.pool(self.relu(self.norm(self.conv(x)))))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled activations, (batch, widths[-1]), of x (batch, in_channels, ...)."""
        return self.feature_maps(x).flatten(2).mean(2)


def initialise_he(module: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers as He et al. 2015 do, from a normal distribution of variance
    2 / fan-in, and set biases to 0. Batch normalisation starts as the identity.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
