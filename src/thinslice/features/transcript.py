"""The words of a clip as somebody wrote them down: given by the user, or in a file beside the clip."""

import codecs
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from thinslice.errors import MediaError, UsageError
from thinslice.features.speaker_labels import strip_first_names, strip_labels
from thinslice.features.subtitles import cut_cues, is_timed, parse_cues
from thinslice.files import check_ordinary
from thinslice.media.source import Source

SUFFIXES = (".txt", ".srt", ".vtt")
MAX_BYTES = 2 << 20
"""Longest subtitle file that is read; two hours take about 0.3 MB."""

MAX_CHARS = 200_000
"""Longest text that is scored: a chapter of a book, two hundred times the words of a training clip."""

_LANGUAGES = ("", ".en", ".en-US", ".en-GB", ".en-orig")
"""What players and downloaders put before the suffix of English subtitles."""

_TIMED = (".srt", ".vtt", ".tsv", ".sub")
_ALSO_GIVEN = (".text", "", ".tsv", ".sub")
_BRACKETED = re.compile(r"\[[^\[\]]{0,120}\]|♪[^♪]*♪|[♪♫]")
_PARENTHESES = re.compile(r"\(([^()]{0,60})\)")
_SOUND = re.compile(
    r"\b(laugh|chuckl|giggl|applau|clap|cheer|music|sing|hum|sigh|cough|gasp|groan|cry|cries|sob|sniff|snor|sneez"
    r"|yawn|breath|inhal|exhal|whisper|shout|scream|yell|mumbl|inaudibl|unintelligibl|indistinct|crosstalk|noise"
    r"|sound|beep|silence|pause|background|foreign|speaking|affirmative|negative|gestur|points|smack|click)",
    re.IGNORECASE,
)

_TEXT_SUFFIXES = re.compile(
    r"\.(txt|text|srt|vtt|sbv|sub|ass|ssa|ttml|dfxp|json|csv|tsv|md|docx?|odt|rtf|pdf|xml|html?)", re.IGNORECASE
)
_NOT_WORDS = re.compile(r'\s*(?:(?P<SubStation>\[Script Info\])|(?P<XML><(?:\?xml|tt)\b)|(?P<JSON>[\[{]+\s*"\w+"\s*:))')
_LONGEST_NAME = 5  # A file's name of more words is rarer than speech that mentions a file.
_ROOTED = re.compile(r"(?:~|\.{1,2})?[/\\]\S|[A-Za-z]:[/\\]")


@dataclass(frozen=True)
class Transcript:
    """What is said in a window of a clip.

    Attributes:
        text: one line; empty where whoever wrote it down says that nothing is said.
        source: "given" by the caller, or in a "file" beside the clip.
        path: the file it was read from, None where the words themselves were given.
        notes: one line each of what was done to it that the user should know.
    """

    text: str
    source: Literal["given", "file"]
    path: Path | None = None
    notes: tuple[str, ...] = ()


def find_transcript(
    media_path: str | os.PathLike[str],
    given: str | os.PathLike[str] | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> Transcript | None:
    """Return the words of a window of a clip, if anybody wrote them down.

    Without `given`, the first of these beside ``clip.mp4`` is read: clip.txt, clip.srt, clip.vtt, then the same
    with .en, .en-US, .en-GB or .en-orig before the suffix, and clip.mp4.txt (.srt, .vtt). Subtitles are cut to the
    window. A plain text has no times to cut it by: beside the clip it counts only for the whole clip; a given one
    is taken to be the window's.

    Args:
        media_path: the clip.
        given: the words themselves, or a .txt, .srt or .vtt file of them.
        start_s: start of the window, seconds.
        end_s: end of the window; None for the clip's end.

    Returns:
        The words, without markup, speaker labels and annotations such as [Music]; None if there are none to be
        found.

    Raises:
        MediaError: the file is not text, too long, or without cues.
        UsageError: `given` names a file that does not exist or is of another kind.
    """
    if given is not None:
        path = _as_file(given)
        text = str(given) if path is None else _read_text(path)
        return _transcript(text, "given", path, start_s, end_s)
    is_window = start_s > 0 or end_s is not None
    for path in _beside(Path(media_path)):
        text = _read_text(path)
        if not is_window or is_timed(text):
            return _transcript(text, "file", path, start_s, end_s)
    return None


def transcript_of(source: Source) -> Transcript | None:
    """Return the words of a source: those it was made with, else those in a file beside it, as `find_transcript`."""
    if source.transcript is not None:
        return Transcript(clean_words(check_length(source.transcript, source.path)), "given")
    return find_transcript(source.path, None, source.start_s, source.end_s)


def check_length(text: str, where: object) -> str:
    """Return a transcript; MediaError, naming where it is from, if it is longer than `MAX_CHARS`."""
    if len(text) > MAX_CHARS:
        raise MediaError(
            f"{where}: {len(text):,} characters, over {MAX_CHARS:,}, are too long; give the words of this clip only"
        )
    return text


def clean_words(text: str) -> str:
    """Return a transcript's spoken words on one line.

    Taken out: [anything in brackets], sounds in parentheses such as (laughs), songs between notes (♪), and what
    `thinslice.features.speaker_labels` finds: speakers' names and times.
    """
    text = strip_labels(text)
    text = _BRACKETED.sub(" ", text)
    text = _PARENTHESES.sub(lambda match: " " if _SOUND.search(match[1]) else match[0], text)
    return " ".join(text.split())


def _transcript(
    text: str, source: Literal["given", "file"], path: Path | None, start_s: float, end_s: float | None
) -> Transcript:
    if data := _NOT_WORDS.match(text):
        kind = next(name for name, found in data.groupdict().items() if found)
        raise MediaError(f"{path or 'the transcript given'}: is {kind}, not words; convert it to .srt or .txt")
    if is_timed(text):
        cues = parse_cues(text)
        said_of = strip_first_names([cue.text for cue in cues])
        cues = [replace(cue, text=clean_words(words)) for cue, words in zip(cues, said_of, strict=True)]
        early = sum(cue.start_s < 0 for cue in cues)
        notes = (f"cues that start before 0 s are taken to start at 0: {early} of the transcript's {len(cues)}",)
        said = check_length(cut_cues(cues, start_s, end_s), path or "the transcript given")
        return Transcript(said, source, path, notes if early else ())
    if path is not None and path.suffix.lower() in _TIMED and text.strip():
        raise MediaError(f"{path}: no subtitles in it (no line '00:00:01,000 --> 00:00:02,000'); call plain text .txt")
    return Transcript(clean_words(check_length(text, path or "the transcript given")), source, path)


def _as_file(given: str | os.PathLike[str]) -> Path | None:
    """Return the file that is meant, None where it is the words themselves."""
    path = Path(given)
    try:
        exists = (path.exists() and not path.is_dir()) or path.is_symlink()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        exists = False
    suffix = path.suffix.lower()
    if exists and suffix in (*SUFFIXES, *_ALSO_GIVEN):
        return path
    if exists:
        raise UsageError(f"{given}: a transcript is a .txt, .srt or .vtt file, or the words themselves")
    if not isinstance(given, str) or _looks_like_a_file(given, suffix):
        raise UsageError(f"{given}: no such transcript file; give a .txt, .srt or .vtt file, or the words themselves")
    return None


def _looks_like_a_file(given: str, suffix: str) -> bool:
    """Return whether a text is rather a mistyped path than spoken words."""
    words = given.split()
    if len(given.strip().splitlines()) != 1:
        return False
    if _TEXT_SUFFIXES.fullmatch(suffix):
        return len(words) <= _LONGEST_NAME or re.search(r"[^\s/\\][/\\][^\s/\\]", given) is not None
    return _ROOTED.match(given) is not None and len(words) <= _LONGEST_NAME


def _beside(media_path: Path) -> list[Path]:
    """Return the files that would be the clip's transcript, best first."""
    suffixes = [form for suffix in SUFFIXES for form in (suffix, suffix.upper())]
    names = [f"{media_path.stem}{language}{suffix}" for language in _LANGUAGES for suffix in suffixes]
    names += [f"{media_path.name}{suffix}" for suffix in suffixes]
    paths = [media_path.with_name(name) for name in names if name != media_path.name]
    return [path for path in paths if path.is_file()]


def _read_text(path: Path) -> str:
    """Read a text file: UTF-8, UTF-16 with its mark, else Windows-1252."""
    try:
        check_ordinary(path)
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise MediaError(f"{path}: over {MAX_BYTES >> 20} MB, too long for a transcript")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", errors="replace")
    num_control = sum(text.count(chr(code)) for code in range(32) if chr(code) not in "\t\n\v\f\r\x1a")
    if num_control > len(text) / 200:
        raise MediaError(f"{path}: not a text file; a transcript is UTF-8 text, SubRip or WebVTT")
    return text.replace("\0", " ")
