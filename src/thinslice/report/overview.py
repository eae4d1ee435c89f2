"""All clips of a batch at a glance."""

from collections.abc import Sequence
from typing import NamedTuple

from thinslice.report.scales import Target, key_of, percent, target_of
from thinslice.report.wording import clip_name, first_of
from thinslice.targets import in_order
from thinslice.types import Prediction

MAX_OVERVIEW = 1000


class OverviewCell(NamedTuple):
    """A score in the overview, None where the model has none."""

    key: str
    text: str
    at: float


class OverviewRow(NamedTuple):
    """A clip in the overview; `id` is "" where it has no details on the page."""

    id: str
    name: str
    cells: tuple[OverviewCell, ...]
    warnings: int


class Strip(NamedTuple):
    """All scores of one target as an SVG path in a box 1000 wide and 20 high, one tick a clip."""

    target: Target
    path: str
    mean: float | None
    spoken: str


class Overview(NamedTuple):
    """All clips at a glance."""

    targets: tuple[Target, ...]
    rows: tuple[OverviewRow, ...]
    strips: tuple[Strip, ...]
    rows_cut: str
    details_cut: str


def build_overview(predictions: Sequence[Prediction], ids: Sequence[str]) -> Overview:
    """Arrange a batch; `ids` are those of its first clips, which have details on the page."""
    names = in_order(name for prediction in predictions for name in prediction.traits)
    rows = []
    for index, prediction in enumerate(predictions[:MAX_OVERVIEW]):
        cells = [
            OverviewCell(key_of(name), f"{prediction.traits[name].score:.2f}", percent(prediction.traits[name].score))
            if name in prediction.traits
            else OverviewCell(key_of(name), "–", 0.0)
            for name in names
        ]
        clip_id = ids[index] if index < len(ids) else ""
        rows.append(OverviewRow(clip_id, clip_name(prediction.clip), tuple(cells), len(prediction.warnings)))
    return Overview(
        targets=tuple(target_of(name) for name in names),
        rows=tuple(rows),
        strips=tuple(_strip(predictions, name) for name in names),
        rows_cut=first_of(MAX_OVERVIEW, len(predictions), "clips"),
        details_cut=first_of(len(ids), len(predictions), "clips"),
    )


def _strip(predictions: Sequence[Prediction], name: str) -> Strip:
    scores = [prediction.traits[name].score for prediction in predictions if name in prediction.traits]
    # Clips that would fall on the same tick need no second one: this bounds the path however many there are.
    places = sorted({round(1000 * min(1.0, max(0.0, score))) for score in scores})
    means = {
        round(prediction.explanation.baseline[name], 6)
        for prediction in predictions
        if prediction.explanation and name in prediction.explanation.baseline
    }
    middle = sorted(scores)[len(scores) // 2]
    return Strip(
        target=target_of(name),
        path="".join(f"M{place} 0V20" for place in places),
        mean=percent(means.pop()) if len(means) == 1 else None,
        spoken=f"{name} of {len(scores):,} clips: from {min(scores):.2f} to {max(scores):.2f}, median {middle:.2f}",
    )
