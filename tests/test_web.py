"""The web page: what it answers; that it is built where Gradio is there."""

import pytest

from media_files import voice_like, write_media
from thinslice.infer.predictor import Predictor
from thinslice.web import build_page, score_clip


@pytest.fixture(scope="module")
def predictor():
    return Predictor("voice-words")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(write_media(tmp_path_factory.mktemp("web") / "talk.wav", [voice_like(3.0)], audio_codec="pcm_s16le"))


def test_a_clip_gives_its_report(predictor, clip):
    answer = score_clip(predictor, clip, "Hello everyone <b>and welcome</b>")
    assert answer.startswith("<iframe sandbox srcdoc=")
    assert "talk.wav" in answer
    assert "<b>and" not in answer


def test_words_that_look_like_a_file_are_words(predictor, clip, tmp_path):
    (tmp_path / "secret.txt").write_text("open sesame")
    assert "sesame" not in score_clip(predictor, clip, str(tmp_path / "secret.txt"))


def test_what_cannot_be_scored_is_one_line(predictor, tmp_path):
    assert "Choose" in score_clip(predictor, None, "")
    (tmp_path / "empty.mp4").touch()
    answer = score_clip(predictor, str(tmp_path / "empty.mp4"), "")
    assert "empty.mp4" in answer
    assert str(tmp_path) not in answer
    assert "iframe" not in answer


def test_the_page_is_built_without_telemetry(predictor):
    pytest.importorskip("gradio", reason="the extra web is not installed")
    page = build_page(predictor)
    assert page.analytics_enabled is False
