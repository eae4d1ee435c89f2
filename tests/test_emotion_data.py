"""Emotion data sets: each layout as its authors give it, frames beside the right values, what is refused; faces."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from media_files import number_of, numbered, png, write_media
from thinslice.cli.data import data
from thinslice.data.emotion import import_afew_va, import_aff_wild, import_emotion_csv
from thinslice.data.manifest import Manifest, load_manifest
from thinslice.errors import ManifestError, MediaError, UsageError
from thinslice.media.source import Source

cv2 = pytest.importorskip("cv2")

from thinslice.features.extract import extract_features  # noqa: E402
from thinslice.features.face_picture import extract_face_picture  # noqa: E402
from thinslice.features.spec import FeatureSpec  # noqa: E402

NUM_FRAMES = 60
VALUES = np.round(np.linspace(-1, 1, NUM_FRAMES), 3)


def labels(manifest: Manifest) -> list[list[float]]:
    return manifest.labels(("valence", "arousal")).tolist()


@pytest.fixture
def aff_wild(tmp_path: Path) -> Path:
    """A folder as Aff-Wild's: two videos, whose frames tell their number; the value of frame i is VALUES[i]."""
    root = tmp_path / "aff"
    for name, values in (("105", VALUES), ("30-30-1920x1080", VALUES[::-1])):
        (root / "videos" / "train").mkdir(parents=True, exist_ok=True)
        write_media(root / "videos" / "train" / f"{name}.mp4", pictures=numbered(NUM_FRAMES))
        for column, sign in (("valence", 1), ("arousal", -1)):
            file = root / "annotations" / "train" / column / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{sign * value}\n" for value in values))
    return root


class TestAffWild:
    def test_each_picture_is_the_frame_that_its_values_belong_to(self, aff_wild: Path, tmp_path: Path) -> None:
        imported = import_aff_wild(aff_wild, tmp_path / "frames", every_s=0.4)
        manifest = imported.manifest
        assert not imported.problems
        assert not imported.notes
        assert manifest.clips[:3] == ("105.000000", "105.000010", "105.000020")
        assert len(manifest) == 12
        assert set(manifest.splits) == {"train"}
        assert set(manifest.speakers) == {"105", "30-30-1920x1080"}
        for i, clip in enumerate(manifest.clips):
            number = number_of(cv2.imread(str(manifest.path(i))))
            assert number == int(clip.rpartition(".")[2])
            value = (VALUES if clip.startswith("105") else VALUES[::-1])[number]
            assert labels(manifest)[i] == pytest.approx([value, -value], abs=1e-4)

    def test_pictures_that_are_there_are_not_written_again(self, aff_wild: Path, tmp_path: Path) -> None:
        first = import_aff_wild(aff_wild, tmp_path / "frames", 0.4)
        times = {path: (first.manifest.folder / path).stat().st_mtime_ns for path in first.manifest.paths}
        second = import_aff_wild(aff_wild, tmp_path / "frames", 0.4)
        assert times == {path: (second.manifest.folder / path).stat().st_mtime_ns for path in second.manifest.paths}
        assert len(import_aff_wild(aff_wild, tmp_path / "all", 0).manifest) == 2 * NUM_FRAMES

    def test_aff_wild_2(self, tmp_path: Path) -> None:
        root = tmp_path / "aff2"
        for split, name in (("Train_Set", "a"), ("Validation_Set", "b"), ("Train_Set", "c_left")):
            (root / "VA" / split).mkdir(parents=True, exist_ok=True)
            rows = ["valence,arousal", "0.5,-0.25", "-5,-5", *["0.1,0.2"] * 48]
            (root / "VA" / split / f"{name}.txt").write_text("\n".join(rows) + "\n")
        for name in "abc":
            write_media(root / f"{name}.mp4", pictures=numbered(50))
        imported = import_aff_wild(root, tmp_path / "frames", 0)
        assert imported.notes == ("c_left.txt: one of two people in a video, left out",)
        assert labels(imported.manifest)[:2] == [[0.5, -0.25], [0.1, 0.2]]
        assert imported.manifest.clips[:2] == ("a.000000", "a.000002")  # Frame 1 has no value.
        assert [imported.manifest.splits.count(split) for split in ("train", "validation")] == [49, 49]

    def test_problems_are_named_and_the_rest_done(self, aff_wild: Path, tmp_path: Path) -> None:
        train = aff_wild / "annotations" / "train"
        (train / "valence" / "999.txt").write_text("0.1\n")
        (train / "arousal" / "999.txt").write_text("0.1\n")
        (train / "valence" / "105.txt").write_text("0.5\n1.5\n")
        imported = import_aff_wild(aff_wild, tmp_path / "frames")
        assert len(imported.problems) == 2
        assert "105.txt: 1.5 lies outside [-1, 1]" in imported.problems[0]
        assert "there is no video 999" in imported.problems[1]
        assert set(imported.manifest.speakers) == {"30-30-1920x1080"}
        (train / "arousal" / "30-30-1920x1080.txt").unlink()
        with pytest.raises(ManifestError, match="no annotated picture or clip could be had"):
            import_aff_wild(aff_wild, tmp_path / "frames")
        with pytest.raises(ManifestError, match="no annotations; expected"):
            import_aff_wild(tmp_path / "frames", tmp_path / "frames")

    def test_videos_shorter_than_their_annotations(self, aff_wild: Path, tmp_path: Path) -> None:
        for column in ("valence", "arousal"):
            file = aff_wild / "annotations" / "train" / column / "105.txt"
            file.write_text(file.read_text() + "0.3\n" * 30)
        imported = import_aff_wild(aff_wild, tmp_path / "frames", 0)
        assert imported.notes == ("105.mp4: 90 annotated frames, but 2.4 s",)
        assert imported.manifest.speakers.count("105") == NUM_FRAMES


def write_afew(root: Path, clip: str, actor: str | None, frames: dict[str, object]) -> Path:
    folder = root / clip
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, object] = {"video_id": clip, "frames": frames}
    if actor:
        document["actor"] = actor
    (folder / f"{clip}.json").write_text(json.dumps(document))
    for name in frames:
        (folder / f"{name}.png").write_bytes(png())
    return folder


class TestAfewVa:
    def test_values_actors_and_pictures(self, tmp_path: Path) -> None:
        face = {"landmarks": [[1.0, 2.0]] * 68, "valence": -10.0, "arousal": 7.0}
        write_afew(tmp_path, "001", "An Actor", {"00000": face, "00001": {**face, "valence": 3.0}})
        write_afew(tmp_path, "002", None, {"00000": face})
        (tmp_path / "001" / "00001.png").unlink()
        imported = import_afew_va(tmp_path)
        assert imported.manifest.clips == ("001.00000", "002.00000")
        assert imported.manifest.speakers == ("An Actor", "002")
        assert labels(imported.manifest) == [[-1.0, 0.7], [-1.0, 0.7]]
        assert imported.notes == (
            "valence and arousal, -10 to 10, became -1 to 1",
            "left out, without a picture: 1 annotated frame",
        )

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not a JSON file that can be read"),
            ("[1]", "expected a table of frames"),
            ('{"frames": 3}', "not as AFEW-VA's files are"),
            ('{"frames": {"00000": {"valence": 1}}}', "not as AFEW-VA's files are"),
            ('{"frames": {"00000": {"valence": 11, "arousal": 0}}}', r"11 lies outside \[-10, 10\]"),
        ],
    )
    def test_problems(self, content: str, message: str, tmp_path: Path) -> None:
        write_afew(tmp_path, "001", None, {"00000": {"valence": 0, "arousal": 0}})
        write_afew(tmp_path, "002", None, {})
        (tmp_path / "002" / "002.json").write_text(content)
        imported = import_afew_va(tmp_path)
        assert len(imported.manifest) == 1
        (problem,) = imported.problems

        assert re.search(message, problem)


class TestTable:
    @pytest.mark.parametrize("header", ["image", "picture", "file_name"])
    def test_scale_and_names(self, header: str, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        for name in ("a.png", "b.png"):
            (tmp_path / "images" / name).write_bytes(png())
        table = tmp_path / "ratings.csv"
        table.write_text(
            f"{header},valence,arousal,split,speaker\na.png,1,9,train,eve\nimages/b.png,5,3,test,\nc.png,1,1,,\n"
        )
        imported = import_emotion_csv(table, scale=(1, 9))
        manifest = imported.manifest
        assert labels(manifest) == [[-1.0, 1.0], [0.0, -0.5]]
        assert (manifest.splits, manifest.speakers) == (("train", "test"), ("eve", "images/b.png"))
        assert manifest.path(0).is_file()
        assert "left out, no such file below" in imported.notes[1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("clip,valence\na.png,1\n", "no column arousal"),
            ("who,valence,arousal\na.png,0,0\n", "no column names the pictures"),
            ("clip,valence,arousal\na.png,0,2\n", r"line 2: 2 lies outside \[-1, 1\]"),
            ("clip,valence,arousal\na.png,,0\n", "line 2: '' is not a number"),
            ("clip,valence,arousal\na.png,nan,0\n", "nan lies outside"),
            ("clip,valence,arousal\nz.png,0,0\n", "no annotated picture or clip could be had"),
        ],
    )
    def test_what_is_refused(self, text: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(png())
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ManifestError, match=message):
            import_emotion_csv(tmp_path / "t.csv")

    def test_mood_of_real_clips(self, real_data: Path, real_clips: list[Path]) -> None:
        imported = import_emotion_csv(real_data / "mood_train.csv", real_clips[0].parent, (1, 3))
        rated = [clip for clip in imported.manifest.clips if clip in {path.name for path in real_clips}]
        assert len(rated) == len(imported.manifest) > 0
        assert set(np.unique(labels(imported.manifest))) <= {-1.0, 0.0, 1.0}
        assert imported.manifest.speakers[0] == imported.manifest.clips[0].rsplit(".", 2)[0]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(data, ["import-emotion", *map(str, arguments)], catch_exceptions=False)


class TestCommand:
    def test_writes_a_manifest(self, aff_wild: Path, tmp_path: Path) -> None:
        out = tmp_path / "emotion.csv"
        result = call("aff-wild", aff_wild, "--frames-to", tmp_path / "frames", "--every", 0.4, "--out", out)
        assert result.exit_code == 0
        assert "12 rows (12 train) of 2 speakers" in result.output
        manifest = load_manifest(out)
        assert all(manifest.path(i).is_file() for i in range(12))
        document = json.loads(call("aff-wild", aff_wild, "--frames-to", tmp_path / "frames", "--every", 0.4, "--json",
                                   "--out", out).output)  # fmt: skip
        assert (document["num_rows"], document["digest"]) == (12, manifest.digest)

    def test_problems_make_the_exit_code_1(self, tmp_path: Path) -> None:
        write_afew(tmp_path, "001", None, {"00000": {"valence": 0, "arousal": 0}})
        write_afew(tmp_path, "002", None, {"00000": {"valence": "x", "arousal": 0}})
        result = call("afew-va", tmp_path, "--out", tmp_path / "emotion.csv")
        assert result.exit_code == 1
        assert "problem: " in result.output
        assert len(load_manifest(tmp_path / "emotion.csv")) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [(("aff-wild", "."), "needs --frames-to"), (("csv", "t.csv", "--scale", "9"), "lowest and the highest")],
    )
    def test_wrong_calls(self, arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
        result = call(*arguments, "--out", tmp_path / "m.csv")
        assert result.exit_code == 2
        assert message in result.output


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    from thinslice.data.planted.emotion import planted_emotion

    return planted_emotion(tmp_path_factory.mktemp("drawn"), 15, seed=3)


class TestFaces:
    def test_of_a_picture(self, drawn: Manifest) -> None:
        specs = {"face": FeatureSpec(extractor="face_picture")}
        face = extract_features(Source(drawn.path(0)), specs)[0]["face"]
        assert (face.shape, face.dtype) == ((1, 112, 96, 3), np.uint8)
        assert face.std() > 5

    def test_of_a_picture_that_a_face_fills(self, drawn: Manifest, tmp_path: Path) -> None:
        face = extract_face_picture(Source(drawn.path(0)))[0]
        cv2.imwrite(str(tmp_path / "tight.png"), face[..., ::-1])
        again = extract_face_picture(Source(tmp_path / "tight.png"))[0]
        difference = np.abs(again[30:100, 20:76].astype(int) - face[30:100, 20:76]).mean()
        assert difference < 8  # The same face in the same place, but for resampling.

    def test_no_face_no_picture_no_reference(self, drawn: Manifest, tmp_path: Path) -> None:
        (tmp_path / "grey.png").write_bytes(png())
        (tmp_path / "broken.jpg").write_bytes(b"no picture")
        (tmp_path / "empty.jpg").write_bytes(b"")
        with pytest.raises(MediaError, match=r"grey.png: no face is found in this picture"):
            extract_face_picture(Source(tmp_path / "grey.png"))
        for name, message in (
            ("broken.jpg", "is not a picture that can be read"),
            ("empty.jpg", r"is empty \(0 bytes\)"),
        ):
            with pytest.raises(MediaError, match=f"{name}: {message}"):
                extract_face_picture(Source(tmp_path / name))
        with pytest.raises(MediaError, match=r"absent.png: no such file"):
            extract_face_picture(Source(tmp_path / "absent.png"))
        with pytest.raises(UsageError, match="unknown face reference 'oval'"):
            extract_face_picture(Source(drawn.path(0)), "oval")
