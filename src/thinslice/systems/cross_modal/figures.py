"""Figures 3 and 4 of cross-modal embeddings' paper, from a finished run, with the numbers that the eye cannot read.

Source: Fodor, Saboundji, Lőrincz, sections 4.4 and 4.5.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from thinslice.explain.embedding_map import plot_class_histograms, plot_embeddings
from thinslice.files import atomic_path
from thinslice.layers.metric_losses import trait_classes
from thinslice.systems import rebuild_recipe
from thinslice.systems.cross_modal.network import CrossModal
from thinslice.train.data import RunData, Sampled
from thinslice.train.export import load_trained
from thinslice.train.processes import Processes, find_device
from thinslice.train.run import RunFolder
from thinslice.train.scoring import apply_to_clips

TRAIT: Final = "neuroticism"
"""Whose classes figure 4 shows, where it is among the targets; else the first's."""


def draw_figures(run: Path, data: RunData, device: str, out: Path) -> Sequence[Path]:
    """Draw the classes on the labels (figure 3) and two principal components before and after the Siamese network.

    Figure 4 is drawn of runs that have a Siamese network, twice: of what goes into it and of what comes out, of unit
    length as the loss compares it. Test clips are shown, or else validation clips.

    Args:
        run: the run's folder.
        data: its clips.
        device: where the networks run.
        out: the folder of the pictures.
    """
    folder = RunFolder(run)
    recipe = rebuild_recipe(folder.load())
    model = load_trained(recipe, folder)
    assert isinstance(model, CrossModal)
    labels = data.splits["train"].labels
    mean, sd = np.nanmean(labels, 0), np.nanstd(labels, 0)
    split = "test" if "test" in data.splits else "validation"
    shown = {part: data.splits[part].labels for part in ("train", split) if part in data.splits}
    paths = [out / "figure3.png"]
    _save(plot_class_histograms(shown, mean.tolist(), sd.tolist(), recipe.outputs), paths[0])
    if model.siamese is None or split not in data.splits:
        return paths
    place = find_device(device, Processes())
    clips = data.splits[split]
    rows = apply_to_clips(
        model.to(place), Sampled(clips, recipe.sample), "test", _spaces, seed=folder.load().seed, device=place
    )
    present = np.stack([row["present"] for row in rows]) > 0.5
    outputs = list(recipe.outputs)
    trait = TRAIT if TRAIT in outputs else outputs[0]
    thresholds = torch.from_numpy(mean).float(), torch.from_numpy(sd).float()
    classes = trait_classes(torch.from_numpy(clips.labels).float(), *thresholds)[:, outputs.index(trait)].numpy()
    for space in ("hidden", "embeddings"):
        values = np.where(present[..., None], np.stack([row[space] for row in rows]), np.nan)
        paths.append(out / f"figure4_{space}.png")
        _save(plot_embeddings(values, classes, model.modalities, f"{trait}, {space}"), paths[-1])
    return paths


def _spaces(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert isinstance(model, CrossModal)
    hidden, present = model.hidden(**inputs)
    embedded = functional.normalize(model.embed(hidden), dim=2)
    return {"hidden": hidden, "embeddings": embedded, "present": present.float()}


def _save(figure: object, path: Path) -> None:
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=120)  # type: ignore[attr-defined]
