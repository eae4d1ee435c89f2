"""Emotion data sets as manifests: pictures, or short clips, with valence and arousal in [-1, 1].

A row is one picture or one video; `thinslice.features.face_picture` finds the face in it. Data sets that annotate the
frames of videos (Aff-Wild) become pictures first. None of these has the same person under one name everywhere, so that
what counts as a speaker is said with each importer.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.data.manifest import Manifest, speaker_of
from thinslice.data.table import read_table
from thinslice.errors import ManifestError, MediaError, MissingExtraError, counted
from thinslice.files import write_atomically
from thinslice.media.listing import VIDEO_SUFFIXES
from thinslice.media.pictures import PICTURE_SUFFIXES, opencv
from thinslice.media.source import Source

COLUMNS: Final = ("valence", "arousal")


AFEW_VA_SCALE: Final = (-10.0, 10.0)
"""Kossaifi et al. 2017: whole numbers from -10 to 10."""

_SPLIT_FOLDERS: Final = {
    "train": "train",
    "train_set": "train",
    "validation_set": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
    "test_set": "test",
}
_NAME_HEADERS: Final = ("path", "clip", "image", "picture", "file", "file_name", "filename", "subdirectory_filepath")
_JPEG_QUALITY: Final = 95


@dataclass(frozen=True)
class ImportedEmotion:
    """What an importer made.

    Attributes:
        manifest: one row per picture or clip, with columns valence and arousal.
        notes: what was converted or left out, one line each.
        problems: what could not be read; the rest is in the manifest all the same.
    """

    manifest: Manifest
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    clip: str
    path: Path
    split: str
    speaker: str
    emotion: tuple[float, float]


def import_aff_wild(
    folder: Path, frames_to: Path, every_s: float = 1.0, on_video: Callable[[int, int], None] = lambda done, total: None
) -> ImportedEmotion:
    """Make a manifest of Aff-Wild or Aff-Wild2: videos with one value per frame.

    Aff-Wild (Zafeiriou et al. 2017) has ``annotations/train/valence/NAME.txt`` and ``.../arousal/NAME.txt``, a number a
    line; Aff-Wild2 has ``Train_Set/NAME.txt`` with a header and "valence,arousal" a line, -5 where there is none.
    Videos are found by name anywhere below the folder. NAME_left and NAME_right, two people in one video, are left
    out: later on the largest face is taken, which is one of them at a time.

    Frames are written as JPEG files, `frames_to`/NAME/000123.jpg; those that are there are not written again. A video
    counts as one speaker: the data do not say who is in several.

    Args:
        folder: of the data set.
        frames_to: where the pictures go.
        every_s: time between two frames that are taken, seconds; 0 for all.
        on_video: called with (videos done, of how many).

    Raises:
        ManifestError: no annotation files, or a place that cannot be written.
        MissingExtraError: OpenCV is not installed.
    """
    if not every_s >= 0:
        raise ManifestError(f"a frame every {every_s:g} s: take 0 or more")
    annotations = _find_annotations(folder)
    if not annotations:
        raise ManifestError(
            f"{folder}: no annotations; expected .../valence/NAME.txt and .../arousal/NAME.txt, or Train_Set/NAME.txt"
        )
    videos = {p.stem: p for p in sorted(folder.rglob("*")) if p.suffix.lower() in VIDEO_SUFFIXES}
    rows: list[_Row] = []
    notes: list[str] = []
    problems: list[str] = []
    for done, (name, (split, files)) in enumerate(sorted(annotations.items()), 1):
        try:
            emotions = _read_annotation(files)
            video = videos.get(name)
            if video is None and name.removesuffix("_left").removesuffix("_right") in videos:
                notes.append(f"{files[0].name}: one of two people in a video, left out")
                continue
            if video is None:
                raise MediaError(f"{files[0]}: there is no video {name} below {folder}; leave the annotation out")
            frames, note = _write_frames(video, emotions, frames_to / name, every_s)
            notes += [note] if note else []
            for index, path in frames.items():
                value = (float(emotions[index, 0]), float(emotions[index, 1]))
                rows.append(_Row(f"{name}.{index:06d}", path, split, video.stem, value))
        except (ManifestError, MediaError) as error:
            problems.append(str(error))
        on_video(done, len(annotations))
    return _finish(rows, folder, notes, problems)


def import_afew_va(folder: Path) -> ImportedEmotion:
    """Make a manifest of AFEW-VA (Kossaifi et al. 2017): folders NNN with NNN.json and the frames as PNG files.

    The JSON files have frames -> name -> valence and arousal from -10 to 10, which become [-1, 1]. The speaker is the
    actor, where the file names one. Where several people are in a frame, the largest face is taken later on, which
    need not be the annotated one. The data have no splits: all is train until `thinslice data resplit`.

    Raises:
        ManifestError: no such JSON file.
    """
    files = [p for p in sorted(folder.rglob("*.json")) if p.stem == p.parent.name]
    if not files:
        raise ManifestError(f"{folder}: no AFEW-VA clip; expected folders such as 001 with 001.json and pictures")
    rows: list[_Row] = []
    problems: list[str] = []
    num_absent = 0
    for file in files:
        try:
            document = _read_json(file)
            speaker = " ".join(str(document.get("actor") or file.stem).split())
            pictures = {p.stem: p for p in file.parent.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES}
            for frame, entry in sorted(document["frames"].items()):
                emotion = tuple(_scaled(entry[name], AFEW_VA_SCALE, f"{file}, frame {frame}") for name in COLUMNS)
                if frame not in pictures:
                    num_absent += 1
                    continue
                rows.append(_Row(f"{file.stem}.{frame}", pictures[frame], "train", speaker, (emotion[0], emotion[1])))
        except (KeyError, TypeError, AttributeError):
            problems.append(f"{file}: is not as AFEW-VA's files are; expected frames with valence and arousal")
        except ManifestError as error:
            problems.append(str(error))
    notes = [f"valence and arousal, {AFEW_VA_SCALE[0]:g} to {AFEW_VA_SCALE[1]:g}, became -1 to 1"]
    notes += [f"left out, without a picture: {counted(num_absent, 'annotated frame')}"] if num_absent else []
    return _finish(rows, folder, notes, problems)


def import_emotion_csv(
    table: Path, media: Path | None = None, scale: tuple[float, float] = (-1.0, 1.0)
) -> ImportedEmotion:
    """Make a manifest of a table: a column that names pictures or clips, and columns valence and arousal.

    Its column is one of path, clip, image, picture, file, file_name, filename; columns split and speaker are taken
    where they are there. Without speakers, clips named as in First Impressions count by their video, others each for
    itself.
    First Impressions' clip-level ratings ``mood_train.csv`` (1 to 3) are such a table, with `scale` (1, 3).

    Args:
        table: the CSV file.
        media: folder to which names refer; by default the table's. Files are also found below it by name.
        scale: what the table's lowest and highest possible value are; they become -1 and 1, in a straight line.

    Raises:
        ManifestError: the table cannot be read, lacks a column, or holds what is not a number or outside the scale.
    """
    if not (math.isfinite(scale[0]) and math.isfinite(scale[1]) and scale[0] < scale[1]):
        raise ManifestError(
            f"a scale from {scale[0]:g} to {scale[1]:g}; give the lowest possible value, then the highest"
        )
    read = read_table(table, COLUMNS)
    header = next((name for name in _NAME_HEADERS if name in read.header), None)
    if header is None:
        raise ManifestError(f"{table}: no column names the pictures; name one of its columns path or clip")
    root = media or table.parent
    found: dict[str, Path] | None = None
    rows: list[_Row] = []
    num_absent = 0
    splits = read.column("split") if "split" in read.header else ("train",) * len(read.rows)
    speakers = read.column("speaker") if "speaker" in read.header else ("",) * len(read.rows)
    labels = zip(*(read.column(column) for column in COLUMNS), strict=True)
    for index, (name, split, speaker, cells) in enumerate(
        zip(read.column(header), splits, speakers, labels, strict=True)
    ):
        valence, arousal = (_scaled(cell, scale, read.where(index)) for cell in cells)
        path = root / name
        if not path.is_file():
            if found is None:
                found = {p.name: p for p in sorted(root.rglob("*")) if _is_media(p)}
            if Path(name).name not in found:
                num_absent += 1
                continue
            path = found[Path(name).name]
        clip = name.replace("\\", "/")
        rows.append(_Row(clip, path, split or "train", speaker or _speaker(clip), (valence, arousal)))
    notes = [] if scale == (-1.0, 1.0) else [f"valence and arousal, {scale[0]:g} to {scale[1]:g}, became -1 to 1"]
    notes += [f"left out, no such file below {root}: {counted(num_absent, 'row')}"] if num_absent else []
    return _finish(rows, table, notes, [])


def _speaker(clip: str) -> str:
    return speaker_of(Path(clip).name) if clip.lower().endswith(VIDEO_SUFFIXES) else clip


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)


def _finish(rows: Sequence[_Row], source: Path, notes: Iterable[str], problems: Sequence[str]) -> ImportedEmotion:
    if not rows:
        why = f": {problems[0]}" if problems else ""
        raise ManifestError(f"{source}: no annotated picture or clip could be had{why}")
    columns = {name: tuple(f"{row.emotion[k]:.4f}" for row in rows) for k, name in enumerate(COLUMNS)}
    manifest = Manifest(
        clips=tuple(row.clip for row in rows),
        paths=tuple(str(row.path.absolute()) for row in rows),
        splits=tuple(row.split for row in rows),
        speakers=tuple(row.speaker for row in rows),
        columns=columns,
        source=str(source),
    )
    return ImportedEmotion(manifest, tuple(notes), tuple(problems))


def _scaled(value: Any, scale: tuple[float, float], where: str) -> float:
    """Return a value on [-1, 1]; ManifestError where it is not a number of the scale."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ManifestError(f"{where}: {value!r} is not a number; valence and arousal are") from None
    low, high = scale
    if not low <= number <= high:
        raise ManifestError(f"{where}: {number:g} lies outside [{low:g}, {high:g}]; give the right scale")
    return 2 * (number - low) / (high - low) - 1


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(f"{file}: is not a JSON file that can be read ({error})") from None
    if not isinstance(document, Mapping):
        raise ManifestError(f"{file}: is not as AFEW-VA's files are; expected a table of frames")
    return document


def _find_annotations(folder: Path) -> dict[str, tuple[str, tuple[Path, ...]]]:
    """Return video -> (split, its file of both values, or its two files)."""
    out: dict[str, tuple[str, tuple[Path, ...]]] = {}
    for file in sorted(folder.rglob("*.txt")):
        parent = file.parent
        if parent.name.lower() == "valence":
            arousal = parent.parent / "arousal" / file.name
            split = _SPLIT_FOLDERS.get(parent.parent.name.lower(), "train")
            out[file.stem] = (split, (file, arousal))
        elif parent.name.lower() in ("train_set", "validation_set"):
            out[file.stem] = (_SPLIT_FOLDERS[parent.name.lower()], (file,))
    return out


def _read_annotation(files: tuple[Path, ...]) -> np.ndarray:
    """Return valence and arousal (frames, 2), NaN where they are not annotated."""
    columns: list[list[float]] = []
    for file in files:
        try:
            lines = file.read_text("utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise ManifestError(f"{file}: cannot be read ({error}); both valence and arousal are needed") from None
        rows = [line.replace(",", " ").split() for line in lines if line.strip()]
        if rows and rows[0][0].lower().lstrip("\ufeff") == "valence":
            rows = rows[1:]
        for number, row in enumerate(rows, 1):
            if len(row) != 3 - len(files):
                raise ManifestError(
                    f"{file}, line {number}: {counted(len(row), 'value')} where {3 - len(files)} were expected"
                )
        columns += [[_annotated(row[k], file) for row in rows] for k in range(3 - len(files))]
    count = min(map(len, columns))
    return np.array([column[:count] for column in columns], dtype=np.float64).reshape(2, -1).T


def _annotated(cell: str, file: Path) -> float:
    """Return a frame's value; NaN for Aff-Wild2's -5, which means none."""
    try:
        value = float(cell)
    except ValueError:
        raise ManifestError(f"{file}: {cell[:40]!r} is not a number") from None
    if value == -5:
        return math.nan
    if not -1 <= value <= 1:
        raise ManifestError(f"{file}: {value:g} lies outside [-1, 1]")
    return value


def _write_frames(video: Path, emotions: np.ndarray, folder: Path, every_s: float) -> tuple[dict[int, Path], str]:
    """Write a video's annotated frames; return frame number -> picture, and a note on what is odd."""
    source = Source(video)
    rate_hz = source.info.frame_rate_hz
    if not source.info.has_video or rate_hz <= 0:
        raise MediaError(f"{video}: has no pictures, or no frame rate; convert it to mp4")
    count = min(len(emotions), max(round(source.info.duration_s * rate_hz), 1))
    step = max(round(every_s * rate_hz), 1)
    wanted = [i for i in range(0, count, step) if not np.isnan(emotions[i]).any()]
    paths = {i: folder / f"{i:06d}.jpg" for i in wanted}
    todo = [i for i in wanted if not paths[i].is_file()]
    cv2 = opencv()
    # Half a frame later than a frame begins: rounding never shows the one before.
    for i, frame in zip(todo, source.frames([(i + 0.5) / rate_hz for i in todo]), strict=True):
        done, data = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not done:
            raise MissingExtraError("writing JPEG files", "video")
        write_atomically(paths[i], data.tobytes())
    difference = abs(len(emotions) - source.info.duration_s * rate_hz)
    odd = difference > 0.02 * len(emotions) + 2
    return paths, f"{video.name}: {len(emotions):,} annotated frames, but {source.info.duration_s:.1f} s" if odd else ""
