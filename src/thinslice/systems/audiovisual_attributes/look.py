"""How a clip is looked at: as stored; in training one of its faces, flipped or not, sound and face shifted."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from thinslice.features.attributes import annotated_attributes
from thinslice.systems.audiovisual_attributes.hyperparameters import Hyperparameters
from thinslice.train.mirror import mirror
from thinslice.train.recipe import Arrays, ClipReader, Mode

COLUMNS: Final = ("age", "age_group", "gender", "emotion")
"""Columns of a manifest from which attributes are taken where they are filled; age in years goes before its group."""


def num_samples(hyper: Hyperparameters) -> int:
    """Return how many samples of sound the network takes."""
    return round(hyper.rate_hz * hyper.seconds)


@dataclass(frozen=True)
class Look:
    """How a clip is looked at: as stored; in training one of its faces, flipped or not, sound and face shifted.

    Attributes:
        names: of the inputs.
        hyper: how far things are shifted, and whether annotated attributes count.
    """

    names: tuple[str, ...]
    hyper: Hyperparameters

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        """Return "waveform" (samples,), "faces" (faces, 1, side, side, 3) and "attributes" (9,), those asked for."""
        is_training = mode == "train"
        out: Arrays = {}
        if "waveform" in self.names:
            out["waveform"] = self._sound(clip.read("waveform"), rng) if is_training else clip.read("waveform")
        if "faces" in self.names:
            out["faces"] = self._face(clip, rng) if is_training else clip.read("faces")
        if "attributes" in self.names:
            out["attributes"] = self.attributes_of(clip)
        return out

    def _sound(self, sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sound = np.pad(sound, (0, max(num_samples(self.hyper) - len(sound), 0)))  # So that a batch's are equally long.
        most = round(self.hyper.sound_shift * self.hyper.rate_hz)
        if not most:
            return sound
        turned = sound if rng.random() < 0.5 else -sound
        return np.roll(turned, int(rng.integers(most + 1)))

    def _face(self, clip: ClipReader, rng: np.random.Generator) -> np.ndarray:
        face = clip.read("faces", int(rng.integers(clip.shape("faces")[0])))[0]
        if rng.random() < 0.5:
            face = mirror(face)
        most = self.hyper.face_shift
        if most:
            side = face.shape[0]
            top, left = rng.integers(2 * most + 1, size=2)
            rows = np.clip(np.arange(side) + top - most, 0, side - 1)
            columns = np.clip(np.arange(side) + left - most, 0, side - 1)
            face = face[rows][:, columns]
        return np.ascontiguousarray(face)[None, None]

    def attributes_of(self, clip: ClipReader) -> np.ndarray:
        """Return the attributes (9,) of a clip: annotated ones where they count and are there, else estimates."""
        estimated = clip.read("attributes")
        if not self.hyper.annotated:
            return estimated
        age, age_group, gender, emotion = (str(clip.read(f"column:{name}")) for name in COLUMNS)
        annotated = annotated_attributes(age.strip() or age_group, gender, emotion)
        return np.where(np.isnan(annotated), estimated, annotated)
