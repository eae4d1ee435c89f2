"""What the feature store's format was chosen by: how pictures are coded, and which container holds them.

    python benchmarks/store.py codecs CLIP...      # bytes, encoding, random decoding and error of each coding
    python benchmarks/store.py containers CLIP...  # random reads of one picture and one stretch of sound
    python benchmarks/store.py clips CLIP...       # the store itself: seconds and bytes per clip, epochs per minute

All times are processor time, so that other work on the machine does not count; files are in the page cache.
`containers` also tries zarr, lmdb and webdataset where they are installed. Nothing of the clips is kept.
"""

import argparse
import io
import json
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

from thinslice.features.frames import extract_frames
from thinslice.media.source import Source

WIDTH, HEIGHT, RATE_HZ, CROP = 456, 256, 16_000, 50_176
SPARSE = 10  # Slow codings are tried on every tenth picture.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["codecs", "containers", "clips"])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=375, help="Pictures per clip.")
    parser.add_argument("--reads", type=int, default=1500, help="Random reads to time.")
    options = parser.parse_args()
    {"codecs": codecs, "containers": containers, "clips": whole_clips}[options.part](options)


def codecs(options: argparse.Namespace) -> None:
    codings: dict[str, Callable[[np.ndarray], tuple[list[bytes], Callable[[bytes], np.ndarray]]]] = {
        "raw": lambda frames: ([frame.tobytes() for frame in frames], _from_raw),
        "PNG": lambda frames: ([_pillow(frame, "PNG", compress_level=3) for frame in frames[::SPARSE]], _decode),
    }
    for quality in (85, 90, 95):
        for sampling in ("4:2:0", "4:4:4"):
            codings[f"JPEG {quality} {sampling}"] = lambda frames, q=quality, s=sampling: (
                [_pillow(frame, "JPEG", quality=q, subsampling=s) for frame in frames],
                _decode,
            )
    for quality in (80, 90):
        codings[f"WebP {quality}"] = lambda frames, q=quality: (
            [_pillow(frame, "WEBP", quality=q, method=2) for frame in frames[::SPARSE]],
            _decode,
        )
    rows: dict[str, list[tuple[float, ...]]] = {}
    for clip in options.clips:
        frames = extract_frames(Source(clip), options.frames, WIDTH, HEIGHT)
        for name, encode in codings.items():
            began = time.process_time()
            coded, decode = encode(frames)
            encoding = (time.process_time() - began) / len(coded)
            step = 1 if len(coded) == len(frames) else SPARSE
            order = np.random.default_rng(0).integers(len(coded), size=100)
            began = time.process_time()
            decoded = [decode(coded[i]) for i in order]
            decoding = (time.process_time() - began) / len(order)
            error = np.mean([_psnr(frames[i * step], image) for i, image in zip(order, decoded, strict=True)])
            rows.setdefault(name, []).append((sum(map(len, coded)) / len(coded), encoding, decoding, float(error)))
        for name, settings in {
            "H.264 intra, crf 18": {"crf": "18", "g": "1", "preset": "veryfast"},
            "H.264 key frame each 12, crf 18": {"crf": "18", "g": "12", "bf": "0", "preset": "veryfast"},
        }.items():
            rows.setdefault(name, []).append(_video(frames, settings))
    print(f"{len(options.clips)} clips, {options.frames} pictures of {WIDTH}x{HEIGHT} each\n")
    print("| coding | kB per picture | MB per clip | encode, ms | decode one at random, ms | PSNR, dB |")
    print("|---|---|---|---|---|---|")
    for name, values in rows.items():
        size, encoding, decoding, error = np.mean(values, axis=0)
        print(
            f"| {name} | {size / 1e3:.1f} | {size * options.frames / 1e6:.1f} | {encoding * 1e3:.2f} "
            f"| {decoding * 1e3:.2f} | {error:.1f} |"
        )


def containers(options: argparse.Namespace) -> None:
    coded, sounds = [], []
    for clip in options.clips:
        source = Source(clip)
        frames = extract_frames(source, options.frames, WIDTH, HEIGHT)
        coded.append([_pillow(frame, "JPEG", quality=90, subsampling="4:2:0") for frame in frames])
        sounds.append(source.audio(RATE_HZ))
    folder = Path(tempfile.mkdtemp(prefix="thinslice-store-"))
    makers = {
        "raw .npy, memory-mapped (pictures not coded)": _npy_raw,
        ".npy of coded bytes and offsets": _npy_coded,
        "Arrow IPC file, memory-mapped": _arrow,
        "ZIP, stored": _zip,
        "Zarr 3, one shard per array": _zarr,
        "LMDB, one file for all": _lmdb,
        "WebDataset tar": _webdataset,
    }
    print(
        "| container | picture, reads/s | with decoding, reads/s | sound crop, reads/s | MB per clip | files per clip |"
    )
    print("|---|---|---|---|---|---|")
    try:
        for name, make in makers.items():
            place = folder / "".join(filter(str.isalnum, name))
            place.mkdir()
            try:
                read_picture, read_sound, decodes = make(place, coded, sounds)
            except ImportError as error:
                print(f"| {name} | not installed ({error.name}) | | | | |")
                continue
            rng = np.random.default_rng(1)
            whiches = rng.integers(len(coded), size=options.reads).tolist()
            spots = rng.random(options.reads)
            pictures = [(c, int(s * len(coded[c]))) for c, s in zip(whiches, spots, strict=True)]
            crops = [(c, int(s * (len(sounds[c]) - CROP))) for c, s in zip(whiches, spots, strict=True)]
            began = time.process_time()
            for c, i in pictures:
                read_picture(c, i)
            bare = options.reads / (time.process_time() - began)
            began = time.process_time()
            for c, i in pictures:
                value = read_picture(c, i)
                np.array(value) if not decodes else _decode(value)
            full = options.reads / (time.process_time() - began)
            began = time.process_time()
            for c, i in crops:
                assert np.array(read_sound(c, i)).shape == (CROP,)
            sound = options.reads / (time.process_time() - began)
            files = [path for path in place.rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files) / len(coded) / 1e6
            print(f"| {name} | {bare:,.0f} | {full:,.0f} | {sound:,.0f} | {size:.1f} | {len(files) / len(coded):g} |")
    finally:
        shutil.rmtree(folder)


def whole_clips(options: argparse.Namespace) -> None:
    from thinslice.features.spec import FeatureSpec
    from thinslice.features.store import FeatureStore

    folder = Path(tempfile.mkdtemp(prefix="thinslice-store-"))
    specs = {
        "frames": FeatureSpec(
            extractor="frames", params={"num_frames": options.frames, "width": WIDTH, "height": HEIGHT}
        ),
        "sound": FeatureSpec(extractor="waveform", params={"rate_hz": RATE_HZ}),
    }
    try:
        store = FeatureStore(folder)
        seconds: dict[str, list[float]] = {"hash": [], "frames": [], "sound": [], "write": []}
        shas = []
        for clip in options.clips:
            source = Source(clip)
            with _timer(seconds["hash"]):
                shas.append(source.sha256())
            with _timer(seconds["frames"]):
                frames = extract_frames(source, options.frames, WIDTH, HEIGHT)
            with _timer(seconds["sound"]):
                sound = source.audio(RATE_HZ)
            with _timer(seconds["write"]):
                store.write(shas[-1], specs["frames"], frames)
                store.write(shas[-1], specs["sound"], sound)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / len(options.clips)
        rng = np.random.default_rng(0)
        began = time.process_time()
        for _ in range(options.reads):
            sha = shas[rng.integers(len(shas))]
            store.read(sha, specs["frames"], int(rng.integers(options.frames)))
            start = int(rng.integers(store.shape(sha, specs["sound"])[0] - CROP))
            store.read(sha, specs["sound"], slice(start, start + CROP))
        rate = options.reads / (time.process_time() - began)
        print(json.dumps({
            "clips": len(options.clips),
            "frames": options.frames,
            "processor_seconds_per_clip": {name: round(statistics.mean(values), 4) for name, values in seconds.items()},
            "bytes_per_clip": round(size),
            "samples_per_processor_second": round(rate),
            "epochs_of_6000_clips_per_minute_and_processor": round(rate * 60 / 6000, 2),
            "hours_for_10000_on_two_cores": round(sum(map(statistics.mean, seconds.values())) * 10_000 / 2 / 3600, 2),
        }, indent=1))  # fmt: skip
    finally:
        shutil.rmtree(folder)


class _timer:
    def __init__(self, into: list[float]) -> None:
        self.into = into

    def __enter__(self) -> None:
        self.began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.into.append(time.process_time() - self.began)


def _pillow(frame: np.ndarray, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, kind, **settings)
    return buffer.getvalue()


def _decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _from_raw(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH, 3).copy()


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9))) if error else 99.0


def _video(frames: np.ndarray, settings: dict[str, str]) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.mp4"
        began = time.process_time()
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options=settings)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            container.mux(stream.encode())
        encoding = (time.process_time() - began) / len(frames)
        order = np.random.default_rng(0).integers(len(frames), size=40)
        began = time.process_time()
        errors = []
        for i in order:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                pts = int(i * stream.time_base.denominator / 25 / stream.time_base.numerator)
                container.seek(pts, stream=stream)
                image = next(f for f in container.decode(stream) if f.pts >= pts).to_ndarray(format="rgb24")
            errors.append((i, image))
        decoding = (time.process_time() - began) / len(order)
        error = np.mean([_psnr(frames[i], image) for i, image in errors])
        return path.stat().st_size / len(frames), encoding, decoding, float(error)


def _npy_raw(place: Path, coded: list[list[bytes]], sounds: list[np.ndarray]):
    for c, (pictures, sound) in enumerate(zip(coded, sounds, strict=True)):
        np.save(place / f"{c}.npy", np.stack([_decode(data) for data in pictures]))
        np.save(place / f"{c}s.npy", sound)
    return (
        lambda c, i: np.load(place / f"{c}.npy", mmap_mode="r")[i],
        lambda c, i: np.load(place / f"{c}s.npy", mmap_mode="r")[i : i + CROP],
        False,
    )


def _npy_coded(place: Path, coded: list[list[bytes]], sounds: list[np.ndarray]):
    for c, (pictures, sound) in enumerate(zip(coded, sounds, strict=True)):
        np.save(place / f"{c}.npy", np.frombuffer(b"".join(pictures), np.uint8))
        np.save(place / f"{c}o.npy", np.cumsum([0, *map(len, pictures)]))
        np.save(place / f"{c}s.npy", sound)

    def read(c: int, i: int) -> bytes:
        offsets = np.load(place / f"{c}o.npy", mmap_mode="r")
        return np.load(place / f"{c}.npy", mmap_mode="r")[offsets[i] : offsets[i + 1]].tobytes()

    return read, lambda c, i: np.load(place / f"{c}s.npy", mmap_mode="r")[i : i + CROP], True


def _arrow(place: Path, coded: list[list[bytes]], sounds: list[np.ndarray]):
    import pyarrow as pa

    def write(path: Path, column: "pa.Array") -> None:
        batch = pa.record_batch([column], ["value"])
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)

    def column(path: Path) -> "pa.Array":
        return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0).column(0)

    for c, (pictures, sound) in enumerate(zip(coded, sounds, strict=True)):
        write(place / f"{c}.arrow", pa.array(pictures, pa.binary()))
        write(place / f"{c}s.arrow", pa.array(sound))
    return (
        lambda c, i: column(place / f"{c}.arrow")[i].as_py(),
        lambda c, i: column(place / f"{c}s.arrow").slice(i, CROP).to_numpy(),
        True,
    )


def _zip(place: Path, coded: list[list[bytes]], sounds: list[np.ndarray]):
    for c, (pictures, sound) in enumerate(zip(coded, sounds, strict=True)):
        with zipfile.ZipFile(place / f"{c}.zip", "w") as file:
            for i, data in enumerate(pictures):
                file.writestr(f"{i:05d}.jpg", data)
        np.save(place / f"{c}s.npy", sound)

    def read(c: int, i: int) -> bytes:
        with zipfile.ZipFile(place / f"{c}.zip") as file:
            return file.read(f"{i:05d}.jpg")

    return read, lambda c, i: np.load(place / f"{c}s.npy", mmap_mode="r")[i : i + CROP], True


def _zarr(place: Path, coded: list[list[bytes]], sounds: list[np.ndarray]):
    import zarr

    longest = max(len(data) for pictures in coded for data in pictures)
    for c, (pictures, sound) in enumerate(zip(coded, sounds, strict=True)):
        padded = np.zeros((len(pictures), longest), np.uint8)
        for i, data in enumerate(pictures):
            padded[i, : len(data)] = np.frombuffer(data, np.uint8)
        for name, value, chunk in (("p", padded, (1, longest)), ("s", sound, (16_384,))):
            shard = tuple(-(-n // k) * k for n, k in zip(value.shape, chunk, strict=True))
            zarr.create_array(place / f"{c}{name}.zarr", data=value, chunks=chunk, shards=shard)
    return (
        lambda c, i: zarr.open_array(place / f"{c}p.zarr", mode="r")[i].tobytes(),
        lambda c, i: zarr.open_array(place / f"{c}s.zarr", mode="r")[i : i + CROP],
        True,
    )


def _lmdb(place: Path, coded: list[list[bytes]], sounds: list[np.ndarray]):
    import lmdb

    env = lmdb.open(str(place), map_size=8 << 30)
    for c, (pictures, sound) in enumerate(zip(coded, sounds, strict=True)):
        with env.begin(write=True) as transaction:
            for i, data in enumerate(pictures):
                transaction.put(f"{c}/{i}".encode(), data)
            transaction.put(f"{c}/s".encode(), sound.tobytes())

    def read(c: int, i: int) -> bytes:
        with env.begin() as transaction:
            return transaction.get(f"{c}/{i}".encode())

    def read_sound(c: int, i: int) -> np.ndarray:
        with env.begin(buffers=True) as transaction:
            return np.frombuffer(transaction.get(f"{c}/s".encode()), np.float32)[i : i + CROP].copy()

    return read, read_sound, True


def _webdataset(place: Path, coded: list[list[bytes]], sounds: list[np.ndarray]):
    import webdataset

    with webdataset.TarWriter(str(place / "shard.tar")) as writer:
        for c, (pictures, sound) in enumerate(zip(coded, sounds, strict=True)):
            writer.write({"__key__": f"{c:05d}", "npy": sound, "pyd": pictures})
    import tarfile

    members = {}
    with tarfile.open(place / "shard.tar") as file:
        members = {member.name: (member.offset_data, member.size) for member in file}

    # A tar has no index and a sample no inner one: one picture costs its whole clip.
    def load(name: str) -> bytes:
        offset, size = members[name]
        with open(place / "shard.tar", "rb") as file:
            file.seek(offset)
            return file.read(size)

    import pickle

    return (
        lambda c, i: pickle.loads(load(f"{c:05d}.pyd"))[i],
        lambda c, i: np.load(io.BytesIO(load(f"{c:05d}.npy")))[i : i + CROP],
        True,
    )


if __name__ == "__main__":
    sys.exit(main())
