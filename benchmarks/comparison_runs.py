"""What `comparison.py` trains: the recipes of the five systems at a size for CPUs, and what is read off each run.

Everything but these sizes is the small variants'. They were set by the time that an epoch takes, not by any score.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from thinslice.systems import RECIPES
from thinslice.systems.cr_net.recipe import expected_scores
from thinslice.systems.persemon.recipe import predict_scores
from thinslice.train.recipe import Predict, Recipe

NUM_PICTURES: Final = 4
"""Portraits of a clip that are looked at."""

ATTRIBUTES_RECIPE: Final = "audiovisual_attributes"


@dataclass(frozen=True)
class Reading:
    """A prediction of every clip that a run makes: by the weights of a stage.

    Attributes:
        stage: whose weights; that of a fitted estimator for the estimator's.
        predict: how they predict; None for the stage's way.
    """

    stage: str
    predict: Predict | None = None


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        system: its recipe.
        variant: of it.
        sizes: that differ from the variant's.
        readings: name in the tables -> what is predicted.
    """

    system: str
    variant: str
    sizes: Mapping[str, Any]
    readings: Mapping[str, Reading] = field(default_factory=dict)

    def recipe(self, vectors: str) -> Recipe:
        """Return the recipe; `vectors` are those of words, for the system that reads."""
        more = {"vectors": vectors} if self.system == "cross_modal" else {}
        return RECIPES[self.system](self.variant, **self.sizes, **more)


def cr_net(variant: str, epochs: int, readings: Mapping[str, Reading], **more: Any) -> Run:
    """Return a run of cr_net's face stream, of so many epochs in each stage; `more` are sizes that differ."""
    sizes = {"num_frames": NUM_PICTURES, "draws": 1, "margin": 0.2, "side": 64, "batch_size": 16, "num_trees": 50}
    schedule = {"epochs": epochs, "decay_epochs": max(epochs * 2 // 3, 1)}
    return Run("cr_net", variant, {**sizes, **schedule, **more}, readings)


def persemon(variant: str, readings: Mapping[str, Reading]) -> Run:
    """Return a run of persemon; all take as many steps, and see as many faces of the clips."""
    return Run("persemon", variant, {"draws": 1, "width": 8, "steps": 840}, readings)


def cross_modal(variant: str) -> Mapping[str, Any]:
    """Return the sizes of cross_modal's runs; the stage on sound, which no clip has, is one pass over nothing."""
    pictures = 1 if variant.endswith("scene") else NUM_PICTURES
    return {
        "num_frames": pictures,
        "frame_height": 96,
        "frame_width": 72,
        "video_batch": 22,
        "video_epochs": 8,
        "text_batch": 128,
        "text_epochs": 10,
        "audio_epochs": 1,
        "late_batch": 128,
        "late_epochs": 15,
    }


JOINT: Final = {
    "joint: personality branch (PAM)": Reading("network", partial(predict_scores, "pam")),
    "joint: emotion to personality (RAM)": Reading("network", partial(predict_scores, "ram")),
    "joint: both": Reading("fusion", partial(predict_scores, "fused")),
}

RUNS: Final[Mapping[str, Run]] = {
    "deep_impression": Run(
        "deep_impression",
        "small_pictures",
        {"num_frames": NUM_PICTURES, "width": 8, "epochs": 15},
        {"pictures": Reading("network")},
    ),
    "cr_net": cr_net(
        "small_face",
        6,
        {
            "face: classes alone": Reading("classes_face", partial(expected_scores, "face", 4)),
            "face: classes and regression": Reading("joint_face"),
            "face: with trees": Reading("trees"),
        },
    ),
    "audiovisual_attributes": Run(
        ATTRIBUTES_RECIPE,
        "small_audio+visual+attributes",
        {
            "num_faces": NUM_PICTURES,
            "rate_hz": 10,
            "audio_epochs": 1,
            "visual_epochs": 8,
            "fusion_epochs": 15,
            "batch_size": 32,
        },
        {"visual": Reading("visual"), "visual+attributes": Reading("fusion")},
    ),
    "persemon_personality": persemon(
        "small_personality", {"personality alone": Reading("network", partial(predict_scores, "pam"))}
    ),
    "cross_modal": Run(
        "cross_modal",
        "small_cross-modal",
        cross_modal("cross-modal"),
        {
            "video": Reading("video"),
            "text": Reading("text"),
            "text+video": Reading("fusion"),
            "text+video, Siamese": Reading("fused"),
        },
    ),
    "persemon_joint": persemon("small_joint", JOINT),
    "cr_net_plain": cr_net("small_face_plain_l1_l2", 12, {"face: no CR-block, no Bell loss": Reading("joint_face")}),
    "persemon_without_coherence": persemon(
        "small_without_coherence", {name.replace("joint", "without coherence"): r for name, r in JOINT.items()}
    ),
    "cr_net_bell": cr_net("small_face_plain_l1_l2_bell", 12, {"face: Bell loss alone": Reading("joint_face")}),
    "cr_net_block": cr_net("small_face_l1_l2", 6, {"face: CR-block alone": Reading("joint_face")}),
    "cr_net_stacked": cr_net(
        "small_face", 6, {"face: pictures stacked as channels": Reading("joint_face")}, stacked="scene,face"
    ),
    "cr_net_3d": cr_net("small_face_3d", 6, {"face: three dimensions": Reading("joint_face")}),
    "scene": Run("cross_modal", "small_scene", cross_modal("scene"), {"scene": Reading("video")}),
}
"""Name of a run's folder -> what is trained, the most important first."""

PAIRS: Final = (
    ("cr_net", "face: classes and regression", "face: no CR-block, no Bell loss"),
    ("cr_net", "face: Bell loss alone", "face: no CR-block, no Bell loss"),
    ("cr_net", "face: CR-block alone", "face: no CR-block, no Bell loss"),
    ("cr_net", "face: pictures stacked as channels", "face: classes and regression"),
    ("cr_net", "face: three dimensions", "face: classes and regression"),
    ("cr_net", "face: with trees", "face: classes and regression"),
    ("audiovisual_attributes", "visual+attributes", "visual"),
    ("cross_modal", "text+video", "video"),
    ("cross_modal", "text+video", "text"),
    ("cross_modal", "text+video, Siamese", "text+video"),
    ("persemon", "joint: personality branch (PAM)", "personality alone"),
    ("persemon", "joint: both", "joint: personality branch (PAM)"),
    ("persemon", "joint: both", "without coherence: both"),
)
"""System, what has its idea, what lacks it."""
