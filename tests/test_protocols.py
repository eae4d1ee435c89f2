"""Who is seen, which clips are the same, and what may be looked up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.evaluate.clip_names import clip_key, match_clips
from thinslice.evaluate.protocols import PROTOCOLS, is_seen, protocol_masks
from thinslice.evaluate.scorecard import LabelledClips, pool_training

names = st.text("abcXYZ019_-", min_size=1, max_size=8).map(lambda stem: f"{stem}.003")


def test_seen_and_unseen_part_the_clips() -> None:
    masks = protocol_masks(["a", "b", "a", "c"], ["a", "x"])
    assert list(masks) == list(PROTOCOLS)
    assert masks["official"].tolist() == [True] * 4  # type: ignore[union-attr]
    assert masks["seen_speakers"].tolist() == [True, False, True, False]  # type: ignore[union-attr]
    assert masks["unseen_speakers"].tolist() == [False, True, False, True]  # type: ignore[union-attr]


def test_without_training_nobody_is_seen_or_unseen() -> None:
    assert protocol_masks(["a"], None) == {"official": [True], "seen_speakers": None, "unseen_speakers": None}
    assert is_seen([], ["a"]).shape == (0,)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("J4GQm9j0JZ0.003.mp4", ("J4GQm9j0JZ0.003",)),
        ("J4GQm9j0JZ0.003", ("J4GQm9j0JZ0.003",)),
        (" J4GQm9j0JZ0.003.MP4 ", ("J4GQm9j0JZ0.003",)),
        ("./data/test/J4GQm9j0JZ0.003.mp4", ("data", "test", "J4GQm9j0JZ0.003")),
        (r"C:\data\J4GQm9j0JZ0.003.mp4", ("C:", "data", "J4GQm9j0JZ0.003")),
        (".mp4", (".mp4",)),
        ("", ()),
    ],
)
def test_clip_key(name: str, key: tuple[str, ...]) -> None:
    assert clip_key(name) == key


@given(st.lists(names, min_size=1, unique=True), st.data())
def test_spelling_is_irrelevant(wanted: list[str], data: st.DataObject) -> None:
    folder = data.draw(st.sampled_from(["", "./", "test/", "/data/fi/test80_01/", "C:\\clips\\"]))
    suffix = data.draw(st.sampled_from(["", ".mp4", ".MP4", ".wav"]))
    given_names = [folder + name + suffix for name in wanted]
    assert match_clips([f"{name}.mp4" for name in wanted], given_names) == list(range(len(wanted)))


def test_folders_decide_between_clips_of_one_name() -> None:
    wanted = ["a/x.mp4", "b/x.mp4", "c/y.mp4"]
    assert match_clips(wanted, ["b/x", "/data/a/x.mp4", "y", "x", "d/y.mp4", "d/x"]) == [1, 0, 2, None, 2, None]


def test_case_counts_in_names() -> None:
    assert match_clips(["abc.001", "ABC.001"], ["ABC.001.mp4", "abc.001.mp4"]) == [1, 0]


def test_a_bare_name_is_itself_before_it_is_the_end_of_another() -> None:
    assert match_clips(["x.mp4", "a/x.mp4"], ["x.mp4", "a/x"]) == [0, 1]


def _clips(prefix: str, names: list[str], value: float) -> LabelledClips:
    return LabelledClips(names, [name.split(".")[0] for name in names], np.full((len(names), 6), value), {}, prefix)


def test_training_sets_are_pooled_once_each() -> None:
    parts = [_clips("one", ["a.1", "a.2", "b.1"], 0.2), _clips("two", ["b.1.mp4", "c.1"], 0.8)]
    pooled, warnings = pool_training(parts, scored=["a.2.mp4", "z.1"])
    assert list(pooled.clips) == ["a.1", "b.1", "c.1"]
    assert pooled.labels[:, 0].tolist() == [0.2, 0.2, 0.8]
    assert pooled.speakers == ["a", "b", "c"]
    assert any("the labels to be predicted have them: 1 training clip" in line for line in warnings)
    assert any("1 clip in more than one" in line for line in warnings)
