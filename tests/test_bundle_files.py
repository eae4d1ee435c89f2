"""bundle.json is read whole and typed or refused in one line; a hostile bundle costs neither memory nor time."""

import ast
import io
import json
import os
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from media_files import tone, write_media
from thinslice import arrays, bundle
from thinslice.arrays import load_arrays
from thinslice.bundle import PACKAGED, BundleDocument, Card, load_bundle, save_bundle
from thinslice.errors import BundleError, UsageError
from thinslice.infer import onnx_model
from thinslice.infer.predictor import Predictor
from toy_bundles import toy_document, write_toy_bundle

needs_onnx = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("onnx"), reason="the extra video is not installed"
)


def one_line(error: pytest.ExceptionInfo[BundleError], folder: Path) -> str:
    """Return a refusal's line, which names the file, says what to do, and does not ask for a report."""
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(str(folder))
    assert "again" in line or "update thinslice" in line
    assert "report" not in line
    return line


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(PACKAGED / "voice-words", folder)
    return folder


def change(folder: Path, **changes: Any) -> None:
    document = json.loads((folder / "bundle.json").read_text("utf-8"))
    (folder / "bundle.json").write_text(json.dumps({**document, **changes}), "utf-8")


DAMAGE: dict[str, Any] = {
    "card null": ({"card": None}, r"Expected `object`, got `null` - at `\$.card`"),
    "card a list": ({"card": [1]}, r"got `array` - at `\$.card`"),
    "no intervals": ({"intervals": {}}, r"no interval of openness for the inputs voice\+words"),
    "intervals null": ({"intervals": None}, r"at `\$.intervals`"),
    "intervals of one input": ({"intervals": {"voice+words": {}}}, "no interval"),
    "outputs unknown": ({"outputs": ["openness_low"]}, "outputs openness_low are not"),
    "outputs twice": ({"outputs": ["openness", "openness"]}, "are not different"),
    "no outputs": ({"outputs": []}, "outputs"),
    "percentiles empty": ({"percentiles": {}}, "percentiles of openness"),
    "percentiles fall": ({"percentiles": {"openness": [1, 0]}}, "not in order"),
    "neutral outside": ({"neutral": "../../etc/passwd"}, "do not list"),
    "file outside": ({"files": {"weights.npz": "0", "../weights.npz": "0"}}, "outside its folder"),
    "absolute file": ({"files": {"weights.npz": "0", "/etc/passwd": "0"}}, "outside its folder"),
    "no files": ({"files": {}}, r"do not list weights\.npz"),
    "unknown kind": ({"kind": "pickle"}, r"Invalid enum value 'pickle' - at `\$.kind`"),
    "name with an escape": ({"name": "\x1b[2J"}, "not printable"),
    "name a number": ({"name": 3}, r"Expected `str`, got `int` - at `\$.name`"),
    "no inputs": ({"inputs": {}}, "no inputs"),
    "unknown extractor": (
        {"inputs": {"x": {"extractor": "aura", "version": 1, "label": "x"}}},
        "no interval|unknown feature",
    ),
    "later format": ({"format": 3}, "format 3; this thinslice reads 1 and 2"),
    "no format": ({"format": None}, r"at `\$.format`"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_document_is_refused_in_one_line(packaged: Path, what: str) -> None:
    changes, reason = DAMAGE[what]
    change(packaged, **changes)
    with pytest.raises(BundleError, match=reason) as error:
        load_bundle(packaged)
    one_line(error, packaged)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 200_000, '{"a":' * 100_000, '{"format": 1, "x": NaN}', "\ud800"]
)
def test_what_is_not_a_json_object_is_refused_in_one_line(packaged: Path, text: str) -> None:
    (packaged / "bundle.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BundleError, match="damaged") as error:
        load_bundle(packaged)
    one_line(error, packaged)


def test_a_card_nested_deeply_is_kept_or_refused(packaged: Path) -> None:
    text = (packaged / "bundle.json").read_text("utf-8")
    at = text.index('"card": {') + len('"card": {')
    for depth in range(300, 1000, 25):
        deep = '"more": ' + '{"r2": ' * depth + "1" + "}" * depth + ","
        (packaged / "bundle.json").write_text(text[:at] + deep + text[at:], "utf-8")
        with suppress(BundleError):
            assert "more" in load_bundle(packaged).card.notes


def test_a_device_or_a_folder_in_a_file_s_place_is_not_read(packaged: Path) -> None:
    (packaged / "weights.npz").unlink()
    (packaged / "weights.npz").symlink_to("/dev/zero" if os.path.exists("/dev/zero") else packaged)
    with pytest.raises(BundleError, match="missing") as error:
        load_bundle(packaged)
    one_line(error, packaged)


# Weights


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def claiming(shape: tuple[int, ...]) -> bytes:
    """An array file whose header claims `shape`, and that holds two numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue() + bytes(16)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return load_arrays(PACKAGED / "voice-words" / "weights.npz")


def replace_weights(folder: Path, content: bytes) -> None:
    import hashlib

    (folder / "weights.npz").write_bytes(content)
    change(folder, files={"weights.npz": hashlib.sha256(content).hexdigest()})


def saved(weights: dict[str, np.ndarray], **changes: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{**weights, **changes})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda w: saved(w)[:-1000], "zip"),
        (lambda w: b"", "zip"),
        (lambda w: archive(baseline=claiming((2**37,))), r"says that it holds 1,099,511,627,776 bytes"),
        (lambda w: archive(baseline=claiming((2**60, 2**60))), "says that it holds"),
        (lambda w: archive(baseline=claiming((-1,))), "says that it holds|header|negative"),
        (lambda w: archive(baseline=npy(np.array([None]))), "objects"),
        (lambda w: archive(baseline=b"\x93NUMPY\x01\x00\xff\xff{"), "EOF|header"),
        (lambda w: saved({}), "baseline"),
        (lambda w: saved(w, baseline=np.full((3, 6), np.nan)), "baseline holds values that are not finite"),
        (lambda w: saved(w, voice_mean=np.full(26, np.inf)), "voice_mean holds values that are not finite"),
        (lambda w: saved(w, voice_mean=np.zeros(3)), "damaged weights"),
        (lambda w: saved(w, voice_centres0=np.zeros((600, 3))), "damaged weights"),
        (lambda w: saved(w, word1_idf=np.zeros(1, np.float32)), "damaged weights"),
    ],
)
def test_hostile_weights_are_refused_in_one_line(packaged: Path, weights, make, reason: str) -> None:
    replace_weights(packaged, make(weights))
    with pytest.raises(BundleError, match=reason) as error:
        Predictor(packaged)
    one_line(error, packaged)


def test_an_archive_that_unpacks_beyond_the_bound_is_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(100_000))
    assert path.stat().st_size < 2_000
    with pytest.raises(ValueError, match="unpacks to 1 MB, over 0 MB"):
        load_arrays(path, max_bytes=100_000)
    assert load_arrays(path, max_bytes=1_000_000)["a"].shape == (100_000,)
    assert arrays.MAX_BYTES == 2 * 2**30


# Graphs


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_media(tmp_path / "a.wav", [tone(2.0)], audio_codec="pcm_s16le")


def graph(body: str) -> bytes:
    """Return an ONNX model written in ONNX's own text; its input is `waveform`."""
    from onnx import parser

    text = f'<ir_version: 8, opset_import: ["" : 17]>\ng (float[n] waveform) => (float[m] scores) {{\n{body}\n}}'
    return bytes(parser.parse_model(text).SerializeToString())


FIVE = "five = Constant <value_ints = [5]> ()\n"
ENDLESS = """
  many = Constant <value = int64 {4611686018427387904}> ()
  yes = Constant <value = bool {1}> ()
  zero = Constant <value = float {0}> ()
  total = Loop (many, yes, zero) <body = once (int64 i, bool go, float a) => (bool on, float b) {
    on = Identity (go)
    b = Cos (a)
  }>
  scores = Expand (total, five)
"""
TEN_GB = """
  huge = Constant <value_ints = [2500000000]> ()
  first = ReduceMean (waveform)
  big = Expand (first, huge)
  mean = ReduceMean (big)
  scores = Expand (mean, five)
"""
NOT_A_NUMBER = """
  sum = ReduceSum (waveform)
  none = Sub (sum, sum)
  bad = Div (none, none)
  scores = Expand (bad, five)
"""
INFINITE = """
  sum = ReduceSum (waveform)
  none = Sub (sum, sum)
  one = Constant <value = float {1}> ()
  bad = Div (one, none)
  scores = Expand (bad, five)
"""
TEXTS = '  scores = Constant <value_strings = ["a", "b", "c", "d", "e"]> ()\n'
THREE = "  three = Constant <value_ints = [3]> ()\n  mean = ReduceMean (waveform)\n  scores = Expand (mean, three)"
WRONG = "  scores = MatMul (waveform, five_floats)\n"


@needs_onnx
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (FIVE + ENDLESS, r"it took over 0\.2 s"),
        (FIVE + TEN_GB, "it asked for over 6 GB"),
        (FIVE + NOT_A_NUMBER, "no 5 finite scores"),
        (FIVE + INFINITE, "no 5 finite scores"),
        (THREE, "no 5 finite scores"),
        (TEXTS, "no array of floats"),
    ],
)
def test_a_graph_that_loops_asks_for_10_gb_or_gives_no_scores_is_stopped(
    tmp_path: Path, sound: Path, monkeypatch, body: str, reason: str
) -> None:
    monkeypatch.setattr(onnx_model, "MAX_RUN_S", 0.2)
    folder = write_toy_bundle(tmp_path / "toy", toy_document("toy", rate_hz=8_000), graph(body))
    predictor = Predictor(folder, threads=1)
    with pytest.raises(BundleError, match=reason) as error:
        predictor.predict(sound)
    one_line(error, folder)


@pytest.mark.parametrize(
    ("params", "reason"),
    [({"rate_hz": -1}, "rate_hz -1 is not"), ({"rate_hz": 10**12}, r"rate_hz 1e\+12 is not"),
     ({"rate_hz": 8_000, "duration_s": 0}, "duration_s 0 is not")],
)  # fmt: skip
def test_parameters_out_of_bounds_are_refused_before_any_clip_is_read(tmp_path: Path, params, reason: str) -> None:
    folder = write_toy_bundle(tmp_path / "toy", toy_document("toy", **params), b"")
    with pytest.raises(BundleError, match=reason) as error:
        load_bundle(folder)
    one_line(error, folder)


@pytest.mark.parametrize(
    ("hurt", "reason"),
    [
        ("forty", "over 8 optional inputs"),
        ("label", "label 'a\\\\x1b\\[2J' of an input is not printable"),
        ("interval", "no interval of openness .* beside its score"),
        ("percentiles", "percentiles of openness are over 10,001 numbers"),
    ],
)
def test_inputs_and_intervals_that_no_bundle_of_ours_has_are_refused_at_once(tmp_path: Path, hurt, reason: str) -> None:
    document = toy_document("toy", rate_hz=8_000)
    entry = document["inputs"]["waveform"]
    if hurt == "forty":
        document["inputs"] = {f"w{i}": {**entry, "label": f"s{i}", "optional": True} for i in range(40)}
    elif hurt == "label":
        entry["label"] = "a\x1b[2J"
    elif hurt == "percentiles":
        document["percentiles"]["openness"] = [0.5] * 20_000
    else:
        document["intervals"]["sound"]["openness"] = [0.3, 0.5]
    folder = write_toy_bundle(tmp_path / "toy", document, b"")
    with pytest.raises(BundleError, match=reason) as error:
        load_bundle(folder)
    one_line(error, folder)


@needs_onnx
def test_a_graph_that_is_none_or_wants_other_inputs_is_refused_when_loaded(tmp_path: Path) -> None:
    document = toy_document("toy", rate_hz=8_000)
    for name, content, reason in (
        ("cut", graph(FIVE + NOT_A_NUMBER)[:50], "cannot load"),
        ("text", b"not a graph", "cannot load"),
        ("other", graph(FIVE + NOT_A_NUMBER).replace(b"waveform", b"picturesx"[:8]), "wants pictures"),
    ):
        folder = write_toy_bundle(tmp_path / name, document, content)
        with pytest.raises(BundleError, match=reason) as error:
            Predictor(folder)
        one_line(error, folder)


@needs_onnx
def test_an_optional_input_needs_something_that_stands_for_it(tmp_path: Path) -> None:
    document = toy_document("toy", rate_hz=8_000)
    document["inputs"]["waveform"]["optional"] = True
    folder = write_toy_bundle(tmp_path / "toy", document)
    with pytest.raises(BundleError, match="nothing stands for waveform") as error:
        Predictor(folder)
    one_line(error, folder)


# Old and typed


def test_a_bundle_of_format_1_keeps_its_card_and_the_r2_it_was_quoted_by(packaged: Path) -> None:
    scores = {"what": "folds", "unseen": {"voice+words": {"r2": {"average": 0.2}}, "voice": {"r2": 0.1}, "words": {}}}
    old = {
        "summary": "Old.",
        "limits": "One limit.",
        "digests": {"a": "0", "b": None},
        "intervals": "80%",
        "scores": scores,
        "seed": 3,
        "mood": "good",
    }
    document = json.loads((packaged / "bundle.json").read_text("utf-8"))
    change(packaged, format=1, card=old, extra="ignored", inputs={
        name: {**entry, "more": 1} for name, entry in document["inputs"].items()
    })  # fmt: skip
    card = load_bundle(packaged).card
    assert card == Card(
        summary="Old.",
        inputs=("voice", "words"),
        limits=("One limit.",),
        digests={"a": "0"},
        interval_source="80%",
        seed=3,
        r2={"voice+words": 0.2, "voice": 0.1},
        notes={"scores": scores, "mood": "good"},
    )
    assert card.r2_for(("words", "voice")) == 0.2
    assert card.r2_for(("words",)) is None
    change(packaged, card={"summary": "", "scores": {"published": {"accuracy": 0.9, "r2": 0.44}}})
    assert load_bundle(packaged).card.r2_for(("face",)) == 0.44


# Writing


def in_code(source: str) -> set[str]:
    """Return the strings of a module that are no docstrings."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return {node.value for node in constants if isinstance(node.value, str)}


def test_one_module_reads_and_writes_bundle_json() -> None:
    root = Path(bundle.__file__).parent
    naming = [path for path in root.rglob("*.py") if any(text == "bundle.json" for text in in_code(path.read_text()))]
    assert naming == [root / "bundle.py"]


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, BundleDocument]:
    document = load_bundle("voice-words").document
    content = (PACKAGED / "voice-words" / "weights.npz").read_bytes()
    return save_bundle(tmp_path / "deep" / "mine", document, {"weights.npz": content}), document


def test_what_is_written_is_read_back_and_replaces_what_was_there(written, tmp_path: Path) -> None:
    folder, document = written
    assert load_bundle(folder).document == document
    renamed = msgspec.structs.replace(document, name="renamed")
    save_bundle(folder, renamed, {"weights.npz": b"other"})
    assert load_bundle(folder).name == "renamed"
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]
    (tmp_path / "mine.txt").write_text("a novel")
    for taken in (tmp_path / "mine.txt", tmp_path):
        with pytest.raises(UsageError, match="is not a bundle; choose another name"):
            save_bundle(taken, document, {"weights.npz": b""})


@pytest.mark.parametrize("fails_at", ["bundle.json", "weights.npz", "new"])
def test_a_write_that_fails_leaves_the_bundle_that_was_there(written, monkeypatch, fails_at: str) -> None:
    folder, document = written
    real_write, real_replace = bundle._write, os.replace

    def write(path: Path, content: bytes) -> None:
        if path.name == fails_at:
            raise OSError(28, "No space left on device")
        real_write(path, content)

    def replace(source: Path, target: Path) -> None:
        if Path(source).name == fails_at:
            raise OSError(5, "Input/output error")
        real_replace(source, target)

    monkeypatch.setattr(bundle, "_write", write)
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(UsageError, match="cannot be written"):
        save_bundle(folder, msgspec.structs.replace(document, name="new"), {"weights.npz": b"new"})
    assert load_bundle(folder).document == document
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_what_would_not_load_is_not_written(written, tmp_path: Path) -> None:
    _, document = written
    with pytest.raises(ValueError, match="no interval"):
        save_bundle(tmp_path / "other", msgspec.structs.replace(document, intervals={}), {"weights.npz": b""})
    assert not (tmp_path / "other").exists()
