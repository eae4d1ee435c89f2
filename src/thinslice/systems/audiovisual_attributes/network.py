"""Raw sound through dense layers, faces through VGG-Face, then both, and age, gender and emotion beside them.

Source: Alfonso Hernández, "Audio-Visual Deep Learning Regression of Apparent Personality" (thesis, University of
Barcelona; slides "Proposed models").

Inputs of a batch: ``waveform``, float32 (batch, samples) in [-1, 1], the first 5 s; ``faces``, uint8 or float32 (batch,
..., side, side, 3), RGB, any number of faces of each clip; ``attributes``, float32 (batch, 9), see `ATTRIBUTES`, NaN
where unknown.

Deviations: the slides' text has no layer sizes; those here are arguments. Not printed either, and so ours: sound is
scaled by the training clips' root mean square; several faces of a clip are averaged after fc7; the fusion's inputs are
brought to mean 0 and standard deviation 1, over the batch those of the networks, over the training clips the
attributes, an unknown one to their mean; then sound, face and attributes are scaled so that each has the same variance
in all (4,096 numbers of faces would drown 64 of sound and 9 attributes); outputs are squashed by a sigmoid.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from thinslice.systems.audiovisual_attributes.vgg_face import VggFace

EMOTIONS: Final = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
ATTRIBUTES: Final = ("age", "gender", *EMOTIONS)
"""Age in years; gender from 1 (male) to 2 (female); the emotions' probabilities. All perceived, none actual."""

NUM_TRAITS: Final = 5
FACES_AT_ONCE: Final = 8
"""Faces that go through VGG-Face together: 8 of 224 x 224 take about 0.5 GB."""


def dense_layers(num_inputs: int, sizes: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Return rectified dense layers, He et al. 2015's weights, dropout after each but the last."""
    layers: list[nn.Module] = []
    for index, size in enumerate(sizes):
        layer = nn.Linear(num_inputs, size)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
        if dropout and index + 1 < len(sizes):
            layers.append(nn.Dropout(dropout))
        num_inputs = size
    return nn.Sequential(*layers)


class AudioNetwork(nn.Module):
    """Three dense layers on the waveform, and the output.

    Args:
        num_samples: of the waveform; longer sound is cut, shorter is followed by silence.
        sizes: of the dense layers.
        dropout: share of the first layers' outputs left out in training.
        num_outputs: scores.
    """

    level: Tensor

    def __init__(
        self, num_samples: int, sizes: Sequence[int], dropout: float = 0.0, num_outputs: int = NUM_TRAITS
    ) -> None:
        super().__init__()
        self.num_samples, self.num_features = num_samples, sizes[-1]
        self.dense = dense_layers(num_samples, sizes, dropout)
        self.head = nn.Linear(sizes[-1], num_outputs)
        self.register_buffer("level", torch.ones(()))

    def features(self, waveform: Tensor) -> Tensor:
        """Return the last dense layer's outputs (batch, sizes[-1])."""
        silence = waveform.new_zeros(waveform.shape[0], self.num_samples)
        sound = torch.cat([waveform, silence], 1)[:, : self.num_samples]
        features: Tensor = self.dense(sound / self.level)
        return features

    def forward(self, waveform: Tensor) -> Tensor:
        """Return scores (batch, 5) in [0, 1]."""
        return torch.sigmoid(self.head(self.features(waveform)))


class VisualNetwork(nn.Module):
    """VGG-Face without its last layer, averaged over a clip's faces, and the output.

    Args:
        network: gives the features of single faces.
        num_outputs: scores.
    """

    def __init__(self, network: VggFace, num_outputs: int = NUM_TRAITS) -> None:
        super().__init__()
        self.network, self.num_features = network, network.num_features
        self.head = nn.Linear(network.num_features, num_outputs)
        # Rectified features of faces differ little at first: large weights here would start where the sigmoid is flat.
        nn.init.normal_(self.head.weight, std=0.1 / network.num_features**0.5)
        nn.init.zeros_(self.head.bias)

    def features(self, faces: Tensor) -> Tensor:
        """Return fc7's outputs (batch, features), averaged over the faces of each clip, in bounded memory."""
        single = faces.reshape(-1, *faces.shape[-3:])
        if self.training or torch.compiler.is_compiling():  # Batch normalisation is over all of them; a trace has few.
            features = self.network.features(single)
        else:
            features = torch.cat([self.network.features(part) for part in single.split(FACES_AT_ONCE)])
        return features.reshape(faces.shape[0], -1, self.num_features).mean(1)

    def forward(self, faces: Tensor) -> Tensor:
        """Return scores (batch, 5) in [0, 1]."""
        return torch.sigmoid(self.head(self.features(faces)))


class Fusion(nn.Module):
    """Three dense layers on both networks' features, and on attributes where there are any, and the output.

    Args:
        num_features: of each network.
        attributes: places in `ATTRIBUTES` of those that are looked at.
        sizes: of the dense layers.
        dropout: share of the first layers' outputs left out in training.
        num_outputs: scores.
    """

    attribute_mean: Tensor
    attribute_sd: Tensor
    scale: Tensor

    def __init__(
        self,
        num_features: Sequence[int],
        attributes: Sequence[int],
        sizes: Sequence[int],
        dropout: float,
        num_outputs: int = NUM_TRAITS,
    ) -> None:
        super().__init__()
        self.attributes = tuple(attributes)
        self.norm = nn.BatchNorm1d(sum(num_features), affine=False)
        groups = [*num_features, *([len(self.attributes)] if self.attributes else [])]
        shares = [torch.full((size,), (sum(groups) / (len(groups) * size)) ** 0.5) for size in groups]
        self.register_buffer("scale", torch.cat(shares), persistent=False)
        self.register_buffer("attribute_mean", torch.zeros(len(self.attributes)))
        self.register_buffer("attribute_sd", torch.ones(len(self.attributes)))
        self.dense = dense_layers(sum(groups), sizes, dropout)
        self.head = nn.Linear(sizes[-1], num_outputs)

    def set_range(self, attributes: Tensor) -> None:
        """Take the training clips' attributes (clips, 9), NaN where unknown, as what mean and deviation are of."""
        for place, attribute in enumerate(self.attributes):
            known = attributes[:, attribute][~attributes[:, attribute].isnan()]
            if len(known) > 1 and known.std() > 0:
                self.attribute_mean[place] = known.mean()
                self.attribute_sd[place] = known.std()

    def forward(self, features: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Return scores (batch, 5) in [0, 1] of features (batch, features) and attributes (batch, 9)."""
        joined = self.norm(features)
        if self.attributes:
            assert attributes is not None
            chosen = (attributes[:, list(self.attributes)] - self.attribute_mean) / self.attribute_sd
            joined = torch.cat([joined, torch.where(chosen.isnan(), torch.zeros_like(chosen), chosen)], 1)
        return torch.sigmoid(self.head(self.dense(joined * self.scale)))


class AudiovisualAttributes(nn.Module):
    """Any of the four networks: sound, faces, both, both with attributes.

    Args:
        audio: the network on sound, or None.
        visual: the network on faces, or None.
        fusion: what joins them, or None where there is only one.

    Raises:
        ValueError: a fusion without both networks, or both without one.
    """

    def __init__(self, audio: AudioNetwork | None, visual: VisualNetwork | None, fusion: Fusion | None = None) -> None:
        super().__init__()
        if (audio is not None and visual is not None) != (fusion is not None) or (audio is None and visual is None):
            raise ValueError("one network, or two and what joins them")
        self.audio, self.visual, self.fusion = audio, visual, fusion

    def features(self, waveform: Tensor, faces: Tensor) -> Tensor:
        """Return what both networks give, (batch, features): sound's first."""
        assert self.audio is not None
        assert self.visual is not None
        return torch.cat([self.audio.features(waveform), self.visual.features(faces)], 1)

    def forward(
        self, waveform: Tensor | None = None, faces: Tensor | None = None, attributes: Tensor | None = None
    ) -> Tensor:
        """Return scores (batch, 5) in [0, 1]."""
        if self.fusion is not None:
            assert waveform is not None
            assert faces is not None
            scores: Tensor = self.fusion(self.features(waveform, faces), attributes)
            return scores
        if self.audio is not None:
            assert waveform is not None
            return self.audio.forward(waveform)
        assert self.visual is not None
        assert faces is not None
        return self.visual.forward(faces)

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The networks that are there, by name."""
        found = {"audio": self.audio, "visual": self.visual, "fusion": self.fusion}
        return {name: part for name, part in found.items() if part is not None}
