"""What is planted: five cues per clip, and the labels that follow from them.

Per trait t, speaker s and clip c, with u, v and e independent and standard normal:

    cue(t, c)   = sqrt(ICC / R2) u(t, s) + sqrt(1 - ICC / R2) v(t, c),  cut off at +-2.5
    label(t, c) = 0.5 + 0.14 (sqrt(R2) cue(t, c) + sqrt(1 - R2) e(t, c)),  within [0, 1]

So the speaker acts only through the cue: who can see the cue predicts a speaker never heard of as well as a known one,
with R2 at best, and who cannot has 0. `interview` is the same function of a weighted sum of the five cues.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from thinslice.errors import UsageError
from thinslice.traits import TRAITS

CAUSES: Final[Mapping[str, tuple[str, str]]] = {
    "openness": ("scene", "colour of the background, from blue (low) to orange (high)"),
    "conscientiousness": ("time", "sway from side to side, from wide (low) to almost still (high)"),
    "extraversion": ("face", "curvature of the mouth, from corners down (low) to corners up (high)"),
    "agreeableness": ("text", "share of warm against cold words"),
    "neuroticism": ("sound", "voice, from high and soft (low) to deep and loud (high)"),
}
"""Trait -> (the input that shows its cue, the cue), in the order of `thinslice.traits.TRAITS`."""

INTERVIEW_WEIGHTS: Final[Mapping[str, float]] = {
    "openness": 0.3,
    "conscientiousness": 0.5,
    "extraversion": 0.4,
    "agreeableness": 0.5,
    "neuroticism": 0.5,
}
"""Weights of the standardised cues in `interview`; they have unit length."""

BEST_R2: Final = 0.85
"""Share of each label's variance that its cue explains."""

ICC: Final = 0.6
"""Share of each label's variance that lies between speakers."""

MEAN: Final = 0.5
SD: Final = 0.14
LIMIT: Final = 2.5
"""Largest cue, standard units."""

NUM_CUE_WORDS: Final = 16
"""Words per transcript that are warm or cold; the text cue takes one value for each possible count."""


@dataclass(frozen=True)
class Causes:
    """What is planted in each clip.

    Attributes:
        speakers: int (n,), speaker of each clip, from 0.
        cues: float64 (n, 5), standard units, in the order of the traits.
        warm_words: int (n,), how many of the `NUM_CUE_WORDS` are warm.
        labels: float64 (n, 6) in [0, 1], four decimals; the traits, then interview.
        expected: float64 (n, 6), the labels without noise: what the best possible predictor says.
    """

    speakers: np.ndarray
    cues: np.ndarray
    warm_words: np.ndarray
    labels: np.ndarray
    expected: np.ndarray


def draw_causes(num_clips: int, num_speakers: int, seed: int) -> Causes:
    """Draw speakers, cues and labels.

    Args:
        num_clips: how many clips; they are dealt evenly to the speakers.
        num_speakers: from 1 to `num_clips`.
        seed: of everything.

    Raises:
        UsageError: fewer than one speaker, or fewer clips than speakers.
    """
    if not 1 <= num_speakers <= num_clips:
        raise UsageError(f"{num_speakers} speakers for {num_clips} clips: take 1 or more, and no more than clips")
    rng = np.random.default_rng([seed, 0])
    speakers = np.arange(num_clips) * num_speakers // num_clips
    between = ICC / BEST_R2
    of_speaker = rng.normal(size=(num_speakers, len(TRAITS)))[speakers]
    of_clip = rng.normal(size=(num_clips, len(TRAITS)))
    cues = np.clip(np.sqrt(between) * of_speaker + np.sqrt(1 - between) * of_clip, -LIMIT, LIMIT)
    # Words can only be counted: the cue is what the count says, not what was drawn.
    words = TRAITS.index("agreeableness")
    warm_words = np.rint(ndtr(cues[:, words]) * (NUM_CUE_WORDS + 1) - 0.5).astype(int).clip(0, NUM_CUE_WORDS)
    values = ndtri((np.arange(NUM_CUE_WORDS + 1) + 0.5) / (NUM_CUE_WORDS + 1))
    cues[:, words] = (values / values.std())[warm_words]
    weights = np.array([INTERVIEW_WEIGHTS[trait] for trait in TRAITS])
    causes = np.column_stack([cues, cues @ weights / np.linalg.norm(weights)])
    noise = rng.normal(size=causes.shape)
    expected = MEAN + SD * np.sqrt(BEST_R2) * causes
    labels = np.clip(expected + SD * np.sqrt(1 - BEST_R2) * noise, 0, 1).round(4)
    return Causes(speakers, cues, warm_words, labels, expected)


def best_r2() -> dict[str, dict[str, float]]:
    """Return target -> input -> the R² that the best predictor from that input alone has on unseen speakers."""
    inputs = [where for where, _ in CAUSES.values()]
    out = {trait: {name: BEST_R2 if name == where else 0.0 for name in inputs} for trait, (where, _) in CAUSES.items()}
    total = sum(weight**2 for weight in INTERVIEW_WEIGHTS.values())
    out["interview"] = {
        CAUSES[trait][0]: round(BEST_R2 * weight**2 / total, 4) for trait, weight in INTERVIEW_WEIGHTS.items()
    }
    return out


def intraclass_correlation(values: np.ndarray, groups: np.ndarray) -> float:
    """Return ICC(1) by one-way analysis of variance (Shrout & Fleiss 1979), for groups of any sizes.

    Args:
        values: (n,).
        groups: int (n,).

    Returns:
        NaN where there is one group, or no group has two members.
    """
    _, positions, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    num, count = len(values), len(sizes)
    if count < 2 or num == count:
        return float("nan")
    means = np.bincount(positions, values) / sizes
    within = float(((values - means[positions]) ** 2).sum() / (num - count))
    between = float((sizes * (means - values.mean()) ** 2).sum() / (count - 1))
    size = (num - (sizes**2).sum() / num) / (count - 1)
    return (between - within) / (between + (size - 1) * within)
