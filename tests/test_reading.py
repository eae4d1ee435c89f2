"""Reading for training: decoded copies, processes that stay, and the memory that they share."""

import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")
pytest.importorskip("lightning", reason="the extra train is not installed")

from thinslice.cli.decoded import read_decoded  # noqa: E402
from thinslice.errors import UsageError  # noqa: E402
from thinslice.systems import build_recipe  # noqa: E402
from thinslice.train import decoded, readers  # noqa: E402
from thinslice.train.benchmark.plausible import build_plausible_data  # noqa: E402
from thinslice.train.data import RunData, StoredClip  # noqa: E402
from thinslice.train.decoded import DecodedReader, plan_copy  # noqa: E402
from thinslice.train.loop import train  # noqa: E402
from thinslice.train.mirror import mirror  # noqa: E402
from thinslice.train.recipe import Arrays, ClipReader, Mode, Recipe  # noqa: E402
from thinslice.train.settings import LoopSettings  # noqa: E402
from toy_recipe import sample, toy_data, toy_recipe, toy_stage  # noqa: E402

NUM_CLIPS = 6


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    sizes = {"width": 2, "frame_width": 48, "frame_height": 40, "crop": 32, "num_frames": 4, "num_samples": 2048}
    return build_recipe("deep_impression", "small", **sizes, batch_size=4)


@pytest.fixture(scope="module")
def data(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> RunData:
    made = build_plausible_data(recipe, tmp_path_factory.mktemp("reading") / "store", NUM_CLIPS)
    return replace(made, splits={**made.splits, "test": made.splits["train"]})


def test_a_run_is_the_same_with_a_decoded_copy(recipe: Recipe, data: RunData, tmp_path: Path) -> None:
    copied, copying = plan_copy(data, tmp_path / "copy")
    assert len(copying.jobs) == 4  # Different media; clips that share one share its copy.
    assert copying.size == 4 * 4 * 40 * 48 * 3
    assert "0.1 MB" in copying.describe()
    assert list(copying.do()) == [1, 2, 3, 4]
    settings = LoopSettings(device="cpu", tensorboard=False, max_steps=3, score_splits=())
    runs = [train(recipe, own, tmp_path / name, settings).path for name, own in (("a", data), ("b", copied))]
    steps = [(run / "steps.csv").read_bytes() for run in runs]
    assert steps[0] == steps[1]
    assert steps[0].count(b"\n") == 4
    assert copied.splits["train"].features.digest() == data.splits["train"].features.digest()
    assert copied.splits["test"] is data.splits["test"]


def test_a_copy_gives_what_the_store_gives_and_is_made_once(data: RunData, tmp_path: Path) -> None:
    copied, copying = plan_copy(data, tmp_path)
    list(copying.do(num_workers=1))
    stored, reader = data.splits["train"].features, copied.splits["train"].features
    assert isinstance(reader, DecodedReader)
    one = StoredClip("00001", reader.only(["frames"]))
    assert one.shape("frames") == (4, 40, 48, 3)
    for index in (None, 2, -1, slice(1, 3), np.array([3, 0, 0]), (np.array([1, 2]),)):
        found = one.read("frames", index)
        np.testing.assert_array_equal(found, stored.read("00001", "frames", index))
        found[...] = 0  # It is the caller's.
    np.testing.assert_array_equal(reader.read("00001", "waveform"), stored.read("00001", "waveform"))
    path, _ = reader.files["00001"]["frames"]
    path.with_name(".left.part").touch()  # By a killed program.
    path.unlink()
    with pytest.raises(UsageError, match="train makes it again"):
        reader.read("00001", "frames", 0)
    _, again = plan_copy(data, tmp_path)
    assert (len(again.jobs), again.num_present) == (1, 3)
    assert list(again.do()) == [1]
    assert plan_copy(data, tmp_path)[1].jobs == ()
    assert not path.with_name(".left.part").exists()
    whole = path.read_bytes()
    for spoilt in (whole[:-1], whole[:5], b"", b"PK\x03\x04" + whole, whole.replace(b"|u1", b"|i1")):
        path.write_bytes(spoilt)
        with pytest.raises(UsageError, match=path.name):
            reader.read("00001", "frames", 0)


def test_a_copy_that_does_not_fit_is_not_begun(data: RunData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, copying = plan_copy(data, tmp_path / "copy")
    monkeypatch.setattr(decoded, "_free", lambda root: copying.size - 1)
    with pytest.raises(UsageError, match="name another folder, or train without --decoded"):
        list(copying.do())
    assert not (tmp_path / "copy").exists()


def test_the_option_says_how_large_the_copy_is(
    data: RunData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_decoded(data, tmp_path / "copy", 1)
    assert "pictures of 4 features to decode, 0.1 MB; " in capsys.readouterr().err
    assert isinstance(found.splits["train"].features, DecodedReader)
    assert len(list((tmp_path / "copy").glob("*/*.npy"))) == 4
    read_decoded(data, tmp_path / "copy", 1)
    assert capsys.readouterr().err == ""
    assert read_decoded(data, None, 1) is data


def noting_sample(folder: Path, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
    (folder / f"{mode}.{os.getpid()}").touch()
    return sample(clip, mode, rng)


class Damaged:
    def __getitem__(self, index: int) -> None:
        try:
            raise ValueError("truncated")
        except ValueError as error:
            raise UsageError(f"clip {index}: {error}; extract it again") from error


def test_an_error_in_a_reading_process_is_the_line_that_it_was() -> None:
    with pytest.raises(UsageError) as raised:
        next(iter(readers.build_loader(Damaged(), range(1), num_readers=1)))
    assert str(raised.value) == "clip 0: truncated; extract it again"


def test_reading_processes_stay_from_epoch_to_epoch(tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    stage = toy_stage(epochs=4, sample=partial(noting_sample, tmp_path / "seen"))
    settings = LoopSettings(device="cpu", tensorboard=False, num_readers=2, score_splits=())
    train(toy_recipe(stage), toy_data(), tmp_path / "run", settings)
    seen = [path.name.split(".") for path in (tmp_path / "seen").iterdir()]
    own = str(os.getpid())  # It looks at a clip to know its size.
    for mode in ("train", "validation"):
        assert 1 <= len([pid for its, pid in seen if its == mode and pid != own]) <= 2


@pytest.mark.parametrize(
    ("num_bytes", "num_readers", "free", "ahead"),
    [(1000, 8, 2**33, 4), (2**27, 8, 2**33, 2), (2**28, 14, 2**33, 1), (2**20, 8, 2**25, 2), (0, 2, 2**20, 4)],
)
def test_shared_memory_is_bounded(
    num_bytes: int, num_readers: int, free: int, ahead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "SHARED_MEMORY", tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(readers.shutil, "disk_usage", lambda path: usage._replace(free=free))
    assert readers.count_ahead(num_bytes, num_readers) == ahead


def test_too_little_shared_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "SHARED_MEMORY", tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(readers.shutil, "disk_usage", lambda path: usage._replace(free=2**26))
    with pytest.raises(UsageError, match=r"64 MB are free, and 8 reading processes need 160 MB; take --workers 3"):
        readers.count_ahead(20 * 2**20, 8)


@pytest.mark.parametrize("shape", [(5, 7, 3), (2, 5, 6, 3)])
def test_mirrored_pictures_have_left_and_right_exchanged(shape: tuple[int, ...]) -> None:
    pictures = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    mirrored = mirror(pictures[..., 1:, :])
    assert np.array_equal(mirrored, pictures[..., :0:-1, :])
    assert mirrored.flags.c_contiguous
    assert mirrored.dtype == np.uint8
