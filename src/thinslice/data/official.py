"""Facts about First Impressions V2 that ship with thinslice: the clips' names, sizes and hashes, label grid, codes."""

import csv
import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

from thinslice.data.manifest import normalise_clip

LABEL_GRID: Final = {
    "openness": 90,
    "conscientiousness": 103,
    "extraversion": 107,
    "agreeableness": 91,
    "neuroticism": 96,
    "interview": 107,
}
"""Every official label is k / n for a whole number k, and this is n.

Found in the data, nowhere written: all 36,000 labels of the training split lie on these grids to within 3e-16, and on
no coarser ones.
"""

GRID_TOLERANCE: Final = 1e-6
"""How far from the grid, in score units, a label may lie: files with six decimals are still on it."""

AGE_GROUPS: Final = {
    "1": "0-6",
    "2": "7-13",
    "3": "14-18",
    "4": "19-24",
    "5": "25-32",
    "6": "33-45",
    "7": "46-60",
    "8": "61+",
}
"""Codes of perceived age and the years they stand for (ChaLearn, dataset 24, age annotations)."""

GENDERS: Final = {"1": "male", "2": "female"}
"""Codes of perceived gender (ChaLearn, dataset 24, gender and ethnicity annotations)."""

ETHNICITIES: Final = {"1": "Asian", "2": "Caucasian", "3": "African-American"}
"""Codes of perceived ethnicity, in the annotators' words (ChaLearn, dataset 24, gender and ethnicity annotations)."""


@dataclass(frozen=True)
class OfficialClip:
    """One of the 10,000 clips as the organisers distribute it.

    Attributes:
        clip: name of the file.
        split: "train", "validation" or "test".
        size: length of the file, bytes.
        sha256: hash of the file, hexadecimal.
    """

    clip: str
    split: str
    size: int
    sha256: str


@lru_cache(maxsize=1)
def load_official_clips() -> Mapping[str, OfficialClip]:
    """Return the official clips under their names without ".mp4" (see `normalise_clip`)."""
    packed = resources.files("thinslice.data").joinpath("official_clips.csv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(packed).decode("ascii")))
    return {
        normalise_clip(row["clip"]): OfficialClip(row["clip"], row["split"], int(row["bytes"]), row["sha256"])
        for row in rows
    }


def distance_to_grid(target: str, label: float) -> float:
    """Return how far a label lies from the nearest official one, in score units; 0 where the target has no grid."""
    levels = LABEL_GRID.get(target)
    return 0.0 if levels is None else abs(label - round(label * levels) / levels)
