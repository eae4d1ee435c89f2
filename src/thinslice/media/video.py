"""Frames of a media file at given times: no more is decoded than they need, no more is converted than they are."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from thinslice.errors import MediaError
from thinslice.media.frame import Frame
from thinslice.media.limits import MAX_PIXELS
from thinslice.media.orientation import pixel_aspect, shown_width, swaps_sides, turn_upright
from thinslice.media.probe import DECODING_ERRORS, bound, frame_matrix, only, open_media, origin_s, video_stream

SEEK_FROM_S = 30.0
"""Windows that start later than this are reached by seeking to the key frame before them."""

HDR_CURVES = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of high dynamic range (ITU-T H.273, table 3)."""

_SEEK_BACK_S = (0.0, 10.0, 60.0)  # MPEG-TS lands between key frames: try further back until one comes in time.
_ROUNDING_S = 0.001  # Matroska keeps whole milliseconds: a frame this little after its time is on time.


@dataclass(frozen=True)
class _Plan:
    """Which packets have to be decoded.

    Attributes:
        exact: time stamps of the frames that are shown at the wanted times.
        fed: time stamps of all packets in the groups of pictures that these frames need; None for all packets.
        seek_s: where to start reading, seconds on the file's clock; None for its beginning.
    """

    exact: frozenset[int]
    fed: frozenset[int] | None
    seek_s: float | None


def decode_frames(
    path: Path,
    times_s: Iterable[float],
    start_s: float = 0.0,
    size: tuple[int, int] | None = None,
    warnings: list[str] | None = None,
) -> Iterator[Frame]:
    """Yield the frame that a player shows at each time: the last whose time stamp is not after it.

    A time before the first frame gives the first frame, a time after the last one the last.

    Args:
        path: the media file.
        times_s: ascending times, seconds from `start_s`.
        start_s: start of the window on the file's clock, seconds.
        size: (width, height) to scale the upright picture to, by swscale's bilinear filter, which averages when
            it makes pictures smaller; None for the size as stored.
        warnings: where to add a line if the file is cut off before the last time.

    Raises:
        MediaError: as `thinslice.media.probe.open_media`; no pictures; nothing could be decoded.
        ValueError: the times do not ascend.
    """
    wanted = [float(time) for time in times_s]
    if not all(earlier <= later for earlier, later in pairwise([float("-inf"), *wanted])):
        raise ValueError("times_s must ascend")
    if not wanted:
        return
    clock_s = [start_s + time for time in wanted]
    warnings = [] if warnings is None else warnings
    plan = _plan(path, clock_s, warnings)
    position = 0
    shown: tuple[Any, float] | None = None  # The last frame, and its time from the window's start.
    image: np.ndarray | None = None
    aspect = 1.0
    for frame, time_s, aspect in _decode(path, plan):
        if shown is None and frame.color_trc in HDR_CURVES:
            warnings.append(
                f"{path}: is HDR video ({HDR_CURVES[frame.color_trc]}); its colours are read as if they were standard, "
                "which changes how a face looks; convert it to SDR"
            )
        while shown is not None and position < len(wanted) and clock_s[position] + _ROUNDING_S < time_s:
            image = upright(shown[0], size, aspect) if image is None else image
            yield Frame(shown[1], image, wanted[position])
            position += 1
        if position == len(wanted):
            return
        shown, image = (frame, time_s - start_s), None
    if shown is None:
        raise MediaError(f"{path}: its pictures cannot be decoded (damaged, or protected); convert it to mp4")
    image = upright(shown[0], size, aspect) if image is None else image
    for time in wanted[position:]:
        yield Frame(shown[1], image, time)


def upright(frame: Any, size: tuple[int, int] | None = None, aspect: float = 1.0) -> np.ndarray:
    """Return a PyAV video frame as uint8 RGB (height, width, 3), as it is shown: pixels square, display matrix applied.

    Args:
        frame: the decoded frame.
        size: (width, height) of the result; None for the size at which it is shown.
        aspect: width of a stored pixel by its height; the picture is made wider or narrower by it.
    """
    matrix = frame_matrix(frame)
    scaling: dict[str, Any] = {}
    width, height = shown_width(frame.width, aspect), frame.height
    if size is not None:
        width, height = size[::-1] if swaps_sides(matrix) else size
    if size is not None or width != frame.width:
        scaling = {"width": width, "height": height, "interpolation": "BILINEAR"}
    return turn_upright(frame.to_ndarray(format="rgb24", **scaling), matrix)


def _stream(path: Path, container: av.container.InputContainer) -> Any:
    stream = video_stream(container)
    if stream is None:
        raise MediaError(f"{path}: has no pictures; give a video")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        raise MediaError(f"{path}: its pictures are {width} x {height}, over {most} megapixels; scale them down")
    only(container, stream)
    return stream


def _plan(path: Path, wanted: Sequence[float], warnings: list[str]) -> _Plan:
    """Read the time stamps of the packets, without decoding, and choose which have to be decoded.

    Args:
        path: the media file.
        wanted: ascending times on the file's clock, seconds.
        warnings: where to add a line if the file is cut off before the last time.
    """
    for back_s in _SEEK_BACK_S:
        if wanted[0] - back_s > SEEK_FROM_S:
            plan = _plan_from(path, wanted, wanted[0] - back_s, warnings)
            if plan is not None:
                return plan
    plan = _plan_from(path, wanted, None, warnings)
    return plan or _Plan(frozenset(), None, None)


def _plan_from(path: Path, wanted: Sequence[float], seek_s: float | None, warnings: list[str]) -> _Plan | None:
    """Plan for reading from `seek_s` on; None if that misses the first time, or packets have no time stamps."""
    groups: list[list[int]] = []  # Time stamps by group of pictures, in the order of decoding.
    last_end = 0
    with open_media(path, pictures=False) as container:
        stream = _stream(path, container)
        origin, unit = origin_s(container), float(stream.time_base)
        stated_end_s = None if stream.duration is None else stream.duration * unit
        try:
            if seek_s is not None:
                container.seek(int((seek_s + origin) / unit), stream=stream)
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue  # The end of the file.
                if packet.pts is None:
                    return None
                if packet.is_keyframe or (not groups and seek_s is None):
                    groups.append([])
                if not groups:
                    continue  # Built on a key frame before the point that the seek reached.
                groups[-1].append(packet.pts)
                last_end = max(last_end, packet.pts + (packet.duration or 0))
                if packet.dts is not None and packet.dts * unit - origin > wanted[-1] + _ROUNDING_S:
                    break  # Frames are shown no earlier than they are decoded: all that matter have been seen.
        except DECODING_ERRORS:
            pass  # The rest is damaged: what came before counts.
    stamps = sorted(stamp for group in groups for stamp in group)
    times = [stamp * unit - origin for stamp in stamps]
    if not stamps or (seek_s is not None and times[0] > wanted[0] + _ROUNDING_S):
        return None
    # A picture is there until the next: one a second may well stand for the last second.
    end_s = max(last_end * unit - origin, times[-1] + (times[-1] - times[-2] if len(times) > 1 else 0.0))
    if stated_end_s is not None and min(stated_end_s, wanted[-1]) > end_s + 0.5:
        warnings.append(
            f"{path}: is cut off: its pictures end at {end_s:.1f} s of {stated_end_s:.1f} s; the last is repeated"
        )
    exact = frozenset(stamps[max(bisect_right(times, time + _ROUNDING_S) - 1, 0)] for time in wanted)
    fed: set[int] = set()
    next_leads = False
    for group in reversed(groups):
        # Frames shown before their own key frame may be built on the group before it, too.
        if next_leads or not exact.isdisjoint(group):
            fed.update(group)
            next_leads = not exact.isdisjoint(stamp for stamp in group if stamp < group[0])
    return _Plan(exact, frozenset(fed), seek_s)


def _decode(path: Path, plan: _Plan) -> Iterator[tuple[Any, float, float]]:
    """Yield decoded frames in the order they are shown, their time on the file's clock, and their pixels' aspect."""
    with open_media(path) as container:
        stream = _stream(path, container)
        stream.thread_type = "AUTO"
        decoder = stream.codec_context
        bound(decoder)
        origin, unit = origin_s(container), float(stream.time_base)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        if plan.seek_s is not None:
            container.seek(int((plan.seek_s + origin) / unit), stream=stream)
        aspect = pixel_aspect(stream)
        previous_s = -1 / rate
        packets = container.demux(stream)
        skipping = False
        while True:
            try:
                packet = next(packets, None)
            except DECODING_ERRORS:
                packet = None
            if packet is None:
                return
            frames: list[Any] = []
            try:
                if plan.fed is None:
                    frames = packet.decode()
                elif packet.size == 0 or packet.pts in plan.fed:
                    # A frame that is neither wanted nor the base of another one need not be decoded.
                    decoder.skip_frame = "DEFAULT" if packet.pts in plan.exact else "NONREF"
                    frames = packet.decode()
                    skipping = False
                elif not skipping:
                    frames = decoder.decode(None)  # A group is left out: get what is still inside, start afresh.
                    decoder.flush_buffers()
                    skipping = True
            except DECODING_ERRORS:
                continue  # A damaged packet: the frames after it may be whole.
            for frame in frames:
                previous_s = previous_s + 1 / rate if frame.pts is None else frame.pts * unit - origin
                yield frame, previous_s, aspect
