"""A table of prediction files under the speakers-apart protocol: one CSV file that grows by a row for each.

A row has what a system scores on all clips and on those of speakers that it was not trained on, with intervals, and
beside them what knows nothing of a clip: the training mean, and the lookup of the speaker's training labels. Two rows
can be compared where their `test_sha256` agree, and fairly where their `train_sha256` do too.

A file that is not complete gets no row. The table is written whole or not at all, and under a lock, so that two
programs that add a row at once lose neither.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice import __version__
from thinslice.errors import ManifestError, UsageError, counted
from thinslice.evaluate.card import Interval, Panel, Scorecard
from thinslice.evaluate.clip_names import clip_key
from thinslice.evaluate.protocols import OFFICIAL, UNSEEN
from thinslice.evaluate.scorecard import LOOKUP, TRAINING_MEAN, LabelledClips
from thinslice.files import locked, write_atomically
from thinslice.targets import averaged
from thinslice.traits import TRAITS

AVERAGE: Final = "average"
WAIT_S: Final = 60.0
"""How long to wait for other programs that add a row, seconds."""

KNOWN_SPLITS: Final[Mapping[str, str]] = {
    "bc7b2cb0e66aef92ac518de52505d108fe28376bc075302a2ba73fbbe00adcee": "First Impressions V2, official test",
}
"""`test_sha256` -> name, of splits that everybody may use."""


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """One row; scores are averages over the targets, None where they are not known.

    Attributes:
        system: its name.
        inputs: what it looks at and listens to.
        repository: where its predictions or its code are.
        trained_on: splits whose clips it learned from.
        num_clips: scored clips.
        missing: clips of the split without a prediction; 0 but for files published elsewhere.
        accuracy: on all scored clips, as the next five.
        r2: share of the labels' variance that is explained.
        ccc: concordance.
        r2_low: lower end of its 95% interval over speakers.
        r2_high: upper end.
        unseen_num_clips: scored clips of speakers without a training clip; the next five are on these.
        unseen_accuracy: likewise.
        unseen_r2: likewise.
        unseen_ccc: likewise.
        unseen_r2_low: likewise.
        unseen_r2_high: likewise.
        lookup_accuracy: of the lookup on all scored clips.
        lookup_r2: of the lookup on all scored clips.
        mean_accuracy: of the training mean on all scored clips.
        unseen_mean_accuracy: of the training mean, which there is the lookup too, on unseen speakers.
        targets: what the averages are over; "big five" for the five traits.
        test_sha256: of the split's clips and speakers, see `split_digest`.
        train_sha256: of the training clips and speakers.
        labels_sha256: of the labels that were predicted.
        predictions_sha256: of the prediction file.
        scored_by: which thinslice.
    """

    system: str
    inputs: str = ""
    repository: str = ""
    trained_on: str = ""
    num_clips: int
    missing: int = 0
    accuracy: float
    r2: float
    ccc: float
    r2_low: float
    r2_high: float
    unseen_num_clips: int
    unseen_accuracy: float
    unseen_r2: float
    unseen_ccc: float
    unseen_r2_low: float
    unseen_r2_high: float
    lookup_accuracy: float | None = None
    lookup_r2: float | None = None
    mean_accuracy: float | None = None
    unseen_mean_accuracy: float | None = None
    targets: str = "big five"
    test_sha256: str = ""
    train_sha256: str = ""
    labels_sha256: str = ""
    predictions_sha256: str = ""
    scored_by: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What tells rows apart: another file under the same key takes the place of the first."""
        return (self.system, self.inputs, self.trained_on, self.targets, self.test_sha256, self.train_sha256)


@dataclass(frozen=True)
class Submission:
    """What a row says of a system that its predictions do not.

    Attributes:
        file: the table.
        system: its name.
        inputs: what it looks at and listens to.
        repository: where its predictions or its code are.
    """

    file: Path
    system: str
    inputs: str = ""
    repository: str = ""


def split_digest(clips: Sequence[str], speakers: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of which clips a split has, and who speaks: not of their order or endings."""
    rows = sorted(("/".join(clip_key(clip)), speaker) for clip, speaker in zip(clips, speakers, strict=True))
    return _sha256(rows)


def labels_digest(clips: LabelledClips) -> str:
    """Return the SHA-256 (hex) of labels, rounded to four decimals, as published files have them."""
    named = zip(clips.clips, clips.labels, strict=True)
    rows = [
        ("/".join(clip_key(clip)), [None if np.isnan(v) else round(float(v), 4) for v in row]) for clip, row in named
    ]
    return _sha256(sorted(rows, key=lambda row: row[0]))


def make_entry(
    submission: Submission,
    card: Scorecard,
    labels: LabelledClips,
    training: Sequence[LabelledClips],
    predictions: bytes,
) -> LeaderboardRow:
    """Return a scorecard as a row.

    Args:
        submission: what is said of the system.
        card: the prediction file's scores.
        labels: the clips that were to be predicted.
        training: what the system learned from.
        predictions: the prediction file.

    Raises:
        UsageError: the file is not complete, no training clips were given, there are no intervals, or no clip of an
            unseen speaker.
    """
    refused = _why_not(submission, card)
    if refused:
        raise UsageError(f"{card.settings.predictions}: gets no row in {submission.file}: {refused}")
    whole, unseen = card.official, card.protocols[UNSEEN]
    assert unseen is not None
    lookup, mean = card.baselines[LOOKUP], card.baselines[TRAINING_MEAN]
    tested = {clip_key(clip) for clip in labels.clips}
    learned = {
        "/".join(clip_key(clip)): speaker
        for part in training
        for clip, speaker in zip(part.clips, part.speakers, strict=True)
        if clip_key(clip) not in tested
    }
    splits = dict.fromkeys(split for part in training for split in dict.fromkeys(part.columns.get("split", ())))
    low, high = _interval(whole)
    unseen_low, unseen_high = _interval(unseen)
    return LeaderboardRow(
        system=submission.system,
        inputs=submission.inputs,
        repository=submission.repository,
        trained_on="+".join(splits),
        num_clips=whole.num_clips,
        **{name: _average(whole, name) for name in ("accuracy", "r2", "ccc")},  # type: ignore[arg-type]
        r2_low=low,
        r2_high=high,
        unseen_num_clips=unseen.num_clips,
        **{f"unseen_{name}": _average(unseen, name) for name in ("accuracy", "r2", "ccc")},  # type: ignore[arg-type]
        unseen_r2_low=unseen_low,
        unseen_r2_high=unseen_high,
        lookup_accuracy=_of(lookup[OFFICIAL], "accuracy"),
        lookup_r2=_of(lookup[OFFICIAL], "r2"),
        mean_accuracy=_of(mean[OFFICIAL], "accuracy"),
        unseen_mean_accuracy=_of(mean[UNSEEN], "accuracy"),
        targets="big five" if averaged(labels.targets) == TRAITS else "+".join(averaged(labels.targets)),
        test_sha256=split_digest(labels.clips, labels.speakers),
        train_sha256=split_digest(list(learned), list(learned.values())),
        labels_sha256=labels_digest(labels),
        predictions_sha256=hashlib.sha256(predictions).hexdigest(),
        scored_by=f"thinslice {__version__}",
    )


def submit(entry: LeaderboardRow, path: Path) -> bool:
    """Add a row to a table, or put it in the place of the same system's; other rows stay as they are.

    Returns:
        Whether it took another's place.

    Raises:
        ManifestError: the table cannot be read; it is left as it is.
        OutputError: it cannot be written, or other programs keep it locked.
    """
    target = path.absolute()
    with locked(target.parent, WAIT_S, f".{target.name}.lock"):
        rows = read_leaderboard(target) if target.exists() else []
        places = [place for place, row in enumerate(rows) if row.key == entry.key]
        for place in places[:1]:
            rows[place] = entry
        write_atomically(target, format_leaderboard(rows if places else [*rows, entry]).encode())
    return bool(places)


def read_leaderboard(path: str | os.PathLike[str]) -> list[LeaderboardRow]:
    """Read a table.

    Raises:
        ManifestError: it cannot be read, or is none; with the line.
    """
    source = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{source}: cannot be read as a leaderboard ({error})") from None
    known = {entry.name: str(entry.type) for entry in fields(LeaderboardRow)}
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    entries = []
    try:
        header = next(rows, [])
        if strange := [name for name in header if name not in known] or len(set(header)) < len(header):
            raise ValueError(f"unknown or repeated columns {strange}; is it made by a newer thinslice?")
        for cells in rows:
            entries.append(_entry(dict(zip(header, cells, strict=True)), known))
    except (ValueError, TypeError, csv.Error) as error:
        raise ManifestError(
            f"{source}, line {rows.line_num}: no row of a leaderboard ({error}); mend or move it"
        ) from None
    return entries


def format_leaderboard(entries: Iterable[LeaderboardRow]) -> str:
    """Return a table as CSV text; `read_leaderboard` reads back the same."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [entry.name for entry in fields(LeaderboardRow)], lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        writer.writerow({name: "" if value is None else value for name, value in asdict(entry).items()})
    return text.getvalue()


def rounded(entry: LeaderboardRow, digits: int = 4) -> LeaderboardRow:
    """Return a row with its scores rounded, as a table for people has them."""
    numbers: dict[str, Any] = {
        name: round(value, digits) for name, value in asdict(entry).items() if isinstance(value, float)
    }
    return replace(entry, **numbers)


def _why_not(submission: Submission, card: Scorecard) -> str:
    """Return why a prediction file gets no row; "" where it does."""
    if not submission.system.strip() or any(not part.isprintable() for part in (submission.system, submission.inputs)):
        return "its system has no name, or one that cannot be printed; give one with --system"
    if card.missing:
        more = f" and {len(card.missing) - 3:,} more" if len(card.missing) > 3 else ""
        missing = counted(len(card.missing), "clip is", "clips are")
        return f"it is not complete, {missing} missing: {', '.join(card.missing[:3])}{more}"
    if card.unlabelled:
        return f"{counted(len(card.unlabelled), 'clip')} of it without a label; leave them out of --labels"
    if card.training is None or card.baselines[LOOKUP][OFFICIAL] is None:
        return (
            "say what the system learned from with --train (all of it, with labels), for the lookup and unseen speakers"
        )
    unseen = card.protocols[UNSEEN]
    if unseen is None or not unseen.num_clips:
        return "every clip is of a speaker who is in training, so nothing says how it does with others"
    for panel in (card.official, unseen):
        if panel["r2"][AVERAGE] is None:
            return "it has no average R²: a target has no column, or labels that do not vary"
        if panel.interval("r2", AVERAGE) is None:
            return "there are no intervals: too few speakers, or --resamples 0"
    return ""


def _entry(row: Mapping[str, str], known: Mapping[str, str]) -> LeaderboardRow:
    values: dict[str, str | int | float | None] = {}
    for name, cell in row.items():
        kind = known[name]
        if "str" in kind:
            values[name] = cell
        elif not cell and "None" in kind:
            values[name] = None
        else:
            values[name] = int(cell) if "int" in kind else float(cell)
    return LeaderboardRow(**values)  # type: ignore[arg-type]


def _average(panel: Panel, metric: str) -> float:
    value = panel[metric][AVERAGE]
    assert value is not None
    return round(value, 6)


def _of(panel: Panel | None, metric: str) -> float | None:
    value = None if panel is None else panel[metric][AVERAGE]
    return None if value is None else round(value, 6)


def _interval(panel: Panel) -> Interval:
    found = panel.interval("r2", AVERAGE)
    assert found is not None
    return round(found[0], 6), round(found[1], 6)


def _sha256(rows: object) -> str:
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
