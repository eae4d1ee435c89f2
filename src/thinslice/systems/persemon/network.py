"""PersEmoN: one face network, two branches (apparent personality, emotion), and a layer from emotion to personality.

Source: Zhang, Peng, Winkler, "PersEmoN: A Deep Network for Joint Analysis of Apparent Personality, Emotion and Their
Relationship", sections 3.1 to 3.5, figure 1 and Table 1: FEM (`sphereface`), PAM (5, sigmoid), EAM (2,
tanh), RAM (2 -> 128, ReLU -> 5, sigmoid), and a classifier (2) that tells the data sets apart.

Input is ``faces``, (batch, draws, K, height, width, 3), RGB in [0, 255], uint8 or float: K faces of each clip, as often
as somebody drew them; scores are averaged over draws.

Deviations: Table 1 gives RAM's last layer 2 outputs; it predicts five traits (section 3.4), so it has 5 here. PAM's
consensus is over the five numbers of each face before the sigmoid (equation 1: "the raw outputs"; Table 1 lists the
pooling after FC2), RAM's over the faces' emotions before its layers (equation 11). With the LSTM, whose use in RAM is
not described, RAM averages. `Heads` has what the authors' training definition does otherwise.
"""

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from thinslice.layers.named_seeds import seeded_by_name
from thinslice.systems.persemon.sphereface import (
    HEIGHT,
    NUM_FEATURES,
    UNITS,
    WIDTH,
    WIDTHS,
    SphereFace,
    faces_to_tensor,
)

Consensus = Literal["mean", "max", "lstm"]

COMPANION: Final = "emotion"
"""The data set of pictures with valence and arousal that runs beside the clips."""

EMOTIONS: Final = ("valence", "arousal")
"""What EAM says, in this order, each in (-1, 1)."""

NUM_TRAITS: Final = 5
NUM_HIDDEN: Final = 128
"""Units of RAM's hidden layer, and of the LSTM (section 4.6.2)."""

PAPER_FUSION: Final = 6 / 7
"""PAM's weight beside RAM's: 6 to 1 (section 4.4)."""

PERSONALITY, EMOTION = 0, 1
"""What the classifier calls the two data sets."""


@dataclass(frozen=True, kw_only=True)
class Heads:
    """How PAM and RAM end; the defaults are the paper's.

    Attributes:
        num_targets: outputs of PAM and of RAM.
        ram_units: of RAM's hidden layer.
        ram_consensus: what the faces of a clip agree on in RAM: their "emotions" before its layers, or its "scores".
        raw: whether PAM is not squashed and RAM by tanh, instead of both by a sigmoid.
        caffe: whether first weights are those of the authors' definition: uniform, of variance 1 / inputs, N(0, 0.005²)
            in the classifier, biases 0.
    """

    num_targets: int = NUM_TRAITS
    ram_units: int = NUM_HIDDEN
    ram_consensus: str = "emotions"
    raw: bool = False
    caffe: bool = False


class PersEmoN(nn.Module):
    """The network; at the paper's size and with the mean as consensus 22,676,303 parameters.

    Args:
        widths: channels of the face network's groups.
        units: residual units of the groups.
        num_features: of the face network.
        shrink: by how much faces are made smaller first, averaging over pixels; 1 in the paper.
        consensus: how the faces of a clip become one prediction.
        heads: how PAM and RAM end.

    Attributes:
        fem: feature extraction module.
        pam: personality analysis module.
        eam: emotion analysis module.
        ram: relationship analysis module.
        domain: classifier of data sets.
        lstm: with consensus "lstm", over the faces' features.
        fusion: PAM's weight, in [0, 1], beside RAM's; a search on validation clips may change it, no gradient does.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = WIDTHS,
        units: tuple[int, ...] = UNITS,
        num_features: int = NUM_FEATURES,
        shrink: int = 1,
        consensus: Consensus = "mean",
        heads: Heads | None = None,
    ) -> None:
        super().__init__()
        self.shrink = shrink
        self.consensus = consensus
        self.heads = heads = heads or Heads()
        with seeded_by_name("fem"):
            self.fem = SphereFace(widths, units, num_features, HEIGHT // shrink, WIDTH // shrink)
        with seeded_by_name("lstm"):
            self.lstm = nn.LSTM(num_features, NUM_HIDDEN, batch_first=True) if consensus == "lstm" else None
        with seeded_by_name("pam"):
            self.pam = nn.Linear(num_features if self.lstm is None else NUM_HIDDEN, heads.num_targets)
        with seeded_by_name("eam"):
            self.eam = nn.Linear(num_features, len(EMOTIONS))
        with seeded_by_name("ram"):
            self.ram = nn.Sequential(
                nn.Linear(len(EMOTIONS), heads.ram_units), nn.ReLU(), nn.Linear(heads.ram_units, heads.num_targets)
            )
        with seeded_by_name("domain"):
            self.domain = nn.Linear(num_features, 2)
        self.fusion = nn.Parameter(torch.tensor(PAPER_FUSION))
        if heads.caffe:
            self._initialise_as_caffe()

    def features(self, faces: Tensor) -> Tensor:
        """Return FEM's features (..., num_features) of faces (..., height, width, 3)."""
        before = faces.shape[:-3]
        pictures = faces_to_tensor(faces.flatten(0, -4))
        if self.shrink > 1:
            pictures = functional.avg_pool2d(pictures, self.shrink)
        features: Tensor = self.fem(pictures)
        return features.unflatten(0, before)

    def personality(self, features: Tensor) -> Tensor:
        """Return PAM's scores (batch, targets) of the features (batch, K, num_features) of each clip's faces."""
        if self.lstm is not None:
            hidden: Tensor = self.lstm(features)[0]
            scores: Tensor = self.pam(hidden.mean(1))
        else:
            scores = self._agree(self.pam(features))
        return scores if self.heads.raw else torch.sigmoid(scores)

    def emotion(self, features: Tensor) -> Tensor:
        """Return EAM's valence and arousal (..., 2) in (-1, 1) of features (..., num_features)."""
        return torch.tanh(self.eam(features))

    def relationship(self, emotions: Tensor) -> Tensor:
        """Return RAM's scores (batch, targets) of the emotions (batch, K, 2) of each clip's faces."""
        squash = torch.tanh if self.heads.raw else torch.sigmoid
        if self.heads.ram_consensus == "scores":
            return self._agree(squash(self.ram(emotions)))
        return squash(self.ram(self._agree(emotions)))

    def fuse(self, personality: Tensor, relationship: Tensor) -> Tensor:
        """Return the weighted mean of PAM's and RAM's scores (section 4.4)."""
        return self.fusion * personality + (1 - self.fusion) * relationship

    def scores(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Return PAM's and RAM's scores, (batch, targets) each, of faces (batch, draws, K, height, width, 3)."""
        features = self.features(faces)
        batch, draws = faces.shape[:2]
        by_draw = features.flatten(0, 1)
        both = self.personality(by_draw), self.relationship(self.emotion(by_draw))
        personality, relationship = (value.unflatten(0, (batch, draws)).mean(1) for value in both)
        return personality, relationship

    def forward(self, faces: Tensor) -> Tensor:
        """Return the fused scores (batch, targets) of faces (batch, draws, K, height, width, 3)."""
        return self.fuse(*self.scores(faces))

    @torch.no_grad()
    def _initialise_as_caffe(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and not name.startswith("fem"):
                bound = (3 / module.in_features) ** 0.5
                with seeded_by_name(name):
                    nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)
        with seeded_by_name("domain"):
            nn.init.normal_(self.domain.weight, std=0.005)

    def _agree(self, values: Tensor) -> Tensor:
        """Return the consensus (batch, n) of values (batch, K, n)."""
        return values.amax(1) if self.consensus == "max" else values.mean(1)
