"""Computing features by the name that specs give them."""

import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Final

import numpy as np

from thinslice.errors import MissingExtraError, UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.media.source import Source

EXTRACTORS: Final[dict[str, str]] = {
    "voice_profile": "thinslice.features.voice:extract_voice_profile",
    "waveform": "thinslice.features.waveform:extract_waveform",
    "frames": "thinslice.features.frames:extract_frames",
    "short_term_audio": "thinslice.features.short_term_audio:extract_short_term_audio",
    "aligned_faces": "thinslice.features.faces:extract_aligned_faces",
    "face_picture": "thinslice.features.face_picture:extract_face_picture",
    "face_portraits": "thinslice.features.face_portraits:extract_face_portraits",
    "attributes": "thinslice.features.attributes:extract_attributes",
    "egemaps": "thinslice.features.egemaps:extract_egemaps",
    "word_vectors": "thinslice.features.word_vectors:extract_word_vectors",
    "text_embedding": "thinslice.features.text_embedding:extract_text_embedding",
    "text_vector": "thinslice.features.text_embedding:extract_text_vector",
}
"""Name in a spec -> "module:function"; a module is imported when first used. Every function is
`extract_x(source: Source, **params) -> np.ndarray` and takes the spec's params as keyword arguments."""

READS_WORDS: Final = frozenset({"word_vectors", "text_embedding"})
"""Extractors that look at nothing but the words, where the source has its transcript."""


def reads_words(specs: Iterable[FeatureSpec]) -> bool:
    """Return whether any of these features is one of the words."""
    return any(spec.extractor in READS_WORDS for spec in specs)


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
        UsageError: an extractor that this version does not have.
        MediaError: what an extractor needs is not in the file.
        MissingExtraError: an extractor's optional dependency is not installed.
    """
    arrays: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    for name, spec in specs.items():
        if spec.extractor not in EXTRACTORS:
            raise UsageError(f"unknown feature {spec.extractor!r}; this version has {', '.join(sorted(EXTRACTORS))}")
        began = time.perf_counter()
        arrays[name] = _load(spec.extractor)(source, **spec.params)
        seconds[name] = time.perf_counter() - began
    return arrays, seconds


def _load(extractor: str) -> Callable[..., np.ndarray]:
    module, function = EXTRACTORS[extractor].split(":")
    try:
        loaded: Callable[..., np.ndarray] = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("thinslice"):
            raise
        raise MissingExtraError(f"the feature {extractor} (no module {error.name})", "video") from None
    return loaded
