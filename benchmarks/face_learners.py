"""Compares learners of face-voice-words without fitting any twice: each clip is left out in closed form.

    python benchmarks/face_learners.py DATA DESCRIPTORS

DATA is the folder of `thinslice.voice_words.trainer.FILES`, DESCRIPTORS the file that the trainer of face-voice-words
keeps what it saw in. "Unseen": a clip is predicted from all clips of other speakers; "seen": from all other clips. The
radial kernel stands on every clip here, not on means of at least three as in what ships, and on the whole descriptor.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.linalg import lapack

from thinslice.evaluate.metrics import accuracy, r2
from thinslice.face_voice_words.descriptor import BLOCKS
from thinslice.face_voice_words.trainer import FaceVoiceWordsSettings
from thinslice.traits import TRAITS
from thinslice.voice_words.additive import kernel_of
from thinslice.voice_words.trainer import fit_voice_part, fit_words_parts, load_training_data


def main() -> None:
    data = load_training_data(Path(sys.argv[1]))
    with np.load(sys.argv[2]) as file:
        descriptors, counts = file["descriptors"], file["counts"]
    has_voice = np.isfinite(data.voice).all(axis=1)
    has_words = np.array([bool(words) for words in data.words])
    rows = np.flatnonzero(has_voice & has_words & (counts > 0))
    settings = FaceVoiceWordsSettings()
    blocks = block_kernels(descriptors, rows)
    _, parts = fit_voice_part(data.voice, has_voice, settings.spoken, 0)
    _, words = fit_words_parts(data, has_words, settings.spoken, 0)
    scales = {"voice": 1.0, **settings.spoken.scales}
    heard = {
        name: scales[name] * kernel_of(part.features)[np.ix_(rows, rows)] for name, part in (parts | words).items()
    }
    spoken = np.sum(list(heard.values()), axis=0)
    labels, speakers = data.labels[rows], data.speakers[rows]
    ways = {
        "as chosen": settings,
        "linear alone": replace(settings, linear=2.0, radial=0.0),
        "radial alone": replace(settings, linear=0.0, radial=3.0),
        "wider bumps, gamma 0.7": replace(settings, gamma=0.7),
        "narrower bumps, gamma 3": replace(settings, gamma=3.0),
        "noise shared by a speaker 0.15": replace(settings, speaker_noise=0.15),
        "no noise shared by a speaker": replace(settings, speaker_noise=0.0),
        "all blocks alike": replace(settings, blocks=dict.fromkeys(BLOCKS, 1.0)),
        **{f"without {name}": replace(settings, blocks={**settings.blocks, name: 0.0}) for name in BLOCKS},
    }
    for name, way in ways.items():
        face = face_kernel(blocks, way)
        for mode, kernel in (("face", face), ("face+voice+words", face + spoken)):
            found = leave_out(kernel, labels, speakers, way.noise[mode], way.speaker_noise)
            report(f"{name:34s} {mode:17s}", labels, found)


def block_kernels(descriptors: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return block -> inner products (n, n) of its standardised numbers, 1 on average on the diagonal."""
    result = {}
    for name, (start, end) in zip(BLOCKS, pairwise(np.cumsum([0, *BLOCKS.values()])), strict=True):
        block = descriptors[rows, start:end].astype(np.float32)
        block = (block - block.mean(axis=0)) / (block.std(axis=0) + np.float32(1e-6))
        kernel = block @ block.T
        result[name] = kernel / np.diag(kernel).mean()
    return result


def face_kernel(blocks: Mapping[str, np.ndarray], way: FaceVoiceWordsSettings) -> np.ndarray:
    total = sum(way.blocks.values())
    linear = np.sum([np.float32(way.blocks[name] / total) * kernel for name, kernel in blocks.items()], axis=0)
    length = np.diag(linear)
    distances = np.maximum(length[:, None] + length[None] - 2 * linear, 0)
    return np.float32(way.linear) * linear + np.float32(way.radial) * np.exp(-way.gamma * distances / distances.mean())


def leave_out(
    kernel: np.ndarray, labels: np.ndarray, speakers: np.ndarray, noise: float, shared: float
) -> dict[str, np.ndarray]:
    """Return predictions (n, t) of each clip without its speaker's clips, and without the clip alone.

    Rasmussen and Williams 2006, section 5.4.2, by blocks. The constant has a wide prior.
    """
    same = speakers[:, None] == speakers[None]
    covariance = kernel + np.float32(3.0) + np.float32(noise * shared) * same
    covariance[np.diag_indices(len(labels))] += np.float32(noise * (1 - shared))
    factor, _ = lapack.spotrf(np.asfortranarray(covariance, np.float32), lower=1, overwrite_a=1)
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    duals = inverse @ (labels - labels.mean(axis=0)).astype(np.float32)
    found = {"unseen": np.zeros_like(labels), "seen": np.zeros_like(labels)}
    for speaker in np.unique(speakers):
        clips = np.flatnonzero(speakers == speaker)
        inner = inverse[np.ix_(clips, clips)].astype(np.float64)
        found["unseen"][clips] = labels[clips] - np.linalg.solve(inner, duals[clips])
        own = np.diag(inner)[:, None]
        found["seen"][clips] = labels[clips] - duals[clips] / own
        # What the other clips say of the speaker alone is noise to the model, and no part of its prediction.
        others = np.array([duals[clips] - inner[:, [k]] * (duals[clips[k]] / own[k]) for k in range(len(clips))])
        others[np.arange(len(clips)), np.arange(len(clips))] = 0
        found["seen"][clips] -= noise * shared * others.sum(axis=1)
    return found


def report(name: str, labels: np.ndarray, found: Mapping[str, np.ndarray]) -> None:
    traits = slice(0, len(TRAITS))
    figures = [
        f"{way} {accuracy(labels, scores)[traits].mean():.4f} / {r2(labels, scores)[traits].mean():.3f}"
        for way, scores in found.items()
    ]
    print(name, *figures, sep="  ", flush=True)


if __name__ == "__main__":
    main()
