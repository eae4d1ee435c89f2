"""The audiovisual networks of Subramaniam et al. 2016: from the authors' published weights to bundles for predict.

Source: Subramaniam, Patel, Mishra, Balasubramanian, Mittal, "Bi-modal First Impressions Recognition using
Temporally Ordered Deep Audio and Stochastic Visual Features", ECCV 2016 workshops; team evolgen, second in the first
ChaLearn First Impressions challenge. Weights: github.com/InnovArul/first-impressions (Apache-2.0).
"""

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice import __version__
from thinslice.arrays import format_arrays
from thinslice.bundle import BundleDocument, BundleInput, Card, Score, save_bundle
from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.systems.bimodal.graph import build_bimodal_graph
from thinslice.systems.bimodal.torch7_weights import Architecture, BimodalWeights, read_bimodal
from thinslice.traits import TRAITS

BUNDLE_VERSION: Final = "1"

FACE_PARAMS: Final[dict[str, Any]] = {"reference": "openface_112", "num_parts": 6, "draws": 3}
"""One face from each sixth of the clip, three times over."""

SOUND_PARAMS: Final[dict[str, Any]] = {"rate_hz": 44100, "window_s": 0.05, "num_parts": 6, "epsilon": 1e-8}
"""The authors' settings; epsilon is that of pyAudioAnalysis in 2016, which they used."""

NEUTRAL_COLOUR: Final = (125, 115, 107)
"""RGB that stands for a face nobody has seen: the mean picture in the authors' code (0.49, 0.45, 0.42)."""

PUBLISHED_ACCURACY: Final = {
    "openness": 0.91167725,
    "conscientiousness": 0.91185413,
    "extraversion": 0.91499745,
    "agreeableness": 0.91186694,
    "neuroticism": 0.90991703,
}
"""Team evolgen on the official test set of First Impressions V1 (Gucluturk et al. 2016, table 2)."""

PUBLISHED_R2: Final = {
    "openness": 0.414,
    "conscientiousness": 0.488,
    "extraversion": 0.515,
    "agreeableness": 0.329,
    "neuroticism": 0.455,
}
"""The same entry (Zhang et al. 2019, PersEmoN, table 4)."""

PUBLISHED_AVERAGE_ACCURACY: Final = 0.912063
PUBLISHED_AVERAGE_R2: Final = 0.440
"""The means over the five traits, as the same two tables print them."""

NEUTRAL_SOUND_CHANGE: Final = {
    "openness": 0.027,
    "conscientiousness": 0.022,
    "extraversion": 0.027,
    "agreeableness": 0.018,
    "neuroticism": 0.028,
}
"""Root mean square change of the scores of 24 clips when neutral sound replaces theirs (benchmarks/bimodal.py)."""

_Z80: Final = 1.2815515655446004
"""Half the width of a normal distribution's middle 80%, in standard deviations."""

_NAMES: Final[Mapping[Architecture, str]] = {"lstm": "bimodal-lstm", "3dcnn": "bimodal-3dcnn"}


def convert_bimodal(lstm: Path | None, cnn: Path | None, folder: Path) -> Path:
    """Convert the authors' Torch7 files into a bundle.

    Args:
        lstm: the LSTM network's file, or None.
        cnn: the 3-D network's file, or None; one of the two must be given. With both, the bundle is their mean.
        folder: the bundle to write; an older bundle there is replaced.

    Returns:
        `folder`.

    Raises:
        Torch7Error: a file is damaged, or is not that network.
        MissingExtraError: the package onnx is not installed.
        UsageError: no file, a file given as the other network, or a folder that holds something else.
    """
    given = {"lstm": lstm, "3dcnn": cnn}
    networks = []
    for architecture, path in given.items():
        if path is None:
            continue
        network = read_bimodal(path)
        if network.architecture != architecture:
            raise UsageError(f"{path}: holds the {network.architecture} network, not the {architecture} network")
        networks.append(network)
    if not networks:
        raise UsageError("no network to convert: give a file of the LSTM network, of the 3-D network, or both")
    return _write_networks(networks, folder)


def import_bimodal(files: Sequence[Path], folder: Path) -> tuple[Path, list[BimodalWeights]]:
    """Convert one or two of the authors' files, in any order; return the bundle's folder and what was read.

    Raises:
        UsageError: the same network twice, or not one or two files; as `convert_bimodal` otherwise.
    """
    networks = [read_bimodal(path) for path in files]
    kinds = [network.architecture for network in networks]
    if len(set(kinds)) < len(kinds) or not kinds:
        raise UsageError(f"{', '.join(map(str, files))}: give the LSTM network, the 3-D network, or one file of each")
    return _write_networks(sorted(networks, key=lambda network: network.architecture != "lstm"), folder), networks


def install_bimodal(files: Mapping[str, Path], folder: Path) -> list[Path]:
    """Make the bundles bimodal, bimodal-lstm and bimodal-3dcnn from the asset `bimodal`.

    Args:
        files: any names -> the authors' two files.
        folder: where bundles are installed; each becomes a folder in it.

    Returns:
        The bundles' folders.

    Raises:
        As `import_bimodal`.
    """
    networks = {network.architecture: network for network in map(read_bimodal, files.values())}
    if set(networks) != set(_NAMES):
        raise UsageError(f"{', '.join(map(str, files.values()))}: not the LSTM network and the 3-D network")
    both = [networks["lstm"], networks["3dcnn"]]
    return [_write_networks(chosen, folder / _name(chosen)) for chosen in (both, both[:1], both[1:])]


def published_interval(target: str, deviation: float, extra_deviation: float = 0.0) -> tuple[float, float]:
    """Return the ends of the 80% prediction interval as offsets from a score, from the published residuals.

    The residual's standard deviation is the larger of what the published accuracy says (for normal errors it is the
    mean absolute error times sqrt(pi / 2)) and what the published R2 says (sqrt(1 - R2) times the labels' deviation).

    Args:
        target: a trait.
        deviation: standard deviation of the labels.
        extra_deviation: what a missing input adds, as if independent.
    """
    from_accuracy = (1 - PUBLISHED_ACCURACY[target]) * math.sqrt(math.pi / 2)
    from_r2 = math.sqrt(1 - PUBLISHED_R2[target]) * deviation
    half = _Z80 * math.hypot(max(from_accuracy, from_r2), extra_deviation)
    return -round(half, 4), round(half, 4)


def _write_networks(networks: Sequence[BimodalWeights], folder: Path) -> Path:
    sound = np.array(_resource(__package__, "neutral.json")["sound"], dtype=np.float32)
    neutral: dict[str, np.ndarray] = {
        "pictures": np.full((1, 6, 112, 112, 3), NEUTRAL_COLOUR, np.uint8),
        "sound": np.repeat(sound[None], 6, axis=0),
    }
    model = build_bimodal_graph(networks).SerializeToString()
    return save_bundle(folder, _document(networks), {"model.onnx": model, "neutral.npz": format_arrays(neutral)})


def _document(networks: Sequence[BimodalWeights]) -> BundleDocument:
    labels = _resource("thinslice.data", "label_quantiles.json")
    deviation = labels["deviation"]
    pictures = FeatureSpec(extractor="aligned_faces", params=FACE_PARAMS)
    sound = FeatureSpec(extractor="short_term_audio", params=SOUND_PARAMS)
    without = NEUTRAL_SOUND_CHANGE
    return BundleDocument(
        name=_name(networks),
        version=BUNDLE_VERSION,
        kind="onnx",
        outputs=TRAITS,
        inputs={
            "pictures": BundleInput.of(pictures, "face"),
            "sound": BundleInput.of(sound, "sound", optional=True),
        },
        neutral="neutral.npz",
        intervals={
            "face+sound": {trait: published_interval(trait, deviation[trait]) for trait in TRAITS},
            "face": {trait: published_interval(trait, deviation[trait], without[trait]) for trait in TRAITS},
        },
        percentiles={trait: tuple(labels["quantiles"][trait]) for trait in TRAITS},
        card=_card(networks),
    )


def _card(networks: Sequence[BimodalWeights]) -> Card:
    kinds = {"lstm": "a convolutional network and an LSTM", "3dcnn": "a network of 3-D convolutions"}
    what = " and ".join(kinds[network.architecture] for network in networks)
    unknown = [network.sha256 for network in networks if not network.official]
    accuracy = {name: round(value, 4) for name, value in PUBLISHED_ACCURACY.items()}
    published = Score(
        clips="official test, as published",
        accuracy={**accuracy, "average": PUBLISHED_AVERAGE_ACCURACY},
        r2={**PUBLISHED_R2, "average": PUBLISHED_AVERAGE_R2},
    )
    return Card(
        summary=f"Looks at the aligned face in 18 frames and listens: {what}"
        + (", averaged." if len(networks) > 1 else "."),
        paper="Subramaniam, Patel, Mishra, Balasubramanian, Mittal: Bi-modal First Impressions Recognition using "
        "Temporally Ordered Deep Audio and Stochastic Visual Features. ECCV 2016 workshops.",
        weights="not those the authors published; where they come from is not known"
        if unknown
        else "the authors', github.com/InnovArul/first-impressions",
        licence="Apache-2.0",
        trained_on="6,000 training clips of ChaLearn First Impressions (V1): English speakers on YouTube",
        num_training_clips=6000,
        r2={"": PUBLISHED_AVERAGE_R2},
        scores=(published,),
        scores_note="Published by the authors' team for their entry to the challenge, not measured by thinslice; "
        "on training clips the networks score higher, which says nothing.",
        interval_source="Published residuals: the larger of mean absolute error times sqrt(pi/2) and sqrt(1 - R2) "
        "times the labels' deviation, normal errors. Not calibrated here: all clips available were trained on. They "
        "are taken to hold for either network and for the mean. Without sound, what neutral sound changed on 24 clips "
        "is added.",
        neutral="In explanations, and for a clip without sound: the mean sound of 24 training clips. In "
        "explanations only: a face of one colour, the authors' mean picture.",
        limits=(
            "Predicts how strangers judge a person at first sight, not who the person is.",
            "Needs a face in a third of the frames looked at.",
            "Sensitive to the face's alignment: 4% in size, or 2 pixels of 112, change the scores by 0.02 on average.",
            "A mirrored video, as front cameras save it, moves the scores by 0.05 on average, 0.2 at most.",
            "The sound moves the scores by 0.02 on average, the face by far more.",
        ),
        digests={network.architecture: network.sha256 for network in networks},
        code_version=__version__,
    )


def _name(networks: Sequence[BimodalWeights]) -> str:
    return "bimodal" if len(networks) > 1 else _NAMES[networks[0].architecture]


def _resource(package: str, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(resources.files(package).joinpath(name).read_text("utf-8"))
    return document
