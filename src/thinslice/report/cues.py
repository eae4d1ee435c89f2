"""Cues under words that a person uses: measures of the same thing together, with a glossary."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from thinslice.types import CueShare


class _Word(NamedTuple):
    """What a person calls a cue, what it means, and the measures it stands for; the first has its level."""

    name: str
    meaning: str
    measures: tuple[str, ...]


_WORDS = (
    _Word("loudness", "how loud the voice is recorded", ("loudness",)),
    _Word(
        "brightness",
        "how much of the sound is high: a bright voice is sharp, a dark one mellow",
        ("brightness", "spectral tilt"),
    ),
    _Word("breath and hiss", "breath, hiss and noise, as against a clear tone", ("noisiness", "tonality")),
    _Word(
        "colour of the voice",
        "what tells two voices of the same pitch and loudness apart",
        ("timbre", "fine timbre"),
    ),
    _Word("pace of speech", "how much is said in the time", ("amount and pace of speech",)),
)
_WORD_OF = {measure: word for word in _WORDS for measure in word.measures}


def plain_cues(cues: Sequence[CueShare]) -> list[CueShare]:
    """Return cues under a person's words; shares of measures of the same thing are added, and may cancel.

    Two measures of one thing often pull against each other in a model, which says nothing about the voice.
    """
    merged: dict[tuple[str, str], CueShare] = {}
    for cue in cues:
        word = _WORD_OF.get(cue.name)
        name = word.name if word else cue.name
        level = cue.level if word is None or word.measures[0] == cue.name else None
        old = merged.get((cue.source, name))
        if old is None:
            merged[cue.source, name] = CueShare(name, level, cue.shares, cue.source)
            continue
        targets = dict.fromkeys((*old.shares, *cue.shares))
        shares = {target: old.shares.get(target, 0.0) + cue.shares.get(target, 0.0) for target in targets}
        merged[cue.source, name] = CueShare(name, old.level if level is None else level, shares, cue.source)
    return list(merged.values())


def glossary(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the names among `names` that need a word of explanation, each with its meaning."""
    asked = set(names)
    return tuple((word.name, word.meaning) for word in _WORDS if word.name in asked)
