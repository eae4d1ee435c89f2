"""What may be changed of a variant, and the size for CPUs."""

from dataclasses import dataclass
from typing import Final, Literal

from thinslice.systems.hyperparameters import NotNegative, Share
from thinslice.train.imported import IMPORTED


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What a variant's size is. The slides give the seconds of sound, the side of the faces and the layers' number.

    Attributes:
        rate_hz: of the sound; 16 kHz in the paper that the slides name as their model.
        seconds: of sound, from the clip's start.
        audio_first: outputs of the first dense layer on sound.
        audio_second: of the second.
        audio_third: of the third.
        num_faces: kept of each clip, in the middles of equal parts.
        reference: where a face lies in its picture, see `thinslice.features.face_align.REFERENCES`.
        detector: "landmarker", "mtcnn" or "hog".
        shrink: faces are averaged over squares of this side before the network.
        width: channels of VGG's first block.
        hidden: outputs of fc6 and fc7.
        norm: whether batch normalisation follows VGG's convolutions; the published weights have none.
        weights: file of the published VGG-Face weights, or `IMPORTED` for those that `thinslice import vgg-face` has
            read; "" for random ones.
        colours: order of that file's colours, see `thinslice.systems.audiovisual_attributes.weights.load_vgg_face`.
        fusion_first: outputs of the first dense layer on both networks.
        fusion_second: of the second.
        fusion_third: of the third.
        dropout: in dense layers.
        age: whether the age is one of the attributes.
        gender: whether gender is.
        emotion: whether the seven emotions are.
        annotated: whether the manifest's age, age group, gender and emotion count where they are filled.
        fine_tune: whether the fusion's stage trains the two networks too.
        sound_shift: largest shift of the sound in training, seconds; what leaves at the end comes in at the start.
            With it the sound is also turned upside down or not. Else dense layers learn a few hundred clips by heart.
        face_shift: largest shift of a face in training, pixels each way, edges repeated.
        loss: "absolute" error, of which the slides' accuracy is made, or "squared".
        batch_size: clips per step.
        audio_epochs: at most.
        visual_epochs: at most.
        fusion_epochs: at most.
        fusion_keep: whether the fusion ends with its "best" weights on the validation clips, or its "last".
        patience: epochs without a better validation accuracy after which a stage ends.
        learning_rate: Adam's, where no other is named.
        audio_rate: Adam's for the network on sound.
        visual_rate: Adam's for VGG's layers.
        fine_rate: Adam's for both networks while the fusion trains, with `fine_tune`.
        weight_decay: of the dense layers' weights on sound, decoupled (AdamW).
        targets: columns of the manifest to be predicted, joined by ","; "" for the paper's.
    """

    rate_hz: int = 16000
    seconds: float = 5.0
    audio_first: int = 256
    audio_second: int = 128
    audio_third: int = 64
    num_faces: int = 6
    reference: str = "dlib_224"
    detector: Literal["landmarker", "mtcnn", "hog"] = "landmarker"
    shrink: int = 1
    width: int = 64
    hidden: int = 4096
    norm: bool = False
    weights: str = IMPORTED
    colours: Literal["rgb", "bgr", ""] = ""
    fusion_first: int = 512
    fusion_second: int = 256
    fusion_third: int = 128
    dropout: Share = 0.5
    age: bool = True
    gender: bool = True
    emotion: bool = True
    annotated: bool = True
    fine_tune: bool = False
    sound_shift: float = 0.0
    face_shift: int = 0
    loss: Literal["absolute", "squared"] = "absolute"
    batch_size: int = 32
    audio_epochs: int = 100
    visual_epochs: int = 30
    fusion_epochs: int = 50
    fusion_keep: Literal["best", "last"] = "best"
    patience: int = 10
    learning_rate: NotNegative = 1e-4
    audio_rate: NotNegative = 1e-4
    visual_rate: NotNegative = 1e-5
    fine_rate: NotNegative = 1e-6
    weight_decay: NotNegative = 0.0
    targets: str = ""


SMALL: Final = Hyperparameters(
    rate_hz=1000,
    audio_first=128,
    audio_second=32,
    audio_third=16,
    shrink=4,
    width=8,
    hidden=64,
    norm=True,
    weights="",
    fusion_first=64,
    fusion_second=32,
    fusion_third=16,
    dropout=0.2,
    sound_shift=4.0,
    face_shift=12,
    batch_size=16,
    visual_epochs=70,
    fusion_keep="last",
    patience=30,
    learning_rate=1e-3,
    audio_rate=3e-3,
    visual_rate=1e-3,
)
"""For CPUs and small corpora: minutes for some hundred clips. The fusion's last weights are kept: on so few clips the
best average over the traits comes before it has learnt from sound, as long as most traits cannot be learnt at all."""
