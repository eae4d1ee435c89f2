"""CR-Net: streams for scene, face and sound with words, each a ResNet-34 whose classes guide its regression.

Source: Li, Wan, Miao, Escalera, Fang, Chen, Qi, Guo, "CR-Net: A Deep Classification-Regression Network for Multimodal
Apparent Personality Analysis", IJCV 2020, sections 3.1 to 3.4, figures 1, 4 and 7.

Inputs, batch first:
- ``frames`` and ``faces``: (batch, time, height, width, 3), RGB in [0, 255], uint8 or float32; also with the time
  spread over several axes, as (batch, time, 1, height, width, 3), which is how faces are stored;
- ``waveform``: float32 (batch, samples), in [-1, 1] at 16 kHz, of any length: padded with zeros, or cut, to that of the
  longest clip;
- ``text``: float32 (batch, numbers), a vector of any size.

Deviations: what the paper leaves open is decided here, and said where it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from thinslice.errors import UsageError
from thinslice.layers.named_seeds import seeded_by_name
from thinslice.layers.resnet import ResNet, load_torchvision, normalise_imagenet
from thinslice.traits import TARGETS

RATE_HZ: Final = 16_000
NUM_SAMPLES: Final = 244_832
"""Samples that the waveform is padded to: 15.302 s, the longest clip of First Impressions V2."""

NUM_FRAMES: Final = 32
SIDE: Final = 112

EDGES: Final[Mapping[int, tuple[float, ...]]] = {
    4: (0.5, 0.6, 0.7),
    7: (0.3556, 0.4383, 0.5003, 0.5575, 0.6143, 0.6849),
    10: (0.3220, 0.3962, 0.4466, 0.4903, 0.5307, 0.5708, 0.6078, 0.6528, 0.7102),
}
"""Number of classes -> inner ends of the intervals (sections 4.2.2 and 5.4)."""

STREAM_INPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "scene": ("frames",),
    "face": ("faces",),
    "audio_text": ("waveform", "text"),
    "audio": ("waveform",),
    "text": ("text",),
}
"""Stream -> what it takes."""

FUSION_WEIGHTS: Final[Mapping[str, int]] = {"scene": 7, "face": 5, "audio_text": 3, "audio": 3, "text": 3}
"""Weight of each stream's features (section 3.4), in the order in which that section names the streams."""

HeadKind = Literal["cr", "plain", "expectation"]


class StreamOutput(NamedTuple):
    """What a stream gives.

    Attributes:
        scores: (batch, targets), unbounded.
        logits: of the classes, (batch, targets, classes); None without classes.
        features: what the regression saw, (batch, targets, features).
    """

    scores: Tensor
    logits: Tensor | None
    features: Tensor


class CRBlock(nn.Module):
    """Features of each class, weighted by the class's probability and summed, and a regression on the sum.

    Per target: n features f_i = F(a; theta_i), as long as a (equation 1); weights w = softmax over the classes
    (equation 2), each spread over its feature's length; f_reg = sum f_i * w_i (equation 3); the score is linear in
    f_reg (equation 4), which depends on the classes through w (equation 5).

    Deviations: equation 2 takes the exponential of the vector f_i and calls the result a scalar. Here a linear layer on
    f_i gives the class's scalar, which is also what the cross-entropy sees. The convolutions act on pooled features and
    are written as linear layers.

    Args:
        num_features: length of a, 512 for ResNet-34.
        num_classes: intervals of a score.
        num_targets: each has its own block.
    """

    def __init__(self, num_features: int, num_classes: int, num_targets: int) -> None:
        super().__init__()
        self.shape = (num_targets, num_classes, num_features)
        self.classes = nn.Linear(num_features, num_targets * num_classes * num_features)
        self.class_weight = nn.Parameter(torch.empty(self.shape))
        self.class_bias = nn.Parameter(torch.zeros(self.shape[:2]))
        self.weight = nn.Parameter(torch.empty(num_targets, num_features))
        self.bias = nn.Parameter(torch.zeros(num_targets))
        bound = num_features**-0.5
        nn.init.uniform_(self.class_weight, -bound, bound)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, pooled: Tensor) -> StreamOutput:
        """Return scores, classes and features for pooled (batch, features)."""
        features = self.classes(pooled).unflatten(1, self.shape)
        logits = (features * self.class_weight).sum(-1) + self.class_bias
        guided = (features * torch.softmax(logits, -1)[..., None]).sum(2)
        return StreamOutput((guided * self.weight).sum(-1) + self.bias, logits, guided)


class PlainHead(nn.Module):
    """A linear layer on the pooled features: "ResNet-34 only" of tables 4 and 5."""

    def __init__(self, num_features: int, num_targets: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_features, num_targets)

    def forward(self, pooled: Tensor) -> StreamOutput:
        """Return scores and features for pooled (batch, features)."""
        features = pooled[:, None].expand(-1, self.linear.out_features, -1)
        return StreamOutput(self.linear(pooled), None, features)


class ExpectationHead(nn.Module):
    """Classes only; the score is the mean of the intervals' centres under their probabilities (table 6).

    Source: Rothe et al. 2015, with a loss on the expectation Gao et al. 2018, as section 5.3 describes them.
    """

    centres: Tensor

    def __init__(self, num_features: int, edges: Sequence[float], num_targets: int) -> None:
        super().__init__()
        ends = torch.tensor([0.0, *edges, 1.0])
        self.register_buffer("centres", (ends[1:] + ends[:-1]) / 2)
        self.linear = nn.Linear(num_features, num_targets * (len(edges) + 1))
        self.num_targets = num_targets

    def forward(self, pooled: Tensor) -> StreamOutput:
        """Return scores, classes and features for pooled (batch, features)."""
        logits = self.linear(pooled).unflatten(1, (self.num_targets, -1))
        features = pooled[:, None].expand(-1, self.num_targets, -1)
        return StreamOutput(torch.softmax(logits, -1) @ self.centres, logits, features)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a CR-Net is made of; the defaults are the paper's.

    Attributes:
        streams: of `STREAM_INPUTS`.
        layout: of the backbones, see `thinslice.layers.resnet.LAYOUTS`.
        width: channels of their first layer.
        num_frames: frames of a clip that a stream of pictures sees.
        stacked: streams of pictures into which all frames enter at once, as channels of one picture, so that they see
            motion; in the others each frame goes through by itself and their features are averaged.
        inflated: streams of pictures whose ResNet is inflated to three dimensions: its kernels run over time too.
        motion_gain: by how much a stacked frame's difference from the mean of all frames is enlarged; 1 leaves it. It
            makes small movements as large as the differences between rooms, and leaves a still clip as it is.
        num_samples: samples that the waveform is padded to.
        text_tiles: how often the words' vector stands behind the sound.
        text_gain: factor on its numbers.
        num_classes: 4, 7 or 10.
        head: with classes that guide ("cr"), without classes ("plain"), or classes alone ("expectation").
        num_targets: scores.
    """

    streams: tuple[str, ...] = ("scene", "face", "audio_text")
    layout: str = "resnet34"
    width: int = 64
    num_frames: int = NUM_FRAMES
    stacked: tuple[str, ...] = ("scene", "face")
    inflated: tuple[str, ...] = ()
    motion_gain: float = 1.0
    num_samples: int = NUM_SAMPLES
    text_tiles: int = 1
    text_gain: float = 1.0
    num_classes: int = 4
    head: HeadKind = "cr"
    num_targets: int = len(TARGETS)


class Stream(nn.Module):
    """One ResNet and one head.

    Deviations: the paper does not say how 32 frames, or a vector, enter a ResNet-34. Frames are stacked as channels,
    since section 3.1.1 wants "motion relevant cues" and a ResNet-34 of two dimensions; that is a choice. A network
    inflated to three dimensions ("video stream") and the mean over single frames, which sees no motion, are the others.
    The vector enters the same network unrolled to one dimension. Pictures are scaled as ImageNet's.

    Args:
        name: of `STREAM_INPUTS`.
        shape: of the whole network.
    """

    def __init__(self, name: str, shape: Shape) -> None:
        super().__init__()
        self.inputs = STREAM_INPUTS[name]
        self.shape = shape
        self.is_pictures = name in ("scene", "face")
        self.is_stacked = self.is_pictures and name in shape.stacked
        self.is_inflated = self.is_pictures and name in shape.inflated
        if self.is_stacked and self.is_inflated:
            raise UsageError(f"cr_net: the frames of {name} are stacked or inflated, not both; set one of the two")
        channels = 3 * shape.num_frames if self.is_stacked else 3 if self.is_pictures else 1
        dimensions = 3 if self.is_inflated else 2 if self.is_pictures else 1
        self.backbone = ResNet(shape.layout, channels, shape.width, num_dimensions=dimensions)
        self.head: nn.Module
        if shape.head == "cr":
            self.head = CRBlock(self.backbone.num_features, shape.num_classes, shape.num_targets)
        elif shape.head == "plain":
            self.head = PlainHead(self.backbone.num_features, shape.num_targets)
        else:
            self.head = ExpectationHead(self.backbone.num_features, EDGES[shape.num_classes], shape.num_targets)

    def prepare(self, *inputs: Tensor) -> Tensor:
        """Return the backbone's input: (n, channels, height, width) of pictures, (batch, 1, length) of a vector.

        Pictures that are not stacked give n = batch * time; inflated (batch, channels, time, height, width).
        """
        if self.is_pictures:
            scaled = normalise_imagenet(inputs[0].flatten(0, -4))
            if self.is_inflated:
                return scaled.unflatten(0, (len(inputs[0]), -1)).transpose(1, 2)
            if not self.is_stacked:
                return scaled
            frames = scaled.unflatten(0, (len(inputs[0]), -1))
            mean = frames.mean(1, keepdim=True)
            return (mean + self.shape.motion_gain * (frames - mean)).flatten(1, 2)
        parts = [
            self._pad(part) if name == "waveform" else self._enlarge(part)
            for name, part in zip(self.inputs, inputs, strict=True)
        ]
        return torch.cat(parts, 1)[:, None]

    def _enlarge(self, text: Tensor) -> Tensor:
        # One number of the words in 600 of the sound's, and a thousandth of a position: alone they are hardly seen.
        if len(self.inputs) == 1 or (self.shape.text_tiles, self.shape.text_gain) == (1, 1.0):
            return text
        return text.repeat(1, self.shape.text_tiles) * self.shape.text_gain

    def _pad(self, waveform: Tensor) -> Tensor:
        # Lengths are free in an exported graph too, so there is no branch on them.
        silence = waveform.new_zeros(waveform.shape[0], self.shape.num_samples)
        return torch.cat([waveform, silence], 1)[:, : self.shape.num_samples]

    def pooled(self, *inputs: Tensor) -> Tensor:
        """Return the backbone's features (batch, features), averaged over all positions and, not stacked, frames."""
        features: Tensor = self.backbone(self.prepare(*inputs))
        if self.is_pictures and not (self.is_stacked or self.is_inflated):
            return features.unflatten(0, (len(inputs[0]), -1)).mean(1)
        return features

    def forward(self, *inputs: Tensor) -> StreamOutput:
        """Return the stream's output for its inputs, in the order of `STREAM_INPUTS`."""
        output: StreamOutput = self.head(self.pooled(*inputs))
        return output


class CRNet(nn.Module):
    """The streams. They share no weights: training them together is training each by itself.

    Args:
        shape: what it is made of.
    """

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape or Shape()
        self.streams = nn.ModuleDict()
        for name in self.shape.streams:
            with seeded_by_name(name):
                self.streams[name] = Stream(name, replace(self.shape, streams=(name,)))
        weights = torch.tensor([float(FUSION_WEIGHTS[name]) for name in self.shape.streams])
        self.fusion_weights = (weights / weights.sum()).tolist()

    def run_stream(self, name: str, inputs: Mapping[str, Tensor]) -> StreamOutput:
        """Return the output of one stream for the network's inputs."""
        output: StreamOutput = self.streams[name](*(inputs[key] for key in STREAM_INPUTS[name]))
        return output

    def fuse(self, inputs: Mapping[str, Tensor]) -> StreamOutput:
        """Return scores and features of all streams, averaged with weights 7:5:3 (section 3.4); no classes.

        Deviations: the features are added up, not put side by side. Trees do not heed the scale of a feature, so that
        weights would mean nothing beside each other; and m = 512 (section 3.4) is then "the complete set of features".
        That the networks' own scores are averaged alike is ours; the trees do not use them.
        """
        outputs = [self.run_stream(name, inputs) for name in self.shape.streams]
        weighted = list(zip(self.fusion_weights, outputs, strict=True))
        scores = torch.stack([weight * output.scores for weight, output in weighted]).sum(0)
        features = torch.stack([weight * output.features for weight, output in weighted]).sum(0)
        return StreamOutput(scores, None, features)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return the streams' averaged scores (batch, targets), before any trees."""
        return self.fuse(inputs).scores


def inflate(weight: Tensor, num_frames: int) -> Tensor:
    """Return a first layer for stacked frames (width, 3 n, 7, 7) from one for a picture (width, 3, 7, 7).

    A still clip then gives what the picture gave.

    Source: Wang et al. 2016 (temporal segment networks), section 3.3, cross-modality pre-training.
    """
    return weight.repeat(1, num_frames, 1, 1) / num_frames


def inflate_over_time(weight: Tensor) -> Tensor:
    """Return a kernel (out, in, k, k, k) from one of pictures (out, in, k, k).

    A still clip then gives what the picture gave, but for the zeros before its first and after its last frame.

    Source: Carreira, Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, section 3.4.
    """
    side = weight.shape[-1]
    return weight[:, :, None].repeat(1, 1, side, 1, 1) / side


def load_imagenet(network: CRNet, path: str | Path, streams: Sequence[str] | None = None) -> None:
    """Start streams of pictures, all or those named, from torchvision's ImageNet weights; sound and words keep theirs.

    Raises:
        UsageError: as `thinslice.layers.resnet.load_torchvision`.
    """
    shape = network.shape
    picture = ResNet(shape.layout, 3, shape.width)
    load_torchvision(picture, path)
    state = picture.state_dict()
    stacked = {**state, "conv1.weight": inflate(state["conv1.weight"], shape.num_frames)}
    for name, stream in network.streams.items():
        assert isinstance(stream, Stream)
        if not stream.is_pictures or (streams is not None and name not in streams):
            continue
        if stream.is_inflated:
            solid = {key: inflate_over_time(value) if value.ndim == 4 else value for key, value in state.items()}
            stream.backbone.load_state_dict(solid)
        else:
            stream.backbone.load_state_dict(stacked if stream.is_stacked else state)
