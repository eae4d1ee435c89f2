"""One time window of one clip, decoded once however many features are computed from it."""

import math
import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from thinslice.errors import MediaError, UsageError
from thinslice.media.audio import MonoReader, resample
from thinslice.media.frame import Frame
from thinslice.media.identity import media_sha256
from thinslice.media.pictures import Pictures, is_pictures, list_pictures, show_pictures
from thinslice.media.probe import MediaInfo, probe, probe_pictures
from thinslice.media.video import decode_frames

MIN_DURATION_S = 1.0
"""Shortest sound that is worth listening to, seconds."""


class Source:
    """One time window of one clip: a media file, a folder of frames or one picture (`thinslice.media.pictures`).

    Nothing is opened before something is asked for. Decoded sound is kept, so that several features share
    it, and is decoded no further than asked: the memory needed depends on the window, not on the file.
    A Source is for one thread.

    Args:
        path: the media file, folder of frames or picture.
        start_s: start of the window, seconds from the file's start.
        end_s: end of the window; None, or a time beyond the file's end, for the file's end.
        transcript: what is said in the window, where the caller knows it; features of the words then need no file.
        audio_track: which sound track to hear, counted from 1; None as in `thinslice.media.audio.MonoReader`.

    Attributes:
        path: where the clip is.
        start_s: start of the window, seconds.
        end_s: end of the window, None for the file's end.
        transcript: what is said in the window, None where nobody has said so.
        decode_seconds: wall time spent on opening, decoding and resampling until now.

    Raises:
        UsageError: the window is empty or starts before the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        start_s: float = 0.0,
        end_s: float | None = None,
        transcript: str | None = None,
        audio_track: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.transcript = transcript
        self.start_s = float(start_s)
        self.end_s = None if end_s is None or end_s == math.inf else float(end_s)
        if not 0 <= self.start_s < math.inf:
            raise UsageError(f"{path}: the window starts at {start_s:g} s; a start is 0 or more")
        if self.end_s is not None and not self.end_s > self.start_s:
            raise UsageError(f"{path}: the window ends at {end_s:g} s, before it starts at {start_s:g} s; swap them")
        self._reader = MonoReader(self.path, self.start_s, self.end_s, audio_track)
        self._resampled: dict[tuple[int, int], np.ndarray] = {}
        self._known: dict[Hashable, np.ndarray] = {}
        self._warnings: list[str] = []
        self.decode_seconds = 0.0

    @cached_property
    def info(self) -> MediaInfo:
        """What the file holds; MediaError where it cannot be read."""
        return probe(self.path) if self.pictures is None else probe_pictures(self.pictures)

    @cached_property
    def pictures(self) -> Pictures | None:
        """The still pictures that the clip is made of, None for a recording; MediaError for a folder without any."""
        return list_pictures(self.path) if is_pictures(self.path) else None

    @property
    def warnings(self) -> list[str]:
        """What went wrong without stopping the work, one line each, as far as decoded until now."""
        return list(dict.fromkeys((*self._reader.warnings, *self._warnings)))

    def warn(self, line: str) -> None:
        """Add a line to `warnings`: what an extractor wants the user to know of this file."""
        self._warnings.append(f"{self.path}: {line}")

    @property
    def duration_s(self) -> float:
        """Length of the window as far as the file reaches, seconds."""
        end_s = self.info.duration_s if self.end_s is None else min(self.end_s, self.info.duration_s)
        return max(end_s - self.start_s, 0.0)

    def audio(self, rate_hz: int | None = None, end_s: float | None = None) -> np.ndarray:
        """Return the window's sound, the channels that carry any averaged.

        Args:
            rate_hz: sampling rate to bring it to (soxr, very high quality); None keeps the file's own, which
                `audio_rate_hz` tells.
            end_s: how much of the window is wanted, seconds from its start; None for all. No more is decoded.

        Returns:
            float32 array (n,) within [-1, 1], rounded to 16 bits before resampling; shorter than asked where the
            sound ends before.
            Time 0 is the window's start: a track that starts later, or has gaps, is filled with zeros. The
            array is shared with later callers and must not be written to.

        Raises:
            MediaError: the file cannot be read, has no sound, less than 1 s of it in the window, or none.
        """
        self._refuse_pictures()
        with self._timed():
            samples = self._reader.read(end_s)
            if self._reader.finished:
                self._check_length(len(samples), end_s)
            rate = self._reader.rate_hz
            if rate_hz is None or rate_hz == rate:
                return samples
            key = (rate_hz, len(samples))
            if key not in self._resampled:
                self._resampled[key] = resample(samples, rate, rate_hz)
            return self._resampled[key]

    @property
    def audio_rate_hz(self) -> int:
        """Sampling rate of `audio(None)`; decodes the first bit of sound where nothing was decoded yet."""
        self._start_sound()
        return self._reader.rate_hz

    @property
    def audio_lead_s(self) -> float:
        """Seconds of zeros at the window's start because the sound track starts later than the pictures."""
        self._start_sound()
        return self._reader.lead_s

    def frames(self, times_s: Iterable[float], size: tuple[int, int] | None = None) -> Iterator[Frame]:
        """Yield the frames shown at the given times, decoding no more than they need and converting only these.

        Args:
            times_s: ascending times, seconds from the window's start. A time past the end gives the last frame.
            size: (width, height) to scale the upright pictures to; None keeps their own.

        Raises:
            MediaError: the file cannot be read, or has no pictures.
            ValueError: the times do not ascend.
        """
        if self.pictures is None:
            frames = decode_frames(self.path, times_s, self.start_s, size, self._warnings)
        else:
            frames = show_pictures(self.pictures, times_s, self.start_s, size)
        while True:
            with self._timed():
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def once(self, key: Hashable, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what was computed under this key before, else compute it; what is shared must not be written to."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def sha256(self) -> str:
        """Return the SHA-256 of the clip's bytes; as `thinslice.media.identity.media_sha256`."""
        return media_sha256(self.path)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.decode_seconds += time.perf_counter() - began

    def _start_sound(self) -> None:
        self._refuse_pictures()
        if not self._reader.rate_hz:
            self._reader.read(0.0)

    def _refuse_pictures(self) -> None:
        if self.pictures is not None:
            what = "a folder of pictures" if self.path.is_dir() else "a picture"
            raise MediaError(f"{self.path}: is {what}, so it has no sound; give a video or a sound file")

    def _check_length(self, num_samples: int, end_s: float | None) -> None:
        if end_s is not None and end_s < MIN_DURATION_S:
            return
        rate = self._reader.rate_hz
        if num_samples == 0 and self.start_s > 0:
            raise MediaError(
                f"{self.path}: the window starts at {self.start_s:g} s, after the sound ends; start earlier"
            )
        if num_samples < MIN_DURATION_S * rate or num_samples == 0:
            seconds = num_samples / rate if rate else 0.0
            raise MediaError(f"{self.path}: only {seconds:.2f} s of sound; at least {MIN_DURATION_S:g} s are needed")
