"""PersEmoN's variants: what distinguishes them, which tables of the paper they are in, and readings of what is open.

Source of the variant "authors": the authors' training definition, github.com/ZhangLeUestc/PersEmoN,
``sphereface_model_combine_da_mapping_v1.prototxt``. It differs from their paper: squared errors instead of smooth L1
(Caffe's EuclideanLoss: half the squares, summed over targets); weights 0.05, 0.05 and 0.2 of classifier, confusion and
RAM; confusion with the data sets' labels exchanged instead of a uniform distribution; PAM without sigmoid, RAM of 32
units (ReLU) with a tanh at its end and the consensus after it; six targets, with the invitation to an interview; biases
of residual layers that do not learn, twice the rate and no decay for the other biases of the face network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from thinslice.features.spec import Scalar
from thinslice.systems.persemon.network import Consensus
from thinslice.train.readings import TABLE, Reading, apply_reading, reading_variants, readings_table
from thinslice.train.recipe import Tables

Output = Literal["pam", "ram", "fused"]


@dataclass(frozen=True, kw_only=True)
class PersemonKind:
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


KINDS: Final[Mapping[str, PersemonKind]] = {
    "joint": PersemonKind(),
    "joint_pam": PersemonKind(output="pam"),
    "joint_ram": PersemonKind(output="ram"),
    "emotion": PersemonKind(personality=False, relationship=False, coherence=False, output="pam"),
    "personality": PersemonKind(emotion=False, relationship=False, coherence=False, output="pam"),
    "without_ram": PersemonKind(relationship=False, output="pam"),
    "without_coherence": PersemonKind(coherence=False),
    "max": PersemonKind(consensus="max"),
    "lstm": PersemonKind(consensus="lstm"),
    "k5": PersemonKind(num_parts=5),
    "k20": PersemonKind(num_parts=20),
    "authors": PersemonKind(),
    "fresh": PersemonKind(pretrained=False),
}
"""Variants: the paper's system, what its modules say alone (Table 4), its ablations, the authors' own definition, and
one from fresh weights."""

AUTHORS: Final[Mapping[str, Scalar]] = {
    "loss": "euclidean",
    "confusion": "exchanged",
    "ram_units": 32,
    "ram_consensus": "scores",
    "outputs": "raw",
    "interview": True,
    "caffe": True,
    "residual_biases": False,
    "classifier_weight": 0.025,
    "confusion_weight": 0.025,
    "ram_weight": 0.2,
}
"""What the authors' definition changes. Its weights 0.05 are of means over all 200 faces, here of the sum of both data
sets' means: half as much."""

READINGS: Final[Mapping[str, Reading]] = {
    "printed_loss": Reading(
        says="equation 3 as printed, with its jump at the margin", changes={"loss": "smooth_l1_printed"}
    ),
    "euclidean": Reading(says="half the squared error, as the authors' definition", changes={"loss": "euclidean"}),
    "ram_alone": Reading(says="RAM's loss trains RAM alone, as equation 12 has it", changes={"ram_reaches": "ram"}),
    "exchanged": Reading(
        says="confusion by exchanged labels of the data sets, as the authors' definition",
        changes={"confusion": "exchanged"},
    ),
    "authors_ram": Reading(
        says="RAM of 32 units, consensus after it, as the authors' definition",
        changes={"ram_units": 32, "ram_consensus": "scores"},
    ),
    "raw_outputs": Reading(
        says="PAM not squashed and RAM by tanh, as the authors' definition", changes={"outputs": "raw"}
    ),
    "caffe": Reading(
        says="first weights of heads, and biases, as the authors' definition",
        changes={"caffe": True, "residual_biases": False},
    ),
    "weights": Reading(
        says="0.05, 0.05, 0.2 for classifier, confusion, RAM, as the authors' definition",
        changes={name: AUTHORS[name] for name in ("classifier_weight", "confusion_weight", "ram_weight")},
    ),
}
"""Readings of "joint"."""

SIZES: Final = (*KINDS, *(f"small_{name}" for name, kind in KINDS.items() if kind.pretrained))
VARIANTS: Final = (*SIZES, *reading_variants(READINGS))
"""The paper's, and each of them at a size for CPUs and small corpora, which is ours and starts from fresh weights; then
the readings of "joint"."""


def kind_name(variant: str) -> str:
    """Return the name in `KINDS` of a variant, small or not, a reading or not."""
    sized, _ = apply_reading(variant, "joint", READINGS)
    return sized.removeprefix("small_")


TABLES: Final[Tables] = {
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
    TABLE: {
        **readings_table("joint", "as the paper's text", READINGS),
        "authors": "the authors' definition, all of it",
    },
}
"""Table or section of the paper -> variant here -> its name in published.csv."""
