"""Trains the bundled model ``face-voice-words`` from the training clips of First Impressions V2.

One command: ``python -m thinslice.face_voice_words.trainer DATA PORTRAITS NETWORKS --out DIR``. DATA holds the files of
`thinslice.voice_words.trainer.FILES`, PORTRAITS the zip files of the clips' portraits, NETWORKS the two networks that
`thinslice.face_voice_words.make_networks` makes. The same data, seed and machine give the same bytes.

The learner, chosen by cross-validation with speakers apart (``docs/bundled-model.md`` has what was tried, with the
losers), is the one of voice-words with one part more: a Gaussian process per target with an additive kernel, in closed
form, whose noise is a clip's own plus one that all clips of a speaker share. The face's part is a linear kernel on the
descriptor of `thinslice.face_voice_words.descriptor` plus a radial one on its main directions.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.bundle import load_bundle
from thinslice.face_voice_words.card import write_bundle
from thinslice.face_voice_words.descriptor import BLOCKS, FaceDescriber
from thinslice.face_voice_words.model import MODES
from thinslice.face_voice_words.portraits import look_at_portraits
from thinslice.traits import TARGETS
from thinslice.voice_words.additive import blur_small, cluster_means, fit_additive, kernel_of, nystrom_basis
from thinslice.voice_words.trainer import (
    Part,
    TrainingData,
    VoiceWordsSettings,
    fit_voice_part,
    fit_words_parts,
    load_training_data,
)
from thinslice.voice_words.voice_function import bumps

_NOISE: Final = {
    "face+voice+words": 3.0,
    "face+voice": 2.7,
    "face+words": 2.3,
    "voice+words": 2.4,
    "face": 2.0,
    "voice": 1.8,
    "words": 2.0,
}


@dataclass(frozen=True, kw_only=True)
class FaceVoiceWordsSettings:
    """What was chosen by cross-validation with speakers apart; see ``docs/bundled-model.md``.

    Attributes:
        blocks: block of the descriptor -> how much it counts; they are divided by their sum.
        linear: prior variance of the face's linear part.
        radial: prior variance of its bumps.
        num_directions: main directions of the descriptor that the bumps see.
        num_centres: of the bumps.
        gamma: the bump around a centre is exp(-gamma * mean squared difference / the mean over all pairs of clips).
        min_clips_per_centre: of how many clips a centre must at least be the mean, so that none is a clip's own face.
        noise: mode -> noise variance, on the same scale.
        speaker_noise: part of the noise that all clips of a speaker share, in modes with a face.
        spoken: what voice and words are described by, their prior variances, and the shared noise without a face,
            as in voice-words.
    """

    blocks: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(BLOCKS, 1.0) | {"face_pooled": 3.0})
    linear: float = 0.5
    radial: float = 2.5
    num_directions: int = 256
    num_centres: int = 2000
    gamma: float = 1.6
    min_clips_per_centre: int = 3
    noise: Mapping[str, float] = field(default_factory=lambda: dict(_NOISE))
    speaker_noise: float = 0.05
    spoken: VoiceWordsSettings = field(default_factory=VoiceWordsSettings)

    def shared_noise(self, mode: str) -> float:
        """Return the part of a mode's noise that all clips of a speaker share."""
        return self.speaker_noise if "face" in mode.split("+") else self.spoken.speaker_noise


@dataclass(frozen=True)
class Fitted:
    """All that is needed to fit any mode on any of the clips.

    Attributes:
        arrays: those of ``weights.npz`` that need no labels.
        parts: name of a part of the kernel -> its features.
        scales: name -> prior variance.
        there: input -> bool (n,), whether a clip has it.
    """

    arrays: dict[str, np.ndarray]
    parts: Mapping[str, Part]
    scales: Mapping[str, float]
    there: Mapping[str, np.ndarray]

    @cached_property
    def kernels(self) -> dict[str, np.ndarray]:
        """Each part's inner products of all clips, (n, n), float32."""
        return {name: kernel_of(part.features) for name, part in self.parts.items()}

    def names(self, mode: str) -> list[str]:
        """Return the parts that a mode sums over."""
        of_input = {"face": ("face",), "voice": ("voice",), "words": tuple(self.scales.keys() - {"face", "voice"})}
        return sorted(name for used in mode.split("+") for name in of_input[used])

    def rows(self, mode: str) -> np.ndarray:
        """Return the numbers of the clips that have all inputs of a mode."""
        return np.flatnonzero(np.logical_and.reduce([self.there[used] for used in mode.split("+")]))


def prepare(
    data: TrainingData, descriptors: np.ndarray, counts: np.ndarray, settings: FaceVoiceWordsSettings, seed: int
) -> Fitted:
    """Compute what needs no labels, on all clips.

    Args:
        data: labels, voices and transcripts.
        descriptors: float (n, sum of `BLOCKS`), of the faces.
        counts: int (n,), number of pictures that each row is the mean of; 0 where there is no face.
        settings: what was chosen.
        seed: of the clustering.
    """
    has_voice = np.isfinite(data.voice).all(axis=1)
    has_words = np.array([bool(words) for words in data.words])
    arrays, parts = fit_face_part(descriptors, counts > 0, settings, seed)
    for more_arrays, more_parts in (
        fit_voice_part(data.voice, has_voice, settings.spoken, seed),
        fit_words_parts(data, has_words, settings.spoken, seed),
    ):
        arrays |= more_arrays
        parts |= more_parts
    there = {"face": counts > 0, "voice": has_voice, "words": has_words}
    return Fitted(arrays, parts, {"face": 1.0, "voice": 1.0, **settings.spoken.scales}, there)


def fit_face_part(
    descriptors: np.ndarray, has_face: np.ndarray, settings: FaceVoiceWordsSettings, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Part]]:
    """Return the face's arrays of ``weights.npz`` that need no labels, and its features, as a part "face".

    The features are the scaled descriptor, then the bumps on its main directions.
    """
    mean, scale = _scaling(descriptors, has_face, settings.blocks)
    scaled = (descriptors.astype(np.float32) - mean) * scale
    scaled[~has_face] = 0
    basis, steps = _main_directions(scaled[has_face], settings.num_directions, seed)
    directions = (scaled @ basis.astype(np.float32)) * steps
    # The bumps' width is relative to how far apart two clips are on average.
    seen = directions[has_face].astype(np.float64)
    gamma = settings.gamma * seen.shape[1] / (2 * seen.var(axis=0).sum())
    centres, sizes = cluster_means(seen, settings.num_centres, seed)
    centres = blur_small(centres, sizes, seen, settings.min_clips_per_centre).astype(np.float16)
    near = nystrom_basis(centres.astype(np.float64), gamma) * np.sqrt(settings.radial)
    radial = bumps(directions.astype(np.float64), centres.astype(np.float64), gamma) @ near
    arrays = {
        "face_mean": mean,
        "face_scale": scale,
        "face_basis": basis,
        "face_basis_steps": steps,
        "face_centres": centres,
        "face_gamma": np.array(gamma),
    }
    features = np.hstack([scaled * np.float32(np.sqrt(settings.linear)), radial.astype(np.float32)])
    return arrays, {"face": Part(features, (near,))}


def _scaling(
    descriptors: np.ndarray, has_face: np.ndarray, blocks: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scale (d,), float32, that give block b the mean squared length blocks[b] / sum(blocks).

    Within a block every number counts alike.
    """
    mean = np.zeros(descriptors.shape[1], np.float32)
    scale = np.zeros(descriptors.shape[1], np.float32)
    total = sum(blocks.values())
    for name, (start, end) in zip(BLOCKS, pairwise(np.cumsum([0, *BLOCKS.values()])), strict=True):
        block = descriptors[has_face, start:end].astype(np.float32)
        mean[start:end] = block.mean(axis=0)
        deviation = block.std(axis=0)
        own = 1 / (deviation + np.float32(1e-6))
        length = ((deviation * own) ** 2).sum()
        scale[start:end] = own * np.sqrt(blocks[name] / total / length)
    return mean, scale


def _main_directions(scaled: np.ndarray, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the main directions of rows (n, d) as int8 (d, number), and the unit of each, float32 (number,)."""
    from sklearn.utils.extmath import randomized_svd

    centred = scaled - scaled.mean(axis=0)
    _, _, found = randomized_svd(centred, number, n_oversamples=16, n_iter=3, random_state=seed)
    steps = np.abs(found).max(axis=1) / 127
    return np.round(found / steps[:, None]).astype(np.int8).T, steps.astype(np.float32)


def fit_arrays(data: TrainingData, fitted: Fitted, settings: FaceVoiceWordsSettings) -> dict[str, np.ndarray]:
    """Fit every mode on all clips that have its inputs, and return the arrays of ``weights.npz``."""
    arrays = dict(fitted.arrays)
    baselines = []
    for mode in MODES:
        rows, names = fitted.rows(mode), fitted.names(mode)
        constant, duals = fit_additive(
            {name: fitted.kernels[name][np.ix_(rows, rows)] for name in names},
            data.labels[rows],
            data.speakers[rows],
            fitted.scales,
            settings.noise[mode],
            settings.shared_noise(mode),
        )
        for name in names:
            constant = constant + _add_part(arrays, fitted, settings, mode, name, rows, duals)
        baselines.append(constant)
    arrays["baseline"] = np.stack(baselines)
    return arrays


def _add_part(
    arrays: dict[str, np.ndarray],
    fitted: Fitted,
    settings: FaceVoiceWordsSettings,
    mode: str,
    name: str,
    rows: np.ndarray,
    duals: np.ndarray,
) -> np.ndarray:
    """Add one part's arrays of one mode; return what it is worth on average, (6,), which goes to the baseline."""
    part = fitted.parts[name]
    features = part.features[rows]
    weights = fitted.scales[name] * (features.T @ duals)
    centre = np.asarray((features @ weights).mean(axis=0))
    if name == "face":
        size = len(arrays["face_mean"])
        linear = weights[:size] * np.sqrt(settings.linear)
        arrays[f"face_linear:{mode}"] = linear.astype(np.float16)
        arrays[f"face_bumps:{mode}"] = (part.bases[0] @ weights[size:]).astype(np.float32)
        # What centring leaves out: the descriptor's own mean is zero already.
        arrays[f"face_offset:{mode}"] = -centre
    elif name == "voice":
        centre = np.zeros(len(TARGETS))
        for width, found in enumerate(part.bumps(weights)):
            arrays[f"voice_bumps{width}:{mode}"] = found.astype(np.float32)
            near = bumps(arrays["background"], arrays[f"voice_centres{width}"], arrays["voice_gammas"][width])
            centre = centre + arrays["background_weights"] @ near @ found
        arrays[f"voice_offset:{mode}"] = -centre
    elif name == "pace":
        arrays[f"pace_bumps:{mode}"] = part.bumps(weights)[0]
        arrays[f"pace_offset:{mode}"] = -centre
    else:
        arrays[f"{name}_weights:{mode}"] = weights.astype(np.float16)
        arrays[f"words_offset:{mode}"] = arrays.get(f"words_offset:{mode}", np.zeros(len(TARGETS))) - centre
    return centre


def cross_predict(
    data: TrainingData, fitted: Fitted, folds: np.ndarray, settings: FaceVoiceWordsSettings
) -> dict[str, np.ndarray]:
    """Return, for every mode, the predictions (n, 6) of each clip by a model that was fitted on the other folds.

    What needs no labels (scaling, centres, frequencies of n-grams) comes from all clips. Rows are NaN where the clip
    lacks an input of the mode.
    """
    result = {}
    for mode in MODES:
        weighed = [np.float32(fitted.scales[name]) * fitted.kernels[name] for name in fitted.names(mode)]
        total = np.sum(weighed, axis=0)
        scores = np.full(data.labels.shape, np.nan)
        there = fitted.rows(mode)
        for fold in range(int(folds.max()) + 1):
            held, others = there[folds[there] == fold], there[folds[there] != fold]
            constant, duals = fit_additive(
                {"all": total[np.ix_(others, others)]},
                data.labels[others],
                data.speakers[others],
                {"all": 1.0},
                settings.noise[mode],
                settings.shared_noise(mode),
            )
            scores[held] = np.clip(constant + total[np.ix_(held, others)] @ duals, 0.0, 1.0)
        result[mode] = scores
    return result


def train(
    data_dir: Path,
    portraits: Path,
    networks: Path,
    out_dir: Path,
    *,
    settings: FaceVoiceWordsSettings | None = None,
    seed: int = 0,
    num_folds: int = 5,
    descriptors: Path | None = None,
    kept_scores: Path | None = None,
) -> Path:
    """Train the model, calibrate its intervals, and write the bundle.

    Args:
        data_dir: folder with `thinslice.voice_words.trainer.FILES`.
        portraits: folder with the zip files of portraits.
        networks: folder with ``face.onnx`` and ``picture.onnx``.
        out_dir: the bundle's folder; made if need be.
        settings: None for those that were chosen.
        seed: of the clustering and the folds.
        num_folds: of the cross-validation that intervals and the card's figures come from.
        descriptors: a file where the faces' descriptors are kept, or are found if it is there: looking takes an hour.
        kept_scores: npz file for each clip's scores by a model that has not seen its speaker.

    Returns:
        `out_dir`.

    Raises:
        ManifestError: a file of the data is missing or not what its name says.
    """
    settings = settings or FaceVoiceWordsSettings()
    data = load_training_data(data_dir)
    rows, counts = _descriptors(data, portraits, networks, descriptors)
    fitted = prepare(data, rows, counts, settings, seed)
    arrays = fit_arrays(data, fitted, settings)
    return write_bundle(
        out_dir,
        networks,
        data,
        portraits,
        arrays,
        settings,
        seed,
        num_folds,
        lambda folds: cross_predict(data, fitted, folds, settings),
        kept_scores,
    )


def _descriptors(
    data: TrainingData, portraits: Path, networks: Path, kept: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    if kept is not None and kept.is_file():
        with np.load(kept) as file:
            return file["descriptors"], file["counts"]
    rows, counts = look_at_portraits(sorted(portraits.glob("*.zip")), data.clips, FaceDescriber(networks))
    if kept is not None:
        np.savez(kept, descriptors=rows, counts=counts)
    return rows, counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the trainer from the command line."""
    parser = argparse.ArgumentParser(description="Train the bundle face-voice-words.")
    parser.add_argument("data", type=Path, help="folder with labels, transcripts and voice profiles")
    parser.add_argument("portraits", type=Path, help="folder with the zip files of portraits")
    parser.add_argument("networks", type=Path, help="folder with face.onnx and picture.onnx")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--descriptors", type=Path, help="npz file to keep what was seen in, or to take it from")
    parser.add_argument("--scores", type=Path, help="npz file for each clip's scores, its speaker unseen")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    folder = train(
        given.data,
        given.portraits,
        given.networks,
        given.out,
        seed=given.seed,
        descriptors=given.descriptors,
        kept_scores=given.scores,
    )
    for score in load_bundle(folder).card.scores:
        averages = f"accuracy {score.accuracy['average']:.4f}  R2 {score.r2['average']:.4f}"
        print(f"{score.inputs:17s} {averages}  {score.clips}")
    print(folder)


if __name__ == "__main__":
    main()
