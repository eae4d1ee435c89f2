"""The table of precomputed inputs that ``predict --inputs`` reads: clip, transcript, voice profile, pictures."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from thinslice.errors import ManifestError, ThinsliceError, UsageError
from thinslice.features.voice import VOICE_PROFILE_COLUMNS
from thinslice.infer.predictor import Predictor
from thinslice.types import Failure, Prediction

TRANSCRIPT_COLUMN = "transcript"
PICTURES_COLUMN = "pictures"


def predict_table(
    predictor: Predictor,
    path: Path,
    *,
    only: Iterable[str] | None = None,
    without: Iterable[str] | None = None,
    explain: bool = False,
) -> Iterator[Prediction | Failure]:
    """Score every row of a CSV of precomputed inputs, without recordings.

    Columns: `clip`, optional `transcript`, optional 26 voice-profile columns (all or none), optional `pictures`: a
    picture or a folder of frames, relative to the table's folder. A row's empty transcript or pictures, or wholly
    empty voice profile, counts as missing.

    Raises:
        ManifestError: the file is no such table.
        UsageError: the bundle needs more than these inputs; `only` and `without` as in `Predictor.predict`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = _checked_columns(path, reader.fieldnames or [])
            seen: set[str] = set()
            for row in reader:
                clip = (row["clip"] or "").strip()
                if not clip or clip in seen:
                    problem = "clip occurs twice" if clip else "empty clip name"
                    yield Failure(clip, f"{path}:{reader.line_num}: {problem}")
                    continue
                seen.add(clip)
                try:
                    voice = _voice(row, columns, f"{path}:{reader.line_num}")
                    pictures = (row.get(PICTURES_COLUMN) or "").strip()
                    yield predictor.predict_inputs(
                        clip,
                        voice,
                        row.get(TRANSCRIPT_COLUMN),
                        path.parent / pictures if pictures else None,
                        only=only,
                        without=without,
                        explain=explain,
                    )
                except UsageError:
                    raise
                except ThinsliceError as error:
                    yield Failure(clip, str(error))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ManifestError(f"{path}: cannot be read as a UTF-8 CSV file ({reason})") from None


def _checked_columns(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the voice columns the table has: all 26 or none."""
    if "clip" not in names:
        raise ManifestError(
            f"{path}: no column 'clip'; the table needs clip and transcript, pictures or voice-profile columns"
        )
    present = [name for name in VOICE_PROFILE_COLUMNS if name in names]
    if present and len(present) < len(VOICE_PROFILE_COLUMNS):
        absent = [name for name in VOICE_PROFILE_COLUMNS if name not in names]
        raise ManifestError(f"{path}: voice profile lacks {len(absent)} columns: {', '.join(absent)}")
    if not present and TRANSCRIPT_COLUMN not in names and PICTURES_COLUMN not in names:
        raise ManifestError(f"{path}: no column 'transcript', no column 'pictures' and no voice-profile columns")
    return tuple(present)


def _voice(row: Mapping[str, str | None], columns: tuple[str, ...], where: str) -> np.ndarray | None:
    texts = [(row[name] or "").strip() for name in columns]
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
    return np.array(values)
