"""From emotion to personality, and from data set to data set: the figures of PersEmoN, with the numbers behind them.

Source: Zhang, Peng, Winkler, "PersEmoN", figure 3 (each trait over the arousal-valence disk) and figure 4 (t-SNE of
both data sets' features). The paper judges figure 4 by eye; `tell_apart` measures it. Figure 4 needs the extra
``train`` (scikit-learn).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.errors import MissingExtraError, UsageError
from thinslice.files import atomic_path

Relationship = Callable[[np.ndarray], np.ndarray]
"""Valence and arousal (n, 2) -> scores (n, traits)."""

EMOTION_COLOURS: Final = {"valence": "#b5352a", "arousal": "#2f5fa8"}
DOMAIN_COLOURS: Final = ("#2f5fa8", "#e08a2b")

_WORDS: Final = (("excited", 45), ("tense", 135), ("gloomy", 225), ("calm", 315))
"""What four directions of the disk are called, and where they lie, degrees from positive valence (figure 2)."""


def disk_grid(num_points: int = 101) -> np.ndarray:
    """Return points (n, 2), valence and arousal, of a square grid of `num_points` a side that lie in the unit disk."""
    axis = np.linspace(-1, 1, num_points)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    return points[np.hypot(*points.T) <= 1 + 1e-9]


def draw_disks(
    relationship: Relationship,
    traits: Sequence[str],
    path: Path,
    seen: np.ndarray | None = None,
    num_points: int = 101,
) -> Path:
    """Draw each trait's score over the arousal-valence disk (figure 3, which leaves extraversion out; here it is in).

    Args:
        relationship: what RAM says.
        traits: names of its outputs.
        path: the picture to write, .png or .svg.
        seen: emotions (n, 2) that occurred; the contour that holds nine tenths of them nearest to their mean is drawn,
            since a network says something outside it too, but learned it from nothing.
        num_points: of the grid, a side.

    Returns:
        `path`.
    """
    from matplotlib.figure import Figure

    points = disk_grid(num_points)
    scores = np.asarray(relationship(points))
    if scores.shape != (len(points), len(traits)):
        raise ValueError(f"scores of shape {scores.shape} for {len(points)} points and {len(traits)} traits")
    figure = Figure(figsize=(2.7 * len(traits), 3.1), layout="constrained")
    panels = figure.subplots(1, len(traits), squeeze=False)[0]
    cells = np.rint((points + 1) / 2 * (num_points - 1)).astype(int)
    for axes, trait, values in zip(panels, traits, scores.T, strict=True):
        disk = np.full((num_points, num_points), np.nan)
        disk[cells[:, 1], cells[:, 0]] = values
        shown = axes.imshow(disk, origin="lower", extent=(-1, 1, -1, 1), cmap="viridis", interpolation="nearest")
        figure.colorbar(shown, ax=axes, shrink=0.75, format="%.2f")
        if seen is not None and len(seen) > 2:
            _draw_ellipse(axes, np.asarray(seen, float))
        for word, degrees in _WORDS:
            x, y = 1.12 * np.cos(np.radians(degrees)), 1.12 * np.sin(np.radians(degrees))
            axes.text(x, y, word, fontsize=6, color="#555", ha="center", va="center")
        axes.set_title(trait, fontsize=9)
        axes.set_xlabel("valence", fontsize=8)
        axes.set_xlim(-1.25, 1.25)
        axes.set_ylim(-1.25, 1.25)
        axes.tick_params(labelsize=7)
        axes.set_aspect("equal")
    panels[0].set_ylabel("arousal", fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=130)
    return path


def _draw_ellipse(axes: Any, seen: np.ndarray) -> None:
    """Draw the ellipse of the covariance that holds nine tenths of the points."""
    centred = seen - seen.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred.T) + 1e-9 * np.eye(2))
    distances = np.sqrt(((centred @ vectors) ** 2 / values).sum(1))
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.quantile(distances, 0.9) * np.stack([np.cos(angle), np.sin(angle)], 1)
    outline = seen.mean(0) + (circle * np.sqrt(values)) @ vectors.T
    axes.plot(*outline.T, color="white", linewidth=1.2)
    axes.plot(*outline.T, color="black", linewidth=0.6, linestyle="--")


def draw_timeline(times_s: np.ndarray, emotions: np.ndarray, path: Path, title: str = "") -> Path:
    """Draw valence and arousal of a clip's frames against time.

    Args:
        times_s: (n,) seconds, ascending.
        emotions: (n, 2) in [-1, 1].
        path: the picture to write.
        title: above it.

    Returns:
        `path`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="#999", linewidth=0.6)
    for (name, colour), values in zip(EMOTION_COLOURS.items(), np.asarray(emotions).T, strict=True):
        label = f"{name}: mean {values.mean():+.2f}"
        axes.plot(times_s, values, color=colour, marker=".", markersize=3, linewidth=1.2, label=label)
    axes.set_ylim(-1, 1)
    axes.set_xlabel("time, s")
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=130)
    return path


@dataclass(frozen=True)
class Apart:
    """How well two data sets' features can be told apart, by classifiers that were not there in training.

    Both are means of the two data sets' shares of rightly told features, on features not fitted on; 0.5 is chance.

    Attributes:
        linear: of a logistic regression on features of unit variance each: any trace of the data set that lies along a
            line, however small beside what else the features say.
        neighbours: of the majority of the 15 nearest features: what the eye sees in a map such as figure 4.
        num_told: features that they were scored on.
    """

    linear: float
    neighbours: float
    num_told: int


NUM_NEIGHBOURS: Final = 15


def tell_apart(first: np.ndarray, second: np.ndarray, groups: Sequence[Sequence[str]], seed: int = 0) -> Apart:
    """Measure how well fresh classifiers tell the features of two data sets apart, five-fold by group.

    Args:
        first: features (n, d) of one data set.
        second: features (m, d) of the other.
        groups: for each data set the group of each feature, such as its speaker; no group is in fit and score at once.
        seed: of the folds, and of the features of the larger data set that the neighbours do without.

    Raises:
        UsageError: fewer than five groups in a data set, or features that do not fit each other.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise MissingExtraError("telling data sets apart (scikit-learn)", "train") from None
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise UsageError(f"features of shapes {first.shape} and {second.shape} cannot be compared")
    folds = []
    rng = np.random.default_rng(seed)
    for names, features in zip(groups, (first, second), strict=True):
        known = sorted(set(names))
        if len(names) != len(features) or len(known) < 5:
            raise UsageError(f"{len(features)} features of {len(known)} groups: five groups or more are needed")
        fold_of = dict(zip(known, rng.permutation(len(known)) % 5, strict=True))
        folds.append(np.array([fold_of[name] for name in names]))
    features, domain = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    fold = np.concatenate(folds)
    linear, near = np.empty(len(domain), int), np.empty(len(domain), int)
    for number in range(5):
        told, rest = fold == number, np.flatnonzero(fold != number)
        line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
        linear[told] = line.fit(features[rest], domain[rest]).predict(features[told])
        # As many of either: the more there are of a data set, the nearer its nearest.
        fewest = np.bincount(domain[rest]).min()
        even = np.concatenate([rng.permutation(rest[domain[rest] == k])[:fewest] for k in (0, 1)])
        neighbours = KNeighborsClassifier(min(NUM_NEIGHBOURS, len(even)))
        near[told] = neighbours.fit(features[even], domain[even]).predict(features[told])
    shares = [float(np.mean([(found[domain == k] == k).mean() for k in (0, 1)])) for found in (linear, near)]
    return Apart(shares[0], shares[1], len(domain))


def draw_domains(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path, names: tuple[str, str], seed: int = 0
) -> Path:
    """Draw t-SNE maps of two data sets' features, one panel for each network (figure 4).

    Args:
        panels: title, such as "with coherence" -> features (n, d) and (m, d) of the two data sets.
        path: the picture to write.
        names: of the data sets.
        seed: of t-SNE.

    Returns:
        `path`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise MissingExtraError("t-SNE (scikit-learn)", "train") from None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(panels), 4.2), layout="constrained")
    for axes, (title, (first, second)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        joined = np.concatenate([first, second])
        perplexity = min(30.0, max((len(joined) - 1) / 4, 1.0))
        points = TSNE(random_state=seed, init="pca", perplexity=perplexity).fit_transform(joined)
        for part, colour, name in zip(np.split(points, [len(first)]), DOMAIN_COLOURS, names, strict=True):
            axes.scatter(*part.T, s=7, color=colour, alpha=0.6, linewidths=0, label=name)
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.legend(frameon=False, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=130)
    return path
