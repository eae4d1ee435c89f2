"""Folders of frames and pictures where manifests speak of clips: import, verify, the feature store."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_files import grey
from thinslice.data.first_impressions import import_folder
from thinslice.data.manifest import Manifest
from thinslice.data.verify import verify
from thinslice.features.spec import FeatureSpec
from thinslice.features.store import FeatureStore
from thinslice.media.identity import media_sha256


def frames(folder: Path, *levels: int) -> Path:
    folder.mkdir(parents=True)
    for number, level in enumerate(levels, 1):
        Image.fromarray(grey(level)).save(folder / f"{number:05d}.jpg")
    return folder


def manifest_of(root: Path, *paths: str) -> Manifest:
    return Manifest(paths, paths, ("train",) * len(paths), paths, folder=root)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    frames(tmp_path / "portraits" / "train" / "anna.001.mp4", 10, 20)
    frames(tmp_path / "portraits" / "train" / "ben", 30)
    Image.fromarray(grey(40)).save(tmp_path / "carl.png")
    return tmp_path


def test_import_folder_takes_folders_of_frames_for_clips_and_pictures_that_labels_name(corpus):
    plain = import_folder(corpus, []).manifest
    assert dict(zip(plain.clips, plain.paths, strict=True)) == {
        "anna.001.mp4": "portraits/train/anna.001.mp4",
        "ben": "portraits/train/ben",
    }
    assert set(plain.splits) == {"train"}
    (corpus / "labels.csv").write_text("clip,openness\ncarl,0.5\nanna.001,0.25\n")
    named = import_folder(corpus, [corpus / "labels.csv"]).manifest
    assert "carl.png" in named.paths
    assert named.labels(("openness",))[list(named.clips).index("anna.001")] == 0.25


def test_import_folder_takes_every_picture_where_there_is_nothing_else(tmp_path):
    for name in ("anna.jpg", "ben.png"):
        Image.fromarray(grey(40)).save(tmp_path / name)
    assert import_folder(tmp_path, []).manifest.clips == ("anna.jpg", "ben.png")


def test_verify_decodes_every_frame_and_asks_for_no_sound(corpus):
    manifest = manifest_of(corpus, "portraits/train/anna.001.mp4", "carl.png")
    found = verify(manifest, depth="full")
    assert found.num_errors == 0
    assert not any("sound" in finding.message for finding in found.findings if finding.severity == "warning")
    (corpus / "portraits/train/anna.001.mp4/00002.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (error,) = [finding for finding in verify(manifest, depth="full").findings if finding.severity == "error"]
    assert "00002.jpg" in error.message


def test_portraits_of_an_official_clip_are_not_measured_by_its_checksum(tmp_path):
    frames(tmp_path / "--Ymqszjv54.001.mp4", 10, 20)
    found = verify(manifest_of(tmp_path, "--Ymqszjv54.001.mp4"), depth="none")
    assert found.num_errors == 0


def test_the_store_knows_a_folder_by_its_pictures(corpus):
    folder = corpus / "portraits" / "train" / "ben"
    store, spec = (
        FeatureStore(corpus / "store"),
        FeatureSpec(extractor="frames", params={"num_frames": 1, "width": 16, "height": 12}),
    )
    store.remember("ben", folder, media_sha256(folder))
    assert store.media_of("ben", folder) == media_sha256(folder)
    store.write(media_sha256(folder), spec, np.zeros(3))
    Image.fromarray(grey(99)).save(folder / "00001.jpg", quality=50)
    assert store.media_of("ben", folder) is None
