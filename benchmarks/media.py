"""What decoding costs, beside the floor of only decoding a clip's sound with PyAV.

    python benchmarks/media.py [CLIP...] [--repeats 9]
    python benchmarks/media.py --long

Prints a Markdown table: per stage, the median over the clips of the best of several repeats. `--long` writes a
two-hour video to a temporary folder and reads 15 s in its middle.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from thinslice.features.kaiser import resample_kaiser
from thinslice.features.voice import RATE_HZ, extract_voice_profile, voice_profile
from thinslice.media.probe import probe
from thinslice.media.source import Source

ROOT = Path(__file__).resolve().parents[1]
CLIPS = ROOT.parent / "shared" / "data" / "first_impressions_v2" / "clips"


def floor(clip: Path, seconds: float = 1e9) -> None:
    """Decode the sound with PyAV and nothing else."""
    with av.open(str(clip)) as container:
        for frame in container.decode(audio=0):
            frame.to_ndarray()
            if frame.time > seconds:
                break


def frames(clip: Path, number: int) -> None:
    source = Source(clip)
    for _ in source.frames((np.arange(number) + 0.5) * source.duration_s / number):
        pass


def naive_frames(clip: Path, number: int) -> None:
    """Decode every frame and convert every so many."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        every = max(stream.frames // number, 1)
        for index, frame in enumerate(container.decode(stream)):
            if index % every == every // 2:
                frame.to_ndarray(format="rgb24")


def stages(clip: Path) -> dict[str, Callable[[], object]]:
    source = Source(clip)
    native = source.audio(None, 7.0)
    samples = resample_kaiser(native, source.audio_rate_hz, RATE_HZ)
    return {
        "floor: all sound, PyAV alone": lambda: floor(clip),
        "floor: first 7 s, PyAV alone": lambda: floor(clip, 7.0),
        "Source.info": lambda: probe(clip),
        "Source.audio(end_s=7)": lambda: Source(clip).audio(None, 7.0),
        "Source.audio()": lambda: Source(clip).audio(),
        "Source.audio(16000)": lambda: Source(clip).audio(16000),
        "resampling 7 s to 22,050 Hz": lambda: resample_kaiser(native, source.audio_rate_hz, RATE_HZ),
        "voice_profile of 7 s": lambda: voice_profile(samples),
        "extract_voice_profile, all of it": lambda: extract_voice_profile(Source(clip)),
        "Source.sha256()": lambda: Source(clip).sha256(),
        "32 frames, decoding all of them": lambda: naive_frames(clip, 32),
        "32 frames, Source.frames": lambda: frames(clip, 32),
    }


def best(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the least wall and CPU milliseconds."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))
    return min(walls), min(cpus)


def import_ms(module: str) -> float:
    """Return the least of five times to import a module in a fresh process, less an empty process's time."""

    def fresh(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1000 * (time.perf_counter() - began)

    return min(fresh(f"import {module}") for _ in range(5)) - min(fresh("pass") for _ in range(5))


def write_long(path: Path, hours: float) -> None:
    """A video of noise: 8 kHz PCM and one small picture every two seconds, a key frame every ten."""
    rate = 8000
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"g": "5", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        noise = rng.integers(-8000, 8000, (1, 2 * rate), np.int16)
        picture = rng.integers(0, 255, (240, 320, 3), np.uint8)
        for index in range(int(hours * 1800)):
            image = av.VideoFrame.from_ndarray(np.roll(picture, index, axis=1))
            image.pts, image.time_base = 2000 * index, Fraction(1, 1000)
            container.mux(video.encode(image))
            sound = av.AudioFrame.from_ndarray(np.roll(noise, 37 * index, axis=1), "s16p", "mono")
            sound.sample_rate, sound.pts, sound.time_base = rate, 2 * rate * index, Fraction(1, rate)
            container.mux(audio.encode(sound))
        container.mux(video.encode())
        container.mux(audio.encode())


def measure_long() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mov"
        subprocess.run([sys.executable, __file__, "--write-long", str(path)], check=True)
        print(f"two hours, {path.stat().st_size / 1e6:.0f} MB\n\n| stage | wall, ms |\n|---|---|")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for start_s in (10.0, 3600.0, 7150.0):
            for name, function in {
                "Source.info": lambda: probe(path),
                "15 s of sound": lambda start=start_s: Source(path, start, start + 15).audio(22050),
                "8 frames": lambda start=start_s: list(Source(path, start, start + 15).frames(np.arange(8) * 1.9)),
            }.items():
                print(f"| at {start_s:g} s: {name} | {best(function, 3)[0]:.0f} |")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"\npeak memory {after / 1024:.0f} MB, of which {(after - before) / 1024:.0f} MB since before the first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--write-long", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write_long:
        write_long(arguments.write_long, 2.0)
        return
    if arguments.long:
        measure_long()
        return
    clips = arguments.clips or sorted(CLIPS.glob("*.mp4"))[:6]
    print("| import, fresh process | wall, ms |\n|---|---|")
    for module in ("numpy", "av", "thinslice.media.source", "thinslice.features.voice"):
        print(f"| {module} | {import_ms(module):.0f} |")
    results: dict[str, list[tuple[float, float]]] = {}
    for clip in clips:
        for name, function in stages(clip).items():
            results.setdefault(name, []).append(best(function, 2 if "frames" in name else arguments.repeats))
    print(f"\n{len(clips)} clips\n\n| stage | wall, ms | CPU, ms |\n|---|---|---|")
    for name, times in results.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {name} | {wall:.1f} | {cpu:.1f} |")


if __name__ == "__main__":
    main()
