"""What may change around a face without changing its scores, on real clips; benchmarks/robustness.py measures more."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thinslice.errors import MediaError
from thinslice.explain.face_heat import blurred, face_heat
from thinslice.features.face_portraits import extract_face_portraits
from thinslice.infer.predictor import Predictor
from thinslice.media.source import Source

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from heat_maps import marked
from portraits_and_videos import face_score, same_frames, unpack_portraits
from robustness import PICTURES, film, frames_of, score_frames, score_of

TOLERANCES = {
    "JPEG, quality 40": 0.015,
    "360 lines": 0.015,
    "brightness x 0.7": 0.03,
    "brightness x 1.3": 0.03,
    "contrast x 0.7": 0.03,
    "the person elsewhere in the picture": 0.015,
}
"""Change of a picture -> largest mean difference of a trait that is kept; about twice what was measured."""


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor()


@pytest.fixture(scope="module")
def two_clips(real_clips: list[Path]) -> list[Path]:
    return real_clips[2:4]


def test_portraits_and_the_video_they_were_cut_from_score_alike(
    predictor: Predictor, real_clips: list[Path], real_portraits: Path, tmp_path: Path
) -> None:
    folders = unpack_portraits(real_portraits.parent, [clip.name for clip in real_clips[:3]], tmp_path)
    frames, films = [], []
    for clip in real_clips[:3]:
        base = face_score(predictor, folders[clip.name])
        frames.append(face_score(predictor, same_frames(clip, folders[clip.name], tmp_path / clip.stem)) - base)
        films.append(face_score(predictor, clip) - base)
    # The median clip: one of the three, an upright phone video, differs by 0.04.
    assert np.median(np.abs(frames).mean(axis=1)) < 0.015
    assert np.median(np.abs(films).mean(axis=1)) < 0.03


def test_a_mirror_image_scores_alike(predictor: Predictor, real_clips: list[Path]) -> None:
    differences = []
    for clip in real_clips[:5]:
        frames = frames_of(clip)
        mirrored = score_frames(predictor, [PICTURES["mirror image"](frame) for frame in frames])
        differences.append(np.abs(mirrored - score_frames(predictor, frames)))
    assert np.mean(differences) < 0.005


def test_what_says_nothing_about_the_person_hardly_counts(predictor: Predictor, two_clips: list[Path]) -> None:
    differences: dict[str, list[np.ndarray]] = {}
    for clip in two_clips:
        frames = frames_of(clip)[:2]
        base = score_frames(predictor, frames)
        for name in TOLERANCES:
            changed = score_frames(predictor, [PICTURES[name](frame) for frame in frames])
            differences.setdefault(name, []).append(np.abs(changed - base))
    means = {name: float(np.mean(values)) for name, values in differences.items()}
    assert {name: value for name, value in means.items() if value >= TOLERANCES[name]} == {}


def test_a_face_that_is_dark_grey_or_upside_down_is_warned_of(two_clips: list[Path], tmp_path: Path) -> None:
    frame = frames_of(two_clips[0])[0]
    cases = {
        "as it is": (frame, None),
        "dim": (PICTURES["brightness x 0.7"](frame), None),
        "dark": (PICTURES["dark: brightness x 0.25"](frame), "darker than"),
        "grey": (PICTURES["without colours"](frame), "without colours"),
        "turned": (np.rot90(frame, 2), "upside down"),
    }
    for name, (picture, warning) in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        Image.fromarray(picture).save(folder / "0.png")
        source = Source(folder)
        try:
            extract_face_portraits(source)
            said = source.warnings
        except MediaError as error:  # Many a face is not found at all upside down.
            said = [str(error)]
        assert len(said) == (warning is not None), (name, said)
        assert warning is None or warning in said[0]


def test_codec_and_frame_rate_hardly_count(predictor: Predictor, two_clips: list[Path], tmp_path: Path) -> None:
    whole = score_of(predictor, two_clips[0])
    made = film(two_clips[0], tmp_path / "film.mp4", height=360, rate_hz=10)
    assert np.abs(score_of(predictor, made) - whole).mean() < 0.02


def test_heat_maps_mark_what_counts(predictor: Predictor, real_portraits: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(real_portraits) as pack:
        names = [name for name in pack.namelist() if name.endswith("00081.jpg")][::700][:4]
        pack.extractall(tmp_path, names)
    score = predictor.members[0].model.face_scores  # type: ignore[attr-defined]
    here, elsewhere = [], []
    for name in names:
        face = extract_face_portraits(Source(tmp_path / name))[0]
        whole, heat = score(face[None])[0], face_heat(score, face)
        for trait in (0, 2):
            mask = marked(heat[..., trait])
            masks = [mask, *(np.roll(mask, move, (0, 1)) for move in ((60, 60), (120, 40)))]
            deleted = np.stack([np.where(part[..., None], blurred(face), face) for part in masks]).astype(np.uint8)
            changes = np.abs(score(deleted)[:, trait] - whole[trait])
            here.append(changes[0])
            elsewhere.append(changes[1:].mean())
    assert np.mean(here) > 1.2 * np.mean(elsewhere)


def test_shares_of_face_voice_and_words_add_up(predictor: Predictor, two_clips: list[Path]) -> None:
    prediction = predictor.predict(two_clips[0], transcript="Hi, welcome back to my channel.", pictures=False)
    assert prediction.used == ("face", "voice", "words")
    explanation = prediction.explanation
    assert explanation is not None
    assert not explanation.pictures
    for target, score in prediction.traits.items():
        parts = sum(explanation.inputs[name][target] for name in ("face", "voice", "words"))
        assert explanation.baseline[target] + parts == pytest.approx(score.score, abs=1e-6)
