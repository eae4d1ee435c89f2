"""Taking out of a transcript what meeting tools and transcribers add to the words: speakers' names and times.

Names are followed by a colon ("Ann Lee: hello"), or by a time ("Ann Lee  0:03" on a line of its own). A name is up to
three capitalised words, or a role such as "Speaker 2"; without capitals only where every line begins with a label and
one recurs. Speech that happens to look like that is rare: of the 6,000 professional transcripts of First Impressions
one loses its first three words, a magazine's name.
"""

import re
from collections.abc import Sequence
from typing import Final

_ROLE = (
    r"(?:speaker|participant|person|interviewer|interviewee|moderator|narrator|presenter|host|guest|unknown|male|female)"
    r"(?:[ _-]?(?:\d{1,3}|[a-zA-Z]\b))?"
)
_WORD = r"[^\W\d_a-z][\w.'’-]{0,20}"
_PARTICLE = r"(?:van|von|der|den|de|del|da|dos|di|du|la|le|ten|zu|bin|al|el)"
_NAME = rf"{_WORD}(?: (?:{_PARTICLE} ){{0,2}}{_WORD}| \d{{1,2}}){{0,2}}(?: ?\([^()\n]{{1,30}}\))?"
_SPEAKER = rf"(?:(?i:{_ROLE})|{_NAME})"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?"
# Teams writes "0 minutes 3 seconds" for 0:03.
_TEAMS = r"(?:\d{1,2} hours? )?\d{1,3} minutes? \d{1,2} seconds?"
_SPAN = rf"[\[(<]?{_CLOCK}(?: ?(?:-->|-|–|to|,) ?{_CLOCK})?[\])>]?"
_TIME = rf"(?:(?:{_TEAMS})?{_SPAN}|{_TEAMS})"

_SPOKEN_FIRST = (
    "the a an my our your this that so look listen okay ok well now first second third fourth finally next last then "
    "note question answer yes no tip step rule remember today tomorrow yesterday and but because why how what when "
    "where who also plus number warning example problem solution result conclusion lesson fact truth point reason "
    "title chapter part one two three four five here there it i we you he she they"
)
_SPOKEN: Final = frozenset(_SPOKEN_FIRST.split())
"""Words that begin a sentence more often than a name."""

_MARKS = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")  # of writing direction; no width
_SPACES = re.compile(r"[ \t]{3,}")  # Long ones would take the patterns below minutes.
_BOLD = re.compile(r"(?m)^([ \t]*)(\*\*|__)([^*_\n]{1,60})\2")
_SIGNED = re.compile(r"(?mi)^[^\w\n]*transcribed by \S*(?:://|\.ai\b|\.com\b)[^\n]{0,80}$")
# YouTube writes the time once more in words: "0:03", then "3 seconds".
_IN_WORDS = r"(?:\d{1,2} (?:hours?|minutes?|seconds?)(?:, )?){1,3}"
_TIME_LINE = re.compile(rf"(?m)^[ \t]*{_TIME}[ \t]*$(?:\n[ \t]*{_IN_WORDS}[ \t]*$)?")
_HEADER_LINE = re.compile(rf"(?m)^[ \t]*(?P<name>{_SPEAKER}|{_WORD}, {_NAME}),?[ \t]+{_TIME}[ \t]*$")
_ROLE_LINE = re.compile(rf"(?m)^[ \t]*(?=.*\d)(?i:{_ROLE})[ \t]*$")
_NAME_ABOVE_TIME = re.compile(rf"(?m)^[ \t]*{_WORD} {_NAME}[ \t]*\n(?=[ \t]*{_TIME}[ \t]*$)")
_LINE_START = re.compile(
    rf"(?m)^[ \t]*(?:(?:>>+|[-–—])[ \t]*)?(?:{_TIME}[ \t]+(?:[-–—][ \t]*)?)?(?P<name>{_SPEAKER})"
    rf"(?:[ \t]+{_TIME})?[ \t]*:(?:[ \t]+|$)"
)
_ONLY_NAME = re.compile(rf"(?i:{_ROLE})|{_WORD} {_NAME}|{_WORD}, {_NAME}")
_MIDDLE = re.compile(
    rf"(?:(?<=[.?!…])|[\[(]{_CLOCK}[\])])[ \t]+(?P<name>{_SPEAKER})(?:[ \t]+{_TIME}[ \t]*:?|[ \t]*:)[ \t]+"
)
_FIRST_HEADER = re.compile(rf"\A\s*(?P<name>{_SPEAKER})[ \t]+(?:0?0:\d{{2}}|\d{{1,2}}:\d{{2}}:\d{{2}})[ \t]+")
_LEADING_TIME = re.compile(rf"(?m)^[ \t]*{_CLOCK}[ \t]+")
_LABEL = r"[^\W\d_][\w.'’-]{0,20}(?: [\w.'’-]{1,20}){0,2}"
_LABELLED = re.compile(rf"(?m)^[ \t]*(?:{_TIME}[ \t]+)?(?P<name>{_LABEL})[ \t]*:[ \t]+(?=\S)")
# Zoom's chat: "00:00:05 From Ann Lee to Everyone: hi" and "00:00:05", tab, "ann:", tab, "hi".
_CHAT = re.compile(rf"(?m)^[ \t]*{_CLOCK}(?:[ \t]+From [^:\n]{{1,80}}:(?:[ \t]*\n)?|\t[^:\t\n]{{1,60}}:\t)[ \t]*")
_GLUED_TIME = re.compile(rf"(?<![\d:.]){_CLOCK}(?=[^\W\d_])(?!(?:[ap]m|ish)\b)|(?<=[^\W\d_]){_CLOCK}(?![\d:])")
_SURE_TIME = re.compile(
    r"(?m)#\d{2}:\d{2}:\d{2}-\d#"  # f4
    r"|\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,3})?\b|^[ \t]*0?0:\d{2}(?:[.,]\d{1,3})?\b|\(\d{1,2}:\d{2}\)"
)
_DASH = re.compile(r"(?m)^[ \t]*(?:>>+|[-–—](?=\s|[A-Z]))[ \t]*")


def strip_labels(text: str) -> str:
    """Return a transcript without speakers' names, times and dashes before them; lines are kept, all ended by "\\n"."""
    text = _MARKS.sub("", "\n".join(text.splitlines())).replace("\u00a0", " ")
    text = _SPACES.sub(lambda match: "\t" if "\t" in match[0] else "  ", text)
    text = _CHAT.sub(" ", _SIGNED.sub(" ", _BOLD.sub(r"\1\3", text)))
    if len(_GLUED_TIME.findall(text)) > 1:
        text = _GLUED_TIME.sub(" ", text)
    if _is_dialogue(text):
        text = _LABELLED.sub(" ", text)
    text = _TIME_LINE.sub(" ", _NAME_ABOVE_TIME.sub("", text))
    text = _without_names(_HEADER_LINE, text)
    text = _ROLE_LINE.sub(" ", text)
    before = text
    text = _without_names(_FIRST_HEADER, _without_names(_LINE_START, text))
    if text != before:  # A dialogue: further speakers may follow on the same line.
        text = _without_names(_MIDDLE, text)
    if len(_LEADING_TIME.findall(text)) > 1:
        text = _LEADING_TIME.sub(" ", text)
    return _DASH.sub(" ", _SURE_TIME.sub(" ", text))


def strip_first_names(cues: Sequence[str]) -> list[str]:
    """Return cues without their first lines where all of these are names and more lines follow, as Teams wrote them."""
    parts = [cue.split("\n", 1) for cue in cues]
    named = all(len(part) == 2 and _ONLY_NAME.fullmatch(part[0]) and not _is_spoken(part[0]) for part in parts)
    return [part[1] for part in parts] if named and len(parts) > 1 else list(cues)


def _is_dialogue(text: str) -> bool:
    """Return whether each line begins with a label in any case, one of them twice, and none is an ordinary word."""
    labels = [match["name"].lower() for match in _LABELLED.finditer(text)]
    num_lines = sum(bool(line.strip()) for line in text.split("\n"))
    return len(set(labels)) < len(labels) == num_lines and not any(map(_is_spoken, labels))


def _without_names(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda match: match[0] if _is_spoken(match["name"]) else " ", text)


def _is_spoken(name: str) -> bool:
    return len(name) > 1 and name.split()[0].lower().rstrip(".,") in _SPOKEN  # "A:" and "I:" are speakers
