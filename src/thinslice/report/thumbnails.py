"""A figure of clips side by side: a frame of each, and under it a bar for each trait.

Source: Güçlütürk et al. 2016 (Deep Impression), figure 2.

Deviations: traits in the order of `thinslice.traits.TRAITS`; where intervals are known they are drawn; where labels are
given, a line marks each. The bars are named by what 1 means ("comfortable"), since neuroticism is scored the other way
round.

The figure shows people: for a paper or a page, use clips whose people agreed to it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from thinslice.errors import UsageError
from thinslice.media.source import Source
from thinslice.traits import POLES, TRAITS
from thinslice.types import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLOURS: Final = dict(zip(TRAITS, ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9"), strict=True))
_INK, _GREY = "#1b1f24", "#6e7781"
_STYLE: Final[Any] = {"font.size": 7, "svg.fonttype": "none", "svg.hashsalt": "thinslice", "axes.linewidth": 0.6}
_THUMBNAIL_PX: Final = 480


@dataclass(frozen=True)
class Thumbnail:
    """One clip of the figure.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        scores: trait -> score in [0, 1].
        intervals: trait -> (low, high), or empty.
        labels: trait -> label in [0, 1], or empty.
        title: one line above the picture, or "".
    """

    image: np.ndarray
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    labels: Mapping[str, float]
    title: str = ""


def build_thumbnail(
    path: Path, prediction: Prediction, labels: Mapping[str, float] | None = None, title: str = ""
) -> Thumbnail:
    """Return a predicted clip with the frame in its middle.

    Args:
        path: the clip.
        prediction: what was predicted for it.
        labels: what people said, by trait; None where unknown.
        title: one line above the picture.

    Raises:
        MediaError: the clip cannot be read, or has no pictures.
    """
    source = Source(path)
    info = source.info
    width, height = info.width or _THUMBNAIL_PX, info.height or _THUMBNAIL_PX
    if info.rotation_deg % 180:
        width, height = height, width
    scale = min(1.0, _THUMBNAIL_PX / max(width, height))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    (frame,) = source.frames([source.duration_s / 2], size=size)
    known = {name: score for name, score in prediction.traits.items() if name in TRAITS}
    return Thumbnail(
        image=frame.image,
        scores={name: score.score for name, score in known.items()},
        intervals={name: (score.low, score.high) for name, score in known.items()},
        labels=dict(labels or {}),
        title=title,
    )


def plot_thumbnails(thumbnails: Sequence[Thumbnail], num_columns: int = 5) -> "Figure":
    """Draw clips in rows; under each its five scores from 0 to 1, intervals as thin lines, labels as short marks.

    Save it with `thinslice.evaluate.figures.save_figure`.

    Raises:
        UsageError: no clip, or one without a score for every trait.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    if not thumbnails:
        raise UsageError("no clip to draw")
    lacking = [trait for thumbnail in thumbnails for trait in TRAITS if trait not in thumbnail.scores]
    if lacking:
        raise UsageError(f"a clip has no score for {lacking[0]}; the figure shows all five traits")
    columns = min(num_columns, len(thumbnails))
    rows = math.ceil(len(thumbnails) / columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(1.45 * columns + 0.9, 1.9 * rows + 0.1), layout="constrained")
        axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1, 1] * rows)
        for place in range(rows * columns):
            picture, bars = (axes[2 * (place // columns) + part][place % columns] for part in (0, 1))
            picture.set_axis_off()
            if place >= len(thumbnails):
                bars.set_axis_off()
                continue
            thumbnail = thumbnails[place]
            picture.imshow(thumbnail.image)
            if thumbnail.title:
                picture.set_title(thumbnail.title, fontsize=7)
            _draw_bars(bars, thumbnail, with_names=place % columns == 0)
    return figure


def _draw_bars(axes: Any, thumbnail: Thumbnail, with_names: bool) -> None:
    places = np.arange(len(TRAITS))
    scores = [thumbnail.scores[trait] for trait in TRAITS]
    axes.barh(places, scores, color=[_COLOURS[trait] for trait in TRAITS], height=0.7)
    for place, trait in zip(places, TRAITS, strict=True):
        if trait in thumbnail.intervals:
            axes.plot(thumbnail.intervals[trait], [place, place], color=_INK, linewidth=0.6)
        if trait in thumbnail.labels:
            axes.plot([thumbnail.labels[trait]] * 2, [place - 0.45, place + 0.45], color=_INK, linewidth=1.4)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "", "1"])
    axes.set_yticks(places, [POLES[trait][1] for trait in TRAITS] if with_names else [""] * len(TRAITS))
    axes.invert_yaxis()
    axes.tick_params(length=0, labelcolor=_INK, color=_GREY)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
