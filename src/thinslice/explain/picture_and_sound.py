"""What moved the scores of a model that looks at faces and hears sound."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from thinslice.explain.occlusion import draw_heat, draw_strip, occlusion_map
from thinslice.explain.shares import Score, shapley_shares
from thinslice.targets import more_of
from thinslice.types import Explanation, Picture

LABELS: Final = {"pictures": "face", "sound": "sound"}
"""Name of a graph's input -> what a person calls it."""

SMALLEST_LIMIT: Final = 0.01
"""Heat, in score units, that gets at least the full colour: less than this is not worth a colour."""


def explain_picture_and_sound(
    score: Score,
    features: Mapping[str, np.ndarray],
    neutral: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    *,
    with_pictures: bool = True,
) -> Explanation:
    """Return the shares of picture and sound, the faces that were looked at, and a heat map for each score.

    The baseline is the score of the neutral inputs; it and the shares sum to the score. The heat maps are of the
    middle draw, to take a third of the time.

    Args:
        score: the model: "pictures" uint8 (draws, parts, rows, columns, 3) and "sound" in, (outputs,) out.
        features: the clip's inputs; an input that is missing keeps its neutral value and has no share.
        neutral: both inputs' neutral values; "pictures" broadcasts to the clip's pictures.
        outputs: names of the scores.
        with_pictures: whether to draw; False for a timeline, where nobody would look at them.
    """
    neutral = dict(neutral)
    if "pictures" in features:
        neutral["pictures"] = np.broadcast_to(neutral["pictures"], features["pictures"].shape)
    present = {name: features[name] for name in LABELS if name in features}
    baseline, shares = shapley_shares(score, present, neutral)
    return Explanation(
        baseline=_named(outputs, baseline),
        inputs={LABELS[name]: _named(outputs, share) for name, share in shares.items()},
        pictures=_draw(score, {**neutral, **present}, neutral["pictures"], outputs)
        if with_pictures and "pictures" in present
        else (),
    )


def _draw(
    score: Score, features: Mapping[str, np.ndarray], fill: np.ndarray, outputs: Sequence[str]
) -> tuple[Picture, ...]:
    pictures = features["pictures"]
    middle = len(pictures) // 2
    draw = slice(middle, middle + 1)
    heat = occlusion_map(lambda seen: score({**features, "pictures": seen}), pictures[draw], fill[draw])
    limit = max(float(np.abs(heat).max()), SMALLEST_LIMIT)
    face = pictures[middle, pictures.shape[1] // 2]
    maps = [
        Picture(f"{name}: blue made it {more_of(name)}, orange less", draw_heat(face, heat[..., index], limit))
        for index, name in enumerate(outputs)
    ]
    strip = Picture("the aligned faces that were looked at", draw_strip(pictures[middle]))
    return (strip, *maps)


def _named(outputs: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(outputs, values, strict=True)}
