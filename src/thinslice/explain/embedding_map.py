"""What a shared space of modalities looks like, and how well it separates classes, in numbers.

Source: Fodor et al., "Enhancing Apparent Personality Trait Analysis with Cross-Modal Embeddings", figures 3 and 4. The
paper judges the picture by eye; the numbers are ours. Needs the extra ``train`` (scikit-learn).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from thinslice.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASS_NAMES: Final = ("C1 (low)", "C2", "C3", "C4 (high)")
COLOURS: Final = ("#2f5fa8", "#8fb3d9", "#e3a890", "#b5352a")
"""Of the four classes, from blue (low) to red (high), as in the paper."""

MARKERS: Final = ("o", "s", "x", "^")
EXTREMES: Final = (0, 3)


@dataclass(frozen=True)
class Separation:
    """How well the two extremes of a trait are apart.

    Attributes:
        silhouette: mean silhouette of the extremes' embeddings by their class, cosine distance, in [-1, 1].
        retrieval: mean average precision when each extreme embedding looks for others of its class among the
            embeddings of the other clips in both extremes, by cosine.
        across: the same when it looks among the other modalities only.
        chance: what `retrieval` is on average for embeddings in random order.
        num_embeddings: how many there are of the two classes.
    """

    silhouette: float
    retrieval: float
    across: float
    chance: float
    num_embeddings: int


def measure_separation(embeddings: np.ndarray, classes: np.ndarray, seed: int = 0) -> Separation:
    """Measure how well embeddings of clips separate a trait's two extremes.

    Args:
        embeddings: (clips, modalities, d); NaN rows of modalities that a clip lacks are left out.
        classes: int (clips,), 0 to 3, -1 where unknown.
        seed: of the random order that `chance` is measured on.

    Raises:
        UsageError: fewer than two clips in either extreme.
        MissingExtraError: scikit-learn is not installed.
    """
    _, silhouette_score = _sklearn()
    num_modalities = embeddings.shape[1]
    flat = embeddings.reshape(-1, embeddings.shape[2]).astype(np.float64)
    clip = np.repeat(np.arange(len(embeddings)), num_modalities)
    modality = np.tile(np.arange(num_modalities), len(embeddings))
    label = np.asarray(classes)[clip]
    kept = np.isin(label, EXTREMES) & np.isfinite(flat).all(1)
    flat, clip, modality, label = flat[kept], clip[kept], modality[kept], label[kept]
    if min(len(set(clip[label == end])) for end in EXTREMES) < 2:
        raise UsageError("too few clips in the extremes to measure how far these are apart; give two of each or more")
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    similar = unit @ unit.T
    other_clip = clip[:, None] != clip[None]
    other_modality = modality[:, None] != modality[None]
    relevant = label[:, None] == label[None]
    order = np.random.default_rng(seed).random(similar.shape)
    return Separation(
        silhouette=float(silhouette_score(unit, label, metric="cosine")),
        retrieval=_mean_average_precision(similar, relevant, other_clip),
        across=_mean_average_precision(similar, relevant, other_clip & other_modality),
        chance=_mean_average_precision(order, relevant, other_clip),
        num_embeddings=len(label),
    )


def _mean_average_precision(similar: np.ndarray, relevant: np.ndarray, candidates: np.ndarray) -> float:
    """Return the mean over rows of the average precision of candidates ranked by similarity; NaN if none has any."""
    values = []
    for row, wanted, allowed in zip(similar, relevant, candidates, strict=True):
        ranked = wanted[allowed][np.argsort(-row[allowed], kind="stable")]
        if ranked.any():
            hits = np.cumsum(ranked)
            values.append(float((hits / np.arange(1, len(ranked) + 1))[ranked].mean()))
    return float(np.mean(values)) if values else float("nan")


def balanced_subsample(classes: np.ndarray, num_modalities: int, each: int = 25, seed: int = 0) -> np.ndarray:
    """Return rows (clip, modality), int (n, 2): `each` clips drawn for every class and modality, or all there are.

    Source: section 4.5, where 25 of each of four classes and three modalities make 300.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for modality in range(num_modalities):
        for number in range(len(CLASS_NAMES)):
            members = np.flatnonzero(np.asarray(classes) == number)
            chosen = rng.permutation(members)[:each]
            rows += [(int(clip), modality) for clip in chosen]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def plot_class_histograms(
    labels: Mapping[str, np.ndarray], mean: Sequence[float], sd: Sequence[float], traits: Sequence[str]
) -> "Figure":
    """Draw each trait's labels in each split, coloured by class (figure 3).

    Args:
        labels: split -> (clips, traits) in [0, 1].
        mean: of the training labels, for each trait.
        sd: their standard deviations.
        traits: names.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 * len(traits), 1.9 * len(labels)), layout="constrained")
    axes = figure.subplots(len(labels), len(traits), squeeze=False, sharex=True)
    edges = np.linspace(0, 1, 51)
    middles = (edges[:-1] + edges[1:]) / 2
    for row, (split, values) in zip(axes, labels.items(), strict=True):
        for k, (axis, trait) in enumerate(zip(row, traits, strict=True)):
            counts, _ = np.histogram(values[np.isfinite(values[:, k]), k], edges)
            number = np.searchsorted([mean[k] - sd[k], mean[k], mean[k] + sd[k]], middles, side="right")
            axis.bar(middles, counts, width=1 / 50, color=[COLOURS[n] for n in number], linewidth=0)
            for threshold in (mean[k] - sd[k], mean[k], mean[k] + sd[k]):
                axis.axvline(threshold, color="#444", linewidth=0.6, linestyle=":")
            axis.set_title(f"{trait}, {split}", fontsize=8)
            axis.tick_params(labelsize=7)
    return figure


def plot_embeddings(
    embeddings: np.ndarray,
    classes: np.ndarray,
    modalities: Sequence[str],
    trait: str,
    each: int = 25,
    seed: int = 0,
) -> "Figure":
    """Draw two principal components of a balanced subsample: all classes, then either extreme in colour (figure 4).

    Args:
        embeddings: (clips, modalities, d).
        classes: int (clips,), 0 to 3.
        modalities: their names.
        trait: whose classes these are.
        each: embeddings of each class and modality.
        seed: of the draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    make_pca, _ = _sklearn()
    rows = balanced_subsample(classes, len(modalities), each, seed)
    chosen = embeddings[rows[:, 0], rows[:, 1]]
    there = np.isfinite(chosen).all(1)
    rows, chosen = rows[there], chosen[there]
    pca = make_pca(n_components=2).fit(chosen)
    points = pca.transform(chosen)
    number = np.asarray(classes)[rows[:, 0]]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels: list[tuple[Any, str, tuple[int, ...]]] = [
        (axis, title, shown)
        for axis, (title, shown) in zip(
            figure.subplots(1, 3, sharex=True, sharey=True),
            ((f"{trait}: all classes", (0, 1, 2, 3)), ("low extreme", (0,)), ("high extreme", (3,))),
            strict=True,
        )
    ]
    shares = [f"{share:.0%}" for share in pca.explained_variance_ratio_]
    for axis, title, shown in panels:
        for modality, marker in zip(range(len(modalities)), MARKERS, strict=False):
            for k, colour in enumerate(COLOURS):
                mask = (rows[:, 1] == modality) & (number == k)
                paint = colour if k in shown else "#d9d9d9"
                axis.scatter(*points[mask].T, s=14, marker=marker, c=paint, linewidths=0.8, zorder=2 + (k in shown))
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(f"first component ({shares[0]})", fontsize=8)
        axis.tick_params(labelsize=7)
    panels[0][0].set_ylabel(f"second component ({shares[1]})", fontsize=8)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=c, label=n) for c, n in zip(COLOURS, CLASS_NAMES, strict=True)
    ]
    handles += [
        Line2D([], [], marker=marker, linestyle="", color="#444", label=name)
        for marker, name in zip(MARKERS, modalities, strict=False)
    ]
    figure.legend(handles=handles, loc="outside right center", fontsize=7)
    return figure


def _sklearn() -> tuple[Any, Any]:
    try:
        from sklearn.decomposition import PCA
        from sklearn.metrics import silhouette_score
    except ImportError:
        raise MissingExtraError("the map of embeddings (scikit-learn)", "train") from None
    return PCA, silhouette_score
