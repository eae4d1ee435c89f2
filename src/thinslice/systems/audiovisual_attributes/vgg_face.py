"""VGG-Face: the sixteen layers of VGG-16 that were trained to tell 2,622 people apart.

Source: Parkhi, Vedaldi, Zisserman, "Deep Face Recognition", BMVC 2015, table 3, architecture A; Simonyan and Zisserman,
"Very Deep Convolutional Networks for Large-Scale Image Recognition", configuration D.

Pictures are (batch, height, width, 3), RGB in [0, 255], uint8 or float32; the mean of the network's training faces is
subtracted here.

Deviations: the published networks take values of up to about 150. Here they are divided by `SCALE`, so that fresh
weights start at a sensible size too, and the first layer's published weights are multiplied by it: the scale is a power
of two, so that this changes no digit. Batch normalisation, which VGG-16 does not have, can be added: fresh weights of
thirteen convolutions hardly learn without it.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS: Final = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Of each block between two poolings: channels, as multiples of the first block's, and convolutions."""

CONVOLUTIONS: Final = tuple(f"conv{b + 1}_{i + 1}" for b, (_, count) in enumerate(BLOCKS) for i in range(count))
LAYERS: Final = (*CONVOLUTIONS, "fc6", "fc7", "fc8")
"""All layers with weights, in their order, by the names of the authors' Caffe model."""

WIDTH: Final = 64
HIDDEN: Final = 4096
SIDE: Final = 224
NUM_PEOPLE: Final = 2622
MEAN_RGB: Final = (129.1863, 104.7624, 93.5940)
"""Of the training faces, by channel; the file of the authors' demonstration has it."""

SCALE: Final = 64.0


class VggFace(nn.Module):
    """The network. With the paper's sizes and 2,622 outputs 145,002,878 parameters, without them 134,260,544.

    Args:
        width: channels of the first block.
        hidden: outputs of fc6 and of fc7.
        side: of the pictures, pixels, before they are shrunk.
        num_outputs: of fc8; 0 for a network that ends with fc7.
        shrink: pictures are averaged over squares of this side first; 1 leaves them.
        norm: whether batch normalisation follows every convolution.
        dropout: share of fc6's and fc7's outputs left out in training.

    Raises:
        ValueError: nothing is left of a picture after five poolings.
    """

    mean: Tensor

    def __init__(
        self,
        width: int = WIDTH,
        hidden: int = HIDDEN,
        side: int = SIDE,
        num_outputs: int = NUM_PEOPLE,
        *,
        shrink: int = 1,
        norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        maps = side // shrink // 2 ** len(BLOCKS)
        if maps < 1:
            raise ValueError(f"pictures of {side} pixels, shrunk by {shrink}, vanish in {len(BLOCKS)} poolings")
        self.shrink, self.num_features = shrink, hidden
        self.layers = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        channels = 3
        for block, (factor, count) in enumerate(BLOCKS):
            for index in range(count):
                name = f"conv{block + 1}_{index + 1}"
                self.layers[name] = nn.Conv2d(channels, width * factor, 3, padding=1)
                channels = width * factor
                if norm:
                    self.norms[name] = nn.BatchNorm2d(channels)
        self.layers["fc6"] = nn.Linear(channels * maps**2, hidden)
        self.layers["fc7"] = nn.Linear(hidden, hidden)
        if num_outputs:
            self.layers["fc8"] = nn.Linear(hidden, num_outputs)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mean", torch.tensor(MEAN_RGB), persistent=False)
        for layer in self.layers.values():
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def feature_maps(self, pictures: Tensor) -> Tensor:
        """Return what is left after the last pooling, (n, 8 width, maps, maps), of pictures (n, side, side, 3)."""
        x = ((pictures.float() - self.mean) / SCALE).permute(0, 3, 1, 2).contiguous()
        if self.shrink > 1:
            x = F.avg_pool2d(x, self.shrink)
        for block, (_, count) in enumerate(BLOCKS):
            for index in range(count):
                name = f"conv{block + 1}_{index + 1}"
                x = self.layers[name](x)
                if name in self.norms:
                    x = self.norms[name](x)
                x = F.relu(x)
            x = F.max_pool2d(x, 2)
        return x

    def features(self, pictures: Tensor) -> Tensor:
        """Return fc7's outputs (n, hidden), rectified, of pictures (n, side, side, 3)."""
        x = self.feature_maps(pictures).flatten(1)
        for name in ("fc6", "fc7"):
            x = self.dropout(F.relu(self.layers[name](x)))
        return x

    def forward(self, pictures: Tensor) -> Tensor:
        """Return fc8's outputs (n, outputs), not squashed, of pictures (n, side, side, 3)."""
        scores: Tensor = self.layers["fc8"](self.features(pictures))
        return scores
