"""Damaged and hostile files end in a result or in one line that names the file, within bounds."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hostile import (
    absurd_sounds,
    damaged,
    manifest_text,
    many_boxes,
    nested_boxes,
    predictions_text,
    sound_files,
    subtitles_text,
    terabyte_array,
    zip_bomb,
)
from media_files import numbered, voice_like, write_media
from thinslice.data import archives
from thinslice.data.archives import list_members
from thinslice.data.manifest import load_manifest
from thinslice.errors import MediaError, ThinsliceError
from thinslice.evaluate.predictions import read_predictions
from thinslice.features.transcript import MAX_CHARS, find_transcript
from thinslice.formats.python2_pickle import load_annotations
from thinslice.infer.batch import predict_batch
from thinslice.infer.predictor import Predictor
from thinslice.media.source import Source
from thinslice.types import Failure

EXPLAINED = ("unexpected", "please report", "\n")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor("voice-words")


def complaints(results: object) -> list[str]:
    """Return the errors that are none of the file's."""
    errors = [result.error for result in results if isinstance(result, Failure)]  # type: ignore[attr-defined]
    return [error for error in errors if any(word in error for word in EXPLAINED)]


def error_of(read: Callable[[Path], object], path: Path) -> str:
    """Return what the user is told of a file; "" where it is read."""
    try:
        read(path)
    except ThinsliceError as error:
        return str(error)
    return ""


def test_damaged_recordings_are_scored_or_explained(tmp_path: Path, predictor: Predictor) -> None:
    rng = np.random.default_rng(18)
    whole = sound_files(tmp_path)
    paths = []
    for number in range(30):
        source = whole[number % len(whole)]
        paths.append(tmp_path / f"{number}{source.suffix}")
        paths[-1].write_bytes(damaged(source.read_bytes(), rng)[1])
    options = {"transcript": "so happy to be here", "explain": False}
    assert complaints(predict_batch(paths, bundle=predictor, options=options)) == []
    for path in paths:
        line = error_of(lambda path: list(Source(path).frames([0.0, 0.3])), path)
        assert not line or str(path) in line


def test_recordings_that_claim_absurd_forms_are_scored_or_explained(tmp_path: Path, predictor: Predictor) -> None:
    paths = []
    for name, data in absurd_sounds():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    results = list(predict_batch(paths, bundle=predictor, options={"transcript": "hello there", "explain": False}))
    assert complaints(results) == []


def test_boxes_are_read_to_a_bounded_depth_and_number(tmp_path: Path) -> None:
    whole = write_media(tmp_path / "a.mp4", [voice_like(1.5, 16_000)], rate_hz=16_000).read_bytes()
    (tmp_path / "deep.mp4").write_bytes(whole + nested_boxes(1_100))
    assert Source(tmp_path / "deep.mp4").info.duration_s > 1
    (tmp_path / "many.mp4").write_bytes(whole + many_boxes(100_001))
    with pytest.raises(MediaError, match=r"many\.mp4: over 100,000 parts \(boxes\) in it"):
        Source(tmp_path / "many.mp4").audio(16_000)


def test_arrays_that_claim_a_terabyte_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from thinslice.features.text_embedding import extract_text_vector
    from thinslice.formats.npz import read_npz
    from thinslice.systems.audiovisual_attributes.vgg_face import VggFace
    from thinslice.systems.audiovisual_attributes.weights import load_vgg_face
    from thinslice.systems.cr_net.trees import load_estimator

    claim = terabyte_array()
    for name in ("trees.npz", "svr.npz"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("conv1_1.weight.npy", claim)
    (tmp_path / "a.vector.npy").write_bytes(claim)
    readers: list[tuple[str, Callable[[], object]]] = [
        ("trees.npz", lambda: load_estimator(tmp_path)),
        ("trees.npz", lambda: load_vgg_face(VggFace(2, 4, 32), tmp_path / "trees.npz")),
        ("svr.npz", lambda: read_npz(tmp_path / "svr.npz", {"conv1_1.weight": (2**37,)}, "a test")),
        ("a.vector.npy", lambda: extract_text_vector(Source(tmp_path / "a.mp4"))),
    ]
    for name, read in readers:
        with pytest.raises(ThinsliceError, match=name) as refused:
            read()
        assert "\n" not in str(refused.value)


def test_pictures_over_the_bound_are_not_decoded_and_the_sound_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp4", "a.mkv"):
        path = write_media(tmp_path / name, [voice_like(1.5, 16_000)], numbered(12), rate_hz=16_000)
        monkeypatch.setattr("thinslice.media.video.MAX_PIXELS", 4_000)
        monkeypatch.setattr("thinslice.media.probe.MAX_PIXELS", 3_000)  # 64 x 48 is more
        with pytest.raises(MediaError, match="its pictures cannot be decoded"):
            list(Source(path).frames([0.0]))  # As if the head of the file said less.
        monkeypatch.setattr("thinslice.media.video.MAX_PIXELS", 3_000)
        with pytest.raises(MediaError, match=r"its pictures are 64 x 48, over 0 megapixels; scale them down"):
            list(Source(path).frames([0.0]))
        assert len(Source(path).audio(16_000)) > 16_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path, predictor: Predictor) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    results = list(predict_batch([tmp_path / "pipe.mp4", "/dev/zero"], bundle=predictor))
    refused = [isinstance(result, Failure) and "is not an ordinary file" in result.error for result in results]
    assert refused == [True, True]
    with pytest.raises(MediaError, match="is not an ordinary file"):
        Source(tmp_path / "pipe.mp4").sha256()


def test_more_words_than_a_chapter_are_refused(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    (tmp_path / "a.txt").write_text("word " * (MAX_CHARS // 5 + 1))
    with pytest.raises(MediaError, match=r"a\.txt: 200,005 characters, over 200,000, are too long"):
        find_transcript(clip)
    (tmp_path / "a.txt").write_text("word " * (MAX_CHARS // 5))
    assert find_transcript(clip) is not None
    with pytest.raises(MediaError, match="the transcript given"):
        find_transcript(clip, "word " * MAX_CHARS)


def test_archives_that_unpack_to_absurdly_more_are_left_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_HARMLESS_BYTES", 1_000_000)
    for levels in (1, 2):
        (tmp_path / "bomb.zip").write_bytes(zip_bomb(3_000_000, levels))
        problems: list[str] = []
        assert list_members(tmp_path / "bomb.zip", None, problems) == []
        assert [("bomb.zip" in line, "MB that unpack to" in line) for line in problems] == [(True, True)]


@pytest.mark.parametrize(
    ("whole", "read"),
    [
        (manifest_text().encode(), load_manifest),
        (predictions_text().encode(), read_predictions),
        (subtitles_text().encode(), lambda path: find_transcript("x.mp4", path)),
        (pickle.dumps({"openness": {f"{i}.mp4": i / 40 for i in range(40)}}, 2), load_annotations),
        (zip_bomb(2_000, levels=2), lambda path: list_members(path, None, [])),
    ],
    ids=["manifest", "predictions", "subtitles", "pickle", "archive"],
)
def test_damaged_tables_and_archives_are_read_or_explained(
    whole: bytes, read: Callable[[Path], object], tmp_path: Path
) -> None:
    rng = np.random.default_rng(11)
    path = tmp_path / "t.srt"
    for _ in range(100):
        path.write_bytes(damaged(whole, rng)[1])
        line = error_of(read, path)
        assert not line or ("t.srt" in line and "\n" not in line)
