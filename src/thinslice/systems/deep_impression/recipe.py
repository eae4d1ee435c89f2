"""Deep Impression, third in the first ChaLearn First Impressions challenge: raw sound and raw frames, end to end.

Source: Güçlütürk, Güçlü, van Gerven, van Lier 2016 (ECCV workshops); see `network` for the
networks and docs/systems/deep_impression.md for what was measured.

Deviations: 375 frames are kept of every clip, evenly spread, where the authors resampled to 25 frames a second: the
same for clips of 15 s. They are kept as JPEG files of quality 90. What the paper leaves open is an argument or said in
`_five_stages` and `_recurrent_stages`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.layers.losses import mean_absolute_error, mean_squared_error
from thinslice.systems.deep_impression.network import RATE_HZ, DeepImpression, FiveNetworks, RecurrentImpression
from thinslice.systems.hyperparameters import NotNegative
from thinslice.targets import chosen_targets
from thinslice.train.mirror import mirror
from thinslice.train.readings import TABLE, Reading, apply_reading, check_variant, reading_variants, readings_table
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

KINDS: Final = ("dnn", "5xdnn", "dnn_rnn", "sound", "pictures")
SIZES: Final = (*KINDS, "small", *(f"small_{kind}" for kind in KINDS))
READINGS: Final[Mapping[str, Reading]] = {
    "rounds_down": Reading(
        says="pooling drops what is left at an edge, as ResNet-18, which the paper names, and other libraries",
        changes={"round_up": False},
    ),
    "squared": Reading(
        says="squared error, as DeepPersonality trains this network; the paper says absolute",
        changes={"loss": "squared"},
    ),
    "he_head": Reading(
        says="the last layer starts as the authors' code draws it; only the small size differs",
        changes={"head_scale": 1.0},
    ),
}
"""Readings of "dnn"."""

VARIANTS: Final = (*SIZES, *reading_variants(READINGS))
"""The challenge model, the two models of section 4, two ablations, which are ours, and all of these at a size for CPUs;
"small" is "small_dnn"; and the readings of the challenge model."""

TABLES: Final[Tables] = {
    "1": {"dnn@third": "300 epochs", "dnn@two_thirds": "600 epochs", "dnn": "900 epochs"},
    "2": {"dnn": "900 epochs"},
    "3": {"dnn": "900 epochs", "5xdnn": "5xDNN", "dnn_rnn": "DNN+RNN"},
    TABLE: readings_table("dnn", "as the authors' code", READINGS),
}
"""Table of the paper -> variant, at a checkpoint where that is not the end -> its name in published.csv."""

TABLE_SPLITS: Final = {"1": "validation", "3": "validation"}


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What may be changed of a variant; the defaults are the paper's.

    Attributes:
        width: channels of the first blocks; every second block doubles them.
        frame_width: width to which frames are scaled, pixels.
        frame_height: height, pixels.
        crop: side of the training crop, pixels.
        num_frames: frames kept of each clip.
        num_samples: length of the training crop of sound at 16 kHz, samples; in the paper the square of `crop`.
        validation_frames: frames looked at when validating after an epoch; the final scores look at all.
        validate_every: epochs between two scorings of the validation clips, which choose nothing: with every epoch it
            is four times the work of training.
        batch_size: clips per step.
        epochs: passes over the training clips; the rate is divided by 10 after every third of them.
        learning_rate: Adam's.
        head_scale: factor on the last layer's first weights. With 1, He's, many outputs start where tanh is flat, which
            hundreds of epochs get over and some dozens do not.
        round_up: whether pooling keeps what is left at an edge, see `network`.
        loss: "absolute" error or "squared".
        targets: columns of the manifest to be predicted, joined by ","; "" for the paper's.
    """

    width: int = 32
    frame_width: int = 456
    frame_height: int = 256
    crop: int = 224
    num_frames: int = 375
    num_samples: int = 50176
    validation_frames: int = 25
    validate_every: int = 100
    batch_size: int = 32
    epochs: int = 900
    learning_rate: NotNegative = 2e-4
    head_scale: float = 1.0
    round_up: bool = True
    loss: str = "absolute"
    targets: str = ""


SMALL: Final = Hyperparameters(
    width=4,
    frame_width=96,
    frame_height=96,
    crop=96,
    num_frames=30,
    num_samples=16384,
    validation_frames=5,
    validate_every=6,
    epochs=18,
    learning_rate=2e-3,
    head_scale=0.1,
)
"""For CPUs and small corpora: a minute or two for some hundred clips. The crop is the whole frame: the last maps are
4 x 4, mostly border, and those of a smaller crop would have so much more of it that its pooled features differ from a
frame's, and scores, though right in their order, are off by a factor. Twice the width learns the same traits, and the
training clips by heart besides."""

PAPER: Final = "Güçlütürk, Güçlü, van Gerven, van Lier: Deep Impression, ECCV 2016 workshops"


def deep_impression(variant: str = "dnn", **hyperparameters: Any) -> Recipe:
    """Return the recipe of a variant.

    Args:
        variant: one of `VARIANTS`.
        **hyperparameters: those that differ from the variant's own, see `Hyperparameters`.

    Raises:
        UsageError: an unknown variant, hyperparameter or loss, or a crop that is larger than the frame.
    """
    check_variant("deep_impression", variant, SIZES, READINGS)
    sized, changes = apply_reading(variant, "dnn", READINGS)
    chosen = set_hyperparameters(
        "deep_impression",
        SMALL if sized.startswith("small") else Hyperparameters(),
        {**changes, **hyperparameters},
    )
    if chosen.loss not in LOSSES:
        raise UsageError(f"deep_impression: loss={chosen.loss}; take {' or '.join(LOSSES)}")
    if chosen.crop > min(chosen.frame_width, chosen.frame_height):
        raise UsageError(f"deep_impression: a crop of {chosen.crop} does not fit into the frame")
    return _build(variant, sized, chosen)


def _build(variant: str, sized: str, hyper: Hyperparameters) -> Recipe:
    kind = sized.removeprefix("small").removeprefix("_") or "dnn"
    with_sound, with_pictures = kind != "pictures", kind != "sound"
    specs = {
        "waveform": FeatureSpec(extractor="waveform", params={"rate_hz": RATE_HZ}),
        "frames": FeatureSpec(
            extractor="frames",
            params={
                "num_frames": hyper.num_frames,
                "width": hyper.frame_width,
                "height": hyper.frame_height,
            },
        ),
    }
    labels = {"waveform": "sound", "frames": "scene"}
    used = [name for name, wanted in (("waveform", with_sound), ("frames", with_pictures)) if wanted]
    widths = tuple(hyper.width * factor for factor in (1, 2, 4, 8))
    outputs = chosen_targets(hyper.targets, TRAITS)
    parts = {"with_sound": with_sound, "with_pictures": with_pictures, "round_up": hyper.round_up}
    network = partial(_network, widths, len(outputs), parts, hyper.head_scale)
    makes: dict[str, Callable[[], nn.Module]] = {
        "5xdnn": partial(_five_networks, network, widths, hyper.round_up),
        "dnn_rnn": partial(_recurrent, network),
    }
    stages = {"5xdnn": _five_stages, "dnn_rnn": _recurrent_stages}.get(kind, _stages)(hyper)
    return Recipe(
        name="deep_impression",
        arguments={"variant": variant, **asdict(hyper)},
        hyperparameters=hyper,
        variants=VARIANTS,
        tables=TABLES,
        table_splits=TABLE_SPLITS,
        paper=PAPER,
        inputs={name: labels[name] for name in used},
        outputs=outputs,
        features={name: specs[name] for name in used},
        sample=Crops(tuple(used), hyper.num_samples, hyper.crop, hyper.validation_frames),
        build_model=makes.get(kind, network),
        stages=stages,
        ragged=("features",),
        build_graph=partial(_build_graph, hyper.frame_height, hyper.frame_width),
        limits="Sees whole frames and hears raw sound: scene, clothing and microphone count as much as the person.",
    )


def _network(widths: tuple[int, ...], num_outputs: int, parts: Mapping[str, bool], head_scale: float) -> DeepImpression:
    network = DeepImpression(widths, num_outputs, **parts)
    with torch.no_grad():
        network.head.weight *= head_scale
    return network


def _build_graph(height: int, width: int, model: nn.Module) -> Any:
    from thinslice.systems.deep_impression.graph import build_deep_impression_graph

    assert isinstance(model, DeepImpression | FiveNetworks | RecurrentImpression)
    return build_deep_impression_graph(model, height, width)


@dataclass(frozen=True)
class Crops:
    """How a clip is looked at (sections 2.2 and 2.3).

    In training: a random crop of sound, zeros after it where the clip is shorter, and a random crop of one random
    frame, flipped or not. In validation: all sound and some whole frames, evenly spread. In tests: all of both.

    Attributes:
        features: "waveform", "frames" or both.
        num_samples: of the crop of sound.
        side: of the crop of a frame, pixels.
        num_frames: looked at in validation.
    """

    features: tuple[str, ...]
    num_samples: int
    side: int
    num_frames: int

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        """Return "waveform" (samples,) and "frames" (frames, height, width, 3)."""
        out: Arrays = {}
        if "waveform" in self.features:
            out["waveform"] = self._sound(clip, rng) if mode == "train" else clip.read("waveform")
        if "frames" in self.features:
            out["frames"] = self._picture(clip, rng) if mode == "train" else self._pictures(clip, mode)
        return out

    def _sound(self, clip: ClipReader, rng: np.random.Generator) -> np.ndarray:
        (length,) = clip.shape("waveform")
        start = int(rng.integers(max(length - self.num_samples, 0) + 1))
        sound = clip.read("waveform", slice(start, start + self.num_samples))
        return np.pad(sound, (0, self.num_samples - len(sound)))

    def _picture(self, clip: ClipReader, rng: np.random.Generator) -> np.ndarray:
        count, height, width, _ = clip.shape("frames")
        frame = clip.read("frames", int(rng.integers(count)))
        top, left = rng.integers(height - self.side + 1), rng.integers(width - self.side + 1)
        picture = frame[top : top + self.side, left : left + self.side]
        return (mirror(picture) if rng.random() < 0.5 else np.ascontiguousarray(picture))[None]

    def _pictures(self, clip: ClipReader, mode: Mode) -> np.ndarray:
        count = clip.shape("frames")[0]
        if mode == "test" or count <= self.num_frames:
            return clip.read("frames")
        return clip.read("frames", ((np.arange(self.num_frames) + 0.5) * count / self.num_frames).astype(np.int64))


LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "absolute": mean_absolute_error,
    "squared": mean_squared_error,
}
"""The first is the paper's (section 2.2)."""


def _loss(kind: str, model: nn.Module, batch: Batch) -> Tensor:
    return LOSSES[kind](model(**batch["inputs"]), batch["labels"])


def _adam(learning_rate: float) -> Any:
    return partial(torch.optim.Adam, lr=learning_rate, betas=(0.5, 0.999), eps=1e-8)


def _step_schedule(epochs: int) -> Any:
    return partial(torch.optim.lr_scheduler.StepLR, step_size=max(epochs, 1), gamma=0.1)


def _stages(hyper: Hyperparameters) -> tuple[Stage, ...]:
    """Everything at once; the rate is divided by 10 after each third; the challenge model is the last epoch's."""
    update = Update(
        loss=partial(_loss, hyper.loss),
        optimiser=_adam(hyper.learning_rate),
        schedule=_step_schedule(hyper.epochs // 3),
    )
    third = hyper.epochs // 3
    stage = Stage(
        name="network",
        updates=(update,),
        batch_size=hyper.batch_size,
        epochs=hyper.epochs,
        keep="last",
        validate_every=hyper.validate_every,
        checkpoints={"third": third, "two_thirds": 2 * third},
    )
    return (stage,)


def _part_loss(kind: str, part: str, model: nn.Module, batch: Batch) -> Tensor:
    return _loss(kind, model.get_submodule(part), batch)


def _part_predict(part: str, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    scores: Tensor = model.get_submodule(part)(**inputs)
    return scores


def _trait_loss(kind: str, trait: int, model: nn.Module, batch: Batch) -> Tensor:
    network = model.get_submodule(f"single.{trait}")
    return LOSSES[kind](network(**batch["inputs"]), batch["labels"][:, trait : trait + 1])


def _five_networks(network: Any, widths: tuple[int, ...], round_up: bool) -> FiveNetworks:
    return FiveNetworks(network(), widths, round_up)


def _copy_shared(model: nn.Module, data: TrainingClips) -> None:
    assert isinstance(model, FiveNetworks)
    model.copy_shared()


def _five_stages(hyper: Hyperparameters) -> tuple[Stage, ...]:
    """A third of the epochs together, then a copy for each trait by itself.

    Deviations: how long and at what rate the copies were trained is not printed; here for the other two thirds, at the
    rates that the challenge model had then. The five share their batches, which changes nothing for each.
    """
    third, rate = hyper.epochs // 3, hyper.learning_rate
    shared = Update(loss=partial(_part_loss, hyper.loss, "shared"), optimiser=_adam(rate), trains=("shared",))
    singles = tuple(
        Update(
            name=trait,
            loss=partial(_trait_loss, hyper.loss, index),
            optimiser=_adam(rate / 10),
            schedule=_step_schedule(third),
            trains=(f"single.{index}",),
        )
        for index, trait in enumerate(chosen_targets(hyper.targets, TRAITS))
    )
    return (
        Stage(
            name="shared",
            updates=(shared,),
            batch_size=hyper.batch_size,
            epochs=max(third, 1),
            keep="last",
            validate_every=hyper.validate_every,
            predict=partial(_part_predict, "shared"),
        ),
        Stage(
            name="single",
            updates=singles,
            batch_size=hyper.batch_size,
            epochs=max(hyper.epochs - third, 1),
            keep="last",
            validate_every=hyper.validate_every,
            prepare=_copy_shared,
        ),
    )


def _recurrent(network: Any) -> RecurrentImpression:
    return RecurrentImpression(network())


def _features_per_second(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert isinstance(model, RecurrentImpression)
    return {"features": model.features_per_second(inputs["waveform"][0], inputs["frames"][0])[None]}


def _recurrent_loss(model: nn.Module, batch: Batch, kind: str = "absolute") -> Tensor:
    """Return the mean error at every second of every clip (section 4)."""
    assert isinstance(model, RecurrentImpression)
    features, lengths = batch["inputs"]["features"], batch["inputs"]["features_length"]
    scores = model.score_steps(features)
    known = torch.arange(scores.shape[1], device=scores.device)[None] < lengths[:, None]
    labels = batch["labels"][:, None].expand_as(scores)
    return LOSSES[kind](scores, labels.masked_fill(~known[..., None], torch.nan))


def _recurrent_predict(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    assert isinstance(model, RecurrentImpression)
    return model.score_steps(inputs["features"]).mean(1)


def _recurrent_stages(hyper: Hyperparameters) -> tuple[Stage, ...]:
    """The challenge model, then recurrent layers on its frozen features of every second, all frames of it.

    Deviations: rate, epochs and dropout are not printed; here the challenge model's Adam for at most a third of its
    epochs, the best of them on the validation clips, dropout 0.5.
    """
    (first,) = _stages(hyper)
    network = Update(
        loss=partial(_part_loss, hyper.loss, "network"),
        optimiser=_adam(hyper.learning_rate),
        schedule=_step_schedule(hyper.epochs // 3),
        trains=("network",),
    )
    recurrent = Update(
        loss=partial(_recurrent_loss, kind=hyper.loss), optimiser=_adam(hyper.learning_rate), trains=("lstm", "linear")
    )
    return (
        Stage(
            name="network",
            updates=(network,),
            batch_size=first.batch_size,
            epochs=first.epochs,
            keep="last",
            validate_every=hyper.validate_every,
            predict=partial(_part_predict, "network"),
        ),
        Stage(
            name="recurrent",
            updates=(recurrent,),
            batch_size=first.batch_size,
            epochs=max(hyper.epochs // 3, 1),
            patience=20,
            sample=Crops(("waveform", "frames"), hyper.num_samples, hyper.crop, hyper.num_frames),
            precompute=_features_per_second,
            predict=_recurrent_predict,
        ),
    )
