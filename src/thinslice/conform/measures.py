"""Features and metrics beside independent ones: short-term audio, MTCNN, scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from thinslice.conform.comparison import Comparison, Given, NotHereError, Package, Pair, load_package
from thinslice.errors import reason_of
from thinslice.evaluate.metrics import score
from thinslice.features.mtcnn import Mtcnn
from thinslice.features.mtcnn_networks import build_network
from thinslice.features.short_term_audio import short_term_features
from thinslice.formats.torch_pickle import load_weights
from thinslice.infer.example import example_clip
from thinslice.media.source import Source

AUDIO = Package("pyAudioAnalysis", "Apache-2.0", "--no-deps pyAudioAnalysis tqdm")
FACENET = Package("facenet-pytorch", "MIT", "--no-deps facenet-pytorch")
SKLEARN = Package("scikit-learn", "BSD-3-Clause", "'thinslice[train]'")

RATE_HZ = 44_100
NETWORKS = {"pnet": (40, 53), "rnet": (24, 24), "onet": (48, 48)}
"""MTCNN's networks -> height and width of what is given to them."""


def short_term_audio(given: Given) -> Sequence[Pair]:
    """The 34 features of a swelling, rising tone in noise, each beside pyAudioAnalysis's."""
    library = load_package("pyAudioAnalysis.ShortTermFeatures")
    times = np.arange(3 * RATE_HZ) / RATE_HZ
    swelling = np.sin(2 * np.pi * (120 * times + 90 * times**2)) * (1 + 0.5 * np.sin(6 * np.pi * times))
    noise = np.random.default_rng(0).uniform(-1, 1, len(times))
    samples = 0.4 * swelling + 0.05 * noise + 0.01
    window = RATE_HZ // 20
    theirs, _ = library.feature_extraction(samples * 2.0**15, RATE_HZ, window, window, deltas=False)
    return list(zip(short_term_features(samples, RATE_HZ, 0.05), theirs, strict=True))


def mtcnn_networks(given: Given) -> Sequence[Pair]:
    """The three networks with facenet-pytorch's own weights, on drawn pictures."""
    package = load_package("facenet_pytorch")
    folder = Path(str(package.__file__)).parent / "data"
    chance = np.random.default_rng(0)
    pairs: list[Pair] = []
    for name, (height, width) in NETWORKS.items():
        pixels = chance.uniform(-1, 1, (3, height, width, 3)).astype(np.float32)
        ours = build_network(name, load_weights(folder / f"{name}.pt"))(pixels)
        with torch.no_grad():
            outputs = getattr(package, f"{name[0].upper()}Net")()(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        *others, faces = (output.numpy() for output in outputs)
        theirs = (*(np.moveaxis(other, 1, -1) for other in others), faces[:, 1])
        pairs += zip(ours, theirs, strict=True)
    return pairs


def mtcnn_faces(given: Given) -> Sequence[Pair]:
    """Boxes, scores and points, in pixels, in a frame of the sample clip, beside facenet-pytorch's."""
    package = load_package("facenet_pytorch")
    clip = example_clip()
    if clip is None:
        raise NotHereError("the sample clip, which a wheel and a clone of thinslice have")
    picture = next(Source(clip).frames([1.0])).image
    folder = Path(str(package.__file__)).parent / "data"
    found = Mtcnn({name: load_weights(folder / f"{name}.pt") for name in NETWORKS}).detect(picture)
    try:
        boxes, scores, points = package.MTCNN(keep_all=True, min_face_size=20).detect(picture.copy(), landmarks=True)
    except RuntimeError as error:  # torchvision without its compiled parts
        raise ImportError(reason_of(error)) from None
    return [(found.boxes, boxes), (np.append(found.scores, 0), np.append(scores, 0)), (found.points, points)]


def metrics(given: Given) -> Sequence[Pair]:
    """Accuracy, R² and correlation of drawn scores beside scikit-learn's and SciPy's."""
    from scipy.stats import pearsonr
    from sklearn.metrics import mean_absolute_error, r2_score

    chance = np.random.default_rng(0)
    labels = chance.uniform(0, 1, (200, 5))
    scores = np.clip(0.5 * labels + chance.normal(0.25, 0.1, labels.shape), 0, 1)
    ours = score(labels, scores)
    columns = list(zip(labels.T, scores.T, strict=True))
    return [
        (ours["accuracy"], 1 - mean_absolute_error(labels, scores, multioutput="raw_values")),
        (ours["r2"], r2_score(labels, scores, multioutput="raw_values")),
        (ours["pcc"], np.array([pearsonr(*pair).statistic for pair in columns])),
    ]


MEASURES = (
    Comparison(
        name="short_term_audio",
        what="34 features of sound",
        systems=("bimodal",),
        theirs=AUDIO,
        expected=2e-15,
        most=1e-6,
        run=short_term_audio,
    ),
    Comparison(
        name="mtcnn_networks",
        what="P-Net, R-Net, O-Net",
        systems=("cr_net", "persemon"),
        theirs=FACENET,
        expected=8e-7,
        most=1e-5,
        run=mtcnn_networks,
    ),
    Comparison(
        name="mtcnn_faces",
        what="box and points of a face",
        systems=("cr_net", "persemon"),
        theirs=FACENET,
        expected=1e-7,
        most=1e-5,
        run=mtcnn_faces,
    ),
    Comparison(
        name="metrics",
        what="accuracy, R², correlation",
        systems=("evaluate",),
        theirs=SKLEARN,
        expected=6e-16,
        most=1e-12,
        run=metrics,
    ),
)
