"""Everything that is said about a prediction file, as the one document that tables, figures and programs read.

Which clips are scored: those of the labels for which the file has a finite score of *every* trait it has a column for
(the interview variable too, where both have it), so that all scores, baselines and protocols are of the same clips.
The others are listed: `missing` (labelled, not or not wholly predicted), `unknown` (predicted, not among the labels)
and `unlabelled` (predicted and among the labels, but without a label). Where a trait's label alone is unknown the clip
does not count for that trait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from thinslice.errors import ManifestError, UsageError, counted
from thinslice.evaluate.card import (
    Ceiling,
    Comparison,
    Differences,
    GroupComparison,
    GroupScores,
    NoiseCorrected,
    Panel,
    Scorecard,
    ScorecardSettings,
    Training,
    Values,
    VoteScore,
    WithMissing,
)
from thinslice.evaluate.clip_names import clip_key, match_clips
from thinslice.evaluate.extremes import score_extremes
from thinslice.evaluate.groups import compare_groups, group_names, score_groups
from thinslice.evaluate.human import score_against_votes
from thinslice.evaluate.lookup import Lookup, VarianceParts, fit_lookup
from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.missing import score_with_missing
from thinslice.evaluate.odd_columns import odd_columns
from thinslice.evaluate.panel import Resampling, System, by_target, score_systems
from thinslice.evaluate.predictions import PredictionFile, describe
from thinslice.evaluate.protocols import OFFICIAL, PROTOCOLS, protocol_masks
from thinslice.evaluate.votes import Votes
from thinslice.targets import poles_of
from thinslice.traits import INTERVIEW, TARGETS, TRAITS

TRAINING_MEAN: Final = "training_mean"
LOOKUP: Final = "lookup"
BASELINES: Final = (TRAINING_MEAN, LOOKUP)
_FILE: Final = "predictions"


@dataclass(frozen=True, eq=False)
class LabelledClips:
    """Clips with labels.

    Attributes:
        clips: n names.
        speakers: of each clip.
        labels: (n, k) in the order of `targets`, NaN where unknown.
        columns: column name -> cell of each clip, for groups.
        source: for messages.
        targets: names of the labels.
    """

    clips: Sequence[str]
    speakers: Sequence[str]
    labels: Floats
    columns: Mapping[str, Sequence[str]]
    source: str = "labels"
    targets: tuple[str, ...] = TARGETS

    def of(self, rows: Sequence[int]) -> "LabelledClips":
        """Return some of the clips."""
        return LabelledClips(
            clips=[self.clips[i] for i in rows],
            speakers=[self.speakers[i] for i in rows],
            labels=self.labels[list(rows)],
            columns={name: [cells[i] for i in rows] for name, cells in self.columns.items()},
            source=self.source,
            targets=self.targets,
        )


@dataclass(frozen=True, eq=False)
class Scored:
    """The scored clips of one prediction file, for figures.

    Attributes:
        clips: n names as the labels have them.
        speakers: of each clip.
        labels: (n, k).
        system: what the file says of them.
        masks: protocol -> its clips, bool (n,), or None.
        targets: names of the first columns, those that are scored.
    """

    clips: Sequence[str]
    speakers: Sequence[str]
    labels: Floats
    system: System
    masks: Mapping[str, NDArray[np.bool_] | None]
    targets: tuple[str, ...] = TARGETS


def pool_training(parts: Sequence[LabelledClips], scored: Sequence[str]) -> tuple[LabelledClips, list[str]]:
    """Join training sets into one, less what must not be in it.

    A clip in several of them counts once, as the first has it. A clip that is also scored is left out:
    nobody may look up the answer itself.

    Args:
        parts: training sets, at least one.
        scored: names of the clips whose labels are being predicted.

    Returns:
        The pooled clips, and warnings.
    """
    taken = {clip_key(name) for name in scored}
    seen: set[tuple[str, ...]] = set()
    rows: list[tuple[LabelledClips, int]] = []
    same = repeated = 0
    for part in parts:
        for i, name in enumerate(part.clips):
            key = clip_key(name)
            if key in taken:
                same += 1
            elif key in seen:
                repeated += 1
            else:
                seen.add(key)
                rows.append((part, i))
    warnings = []
    if same:
        warnings.append(
            f"not used for training, as the labels to be predicted have them: {counted(same, 'training clip')}"
        )
    if repeated:
        warnings.append(f"{counted(repeated, 'clip')} in more than one training manifest; each counts once")
    pooled = LabelledClips(
        clips=[part.clips[i] for part, i in rows],
        speakers=[part.speakers[i] for part, i in rows],
        labels=np.array([part.labels[i] for part, i in rows]).reshape(len(rows), len(parts[0].targets)),
        columns={},
        source=" + ".join(part.source for part in parts),
        targets=parts[0].targets,
    )
    return pooled, warnings


def build_scorecard(
    labels: LabelledClips,
    predictions: PredictionFile,
    training: Sequence[LabelledClips] = (),
    group_by: Sequence[str] = (),
    compare: PredictionFile | None = None,
    votes: Votes | None = None,
    resampling: Resampling | None = None,
) -> tuple[Scorecard, Scored]:
    """Score a prediction file under every protocol, beside the baselines.

    Args:
        labels: the clips to be predicted.
        predictions: the file.
        training: sets of training clips, pooled; without any, what needs them is None.
        group_by: columns of `labels`.
        compare: another prediction file, for paired differences on the clips that both score.
        votes: people's comparisons of clips, for the agreement with voters.
        resampling: how intervals are made; by default 10,000 resamples with seed 0.

    Returns:
        The document of ``thinslice evaluate --json`` (docs/evaluation.md), and the scored clips.

    Raises:
        ManifestError: a column that is not there, or no training clip but those that are to be predicted.
        UsageError: a column that makes no groups.
    """
    resampling = resampling or Resampling()
    for column in group_by:
        membership_of(labels, column)
    warnings = [describe(problem) for problem in predictions.problems]
    match = _match(labels, predictions)
    chosen = labels.of(match.rows)
    targets = _targets_of(chosen, predictions)
    system = _of_targets(match.system, targets)
    train, lookup, more = _fit_training(training, labels.clips)
    warnings += odd_columns(chosen.labels, system.scores, predictions) + more
    masks = protocol_masks(chosen.speakers, None if train is None else train.speakers)
    systems = {_FILE: system} | ({} if lookup is None else _baselines(lookup, chosen.speakers))
    scores = _score_protocols(chosen, systems, masks, resampling, targets)
    memberships = {column: membership_of(chosen, column) for column in group_by}
    beside = {name: one for name, one in systems.items() if name != _FILE}
    groups: dict[str, GroupScores] = {}
    for column, membership in memberships.items():
        groups[column] = score_groups(chosen.labels, system, beside, chosen.speakers, membership, resampling, targets)
        warnings += [f"{column}: {line}" for line in groups[column].warnings]
    extremes = comparison = voters = None
    if lookup is not None:
        extremes = score_extremes(chosen.labels, systems, chosen.speakers, lookup.parts, resampling, targets)
    if compare is not None:
        train_speakers = None if train is None else train.speakers
        comparison = _compare(chosen, system, compare, train_speakers, memberships, resampling, targets)
        warnings += [f"{compare.source}: {describe(problem)}" for problem in compare.problems]
    if votes is not None:
        scored = (chosen.clips, system.scores, chosen.speakers)
        voters = score_against_votes(votes, *scored, resampling.seed, chosen.targets)
        warnings += _odd_votes(votes, voters)
    card = Scorecard(
        num_clips=len(chosen.clips),
        num_speakers=len(set(chosen.speakers)),
        missing=match.missing,
        unknown=match.unknown,
        unlabelled=match.unlabelled,
        with_missing=_with_missing(labels, match, system, lookup, targets),
        protocols=scores[_FILE][0],
        baselines={name: scores[name][0] for name in BASELINES},
        paired_differences={name: scores[name][1] for name in BASELINES},
        comparison=comparison,
        ceiling=None if lookup is None else ceiling(lookup.parts, targets),
        groups=groups,
        extremes=extremes,
        training=None if train is None else _training(train, lookup),
        votes=voters,
        noise_corrected=None if voters is None else _noise_corrected(scores[_FILE][0][OFFICIAL], voters),
        poles={name: poles_of(name) for name in targets},
        settings=_settings_of(labels, predictions, training, compare, votes, resampling),
        warnings=warnings,
    )
    return card, Scored(chosen.clips, chosen.speakers, chosen.labels, system, masks, targets)


def _settings_of(
    labels: LabelledClips,
    predictions: PredictionFile,
    training: Sequence[LabelledClips],
    compare: PredictionFile | None,
    votes: Votes | None,
    resampling: Resampling,
) -> ScorecardSettings:
    return ScorecardSettings(
        predictions=predictions.source,
        labels=labels.source,
        training=[part.source for part in training],
        compare=None if compare is None else compare.source,
        votes=None if votes is None else votes.source,
        num_resamples=resampling.num_resamples,
        seed=resampling.seed,
    )


def _fit_training(
    training: Sequence[LabelledClips], scored: Sequence[str]
) -> tuple[LabelledClips | None, Lookup | None, list[str]]:
    """Return the pooled training clips, the lookup of their labels, and warnings."""
    if not training:
        return None, None, []
    train, warnings = pool_training(training, scored)
    if not train.clips:
        raise ManifestError(f"{train.source}: every training clip is also to be predicted; say which with --split")
    if not np.isfinite(train.labels).any():
        return train, None, [*warnings, f"{train.source}: no labels, so no baselines"]
    return train, fit_lookup(train.labels, train.speakers), warnings


_Protocols = tuple[dict[str, Panel | None], dict[str, Differences | None]]


def _score_protocols(
    chosen: LabelledClips,
    systems: Mapping[str, System],
    masks: Mapping[str, NDArray[np.bool_] | None],
    resampling: Resampling,
    targets: Sequence[str],
) -> dict[str, _Protocols]:
    """Return, of the first system and each baseline, the scores by protocol and how far the first is ahead."""
    first = next(iter(systems))
    out: dict[str, _Protocols] = {
        name: (dict.fromkeys(PROTOCOLS), dict.fromkeys(PROTOCOLS)) for name in dict.fromkeys((*systems, *BASELINES))
    }
    for protocol, mask in masks.items():
        if mask is None:
            continue
        rows = np.flatnonzero(mask).tolist()
        panels, differences = score_systems(
            chosen.labels[rows],
            {name: s.of(rows) for name, s in systems.items()},
            [chosen.speakers[i] for i in rows],
            resampling,
            differences_of=first,
            targets=targets,
        )
        for name, panel in panels.items():
            out[name][0][protocol] = panel
            out[name][1][protocol] = differences.get(name)
    return out


def membership_of(clips: LabelledClips, column: str) -> list[str]:
    """Return each clip's group by a column; ManifestError for no such column, UsageError where it makes no groups."""
    if column not in clips.columns:
        raise ManifestError(
            f"{clips.source}: no column {column}; there are {', '.join(clips.columns) or 'none to group by'}"
        )
    try:
        return group_names(clips.columns[column])
    except UsageError as error:
        raise UsageError(f"{clips.source}, column {column}: {error}") from None


def ceiling(parts: VarianceParts, targets: Sequence[str] = TARGETS) -> Ceiling:
    """Return what knowing each speaker's mean would score (see `lookup`), and the reliability it follows from."""
    return Ceiling(
        accuracy=by_target(parts.ceiling_accuracy, targets),
        r2=by_target(parts.icc, targets),
        icc=by_target(parts.icc, targets),
        within_speaker_sd=by_target(np.sqrt(parts.within), targets),
        between_speaker_sd=by_target(np.sqrt(parts.between), targets),
    )


@dataclass(frozen=True, eq=False)
class _Match:
    """Which labelled clips are scored (row numbers), what the file says of them, and who is left over."""

    rows: list[int]
    system: System
    missing: list[str]
    unknown: list[str]
    unlabelled: list[str]


def _match(labels: LabelledClips, predictions: PredictionFile) -> _Match:
    where = match_clips(labels.clips, predictions.clips)
    row_of: dict[int, int] = {}
    unknown = []
    for row, label in enumerate(where):
        # Two spellings of one clip that only a folder tells apart: the first counts, the other is of no clip.
        if label is None or label in row_of:
            unknown.append(predictions.clips[row])
        else:
            row_of[label] = row
    columns = [labels.targets.index(name) for name in predictions.targets]
    known: NDArray[np.bool_] = np.any(np.isfinite(labels.labels), axis=0)
    needed = [k for k in columns if labels.targets != TARGETS or labels.targets[k] != INTERVIEW or known[k]]
    can_score: NDArray[np.bool_] = np.any(np.isfinite(labels.labels[:, needed]), axis=1)
    predicted = np.zeros(len(labels.clips), dtype=bool)
    for label, row in row_of.items():
        predicted[label] = bool(np.isfinite(predictions.scores[row, needed]).all())
    rows: list[int] = np.flatnonzero(predicted & can_score).tolist()
    picked = [row_of[i] for i in rows]
    system = System(predictions.scores[picked])
    if predictions.has_intervals:
        system = replace(system, low=predictions.low[picked], high=predictions.high[picked])
    return _Match(
        rows=rows,
        system=system,
        missing=[labels.clips[i] for i in np.flatnonzero(can_score & ~predicted).tolist()],
        unknown=unknown,
        unlabelled=[labels.clips[i] for i in sorted(row_of) if not can_score[i]],
    )


def _with_missing(
    labels: LabelledClips, match: _Match, system: System, lookup: Lookup | None, targets: Sequence[str]
) -> WithMissing | None:
    if lookup is None or not match.missing:
        return None
    gone = [i for i, clip in enumerate(labels.clips) if clip in set(match.missing)]
    return score_with_missing(labels.labels[[*match.rows, *gone]], system.scores, lookup.parts.mean, targets)


def _targets_of(chosen: LabelledClips, predictions: PredictionFile) -> tuple[str, ...]:
    """Return what is scored: all targets, but for the interview where the labels or the predictions lack it."""
    if chosen.targets != TARGETS:
        return chosen.targets
    there = INTERVIEW in predictions.targets and bool(np.isfinite(chosen.labels[:, -1]).any())
    return TARGETS if there else TRAITS


def _of_targets(system: System, targets: Sequence[str]) -> System:
    """Return a system that says nothing of the columns after the targets."""
    scores = system.scores.copy()
    scores[:, len(targets) :] = np.nan
    return replace(system, scores=scores)


def _baselines(lookup: Lookup, speakers: Sequence[str]) -> dict[str, System]:
    mean = np.tile(lookup.parts.mean, (len(speakers), 1))
    return {TRAINING_MEAN: System(mean), LOOKUP: System(lookup.predict(speakers))}


def _training(train: LabelledClips, lookup: Lookup | None) -> Training:
    return Training(
        num_clips=len(train.clips),
        num_speakers=len(set(train.speakers)),
        mean=None if lookup is None else by_target(lookup.parts.mean, train.targets),
        sd=None if lookup is None else by_target(lookup.parts.sd, train.targets),
    )


def _noise_corrected(panel: Panel | None, voters: Mapping[str, VoteScore]) -> NoiseCorrected:
    """Return r over the root of the reliability and R² over it; None where the reliability is not above 0."""
    assert panel is not None

    def divided(values: Values, power: float) -> Values:
        out: dict[str, float | None] = {}
        for name, value in values.items():
            known = voters[name].reliability if name in voters else None
            out[name] = None if value is None or known is None or known <= 0 else value / known**power
        return out

    return NoiseCorrected(pcc=divided(panel["pcc"], 0.5), r2_share=divided(panel["r2"], 1.0))


def _odd_votes(votes: Votes, voters: Mapping[str, VoteScore]) -> list[str]:
    if not any(score.num_votes for score in voters.values()):
        return [f"{votes.source}: no vote is about two scored clips; do both name the same clips?"]
    beyond = [
        name
        for name, score in voters.items()
        if name != "average" and score.equal_raters is None and score.others is not None and score.others > 0.5
    ]
    if not beyond:
        return []
    return [f"{', '.join(beyond)}: agrees with voters more often than any number of these votes would: no equal_raters"]


def _compare(
    chosen: LabelledClips,
    system: System,
    other: PredictionFile,
    train_speakers: Sequence[str] | None,
    memberships: Mapping[str, Sequence[str]],
    resampling: Resampling,
    targets: Sequence[str],
) -> Comparison:
    """Paired scores of two files on the clips that both score, and how they differ in groups."""
    match = _match(chosen, other)
    both = chosen.of(match.rows)
    if targets == TARGETS:
        targets = _targets_of(both, other)
    pair = {_FILE: system.of(match.rows), "other": match.system}
    masks = protocol_masks(both.speakers, train_speakers)
    panels, differences = _score_protocols(both, pair, masks, resampling, targets)["other"]
    groups: dict[str, GroupComparison] = {}
    for column, membership in memberships.items():
        mine = [membership[i] for i in match.rows]
        groups[column] = compare_groups(
            both.labels, pair[_FILE], pair["other"], both.speakers, mine, resampling, targets
        )
    return Comparison(
        predictions=other.source,
        num_clips=len(match.rows),
        missing=match.missing,
        protocols=panels,
        paired_differences=differences,
        groups=groups,
    )
