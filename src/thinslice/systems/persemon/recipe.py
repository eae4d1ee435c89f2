"""PersEmoN: apparent personality and emotion learned together by one face network, from two data sets.

Source: Zhang, Peng, Winkler, IEEE Transactions on Affective Computing; see `network` for the network
and docs/systems/persemon.md for what was measured.

Deviations: of each of the K parts of a clip some frames are kept, and training draws among these. The losses that the
paper sums over a batch are means over it (of each data set by itself, equations 6 to 9), as Caffe's layers divide by
the batch's size. Momentum, weight decay and mirroring are not printed: they are those of SphereFace's own training.
What else the paper leaves open is an argument or said where it is decided; the variant "authors" is their training
definition, which differs from the paper (`variants`).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR

from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.layers.losses import confusion_loss, domain_loss, euclidean_loss, smooth_l1
from thinslice.systems.hyperparameters import NotNegative, Share
from thinslice.systems.persemon.emotion import further_scores
from thinslice.systems.persemon.fusion import build_fusion_stage
from thinslice.systems.persemon.network import (
    COMPANION,
    EMOTION,
    EMOTIONS,
    NUM_HIDDEN,
    PERSONALITY,
    Heads,
    PersEmoN,
)
from thinslice.systems.persemon.sphereface import NUM_FEATURES, UNITS, WIDTHS, parameter_names
from thinslice.systems.persemon.variants import AUTHORS, KINDS, READINGS, SIZES, TABLES, VARIANTS, Output, PersemonKind
from thinslice.systems.persemon.weights import need_sphereface, start_from_sphereface
from thinslice.targets import chosen_targets
from thinslice.train.imported import IMPORTED
from thinslice.train.mirror import mirror
from thinslice.train.readings import apply_reading, check_draws, check_variant
from thinslice.train.recipe import (
    Arrays,
    Batch,
    ClipReader,
    Companion,
    Mode,
    Recipe,
    Stage,
    Update,
    set_hyperparameters,
)
from thinslice.traits import TARGETS, TRAITS

PAPER: Final = "Zhang, Peng, Winkler: PersEmoN, IEEE Transactions on Affective Computing"


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What may be changed of a variant; the defaults are the paper's, where it says.

    Attributes:
        width: channels of the face network's first layers; every further group doubles them.
        deep: residual units of the network's groups.
        num_features: of the face network.
        shrink: by how much the 112 x 96 faces are made smaller.
        draws: frames kept of each part of a clip, odd, so that one is its centre.
        detector: "mtcnn", as in the paper, or "landmarker".
        sphereface: file of SphereFace-20's weights to start from; `IMPORTED` for those imported before, "" for fresh
            ones.
        faces_per_step: faces of each data set in a step: clips of K faces, and as many emotion images.
        steps: optimiser steps; the rate is divided by 10 after 4/7 and 6/7 of them.
        learning_rate: of SGD.
        momentum: of SGD; the paper does not say.
        weight_decay: of all weights; the paper does not say.
        margin: m of equation 3.
        loss: of personality, emotion and RAM: "smooth_l1", made continuous; "smooth_l1_printed", equation 3 as printed;
            "euclidean", the authors' definition.
        ram_reaches: what RAM's loss trains: "all", the emotion branch and the face network too (section 4.6.1 says that
            the shared parameters gain by it), or "ram" alone (equation 12 names its weights only).
        confusion: what the confusion compares the classifier with: a "uniform" distribution (the text of section 3.3),
            or the data sets "exchanged" (the authors' definition).
        ram_units: of RAM's hidden layer; 32 in the authors' definition.
        ram_consensus: see `thinslice.systems.persemon.network.Heads`.
        outputs: "sigmoid" of PAM and RAM, or "raw": PAM as it is, RAM by tanh, as the authors' definition.
        interview: whether the invitation to an interview is a sixth target, as in the authors' definition.
        caffe: whether heads start, and biases learn (twice the rate, no decay in the face network), as in the authors'
            definition.
        residual_biases: whether the biases of residual layers learn; not in Caffe's definitions.
        emotion_weight: lambda 2; lambda 1 is 1.
        classifier_weight: lambda 3.
        confusion_weight: lambda 4.
        ram_weight: lambda 5.
        targets: columns of the manifest to be predicted, joined by ","; "" for the paper's.
    """

    width: int = WIDTHS[0]
    deep: Literal["1,2,4,1", "1,1,1,1", "0,0,0,0"] = "1,2,4,1"
    num_features: int = NUM_FEATURES
    shrink: Literal[1, 2, 4] = 1
    draws: int = 3
    detector: Literal["mtcnn", "landmarker", "hog"] = "mtcnn"
    sphereface: str = IMPORTED
    faces_per_step: int = 100
    steps: int = 56_000
    learning_rate: NotNegative = 0.01
    momentum: Share = 0.9
    weight_decay: NotNegative = 5e-4
    margin: float = 0.05
    loss: Literal["smooth_l1", "smooth_l1_printed", "euclidean"] = "smooth_l1"
    ram_reaches: Literal["all", "ram"] = "all"
    confusion: Literal["uniform", "exchanged"] = "uniform"
    ram_units: int = NUM_HIDDEN
    ram_consensus: Literal["emotions", "scores"] = "emotions"
    outputs: Literal["sigmoid", "raw"] = "sigmoid"
    interview: bool = False
    caffe: bool = False
    residual_biases: bool = False
    emotion_weight: float = 1.0
    classifier_weight: float = 0.1
    confusion_weight: float = 0.1
    ram_weight: float = 0.1
    targets: str = ""


SMALL: Final = Hyperparameters(
    width=12,
    deep="1,1,1,1",
    num_features=64,
    shrink=2,
    detector="landmarker",
    sphereface="",
    faces_per_step=40,
    steps=1000,
    learning_rate=0.2,
    momentum=0.0,
    residual_biases=True,
    classifier_weight=10.0,
)
"""For CPUs and small corpora: minutes for some hundred clips, from fresh weights. Without momentum, with which the face
network overshoots: it carries the data sets past each other and apart again, faster than the classifier turns. The
classifier learns a hundred times as fast: features are small at this size, and what cannot tell teaches nothing."""

_UNITS: Final = {"1,2,4,1": UNITS, "1,1,1,1": (1, 1, 1, 1), "0,0,0,0": (0, 0, 0, 0)}
_LOSSES: Final[Mapping[str, Callable[..., Tensor]]] = {
    "smooth_l1": smooth_l1,
    "smooth_l1_printed": partial(smooth_l1, printed=True),
    "euclidean": lambda predictions, labels, margin: euclidean_loss(predictions, labels),
}
_DECAYS: Final = (4 / 7, 6 / 7)


def persemon(variant: str = "joint", **hyperparameters: Any) -> Recipe:
    """Return the recipe of a variant.

    Args:
        variant: one of `VARIANTS`.
        **hyperparameters: those that differ from the variant's own, see `Hyperparameters`.

    Raises:
        UsageError: an unknown variant or hyperparameter, or hyperparameters that cannot be.
    """
    check_variant("persemon", variant, SIZES, READINGS)
    sized, changes = apply_reading(variant, "joint", READINGS)
    kind = KINDS[sized.removeprefix("small_")]
    base = SMALL if sized.startswith("small_") else Hyperparameters(sphereface=IMPORTED if kind.pretrained else "")
    changes = changes or dict(AUTHORS if sized.removeprefix("small_") == "authors" else {})
    chosen = set_hyperparameters("persemon", base, {**changes, **hyperparameters})
    check_draws("persemon", chosen.draws)
    if chosen.margin <= 0:
        raise UsageError(f"persemon: margin={chosen.margin}; take a margin above 0")
    return _build(variant, kind, chosen)


def _build(variant: str, kind: PersemonKind, hyper: Hyperparameters) -> Recipe:
    num_parts = _num_parts(variant, kind)
    face = {"reference": "sphereface_112x96", "detector": hyper.detector}
    companion = Companion(
        targets=EMOTIONS,
        features={"face": FeatureSpec(extractor="face_picture", params={**face, "num_frames": 1})},
        sample=sample_face,
        batch_size=hyper.faces_per_step,
    )
    widths = tuple(hyper.width * factor for factor in (1, 2, 4, 8))
    limits = "Sees nothing but the face, of one person, in a few frames."
    if not kind.personality:
        limits = "Was trained on emotions alone: its personality scores are those of fresh weights and mean nothing."
    return Recipe(
        name="persemon",
        arguments={"variant": variant, **asdict(hyper)},
        hyperparameters=hyper,
        variants=VARIANTS,
        tables=TABLES,
        further_scores=further_scores,
        paper=PAPER,
        inputs={"faces": "face"},
        outputs=_outputs(hyper),
        features={
            "faces": FeatureSpec(
                extractor="aligned_faces", params={**face, "num_parts": num_parts, "draws": hyper.draws}
            )
        },
        sample=SparseFaces(num_parts),
        build_model=partial(
            PersEmoN, widths, _UNITS[hyper.deep], hyper.num_features, hyper.shrink, kind.consensus, _heads(hyper)
        ),
        predict=partial(predict_scores, kind.output),
        stages=_stages(kind, num_parts, hyper),
        companions={COMPANION: companion},
        limits=limits,
        check_needs=partial(need_sphereface, hyper.sphereface),
    )


def _outputs(hyper: Hyperparameters) -> tuple[str, ...]:
    return chosen_targets(hyper.targets, TARGETS if hyper.interview else TRAITS)


def _heads(hyper: Hyperparameters) -> Heads:
    return Heads(
        num_targets=len(_outputs(hyper)),
        ram_units=hyper.ram_units,
        ram_consensus=hyper.ram_consensus,
        raw=hyper.outputs == "raw",
        caffe=hyper.caffe,
    )


def _num_parts(variant: str, kind: PersemonKind) -> int:
    """Return K; small variants have two fifths of the paper's."""
    return kind.num_parts * 2 // 5 if variant.startswith("small_") else kind.num_parts


@dataclass(frozen=True)
class SparseFaces:
    """How a clip is looked at (section 3.2): one face of each of K equal parts.

    In training the frame of each part is drawn among those kept, and all of a clip's faces are mirrored or none is.
    After an epoch it is the part's centre; in the test all that are kept, whose scores are averaged.

    Attributes:
        num_parts: K.
    """

    num_parts: int

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        """Return "faces", uint8 (draws, K, 112, 96, 3), RGB; one draw but in the test."""
        draws = clip.shape("faces")[0]
        if mode == "test":
            return {"faces": clip.read("faces")}
        if mode == "validation":
            return {"faces": clip.read("faces", draws // 2)[None]}
        drawn = rng.integers(draws, size=self.num_parts)
        faces = clip.read("faces", (drawn, np.arange(self.num_parts)))
        return {"faces": _mirrored(faces, rng)[None]}


def sample_face(clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
    """Return "face", uint8 (112, 96, 3), of an entry of the emotion data: in training mirrored or not."""
    face = clip.read("face", 0)
    return {"face": _mirrored(face, rng) if mode == "train" else face}


def _mirrored(faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return mirror(faces) if rng.random() < 0.5 else faces


def predict_scores(output: Output, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the scores (batch, 5) of PAM, of RAM, or of both, weighted."""
    assert isinstance(model, PersEmoN)
    personality, relationship = model.scores(inputs["faces"])
    return {"pam": personality, "ram": relationship}.get(output, model.fuse(personality, relationship))


def networks_loss(kind: PersemonKind, hyper: Hyperparameters, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return lambda 1, 2, 4 and 5's part of equation 13, and its terms: all but the classifier's own loss.

    The classifier is looked through, not changed. The features are left in the batch for `classifier_loss`, which so
    sees the parameters of before this step, as section 3.3 says, and need not compute them again.
    """
    assert isinstance(model, PersEmoN)
    terms: dict[str, tuple[float, Tensor]] = {}
    of_clips = of_images = None
    regression = partial(_LOSSES[hyper.loss], margin=hyper.margin)
    if kind.personality:
        of_clips = model.features(batch["inputs"]["faces"][:, 0])
        terms["personality"] = 1.0, regression(model.personality(of_clips), batch["labels"])
    if kind.emotion:
        of_images = model.features(batch[COMPANION]["inputs"]["face"])
        terms["emotion"] = hyper.emotion_weight, regression(model.emotion(of_images), batch[COMPANION]["labels"])
    if kind.relationship:
        assert of_clips is not None
        emotions = model.emotion(of_clips if hyper.ram_reaches == "all" else of_clips.detach())
        emotions = emotions if hyper.ram_reaches == "all" else emotions.detach()
        terms["relationship"] = hyper.ram_weight, regression(model.relationship(emotions), batch["labels"])
    if kind.coherence:
        assert of_clips is not None
        assert of_images is not None
        clips, images = model.domain(of_clips.flatten(0, 1)), model.domain(of_images)
        if hyper.confusion == "exchanged":
            confusion = domain_loss(clips, EMOTION) + domain_loss(images, PERSONALITY)
        else:
            confusion = confusion_loss(clips) + confusion_loss(images)
        terms["confusion"] = hyper.confusion_weight, confusion
        batch["features"] = of_clips.detach(), of_images.detach()
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    return {"loss": total, **{name: value for name, (_, value) in terms.items()}}


def classifier_loss(hyper: Hyperparameters, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return lambda 3's part of equation 13 (equations 6 to 8), and the classifier's accuracy on this batch.

    The features are taken as they are: this loss reaches the classifier alone.
    """
    assert isinstance(model, PersEmoN)
    if "features" in batch:
        of_clips, of_images = batch["features"]
    else:
        with torch.no_grad():
            of_clips = model.features(batch["inputs"]["faces"][:, 0])
            of_images = model.features(batch[COMPANION]["inputs"]["face"])
    clips, images = model.domain(of_clips.flatten(0, 1)), model.domain(of_images)
    loss = domain_loss(clips, PERSONALITY) + domain_loss(images, EMOTION)
    right = (clips.argmax(1) == PERSONALITY).float().mean() + (images.argmax(1) == EMOTION).float().mean()
    return {"loss": hyper.classifier_weight * loss, "accuracy": right / 2}


def _stages(kind: PersemonKind, num_parts: int, hyper: Hyperparameters) -> tuple[Stage, ...]:
    """Everything at once, then the search for the weight of PAM beside RAM.

    Deviations: which iteration's weights are used is not printed; here the last's.
    """
    schedule = partial(MultiStepLR, milestones=[round(hyper.steps * share) for share in _DECAYS], gamma=0.1)
    optimiser = partial(
        torch.optim.SGD, lr=hyper.learning_rate, momentum=hyper.momentum, weight_decay=hyper.weight_decay
    )
    units = _UNITS[hyper.deep]
    trains = ["fem"] if hyper.residual_biases else [f"fem.{name}" for name in parameter_names(units, False)]
    trains += ["pam"] if kind.personality else []
    trains += ["lstm"] if kind.personality and kind.consensus == "lstm" else []
    trains += ["eam"] if kind.emotion else []
    trains += ["ram"] if kind.relationship else []
    settings: dict[str, Any] = {"optimiser": optimiser, "schedule": schedule, "per_step": True}
    learned = replace(kind, output="fused")  # Whose scores are the system's changes no loss.
    updates = [Update(name="networks", loss=partial(networks_loss, learned, hyper), trains=tuple(trains), **settings)]
    if kind.coherence:
        updates.append(Update(name="classifier", loss=partial(classifier_loss, hyper), trains=("domain",), **settings))
    if hyper.caffe:
        updates = [replace(update, options=_bias_options(kind, units, hyper, update.trains)) for update in updates]
    network = Stage(
        name="network",
        updates=tuple(updates),
        batch_size=max(hyper.faces_per_step // num_parts, 1),
        steps=hyper.steps,
        companions=(COMPANION,) if kind.emotion else (),
        prepare=partial(start_from_sphereface, hyper.sphereface) if hyper.sphereface else None,
        predict=partial(predict_scores, kind.output),
        keep="last",
        validate_every=5,
    )
    return (network, build_fusion_stage()) if kind.output == "fused" else (network,)


def _bias_options(
    kind: PersemonKind, units: tuple[int, ...], hyper: Hyperparameters, trains: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Return rates and decays of biases in the authors' definition: twice the rate, decay in PAM, EAM, RAM alone."""
    biases = {f"fem.{name}": 0.0 for name in parameter_names(units, hyper.residual_biases) if name.endswith("bias")}
    heads = {"pam.bias": kind.personality, "eam.bias": kind.emotion, "ram.0.bias": kind.relationship}
    heads["ram.2.bias"] = kind.relationship
    biases |= {name: hyper.weight_decay for name, is_trained in heads.items() if is_trained}
    if trains == ("domain",):
        biases = {"domain.bias": 0.0}
    return {name: {"lr": 2 * hyper.learning_rate, "weight_decay": decay} for name, decay in biases.items()}
