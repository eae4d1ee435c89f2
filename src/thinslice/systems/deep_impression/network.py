"""Deep Impression: two residual streams, one for raw sound and one for raw frames, and one layer on both.

Source: Güçlütürk, Güçlü, van Gerven, van Lier, "Deep Impression: Audiovisual Deep Residual Networks for Multimodal
Apparent Personality Trait Recognition", ECCV 2016 workshops, section 2.1 and figure 1; the authors' definition in
github.com/yagguc/deep_impression (``auditory_stream.py``, ``visual_stream.py``, ``audiovisual_stream.py``).

Inputs are ``waveform``, float32 (batch, samples) at 16 kHz in [-1, 1], and ``frames``, (batch, frames, height, width,
3), RGB in [0, 255], uint8 or float32, unscaled as in the authors' code. Sound of any length and frames of any number
and size are pooled.

Deviations: scores in the order of `thinslice.traits.TRAITS`, the authors' are extraversion, agreeableness,
conscientiousness, neuroticism, openness. The paper does not say how pooling treats the edge: the authors' code keeps
what is left (Chainer's ``cover_all``), so that a 224 x 224 crop gives maps of 57, 29, 15 and 8 where ResNet-18 has 56,
28, 14 and 7; that is the default here, since their weights were trained so.
"""

from typing import Final

import torch
from torch import Tensor, nn

from thinslice.layers.blocks import ResidualStream, StreamShape, initialise_he
from thinslice.layers.named_seeds import seeded_by_name

SOUND: Final = StreamShape(1, 1, 49, 4, 9, 4, 9, 4)
PICTURES: Final = StreamShape(2, 3, 7, 2, 3, 2, 3, 2)
WIDTHS: Final = (32, 64, 128, 256)
"""Half of ResNet-18's."""

CHAINER_EPS: Final = 2e-5
FRAMES_AT_ONCE: Final = 8
"""Frames that go through the visual stream together when scoring: a CPU takes a quarter longer for 32 of 456 x 256."""

NUM_TRAITS: Final = 5
RATE_HZ: Final = 16000
TRUNCATE_AFTER: Final = 15
"""Seconds after which backpropagation through time stops (section 4)."""


def frames_to_tensor(frames: Tensor) -> Tensor:
    """Return frames (n, height, width, 3) as the visual stream takes them: float32 (n, 3, height, width)."""
    # Contiguous: PyTorch 2.13's CPU backward pass corrupts memory in networks this narrow where channels come last.
    return frames.permute(0, 3, 1, 2).contiguous().float()


class DeepImpression(nn.Module):
    """The network. With the paper's widths 5,601,989 parameters.

    Args:
        widths: channels of the four pairs of blocks, in both streams.
        num_outputs: scores.
        with_sound: whether there is an auditory stream (False for an ablation).
        with_pictures: whether there is a visual stream.
        round_up: see `ResidualStream`.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = WIDTHS,
        num_outputs: int = NUM_TRAITS,
        *,
        with_sound: bool = True,
        with_pictures: bool = True,
        round_up: bool = True,
    ) -> None:
        super().__init__()
        self.sound = ResidualStream(SOUND, widths, CHAINER_EPS, round_up) if with_sound else None
        self.pictures = ResidualStream(PICTURES, widths, CHAINER_EPS, round_up) if with_pictures else None
        self.num_features = widths[-1] * (with_sound + with_pictures)
        self.head = nn.Linear(self.num_features, num_outputs)
        for name, part in self.named_children():
            with seeded_by_name(name):
                initialise_he(part)

    def sound_features(self, waveform: Tensor) -> Tensor:
        """Return the pooled activations (batch, widths[-1]) of sound (batch, samples)."""
        assert self.sound is not None
        features: Tensor = self.sound(waveform[:, None])
        return features

    def picture_features(self, frames: Tensor) -> Tensor:
        """Return the pooled activations (n, widths[-1]) of single frames (n, height, width, 3), in bounded memory.

        In training all frames go through together, since batch normalisation is over all of them.
        """
        assert self.pictures is not None
        if self.training or len(frames) <= FRAMES_AT_ONCE:
            features: Tensor = self.pictures(frames_to_tensor(frames))
            return features
        return torch.cat([self.pictures(frames_to_tensor(part)) for part in frames.split(FRAMES_AT_ONCE)])

    def features(self, waveform: Tensor | None = None, frames: Tensor | None = None) -> Tensor:
        """Return the layer-5 features (batch, features): sound, then pictures pooled over frames."""
        parts = []
        if self.sound is not None:
            assert waveform is not None
            parts.append(self.sound_features(waveform))
        if self.pictures is not None:
            assert frames is not None
            parts.append(self.picture_features(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(1))
        return torch.cat(parts, 1)

    def score(self, features: Tensor) -> Tensor:
        """Return scores (batch, outputs) in [0, 1] of layer-5 features (batch, features): (tanh + 1) / 2."""
        return (torch.tanh(self.head(features)) + 1) / 2

    def forward(self, waveform: Tensor | None = None, frames: Tensor | None = None) -> Tensor:
        """Return scores (batch, outputs) in [0, 1]."""
        return self.score(self.features(waveform, frames))


class FiveNetworks(nn.Module):
    """5xDNN: a network for each trait, fine-tuned from one that was trained on all of them (section 4).

    Args:
        shared: the network that is trained first.
        widths: its.
        round_up: its.
    """

    def __init__(self, shared: DeepImpression, widths: tuple[int, ...] = WIDTHS, round_up: bool = True) -> None:
        super().__init__()
        self.shared = shared
        self.single = nn.ModuleList(
            DeepImpression(widths, 1, round_up=round_up) for _ in range(shared.head.out_features)
        )

    @torch.no_grad()
    def copy_shared(self) -> None:
        """Start every single network as the shared one, its last layer as the shared one's row of its trait.

        Deviations: the paper does not say how the new last layers start.
        """
        state = self.shared.state_dict()
        for trait, network in enumerate(self.single):
            row = {name: state[name][trait : trait + 1] for name in ("head.weight", "head.bias")}
            network.load_state_dict({**state, **row})

    def forward(self, waveform: Tensor, frames: Tensor) -> Tensor:
        """Return scores (batch, 5) in [0, 1]: each trait's by its own network."""
        return torch.cat([network(waveform, frames) for network in self.single], 1)


class RecurrentImpression(nn.Module):
    """DNN + RNN: two layers of LSTM and a linear one on the network's features of every second (section 4).

    Deviations: where dropout stands and how much is not printed; here it is before each LSTM layer and before the
    linear one. The linear units' outputs are not squashed; predictions are clipped to [0, 1] when scored.

    Args:
        network: gives the features; frozen while the rest trains.
        hidden: LSTM units per layer.
        dropout: share of units left out.
    """

    def __init__(self, network: DeepImpression, hidden: int = 512, dropout: float = 0.5) -> None:
        super().__init__()
        self.network = network
        with seeded_by_name("lstm"):
            self.lstm = nn.LSTM(network.num_features, hidden, num_layers=2, batch_first=True, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        with seeded_by_name("linear"):
            self.linear = nn.Linear(hidden, network.head.out_features)

    def features_per_second(self, waveform: Tensor, frames: Tensor, rate_hz: int = RATE_HZ) -> Tensor:
        """Return the features (seconds, features) of every whole second of one clip.

        Args:
            waveform: (samples,), a second of it or more.
            frames: (frames, height, width, 3), evenly spread over the same time.
            rate_hz: samples per second.
        """
        pictures = self.network.picture_features(frames)
        return self.join_seconds(waveform, pictures, rate_hz)

    def join_seconds(self, waveform: Tensor, pictures: Tensor, rate_hz: int = RATE_HZ) -> Tensor:
        """Return the features (seconds, features) of sound (samples,) and of every frame's features (frames, width)."""
        num_seconds = waveform.shape[0] // rate_hz
        sound = self.network.sound_features(waveform[: num_seconds * rate_hz].reshape(num_seconds, rate_hz))
        times = (torch.arange(len(pictures), device=pictures.device) + 0.5) * (waveform.shape[0] / rate_hz)
        times = times / len(pictures)
        seconds = torch.arange(num_seconds, device=pictures.device)
        shares = (times[None].floor() == seconds[:, None]).float()
        # With less than a frame per second, a second without one has the nearest.
        nearest = (times[None] - seconds[:, None] - 0.5).abs().argmin(1, keepdim=True)
        nearest = (torch.arange(len(pictures), device=pictures.device)[None] == nearest).float()
        shares = torch.where(shares.sum(1, keepdim=True) > 0, shares, nearest)
        return torch.cat([sound, shares @ pictures / shares.sum(1, keepdim=True)], 1)

    def score_steps(self, features: Tensor) -> Tensor:
        """Return the traits after each second, (batch, seconds, 5), of features (batch, seconds, features).

        The gradient is cut after every `TRUNCATE_AFTER` seconds.
        """
        state: tuple[Tensor, Tensor] | None = None
        steps = []
        for part in self.dropout(features).split(TRUNCATE_AFTER, 1) if self.training else [features]:
            hidden, state = self.lstm(part, state)
            state = (state[0].detach(), state[1].detach())
            steps.append(self.linear(self.dropout(hidden)))
        return torch.cat(steps, 1)

    def forward(self, waveform: Tensor, frames: Tensor) -> Tensor:
        """Return the traits averaged over each clip, (batch, 5)."""
        clips = zip(waveform, frames, strict=True)
        return torch.cat([self.score_steps(self.features_per_second(*clip)[None]).mean(1) for clip in clips])
