"""The bundled model ``face-voice-words``: a face, a voice and a transcript in, apparent traits out.

A score is a sum: a baseline, a function of the face, a smooth function of the voice, a function of the words. Each of
the three may be missing; every subset ("mode") has functions fitted for it. It needs ONNX Runtime and NumPy alone. How
it was trained and chosen: `thinslice.face_voice_words.trainer` and ``docs/bundled-model.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.errors import MediaError, UsageError
from thinslice.face_voice_words.descriptor import SIZE, FaceDescriber
from thinslice.face_voice_words.face_function import FaceFunction
from thinslice.traits import TARGETS
from thinslice.types import Explanation
from thinslice.voice_words.model import checked_voice
from thinslice.voice_words.shares import Shares, add_voice, add_words, explanation
from thinslice.voice_words.spoken_words import split_words
from thinslice.voice_words.text_function import TextFunction
from thinslice.voice_words.voice_cues import VoiceReference
from thinslice.voice_words.voice_function import VoiceFunction
from thinslice.voice_words.weights import baselines, load_weights

INPUTS: Final = ("face", "voice", "words")
MODES: Final = (
    "face+voice+words",
    "face+voice",
    "face+words",
    "voice+words",
    "face",
    "voice",
    "words",
)
"""Which inputs a clip has; every mode has its own weights and its own interval."""


@dataclass(frozen=True)
class FaceVoiceWords:
    """A trained model; see `load_face_voice_words`.

    Attributes:
        describer: the fixed networks that look at a face.
        baseline: mode -> float64 (6,), what the scores start from, in the order of `thinslice.traits.TARGETS`.
        face: mode -> descriptors of a face -> deviations (n, 6).
        voice: mode -> voice profile -> deviations (n, 6).
        words: mode -> transcript -> deviations (n, 6).
        reference: typical voices and the training clips' levels, for explanations.
    """

    describer: FaceDescriber
    baseline: Mapping[str, np.ndarray]
    face: Mapping[str, FaceFunction]
    voice: Mapping[str, VoiceFunction]
    words: Mapping[str, TextFunction]
    reference: VoiceReference

    def predict(
        self,
        faces: Sequence[np.ndarray | None] | None,
        voice: np.ndarray | None,
        transcripts: Sequence[str | None],
        durations_s: Sequence[float] | None = None,
    ) -> tuple[np.ndarray, list[tuple[str, ...]]]:
        """Score clips; each independently of the others in the batch.

        Args:
            faces: of each clip uint8 (k, 176, 176, 3), k >= 1 pictures of the speaker as the extractor
                ``face_portraits`` gives them, or None; None where no clip has any. A clip's pictures are averaged,
                each with its mirror image.
            voice: float array (n, 26), columns as in `voice_profile_train.csv`; a row of NaN where there is no
                voice, None where no clip has one.
            transcripts: n transcripts; None, or a text without words, where there is none.
            durations_s: how long the speech of each transcript lasts, for its pace; by default as long as the
                training clips, 15.3 s.

        Returns:
            Scores (n, 6) in [0, 1], in the order of `thinslice.traits.TARGETS`, and for each clip which inputs were
            used, a subset of `INPUTS` in their order.

        Raises:
            MediaError: a clip has neither face, voice nor words.
            UsageError: the shapes disagree, or a voice profile has some values that are not finite.
        """
        number = len(transcripts)
        faces = [None] * number if faces is None else list(faces)
        if len(faces) != number:
            raise UsageError(f"{len(faces)} sets of faces and {number} transcripts; give one of each for every clip")
        profiles, has_voice = checked_voice(voice, number)
        texts = [split_words(transcript) for transcript in transcripts]
        scores = np.zeros((number, len(TARGETS)))
        used = []
        for row in range(number):
            there = (faces[row] is not None, bool(has_voice[row]), bool(texts[row]))
            inputs = tuple(name for name, given in zip(INPUTS, there, strict=True) if given)
            if not inputs:
                raise MediaError(f"clip {row + 1} of {number}: neither a face, a voice nor words; give one of them")
            mode = "+".join(inputs)
            scores[row] = self.baseline[mode]
            if mode in self.face and (shown := faces[row]) is not None:
                scores[row] += self.face[mode].predict(self._descriptor(shown))[0]
            if mode in self.voice:
                scores[row] += self.voice[mode].predict(profiles[row : row + 1])[0]
            if mode in self.words:
                scores[row] += self.words[mode].predict(
                    [texts[row]], None if durations_s is None else [durations_s[row]]
                )[0]
            used.append(inputs)
        return np.clip(scores, 0.0, 1.0), used

    def face_scores(self, faces: np.ndarray) -> np.ndarray:
        """Return float64 (k, 6): what each picture alone would score by the mode "face", not cut to [0, 1].

        Args:
            faces: uint8 (k, 176, 176, 3).
        """
        rows = self.describer.describe_both_ways(_checked_faces(faces))
        return np.asarray(self.baseline["face"] + self.face["face"].predict(rows))

    def explain(
        self,
        faces: np.ndarray | None,
        voice: np.ndarray | None,
        transcript: str | None,
        duration_s: float | None = None,
    ) -> Explanation:
        """Say what moved one clip's scores.

        The shares of face, voice and words are exact, for the model is their sum. Voice and words are split further as
        in `thinslice.voice_words.model.VoiceWords.explain`. Should a score have been cut to [0, 1], all its shares are
        shortened alike.

        Args:
            faces: uint8 (k, 176, 176, 3) or None.
            voice: float array (26,) or None.
            transcript: the words, or None.
            duration_s: how long the speech lasts; None for 15.3 s.

        Raises:
            MediaError: neither face, voice nor words.
            UsageError: the shapes are wrong, or the voice profile has values that are not finite.
        """
        row = None if voice is None else np.asarray(voice, dtype=np.float64)[None]
        durations_s = None if duration_s is None else [duration_s]
        scores, (used,) = self.predict([faces], row, [transcript], durations_s)
        mode = "+".join(used)
        shares = Shares()
        if faces is not None:
            shares.inputs["face"] = self.face[mode].predict(self._descriptor(faces))[0]
        if "voice" in used and row is not None:
            add_voice(shares, self.voice[mode], row[0], self.reference)
        if "words" in used and transcript is not None:
            add_words(shares, self.words[mode], transcript, duration_s, self.reference)
        return explanation(self.baseline[mode], scores[0], shares)

    def _descriptor(self, faces: np.ndarray) -> np.ndarray:
        """Return float32 (1, d): the mean over a clip's pictures and their mirror images."""
        rows = self.describer.describe_both_ways(_checked_faces(faces))
        return np.asarray(rows.mean(axis=0, keepdims=True), np.float32)


def load_face_voice_words(folder: Path, outputs: Sequence[str], threads: int | None = None) -> FaceVoiceWords:
    """Read the model of a bundle.

    Args:
        folder: the bundle's folder, with ``weights.npz`` and the networks.
        outputs: those of its ``bundle.json``; the checksums are the caller's to verify.
        threads: that ONNX Runtime may use; None for its default.

    Raises:
        BundleError: the weights are missing, damaged, or not those of this kind of model.
    """
    return load_weights(
        folder, outputs, lambda arrays: build_face_voice_words(arrays, FaceDescriber(Path(folder), threads))
    )


def build_face_voice_words(arrays: Mapping[str, np.ndarray], describer: FaceDescriber) -> FaceVoiceWords:
    """Assemble a model from its arrays; KeyError or ValueError where they do not fit together."""
    return FaceVoiceWords(
        describer=describer,
        baseline=baselines(arrays, MODES),
        face=FaceFunction.all_from_arrays(arrays, modes_with("face")),
        voice={mode: VoiceFunction.from_arrays(arrays, mode) for mode in modes_with("voice")},
        words=TextFunction.all_from_arrays(arrays, modes_with("words")),
        reference=VoiceReference.from_arrays(arrays),
    )


def modes_with(name: str) -> list[str]:
    """Return the modes that use an input."""
    return [mode for mode in MODES if name in mode.split("+")]


def _checked_faces(faces: np.ndarray) -> np.ndarray:
    faces = np.asarray(faces)
    if faces.ndim != 4 or faces.shape[1:] != (SIZE, SIZE, 3) or faces.dtype != np.uint8 or not len(faces):
        raise UsageError(f"faces must be uint8 (k, {SIZE}, {SIZE}, 3), k >= 1, not {faces.dtype} {faces.shape}")
    return faces
