"""Whether a face gives the same scores from the corpus' small portraits and from the videos they were cut out of.

    python benchmarks/portraits_and_videos.py DATA [--bundle face-voice-words] [--out FILE.md]

DATA is the research data's folder: ``first_impressions_v2/clips`` has the videos, ``portraits`` the portraits. Scores
are of the face alone. Differences are from the portraits' scores, absolute, over clips and the five traits.
"""

import argparse
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from thinslice.infer.predictor import Predictor
from thinslice.media.source import Source
from thinslice.traits import TRAITS

SCORED_S = 8.0
SIZES = (0.5, 0.35, 0.25)


def face_score(predictor: Predictor, path: Path, **window: float) -> np.ndarray:
    prediction = predictor.predict(path, only=["face"], explain=False, **window)  # type: ignore[arg-type]
    return np.array([prediction.traits[trait].score for trait in TRAITS])


def unpack_portraits(archives: Path, clips: list[str], out: Path) -> dict[str, Path]:
    """Return clip -> folder of its portraits."""
    found = {}
    for archive in sorted(archives.glob("train_*.zip")):
        with zipfile.ZipFile(archive) as pack:
            for clip in clips:
                names = [
                    name for name in pack.namelist() if name.startswith(f"train/{clip}/") and name.endswith(".jpg")
                ]
                if names:
                    pack.extractall(out, names)
                    found[clip] = out / "train" / clip
    return found


def same_frames(video: Path, portraits: Path, out: Path, size: float = 1.0) -> Path:
    """Write the video's frames of which there are portraits, scaled to `size`; frame 1 is the first."""
    out.mkdir()
    source = Source(video)
    rate_hz = source.info.frame_rate_hz
    numbers = sorted(int(path.stem) for path in portraits.glob("*.jpg"))
    for number, frame in zip(numbers, source.frames([(n - 0.5) / rate_hz for n in numbers]), strict=True):
        picture = Image.fromarray(frame.image)
        if size < 1:
            picture = picture.resize((round(picture.width * size), round(picture.height * size)), Image.Resampling.BOX)
        picture.save(out / f"{number:05d}.png", compress_level=1)
    return out


def compare(predictor: Predictor, data: Path) -> dict[str, list[np.ndarray]]:
    """Return what is compared -> differences (5,) of each clip."""
    videos = sorted((data / "first_impressions_v2" / "clips").glob("*.mp4"))
    found: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        portraits = unpack_portraits(data / "portraits", [video.name for video in videos], Path(folder))
        for video in videos:
            if video.name not in portraits:
                continue
            base = face_score(predictor, portraits[video.name])
            frames = same_frames(video, portraits[video.name], Path(folder) / f"{video.stem}.frames")
            found.setdefault("the same frames of the video", []).append(face_score(predictor, frames) - base)
            for size in SIZES:
                small = same_frames(video, portraits[video.name], Path(folder) / f"{video.stem}.{size}", size)
                name = f"the same frames, {size:g} of their size"
                found.setdefault(name, []).append(face_score(predictor, small) - base)
            found.setdefault("the video, as predict looks at it", []).append(face_score(predictor, video) - base)
            length_s = Source(video).duration_s
            if length_s > SCORED_S + 2:
                later = face_score(predictor, video, start_s=SCORED_S, end_s=length_s)
                found.setdefault("its seconds after the eighth", []).append(later - base)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--bundle", default="face-voice-words")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = ["| against the portraits | clips | mean difference | 95th percentile | shift |", "|---|---|---|---|---|"]
    for name, rows in compare(Predictor(args.bundle), args.data).items():
        values = np.array(rows)
        size, high = np.abs(values).mean(), np.percentile(np.abs(values), 95)
        lines.append(f"| {name} | {len(rows)} | {size:.4f} | {high:.4f} | {values.mean():+.4f} |")
    text = "\n".join(lines)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
