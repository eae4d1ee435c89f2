"""Prediction files from any source: read leniently, with everything odd named by its line.

Accepted: CSV separated by comma, semicolon or tab, in UTF-8 (with or without byte order mark) or UTF-16, one row per
clip, one column of clip names and one per trait, in any order; other columns are ignored. See
`thinslice.evaluate.spellings` for the names. Decimal commas are read where the separator is not a comma.

Scores are taken as they stand: nothing is clipped, rescaled or reversed. In particular *neuroticism* means First
Impressions' column, where 1 is comfortable and 0 uneasy; so "emotional stability" and "non-neuroticism" are the same
column under another name, and a file that scores neuroticism the psychologists' way round must be reversed by
whoever knows that it does.

What is wrong with a row never stops the others:

* a cell that is empty, NaN, infinite or no number is a missing score;
* a score outside [0, 1] is scored as it is, and named;
* a row of the wrong length, or without a clip's name, is not read, and named;
* two rows of one clip that say the same count once, and are named; two that differ contradict each other, so the clip
  counts as missing, and both lines are named.
"""

import csv
import io
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thinslice.errors import ManifestError, counted
from thinslice.evaluate.clip_names import clip_key
from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.spellings import CLIP_SPELLINGS, plain, target_of
from thinslice.files import read_file
from thinslice.traits import INTERVIEW, SCORE_RANGE, TARGETS, TRAITS

_NO_VALUE = {"", "nan", "na", "n/a", "null", "none", "-", "?", "#n/a", "<na>", "inf", "-inf", "+inf", "infinity"}
_MANY = 8


@dataclass(frozen=True)
class Problem:
    """Something odd in a file, in one line.

    Attributes:
        kind: "no_score", "not_a_number", "out_of_range", "duplicate", "contradiction", "bad_row", "interval" or
            "column".
        lines: where, counted from 1; empty if nowhere in particular.
        message: one line for the user, without the file's name.
        is_loss: whether a score was lost by it (else it is only worth knowing).
    """

    kind: str
    lines: tuple[int, ...]
    message: str
    is_loss: bool


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """Predicted scores of clips.

    Attributes:
        source: the file, for messages.
        clips: names as the file has them, each clip once; shape n.
        scores: (n, k) in the order of `columns`; NaN where missing.
        low: lower ends of prediction intervals, (n, k), NaN where there are none.
        high: upper ends, likewise.
        targets: those that have a column, in that order.
        problems: what was odd.
        columns: the targets that were looked for.
    """

    source: str
    clips: tuple[str, ...]
    scores: Floats
    low: Floats
    high: Floats
    targets: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    columns: tuple[str, ...] = TARGETS

    @property
    def has_intervals(self) -> bool:
        """Whether any clip has a prediction interval."""
        return bool((~np.isnan(self.low) & ~np.isnan(self.high)).any())


def read_predictions(path: str | os.PathLike[str], wanted: Sequence[str] = TARGETS) -> PredictionFile:
    """Read a prediction file, see the header of this module.

    Args:
        path: the file.
        wanted: the targets whose columns are looked for.

    Raises:
        ManifestError: unreadable, not text, no clip column, no trait column, or two columns for one trait.
    """
    source = os.fspath(path)
    try:
        data = read_file(path)
    except OSError as error:
        raise ManifestError(f"{source}: cannot be read ({error.strerror})") from None
    return parse_predictions(data, source, wanted)


def parse_predictions(data: bytes, source: str, wanted: Sequence[str] = TARGETS) -> PredictionFile:
    """Read a prediction file's bytes; as `read_predictions`."""
    text = _decode(data, source)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    announced = re.fullmatch(r"sep=([,;\t])", first)  # Excel's first line
    delimiter = announced[1] if announced else max(",;\t", key=first.count)
    rows = _rows(text, delimiter, source)[1 if announced else 0 :]
    if not rows:
        raise ManifestError(f"{source}: empty; expected a header line with clip and trait columns")
    header_line, header = rows[0]
    clip_column, columns = _columns(header, f"{source}, line {header_line}", wanted)
    columns, problems = _without_unpaired(columns)
    targets = tuple(name for name in wanted if (name, "") in columns)
    names: list[str] = []
    lines: list[int] = []
    table: list[list[float]] = []
    empty_cells: dict[str, list[int]] = {}
    bad_cells: dict[str, list[tuple[int, str]]] = {}
    for line, cells in rows[1:]:
        while len(cells) > len(header) and not cells[-1].strip():
            cells = cells[:-1]
        if len(cells) != len(header):
            lost = len(cells) > len(header)  # which cell is whose is unknown; in a short row the last ones are missing
            message = (
                f"{counted(len(cells), 'cell')} where the header has {len(header)}{'; row not read' if lost else ''}"
            )
            problems.append(Problem("bad_row", (line,), message, lost))
            if lost:
                continue
        cells = cells + [""] * (len(header) - len(cells))
        if not clip_key(cells[clip_column]):
            problems.append(Problem("bad_row", (line,), "no clip is named; row not read", True))
            continue
        numbers = []
        for (name, end), column in columns.items():
            value = _number(cells[column], decimal_comma=delimiter != ",")
            if value is None:
                bad_cells.setdefault(name, []).append((line, cells[column].strip()))
            elif math.isnan(value) and not end:
                empty_cells.setdefault(name, []).append(line)
            numbers.append(math.nan if value is None else value)
        names.append(cells[clip_column].strip())
        lines.append(line)
        table.append(numbers)

    values = np.full((len(names), len(wanted), 3), np.nan)
    read = np.array(table, dtype=np.float64).reshape(len(names), len(columns))
    for number, (name, end) in enumerate(columns):
        values[:, list(wanted).index(name), ("", "low", "high").index(end)] = read[:, number]
    problems += [Problem("no_score", tuple(found), f"no score for {name}", True) for name, found in empty_cells.items()]
    problems += _named_cells(bad_cells)
    problems += _out_of_range(values, lines, wanted)
    problems += _crossed(values, lines, wanted)
    kept, more = _without_duplicates(names, values, lines)
    return PredictionFile(
        source=source,
        clips=tuple(names[i] for i in kept),
        scores=values[kept, :, 0],
        low=values[kept, :, 1],
        high=values[kept, :, 2],
        targets=targets,
        problems=tuple(problems + more),
        columns=tuple(wanted),
    )


def _decode(data: bytes, source: str) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in data:
        raise ManifestError(f"{source}: not a text file; a prediction file is CSV with clip and trait columns")
    else:
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{source}, line {line}: not {encoding[:6].upper()} text; save it as UTF-8") from None


def _rows(text: str, delimiter: str, source: str) -> list[tuple[int, list[str]]]:
    """Cells of every line that is not blank, with the number of the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    out: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                out.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(f"{source}, line {start}: not valid CSV ({error})") from None
    return out


def _columns(header: Sequence[str], where: str, wanted: Sequence[str]) -> tuple[int, dict[tuple[str, str], int]]:
    """Return the clip column and (trait, end) -> column."""
    columns: dict[tuple[str, str], int] = {}
    for number, name in enumerate(header):
        key = target_of(name, wanted)
        if key is None:
            continue
        if key in columns:
            raise ManifestError(
                f"{where}: columns {header[columns[key]].strip()} and {name.strip()} are both {' '.join(key).strip()}; "
                "keep one"
            )
        columns[key] = number
    if not any(end == "" for _, end in columns):
        found = ", ".join(name.strip() for name in header)
        if tuple(wanted) != TARGETS:
            raise ManifestError(f"{where}: no column {' or '.join(wanted)}; found {found[:200]}")
        raise ManifestError(
            f"{where}: no column is a trait; found {found[:200]}; name them {', '.join(TRAITS)} (and {INTERVIEW}), or "
            "say which with --targets"
        )
    known = [plain(name) for name in header]
    clip = next((known.index(name) for name in CLIP_SPELLINGS if name in known), None)
    if clip is None and known[0] == "":
        clip = 0  # pandas' index
    if clip is None:
        raise ManifestError(f"{where}: no column names the clips; call it clip")
    return clip, columns


def _without_unpaired(
    columns: dict[tuple[str, str], int],
) -> tuple[dict[tuple[str, str], int], list[Problem]]:
    """Leave out interval ends that cannot be used: without the other end or without the score itself."""
    kept, problems = {}, []
    for (name, end), column in columns.items():
        needed = [(name, ""), (name, "low"), (name, "high")] if end else []
        lacking = next((key for key in needed if key not in columns), None)
        if lacking is None:
            kept[name, end] = column
        else:
            absent = "_".join(filter(None, lacking))
            problems.append(Problem("column", (), f"{name}_{end} is not used: there is no {absent}", False))
    return kept, problems


def _number(cell: str, decimal_comma: bool) -> float | None:
    """Return a cell's value, NaN where it says that there is none, None where it is not a number."""
    text = cell.strip()
    if text.lower() in _NO_VALUE:
        return math.nan
    if decimal_comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else math.nan


def _named_cells(cells: dict[str, list[tuple[int, str]]]) -> list[Problem]:
    return [
        Problem(
            "not_a_number",
            tuple(line for line, _ in found),
            f"{name} is not a number, such as {found[0][1][:40]!r}",
            True,
        )
        for name, found in cells.items()
    ]


def _out_of_range(values: Floats, lines: Sequence[int], wanted: Sequence[str]) -> list[Problem]:
    low, high = SCORE_RANGE
    out = []
    for k, name in enumerate(wanted):
        scores = values[:, k, 0]
        with np.errstate(invalid="ignore"):
            outside = np.flatnonzero((scores < low) | (scores > high)).tolist()
        if outside:
            worst = max((float(scores[i]) for i in outside), key=lambda score: abs(score - 0.5))
            message = f"{name} is outside [0, 1], such as {worst:.6g}; scored as it is"
            out.append(Problem("out_of_range", tuple(lines[i] for i in outside), message, False))
    return out


def _crossed(values: Floats, lines: Sequence[int], wanted: Sequence[str]) -> list[Problem]:
    out = []
    for k, name in enumerate(wanted):
        with np.errstate(invalid="ignore"):
            crossed = np.flatnonzero(values[:, k, 1] > values[:, k, 2]).tolist()
        if crossed:
            message = f"{name}_low is above {name}_high; such an interval covers nothing"
            out.append(Problem("interval", tuple(lines[i] for i in crossed), message, False))
    return out


def _without_duplicates(names: Sequence[str], values: Floats, lines: Sequence[int]) -> tuple[list[int], list[Problem]]:
    """Return the rows to keep, one per clip, and what is wrong; clips that contradict themselves become NaN."""
    rows: dict[tuple[str, ...], list[int]] = {}
    for i, name in enumerate(names):
        rows.setdefault(clip_key(name), []).append(i)
    problems = []
    for same in rows.values():
        if len(same) == 1:
            continue
        where = tuple(lines[i] for i in same)
        if all(np.array_equal(values[same[0]], values[i], equal_nan=True) for i in same[1:]):
            problems.append(Problem("duplicate", where, f"{names[same[0]]} comes {len(same)} times, alike", False))
        else:
            message = f"{names[same[0]]} comes {len(same)} times with different scores; it counts as missing"
            problems.append(Problem("contradiction", where, message, True))
            values[same[0]] = np.nan
    return [same[0] for same in rows.values()], problems


def describe(problem: Problem) -> str:
    """Return a problem as one line: where, then what."""
    if not problem.lines:
        return problem.message
    shown = ", ".join(str(line) for line in problem.lines[:_MANY])
    more = f" and {len(problem.lines) - _MANY} more" if len(problem.lines) > _MANY else ""
    return f"line{'s' if len(problem.lines) > 1 else ''} {shown}{more}: {problem.message}"
