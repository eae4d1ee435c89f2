"""`thinslice doctor`: what is there, what is missing for what, and a prediction that shows whether predict works."""

import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from command_line import run
from thinslice import doctor
from thinslice.assets import ASSETS
from thinslice.bundle import list_bundles
from toy_bundles import toy_document, write_toy_bundle

ROOT = Path(__file__).resolve().parents[1]
FOR_CONTRIBUTORS = {"dev", "docs"}


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which nothing was fetched or installed by the user."""
    monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("THINSLICE_BUNDLES", str(tmp_path / "bundles"))
    monkeypatch.delenv("THINSLICE_ASSETS", raising=False)
    return tmp_path


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check, which other tests run, is taken as passed."""
    good = doctor.SelfCheck(ok=True, bundle="face-voice-words", used=("face", "voice"), seconds=1.0, problem="")
    monkeypatch.setattr(doctor, "check_predict", lambda: good)


def test_predict_works_here_and_the_report_says_by_what(empty: Path) -> None:
    code, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["check"]["ok"]) == (0, True, True)
    assert found["check"]["used"] == ["face", "voice"]
    assert [bundle["name"] for bundle in found["bundles"]] == list_bundles()
    assert {asset["name"] for asset in found["assets"]} == set(ASSETS)
    assert {extra["name"] for extra in found["extras"]} == set(doctor.EXTRAS)
    assert next(library for library in found["libraries"] if library["name"] == "numpy")["version"]


@pytest.mark.usefixtures("empty", "healthy")
def test_what_is_missing_has_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=1.26", "no-such-recogniser>=1.1; extra == 'asr'", "numpy>=999; extra == 'web'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    monkeypatch.setattr(doctor, "locate", lambda asset: (None, []))
    code, out, _ = run("doctor")
    assert code == 0, "what is optional and absent is no fault"
    assert "no-such-recogniser is not installed\n      get it: pip install 'thinslice[asr]'" in out
    assert re.search(r"numpy [\d.]+ is not >=999\n      get it: pip install 'thinslice\[web\]'", out)
    assert "get it: thinslice assets get whisper-tiny.en" in out


@pytest.mark.usefixtures("empty", "healthy")
def test_a_library_that_is_too_old_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["av>=999", "click"])
    code, out, _ = run("doctor")
    assert code == 1
    assert re.search(r"av +av [\d.]+ is not >=999", out)


@pytest.mark.usefixtures("healthy")
def test_a_damaged_bundle_is_a_fault_with_a_remedy(empty: Path) -> None:
    folder = write_toy_bundle(empty / "bundles" / "mine", toy_document("mine", rate_hz=16_000, duration_s=None))
    (folder / "model.onnx").write_bytes(b"cut")
    code, out, _ = run("doctor", "--json")
    mine = next(bundle for bundle in json.loads(out)["bundles"] if bundle["name"] == "mine")
    assert code == 1
    assert "does not match its checksum; install or export the bundle again" in mine["problem"]


@pytest.mark.usefixtures("empty")
def test_a_clip_that_does_not_decode_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    monkeypatch.setattr("thinslice.infer.example.example_clip", lambda: tmp_path / "broken.mp4")
    code, out, _ = run("doctor")
    assert code == 1
    assert re.search(r"predict does not work: MediaError: .*broken\.mp4", out)


@pytest.mark.usefixtures("empty", "healthy")
def test_damaged_pretrained_files_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "locate", lambda asset: (None, [f"{asset.name}.bin is not the official file"]))
    assert "face_landmarker.bin is not the official file" in run("doctor")[1]


def test_every_extra_of_the_package_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["optional-dependencies"]) - FOR_CONTRIBUTORS == set(doctor.EXTRAS)
    assert {asset.extra for asset in ASSETS.values()} <= {"", *doctor.EXTRAS}
