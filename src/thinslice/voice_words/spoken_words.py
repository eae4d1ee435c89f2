"""Words of a transcript with their places in it, and the n-grams that a linear text model counts.

Made to read a professional transcript and a speech recogniser's output alike: case, punctuation and a transcriber's
remarks in square brackets (``[inaudible 00:00:04]``) count for nothing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_REMARK = re.compile(r"\[[^\]]*\]")
_VOWELS = re.compile(r"[aeiouy]+")

Place = tuple[int, float]
"""Index of a word and the part of an n-gram that belongs to it; the parts of one n-gram sum to 1."""


@dataclass(frozen=True)
class Word:
    """One spoken word.

    Attributes:
        text: lower case, with a straight apostrophe.
        start: index of its first character in the transcript.
        end: index after its last character.
    """

    text: str
    start: int
    end: int


def split_words(transcript: str | None) -> list[Word]:
    """Return the words of a transcript in order; none for None, blanks, or remarks alone."""
    if not transcript:
        return []
    spoken = _REMARK.sub(lambda match: " " * len(match.group()), transcript)
    return [
        Word(match.group().lower().replace("’", "'"), match.start(), match.end()) for match in _WORD.finditer(spoken)
    ]


def word_ngrams(words: Sequence[str], size: int) -> Iterator[tuple[str, range]]:
    """Yield every run of `size` words, joined by a blank, and the indices of its words."""
    for first in range(len(words) - size + 1):
        yield " ".join(words[first : first + size]), range(first, first + size)


@lru_cache(maxsize=65536)
def char_ngrams(word: str, low: int, high: int) -> tuple[str, ...]:
    """Return the character n-grams of `low` to `high` letters of a word with a blank before and after it.

    As scikit-learn's ``char_wb`` analyser counts them: a padded word that is too short for a size counts whole, once.
    """
    padded = f" {word} "
    grams: list[str] = []
    for size in range(low, high + 1):
        if size >= len(padded):
            grams.append(padded)
            break
        grams += [padded[first : first + size] for first in range(len(padded) - size + 1)]
    return tuple(grams)


def count_ngrams(words: Sequence[str], kind: str) -> dict[str, int]:
    """Count the n-grams of one kind.

    Args:
        words: normalised words, as `split_words` gives them.
        kind: ``word1``, ``word2`` ... for runs of words, ``char2-5`` for the characters within words.

    Returns:
        n-gram -> how often it occurs.
    """
    if kind.startswith("word"):
        return Counter(gram for gram, _ in word_ngrams(words, int(kind.removeprefix("word"))))
    low, high = map(int, kind.removeprefix("char").split("-"))
    total: dict[str, int] = {}
    for word in words:
        for gram in char_ngrams(word, low, high):
            total[gram] = total.get(gram, 0) + 1
    return total


def place_ngrams(words: Sequence[str], kind: str) -> Mapping[str, Sequence[Place]]:
    """Return, for every n-gram of one kind, the words it lies in and how much of it lies in each.

    An n-gram that occurs several times is divided evenly over its occurrences, one of several words evenly over them.
    """
    places: dict[str, list[int]] = defaultdict(list)
    if kind.startswith("word"):
        for gram, indices in word_ngrams(words, int(kind.removeprefix("word"))):
            places[gram] += indices
    else:
        low, high = map(int, kind.removeprefix("char").split("-"))
        for index, word in enumerate(words):
            for gram in char_ngrams(word, low, high):
                places[gram].append(index)
    return {gram: [(index, 1 / len(indices)) for index in indices] for gram, indices in places.items()}


def pace(words: Sequence[str]) -> tuple[float, float, float, float]:
    """Return how much is said: numbers of words, of letters, of syllables, and of different words.

    A syllable is a run of the letters aeiouy, at least one a word. The training clips all last about 15 s, so there
    these numbers are the pace of speech.
    """
    syllables = sum(max(1, len(_VOWELS.findall(word))) for word in words)
    return float(len(words)), float(sum(map(len, words))), float(syllables), float(len(set(words)))
