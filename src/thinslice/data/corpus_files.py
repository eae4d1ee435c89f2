"""The files below a corpus's folder, in archives too, and which media are meant by a clip's name."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thinslice.data.archives import ArchiveMember, list_members, read_member
from thinslice.data.manifest import MEDIA_SUFFIXES
from thinslice.errors import ManifestError
from thinslice.media.pictures import PICTURE_SUFFIXES, RATE_FILE, TIMES_FILE

MAX_LABEL_BYTES: Final = 64 * 2**20
"""Largest label file read; the largest official one has 1.5 MB."""

_UNUSABLE_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|^\s|\s$")


@dataclass(frozen=True)
class CorpusFile:
    """A file of the corpus, on disk (`path`) or in an archive (`member`), or a folder of frames on disk.

    Attributes:
        where: its path below the folder with slashes, through the archives it lies in.
        path: the file or the folder of frames, None in an archive.
        member: the archive's member, None on disk.
        is_frames: whether it is a folder of frames.
    """

    where: str
    path: Path | None = None
    member: ArchiveMember | None = None
    is_frames: bool = False

    @property
    def name(self) -> str:
        """Name without folders."""
        return self.where.rpartition("/")[2]

    @property
    def is_media(self) -> bool:
        """Whether its name ends like that of a video or sound file, or it is a folder of frames."""
        return self.is_frames or self.name.lower().endswith(MEDIA_SUFFIXES)

    @property
    def is_picture(self) -> bool:
        """Whether its name ends like that of a picture."""
        return not self.is_frames and self.name.lower().endswith(PICTURE_SUFFIXES)

    def read(self, password: str | None) -> bytes:
        """Return the content of a label file; ManifestError if that cannot be read or is too large for one."""
        if self.member is not None:
            return read_member(self.member, password, MAX_LABEL_BYTES, self.where)
        assert self.path is not None
        try:
            with open(self.path, "rb") as file:
                data = file.read(MAX_LABEL_BYTES + 1)
        except OSError as error:
            raise ManifestError(f"{self.where}: cannot be read ({error.strerror})") from None
        if len(data) > MAX_LABEL_BYTES:
            raise ManifestError(f"{self.where}: more than {MAX_LABEL_BYTES:,} bytes; it cannot be a label file")
        return data


def checked_folder(folder: str | os.PathLike[str]) -> Path:
    """Return a folder's absolute path; ManifestError if it is none."""
    root = Path(folder).absolute()
    if not root.exists():
        raise ManifestError(f"{os.fspath(folder)}: no such folder")
    if not root.is_dir():
        raise ManifestError(f"{os.fspath(folder)}: is a file; give the folder that holds the download")
    return root


def scan_folder(root: Path, password: str | None, problems: list[str]) -> list[CorpusFile]:
    """List all files below a folder and in the ZIP archives there, sorted; links are followed, each folder once.

    Hidden files are left out. A folder of frames counts as one file: one that holds pictures and is named like a
    video, or whose files are all pictures named by numbers alone.

    Args:
        root: the folder.
        password: of archives within encrypted archives.
        problems: receives one line for each folder, archive or file that cannot be used.
    """
    files: list[CorpusFile] = []
    visited: set[str] = set()

    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be read ({error.strerror})")

    for parent, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        if parent != os.fspath(root) and not folders and _are_frames(os.path.basename(parent), names):
            files.append(CorpusFile(Path(parent).relative_to(root).as_posix(), path=Path(parent), is_frames=True))
            continue
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = Path(parent, name)
            where = path.relative_to(root).as_posix()
            if name.lower().endswith(".zip"):
                for member in list_members(path, password, problems, where):
                    inner = "/".join(part.replace("\\", "/") for part in member.chain)
                    files.append(CorpusFile(f"{where}/{inner}", member=member))
            else:
                files.append(CorpusFile(where, path=path))
    usable = []
    for file in files:
        if any(_UNUSABLE_NAME.search(part) for part in file.where.split("/")):
            problems.append(
                f"{file.where!a}: left out, its name has a control character or blanks at an end; rename it"
            )
        else:
            usable.append(file)
    return usable


def _are_frames(folder: str, names: Iterable[str]) -> bool:
    """Return whether files in a folder of that name are the frames of a clip."""
    shown = [Path(name) for name in names if not name.startswith(".") and name not in (TIMES_FILE, RATE_FILE)]
    pictures = [path for path in shown if path.suffix.lower() in PICTURE_SUFFIXES]
    if folder.lower().endswith(MEDIA_SUFFIXES):
        return bool(pictures)
    return bool(pictures) and len(pictures) == len(shown) and all(path.stem.isdecimal() for path in pictures)


def stem_of(name: str) -> str:
    """Return a name without the suffix of a media file or picture."""
    base, _, suffix = name.rpartition(".")
    return base if base and f".{suffix.lower()}" in (*MEDIA_SUFFIXES, *PICTURE_SUFFIXES) else name


class MediaIndex:
    """Media files, folders of frames and pictures by the names under which labels may speak of them.

    Attributes:
        used: media that a clip was found to mean.
        doubled: "the file used, not the other", for clips of which several files lie on disk.
        shared: "file: clip and clip", for files that two clips mean.
        alternates: after `unused`, files whose names differ from a used one in the suffix only.
    """

    def __init__(self, files: Iterable[CorpusFile]) -> None:
        # Unpacked files first: where a clip lies on disk and in an archive, the archive is not needed. Recordings
        # before pictures out of them.
        self._files = sorted(files, key=lambda file: (file.path is None, file.is_frames or file.is_picture, file.where))
        self._by_name: dict[str, list[CorpusFile]] = {}
        for file in self._files:
            for name in dict.fromkeys((file.where, file.name, stem_of(file.where), stem_of(file.name))):
                self._by_name.setdefault(name, []).append(file)
        self._user: dict[str, str] = {}
        self.used: set[str] = set()
        self.doubled: list[str] = []
        self.shared: list[str] = []
        self.alternates: list[str] = []

    def find(self, clip: str) -> CorpusFile | None:
        """Return the media of a clip, by its path, its name, then either without suffix; None if there is none."""
        base = clip.rpartition("/")[2]
        files = next(
            (self._by_name[name] for name in (clip, base, stem_of(clip), stem_of(base)) if name in self._by_name), []
        )
        if not files:
            return None
        self.used |= {file.where for file in files}
        on_disk = [file.where for file in files if file.path is not None]
        if len(on_disk) > 1:
            self.doubled.append(f"{on_disk[0]}, not {on_disk[1]}")
        other = self._user.setdefault(files[0].where, clip)
        if other != clip:
            self.shared.append(f"{files[0].where}: {other} and {clip}")
        return files[0]

    def unused(self) -> list[tuple[str, CorpusFile]]:
        """Return the media that no clip meant, each under its name, or under its path where others share the name.

        Files named as a used one except for the suffix, such as sound taken from a video, are `alternates` instead.
        """
        left: dict[str, list[CorpusFile]] = {}
        used: dict[str, set[str]] = {}
        for where in self.used:
            name = where.rpartition("/")[2]
            used.setdefault(stem_of(name), set()).add(name)
        for file in self._files:
            if file.where in self.used:
                continue
            if file.name not in used.get(stem_of(file.name), {file.name}):
                self.alternates.append(file.where)
            else:
                left.setdefault(stem_of(file.name), []).append(file)
        out = []
        for files in left.values():
            packed_again = files[0].path is not None and all(file.path is None for file in files[1:])
            if len(files) == 1 or packed_again:
                out.append((files[0].name, files[0]))
            else:
                out += [(file.where, file) for file in files]
        return sorted(out, key=lambda pair: pair[0])
