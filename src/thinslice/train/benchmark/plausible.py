"""A store of features to measure speed with: of the shapes that extractors give.

Pictures are no less detailed than real ones. Nobody is seen or heard in them: pictures are smooth noise, numbers are
noise. They prove speed, never accuracy.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.errors import UsageError
from thinslice.features.face_align import REFERENCES
from thinslice.features.spec import FeatureSpec
from thinslice.features.store import FeatureStore, StoreReader
from thinslice.train.columns import WithColumns
from thinslice.train.data import ClipData, FeatureReader, RunData
from thinslice.train.recipe import Recipe

SECONDS: Final = 15.3
"""Length of a clip of First Impressions."""

NUM_MEDIA: Final = 4
"""Different ones; clips take turns with them, so that a store of hundreds of clips is filled in seconds."""

_DETAIL: Final = 10
"""Pixels from one independent colour to the next: a JPEG file of quality 90 is then no smaller than a real one."""

_Shape = Callable[[Mapping[str, Any]], tuple[int, ...]]


def _picture_side(params: Mapping[str, Any]) -> tuple[int, int]:
    if params["reference"] == "box":
        return params["size"], params["size"]
    return REFERENCES[params["reference"]].height, REFERENCES[params["reference"]].width


PICTURES: Final[Mapping[str, _Shape]] = {
    "frames": lambda params: (params["num_frames"], params["height"], params["width"], 3),
    "aligned_faces": lambda params: (params["draws"], params["num_parts"], *_picture_side(params), 3),
    "face_picture": lambda params: (params["num_frames"], *_picture_side(params), 3),
}
"""Extractor -> shape of its pictures."""

NUMBERS: Final[Mapping[str, _Shape]] = {
    "waveform": lambda params: (round(params["rate_hz"] * min(params.get("duration_s") or SECONDS, SECONDS)),),
    "attributes": lambda params: (9,),
    "egemaps": lambda params: (88,),
    "text_embedding": lambda params: (384,),
    "word_vectors": lambda params: (params["num_words"], params["size"]),
    "short_term_audio": lambda params: (params["num_parts"], 68),
}
"""Extractor -> shape of its numbers."""


def plausible_feature(spec: FeatureSpec, rng: np.random.Generator) -> np.ndarray:
    """Return an array such as an extractor gives: uint8 pictures, or float32 numbers.

    Raises:
        UsageError: an extractor whose shapes are not known here.
    """
    if spec.extractor in PICTURES:
        return smooth_pictures(PICTURES[spec.extractor](spec.params), rng)
    if spec.extractor in NUMBERS:
        return rng.normal(0, 0.1, NUMBERS[spec.extractor](spec.params)).astype(np.float32)
    known = ", ".join([*PICTURES, *NUMBERS])
    raise UsageError(f"no benchmark of features by {spec.extractor}: their shape is not known; those of {known} are")


def smooth_pictures(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return uint8 pictures (..., height, width, 3): noise of few pixels, scaled up."""
    from PIL import Image

    *outer, height, width, _ = shape
    count = int(np.prod(outer))
    coarse = rng.integers(0, 256, (count, height // _DETAIL + 2, width // _DETAIL + 2, 3), dtype=np.uint8)
    scaled = [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC)) for one in coarse]
    return np.stack(scaled).reshape(shape)


def build_plausible_data(recipe: Recipe, root: Path, num_clips: int) -> RunData:
    """Return training clips for a recipe, and as many entries of its companions, in a new store.

    Args:
        recipe: whose features are stored.
        root: the store's folder.
        num_clips: how many clips; `NUM_MEDIA` of them differ.

    Raises:
        UsageError: as `plausible_feature`.
    """
    rng = np.random.default_rng(0)
    reader: FeatureReader = _fill(recipe.features, root, num_clips, rng)
    clips = _names(num_clips)
    if recipe.columns:
        reader = WithColumns(reader, {clip: dict.fromkeys(recipe.columns, "") for clip in clips})
    companions = {
        name: ClipData(
            clips, rng.random((num_clips, len(own.targets))), own.targets, _fill(own.features, root, num_clips, rng)
        )
        for name, own in recipe.companions.items()
    }
    labels = rng.uniform(0.2, 0.8, (num_clips, len(recipe.outputs)))
    return RunData(splits={"train": ClipData(clips, labels, recipe.outputs, reader)}, companions=companions)


def _names(num_clips: int) -> tuple[str, ...]:
    return tuple(f"{number:05d}" for number in range(num_clips))


def _fill(specs: Mapping[str, FeatureSpec], root: Path, num_clips: int, rng: np.random.Generator) -> StoreReader:
    store, media = FeatureStore(root), [f"{number:064x}" for number in range(NUM_MEDIA)]
    for spec in specs.values():
        for one in media:
            store.write(one, spec, plausible_feature(spec, rng))
    origins = {clip: dict.fromkeys(specs, media[i % NUM_MEDIA]) for i, clip in enumerate(_names(num_clips))}
    return StoreReader(root, specs, origins)
