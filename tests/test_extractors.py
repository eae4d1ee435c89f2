"""Each extractor states its name, version, parameters and extra: nothing old is read, nothing unknown is taken."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from media_files import tone, write_media
from thinslice.data.manifest import Manifest
from thinslice.errors import BundleError, MissingExtraError, UsageError
from thinslice.features import waveform
from thinslice.features.extract import extract_features
from thinslice.features.extractor import EXTRACTORS, find_extractor
from thinslice.features.spec import FeatureSpec
from thinslice.infer.predictor import Predictor
from thinslice.media.source import Source


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch):
    """Give the waveform's extractor the next version, as one who changes its code does."""

    def raise_version() -> None:
        old = waveform.WAVEFORM_EXTRACTOR
        monkeypatch.setattr(waveform, "WAVEFORM_EXTRACTOR", replace(old, version=old.version + 1))

    return raise_version


@pytest.mark.parametrize("name", EXTRACTORS)
def test_every_extractor_is_the_function_of_its_name_in_this_package(name: str) -> None:
    extractor = find_extractor(name)
    assert extractor.name == name
    assert extractor.extract.__name__ == f"extract_{name}"
    assert extractor.extract.__module__ == EXTRACTORS[name]
    assert EXTRACTORS[name].startswith("thinslice.features.")
    assert extractor.version >= 1


def test_what_extractors_are_is_known_without_any_extra() -> None:
    """A bundle can be read, and its missing extra named, on a core install."""
    extras = "scipy cv2 ai_edge_litert opensmile dlib spacy faster_whisper torch pyarrow sklearn onnx"
    code = (
        f"import sys; sys.modules.update(dict.fromkeys('{extras}'.split()))\n"
        "from thinslice.features.extractor import EXTRACTORS, find_extractor\n"
        "for name in EXTRACTORS: find_extractor(name).params\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_package_names_the_extra_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_media(tmp_path / "a.wav", [tone(2.0)], audio_codec="pcm_s16le")
    monkeypatch.setitem(sys.modules, "scipy.fft", None)
    with pytest.raises(MissingExtraError, match=r"the feature short_term_audio .*scipy.*thinslice\[video\]"):
        extract_features(Source(clip), {"x": FeatureSpec(extractor="short_term_audio")})


@pytest.mark.parametrize(
    ("name", "params", "reason"),
    [
        (
            "waveform",
            {"rate_hz": 16_000, "volume": 3},
            "unknown field `volume`; its parameters are: rate_hz, duration_s",
        ),
        ("waveform", {}, "missing required field `rate_hz`"),
        ("waveform", {"rate_hz": "16000"}, "Expected `int`, got `str`"),
        ("waveform", {"rate_hz": 16_000.5}, "Expected `int`, got `float`"),
        ("waveform", {"rate_hz": True}, "Expected `int`, got `bool`"),
        ("text_vector", {"x": 1}, "its parameters are: none"),
    ],
)
def test_parameters_that_are_unknown_missing_or_of_another_type_are_refused(name, params, reason) -> None:
    with pytest.raises(UsageError, match=rf"^feature {name}: .*{reason}"):
        FeatureSpec(extractor=name, params=params)


def test_an_unknown_extractor_is_named() -> None:
    with pytest.raises(UsageError, match=r"unknown feature 'aura'; this version has .*voice_profile"):
        FeatureSpec(extractor="aura")


def test_a_whole_number_will_do_for_seconds_and_defaults_need_not_be_said() -> None:
    short, said = (FeatureSpec(extractor="voice_profile", params=params) for params in ({}, {"duration_s": 7}))
    assert short.typed_params() == said.typed_params()
    assert hash(short.typed_params()) == hash(said.typed_params())


@pytest.mark.parametrize(
    ("name", "params", "key"),
    [
        ("waveform", {"rate_hz": 16_000}, "4dc3a0afeaa0b1b6fa7c17b90fa07885866b285ac164e566102e50995a1892c5"),
        (
            "aligned_faces",
            {"reference": "openface_112", "num_parts": 6, "draws": 3},
            "adf82f4880ce771f9d02998c19d9bf3e33c5aa885c043a34ebee1c085e16b81a",
        ),
        ("voice_profile", {}, "8b1c184cbb10e544dfb3480f87c8681b405e60451359bed442b65a3307435236"),
    ],
)
def test_keys_of_stored_arrays_stay_until_a_version_is_raised(monkeypatch, name, params, key) -> None:
    extractor = find_extractor(name)
    monkeypatch.setitem(extractor.__dict__, "version", 1)  # The keys of thinslice 0.1.0.
    spec = FeatureSpec(extractor=name, params=params)
    assert spec.key("ab" * 32) == key
    monkeypatch.setitem(extractor.__dict__, "version", 2)
    assert spec.key("ab" * 32) != key


def test_a_store_computes_anew_what_another_version_made(tmp_path: Path, next_version) -> None:
    pytest.importorskip("pyarrow", reason="the extra train is not installed")
    from thinslice.extraction.run import extract

    write_media(tmp_path / "a.wav", [tone(2.0)], audio_codec="pcm_s16le")
    manifest = Manifest(clips=("a",), paths=("a.wav",), splits=("train",), speakers=("s",), folder=tmp_path)
    specs = {"sound": FeatureSpec(extractor="waveform", params={"rate_hz": 8_000})}
    counts = []
    for change in (lambda: None, lambda: None, next_version, lambda: None):
        change()
        extracted = extract(manifest, specs, tmp_path / "store")
        counts.append((extracted.num_written, extracted.num_present))
    assert counts == [(1, 0), (0, 1), (1, 0), (0, 1)]


def test_a_version_that_only_put_wrong_values_right_serves_the_bundles_of_the_one_before(monkeypatch) -> None:
    extractor = find_extractor("waveform")
    made_with = {"extractor": "waveform", "version": 7, "params": {"rate_hz": 16_000}}
    monkeypatch.setitem(extractor.__dict__, "version", 8)
    with pytest.raises(UsageError, match="needs version 7 of the feature waveform; this thinslice computes version 8"):
        FeatureSpec.from_dict(made_with)
    monkeypatch.setitem(extractor.__dict__, "serves", (7,))
    assert FeatureSpec.from_dict(made_with).version == 8


def test_predict_refuses_a_bundle_that_asks_for_another_version(tmp_path: Path) -> None:
    from thinslice.bundle import PACKAGED

    folder = tmp_path / "later"
    shutil.copytree(PACKAGED / "voice-words", folder)
    document = json.loads((folder / "bundle.json").read_text("utf-8"))
    ours = find_extractor("voice_profile").version
    document["inputs"]["voice_profile"]["version"] = 999
    (folder / "bundle.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(BundleError) as caught:
        Predictor(folder)
    line = str(caught.value)
    assert line.startswith(f"{folder / 'bundle.json'}: needs version 999 of the feature voice_profile; ")
    assert f"this thinslice computes version {ours}" in line
    assert "\n" not in line
