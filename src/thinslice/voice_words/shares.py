"""What moved a score of a sum of parts: the voice's cues, the words, and an explanation made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from thinslice.traits import TARGETS
from thinslice.types import CueShare, Explanation, WordShare
from thinslice.voice_words.spoken_words import split_words
from thinslice.voice_words.text_function import PACE_CUE, TextFunction
from thinslice.voice_words.voice_cues import VoiceReference, cue_levels, shapley_shares
from thinslice.voice_words.voice_function import VoiceFunction


@dataclass
class Shares:
    """Shares (6,) in score units.

    Attributes:
        inputs: input -> its share.
        cues: (name, level, share, input).
        words: (text, start in the transcript, share).
    """

    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    cues: list[tuple[str, float | None, np.ndarray, str]] = field(default_factory=list)
    words: list[tuple[str, int, np.ndarray]] = field(default_factory=list)


def add_voice(shares: Shares, function: VoiceFunction, profile: np.ndarray, reference: VoiceReference) -> None:
    """Add a voice's cues: Shapley values of groups of columns, exact, against a fixed background of typical voices."""
    parts = shapley_shares(function, profile, reference)
    levels = cue_levels(function, profile, reference)
    shares.cues += [(name, levels[name], part, "voice") for name, part in parts.items()]
    shares.inputs["voice"] = np.sum(list(parts.values()), axis=0)


def add_words(
    shares: Shares, function: TextFunction, transcript: str, duration_s: float | None, reference: VoiceReference
) -> None:
    """Add the words: exact, for their part is linear; how much is said counts apart, as a cue."""
    parts = function.explain(split_words(transcript), duration_s)
    shares.words += [
        (transcript[word.start : word.end], word.start, share)
        for word, share in zip(parts.places, parts.words, strict=True)
    ]
    level = reference.pace_level(parts.num_words)
    shares.cues += [(name, level if name == PACE_CUE else None, part, "words") for name, part in parts.rest.items()]
    shares.inputs["words"] = parts.words.sum(axis=0) + np.sum(list(parts.rest.values()), axis=0)


def explanation(baseline: np.ndarray, scores: np.ndarray, shares: Shares) -> Explanation:
    """Return the explanation whose baseline and inputs sum to the scores.

    Should a score have been cut to [0, 1], all its shares are shortened alike.

    Args:
        baseline: float64 (6,).
        scores: float64 (6,), as predicted.
        shares: of the inputs that were used.
    """
    moved = np.sum(list(shares.inputs.values()), axis=0)
    shorten = np.ones_like(moved)
    np.divide(scores - baseline, moved, out=shorten, where=np.abs(moved) > 1e-9)

    def named(share: np.ndarray) -> Mapping[str, float]:
        return _named(share * shorten)

    return Explanation(
        baseline=_named(baseline),
        inputs={name: named(share) for name, share in shares.inputs.items()},
        words=tuple(WordShare(text, start, named(share)) for text, start, share in shares.words),
        cues=tuple(CueShare(name, level, named(share), source) for name, level, share, source in shares.cues),
    )


def _named(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    return dict(zip(TARGETS, np.asarray(values).tolist(), strict=True))
