"""Importing: every layout a download may have on a user's disk, what is missing from it, and what is hostile in it."""

import csv
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encrypted_zip import encrypted_zip, plain_zip
from thinslice.data import archives
from thinslice.data.first_impressions import NO_SPLIT, Imported, import_first_impressions, import_folder
from thinslice.data.label_files import NotLabelsError, parse_labels_csv, split_of
from thinslice.data.manifest import load_manifest, save_manifest
from thinslice.data.official import LABEL_GRID, distance_to_grid, load_official_clips
from thinslice.data.own_ratings import RatingScale
from thinslice.errors import ManifestError, UsageError
from thinslice.traits import TARGETS, TRAITS

# Six official names, two of each split; what the tests put into the files is made up.
TRAIN = ("--Ymqszjv54.001.mp4", "-2qsCrkXdWs.001.mp4")
VALIDATION, TEST = (
    tuple(entry.clip for entry in load_official_clips().values() if entry.split == split)[:2]
    for split in ("validation", "test")
)


def _labels(clips: tuple[str, ...], targets: tuple[str, ...] = TARGETS) -> bytes:
    grid = {name: [k / LABEL_GRID[name] for k in range(LABEL_GRID[name] + 1)] for name in targets}
    return pickle.dumps({name: {clip: grid[name][7 + i] for i, clip in enumerate(clips)} for name in targets}, 2)


def _texts(clips: tuple[str, ...]) -> bytes:
    return pickle.dumps({clip: f"words of {clip}" for clip in clips}, 2)


def _write(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def _rows(imported: Imported) -> dict[str, tuple[str, str]]:
    manifest = imported.manifest
    return dict(zip(manifest.clips, zip(manifest.splits, manifest.paths, strict=True), strict=True))


def _cell(imported: Imported, clip: str, column: str) -> str:
    manifest = imported.manifest
    return manifest.columns[column][manifest.clips.index(clip)]


# ---- the real data


@pytest.fixture(scope="module")
def real_import(real_data: Path) -> Imported:
    return import_first_impressions(real_data)


def test_the_projects_own_folder_imports_whole(real_data: Path, real_import: Imported, tmp_path: Path) -> None:
    imported = real_import
    manifest = imported.manifest
    assert len(manifest) == 6000
    assert len(set(manifest.speakers)) == 2624
    assert set(manifest.splits) == {"train"}
    assert imported.problems == ()
    assert manifest.warnings == ()
    assert sum(bool(path) and manifest.path(i).is_file() for i, path in enumerate(manifest.paths)) == 24
    assert len(imported.labels_without_media) == 5976
    assert imported.media_without_labels == ()
    assert not np.isnan(manifest.labels()).any()
    filled = {name: sum(bool(cell) for cell in cells) for name, cells in manifest.columns.items()}
    assert filled["transcript"] == 5992
    assert filled["gender"] == 6000
    assert filled["valence"] == filled["arousal"] == 960
    assert filled["age_group"] == 6000
    assert set(manifest.columns["age_group"]) == {"0-6", "7-13", "14-18", "19-24", "25-32", "33-45", "46-60", "61+"}
    with open(real_data / "annotation_training.pkl", "rb") as file:
        labels = pickle.load(file, encoding="latin1")
    for target in TARGETS:
        column = manifest.labels([target])[:, 0]
        assert dict(zip(manifest.clips, column, strict=True)) == labels[target]
    # and back from a file elsewhere
    save_manifest(manifest, tmp_path / "deep" / "fi.csv")
    back = load_manifest(tmp_path / "deep" / "fi.csv")
    assert back.digest == manifest.digest
    assert back.columns == manifest.columns
    i = next(i for i, path in enumerate(back.paths) if path)
    assert back.path(i).is_file()


def test_moods_and_genders_of_the_real_data_are_converted_as_documented(real_data: Path, real_import: Imported) -> None:
    imported = real_import
    with open(real_data / "mood_train.csv", newline="") as file:
        moods = {row["clip"]: row for row in csv.DictReader(file)}
    with open(real_data / "gender_train.csv", newline="") as file:
        genders = {row["clip"]: row["gender"] for row in csv.DictReader(file)}
    manifest = imported.manifest
    valence, arousal = manifest.labels(["valence", "arousal"]).T
    for i, clip in enumerate(manifest.clips):
        if clip in moods:
            assert (valence[i], arousal[i]) == (int(moods[clip]["valence"]) - 2, int(moods[clip]["arousal"]) - 2)
        assert manifest.columns["gender"][i] == {"1": "male", "2": "female", None: ""}[genders.get(clip)]
    assert "mood_train.csv: a manifest has no column for likeability" in imported.notes
    assert any("valence 1, 2, 3 became -1, 0, 1" in note for note in imported.notes)


def test_all_real_labels_lie_on_the_grid(real_import: Imported) -> None:
    manifest = real_import.manifest
    for target in TARGETS:
        labels = manifest.labels([target])[:, 0]
        assert max(distance_to_grid(target, label) for label in labels) < 1e-12
        coarser = [n for n in range(2, LABEL_GRID[target]) if np.abs(labels * n - np.round(labels * n)).max() < 1e-6]
        assert coarser == []


def test_the_shipped_checksums_are_the_official_ones(real_data: Path) -> None:
    with open(real_data / "clip_checksums.csv", newline="") as file:
        expected = {row["clip"]: (row["split"], int(row["bytes"]), row["sha256"]) for row in csv.DictReader(file)}
    shipped = load_official_clips()
    assert {c.clip: (c.split, c.size, c.sha256) for c in shipped.values()} == expected
    assert len(shipped) == 10_000


# ---- layouts


def test_unpacked_official_layout(tmp_path: Path) -> None:
    root = _write(
        tmp_path / "fi",
        {
            "annotation_training.pkl": _labels(TRAIN),
            "annotation_validation.pkl": _labels(VALIDATION),
            "annotation_test.pkl": _labels(TEST),
            "transcription_training.pkl": _texts(TRAIN),
            "transcription_validation.pkl": _texts(VALIDATION),
            "eth_gender_annotations_dev.csv": "VideoName;YouTubeID;Ethnicity;Gender\n"
            + "".join(f"{clip};{clip[:11]};{i % 3 + 1};{i % 2 + 1}\n" for i, clip in enumerate(TRAIN + VALIDATION)),
            "age_anno_test.csv": f"VideoName,AgeGroup\n{TEST[0]},5\n{TEST[1]},8\n",
            f"train/training80_01/{TRAIN[0]}": b"video",
            f"validation80_07/{VALIDATION[1]}": b"video",
            f"test/{TEST[0]}": b"video",
        },
    )
    imported = import_first_impressions(root)
    assert imported.problems == ()
    assert _rows(imported) == {
        TRAIN[0]: ("train", f"train/training80_01/{TRAIN[0]}"),
        TRAIN[1]: ("train", ""),
        VALIDATION[0]: ("validation", ""),
        VALIDATION[1]: ("validation", f"validation80_07/{VALIDATION[1]}"),
        TEST[0]: ("test", f"test/{TEST[0]}"),
        TEST[1]: ("test", ""),
    }
    assert imported.labels_without_media == tuple(sorted((TRAIN[1], VALIDATION[0], TEST[1])))
    assert _cell(imported, TRAIN[0], "ethnicity") == "Asian"
    assert _cell(imported, VALIDATION[0], "ethnicity") == "African-American"
    assert _cell(imported, TRAIN[1], "gender") == "female"
    assert _cell(imported, TEST[1], "age_group") == "61+"
    assert _cell(imported, TRAIN[0], "transcript") == f"words of {TRAIN[0]}"
    assert _cell(imported, TEST[0], "transcript") == ""
    assert imported.manifest.speakers[0] == TRAIN[0][:11]
    assert imported.counts()["validation"] == {
        "clips": 2, "labelled": 2, "transcripts": 2, "media": 1, "official": 2000,
    }  # fmt: skip


@pytest.mark.parametrize("present", ["training", "validation", "test"])
def test_any_split_may_be_absent(tmp_path: Path, present: str) -> None:
    clips = {"training": TRAIN, "validation": VALIDATION, "test": TEST}[present]
    root = _write(
        tmp_path,
        {
            f"annotation_{present}.pkl": _labels(clips),
            "eth_gender_annotations_dev.csv": "VideoName;YouTubeID;Ethnicity;Gender\n"
            + "".join(f"{clip};{clip[:11]};2;1\n" for clip in TRAIN + VALIDATION + TEST),
        },
    )
    imported = import_first_impressions(root)
    assert set(imported.manifest.clips) == set(clips)
    assert set(imported.manifest.columns["ethnicity"]) == {"Caucasian"}
    assert "eth_gender_annotations_dev.csv: left out, as nothing else is known of them: 4 clips" in imported.notes


def test_hub_layout(tmp_path: Path) -> None:
    header = "file_name,video_id,age_group,transcription\n"
    root = _write(
        tmp_path,
        {
            "train/metadata.csv": header + f'{TRAIN[0]},{TRAIN[0][:11]},5,"Hi,\nyou ""there"""\n',
            "validation/metadata.csv": header + f"{VALIDATION[0]},{VALIDATION[0][:11]},1,\n",
            "test/metadata.csv": header + f"test/{TEST[0]},{TEST[0][:11]},8,words\n",
            f"train/{TRAIN[0]}": b"video",
            f"test/{TEST[0]}": b"video",
        },
    )
    imported = import_first_impressions(root)
    assert {clip: split for clip, (split, _) in _rows(imported).items()} == {
        TRAIN[0]: "train", VALIDATION[0]: "validation", TEST[0]: "test",
    }  # fmt: skip
    assert _cell(imported, TRAIN[0], "transcript") == 'Hi,\nyou "there"'
    assert _cell(imported, VALIDATION[0], "age_group") == "0-6"
    assert imported.labels_without_media == ()
    assert set(imported.media_without_labels) == {f"train/{TRAIN[0]}", f"test/{TEST[0]}"}


@pytest.mark.parametrize("spelling", ["ValueNeurotisicm", "ValueNeuroticism"])
def test_first_impressions_v1(tmp_path: Path, spelling: str) -> None:
    header = f"VideoName,ValueExtraversion,ValueAgreeableness,ValueConscientiousness,{spelling},ValueOpenness\n"
    root = _write(
        tmp_path,
        {
            "training_gt.csv": header + f"{TRAIN[0]},0.1,0.2,0.3,0.4,0.5\n",
            "validation_gt.csv": header + f"{VALIDATION[0]},0.6,0.7,0.8,0.9,1.0\n",
            "predictions.csv": header + f"{TEST[0]},0.1,0.2,0.3,0.4,0.5\n",
        },
    )
    imported = import_first_impressions(root)
    labels = imported.manifest.labels(TRAITS)
    np.testing.assert_array_equal(labels, [[0.5, 0.3, 0.1, 0.2, 0.4], [1.0, 0.8, 0.6, 0.7, 0.9]])
    assert imported.manifest.splits == ("train", "validation")
    # predictions look like labels but must never become any
    assert "predictions" in imported.not_read["predictions.csv"]
    assert TEST[0] not in imported.manifest.clips
    # unless the user says so
    assert TEST[0] in import_first_impressions(root, labels=[root / "predictions.csv"]).manifest.clips


def test_media_without_labels_become_rows_and_are_listed(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        {
            "annotation_training.pkl": _labels(TRAIN),
            f"a/b/c/{TEST[1]}": b"video",
            "holiday.MOV": b"video",
            "x/talk.mp4": b"1",
            "y/talk.mp4": b"2",
            "train/new.mp4": b"3",
        },
    )
    imported = import_first_impressions(root)
    rows = _rows(imported)
    assert rows[TEST[1]] == ("test", f"a/b/c/{TEST[1]}")
    assert rows["holiday.MOV"] == (NO_SPLIT, "holiday.MOV")
    assert rows["x/talk.mp4"] == (NO_SPLIT, "x/talk.mp4")
    assert rows["y/talk.mp4"] == (NO_SPLIT, "y/talk.mp4")
    assert rows["new.mp4"] == ("train", "train/new.mp4")
    assert imported.media_without_labels == tuple(
        sorted([f"a/b/c/{TEST[1]}", "holiday.MOV", "x/talk.mp4", "y/talk.mp4", "train/new.mp4"])
    )


def test_attributes_reach_clips_of_which_only_the_media_are_there(tmp_path: Path) -> None:
    table = f"VideoName;YouTubeID;Ethnicity;Gender\n{TEST[0]};{TEST[0][:11]};2;1\n{TEST[1]};{TEST[1][:11]};2;1\n"
    root = _write(tmp_path, {"eth_gender_annotations_test.csv": table, f"test/{TEST[0]}": b"video"})
    imported = import_first_impressions(root)
    assert imported.manifest.clips == (TEST[0],)
    assert _cell(imported, TEST[0], "gender") == "male"
    assert "eth_gender_annotations_test.csv: left out, as nothing else is known of them: 1 clip" in imported.notes


def test_sound_taken_from_the_videos_makes_no_clips_of_its_own(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        {
            "annotation_training.pkl": _labels(TRAIN),
            f"video/{TRAIN[0]}": b"video",
            f"audio/{TRAIN[0][:-4]}.wav": b"sound",
            f"audio/{TRAIN[1][:-4]}.wav": b"sound",
        },
    )
    imported = import_first_impressions(root)
    assert _rows(imported) == {
        TRAIN[0]: ("train", f"video/{TRAIN[0]}"),
        TRAIN[1]: ("train", f"audio/{TRAIN[1][:-4]}.wav"),
    }
    assert any("left out: audio/" in note for note in imported.notes)


def test_files_that_contradict_each_other_are_problems(tmp_path: Path) -> None:
    other = pickle.dumps({"openness": {TRAIN[0]: 0.9, TRAIN[1]: 8 / 90}}, 2)
    root = _write(
        tmp_path,
        {
            "annotation_training.pkl": _labels(TRAIN),
            "{v2}/annotation_training.pkl": other,
            "annotation_test.pkl": _labels(VALIDATION),
            f"a/{TRAIN[0]}": b"1",
            f"b/{TRAIN[0]}": b"2",
        },
    )
    imported = import_first_impressions(root)
    assert _cell(imported, TRAIN[0], "openness") == repr(7 / 90)
    assert imported.problems == (
        f"1 clip whose media lie there more than once; used is a/{TRAIN[0]}, not b/{TRAIN[0]}",
        f"1 clip whose openness in {{v2}}/annotation_training.pkl is not that of annotation_test.pkl: {TRAIN[0]}",
        f"2 clips not in the official split: {VALIDATION[0]}, here test, officially validation",
    )


def test_rounded_labels_of_a_second_file_agree(tmp_path: Path) -> None:
    header = "VideoName," + ",".join(f"Value{name.capitalize()}" for name in TRAITS) + "\n"
    row = f"{TRAIN[0]}," + ",".join(f"{7 / LABEL_GRID[name]:.6f}" for name in TRAITS) + "\n"
    root = _write(tmp_path, {"annotation_training.pkl": _labels(TRAIN), "training_gt.csv": header + row})
    assert import_first_impressions(root).problems == ()


def test_what_is_damaged_is_named_and_the_rest_is_imported(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        {
            "annotation_training.pkl": _labels(TRAIN),
            "annotation_validation.pkl": _labels(VALIDATION)[:-9],
            "annotation_test.pkl": b"cos\nsystem\n(X\x04\x00\x00\x00truetR.",
            "validation/metadata.csv": "file_name,transcription\na,b,c\n",
            "train-1.zip": b"PK\x03\x04 not really",
            "notes.txt": b"",
            "train-2.rar": b"",
            "weights.pkl": b"",
            "scores.csv": "clip,mfcc1\na,2\n",
            "empty.csv": "",
        },
    )
    imported = import_first_impressions(root)
    assert set(imported.manifest.clips) == set(TRAIN)
    assert len(imported.problems) == 5
    text = "\n".join(sorted(imported.problems))
    assert "annotation_test.pkl: refused, it holds the name 'os.system'" in text
    assert "annotation_validation.pkl: not a pickle, or a damaged one" in text
    assert "validation/metadata.csv, line 2: 3 cells where the header has 2" in text
    assert "train-1.zip: not a ZIP archive, damaged" in text
    assert "empty.csv: empty" in text
    assert imported.not_read["notes.txt"] == "no label file, archive or media"
    assert imported.not_read["train-2.rar"] == "an archive that is not opened here; unpack it"
    assert "neither annotation nor transcription" in imported.not_read["weights.pkl"]
    assert imported.not_read["scores.csv"] == "no column that a manifest has"


def test_an_earlier_manifest_in_the_folder_is_not_read_as_labels(tmp_path: Path) -> None:
    root = _write(tmp_path, {"annotation_training.pkl": _labels(TRAIN)})
    first = import_first_impressions(root)
    save_manifest(first.manifest, root / "labels.csv")
    second = import_first_impressions(root)
    assert second.manifest.digest == first.manifest.digest
    assert second.not_read["labels.csv"] == "a manifest"


def test_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no such folder"):
        import_first_impressions(tmp_path / "none")
    (tmp_path / "file.zip").write_bytes(b"")
    with pytest.raises(ManifestError, match=r"file\.zip: is a file; give the folder"):
        import_first_impressions(tmp_path / "file.zip")
    with pytest.raises(ManifestError, match=r"nothing to import: file\.zip: not a ZIP archive"):
        import_first_impressions(tmp_path)
    (tmp_path / "file.zip").unlink()
    with pytest.raises(ManifestError, match="nothing to import: neither label files nor media are in it"):
        import_first_impressions(tmp_path)


def test_links_in_circles_and_hidden_files(tmp_path: Path) -> None:
    root = _write(
        tmp_path / "fi", {"annotation_training.pkl": _labels(TRAIN), f".cache/{TEST[0]}": b"x", "._a.mp4": b"x"}
    )
    (root / "again").symlink_to(root)
    _write(tmp_path / "elsewhere", {TRAIN[0]: b"video"})
    (root / "media").symlink_to(tmp_path / "elsewhere")
    imported = import_first_impressions(root)
    assert _rows(imported) == {TRAIN[0]: ("train", f"media/{TRAIN[0]}"), TRAIN[1]: ("train", "")}


def test_file_names_that_no_table_can_hold(tmp_path: Path) -> None:
    root = _write(tmp_path, {"annotation_training.pkl": _labels(TRAIN), "a\nb.mp4": b"x", " c.mp4": b"x"})
    (root / "d\udcff.mp4").write_bytes(b"x")
    imported = import_first_impressions(root)
    assert len(imported.manifest) == 2
    assert len(imported.problems) == 3
    assert all("left out, its name has" in line and "\n" not in line for line in imported.problems)


# ---- archives


def _official_archives(root: Path, deflate: bool = False) -> Path:
    """The download as it comes: archives in archives, annotations in their own."""
    inner = {
        f"training80_{k:02d}.zip": plain_zip({f"training80_{k:02d}/{clip}": f"video of {clip}".encode()})
        for k, clip in enumerate(TRAIN, 1)
    }
    return _write(
        root,
        {
            "train-1.zip": plain_zip(inner, deflate=deflate),
            "train-annotation.zip": plain_zip({"annotation_training.pkl": _labels(TRAIN)}, deflate=True),
            "train-transcription.zip": plain_zip({"transcription_training.pkl": _texts(TRAIN)}),
            "val-annotation-e.zip": encrypted_zip({"annotation_validation.pkl": _labels(VALIDATION)}, "secret"),
            "test-annotation-e.zip": encrypted_zip({"annotation_test.pkl": _labels(TEST)}, "secret"),
            "test_1.zip": encrypted_zip({f"test80_01/{clip}": b"test video" for clip in TEST}, "secret"),
        },
    )


@pytest.mark.parametrize("deflate", [False, True])
def test_archives_in_archives_are_listed_and_extracted_only_on_request(tmp_path: Path, deflate: bool) -> None:
    root = _official_archives(tmp_path / "fi", deflate)
    before = sorted(path.name for path in root.rglob("*"))
    imported = import_first_impressions(root, password="secret")
    assert imported.problems == ()
    assert sorted(path.name for path in root.rglob("*")) == before
    assert _rows(imported) == {
        clip: (split, "")
        for split, clips in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST))
        for clip in clips
    }
    assert imported.in_archives[TRAIN[0]] == f"train-1.zip/training80_01.zip/training80_01/{TRAIN[0]}"
    assert set(imported.in_archives) == {*TRAIN, *TEST}
    assert set(imported.labels_without_media) == set(VALIDATION)

    steps: list[tuple[int, int]] = []
    extracted = import_first_impressions(
        root, password="secret", extract_to=tmp_path / "clips", on_extracted=lambda *step: steps.append(step)
    )
    assert extracted.problems == ()
    assert extracted.in_archives == {}
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == sorted((*TRAIN, *TEST))
    i = extracted.manifest.clips.index(TRAIN[1])
    assert extracted.manifest.path(i).read_bytes() == f"video of {TRAIN[1]}".encode()
    assert extracted.manifest.digest == imported.manifest.digest
    assert steps[-1][0] == steps[-1][1] > 0
    # once more: nothing is written again
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    import_first_impressions(root, password="secret", extract_to=tmp_path / "clips")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()} == stamps


def test_encrypted_archives_without_the_password(tmp_path: Path) -> None:
    root = _official_archives(tmp_path / "fi")
    imported = import_first_impressions(root, extract_to=tmp_path / "clips")
    assert set(imported.manifest.clips) == {*TRAIN, *TEST}
    required = "encrypted, a password is required; give it with --password (it comes with the dataset's terms)"
    assert list(imported.problems) == [
        f"test-annotation-e.zip/annotation_test.pkl: {required}",
        f"val-annotation-e.zip/annotation_validation.pkl: {required}",
        f"{root / 'test_1.zip'}/test80_01/{TEST[0]}: {required}",  # once, not for every clip
    ]
    assert set(imported.in_archives) == set(TEST)
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == sorted(TRAIN)


def test_a_wrong_password(tmp_path: Path) -> None:
    root = _write(
        tmp_path, {"val-annotation-e.zip": encrypted_zip({"annotation_validation.pkl": _labels(VALIDATION)}, "secret")}
    )
    for password in (f"wrong{i}" for i in range(20)):  # one in 256 passes the check byte and fails at the CRC
        with pytest.raises(ManifestError, match=r"wrong password|the password is wrong|damaged"):
            import_first_impressions(root, password=password)


def test_an_archive_within_an_encrypted_one(tmp_path: Path) -> None:
    inner = plain_zip({TEST[0]: b"video"})
    root = _write(tmp_path / "fi", {"test-1.zip": encrypted_zip({"test80_01.zip": inner}, "secret")})
    with pytest.raises(ManifestError, match=r"test-1\.zip/test80_01\.zip: encrypted, a password is required"):
        import_first_impressions(root)
    imported = import_first_impressions(root, password="secret", extract_to=tmp_path / "out")
    assert (tmp_path / "out" / TEST[0]).read_bytes() == b"video"
    assert imported.media_without_labels == (f"test-1.zip/test80_01.zip/{TEST[0]}",)


@pytest.mark.parametrize(
    "name", ["../../evil.mp4", "/abs/evil.mp4", "..\\..\\evil.mp4", "C:\\evil.mp4", "a/../../../evil.mp4", "./evil.mp4"]
)
def test_no_archive_writes_outside_the_folder(tmp_path: Path, name: str) -> None:
    root = _write(tmp_path / "a" / "b" / "fi", {"train-1.zip": plain_zip({name: b"evil"})})
    imported = import_first_impressions(root, extract_to=tmp_path / "a" / "b" / "out")
    assert imported.problems == ()
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {root / "train-1.zip", tmp_path / "a" / "b" / "out" / "evil.mp4"}


def test_links_in_archives_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "fi"
    root.mkdir()
    link = zipfile.ZipInfo("link.mp4")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(root / "train.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr(TRAIN[0], b"video")
    imported = import_first_impressions(root, extract_to=tmp_path / "out")
    assert imported.manifest.clips == (TRAIN[0],)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [TRAIN[0]]


def test_a_link_where_a_clip_is_extracted_to_is_replaced_not_written_through(tmp_path: Path) -> None:
    root = _write(tmp_path / "fi", {"train.zip": plain_zip({TRAIN[0]: b"video"})})
    _write(tmp_path, {"victim": b"precious", "out/x": b""})
    (tmp_path / "out" / TRAIN[0]).symlink_to(tmp_path / "victim")
    import_first_impressions(root, extract_to=tmp_path / "out")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / "out" / TRAIN[0]).read_bytes() == b"video"


def test_a_damaged_member_leaves_no_file_and_the_others_are_extracted(tmp_path: Path) -> None:
    data = plain_zip({TRAIN[0]: b"A" * 1000, TRAIN[1]: b"B" * 1000}).replace(b"A" * 1000, b"A" * 999 + b"x")
    root = _write(tmp_path / "fi", {"train.zip": data})
    imported = import_first_impressions(root, extract_to=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [TRAIN[1]]
    assert len(imported.problems) == 1
    assert "Bad CRC-32" in imported.problems[0]
    assert _rows(imported)[TRAIN[0]] == ("train", "")
    assert list(imported.in_archives) == [TRAIN[0]]


def test_archives_too_deep_too_large_or_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = plain_zip({TRAIN[0]: b"video"})
    for _ in range(4):
        data = plain_zip({"inner.zip": data})
    root = _write(tmp_path / "deep", {"outer.zip": data, "annotation_training.pkl": _labels(TRAIN)})
    imported = import_first_impressions(root)
    assert any("nested deeper than 3 are not looked into" in line for line in imported.problems)

    root = _write(tmp_path / "bomb", {"a.zip": plain_zip({"annotation_training.pkl": bytes(70 * 2**20)}, deflate=True)})
    with pytest.raises(ManifestError, match="more than 67,108,864 bytes; it cannot be a label file"):
        import_first_impressions(root)

    root = _write(tmp_path / "full", {"train.zip": plain_zip({TRAIN[0]: b"video" * 100})})
    usage = archives.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: usage._replace(free=499))
    with pytest.raises(ManifestError, match=r"0\.0 GB are needed and 0\.0 GB free"):
        import_first_impressions(root, extract_to=tmp_path / "out")


def test_unpacked_media_are_preferred_to_archives(tmp_path: Path) -> None:
    root = _write(tmp_path, {"train.zip": plain_zip({TRAIN[0]: b"video"}), f"train/{TRAIN[0]}": b"video"})
    imported = import_first_impressions(root)
    assert _rows(imported) == {TRAIN[0]: ("train", f"train/{TRAIN[0]}")}
    assert imported.in_archives == {}


def test_aes_is_named_as_what_cannot_be_opened(tmp_path: Path) -> None:
    data = encrypted_zip({"annotation_test.pkl": _labels(TEST)}, "secret")
    # method 99 in the local header and in the directory is AES (APPNOTE.TXT, section 7.2)
    patched = bytearray(data)
    patched[8:10] = (99).to_bytes(2, "little")
    at = data.index(b"PK\x01\x02")
    patched[at + 10 : at + 12] = (99).to_bytes(2, "little")
    root = _write(tmp_path, {"test-annotation-e.zip": bytes(patched), f"{TEST[0]}": b""})
    (problem,) = import_first_impressions(root, password="secret").problems
    assert problem.startswith("test-annotation-e.zip/annotation_test.pkl: cannot be unpacked here")
    assert problem.endswith("unpack it with 7-Zip")


# ---- one's own folder


def test_own_folder_with_a_table(tmp_path: Path) -> None:
    table = "Clip;Speaker;Openness;gender;Split\na/1.mp4;ann;0.5;1;train\nb/1.mp4;bob;0.25;2;test\nc;ann;;x;train\n"
    root = _write(
        tmp_path, {"media/a/1.mp4": b"", "media/b/1.mp4": b"", "media/c.mov": b"", "media/d.mp4": b"", "t.csv": table}
    )
    imported = import_folder(root / "media", [root / "t.csv"])
    manifest = imported.manifest
    assert _rows(imported) == {
        "a/1.mp4": ("train", "a/1.mp4"),
        "c": ("train", "c.mov"),
        "b/1.mp4": ("test", "b/1.mp4"),
        "d.mp4": (NO_SPLIT, "d.mp4"),
    }
    assert manifest.speakers == ("ann", "ann", "bob", "d")
    assert list(manifest.columns["gender"]) == ["1", "x", "2", ""], "one's own words stay as they are"
    assert imported.problems == ()
    assert not any("speaker" in note for note in imported.notes)


def test_own_columns_are_kept_for_groups(tmp_path: Path) -> None:
    table = "clip,path,speaker,Valence,mood now,charm\na,x,ann,-0.5, so so,3\nb,y,bob,,,\n"
    root = _write(tmp_path, {"m/a.mp4": b"", "t.csv": table})
    manifest = import_folder(root / "m", [root / "t.csv"]).manifest
    assert dict(manifest.columns) == {"valence": ("-0.5", ""), "mood now": (" so so", ""), "charm": ("3", "")}
    assert manifest.paths == ("a.mp4", "")


def test_own_folder_without_speakers_says_so(tmp_path: Path) -> None:
    root = _write(
        tmp_path, {"m/talk.v2.mp4": b"", "m/talk.v3.mp4": b"", "t.csv": "video,openness\ntalk.v2,0.5\ntalk.v3,0.5\n"}
    )
    imported = import_folder(root / "m", [root / "t.csv"])
    assert imported.manifest.speakers == ("talk.v2", "talk.v3")
    assert any("each clip counts as its own speaker" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("clip,openness\na,high\n", "t.csv, line 2: openness is 'high', not a number"),
        ("clip,openness\na,1.5\n", "t.csv, line 2: openness is 1.5, outside [0, 1]; if that is the scale, name"),
        ("clip;openness\na;0.5\nb;0,5,1\n", "t.csv, line 3: openness is '0,5,1', not a number"),
        ("clip,openness\na,0.5\na,0.5\n", "t.csv, line 3: a is listed twice, first at "),
        ("clip,openness\n,0.5\n", "t.csv, line 2: clip is empty"),
        ("clip,openness,ValueOpenness\na,0.5,0.5\n", "both openness and ValueOpenness are openness"),
        ("speaker,openness\na,0.5\n", "t.csv: no column that names clips"),
        ("clip,valence\na,3\n", "t.csv, line 2: valence is 3, outside [-1, 1]"),
        (b"clip,gender\na,\xff\n", "t.csv, line 2: byte 0xff is not UTF-8"),
    ],
)
def test_mistakes_in_ones_own_table(tmp_path: Path, table: str | bytes, message: str) -> None:
    root = _write(tmp_path, {"m/a.mp4": b"", "t.csv": table})
    with pytest.raises(ManifestError) as caught:
        import_folder(root / "m", [root / "t.csv"])
    assert message in str(caught.value)


def test_own_ratings_on_another_scale_with_commas_and_letters(tmp_path: Path) -> None:
    table = "Clip;O;c;E;A;N;Interview;Charm\na;1;7;4;2,5;;5,5;so so\n"
    root = _write(tmp_path, {"m/a.mp4": b"", "t.csv": table})
    imported = import_folder(root / "m", [root / "t.csv"], RatingScale((1.0, 7.0)))
    labels = imported.manifest.labels()[0]
    assert labels == pytest.approx([0.0, 1.0, 0.5, 0.25, float("nan"), 0.75], nan_ok=True)
    assert imported.manifest.columns["Charm"] == ("so so",)
    said = "\n".join(imported.notes)
    assert "decimal commas read as points in agreeableness, interview" in said
    assert "brought from 1-7 to 0-1" in said
    assert "kept as text, not recognised: Charm" in said
    with pytest.raises(ManifestError, match=r"openness of a is 1, outside the scale 3 to 7"):
        import_folder(root / "m", [root / "t.csv"], RatingScale((3.0, 7.0)))


def test_letters_stand_for_traits_only_where_there_are_several(tmp_path: Path) -> None:
    root = _write(tmp_path, {"m/a.mp4": b"", "t.csv": "clip,E,N\na,0.5,0.25\n"})
    imported = import_folder(root / "m", [root / "t.csv"])
    assert dict(imported.manifest.columns) == {"E": ("0.5",), "N": ("0.25",)}
    assert any("no column of a trait" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("Video;Person;Extroversion;Emotional Stability;AGREEABLE", {"extraversion", "neuroticism", "agreeableness"}),
        ("Stimulus;participant id;ext_mean;Conscientiousness (C);O", {"extraversion", "conscientiousness", "O"}),
        ("FILE_NAME;Subject;e;c;n", {"extraversion", "conscientiousness", "neuroticism"}),
        ("id;speaker;Opn;Csn;Interview Score", {"openness", "conscientiousness", "interview"}),
    ],
)
def test_own_headers_are_known_as_people_spell_them(tmp_path: Path, header: str, columns: set[str]) -> None:
    root = _write(tmp_path, {"m/a.mp4": b"", "t.csv": f"sep=;\n{header}\na;ann;1,5;2;3\n"})
    manifest = import_folder(root / "m", [root / "t.csv"], RatingScale((1.0, 5.0))).manifest
    assert set(manifest.columns) == columns
    assert manifest.speakers == ("ann",)
    known = [float(cells[0]) for name, cells in manifest.columns.items() if name in TARGETS]
    assert sorted(known) == [0.125, 0.25, 0.5][: len(known)]


def test_own_targets_are_ratings_too(tmp_path: Path) -> None:
    table = "clip;Warmth;competence;charm;E\na;7;2,5;so so;3\nb;NA;1;;4\n"
    root = _write(tmp_path, {"m/a.mp4": b"", "m/c.mp4": b"", "t.csv": table})
    scale = RatingScale((1.0, 7.0), ("warmth", "competence"), ("competence",))
    imported = import_folder(root / "m", [root / "t.csv"], scale)
    own = imported.manifest.labels(("warmth", "competence"))
    assert own == pytest.approx(np.array([[1.0, 0.75], [np.nan, 1.0], [np.nan, np.nan]]), nan_ok=True)
    assert imported.manifest.columns["E"] == ("3", "4", ""), "a single letter may be anything"
    assert imported.labels_without_media == ("b",)
    assert imported.media_without_labels == ("c.mp4",)
    said = "\n".join(imported.notes)
    assert "1 cell such as NA taken for no rating" in said
    assert "competence reversed" in said
    assert "kept as text, not recognised: charm, E" in said
    with pytest.raises(ManifestError, match="no column wit to reverse; there are warmth"):
        import_folder(root / "m", [root / "t.csv"], replace(scale, reversed=("wit",)))
    with pytest.raises(UsageError, match="--targets clip: not the name of a target"):
        RatingScale(None, ("clip",))


def test_one_row_per_rater_is_told_from_a_clip_that_stands_there_twice(tmp_path: Path) -> None:
    root = _write(tmp_path, {"m/a.mp4": b"", "t.csv": "clip,rater,openness\na,r1,0.5\na,r2,0.75\n"})
    with pytest.raises(ManifestError, match="if rater says who rated, join the raters first: thinslice votes"):
        import_folder(root / "m", [root / "t.csv"])


def test_which_way_round_neuroticism_is_meant_is_said(tmp_path: Path) -> None:
    root = _write(tmp_path, {"m/a.mp4": b"", "t.csv": "clip,NEUROTICISM\na,0.25\n"})
    assert any("1 is comfortable" in note for note in import_folder(root / "m", [root / "t.csv"]).notes)
    turned = import_folder(root / "m", [root / "t.csv"], RatingScale(None, (), ("neuroticism",)))
    assert not any("1 is comfortable" in note for note in turned.notes)
    assert turned.manifest.columns["neuroticism"] == ("0.75",)


def test_two_clips_may_not_mean_one_file_unnoticed(tmp_path: Path) -> None:
    root = _write(tmp_path, {"m/a.mov": b"", "t.csv": "clip,openness\na,0.5\na.mov,0.5\n"})
    imported = import_folder(root / "m", [root / "t.csv"])
    assert imported.problems == ("1 media file that two clips name: a.mov: a and a.mov",)


# ---- small parts


@pytest.mark.parametrize(
    ("where", "split"),
    [
        ("annotation_training.pkl", "train"),
        ("val-annotation-e.zip/annotation_validation.pkl", "validation"),
        ("test-annotation-e.zip/x.pkl", "test"),
        ("train-1.zip/training80_01.zip/a.mp4", "train"),
        ("validation80_25/a.mp4", "validation"),
        ("metadata_train.csv", "train"),
        ("test/metadata.csv", "test"),
        ("test/annotation_training.pkl", "train"),
        ("train_val/metadata.csv", None),
        ("test/train_and_val.csv", None),
        ("eth_gender_annotations_dev.csv", None),
        ("contest/latest/x.csv", None),
        ("x.mp4", None),
    ],
)
def test_the_split_in_a_path(where: str, split: str | None) -> None:
    assert split_of(where) == split


def test_a_prediction_file_of_thinslice_is_no_label_file() -> None:
    header = "clip," + ",".join(TRAITS) + ",openness_low,openness_high\n"
    with pytest.raises(NotLabelsError, match="predictions"):
        parse_labels_csv(f"{header}a,0,0,0,0,0,0,0\n".encode(), "predictions.csv")


def test_codes_are_only_decoded_where_all_cells_are_codes() -> None:
    source = parse_labels_csv(b"VideoName;Gender;AgeGroup\na;1;5\nb;male;6\n", "x.csv")
    assert source.cells["gender"] == {"a": "1", "b": "male"}
    assert source.cells["age_group"] == {"a": "25-32", "b": "33-45"}
    moods = parse_labels_csv(b"clip,valence,arousal\na,1,0\n", "x.csv")
    assert moods.cells["valence"] == {"a": "1"}, "without likeability these are values of [-1, 1]"


def test_an_import_is_json(tmp_path: Path) -> None:
    root = _write(tmp_path, {"annotation_training.pkl": _labels(TRAIN)})
    document = json.loads(json.dumps(import_first_impressions(root).to_dict()))
    assert document["labels_without_media"] == list(TRAIN)
    assert document["splits"]["train"]["labelled"] == 2
