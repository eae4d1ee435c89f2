"""What face-voice-words makes of the same faces from portraits and from videos, and how fast it is.

    python benchmarks/face_voice_words.py agreement BUNDLE DATA
    python benchmarks/face_voice_words.py speed BUNDLE

DATA holds ``first_impressions_v2/clips`` and ``portraits/*.zip`` of the same clips. Differences are in score units,
means of absolute values over the five traits, for the face alone.
"""

import io
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from thinslice.face_voice_words import FaceVoiceWords, load_face_voice_words
from thinslice.face_voice_words.portraits import align_portrait, portraits_of
from thinslice.features.face_light import load_light_detector
from thinslice.features.face_portraits import cut_portrait, extract_face_portraits
from thinslice.features.frames import frame_times
from thinslice.media.source import Source
from thinslice.traits import TARGETS, TRAITS


def main() -> None:
    folder = Path(sys.argv[2])
    model = load_face_voice_words(folder, TARGETS, threads=1)
    if sys.argv[1] == "agreement":
        agreement(model, Path(sys.argv[3]))
    else:
        speed(model)


def agreement(model: FaceVoiceWords, data: Path) -> None:
    """Compare one clip's scores from its portraits, from the video's frames of the same numbers, and from others."""
    members = portraits_of(sorted((data / "portraits").glob("*.zip")))
    rows: dict[str, list[np.ndarray]] = {}
    for clip in sorted((data / "first_impressions_v2" / "clips").glob("*.mp4")):
        numbers, portraits = read_portraits(members[clip.name])
        from_portraits = faces_of(portraits)
        from_frames = faces_of(frames_of(clip, [number - 1 for number in numbers]))
        trained = [align_portrait(picture, load_light_detector()) for picture in portraits]
        source = Source(clip)
        looks = {
            "portraits": from_portraits,
            "portraits as the trainer aligns them": np.stack([face for face in trained if face is not None]),
            "frames of the same numbers": from_frames,
            "the extractor's frames": extract_face_portraits(source),
        }
        for count in (4, 8):
            times = frame_times(source.duration_s, count)
            looks[f"{count} frames of the whole clip"] = faces_of([f.image for f in source.frames(list(times))])
        for name, faces in looks.items():
            rows.setdefault(name, []).append(model.face_scores(faces).mean(axis=0)[: len(TRAITS)])
    base = np.array(rows["portraits"])
    print(f"{len(base)} clips; standard deviation of a trait's scores between clips {base.std(axis=0).mean():.4f}")
    for name, scores in rows.items():
        print(f"portraits against {name:38s} {np.abs(np.array(scores) - base).mean():.4f}")


def read_portraits(members: Sequence[tuple[Path, str]]) -> tuple[list[int], list[np.ndarray]]:
    """Return the numbers of the frames that portraits are of, and the pictures."""
    numbers, pictures = [], []
    for path, name in members:
        with zipfile.ZipFile(path) as archive:
            pictures.append(np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")))
        numbers.append(int(Path(name).stem))
    return numbers, pictures


def frames_of(clip: Path, places: Sequence[int]) -> list[np.ndarray]:
    """Return frames of a video by their places, counted from 0."""
    found = {}
    with av.open(str(clip)) as container:
        for place, frame in enumerate(container.decode(video=0)):
            if place in places:
                found[place] = frame.to_ndarray(format="rgb24")
            if place >= max(places):
                break
    return [found[place] for place in places if place in found]


def faces_of(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return the largest face of each picture that shows one, in standard position."""
    detector = load_light_detector()
    found = [(picture, detector.find(picture)) for picture in pictures]
    largest = [(picture, max(faces, key=lambda face: face.size)) for picture, faces in found if faces]
    return np.stack([cut_portrait(picture, face) for picture, face in largest])


def speed(model: FaceVoiceWords) -> None:
    """Print the processor time of finding, cutting and describing one face of 720p."""
    rng = np.random.default_rng(0)
    (frame,) = Source("examples/sample.mp4").frames([1.0])
    size = frame.image.shape[:2]
    picture = np.asarray(Image.fromarray(frame.image).resize((1280, 1280 * size[0] // size[1])))
    detector = load_light_detector()
    faces = rng.integers(0, 256, (1, 176, 176, 3)).astype(np.uint8)
    for name, work in {
        "find the face": lambda: detector.find(picture),
        "cut it out": lambda: cut_portrait(picture, detector.find(picture)[0]),
        "describe it, both ways": lambda: model.describer.describe_both_ways(faces),
    }.items():
        spent = []
        for _ in range(10):
            began = time.process_time()
            work()
            spent.append(time.process_time() - began)
        print(f"{name:25s} {np.median(spent) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
