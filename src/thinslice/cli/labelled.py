"""Reading the clips that a command scores: a manifest, some of its splits, and a table of further attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from thinslice.errors import counted
from thinslice.output import say
from thinslice.traits import TARGETS


def read_labelled(
    path: Path, splits: Sequence[str] = (), attributes: Path | None = None, targets: Sequence[str] = TARGETS
) -> Any:
    """Return a manifest's clips as `thinslice.evaluate.scorecard.LabelledClips`.

    Args:
        path: the manifest.
        splits: which splits of it; all without any.
        attributes: a table with a column clip whose other columns are joined, see `join_attributes`.
        targets: the columns that are labels.

    Raises:
        ManifestError: what is wrong with either file, or a split that is not there.
    """
    import numpy as np

    from thinslice.data.manifest import load_manifest
    from thinslice.errors import ManifestError
    from thinslice.evaluate.scorecard import LabelledClips

    manifest = load_manifest(path)
    if splits:
        for name in splits:
            if name not in manifest.splits:
                found = ", ".join(sorted(set(manifest.splits))) or "none"
                raise ManifestError(f"{path}: no split {name}; there are: {found}")
        manifest = manifest.select(np.array([name in splits for name in manifest.splits], dtype=bool))
    columns: Mapping[str, Sequence[str]] = {"split": manifest.splits, **manifest.columns}
    clips = LabelledClips(
        manifest.clips, manifest.speakers, manifest.labels(targets), columns, str(path), tuple(targets)
    )
    if attributes is None:
        return clips
    return replace(clips, columns=join_attributes(clips.clips, columns, attributes))


def join_attributes(clips: Sequence[str], columns: Mapping[str, Sequence[str]], path: Path) -> dict[str, Sequence[str]]:
    """Return the columns of clips with those of a table beside them.

    Where both have a column the table only fills what is blank: an annotation goes before an estimate. Rows of other
    clips are counted on stderr and not used.

    Args:
        clips: names; the table's are matched as those of prediction files are.
        columns: name -> cell of each clip.
        path: the table, CSV with a column clip.

    Raises:
        ManifestError: no such table, no column clip, a clip twice.
    """
    from thinslice.data.table import read_table
    from thinslice.errors import ManifestError
    from thinslice.evaluate.clip_names import match_clips

    table = read_table(path, ("clip",))
    row_of: dict[int, int] = {}
    for row, clip in enumerate(match_clips(clips, table.column("clip"))):
        if clip is None:
            continue
        if clip in row_of:
            raise ManifestError(f"{table.where(row)}: clip {clips[clip]} is listed twice; keep one row")
        row_of[clip] = row
    if others := len(table.rows) - len(row_of):
        say(f"{path}: for other clips, not used: {counted(others, 'row')}")
    joined = dict(columns)
    for name in table.header:
        if name == "clip":
            continue
        cells, own = table.column(name), columns.get(name, ("",) * len(clips))
        joined[name] = [
            known if known.strip() or i not in row_of else cells[row_of[i]].strip() for i, known in enumerate(own)
        ]
    return joined
