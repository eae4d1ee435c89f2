"""The authors' trained Deep Impression network as a bundle, and a check of it on clips whose scores they published."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.bundle import Card, Score
from thinslice.published.figures import load_published
from thinslice.systems.deep_impression.chainer import AUTHORS_ORDER, read_chainer
from thinslice.systems.deep_impression.recipe import deep_impression
from thinslice.train.export import Exported, build_graph, write_bundle
from thinslice.train.recipe import Arrays
from thinslice.traits import TRAITS

_DEMO: Final = (0.55507338, 0.58794022, 0.53340793, 0.5805009, 0.64844239)
EXPECTED: Final[Mapping[str, Mapping[str, float]]] = {
    "FU1ak530DDo.005": dict(zip(AUTHORS_ORDER, _DEMO, strict=True)),
}
"""Clip of First Impressions -> what the network gives for it in the authors' demo (``demo.ipynb``). Forks print scores
of other clips by other programs, such as without scaling frames to 456 x 256, which cannot be compared."""

CHECK_TOLERANCE: Final = 0.02
"""How far scores may lie from `EXPECTED`: the authors looked at every frame, decoded, scaled and resampled by other
programs than ours. How much that moves scores could not be measured without their file."""

_Z80: Final = 1.2815515655446004


@dataclass(frozen=True)
class Check:
    """A clip's scores beside those published.

    Attributes:
        clip: its name.
        scores: trait -> score.
        expected: trait -> published score.
    """

    clip: str
    scores: Mapping[str, float]
    expected: Mapping[str, float]

    @property
    def largest_difference(self) -> float:
        """Of any trait."""
        return max(abs(self.scores[trait] - value) for trait, value in self.expected.items())

    @property
    def agrees(self) -> bool:
        """Whether no trait differs by more than `CHECK_TOLERANCE`."""
        return self.largest_difference <= CHECK_TOLERANCE


def import_deep_impression(file: Path, out: Path) -> Exported:
    """Convert the authors' file into a bundle.

    Args:
        file: their Chainer archive, see `thinslice.systems.deep_impression.chainer`.
        out: the bundle's folder; an older bundle there is replaced.

    Raises:
        UsageError: the file is damaged or another network; the folder holds something else.
        MissingExtraError: onnx is not installed.
    """
    model = read_chainer(file)
    recipe = deep_impression()
    samples = [_made_up_clip(seed) for seed in range(2)]
    labels = json.loads(resources.files("thinslice.data").joinpath("label_quantiles.json").read_text("utf-8"))
    return write_bundle(
        recipe,
        build_graph(recipe, model, samples),
        model,
        samples,
        out,
        name="deep-impression",
        percentiles={trait: labels["quantiles"][trait] for trait in TRAITS},
        intervals={
            "+".join(recipe.inputs.values()): {
                trait: published_interval(trait, labels["deviation"][trait]) for trait in TRAITS
            }
        },
        card=_card(file),
    )


def published_interval(trait: str, deviation: float) -> tuple[float, float]:
    """Return the ends of the 80% interval as offsets from a score, from the published residuals.

    Their standard deviation is the larger of what the published accuracy says (mean absolute error times sqrt(pi / 2),
    for normal errors) and what the published R2 says (sqrt(1 - R2) times the labels' deviation).
    """
    deviations = (
        (1 - _published("accuracy")[trait]) * math.sqrt(math.pi / 2),
        math.sqrt(1 - _published("r2")[trait]) * deviation,
    )
    half = round(_Z80 * max(deviations), 4)
    return -half, half


def compare(clip: str, scores: Mapping[str, float]) -> Check | None:
    """Return a clip's scores beside the published ones; None for a clip that the authors did not publish."""
    stem = clip[:-4] if clip.lower().endswith(".mp4") else clip
    return Check(stem, scores, EXPECTED[stem]) if stem in EXPECTED else None


def _published(metric: str) -> dict[str, float]:
    """Return the published test figures of each trait: Table 2 of the paper, R2 from PersEmoN's Table 4."""
    return {
        figure.target: figure.value
        for figure in load_published()
        if figure.system == "deep_impression"
        and figure.split == "test"
        and figure.metric == metric
        and figure.variant == ("900 epochs" if metric == "accuracy" else "challenge")
    }


def _made_up_clip(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    blots = rng.integers(0, 256, (2 + seed, 8, 57, 3), dtype=np.uint8)
    return {
        "waveform": rng.normal(0, 0.1, 20000 + 7777 * seed).astype(np.float32),
        "frames": blots.repeat(32, axis=1).repeat(8, axis=2),
    }


def _card(file: Path) -> Card:
    accuracy, r2 = ({trait: round(_published(metric)[trait], 4) for trait in TRAITS} for metric in ("accuracy", "r2"))
    return Card(
        summary="Looks at 375 whole frames and listens to the raw sound: two residual networks and one layer.",
        paper=deep_impression().paper,
        weights="the authors', github.com/yagguc/deep_impression, if the file given is theirs: its digest is below, "
        "and `thinslice import deep-impression --check` compares scores with those they published",
        licence="see the authors' repository",
        trained_on="6,000 training clips of ChaLearn First Impressions (V1): English speakers on YouTube",
        num_training_clips=6000,
        r2={"": round(sum(r2.values()) / len(r2), 4)},
        scores=(Score(clips="official test, as published", accuracy=accuracy, r2=r2),),
        scores_note="Published by the authors (R2: by Zhang et al. 2019), not measured by thinslice.",
        interval_source="Published residuals: the larger of mean absolute error times sqrt(pi/2) and sqrt(1 - R2) "
        "times the labels' deviation, normal errors. Not calibrated here.",
        limits=(
            "Predicts how strangers judge a person at first sight, not who the person is.",
            "Sees whole frames and hears raw sound: scene, clothing and microphone count as much as the person.",
            "Needs both picture and sound.",
        ),
        digests={"file": hashlib.sha256(file.read_bytes()).hexdigest()},
    )
