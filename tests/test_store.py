"""The feature store: exact numbers, near-exact pictures, random access, kills, two writers, damage."""

import multiprocessing
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pa = pytest.importorskip("pyarrow", reason="the extra train is not installed")

from thinslice.errors import UsageError  # noqa: E402
from thinslice.features.extractor import find_extractor  # noqa: E402
from thinslice.features.jpeg import decode_by_pillow, decode_pictures, encode_pictures  # noqa: E402
from thinslice.features.spec import FeatureSpec  # noqa: E402
from thinslice.features.store import FeatureStore, StoreReader, is_pictures, open_reader  # noqa: E402

MEDIA = "ab" * 32
SPEC = FeatureSpec(extractor="waveform", params={"rate_hz": 16_000})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def picture(height: int, width: int, phase: float = 0.0) -> np.ndarray:
    """A smooth picture, as JPEG is made for, uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 80 * np.sin(x / 9 + y / (7 + k) + phase + k) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


NUMBERS = st.sampled_from(["?", "u1", "i2", "i8", "f2", "f4", "f8", ">f4"])


@settings(max_examples=60)
@given(data=st.data(), dtype=NUMBERS, shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
def test_numbers_come_back_exactly(tmp_path_factory, data, dtype, shape) -> None:
    array = data.draw(hnp.arrays(dtype, shape))
    store = FeatureStore(tmp_path_factory.mktemp("s"))
    stored = store.write(MEDIA, SPEC, array)
    back = store.read(MEDIA, SPEC)
    assert stored.coding == "exact"
    assert back.shape == array.shape == store.shape(MEDIA, SPEC)
    assert back.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    "index", [0, -1, slice(2, 7), slice(None), slice(8, 3), slice(None, None, 3), slice(None, None, -1), [4, 1, 1], []]
)
@pytest.mark.parametrize("shape", [(9,), (9, 4), (9, 2, 3)])
def test_any_entries_are_those_of_numpy(store: FeatureStore, shape: tuple[int, ...], index: object) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    store.write(MEDIA, SPEC, array)
    back = store.read(MEDIA, SPEC, index)
    wanted = array[np.array(index, int)] if isinstance(index, list) else array[index]
    assert back.shape == wanted.shape
    np.testing.assert_array_equal(back, wanted)
    back[...] = 0  # It is the caller's: what is stored stays.
    np.testing.assert_array_equal(store.read(MEDIA, SPEC), array)


def test_a_tuple_picks_entries_of_the_first_axes(store: FeatureStore) -> None:
    pictures = np.stack([picture(16, 24, k) for k in range(6)]).reshape(2, 3, 16, 24, 3)
    numbers = np.random.default_rng(0).normal(size=(2, 3, 4))
    for array in (pictures, numbers):
        store.write(MEDIA, SPEC, array)
        whole = store.read(MEDIA, SPEC)
        pairs = np.array([1, 0, -1, 1]), np.array([0, 2, 1, 0])
        np.testing.assert_array_equal(store.read(MEDIA, SPEC, pairs), whole[pairs])
        np.testing.assert_array_equal(store.read(MEDIA, SPEC, (pairs[0],)), whole[pairs[0]])
        for wrong in ((np.array([0]), np.array([3])), (np.array([0, 1]), np.array([0])), (np.zeros(1, int),) * 4):
            with pytest.raises(IndexError):
                store.read(MEDIA, SPEC, wrong)


@pytest.mark.parametrize("index", [9, -10, [0, 9], 1.5])
def test_entries_that_are_not_there(store: FeatureStore, index: object) -> None:
    store.write(MEDIA, SPEC, np.zeros((9, 2)))
    with pytest.raises(IndexError):
        store.read(MEDIA, SPEC, index)


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_pictures_come_back_nearly(store: FeatureStore, lead: tuple[int, ...]) -> None:
    array = np.stack([picture(48, 64, k) for k in range(int(np.prod(lead)))]).reshape(*lead, 48, 64, 3)
    assert store.write(MEDIA, SPEC, array).coding == "jpeg"
    back = store.read(MEDIA, SPEC)
    assert back.shape == array.shape
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - array).mean() < 2
    if lead:
        np.testing.assert_array_equal(store.read(MEDIA, SPEC, 1), back[1])
        np.testing.assert_array_equal(store.read(MEDIA, SPEC, [1, 0]), back[[1, 0]])
        np.testing.assert_array_equal(store.read(MEDIA, SPEC, slice(1, None)), back[1:])


def test_both_decoders_give_the_same_values() -> None:
    pytest.importorskip("simplejpeg", reason="the extra train is not installed")
    noise = np.random.default_rng(0).integers(0, 256, (3, 37, 50, 3), dtype=np.uint8)
    for pictures in (noise, np.stack([picture(37, 50, k) for k in range(3)])):
        files = encode_pictures(pictures)
        back = decode_pictures(files, (37, 50, 3))
        for file, own in zip(files, back, strict=True):
            by_pillow = np.empty_like(own)
            decode_by_pillow(file, by_pillow)
            np.testing.assert_array_equal(own, by_pillow)
        for damaged in (files[0][:100], b"no picture", encode_pictures(pictures[:, :30])[0]):
            with pytest.raises(ValueError):
                decode_pictures([damaged], (37, 50, 3))
            with pytest.raises(ValueError):
                decode_by_pillow(damaged, np.empty((37, 50, 3), np.uint8))


def test_a_picture_takes_a_fraction_of_its_raw_size(store: FeatureStore) -> None:
    array = np.stack([picture(128, 228, k) for k in range(10)])
    store.write(MEDIA, SPEC, array)
    assert store.path(MEDIA, SPEC).stat().st_size < array.nbytes / 8


@pytest.mark.parametrize(
    ("array", "pictures"),
    [
        (np.zeros((8, 8, 3), np.uint8), True),
        (np.zeros((2, 8, 8, 3), np.float32), False),
        (np.zeros((2, 7, 8, 3), np.uint8), False),
        (np.zeros((2, 8, 8, 4), np.uint8), False),
        (np.zeros((0, 8, 8, 3), np.uint8), False),
    ],
)
def test_what_counts_as_pictures(array: np.ndarray, pictures: bool) -> None:
    assert is_pictures(array) is pictures


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([1j]), np.array([None])])
def test_only_numbers_are_stored(store: FeatureStore, array: np.ndarray) -> None:
    with pytest.raises(UsageError, match="only numbers"):
        store.write(MEDIA, SPEC, array)


def test_another_spec_version_or_media_is_another_feature(store: FeatureStore, monkeypatch) -> None:
    store.write(MEDIA, SPEC, np.zeros(3))
    for other in (
        FeatureSpec(extractor="waveform", params={"rate_hz": 8000}),
        FeatureSpec(extractor="egemaps", params={"rate_hz": 16_000}),
    ):
        assert not store.has(MEDIA, other)
        with pytest.raises(UsageError, match="thinslice extract"):
            store.read(MEDIA, other)
    assert not store.has("cd" * 32, SPEC)
    monkeypatch.setitem(find_extractor("waveform").__dict__, "version", 999)
    assert not store.has(MEDIA, SPEC)


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_damaged_file_is_named(store: FeatureStore, keep: float) -> None:
    store.write(MEDIA, SPEC, np.arange(1000.0))
    path = store.path(MEDIA, SPEC)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(UsageError, match=r"damaged.*again"):
        store.read(MEDIA, SPEC)


def _write_forever(root: str, ready: "multiprocessing.synchronize.Event") -> None:
    store, array = FeatureStore(root), np.arange(300_000.0)
    number = 0
    while True:
        store.write(f"{number % 7:064d}", SPEC, array)
        number += 1
        if number == 5:
            ready.set()


def test_killed_writers_leave_whole_files_or_none(store: FeatureStore) -> None:
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        ready = context.Event()
        writers = [context.Process(target=_write_forever, args=(str(store.root), ready)) for _ in range(2)]
        for writer in writers:
            writer.start()
        assert ready.wait(60)
        for writer in writers:
            writer.kill()
            writer.join()
    found = [f"{number:064d}" for number in range(7) if store.has(f"{number:064d}", SPEC)]
    assert len(found) >= 4
    for media in found:
        np.testing.assert_array_equal(store.read(media, SPEC), np.arange(300_000.0))


def test_what_a_killed_writer_left_is_swept_when_old(store: FeatureStore) -> None:
    path = store.path(MEDIA, SPEC)
    path.parent.mkdir(parents=True)
    old, new = path.with_name(".old.part"), path.with_name(".new.part")
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    assert store.sweep() == 1
    assert new.exists()
    assert not old.exists()


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        FeatureStore(tmp_path / "file").write(MEDIA, SPEC, np.zeros(2))


def test_a_clip_stands_for_its_media(store: FeatureStore, tmp_path: Path) -> None:
    clip = tmp_path / "x.mp4"
    clip.write_bytes(b"one")
    sha = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"  # Of b"one".
    assert store.media_of("x", clip) is None
    store.remember("x", clip, sha)
    assert store.media_of("x") == store.media_of("x", clip) == store.media_of("x", tmp_path / "gone.mp4") == sha
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(b"one")
    assert store.media_of("x", moved) == sha  # By its content.
    moved.write_bytes(b"two")
    assert store.media_of("x", moved) is None


def test_one_name_for_two_media_is_never_guessed(store: FeatureStore, tmp_path: Path) -> None:
    for name, sha in (("a", "1" * 64), ("b", "2" * 64)):
        (tmp_path / name).write_bytes(name.encode())
        store.remember("x", tmp_path / name, sha)
    assert store.media_of("x", tmp_path / "a") == "1" * 64
    assert store.media_of("x", tmp_path / "b") == "2" * 64
    with pytest.raises(UsageError, match="2 different media"):
        store.media_of("x")


def test_a_reader_finds_what_is_there_and_says_what_is_not(store: FeatureStore, tmp_path: Path) -> None:
    other = FeatureSpec(extractor="frames", params={"num_frames": 2, "width": 16, "height": 16})
    for number, name in enumerate("abc"):
        path = tmp_path / name
        path.write_bytes(name.encode())
        store.remember(name, path, str(number) * 64)
        store.write(str(number) * 64, SPEC, np.full(4, number))
        if name != "b":
            store.write(str(number) * 64, other, np.stack([picture(16, 16)] * 2))
    features = {"sound": SPEC, "frames": other}
    reader, absent = open_reader(store.root, features, [(name, tmp_path / name) for name in "abcd"])
    assert reader.clips == ("a", "c")
    assert absent == [("b", "no frames"), ("d", "not extracted")]
    assert reader.missing() == []
    again = pickle.loads(pickle.dumps(reader))
    assert again.shape("c", "frames") == (2, 16, 16, 3)
    np.testing.assert_array_equal(again.read("c", "sound", slice(1, 3)), [2, 2])
    np.testing.assert_array_equal(reader.read("c", "sound", 0), 2)
    with pytest.raises(UsageError, match="no feature store"):
        open_reader(tmp_path / "nothing", features, [])


def test_the_digest_changes_exactly_with_what_is_read(store: FeatureStore) -> None:
    store.write("1" * 64, SPEC, np.arange(4.0))
    store.write("2" * 64, SPEC, np.arange(4.0))
    one = StoreReader(store.root, {"sound": SPEC}, {"a": {"sound": "1" * 64}, "b": {"sound": "2" * 64}})
    same = StoreReader(store.root, {"sound": SPEC}, {"b": {"sound": "2" * 64}, "a": {"sound": "1" * 64}})
    assert one.digest() == same.digest()
    renamed = {clip: {"voice": origins["sound"]} for clip, origins in one.origins.items()}
    assert one.digest() != StoreReader(store.root, {"voice": SPEC}, renamed).digest()
    assert one.digest() != StoreReader(store.root, {"sound": SPEC}, {"a": {"sound": "1" * 64}}).digest()
    before = one.digest()
    store.write("2" * 64, SPEC, np.arange(4.0) + 1e-9)
    assert one.digest() != before


def _read(reader: StoreReader) -> float:
    return float(reader.read("a", "sound", 3))


def test_workers_read_from_a_pickled_reader(store: FeatureStore) -> None:
    store.write(MEDIA, SPEC, np.arange(9.0))
    reader = StoreReader(store.root, {"sound": SPEC}, {"a": {"sound": MEDIA}})
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_read, (reader,)) == 3.0
