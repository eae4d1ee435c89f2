"""The manifest: a typed, validated, digested table of clips and labels, the one bridge to corpora."""

import difflib
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thinslice.data.table import format_table, read_table
from thinslice.errors import ManifestError
from thinslice.files import write_atomically
from thinslice.media.listing import RECORDING_SUFFIXES
from thinslice.traits import SCORE_RANGE, TARGETS

REQUIRED_COLUMNS = ("clip", "path", "split", "speaker")
"""Columns every manifest has. `path` may be empty: a clip known by its labels whose media is not here."""

WEIGHT = "weight"
"""Optional column of how much a clip counts in training, against 1 for a clip without; see `thinslice.data.balance`."""

NUMERIC_COLUMNS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(TARGETS, SCORE_RANGE),
    "valence": (-1.0, 1.0),
    "arousal": (-1.0, 1.0),
    WEIGHT: (0.0, 1000.0),
    **dict.fromkeys((f"{name}_error" for name in TARGETS), (0.0, 1.0)),
}
"""Optional columns of numbers and their lowest and highest value; `_error` is a label's standard error."""

TEXT_COLUMNS = ("transcript", "age_group", "gender", "ethnicity", "emotion")
"""Optional columns of free text."""

OPTIONAL_COLUMNS = (
    "transcript",
    *TARGETS,
    *("age_group", "gender", "ethnicity", "emotion", "valence", "arousal", WEIGHT),
    *(f"{name}_error" for name in TARGETS),
)
"""All optional columns that mean something to thinslice, in the order in which they are written."""

SPLITS = ("train", "validation", "test")
"""The official splits. A manifest may use other names."""

MEDIA_SUFFIXES = RECORDING_SUFFIXES
"""Lower-case endings of file names that importers take for media."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_BLANK_OR_NUMBER = rf"[ \t]*(?:{_NUMBER.pattern}[ \t]*)?"
_NUMBERS = re.compile(rf"(?:{_BLANK_OR_NUMBER}\n)*{_BLANK_OR_NUMBER}", re.ASCII)
_CELLS_AT_ONCE = 500  # the pattern takes 200 bytes for each
_quoted = json.encoder.encode_basestring_ascii
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_USUAL_SPLIT_SPELLINGS = {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
}


def normalise_clip(clip: str) -> str:
    """Return the name by which two spellings of one clip agree: without ".mp4", in either case."""
    return clip[:-4] if clip[-4:].lower() == ".mp4" else clip


def speaker_of(clip: str) -> str:
    """Return the speaker of a First Impressions clip: its YouTube video, the name before the last two parts.

    ``--Ymqszjv54.001.mp4`` and ``--Ymqszjv54.001`` give ``--Ymqszjv54``. A name without parts is itself.
    """
    suffix = Path(clip).suffix
    stem = clip[: -len(suffix)] if suffix.lower() in MEDIA_SUFFIXES else clip
    return stem.rpartition(".")[0] or stem


def number_problem(name: str, cell: str) -> str | None:
    """Return what is wrong with a cell of a column of numbers; None for nothing, or a number in its range.

    A column that is not among `NUMERIC_COLUMNS` is a target of one's own, in [0, 1].
    """
    text = cell.strip()
    if not text:
        return None
    shown = cell if len(cell) <= 40 else cell[:40] + "..."
    if not _NUMBER.fullmatch(text):
        return f"{name} is {shown!r}, not a number; leave it empty if unknown"
    low, high = NUMERIC_COLUMNS.get(name, SCORE_RANGE)
    return None if low <= float(text) <= high else f"{name} is {shown.strip()}, outside [{low:g}, {high:g}]"


@dataclass(frozen=True, eq=False)
class Manifest:
    """A table of clips; every cell is kept as text exactly as its file has it.

    Checked whenever one is made, so that code which receives a manifest need not check again.

    Attributes:
        clips: names, unique also when ".mp4" is ignored; never empty.
        paths: media files as text, absolute or relative to `folder`; "" where there is no media.
        splits: split of each clip, never empty; officially one of `SPLITS`.
        speakers: who speaks, never empty; clips of one speaker must not be divided between training and test.
        columns: optional column -> text of each clip, "" where nothing is known.
        folder: folder to which relative paths refer.
        source: where the table comes from, for messages.
        lines: line of the source on which each row begins; empty where it was not read from a file.
        warnings: what is odd but allowed, one line each.

    Raises:
        ManifestError: what a manifest must not hold, with the source and the line.
    """

    clips: tuple[str, ...]
    paths: tuple[str, ...]
    splits: tuple[str, ...]
    speakers: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folder: Path = Path()
    source: str = "manifest"
    lines: tuple[int, ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name in ("clips", "paths", "splits", "speakers", "lines"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "columns", {name: tuple(cells) for name, cells in self.columns.items()})
        object.__setattr__(self, "folder", Path(self.folder).absolute())
        object.__setattr__(self, "warnings", tuple(dict.fromkeys((*self.warnings, *_check(self)))))

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        return f"<Manifest {self.source}: {len(self)} clips, {len(set(self.speakers))} speakers>"

    def where(self, index: int) -> str:
        """Return where a row stands, for messages: "file, line N"."""
        return f"{self.source}, line {self.lines[index]}" if self.lines else f"{self.source}, clip {self.clips[index]}"

    def path(self, index: int) -> Path:
        """Return a clip's media file, resolved relative to the manifest's folder; it need not exist.

        Raises:
            ManifestError: the manifest knows no media for that clip.
        """
        if not self.paths[index]:
            raise ManifestError(f"{self.where(index)}: no media is known for {self.clips[index]}; fill its path")
        return self.folder / self.paths[index]

    @property
    def media(self) -> list[Path | None]:
        """The clips' media files, None where the manifest knows none; they need not exist."""
        return [self.folder / path if path else None for path in self.paths]

    @cached_property
    def transcripts(self) -> dict[str, str]:
        """Words by clip, of the clips whose words are known."""
        texts = self.columns.get("transcript", ("",) * len(self))
        return {clip: text for clip, text in zip(self.clips, texts, strict=True) if text.strip()}

    def column(self, name: str) -> NDArray[np.object_]:
        """Return any column as str, shape (n,), dtype object; ManifestError if it is not there."""
        cells = self._all_columns.get(name)
        if cells is None:
            raise ManifestError(f"{self.source}: no column {name}; there are {', '.join(self._all_columns)}")
        out = np.empty(len(cells), dtype=object)
        out[:] = cells
        return out

    def labels(self, targets: Sequence[str] = TARGETS) -> NDArray[np.float64]:
        """Return labels, float64 (n, len(targets)); NaN where a cell is empty or the column absent.

        Args:
            targets: columns of numbers, see `NUMERIC_COLUMNS`, or other columns of numbers in [0, 1].

        Raises:
            ManifestError: a target of one's own that is not a column, or that holds something else.
        """
        out = np.full((len(self), len(targets)), np.nan)
        for k, name in enumerate(targets):
            if name not in NUMERIC_COLUMNS:
                self._check_own_target(name)
            if name in self.columns:
                out[:, k] = [float(cell) if cell.strip() else math.nan for cell in self.columns[name]]
        return out

    def _check_own_target(self, name: str) -> None:
        if name not in self.columns or name in OPTIONAL_COLUMNS:
            own = [column for column in self.columns if column not in OPTIONAL_COLUMNS]
            beside = f", or its columns {', '.join(own)}" if own else ""
            raise ManifestError(f"{self.source}: {name} is no label; labels are {', '.join(TARGETS)}{beside}")
        for i, cell in enumerate(self.columns[name]):
            if problem := number_problem(name, cell):
                hint = (
                    "; bring it to 0-1 with: thinslice data import-folder --targets --scale"
                    if "outside" in problem
                    else ""
                )
                raise ManifestError(f"{self.where(i)}: {problem}{hint}")

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what the manifest says of its clips, not of how or where it is stored.

        Clip, split, speaker and every non-empty optional cell count; numbers by value ("0.50" is "0.5").
        The order of rows and columns does not count, nor do columns without any entry, nor `path`: the same
        data on another disk has the same digest. That the media are the same is for `verify` to say.
        """
        sha = hashlib.sha256(b"thinslice manifest 1\n")
        columns = [
            (f"{_quoted(name)}:", _canonical if name in NUMERIC_COLUMNS else _quoted, self.columns[name])
            for name in sorted(self.columns)
        ]
        for i in sorted(range(len(self)), key=self.clips.__getitem__):
            # A row as compact JSON, written by hand: json.dumps takes three times as long.
            known = ",".join([key + text for key, form, cells in columns if cells[i] and (text := form(cells[i]))])
            fixed = f"{_quoted(self.clips[i])},{_quoted(self.splits[i])},{_quoted(self.speakers[i])}"
            sha.update(f"[{fixed},{{{known}}}]\n".encode())
        return sha.hexdigest()

    def select(self, rows: str | NDArray[Any] | Sequence[Any]) -> "Manifest":
        """Return the manifest of some rows.

        Args:
            rows: a split's name, a mask of bool (n,), or row numbers in the order wanted.

        Raises:
            ManifestError: an absent split, a mask of another length, a row that is absent or comes twice.
        """
        if isinstance(rows, str):
            if rows not in self.splits:
                found = ", ".join(sorted(set(self.splits))) or "none"
                raise ManifestError(f"{self.source}: no split {rows}; there are: {found}")
            indices = [i for i, split in enumerate(self.splits) if split == rows]
        else:
            array = np.asarray(rows)
            if array.dtype == bool and array.shape == (len(self),):
                indices = np.flatnonzero(array).tolist()
            elif array.ndim == 1 and (array.size == 0 or array.dtype.kind in "iu"):
                indices = [int(i) for i in array]
            else:
                raise ManifestError(f"{self.source}: rows are a split, a mask of {len(self)} bool, or row numbers")
            if any(not 0 <= i < len(self) for i in indices):
                raise ManifestError(f"{self.source}: rows are numbered 0 to {len(self) - 1}")

        def pick(cells: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(cells[i] for i in indices)

        return Manifest(
            clips=pick(self.clips),
            paths=pick(self.paths),
            splits=pick(self.splits),
            speakers=pick(self.speakers),
            columns={name: pick(cells) for name, cells in self.columns.items()},
            folder=self.folder,
            source=self.source,
            lines=pick(self.lines) if self.lines else (),
            warnings=self.warnings,
        )

    @property
    def _all_columns(self) -> dict[str, tuple[str, ...]]:
        required = {"clip": self.clips, "path": self.paths, "split": self.splits, "speaker": self.speakers}
        return required | dict(self.columns)


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read and check a manifest (CSV, see docs/data.md).

    Raises:
        ManifestError: whatever is wrong with it, in one line that names the file and the line.
    """
    table = read_table(path, REQUIRED_COLUMNS)
    return Manifest(
        clips=table.column("clip"),
        paths=table.column("path"),
        splits=table.column("split"),
        speakers=table.column("speaker"),
        columns={name: table.column(name) for name in table.header if name not in REQUIRED_COLUMNS},
        folder=Path(path).absolute().parent,
        source=table.source,
        lines=table.lines,
    )


def save_manifest(manifest: Manifest, path: str | os.PathLike[str]) -> None:
    """Write a manifest atomically. Relative paths are rewritten so that they still lead to the same files.

    Raises:
        ManifestError: the place cannot be written, or a cell cannot be stored as UTF-8.
    """
    target = Path(path).absolute()
    paths = [_rebased(cell, manifest.folder, target.parent) for cell in manifest.paths]
    known = [name for name in OPTIONAL_COLUMNS if name in manifest.columns]
    names = known + [name for name in manifest.columns if name not in known]
    rows = zip(
        manifest.clips,
        paths,
        manifest.splits,
        manifest.speakers,
        *(manifest.columns[name] for name in names),
        strict=True,
    )
    text = format_table((*REQUIRED_COLUMNS, *names), rows)
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ManifestError(
            f"{os.fspath(path)}: cannot be written, {error.object[error.start]!a} is no character"
        ) from None
    write_atomically(path, data)


def concat(manifests: Sequence[Manifest]) -> Manifest:
    """Return one manifest with the rows of all, in order; columns that one lacks are empty in its rows.

    Paths become relative to the first manifest's folder.

    Raises:
        ManifestError: no manifest, or a clip that two of them have.
    """
    if not manifests:
        raise ManifestError("no manifest to join")
    seen: dict[str, Manifest] = {}
    for manifest in manifests:
        for clip in manifest.clips:
            if (first := seen.setdefault(normalise_clip(clip), manifest)) is not manifest:
                raise ManifestError(f"clip {clip} is in {first.source} and in {manifest.source}; leave one out")
    folder = manifests[0].folder
    names = list(dict.fromkeys(name for manifest in manifests for name in manifest.columns))
    return Manifest(
        clips=tuple(c for m in manifests for c in m.clips),
        paths=tuple(_rebased(p, m.folder, folder) for m in manifests for p in m.paths),
        splits=tuple(s for m in manifests for s in m.splits),
        speakers=tuple(s for m in manifests for s in m.speakers),
        columns={
            name: tuple(cell for m in manifests for cell in m.columns.get(name, ("",) * len(m))) for name in names
        },
        folder=folder,
        source=" + ".join(dict.fromkeys(m.source for m in manifests)),
        warnings=tuple(line for m in manifests for line in m.warnings),
    )


def _rebased(cell: str, old: Path, new: Path) -> str:
    """Rewrite a relative path for another folder; "", absolute paths and the same folder change nothing."""
    if not cell or old == new or os.path.isabs(cell):
        return cell
    try:
        return Path(os.path.relpath(old / cell, new)).as_posix()
    except ValueError:  # another drive on Windows
        return str(old / cell)


def _canonical(cell: str) -> str:
    """One form for all spellings of a number, in quotation marks; blanks in a column of numbers are no entry."""
    return f'"{float(cell) + 0.0!r}"' if not cell.isspace() else ""  # + 0.0 makes -0.0 positive


def _all_in_range(name: str, cells: Sequence[str]) -> bool:
    """Return whether a column holds nothing but numbers in their range and blanks, by a pattern over many cells."""
    low, high = NUMERIC_COLUMNS[name]
    for first in range(0, len(cells), _CELLS_AT_ONCE):
        some = cells[first : first + _CELLS_AT_ONCE]
        text = "\n".join(some)
        if text.count("\n") >= len(some) or not _NUMBERS.fullmatch(text):
            return False
        numbers = [float(cell) for cell in some if cell and not cell.isspace()]
        if numbers and not (low <= min(numbers) and max(numbers) <= high):
            return False
    return True


def _check(manifest: Manifest) -> list[str]:
    """Raise ManifestError at the first thing a manifest must not hold; return warnings."""
    num_clips = len(manifest.clips)
    for name, cells in manifest._all_columns.items():
        if len(cells) != num_clips:
            raise ManifestError(f"{manifest.source}: column {name} has {len(cells)} rows where clip has {num_clips}")
    if manifest.lines and len(manifest.lines) != num_clips:
        raise ManifestError(f"{manifest.source}: {len(manifest.lines)} line numbers for {num_clips} rows")
    seen: dict[str, int] = {}
    for name, cells in (("clip", manifest.clips), ("split", manifest.splits), ("speaker", manifest.speakers)):
        for i, cell in enumerate(cells):
            if not cell.strip():
                raise ManifestError(f"{manifest.where(i)}: {name} is empty")
            if cell != cell.strip() or _CONTROL.search(cell):
                raise ManifestError(f"{manifest.where(i)}: {name} {cell!r} has blanks around it or a control character")
    for i, clip in enumerate(manifest.clips):
        if (first := seen.setdefault(normalise_clip(clip), i)) != i:
            raise ManifestError(f"{manifest.where(i)}: clip {clip} is listed twice, first at {manifest.where(first)}")
    for i, cell in enumerate(manifest.paths):
        if _CONTROL.search(cell):
            raise ManifestError(f"{manifest.where(i)}: path {cell!r} holds a control character")
    for name in NUMERIC_COLUMNS:
        cells = manifest.columns.get(name, ())
        for i, cell in enumerate(() if _all_in_range(name, cells) else cells):
            problem = number_problem(name, cell)
            if problem:
                raise ManifestError(f"{manifest.where(i)}: {problem}")
    return _warnings(manifest)


def _warnings(manifest: Manifest) -> list[str]:
    out = []
    for name in manifest.columns:
        if name in REQUIRED_COLUMNS or not name:
            raise ManifestError(f"{manifest.source}: {name!r} cannot be the name of an optional column")
        if name not in OPTIONAL_COLUMNS:
            near = difflib.get_close_matches(name.lower(), OPTIONAL_COLUMNS, n=1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else "; kept as text, or taken with --targets"
            out.append(f"{manifest.source}: unknown column {name}{hint}")
    for split in dict.fromkeys(manifest.splits):
        usual = _USUAL_SPLIT_SPELLINGS.get(split.lower(), split.lower())
        if usual in SPLITS and usual != split:
            out.append(f"{manifest.source}: split {split} is not the official {usual}")
    return out
