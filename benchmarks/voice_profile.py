"""How far voice profiles computed from real clips lie from the published file, and what they cost.

    python benchmarks/voice_profile.py [--data ../shared/data/first_impressions_v2] [--resampler soxr]
    python benchmarks/voice_profile.py --recode

Prints a Markdown table: per value, the largest and the mean absolute difference over the clips, in standard
deviations of that value over the whole file, and the correlation. `--recode` instead encodes the clips' sound
again, as a user's recorder or messenger might have, and prints how far each encoding moves the profile.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from thinslice.features.voice import RATE_HZ, VOICE_PROFILE_COLUMNS, extract_voice_profile, voice_profile
from thinslice.media.source import Source

ROOT = Path(__file__).resolve().parents[1]


ENCODINGS = {
    "AAC 128 kbit/s, 48 kHz": ("a.m4a", "aac", 48000, "stereo", 128_000),
    "AAC 64 kbit/s, 44.1 kHz": ("a.m4a", "aac", 44100, "stereo", 64_000),
    "MP3 128 kbit/s, 44.1 kHz": ("a.mp3", "libmp3lame", 44100, "stereo", 128_000),
    "MP3 64 kbit/s, mono, 44.1 kHz": ("a.mp3", "libmp3lame", 44100, "mono", 64_000),
    "Opus 64 kbit/s, 48 kHz": ("a.opus", "libopus", 48000, "stereo", 64_000),
    "Opus 24 kbit/s, mono, 48 kHz": ("a.opus", "libopus", 48000, "mono", 24_000),
    "WAV, mono, 48 kHz": ("a.wav", "pcm_s16le", 48000, "mono", None),
    "WAV, mono, 16 kHz": ("a.wav", "pcm_s16le", 16000, "mono", None),
    "WAV, mono, 8 kHz (telephone)": ("a.wav", "pcm_s16le", 8000, "mono", None),
}


def recode(clip: Path, target: Path, codec: str, rate_hz: int, layout: str, bit_rate: int | None) -> None:
    """Write a clip's sound with another encoder."""
    with av.open(str(clip)) as source, av.open(str(target), "w") as sink:
        stream = sink.add_stream(codec, rate=rate_hz, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        for frame in source.decode(audio=0):
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode())


def print_encodings(clips: list[Path], spread: np.ndarray) -> None:
    original = np.array([extract_voice_profile(Source(clip)) for clip in clips])
    print(
        f"{len(clips)} clips\n\n| encoding | mean difference, SD | first six | MFCCs | largest |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, (file_name, *how) in ENCODINGS.items():
            profiles = []
            for clip in clips:
                recode(clip, Path(folder) / file_name, *how)
                profiles.append(extract_voice_profile(Source(Path(folder) / file_name)))
            far = np.abs(np.array(profiles) - original) / spread
            print(
                f"| {name} | {far.mean():.3f} | {far[:, :6].mean():.3f} | {far[:, 6:].mean():.3f} | {far.max():.2f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "first_impressions_v2")
    parser.add_argument(
        "--resampler",
        choices=("kaiser", "soxr"),
        default="kaiser",
        help="kaiser: what predict uses; soxr: SoX's very-high-quality filter, for comparison",
    )
    parser.add_argument("--recode", action="store_true", help="measure other encodings of the same clips")
    arguments = parser.parse_args()
    with open(arguments.data / "voice_profile_train.csv", newline="") as file:
        rows = {row["clip"]: [float(row[name]) for name in VOICE_PROFILE_COLUMNS] for row in csv.DictReader(file)}
    clips = [clip for clip in sorted((arguments.data / "clips").glob("*.mp4")) if clip.name in rows]
    spread = np.std(list(rows.values()), axis=0)
    if arguments.recode:
        print_encodings(clips, spread)
        return
    published = np.array([rows[clip.name] for clip in clips])
    measured, wall_s, cpu_s = [], [], []
    for clip in clips:
        began, cpu_began = time.perf_counter(), time.process_time()
        source = Source(clip)
        if arguments.resampler == "kaiser":
            measured.append(extract_voice_profile(source))
        else:
            measured.append(voice_profile(source.audio(RATE_HZ, 7.0)))
        wall_s.append(time.perf_counter() - began)
        cpu_s.append(time.process_time() - cpu_began)
    difference = np.abs(np.array(measured) - published) / spread
    print(f"{len(clips)} clips; per clip, decoding included: median {1000 * np.median(wall_s):.0f} ms wall, ", end="")
    print(f"{1000 * np.median(cpu_s):.0f} ms CPU\n")
    print("| value | mean difference, SD | largest, SD | correlation |\n|---|---|---|---|")
    for column, name in enumerate(VOICE_PROFILE_COLUMNS):
        correlation = np.corrcoef(np.array(measured)[:, column], published[:, column])[0, 1]
        mean, largest = difference[:, column].mean(), difference[:, column].max()
        print(f"| {name} | {mean:.6f} | {largest:.6f} | {correlation:.6f} |")
    print(f"| all | {difference.mean():.6f} | {difference.max():.6f} | |")


if __name__ == "__main__":
    main()
