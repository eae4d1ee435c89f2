"""Trains the bundled model ``voice-words`` from the labels, transcripts and voice profiles of First Impressions V2.

One command: ``python -m thinslice.voice_words.trainer DATA --out DIR``, where DATA holds ``annotation_training.pkl``,
``transcription_training.pkl`` and ``voice_profile_train.csv``. The same data, seed and machine give the same bytes.

The learner, chosen by speaker-grouped cross-validation (``docs/bundled-model.md`` has what was tried, with the losers):
one Gaussian process per target with an additive kernel, fitted in closed form. Its parts are a radial kernel on the
voice profile, a radial kernel on the pace of speech, and linear kernels on tf-idf n-grams. Its noise is a clip's own
plus one shared by all clips of a speaker, so that a voice heard in five clips does not count as five people. What it
gives is linear in features, so the words' part is exact per word.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.arrays import format_arrays
from thinslice.bundle import (
    TRANSCRIPT,
    TRANSCRIPT_INPUT,
    BundleDocument,
    BundleInput,
    Card,
    load_bundle,
    save_bundle,
)
from thinslice.features.spec import FeatureSpec
from thinslice.traits import TARGETS
from thinslice.voice_words.additive import blur_small, cluster_means, fit_additive, kernel_of, nystrom_basis, tfidf
from thinslice.voice_words.conformal import conformal_offsets
from thinslice.voice_words.model import MODES, VoiceWords, build_voice_words
from thinslice.voice_words.spoken_words import count_ngrams, pace, split_words
from thinslice.voice_words.text_function import Z_LIMIT as PACE_LIMIT
from thinslice.voice_words.text_function import pack_grams
from thinslice.voice_words.training_card import digest_of_sources, label_percentiles, training_card
from thinslice.voice_words.training_data import FILES, TrainingData, load_training_data
from thinslice.voice_words.voice_cues import CUES, level_directions
from thinslice.voice_words.voice_function import Z_LIMIT, bumps, transform

NAME: Final = "voice-words"
VERSION: Final = "1.0.0"
COVERAGE: Final = 0.8
SOURCES: Final = (
    "voice_words/trainer.py",
    "voice_words/training_card.py",
    "voice_words/training_data.py",
    "voice_words/additive.py",
    "voice_words/conformal.py",
    "voice_words/model.py",
    "voice_words/voice_function.py",
    "voice_words/text_function.py",
    "voice_words/spoken_words.py",
)


@dataclass(frozen=True, kw_only=True)
class VoiceWordsSettings:
    """What was chosen by speaker-grouped cross-validation; see ``docs/bundled-model.md``.

    Attributes:
        fine_timbre_scale: how much mfcc10 to mfcc20 count in a difference of voices, against the other columns.
        min_clips_per_centre: of how many clips a centre must at least be the mean, so that none is a clip's own values.
        voice_widths: gamma, number of centres, and prior variance of the bumps exp(-gamma * mean squared difference of
            standardised columns). Wide bumps find what kinds of voices have in common. Narrow ones know single voices
            again, which helps with speakers who were heard in training and, weighted so, costs nothing with others.
        pace_centres: bumps on the pace.
        pace_gamma: as `voice_gamma`.
        scales: part of the words -> its prior variance.
        noise: mode -> noise variance, on the same scale.
        speaker_noise: part of the noise that all clips of a speaker share.
        min_clips: kind of n-gram -> in how many clips one must occur.
        num_background: typical voices that explanations compare with.
    """

    fine_timbre_scale: float = 0.7
    min_clips_per_centre: int = 3
    voice_widths: Sequence[tuple[float, int, float]] = ((0.3, 600, 0.8), (4.0, 1600, 0.3))
    pace_centres: int = 60
    pace_gamma: float = 0.5
    scales: Mapping[str, float] = field(default_factory=lambda: {"pace": 0.2, "char2-5": 0.15, "word1": 0.07})
    noise: Mapping[str, float] = field(default_factory=lambda: {"voice+words": 2.4, "voice": 1.8, "words": 2.0})
    speaker_noise: float = 0.15
    min_clips: Mapping[str, int] = field(default_factory=lambda: {"char2-5": 15, "word1": 3})
    num_background: int = 8


def fit_voice_words(data: TrainingData, settings: VoiceWordsSettings, seed: int = 0) -> VoiceWords:
    """Fit the model of every mode on all of `data`."""
    return build_voice_words(fit_arrays(data, settings, seed))


def fit_arrays(data: TrainingData, settings: VoiceWordsSettings, seed: int = 0) -> dict[str, np.ndarray]:
    """Fit every mode and return the arrays of ``weights.npz``.

    Clips that lack an input of a mode are left out of that mode's fit.
    """
    has_voice = np.isfinite(data.voice).all(axis=1)
    has_words = np.array([bool(words) for words in data.words])
    arrays, parts = fit_voice_part(data.voice, has_voice, settings, seed)
    more, text_parts = fit_words_parts(data, has_words, settings, seed)
    arrays |= more
    parts |= text_parts
    kernels = {name: kernel_of(part.features) for name, part in parts.items()}
    scales = {"voice": 1.0, **settings.scales}
    baseline = []
    for mode in MODES:
        there = np.ones(len(data.clips), dtype=bool)
        names = []
        if "voice" in mode:
            there &= has_voice
            names.append("voice")
        if "words" in mode:
            there &= has_words
            names += text_parts
        rows = np.flatnonzero(there)
        constant, duals = fit_additive(
            {name: kernels[name][np.ix_(rows, rows)] for name in names},
            data.labels[rows],
            data.speakers[rows],
            scales,
            settings.noise[mode],
            settings.speaker_noise,
        )
        for name in names:
            features = parts[name].features[rows]
            weights = scales[name] * (features.T @ duals)
            centre = (features @ weights).mean(axis=0)
            if name == "voice":
                centre = np.zeros(len(TARGETS))
                for width, found in enumerate(parts[name].bumps(weights)):
                    arrays[f"voice_bumps{width}:{mode}"] = found
                    near = bumps(arrays["background"], arrays[f"voice_centres{width}"], arrays["voice_gammas"][width])
                    centre = centre + arrays["background_weights"] @ near @ found
                arrays[f"voice_offset:{mode}"] = -centre
            elif name == "pace":
                arrays[f"pace_bumps:{mode}"] = parts[name].bumps(weights)[0]
                arrays[f"pace_offset:{mode}"] = -centre
            else:
                arrays[f"{name}_weights:{mode}"] = weights.astype(np.float16)
                arrays[f"words_offset:{mode}"] = arrays.get(f"words_offset:{mode}", np.zeros(len(TARGETS))) - centre
            constant = constant + centre
        baseline.append(constant)
    arrays["baseline"] = np.stack(baseline)
    return arrays


@lru_cache(maxsize=100_000)
def _count_once(words: tuple[str, ...], kind: str) -> Mapping[str, int]:
    """Count n-grams; cross-validation asks for the same ones again in every fold."""
    return count_ngrams(words, kind)


@dataclass(frozen=True)
class Part:
    """Features of one part of the kernel, (n, f), dense or sparse; bases (m, f) turn their weights into the bumps'."""

    features: Any
    bases: tuple[np.ndarray, ...] = ()

    def bumps(self, weights: np.ndarray) -> list[np.ndarray]:
        """Return the bumps' weights (m, t), for each width, for the features' (f, t)."""
        split = np.split(weights, np.cumsum([basis.shape[1] for basis in self.bases])[:-1])
        return [basis @ part for basis, part in zip(self.bases, split, strict=True)]


def fit_voice_part(
    voice: np.ndarray, has_voice: np.ndarray, settings: VoiceWordsSettings, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Part]]:
    """Return the voice's arrays of ``weights.npz`` that need no labels, and its features, as a part "voice"."""
    raw = transform(np.where(has_voice[:, None], voice, 1.0))
    importance = np.ones(raw.shape[1])
    importance[list(CUES["fine timbre"])] = settings.fine_timbre_scale
    importance /= np.sqrt((importance**2).mean())
    mean, scale = raw[has_voice].mean(axis=0), raw[has_voice].std(axis=0) / importance
    rows = np.clip((raw - mean) / scale, -Z_LIMIT, Z_LIMIT)
    heard = rows[has_voice]
    background, counts = cluster_means(heard, settings.num_background, seed)
    arrays = {
        "voice_mean": mean,
        "voice_scale": scale,
        "voice_gammas": np.array([gamma for gamma, _, _ in settings.voice_widths]),
        "background": background,
        "background_weights": counts / counts.sum(),
        "cue_quantiles": np.quantile(heard @ level_directions().T, np.linspace(0, 1, 101), axis=0).T,
    }
    features, bases = [], []
    for width, (gamma, count, variance) in enumerate(settings.voice_widths):
        centres, sizes = cluster_means(heard, count, seed)
        centres = blur_small(centres, sizes, heard, settings.min_clips_per_centre)
        bases.append(np.sqrt(variance) * nystrom_basis(centres, gamma))
        features.append(bumps(rows, centres, gamma) @ bases[-1])
        arrays[f"voice_centres{width}"] = centres
    return arrays, {"voice": Part(np.hstack(features), tuple(bases))}


def fit_words_parts(
    data: TrainingData, has_words: np.ndarray, settings: VoiceWordsSettings, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, Part]]:
    """Return the words' arrays that need no labels, and their features: "pace" and the kinds of n-grams."""
    numbers = np.array([pace(words) for words in data.words])
    mean, scale = numbers[has_words].mean(axis=0), numbers[has_words].std(axis=0)
    rows = np.clip((numbers - mean) / scale, -PACE_LIMIT, PACE_LIMIT)
    centres, _ = cluster_means(rows[has_words], settings.pace_centres, seed)
    basis = nystrom_basis(centres, settings.pace_gamma)
    arrays = {
        "pace_mean": mean,
        "pace_scale": scale,
        "pace_centres": centres,
        "pace_gamma": np.array(settings.pace_gamma),
        "num_words_quantiles": np.quantile(numbers[has_words, 0], np.linspace(0, 1, 101)),
    }
    parts = {"pace": Part(bumps(rows, centres, settings.pace_gamma) @ basis, (basis,))}
    for kind, min_clips in settings.min_clips.items():
        grams, idf, matrix = tfidf([_count_once(words, kind) for words in data.words], min_clips)
        arrays[f"{kind}_grams"] = pack_grams(grams)
        arrays[f"{kind}_idf"] = idf.astype(np.float32)
        parts[kind] = Part(matrix)
    return arrays, parts


def grouped_folds(speakers: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return each clip's fold, (n,), all clips of a speaker in one."""
    return (np.random.default_rng(seed).permutation(int(speakers.max()) + 1) % count)[speakers]


def random_folds(num_clips: int, count: int, seed: int) -> np.ndarray:
    """Return each clip's fold, (n,), whoever speaks: as in the official splits, speakers repeat."""
    return np.random.default_rng(seed).permutation(num_clips) % count


def cross_predict(
    data: TrainingData, folds: np.ndarray, settings: VoiceWordsSettings, seed: int
) -> dict[str, np.ndarray]:
    """Return, for every mode, the predictions (n, 6) of each clip by a model that was fitted on the other folds.

    Rows are NaN where the clip lacks an input of the mode.
    """
    result = {mode: np.full(data.labels.shape, np.nan) for mode in MODES}
    for fold in range(int(folds.max()) + 1):
        held = np.flatnonzero(folds == fold)
        model = fit_voice_words(data.subset(np.flatnonzero(folds != fold)), settings, seed)
        part = data.subset(held)
        for mode in MODES:
            voice = part.voice if "voice" in mode else None
            texts = part.transcripts if "words" in mode else [None] * len(held)
            there = np.ones(len(held), dtype=bool)
            if voice is not None:
                there &= np.isfinite(voice).all(axis=1)
            if "words" in mode:
                there &= np.array([bool(split_words(text)) for text in texts])
            rows = np.flatnonzero(there)
            scores, _ = model.predict(None if voice is None else voice[rows], [texts[row] for row in rows])
            result[mode][held[rows]] = scores
    return result


def train_voice_words(
    data_dir: Path, out_dir: Path, *, settings: VoiceWordsSettings | None = None, seed: int = 0, num_folds: int = 5
) -> Path:
    """Train the model, calibrate its intervals, and write the bundle.

    Args:
        data_dir: folder with `FILES`.
        out_dir: the bundle's folder; made if need be.
        settings: None for those that were chosen.
        seed: of the clustering and the folds.
        num_folds: of the speaker-grouped cross-validation that intervals and the card's figures come from.

    Returns:
        `out_dir`, holding ``bundle.json`` and ``weights.npz``.

    Raises:
        ManifestError: a file of the data is missing or not what its name says.
    """
    settings = settings or VoiceWordsSettings()
    data = load_training_data(data_dir)
    grouped = cross_predict(data, grouped_folds(data.speakers, num_folds, seed), settings, seed)
    shuffled = cross_predict(data, random_folds(len(data.clips), num_folds, seed), settings, seed)
    arrays = fit_arrays(data, settings, seed)
    document = BundleDocument(
        name=NAME,
        version=VERSION,
        kind="voice_words",
        outputs=TARGETS,
        inputs={
            "voice_profile": BundleInput.of(FeatureSpec(extractor="voice_profile"), "voice", optional=True),
            TRANSCRIPT: TRANSCRIPT_INPUT,
        },
        intervals=intervals(data, grouped),
        percentiles=label_percentiles(data.labels),
        card=_card(data, settings, seed, num_folds, grouped, shuffled),
    )
    return save_bundle(out_dir, document, {"weights.npz": format_arrays(arrays)})


def coverages(
    data: TrainingData, grouped: Mapping[str, np.ndarray], shuffled: Mapping[str, np.ndarray], seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the share of labels inside the intervals: with unseen speakers, and with speakers as officially split.

    Unseen: calibrated on the residuals of one half of the speakers, counted on the other's, and the other way round.
    Seen: calibrated on grouped residuals, as the bundle's intervals are, counted on those of random folds.
    """
    first = (np.random.default_rng(seed).permutation(int(data.speakers.max()) + 1) % 2 == 0)[data.speakers]
    result: dict[str, dict[str, dict[str, float]]] = {"unseen_speakers": {}, "seen_speakers": {}}
    for mode, scores in grouped.items():
        there = np.isfinite(scores).all(axis=1)
        residuals = data.labels - scores
        other = data.labels - shuffled[mode]
        for index, target in enumerate(TARGETS):
            inside = np.zeros(len(there), dtype=bool)
            for half in (first, ~first):
                rows = there & half
                low, high = conformal_offsets(residuals[rows, index], data.speakers[rows], COVERAGE)
                inside |= ~half & (low <= residuals[:, index]) & (residuals[:, index] <= high)
            low, high = conformal_offsets(residuals[there, index], data.speakers[there], COVERAGE)
            seen = (low <= other[there, index]) & (other[there, index] <= high)
            result["unseen_speakers"].setdefault(mode, {})[target] = round(float(inside[there].mean()), 4)
            result["seen_speakers"].setdefault(mode, {})[target] = round(float(seen.mean()), 4)
    return result


def intervals(data: TrainingData, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return mode -> target -> offsets of the interval, from predictions (n, 6) with speakers apart."""
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for mode, scores in predictions.items():
        rows = np.isfinite(scores).all(axis=1)
        residuals = (data.labels - scores)[rows]
        result[mode] = {}
        for index, target in enumerate(TARGETS):
            low, high = conformal_offsets(residuals[:, index], data.speakers[rows])
            result[mode][target] = (round(low, 6), round(high, 6))
    return result


def code_digest() -> str:
    """Return `digest_of_sources` of what makes this model what it is."""
    return digest_of_sources(SOURCES)


def _card(
    data: TrainingData,
    settings: VoiceWordsSettings,
    seed: int,
    num_folds: int,
    grouped: Mapping[str, np.ndarray],
    shuffled: Mapping[str, np.ndarray],
) -> Card:
    return training_card(
        data,
        grouped,
        shuffled,
        settings=settings,
        seed=seed,
        num_folds=num_folds,
        sources=SOURCES,
        coverage=coverages(data, grouped, shuffled, seed),
        summary="Apparent Big Five and interview score from the sound of a voice (its first 7 s) and the words "
        "spoken. It listens and reads; it does not look.",
        limits=(
            "What strangers see in 15 s, not what a person is: apparent, not actual, personality.",
            "R2 on unseen speakers is about 0.2: most of what strangers think of a person is not in here.",
            "English speech to a camera; few children, few people over 60, few speakers of other languages.",
            "Never for hiring, credit, policing or any other decision about a person.",
        ),
        interval_source=f"{COVERAGE:.0%}, split-conformal from {num_folds}-fold residuals, folds and weights "
        "by speaker",
        method="Gaussian-process regression with an additive kernel (voice, pace of speech, n-grams) and a shared "
        "noise per speaker; see docs/bundled-model.md",
        licence="the code is Apache-2.0; the weights were made from CC BY-NC 4.0 data: research use only",
        data_credit="Ponce-Lopez et al. 2016; Escalante et al. 2020; CC BY-NC 4.0, research use",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(description="Train the bundle voice-words.")
    parser.add_argument("data", type=Path, help=f"folder with {', '.join(FILES)}")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    folder = train_voice_words(given.data, given.out, seed=given.seed)
    for score in load_bundle(folder).card.scores:
        averages = f"accuracy {score.accuracy['average']:.4f}  R2 {score.r2['average']:.4f}"
        print(f"{score.inputs:13s} {averages}  {score.clips}")
    print(folder)


if __name__ == "__main__":
    main()
