"""Figures 6, 9 and 11 of CR-Net's paper: losses, labels and regressors, from a finished run.

Source: Li et al. 2020, sections 3.3, 4.2.2 and 5.5. Figures 10 and 12 show clips and two runs, see
``benchmarks/cr_net_figures.py``.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from thinslice.evaluate.metrics import accuracy
from thinslice.files import atomic_path
from thinslice.layers.losses import CR_NET_SCALE, bell_loss, mean_absolute_error, mean_squared_error
from thinslice.systems import rebuild_recipe
from thinslice.systems.cr_net.network import CRNet
from thinslice.systems.cr_net.trees import Regressor, fit_estimator
from thinslice.train.data import ClipData, RunData, Sampled
from thinslice.train.export import load_trained
from thinslice.train.processes import Processes, find_device
from thinslice.train.recipe import FitStage, Mode, Recipe
from thinslice.train.run import RunFolder
from thinslice.train.scoring import apply_to_clips
from thinslice.train.system import as_scores

REGRESSORS: Final[Mapping[Regressor, str]] = {"svr": "SVR", "random_forest": "RF", "extra_trees": "ETR"}
"""In the order of figure 11."""


LOSSES: Final = ((mean_squared_error, "MSE", "g"), (mean_absolute_error, "L1", "r"), (bell_loss, "Bell", "b"))


def draw_figures(run: Path, data: RunData, device: str, out: Path) -> Sequence[Path]:
    """Draw the losses' gradients (figure 6), the labels (figure 9) and, of runs with trees, the regressors (figure 11).

    The regressors are fitted on the training clips' features, but for the run's own, and scored on the test clips, or
    else validation clips. Their figures are in figure11.csv too.

    Args:
        run: the run's folder.
        data: its clips.
        device: where the networks run.
        out: the folder of the pictures.
    """
    folder = RunFolder(run)
    recipe = rebuild_recipe(folder.load())
    paths = [_draw_losses(out / "figure6.png"), _draw_labels(data, recipe.outputs, out / "figure9.png")]
    split = "test" if "test" in data.splits else "validation"
    if isinstance(recipe.stages[-1], FitStage) and split in data.splits:
        found = compare_regressors(recipe, folder, data.splits["train"], data.splits[split], device)
        paths += _draw_regressors(found, recipe.outputs, out)
    return paths


def compare_regressors(
    recipe: Recipe, folder: RunFolder, training: ClipData, clips: ClipData, device: str
) -> dict[Regressor, np.ndarray]:
    """Return the accuracies (targets,) of each regressor on the same features of the run's networks."""
    last = recipe.stages[-1]
    assert isinstance(last, FitStage)
    assert isinstance(last.fit, partial)
    own, num_trees, max_features = last.fit.args
    place = find_device(device, Processes())
    model = load_trained(recipe, folder).to(place)
    seed = folder.load().seed

    def features_of(part: ClipData, mode: Mode) -> np.ndarray:
        source = Sampled(part, recipe.sample)
        rows = apply_to_clips(model, source, mode, partial(as_scores, last.features), seed=seed, device=place)
        return np.stack([row["scores"] for row in rows])

    assert isinstance(model, CRNet)
    train, test = features_of(training, "validation"), features_of(clips, "test")
    found = {}
    for name in REGRESSORS:
        if name == own:
            estimator: Any = last.load(folder.stage(last.name) / "estimator")
        else:
            estimator = fit_estimator(name, num_trees, max_features, train, training.labels, seed)
        found[name] = accuracy(clips.labels, np.clip(estimator.predict(test), 0, 1))
    return found


def _draw_losses(path: Path) -> Path:
    """Draw the losses and their gradients against the error, in hundredths."""
    from matplotlib.figure import Figure

    errors = torch.linspace(-40, 40, 321, dtype=torch.float64)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    values, slopes = figure.subplots(1, 2)
    for loss, name, colour in (
        (mean_squared_error, "MSE", "g"),
        (mean_absolute_error, "L1", "r"),
        (bell_loss, "Bell", "b"),
    ):
        x = errors.clone().requires_grad_()
        each = torch.stack([loss(entry[None], torch.zeros_like(entry)[None]) for entry in x])
        (slope,) = torch.autograd.grad(each.sum(), x)
        values.plot(errors, each.detach(), color=colour, label=name)
        slopes.plot(errors, slope.abs(), color=colour, label=name)
    values.set_title("loss", fontsize=9)
    slopes.set_title("size of its gradient", fontsize=9)
    for axes in (values, slopes):
        axes.set_xlabel(f"error, times {CR_NET_SCALE:g}", fontsize=8)
        axes.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def _draw_labels(data: RunData, targets: Sequence[str], path: Path) -> Path:
    """Draw histograms of the labels in tenths, of training and of test clips."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 * len(targets), 2.6), layout="constrained")
    panels: Any = figure.subplots(1, len(targets), squeeze=False, sharey=True)[0]
    for k, (axes, target) in enumerate(zip(panels, targets, strict=True)):
        for split in (name for name in ("train", "test") if name in data.splits):
            labels = data.splits[split].labels[:, k]
            axes.hist(labels[np.isfinite(labels)], bins=np.linspace(0, 1, 11), density=True, alpha=0.6, label=split)
        axes.set_title(target, fontsize=9)
        axes.tick_params(labelsize=7)
    panels[0].legend(frameon=False, fontsize=7)
    return _save(figure, path)


def _draw_regressors(found: Mapping[Regressor, np.ndarray], targets: Sequence[str], out: Path) -> list[Path]:
    """Draw accuracies by target, and write them as figure11.csv."""
    from matplotlib.figure import Figure

    from thinslice.data.table import format_table
    from thinslice.files import write_atomically

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, values) in enumerate(found.items()):
        axes.bar(np.arange(len(targets)) + (place - 1) * 0.27, values, 0.25, label=REGRESSORS[name])
    axes.set_xticks(range(len(targets)), targets, fontsize=8)
    axes.set_ylim(np.floor(20 * np.nanmin(list(found.values()))) / 20, None)
    axes.set_ylabel("accuracy", fontsize=8)
    axes.legend(frameon=False, fontsize=8, ncols=3)
    rows = [(REGRESSORS[name], *(f"{value:.4f}" for value in values)) for name, values in found.items()]
    write_atomically(out / "figure11.csv", format_table(("regressor", *targets), rows).encode())
    return [_save(figure, out / "figure11.png"), out / "figure11.csv"]


def _save(figure: Any, path: Path) -> Path:
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=120)
    return path
