"""How much a face's scores change with what says nothing about the person: mirror, codec, size, rate, light, moment.

    python benchmarks/robustness.py CLIPS [--bundle face-voice-words] [--clips 24] [--films 6] [--out FILE.md]

CLIPS is a folder of real videos. Scores are of the face alone (`--only face`), so that nothing else hides a change.
"Pictures": the frames of the first 8 s as the extractor takes them, changed, and scored as a folder of stills.
"Films": the video's first 8 s encoded again. Differences are over clips and the five traits: the mean of the absolute
difference, and its 95th percentile. 0.01 is a fifteenth of the spread of the labels.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from thinslice.errors import MediaError
from thinslice.features.face_light import load_light_detector
from thinslice.features.frames import look_times
from thinslice.infer.predictor import Predictor
from thinslice.media.source import Source
from thinslice.traits import TRAITS

FIRST_S = 8.0
Frames = list[np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


def score_of(predictor: Predictor, path: Path, **options: object) -> np.ndarray:
    prediction = predictor.predict(path, only=["face"], explain=False, **options)  # type: ignore[arg-type]
    return np.array([prediction.traits[trait].score for trait in TRAITS])


def score_frames(predictor: Predictor, frames: Frames) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(Path(folder) / f"{number:03d}.png", compress_level=1)
        return score_of(predictor, Path(folder))


def frames_of(path: Path, num_frames: int = 4) -> Frames:
    source = Source(path)
    return [frame.image for frame in source.frames(look_times(source, num_frames, FIRST_S))]


def jpeg(quality: int) -> Change:
    def change(image: np.ndarray) -> np.ndarray:
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer).convert("RGB"))

    return change


def light(brightness: float, contrast: float = 1.0) -> Change:
    def change(image: np.ndarray) -> np.ndarray:
        picture = ImageEnhance.Contrast(ImageEnhance.Brightness(Image.fromarray(image)).enhance(brightness))
        return np.asarray(picture.enhance(contrast))

    return change


def turned(degrees: float) -> Change:
    return lambda image: np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))


def sized(height: int) -> Change:
    def change(image: np.ndarray) -> np.ndarray:
        width = round(image.shape[1] * height / image.shape[0] / 2) * 2
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))

    return change


def shifted(image: np.ndarray) -> np.ndarray:
    """A twelfth of the picture cut off on the left and above: the person sits elsewhere."""
    return np.ascontiguousarray(image[image.shape[0] // 12 :, image.shape[1] // 12 :])


def worn(what: str) -> Change:
    """Draw glasses, sunglasses or a mask over the surest face."""

    def change(image: np.ndarray) -> np.ndarray:
        faces = load_light_detector().find(image)
        if not faces:
            return image
        marks, eye = faces[0].landmarks, faces[0].eye_distance
        picture = Image.fromarray(image)
        pen = ImageDraw.Draw(picture)
        if what == "mask":
            (left, top), (right, low) = marks["mouth_left"], marks["mouth_right"]
            nose = marks["nose_tip"]
            middle = (top + low) / 2
            edge = 0.55 * eye
            pen.polygon(
                [
                    (left - edge, nose[1]),
                    (nose[0], nose[1] - 0.25 * eye),
                    (right + edge, nose[1]),
                    (right + 0.25 * eye, middle + 0.6 * eye),
                    (left - 0.25 * eye, middle + 0.6 * eye),
                ],
                fill=(150, 190, 215),
            )
            return np.asarray(picture)
        dark = (15, 15, 18)
        for name in ("left_eye", "right_eye"):
            x, y = marks[name]
            box = (x - 0.36 * eye, y - 0.26 * eye, x + 0.36 * eye, y + 0.3 * eye)
            pen.ellipse(box, fill=dark if what == "sunglasses" else None, outline=dark, width=max(round(eye / 18), 1))
        (left, y), (right, z) = marks["left_eye"], marks["right_eye"]
        bridge = [(left + 0.36 * eye, y), (right - 0.36 * eye, z)]
        pen.line(bridge, fill=dark, width=max(round(eye / 18), 1))
        return np.asarray(picture)

    return change


PICTURES: dict[str, Change] = {
    "mirror image": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "JPEG, quality 40": jpeg(40),
    "360 lines": sized(360),
    "2160 lines": sized(2160),
    "brightness x 0.7": light(0.7),
    "brightness x 1.3": light(1.3),
    "contrast x 0.7": light(1.0, 0.7),
    "contrast x 1.3": light(1.0, 1.3),
    "dark: brightness x 0.25": light(0.25),
    "without colours": lambda image: np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8),
    "turned by 15 degrees": turned(15),
    "the person elsewhere in the picture": shifted,
    "drawn glasses": worn("glasses"),
    "drawn sunglasses": worn("sunglasses"),
    "a mask": worn("mask"),
}


def with_second_person(frames: Frames, other: Frames) -> Frames:
    """Paste another clip, a third as large, into the lower right corner."""
    out = []
    for frame, small in zip(frames, [*other, *[other[-1]] * len(frames)], strict=False):
        picture = Image.fromarray(frame)
        width = picture.width // 3
        inset = Image.fromarray(small).resize((width, round(small.shape[0] * width / small.shape[1])))
        picture.paste(inset, (picture.width - width, picture.height - inset.height))
        out.append(np.asarray(picture))
    return out


def film(path: Path, out: Path, *, height: int | None = None, rate_hz: int | None = None, crf: int = 23) -> Path:
    """Encode the first seconds again: x264 at a quality, of another size, of another frame rate."""
    with av.open(str(path)) as reader, av.open(str(out), "w") as writer:
        stream = reader.streams.video[0]
        stream.thread_type = "AUTO"
        given = float(stream.average_rate or 25)
        rate = rate_hz or given
        high = height or stream.codec_context.height
        wide = round(stream.codec_context.width * high / stream.codec_context.height / 2) * 2
        encoder = writer.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        encoder.width, encoder.height, encoder.pix_fmt = wide, high, "yuv420p"
        encoder.options = {"crf": str(crf), "preset": "ultrafast"}
        for number, image in enumerate(at_rate(reader.decode(stream), float(rate))):
            frame = image.reformat(wide, high, "yuv420p")
            frame.pts, frame.time_base = number, 1 / Fraction(rate).limit_denominator(1001)
            writer.mux(encoder.encode(frame))
        writer.mux(encoder.encode())
    return out


def at_rate(frames: Iterator[av.VideoFrame], rate_hz: float) -> Iterator[av.VideoFrame]:
    """Yield the frame shown at each tick of a clock, for the first seconds."""
    tick, last, start = 0, None, None
    for frame in frames:
        start = frame.time if start is None else start
        while last is not None and tick / rate_hz < frame.time - start - 1e-6:
            if tick / rate_hz >= FIRST_S:
                return
            yield last
            tick += 1
        last = frame


FILMS: dict[str, dict[str, int]] = {
    "encoded again, crf 23": {},
    "encoded again, crf 35": {"crf": 35},
    "360p": {"height": 360},
    "1080p": {"height": 1080},
    "2160p": {"height": 2160},
    "10 frames a second": {"rate_hz": 10},
    "60 frames a second": {"rate_hz": 60},
}


def measure(predictor: Predictor, clips: list[Path], num_films: int) -> list[tuple[str, int, float, float, int]]:
    """Return rows: what, clips, mean absolute difference, its 95th percentile, clips without a face then."""
    found: dict[str, list[np.ndarray]] = {}
    lost: dict[str, int] = {}
    previous: Frames | None = None

    def add(name: str, score: Callable[[], np.ndarray], base: np.ndarray) -> None:
        try:
            found.setdefault(name, []).append(np.abs(score() - base))
        except MediaError:
            lost[name] = lost.get(name, 0) + 1

    for number, path in enumerate(clips):
        frames = frames_of(path)
        base = score_frames(predictor, frames)
        whole = score_of(predictor, path)
        add("stills of the film's frames", lambda base=base: base, whole)
        for name, change in PICTURES.items():
            add(name, lambda change=change, frames=frames: score_frames(predictor, [change(f) for f in frames]), base)
        if previous is not None:
            both = with_second_person(frames, previous)
            add("a second, smaller person", lambda both=both: score_frames(predictor, both), base)
        previous = frames
        length_s = Source(path).duration_s
        for name, start_s in (("seconds 4 to 12, not 0 to 8", 4.0), ("the last 7 s, not the first 8", length_s - 7)):
            if length_s >= 11:
                add(name, lambda s=start_s, path=path: score_of(predictor, path, start_s=s, end_s=s + 8), whole)
        if number < num_films:
            with tempfile.TemporaryDirectory() as folder:
                for name, how in FILMS.items():
                    made = film(path, Path(folder) / "film.mp4", **how)
                    add(name, lambda made=made: score_of(predictor, made), whole)
        print(f"{number + 1} of {len(clips)}: {path.name}", flush=True)
    return [
        (name, len(found.get(name, [])), *spread(found.get(name, [])), lost.get(name, 0)) for name in {**found, **lost}
    ]


def spread(differences: list[np.ndarray]) -> tuple[float, float]:
    values = np.array(differences) if differences else np.full((1, 1), np.nan)
    return float(values.mean()), float(np.percentile(values, 95))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="CLIPS")
    parser.add_argument("--bundle", default="face-voice-words")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--films", type=int, default=6)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    clips = sorted(args.folder.glob("*.mp4"))[: args.clips]
    rows = measure(Predictor(args.bundle), clips, args.films)
    lines = ["| what changes | clips | mean difference | 95th percentile | no face found |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {count} | {mean:.4f} | {high:.4f} | {lost} |" for name, count, mean, high, lost in rows]
    text = "\n".join(lines)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
