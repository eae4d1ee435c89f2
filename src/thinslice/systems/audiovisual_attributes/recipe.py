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
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from thinslice.errors import UsageError
from thinslice.features.attributes import ATTRIBUTES
from thinslice.features.face_align import REFERENCES
from thinslice.features.spec import FeatureSpec, Scalar
from thinslice.layers.losses import mean_absolute_error, mean_squared_error
from thinslice.layers.named_seeds import seeded_by_name
from thinslice.systems.audiovisual_attributes.hyperparameters import SMALL, Hyperparameters
from thinslice.systems.audiovisual_attributes.look import COLUMNS, Look, num_samples
from thinslice.systems.audiovisual_attributes.network import AudioNetwork, AudiovisualAttributes, Fusion, VisualNetwork
from thinslice.systems.audiovisual_attributes.scores import further_scores
from thinslice.systems.audiovisual_attributes.vgg_face import VggFace
from thinslice.systems.audiovisual_attributes.weights import need_vgg_face, start_from_vgg_face
from thinslice.targets import chosen_targets
from thinslice.train.imported import IMPORTED
from thinslice.train.readings import TABLE, Reading, apply_reading, check_variant, reading_variants, readings_table
from thinslice.train.recipe import (
    Batch,
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
FRESH: Final = "fresh"
WHOLE: Final = tuple(ROWS)[-1]
SIZES: Final = (*ROWS, FRESH, *(SMALL_PREFIX + row for row in ROWS))
READINGS: Final[Mapping[str, Reading]] = {
    "fine_tune": Reading(says="the fusion's stage trains both networks too", changes={"fine_tune": True}),
    "estimates": Reading(
        says="estimated attributes in place of annotated ones, as in a bundle", changes={"annotated": False}
    ),
    "emotions": Reading(says="emotions alone, neither age nor gender", changes={"age": False, "gender": False}),
    "squared": Reading(says="squared error as the loss; the slides print none", changes={"loss": "squared"}),
}
"""Readings of the last row."""

VARIANTS: Final = (*SIZES, *reading_variants(READINGS))
"""The rows, which start from VGG-Face's public weights; the last of them from random weights; the rows at a size for
CPUs, which are ours and start from random weights; and the readings of the last row."""

TABLES: Final[Tables] = {
    "global": {row: row for row in ROWS},
    TABLE: readings_table(WHOLE, "as chosen here", READINGS),
}
"""Table of the slides -> variant -> its name in published.csv; those by gender, age and emotion: `thinslice groups`."""

LABELS: Final = {"waveform": "sound", "faces": "face", "attributes": "face"}

MOST_FOR_LEVEL: Final = 1000
"""Training clips that the level of sound is taken from: more would not change it."""


def audiovisual_attributes(variant: str = "audio+visual+attributes", **hyperparameters: Any) -> Recipe:
    """Return the recipe of a variant.

    Args:
        variant: one of `VARIANTS`.
        **hyperparameters: those that differ from the variant's own, see `Hyperparameters`.

    Raises:
        UsageError: an unknown variant or hyperparameter, or attributes of which all are turned off.
    """
    check_variant("audiovisual_attributes", variant, SIZES, READINGS)
    sized, changes = apply_reading(variant, WHOLE, READINGS)
    row = WHOLE if sized == FRESH else sized.removeprefix(SMALL_PREFIX)
    base = SMALL if sized.startswith(SMALL_PREFIX) else Hyperparameters(weights="" if sized == FRESH else IMPORTED)
    chosen = set_hyperparameters("audiovisual_attributes", base, {**changes, **hyperparameters})
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
        hyperparameters=chosen,
        variants=VARIANTS,
        tables=TABLES,
        further_scores=further_scores,
        paper=PAPER,
        inputs={name: LABELS[name] for name in names},
        outputs=chosen_targets(chosen.targets, TRAITS),
        features={name: spec for name, spec in _specs(chosen).items() if name in names},
        columns=COLUMNS if "attributes" in names and chosen.annotated else (),
        sample=Look(names, chosen),
        build_model=partial(_build_model, names, chosen),
        stages=tuple(stages),
        build_graph=partial(_build_graph, names, chosen),
        limits=_limits(names, chosen),
        check_needs=partial(need_vgg_face, chosen.weights) if "faces" in names else None,
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


def _limits(names: Sequence[str], hyper: Hyperparameters) -> str:
    limits = "Sees a face and hears raw sound: the microphone and light count as much as the person."
    if "faces" in names and not hyper.weights:
        limits += " Its face network started from random weights, not from VGG-Face's."
    if "attributes" not in names:
        return limits
    on = {"age": hyper.age, "gender": hyper.gender, "emotion": hyper.emotion}
    named = ", ".join(name for name, is_on in on.items() if is_on)
    return f"{limits} It is told the person's {named} as networks perceive them, which is not what they are."


def _build_model(names: Sequence[str], hyper: Hyperparameters) -> AudiovisualAttributes:
    audio = visual = fusion = None
    num_outputs = len(chosen_targets(hyper.targets, TRAITS))
    if "waveform" in names:
        dense = (hyper.audio_first, hyper.audio_second, hyper.audio_third)
        with seeded_by_name("audio"):
            audio = AudioNetwork(num_samples(hyper), dense, hyper.dropout, num_outputs)
    if "faces" in names:
        side, _ = _picture(hyper)
        sizes: dict[str, Any] = {"shrink": hyper.shrink, "norm": hyper.norm, "dropout": hyper.dropout}
        with seeded_by_name("visual"):
            visual = VisualNetwork(VggFace(hyper.width, hyper.hidden, side, 0, **sizes), num_outputs)
    if audio is not None and visual is not None:
        dense = (hyper.fusion_first, hyper.fusion_second, hyper.fusion_third)
        used = _used(hyper) if "attributes" in names else ()
        with seeded_by_name("fusion"):
            fusion = Fusion((audio.num_features, visual.num_features), used, dense, hyper.dropout, num_outputs)
    return AudiovisualAttributes(audio, visual, fusion)


_LOSSES: Final = {"absolute": mean_absolute_error, "squared": mean_squared_error}


def _loss_part(loss: str, part: str, name: str, model: nn.Module, batch: Batch) -> Tensor:
    return _LOSSES[loss](model.get_submodule(part)(batch["inputs"][name]), batch["labels"])


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


def _loss_fusion(loss: str, model: nn.Module, batch: Batch) -> Tensor:
    return _LOSSES[loss](_fuse(model, batch["inputs"]), batch["labels"])


def _loss_whole(loss: str, model: nn.Module, batch: Batch) -> Tensor:
    return _LOSSES[loss](model(**batch["inputs"]), batch["labels"])


def set_level(model: nn.Module, data: TrainingClips) -> None:
    """Give the network on sound the training clips' root mean square."""
    assert isinstance(model, AudiovisualAttributes)
    assert model.audio is not None
    step = -(-len(data.clips) // MOST_FOR_LEVEL)
    squares = [np.square(data.reader(i).read("waveform")).mean() for i in range(0, len(data.clips), step)]
    model.audio.level.fill_(max(float(np.sqrt(np.mean(squares))), 1e-6))


def _set_range(look: Look, model: nn.Module, data: TrainingClips) -> None:
    """Give the fusion the range of the training clips' attributes, annotated or estimated."""
    assert isinstance(model, AudiovisualAttributes)
    assert model.fusion is not None
    attributes = [look.attributes_of(data.reader(i)) for i in range(len(data.clips))]
    model.fusion.set_range(torch.from_numpy(np.stack(attributes)))


def _adam(rate: float) -> Any:
    return partial(torch.optim.Adam, lr=rate)


def _audio(hyper: Hyperparameters) -> Stage:
    update = Update(
        loss=partial(_loss_part, hyper.loss, "audio", "waveform"),
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
        parts=("audio",),
        features=("waveform",),
        sample=Look(("waveform",), hyper),
        predict=partial(_predict_part, "audio", "waveform"),
        prepare=set_level,
    )


def _visual(hyper: Hyperparameters) -> Stage:
    update = Update(
        loss=partial(_loss_part, hyper.loss, "visual", "faces"),
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
        parts=("visual",),
        features=("faces",),
        sample=Look(("faces",), hyper),
        predict=partial(_predict_part, "visual", "faces"),
        prepare=partial(start_from_vgg_face, hyper.weights, hyper.colours) if hyper.weights else None,
        drop_last=hyper.norm,
    )


def _fusion(names: tuple[str, ...], hyper: Hyperparameters) -> Stage:
    parts = ("fusion", "audio.dense", "visual.network") if hyper.fine_tune else ("fusion",)
    update = Update(
        loss=partial(_loss_whole if hyper.fine_tune else _loss_fusion, hyper.loss),
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
        "waveform": torch.zeros(num_samples(hyper)),
        "faces": torch.zeros((hyper.num_faces, 1, *_picture(hyper), 3), dtype=torch.uint8),
        "attributes": torch.zeros(len(ATTRIBUTES)),
    }
    return trace(_OfOneClip(model, names), {name: examples[name] for name in names}, {"waveform": (0,)})
