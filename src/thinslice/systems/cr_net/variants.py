"""CR-Net's variants: what distinguishes them, which tables of the paper they are in, and readings of what is open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from thinslice.features.spec import Scalar
from thinslice.systems.cr_net.network import HeadKind
from thinslice.systems.cr_net.trees import Regressor
from thinslice.train.readings import TABLE, Reading, reading_variants, readings_table
from thinslice.train.recipe import Tables

ALL_LOSSES: Final = ("l1", "l2", "bell")


@dataclass(frozen=True, kw_only=True)
class CRNetKind:
    """What distinguishes a variant.

    Attributes:
        streams: of `thinslice.systems.cr_net.network.STREAM_INPUTS`.
        head: see `thinslice.systems.cr_net.network.Shape`.
        losses: of the second stage's regression; none for classes alone.
        num_classes: 4, 7 or 10.
        regressor: the third stage; None where the network's own scores are the result.
        changes: hyperparameters that differ.
    """

    streams: tuple[str, ...]
    head: HeadKind = "cr"
    losses: tuple[str, ...] = ALL_LOSSES
    num_classes: int = 4
    regressor: Regressor | None = "extra_trees"
    changes: Mapping[str, Scalar] = field(default_factory=dict)


_INFLATED: Final[Mapping[str, Scalar]] = {"stacked": "", "inflated": "scene,face"}
_SINGLE: Final[Mapping[str, Scalar]] = {"stacked": ""}


def _kinds() -> dict[str, CRNetKind]:
    three = ("scene", "face", "audio_text")
    kinds = {
        "all": CRNetKind(streams=three),
        "without_text": CRNetKind(streams=("scene", "face", "audio")),
        "face_scene": CRNetKind(streams=("scene", "face")),
        **{name: CRNetKind(streams=(name,)) for name in ("face", "scene", "audio", "text", "audio_text")},
        "all_random_forest": CRNetKind(streams=three, regressor="random_forest"),
        "all_svr": CRNetKind(streams=three, regressor="svr"),
        "all_network": CRNetKind(streams=three, regressor=None),
        "3d": CRNetKind(streams=three, changes=_INFLATED),
        "single": CRNetKind(streams=three, changes=_SINGLE),
    }
    for name in ("face", "scene"):
        kinds[f"{name}_3d"] = CRNetKind(streams=(name,), changes=_INFLATED)
        kinds[f"{name}_single"] = CRNetKind(streams=(name,), changes=_SINGLE)
    for name in ("face", "scene", "audio_text"):
        stream = (name,)
        kinds[f"{name}_l1_l2"] = CRNetKind(streams=stream, losses=("l1", "l2"))
        for losses in (("l1",), ("l2",), ("l1", "l2"), ("bell",), ALL_LOSSES):
            kinds["_".join([name, "plain", *losses])] = CRNetKind(streams=stream, head="plain", losses=losses)
        kinds[f"{name}_expectation"] = CRNetKind(streams=stream, head="expectation", losses=(), regressor=None)
        kinds[f"{name}_expectation_reg"] = CRNetKind(
            streams=stream, head="expectation", losses=("l1", "l2"), regressor=None
        )
        for count in (7, 10):
            kinds[f"{name}_{count}"] = CRNetKind(streams=stream, num_classes=count)
    return kinds


KINDS: Final[Mapping[str, CRNetKind]] = _kinds()
SIZES: Final = (*KINDS, *(f"small_{name}" for name in KINDS))
READINGS: Final[Mapping[str, Reading]] = {
    "tiled_words": Reading(
        says="the words' vector 64 times behind the sound, 24,576 numbers", changes={"text_tiles": 64}
    ),
    "scaled_words": Reading(says="the words' vector 16 times as large", changes={"text_gain": 16.0}),
    "warm_up": Reading(says="the second stage's rate rises over 200 steps", changes={"warmup_steps": 200}),
    "no_margin": Reading(says="faces without a margin", changes={"margin": 0.0}),
}
"""Readings of "all", beside "3d" and "single", which say how 32 frames enter the network."""

VARIANTS: Final = (*SIZES, *reading_variants(READINGS))
"""The paper's, each of them at a size for CPUs and small corpora, which is ours, and the readings of "all"."""

_STREAMS: Final = {"face": "face", "scene": "scene", "audio_text": "audio+text"}

TABLES: Final[Tables] = {
    "1": {"all": "face+scene+audio+text", "without_text": "without text"},
    "3": {
        "face": "face",
        "scene": "scene",
        "face_scene": "face+scene",
        "audio": "audio",
        "text": "text",
        "audio_text": "audio+text",
    },
    "4": {
        f"{ours}{variant}": f"{theirs}{name}"
        for ours, theirs in _STREAMS.items()
        for variant, name in {
            "_plain_l1_l2": "; no CR-block, no Bell",
            "_l1_l2": "; CR-block only",
            "_plain_l1_l2_bell": "; Bell only",
            "": "",
        }.items()
    },
    "5": {
        f"{ours}_plain_{variant}": f"{theirs}; {name}"
        for ours, theirs in _STREAMS.items()
        for variant, name in {
            "l1": "L1 loss only",
            "l2": "L2 loss only",
            "l1_l2": "no CR-block, no Bell",
            "bell": "Bell loss only",
            "l1_l2_bell": "Bell only",
        }.items()
    },
    "6": {
        f"{ours}_{variant}": f"{theirs}; {name}"
        for ours, theirs in _STREAMS.items()
        for variant, name in {
            "expectation": "expectation",
            "expectation_reg": "expectation+regression",
            "l1_l2": "CR-block only",
        }.items()
    },
    "7": {
        f"{ours}{variant}": f"{theirs}{name}"
        for ours, theirs in _STREAMS.items()
        for variant, name in {"": "", "_7": "; 7 classes", "_10": "; 10 classes"}.items()
    },
    TABLE: {
        **readings_table("all", "32 frames stacked as channels", READINGS),
        "3d": "ResNet-34 inflated to three dimensions",
        "single": "single frames, their features averaged",
    },
}
"""Table of the paper -> variant here -> its name in published.csv, which has a row that two tables share once."""
