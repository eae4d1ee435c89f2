"""PersEmoN's variants: what distinguishes them, and which tables of the paper they are in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from thinslice.systems.persemon.network import Consensus
from thinslice.train.recipe import Tables

Output = Literal["pam", "ram", "fused"]


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
}
"""Table or section of the paper -> variant here -> its name in published.csv."""
