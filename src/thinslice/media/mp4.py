"""What an MP4 or MOV file says of its tracks where FFmpeg keeps it to itself: encryption, and rotation."""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from thinslice.errors import MediaError
from thinslice.media.limits import MAX_BOX_DEPTH, MAX_BOXES

# Sample entries of protected streams: ISO/IEC 14496-12 section 8.12 (encv, enca, encs, enct) and Apple's.
_COMMON = {b"encv", b"enca", b"encs", b"enct"}
_APPLE = {b"drms", b"drmi", b"drmt", b"p608"}
_INNER = {b"mdia", b"minf", b"stbl"}


@dataclass(frozen=True)
class Track:
    """One track of an MP4 or MOV file.

    Attributes:
        track_id: its number in the file, which is also FFmpeg's stream id.
        matrix: the nine 32-bit numbers of its display matrix (ISO/IEC 14496-12 section 8.3.2).
        entries: four-character codes of its sample descriptions.
    """

    track_id: int
    matrix: tuple[int, ...]
    entries: frozenset[bytes]


def read_tracks(path: Path) -> tuple[Track, ...]:
    """Read the tracks of an MP4 or MOV file from its boxes; what is damaged, or lies too deep, is left out.

    A file that is opened several times is read once.

    Raises:
        MediaError: more boxes than any recording has.
    """
    state = os.stat(path)
    return _read_tracks(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=8)
def _read_tracks(path: Path, state: tuple[int, ...]) -> tuple[Track, ...]:
    tracks = []
    with open(path, "rb") as file:
        boxes = _Boxes(file)
        try:
            for kind, start, end in boxes.within(0, file.seek(0, 2)):
                if kind != b"moov":
                    continue
                for inner, track_start, track_end in boxes.within(start, end):
                    if inner == b"trak":
                        tracks.append(_read_track(boxes, track_start, track_end))
        except _TooManyBoxesError:
            why = f"over {MAX_BOXES:,} parts (boxes) in it, which no recording needs; convert it to mp4"
            raise MediaError(f"{path}: {why}") from None
    return tuple(tracks)


def find_protection(tracks: Sequence[Track]) -> str | None:
    """Return why the tracks cannot be decoded without a key, or None. FFmpeg would decode noise or nothing."""
    entries = frozenset().union(*(track.entries for track in tracks))
    if entries & _APPLE:
        return "is protected by Apple's FairPlay (DRM) and cannot be decoded; give an unprotected copy"
    if entries & _COMMON:
        return "is encrypted (DRM) and cannot be decoded; give an unprotected copy"
    return None


class _TooManyBoxesError(Exception):
    """A file made to keep its reader busy."""


class _Boxes:
    """Reads boxes of one file, a bounded number of them."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._left = MAX_BOXES

    def within(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield (kind, start, end) of the content of every box between two file positions."""
        position = start
        while position + 8 <= end:
            self._left -= 1
            if self._left < 0:
                raise _TooManyBoxesError
            self.file.seek(position)
            header = self.file.read(16)
            if len(header) < 8:
                return
            length, kind = struct.unpack_from(">I4s", header)
            head = 8
            if length == 1 and len(header) == 16:
                length, head = struct.unpack_from(">Q", header, 8)[0], 16
            elif length == 0:
                length = end - position
            if length < head:
                return
            yield kind, position + head, min(position + length, end)
            position += length


def _read_track(boxes: _Boxes, start: int, end: int) -> Track:
    track_id, matrix, entries = 0, (), set()
    for kind, low, high in boxes.within(start, end):
        if kind == b"tkhd":
            boxes.file.seek(low)
            head = boxes.file.read(min(high - low, 96))
            wide = 12 if head[:1] == b"\x01" else 0  # Version 1 has 64-bit times and duration.
            if len(head) >= 76 + wide:
                track_id = struct.unpack_from(">I", head, 12 + (8 if wide else 0))[0]
                matrix = struct.unpack_from(">9i", head, 40 + wide)
        elif kind in _INNER:
            entries |= _sample_entries(boxes, low, high, MAX_BOX_DEPTH)
    return Track(track_id, matrix, frozenset(entries))


def _sample_entries(boxes: _Boxes, start: int, end: int, depth: int) -> set[bytes]:
    found: set[bytes] = set()
    if not depth:
        return found
    for kind, low, high in boxes.within(start, end):
        if kind in _INNER:
            found |= _sample_entries(boxes, low, high, depth - 1)
        elif kind == b"stsd":
            # Version, flags and the number of entries come before the entries, which are boxes.
            found |= {entry for entry, _, _ in boxes.within(low + 8, high)}
    return found
