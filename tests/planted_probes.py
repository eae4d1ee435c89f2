"""Simple features of planted clips, one set for each input, and a ridge regression that shows what each tells."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter
from scipy.signal import fftconvolve
from scipy.special import ndtri

from thinslice.data.manifest import Manifest
from thinslice.data.planted.drawing import Appearance, Expression, draw_person, render
from thinslice.data.planted.words import COLD, WARM
from thinslice.features.faces import extract_aligned_faces
from thinslice.media.source import Source
from thinslice.traits import TRAITS

INPUTS = {
    "scene": "openness",
    "time": "conscientiousness",
    "face": "extraversion",
    "text": "agreeableness",
    "sound": "neuroticism",
}
"""Probe -> the trait that it should tell of."""

FRAME_RATE_HZ = 10
SOUND_RATE_HZ = 16_000


def probe_features(manifest: Manifest, with_faces: bool = True) -> dict[str, np.ndarray]:
    """Return probe -> float64 (clips, features); "one_frame" is a picture of one moment, which tells of no motion.

    Args:
        manifest: of planted clips.
        with_faces: whether to find faces, which needs the landmarker.
    """
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("scene", "time", "sound", "one_frame")}
    if with_faces:
        rows["face"] = []
    eyes = eye_template(128)
    for index in range(len(manifest)):
        source = Source(manifest.path(index))
        times = np.arange(int(source.duration_s * FRAME_RATE_HZ)) / FRAME_RATE_HZ
        frames = np.stack([frame.image for frame in source.frames(times)]).astype(np.float32)
        rows["scene"].append(scene(frames))
        rows["time"].append(motion(find_eyes(frames[::2], eyes)))
        if with_faces:
            rows["face"].append(mouth(source))
        rows["sound"].append(sound(source.audio(SOUND_RATE_HZ)))
        rows["one_frame"].append(thumbnail(frames[len(frames) // 2]))
    features = {name: np.array(values, float) for name, values in rows.items()}
    features["text"] = cue_words(manifest)
    features["bag_of_words"] = word_counts(manifest)
    return features


def scene(frames: np.ndarray) -> np.ndarray:
    """Mean colour at the left and right edge."""
    edges = np.concatenate([frames[:, :, :6], frames[:, :, -6:]], axis=2)
    return edges.mean(axis=(0, 1, 2))


def motion(places: np.ndarray) -> np.ndarray:
    """Logarithm of how far the eyes move from side to side, of where they are found in each picture (n, 2)."""
    low, high = np.quantile(places[:, 1], [0.15, 0.85])  # The eyes are not found where they are shut.
    return np.log([high - low + 0.3])


def eye_template(height: int) -> np.ndarray:
    """A pair of eyes as most people have it, zero mean, at the size it has in a picture of that height."""
    light = Appearance(clothes=(90.0,) * 3, chair=(120.0,) * 3, light=0.0, ambience=0.6)
    head_px = 0.295 * height
    side = int(2 * head_px)
    people = [draw_person(np.random.default_rng(seed)) for seed in range(8)]
    faces = [
        render(person, light, {0: Expression()}, (side, side), (side / 2, side / 2), head_px)[0][..., :3].mean(axis=-1)
        for person in people
    ]
    middle, half = side // 2, int(0.52 * head_px)
    eyes = np.mean([(face - face.mean()) / face.std() for face in faces], axis=0)
    eyes = eyes[middle - int(0.42 * head_px) : middle + int(0.1 * head_px), middle - half : middle + half]
    return eyes - eyes.mean()


def find_eyes(frames: np.ndarray, eyes: np.ndarray, reach: int = 16) -> np.ndarray:
    """Where a template fits best in each picture, by normalised correlation, near where it fits best in all.

    Args:
        frames: (n, height, width, 3).
        eyes: the template.
        reach: how far from the common place it may be, pixels to each side.

    Returns:
        (n, 2): y and x of its upper left corner, x between pixels.
    """
    height = frames.shape[1]
    grey = frames[:, round(0.2 * height) : round(0.65 * height)].mean(axis=-1)
    size = (1, *eyes.shape)
    mean, mean_square = uniform_filter(grey, size), uniform_filter(grey**2, size)
    top, left = eyes.shape[0] // 2, eyes.shape[1] // 2
    spread = np.sqrt(np.maximum(mean_square - mean**2, 4.0))
    score = fftconvolve(grey, eyes[None, ::-1, ::-1], mode="same", axes=(1, 2)) / spread
    score = score[:, top:-top, left:-left]
    y, x = np.unravel_index(int(maximum_filter(score, (1, 3, 2 * reach + 1)).mean(axis=0).argmax()), score.shape[1:])
    low_x = max(x - reach, 1)
    window = score[:, max(y - 2, 0) : y + 3, low_x : min(x + reach + 1, score.shape[2] - 1)]
    places = []
    for fit, whole in zip(window, score, strict=True):
        row, column = np.unravel_index(int(fit.argmax()), fit.shape)
        row, column = row + max(y - 2, 0), column + low_x
        before, here, after = whole[row, column - 1 : column + 2]
        places.append((row, column + 0.5 * (before - after) / (before - 2 * here + after - 1e-9)))
    return np.array(places)


def mouth(source: Source) -> np.ndarray:
    """The lower half of the aligned face: grey, mean over four pictures and both sides, in 14 by 16 blocks."""
    faces = extract_aligned_faces(source, num_parts=4, draws=1)[0].astype(np.float32)
    patch = faces.mean(axis=(0, 3))[70:112, 24:88]
    patch = (patch - patch.mean()) / patch.std()
    half = (patch + patch[:, ::-1])[:, :32]
    return half.reshape(14, 3, 16, 2).mean(axis=(1, 3)).ravel()


def sound(samples: np.ndarray) -> np.ndarray:
    """Median pitch (octaves) by autocorrelation, and level (dB)."""
    size, hop = 1024, 512
    starts = range(0, len(samples) - size, hop)
    levels = np.array([np.mean(samples[s : s + size] ** 2) for s in starts])
    pitches = []
    for start, level in zip(starts, levels, strict=True):
        if level < np.quantile(levels, 0.6):
            continue
        piece = samples[start : start + size] - samples[start : start + size].mean()
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(size), 2 * size)) ** 2
        likeness = np.fft.irfft(spectrum)[: size // 2]
        low, high = SOUND_RATE_HZ // 330, SOUND_RATE_HZ // 75
        pitches.append(SOUND_RATE_HZ / (low + np.argmax(likeness[low:high])))
    return np.array([np.log2(np.median(pitches)), 10 * np.log10(np.mean(samples**2))])


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """One picture, 12 by 8 blocks."""
    bands = np.array_split(frame, 8)
    return np.array([part.mean(axis=(0, 1)) for band in bands for part in np.array_split(band, 12, axis=1)]).ravel()


def cue_words(manifest: Manifest) -> np.ndarray:
    """Share of warm words among the cue words of each transcript, made normal as the cue is."""
    counts = np.array([
        [sum(word in words for word in text.lower().replace(".", "").split()) for words in (WARM, COLD)]
        for text in manifest.column("transcript")
    ])  # fmt: skip
    return ndtri((counts[:, :1] + 0.5) / (counts.sum(axis=1, keepdims=True) + 1))


def word_counts(manifest: Manifest) -> np.ndarray:
    """How often each word comes in each transcript."""
    texts = [text.lower().replace(".", "").split() for text in manifest.column("transcript")]
    words = sorted({word for text in texts for word in text})
    counts = [Counter(text) for text in texts]
    return np.array([[count[word] for word in words] for count in counts], float)


def ridge_r2(features: np.ndarray, labels: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Fit on some clips, predict others: R² of each column of labels over all clips predicted.

    Args:
        features: (n, f).
        labels: (n, t).
        parts: (row numbers to fit on, row numbers to predict), one or more.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    error = np.zeros(labels.shape[1])
    spread = np.zeros(labels.shape[1])
    for train, test in parts:
        scaler = StandardScaler().fit(features[train])
        for k, column in enumerate(labels.T):
            model = RidgeCV(np.logspace(-1, 4, 11)).fit(scaler.transform(features[train]), column[train])
            error[k] += ((column[test] - model.predict(scaler.transform(features[test]))) ** 2).sum()
            spread[k] += ((column[test] - column[test].mean()) ** 2).sum()
    return 1 - error / spread


def official_parts(manifest: Manifest) -> list[tuple[np.ndarray, np.ndarray]]:
    """Train and validation against test, whose speakers are in neither."""
    splits = manifest.column("split")
    return [(np.flatnonzero(splits != "test"), np.flatnonzero(splits == "test"))]


def speaker_folds(manifest: Manifest, num_folds: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    """All clips once, no speaker in both parts: for small corpora."""
    from sklearn.model_selection import GroupKFold

    return list(GroupKFold(num_folds).split(manifest.clips, groups=manifest.speakers))


def probe_table(
    manifest: Manifest, features: Mapping[str, np.ndarray], parts: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, dict[str, float]]:
    """Return probe -> trait -> R² on speakers that the probe was not fitted on."""
    labels = manifest.labels(TRAITS)
    return {
        name: dict(zip(TRAITS, ridge_r2(values, labels, parts).round(3).tolist(), strict=True))
        for name, values in features.items()
    }


def landmarked_share(paths: list[Path]) -> float:
    """In how many of some files' middle frames the landmarker finds exactly one face."""
    from thinslice.features.face_detect import find_faces_in_image

    found = 0
    for path in paths:
        source = Source(path)
        frame = next(source.frames([source.duration_s / 2]))
        found += len(find_faces_in_image(frame.image, "landmarker", ())) == 1
    return found / len(paths)
