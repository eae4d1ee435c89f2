"""Learn to tell drawn faces from filmed ones, and count the errors.

    python benchmarks/drawn_faces.py PORTRAITS PLANTED [--num 600] [--count]

PORTRAITS holds the zip files of First Impressions' portraits, PLANTED planted clips of both styles (`thinslice data
planted --style shaded`, `--style sketch`). Every second portrait is held back for counting. Writes
``src/thinslice/features/drawn_faces.npz``. With ``--count`` it fits and writes nothing, and counts with what is there.
"""

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from thinslice.features.drawn_faces import LIMIT, WEIGHTS, describe_texture
from thinslice.features.face_light import load_light_detector
from thinslice.features.face_portraits import cut_portrait, extract_face_portraits
from thinslice.media.source import Source

STYLES = ("cartoon", "stylised", "pencil", "poster")


def draw(face: np.ndarray, style: str, rng: np.random.Generator) -> np.ndarray:
    """Turn a picture of a face into a drawing, and encode it as video would."""
    image = np.ascontiguousarray(face[..., ::-1])
    if style == "cartoon":
        flat = cv2.bilateralFilter(cv2.bilateralFilter(image, 9, 60, 60), 9, 60, 60)
        steps = int(rng.integers(5, 12))
        flat = (np.round(flat / 255.0 * steps) / steps * 255).astype(np.uint8)
        grey = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 5)
        lines = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 4)
        drawn = cv2.bitwise_and(flat, flat, mask=lines)
    elif style == "stylised":
        drawn = cv2.stylization(image, sigma_s=60, sigma_r=0.3)
    elif style == "pencil":
        drawn = cv2.pencilSketch(image, sigma_s=60, sigma_r=0.07, shade_factor=0.05)[int(rng.integers(2))]
    else:
        pixels = image.reshape(-1, 3).astype(np.float32)
        count = int(rng.integers(5, 10))
        _, nearest, colours = cv2.kmeans(pixels, count, None, (3, 6, 1.0), 1, cv2.KMEANS_PP_CENTERS)
        drawn = cv2.medianBlur(colours[nearest.ravel()].reshape(image.shape).astype(np.uint8), 5)
    drawn = cv2.cvtColor(drawn, cv2.COLOR_GRAY2BGR) if drawn.ndim == 2 else drawn
    _, encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 95))])
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


def load_faces(folder: Path, num: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the aligned faces of portraits drawn at random."""
    detector = load_light_detector()
    archives = [zipfile.ZipFile(path) for path in sorted(folder.glob("*.zip"))]
    names = [(archive, name) for archive in archives for name in archive.namelist() if name.endswith(".jpg")]
    for index in rng.permutation(len(names))[:num]:
        archive, name = names[index]
        picture = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
        for face in detector.find(picture)[:1]:
            yield cut_portrait(picture, face)


def main() -> None:
    """Fit, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("planted", type=Path)
    parser.add_argument("--num", type=int, default=600)
    parser.add_argument("--count", action="store_true")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    faces = list(load_faces(given.portraits, given.num, rng))
    real = np.array([describe_texture(face) for face in faces])
    drawn = {
        style: np.array([describe_texture(draw(faces[i], style, rng)) for i in rng.choice(len(faces), given.num // 12)])
        for style in STYLES
    }
    clips = sorted(given.planted.rglob("*.mp4"))
    drawn["planted"] = np.array(
        [describe_texture(face) for clip in clips for face in extract_face_portraits(Source(clip))]
    )
    if given.count:
        with np.load(WEIGHTS) as file:
            count(real, drawn, file["slope"], float(file["offset"]))
        return
    kept = np.arange(len(real)) % 2 == 0
    scaler = StandardScaler().fit(real[kept])
    rows = np.concatenate([real[kept], *drawn.values()])
    is_drawn = np.arange(len(rows)) >= kept.sum()
    weights = np.concatenate(
        [np.full(kept.sum(), 1 / kept.sum())] + [np.full(len(d), 0.2 / len(d)) for d in drawn.values()]
    )
    model = LogisticRegression(C=0.1, max_iter=2000)
    model.fit(scaler.transform(rows), is_drawn, sample_weight=weights * len(rows))
    slope = model.coef_[0] / scaler.scale_
    offset = float(model.intercept_[0] - slope @ scaler.mean_)
    np.savez(WEIGHTS, slope=slope, offset=np.array(offset))
    count(real[~kept], drawn, slope, offset)


def count(real: np.ndarray, drawn: dict[str, np.ndarray], slope: np.ndarray, offset: float) -> None:
    """Print the log-odds of real faces (n, d) and of drawn ones, and how many would be reported."""
    for name, described in {"real": real, **drawn}.items():
        odds = described @ slope + offset
        shares = f"median {np.median(odds):.2f}, from {odds.min():.2f} to {odds.max():.2f}"
        print(f"{name}, {len(odds)}: {shares}, reported: {(odds > LIMIT).sum()}")


if __name__ == "__main__":
    main()
