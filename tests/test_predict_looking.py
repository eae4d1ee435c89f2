"""Predicting from pictures, and from only some of a model's inputs."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

import thinslice
from command_line import run
from media_files import grey, voice_like, write_media
from thinslice.errors import MediaError, UsageError
from thinslice.infer.predictor import Predictor
from toy_bundles import write_looking_bundle

WORDS = "Hi everyone, welcome back. Today I want to show you how I make my favourite soup."


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_looking_bundle(tmp_path / "brightness")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "clip.mp4"
    folder.mkdir()
    for number, level in ((1, 100), (81, 100), (161, 200), (241, 200)):
        Image.fromarray(grey(level)).save(folder / f"{number:05d}.png")
    return folder


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_media(tmp_path / "film.mp4", [voice_like(3.0)], [(n / 25, grey(100)) for n in range(75)])


def score(prediction: thinslice.Prediction) -> float:
    return prediction.traits["openness"].score


def width(prediction: thinslice.Prediction) -> float:
    return prediction.traits["openness"].high - prediction.traits["openness"].low


def test_a_photograph_and_a_folder_of_frames_are_clips(bundle: Path, frames: Path) -> None:
    folder = thinslice.predict(frames, bundle=bundle)
    photo = thinslice.predict(frames / "00001.png", bundle=bundle)
    assert (folder.used, photo.used) == (("face",), ("face",))
    assert (folder.warnings, photo.warnings) == ((), ())
    assert score(folder) == pytest.approx(150 / 510, abs=1e-3)
    assert score(photo) == pytest.approx(100 / 510, abs=1e-3)
    part = thinslice.predict(frames, bundle=bundle, start_s=5.0)
    assert score(part) == pytest.approx(200 / 510, abs=1e-3)


def test_a_model_that_only_listens_says_that_a_picture_has_no_sound(frames: Path) -> None:
    with pytest.raises(MediaError, match="is a folder of pictures, so it has no sound"):
        thinslice.predict(frames, bundle="voice-words")
    with pytest.raises(MediaError, match="is a picture, so it has no sound"):
        thinslice.predict(frames / "00001.png", bundle="voice-words")
    assert thinslice.predict(frames, bundle="voice-words", transcript=WORDS).used == ("words",)


def test_a_subset_of_inputs_uses_its_own_interval(bundle: Path, film: Path) -> None:
    predictor = Predictor(bundle)
    both = predictor.predict(film)
    face, voice = predictor.predict(film, only=["face"]), predictor.predict(film, without=("face",))
    assert (both.used, face.used, voice.used) == (("face", "voice"), ("face",), ("voice",))
    assert score(both) == pytest.approx(score(face))
    assert score(voice) == pytest.approx(127 / 510, abs=1e-3)
    assert [width(part) for part in (both, face, voice)] == pytest.approx([0.2, 0.4, 0.249 + 0.3], abs=0.01)


def test_what_is_not_used_is_not_computed(bundle: Path, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinslice.media.source.Source.frames", None)
    assert thinslice.predict(film, bundle=bundle, only="voice").used == ("voice",)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"only": "face,smell"}, "has no input 'smell'; its inputs are: face, voice"),
        ({"without": ["words"]}, "has no input 'words'"),
        ({"without": "face,voice"}, "no input is left to use"),
        ({"only": ""}, "has no input ''"),
    ],
)
def test_a_choice_that_makes_no_sense_is_one_line(bundle: Path, film: Path, choice: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        thinslice.predict(film, bundle=bundle, **choice)


def test_a_table_of_inputs_may_name_pictures(bundle: Path, frames: Path, tmp_path: Path) -> None:
    from thinslice.features.voice import VOICE_PROFILE_COLUMNS

    voice = dict.fromkeys(VOICE_PROFILE_COLUMNS, 1.0)
    rows = [
        {"clip": "both", "pictures": "clip.mp4", **voice},
        {"clip": "face", "pictures": "clip.mp4/00241.png"},
        {"clip": "voice", **voice},
        {"clip": "nothing"},
        {"clip": "absent", "pictures": "gone.jpg"},
    ]
    table = tmp_path / "inputs.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["clip", "pictures", *VOICE_PROFILE_COLUMNS])
        writer.writeheader()
        writer.writerows(rows)
    code, out, _ = run("predict", "--inputs", table, "--bundle", bundle, "--json")
    assert code == 1
    found = {entry["clip"]: entry for entry in json.loads(out)}
    assert [found[name]["used"] for name in ("both", "face", "voice")] == [["face", "voice"], ["face"], ["voice"]]
    assert found["face"]["traits"]["openness"]["score"] == pytest.approx(200 / 510, abs=1e-3)
    assert "its row lacks all that is used: pictures or a voice profile" in found["nothing"]["error"]
    assert "gone.jpg: no such file" in found["absent"]["error"]
    _, out, _ = run("predict", "--inputs", table, "--bundle", bundle, "--json", "--only", "voice")
    assert json.loads(out)[0]["used"] == ["voice"]


def test_the_command_line_chooses_inputs(bundle: Path, film: Path) -> None:
    code, out, _ = run("predict", film, "--bundle", bundle, "--json", "--without", "voice")
    assert (code, json.loads(out)[0]["used"]) == (0, ["face"])
    code, _, err = run("predict", film, "--bundle", bundle, "--json", "--only", "smell")
    assert code == 2
    assert "has no input 'smell'" in err
