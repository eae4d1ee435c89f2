"""The features of each member of a predictor: every member gets those of its own specs, each spec is computed once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from thinslice.bundle import Bundle
from thinslice.errors import MediaError, MissingExtraError
from thinslice.features.extract import extract_features
from thinslice.features.spec import FeatureSpec
from thinslice.media.source import Source


@dataclass(frozen=True)
class MemberFeatures:
    """What one member has of a clip.

    Attributes:
        arrays: input -> array, of the inputs that could be computed.
        reasons: input -> one line on why it could not.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def extract_member_features(
    source: Source, bundles: Iterable[Bundle], seconds: dict[str, float], begin: Callable[[str], None]
) -> list[MemberFeatures]:
    """Compute the features that bundles take of one clip.

    Two inputs of one name but other specs are two arrays; two of the same extractor and parameters are computed once.

    Args:
        source: the clip.
        bundles: of the members, in their order.
        seconds: stage -> wall seconds; added to.
        begin: called with an input's label before it is computed.

    Returns:
        What each bundle gets, in order.
    """
    done: dict[object, np.ndarray | str] = {}
    out = []
    for bundle in bundles:
        found = MemberFeatures()
        for name, spec in bundle.specs.items():
            same = (spec.extractor, spec.typed_params())
            if same not in done:
                begin(bundle.inputs[name].label)
                done[same] = _extract(source, name, spec, seconds)
            value = done[same]
            if isinstance(value, str):
                found.reasons[name] = value
            else:
                found.arrays[name] = value
        out.append(found)
    return out


def _extract(source: Source, name: str, spec: FeatureSpec, seconds: dict[str, float]) -> np.ndarray | str:
    """Return the array, or why there is none."""
    decoded_before = source.decode_seconds
    try:
        arrays, times = extract_features(source, {name: spec})
    except (MediaError, MissingExtraError) as error:
        return str(error)
    decoded = source.decode_seconds - decoded_before
    seconds["decode"] = seconds.get("decode", 0.0) + decoded
    seconds[name] = seconds.get(name, 0.0) + times[name] - decoded
    return arrays[name]
