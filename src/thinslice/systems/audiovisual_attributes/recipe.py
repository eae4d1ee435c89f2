"""Sound, face, both, and both with age, gender and emotion: the four rows of a thesis on what moves apparent traits.

Source: Alfonso Hernández, "Audio-Visual Deep Learning Regression of Apparent Personality" (thesis, University of
Barcelona; its slides); `thinslice.systems.audiovisual_attributes.network` has the networks, and the page
docs/systems/audiovisual_attributes.md what was measured.

Deviations: the slides print neither sizes nor training; what they leave open is one of the `Hyperparameters`. The
loss is the mean absolute error (their accuracy is 1 minus that). Adam is one of the three optimisers they explain.
While the fusion trains, both networks stand still (`fine_tune` lets them move). In training one of a clip's faces is
shown, flipped or not. Faces are kept as the store keeps pictures, as JPEG files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from thinslice.errors import UsageError
from thinslice.features.attributes import ATTRIBUTES, annotated_attributes
from thinslice.features.face_align import REFERENCES
from thinslice.features.spec import FeatureSpec, Scalar
from thinslice.layers.losses import mean_absolute_error
from thinslice.systems.audiovisual_attributes.network import AudioNetwork, AudiovisualAttributes, Fusion, VisualNetwork
from thinslice.systems.audiovisual_attributes.vgg_face import VggFace
from thinslice.systems.audiovisual_attributes.weights import load_vgg_face
from thinslice.train.recipe import (
    Arrays,
    Batch,
    ClipReader,
    Mode,
    Recipe,
    Stage,
    Tables,
    TrainingClips,
    Update,
    set_hyperparameters,
)
from thinslice.traits import TRAITS

PAPER: Final = "Alfonso Hernández: Audio-Visual Deep Learning Regression of Apparent Personality, thesis, Barcelona"

ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "audio": ("waveform",),
    "visual": ("faces",),
    "audio+visual": ("waveform", "faces"),
    "audio+visual+attributes": ("waveform", "faces", "attributes"),
}
"""Rows of the slides' global table -> inputs."""

SMALL_PREFIX: Final = "small_"
VARIANTS: Final = (*ROWS, *(SMALL_PREFIX + row for row in ROWS))
"""The rows, and the same at a size for CPUs, which are ours."""

TABLES: Final[Tables] = {"global": {row: row for row in ROWS}}
"""Table of the slides -> variant -> its name in published.csv; those by gender, age and emotion: `thinslice groups`."""

LABELS: Final = {"waveform": "sound", "faces": "face", "attributes": "face"}

COLUMNS: Final = ("age", "age_group", "gender", "emotion")
"""Columns of a manifest from which attributes are taken where they are filled; age in years goes before its group."""

MOST_FOR_LEVEL: Final = 1000
"""Training clips that the level of sound is taken from: more would not change it."""


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
        weights: file of the published VGG-Face weights; "" for fresh ones.
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
    """

    rate_hz: int = 16000
    seconds: float = 5.0
    audio_first: int = 256
    audio_second: int = 128
    audio_third: int = 64
    num_faces: int = 6
    reference: str = "dlib_224"
    detector: str = "landmarker"
    shrink: int = 1
    width: int = 64
    hidden: int = 4096
    norm: bool = False
    weights: str = ""
    colours: str = ""
    fusion_first: int = 512
    fusion_second: int = 256
    fusion_third: int = 128
    dropout: float = 0.5
    age: bool = True
    gender: bool = True
    emotion: bool = True
    annotated: bool = True
    fine_tune: bool = False
    sound_shift: float = 0.0
    face_shift: int = 0
    batch_size: int = 32
    audio_epochs: int = 100
    visual_epochs: int = 30
    fusion_epochs: int = 50
    fusion_keep: Literal["best", "last"] = "best"
    patience: int = 10
    learning_rate: float = 1e-4
    audio_rate: float = 1e-4
    visual_rate: float = 1e-5
    fine_rate: float = 1e-6
    weight_decay: float = 0.0


SMALL: Final = Hyperparameters(
    rate_hz=1000,
    audio_first=128,
    audio_second=32,
    audio_third=16,
    shrink=4,
    width=8,
    hidden=64,
    norm=True,
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


def audiovisual_attributes(variant: str = "audio+visual+attributes", **hyperparameters: Any) -> Recipe:
    """Return the recipe of a variant.

    Args:
        variant: one of `VARIANTS`.
        **hyperparameters: those that differ from the variant's own, see `Hyperparameters`.

    Raises:
        UsageError: an unknown variant or hyperparameter, or attributes of which all are turned off.
    """
    if variant not in VARIANTS:
        raise UsageError(f"audiovisual_attributes has no variant {variant!r}; there are {', '.join(VARIANTS)}")
    row = variant.removeprefix(SMALL_PREFIX)
    chosen = set_hyperparameters(
        "audiovisual_attributes", SMALL if row != variant else Hyperparameters(), hyperparameters
    )
    if chosen.reference not in REFERENCES or len({*_picture(chosen)}) > 1:
        square = [name for name, reference in REFERENCES.items() if reference.height == reference.width]
        raise UsageError(f"audiovisual_attributes takes square faces: reference is one of {', '.join(square)}")
    if "attributes" in ROWS[row] and not _used(chosen):
        raise UsageError("audiovisual_attributes: every attribute is turned off; take the variant audio+visual")
    names = ROWS[row]
    stages = [stage(chosen) for name, stage in (("waveform", _audio), ("faces", _visual)) if name in names]
    if len(names) > 1:
        stages.append(_fusion(names, chosen))
    return Recipe(
        name="audiovisual_attributes",
        arguments={"variant": variant, **asdict(chosen)},
        variants=VARIANTS,
        tables=TABLES,
        paper=PAPER,
        inputs={name: LABELS[name] for name in names},
        outputs=TRAITS,
        features={name: spec for name, spec in _specs(chosen).items() if name in names},
        columns=COLUMNS if "attributes" in names and chosen.annotated else (),
        sample=Look(names, chosen),
        build_model=partial(_build_model, names, chosen),
        stages=tuple(stages),
        build_graph=partial(_build_graph, names, chosen),
        limits=_limits(names, chosen),
    )


def _specs(hyper: Hyperparameters) -> dict[str, FeatureSpec]:
    looked: dict[str, Scalar] = {"detector": hyper.detector}
    return {
        "waveform": FeatureSpec(
            extractor="waveform", params={"rate_hz": hyper.rate_hz, "duration_s": float(hyper.seconds)}
        ),
        "faces": FeatureSpec(
            extractor="aligned_faces",
            params={"reference": hyper.reference, "num_parts": 1, "draws": hyper.num_faces, **looked},
        ),
        "attributes": FeatureSpec(
            extractor="attributes",
            params={"age": hyper.age, "gender": hyper.gender, "emotion": hyper.emotion, **looked},
        ),
    }


def _picture(hyper: Hyperparameters) -> tuple[int, int]:
    return REFERENCES[hyper.reference].height, REFERENCES[hyper.reference].width


def _used(hyper: Hyperparameters) -> tuple[int, ...]:
    """Return the places in `ATTRIBUTES` of those that are not turned off."""
    on = {"age": hyper.age, "gender": hyper.gender}
    return tuple(i for i, name in enumerate(ATTRIBUTES) if on.get(name, hyper.emotion))


def _num_samples(hyper: Hyperparameters) -> int:
    return round(hyper.rate_hz * hyper.seconds)


def _limits(names: Sequence[str], hyper: Hyperparameters) -> str:
    limits = "Sees a face and hears raw sound: the microphone and light count as much as the person."
    if "attributes" not in names:
        return limits
    on = {"age": hyper.age, "gender": hyper.gender, "emotion": hyper.emotion}
    named = ", ".join(name for name, is_on in on.items() if is_on)
    return f"{limits} It is told the person's {named} as networks perceive them, which is not what they are."


def _build_model(names: Sequence[str], hyper: Hyperparameters) -> AudiovisualAttributes:
    audio = visual = fusion = None
    if "waveform" in names:
        dense = (hyper.audio_first, hyper.audio_second, hyper.audio_third)
        audio = AudioNetwork(_num_samples(hyper), dense, hyper.dropout)
    if "faces" in names:
        side, _ = _picture(hyper)
        network = VggFace(
            hyper.width, hyper.hidden, side, 0, shrink=hyper.shrink, norm=hyper.norm, dropout=hyper.dropout
        )
        visual = VisualNetwork(network)
    if audio is not None and visual is not None:
        dense = (hyper.fusion_first, hyper.fusion_second, hyper.fusion_third)
        used = _used(hyper) if "attributes" in names else ()
        fusion = Fusion((audio.num_features, visual.num_features), used, dense, hyper.dropout)
    return AudiovisualAttributes(audio, visual, fusion)


@dataclass(frozen=True)
class Look:
    """How a clip is looked at: as stored; in training one of its faces, flipped or not, sound and face shifted.

    Attributes:
        names: of the inputs.
        hyper: how far things are shifted, and whether annotated attributes count.
    """

    names: tuple[str, ...]
    hyper: Hyperparameters

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        """Return "waveform" (samples,), "faces" (faces, 1, side, side, 3) and "attributes" (9,), those asked for."""
        is_training = mode == "train"
        out: Arrays = {}
        if "waveform" in self.names:
            out["waveform"] = self._sound(clip.read("waveform"), rng) if is_training else clip.read("waveform")
        if "faces" in self.names:
            out["faces"] = self._face(clip, rng) if is_training else clip.read("faces")
        if "attributes" in self.names:
            out["attributes"] = self._attributes(clip)
        return out

    def _sound(self, sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sound = np.pad(sound, (0, max(_num_samples(self.hyper) - len(sound), 0)))  # So that a batch's are equally long.
        most = round(self.hyper.sound_shift * self.hyper.rate_hz)
        if not most:
            return sound
        turned = sound if rng.random() < 0.5 else -sound
        return np.roll(turned, int(rng.integers(most + 1)))

    def _face(self, clip: ClipReader, rng: np.random.Generator) -> np.ndarray:
        face = clip.read("faces", int(rng.integers(clip.shape("faces")[0])))[0]
        if rng.random() < 0.5:
            face = face[:, ::-1]
        most = self.hyper.face_shift
        if most:
            side = face.shape[0]
            top, left = rng.integers(2 * most + 1, size=2)
            rows = np.clip(np.arange(side) + top - most, 0, side - 1)
            columns = np.clip(np.arange(side) + left - most, 0, side - 1)
            face = face[rows][:, columns]
        return np.ascontiguousarray(face)[None, None]

    def _attributes(self, clip: ClipReader) -> np.ndarray:
        estimated = clip.read("attributes")
        if not self.hyper.annotated:
            return estimated
        age, age_group, gender, emotion = (str(clip.read(f"column:{name}")) for name in COLUMNS)
        annotated = annotated_attributes(age.strip() or age_group, gender, emotion)
        return np.where(np.isnan(annotated), estimated, annotated)


def _loss_part(part: str, name: str, model: nn.Module, batch: Batch) -> Tensor:
    return mean_absolute_error(model.get_submodule(part)(batch["inputs"][name]), batch["labels"])


def _predict_part(part: str, name: str, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    scores: Tensor = model.get_submodule(part)(inputs[name])
    return scores


def features_of(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what both frozen networks give, "features" (batch, features), and "attributes" where there are any."""
    assert isinstance(model, AudiovisualAttributes)
    out = {"features": model.features(inputs["waveform"], inputs["faces"])}
    return out | ({"attributes": inputs["attributes"]} if "attributes" in inputs else {})


def _fuse(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    scores: Tensor = model.get_submodule("fusion")(**inputs)
    return scores


def _loss_fusion(model: nn.Module, batch: Batch) -> Tensor:
    return mean_absolute_error(_fuse(model, batch["inputs"]), batch["labels"])


def _loss_whole(model: nn.Module, batch: Batch) -> Tensor:
    return mean_absolute_error(model(**batch["inputs"]), batch["labels"])


def set_level(model: nn.Module, data: TrainingClips) -> None:
    """Give the network on sound the training clips' root mean square."""
    assert isinstance(model, AudiovisualAttributes)
    assert model.audio is not None
    step = -(-len(data.clips) // MOST_FOR_LEVEL)
    squares = [np.square(data.reader(i).read("waveform")).mean() for i in range(0, len(data.clips), step)]
    model.audio.level.fill_(max(float(np.sqrt(np.mean(squares))), 1e-6))


def _start_from_vgg_face(path: str, colours: str, model: nn.Module, data: TrainingClips) -> None:
    assert isinstance(model, AudiovisualAttributes)
    assert model.visual is not None
    load_vgg_face(model.visual.network, path, colours)


def _set_range(look: Look, model: nn.Module, data: TrainingClips) -> None:
    """Give the fusion the range of the training clips' attributes, annotated or estimated."""
    assert isinstance(model, AudiovisualAttributes)
    assert model.fusion is not None
    attributes = [look._attributes(data.reader(i)) for i in range(len(data.clips))]
    model.fusion.set_range(torch.from_numpy(np.stack(attributes)))


def _adam(rate: float) -> Any:
    return partial(torch.optim.Adam, lr=rate)


def _audio(hyper: Hyperparameters) -> Stage:
    update = Update(
        loss=partial(_loss_part, "audio", "waveform"),
        optimiser=partial(torch.optim.AdamW, lr=hyper.audio_rate, weight_decay=0.0),
        trains=("audio",),
        options={"audio.dense": {"weight_decay": hyper.weight_decay}},
    )
    return Stage(
        name="audio",
        updates=(update,),
        batch_size=hyper.batch_size,
        epochs=hyper.audio_epochs,
        patience=hyper.patience,
        sample=Look(("waveform",), hyper),
        predict=partial(_predict_part, "audio", "waveform"),
        prepare=set_level,
    )


def _visual(hyper: Hyperparameters) -> Stage:
    update = Update(
        loss=partial(_loss_part, "visual", "faces"),
        optimiser=_adam(hyper.learning_rate),
        trains=("visual",),
        options={"visual.network": {"lr": hyper.visual_rate}},
    )
    return Stage(
        name="visual",
        updates=(update,),
        batch_size=hyper.batch_size,
        epochs=hyper.visual_epochs,
        patience=hyper.patience,
        sample=Look(("faces",), hyper),
        predict=partial(_predict_part, "visual", "faces"),
        prepare=partial(_start_from_vgg_face, hyper.weights, hyper.colours) if hyper.weights else None,
        drop_last=hyper.norm,
    )


def _fusion(names: tuple[str, ...], hyper: Hyperparameters) -> Stage:
    parts = ("fusion", "audio.dense", "visual.network") if hyper.fine_tune else ("fusion",)
    update = Update(
        loss=_loss_whole if hyper.fine_tune else _loss_fusion,
        optimiser=_adam(hyper.learning_rate),
        trains=parts,
        options={part: {"lr": hyper.fine_rate} for part in parts[1:]},
    )
    look = Look(names, hyper)
    return Stage(
        name="fusion",
        updates=(update,),
        batch_size=hyper.batch_size,
        epochs=hyper.fusion_epochs,
        keep=hyper.fusion_keep,
        patience=hyper.patience if hyper.fusion_keep == "best" else None,
        sample=look,
        precompute=None if hyper.fine_tune else features_of,
        predict=None if hyper.fine_tune else _fuse,
        prepare=partial(_set_range, look) if "attributes" in names else None,
        drop_last=True,
    )


class _OfOneClip(nn.Module):
    """Adds the batch axis that a bundle's inputs lack."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None) -> Tensor:
        arrays = [array[None] for array in (first, second, third) if array is not None]
        scores: Tensor = self.model(**dict(zip(self.names, arrays, strict=True)))[0]
        return scores


def _build_graph(names: tuple[str, ...], hyper: Hyperparameters, model: nn.Module) -> Any:
    """Return the ONNX model, in which the sound may be shorter than in training."""
    from thinslice.layers.onnx_graph import trace

    examples = {
        "waveform": torch.zeros(_num_samples(hyper)),
        "faces": torch.zeros((hyper.num_faces, 1, *_picture(hyper), 3), dtype=torch.uint8),
        "attributes": torch.zeros(len(ATTRIBUTES)),
    }
    return trace(_OfOneClip(model, names), {name: examples[name] for name in names}, {"waveform": (0,)})
