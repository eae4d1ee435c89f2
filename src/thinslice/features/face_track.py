"""Following faces through sparse frames, and telling which is the main speaker's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thinslice.features.face_align import Face

_MAX_SHIFT = 1.0  # Between two frames a face moves at most by its own size ...
_MAX_RATIO = 2.0  # ... and at most doubles or halves.
_NO_LINK = 1e6


@dataclass(frozen=True)
class FaceTrack:
    """One person's face through the frames that were looked at.

    Attributes:
        faces: of each frame, the person's face, or None where it was not found.
        positions: of each frame, where that face stands in the frame's list of faces, or None.
        prominence: how much of the picture the face takes, near the middle counting up to twice as much as in a
            corner, summed over the frames.
        num_pieces: 1, or more where the face jumped (a cut in the video) and the pieces were taken for one person.
    """

    faces: tuple[Face | None, ...]
    positions: tuple[int | None, ...]
    prominence: float
    num_pieces: int = 1

    @property
    def num_seen(self) -> int:
        """Number of frames in which the face was found."""
        return sum(face is not None for face in self.faces)


def follow_faces(frames: Sequence[Sequence[Face]], height: int, width: int) -> list[FaceTrack]:
    """Sort the faces of consecutive frames by person, the most prominent person first.

    A face goes with the one in earlier frames that is nearest, in units of face size, if it has moved by no more than
    its size and has not more than doubled or halved; the best total assignment is taken. Then pieces of tracks that
    never share a frame, and whose sizes differ by no more than a factor of two, are joined to the most prominent: after
    a cut, a single face is taken for the same person's.

    Args:
        frames: faces of each frame, in time order.
        height: of the frames, pixels.
        width: of the frames, pixels.

    Returns:
        The tracks; none without faces.
    """
    tracks: list[dict[int, int]] = []  # Frame -> position of the face there.
    for index, faces in enumerate(frames):
        last = [frames[max(track)][track[max(track)]] for track in tracks]
        linked = _link(last, faces)
        for position in range(len(faces)):
            if position in linked:
                tracks[linked[position]][index] = position
            else:
                tracks.append({index: position})
    sized = [(track, 1) for track in tracks]
    sized.sort(key=lambda item: -_prominence(item[0], frames, height, width))
    joined = _join(sized, frames)
    result = [_track(track, pieces, frames, height, width) for track, pieces in joined]
    return sorted(result, key=lambda track: -track.prominence)


def _link(last: Sequence[Face], faces: Sequence[Face]) -> dict[int, int]:
    """Return position of a face -> index of the track it continues."""

    if not last or not faces:
        return {}
    costs = np.full((len(faces), len(last)), _NO_LINK)
    for row, face in enumerate(faces):
        for column, other in enumerate(last):
            shift = np.hypot(*np.subtract(face.centre, other.centre)) / np.mean([face.size, other.size])
            ratio = max(face.size, other.size) / min(face.size, other.size)
            if shift <= _MAX_SHIFT and ratio <= _MAX_RATIO:
                costs[row, column] = shift + np.log2(ratio)
    return {row: column for row, column in _assign(costs) if costs[row, column] < _NO_LINK}


def _assign(costs: np.ndarray) -> list[tuple[int, int]]:
    """Return the (row, column) pairs of the cheapest assignment of costs (n, m), found by going through all of them."""
    num_rows, num_columns = costs.shape
    if num_rows > num_columns:
        return sorted((row, column) for column, row in _assign(costs.T))
    # Of each set of columns that the rows so far may take: what it costs, and who takes which.
    best: dict[frozenset[int], tuple[float, list[tuple[int, int]]]] = {frozenset(): (0.0, [])}
    for row in range(num_rows):
        following: dict[frozenset[int], tuple[float, list[tuple[int, int]]]] = {}
        for taken, (cost, pairs) in best.items():
            for column in set(range(num_columns)) - taken:
                candidate = cost + float(costs[row, column])
                chosen = taken | {column}
                if chosen not in following or candidate < following[chosen][0]:
                    following[chosen] = (candidate, [*pairs, (row, column)])
        best = following
    return min(best.values(), key=lambda found: found[0])[1]


def _join(
    tracks: list[tuple[dict[int, int], int]], frames: Sequence[Sequence[Face]]
) -> list[tuple[dict[int, int], int]]:
    """Join to the first track what may be the same person after a cut."""
    if not tracks:
        return []
    main, pieces = dict(tracks[0][0]), 1
    size = _median_size(main, frames)
    others = []
    for track, num in tracks[1:]:
        ratio = _median_size(track, frames) / size
        if main.keys() & track.keys() or not 1 / _MAX_RATIO <= ratio <= _MAX_RATIO:
            others.append((track, num))
        else:
            main |= track
            pieces += 1
    return [(main, pieces), *others]


def _median_size(track: dict[int, int], frames: Sequence[Sequence[Face]]) -> float:
    return float(np.median([frames[index][position].size for index, position in track.items()]))


def _prominence(track: dict[int, int], frames: Sequence[Sequence[Face]], height: int, width: int) -> float:
    total = 0.0
    for index, position in track.items():
        face = frames[index][position]
        from_middle = np.hypot(face.centre[0] - width / 2, face.centre[1] - height / 2) / np.hypot(
            width / 2, height / 2
        )
        total += face.size**2 / (height * width) * (1 - 0.5 * min(float(from_middle), 1.0))
    return total


def _track(track: dict[int, int], pieces: int, frames: Sequence[Sequence[Face]], height: int, width: int) -> FaceTrack:
    positions = tuple(track.get(index) for index in range(len(frames)))
    faces = tuple(None if position is None else frames[index][position] for index, position in enumerate(positions))
    return FaceTrack(faces, positions, _prominence(track, frames, height, width), pieces)
