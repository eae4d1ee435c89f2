"""CR-Net, the highest published score on First Impressions V2: its stages, its trees and its ablations.

Source: Li et al. 2020; see `network` for the network, `trees` for the third
stage and docs/systems/cr_net.md for what was measured.

Deviations: of each of the 32 segments three frames are kept, and training draws among these, where the paper draws
among all. Skip-thought vectors cannot be had any more; see `thinslice.features.text_embedding`. What the paper leaves
open is an argument or said where it is decided.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR

from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.layers.losses import class_cross_entropy, class_of, cr_net_class_weight, cr_net_regression_loss
from thinslice.layers.resnet import LayoutName, need_torchvision
from thinslice.systems.cr_net.figures import draw_figures
from thinslice.systems.cr_net.graph import build_graph
from thinslice.systems.cr_net.network import (
    EDGES,
    NUM_FRAMES,
    NUM_SAMPLES,
    RATE_HZ,
    SIDE,
    STREAM_INPUTS,
    CRNet,
    Shape,
    load_imagenet,
)
from thinslice.systems.cr_net.trees import fit_estimator, load_estimator, save_estimator
from thinslice.systems.cr_net.variants import KINDS, READINGS, SIZES, TABLES, VARIANTS, CRNetKind
from thinslice.systems.cr_net.warm_adam import WarmAdam
from thinslice.systems.hyperparameters import NotNegative
from thinslice.targets import chosen_targets, split_names
from thinslice.train.readings import (
    apply_reading,
    check_draws,
    check_variant,
)
from thinslice.train.recipe import (
    Arrays,
    Batch,
    ClipReader,
    FitStage,
    Mode,
    Recipe,
    Stage,
    TrainingClips,
    Update,
    set_hyperparameters,
)
from thinslice.traits import TARGETS

PAPER: Final = "Li, Wan, Miao, Escalera, Fang, Chen, Qi, Guo: CR-Net, International Journal of Computer Vision 2020"
LABELS: Final = {"frames": "scene", "faces": "face", "waveform": "sound", "text": "words"}


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What may be changed of a variant; the defaults are the paper's, where it says.

    Attributes:
        layout: see `thinslice.layers.resnet.LAYOUTS`.
        width: channels of the backbones' first layer.
        num_frames: segments of a clip, one frame of each of which is seen at a time.
        draws: frames kept of each segment, odd, so that one is its centre.
        side: of the pictures, pixels.
        stacked: as in `thinslice.systems.cr_net.network.Shape`, with commas between: "scene,face", or "" for neither.
        inflated: likewise.
        motion_gain: see `thinslice.systems.cr_net.network.Shape`; 1, and so without effect, in the paper.
        detector: "mtcnn", as in the paper, or "landmarker".
        margin: what a face box gets on each side, as a share of its longer side; the paper does not say.
        num_samples: samples of sound, padded with zeros.
        rate_hz: of the sound.
        text_tiles: see `thinslice.systems.cr_net.network.Shape`; 1 in the paper, by which words are hardly seen.
        text_gain: likewise; 1 in the paper.
        text: extractor of the transcript's vector: "text_embedding", or "text_vector" for vectors of your own.
        imagenet: torchvision's weights to start the pictures' streams from; "" for none. The paper does not say.
        batch_size: clips per step.
        epochs: of each of the two stages.
        decay_epochs: epochs after each of which the rate is divided by 10.
        learning_rate: of both stages.
        weight_decay: of both stages.
        warmup_steps: over which Adam's rate rises from 0 in the second stage; 0 in the paper, see
            docs/systems/cr_net.md.
        num_trees: k.
        max_features: m.
        targets: columns of the manifest to be predicted, joined by ","; "" for the paper's.
    """

    layout: LayoutName = "resnet34"
    width: int = 64
    num_frames: int = NUM_FRAMES
    draws: int = 3
    side: int = SIDE
    stacked: Literal["scene,face", "scene", "face", ""] = "scene,face"
    inflated: str = ""
    motion_gain: float = 1.0
    detector: Literal["mtcnn", "landmarker", "hog"] = "mtcnn"
    margin: float = 0.2
    num_samples: int = NUM_SAMPLES
    rate_hz: int = RATE_HZ
    text_tiles: int = 1
    text_gain: float = 1.0
    text: str = "text_embedding"
    imagenet: str = ""
    batch_size: int = 30
    epochs: int = 50
    decay_epochs: int = 10
    learning_rate: NotNegative = 0.002
    weight_decay: NotNegative = 0.005
    warmup_steps: int = 0
    num_trees: int = 1000
    max_features: int = 512
    targets: str = ""


SMALL: Final = Hyperparameters(
    layout="resnet10",
    width=8,
    num_frames=16,
    stacked="scene",
    motion_gain=6.0,
    detector="landmarker",
    margin=0.0,
    num_samples=16_384,
    rate_hz=4_000,
    batch_size=8,
    epochs=12,
    decay_epochs=8,
    learning_rate=0.003,
    num_trees=200,
)
"""For CPUs and small corpora of clips of about 4 s: minutes for some hundred of them."""


def cr_net(variant: str = "all", **hyperparameters: Any) -> Recipe:
    """Return the recipe of a variant.

    Args:
        variant: one of `VARIANTS`.
        **hyperparameters: those that differ from the variant's own, see `Hyperparameters`.

    Raises:
        UsageError: an unknown variant or hyperparameter, or an even number of draws.
    """
    check_variant("cr_net", variant, SIZES, READINGS)
    sized, changes = apply_reading(variant, "all", READINGS)
    kind = KINDS[sized.removeprefix("small_")]
    base = SMALL if sized.startswith("small_") else Hyperparameters()
    chosen = set_hyperparameters("cr_net", base, {**kind.changes, **changes, **hyperparameters})
    check_draws("cr_net", chosen.draws)
    return _build(variant, kind, chosen)


def _names(hyperparameter: str, given: str) -> tuple[str, ...]:
    """Return streams of pictures named with commas between; UsageError for others."""
    names = split_names(given, f"cr_net: {hyperparameter}")
    if not set(names) <= {"scene", "face"}:
        raise UsageError(f"cr_net: {hyperparameter}={given!r}; name scene, face, both with a comma between, or neither")
    return names


def _build(variant: str, kind: CRNetKind, hyper: Hyperparameters) -> Recipe:
    outputs = chosen_targets(hyper.targets, TARGETS)
    shape = Shape(
        streams=kind.streams,
        layout=hyper.layout,
        width=hyper.width,
        num_frames=hyper.num_frames,
        stacked=_names("stacked", hyper.stacked),
        inflated=_names("inflated", hyper.inflated),
        text_tiles=hyper.text_tiles,
        text_gain=hyper.text_gain,
        motion_gain=hyper.motion_gain,
        num_samples=hyper.num_samples,
        num_classes=kind.num_classes,
        head=kind.head,
        num_targets=len(outputs),
    )
    needed = {name for stream in kind.streams for name in STREAM_INPUTS[stream]}
    specs = {name: spec for name, spec in _specs(hyper).items() if name in needed}
    return Recipe(
        name="cr_net",
        arguments={"variant": variant, **asdict(hyper)},
        hyperparameters=hyper,
        variants=VARIANTS,
        tables=TABLES,
        draw_figures=draw_figures,
        check_needs=partial(need_torchvision, hyper.imagenet),
        paper=PAPER,
        inputs={name: LABELS[name] for name in specs},
        outputs=outputs,
        features=specs,
        sample=Segments(tuple(specs), hyper.num_frames, hyper.draws, hyper.num_samples),
        build_model=partial(CRNet, shape),
        predict=network_scores,
        stages=_stages(kind, hyper),
        build_graph=partial(build_graph, hyper.side),
        bundle_features=_bundle_specs(specs, hyper.num_frames),
        limits="Sees the whole scene: room, clothing and microphone count as much as the person.",
    )


def _specs(hyper: Hyperparameters) -> dict[str, FeatureSpec]:
    count = hyper.num_frames * hyper.draws
    return {
        "frames": FeatureSpec(
            extractor="frames", params={"num_frames": count, "width": hyper.side, "height": hyper.side}
        ),
        "faces": FeatureSpec(
            extractor="aligned_faces",
            params={
                "reference": "box",
                "num_parts": 1,  # One part of many draws: single pictures in the order of time, read one by one.
                "draws": count,
                "detector": hyper.detector,
                "size": hyper.side,
                "margin": hyper.margin,
            },
        ),
        "waveform": FeatureSpec(extractor="waveform", params={"rate_hz": hyper.rate_hz}),
        "text": FeatureSpec(extractor=hyper.text),
    }


def _bundle_specs(specs: Mapping[str, FeatureSpec], num_frames: int) -> dict[str, FeatureSpec]:
    """Return what a bundle computes of a clip: of each segment the centre alone."""
    changed = {"frames": {"num_frames": num_frames}, "faces": {"draws": num_frames}}
    return {name: replace(spec, params={**spec.params, **changed.get(name, {})}) for name, spec in specs.items()}


@dataclass(frozen=True)
class Segments:
    """How a clip is looked at (section 3.1): one frame of each segment, the whole sound, the words' vector.

    In training the frame of each segment is drawn among those kept; scene and face show the same moments. Otherwise it
    is the segment's centre.

    Attributes:
        features: "frames", "faces", "waveform", "text" or some of them.
        num_frames: segments.
        draws: frames kept of each.
        num_samples: of the sound.
    """

    features: tuple[str, ...]
    num_frames: int
    draws: int
    num_samples: int

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        """Return "frames" (num_frames, side, side, 3), "faces" (num_frames, 1, ...), "waveform" and "text", vectors.

        Sound is padded or cut to `num_samples` in training, so that clips fill a batch; otherwise the network does it.
        """
        segments = np.arange(self.num_frames)
        drawn = rng.integers(self.draws, size=self.num_frames) if mode == "train" else self.draws // 2 + 0 * segments
        moments = segments * self.draws + drawn
        out: Arrays = {name: clip.read(name, moments) for name in ("frames", "faces") if name in self.features}
        if "waveform" in self.features:
            sound = clip.read("waveform", slice(0, self.num_samples))
            out["waveform"] = np.pad(sound, (0, self.num_samples - len(sound))) if mode == "train" else sound
        if "text" in self.features:
            out["text"] = np.asarray(clip.read("text"), np.float32)
        return out


def class_loss(stream: str, num_classes: int, model: nn.Module, batch: Batch) -> Tensor:
    """Return the first stage's loss of one stream: equation 7."""
    logits = _run(model, stream, batch["inputs"]).logits
    assert logits is not None
    return class_cross_entropy(logits, class_of(batch["labels"], EDGES[num_classes]))


def joint_loss(
    stream: str, losses: tuple[str, ...], num_classes: int, num_epochs: int, model: nn.Module, batch: Batch
) -> dict[str, Tensor]:
    """Return the second stage's loss of one stream: equation 8, with the weight of equation 9."""
    output = _run(model, stream, batch["inputs"])
    parts: dict[str, Tensor] = {}
    if losses:
        parts = cr_net_regression_loss(output.scores, batch["labels"], losses)
    if output.logits is not None:
        parts["classes"] = class_cross_entropy(output.logits, class_of(batch["labels"], EDGES[num_classes]))
        weighted = cr_net_class_weight(batch["epoch"] - 1, num_epochs) * parts["classes"]
        parts["loss"] = parts["loss"] + weighted if losses else weighted
    return parts


def _run(model: nn.Module, stream: str, inputs: Mapping[str, Tensor]) -> Any:
    assert isinstance(model, CRNet)
    return model.run_stream(stream, inputs)


def network_scores(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the streams' averaged scores (batch, targets), before any trees."""
    assert isinstance(model, CRNet)
    return model.fuse(inputs).scores


def fused_features(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return what the trees see: (batch, targets * features), the first target's features first."""
    assert isinstance(model, CRNet)
    return model.fuse(inputs).features.flatten(1)


def expected_scores(stream: str, num_classes: int, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the mean of the intervals' centres under the classes' probabilities: what a first stage knows."""
    logits = _run(model, stream, inputs).logits
    ends = torch.tensor([0.0, *EDGES[num_classes], 1.0])
    scores: Tensor = torch.softmax(logits, -1) @ ((ends[1:] + ends[:-1]) / 2).to(logits.device)
    return scores


def stream_scores(stream: str, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return one stream's scores (batch, targets)."""
    scores: Tensor = _run(model, stream, inputs).scores
    return scores


def _stages(kind: CRNetKind, hyper: Hyperparameters) -> tuple[Stage | FitStage, ...]:
    """Of each stream its classes alone, then classes and regression together; at last the trees.

    Streams share nothing, so that each has stages of its own, which variants that have the same stream share.

    Deviations: figure 7 trains the classification branch first, then everything; the layer on f_reg alone has nothing
    to learn in the first stage. "ResNet-34 only" has no classes and so no first stage. Which epoch's weights are used
    is not printed: here the last's.
    """
    stages: list[Stage | FitStage] = [stage for name in kind.streams for stage in _stream_stages(name, kind, hyper)]
    if kind.regressor is not None:
        stages.append(
            FitStage(
                name="trees",
                features=fused_features,
                fit=partial(fit_estimator, kind.regressor, hyper.num_trees, hyper.max_features),
                save=save_estimator,
                load=load_estimator,
                build_graph=partial(build_graph, hyper.side),
            )
        )
    return tuple(stages)


def _stream_stages(name: str, kind: CRNetKind, hyper: Hyperparameters) -> list[Stage]:
    """Return the stages of one stream, named "classes_" and "joint_" before its name."""
    settings: dict[str, Any] = {"lr": hyper.learning_rate, "weight_decay": hyper.weight_decay}
    schedule = partial(StepLR, step_size=hyper.decay_epochs, gamma=0.1)
    look = Segments(STREAM_INPUTS[name], hyper.num_frames, hyper.draws, hyper.num_samples)
    common: dict[str, Any] = {"batch_size": hyper.batch_size, "epochs": hyper.epochs, "keep": "last", "drop_last": True}
    common |= {"parts": (f"streams.{name}",), "features": look.features, "sample": look}
    start = partial(_start_from_imagenet, hyper.imagenet, name) if hyper.imagenet else None
    stages = []
    if kind.head != "plain":
        branch = ("backbone", "head.classes", "head.class_weight", "head.class_bias")
        update = Update(
            name=name,
            loss=partial(class_loss, name, kind.num_classes),
            optimiser=partial(torch.optim.SGD, momentum=0.9, **settings),
            schedule=schedule,
            trains=tuple(f"streams.{name}.{part}" for part in (branch if kind.head == "cr" else ("backbone", "head"))),
        )
        predict = partial(expected_scores, name, kind.num_classes)
        stages.append(Stage(name=f"classes_{name}", updates=(update,), predict=predict, prepare=start, **common))
        start = None
    adam = partial(WarmAdam, warmup_steps=hyper.warmup_steps) if hyper.warmup_steps else torch.optim.Adam
    update = Update(
        name=name,
        loss=partial(joint_loss, name, kind.losses, kind.num_classes, hyper.epochs),
        optimiser=partial(adam, betas=(0.5, 0.999), **settings),
        schedule=schedule,
        trains=(f"streams.{name}",),
    )
    predict = partial(stream_scores, name)
    return [*stages, Stage(name=f"joint_{name}", updates=(update,), predict=predict, prepare=start, **common)]


def _start_from_imagenet(path: str, stream: str, model: nn.Module, data: TrainingClips) -> None:
    assert isinstance(model, CRNet)
    load_imagenet(model, path, (stream,))
