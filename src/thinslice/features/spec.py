"""A feature spec: which extractor computes an array, with which parameters. The version is the extractor's own."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from thinslice.errors import UsageError
from thinslice.features.extractor import find_extractor

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """What has to be computed from a clip. Two equal specs give byte-identical arrays.

    Attributes:
        extractor: name of an extractor in `thinslice.features.extractor.EXTRACTORS`.
        params: the extractor's parameters, JSON scalars only; those left out have its defaults.

    Raises:
        UsageError: an extractor that this version does not have, or parameters that it does not take.
    """

    extractor: str
    params: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.typed_params()

    @property
    def version(self) -> int:
        """The version of the extractor's code."""
        return find_extractor(self.extractor).version

    def typed_params(self) -> msgspec.Struct:
        """Return all parameters, defaults too, as the extractor's type: frozen and hashable."""
        return find_extractor(self.extractor).read_params(self.params)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as bundles and runs store it."""
        return {"extractor": self.extractor, "version": self.version, "params": dict(self.params)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FeatureSpec":
        """Read the JSON form.

        Raises:
            UsageError: a version of the extractor that this one does not serve; as the class.
            TypeError: unknown keys.
        """
        spec = cls(**{key: value for key, value in data.items() if key != "version"})
        wanted = data.get("version", spec.version)
        if wanted not in (spec.version, *find_extractor(spec.extractor).serves):
            ours = f"this thinslice computes version {spec.version}"
            raise UsageError(f"needs version {wanted} of the feature {spec.extractor}; {ours}")
        return spec

    def key(self, media_sha256: str) -> str:
        """Return the name under which a store keeps this feature of that media file."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{media_sha256}\n{canonical}".encode()).hexdigest()
