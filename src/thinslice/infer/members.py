"""One bundle, ready to score: features and a transcript in, scores and their explanation out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from thinslice.arrays import load_arrays
from thinslice.bundle import TRANSCRIPT, Bundle, load_bundle
from thinslice.errors import BundleError
from thinslice.features import extract
from thinslice.infer.choice import Labels, restrict
from thinslice.infer.lines import AdaptedMember
from thinslice.types import Explanation, TraitScore


@dataclass(frozen=True)
class Words:
    """What is said in a clip.

    Attributes:
        text: the transcript; not blank.
        duration_s: how long it takes to say, for its pace; None for as long as the training clips last.
    """

    text: str
    duration_s: float | None = None


class Member(Protocol):
    """What the predictor asks of a model, whatever it is made of."""

    bundle: Bundle

    def score(self, features: Mapping[str, np.ndarray], words: Words | None) -> "Scored":
        """Return the scores of one clip."""
        ...

    def explain(
        self, features: Mapping[str, np.ndarray], words: Words | None, with_pictures: bool
    ) -> Explanation | None:
        """Return what moved the scores, with what was looked at if asked; None where the model cannot say."""
        ...


Scored = tuple[np.ndarray, tuple[str, ...]]
"""Scores (outputs,) in [0, 1] and the labels of the inputs that were used."""


class VoiceWordsMember:
    """The NumPy model on a voice profile and a transcript; either may be missing."""

    def __init__(self, bundle: Bundle) -> None:
        from thinslice.voice_words.model import load_voice_words

        self.bundle = bundle
        self.model = load_voice_words(bundle.folder, bundle.outputs)

    def score(self, features: Mapping[str, np.ndarray], words: Words | None) -> Scored:
        """Return the scores of one clip."""
        durations_s = [words.duration_s] if words and words.duration_s else None
        scores, used = self.model.predict(self._voice(features)[None], [words.text if words else None], durations_s)
        return scores[0], used[0]

    def explain(self, features: Mapping[str, np.ndarray], words: Words | None, with_pictures: bool) -> Explanation:
        """Return exact word shares and Shapley shares of the voice cues."""
        voice = features.get("voice_profile")
        return self.model.explain(voice, words.text if words else None, words.duration_s if words else None)

    def _voice(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        return features.get("voice_profile", np.full(26, np.nan))


class FaceVoiceWordsMember:
    """Fixed networks and kernel functions on faces, a voice profile and a transcript; each may be missing."""

    def __init__(self, bundle: Bundle, threads: int | None) -> None:
        from thinslice.face_voice_words.model import load_face_voice_words

        self.bundle = bundle
        self.model = load_face_voice_words(bundle.folder, bundle.outputs, threads)

    def score(self, features: Mapping[str, np.ndarray], words: Words | None) -> Scored:
        """Return the scores of one clip."""
        durations_s = [words.duration_s] if words and words.duration_s else None
        voice = features.get("voice_profile", np.full(26, np.nan))
        scores, used = self.model.predict([features.get("face")], voice[None], [_text(words)], durations_s)
        return scores[0], used[0]

    def explain(self, features: Mapping[str, np.ndarray], words: Words | None, with_pictures: bool) -> Explanation:
        """Return exact shares of the inputs and words, Shapley shares of the voice cues, and heat maps of the face."""
        face = features.get("face")
        duration_s = words.duration_s if words else None
        explanation = self.model.explain(face, features.get("voice_profile"), _text(words), duration_s)
        if face is None or not with_pictures:
            return explanation
        from thinslice.explain.face_heat import draw_face

        return replace(explanation, pictures=draw_face(self.model.face_scores, face, self.bundle.outputs))


class OnnxMember:
    """A network exported to ONNX; an optional input that is missing takes the bundle's neutral value."""

    def __init__(self, bundle: Bundle, threads: int | None) -> None:
        from thinslice.infer.onnx_model import OnnxModel

        self.bundle = bundle
        self.model = OnnxModel(bundle.folder, threads)
        unknown = ", ".join(name for name in self.model.inputs if name not in bundle.inputs)
        if unknown:
            raise BundleError(f"{bundle.folder}: its graph wants {unknown}, its bundle.json does not; export it again")
        self.neutral = _load_neutral(bundle)

    def score(self, features: Mapping[str, np.ndarray], words: Words | None) -> Scored:
        """Return the scores of one clip."""
        present = [entry.label for name, entry in self.bundle.inputs.items() if name in features]
        return self.model.predict({**self.neutral, **features}), tuple(dict.fromkeys(present))

    def explain(
        self, features: Mapping[str, np.ndarray], words: Words | None, with_pictures: bool
    ) -> Explanation | None:
        """Return the shares of picture and sound and heat maps of the face, where these are the inputs."""
        if set(self.bundle.inputs) != {"pictures", "sound"} or set(self.neutral) != {"pictures", "sound"}:
            return None
        from thinslice.explain.picture_and_sound import explain_picture_and_sound

        known = {name: array for name, array in features.items() if name in self.bundle.inputs}
        return explain_picture_and_sound(
            self.model.predict, known, self.neutral, self.bundle.outputs, with_pictures=with_pictures
        )


def load_member(name_or_dir: str, threads: int | None) -> Member:
    """Load a bundle and the model in it; BundleError if either is unusable."""
    bundle = load_bundle(name_or_dir)
    member = _MEMBERS[bundle.document.kind](bundle, threads)
    return AdaptedMember(member) if bundle.document.lines else member


_MEMBERS: Mapping[str, Callable[[Bundle, int | None], Member]] = {
    "voice_words": lambda bundle, threads: VoiceWordsMember(bundle),
    "face_voice_words": FaceVoiceWordsMember,
    "onnx": OnnxMember,
}


def _text(words: Words | None) -> str | None:
    return words.text if words else None


def _load_neutral(bundle: Bundle) -> dict[str, np.ndarray]:
    """Return what stands for optional inputs that a clip lacks: an array for each of them."""
    optional = [name for name, entry in bundle.inputs.items() if entry.optional]
    arrays: dict[str, np.ndarray] = {}
    if bundle.document.neutral:
        path = bundle.folder / bundle.document.neutral
        try:
            arrays = load_arrays(path)
        except ValueError as error:
            raise BundleError(f"{path}: damaged ({error}); export or install the bundle again") from None
    missing = [name for name in optional if name not in arrays]
    if missing:
        names = ", ".join(missing)
        raise BundleError(f"{bundle.folder}: nothing stands for {names}, an optional input; export it again")
    return arrays


def reads_words(member: Member, allowed: Labels) -> bool:
    """Return whether the model takes a transcript, or a feature of its words, where these inputs are allowed."""
    bundle = restrict(member.bundle, allowed)
    transcript = bundle.inputs.get(TRANSCRIPT)
    return bool(transcript and transcript.label in allowed) or extract.reads_words(bundle.specs.values())


def trait_scores(bundle: Bundle, scores: np.ndarray, used: tuple[str, ...]) -> dict[str, TraitScore]:
    """Put interval and percentile beside each score; BundleError for scores that are no numbers, or too few."""
    if np.shape(scores) != (len(bundle.outputs),) or not np.isfinite(scores).all():
        raise BundleError(
            f"{bundle.folder}: its model gives no {len(bundle.outputs)} finite scores of this clip; "
            "export or install the bundle again"
        )
    result = {}
    for target, value in zip(bundle.outputs, scores, strict=True):
        score = float(value)
        low, high = bundle.interval(used, target)
        result[target] = TraitScore(
            score=score,
            low=max(0.0, score + low),
            high=min(1.0, score + high),
            percentile=bundle.percentile(target, score),
        )
    return result
