"""Training the audiovisual networks of Subramaniam et al. 2016: from fresh weights, or on from the authors'.

Source: "Bi-modal First Impressions Recognition using Temporally Ordered Deep Audio and Stochastic Visual Features",
ECCV 2016 workshops, section 3; what the paper leaves open is from the authors' programs ``src/doall.lua``,
``3_loss.lua``, ``4_train.lua``, ``5_validate.lua`` and ``utilities.lua`` (github.com/InnovArul/first-impressions).
docs/systems/bimodal.md has the commands; `thinslice.systems.bimodal.weights` converts the authors' files for predict.

Deviations: the authors draw one of all frames of each sixth of a clip; here one of the faces that were stored of it,
evenly spread: three, or as many as `faces_per_part` says. They test on ten random draws; here on three fixed
ones, which are those of the bundle. They chose the epochs 440 and 600 of networks that went on training; here the best
epoch by the validation clips is kept, of at most that many. How to fine-tune is ours: nobody published it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from thinslice.assets import asset_files
from thinslice.errors import UsageError
from thinslice.features.short_term_audio import EPSILON
from thinslice.features.spec import FeatureSpec
from thinslice.layers.losses import mean_squared_error
from thinslice.systems.bimodal.graph import build_bimodal_graph
from thinslice.systems.bimodal.network import Bimodal3DCNN, BimodalLSTM, build_bimodal
from thinslice.systems.bimodal.torch7_weights import Architecture, BimodalWeights, read_bimodal
from thinslice.systems.bimodal.weights import FACE_PARAMS, SOUND_PARAMS
from thinslice.systems.hyperparameters import NotNegative, Share
from thinslice.targets import chosen_targets
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

KINDS: Final = ("lstm", "3dcnn", "lstm-finetune", "3dcnn-finetune")
SMALL_PREFIX: Final = "small_"
SIZES: Final = (*KINDS, *(SMALL_PREFIX + kind for kind in KINDS[:2]))
READINGS: Final[Mapping[str, Reading]] = {
    "undamped": Reading(
        says="momentum without dampening, as PyTorch's SGD: steps ten times as long as Torch7's",
        changes={"dampening": 0.0},
    ),
    "averaged": Reading(
        says="squared errors averaged over steps and traits, as PyTorch's loss and DeepPersonality, not summed",
        changes={"averaged": True},
    ),
    "library_eps": Reading(
        says="today's pyAudioAnalysis's epsilon, 2.2e-16; the version of 2016 had 1e-8",
        changes={"epsilon": EPSILON},
    ),
}
"""Readings of "lstm"."""

VARIANTS: Final = (*SIZES, *reading_variants(READINGS))
"""Either network from fresh weights, and from the authors' trained ones; from fresh weights with a schedule for CPUs
and small corpora, which is ours; and the readings of the first."""

TABLES: Final[Tables] = {TABLE: readings_table("lstm", "as the authors' code", READINGS)}

PAPER: Final = "Subramaniam, Patel, Mishra, Balasubramanian, Mittal: Bi-modal First Impressions, ECCV 2016 workshops"

LIMITS: Final = (
    "Needs sound, and a face in a third of the frames looked at. Sensitive to the face's alignment: 4% in size, or 2 "
    "pixels of 112, changed the published networks' scores by 0.02 on average."
)

FINETUNED: Final = (
    " Begun with the authors' weights (Apache-2.0), which learned from the 6,000 training clips of First Impressions; "
    "scores on those clips say nothing."
)

NUM_PARTS: Final = 6
"""Equal parts of a clip, each of which is seen in one frame."""

DECAY: Final = 1e-4
"""The learning rate is divided by 1 + DECAY times the number of optimiser steps so far."""

PUBLISHED_EPOCHS: Final[Mapping[Architecture, int]] = {"lstm": 440, "3dcnn": 600}
"""After how many passes over the training clips the published files were saved; their names say it."""

FINETUNING_RATE: Final = 0.0015
"""A tenth of the authors' rate when they saved their files, 0.0163 and 0.0131 after 47 steps in each epoch. SGD with
momentum starts with the first gradient ten times over, which at their rate undoes what was learned (docs)."""

_MORE: Final = "more_pictures"


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What may be changed; the defaults are the authors', but for fine-tuning.

    Attributes:
        faces_per_part: stored faces of each sixth of a clip, one of which is drawn in training. With 3 they are those
            that prediction looks at; more are stored beside them and take their own pass over the media.
        epochs: passes over the training clips at most; None for 440 (lstm) and 600 (3dcnn), in fine-tuning 20.
        batch_size: clips per step.
        learning_rate: of the first step; None for 0.05, in fine-tuning 0.0015.
        dampening: of the momentum, see `_update`.
        averaged: whether squared errors are averaged over a clip's steps and traits, not summed.
        epsilon: of the features of sound, see `thinslice.features.short_term_audio`.
        start_from: in fine-tuning, the Torch7 file to start from; None for the asset `bimodal`.
        targets: columns of the manifest to be predicted, joined by ","; "" for the paper's.
    """

    faces_per_part: int = int(FACE_PARAMS["draws"])
    epochs: int | None = None
    batch_size: int = 128
    learning_rate: NotNegative | None = None
    dampening: Share = 0.9
    averaged: bool = False
    epsilon: float = float(SOUND_PARAMS["epsilon"])
    start_from: str | None = None
    targets: str = ""


SMALL: Final = Hyperparameters(epochs=30, batch_size=16)
"""The networks are small already; the schedule is for some hundred clips."""


def bimodal(variant: str = "lstm", **hyperparameters: Any) -> Recipe:
    """Return the recipe of a variant.

    Args:
        variant: one of `VARIANTS`.
        **hyperparameters: those that differ from the variant's own, see `Hyperparameters`.

    Raises:
        UsageError: an unknown variant or hyperparameter, fewer faces than prediction looks at, or a file to start from
            where nothing starts from one. The file itself is read when training begins.
    """
    check_variant("bimodal", variant, SIZES, READINGS)
    sized, changes = apply_reading(variant, "lstm", READINGS)
    chosen = SMALL if sized.startswith(SMALL_PREFIX) else Hyperparameters()
    chosen = set_hyperparameters("bimodal", chosen, {**changes, **hyperparameters})
    kind = sized.removeprefix(SMALL_PREFIX)
    architecture: Architecture = "lstm" if kind.startswith("lstm") else "3dcnn"
    is_finetuning = kind.endswith("-finetune")
    if chosen.start_from is not None and not is_finetuning:
        raise UsageError(f"bimodal: {variant} starts from fresh weights; to start from a file: {architecture}-finetune")
    outputs = chosen_targets(chosen.targets, TRAITS)
    if is_finetuning and outputs != TRAITS:
        raise UsageError(f"bimodal: the authors' weights give the five traits; for {chosen.targets}: {architecture}")
    if chosen.faces_per_part < FACE_PARAMS["draws"]:
        raise UsageError(f"bimodal: faces_per_part is {FACE_PARAMS['draws']} or more, not {chosen.faces_per_part}")
    features = {
        "pictures": FeatureSpec(extractor="aligned_faces", params=FACE_PARAMS),
        "sound": FeatureSpec(extractor="short_term_audio", params={**SOUND_PARAMS, "epsilon": chosen.epsilon}),
    }
    if chosen.faces_per_part > FACE_PARAMS["draws"]:
        # One part of many draws is a row of single pictures in the order of time, which can be read one by one.
        params = {**FACE_PARAMS, "num_parts": 1, "draws": NUM_PARTS * chosen.faces_per_part}
        features[_MORE] = FeatureSpec(extractor="aligned_faces", params=params)
    make_stage = _finetune_stage if is_finetuning else _scratch_stage
    return Recipe(
        name="bimodal",
        arguments={"variant": variant, **asdict(chosen)},
        hyperparameters=chosen,
        variants=VARIANTS,
        tables=TABLES,
        paper=PAPER,
        inputs={"pictures": "face", "sound": "sound"},
        outputs=outputs,
        features=features,
        sample=sample_more_faces if _MORE in features else sample_faces,
        build_model=partial(BimodalLSTM if architecture == "lstm" else Bimodal3DCNN, len(outputs)),
        predict=predict_scores,
        stages=(make_stage(architecture, chosen),),
        build_graph=build_graph,
        limits=LIMITS + (FINETUNED if is_finetuning else ""),
    )


def sample_faces(clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
    """Return a clip's inputs: in training one random stored face of each sixth, else all draws.

    Returns:
        "pictures": uint8 (draws, 6, 112, 112, 3), one draw in training; "sound": float32 (6, 68).
    """
    if mode != "train":
        return {"pictures": clip.read("pictures"), "sound": clip.read("sound")}
    drawn = rng.integers(clip.shape("pictures")[0], size=NUM_PARTS)
    pictures = clip.read("pictures", (drawn, np.arange(NUM_PARTS)))
    return {"pictures": pictures[None], "sound": clip.read("sound")}


def sample_more_faces(clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
    """Return the same as `sample_faces`, in training from the larger row of faces stored beside the others."""
    if mode != "train":
        return sample_faces(clip, mode, rng)
    each = clip.shape(_MORE)[0] // NUM_PARTS
    pictures = clip.read(_MORE, np.arange(NUM_PARTS) * each + rng.integers(each, size=NUM_PARTS))
    return {"pictures": pictures[None, :, 0], "sound": clip.read("sound")}


def predict_scores(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return scores (batch, 5): the mean over the draws and, of the LSTM, over its six steps."""
    return _score_steps(model, inputs).mean((1, 2))


def squared_error(model: nn.Module, batch: Batch, averaged: bool = False) -> Tensor:
    """Return the squared errors of all traits, of the LSTM at all six steps, summed for a clip, as a mean over clips.

    With `averaged` they are averaged for a clip, too.

    Source: ``src/3_loss.lua`` (no average over outputs) and ``src/4_train.lua`` (the gradient divided by the number
    of clips in the batch). A label that is not known counts as the mean of the known ones.
    """
    scores = _score_steps(model, batch["inputs"]).flatten(1, 2)
    labels = batch["labels"][:, None].expand_as(scores)
    mean = mean_squared_error(scores, labels)
    return mean if averaged else mean * (scores.shape[1] * scores.shape[2])


def _score_steps(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return scores (batch, draws, steps, 5) of uint8 pictures (batch, draws, 6, 112, 112, 3)."""
    pictures = inputs["pictures"].float().mul(1 / 255).movedim(-1, -3).contiguous()
    batch, draws = pictures.shape[:2]
    sound = inputs["sound"][:, None].expand(-1, draws, -1, -1).flatten(0, 1)
    if isinstance(model, BimodalLSTM):
        scores = model.forward_steps(pictures.flatten(0, 1), sound)
    else:
        scores = model(pictures.flatten(0, 1), sound)[:, None]
    return scores.unflatten(0, (batch, draws))


def torch7_decay(optimiser: Optimizer) -> LambdaLR:
    """Return the schedule of Torch7's SGD: the rate divided by 1 + 0.0001 times the steps done."""
    return LambdaLR(optimiser, _decayed)


def _decayed(step: int) -> float:
    return 1 / (1 + DECAY * step)


def _update(learning_rate: float, hyper: Hyperparameters) -> Update:
    # Torch7's SGD dampens by the momentum unless told otherwise, PyTorch's does not: without it, every step would be
    # ten times as long as the authors'.
    optimiser = partial(torch.optim.SGD, lr=learning_rate, momentum=0.9, dampening=hyper.dampening, weight_decay=5e-4)
    return Update(
        loss=partial(squared_error, averaged=hyper.averaged), optimiser=optimiser, schedule=torch7_decay, per_step=True
    )


def _scratch_stage(architecture: Architecture, hyper: Hyperparameters) -> Stage:
    return Stage(
        name="network",
        updates=(_update(0.05 if hyper.learning_rate is None else hyper.learning_rate, hyper),),
        batch_size=hyper.batch_size,
        epochs=hyper.epochs or PUBLISHED_EPOCHS[architecture],
        validate_every=10,
    )


def _finetune_stage(architecture: Architecture, hyper: Hyperparameters) -> Stage:
    """The authors' training, gone on with on other clips, more slowly."""
    return Stage(
        name="finetune",
        updates=(_update(FINETUNING_RATE if hyper.learning_rate is None else hyper.learning_rate, hyper),),
        batch_size=hyper.batch_size,
        epochs=hyper.epochs or 20,
        prepare=partial(start_from_published, architecture, hyper.start_from),
    )


def start_from_published(architecture: Architecture, path: str | None, model: nn.Module, data: TrainingClips) -> None:
    """Put the authors' trained weights into a model.

    Args:
        architecture: which network the model is.
        path: the Torch7 file; None for the asset `bimodal`.
        model: the network.
        data: not looked at.

    Raises:
        AssetError: the asset is not on this machine.
        Torch7Error: the file cannot be read, or is neither network.
        UsageError: it is the other network.
    """
    file = asset_files("bimodal")[f"bimodal_{architecture}.net"] if path is None else Path(path)
    weights = read_bimodal(file)
    if weights.architecture != architecture:
        raise UsageError(f"{file}: holds the {weights.architecture} network, not the {architecture} network")
    model.load_state_dict(build_bimodal(weights).state_dict())


def build_graph(model: nn.Module) -> Any:
    """Return a trained network as the ONNX graph that predict runs: see `thinslice.systems.bimodal.graph`."""
    architecture: Architecture = "lstm" if isinstance(model, BimodalLSTM) else "3dcnn"
    arrays = {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    return build_bimodal_graph([BimodalWeights(architecture, arrays, sha256="", official=False)])
