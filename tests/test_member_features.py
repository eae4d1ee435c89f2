"""Several bundles at once: each member gets the features of its own specs, and the same spec is computed once."""

import functools
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the extra video is not installed")

from media_files import tone, write_media
from thinslice.features.extractor import find_extractor
from thinslice.infer.predictor import Predictor
from toy_bundles import SAMPLES_PER_POINT, toy_document, write_toy_bundle


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_media(tmp_path / "a.wav", [tone(2.0)], audio_codec="pcm_s16le")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The parameters of every computation of a waveform."""
    calls: list[dict[str, object]] = []
    waveform = find_extractor("waveform")
    real = waveform.extract

    @functools.wraps(real)
    def extract(source, **params):
        calls.append(params)
        return real(source, **params)

    monkeypatch.setitem(waveform.__dict__, "extract", extract)
    return calls


def bundles(folder: Path, *documents: dict[str, object]) -> str:
    return "+".join(str(write_toy_bundle(folder / str(document["name"]), document)) for document in documents)


def test_two_members_that_want_one_sound_at_two_rates_each_get_theirs(tmp_path: Path, sound: Path, counted) -> None:
    names = bundles(tmp_path, toy_document("high", rate_hz=16_000), toy_document("low", rate_hz=8_000))
    score = Predictor(names).predict(sound).traits["openness"].score
    assert score == pytest.approx((32_000 + 16_000) / 2 / SAMPLES_PER_POINT)
    assert [call["rate_hz"] for call in counted] == [16_000, 8_000]


def test_what_two_members_both_want_is_computed_once(tmp_path: Path, sound: Path, counted) -> None:
    same = toy_document("other", rate_hz=16_000, duration_s=None)  # The default, said or not.
    names = bundles(tmp_path, toy_document("one", rate_hz=16_000), same)
    prediction = Predictor(names).predict(sound)
    assert prediction.traits["openness"].score == pytest.approx(32_000 / SAMPLES_PER_POINT)
    assert counted == [{"rate_hz": 16_000, "duration_s": None}]
    assert prediction.used == ("sound",)
