"""Cross-modal embeddings' variants: the rows of the paper's tables, their sizes, and readings of what is open.

`thinslice.systems.cross_modal.recipe` has the source and the deviations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from thinslice.layers.metric_losses import PUBLISHED
from thinslice.layers.resnet import LayoutName
from thinslice.systems.cross_modal.augment import Space
from thinslice.systems.cross_modal.network import FUSED, HIDDEN, MODALITIES, SIAMESE
from thinslice.systems.hyperparameters import Even, NotNegative
from thinslice.train.readings import TABLE, Reading, reading_variants, readings_table
from thinslice.train.recipe import Tables

ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "audio": ("audio",),
    "scene": ("video",),
    "video": ("video",),
    "text": ("text",),
    "audio+video": ("audio", "video"),
    "audio+text": ("audio", "text"),
    "text+video": ("text", "video"),
    "audio+video+text": MODALITIES,
    "cross-modal": MODALITIES,
}
"""Table 1's rows -> modalities. "scene" looks at one frame; "cross-modal" is "Ours"."""

SMALL_PREFIX: Final = "small_"
WHOLE: Final = "cross-modal"
SIZES: Final = (*ROWS, *(SMALL_PREFIX + row for row in ROWS))
"""Table 1's rows, and the same at a size for CPUs, which are ours."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What may be changed of a variant; the defaults are the paper's where it says one.

    Attributes:
        num_frames: frames looked at of each clip; 1 in the variant "scene".
        frame_height: height to which frames are scaled, pixels.
        frame_width: width, pixels.
        side: of the crop, pixels.
        layout: of the ResNet.
        width: channels of its first layer.
        vectors: file of word vectors in GloVe's format.
        vectors_sha256: of that file; None for any file of that name and size.
        vector_size: numbers of a word's vector.
        num_words: words looked at.
        hidden: numbers that each modality's network gives (Q).
        fused: numbers that fusing layers give (O).
        neurons: of the Siamese network's hidden layers.
        embedding: its outputs (E).
        learning_rate: Adam's, before it decays.
        weight_decay: of fully connected layers' weights, but for the Siamese network's.
        audio_batch: clips per step of the network on sound.
        video_batch: of the network on frames.
        text_batch: of the network on words; not printed.
        late_batch: of the stages after them; not printed.
        audio_epochs: at most.
        video_epochs: at most.
        text_epochs: at most.
        late_epochs: at most, of each stage after them; not printed.
        patience: epochs without a better validation accuracy after which a stage ends; not printed.
        stops_early: which modalities' stages do, beside the last ones: the paper says it of "audio" alone.
        colours: where hue and saturation are changed, see `thinslice.systems.cross_modal.augment`.
        unit_length: whether the Siamese loss compares embeddings by their cosine; else by their dot product, as the
            paper's words.
        alpha: weight in the exponent of its positive pairs; not printed, as the next three.
        beta: in that of its negative pairs.
        threshold: lambda, the similarity that separates near from far.
        mining_margin: epsilon of the mining.
        head_scale: factor on the first weights of the layers that give scores. With 1, He's, scores start a multiple of
            the labels' range apart, which thousands of steps get over and some hundreds do not.
        head_bias: their first bias.
        targets: columns of the manifest to be predicted, joined by ","; "" for the paper's.
    """

    num_frames: int = 6
    frame_height: int = 140
    frame_width: int = 248
    side: int = 128
    layout: LayoutName = "resnet50"
    width: int = 64
    vectors: str = "glove.6B.300d.txt"
    vectors_sha256: str | None = None
    vector_size: int = 300
    num_words: int = 80
    hidden: Even = HIDDEN
    fused: int = FUSED
    neurons: int = SIAMESE[0]
    embedding: int = SIAMESE[1]
    learning_rate: NotNegative = 1e-3
    weight_decay: NotNegative = 5e-4
    audio_batch: int = 128
    video_batch: int = 22
    text_batch: int = 128
    late_batch: int = 128
    audio_epochs: int = 100
    video_epochs: int = 80
    text_epochs: int = 50
    late_epochs: int = 50
    patience: int = 10
    stops_early: Literal["audio", "all"] = "audio"
    colours: Space = "hsv"
    unit_length: bool = PUBLISHED.unit_length
    alpha: float = PUBLISHED.alpha
    beta: float = PUBLISHED.beta
    threshold: float = PUBLISHED.base
    mining_margin: float = PUBLISHED.margin
    head_scale: float = 1.0
    head_bias: float = 0.0
    targets: str = ""


SMALL: Final = Hyperparameters(
    frame_height=70,
    frame_width=124,
    side=64,
    layout="resnet10",
    width=16,
    num_frames=4,
    vectors="glove.6B.50d.txt",
    vector_size=50,
    audio_batch=32,
    text_batch=32,
    late_batch=64,
    video_epochs=40,
    video_batch=8,
    weight_decay=20.0,
    patience=30,
    stops_early="all",
    colours="yiq",
    head_scale=0.1,
    head_bias=0.5,
)
"""For CPUs and small corpora. The loss is in hundredths: He's heads start hundreds of these off, which takes more steps
to forget than some hundred clips give, and the paper's decay is as good as none beside it. Early stopping and colours
are those that it was measured with (docs/systems/cross_modal.md)."""

READINGS: Final[Mapping[str, Reading]] = {
    "dot_product": Reading(
        says="embeddings compared by their dot product, as the paper's words", changes={"unit_length": False}
    ),
    "wang": Reading(
        says="lambda 1, as Wang et al. trained with; the library's default is 0.5", changes={"threshold": 1.0}
    ),
    "stops_early": Reading(
        says="video and text stop early too; the paper says it of audio", changes={"stops_early": "all"}
    ),
    "whole_schedules": Reading(says="audio alone stops early, as printed", changes={"stops_early": "audio"}),
    "yiq": Reading(says="hue and saturation in YIQ", changes={"colours": "yiq"}),
    "hsv": Reading(says="hue and saturation in HSV, as TensorFlow's", changes={"colours": "hsv"}),
    "m1_of_256": Reading(says="M1 gives 256 numbers, as equation 5; section 4.2 says 512", changes={"fused": HIDDEN}),
}
"""Readings of "cross-modal". Of two that exclude each other one is the choice of the full size, one of the small."""

VARIANTS: Final = (*SIZES, *reading_variants(READINGS))
"""Table 1's rows at both sizes, and the readings of the last."""

TABLES: Final[Tables] = {
    "1": {row: row if row != "cross-modal" else "cross-modal (ours)" for row in ROWS},
    "2": {"audio+video+text": "audio+video+text", "cross-modal": "cross-modal (ours)"},
    TABLE: readings_table(WHOLE, "as chosen here", READINGS),
}
"""What `thinslice table cross_modal N` runs: table -> variant -> its name in published.csv."""
