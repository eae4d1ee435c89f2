"""Files appear whole or not at all: full disks, places that cannot be written, two programs at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from thinslice.errors import OutputError
from thinslice.files import append_line, atomic_path, locked, write_atomically


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk does to a writer."""
    resource = pytest.importorskip("resource", reason="needs Linux or the like: limits on the length of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    write_atomically(target, b"old")
    with full_disk(1000), pytest.raises(OutputError, match=r"a\.csv: cannot be written \(.+\); make room"):
        write_atomically(target, bytes(5000))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "a") as part:
            part.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_lines_that_do_not_fit_are_told_and_spoil_only_themselves(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    append_line(path, b"first")
    with full_disk(20), pytest.raises(OutputError, match="journal: cannot be written"):
        append_line(path, b"x" * 100)
    append_line(path, b"last")
    lines = path.read_bytes().split(b"\n")
    assert (lines[1], lines[-1]) == (b"first", b"last")


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (lambda path: write_atomically(path, b""), lambda path: append_line(path, b"")):
        with pytest.raises(OutputError, match=r"file.a: cannot be written \((File exists|Not a directory)\)"):
            write(tmp_path / "file" / "a")


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(tmp_path / "pipe", b"data")
    assert os.read(reader, 100) == b"data"
    os.close(reader)


def test_one_program_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        with pytest.raises(OutputError, match="another program is writing into it"), locked(tmp_path / "out"):
            pass
        with locked(tmp_path / "elsewhere"):
            pass
    with locked(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []
