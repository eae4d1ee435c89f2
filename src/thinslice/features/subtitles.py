"""Timed words from SubRip (.srt) and WebVTT (.vtt) text, and from tables with one cue a line.

Why not a library: pysubs2 1.8.1 takes WebVTT's NOTE blocks and cue identifiers for speech, and webvtt-py 0.6.0
refuses SubRip without counters and keeps ``{\\an8}``; neither undoes rolling captions. Words that nobody said would
move the scores. The grammar is small: https://www.w3.org/TR/webvtt1/#syntax; SubRip has no specification, so
whatever stands between two timing lines is text. pysubs2 would read MicroDVD and MPL2, but not Whisper's tables; all
of them are a pattern and a unit here.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TIME = r"([-−]?)(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,:](\d{1,3}))?"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|<\d[\d:.,]{2,12}>|\{\\[^{}]{0,200}\}")
_SETTING = re.compile(r"[A-Za-z]\w*:\S+")
_ROWS = (
    # MicroDVD: frames; its first row may say how many a second
    (re.compile(r"\{(\d{1,9})\}\{(\d{0,9})\}(.*)"), 1 / 25),
    (re.compile(r"\[(\d{1,9})\]\[(\d{0,9})\](.*)"), 0.1),  # MPL2: tenths of a second
    (re.compile(r"(\d{1,9})\t(\d{1,9})\t(.*)"), 0.001),  # Whisper's TSV: milliseconds
    (re.compile(r"(\d{1,6}\.\d{1,9})\t(\d{1,6}\.\d{1,9})\t(.*)"), 1.0),  # Audacity's labels: seconds
)
"""Start, end and text of a cue in one line, and the unit of the times in seconds."""
_RATE = re.compile(r"\{[01]\}\{[01]\}(\d{2,3}(?:\.\d+)?)")
_CODES = re.compile(r"\{[A-Za-z]:[^{}]{0,40}\}|^/|(?<=\|)/")  # MicroDVD's, and MPL2's slash for italics
_ROLLING_GAP_S = 0.1
_ROLLING_WORDS = 3


@dataclass(frozen=True)
class Cue:
    """Words and when they are said.

    Attributes:
        start_s: seconds from the start of the media file; below 0 where a shift of all times went too far.
        end_s: seconds, not before `start_s`.
        text: one or more lines, without markup.
    """

    start_s: float
    end_s: float
    text: str


def is_timed(text: str) -> bool:
    """Return whether a text is WebVTT, has a SubRip timing line near its start, or is a table of cues."""
    head = text[:4096].lstrip()
    return (
        head.startswith("WEBVTT") or any(_TIMING.match(line) for line in head.splitlines()) or _table(text) is not None
    )


def parse_cues(text: str) -> list[Cue]:
    """Read SubRip, WebVTT, or a table of cues (MicroDVD, MPL2, Whisper's TSV, Audacity's labels).

    What belongs to no cue, and cues without words, are left out.
    Captions that roll (each cue repeats the line before it, as automatic ones do) are given once.

    Args:
        text: the file's content, any line ends.

    Returns:
        Cues in the order of the file, markup and character references resolved.
    """
    table = _table(text)
    if table is not None:
        return table
    lines = text.splitlines()
    timings = [index for index, line in enumerate(lines) if _TIMING.match(line)]
    is_webvtt = text.lstrip().startswith("WEBVTT")
    cues: list[Cue] = []
    before: tuple[float, Sequence[str]] = (0.0, ())
    for position, index in enumerate(timings):
        match = _TIMING.match(lines[index])
        assert match is not None
        start_s, end_s = _seconds(match.groups()[:5]), _seconds(match.groups()[5:])
        until = timings[position + 1] if position + 1 < len(timings) else len(lines)
        after = lines[index + 1 : until]
        payload = _webvtt_payload(after) if is_webvtt else _subrip_payload(after, is_last=until == len(lines))
        if not is_webvtt:  # Words may follow the times on their line, coordinates do not count.
            payload = [_SETTING.sub("", lines[index][match.end() :]), *payload]
        plain = [stripped for line in payload if (stripped := _plain(line))]
        fresh = _without_rolled(plain, before, start_s)
        before = (end_s, plain)
        if fresh:
            cues.append(Cue(start_s, max(start_s, end_s), "\n".join(fresh)))
    return cues


def cut_cues(cues: Iterable[Cue], start_s: float, end_s: float | None) -> str:
    """Return the words said in a window.

    A cue's words are taken to be spread evenly over it, so one that straddles an edge gives each side its share
    and windows that touch share out all words without repeating any. What is said before 0 counts as said at 0.

    Args:
        cues: timed words.
        start_s: start of the window, seconds from the file's start.
        end_s: end of the window, excluded; None for the file's end.
    """
    kept: list[str] = []
    for cue in cues:
        words = cue.text.split()
        step_s = (cue.end_s - cue.start_s) / max(len(words), 1)
        for index, word in enumerate(words):
            middle_s = max(cue.start_s + (index + 0.5) * step_s, 0.0)
            if middle_s >= start_s and (end_s is None or middle_s < end_s):
                kept.append(word)
    return " ".join(kept)


def _table(text: str) -> list[Cue] | None:
    """Return the cues of a text whose every line, but for a header, is one; None where it is no such text."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and lines[0].lower().split("\t") == ["start", "end", "text"]:
        del lines[0]
        if not lines:
            return []  # Whisper heard nothing.
    for pattern, unit_s in _ROWS:
        rows = []
        for line in lines:
            row = pattern.fullmatch(line)
            if row is None:
                break
            rows.append(row.groups())
        if not rows or len(rows) < len(lines):
            continue
        if rate := _RATE.fullmatch(lines[0]):
            unit_s, rows = 1 / max(float(rate[1]), 1.0), rows[1:]
        cues = []
        for start, end, said in rows:
            words = "\n".join(filter(None, map(_plain, _CODES.sub("", said).split("|"))))
            if words:
                cues.append(Cue(float(start) * unit_s, float(max(end or start, start, key=float)) * unit_s, words))
        return cues
    return None


def _seconds(groups: Sequence[str | None]) -> float:
    sign, hours, minutes, seconds, fraction = groups
    size_s = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")
    return -size_s if sign else size_s


def _webvtt_payload(block: Sequence[str]) -> Sequence[str]:
    """A blank line ends the cue; after it come identifiers, notes and styles, none of them spoken."""
    for index, line in enumerate(block):
        if not line.strip():
            return block[:index]
    return block


def _subrip_payload(block: Sequence[str], *, is_last: bool) -> Sequence[str]:
    """Everything up to the next cue's counter, blank lines included: hand-made files have them inside cues."""
    end = len(block)
    while end and not block[end - 1].strip():
        end -= 1
    is_counter = end > 0 and block[end - 1].strip().isdigit() and (end == 1 or not block[end - 2].strip())
    return block[: end - 1] if is_counter and not is_last else block[:end]


def _plain(line: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", line)).split())


def _without_rolled(plain: list[str], before: tuple[float, Sequence[str]], start_s: float) -> list[str]:
    """Drop leading lines that already ended the cue just before."""
    before_end_s, before_lines = before
    if start_s - before_end_s > _ROLLING_GAP_S:
        return plain
    for count in range(min(len(plain), len(before_lines)), 0, -1):
        repeated = plain[:count]
        if repeated == list(before_lines[-count:]) and len(" ".join(repeated).split()) >= _ROLLING_WORDS:
            return plain[count:]
    return plain
