"""Drawn faces are told from filmed ones."""

from pathlib import Path

import numpy as np
import pytest

from thinslice.data.planted.clip import Format
from thinslice.data.planted.corpus import plant
from thinslice.features.drawn_faces import LIMIT, describe_texture, looks_drawn
from thinslice.features.face_portraits import extract_face_portraits
from thinslice.infer.predictor import Predictor
from thinslice.media.source import Source

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "sample.mp4"


@pytest.fixture(scope="module")
def sample_faces() -> np.ndarray:
    return extract_face_portraits(Source(SAMPLE))


def posterised(faces: np.ndarray) -> np.ndarray:
    """Faces in six shades of each colour, as a poster has."""
    return (faces // 43 * 43 + 21).astype(np.uint8)


def test_a_photograph_is_not_drawn_and_a_poster_is(sample_faces: np.ndarray) -> None:
    assert looks_drawn(sample_faces) < 0
    assert looks_drawn(posterised(sample_faces)) > LIMIT
    assert looks_drawn(np.full((1, 176, 176, 3), 128, np.uint8)) > LIMIT
    assert describe_texture(sample_faces[0]).shape == (47,)


@pytest.mark.parametrize("style", ["sketch"])
def test_planted_faces_are_reported_by_a_model_that_looks(tmp_path: Path, style: str) -> None:
    manifest = plant(tmp_path / "planted", 3, 3, seed=5, form=Format(duration_s=2.0, style=style))
    drawn = tmp_path / "talk.mp4"
    manifest.path(0).rename(drawn)
    prediction = Predictor("face-voice-words").predict(drawn, only=["face"], explain=False)
    assert "the face looks drawn or painted: its scores say nothing about a person" in prediction.warnings


def test_real_faces_are_not_reported(real_clips: list[Path]) -> None:
    assert max(looks_drawn(extract_face_portraits(Source(clip))) for clip in real_clips[:6]) < LIMIT
