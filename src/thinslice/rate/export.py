"""What the answers come to: votes or ratings, scores, their reliability so far, and how careful each rater was."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thinslice.data.manifest import Manifest, save_manifest
from thinslice.data.table import format_table
from thinslice.data.votes import format_ratings, format_votes, scores_manifest
from thinslice.documents import format_document
from thinslice.errors import UsageError
from thinslice.evaluate.ratings import Ratings
from thinslice.evaluate.scores import ScoreSheet, score_rated, score_votes
from thinslice.evaluate.votes import Votes, build_votes
from thinslice.files import write_atomically
from thinslice.rate.answers import Answer
from thinslice.rate.questions import Study
from thinslice.rate.session import standing

SCORES = "scores.csv"
MIN_TOLD = 2
"""Attention checks that a rater must have had before failing them counts."""


@dataclass(frozen=True)
class Rater:
    """How one rater answered.

    Attributes:
        code: the rater's code.
        num_answers: answers in earnest.
        median_s: median time an answer took, seconds.
        told_right: attention checks passed.
        told: attention checks had.
        repeats_agreed: share of the questions that a repeat answered as before; NaN without repeats.
        left_share: share of "left" among the choices of pairs; NaN for ratings.
    """

    code: str
    num_answers: int
    median_s: float
    told_right: int
    told: int
    repeats_agreed: float
    left_share: float

    @property
    def is_careful(self) -> bool:
        """Whether the answers count: no more than half of the attention checks failed, where there were enough."""
        return self.told < MIN_TOLD or 2 * self.told_right >= self.told


def judge_raters(entries: Sequence[Answer], study: Study) -> list[Rater]:
    """Return how each rater answered, by code."""
    return [_judge(code, mine, study) for code, mine in sorted(standing(entries).items()) if mine]


def _judge(code: str, mine: Sequence[Answer], study: Study) -> Rater:
    earnest = [entry for entry in mine if not entry.check]
    told = [entry for entry in mine if entry.check.startswith("told")]
    wanted = {"left": 1.0, "right": -1.0, "low": study.scale.low, "high": study.scale.high}
    passed = sum(all(value == wanted[entry.check.partition(":")[2]] for value in entry.answers) for entry in told)
    choices = [value for entry in earnest for value in entry.answers if value is not None]
    return Rater(
        code=code,
        num_answers=len(earnest),
        median_s=statistics.median(entry.seconds for entry in earnest) if earnest else float("nan"),
        told_right=passed,
        told=len(told),
        repeats_agreed=_repeats_agreed(mine, earnest, study),
        left_share=sum(value > 0 for value in choices) / len(choices)
        if choices and study.mode == "pairs"
        else float("nan"),
    )


def _repeats_agreed(mine: Sequence[Answer], earnest: Sequence[Answer], study: Study) -> float:
    """Return the share of answers that a repeat gave again: the same clip, or within a step of the scale."""
    before = {frozenset(entry.clips): entry for entry in earnest}
    same = []
    for entry in mine:
        first = before.get(frozenset(entry.clips)) if entry.check == "repeat" else None
        if first is None:
            continue
        flip = -1.0 if study.mode == "pairs" and first.clips != entry.clips else 1.0
        near = 0.0 if study.mode == "pairs" else study.scale.step
        pairs = zip(first.answers, entry.answers, strict=True)
        same += [abs(a - flip * b) <= near for a, b in pairs if a is not None and b is not None]
    return sum(same) / len(same) if same else float("nan")


def collect(entries: Sequence[Answer], study: Study, clips: Sequence[str]) -> Votes | Ratings:
    """Return the answers of careful raters as votes or ratings; checks and repeats do not count.

    Raises:
        UsageError: there are none.
    """
    careful = {rater.code for rater in judge_raters(entries, study) if rater.is_careful}
    kept = standing(entries)
    counted = [entry for code in sorted(careful) for entry in kept[code] if not entry.check]
    counted = [entry for entry in counted if any(value is not None for value in entry.answers)]
    if not counted:
        raise UsageError("no answers to export yet")
    values = np.array([[np.nan if v is None else v for v in entry.answers] for entry in counted], dtype=float)
    if study.mode == "pairs":
        signs = np.array([-1.0 if question.reversed else 1.0 for question in study.questions])
        traits = [question.trait for question in study.questions]
        rows = [(entry.clips[0], entry.clips[1]) for entry in counted]
        return build_votes(rows, values * signs, traits, "votes.csv", clips)
    return _ratings(counted, values, study)


def _ratings(counted: Sequence[Answer], values: np.ndarray, study: Study) -> Ratings:
    """Return ratings of traits: the mean of each trait's items, reversed ones on the trait's own scale."""
    scale = study.scale
    turned = [question.reversed for question in study.questions]
    values = np.where(turned, scale.low + scale.high - values, values)
    traits = tuple(dict.fromkeys(question.trait for question in study.questions))
    columns = []
    for trait in traits:
        items = values[:, [question.trait == trait for question in study.questions]]
        number = (~np.isnan(items)).sum(axis=1)
        columns.append(np.where(number > 0, np.nansum(items, axis=1) / np.maximum(number, 1), np.nan))
    clips = tuple(dict.fromkeys(entry.clips[0] for entry in counted))
    raters = tuple(dict.fromkeys(entry.rater for entry in counted))
    return Ratings(
        clips=clips,
        raters=raters,
        clip=np.array([clips.index(entry.clips[0]) for entry in counted], dtype=np.intp),
        rater=np.array([raters.index(entry.rater) for entry in counted], dtype=np.intp),
        values=np.stack(columns, axis=1),
        targets=traits,
        source="ratings.csv",
    )


def export(entries: Sequence[Answer], study: Study, manifest: Manifest, folder: Path) -> tuple[ScoreSheet, list[Rater]]:
    """Write votes.csv or ratings.csv, scores.csv, reliability.json and raters.csv.

    Args:
        entries: all that the answers file holds.
        study: the questions.
        manifest: the clips; scores.csv takes paths, splits and speakers from it.
        folder: where to write.

    Returns:
        The scores, and how each rater answered. Without any score (one rating from each rater says nothing) there is
        no scores.csv.

    Raises:
        UsageError: there are no answers yet.
    """
    answers = collect(entries, study, manifest.clips)
    if isinstance(answers, Votes):
        sheet = score_votes(answers)
        name, text = "votes.csv", format_votes(answers)
    else:
        sheet = score_rated(answers, (study.scale.low, study.scale.high))
        name, text = "ratings.csv", format_ratings(answers)
    raters = judge_raters(entries, study)
    write_atomically(folder / name, text.encode("utf-8", "surrogateescape"))
    if not np.isnan(sheet.scores).all():
        save_manifest(scores_manifest(sheet, manifest), folder / SCORES)
    write_atomically(folder / "reliability.json", format_document(sheet.to_dict(), indent=1).encode() + b"\n")
    write_atomically(folder / "raters.csv", _raters_table(raters).encode())
    return sheet, raters


def _raters_table(raters: Sequence[Rater]) -> str:
    header = ("rater", "answers", "median_s", "checks_passed", "checks", "repeats_agreed", "left_share", "counted")
    rows = [
        (
            rater.code,
            str(rater.num_answers),
            _cell(rater.median_s),
            str(rater.told_right),
            str(rater.told),
            _cell(rater.repeats_agreed),
            _cell(rater.left_share),
            "yes" if rater.is_careful else "no",
        )
        for rater in raters
    ]
    return format_table(header, rows)


def _cell(value: float) -> str:
    return "" if value != value else f"{value:.3f}"
