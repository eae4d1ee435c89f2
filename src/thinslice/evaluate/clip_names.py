"""Matching clips of two tables that spell their names differently: with or without ".mp4", with a folder or without."""

from collections.abc import Sequence
from typing import Final

MEDIA_SUFFIXES: Final = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".flv", ".wmv"),
    *(".wav", ".flac", ".mp3", ".m4a", ".ogg", ".aac"),
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"),
)
"""Endings that do not belong to a clip's name. Others do: ".003" tells clips of one First Impressions video apart."""


def clip_key(name: str) -> tuple[str, ...]:
    """Return a clip's name as folders and bare name: ``data\\a/x.003.MP4`` and ``data/a/x.003`` agree.

    Case counts (YouTube's names differ by it), except in the ending.
    """
    parts = [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    if parts:
        lowered = parts[-1].lower()
        for suffix in MEDIA_SUFFIXES:
            if lowered.endswith(suffix) and len(lowered) > len(suffix):
                parts[-1] = parts[-1][: -len(suffix)]
                break
    return tuple(parts)


def match_clips(wanted: Sequence[str], given: Sequence[str]) -> list[int | None]:
    """Return, for each given name, which wanted clip it is, or None.

    The longest common end of both paths decides: ``test/x.003.mp4`` is the wanted ``x.003``, and where the wanted are
    ``a/x`` and ``b/x``, ``data/a/x`` is the first and a bare ``x`` is neither. A wanted name must be unique by itself.

    Args:
        wanted: names of the labelled clips.
        given: names in a prediction file.
    """
    ends: dict[tuple[str, ...], int | None] = {}
    exact: dict[tuple[str, ...], int] = {}
    for number, name in enumerate(wanted):
        key = clip_key(name)
        exact.setdefault(key, number)
        for start in range(len(key)):
            end = key[start:]
            ends[end] = number if end not in ends else None  # None: several clips end so
    out: list[int | None] = []
    for name in given:
        key = clip_key(name)
        found = exact.get(key)
        for start in range(len(key)):
            if found is not None:
                break
            end = key[start:]
            if end in ends:
                found = ends[end]
                break  # a shorter end could only be more ambiguous
        out.append(found)
    return out
