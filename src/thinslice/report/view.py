"""From predictions to what the page shows of them: numbers in words, positions in percent, bounded lists.

Nothing here is markup. The templates place these values, and escape every one of them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thinslice.bundle import Card
from thinslice.report.account import Moved, build_account
from thinslice.report.cards import CardView, build_cards
from thinslice.report.images import Image, build_images
from thinslice.report.overview import Overview, build_overview
from thinslice.report.scales import ScaleView, Target, build_scale, key_of, target_of
from thinslice.report.timeline import Timeline, build_timeline
from thinslice.report.transcript import TranscriptView, build_transcript
from thinslice.report.wording import (
    INTERVIEW_CAUTION,
    clip_name,
    first_of,
    honest_line,
    honest_line_of,
    inputs_words,
    missing_inputs,
    num_training_clips,
    shown,
    shown_lines,
    side_words,
    widest_trait,
)
from thinslice.targets import in_order, poles_of
from thinslice.traits import INTERVIEW
from thinslice.types import Failure, Prediction

MAX_DETAILED = 50
MAX_FAILURES = 200
MAX_WORDS = 6000
MAX_PICTURE_BYTES = 6_000_000


class Clip(NamedTuple):
    """All that the page shows of one clip."""

    id: str
    name: str
    path: str
    summary: str
    inputs: str
    honest: str
    targets: tuple[Target, ...]
    scales: tuple[ScaleView, ...]
    interview: ScaleView | None
    chosen: str
    moved: Moved | None
    transcript: TranscriptView | None
    timeline: Timeline | None
    pictures: tuple[Image, ...]
    pictures_left_out: str
    warnings: tuple[str, ...]
    seconds: tuple[tuple[str, str], ...]
    bundle: str


class Page(NamedTuple):
    """The whole report."""

    title: str
    honest: str
    overview: Overview | None
    clips: tuple[Clip, ...]
    failures: tuple[tuple[str, str], ...]
    failures_cut: str
    num_failures: int
    num_clips: int
    cards: tuple[CardView, ...]
    interview_caution: str


def build_page(predictions: Sequence[Prediction], failures: Sequence[Failure], cards: Mapping[str, Card]) -> Page:
    """Arrange predictions for the page, within its bounds.

    Args:
        predictions: scored clips, in the order to show.
        failures: clips that could not be scored.
        cards: bundle name -> model card.
    """
    detailed = predictions[:MAX_DETAILED]
    words_each = MAX_WORDS // max(1, len(detailed))
    bytes_left = MAX_PICTURE_BYTES
    clips = []
    for index, prediction in enumerate(detailed):
        clip, spent = _clip(f"c{index + 1}", prediction, cards, words_each, bytes_left)
        bytes_left -= spent
        clips.append(clip)
    count = len(predictions)
    lines = {clip.honest for clip in clips}
    return Page(
        title=clips[0].name if count == 1 else f"{count:,} clips" if count else "Nothing was scored",
        honest=lines.pop() if len(lines) == 1 else honest_line(None),
        overview=build_overview(predictions, [clip.id for clip in clips]) if count > 1 else None,
        clips=tuple(clips),
        failures=tuple((shown(entry.clip), shown(entry.error)) for entry in failures[:MAX_FAILURES]),
        failures_cut=first_of(MAX_FAILURES, len(failures), "files that failed"),
        num_failures=len(failures),
        num_clips=count,
        cards=build_cards(detailed, cards),
        interview_caution=INTERVIEW_CAUTION,
    )


def _clip(
    clip_id: str, prediction: Prediction, cards: Mapping[str, Card], max_words: int, max_bytes: int
) -> tuple[Clip, int]:
    names = in_order(prediction.traits)
    targets = tuple(target_of(name) for name in names)
    explanation = prediction.explanation
    num_clips = num_training_clips(prediction, cards)
    baseline = explanation.baseline if explanation else {}
    scales = {
        name: build_scale(target_of(name), prediction.traits[name], baseline.get(name), num_clips) for name in names
    }
    pictures, spent = build_images(explanation.pictures if explanation else (), max_bytes)
    left_out = len(explanation.pictures) - len(pictures) if explanation else 0
    clip = Clip(
        id=clip_id,
        name=clip_name(prediction.clip),
        path=shown(prediction.clip),
        summary=_summary(prediction, num_clips),
        inputs=inputs_words(prediction.used, missing_inputs(prediction, cards)),
        honest=honest_line_of(prediction, cards),
        targets=targets,
        scales=tuple(scales[name] for name in names if name != INTERVIEW),
        interview=scales.get(INTERVIEW),
        chosen=key_of(widest_trait(prediction) or names[0]) if names else "",
        moved=build_account(explanation, prediction.traits, targets) if explanation else None,
        transcript=build_transcript(prediction, targets, max_words),
        timeline=build_timeline(prediction.timeline, targets, baseline),
        pictures=pictures,
        pictures_left_out=f"{left_out} of {left_out + len(pictures)} pictures left out to keep this page small."
        if left_out
        else "",
        warnings=shown_lines(prediction.warnings),
        seconds=tuple((name.replace("_", " "), f"{value:.2f} s") for name, value in prediction.seconds.items()),
        bundle=shown(f"{prediction.bundle.get('name', '')} {prediction.bundle.get('version', '')}".strip()),
    )
    return clip, spent


def _summary(prediction: Prediction, num_clips: int | None) -> str:
    name = widest_trait(prediction)
    if name is None:
        return ""
    score = prediction.traits[name]
    place = side_words(score.percentile, num_clips)
    if not place or abs(score.percentile - 50.0) < 15.0:
        return "All scores lie near the middle of the training clips' labels."
    pole = poles_of(name)[score.percentile >= 50.0]
    return f"Furthest from the middle is {name}, towards “{pole}”: {score.score:.2f}, {place}."
