"""The bundled model ``voice-words``: a voice profile and a transcript in, apparent traits out, on NumPy alone.

A score is a sum: a baseline, a smooth function of the 26 voice-profile means, a linear function of the words and a
smooth function of how much is said. Voice or words may be missing; each case ("mode") has functions fitted for it.
How it was trained and chosen: `thinslice.voice_words.trainer` and ``docs/bundled-model.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thinslice.errors import MediaError, UsageError
from thinslice.traits import TARGETS
from thinslice.types import Explanation
from thinslice.voice_words.shares import Shares, add_voice, add_words, explanation
from thinslice.voice_words.spoken_words import split_words
from thinslice.voice_words.text_function import TextFunction
from thinslice.voice_words.voice_cues import VoiceReference
from thinslice.voice_words.voice_function import VoiceFunction
from thinslice.voice_words.weights import baselines, load_weights

MODES = ("voice+words", "voice", "words")
"""Which inputs a clip has; every mode has its own weights and its own interval."""


@dataclass(frozen=True)
class VoiceWords:
    """A trained model; see `load_voice_words`.

    Attributes:
        baseline: mode -> float64 (6,), what the scores start from, in the order of `thinslice.traits.TARGETS`.
        voice: mode -> voice profile -> deviations (n, 6), zero on average over the background.
        words: mode -> transcript -> deviations (n, 6), zero on average over the training clips.
        reference: typical voices and the training clips' levels, for explanations.
    """

    baseline: Mapping[str, np.ndarray]
    voice: Mapping[str, VoiceFunction]
    words: Mapping[str, TextFunction]
    reference: VoiceReference

    def predict(
        self,
        voice: np.ndarray | None,
        transcripts: Sequence[str | None],
        durations_s: Sequence[float] | None = None,
    ) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """Score clips; each independently of the others in the batch.

        Args:
            voice: float array (n, 26), columns as in `voice_profile_train.csv`; a row of NaN where there is no
                voice, None where no clip has one.
            transcripts: n transcripts; None, or a text without words, where there is none.
            durations_s: how long the speech of each transcript lasts, for its pace; by default as long as the
                training clips, 15.3 s.

        Returns:
            Scores (n, 6) in [0, 1], in the order of `thinslice.traits.TARGETS`, and for each clip which inputs were
            used: ("voice", "words"), ("voice",) or ("words",).

        Raises:
            MediaError: a clip has neither voice nor words.
            UsageError: the shapes disagree, or a voice profile has some values that are not finite.
        """
        profiles, has_voice = checked_voice(voice, len(transcripts))
        texts = [split_words(transcript) for transcript in transcripts]
        has_words = np.array([bool(words) for words in texts], dtype=bool)
        if not (has_voice | has_words).all():
            row = int(np.flatnonzero(~(has_voice | has_words))[0])
            raise MediaError(f"clip {row + 1} of {len(transcripts)}: neither a voice nor words; give one of them")
        mode_of = np.where(has_voice & has_words, 0, np.where(has_voice, 1, 2))
        scores = np.zeros((len(transcripts), len(TARGETS)))
        for number, mode in enumerate(MODES):
            rows = np.flatnonzero(mode_of == number)
            scores[rows] = self.baseline[mode]
            if mode in self.voice and len(rows):
                scores[rows] += self.voice[mode].predict(profiles[rows])
            if mode in self.words and len(rows):
                scores[rows] += self.words[mode].predict([texts[row] for row in rows], _pick(durations_s, rows))
        return np.clip(scores, 0.0, 1.0), [tuple(MODES[number].split("+")) for number in mode_of]

    def explain(self, voice: np.ndarray | None, transcript: str | None, duration_s: float | None = None) -> Explanation:
        """Say what moved one clip's scores.

        The single words' shares are exact, for that part is linear: an n-gram's weight is divided evenly over the
        words it lies in. How much is said counts apart, as a cue of the words. The voice's shares are Shapley values
        of groups of columns, exact over all coalitions, against a fixed background of typical voices. Baseline and
        shares sum to the score; should a score have been cut to [0, 1], all its shares are shortened alike.

        Args:
            voice: float array (26,) or None.
            transcript: the words, or None.
            duration_s: how long the speech lasts; None for 15.3 s.

        Raises:
            MediaError: neither voice nor words.
            UsageError: the voice profile has the wrong shape or values that are not finite.
        """
        row = None if voice is None else np.asarray(voice, dtype=np.float64)[None]
        durations_s = None if duration_s is None else [duration_s]
        scores, (used,) = self.predict(row, [transcript], durations_s)
        mode = "+".join(used)
        shares = Shares()
        if "voice" in used and row is not None:
            add_voice(shares, self.voice[mode], row[0], self.reference)
        if "words" in used and transcript is not None:
            add_words(shares, self.words[mode], transcript, duration_s, self.reference)
        return explanation(self.baseline[mode], scores[0], shares)


def load_voice_words(folder: Path, outputs: Sequence[str]) -> VoiceWords:
    """Read the model of a bundle.

    Args:
        folder: the bundle's folder, with ``weights.npz``.
        outputs: those of its ``bundle.json``; the checksums are the caller's to verify.

    Raises:
        BundleError: the weights are missing, damaged, or not those of this kind of model.
    """

    def build(arrays: Mapping[str, np.ndarray]) -> VoiceWords:
        model = build_voice_words(arrays)
        # Arrays that do not fit together fail here, not on the first clip.
        model.explain(np.zeros(26), "a word")
        return model

    return load_weights(folder, outputs, build)


def build_voice_words(arrays: Mapping[str, np.ndarray]) -> VoiceWords:
    """Assemble a model from its arrays; KeyError or ValueError where they do not fit together."""
    return VoiceWords(
        baseline=baselines(arrays, MODES),
        voice={mode: VoiceFunction.from_arrays(arrays, mode) for mode in MODES if "voice" in mode},
        words=TextFunction.all_from_arrays(arrays, [mode for mode in MODES if "words" in mode]),
        reference=VoiceReference.from_arrays(arrays),
    )


def _pick(values: Sequence[float] | None, rows: np.ndarray) -> list[float] | None:
    return None if values is None else [values[row] for row in rows]


def checked_voice(voice: np.ndarray | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return profiles (count, 26), NaN where there are none, and bool (count,), which there are; UsageError if odd."""
    if voice is None:
        voice = np.full((count, 26), np.nan)
    profiles = np.asarray(voice, dtype=np.float64)
    if profiles.shape != (count, 26):
        raise UsageError(f"voice profiles must have shape ({count}, 26), one row per transcript, not {profiles.shape}")
    finite = np.isfinite(profiles)
    partial = finite.any(axis=1) & ~finite.all(axis=1)
    if partial.any() or np.isinf(profiles).any():
        row = int(np.flatnonzero(partial | np.isinf(profiles).any(axis=1))[0])
        raise UsageError(f"voice profile {row + 1}: some of its 26 values are not finite; leave all out if any is")
    return profiles, np.asarray(finite.all(axis=1))
