"""A bundle: the folder that holds all that predict needs of a model.

``bundle.json`` names the model, the inputs it takes, its intervals, percentiles and card, and the sha256 of
every other file. No file of a bundle is code or a pickle.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.errors import BundleError
from thinslice.features.spec import FeatureSpec
from thinslice.traits import TARGETS

FORMAT = 1
DEFAULT_BUNDLE = "voice-words"
PACKAGED = Path(__file__).resolve().parent / "bundles"
KINDS = ("voice_words", "onnx")
TRANSCRIPT = "transcript"
"""The one input that is text, not an array; its extractor has the same name."""


@dataclass(frozen=True)
class BundleInput:
    """One input of a model.

    Attributes:
        spec: how it is computed from a clip.
        label: what a person calls it: "voice", "words", "face", "scene", "sound".
        optional: whether the model can do without.
    """

    spec: FeatureSpec
    label: str
    optional: bool = False


@dataclass(frozen=True)
class Bundle:
    """A checked bundle; `document` is bundle.json as read."""

    folder: Path
    name: str
    version: str
    kind: str
    outputs: tuple[str, ...]
    inputs: Mapping[str, BundleInput]
    card: Mapping[str, Any]
    document: Mapping[str, Any]

    def interval(self, used: tuple[str, ...], target: str) -> tuple[float, float]:
        """Return the offsets (low <= 0 <= high) of the 80% interval when only `used` inputs were there."""
        intervals = self.document["intervals"]
        key = "+".join(used)
        if key not in intervals:
            raise BundleError(f"bundle {self.name}: no interval for the inputs {key}; the bundle is incomplete")
        low, high = intervals[key][target]
        return float(low), float(high)

    def percentile(self, target: str, score: float) -> float:
        """Return the share, in percent, of training labels below `score`."""
        grid = np.asarray(self.document["percentiles"][target], dtype=np.float64)
        return float(np.interp(score, grid, np.linspace(0.0, 100.0, len(grid))))


def find_bundle(name_or_dir: str | Path) -> Path:
    """Return the folder of a bundle: a folder as given, one that ships with thinslice, or an installed one.

    Raises:
        BundleError: nothing of that name; the message lists what there is.
    """
    given = Path(name_or_dir)
    if (given / "bundle.json").is_file():
        return given
    if given.is_dir():
        raise BundleError(f"{given}: not a bundle (no bundle.json in it); make one with: thinslice export")
    for root in _roots():
        if given.name == str(name_or_dir) and (root / given / "bundle.json").is_file():
            return root / given
    known = ", ".join(list_bundles())
    hint = "; install it with: thinslice assets get bimodal" if str(name_or_dir).startswith("bimodal") else ""
    raise BundleError(f"{name_or_dir}: no such bundle{hint}; there are: {known}")


def list_bundles() -> list[str]:
    """Return the names of all bundles on this machine."""
    return sorted({path.parent.name for root in _roots() for path in root.glob("*/bundle.json")})


def _roots() -> list[Path]:
    from thinslice.assets import bundle_dir

    return [PACKAGED, bundle_dir()]


def load_bundle(name_or_dir: str | Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        BundleError: it is missing, damaged, or of a format this version does not know.
    """
    folder = find_bundle(name_or_dir)
    path = folder / "bundle.json"
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["format"] != FORMAT:
            raise BundleError(f"{path}: format {document['format']}, this version of thinslice reads {FORMAT}")
        if document["kind"] not in KINDS:
            raise BundleError(f"{path}: unknown kind {document['kind']!r}")
        outputs = tuple(document["outputs"])
        if not outputs or any(name not in TARGETS for name in outputs):
            raise BundleError(f"{path}: outputs {outputs} are not among {TARGETS}")
        inputs = {
            name: BundleInput(
                spec=FeatureSpec(
                    extractor=entry["extractor"], version=entry["version"], params=entry.get("params", {})
                ),
                label=entry["label"],
                optional=bool(entry.get("optional", False)),
            )
            for name, entry in document["inputs"].items()
        }
        for file, digest in document["files"].items():
            _check_file(folder, file, digest)
        return Bundle(
            folder=folder,
            name=document["name"],
            version=document["version"],
            kind=document["kind"],
            outputs=outputs,
            inputs=inputs,
            card=document["card"],
            document=document,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: damaged bundle ({type(error).__name__}: {error}); install it again") from None


def _check_file(folder: Path, name: str, sha256: str) -> None:
    if Path(name).name != name:
        raise BundleError(f"{folder}: bundle names a file outside its folder: {name}")
    try:
        data = (folder / name).read_bytes()
    except OSError:
        raise BundleError(f"{folder / name}: missing from its bundle; install the bundle again") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BundleError(f"{folder / name}: does not match its checksum; install the bundle again")
