"""What a manifest says of its clips beside their labels, read in the same way as their features."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from thinslice.data.manifest import Manifest
from thinslice.features.store import Index
from thinslice.train.data import FeatureReader

PREFIX: Final = "column:"
"""Before a column's name, where a sample reads it: `clip.read("column:gender")`."""


@dataclass(frozen=True)
class WithColumns:
    """A `FeatureReader` that knows columns of the manifest too, each a string array of shape ().

    Attributes:
        features: what reads the stored features.
        columns: clip -> column -> text, "" where it is empty.
    """

    features: FeatureReader
    columns: Mapping[str, Mapping[str, str]]

    def shape(self, clip: str, feature: str) -> tuple[int, ...]:
        """Return its shape."""
        return () if feature.startswith(PREFIX) else self.features.shape(clip, feature)

    def read(self, clip: str, feature: str, index: Index = None) -> np.ndarray:
        """Return it, or entries of its first axis."""
        if feature.startswith(PREFIX):
            return np.array(self.columns[clip][feature.removeprefix(PREFIX)])
        return self.features.read(clip, feature, index)

    def digest(self) -> str:
        """Return what identifies the values of all features and columns of all clips."""
        columns = json.dumps({clip: dict(cells) for clip, cells in self.columns.items()}, sort_keys=True)
        return hashlib.sha256(f"{self.features.digest()}\n{columns}".encode()).hexdigest()

    def only(self, features: Sequence[str]) -> FeatureReader:
        """Return a reader of some of the features and columns."""
        names = [name.removeprefix(PREFIX) for name in features if name.startswith(PREFIX)]
        stored = self.features.only([name for name in features if not name.startswith(PREFIX)])
        if not names:
            return stored
        return WithColumns(stored, {clip: {name: own[name] for name in names} for clip, own in self.columns.items()})


def with_columns(features: FeatureReader, table: Manifest, names: Sequence[str]) -> FeatureReader:
    """Return a reader of features that reads columns of a manifest too, empty where it has no such column."""
    if not names:
        return features
    cells = {name: table.columns.get(name, ("",) * len(table)) for name in names}
    return WithColumns(features, {clip: {n: cells[n][i] for n in names} for i, clip in enumerate(table.clips)})
