"""Splits that keep speakers apart: resplits and folds, seeded, stratified on the labels, saved as files to cite.

The official splits share most of their speakers, so a score on them rewards knowing the speaker. Here all clips of a
speaker go to one split, and the splits' label distributions are kept alike.

The method is greedy: speakers come in the order of their number of clips, ties in an order drawn from the seed, and
each goes where it leaves the splits' counts nearest to their shares. Counted are clips, and clips in each fifth of
each target's labels. All arithmetic is on whole numbers and the order comes from SHA-256, so that a seed gives the
same split on every machine and with every version of Python and NumPy.
"""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from thinslice.data.manifest import Manifest, normalise_clip
from thinslice.data.table import format_table, read_table
from thinslice.errors import ManifestError, UsageError, counted
from thinslice.files import write_atomically
from thinslice.traits import TARGETS

NUM_BINS: Final = 5
"""Parts of equal size into which a target's labels are cut for stratification."""

OFFICIAL_SHARES: Final = {"train": 3, "validation": 1, "test": 1}
"""Parts of the official split: 6,000, 2,000 and 2,000 clips."""

SPLIT_FILE_COLUMNS: Final = ("clip", "split", "speaker")
"""Columns of a split file. It holds no labels, so it may be published where the data may not."""


def resplit(manifest: Manifest, shares: Mapping[str, int] = OFFICIAL_SHARES, seed: int = 0) -> Manifest:
    """Return the manifest with new splits, no speaker in two of them.

    Args:
        manifest: its present splits do not count.
        shares: split -> its part of the clips, whole numbers such as 3, 1, 1 or 80, 10, 10.
        seed: another seed gives another split.

    Raises:
        UsageError: shares that are not positive, fewer speakers than splits.
    """
    if not shares or any(share < 1 for share in shares.values()):
        raise UsageError("shares are whole numbers above 0, such as train=3 validation=1 test=1")
    assigned = assign_speakers(manifest, list(shares.values()), seed)
    names = list(shares)
    return replace(manifest, splits=tuple(names[part] for part in assigned), warnings=())


def kfold(manifest: Manifest, num_folds: int, seed: int = 0) -> list[Manifest]:
    """Return a manifest for each of `num_folds` folds, no speaker in two splits of any.

    In the k-th (from 0), part k is "test", part k + 1 "validation" (with three folds or more) and the rest "train";
    each clip is thus in "test" once.

    Raises:
        UsageError: fewer than two folds, fewer speakers than folds.
    """
    if num_folds < 2:
        raise UsageError(f"{num_folds} folds: at least 2 are needed")
    parts = assign_speakers(manifest, [1] * num_folds, seed)
    folds = []
    for fold in range(num_folds):
        ahead = [(part - fold) % num_folds for part in parts]
        names = {0: "test", 1: "validation" if num_folds > 2 else "train"}
        folds.append(replace(manifest, splits=tuple(names.get(step, "train") for step in ahead), warnings=()))
    return folds


def assign_speakers(manifest: Manifest, shares: Sequence[int], seed: int) -> list[int]:
    """Return the part, 0 to len(shares) - 1, of each clip; all clips of a speaker have the same.

    Args:
        manifest: its speakers and labels count.
        shares: relative sizes of the parts, whole numbers above 0.
        seed: decides between speakers of equal weight.

    Raises:
        UsageError: fewer speakers than parts.
    """
    speakers = sorted(set(manifest.speakers))
    if len(speakers) < len(shares):
        raise UsageError(
            f"{manifest.source}: {counted(len(speakers), 'speaker')} cannot be divided among {len(shares)} splits; "
            "fill the column speaker, or ask for fewer"
        )
    row_of = {speaker: row for row, speaker in enumerate(speakers)}
    rows = np.array([row_of[speaker] for speaker in manifest.speakers])
    counts = np.zeros((len(speakers), 1 + len(TARGETS) * NUM_BINS), dtype=np.int64)
    np.add.at(counts, rows, _strata(manifest))
    order = sorted(range(len(speakers)), key=lambda row: (-counts[row, 0], _draw(seed, speakers[row])))

    divisor = math.gcd(*shares)
    weights = np.array([share // divisor for share in shares], dtype=np.int64)
    whole = int(weights.sum())
    # excess[part] is whole * (count - share of the total), 0 when the part is exactly full; the cost is the sum of its
    # squares over parts and columns, divided by the part's weight so that a small part may not be off by as much.
    excess = -weights[:, None] * counts.sum(axis=0)
    scale = math.lcm(*weights.tolist()) // weights
    part_of = np.empty(len(speakers), dtype=np.int64)
    empty = list(range(len(weights)))
    for place, row in enumerate(order):
        added = whole * counts[row]
        change = ((2 * excess + added) * added).sum(axis=1) * scale
        # The last speakers go to parts that would otherwise stay empty.
        part = empty[0] if len(order) - place <= len(empty) else int(change.argmin())
        if part in empty:
            empty.remove(part)
        excess[part] += added
        part_of[row] = part
    return [int(part) for part in part_of[rows]]


def speaker_overlap(manifest: Manifest) -> dict[tuple[str, str], list[str]]:
    """Return the speakers that two splits share, for every pair of splits that shares any."""
    speakers: dict[str, set[str]] = {}
    for split, speaker in zip(manifest.splits, manifest.speakers, strict=True):
        speakers.setdefault(split, set()).add(speaker)
    names = list(speakers)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return {(a, b): sorted(speakers[a] & speakers[b]) for a, b in pairs if speakers[a] & speakers[b]}


def save_split(manifest: Manifest, path: str | os.PathLike[str]) -> str:
    """Write clip, split and speaker, nothing else, sorted by clip; return the file's SHA-256, to be cited with it.

    Raises:
        ManifestError: the place cannot be written.
    """
    rows = sorted(zip(manifest.clips, manifest.splits, manifest.speakers, strict=True))
    data = format_table(SPLIT_FILE_COLUMNS, rows).encode()
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def apply_split(manifest: Manifest, path: str | os.PathLike[str]) -> Manifest:
    """Return the manifest with the splits of a split file. Clips that the file does not have are an error.

    Raises:
        ManifestError: no split file, one that lacks a clip or gives a clip twice, or has another speaker for it.
    """
    table = read_table(path, SPLIT_FILE_COLUMNS)
    split_of: dict[str, tuple[str, str]] = {}
    columns = zip(*(table.column(name) for name in SPLIT_FILE_COLUMNS), strict=True)
    for row, (clip, split, speaker) in enumerate(columns):
        if split_of.setdefault(normalise_clip(clip), (split, speaker)) != (split, speaker):
            raise ManifestError(f"{table.where(row)}: clip {clip} is listed twice, with different splits or speakers")
    absent = [clip for clip in manifest.clips if normalise_clip(clip) not in split_of]
    if absent:
        raise ManifestError(
            f"{table.source}: lacks {counted(len(absent), 'clip')} of {manifest.source}, such as {absent[0]}"
        )
    splits = []
    for clip, speaker in zip(manifest.clips, manifest.speakers, strict=True):
        split, other = split_of[normalise_clip(clip)]
        if other != speaker:
            raise ManifestError(f"{table.source}: the speaker of {clip} is {other}, in {manifest.source} {speaker}")
        splits.append(split)
    return replace(manifest, splits=tuple(splits), warnings=())


def _draw(seed: int, speaker: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{speaker}".encode("utf-8", "surrogatepass")).digest()


def _strata(manifest: Manifest) -> NDArray[np.int64]:
    """Return one row per clip: 1, then for each target a 1 in the bin of its label, or none where it has no label."""
    labels = manifest.labels(TARGETS)
    out = np.zeros((len(manifest), 1 + len(TARGETS) * NUM_BINS), dtype=np.int64)
    out[:, 0] = 1
    for k in range(len(TARGETS)):
        known = np.flatnonzero(~np.isnan(labels[:, k]))
        if not len(known):
            continue
        values = np.sort(labels[known, k])
        # Labels of the data themselves as edges, not values between them: the bins do not depend on rounding.
        edges = values[[len(values) * i // NUM_BINS for i in range(1, NUM_BINS)]]
        bins = np.searchsorted(edges, labels[known, k], side="right")
        out[known, 1 + k * NUM_BINS + bins] = 1
    return out
