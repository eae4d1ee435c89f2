"""What of thinslice is installed, what is missing for what, and whether predict works. No connection is opened.

A missing optional part is not a fault. A part that is there and does not work is.
"""

import os
import platform
import time
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from thinslice import DEFAULT_BUNDLE, __version__
from thinslice.assets import ASSETS, Asset, bundle_dir, cache_dir, locate
from thinslice.bundle import find_bundle, list_bundles, load_bundle
from thinslice.documents import Document
from thinslice.errors import BundleError, printable

EXTRAS: Final = {
    "asr": "predict, to recognise the words where no transcript is given",
    "video": "the bimodal bundles, and recipes that look at faces",
    "train": "train, table, extract, export, emotion and the feature store",
    "egemaps": "the feature egemaps (openSMILE)",
    "hog": "recipes that find faces with dlib's HOG detector",
    "words": "the feature word_vectors (spaCy)",
    "groups": "metric_frame() in Python: fairlearn's tables of groups",
    "pandas": "to_pandas() in Python",
    "web": "web and rate: the page, the service, and the page for raters",
    "ray": "--ray: work spread over the machines of a Ray cluster",
}
"""Optional part of thinslice -> the commands and features that need it."""

_MODULES: Final = {"opencv-python-headless": "cv2", "dlib-bin": "dlib", "scikit-learn": "sklearn"}
"""Distribution -> module, where the two differ; other distributions may bring the module, too."""
_CHECKED_S: Final = 2.0


class Library(Document):
    """A library, the versions that thinslice accepts, the one that is there, and what is wrong with it ("": nothing).

    `version` is None where it is absent, and "" where another distribution brings its module.
    """

    name: str
    accepts: str
    version: str | None
    problem: str


class Extra(Document):
    """An optional part: who needs it, its libraries, which of them are missing or too old, and what brings them."""

    name: str
    needed_by: str
    installed: bool
    missing: tuple[str, ...]
    libraries: tuple[Library, ...]
    command: str


class PretrainedFile(Document):
    """An asset: who needs it, whether it is here, which files are damaged, and what brings it."""

    name: str
    needed_by: str
    installed: bool
    problems: tuple[str, ...]
    command: str


class InstalledBundle(Document):
    """A bundle that predict can load, or why it cannot ("": it can)."""

    name: str
    version: str
    inputs: tuple[str, ...]
    path: str
    problem: str


class SelfCheck(Document):
    """A real prediction of the first 2 s of the sample clip."""

    ok: bool
    bundle: str
    used: tuple[str, ...]
    seconds: float
    problem: str


class Diagnosis(Document):
    """All that `diagnose` found. `ok` is false where something that predict needs is broken.

    Attributes:
        ok: whether predict works with every bundle that is there.
        thinslice: version.
        python: version.
        platform: operating system and processor.
        processors: how many this process may use.
        folders: "package", "cache" and "bundles" -> folder.
        libraries: those without which nothing runs.
        extras: optional parts.
        assets: pretrained files.
        bundles: those on this machine.
        check: the prediction.
    """

    ok: bool
    thinslice: str
    python: str
    platform: str
    processors: int
    folders: dict[str, str]
    libraries: tuple[Library, ...]
    extras: tuple[Extra, ...]
    assets: tuple[PretrainedFile, ...]
    bundles: tuple[InstalledBundle, ...]
    check: SelfCheck


def diagnose() -> Diagnosis:
    """Look at this installation, and predict the sample clip."""
    libraries = tuple(_library(requirement) for requirement in _requirements(""))
    bundles = tuple(_bundle(name) for name in list_bundles())
    check = check_predict()
    problems = [*(library.problem for library in libraries), *(bundle.problem for bundle in bundles)]
    package = Path(__file__).resolve().parent
    folders = {"package": package, "cache": cache_dir(), "bundles": bundle_dir()}
    return Diagnosis(
        ok=check.ok and not any(problems),
        thinslice=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        processors=_num_processors(),
        folders={name: printable(str(folder)) for name, folder in folders.items()},
        libraries=libraries,
        extras=tuple(_extra(name) for name in EXTRAS),
        assets=tuple(_asset(asset) for asset in ASSETS.values()),
        bundles=bundles,
        check=check,
    )


def check_predict() -> SelfCheck:
    """Score the first 2 s of the sample clip with the bundle that predict uses by default, from all but the words.

    It decodes picture and sound, and runs every network of the bundle.
    """
    begun, problem = time.perf_counter(), ""
    used: tuple[str, ...] = ()
    try:
        from thinslice.infer.example import example_clip
        from thinslice.infer.predictor import Predictor

        clip = example_clip()
        if clip is None:
            problem = "the sample clip is not installed: install thinslice again"
        else:
            prediction = Predictor().predict(clip, end_s=_CHECKED_S, without=["words"], explain=False)
            used = prediction.used
    except Exception as error:  # Whatever it is, this is the place that reports it.
        problem = printable(f"{type(error).__name__}: {' '.join(str(error).split())}")
    seconds = round(time.perf_counter() - begun, 2)
    return SelfCheck(ok=not problem, bundle=DEFAULT_BUNDLE, used=used, seconds=seconds, problem=problem)


def _requirements(extra: str) -> Iterator[Requirement]:
    """Yield what the core ("") or an extra requires on this platform, as thinslice's metadata say."""
    try:
        lines = metadata.requires("thinslice") or []
    except metadata.PackageNotFoundError:  # run from its source
        return
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        in_core = marker is None or marker.evaluate({"extra": ""})
        if in_core != bool(extra) and (in_core or (marker is not None and marker.evaluate({"extra": extra}))):
            yield requirement


def _library(requirement: Requirement) -> Library:
    name, accepts = requirement.name, str(requirement.specifier)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if find_spec(_MODULES.get(name, name.replace("-", "_"))) is not None:
            return Library(name=name, accepts=accepts, version="", problem="")
        return Library(name=name, accepts=accepts, version=None, problem=f"{name} is not installed")
    fits = requirement.specifier.contains(version, prereleases=True)
    problem = "" if fits else f"{name} {version} is not {accepts}"
    return Library(name=name, accepts=accepts, version=version, problem=problem)


def _extra(name: str) -> Extra:
    libraries = tuple(_library(requirement) for requirement in _requirements(name))
    missing = tuple(library.problem for library in libraries if library.problem)
    return Extra(
        name=name,
        needed_by=EXTRAS[name],
        installed=bool(libraries) and not missing,
        missing=missing,
        libraries=libraries,
        command=f"pip install 'thinslice[{name}]'",
    )


def _asset(asset: Asset) -> PretrainedFile:
    found, problems = locate(asset)
    return PretrainedFile(
        name=asset.name,
        needed_by=asset.needed_by,
        installed=found is not None,
        problems=tuple(map(printable, problems)),
        command=f"thinslice assets get {asset.name}",
    )


def _bundle(name: str) -> InstalledBundle:
    path = printable(str(find_bundle(name)))
    try:
        bundle = load_bundle(name)
    except BundleError as error:
        return InstalledBundle(name=printable(name), version="", inputs=(), path=path, problem=str(error))
    return InstalledBundle(name=name, version=bundle.document.version, inputs=bundle.card.inputs, path=path, problem="")


def _num_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
