"""Cross-modal embeddings: each modality by itself, all fused, a Siamese network on extreme clips, and both together.

Source: Fodor, Saboundji, Lőrincz, "Enhancing Apparent Personality Trait Analysis with Cross-Modal Embeddings";
`thinslice.systems.cross_modal.network` has the networks, `thinslice.layers.metric_losses` the third stage's loss, and
docs/systems/cross_modal.md what was measured.

Deviations: what the paper does not say is one of the `Hyperparameters` or said here. Batches of the text stage and of
the last three, epochs of the last three, and the patience of early stopping are ours. The rate decays to 0, linearly,
after each epoch. Losses are those of CR-Net with its factor of 100 on scores and labels, since sigma 9 and gamma 300,
which are taken from there, mean nothing without it. The last three stages learn from frames cut in the middle: their
inputs are computed once. The Siamese stage has no score that would choose an epoch, so its last is kept. Frames are
kept as the store keeps pictures, as JPEG files.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import PolynomialLR

from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.layers.losses import cr_net_regression_loss
from thinslice.layers.metric_losses import (
    Similarity,
    stack_modalities,
    trait_classes,
    trait_wise_multi_similarity,
)
from thinslice.layers.named_seeds import seeded_by_name
from thinslice.systems.cross_modal.augment import Space, change_frames
from thinslice.systems.cross_modal.figures import draw_figures
from thinslice.systems.cross_modal.look import CHANGES, Look
from thinslice.systems.cross_modal.network import (
    INPUTS,
    NUM_FUNCTIONALS,
    AudioNetwork,
    CrossModal,
    TextNetwork,
    VideoNetwork,
    find_present,
)
from thinslice.systems.cross_modal.variants import (
    READINGS,
    ROWS,
    SIZES,
    SMALL,
    SMALL_PREFIX,
    TABLES,
    VARIANTS,
    WHOLE,
    Hyperparameters,
)
from thinslice.targets import chosen_targets
from thinslice.train.readings import apply_reading, check_variant
from thinslice.train.recipe import (
    Batch,
    Recipe,
    Stage,
    TrainingClips,
    Update,
    set_hyperparameters,
)
from thinslice.traits import TRAITS

PAPER: Final = "Fodor, Saboundji, Lőrincz: Enhancing Apparent Personality Trait Analysis with Cross-Modal Embeddings"

LABELS: Final = {"audio": "voice", "video": "scene", "text": "words"}
"""Modality -> what a person calls its input."""

ABSENT: Final = {"egemaps": float("nan"), "frames": 0.0, "words": 0.0}
"""Input -> the number that fills it where a clip lacks it; see `thinslice.systems.cross_modal.network.find_present`."""

MOST_FOR_STAND_IN: Final = 512
"""Training clips from which the stand-in for a missing input is made: the mean needs no more."""

DENSE: Final[Mapping[str, tuple[str, ...]]] = {
    "audio": ("networks.audio.first.weight", "networks.audio.second.weight", "heads.audio.weight"),
    "video": ("networks.video.dense.weight", "heads.video.weight"),
    "text": ("networks.text.attention.weight", "heads.text.weight"),
    "fusion": ("fusion.layer.weight", "fusion.head.weight"),
    "fused": ("fused.layer.weight", "fused.head.weight"),
}
"""Stage -> weights of its fully connected layers, which decay (section 4.2)."""


def cross_modal(variant: str = "cross-modal", **hyperparameters: Any) -> Recipe:
    """Return the recipe of a variant.

    Args:
        variant: one of `VARIANTS`.
        **hyperparameters: those that differ from the variant's own, see `Hyperparameters`.

    Raises:
        UsageError: an unknown variant or hyperparameter, or a crop that is larger than the frame.
    """
    check_variant("cross_modal", variant, SIZES, READINGS)
    sized, changes = apply_reading(variant, WHOLE, READINGS)
    row = sized.removeprefix(SMALL_PREFIX)
    chosen = SMALL if row != sized else Hyperparameters()
    chosen = set_hyperparameters("cross_modal", chosen, {**changes, **hyperparameters})
    if row == "scene":  # Whatever the other rows of its table look at.
        chosen = replace(chosen, num_frames=1)
    if chosen.side > min(chosen.frame_width, chosen.frame_height):
        raise UsageError(f"cross_modal: a crop of {chosen.side} does not fit into the frame")
    modalities, ours = ROWS[row], row == WHOLE
    specs = {
        "egemaps": FeatureSpec(extractor="egemaps", params={"allow_missing": True}),
        "frames": FeatureSpec(
            extractor="frames",
            params={"num_frames": chosen.num_frames, "width": chosen.frame_width, "height": chosen.frame_height},
        ),
        "words": FeatureSpec(
            extractor="word_vectors",
            params={
                "vectors": chosen.vectors,
                "size": chosen.vector_size,
                "num_words": chosen.num_words,
                "sha256": chosen.vectors_sha256,
                "allow_missing": True,
            },
        ),
    }
    stages = [_alone(modality, chosen) for modality in modalities]
    if len(modalities) > 1:
        stages.append(_fusion(chosen))
    if ours:
        stages += [_siamese(chosen), _fused(chosen)]
    names = [INPUTS[modality] for modality in modalities]
    return Recipe(
        name="cross_modal",
        arguments={"variant": variant, **asdict(chosen)},
        hyperparameters=chosen,
        variants=VARIANTS,
        tables=TABLES,
        draw_figures=draw_figures,
        paper=PAPER,
        inputs={INPUTS[modality]: LABELS[modality] for modality in modalities},
        outputs=chosen_targets(chosen.targets, TRAITS),
        features={name: specs[name] for name in names},
        sample=Look(tuple(names), chosen.side),
        build_model=partial(_build_model, modalities, ours, chosen),
        stages=tuple(stages),
        absent={name: ABSENT[name] for name in names} if len(names) > 1 else {},
        bundle_features={name: _strict(specs[name]) for name in names},
        limits="Sees whole frames and reads the words: scene, clothing and topic count as much as the person.",
    )


def _strict(spec: FeatureSpec) -> FeatureSpec:
    """Return a feature that says what a clip lacks instead of giving the stand-in."""
    return replace(spec, params={name: value for name, value in spec.params.items() if name != "allow_missing"})


def _build_model(modalities: tuple[str, ...], ours: bool, hyper: Hyperparameters) -> CrossModal:
    makes: dict[str, Callable[[], nn.Module]] = {
        "audio": partial(AudioNetwork, NUM_FUNCTIONALS, hyper.hidden),
        "video": partial(VideoNetwork, hyper.layout, hyper.width, hyper.side, hyper.hidden),
        "text": partial(TextNetwork, hyper.vector_size, hyper.hidden),
    }
    networks = {}
    for modality in modalities:
        with seeded_by_name(f"networks.{modality}"):
            networks[modality] = makes[modality]()
    num_outputs = len(chosen_targets(hyper.targets, TRAITS))
    model = CrossModal(networks, ours, hyper.hidden, hyper.fused, (hyper.neurons, hyper.embedding), num_outputs)
    fusing = [both["head"] for both in (model.fusion, model.fused) if both is not None]
    with torch.no_grad():
        for head in (*model.heads.values(), *fusing):
            assert isinstance(head, nn.Linear)
            head.weight.mul_(hyper.head_scale)
            head.bias.fill_(hyper.head_bias)
    return model


def regression_loss(predictions: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return MAE + MSE + Bell (section 3.2) with CR-Net's scale, and its parts."""
    return cr_net_regression_loss(predictions, labels, ("l1", "l2", "bell"))


def _loss_alone(modality: str, colours: Space, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    assert isinstance(model, CrossModal)
    inputs, given = batch["inputs"], batch["inputs"][INPUTS[modality]]
    # What a clip without this input is like, this network cannot learn.
    labels = batch["labels"].masked_fill(~find_present(modality, given)[:, None], torch.nan)
    if CHANGES in inputs:
        given = change_frames(given, inputs[CHANGES], colours)
    return regression_loss(model.score_alone(modality, given), labels)


def _predict_alone(modality: str, model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    assert isinstance(model, CrossModal)
    return model.score_alone(modality, inputs[INPUTS[modality]])


def hidden_of(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what the frozen networks give: "hidden" (batch, modalities, Q), "present" (batch, modalities)."""
    assert isinstance(model, CrossModal)
    hidden, present = model.hidden(**inputs)
    return {"hidden": hidden, "present": present.float()}


def _loss_fusion(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    assert isinstance(model, CrossModal)
    return regression_loss(model.score_fusion(batch["inputs"]["hidden"]), batch["labels"])


def _predict_fusion(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    assert isinstance(model, CrossModal)
    return model.score_fusion(inputs["hidden"])


def _loss_siamese(settings: Similarity, model: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(model, CrossModal)
    classes = trait_classes(batch["labels"], model.class_mean, model.class_sd)
    inputs = batch["inputs"]
    embeddings, stacked = stack_modalities(model.embed(inputs["hidden"]), classes, inputs["present"] > 0.5)
    return trait_wise_multi_similarity(embeddings, stacked, settings)


def _loss_fused(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    assert isinstance(model, CrossModal)
    return regression_loss(model.score_fused(batch["inputs"]["hidden"]), batch["labels"])


def _predict_fused(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    assert isinstance(model, CrossModal)
    return model.score_fused(inputs["hidden"])


def set_range(model: nn.Module, data: TrainingClips) -> None:
    """Give the network on sound the range of the training clips' functionals."""
    assert isinstance(model, CrossModal)
    network = model.networks["audio"]
    assert isinstance(network, AudioNetwork)
    functionals = np.stack([data.reader(i).read("egemaps") for i in range(len(data.clips))])
    network.set_range(torch.from_numpy(functionals))


@torch.no_grad()
def set_stand_ins(model: nn.Module, data: TrainingClips) -> None:
    """Set what stands for a missing input: the mean of what its network gives for training clips that have it."""
    assert isinstance(model, CrossModal)
    was_training = model.training
    model.eval()
    step = -(-len(data.clips) // MOST_FOR_STAND_IN)
    sums, counts = torch.zeros_like(model.stand_in), torch.zeros(len(model.modalities))
    for index in range(0, len(data.clips), step):
        clip = data.reader(index)
        inputs = {
            name: torch.from_numpy(np.array(clip.read(name)))[None]
            for name in map(INPUTS.get, model.modalities)
            if name
        }
        hidden, present = model.hidden(**inputs)
        sums += torch.where(present[0][:, None], hidden[0], torch.zeros_like(hidden[0]))
        counts += present[0]
    model.stand_in.copy_(sums / counts.clamp(min=1)[:, None])
    model.train(was_training)


def set_classes(model: nn.Module, data: TrainingClips) -> None:
    """Set the thresholds of the four classes: mean and standard deviation of the training labels (section 4.4)."""
    assert isinstance(model, CrossModal)
    for k in range(data.labels.shape[1]):
        known = data.labels[~np.isnan(data.labels[:, k]), k]
        if len(known):
            model.class_mean[k] = float(known.mean())
            model.class_sd[k] = float(known.std())


def _update(loss: Any, part: tuple[str, ...], stage: str, hyper: Hyperparameters, epochs: int) -> Update:
    decay = {name: {"weight_decay": hyper.weight_decay} for name in DENSE.get(stage, ())}
    return Update(
        loss=loss,
        optimiser=partial(torch.optim.Adam, lr=hyper.learning_rate),
        schedule=partial(PolynomialLR, total_iters=epochs),
        trains=part,
        options=decay,
    )


def _alone(modality: str, hyper: Hyperparameters) -> Stage:
    epochs = {"audio": hyper.audio_epochs, "video": hyper.video_epochs, "text": hyper.text_epochs}[modality]
    batch = {"audio": hyper.audio_batch, "video": hyper.video_batch, "text": hyper.text_batch}[modality]
    parts = (f"networks.{modality}", f"heads.{modality}")
    return Stage(
        name=modality,
        updates=(_update(partial(_loss_alone, modality, hyper.colours), parts, modality, hyper, epochs),),
        batch_size=batch,
        epochs=epochs,
        patience=hyper.patience if modality == "audio" or hyper.stops_early == "all" else None,
        parts=parts,
        features=(INPUTS[modality],),
        sample=Look((INPUTS[modality],), hyper.side),
        predict=partial(_predict_alone, modality),
        prepare=set_range if modality == "audio" else None,
    )


def _fusion(hyper: Hyperparameters) -> Stage:
    return Stage(
        name="fusion",
        parts=("networks", "stand_in", "fusion"),
        updates=(_update(_loss_fusion, ("fusion",), "fusion", hyper, hyper.late_epochs),),
        batch_size=hyper.late_batch,
        epochs=hyper.late_epochs,
        patience=hyper.patience,
        precompute=hidden_of,
        predict=_predict_fusion,
        prepare=set_stand_ins,
    )


def _siamese(hyper: Hyperparameters) -> Stage:
    settings = Similarity(
        alpha=hyper.alpha,
        beta=hyper.beta,
        base=hyper.threshold,
        margin=hyper.mining_margin,
        unit_length=hyper.unit_length,
    )
    return Stage(
        name="siamese",
        parts=("networks", "stand_in", "fusion", "siamese", "class_mean", "class_sd"),
        updates=(_update(partial(_loss_siamese, settings), ("siamese",), "siamese", hyper, hyper.late_epochs),),
        batch_size=hyper.late_batch,
        epochs=hyper.late_epochs,
        precompute=hidden_of,
        predict=_predict_fusion,
        prepare=set_classes,
        keep="last",
        validate_every=hyper.late_epochs,
    )


def _fused(hyper: Hyperparameters) -> Stage:
    return Stage(
        name="fused",
        updates=(_update(_loss_fused, ("fused",), "fused", hyper, hyper.late_epochs),),
        batch_size=hyper.late_batch,
        epochs=hyper.late_epochs,
        patience=hyper.patience,
        precompute=hidden_of,
        predict=_predict_fused,
    )
