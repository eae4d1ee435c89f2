"""Votes and ratings on disk: CSV tables, gzip too, read as strictly as manifests; and the manifest their scores make.

*Votes*: `left, right` and, for each question, what the voter chose: `left`, `right`, `tie` or nothing ("don't know").
*Ratings*: `clip, rater` and numbers on any scale. The traits and `interview` are questions; so is any other column that
holds nothing but such answers.
"""

import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.data.manifest import WEIGHT, Manifest, normalise_clip, speaker_of
from thinslice.data.table import CsvTable, format_table, parse_table
from thinslice.errors import ManifestError
from thinslice.evaluate.clip_names import match_clips
from thinslice.evaluate.ratings import Ratings
from thinslice.evaluate.scores import ScoreSheet
from thinslice.evaluate.votes import Votes, build_votes
from thinslice.files import read_file
from thinslice.traits import TARGETS

ANSWERS: Final = {"left": 1.0, "right": -1.0, "tie": 0.0, "": math.nan}
"""What a vote's cell may say, and its value."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""Largest table, unpacked."""

_WORDS: Final = {1.0: "left", -1.0: "right", 0.0: "tie"}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_GZIP: Final = b"\x1f\x8b"
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)


def load_answers(path: str | os.PathLike[str]) -> Votes | Ratings:
    """Read votes or ratings, whichever a table's header says it holds.

    Raises:
        ManifestError: what is wrong, with the file and the line.
    """
    table = _read(path)
    if {"left", "right"} <= set(table.header):
        return _votes(table)
    if {"clip", "rater"} <= set(table.header):
        return _ratings(table)
    raise ManifestError(
        f"{table.source}: votes have columns left and right, ratings have clip and rater; "
        f"found {', '.join(table.header)[:300]}"
    )


def load_votes(path: str | os.PathLike[str]) -> Votes:
    """Read votes; ManifestError for anything else."""
    found = load_answers(path)
    if not isinstance(found, Votes):
        raise ManifestError(f"{os.fspath(path)}: holds ratings; votes with columns left and right are wanted here")
    return found


def is_answers(path: str | os.PathLike[str]) -> bool:
    """Return whether a readable table's header is that of votes or ratings and not that of a manifest."""
    try:
        first = _unpacked(read_file(path)[: 1 << 20], os.fspath(path), cut=True).split(b"\n", 1)[0]
    except (OSError, ManifestError):
        return False
    names = {name.strip().strip('"') for name in first.decode("utf-8-sig", "replace").split(",")}
    return {"left", "right"} <= names or ({"clip", "rater"} <= names and "speaker" not in names)


def format_votes(votes: Votes) -> str:
    """Return votes as CSV text; `load_votes` reads back the same."""
    words = [[_WORDS.get(value, "") for value in row] for row in votes.choices.tolist()]
    names = [(votes.clips[a], votes.clips[b]) for a, b in zip(votes.left.tolist(), votes.right.tolist(), strict=True)]
    return format_table(
        ("left", "right", *votes.targets), ((*pair, *row) for pair, row in zip(names, words, strict=True))
    )


def format_ratings(ratings: Ratings) -> str:
    """Return ratings as CSV text; `load_answers` reads back the same."""
    rows = (
        (ratings.clips[c], ratings.raters[r], *("" if math.isnan(v) else f"{v:.10g}" for v in values))
        for c, r, values in zip(ratings.clip.tolist(), ratings.rater.tolist(), ratings.values.tolist(), strict=True)
    )
    return format_table(("clip", "rater", *ratings.targets), rows)


def scores_manifest(sheet: ScoreSheet, clips: Manifest | None = None) -> Manifest:
    """Return scores as a manifest that `train` takes: traits, `<trait>_error` and `weight`.

    Args:
        sheet: the scores.
        clips: a manifest from which paths, splits, speakers and everything but labels are taken; clips that it does not
            have are left out. Without one, all clips are of split "train", and speakers follow from names as in First
            Impressions.

    Raises:
        ManifestError: `clips` has none of the scored clips.
    """
    known = np.flatnonzero(~np.isnan(sheet.scores).all(axis=1)).tolist()
    names = [sheet.clips[i] for i in known]
    columns: dict[str, list[str]] = {}
    if clips is None:
        rows, paths = known, [""] * len(known)
        splits, speakers, folder = ["train"] * len(known), [speaker_of(name) for name in names], Path()
    else:
        found = match_clips(clips.clips, names)
        pairs = [(row, at) for row, at in zip(known, found, strict=True) if at is not None]
        if not pairs:
            raise ManifestError(f"{clips.source}: has none of the {len(names):,} clips of {sheet.source}")
        rows, at_rows = [row for row, _ in pairs], [at for _, at in pairs]
        names = [clips.clips[at] for at in at_rows]
        paths, splits = [clips.paths[at] for at in at_rows], [clips.splits[at] for at in at_rows]
        speakers, folder = [clips.speakers[at] for at in at_rows], clips.folder
        labels = {*TARGETS, *sheet.targets, WEIGHT}
        columns = {name: [cells[at] for at in at_rows] for name, cells in clips.columns.items() if name not in labels}
    for k, target in enumerate(sheet.targets):
        columns[target] = [_cell(sheet.scores[i, k]) for i in rows]
    for k, target in enumerate(sheet.targets):
        columns[f"{target}_error"] = [_cell(sheet.errors[i, k]) for i in rows]
    columns[WEIGHT] = [_cell(sheet.weights[i]) for i in rows]
    return Manifest(
        clips=tuple(names),
        paths=tuple(paths),
        splits=tuple(splits),
        speakers=tuple(speakers),
        columns={name: tuple(cells) for name, cells in columns.items()},
        folder=folder,
        source=sheet.source,
    )


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _read(path: str | os.PathLike[str]) -> CsvTable:
    source = os.fspath(path)
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise ManifestError(f"{source}: no such file") from None
    except OSError as error:
        raise ManifestError(f"{source}: cannot be read ({error.strerror})") from None
    return parse_table(_unpacked(data, source), source)


def _unpacked(data: bytes, source: str, cut: bool = False) -> bytes:
    """Return a table's bytes, unpacked if it is gzip; with `cut` only the first 64 KiB are wanted."""
    if data[:2] != _GZIP:
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            if cut:
                return file.read1(1 << 16)
            unpacked = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ManifestError(f"{source}: damaged gzip file ({error}); copy or download it again") from None
    if len(unpacked) > MAX_BYTES:
        raise ManifestError(f"{source}: unpacks to more than {MAX_BYTES >> 20} MB; is this a table of votes?")
    return unpacked


def _votes(table: CsvTable) -> Votes:
    left, right = _names(table, "left"), _names(table, "right")
    clip_of = {name: normalise_clip(name) for name in {*left, *right}}
    for row, (a, b) in enumerate(zip(left, right, strict=True)):
        if clip_of[a] == clip_of[b]:
            raise ManifestError(f"{table.where(row)}: {a} is compared with itself; remove the line")
    others = [name for name in table.header if name not in ("left", "right")]
    cells = {name: [cell.strip().lower() for cell in table.column(name)] for name in others}
    targets = _questions(
        others, {name: all(cell in ANSWERS for cell in column) for name, column in cells.items()}, cells
    )
    choices = np.empty((len(table.rows), len(targets)))
    for k, name in enumerate(targets):
        if unknown := set(cells[name]) - ANSWERS.keys():
            row = next(row for row, cell in enumerate(cells[name]) if cell in unknown)
            raise ManifestError(
                f"{table.where(row)}: {name} is {table.column(name)[row][:40]!r}; "
                "write left, right, tie, or nothing for don't know"
            )
        choices[:, k] = [ANSWERS[cell] for cell in cells[name]]
    if not targets:
        raise ManifestError(f"{table.source}: no column of votes; name them {', '.join(TARGETS)}")
    return build_votes(list(zip(left, right, strict=True)), choices, targets, table.source)


def _ratings(table: CsvTable) -> Ratings:
    clips, raters = _names(table, "clip"), _names(table, "rater")
    first: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(map(normalise_clip, clips), raters, strict=True)):
        if (before := first.setdefault(key, row)) != row:
            where = table.where(before)
            raise ManifestError(f"{table.where(row)}: {key[1]} rates {clips[row]} again, first at {where}; keep one")
    others = [name for name in table.header if name not in ("clip", "rater")]
    cells = {name: [cell.strip() for cell in table.column(name)] for name in others}
    are_numbers = {name: all(not cell or _NUMBER.fullmatch(cell) for cell in column) for name, column in cells.items()}
    targets = _questions(others, are_numbers, cells)
    if not targets:
        raise ManifestError(f"{table.source}: no column of ratings; name them {', '.join(TARGETS)}")
    values = np.empty((len(table.rows), len(targets)))
    for k, name in enumerate(targets):
        for row, cell in enumerate(cells[name]):
            if cell and not _NUMBER.fullmatch(cell):
                raise ManifestError(
                    f"{table.where(row)}: {name} is {cell[:40]!r}, not a number; leave it empty if unknown"
                )
            values[row, k] = float(cell) if cell else math.nan
    clip_names, clip = _numbered(clips)
    rater_names, rater = _numbered(raters)
    return Ratings(clip_names, rater_names, clip, rater, values, targets, table.source)


def _names(table: CsvTable, column: str) -> tuple[str, ...]:
    """Return a column of names, none of them empty, padded or with control characters."""
    cells = table.column(column)
    for row, cell in enumerate(cells):
        if not cell.strip():
            raise ManifestError(f"{table.where(row)}: {column} is empty")
        if cell != cell.strip() or _CONTROL.search(cell):
            raise ManifestError(f"{table.where(row)}: {column} {cell!r} has blanks around it or a control character")
    return cells


def _questions(names: Sequence[str], is_answered: dict[str, bool], cells: dict[str, list[str]]) -> tuple[str, ...]:
    """Return the columns that are questions: traits first, in their order."""
    traits = [name for name in TARGETS if name in names]
    own = [name for name in names if name not in TARGETS and is_answered[name] and any(cells[name])]
    return (*traits, *own)


def _numbered(cells: Sequence[str]) -> tuple[tuple[str, ...], "np.ndarray"]:
    place = {name: i for i, name in enumerate(dict.fromkeys(cells))}
    return tuple(place), np.array([place[cell] for cell in cells], dtype=np.intp)
