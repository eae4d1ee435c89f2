"""Scores of all clips of a split, those that a run had to leave out, such as without a face, by the training mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from thinslice.data.manifest import load_manifest
from thinslice.evaluate.metrics import METRICS, average
from thinslice.train.data import ClipData
from thinslice.train.inputs import LeftOut

ALL_CLIPS: Final = "all clips"
"""Under this name scores of a run have the average over the traits with the clips that were left out."""


def count_left_out(
    scores: Mapping[str, Mapping[str, float]],
    manifest: Path,
    left_out: Sequence[LeftOut],
    split: str,
    clips: ClipData,
    predicted: np.ndarray,
    training: np.ndarray,
) -> dict[str, dict[str, float]]:
    """Add to a run's scores what they are if every labelled clip of the split counts.

    The papers scored all test clips; a run leaves out those whose features cannot be had. Here these are predicted by
    the training mean.

    Args:
        scores: metric -> target -> score, without them.
        manifest: of the clips.
        left_out: clips that the run does without.
        split: that is scored.
        clips: those that were scored.
        predicted: their scores (n, k).
        training: labels of the training clips (m, k).

    Returns:
        The same, with "all clips" of "accuracy" and "r2", the average over the five traits; as it was where no labelled
        clip of the split was left out, or not all five traits are predicted.
    """
    out = {metric: dict(values) for metric, values in scores.items()}
    if "accuracy" not in out:  # What was learned has nothing to do with these clips.
        return out
    table = load_manifest(manifest)
    gone = {entry.clip for entry in left_out if entry.split == split}
    rows = [
        i for i, (clip, own) in enumerate(zip(table.clips, table.splits, strict=True)) if clip in gone and own == split
    ]
    labels = table.labels(clips.targets)[rows]
    labels = labels[~np.isnan(labels).all(1)]
    if not len(labels):
        return out
    everything = np.concatenate([clips.labels, labels])
    told = np.concatenate([predicted, np.tile(np.nanmean(training, 0), (len(labels), 1))])
    for metric in ("accuracy", "r2"):
        value = float(average(METRICS[metric](everything, told), clips.targets))
        if np.isfinite(value):
            out.setdefault(metric, {})[ALL_CLIPS] = value
    return out
