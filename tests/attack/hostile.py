"""Files that strangers might hand in: damaged at random, or built to do harm. Small and seeded."""

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from media_files import numbered, voice_like, write_media

TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
Damage = Callable[[bytearray, np.random.Generator], None]


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), int(rng.integers(1, 60))):
        data[place] ^= int(rng.integers(1, 256))


def _flip_head(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, min(len(data), 200), int(rng.integers(1, 12))):
        data[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(0, len(data))) :]


def _blank(data: bytearray, rng: np.random.Generator) -> None:
    begin, length = int(rng.integers(0, len(data))), int(rng.integers(1, len(data) // 2 + 2))
    length = min(length, len(data) - begin)
    data[begin : begin + length] = bytes(length)


def _insert(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(0, len(data)))
    data[place:place] = rng.bytes(int(rng.integers(1, 3000)))


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    begin = int(rng.integers(0, len(data)))
    data[begin:begin] = data[begin : begin + int(rng.integers(1, 5000))]


DAMAGES: Mapping[str, Damage] = {
    "bytes changed": _flip, "head changed": _flip_head, "cut off": _cut, "blanked": _blank, "inserted": _insert,
    "repeated": _repeat,
}  # fmt: skip


def damaged(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return what was done to a file, and the file."""
    name = str(rng.choice(list(DAMAGES)))
    hurt = bytearray(data)
    DAMAGES[name](hurt, rng)
    return name, bytes(hurt)


def sound_files(folder: Path) -> list[Path]:
    """Write whole recordings of several formats, 1.5 s each."""
    voice = voice_like(1.5, 16_000)
    made = [write_media(folder / f"a.{kind}", [voice], rate_hz=16_000, audio_codec=codec) for kind, codec in _SOUNDS]
    return [*made, write_media(folder / "a.mp4", [voice], numbered(12), rate_hz=16_000),
            write_media(folder / "a.mkv", [voice], numbered(12), rate_hz=16_000)]  # fmt: skip


_SOUNDS = (("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("flac", "flac"))


def box(kind: bytes, body: bytes) -> bytes:
    """An MP4 box."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def nested_boxes(depth: int) -> bytes:
    """A moov box whose tracks' boxes lie ever deeper in each other."""
    inner = b""
    for level in range(depth):
        inner = box((b"mdia", b"minf", b"stbl")[level % 3], inner)
    return box(b"moov", box(b"trak", inner))


def many_boxes(count: int) -> bytes:
    """Empty boxes, one after the other."""
    return struct.pack(">I4s", 8, b"free") * count


def wav_header(channels: int, rate_hz: int, bits: int, num_bytes: int, code: int = 1) -> bytes:
    """The head of a WAV file that claims anything."""
    block = channels * bits // 8
    form = struct.pack(
        "<HHIIHH", code, channels & 0xFFFF, rate_hz & 0xFFFFFFFF, (rate_hz * block) & 0xFFFFFFFF, block & 0xFFFF, bits
    )
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", num_bytes & 0xFFFFFFFF)
    return b"RIFF" + struct.pack("<I", (len(chunks) + num_bytes) & 0xFFFFFFFF) + chunks


def absurd_sounds() -> Iterator[tuple[str, bytes]]:
    """Yield WAV files whose heads claim what no recording has."""
    noise = np.random.default_rng(0).bytes(100_000)
    for channels in (0, 1, 255, 65_535):
        for rate_hz in (0, 1, 7, 768_000, 4_000_000_000):
            for bits in (0, 8, 16, 64):
                yield f"{channels}ch_{rate_hz}hz_{bits}bit.wav", wav_header(channels, rate_hz, bits, 2**31) + noise


def zip_bomb(num_bytes: int, levels: int = 1) -> bytes:
    """A ZIP archive of zeros, in archives of archives."""
    data, name = bytes(num_bytes), "annotation_training.pkl"
    for _ in range(levels):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        data, name = packed.getvalue(), "inner.zip"
    return data


def terabyte_array() -> bytes:
    """A NumPy file (.npy) whose head claims 2^37 numbers of 8 bytes, and that holds none."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (2**37,)})
    return head.getvalue()


def manifest_text(num_clips: int = 12) -> str:
    """A small labelled manifest."""
    rows = [
        f"s{i % 4}.{i:03d}.mp4,,{('train', 'validation', 'test')[i % 3]},s{i % 4},"
        + ",".join(f"{0.3 + 0.04 * ((i * 7 + k) % 10):.4f}" for k in range(5))
        for i in range(num_clips)
    ]
    return "\n".join([f"clip,path,split,speaker,{','.join(TRAITS)}", *rows, ""])


def predictions_text(num_clips: int = 12) -> str:
    """A prediction file for the clips of `manifest_text`."""
    rows = [f"s{i % 4}.{i:03d}.mp4,0.5,0.4,0.6,0.45,0.55" for i in range(num_clips)]
    return "\n".join([f"clip,{','.join(TRAITS)}", *rows, ""])


def subtitles_text(num_cues: int = 12) -> str:
    """SubRip subtitles."""
    cues = [f"{i + 1}\n00:00:{i:02d},000 --> 00:00:{i:02d},900\nI am so happy to be here\n" for i in range(num_cues)]
    return "\n".join(cues)


def absurd_json(document: Any, rng: np.random.Generator) -> str:
    """A JSON document with one value, anywhere in it, replaced by what it must not be."""
    document = json.loads(json.dumps(document))
    at, key = document, rng.choice(list(document))
    while isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
        at = at[key]
        key = rng.choice(list(at)) if isinstance(at, dict) else int(rng.integers(len(at)))
    value: Any = rng.choice(7)
    at[key] = (None, -1, 1e308, "../../x", [], {}, "x" * 100_000)[int(value)]
    return json.dumps(document)


def write_system(path: Path) -> None:
    """Write the system of docs/your-own-system.md, a small network on the voice, into a file of its own."""
    page = Path(__file__).parents[2] / "docs" / "your-own-system.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
    path.write_text(code, "utf-8")


def write_clips(folder: Path, names: Sequence[str]) -> None:
    """Write recordings of 1.5 s and m.csv with made-up labels; the last is for validation, the others for training."""
    rows = []
    for number, name in enumerate(names):
        write_media(folder / name, [voice_like(1.5, 16_000, seed=number)], rate_hz=16_000, audio_codec="pcm_s16le")
        split = "validation" if number == len(names) - 1 else "train"
        scores = np.random.default_rng(number).uniform(0.2, 0.8, len(TRAITS))
        rows.append(f"{name},{name},{split},s{number}," + ",".join(f"{score:.4f}" for score in scores))
    (folder / "m.csv").write_text("\n".join([f"clip,path,split,speaker,{','.join(TRAITS)}", *rows, ""]), "utf-8")
