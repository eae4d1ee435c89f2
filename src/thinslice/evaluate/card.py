"""The scorecard's types. Values are per target: the traits, "average" of the five and, where known, "interview"."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Final

Interval = tuple[float, float]
Values = Mapping[str, float | None]
"""Target -> value; None where it has no meaning."""
Ends = Mapping[str, Interval | None]
"""Target -> 95% interval."""

_FLAT: Final = {"flat": True}
"""Of a field whose entries stand beside the other fields in JSON."""


def to_plain(value: Any) -> Any:
    """Return a document as dicts, lists, strings and numbers, for JSON."""
    if is_dataclass(value):
        out: dict[str, Any] = {}
        for part in fields(value):
            inner = to_plain(getattr(value, part.name))
            out |= inner if part.metadata.get("flat") else {part.name: inner}
        return out
    if isinstance(value, Mapping):
        return {key: to_plain(inner) for key, inner in value.items()}
    return [to_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores with their intervals.

    Attributes:
        scores: metric -> values; `panel[metric]` is short for it.
        ci95: metric -> intervals; empty where nothing was resampled.
    """

    scores: Mapping[str, Values] = field(metadata=_FLAT)
    ci95: Mapping[str, Ends]

    def __getitem__(self, metric: str) -> Values:
        return self.scores[metric]

    def __contains__(self, metric: str) -> bool:
        return metric in self.scores

    def interval(self, metric: str, target: str) -> Interval | None:
        """Return a score's interval, None where there is none."""
        return self.ci95.get(metric, {}).get(target)


@dataclass(frozen=True, kw_only=True)
class Panel(Scores):
    """One system's scores on some clips."""

    num_clips: int
    num_speakers: int


@dataclass(frozen=True, kw_only=True)
class GroupPanel(Panel):
    """One system's scores on a group.

    Attributes:
        small: whether its intervals are too narrow, from few speakers.
        best_trait: by accuracy.
        worst_trait: likewise.
        baselines: name -> metric -> values of what is shown beside it.
    """

    small: bool
    best_trait: str | None
    worst_trait: str | None
    baselines: Mapping[str, Mapping[str, Values]]


@dataclass(frozen=True, kw_only=True)
class ExtremePanel(Scores):
    """One system's scores on an extreme; `num_clips` is per target, each having an extreme of its own."""

    num_clips: Mapping[str, int]


@dataclass(frozen=True)
class Difference:
    """A paired difference of two systems; `p` is two-sided, None where it is not given."""

    difference: float | None
    ci95: Interval | None
    p: float | None = None


Differences = Mapping[str, Mapping[str, Difference]]
"""Metric -> target -> difference."""


@dataclass(frozen=True)
class Gap:
    """How far groups are apart: the highest value less the lowest.

    Attributes:
        gap: never below 0.
        ci95: its percentile interval.
        chance95: what groups that are all alike stay below in 95 of 100 cases.
        p: how often chance alone makes a gap this large.
        highest: name of the group.
        lowest: name of the group.
    """

    gap: float | None
    ci95: Interval | None = None
    chance95: float | None = None
    p: float | None = None
    highest: str | None = None
    lowest: str | None = None


@dataclass(frozen=True, kw_only=True)
class GroupShares(Scores):
    """How much a column explains (`thinslice.evaluate.attribute_share`); `chance`: share -> values by luck."""

    chance: Mapping[str, Values]


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """Scores by a column.

    Attributes:
        groups: group -> its scores.
        gap: metric -> target -> gap; None for fewer than two groups, as the next two.
        balanced: the mean over groups.
        share: what the column explains.
        warnings: one line each.
    """

    groups: Mapping[str, GroupPanel]
    gap: Mapping[str, Mapping[str, Gap]] | None
    balanced: Scores | None
    share: GroupShares | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GroupComparison:
    """Two systems by a column; the last two are None for fewer than two groups."""

    groups: Mapping[str, Differences]
    balanced: Differences | None
    gap: Differences | None


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """Scores on labels far from the training mean.

    Attributes:
        thresholds: "low" and "high" -> target -> label from which it begins.
        ends: "low" and "high" -> system -> scores.
    """

    thresholds: Mapping[str, Values]
    ends: Mapping[str, Mapping[str, ExtremePanel]] = field(metadata=_FLAT)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Another prediction file on the clips that both score.

    Attributes:
        predictions: its name.
        num_clips: clips that both score.
        missing: clips that only the first scores.
        protocols: protocol -> its scores.
        paired_differences: protocol -> how far the first is ahead.
        groups: column -> the same by group.
    """

    predictions: str
    num_clips: int
    missing: list[str]
    protocols: Mapping[str, Panel | None]
    paired_differences: Mapping[str, Differences | None]
    groups: Mapping[str, GroupComparison]


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """What knowing each speaker's mean would score (`thinslice.evaluate.lookup`), and what it follows from."""

    accuracy: Values
    r2: Values
    icc: Values
    within_speaker_sd: Values
    between_speaker_sd: Values


@dataclass(frozen=True, kw_only=True)
class WithMissing:
    """Scores where missing clips, such as those without a face, count with the training mean, as none left out."""

    num_clips: int
    accuracy: Values
    r2: Values


@dataclass(frozen=True, kw_only=True)
class Training:
    """The pooled training clips; `mean` and `sd` of their labels are None without labels."""

    num_clips: int
    num_speakers: int
    mean: Values | None
    sd: Values | None


@dataclass(frozen=True)
class VoteIntervals:
    """95% intervals over speakers; None where there are too few votes."""

    agreement: Interval | None


@dataclass(frozen=True)
class VoteScore:
    """What votes say of a prediction on one trait (`thinslice.evaluate.human`); None where it cannot be said.

    Attributes:
        num_votes: decided votes on pairs of which both clips are predicted.
        agreement: of the prediction.
        others: agreement of the other votes' consensus.
        one_rater: agreement of one other voter.
        equal_raters: votes a clip whose consensus agrees as often.
        reliability: of all votes together.
        ci95: 95% intervals over speakers.
    """

    num_votes: int
    agreement: float | None
    others: float | None
    one_rater: float | None
    equal_raters: float | None
    reliability: float | None
    ci95: VoteIntervals


@dataclass(frozen=True, kw_only=True)
class NoiseCorrected:
    """Scores against labels, as far as their noise allows.

    Attributes:
        pcc: Pearson's r over the root of the labels' reliability: the correlation with what voters have in common.
        r2_share: R² over that reliability, which no prediction's R² can pass but by chance.
    """

    pcc: Values
    r2_share: Values


@dataclass(frozen=True, kw_only=True)
class ScorecardSettings:
    """What was scored against what, and how intervals were made."""

    predictions: str
    labels: str
    training: list[str]
    compare: str | None
    votes: str | None
    num_resamples: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """Everything that is said about a prediction file; docs/evaluation.md explains each part.

    Attributes:
        num_clips: scored clips.
        num_speakers: their speakers.
        missing: labelled clips without a (complete) prediction.
        unknown: predicted clips that are not among the labels.
        unlabelled: predicted clips among the labels, without a label.
        with_missing: scores of all labelled clips, missing ones predicted by the training mean; None without training
            labels, or where none is missing.
        protocols: protocol -> scores; None where training clips are needed and there are none.
        baselines: name -> protocol -> scores.
        paired_differences: baseline -> protocol -> how far the predictions are ahead.
        comparison: with another file, or None.
        ceiling: None without training labels, as the next but one.
        groups: column -> scores by group.
        extremes: scores on the extremes.
        training: the training clips, or None.
        votes: trait -> agreement with voters, or None.
        noise_corrected: None without votes.
        poles: target -> what 0 and what 1 mean.
        settings: how it was made.
        warnings: one line each.
    """

    num_clips: int
    num_speakers: int
    missing: list[str]
    unknown: list[str]
    unlabelled: list[str]
    with_missing: WithMissing | None
    protocols: Mapping[str, Panel | None]
    baselines: Mapping[str, Mapping[str, Panel | None]]
    paired_differences: Mapping[str, Mapping[str, Differences | None]]
    comparison: Comparison | None
    ceiling: Ceiling | None
    groups: Mapping[str, GroupScores]
    extremes: Extremes | None
    training: Training | None
    votes: Mapping[str, VoteScore] | None
    noise_corrected: NoiseCorrected | None
    poles: Mapping[str, tuple[str, str]]
    settings: ScorecardSettings
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``thinslice evaluate --json``."""
        plain: dict[str, Any] = to_plain(self)
        if self.votes is None:
            del plain["votes"], plain["noise_corrected"]
        return plain

    @property
    def official(self) -> Panel:
        """The scores on all clips."""
        panel = self.protocols["official"]
        assert panel is not None
        return panel
