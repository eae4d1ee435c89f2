"""Opening a media file: what is in it, and one clear line where it cannot be read."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import av.stream

from thinslice.errors import MediaError
from thinslice.media.check import check_file
from thinslice.media.limits import MAX_PIXELS, MAX_THREADS
from thinslice.media.mp4 import Track, find_protection, read_tracks
from thinslice.media.orientation import pixel_aspect, read_matrix, rotation_deg, shown_width, swaps_sides
from thinslice.media.pictures import Pictures, picture_size

# FFmpeg demuxers that read something other than one recording. Playlists would also pull in other files.
_PLAYLISTS = {"hls", "dash", "concat", "sdp", "rtsp"}
_TEXT = {"tty", "bin", "ass", "srt", "webvtt", "lrc", "ffmetadata", "subviewer", "microdvd", "sami"}
DECODING_ERRORS = (av.FFmpegError, IndexError, ValueError, MemoryError)
"""What PyAV raises on damaged data; IndexError where a stream turns up in the middle of a file."""

_QUICK = {"skip_frame": "all", "analyzeduration": "1", "fpsprobesize": "1"}
_ABOUT = {"title", "comment", "description", "synopsis"}  # Tags in which a file tells what it is.
_SYNTHETIC = re.compile(
    r"\b(synthetic|synthesi[sz]ed|computer voice|computer[- ]generated|animated|deep ?fake"
    r"|(ai|artificially|machine)[- ]generated|generated (by|with) (an? )?ai)\b",
    re.IGNORECASE,
)
_PDF, _IS_PDF = b"%PDF", "is a PDF document, not video or audio; give the media file itself"
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}  # With which MP4 and MOV files may start.


@dataclass(frozen=True)
class MediaInfo:
    """What a media file holds.

    Attributes:
        container: FFmpeg's name of the file format, such as "mov,mp4,m4a,3gp,3g2,mj2" or "wav".
        duration_s: length of the whole file, seconds.
        has_audio: whether there is a sound track.
        has_video: whether there are moving pictures; the cover art of a music file is none.
        width: width of a frame as shown (with square pixels, after rotation), pixels; 0 without video.
        height: height of a frame as shown (after rotation), pixels; 0 without video.
        rotation_deg: by how much frames are turned for showing, counterclockwise, one of 0, 90, 180, 270.
        frame_rate_hz: average frame rate; 0 without video, or where the file does not say.
        video_codec: FFmpeg's name of the decoder; "" without video.
        audio_rate_hz: sampling rate as stored; 0 without sound.
        audio_codec: FFmpeg's name of the decoder; "" without sound.
        num_channels: channels of the sound track marked as default, else the first; 0 without sound.
        num_audio_streams: how many sound tracks there are.
        num_pictures: of a folder of frames or a single picture; 0 for a recording.
        said_synthetic: the file's title, comment or description, if that says that it is not a recording of a person.
    """

    container: str
    duration_s: float
    has_audio: bool
    has_video: bool
    width: int = 0
    height: int = 0
    rotation_deg: int = 0
    frame_rate_hz: float = 0.0
    video_codec: str = ""
    audio_rate_hz: int = 0
    audio_codec: str = ""
    num_channels: int = 0
    num_audio_streams: int = 0
    num_pictures: int = 0
    said_synthetic: str = ""


@contextmanager
def open_media(path: Path, pictures: bool = True) -> Iterator[av.container.InputContainer]:
    """Open a media file for decoding.

    Nothing but the file itself is ever opened: FFmpeg may use its `file` protocol only.

    Args:
        path: the media file.
        pictures: whether pictures will be decoded. Else, FFmpeg decodes none of an MP4 or MOV file while it looks
            for what the streams hold, and looks at hardly more than the file's head, which makes opening a 720p video
            eight times as fast. (Other formats need it to know when they start.)

    Yields:
        The container, with at least one sound track or one track of moving pictures.

    Raises:
        MediaError: the file is missing, unreadable, damaged, protected, or no recording.
    """
    check_file(path)
    try:
        is_mp4 = _head(path)[4:8] in _MP4_BOXES
        # More boxes than it takes, and FFmpeg would be busy with them for seconds.
        tracks = read_tracks(path) if is_mp4 else None
        quick = not pictures and is_mp4
        # The prefix keeps a name such as "Talk: part 1.mp4" from being taken for a network address.
        container = av.open(
            f"file:{path}",
            container_options={"protocol_whitelist": "file"},
            options={"max_pixels": str(MAX_PIXELS)} | (_QUICK if quick else {}),
        )
    except (*DECODING_ERRORS, OSError) as error:
        raise MediaError(f"{path}: {_why_unreadable(path, error)}") from None
    with container:
        problem = _what_is_wrong(path, container, tracks)
        if problem:
            raise MediaError(f"{path}: {problem}")
        yield container


def audio_tracks(container: av.container.InputContainer) -> list[Any]:
    """Return the sound tracks that can be decoded, in the file's order."""
    return [track for track in container.streams.audio if track.codec_context is not None]


def audio_stream(container: av.container.InputContainer, number: int | None = None) -> Any | None:
    """Return a sound track; None where there is no such track.

    Args:
        container: the opened file.
        number: which one, counted from 1; None for the first that is marked as default, else the first.
    """
    tracks = audio_tracks(container)
    if number is not None:
        return tracks[number - 1] if 1 <= number <= len(tracks) else None
    default = [track for track in tracks if track.disposition & av.stream.Disposition.default]
    return next(iter(default or tracks), None)


def video_stream(container: av.container.InputContainer) -> Any | None:
    """Return the pictures to see: the first default track that is not cover art, else the first; None without."""
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    tracks = [
        track for track in container.streams.video if track.codec_context is not None and not track.disposition & still
    ]
    default = [track for track in tracks if track.disposition & av.stream.Disposition.default]
    return next(iter(default or tracks), None)


def origin_s(container: av.container.InputContainer) -> float:
    """Return the time stamp, in seconds, at which the file starts: zero of every window."""
    return (container.start_time or 0) / av.time_base


def only(container: av.container.InputContainer, stream: Any) -> None:
    """Let the demuxer skip every other stream, so that their bytes are not even read."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all


def bound(decoder: Any) -> None:
    """Bound what a decoder of pictures may take; a picture may be larger than the file's head says."""
    decoder.thread_count = min(os.cpu_count() or 1, MAX_THREADS)
    decoder.options = {"max_pixels": str(MAX_PIXELS)}


def probe(path: Path) -> MediaInfo:
    """Read what a media file holds.

    MP4 and MOV files are not decoded for it; of other videos the first frame is, as only a frame tells how it
    is turned.

    Raises:
        MediaError: as `open_media`.
    """
    with open_media(path, pictures=False) as container:
        audio, video = audio_stream(container), video_stream(container)
        name = container.format.name
        said_synthetic = _said_synthetic(container.metadata)
        # The head of an AVI file counts its pictures; its sound may be longer.
        stated = None if name == "avi" and audio is not None else container.duration
        duration_s = stated / av.time_base if stated else None
        fields: dict[str, Any] = {}
        if audio is not None:
            fields |= {
                "audio_rate_hz": audio.codec_context.sample_rate,
                "audio_codec": audio.codec_context.name,
                "num_channels": audio.codec_context.channels,
                "num_audio_streams": len(container.streams.audio),
            }
        if video is not None and name.startswith("mov,"):
            matrices = {track.track_id: track.matrix for track in read_tracks(path)}
            fields |= _picture_fields(video, matrices.get(video.id, ()))
    if video is not None and not fields.get("width"):
        fields |= _decoded_picture_fields(path)
    return MediaInfo(
        container=name,
        duration_s=_measured_duration_s(path) if duration_s is None else duration_s,
        has_audio=audio is not None,
        has_video=video is not None,
        said_synthetic=said_synthetic,
        **fields,
    )


def _said_synthetic(tags: Mapping[str, str]) -> str:
    """Return the first of a file's texts about itself that calls it synthetic, on one line and not too long; or ""."""
    for name, text in tags.items():
        if name.lower() in _ABOUT and _SYNTHETIC.search(text):
            return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:120]
    return ""


def probe_pictures(pictures: Pictures) -> MediaInfo:
    """Return what a clip of still pictures holds; of the first picture the head is read.

    Raises:
        MediaError: the first picture cannot be read.
    """
    width, height, kind = picture_size(pictures.paths[0])
    return MediaInfo(
        container="pictures",
        duration_s=pictures.duration_s,
        has_audio=False,
        has_video=True,
        width=width,
        height=height,
        frame_rate_hz=len(pictures.paths) / pictures.duration_s,
        video_codec=kind,
        num_pictures=len(pictures.paths),
    )


def frame_matrix(frame: Any) -> tuple[int, ...]:
    """Return the display matrix of a decoded video frame, () where it has none."""
    try:
        side_data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 does not know all kinds of side data, EXIF for one, and then gives none.
        return ()
    return () if side_data is None else read_matrix(bytes(side_data))


def _picture_fields(video: Any, matrix: Sequence[int]) -> dict[str, Any]:
    size = (shown_width(video.codec_context.width, pixel_aspect(video)), video.codec_context.height)
    width, height = size[::-1] if swaps_sides(matrix) else size
    rate = video.average_rate or video.guessed_rate
    return {
        "width": width,
        "height": height,
        "rotation_deg": rotation_deg(matrix),
        "frame_rate_hz": float(rate) if rate else 0.0,
        "video_codec": video.codec_context.name,
    }


def _decoded_picture_fields(path: Path) -> dict[str, Any]:
    with open_media(path) as container:
        video = video_stream(container)
        assert video is not None  # the caller has seen it
        only(container, video)
        bound(video.codec_context)
        matrix: tuple[int, ...] = ()
        try:
            for frame in container.decode(video):
                matrix = frame_matrix(frame)
                break
        except DECODING_ERRORS:
            pass  # Whoever asks for the frames is told so.
        return _picture_fields(video, matrix)


def _measured_duration_s(path: Path) -> float:
    """Length of a file whose header does not say (a browser's WebM recording, AVI), from its packets."""
    end = 0.0
    with open_media(path, pictures=False) as container:
        start = origin_s(container)
        try:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - start)
        except DECODING_ERRORS:
            pass  # The rest is damaged: what came before counts.
    return end


def _what_is_wrong(path: Path, container: av.container.InputContainer, tracks: Sequence[Track] | None) -> str | None:
    """Return what keeps an opened container from being used, or None."""
    name = container.format.name
    if _head(path).startswith(_PDF):  # FFmpeg takes one that begins with a picture for a film.
        return _IS_PDF
    if name in _PLAYLISTS:
        return "is a playlist, not a recording; give the media file itself"
    if name in _TEXT:
        return "is text, not video or audio; give the media file itself"
    audio, video = audio_stream(container), video_stream(container)
    is_still = video is not None and video.frames == 1 and not container.duration
    if name in ("image2", "ico") or name.endswith("_pipe") or (audio is None and is_still):
        return "is a picture of a kind that is not read; convert it to PNG or JPEG"
    if name.startswith("mov,"):
        protection = find_protection(read_tracks(path) if tracks is None else tracks)
        if protection:
            return protection
    if audio is None and video is None:
        return "holds neither sound nor moving pictures that can be decoded; convert it to mp4 or wav"
    return None


def _why_unreadable(path: Path, error: Exception) -> str:
    """Say why FFmpeg could not open a file, from the file's first bytes."""
    head = _head(path)
    archives = {b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z", b"Rar!": "rar", b"\x1f\x8b": "gzip"}
    for magic, kind in archives.items():
        if head.startswith(magic):
            # Bit 0 of a zip entry's flags: the entry is encrypted (APPNOTE.TXT, section 4.4.4).
            locked = " password-protected" if kind == "zip" and len(head) > 6 and head[6] & 1 else ""
            return f"is a{locked} {kind} archive; unpack it and give the media file inside"
    if head.startswith((b"Salted__", b"-----BEGIN PGP", b"age-encryption.org")):
        return "is encrypted; decrypt it first"
    if head.startswith(_PDF):
        return _IS_PDF
    if head[4:8] in _MP4_BOXES - {b"moov"}:
        return "is cut off or damaged: its index (the moov box) is missing; copy, download or record it again"
    if head[4:8] == b"moov":
        return "is damaged; copy or download it again"
    if _looks_like_text(head):
        return "is text, not video or audio; give the media file itself"
    if isinstance(error, av.error.DemuxerNotFoundError):
        return "has an unknown file format; convert it to mp4 or wav"
    return "is not video or audio, or is damaged; try to play it, or convert it to mp4 or wav"


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(4096)


def _looks_like_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # Only a character cut by the end of `head` may fail.
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t\f\ufeff" for character in text)
