"""Computing the features that specs ask for."""

import time
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from thinslice.errors import MissingExtraError
from thinslice.features.extractor import find_extractor
from thinslice.features.spec import FeatureSpec
from thinslice.media.source import Source


def reads_words(specs: Iterable[FeatureSpec]) -> bool:
    """Return whether any of these features is one of the words."""
    return any(find_extractor(spec.extractor).reads_words for spec in specs)


def extract_features(
    source: Source, specs: Mapping[str, FeatureSpec]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Compute features of one source.

    Args:
        source: the window of a media file; its sound is decoded once for all features.
        specs: name -> what to compute.

    Returns:
        (name -> array, name -> wall seconds, imports and decoding included).

    Raises:
        MediaError: what an extractor needs is not in the file.
        MissingExtraError: an extractor's optional dependency is not installed.
    """
    arrays: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    for name, spec in specs.items():
        began = time.perf_counter()
        arrays[name] = extract_feature(source, spec)
        seconds[name] = time.perf_counter() - began
    return arrays, seconds


def extract_feature(source: Source, spec: FeatureSpec) -> np.ndarray:
    """Compute one feature of one source; raises as `extract_features`."""
    extractor = find_extractor(spec.extractor)
    try:
        return extractor.extract(source, **msgspec.structs.asdict(spec.typed_params()))
    except ModuleNotFoundError as error:
        if not extractor.extra or (error.name or "").startswith("thinslice"):
            raise
        raise MissingExtraError(f"the feature {spec.extractor} (no module {error.name})", extractor.extra) from None
