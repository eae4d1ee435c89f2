"""Small media files for tests, written with PyAV."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SAMPLE_FORMATS = {np.dtype(np.float32): "fltp", np.dtype(np.int16): "s16p", np.dtype(np.int32): "s32p"}


def tone(seconds: float, rate_hz: int = 44100, pitch_hz: float = 440.0, level: float = 0.3) -> np.ndarray:
    """A sine as float32 (1, n)."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * pitch_hz * time)).astype(np.float32)[None]


def voice_like(seconds: float, rate_hz: int = 44100, seed: int = 0) -> np.ndarray:
    """Harmonics of a moving pitch under a syllable rhythm, and some noise, as float32 (1, n)."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = np.cumsum(2 * np.pi * (120 + 30 * np.sin(2 * np.pi * 0.4 * time)) / rate_hz)
    harmonics = sum(np.sin(number * phase) / number**1.3 for number in range(1, 30))
    rhythm = np.clip(np.sin(2 * np.pi * 3.0 * time) + 0.4, 0.0, None)
    return (0.1 * harmonics * rhythm + 0.003 * rng.normal(size=len(time))).astype(np.float32)[None]


def grey(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture of one grey, uint8 (height, width, 3)."""
    return np.full((height, width, 3), level, np.uint8)


def numbered(count: int, rate_hz: float = 25.0) -> list[tuple[float, np.ndarray]]:
    """Frames (time, picture) whose grey grows by 3 from 20 on, so that `number_of` can tell them apart."""
    return [(index / rate_hz, grey(20 + 3 * index)) for index in range(count)]


def number_of(image: np.ndarray) -> int:
    """Which of `numbered` frames a decoded picture is."""
    return round((float(image.mean()) - 20) / 3)


def write_media(
    path: Path,
    sounds: Sequence[np.ndarray] = (),
    pictures: Sequence[tuple[float, np.ndarray]] = (),
    *,
    rate_hz: int = 44100,
    audio_codec: str = "aac",
    sound_start_s: float = 0.0,
    gap_s: tuple[float, float] | None = None,
    video_codec: str = "libx264",
    codec_options: Mapping[str, str] | None = None,
    rotation_deg: float | None = None,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    transfer: int | None = None,
    default_sound: int = 0,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write sound tracks, each float32, int16 or int32 (channels, n), and timed pictures to a file.

    Args:
        path: the file; its extension chooses the format.
        sounds: one array per sound track.
        pictures: (time in seconds, uint8 (height, width, 3)).
        rate_hz: sampling rate of the sounds.
        audio_codec: encoder of the sounds.
        sound_start_s: time stamp of the first sample.
        gap_s: (at, length): the time stamps of samples from `at` seconds on are later by `length`.
        video_codec: encoder of the pictures.
        codec_options: its options.
        rotation_deg: display rotation, counterclockwise.
        matrix: display matrix, in place of a rotation.
        aspect: width of a pixel by its height.
        transfer: transfer characteristics, as ITU-T H.273 numbers them.
        default_sound: which sound track is marked as default.
        options: of the container.
    """
    with av.open(str(path), "w", options=dict(options or {})) as container:
        video = None
        if pictures:
            video = container.add_stream(video_codec, rate=25, options=dict(codec_options or {}))
            video.height, video.width = pictures[0][1].shape[:2]
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = Fraction(1, 1000)
            if aspect is not None:
                video.codec_context.sample_aspect_ratio = aspect
            if transfer is not None:
                video.codec_context.color_trc = transfer
            if rotation_deg is not None:
                video.set_display_rotation(rotation_deg)
            if matrix is not None:
                video.set_display_matrix(matrix)
        tracks = []
        for index, sound in enumerate(sounds):
            layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(sound)]
            track = container.add_stream(audio_codec, rate=rate_hz, layout=layout)
            track.disposition = av.stream.Disposition.default if index == default_sound else 0
            tracks.append(track)
        for time_s, image in pictures:
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        if video:
            container.mux(video.encode())
        for track, sound in zip(tracks, sounds, strict=True):
            for begin in range(0, sound.shape[1], 1024):
                piece = np.ascontiguousarray(sound[:, begin : begin + 1024])
                kind = SAMPLE_FORMATS[sound.dtype]
                frame = av.AudioFrame(kind, track.layout.name, piece.shape[1])
                # PyAV counts one plane too many where there are eight channels.
                for plane, channel in zip(frame.planes, piece, strict=False):
                    plane.update(channel.tobytes())
                frame.sample_rate = rate_hz
                late_s = gap_s[1] if gap_s and begin >= gap_s[0] * rate_hz else 0.0
                frame.pts, frame.time_base = begin + round((sound_start_s + late_s) * rate_hz), Fraction(1, rate_hz)
                container.mux(track.encode(frame))
            container.mux(track.encode())
    return path


def png() -> bytes:
    """A small picture as a PNG file."""
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "rgb24", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(grey(90))
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode()])


def with_cover(mp3: bytes) -> bytes:
    """An MP3 file with a front cover (an ID3v2.3 tag with an APIC frame)."""
    body = b"\x00image/png\x00\x03\x00" + png()
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\x00\x00" + body
    size = len(frame)
    syncsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + syncsafe + frame + mp3
