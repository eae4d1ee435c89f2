"""`thinslice extract`: decode once, resume, failures in a table, several processes, Ray."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("pyarrow", reason="the extra train is not installed")

from media_files import numbered, voice_like, write_media
from thinslice.cli.extract import extract as command
from thinslice.data.manifest import Manifest, save_manifest
from thinslice.errors import ManifestError, UsageError
from thinslice.extraction import job, run
from thinslice.extraction.job import Job, Outcome, extract_clip
from thinslice.extraction.run import extract
from thinslice.features.frames import extract_frames
from thinslice.features.spec import FeatureSpec
from thinslice.features.store import FeatureStore, open_reader
from thinslice.media.source import Source

SPECS = {
    "frames": FeatureSpec(extractor="frames", params={"num_frames": 5, "width": 32, "height": 24}),
    "sound": FeatureSpec(extractor="waveform", params={"rate_hz": 16_000}),
}


def make_manifest(folder: Path, num_clips: int) -> Manifest:
    """Clips of 1.5 s with numbered pictures and a voice, and a manifest of them."""
    for number in range(num_clips):
        sound = voice_like(1.5, seed=number)
        write_media(folder / f"clip{number}.mp4", [sound], numbered(37))
    manifest = Manifest(
        clips=tuple(f"clip{number}" for number in range(num_clips)),
        paths=tuple(f"clip{number}.mp4" for number in range(num_clips)),
        splits=("train",) * num_clips,
        speakers=tuple(f"s{number}" for number in range(num_clips)),
        folder=folder,
    )
    save_manifest(manifest, folder / "manifest.csv")
    return manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_manifest(tmp_path, 4)


def failures(store: Path) -> list[dict[str, str]]:
    with open(store / "failures.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_words_of_the_manifest_are_read_and_need_no_media(tmp_path: Path) -> None:
    pytest.importorskip("spacy", reason="the extra words is not installed")
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("hello 1 0\nworld 0 1\n")
    spec = FeatureSpec(extractor="word_vectors", params={"vectors": str(vectors), "size": 2, "num_words": 2})

    def extracted(*words: str) -> np.ndarray:
        manifest = Manifest(
            clips=("a", "b"),
            paths=("", ""),
            splits=("train", "train"),
            speakers=("s", "t"),
            columns={"transcript": words},
        )
        extract(manifest, {"words": spec}, tmp_path / "store")
        reader, absent = open_reader(
            tmp_path / "store", {"words": spec}, [("a", None), ("b", None)], manifest.transcripts
        )
        assert absent == [("b", "not extracted")]
        return reader.read("a", "words")

    np.testing.assert_array_equal(extracted("Hello, world", ""), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(extracted("World!", ""), [[0, 1], [0, 0]])  # Other words are never read stale.


def test_what_is_stored_is_what_the_extractors_give(manifest: Manifest, tmp_path: Path) -> None:
    extracted = extract(manifest, SPECS, tmp_path / "store")
    assert (extracted.num_clips, extracted.num_written, extracted.num_complete) == (4, 8, 4)
    assert extracted.failures == ()
    assert not (tmp_path / "store" / "failures.csv").exists()
    reader, absent = open_reader(tmp_path / "store", SPECS, [(clip, None) for clip in manifest.clips])
    assert absent == []
    assert reader.digest() == extracted.digest
    for index, clip in enumerate(manifest.clips):
        source = Source(manifest.path(index))
        np.testing.assert_array_equal(reader.read(clip, "sound"), source.audio(16_000))
        frames = extract_frames(source, 5, 32, 24)
        assert np.abs(reader.read(clip, "frames").astype(int) - frames).max() <= 3


def test_a_second_run_computes_nothing(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = extract(manifest, SPECS, tmp_path / "store")

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(job, "extract_features", fail)
    monkeypatch.setattr(Source, "sha256", fail)
    again = extract(manifest, SPECS, tmp_path / "store")
    assert (again.num_written, again.num_present, again.digest) == (0, 8, first.digest)


def test_changed_media_are_computed_anew(manifest: Manifest, tmp_path: Path) -> None:
    first = extract(manifest, SPECS, tmp_path / "store")
    write_media(tmp_path / "clip2.mp4", [voice_like(1.5, seed=99)], numbered(37))
    again = extract(manifest, SPECS, tmp_path / "store")
    assert (again.num_written, again.num_present) == (2, 6)
    assert again.digest != first.digest


def test_processes_give_what_one_gives(manifest: Manifest, tmp_path: Path) -> None:
    one = extract(manifest, SPECS, tmp_path / "one")
    two = extract(manifest, SPECS, tmp_path / "two", workers=2)
    assert one.digest == two.digest
    assert two.num_written == 8


def test_failures_are_collected_and_the_rest_is_done(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "clip0.mp4").write_bytes(b"not a video")
    (tmp_path / "clip1.mp4").unlink()
    write_media(tmp_path / "clip2.mp4", [], numbered(37))  # No sound.
    store = tmp_path / "store"
    extracted = extract(manifest, SPECS, store)
    assert extracted.num_complete == 1
    assert extracted.num_written == 3
    rows = failures(store)
    assert [(row["clip"], row["feature"]) for row in rows] == [
        ("clip0", "frames"), ("clip0", "sound"), ("clip1", ""), ("clip2", "sound"),
    ]  # fmt: skip
    assert all(row["path"] in row["error"] for row in rows)
    assert FeatureStore(store).has(Source(tmp_path / "clip2.mp4").sha256(), SPECS["frames"])
    # Put right, they are done, and the table says so; another manifest's rows stay.
    with open(store / "failures.csv", "a", encoding="utf-8") as file:
        file.write("elsewhere,/x.mp4,,gone\n")
    write_media(tmp_path / "clip1.mp4", [voice_like(1.5)], numbered(37))
    extract(manifest, SPECS, store)
    assert [row["clip"] for row in failures(store)] == ["clip0", "clip0", "clip2", "elsewhere"]


def test_an_extractor_that_surprises_fails_one_feature(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = job.extract_features

    def surprise(source: Source, specs: dict[str, FeatureSpec]) -> object:
        if source.path.name == "clip1.mp4" and "frames" in specs:
            raise ZeroDivisionError("half a frame\nand more")
        return real(source, specs)

    monkeypatch.setattr(job, "extract_features", surprise)
    extracted = extract(manifest, SPECS, tmp_path / "store")
    [(clip, _, feature, why)] = extracted.failures
    assert (clip, feature) == ("clip1", "frames")
    assert "unexpected ZeroDivisionError: half a frame; please report" in why
    assert extracted.num_written == 7


def test_what_is_wrong_for_every_clip_stops_at_once(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown feature"):
        extract(manifest, {"x": FeatureSpec(extractor="aura")}, tmp_path / "store")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        extract(manifest, SPECS, tmp_path / "file")
    nothing = Manifest(clips=("a",), paths=("",), splits=("train",), speakers=("s",))
    with pytest.raises(ManifestError, match="no clip has media"):
        extract(nothing, SPECS, tmp_path / "store")


def _die_on_clip1(job: Job) -> Outcome:
    if job.clip == "clip1":
        os.kill(os.getpid(), signal.SIGKILL)
    return extract_clip(job)


def test_a_process_that_dies_costs_its_clip_only(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "extract_clip", _die_on_clip1)
    extracted = extract(manifest, SPECS, tmp_path / "store", workers=2)
    [(clip, _, feature, why)] = extracted.failures
    assert (clip, feature) == ("clip1", "")
    assert "died" in why
    assert extracted.num_complete == 3


def run_command(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """Start the command in a process of its own, on a recipe made of `SPECS` above."""
    code = (
        "import sys, types; sys.path.insert(0, sys.argv.pop(1)); import test_cli_extract as t\n"
        "import thinslice.cli.extract as m; m._specs = lambda *_: t.SPECS\n"
        "from thinslice.cli import main; main()"
    )
    arguments = ["extract", str(folder / "manifest.csv"), "--recipe", "x", "--store", str(folder / "store"), *options]
    here = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", code, here, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_kill_then_two_writers_at_once(tmp_path: Path) -> None:
    make_manifest(tmp_path, 8)
    killed = run_command(tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("store/features/*/*.arrow")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    both = [run_command(tmp_path, "--json") for _ in range(2)]
    documents = []
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        documents.append(json.loads(out))
    assert documents[0]["digest"] == documents[1]["digest"]
    assert all(document["num_complete"] == 8 for document in documents)
    assert len(list(tmp_path.glob("store/features/*/*.arrow"))) == 16


def test_the_command_and_its_exit_codes(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinslice.cli.extract._specs", lambda *_: SPECS)
    call = [str(tmp_path / "manifest.csv"), "--recipe", "x", "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(command, call)
    assert result.exit_code == 0, result.output
    assert "8 features written, 0 there before" in result.output
    assert "4 of 4 clips complete" in result.output
    (tmp_path / "clip3.mp4").write_bytes(b"")
    result = CliRunner().invoke(command, [*call, "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["num_complete"] == 3
    assert {row["clip"] for row in document["failures"]} == {"clip3"}
    assert document["features"]["sound"]["params"] == {"rate_hz": 16_000}
    assert "failures.csv" in result.stderr


def test_an_unknown_recipe_is_named(manifest: Manifest, tmp_path: Path) -> None:
    call = [str(tmp_path / "manifest.csv"), "--recipe", "astrology", "--store", str(tmp_path / "store")]
    error = CliRunner().invoke(command, call).exception
    assert isinstance(error, UsageError)
    assert "no recipe 'astrology'; there are " in str(error)
    assert "deep_impression" in str(error)


@pytest.mark.slow
def test_a_ray_cluster_of_two_nodes_gives_what_one_process_gives(manifest: Manifest, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        (tmp_path / "clip0.mp4").write_bytes(b"not a video")
        on_ray = extract(manifest, SPECS, tmp_path / "ray", ray_address=cluster.address)
        alone = extract(manifest, SPECS, tmp_path / "alone")
        assert on_ray.digest == alone.digest
        assert on_ray.num_complete == 3
        assert on_ray.failures == alone.failures
        assert not list((tmp_path / "ray").glob(".*.token"))
        assert extract(manifest, SPECS, tmp_path / "ray", ray_address=cluster.address).num_present == 6
        (tmp_path / "file").touch()
        with pytest.raises(UsageError):
            extract(manifest, SPECS, tmp_path / "file", ray_address=cluster.address)
    finally:
        if ray.is_initialized():
            ray.shutdown()
        cluster.shutdown()


def test_no_ray_cluster_there(manifest: Manifest, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.raises(UsageError, match="no cluster there"):
        extract(manifest, SPECS, tmp_path / "store", ray_address="nonsense://x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_media_that_became_a_pipe_is_a_failure_and_nothing_waits(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, 2)
    extract(manifest, SPECS, tmp_path / "store")
    (tmp_path / "clip1.mp4").unlink()
    os.mkfifo(tmp_path / "clip1.mp4")
    extracted = extract(manifest, SPECS, tmp_path / "store")
    [(clip, _, _, why)] = extracted.failures
    assert clip == "clip1"
    assert "is not an ordinary file" in why
