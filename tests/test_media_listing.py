"""Folders and patterns become clips; bytes and open files become files."""

import io
import os
from pathlib import Path

import pytest

from thinslice.errors import MediaError, UsageError
from thinslice.media import spool
from thinslice.media.listing import find_clips
from thinslice.media.spool import as_file, name_of
from thinslice.types import Failure


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "talks/b.MP4", "talks/a.wav", "talks/a.txt", "talks/c/d.mkv", "talks/notes.md", "talks/.hidden.mp4",
        "talks/c/alone.srt", "talks/.git/e.mp4", "frames/0001.jpg", "frames/0002.jpg", "none/x.csv", "odd[1].mp4",
        "raw/1.dat",
    ):  # fmt: skip
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    Path("empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("names", "clips", "left_out"),
    [
        (["talks"], ["talks/a.wav", "talks/b.MP4", "talks/c/d.mkv"], ["talks/c/alone.srt", "talks/notes.md"]),
        (["talks/b.MP4", "talks/notes.md"], ["talks/b.MP4", "talks/notes.md"], []),
        (["frames"], ["frames"], []),
        (["odd[1].mp4"], ["odd[1].mp4"], []),
        (["talks/*"], ["talks/a.wav", "talks/b.MP4", "talks/c/d.mkv"], ["talks/c/alone.srt", "talks/notes.md"]),
        (["**/*.mkv"], ["talks/c/d.mkv"], []),
        (["raw/*.dat", "talks/?.wav"], ["raw/1.dat", "talks/a.wav"], []),
        (["*s"], ["frames", "talks/a.wav", "talks/b.MP4", "talks/c/d.mkv"], ["talks/c/alone.srt", "talks/notes.md"]),
        (["absent.mp4", "https://x/*.mp4"], ["absent.mp4", "https://x/*.mp4"], []),
    ],
)
def test_names_stand_for_clips_in_order(folder: Path, names: list[str], clips: list[str], left_out: list[str]) -> None:
    found = find_clips(names)
    assert list(found.clips) == clips
    assert list(found.left_out) == left_out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none", "only others, such as none/x.csv"),
        ("empty", "it is empty"),
        ("*.avi", "no file has such a name"),
        ("none/*", "only files that are no recordings"),
    ],
)
def test_where_nothing_is_found_there_is_a_line_in_its_place(folder: Path, name: str, why: str) -> None:
    first, failure, last = find_clips(["a.mp4", name, "b.mp4"]).clips
    assert (first, last) == ("a.mp4", "b.mp4")
    assert isinstance(failure, Failure)
    assert failure.clip == name
    assert failure.error.startswith(f"{name}: ")
    assert why in failure.error


def test_links_that_lead_back_end(folder: Path) -> None:
    try:
        os.symlink(folder / "talks", folder / "talks" / "again", target_is_directory=True)
    except OSError:
        pytest.skip("needs symbolic links")
    assert len(find_clips(["talks"]).clips) == 3


def test_a_copy_is_there_as_long_as_it_is_needed() -> None:
    for clip in (b"media", bytearray(b"media"), io.BytesIO(b"media")):
        with as_file(clip) as path:
            assert path.read_bytes() == b"media"
        assert not path.parent.exists()
    with as_file("a.mp4") as path:
        assert path == Path("a.mp4")


def test_names(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with open(tmp_path / "a.mp4", "rb") as file:
        assert name_of(file) == str(tmp_path / "a.mp4")
    assert [name_of(clip) for clip in (b"", io.BytesIO(), "x.mp4", Path("y.mp4"))] == [
        "bytes", "stream", "x.mp4", "y.mp4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("clip", "error", "why"),
    [
        (b"", MediaError, "bytes: nothing came"),
        (io.BytesIO(), MediaError, "stream: nothing came"),
        (io.StringIO("text"), UsageError, "gives text"),
        (7, UsageError, "int is no clip"),
        (b"12345678", MediaError, "bytes: over"),
        (io.BytesIO(b"12345678"), MediaError, "stream: over"),
    ],
)
def test_what_is_no_clip_is_refused(
    clip: spool.Clip, error: type[Exception], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MAX_SPOOLED_BYTES", 7)
    with pytest.raises(error, match=why), as_file(clip):
        pass
