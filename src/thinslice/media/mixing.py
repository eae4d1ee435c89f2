"""From the channels of a sound track to one: which of them carry sound, and how they are added."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

Channels = tuple[np.ndarray, ...]
"""A stretch of sound as decoded: one array (n,) per channel, in the file's sample format."""

SILENCE = 1e-4
"""Sound that stays within so much of one level is silence, such as a constant; full scale is 1."""

QUIETER_DB = 30.0
"""A channel this much quieter than the loudest carries no sound of its own: a microphone that was not plugged in."""

UNLIKE = 0.3
"""Channels that correlate less than this with the loudest carry something else: another person, hum, a room. Those of
the real clips correlate 0.54 or more."""

OPPOSITE = -0.5
"""Channels that correlate less than this with the loudest are wired the wrong way round. Real stereo stays above 0."""

_EVERY = 4  # How loud channels are, and how alike, shows in every fourth sample as well.


@dataclass(frozen=True)
class Mix:
    """How channels become one: the sum of all, each with its sign, divided by how many carry sound.

    A channel that joins in later is therefore heard, too. Where all carry sound this is their average.

    Attributes:
        signs: of each channel, 1 or -1.
        num_heard: how many carry sound; at least 1.
        unlike: whether some that carry sound have little in common with the loudest.
    """

    signs: tuple[int, ...]
    num_heard: int
    unlike: bool = False

    @property
    def note(self) -> str:
        """What is unusual about it, in one line; "" for a plain average."""
        notes = []
        if self.num_heard < len(self.signs):
            notes.append(
                f"only {self.num_heard} of the {len(self.signs)} channels of its sound heard; the others are silent"
            )
        if -1 in self.signs:
            notes.append("its channels have opposite phase and would cancel out; this was undone")
        if self.unlike:
            notes.append(
                "its channels carry different sounds (another person, hum, noise?), and all are heard at once; if the "
                "speaker is in one of them, give that alone"
            )
        return "; ".join(notes)


def is_silent(samples: np.ndarray) -> bool:
    """Return whether samples, full scale 1, are digital silence, or a constant that nobody hears."""
    return not len(samples) or bool(np.ptp(samples) < 2 * SILENCE)


def choose_mix(pieces: Sequence[Channels]) -> Mix:
    """Decide how the channels of a track are added, from every fourth sample of a stretch of it.

    Args:
        pieces: that stretch, in parts; parts with another number of channels than the first are left out.
    """
    num_channels = len(pieces[0])
    alike = [piece for piece in pieces if len(piece) == num_channels]
    centred = [_centred(_joined(parts)) for parts in zip(*alike, strict=True)]
    power = np.array([np.dot(channel, channel) for channel in centred])
    loudest = int(power.argmax())
    heard = power > power[loudest] * 10 ** (-QUIETER_DB / 10)
    signs, unlike = [1] * num_channels, False
    for index in np.flatnonzero(heard):
        together = float(np.dot(centred[index], centred[loudest])) / float(np.sqrt(power[index] * power[loudest]))
        signs[index] = -1 if together < OPPOSITE else 1
        unlike |= OPPOSITE <= together < UNLIKE
    return Mix(tuple(signs), max(int(heard.sum()), 1), unlike)


def mix_down(pieces: Iterable[tuple[Channels, Mix | None]]) -> list[np.ndarray]:
    """Round stretches of samples to 16 bits, and mix their channels.

    Sixteen bits, because every corpus and every published feature was made from 16-bit files: the voice profiles
    of First Impressions are reproduced to the last digit only so.

    Args:
        pieces: stretches of samples in any format of PyAV's, each with how its channels are added; None for their
            average, which also holds where a mix is for another number of channels.

    Returns:
        float32 arrays (m,) in [-1, 1] that follow each other: alike pieces are joined first, which is what makes
        it fast. Not-a-number stays so.
    """
    mixed: list[np.ndarray] = []
    for (_, _, mix), group in groupby(pieces, key=lambda item: (len(item[0]), item[0][0].dtype, item[1])):
        stretches = [piece for piece, _ in group]
        num_channels = len(stretches[0])
        fits = mix is not None and len(mix.signs) == num_channels
        signs = mix.signs if mix is not None and fits else (1,) * num_channels
        num_heard = mix.num_heard if mix is not None and fits else num_channels
        total: np.ndarray | None = None
        for sign, parts in zip(signs, zip(*stretches, strict=True), strict=True):
            channel = to_16_bits(np.concatenate(parts))
            channel = channel if sign > 0 else np.negative(channel, out=channel)
            total = channel if total is None else np.add(total, channel, out=total)
        assert total is not None  # A frame has at least one channel.
        np.divide(total, np.float32(32768 * num_heard), out=total)
        mixed.append(total if num_heard == num_channels else np.clip(total, -1.0, 1.0, out=total))
    return mixed


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return every `_EVERY`-th sample of stretches of one channel, in 16 bits; alike stretches are joined first."""
    alike = [list(group) for _, group in groupby(parts, key=lambda part: part.dtype)]
    return np.concatenate([to_16_bits(np.concatenate(group)[::_EVERY]) for group in alike])


def _centred(channel: np.ndarray) -> np.ndarray:
    """Return a channel less its mean, with zeros for what is not a number."""
    mean = channel.mean()
    if np.isnan(mean):
        return np.nan_to_num(channel - np.nanmean(channel), copy=False)
    return np.subtract(channel, mean, out=channel)


def to_16_bits(samples: np.ndarray) -> np.ndarray:
    """Return samples of any format as whole numbers from -32,768 to 32,767, rounded as FFmpeg does, in new float32.

    What is infinite becomes NaN, no number.
    """
    kind = samples.dtype
    if kind == np.uint8:
        return (samples.astype(np.float32) - 128) * 256
    if kind.kind == "i":
        return (samples >> (8 * kind.itemsize - 16)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # Beyond the range of floats is beyond full scale.
        scaled = samples * kind.type(32768)
        np.rint(scaled, out=scaled)
    if np.isinf(scaled).any():
        scaled[np.isinf(samples)] = np.nan
    return np.clip(scaled, -32768, 32767, out=scaled).astype(np.float32, copy=False)
