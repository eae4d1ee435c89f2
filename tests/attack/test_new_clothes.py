"""Inputs that nobody foresaw: pipes in the place of tables, odd pictures, every container, absurd numbers."""

import os
import signal
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hostile import manifest_text, predictions_text
from media_files import numbered, voice_like, write_media
from thinslice.cli import cli
from thinslice.data.first_impressions import import_first_impressions
from thinslice.data.manifest import load_manifest
from thinslice.data.votes import is_answers, load_answers
from thinslice.errors import MediaError, ThinsliceError, UsageError
from thinslice.evaluate.predictions import read_predictions
from thinslice.features.transcript import find_transcript
from thinslice.features.voice import extract_voice_profile
from thinslice.files import read_file
from thinslice.formats.caffemodel import read_caffemodel
from thinslice.formats.npz import read_npz
from thinslice.formats.torch7 import read_torch7
from thinslice.formats.torch_pickle import load_weights
from thinslice.infer.inputs_table import read_inputs
from thinslice.infer.predictor import Predictor
from thinslice.media.pictures import list_pictures, picture_size, read_picture
from thinslice.media.probe import probe
from thinslice.media.source import Source

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@pytest.fixture
def no_hang() -> Iterator[None]:
    """End a test that waits for ever, as reading a pipe does that nobody writes into."""

    def ring(*_: object) -> None:
        raise TimeoutError("it waits for ever")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READERS: dict[str, Callable[[Path], object]] = {
    "manifest": load_manifest,
    "predictions": read_predictions,
    "votes": load_answers,
    "labels": lambda path: import_first_impressions(path.parent, labels=[path]),
    "inputs": read_inputs,
    "transcript": lambda path: find_transcript("a.mp4", path),
    "torch7": read_torch7,
    "torch": load_weights,
    "caffe": read_caffemodel,
    "arrays": lambda path: read_npz(path, {"a": (1,)}, "a test"),
}


@posix
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused_at_once(name: str, tmp_path: Path, no_hang: None) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "endless.txt").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe.txt", tmp_path / "endless.txt"):
        with pytest.raises(ThinsliceError, match=path.name) as refused:
            READERS[name](path)
        assert "it is a pipe or a device; save it to a file first" in str(refused.value)
        assert not is_answers(path)


@posix
def test_what_the_shell_holds_open_is_read(tmp_path: Path, no_hang: None) -> None:
    end, other = os.pipe()
    os.write(other, manifest_text().encode())
    os.close(other)
    assert len(load_manifest(f"/dev/fd/{end}")) == 12
    os.close(end)
    (tmp_path / "a.csv").write_bytes(b"whole")
    assert read_file(tmp_path / "a.csv") == b"whole"


LOSSLESS = {"wav": "pcm_s16le", "aiff": "pcm_s16be", "au": "pcm_s16be", "caf": "pcm_s16le", "flac": "flac",
            "avi": "pcm_s16le", "mkv": "flac", "mov": "pcm_s16le"}  # fmt: skip
LOSSY = {"mp4": "aac", "m4a": "aac", "ts": "aac", "3gp": "aac", "aac": "aac", "webm": "libopus", "mp3": "libmp3lame",
         "mp2": "mp2", "ac3": "ac3"}  # fmt: skip


def test_the_same_voice_scores_the_same_in_every_container(tmp_path: Path) -> None:
    voice = voice_like(3.0, 48_000)
    predictor = Predictor("voice-words")

    def scores(kind: str, codec: str) -> np.ndarray:
        pictures = numbered(12) if kind in ("avi", "mkv", "mov", "mp4", "ts", "3gp") else []
        video = "mpeg4" if kind == "avi" else "libx264"
        path = tmp_path / f"a.{kind}"
        write_media(path, [voice], pictures, rate_hz=48_000, audio_codec=codec, video_codec=video)
        found = predictor.predict(path, transcript="", explain=False)
        return np.array([trait.score for trait in found.traits.values()])

    plain = scores("wav", LOSSLESS["wav"])
    for kind, codec in LOSSLESS.items():
        np.testing.assert_array_equal(scores(kind, codec), plain, kind)
    for kind, codec in LOSSY.items():
        np.testing.assert_allclose(scores(kind, codec), plain, atol=0.03, err_msg=kind)


def wav(samples: np.ndarray, code: int) -> bytes:
    """A mono WAV file at 16 kHz, code 1 for integers, 3 for floats."""
    data, size = samples.tobytes(), samples.dtype.itemsize
    form = struct.pack("<HHIIHH", code, 1, 16_000, 16_000 * size, size, 8 * size)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def test_samples_of_every_form_are_one_voice(tmp_path: Path) -> None:
    voice = 0.5 * voice_like(2.0, 16_000)[0]
    forms = {
        "s16": (1, np.round(voice * 32768).astype("<i2")),
        "s32": (1, np.round(voice * 2.0**31).astype("<i4")),
        "f32": (3, voice.astype("<f4")),
        "f64": (3, voice.astype("<f8")),
    }
    profiles = []
    for name, (code, samples) in forms.items():
        (tmp_path / f"{name}.wav").write_bytes(wav(samples, code))
        profiles.append(extract_voice_profile(Source(tmp_path / f"{name}.wav")))
    for profile in profiles[1:]:
        np.testing.assert_allclose(profile, profiles[0], rtol=2e-3, atol=0.02)
    holes = np.where(np.arange(len(voice)) % 1000 == 0, np.inf, voice).astype("<f4")
    (tmp_path / "inf.wav").write_bytes(wav(holes, 3))
    source = Source(tmp_path / "inf.wav")
    assert np.isfinite(extract_voice_profile(source)).all()
    assert any("no numbers" in line for line in source.warnings)


def odd_pictures(folder: Path) -> list[Path]:
    """Write pictures of unusual kinds."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 99  # an orientation that does not exist
    made: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "palette.png": (Image.fromarray(noise).quantize(16), {}),
        "cmyk.jpg": (Image.new("CMYK", (30, 40), (20, 40, 60, 10)), {}),
        "grey and alpha.png": (Image.new("LA", (30, 40), (20, 40)), {}),
        "sixteen bits.png": (Image.fromarray(noise[..., 0].astype(np.uint16) * 257), {}),
        "no number.tiff": (Image.fromarray(np.full((40, 30), np.nan, np.float32)), {}),
        "turned wrongly.jpg": (Image.fromarray(noise), {"exif": exif.tobytes()}),
        "broken exif.jpg": (Image.fromarray(noise), {"exif": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(200))}),
        "moving.webp": (Image.fromarray(noise), {"save_all": True, "append_images": [Image.fromarray(noise[::-1])]}),
        "moving.png": (Image.fromarray(noise), {"save_all": True, "append_images": [Image.fromarray(noise[::-1])]}),
        "pages.tiff": (Image.fromarray(noise), {"save_all": True, "append_images": [Image.fromarray(noise[::-1])]}),
    }
    for name, (image, options) in made.items():
        image.save(folder / name, **options)  # type: ignore[arg-type]
    return [folder / name for name in made]


def test_odd_pictures_are_read_without_a_word(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # A library's warning would stand among the results, with paths of its own.
        for path in odd_pictures(tmp_path):
            assert read_picture(path).shape == (40, 30, 3), path.name
            assert picture_size(path)[:2] == (30, 40), path.name
    assert not read_picture(tmp_path / "no number.tiff").any()


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"P6 100000 100000 255\n", b"8BPS\0\1", b"\xff\x0a"]
)
def test_pictures_that_are_not_read_are_named(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(head + bytes(300))
    with pytest.raises(MediaError, match=r"a\.png: is not a picture that can be read; convert it"):
        read_picture(tmp_path / "a.png")


def test_windows_that_never_begin_are_refused_and_those_without_end_are_whole(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", [voice_like(1.5, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
    assert len(Source(path, 0.0, float("inf")).audio(16_000)) == 24_000
    for start_s in (float("nan"), float("inf"), -1.0):
        with pytest.raises(UsageError, match="a start is 0 or more"):
            Source(path, start_s)
    with pytest.raises(UsageError, match="ends at nan s"):
        Source(path, 0.0, float("nan"))


@pytest.mark.parametrize("number", ["9" * 5000, "1e" + "9" * 5000, "1e308", "x" * 5000])
def test_absurd_numbers_are_named_in_one_short_line(number: str, tmp_path: Path) -> None:
    text = manifest_text().replace(",0.3000,", f",{number},", 1)
    assert number in text
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ThinsliceError, match=r"m\.csv, line \d+") as refused:
        load_manifest(tmp_path / "m.csv")
    assert len(str(refused.value)) < 200 + len(str(tmp_path))


INPUTS = "clip,transcript\na,hello\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (INPUTS + "b,well, so it is\n", r"line 3: 3 cells? where the header has 2 columns; is a comma unquoted"),
        (INPUTS + "b\n", r"line 3: 1 cells? where"),
        (INPUTS + 'b,"so it is\nc,hello\n', r"line 3: not valid CSV"),
        ("clip,transcript,transcript\na,hello,\n", r"'transcript' is listed twice"),
        (INPUTS.replace(",", ";"), r"separated by semicolons"),
    ],
    ids=["unquoted comma", "cell missing", "open quotation mark", "doubled column", "semicolons"],
)
def test_a_table_of_inputs_loses_no_word_and_no_row(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "inputs.csv").write_text(text)
    with pytest.raises(ThinsliceError, match=rf"inputs\.csv.*{said}"):
        read_inputs(tmp_path / "inputs.csv")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("frame_rate.txt", "1e-300"),
        ("times.csv", "picture,time_s\n1.png,0\n2.png,1e308\n"),
        ("times.csv", "picture,time_s\n1.png,-1e308\n2.png,1e308\n"),
        ("3" + "0" * 40 + ".png", ""),
    ],
    ids=["rate", "time", "times", "name"],
)
def test_pictures_that_are_shown_for_ages_are_named(file: str, text: str, tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / file).write_text(text)
    with pytest.raises(MediaError, match=r"0\.png: comes|2\.png: comes"):
        list_pictures(tmp_path)


def test_a_pdf_that_holds_a_picture_is_no_film(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.pdf")
    with pytest.raises(MediaError, match=r"a\.pdf: is a PDF document"):
        probe(tmp_path / "a.pdf")


def test_infinite_scores_count_as_missing(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        predictions_text().replace("0.5,0.4", "inf,0.4", 1).replace("0.5,0.4", "1e400,0.4", 1)
    )
    found = read_predictions(tmp_path / "p.csv")
    assert np.isfinite(found.scores[:, :5]).all(axis=1).sum() == 10


@pytest.mark.parametrize("words", ["loop", "dangling"])
def test_a_transcript_that_is_a_broken_link_is_no_spoken_word(words: str, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    with pytest.raises(ThinsliceError, match=words):
        find_transcript("a.mp4", words)


def test_names_that_look_like_options_formulas_or_orders_to_a_terminal_are_names(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    names = ["-dash.wav", "=cmd.wav", "new\nline.wav", "red\x1b[31m.wav", "x" * 240 + ".wav"]
    for name in names:
        write_media(Path(name), [voice_like(1.5, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
        Path(name).with_suffix(".txt").write_text("so happy to be here")
    result = CliRunner().invoke(
        cli, ["predict", "--bundle", "voice-words", "--out", "out", "--", *names, "no\x1b]0;x.wav"]
    )
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout + result.stderr
    assert "no such file" in result.stderr
    rows = (tmp_path / "out" / "predictions.csv").read_text("utf-8")
    assert rows.count("\n") == len(names) + 2  # One name holds a line break.


def test_a_system_s_file_that_ends_the_program_is_refused_in_a_line(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from thinslice.systems import find_builder

    for name, code in (("ends", "import sys\nsys.exit(3)"), ("raises", "1/0"), ("is_no_python", "def recipe(:\n")):
        path = tmp_path / f"system_that_{name}.py"
        path.write_text(code)
        with pytest.raises(UsageError, match=r"cannot be imported") as refused:
            find_builder(str(path))
        assert "\n" not in str(refused.value)
