"""The sound of a media file as mono samples on the file's own clock, decoded only as far as asked."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from thinslice.errors import MediaError, counted
from thinslice.media.limits import MAX_RATE_HZ, MIN_RATE_HZ
from thinslice.media.mixing import Channels, Mix, choose_mix, is_silent, mix_down, to_16_bits
from thinslice.media.probe import DECODING_ERRORS, audio_stream, audio_tracks, only, open_media, origin_s

LISTEN_S = 7.0
"""Sound, from the first on, that decides which channels, and which of several tracks, carry any. As much is decoded
at least where there is more than one."""

SEEK_FROM_S = 30.0
"""Windows that start later than this are reached by seeking, earlier ones by decoding from the beginning."""

_PREROLL_S = 0.5  # Decoders need some packets before the first wanted one: 80 ms for Opus, 46 ms for AAC.
_JITTER_S = 0.05  # Time stamps that are off by less are rounding (Matroska) or encoder delay, not a gap.
_PIECES_AT_ONCE = 64  # Frames that are mixed together: enough to be fast, few enough to stay in the cache.
_SAMPLE_TYPES = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "s64": np.int64,
    "flt": np.float32,
    "dbl": np.float64,
}
_MAX_GAP_S = 600.0  # A longer gap is a damaged header or clock, and would fill the memory with zeros.
_MAX_BACKWARD_S = 1.0  # A jump further back is a broken clock, not an overlap.


class MonoReader:
    """The sound of one window of a file, decoded step by step.

    The channels that carry sound are averaged (`thinslice.media.mixing`). A gap in the time stamps, or a sound
    track that starts after the pictures, becomes zeros, so that sample i belongs to time i / rate_hz of the window.

    Args:
        path: the media file.
        start_s: start of the window on the file's clock, seconds.
        end_s: its end; None for the end of the file.
        track: which sound track, counted from 1; None for the one marked as default, else the first, or where that
            is silent in the window's first seconds for the next that is not.

    Attributes:
        rate_hz: sampling rate of the samples, the track's own; 0 before the first call of `read`.
        finished: whether the window has been decoded to its end.
        lead_s: seconds of zeros at the start of the window, before the sound track begins.
        warnings: one line each.
    """

    def __init__(self, path: Path, start_s: float, end_s: float | None, track: int | None = None) -> None:
        self.path = path
        self.start_s = start_s
        self.end_s = end_s
        self.track = track
        self.rate_hz = 0
        self.finished = False
        self.lead_s = 0.0
        self.warnings: list[str] = []
        self._mono = np.zeros(0, np.float32)
        self._error: MediaError | None = None
        self._source = self._with_mix()

    def read(self, end_s: float | None) -> np.ndarray:
        """Return the samples from the window's start to `end_s` (window-relative, None for all).

        Returns:
            float32 array (n,), shorter than asked where the sound ends before.

        Raises:
            MediaError: as `thinslice.media.probe.open_media`; no sound track; nothing could be decoded.
        """
        if self._error is not None:
            raise self._error
        chunks: list[np.ndarray] = [self._mono]
        pieces: list[tuple[Channels, Mix | None]] = []
        length = len(self._mono)
        while not self.finished and (end_s is None or self.rate_hz == 0 or length < round(end_s * self.rate_hz)):
            try:
                piece = next(self._source, None)
            except MediaError as error:
                self._error = error
                raise
            if piece is None:
                self.finished = True
                break
            length += len(piece[0][0])
            pieces.append(piece)
            if len(pieces) == _PIECES_AT_ONCE:
                chunks += self._mix(pieces)
                pieces = []
        chunks += self._mix(pieces)
        if len(chunks) > 1:
            self._mono = np.concatenate(chunks)
        return self._mono if end_s is None else self._mono[: round(end_s * self.rate_hz)]

    def _mix(self, pieces: Sequence[tuple[Channels, Mix | None]]) -> list[np.ndarray]:
        """Return the mixed channels, with zeros for what is not a number."""
        chunks = mix_down(pieces)
        for chunk in chunks:
            broken = np.isnan(chunk)
            if broken.any():
                chunk[broken] = 0.0
                line = f"{self.path}: some of its samples are no numbers (NaN); they count as silence"
                if line not in self.warnings:
                    self.warnings.append(line)
        return chunks

    def _with_mix(self) -> Iterator[tuple[Channels, Mix | None]]:
        """Yield the pieces, each with how to mix it, held back until the first seconds of sound have told how."""
        mix: Mix | None = None
        held: list[Channels] = []
        num_held = 0
        for piece in self._pieces():
            if mix is None and (held or _has_sound(piece)):
                held.append(piece)
                num_held += len(piece[0])
                if num_held >= LISTEN_S * self.rate_hz:
                    mix = self._decide(held)
                    yield from ((earlier, mix) for earlier in held)
            else:
                yield piece, mix
        if mix is None and held:
            mix = self._decide(held)
            yield from ((earlier, mix) for earlier in held)

    def _decide(self, held: Sequence[Channels]) -> Mix:
        mix = choose_mix(held)
        if mix.note:
            self.warnings.append(f"{self.path}: {mix.note}")
        return mix

    def _pieces(self) -> Iterator[Channels]:
        """Yield consecutive stretches of samples as decoded, from the window's start to its end."""
        clock = _Clock(self.start_s, self.end_s)
        for frame, time_s, remaining_s in self._frames():
            rate = frame.sample_rate
            if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
                raise MediaError(f"{self.path}: its sound has a rate of {rate:,} Hz, as no recording has; convert it")
            if not self.rate_hz:
                self.rate_hz = rate
            num_samples = frame.samples if rate == self.rate_hz else round(frame.samples * self.rate_hz / rate)
            zeros, skip, keep = clock.place(time_s, num_samples, self.rate_hz, remaining_s)
            if zeros:
                if not clock.heard:
                    self.lead_s = zeros / self.rate_hz
                yield (np.zeros(zeros, np.float32),)
            if keep > skip:
                clock.heard = True
                samples = _channels(frame)
                if rate != self.rate_hz:  # The rate changes within the track: bring it to the first one.
                    samples = (resample(mix_down([(samples, None)])[0], rate, self.rate_hz),)
                yield samples if keep - skip == num_samples else tuple([part[skip:keep] for part in samples])
            if clock.done:
                return

    def _frames(self) -> Iterator[tuple[Any, float | None, float]]:
        """Yield decoded frames, their time on the file's clock, and how much the file may still hold after it."""
        if self.start_s > SEEK_FROM_S:
            landed = False
            for item in self._decode(seek=True):
                if not landed and (item[1] is None or item[1] > self.start_s):
                    break  # The seek landed too late, or nowhere known: decode from the beginning instead.
                landed = True
                yield item
            if landed:
                return
        yield from self._decode(seek=False)

    def _choose_track(self, container: Any) -> int | None:
        """Return the track to hear, and say which it is where there are several."""
        tracks = audio_tracks(container)
        if len(tracks) < 2:
            return None
        default = audio_stream(container)
        languages = [track.language for track in tracks]
        first = 1 + next((index for index, track in enumerate(tracks) if track is default), 0)
        order = [first, *(number for number in range(1, len(tracks) + 1) if number != first)]
        chosen = next((number for number in order if self._is_heard(number)), first)
        language = f" ({languages[chosen - 1]})" if languages[chosen - 1] else ""
        silent = f", since number {first} is silent" if chosen != first else ""
        self.warnings.append(
            f"{self.path}: has {len(tracks)} sound tracks; number {chosen}{language} is heard{silent}; "
            "choose another with --audio-track"
        )
        return chosen

    def _is_heard(self, track: int) -> bool:
        try:
            return not is_silent(MonoReader(self.path, self.start_s, self.end_s, track).read(LISTEN_S))
        except MediaError:
            return False

    def _no_track(self, num_tracks: int) -> str:
        if not num_tracks or self.track is None:
            return "has no sound; give a clip with a sound track"
        return f"has no sound track number {self.track}; choose from 1 to {num_tracks} with --audio-track"

    def _decode(self, seek: bool) -> Iterator[tuple[Any, float | None, float]]:
        with open_media(self.path, pictures=False) as container:
            if self.track is None:
                self.track = self._choose_track(container)
            stream = audio_stream(container, self.track)
            if stream is None:
                raise MediaError(f"{self.path}: {self._no_track(len(audio_tracks(container)))}")
            only(container, stream)
            origin = origin_s(container)
            length_s = (container.duration or 0) / av.time_base
            if stream.duration is not None:
                track_end = (stream.start_time or 0) + stream.duration
                stated_end_s: float | None = float(track_end * stream.time_base) - origin
            else:
                stated_end_s = None
            if seek:
                target = max(self.start_s - _PREROLL_S, 0.0) + origin
                try:
                    container.seek(int(target / stream.time_base), stream=stream)
                except DECODING_ERRORS:
                    return
            decoded_end_s = 0.0
            num_frames = num_damaged = 0
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except DECODING_ERRORS:
                    num_damaged += 1
                    break
                if packet is None:
                    break
                try:
                    frames = packet.decode()
                except DECODING_ERRORS:
                    num_damaged += 1
                    continue
                for frame in frames:
                    time_s = None if frame.pts is None else frame.time - origin
                    num_frames += 1
                    if time_s is not None:
                        decoded_end_s = time_s + frame.samples / frame.sample_rate
                    yield frame, time_s, max(length_s - (time_s or 0.0), 0.0)
            if not num_frames and num_damaged:
                raise MediaError(f"{self.path}: its sound cannot be decoded (damaged, or protected); convert it to wav")
            if num_frames or not seek:  # Nowhere landed says nothing of the file: it is decoded from the beginning.
                self._warn(num_damaged, decoded_end_s, stated_end_s)

    def _warn(self, num_damaged: int, decoded_end_s: float, stated_end_s: float | None) -> None:
        if stated_end_s is not None and decoded_end_s < stated_end_s - 0.5:
            self.warnings.append(
                f"{self.path}: is cut off: its sound ends at {max(decoded_end_s, 0.0):.1f} s of {stated_end_s:.1f} s; "
                "what is there is used"
            )
        elif num_damaged:
            self.warnings.append(
                f"{self.path}: skipped {counted(num_damaged, 'damaged stretch', 'damaged stretches')} of sound"
            )


class _Clock:
    """Where decoded samples belong in the window, by their time stamps."""

    def __init__(self, start_s: float, end_s: float | None) -> None:
        self.start_s = start_s
        self.length_s = None if end_s is None else end_s - start_s
        self.done = False
        self.heard = False
        self._next: int | None = None  # Window-relative index of the sample that should come next.
        self._shift_s = 0.0  # Added to all time stamps once the clock has jumped without reason.

    def place(self, time_s: float | None, num_samples: int, rate_hz: int, remaining_s: float) -> tuple[int, int, int]:
        """Return (zeros to insert before, first sample to keep, end of the samples to keep)."""
        position = self._position(time_s, rate_hz, remaining_s)
        limit = None if self.length_s is None else round(self.length_s * rate_hz)
        written = max(self._next or 0, 0)
        start = max(position, written)
        stop = position + num_samples
        if limit is not None:
            start, stop = min(start, limit), min(stop, limit)
            self.done = position + num_samples >= limit
        self._next = max(position + num_samples, self._next or position)
        return max(start - written, 0), start - position, stop - position

    def _position(self, time_s: float | None, rate_hz: int, remaining_s: float) -> int:
        if time_s is None:
            # Without a time stamp a frame follows the one before; the first starts the file.
            return round(-self.start_s * rate_hz) if self._next is None else self._next
        position = round((time_s + self._shift_s - self.start_s) * rate_hz)
        expected = self._next
        if expected is None:
            if self.start_s > 0 and position <= 0:
                return position  # The first frame overlaps the window's start: it sets the clock.
            expected = 0
        jump = position - expected
        if abs(jump) <= _JITTER_S * rate_hz:
            return expected
        if jump < -_MAX_BACKWARD_S * rate_hz or jump > min(remaining_s + 1.0, _MAX_GAP_S) * rate_hz:
            self._shift_s -= jump / rate_hz
            return expected
        return position


def _channels(frame: Any) -> Channels:
    """Return the samples of a PyAV audio frame as stored, without copying them.

    PyAV's own `to_ndarray` reads one plane too many where there are eight channels, and may crash the process.
    """
    kind = _SAMPLE_TYPES[frame.format.name.removesuffix("p")]
    count, channels = frame.samples, frame.layout.nb_channels
    if frame.format.is_planar:
        return tuple([np.frombuffer(plane, kind, count) for plane in frame.planes[:channels]])
    return tuple(np.frombuffer(frame.planes[0], kind, count * channels).reshape(count, channels).T)


def _has_sound(piece: Channels) -> bool:
    """Return whether a stretch has several channels and sound in one of them."""
    return len(piece) > 1 and not all(is_silent(to_16_bits(channel) / 32768) for channel in piece)


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Resample float32 (n,) with SoX's very-high-quality filter (soxr VHQ)."""
    if from_hz == to_hz or not len(samples):
        return samples
    import soxr

    return soxr.resample(samples, from_hz, to_hz, quality="VHQ")
