"""PersEmoN: apparent personality and emotion learned together by one face network, from two data sets.

Source: Zhang, Peng, Winkler, IEEE Transactions on Affective Computing; see `network` for the network
and docs/systems/persemon.md for what was measured.

Deviations: of each of the K parts of a clip some frames are kept, and training draws among these. The losses that the
paper sums over a batch are means over it (of each data set by itself, equations 6 to 9), as Caffe's layers divide by
the batch's size. Momentum, weight decay and mirroring are not printed: they are those of SphereFace's own training.
What else the paper leaves open is an argument or said where it is decided.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR

from thinslice.assets.folders import asset_cache_dir
from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.layers.losses import confusion_loss, domain_loss, mean_absolute_error, smooth_l1
from thinslice.systems.persemon.network import EMOTION, EMOTIONS, PERSONALITY, Consensus, PersEmoN
from thinslice.systems.persemon.sphereface import NUM_FEATURES, UNITS, WIDTHS, SphereFace, load_sphereface
from thinslice.train.recipe import (
    Arrays,
    Batch,
    ClipReader,
    Companion,
    Mode,
    Recipe,
    Stage,
    TrainingData,
    Update,
)
from thinslice.train.run import RunFolder
from thinslice.train.stage import save_weights
from thinslice.traits import TRAITS

PAPER: Final = "Zhang, Peng, Winkler: PersEmoN, IEEE Transactions on Affective Computing"

Output = Literal["pam", "ram", "fused"]

COMPANION: Final = "emotion"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What distinguishes a variant.

    Attributes:
        personality: whether PAM learns.
        emotion: whether EAM learns, from the second data set.
        relationship: whether RAM learns; needs both.
        coherence: whether the two data sets' features are made alike; needs both.
        consensus: how a clip's faces become one prediction.
        num_parts: K.
        output: whose scores are the system's.
        pretrained: whether the face network starts from SphereFace-20's weights, at the full size.
    """

    personality: bool = True
    emotion: bool = True
    relationship: bool = True
    coherence: bool = True
    consensus: Consensus = "mean"
    num_parts: int = 10
    output: Output = "fused"
    pretrained: bool = True


KINDS: Final[Mapping[str, Kind]] = {
    "joint": Kind(),
    "joint_pam": Kind(output="pam"),
    "joint_ram": Kind(output="ram"),
    "emotion": Kind(personality=False, relationship=False, coherence=False, output="pam"),
    "personality": Kind(emotion=False, relationship=False, coherence=False, output="pam"),
    "without_ram": Kind(relationship=False, output="pam"),
    "without_coherence": Kind(coherence=False),
    "max": Kind(consensus="max"),
    "lstm": Kind(consensus="lstm"),
    "k5": Kind(num_parts=5),
    "k20": Kind(num_parts=20),
    "fresh": Kind(pretrained=False),
}
"""Variants: the paper's system, what its modules say alone (Table 4), its ablations, and one from fresh weights."""

VARIANTS: Final = (*KINDS, *(f"small_{name}" for name, kind in KINDS.items() if kind.pretrained))
"""The paper's, and each of them at a size for CPUs and small corpora, which is ours and starts from fresh weights."""

IMPORTED: Final = "imported"
"""Value of `Sizes.sphereface`: the weights that `thinslice import sphereface` has put in their place."""

WEIGHTS: Final = "sphereface20.pt"

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "2": {"joint": "joint"},
    "4": {"joint": "PAM+RAM", "joint_pam": "PAM", "joint_ram": "RAM"},
    "5": {
        "emotion": "emotion only",
        "personality": "personality only",
        "without_ram": "joint without RAM",
        "joint": "joint with RAM",
    },
    "6": {"joint": "joint with RAM", "without_coherence": "without coherence"},
    "4.6.2": {"joint": "consensus: average pooling", "max": "consensus: max pooling", "lstm": "consensus: LSTM"},
}
"""Table or section of the paper -> variant here -> its name in published.csv."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a variant's size is; the defaults are the paper's, where it says.

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
        printed_loss: whether equation 3 is taken as printed, discontinuous.
        ram_reaches: what RAM's loss trains: "all", the emotion branch and the face network too (section 4.6.1 says that
            the shared parameters gain by it), or "ram" alone (equation 12 names its weights only).
        emotion_weight: lambda 2; lambda 1 is 1.
        classifier_weight: lambda 3.
        confusion_weight: lambda 4.
        ram_weight: lambda 5.
    """

    width: int = WIDTHS[0]
    deep: str = "1,2,4,1"
    num_features: int = NUM_FEATURES
    shrink: int = 1
    draws: int = 3
    detector: str = "mtcnn"
    sphereface: str = IMPORTED
    faces_per_step: int = 100
    steps: int = 56_000
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    margin: float = 0.05
    printed_loss: bool = False
    ram_reaches: str = "all"
    emotion_weight: float = 1.0
    classifier_weight: float = 0.1
    confusion_weight: float = 0.1
    ram_weight: float = 0.1


SMALL: Final = Sizes(
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
    classifier_weight=10.0,
)
"""For CPUs and small corpora: minutes for some hundred clips, from fresh weights. Without momentum, with which the face
network overshoots: it carries the data sets past each other and apart again, faster than the classifier turns. The
classifier learns a hundred times as fast: features are small at this size, and what cannot tell teaches nothing."""

_UNITS: Final = {"1,2,4,1": UNITS, "1,1,1,1": (1, 1, 1, 1), "0,0,0,0": (0, 0, 0, 0)}
_DECAYS: Final = (4 / 7, 6 / 7)


def persemon(variant: str = "joint", **sizes: Any) -> Recipe:
    """Return the recipe of a variant.

    Args:
        variant: one of `VARIANTS`.
        **sizes: attributes of `Sizes` that differ from the paper's or, in a small variant, from `SMALL`.

    Raises:
        UsageError: an unknown variant or size, or sizes that cannot be.
    """
    if variant not in VARIANTS:
        known = ", ".join(KINDS)
        raise UsageError(f"persemon has no variant {variant!r}; there are {known}, and each with small_ before it")
    unknown = set(sizes) - {entry.name for entry in fields(Sizes)}
    if unknown:
        raise UsageError(f"persemon has no size {', '.join(sorted(unknown))}")
    kind = KINDS[variant.removeprefix("small_")]
    base = SMALL if variant.startswith("small_") else Sizes(sphereface=IMPORTED if kind.pretrained else "")
    chosen = replace(base, **sizes)
    if chosen.draws < 1 or chosen.draws % 2 == 0:
        raise UsageError(f"persemon: draws={chosen.draws}; take an odd number, so that one is a part's centre")
    if chosen.deep not in _UNITS or chosen.ram_reaches not in ("all", "ram"):
        raise UsageError(f"persemon: deep is one of {', '.join(_UNITS)}, ram_reaches is all or ram")
    if chosen.shrink not in (1, 2, 4) or chosen.margin <= 0:
        raise UsageError("persemon: shrink is 1, 2 or 4, and margin above 0")
    return _build(variant, kind, chosen)


def _build(variant: str, kind: Kind, sizes: Sizes) -> Recipe:
    num_parts = _num_parts(variant, kind)
    face = {"reference": "sphereface_112x96", "detector": sizes.detector}
    companion = Companion(
        targets=EMOTIONS,
        features={"face": FeatureSpec(extractor="face_picture", params={**face, "num_frames": 1})},
        sample=sample_face,
        batch_size=sizes.faces_per_step,
    )
    widths = tuple(sizes.width * factor for factor in (1, 2, 4, 8))
    limits = "Sees nothing but the face, of one person, in a few frames."
    if not kind.personality:
        limits = "Was trained on emotions alone: its personality scores are those of fresh weights and mean nothing."
    return Recipe(
        name="persemon",
        arguments={"variant": variant, **asdict(sizes)},
        variants=VARIANTS,
        paper=PAPER,
        inputs={"faces": "face"},
        outputs=TRAITS,
        features={
            "faces": FeatureSpec(
                extractor="aligned_faces", params={**face, "num_parts": num_parts, "draws": sizes.draws}
            )
        },
        sample=SparseFaces(num_parts),
        build_model=partial(PersEmoN, widths, _UNITS[sizes.deep], sizes.num_features, sizes.shrink, kind.consensus),
        predict=partial(predict_scores, kind.output),
        stages=_stages(kind, num_parts, sizes),
        companions={COMPANION: companion},
        limits=limits,
    )


def _num_parts(variant: str, kind: Kind) -> int:
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
        faces = clip.read("faces")[rng.integers(draws, size=self.num_parts), np.arange(self.num_parts)]
        return {"faces": _mirrored(faces, rng)[None]}


def sample_face(clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
    """Return "face", uint8 (112, 96, 3), of an entry of the emotion data: in training mirrored or not."""
    face = clip.read("face", 0)
    return {"face": _mirrored(face, rng) if mode == "train" else face}


def _mirrored(faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.ascontiguousarray(faces[..., ::-1, :]) if rng.random() < 0.5 else faces


def predict_scores(output: Output, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the scores (batch, 5) of PAM, of RAM, or of both, weighted."""
    assert isinstance(model, PersEmoN)
    personality, relationship = model.scores(inputs["faces"])
    return {"pam": personality, "ram": relationship}.get(output, model.fuse(personality, relationship))


def networks_loss(kind: Kind, sizes: Sizes, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return lambda 1, 2, 4 and 5's part of equation 13, and its terms: all but the classifier's own loss.

    The classifier is looked through, not changed. The features are left in the batch for `classifier_loss`, which so
    sees the parameters of before this step, as section 3.3 says, and need not compute them again.
    """
    assert isinstance(model, PersEmoN)
    terms: dict[str, tuple[float, Tensor]] = {}
    of_clips = of_images = None
    smooth = partial(smooth_l1, margin=sizes.margin, printed=sizes.printed_loss)
    if kind.personality:
        of_clips = model.features(batch["inputs"]["faces"][:, 0])
        terms["personality"] = 1.0, smooth(model.personality(of_clips), batch["labels"])
    if kind.emotion:
        of_images = model.features(batch[COMPANION]["inputs"]["face"])
        terms["emotion"] = sizes.emotion_weight, smooth(model.emotion(of_images), batch[COMPANION]["labels"])
    if kind.relationship:
        assert of_clips is not None
        emotions = model.emotion(of_clips if sizes.ram_reaches == "all" else of_clips.detach())
        emotions = emotions if sizes.ram_reaches == "all" else emotions.detach()
        terms["relationship"] = sizes.ram_weight, smooth(model.relationship(emotions), batch["labels"])
    if kind.coherence:
        assert of_clips is not None
        assert of_images is not None
        confusion = confusion_loss(model.domain(of_clips.flatten(0, 1))) + confusion_loss(model.domain(of_images))
        terms["confusion"] = sizes.confusion_weight, confusion
        batch["features"] = of_clips.detach(), of_images.detach()
    total = torch.stack([weight * value for weight, value in terms.values()]).sum()
    return {"loss": total, **{name: value for name, (_, value) in terms.items()}}


def classifier_loss(sizes: Sizes, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
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
    return {"loss": sizes.classifier_weight * loss, "accuracy": right / 2}


def _stages(kind: Kind, num_parts: int, sizes: Sizes) -> tuple[Stage, ...]:
    """Everything at once, then the search for the weight of PAM beside RAM.

    Deviations: which iteration's weights are used is not printed; here the last's.
    """
    schedule = partial(MultiStepLR, milestones=[round(sizes.steps * share) for share in _DECAYS], gamma=0.1)
    optimiser = partial(
        torch.optim.SGD, lr=sizes.learning_rate, momentum=sizes.momentum, weight_decay=sizes.weight_decay
    )
    trains = ["fem"]
    trains += ["pam"] if kind.personality else []
    trains += ["lstm"] if kind.personality and kind.consensus == "lstm" else []
    trains += ["eam"] if kind.emotion else []
    trains += ["ram"] if kind.relationship else []
    settings: dict[str, Any] = {"optimiser": optimiser, "schedule": schedule, "per_step": True}
    updates = [Update(name="networks", loss=partial(networks_loss, kind, sizes), trains=tuple(trains), **settings)]
    if kind.coherence:
        updates.append(Update(name="classifier", loss=partial(classifier_loss, sizes), trains=("domain",), **settings))
    network = Stage(
        name="network",
        updates=tuple(updates),
        batch_size=max(sizes.faces_per_step // num_parts, 1),
        steps=sizes.steps,
        companions=(COMPANION,) if kind.emotion else (),
        prepare=partial(_start_from_sphereface, sizes.sphereface) if sizes.sphereface else None,
        predict=partial(predict_scores, kind.output),
        keep="last",
        validate_every=5,
    )
    return (network, _fusion_stage()) if kind.output == "fused" else (network,)


def further_scores(
    run: Path,
    companions: Mapping[str, Path],
    store: Path,
    split: str,
    personality: Mapping[str, Mapping[str, float]],
) -> dict[str, Mapping[str, float]]:
    """Add the error of emotion on held-out pictures to a run's scores (Tables 2, 5 and 6).

    Args:
        run: a finished run's folder.
        companions: the emotion data's manifest.
        store: where its faces are.
        split: of the pictures; where the manifest has no such split, "validation".
        personality: metric -> target -> score on clips, left out where the variant learned no personality.

    Returns:
        The same with "mse" of "valence", "arousal" and "arousal_valence", the mean of both, where the variant learned
        emotion and the manifest has pictures of that split.
    """
    from thinslice.systems.persemon.emotion import score_pictures

    kind = KINDS[str(RunFolder(run).load()["arguments"]["variant"]).removeprefix("small_")]
    out = dict(personality) if kind.personality else {}
    found = score_pictures(run, companions[COMPANION], store, split) if kind.emotion and COMPANION in companions else {}
    if found:
        errors = found["mse"]
        named = {"valence": errors["valence"], "arousal": errors["arousal"], "arousal_valence": errors["average"]}
        out["mse"] = {**out.get("mse", {}), **named}
    return out


def imported_weights() -> Path:
    """Return where `thinslice import sphereface` keeps the weights; they need not be there."""
    return asset_cache_dir() / "sphereface" / WEIGHTS


def import_sphereface(file: Path) -> Path:
    """Check a public file of SphereFace-20's weights and keep them for the variants that start from them.

    Args:
        file: a .caffemodel or a PyTorch state dict, see `thinslice.systems.persemon.sphereface.load_sphereface`.

    Returns:
        Where they are kept: a PyTorch state dict with the same names.

    Raises:
        UsageError: the file is of another network, or damaged; the cache cannot be written.
    """
    model = SphereFace()
    load_sphereface(model, file)
    target = imported_weights()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_weights(model, target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror}); see $THINSLICE_CACHE") from None
    return target


def _start_from_sphereface(path: str, model: nn.Module, data: TrainingData) -> None:
    assert isinstance(model, PersEmoN)
    file = imported_weights() if path == IMPORTED else Path(path)
    if path == IMPORTED and not file.is_file():
        raise UsageError(
            "persemon starts from SphereFace-20's public weights: get the file from github.com/wy1iu/sphereface and "
            "run thinslice import sphereface FILE; or take a variant with fresh weights, fresh or small_joint"
        )
    load_sphereface(model.fem, file)


RATIOS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 10.0, 15.0, float("inf"), 6.0)
"""PAM's weight beside RAM's 1 that are tried: RAM alone, ..., PAM alone, and last the paper's."""


class SetToRate(torch.optim.Optimizer):
    """No descent: a step sets the parameters to the learning rate, whose schedule goes through what is to be tried.

    Args:
        params: what to set.
    """

    def __init__(self, params: Iterable[Any]) -> None:
        super().__init__(params, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Set them."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.fill_(group["lr"])


def _weight_of_epoch(epoch: int) -> float:
    """Return PAM's share that an epoch, from 0, tries."""
    ratio = RATIOS[min(epoch, len(RATIOS) - 1)]
    return 1.0 if ratio == float("inf") else ratio / (1 + ratio)


def _fusion_stage() -> Stage:
    """Try PAM's weights one after the other and keep what the validation clips score best with (section 4.4).

    An epoch is a weight: PAM's and RAM's scores are computed once, and the loop scores every epoch on the validation
    clips and keeps the best. Without validation clips the last stays, the paper's 6 to 1.
    """
    update = Update(
        name="fusion",
        loss=_fusion_loss,
        optimiser=SetToRate,
        schedule=partial(LambdaLR, lr_lambda=_weight_of_epoch),
        trains=("fusion",),
    )
    return Stage(
        name="fusion",
        updates=(update,),
        batch_size=100,
        epochs=len(RATIOS),
        precompute=_module_scores,
        predict=_fuse_scores,
        keep="best",
        validate_start=True,
    )


def _module_scores(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert isinstance(model, PersEmoN)
    personality, relationship = model.scores(inputs["faces"])
    return {"pam": personality, "ram": relationship}


def _fuse_scores(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    assert isinstance(model, PersEmoN)
    return model.fuse(inputs["pam"], inputs["ram"])


def _fusion_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Return the training clips' mean absolute error: for the log, the choice is by the validation clips."""
    return mean_absolute_error(_fuse_scores(model, batch["inputs"]), batch["labels"])
