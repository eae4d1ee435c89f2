"""Features by the name that specs give them."""

import numpy as np
import pytest

from media_files import numbered, tone, voice_like, write_media
from thinslice.errors import MediaError, UsageError
from thinslice.features.extract import extract_features
from thinslice.features.frames import extract_frames, frame_times
from thinslice.features.spec import FeatureSpec
from thinslice.features.voice import extract_voice_profile
from thinslice.media.audio import MonoReader
from thinslice.media.source import Source


@pytest.fixture
def clip(tmp_path):
    return write_media(tmp_path / "a.mp4", [voice_like(3.0)], numbered(75), codec_options={"crf": "5"})


def test_features_are_named_and_timed(clip):
    specs = {
        "voice": FeatureSpec(extractor="voice_profile"),
        "short": FeatureSpec(extractor="voice_profile", params={"duration_s": 2.0}),
        "sound": FeatureSpec(extractor="waveform", params={"rate_hz": 16000}),
        "look": FeatureSpec(extractor="frames", params={"num_frames": 5, "width": 32, "height": 24}),
    }
    arrays, seconds = extract_features(Source(clip), specs)
    assert list(arrays) == list(seconds) == list(specs)
    assert {name: array.shape for name, array in arrays.items()} == {
        "voice": (26,),
        "short": (26,),
        "sound": (round(len(Source(clip).audio()) * 16000 / 44100),),
        "look": (5, 24, 32, 3),
    }
    assert np.array_equal(arrays["voice"], extract_voice_profile(Source(clip)))
    assert not np.array_equal(arrays["voice"], arrays["short"])
    assert all(value > 0 for value in seconds.values())


def test_sound_is_decoded_once_for_all_features(clip, monkeypatch):
    frames = []
    original = MonoReader._decode
    monkeypatch.setattr(
        MonoReader, "_decode", lambda self, seek: (frames.append(item[1]) or item for item in original(self, seek))
    )
    specs = {
        "voice": FeatureSpec(extractor="voice_profile"),
        "sound": FeatureSpec(extractor="waveform", params={"rate_hz": 16000}),
        "again": FeatureSpec(extractor="waveform", params={"rate_hz": 22050, "duration_s": 1.5}),
    }
    extract_features(Source(clip), specs)
    assert frames
    assert len(frames) == len(set(frames))


def test_frame_times():
    assert frame_times(10.0, 5).tolist() == [1.0, 3.0, 5.0, 7.0, 9.0]
    assert frame_times(10.0, 5, "starts").tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    for wrong in ((0, "centres"), (3, "ends")):
        with pytest.raises(UsageError):
            frame_times(10.0, *wrong)


def test_frames_are_spread_over_the_window(clip):
    frames = extract_frames(Source(clip, 1.0, 2.0), 4, 64, 48)
    assert frames.dtype == np.uint8
    assert frames.shape == (4, 48, 64, 3)
    # The window's frames 25 to 49, in the middle of each quarter.
    assert [round((float(frame.mean()) - 20) / 3) for frame in frames] == [28, 34, 40, 46]
    starts = extract_frames(Source(clip, 1.0, 2.0), 4, 64, 48, "starts")
    assert [round((float(frame.mean()) - 20) / 3) for frame in starts] == [25, 31, 37, 43]


def test_frames_of_sound_and_waveform_of_pictures_are_refused(tmp_path):
    sound = write_media(tmp_path / "a.wav", [tone(2.0)], audio_codec="pcm_s16le")
    pictures = write_media(tmp_path / "a.mp4", (), numbered(50))
    with pytest.raises(MediaError, match="has no pictures"):
        extract_frames(Source(sound), 4, 64, 48)
    with pytest.raises(MediaError, match="has no sound"):
        extract_features(Source(pictures), {"x": FeatureSpec(extractor="waveform", params={"rate_hz": 16000})})
