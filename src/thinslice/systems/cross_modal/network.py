"""Cross-modal embeddings: sound, pictures and words by themselves, fused, and in one shared space.

Source: Fodor, Saboundji, Lőrincz, "Enhancing Apparent Personality Trait Analysis with Cross-Modal Embeddings",
sections 3.2 to 3.4, 4.2 and figure 1.

Inputs are ``egemaps``, float32 (batch, 88), NaN where a clip has no sound; ``frames``, (batch, frames, height, width,
3), RGB in [0, 255], zeros where a clip has no pictures, of which the middle is cut out; ``words``, float32 (batch,
words, size), the words' vectors, zeros after the last one.

Deviations: the widths of hidden layers that only figure 1 shows are not in the text: here 256 in the network on sound,
128 in each direction of the GRU, so that all three give 256 numbers. Equation 5 maps the fused features to Q numbers,
section 4.2 says 512: here 512. The GRU also runs over the zeros after the last word, its attention does not see them.
An input that is missing (the paper has none) gives a stand-in: the mean over training clips of what its network gives.
"""

from typing import Final

import torch
from torch import Tensor, nn

from thinslice.layers.blocks import initialise_he
from thinslice.layers.named_seeds import seeded_by_name
from thinslice.layers.resnet import ResNet

MODALITIES: Final = ("audio", "video", "text")
INPUTS: Final = {"audio": "egemaps", "video": "frames", "text": "words"}
"""Modality -> name of its input."""

NUM_TRAITS: Final = 5
HIDDEN: Final = 256
"""Q: numbers that each modality's network gives."""

FUSED: Final = 512
"""O: numbers that the fusing layers give."""

SIAMESE: Final = (200, 128)
"""Hidden neurons of the Siamese network, twice, and its outputs (E)."""

NUM_FUNCTIONALS: Final = 88
SIDE: Final = 128
"""Height and width of what is looked at, pixels."""


class AudioNetwork(nn.Module):
    """Two fully connected layers on functionals that are scaled to [0, 1] over the training clips.

    With the paper's sizes 88,576 parameters.

    Args:
        num_inputs: functionals.
        hidden: numbers of each layer.
    """

    lowest: Tensor
    highest: Tensor

    def __init__(self, num_inputs: int = NUM_FUNCTIONALS, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.first = nn.Linear(num_inputs, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.register_buffer("lowest", torch.zeros(num_inputs))
        self.register_buffer("highest", torch.ones(num_inputs))
        initialise_he(self)

    @torch.no_grad()
    def set_range(self, functionals: Tensor) -> None:
        """Remember the range of the training clips' functionals (n, inputs); NaN rows do not count."""
        known = functionals[~functionals.isnan().any(1)]
        if len(known):
            self.lowest.copy_(known.min(0).values)
            self.highest.copy_(known.max(0).values)

    def forward(self, egemaps: Tensor) -> Tensor:
        """Return (batch, hidden) of functionals (batch, inputs) without NaN."""
        # A functional that is the same in all training clips says nothing.
        width = self.highest - self.lowest
        scaled = (egemaps - self.lowest) / torch.where(width > 0, width, torch.ones_like(width))
        return torch.relu(self.second(torch.relu(self.first(scaled))))


class VideoNetwork(nn.Module):
    """ResNet-50 on every frame, averaged over time, dropout, one fully connected layer. 24,032,576 parameters.

    Args:
        layout: of the ResNet; see `thinslice.layers.resnet.LAYOUTS`.
        width: channels of its first layer.
        side: height and width of what is looked at, pixels.
        hidden: numbers that come out.
        dropout: share of numbers left out.
    """

    def __init__(
        self, layout: str = "resnet50", width: int = 64, side: int = SIDE, hidden: int = HIDDEN, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.side = side
        self.backbone = ResNet(layout, width=width)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(self.backbone.num_features, hidden)
        initialise_he(self)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (batch, hidden) of frames (batch, frames, height, width, 3), RGB in [0, 255]."""
        num_frames, height, width = frames.shape[1:4]
        top, left = (height - self.side) // 2, (width - self.side) // 2
        pictures = frames[:, :, top : top + self.side, left : left + self.side].flatten(0, 1)
        # Contiguous: oneDNN writes out of bounds in the backward pass of channels-last pictures and few channels.
        features = self.backbone(pictures.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1)
        pooled = features.unflatten(0, (-1, num_frames)).mean(1)
        return torch.relu(self.dense(self.dropout(pooled)))


class TextNetwork(nn.Module):
    """A GRU in both directions on words' vectors, and attention over its steps.

    The attention is the simplified one of Raffel and Ellis 2016, equations 3 and 4: one learned number for each step by
    itself, a softmax over the steps, the weighted mean. With 300-d vectors 330,497 parameters.

    Args:
        size: of a word's vector.
        hidden: numbers that come out, half of them from each direction.
        dropout: share of the input's numbers left out.
    """

    def __init__(self, size: int = 300, hidden: int = HIDDEN, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(size, hidden // 2, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(hidden, 1)
        initialise_he(self)
        nn.init.xavier_normal_(self.attention.weight)

    def forward(self, words: Tensor) -> Tensor:
        """Return (batch, hidden) of vectors (batch, words, size), zeros where there is no word."""
        steps, _ = self.gru(self.dropout(words))
        scores = torch.tanh(self.attention(steps)).squeeze(2)
        is_word = (words != 0).any(2)
        # Of a clip without words all steps count alike; what comes out is replaced.
        is_word = is_word | ~is_word.any(1, keepdim=True)
        weights = torch.softmax(scores.masked_fill(~is_word, -1e9), 1)
        return (weights[..., None] * steps).sum(1)


class Siamese(nn.Sequential):
    """The network that maps what any modality gives into the shared space: with the paper's sizes 117,328 parameters.

    Args:
        hidden: numbers that go in.
        neurons: of the two hidden layers.
        size: of an embedding.
        dropout: share of numbers left out after the first hidden layer.
    """

    def __init__(
        self, hidden: int = HIDDEN, neurons: int = SIAMESE[0], size: int = SIAMESE[1], dropout: float = 0.5
    ) -> None:
        super().__init__(
            nn.Linear(hidden, neurons),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(neurons, neurons),
            nn.ReLU(),
            nn.Linear(neurons, size),
        )
        initialise_he(self)


class CrossModal(nn.Module):
    """The modalities' networks with a head each, and what fuses them.

    Attributes:
        networks: modality -> network (f_A, f_V, f_T).
        heads: modality -> linear layer to the traits (p).
        fusion: M1 on the concatenated hidden representations, and its head; None with a single modality.
        siamese: S; None where there are no embeddings.
        fused: M2 on M1's numbers and the embeddings, and its head; None likewise.

    Args:
        networks: modality -> network that gives `hidden` numbers; their order is that of concatenation.
        with_embeddings: whether the Siamese network and M2 are there ("Ours").
        hidden: numbers that each network gives.
        fused: numbers that M1 and M2 give.
        siamese: neurons and outputs of the Siamese network.
    """

    stand_in: Tensor
    class_mean: Tensor
    class_sd: Tensor

    def __init__(
        self,
        networks: dict[str, nn.Module],
        with_embeddings: bool = False,
        hidden: int = HIDDEN,
        fused: int = FUSED,
        siamese: tuple[int, int] = SIAMESE,
        num_outputs: int = NUM_TRAITS,
    ) -> None:
        super().__init__()
        self.modalities = tuple(networks)
        self.networks = nn.ModuleDict(networks)
        self.heads = nn.ModuleDict()
        for name in networks:
            with seeded_by_name(f"heads.{name}"):
                self.heads[name] = nn.Linear(hidden, num_outputs)
                initialise_he(self.heads[name])
        self.fusion: nn.ModuleDict | None = None
        self.siamese: Siamese | None = None
        self.fused: nn.ModuleDict | None = None
        count = len(networks)
        if count > 1:
            with seeded_by_name("fusion"):
                self.fusion = _layer_and_head(count * hidden, fused, num_outputs)
        if with_embeddings:
            with seeded_by_name("siamese"):
                self.siamese = Siamese(hidden, *siamese)
            with seeded_by_name("fused"):
                self.fused = _layer_and_head(fused + count * siamese[1], fused, num_outputs)
        self.register_buffer("stand_in", torch.zeros(count, hidden))
        # Of the training labels: they define the Siamese network's classes.
        self.register_buffer("class_mean", torch.full((num_outputs,), 0.5))
        self.register_buffer("class_sd", torch.full((num_outputs,), 0.15))

    def hidden(
        self, egemaps: Tensor | None = None, frames: Tensor | None = None, words: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return what each network gives, and which inputs are there.

        Returns:
            (float32 (batch, modalities, hidden), stand-ins where the input is missing;
            bool (batch, modalities), whether it is there).
        """
        inputs = {"audio": egemaps, "video": frames, "text": words}
        values, present = [], []
        for index, name in enumerate(self.modalities):
            given = inputs[name]
            assert given is not None
            is_there = find_present(name, given)
            known = torch.nan_to_num(given) if name == "audio" else given
            values.append(torch.where(is_there[:, None], self.networks[name](known), self.stand_in[index]))
            present.append(is_there)
        return torch.stack(values, 1), torch.stack(present, 1)

    def score_alone(self, modality: str, given: Tensor) -> Tensor:
        """Return the scores (batch, 5) of one modality's own network and head: equation 2."""
        known = torch.nan_to_num(given) if modality == "audio" else given
        scores: Tensor = self.heads[modality](self.networks[modality](known))
        return scores

    def score_fusion(self, hidden: Tensor) -> Tensor:
        """Return the scores (batch, 5) of hidden representations (batch, modalities, hidden): equation 5."""
        assert self.fusion is not None
        scores: Tensor = self.fusion["head"](self._fuse(hidden))
        return scores

    def embed(self, hidden: Tensor) -> Tensor:
        """Return the embeddings (batch, modalities, size) of (batch, modalities, hidden): equation 6."""
        assert self.siamese is not None
        embeddings: Tensor = self.siamese(hidden)
        return embeddings

    def score_fused(self, hidden: Tensor) -> Tensor:
        """Return the scores (batch, 5) of fused representations and embeddings: equation 8."""
        assert self.fused is not None
        both = torch.cat([self._fuse(hidden), self.embed(hidden).flatten(1)], 1)
        scores: Tensor = self.fused["head"](torch.relu(self.fused["layer"](both)))
        return scores

    def score_hidden(self, hidden: Tensor) -> Tensor:
        """Return the scores (batch, 5) of the last stage that there is."""
        if self.fused is not None:
            return self.score_fused(hidden)
        if self.fusion is not None:
            return self.score_fusion(hidden)
        scores: Tensor = self.heads[self.modalities[0]](hidden[:, 0])
        return scores

    def forward(
        self, egemaps: Tensor | None = None, frames: Tensor | None = None, words: Tensor | None = None
    ) -> Tensor:
        """Return scores (batch, 5), not limited to [0, 1]."""
        return self.score_hidden(self.hidden(egemaps, frames, words)[0])

    def _fuse(self, hidden: Tensor) -> Tensor:
        assert self.fusion is not None
        return torch.relu(self.fusion["layer"](hidden.flatten(1)))


def find_present(modality: str, given: Tensor) -> Tensor:
    """Return which clips of a batch have an input, bool (batch,): no NaN in sound, anything but 0 in the others."""
    flat = given.flatten(1)
    return ~flat.isnan().any(1) if modality == "audio" else (flat != 0).any(1)


def _layer_and_head(inputs: int, outputs: int, num_scores: int) -> nn.ModuleDict:
    both = nn.ModuleDict({"layer": nn.Linear(inputs, outputs), "head": nn.Linear(outputs, num_scores)})
    initialise_he(both)
    return both
