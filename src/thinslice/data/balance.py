"""Weights by which groups of training clips count alike, as a manifest's column ``weight``.

Training draws a clip as often as its weight says, on average (`thinslice.train.data.Batches`), whatever the recipe; so
a group that is rare in the data is not rare in what a network sees. What it gains and costs: docs/groups.md.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from thinslice.data.manifest import WEIGHT, Manifest
from thinslice.errors import UsageError

MOST = 5.0
"""Largest weight: drawn more often, a handful of people would be learned by heart."""


def balance(manifest: Manifest, columns: Sequence[str], split: str = "train", most: float = MOST) -> Manifest:
    """Return the manifest with weights for the clips of one split; its other clips get none.

    Each group's weights add up to the same, 1 per clip on average, before they are cut at `most`. A clip of which a
    column says nothing weighs 1.

    Args:
        manifest: the clips.
        columns: whose cells make the groups; several are crossed.
        split: whose clips are weighted.
        most: largest weight, above 1.

    Raises:
        ManifestError: no such column or split.
        UsageError: no column, or nothing known of any clip.
    """
    if not columns:
        raise UsageError("no column to balance by")
    manifest.select(split)
    cells = [manifest.column(name) for name in columns]
    groups = [tuple(str(cell).strip() for cell in row) for row in zip(*cells, strict=True)]
    own = [i for i, name in enumerate(manifest.splits) if name == split]
    counts = Counter(groups[i] for i in own if all(groups[i]))
    if not counts:
        raise UsageError(f"{manifest.source}: {' and '.join(columns)}: nothing known of any {split} clip")
    share = sum(counts.values()) / len(counts)
    weights = [""] * len(manifest)
    for i in own:
        weight = share / counts[groups[i]] if all(groups[i]) else 1.0
        weights[i] = f"{min(weight, most):.6g}"
    return replace(manifest, columns={**manifest.columns, WEIGHT: tuple(weights)})
