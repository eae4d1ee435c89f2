"""Writes the bundle ``face-voice-words``: its weights, networks, intervals, and a card that says what it is."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.arrays import format_arrays
from thinslice.bundle import TRANSCRIPT, TRANSCRIPT_INPUT, BundleDocument, BundleInput, Card, save_bundle
from thinslice.face_voice_words.calibration import pooled_coverages, pooled_intervals
from thinslice.face_voice_words.descriptor import NETWORKS
from thinslice.features.spec import FeatureSpec
from thinslice.traits import TARGETS
from thinslice.voice_words.trainer import (
    COVERAGE,
    TrainingData,
    grouped_folds,
    random_folds,
)
from thinslice.voice_words.training_card import label_percentiles, training_card

NAME: Final = "face-voice-words"
VERSION: Final = "1.0.0"
SOURCES: Final = (
    "face_voice_words/trainer.py",
    "face_voice_words/portraits.py",
    "face_voice_words/calibration.py",
    "face_voice_words/descriptor.py",
    "face_voice_words/face_function.py",
    "face_voice_words/model.py",
    "features/face_light.py",
    "features/face_sample.py",
    "features/face_portraits.py",
    "voice_words/trainer.py",
    "voice_words/training_card.py",
    "voice_words/training_data.py",
    "voice_words/additive.py",
    "voice_words/conformal.py",
    "voice_words/voice_function.py",
    "voice_words/text_function.py",
    "voice_words/spoken_words.py",
)


def write_bundle(
    out_dir: Path,
    networks: Path,
    data: TrainingData,
    portraits: Path,
    arrays: Mapping[str, np.ndarray],
    settings: Any,
    seed: int,
    num_folds: int,
    cross_predict: Callable[[np.ndarray], dict[str, np.ndarray]],
    kept_scores: Path | None = None,
) -> Path:
    """Cross-validate, calibrate and write the bundle.

    Args:
        out_dir: the bundle's folder; an older bundle there is replaced.
        networks: folder with the files of `NETWORKS`.
        data: the training clips.
        portraits: folder with the zip files that the faces came from.
        arrays: of ``weights.npz``.
        settings: the trainer's.
        seed: of the folds.
        num_folds: of each cross-validation.
        cross_predict: folds (n,) -> mode -> predictions (n, 6), each by a model fitted on the other folds.
        kept_scores: npz file for the predictions with speakers apart: `clip` (n,), and each mode's (n, 6).

    Returns:
        `out_dir`.
    """
    grouped = cross_predict(grouped_folds(data.speakers, num_folds, seed))
    shuffled = cross_predict(random_folds(len(data.clips), num_folds, seed))
    if kept_scores is not None:
        np.savez(kept_scores, clip=np.array(data.clips), **grouped)  # type: ignore[arg-type]  # NumPy names allow_pickle
    document = BundleDocument(
        name=NAME,
        version=VERSION,
        kind="face_voice_words",
        outputs=TARGETS,
        inputs={
            "face": BundleInput.of(FeatureSpec(extractor="face_portraits"), "face", optional=True),
            "voice_profile": BundleInput.of(FeatureSpec(extractor="voice_profile"), "voice", optional=True),
            TRANSCRIPT: TRANSCRIPT_INPUT,
        },
        intervals=pooled_intervals(data, grouped, shuffled),
        percentiles=label_percentiles(data.labels),
        card=_card(data, portraits, settings, seed, num_folds, grouped, shuffled),
    )
    files = {name: (networks / name).read_bytes() for name in NETWORKS}
    return save_bundle(out_dir, document, {"weights.npz": format_arrays(arrays), **files})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _card(
    data: TrainingData,
    portraits: Path,
    settings: Any,
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
        coverage=pooled_coverages(data, grouped, shuffled, seed),
        more_training="; of each about four portraits",
        more_digests={path.name: _digest(path) for path in sorted(portraits.glob("*.zip"))},
        summary="Apparent Big Five and interview score from a face, a voice (its first 7 s) and the words spoken; "
        "any of the three may be missing.",
        limits=(
            "What strangers see in 15 s, not what a person is: apparent, not actual, personality.",
            "It judges looks, as strangers do: apparent age, gender, hair, skin and light move its scores. Its groups' "
            "gaps are in docs/groups.md; look at them before comparing people who differ in these.",
            "English speech to a camera; few children, few people over 60, few people with dark skin, few speakers of "
            "other languages.",
            "The labels themselves are noisy: their split-half reliability is 0.45 (agreeableness) to 0.69 "
            "(conscientiousness), so R2 cannot go much beyond 0.6.",
            "Never for hiring, credit, policing, health or any other decision about a person.",
        ),
        interval_source=f"{COVERAGE:.0%}, conformal, weights by speaker, from the residuals of two {num_folds}-fold "
        "cross-validations, with speakers apart and with speakers in several folds, half and half",
        method="Gaussian-process regression with an additive kernel (face, voice, pace of speech, n-grams) on fixed "
        "descriptors and a shared noise per speaker; see docs/bundled-model.md",
        licence="CC BY-NC 4.0 for these weights, since they were made from data under it: research use only; the "
        "code is Apache-2.0",
        data_credit="Ponce-Lopez et al. 2016; Escalante et al. 2020; CC BY-NC 4.0, research use. The networks under "
        "the face: faceres of @vladmandic/human (MIT; A. Savchenko's HSE FaceRec, trained on VGGFace2) and the first "
        "blocks of EfficientNet-lite0 (Apache-2.0; ImageNet), both unchanged.",
    )
