"""A feature spec: which extractor computes an array, at which code version, with which parameters."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """What has to be computed from a clip. Two equal specs give byte-identical arrays.

    Attributes:
        extractor: name of an extractor in `thinslice.features.extract.EXTRACTORS`.
        version: version of the extractor's code; raised whenever its values may change.
        params: the extractor's keyword arguments, JSON scalars only.
    """

    extractor: str
    version: int = 1
    params: Mapping[str, Scalar] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as bundles and runs store it."""
        return {"extractor": self.extractor, "version": self.version, "params": dict(self.params)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FeatureSpec":
        """Read the JSON form; unknown keys raise TypeError."""
        return cls(**data)

    def key(self, media_sha256: str) -> str:
        """Return the name under which a store keeps this feature of that media file."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{media_sha256}\n{canonical}".encode()).hexdigest()
