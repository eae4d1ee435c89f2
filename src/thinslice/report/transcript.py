"""The words of a clip, each with the colour of its share."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from thinslice.report.scales import Target, finite
from thinslice.report.wording import SMALLEST_SHARE, printable, shortened, signed
from thinslice.types import Prediction, WordShare

NUM_LEVELS = 4


class Piece(NamedTuple):
    """A stretch of transcript with the classes that colour it and the shares shown when it is pointed at."""

    text: str
    classes: str = ""
    title: str = ""


class TopWords(NamedTuple):
    """The words that moved one target most: pairs of word and signed share."""

    target: Target
    raised: tuple[tuple[str, str], ...]
    lowered: tuple[tuple[str, str], ...]
    total: str


class TranscriptView(NamedTuple):
    """The words of a clip; `scale` is the share that the darkest colour stands for, "" where nothing is coloured."""

    pieces: tuple[Piece, ...]
    cut: str
    scale: str
    top: tuple[TopWords, ...]


def build_transcript(prediction: Prediction, targets: Sequence[Target], max_words: int) -> TranscriptView | None:
    """Cut a transcript into coloured pieces; None where there is none.

    All targets share one scale of colour, so that a target which the words hardly moved looks pale.
    """
    text = prediction.transcript
    if not text or not text.strip():
        return None
    names = [target.name for target in targets]
    words = [] if prediction.explanation is None else _placed(prediction.explanation.words, text)
    shares = [abs(finite(word.shares.get(name, 0.0))) for word in words for name in names]
    largest = max(shares, default=0.0)
    end, cut = _cut_text(text, max_words)
    pieces, at = [], 0
    for word in words:
        if word.start >= end:
            break
        if word.start > at:
            pieces.append(Piece(printable(text[at : word.start])))
        at = min(end, word.start + len(word.text))
        pieces.append(_piece(word, text[word.start : at], names, largest))
    if at < end:
        pieces.append(Piece(printable(text[at:end])))
    return TranscriptView(
        pieces=tuple(pieces),
        cut=cut,
        scale=f"{largest:.3f}" if largest >= SMALLEST_SHARE / 10 else "",
        top=tuple(_top_words(words, target) for target in targets) if words else (),
    )


def _placed(words: Sequence[WordShare], text: str) -> list[WordShare]:
    """Return the words that stand where they say, in order and without overlap: others cannot be coloured."""
    placed, at = [], 0
    for word in sorted(words, key=lambda word: word.start):
        if word.text and word.start >= at and text.startswith(word.text, word.start):
            placed.append(word)
            at = word.start + len(word.text)
    return placed


def _piece(word: WordShare, text: str, names: Sequence[str], largest: float) -> Piece:
    classes, titles = [], []
    for name in names:
        share = finite(word.shares.get(name, 0.0))
        level = round(NUM_LEVELS * abs(share) / largest) if largest else 0
        if level:
            classes.append(f"{name[0]}{'m' if share < 0 else 'p'}{level}")
            titles.append(f"{name} {signed(share)}")
    return Piece(printable(text), " ".join(classes), ", ".join(titles))


def _cut_text(text: str, max_words: int) -> tuple[int, str]:
    """Return where to end the text so that it holds at most `max_words` words, and the line that says so."""
    max_chars = 12 * max_words
    end, count, inside = len(text), 0, False
    for index, char in enumerate(text):
        if char.isspace():
            inside = False
        elif not inside:
            if count == max_words:
                end = index
                break
            inside, count = True, count + 1
        if index >= max_chars:
            end = index
            break
    if end == len(text):
        return end, ""
    return end, f"The first {count:,} of {len(text.split()):,} words are shown."


def _top_words(words: Sequence[WordShare], target: Target) -> TopWords:
    total: dict[str, float] = {}
    count: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    for word in words:
        text = word.text.strip(".,!?;:\"'()[]…-–—“”‘’") or word.text
        key = text.casefold()
        spelling.setdefault(key, text)
        total[key] = total.get(key, 0.0) + finite(word.shares.get(target.name, 0.0))
        count[key] += 1
    ranked = sorted(total.items(), key=lambda item: item[1])

    def shown(items: Sequence[tuple[str, float]]) -> tuple[tuple[str, str], ...]:
        pairs = [(key, value) for key, value in items[:5] if abs(value) >= SMALLEST_SHARE]
        return tuple(
            (shortened(spelling[key], 40) + (f" ×{count[key]}" if count[key] > 1 else ""), signed(value))
            for key, value in pairs
        )

    return TopWords(
        target=target,
        raised=shown([item for item in reversed(ranked) if item[1] > 0]),
        lowered=shown([item for item in ranked if item[1] < 0]),
        total=signed(math.fsum(total.values())),
    )
