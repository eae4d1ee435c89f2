"""Following faces: who is who from frame to frame, and who is the main speaker."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thinslice.features.face_align import Face
from thinslice.features.face_track import follow_faces

HEIGHT, WIDTH = 720, 1280


def face(x: float, y: float = 360.0, size: float = 200.0) -> Face:
    return Face((x - size / 2, y - size / 2, x + size / 2, y + size / 2), {})


def follow(*frames: list[Face]):
    return follow_faces(frames, HEIGHT, WIDTH)


def test_nobody():
    assert follow([], []) == []


def test_one_person_who_moves():
    tracks = follow([face(500)], [face(620)], [face(720, size=240)])
    assert len(tracks) == 1
    assert tracks[0].num_seen == 3
    assert tracks[0].num_pieces == 1


def test_two_people_are_kept_apart_whatever_the_order_of_detection():
    left = [face(300 + 10 * index) for index in range(6)]
    right = [face(800 - 10 * index, size=260) for index in range(6)]
    frames = [[a, b] if index % 2 else [b, a] for index, (a, b) in enumerate(zip(left, right, strict=True))]
    tracks = follow(*frames)
    assert [track.faces for track in tracks] == [tuple(right), tuple(left)]
    assert tracks[0].positions == (0, 1, 0, 1, 0, 1)


def test_the_best_total_assignment_is_taken():
    # Each alone, the second face is nearest to where the first was; together, everybody has moved right.
    tracks = follow([face(300), face(420)], [face(410), face(530)])
    assert {tuple(f.centre[0] for f in track.faces) for track in tracks} == {(300, 410), (420, 530)}


def test_the_central_one_of_equals_and_the_larger_one_of_all():
    assert follow([face(150, 150), face(640)])[0].faces[0] == face(640)
    assert follow([face(200, 200, size=400), face(640)])[0].faces[0] == face(200, 200, size=400)


def test_presence_over_time_counts():
    long, short = [face(400)] * 9, face(900, size=260)
    frames = [[one, short] if index == 4 else [one] for index, one in enumerate(long)]
    assert follow(*frames)[0].faces == tuple(long)


def test_a_gap_does_not_end_a_track():
    tracks = follow([face(640)], [], [], [face(700)])
    assert len(tracks) == 1
    assert tracks[0].faces == (face(640), None, None, face(700))
    assert tracks[0].positions == (0, None, None, 0)
    assert tracks[0].num_pieces == 1


def test_a_single_face_after_a_cut_is_taken_for_the_same_person():
    tracks = follow([face(300)], [face(310)], [face(1000, size=260)], [face(1000, size=260)])
    assert len(tracks) == 1
    assert tracks[0].num_seen == 4
    assert tracks[0].num_pieces == 2


def test_faces_seen_together_are_never_joined():
    tracks = follow([face(300)], [face(300), face(1000)], [face(1000)])
    assert sorted(track.num_seen for track in tracks) == [2, 2]


def test_a_much_smaller_face_elsewhere_is_somebody_else():
    tracks = follow([face(640, size=300)], [face(100, 100, size=80)], [face(640, size=300)])
    assert tracks[0].faces == (face(640, size=300), None, face(640, size=300))


@given(
    st.lists(st.lists(st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT), st.floats(5, 700)), max_size=4), max_size=8)
)
def test_every_face_is_in_exactly_one_track(placed):
    frames = [[face(x, y, size) for x, y, size in people] for people in placed]
    tracks = follow_faces(frames, HEIGHT, WIDTH)
    for index, people in enumerate(frames):
        positions = sorted(track.positions[index] for track in tracks if track.positions[index] is not None)
        assert positions == list(range(len(people)))
        for track in tracks:
            position = track.positions[index]
            assert track.faces[index] == (None if position is None else people[position])
    prominences = [track.prominence for track in tracks]
    assert prominences == sorted(prominences, reverse=True)
    assert np.isfinite(prominences).all()
