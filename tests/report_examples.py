"""Predictions as the models make them, for the tests of what people see; the numbers are invented."""

import struct
import zlib

import numpy as np

from thinslice.bundle import Card, Score
from thinslice.traits import TARGETS
from thinslice.types import CueShare, Explanation, Failure, Picture, Prediction, TraitScore, Window, WordShare

BASELINE = {
    "openness": 0.566,
    "conscientiousness": 0.523,
    "extraversion": 0.476,
    "agreeableness": 0.548,
    "neuroticism": 0.520,
    "interview": 0.504,
}
TEXT = (
    "Hi everyone, welcome back to my channel! So today I'm really, really excited, because we are going to "
    "talk about how I taught myself to paint. I um, I didn't know what I was doing at first, and honestly "
    "that was the best part of it."
)
CUES = (
    "loudness",
    "brightness",
    "spectral tilt",
    "breathiness",
    "noisiness",
    "tonality",
    "timbre of vowels",
    "fine timbre",
)
CARD = Card(
    summary="Predicts the apparent Big Five from the first 7 s of the voice and from the transcript.",
    trained_on="6,000 clips, speaker-grouped ten-fold stacking",
    num_training_clips=6000,
    inputs=("voice", "words"),
    licence="CC BY-NC 4.0 (research use)",
    limits=("English only", "adults of 19 to 45 for the most part", "one speaker at a time"),
    r2={"voice+words": 0.247, "voice": 0.221, "words": 0.070},
    scores=(
        Score(clips="folds", inputs="voice+words", accuracy={"average": 0.8968}, r2={"average": 0.247}),
        Score(clips="folds", inputs="voice", accuracy={"average": 0.8951}, r2={"average": 0.221}),
        Score(clips="folds", inputs="words", accuracy={"average": 0.8840}, r2={"average": 0.070}),
    ),
    digests={"annotation_training.pkl": "0f3c" * 16},
    code_version="0.1.0",
    notes={"data": "ChaLearn First Impressions V2, training split: 6,000 clips of English-speaking YouTubers."},
)
CARDS = {"voice-words": CARD}


def words_of(text, rng, targets=TARGETS, scale=0.006):
    words, at = [], 0
    for part in text.split():
        start = text.index(part, at)
        at = start + len(part)
        shares = {target: float(rng.laplace(0, scale)) for target in targets}
        words.append(WordShare(part, start, shares))
    return words


def example(
    clip="talks/anna_painting.mp4",
    *,
    seed=0,
    text=TEXT,
    voice=True,
    targets=TARGETS,
    explain=True,
    pictures=(),
    timeline=(),
    warnings=(),
    bundle="voice-words",
    other_inputs=(),
):
    """A prediction whose shares add up exactly."""
    rng = np.random.default_rng(seed)
    names = [
        name for name, there in (("voice", voice), ("words", bool(text)), *((n, True) for n in other_inputs)) if there
    ]
    words = words_of(text, rng, targets, 0.006 if len(text) < 2000 else 0.0006) if text else []
    cues = [
        CueShare(name, float(rng.uniform(0, 100)), {t: float(rng.normal(0, 0.02)) for t in targets}, source)
        for source in names
        if source != "words"
        for name in CUES[: 8 if source == "voice" else 3]
    ]
    inputs = {}
    for source in names:
        parts = words if source == "words" else [cue for cue in cues if cue.source == source]
        inputs[source] = {t: float(sum(part.shares[t] for part in parts)) for t in targets}
    traits = {}
    for target in targets:
        score = BASELINE[target] + sum(shares[target] for shares in inputs.values())
        half = 0.16 if len(names) > 1 else 0.18
        percentile = float(100 / (1 + np.exp(-(score - BASELINE[target]) / 0.08)))
        traits[target] = TraitScore(score, max(0.0, score - half), min(1.0, score + half), percentile)
    explanation = Explanation({t: BASELINE[t] for t in targets}, inputs, words, cues, pictures)
    return Prediction(
        clip=clip,
        traits=traits,
        used=tuple(names),
        transcript=text or None,
        warnings=tuple(warnings),
        seconds={"decode": 0.031, "voice_profile": 0.048, "speech_to_text": 1.212, "model": 0.002, "total": 1.297},
        bundle={"name": bundle, "version": "1.0"},
        explanation=explanation if explain else None,
        timeline=tuple(timeline),
    )


def windows(count, every_s=15.0, seed=3, silent=(), targets=TARGETS):
    """A timeline that wanders, with silent windows as gaps."""
    rng = np.random.default_rng(seed)
    walk = {target: BASELINE[target] + np.cumsum(rng.normal(0, 0.025, count)) for target in targets}
    result = []
    for index in range(count):
        start = index * every_s
        if index in silent:
            result.append(Window(start, start + every_s, {}, "digital silence"))
            continue
        traits = {}
        for target in targets:
            score = float(np.clip(walk[target][index], 0.05, 0.95))
            traits[target] = TraitScore(score, max(0, score - 0.15), min(1, score + 0.15), 50.0)
        result.append(Window(start, start + every_s, traits))
    return result


def png(width=112, height=112, seed=0):
    """A drawn face-like picture as PNG bytes: no real person."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None]
    face = ((x - 0.5) / 0.33) ** 2 + ((y - 0.52) / 0.43) ** 2 < 1
    eyes = sum(((x - cx) ** 2 + (y - 0.42) ** 2 < 0.0025) for cx in (0.36, 0.64)) > 0
    mouth = (abs(y - 0.72 - 0.15 * (x - 0.5) ** 2) < 0.02) & (abs(x - 0.5) < 0.17)
    image = np.zeros((height, width, 3), np.uint8) + np.array([70 + 10 * (seed % 5), 90, 110], np.uint8)
    image[face] = (214, 178, 150)
    image[eyes | mouth] = (60, 40, 40)
    raw = b"".join(b"\0" + row.tobytes() for row in image)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def faces():
    """What bimodal shows: six aligned faces and a map."""
    frames = [
        Picture(f"face at {seconds:.1f} s", png(seed=index))
        for index, seconds in enumerate((1.2, 3.8, 6.3, 8.9, 11.4, 14.0))
    ]
    return [*frames, Picture("where hiding the face changes the mean of the five scores most", png(224, 224))]


FAILURES = [
    Failure("talks/broken.mp4", "talks/broken.mp4: truncated file; copy it again"),
    Failure("talks/silent.wav", "talks/silent.wav: digital silence; check the recording"),
]
