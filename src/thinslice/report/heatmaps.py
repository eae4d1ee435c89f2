"""Pictures of what CR-Net's paper shows: errors against labels (figure 10), heat maps over frames (figure 12)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from thinslice.files import atomic_path


def draw_errors(labels: np.ndarray, predictions: Mapping[str, np.ndarray], path: Path, title: str = "") -> Path:
    """Draw the absolute error of each clip against its label, one colour for each of several predictions.

    Args:
        labels: (n,) in [0, 1].
        predictions: name, such as "without Bell loss" -> scores (n,).
        path: the picture to write, .png or .svg.
        title: above it.

    Returns:
        `path`.

    Source: Li et al. 2020 (CR-Net), figure 10: red triangles without the Bell loss, blue circles with it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    styles = (("tab:red", "^"), ("tab:blue", "o"), ("tab:green", "s"), ("tab:orange", "D"))
    for (name, scores), (colour, marker) in zip(predictions.items(), styles, strict=False):
        errors = np.abs(np.asarray(scores) - labels)
        label = f"{name}: mean {np.nanmean(errors):.4f}"
        axes.scatter(labels, errors, s=10, alpha=0.5, color=colour, marker=marker, linewidths=0, label=label)
    axes.set_xlabel("label")
    axes.set_ylabel("absolute error")
    axes.set_title(title)
    axes.legend(frameon=False)
    with atomic_path(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=150)
    return path


def draw_heat_maps(pictures: Sequence[np.ndarray], heats: Sequence[np.ndarray], path: Path) -> Path:
    """Draw pictures and, below each, its heat map, from blue (0) to red (1).

    Args:
        pictures: uint8 (height, width, 3), RGB.
        heats: (height, width) in [0, 1], as `thinslice.explain.activation.activation_map` gives.
        path: the picture to write.

    Returns:
        `path`.

    Source: Li et al. 2020 (CR-Net), figure 12, whose colours are matplotlib's "jet" too.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * len(pictures), 4), layout="constrained")
    rows = figure.subplots(2, len(pictures), squeeze=False)
    for column, (picture, heat) in enumerate(zip(pictures, heats, strict=True)):
        rows[0, column].imshow(picture)
        rows[1, column].imshow(heat, cmap="jet", vmin=0, vmax=1)
    for axes in rows.flat:
        axes.set_axis_off()
    with atomic_path(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=150)
    return path
