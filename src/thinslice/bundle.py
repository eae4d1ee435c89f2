"""Bundles: folders with all that predict needs of a model. Nothing else reads or writes ``bundle.json``.

``bundle.json`` names the model, the inputs it takes, its intervals, percentiles and card, and the sha256 of every
other file. No file of a bundle is code or a pickle.
"""

import hashlib
import itertools
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np

from thinslice.assets import ASSETS, bundle_dir
from thinslice.bundle_format_1 import upgrade_format_1
from thinslice.documents import Document, format_document, load_document
from thinslice.errors import BundleError, UsageError
from thinslice.features.spec import FeatureSpec, Scalar
from thinslice.targets import MAX_TARGETS, is_target
from thinslice.traits import TARGETS

FORMAT: Final = 2
PACKAGED: Final = Path(__file__).resolve().parent / "bundles"
TRANSCRIPT: Final = "transcript"
"""The one input that is text, not an array."""

Kind = Literal["voice_words", "face_voice_words", "onnx"]
NEEDED_FILES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "voice_words": ("weights.npz",),
    "face_voice_words": ("weights.npz", "face.onnx", "picture.onnx"),
    "onnx": ("model.onnx",),
}
SUMS: Final[tuple[Kind, ...]] = ("voice_words", "face_voice_words")
"""Kinds whose score is a sum of shares of its inputs."""

MAX_NAME: Final = 100
MAX_OPTIONAL: Final = 8
"""Optional inputs of a model: every combination of them has intervals."""
MAX_QUANTILES: Final = 10_001
"""Numbers of a target's percentiles: a hundredth of a percent apart."""
_FILE: Final = "bundle.json"
_REMEDY: Final = "install or export the bundle again"


class BundleInput(Document, kw_only=True):
    """One input of a model.

    Attributes:
        extractor: the feature's name; "transcript" for the words themselves.
        version: of the extractor that the model was trained with.
        params: the extractor's parameters.
        label: what a person calls it: "voice", "words", "face", "scene", "sound".
        optional: whether the model can do without.
    """

    extractor: str
    version: int
    params: dict[str, Scalar] = msgspec.field(default_factory=dict)
    label: str
    optional: bool = False

    @classmethod
    def of(cls, spec: FeatureSpec, label: str, optional: bool = False) -> "BundleInput":
        """Return the input that a feature is."""
        return cls(
            extractor=spec.extractor, version=spec.version, params=dict(spec.params), label=label, optional=optional
        )

    @property
    def spec(self) -> FeatureSpec | None:
        """How it is computed from a clip; None for the transcript. UsageError where this thinslice cannot."""
        if self.extractor == TRANSCRIPT:
            return None
        return FeatureSpec.from_dict({"extractor": self.extractor, "version": self.version, "params": self.params})


TRANSCRIPT_INPUT: Final = BundleInput(extractor=TRANSCRIPT, version=1, label="words", optional=True)


class Score(Document, omit_defaults=True):
    """How well a model did on clips that it was not trained on.

    Attributes:
        clips: which clips, such as "5-fold cross-validation, speakers apart".
        inputs: labels of the inputs that were there, joined by "+"; "" for all.
        accuracy: target, or "average" over the five traits -> 1 - mean absolute error.
        r2: target or "average" -> share of the labels' variance that the scores explain.
    """

    clips: str
    inputs: str = ""
    accuracy: dict[str, float] = msgspec.field(default_factory=dict)
    r2: dict[str, float] = msgspec.field(default_factory=dict)


class GraphComparison(Document):
    """How well the exported graph agrees with the network it came from."""

    largest_difference: float
    num_clips: int


class Card(Document, omit_defaults=True):
    """What people should know of a model.

    Attributes:
        summary: what it looks at and listens to.
        inputs: labels of what it takes, filled in when a bundle is read.
        r2: labels of the inputs used, joined by "+", or "" for any -> the R² to quote: the average over the five
            traits on clips of speakers that it was not trained on, or else as published.
        scores: all that was measured.
        scores_note: who measured it, and on what.
        trained_on: which clips.
        num_training_clips: over how many clips the percentiles are taken.
        synthetic: whether these clips are drawn and not filmed: its scores then mean nothing about people.
        limits: where it fails and what it is not for.
        interval_source: what the intervals come from.
        paper: authors and place.
        weights: where the weights come from.
        method: in a sentence.
        licence: of the weights.
        data_credit: whose data.
        neutral: what stands for an input that is missing.
        seed: of the training.
        digests: name -> sha256 of what it was made from.
        source_sha256: of the code that trained it.
        code_version: of the code that wrote the bundle.
        compared_with_pytorch: of an exported network.
        notes: what else there is to say, as nested plain values.
    """

    summary: str
    inputs: tuple[str, ...] = ()
    r2: dict[str, float] = msgspec.field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    scores_note: str = ""
    trained_on: str = ""
    num_training_clips: int | None = None
    synthetic: bool = False
    limits: tuple[str, ...] = ()
    interval_source: str = ""
    paper: str = ""
    weights: str = ""
    method: str = ""
    licence: str = ""
    data_credit: str = ""
    neutral: str = ""
    seed: int | None = None
    digests: dict[str, str] = msgspec.field(default_factory=dict)
    source_sha256: str = ""
    code_version: str = ""
    compared_with_pytorch: GraphComparison | None = None
    notes: dict[str, Any] = msgspec.field(default_factory=dict)

    def r2_for(self, used: Sequence[str]) -> float | None:
        """Return the R² to quote where these inputs were used, None where it is not known."""
        for inputs, value in self.r2.items():
            if not inputs or set(inputs.split("+")) == set(used):
                return value
        return None


class LinearMap(Document, kw_only=True, omit_defaults=True):
    """Where a model's score ends up: intercept + slope * score, cut to [0, 1].

    Attributes:
        intercept: in score units.
        slope: of the score.
        inputs: label of an input -> a line of its share of the score, added where a clip has that input. Only in
            bundles of `SUMS`.
    """

    intercept: float = 0.0
    slope: float = 1.0
    inputs: dict[str, "LinearMap"] = msgspec.field(default_factory=dict)


class BundleDocument(Document, kw_only=True):
    """A bundle.json of format 2.

    Attributes:
        format: `FORMAT`.
        name: of the bundle.
        version: of the bundle.
        kind: what runs it.
        outputs: targets, in the order of its scores: traits, or columns of its manifest that it was trained for.
        inputs: in the order in which a prediction names them.
        files: name -> sha256 of every other file of the folder.
        neutral: the file whose arrays stand for optional inputs that are missing.
        intervals: labels of the inputs used, joined by "+" -> target -> offsets (low <= 0 <= high) of the 80% interval.
        percentiles: target -> quantiles of the training labels, evenly spaced from 0 to 100%.
        card: for people.
        lines: target -> line on which the model's scores are put, see `thinslice adapt`; those as they are have none.
    """

    format: int = FORMAT
    name: str
    version: str
    kind: Kind
    outputs: tuple[str, ...]
    inputs: dict[str, BundleInput]
    files: dict[str, str] = msgspec.field(default_factory=dict)
    neutral: str | None = None
    intervals: dict[str, dict[str, tuple[float, float]]]
    percentiles: dict[str, tuple[float, ...]]
    card: Card
    lines: dict[str, LinearMap] = msgspec.field(default_factory=dict)

    def check(self) -> None:
        """Raise ValueError, with one line on why, where the parts do not belong together."""
        if not self.name or len(self.name) > MAX_NAME or not self.name.isprintable():
            raise ValueError(f"its name is empty, longer than {MAX_NAME} letters, or not printable")
        different = len({name.lower() for name in self.outputs}) == len(self.outputs)
        if not (0 < len(self.outputs) <= MAX_TARGETS and different and all(map(is_target, self.outputs))):
            shown = ", ".join(self.outputs)[:200]
            raise ValueError(f"its outputs {shown} are not different names of targets, such as {', '.join(TARGETS)}")
        if not self.inputs:
            raise ValueError("it has no inputs")
        if sum(entry.optional for entry in self.inputs.values()) > MAX_OPTIONAL:
            raise ValueError(f"it has over {MAX_OPTIONAL} optional inputs")
        odd = [entry.label for entry in self.inputs.values() if not entry.label.isprintable()]
        if odd:
            raise ValueError(f"the label {odd[0][:MAX_NAME]!r} of an input is not printable")
        for used in self.input_combinations():
            for target in self.outputs:
                low, high = self.intervals.get(used, {}).get(target, (1.0, -1.0))
                if not low <= 0.0 <= high:
                    raise ValueError(f"no interval of {target} for the inputs {used}, or one beside its score")
        for target in self.outputs:
            quantiles = self.percentiles.get(target, ())
            if len(quantiles) > MAX_QUANTILES:
                raise ValueError(f"its percentiles of {target} are over {MAX_QUANTILES:,} numbers")
            if len(quantiles) < 2 or any(low > high for low, high in itertools.pairwise(quantiles)):
                raise ValueError(f"its percentiles of {target} are missing or not in order")
        if strange := set(self.lines) - set(self.outputs):
            raise ValueError(f"it has a line for {', '.join(sorted(strange))}, which it does not predict")
        weighed = {label for line in self.lines.values() for label in line.inputs}
        if any(share.inputs for line in self.lines.values() for share in line.inputs.values()):
            raise ValueError("the line of an input's share has inputs of its own")
        labels = {entry.label for entry in self.inputs.values()} if self.kind in SUMS else set()
        if strange := weighed - labels:
            raise ValueError(f"it has a line for the share of {', '.join(sorted(strange))}, which is no part of it")
        needed = [*NEEDED_FILES[self.kind], *([self.neutral] if self.neutral else [])]
        missing = [name for name in needed if name not in self.files]
        if missing:
            raise ValueError(f"its files do not list {', '.join(missing)}")
        outside = [name for name in self.files if name != Path(name).name or name in ("", ".", "..") or "\\" in name]
        if outside:
            raise ValueError(f"it names a file outside its folder: {outside[0]!r}")

    def input_combinations(self) -> list[str]:
        """Return the labels, joined by "+", of every combination of inputs that it can score with."""
        optional = [name for name, entry in self.inputs.items() if entry.optional]
        found: dict[str, None] = {}
        for count in range(len(optional) + 1):
            for gone in itertools.combinations(optional, count):
                labels = [entry.label for name, entry in self.inputs.items() if name not in gone]
                if labels:
                    found["+".join(dict.fromkeys(labels))] = None
        return list(found)


@dataclass(frozen=True)
class Bundle:
    """A bundle on this machine whose document and files were checked.

    Attributes:
        folder: where it is.
        document: its bundle.json.
        specs: input -> how it is computed; without the transcript.
    """

    folder: Path
    document: BundleDocument
    specs: Mapping[str, FeatureSpec]

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.document.name

    @property
    def outputs(self) -> tuple[str, ...]:
        """Targets, in the order of its scores."""
        return self.document.outputs

    @property
    def inputs(self) -> Mapping[str, BundleInput]:
        """Its inputs, by name."""
        return self.document.inputs

    @property
    def card(self) -> Card:
        """What people should know of it."""
        return self.document.card

    def interval(self, used: Sequence[str], target: str) -> tuple[float, float]:
        """Return the offsets (low <= 0 <= high) of the 80% interval when only `used` inputs were there."""
        return self.document.intervals["+".join(used)][target]

    def percentile(self, target: str, score: float) -> float:
        """Return the share, in percent, of training labels below `score`."""
        grid = self.document.percentiles[target]
        return float(np.interp(score, grid, np.linspace(0.0, 100.0, len(grid))))


def find_bundle(name_or_dir: str | Path) -> Path:
    """Return the folder of a bundle: a folder as given, one that ships with thinslice, or an installed one.

    Raises:
        BundleError: nothing of that name; the message lists what there is.
    """
    given = Path(name_or_dir)
    if is_bundle(given):
        return given
    if given.is_dir():
        raise BundleError(f"{given}: not a bundle (no {_FILE} in it); make one with: thinslice export")
    for root in _roots():
        if given.name == str(name_or_dir) and is_bundle(root / given):
            return root / given
    known = ", ".join(list_bundles())
    makers = [asset.name for asset in ASSETS.values() if str(name_or_dir) in asset.bundles]
    hint = "".join(f"; install it with: thinslice assets get {name}" for name in makers)
    raise BundleError(f"{name_or_dir}: no such bundle{hint}; there are: {known}")


def is_bundle(folder: Path) -> bool:
    """Return whether a folder holds a bundle, whole or damaged."""
    return (folder / _FILE).is_file()


def list_bundles() -> list[str]:
    """Return the names of all bundles on this machine."""
    return sorted({path.parent.name for root in _roots() for path in root.glob(f"*/{_FILE}")})


def _roots() -> list[Path]:
    return [PACKAGED, bundle_dir()]


def load_bundle(name_or_dir: str | Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        BundleError: it is missing, damaged, of a format this version does not know, or asks for another version of an
            extractor.
    """
    folder = find_bundle(name_or_dir)
    path = folder / _FILE
    document = load_document(path, BundleDocument, _REMEDY, BundleError, partial(_upgrade, path))
    try:
        document.check()
        specs = {name: entry.spec for name, entry in document.inputs.items()}
    except ValueError as error:
        raise BundleError(f"{path}: damaged ({error}); {_REMEDY}") from None
    except UsageError as error:
        raise BundleError(f"{path}: {error}; export the bundle again, or install the thinslice that made it") from None
    for name, digest in document.files.items():
        _check_file(folder / name, digest)
    labels = tuple(dict.fromkeys(entry.label for entry in document.inputs.values()))
    card = msgspec.structs.replace(document.card, inputs=labels)
    document = msgspec.structs.replace(document, card=card)
    return Bundle(folder, document, {name: spec for name, spec in specs.items() if spec is not None})


def save_bundle(folder: Path, document: BundleDocument, files: Mapping[str, bytes]) -> Path:
    """Write a bundle, whole or not at all: beside its place, then moved there. An older bundle there is replaced.

    Args:
        folder: the bundle's.
        document: its bundle.json; `files` is filled in here.
        files: name -> content of every other file.

    Returns:
        `folder`.

    Raises:
        UsageError: something else lies in the folder, or it cannot be written.
        ValueError: the parts do not belong together.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    document = msgspec.structs.replace(document, files=digests)
    document.check()
    check_place(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder.parent) as incoming:
            staged, old = Path(incoming) / "new", Path(incoming) / "old"
            staged.mkdir()
            for name, content in files.items():
                _write(staged / name, content)
            _write(staged / _FILE, (format_document(document, indent=1) + "\n").encode())
            if folder.exists():
                os.replace(folder, old)
            try:
                os.replace(staged, folder)
            except OSError:
                if old.exists():
                    os.replace(old, folder)
                raise
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return folder


def check_place(folder: Path) -> None:
    """Raise UsageError where something other than a bundle would be overwritten."""
    if folder.exists() and not is_bundle(folder) and (folder.is_file() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there already and is not a bundle; choose another name")


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _upgrade(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return a bundle.json of any known format as one of format 2."""
    found = data.get("format")
    if found == 1:
        return upgrade_format_1(data)
    if isinstance(found, int) and found != FORMAT:
        raise BundleError(f"{path}: format {found}; this thinslice reads 1 and {FORMAT}, so update thinslice")
    return data


def _check_file(path: Path, sha256: str) -> None:
    try:
        if not path.is_file():
            raise BundleError(f"{path}: missing from its bundle; {_REMEDY}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from None
    if found != sha256:
        raise BundleError(f"{path}: does not match its checksum; {_REMEDY}")
