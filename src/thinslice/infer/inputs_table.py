"""The table of precomputed inputs that ``predict --inputs`` reads: clip, transcript, voice profile, pictures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thinslice.data.table import read_table
from thinslice.errors import ManifestError, counted
from thinslice.features.voice import VOICE_PROFILE_COLUMNS
from thinslice.types import Failure

TRANSCRIPT_COLUMN = "transcript"
PICTURES_COLUMN = "pictures"


@dataclass(frozen=True)
class InputRow:
    """One row: the inputs of a clip.

    Attributes:
        clip: its name.
        voice_profile: 26 means in the order of `VOICE_PROFILE_COLUMNS`, None where there is no voice.
        transcript: the words, None where there are none.
        pictures: a picture or a folder of frames, None where there are none.
    """

    clip: str
    voice_profile: tuple[float, ...] | None
    transcript: str | None
    pictures: str | None


def read_inputs(path: Path) -> list[InputRow | Failure]:
    """Read a CSV of precomputed inputs; a row that makes no sense is a `Failure` in its place.

    Columns: `clip`, optional `transcript`, optional 26 voice-profile columns (all or none), optional `pictures`: a
    picture or a folder of frames, relative to the table's folder. A row's empty transcript or pictures, or wholly
    empty voice profile, counts as missing.

    Raises:
        ManifestError: the file is no such table, or no table at all, as `thinslice.data.table.read_table`: a row with a
            cell too many has a transcript whose comma is not quoted, and its words would be cut off.
    """
    table = read_table(path, ("clip",))
    columns = _checked_columns(path, table.header)
    rows: list[InputRow | Failure] = []
    seen: set[str] = set()
    for number, values in enumerate(table.rows):
        cells, where = dict(zip(table.header, values, strict=True)), table.where(number)
        clip = cells["clip"].strip()
        if not clip or clip in seen:
            rows.append(Failure(clip, f"{where}: {'clip occurs twice' if clip else 'empty clip name'}"))
            continue
        seen.add(clip)
        try:
            voice = _voice(cells, columns, where)
        except ManifestError as error:
            rows.append(Failure(clip, str(error)))
            continue
        pictures = cells.get(PICTURES_COLUMN, "").strip()
        where_pictures = str(path.parent / pictures) if pictures else None
        rows.append(InputRow(clip, voice, cells.get(TRANSCRIPT_COLUMN), where_pictures))
    return rows


def _checked_columns(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the voice columns the table has: all 26 or none."""
    present = [name for name in VOICE_PROFILE_COLUMNS if name in names]
    if present and len(present) < len(VOICE_PROFILE_COLUMNS):
        absent = [name for name in VOICE_PROFILE_COLUMNS if name not in names]
        raise ManifestError(f"{path}: voice profile lacks {counted(len(absent), 'column')}: {', '.join(absent)}")
    if not present and TRANSCRIPT_COLUMN not in names and PICTURES_COLUMN not in names:
        raise ManifestError(f"{path}: no column 'transcript', no column 'pictures' and no voice-profile columns")
    return tuple(present)


def _voice(row: Mapping[str, str], columns: tuple[str, ...], where: str) -> tuple[float, ...] | None:
    texts = [row[name].strip() for name in columns]
    if not any(texts):
        return None
    values = []
    for name, text in zip(columns, texts, strict=True):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ManifestError(f"{where}: {name} is {text!r}, not a number; leave all 26 empty if there is no voice")
        values.append(value)
    return tuple(values)
