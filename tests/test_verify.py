"""Verification: each fault is found and named, and a run interrupted in any way loses nothing but its last file."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest

from thinslice.data import verify as verify_module
from thinslice.data.first_impressions import import_first_impressions
from thinslice.data.manifest import Manifest, save_manifest
from thinslice.data.official import LABEL_GRID, load_official_clips
from thinslice.data.verify import FileFacts, Finding, Verified, inspect_file, verify
from thinslice.errors import UsageError


def _manifest(root: Path, names: list[str], **changes: object) -> Manifest:
    clips = tuple(names)
    manifest = Manifest(clips, clips, ("train",) * len(clips), tuple(name[:11] for name in clips), folder=root)
    return dataclasses.replace(manifest, **changes)  # type: ignore[arg-type]


def _of(verified: Verified, check: str) -> list[Finding]:
    return [finding for finding in verified.findings if finding.check == check]


@pytest.fixture
def clips(real_clips: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of three real clips."""
    folder = tmp_path / "clips"
    folder.mkdir()
    return [Path(shutil.copy(path, folder)) for path in real_clips[:3]]


def test_the_real_clips_are_the_official_ones(real_data: Path, tmp_path: Path) -> None:
    manifest = import_first_impressions(real_data).manifest
    steps: list[tuple[int, int]] = []
    verified = verify(manifest, memory=tmp_path / "m.jsonl", workers=2, on_file=lambda *step: steps.append(step))
    assert verified.num_errors == 0
    assert verified.num_files == verified.num_official == 24
    assert verified.num_remembered == 0
    assert steps == [(k, 24) for k in range(1, 25)]
    assert {finding.check for finding in verified.findings} == {"completeness", "media", "transcripts"}
    again = verify(manifest, memory=tmp_path / "m.jsonl")
    assert again.num_remembered == 24
    assert again.findings == verified.findings
    assert verify(manifest, memory=tmp_path / "m.jsonl", media=False).num_files == 0


def test_changed_cut_off_and_missing_clips(clips: list[Path], tmp_path: Path) -> None:
    changed, cut, missing = clips
    data = bytearray(changed.read_bytes())
    data[-2000] ^= 1
    changed.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:-1000])
    missing.unlink()
    verified = verify(_manifest(clips[0].parent, [path.name for path in clips]))
    (hashed,) = _of(verified, "hash")
    assert hashed.severity == "error"
    assert hashed.clips == (changed.name,)
    assert f"{changed.name} has SHA-256 " in hashed.message
    (size,) = _of(verified, "size")
    official = load_official_clips()[cut.name[:-4]]
    assert size.message == (
        f"{cut.name} has {official.size - 1000:,} bytes, officially {official.size:,}: download it again"
    )
    (gone,) = _of(verified, "file")
    assert "no such file" in gone.message
    assert gone.clips == (missing.name,)
    assert verified.num_official == 0
    assert verified.num_errors == len([f for f in verified.findings if f.severity == "error"]) >= 3


def test_what_does_not_decode(tmp_path: Path, clips: list[Path]) -> None:
    names = {
        "empty.mp4": b"",
        "noise.mp4": os.urandom(5000),
        "page.mp4": b"<html>404</html>",
        "head.mp4": clips[0].read_bytes()[:200_000],
    }
    for name, data in names.items():
        (clips[0].parent / name).write_bytes(data)
    verified = verify(_manifest(clips[0].parent, [*names, clips[1].name]))
    bad = {finding.clips[0]: finding.message for finding in verified.findings if finding.severity == "error"}
    assert set(bad) == set(names)
    assert "is empty (0 bytes)" in bad["empty.mp4"]
    assert all("\n" not in message for message in bad.values())
    assert verify(_manifest(clips[0].parent, list(names)[1:]), depth="none").num_errors == 0


def test_damage_in_the_middle_is_found_by_a_full_decode(clips: list[Path]) -> None:
    data = bytearray(clips[0].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300_000] = os.urandom(300_000)
    clips[0].write_bytes(data)
    own = clips[0].rename(clips[0].with_name("own.mp4"))  # no official clip: no checksum would tell
    assert inspect_file(own, "quick").problem is None
    problem = inspect_file(own, "full").problem
    assert problem is not None
    assert "own.mp4" in problem
    assert inspect_file(clips[1], "full").problem is None


def test_a_decoders_surprise_is_that_files_finding(clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def surprise(self: object, times_s: object) -> None:
        raise ValueError("unheard of")

    monkeypatch.setattr(verify_module.Source, "frames", surprise)
    verified = verify(_manifest(clips[0].parent, [path.name for path in clips]))
    assert [f.message for f in _of(verified, "decode")] == [
        f"{path}: cannot be decoded (ValueError: unheard of)" for path in clips
    ]
    assert verified.num_official == 3


def test_hard_videos_decode(hard_videos: Path) -> None:
    verified = verify(_manifest(hard_videos, sorted(path.name for path in hard_videos.iterdir())), depth="full")
    assert verified.num_errors == 0
    assert verified.num_files == 3


def test_clips_without_pictures_are_warned_of(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 32_000))
    (found,) = _of(verify(_manifest(tmp_path, ["talk.wav"])), "streams")
    assert found == Finding("warning", "streams", "1 clip without pictures", ("talk.wav",))


def test_duplicates_within_a_split_and_across(clips: list[Path]) -> None:
    folder = clips[0].parent
    shutil.copy(clips[0], folder / "copy.mp4")
    manifest = _manifest(folder, [clips[0].name, "copy.mp4", clips[1].name])
    (within,) = _of(verify(manifest), "duplicates")
    assert within.severity == "warning"
    assert within.clips == (clips[0].name, "copy.mp4")
    assert "all in train" in within.message
    (across,) = _of(verify(dataclasses.replace(manifest, splits=("train", "test", "train"))), "duplicates")
    assert across.severity == "error"
    assert "in test and train" in across.message


def _table(**changes: object) -> Manifest:
    """Three official training clips without media; two are of one speaker."""
    clips = ("--Ymqszjv54.001.mp4", "--Ymqszjv54.003.mp4", "-2qsCrkXdWs.001.mp4")
    fields: dict[str, object] = {"paths": ("",) * 3, "speakers": tuple(clip[:11] for clip in clips)}
    return _manifest(Path(), list(clips), **(fields | changes))


def test_findings_on_the_table() -> None:
    verified = verify(_table(), media=False)
    assert {(f.severity, f.check) for f in verified.findings} == {
        ("note", "completeness"), ("note", "labels"), ("note", "media"),
    }  # fmt: skip
    assert [f.message for f in _of(verified, "completeness")] == [
        "3 of the 6,000 official train clips are in the manifest",
        "0 of the 2,000 official validation clips are in the manifest",
        "0 of the 2,000 official test clips are in the manifest",
    ]
    moved = verify(_table(splits=("train", "test", "train")), media=False)
    assert [f.message for f in _of(moved, "splits")] == ["1 clip not in the official split"]
    (shared,) = _of(moved, "speakers")
    assert shared == Finding(
        "warning",
        "speakers",
        "1 speaker both in train and in test, with 1 clip of test",
        ("--Ymqszjv54.003.mp4",),
    )
    renamed = verify(_table(speakers=("ann", "ann", "-2qsCrkXdWs")), media=False)
    assert [f.clips for f in _of(renamed, "speakers")] == [("--Ymqszjv54.001.mp4", "--Ymqszjv54.003.mp4")]


def test_labels_off_the_grid_and_half_labelled_clips() -> None:
    levels = LABEL_GRID["openness"]
    on = (repr(3 / levels), f"{4 / levels:.8f}", "1")
    assert _of(verify(_table(columns={"openness": on}), media=False), "grid") == []
    rounded = (repr(3 / levels), f"{4 / levels:.3f}", "1")
    (found,) = _of(verify(_table(columns={"openness": rounded}), media=False), "grid")
    assert found.clips == ("--Ymqszjv54.003.mp4",)
    assert "openness of 1 clip is not on the official grid of 1/90" in found.message
    columns = {"openness": ("0", "", ""), "interview": ("0", "1", "")}
    labels = _of(verify(_table(columns=columns), media=False), "labels")
    assert [(f.message, len(f.clips)) for f in labels] == [
        ("1 clip with some labels but not all", 1),
        ("1 clip without labels", 1),
    ]


def test_other_corpora_are_not_measured_against_this_one() -> None:
    manifest = _manifest(Path(), ["a", "b"], paths=("", ""), columns={"openness": ("0.123", "0.5")})
    assert {f.check for f in verify(manifest, media=False).findings} == {"media"}


def test_a_changed_file_is_looked_at_again(clips: list[Path], tmp_path: Path) -> None:
    memory = tmp_path / "m.jsonl"
    manifest = _manifest(clips[0].parent, [path.name for path in clips])
    assert verify(manifest, memory=memory).num_errors == 0
    data = bytearray(clips[0].read_bytes())
    data[-2000] ^= 1
    clips[0].write_bytes(data)
    verified = verify(manifest, memory=memory)
    assert verified.num_remembered == 2
    assert [f.clips for f in _of(verified, "hash")] == [(clips[0].name,)]
    # a missing file is never remembered as missing
    kept = clips[1].read_bytes(), clips[1].stat()
    clips[1].unlink()
    assert len(_of(verify(manifest, memory=memory), "file")) == 1
    clips[1].write_bytes(kept[0])
    os.utime(clips[1], ns=(kept[1].st_atime_ns, kept[1].st_mtime_ns))
    assert _of(verify(manifest, memory=memory), "file") == []


def test_more_depth_or_a_fresh_start_looks_again(clips: list[Path], tmp_path: Path) -> None:
    memory = tmp_path / "m.jsonl"
    manifest = _manifest(clips[0].parent, [clips[0].name])
    assert verify(manifest, memory=memory, depth="none").num_remembered == 0
    assert verify(manifest, memory=memory, depth="quick").num_remembered == 0
    assert verify(manifest, memory=memory, depth="none").num_remembered == 1
    assert verify(manifest, memory=memory, depth="full").num_remembered == 0
    assert verify(manifest, memory=memory, depth="quick").num_remembered == 1
    assert verify(manifest, memory=memory, fresh=True).num_remembered == 0


def test_a_damaged_memory_is_passed_over(clips: list[Path], tmp_path: Path) -> None:
    memory = tmp_path / "deep" / "m.jsonl"
    manifest = _manifest(clips[0].parent, [path.name for path in clips])
    verify(manifest, memory=memory)
    lines = memory.read_bytes().split(b"\n")
    entry = json.loads(lines[3])
    hostile = [b"null", b"[]", b'{"key": 1}', b"\xff\xfe", json.dumps(entry | {"sha256": "x"}).encode(), lines[3][:40]]
    memory.write_bytes(b"\n".join([lines[1], *hostile, lines[2]]) + b"\n" + lines[3][:-5])  # cut short by a kill
    assert verify(manifest, memory=memory).num_remembered == 2
    assert verify(manifest, memory=memory).num_remembered == 3, "the line after the cut one is whole"
    with pytest.raises(UsageError, match="cannot be written"):
        verify(manifest, memory=memory.parent)


def test_a_run_that_was_killed_goes_on_where_it_stopped(real_clips: list[Path], tmp_path: Path) -> None:
    manifest = _manifest(real_clips[0].parent, [path.name for path in real_clips])
    save_manifest(manifest, tmp_path / "m.csv")
    memory = tmp_path / "memory.jsonl"
    code = (
        "import sys, thinslice.data.verify as v; from thinslice.data.manifest import load_manifest;"
        "v.verify(load_manifest(sys.argv[1]), memory=sys.argv[2], depth='full')"
    )
    source = str(Path(__file__).resolve().parents[1] / "src")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "m.csv"), str(memory)],
        env={**os.environ, "PYTHONPATH": source},
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not memory.exists() or memory.read_bytes().count(b"\n") < 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = memory.read_bytes().count(b"\n")
    assert 2 <= done < len(real_clips), "it was killed in the middle"
    verified = verify(manifest, memory=memory, depth="none")
    assert verified.num_remembered == done
    assert verified.num_official == len(real_clips)


def test_an_interrupt_ends_the_run_soon(clips: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def slow(path: Path, depth: str) -> FileFacts:
        looked_at.append(path)
        time.sleep(0.01)
        return FileFacts(1, "0" * 64, "quick")

    monkeypatch.setattr(verify_module, "inspect_file", slow)
    manifest = _manifest(clips[0].parent, [f"{i}.mp4" for i in range(2000)])

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(manifest, workers=2, on_file=interrupt)
    assert len(looked_at) < 20


def test_findings_are_json(clips: list[Path]) -> None:
    clips[0].write_bytes(b"")
    document = json.loads(json.dumps(verify(_manifest(clips[0].parent, [path.name for path in clips])).to_dict()))
    assert document["ok"] is False
    assert document["findings"][0]["severity"] == "error"
    assert document["num_files"] == 3
