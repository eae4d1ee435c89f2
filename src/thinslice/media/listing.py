"""Which clips folders and patterns stand for.

A folder stands for the recordings in it and in its subfolders. A folder that holds no recording anywhere but pictures
is itself a clip, of frames. A pattern (``*``, ``?``, ``[...]``, and ``**`` for any number of folders) stands for what
it matches, unless a file has just that name. The order is that of the names as given; within a folder or pattern, of
the paths, by their characters' codes.
"""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thinslice.errors import MediaError, printable
from thinslice.media.pictures import PICTURE_SUFFIXES, picture_files
from thinslice.types import Failure

VIDEO_SUFFIXES: Final = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm"),
    *(".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".mts"),
)
SOUND_SUFFIXES: Final = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".wma")
RECORDING_SUFFIXES: Final = (*VIDEO_SUFFIXES, *SOUND_SUFFIXES)
"""Lower-case endings of the files of a folder that are taken for recordings; a file named itself may have any."""

_BESIDE: Final = (".txt", ".srt", ".vtt")
"""Endings of transcripts: beside a recording of the same name they are used, not left out."""


@dataclass(frozen=True)
class FoundMedia:
    """What was found under the names given.

    Attributes:
        clips: paths, in order; a failure in the place of a name under which nothing was found.
        left_out: files of folders and patterns that are no clips.
    """

    clips: tuple[str | Failure, ...]
    left_out: tuple[str, ...] = ()


def find_clips(names: Iterable[str]) -> FoundMedia:
    """Return the clips that files, folders and patterns stand for; a file is taken as it is named, whatever it is."""
    clips: list[str | Failure] = []
    left_out: list[str] = []
    for name in names:
        path = Path(name)
        try:
            if path.is_dir():
                inside, others = _in_folder(name)
            elif glob.has_magic(name) and not os.path.lexists(name) and "://" not in name:
                inside, others = _matching(name)
            else:
                inside, others = [name], []
        except MediaError as error:
            clips.append(Failure(printable(name), str(error)))
            continue
        clips += inside
        left_out += others
    return FoundMedia(tuple(clips), tuple(left_out))


def _in_folder(folder: str) -> tuple[list[str], list[str]]:
    """Return a folder's clips and its other files; MediaError where it has no clip."""
    files = sorted(_walk(folder))
    clips = [file for file in files if _is_recording(file)]
    if not clips:
        if picture_files(Path(folder)):
            return [folder], []
        what = f"only others, such as {files[0]}" if files else "it is empty"
        raise MediaError(f"{folder}: no recording and no picture in this folder ({what}); name the folder of the clips")
    return clips, _others(files, clips)


def _matching(pattern: str) -> tuple[list[str], list[str]]:
    """Return the clips that a pattern matches and the other files; MediaError where it matches no clip."""
    matches = sorted(glob.glob(pattern, recursive=True))
    suffix = Path(pattern).suffix
    wants_all = suffix != "" and not glob.has_magic(suffix)  # such as *.dat
    clips: list[str] = []
    others: list[str] = []
    for match in matches:
        if os.path.isdir(match):
            if "**" in pattern:
                continue  # what is in it matches by itself
            try:
                inside, beside = _in_folder(match)
            except MediaError:
                inside, beside = [], [match]
            clips += inside
            others += beside
        elif wants_all or match.lower().endswith((*RECORDING_SUFFIXES, *PICTURE_SUFFIXES)):
            clips.append(match)
        else:
            others.append(match)
    if not clips:
        why = "only files that are no recordings" if matches else "no file has such a name"
        raise MediaError(f"{pattern}: nothing to score ({why}); check the pattern and the folder")
    return clips, _others([*others, *clips], clips)


def _walk(folder: str) -> Iterable[str]:
    """Yield the files of a folder and its subfolders, hidden ones left out, each folder once though links lead back."""
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(parent, name) for name in files if not name.startswith("."))


def _is_recording(file: str) -> bool:
    return file.lower().endswith(RECORDING_SUFFIXES)


def _others(files: Sequence[str], clips: Sequence[str]) -> list[str]:
    """Return the files that are neither clips nor transcripts beside one."""
    stems = {os.path.splitext(clip)[0] for clip in clips}
    rest = sorted(set(files) - set(clips))
    return [file for file in rest if not (file.lower().endswith(_BESIDE) and os.path.splitext(file)[0] in stems)]
