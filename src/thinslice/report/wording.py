"""The sentences that the page and the terminal share, so that both say the same thing."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from thinslice.bundle import Card
from thinslice.traits import INTERVIEW
from thinslice.types import Prediction

MAX_LINES = 20

MAX_TEXT = 4000

SMALLEST_SHARE = 0.0005

INPUTS = ("voice", "words", "face", "scene", "sound")
"""What a person calls the inputs a model may have."""

_DEEDS = {
    "voice": "listened to the voice",
    "words": "read the words",
    "face": "looked at the face",
    "scene": "looked at the scene",
    "sound": "listened to the sound",
}

REVERSED = {"neuroticism": "reversed: 1 is comfortable"}
"""What a reader must know of a column whose name points away from its 1."""

_OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Controls of the text's direction that act on what follows."""

NOT_FOR = (
    "Not for hiring, credit, insurance, schooling, policing, or any other decision about a person. "
    "It predicts an impression, not a personality."
)
INTERVIEW_CAUTION = (
    "Not for hiring. It predicts how strangers voted on a few seconds of video, not how anyone would work."
)


def cards_of(prediction: Prediction, cards: Mapping[str, Card]) -> dict[str, Card]:
    """Return the cards of the bundles that made a prediction, by bundle name; empty if none is known."""
    name = prediction.bundle.get("name", "")
    names = [name] if name in cards else name.split("+")
    return {part: cards[part] for part in names if part in cards}


def num_training_clips(prediction: Prediction, cards: Mapping[str, Card]) -> int | None:
    """Return over how many clips the percentiles were taken: `num_training_clips` of the first card."""
    for card in cards_of(prediction, cards).values():
        if card.num_training_clips:
            return card.num_training_clips
    return None


def r2_of(prediction: Prediction, cards: Mapping[str, Card]) -> float | None:
    """Return the R² that the card gives for the inputs that were used; None of several bundles together."""
    found = cards_of(prediction, cards)
    if len(found) != 1 or prediction.bundle["name"] not in found:
        return None
    return next(iter(found.values())).r2_for(prediction.used)


def honest_line_of(prediction: Prediction, cards: Mapping[str, Card]) -> str:
    """Return how little of an impression a prediction's scores hold."""
    r2 = r2_of(prediction, cards)
    if r2 is None:
        return honest_line(None)
    (card,) = cards_of(prediction, cards).values()
    if not card.paper:
        return honest_line(r2)
    # A paper's network may have the paper's figure, or, where it was trained here, that of its own clips.
    close = [score.clips for score in card.scores if abs(score.r2.get("average", math.inf) - r2) < 1e-3]
    return honest_line(r2, f"({shown(close[0])})" if close else "as its card says")


def honest_line(r2: float | None, where: str = "for unseen speakers, with these inputs") -> str:
    """Return how little of an impression the scores hold, with the model's R² where it is known.

    Args:
        r2: for the inputs that were used.
        where: on which clips it was measured.
    """
    if r2 is None:
        return "Most of what strangers think of a person is not in these scores."
    share = "most" if r2 < 0.5 else "much"
    return f"R² about {r2:.2f} {where}: {share} of what strangers think of a person is not in here."


def percentile_words(percentile: float, num_clips: int | None) -> str:
    """Return the place of a score among the training clips' labels, in words; empty if it is not known."""
    if not math.isfinite(percentile):
        return ""
    whose = f"the {num_clips:,} training clips" if num_clips else "the training clips"
    if percentile < 0.5:
        return f"lower than almost all of {whose}"
    if percentile >= 99.5:
        return f"higher than almost all of {whose}"
    return f"higher than {percentile:.0f}% of {whose}"


def side_words(percentile: float, num_clips: int | None) -> str:
    """Return the place of a score counted from its nearer end: "lower than 70% of" rather than "higher than 30%"."""
    if percentile >= 50.0 or not math.isfinite(percentile):
        return percentile_words(percentile, num_clips)
    turned = percentile_words(100.0 - percentile, num_clips)
    return turned.replace("higher", "lower", 1)


def inputs_words(used: Sequence[str], missing: Sequence[str]) -> str:
    """Return what the model had of the clip and what it did not, in one or two sentences."""
    deeds = [_DEEDS.get(name, f"used the {name}") for name in used]
    text = f"The model {joined(deeds)}" if deeds else "The model had no input"
    if not {"face", "scene"} & set(used):
        text += "; it did not look at the picture"
    elif not {"voice", "sound", "words"} & set(used):
        text += "; it did not listen"
    text += "."
    if missing:
        text += f" Missing: {joined([f'the {name}' for name in missing])}."
    return text


def joined(parts: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def missing_inputs(prediction: Prediction, cards: Mapping[str, Card]) -> list[str]:
    """Return inputs that the model could have used and did not have."""
    known: list[str] = []
    for card in cards_of(prediction, cards).values():
        known += card.inputs
    if prediction.explanation:
        known += list(prediction.explanation.inputs)
    return [name for name in dict.fromkeys(known) if name not in prediction.used]


def widest_trait(prediction: Prediction) -> str | None:
    """Return the trait whose score lies furthest from the training clips' median, None if there is no trait."""
    traits = [name for name in prediction.traits if name != INTERVIEW]
    places = {name: abs(prediction.traits[name].percentile - 50.0) for name in traits}
    return max(traits, key=lambda name: places[name] if math.isfinite(places[name]) else -1.0, default=None)


def signed(value: float, digits: int = 3) -> str:
    """Return a share with its sign, a true minus, and no sign on what rounds to zero."""
    text = f"{abs(value):.{digits}f}"
    if not text.strip("0."):
        return text
    return ("−" if value < 0 else "+") + text


def clock(seconds: float) -> str:
    """Return a time in a clip as m:ss, or h:mm:ss from an hour on."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def printable(text: str) -> str:
    """Return text safe to show: controls, lone surrogates and direction overrides become U+FFFD.

    File names and transcripts come from strangers: an escape sequence could drive a terminal, and a direction
    override could make a file's name read as another.
    """
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" or not _is_unsafe(char) else "\ufffd" for char in text)


def _is_unsafe(char: str) -> bool:
    if char.isprintable():
        return False
    return unicodedata.category(char) in ("Cc", "Cs") or char in _OVERRIDES


def clip_name(clip: str) -> str:
    """Return the last part of a clip's path, shortened in the middle so that its ending stays."""
    name = printable(PurePath(clip).name or clip)
    return name if len(name) <= 120 else f"{name[:80]}…{name[-39:]}"


def shown(value: object) -> str:
    """Return a value as text safe to show, of bounded length."""
    return shortened(str(value), MAX_TEXT)


def shortened(text: str, length: int) -> str:
    """Return printable text of at most `length` characters."""
    text = printable(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def shown_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the first lines, and one that counts the rest."""
    more = (f"and {len(lines) - MAX_LINES:,} more",) if len(lines) > MAX_LINES else ()
    return tuple(shown(line) for line in lines[:MAX_LINES]) + more


def first_of(limit: int, count: int, what: str) -> str:
    """Return the start of a sentence that says a list was cut; empty if it was not."""
    return f"The first {limit:,} of {count:,} {what}" if count > limit else ""
