"""Transcripts: chance sentences in which a given number of words is warm, the others cold."""

from typing import Final

import numpy as np

from thinslice.data.planted.causes import NUM_CUE_WORDS

WARM: Final = (
    "kind", "thankful", "together", "friends", "caring", "gentle", "welcome", "trust", "helpful", "love",
    "generous", "honest", "sharing", "warm", "lovely", "patient", "family", "support", "forgive", "sweet",
)  # fmt: skip
COLD: Final = (
    "mean", "stupid", "rivals", "enemies", "selfish", "harsh", "blame", "cheat", "useless", "hate",
    "greedy", "lying", "fighting", "cold", "nasty", "angry", "losers", "revenge", "punish", "bitter",
)  # fmt: skip
"""Cue words. The two lists have the same roles in a sentence, so that word order tells nothing."""

_OPENINGS: Final = (
    "so today", "and then", "last week", "in the morning", "at work", "on the weekend", "back home", "after lunch",
    "you know", "to be fair", "this year", "every day", "at some point", "in my room", "on the train",
)  # fmt: skip
_MIDDLES: Final = (
    "I was talking about", "there was something", "we were looking at", "it all came down to", "I kept thinking about",
    "my video is about", "people asked me about", "I read a book about", "the whole story was", "what I remember is",
)  # fmt: skip
_ENDINGS: Final = (
    "with a new camera", "in the kitchen", "for the channel", "before the meeting", "near the station", "on a table",
    "with some music", "around the corner", "for an hour", "at the window", "about the weather", "in the city",
)  # fmt: skip
_FILLERS: Final = ("um", "like", "well", "right", "okay", "so yeah")


def write_transcript(num_warm: int, rng: np.random.Generator) -> str:
    """Return a transcript of eight sentences with `NUM_CUE_WORDS` cue words, `num_warm` of them warm.

    Args:
        num_warm: from 0 to `NUM_CUE_WORDS`.
        rng: of everything else.
    """
    warm = [WARM[i] for i in rng.integers(len(WARM), size=num_warm)]
    cold = [COLD[i] for i in rng.integers(len(COLD), size=NUM_CUE_WORDS - num_warm)]
    cues = rng.permutation(warm + cold).tolist()
    sentences = []
    for first, second in zip(cues[::2], cues[1::2], strict=True):
        words = [
            str(rng.choice(_OPENINGS)),
            *([str(rng.choice(_FILLERS))] if rng.random() < 0.4 else []),
            str(rng.choice(_MIDDLES)),
            f"{first} and {second} things",
            *([str(rng.choice(_ENDINGS))] if rng.random() < 0.6 else []),
        ]
        sentence = " ".join(words)
        sentences.append(sentence[0].upper() + sentence[1:] + ".")
    return " ".join(sentences)
