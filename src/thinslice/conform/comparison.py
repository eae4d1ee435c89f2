"""What a comparison with an independent implementation is, and how it is run.

Nothing is downloaded: an implementation is an installed package or a checkout in a folder that the user names, and what
is not there is said together with the line that brings it.
"""

import hashlib
import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np

from thinslice.errors import ThinsliceError, one_line, reason_of

Pair = tuple[np.ndarray, np.ndarray]
"""Ours and theirs, of one shape."""

Verdict = Literal["equal", "DIFFERS", "not here"]


class NotHereError(ThinsliceError):
    """An independent implementation that is not on this machine; its text is the line that brings it."""


@dataclass(frozen=True)
class Given:
    """What the user gives.

    Attributes:
        folder: holds checkouts, each under its repository's name; None for none.
        chainer: a Python that has Chainer 1; None for none.
    """

    folder: Path | None = None
    chainer: str | None = None


@dataclass(frozen=True)
class Package:
    """An independent implementation that is a package.

    Attributes:
        distribution: its name on PyPI.
        licence: its.
        pip: what follows "pip install".
    """

    distribution: str
    licence: str
    pip: str

    def find(self, given: Given) -> str:
        """Return its name and version; NotHereError where it is not installed."""
        try:
            return f"{self.distribution} {metadata.version(self.distribution)}"
        except metadata.PackageNotFoundError:
            raise NotHereError(f"pip install {self.pip}") from None


@dataclass(frozen=True)
class Checkout:
    """An independent implementation that is a file in somebody's repository.

    Attributes:
        repository: "owner/name" on GitHub.
        file: its path in the repository.
        licence: the repository's.
    """

    repository: str
    file: str
    licence: str

    def path(self, given: Given) -> Path:
        """Return the file; NotHereError where it is not in the folder that the user names."""
        name = self.repository.partition("/")[2]
        path = (given.folder or Path("DIR")) / name / self.file
        if given.folder is None or not path.is_file():
            folder = given.folder or "DIR"
            line = f"git clone https://github.com/{self.repository} {folder}/{name}"
            raise NotHereError(line if given.folder else f"{line}, then --from DIR")
        return path

    def find(self, given: Given) -> str:
        """Return the repository and the first digits of the file's SHA-256; NotHereError where it is not there."""
        return f"{self.repository} {hashlib.sha256(self.path(given).read_bytes()).hexdigest()[:12]}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Ours beside theirs.

    Attributes:
        name: what the command calls it.
        what: what is compared, in a few words.
        systems: that use it.
        theirs: the independent implementation.
        expected: the largest difference that was found when this was written.
        most: the largest that is taken for rounding.
        run: makes both from equal weights and inputs.
    """

    name: str
    what: str
    systems: tuple[str, ...]
    theirs: Package | Checkout
    expected: float
    most: float
    run: Callable[[Given], Sequence[Pair]]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came out of a comparison.

    Attributes:
        comparison: which.
        version: of the independent implementation, "" where it is not here.
        difference: the largest, see `largest_difference`; None where it is not here.
        verdict: "equal" up to rounding, "DIFFERS", or "not here".
        remedy: the line that brings what is not here, or the error that a comparison ended in, else "".
    """

    comparison: Comparison
    version: str = ""
    difference: float | None = None
    verdict: Verdict
    remedy: str = ""


def compare(comparison: Comparison, given: Given) -> Outcome:
    """Run one comparison. One that ends in an error differs: names or shapes of weights do not fit, for example.

    Theirs may be a program, which prints, and ends itself: it ends nothing here, and what it prints goes to stderr.

    Args:
        comparison: which.
        given: what the user gives.
    """
    version = ""
    try:
        version = comparison.theirs.find(given)
        with redirect_stdout(sys.stderr):
            pairs = comparison.run(given)
        difference = max(largest_difference(ours, theirs) for ours, theirs in pairs)
    except NotHereError as error:
        return Outcome(comparison=comparison, version=version, verdict="not here", remedy=str(error))
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        remedy = f"pip install {name}, in a version that fits what is installed; {version} needs it"
        return Outcome(comparison=comparison, version=version, verdict="not here", remedy=remedy)
    except ImportError as error:
        remedy = f"{version} does not load here: {error}"
        return Outcome(comparison=comparison, version=version, verdict="not here", remedy=remedy)
    except (Exception, SystemExit) as error:  # foreign code raises what it likes
        remedy = one_line(f"{type(error).__name__}: {error}")[:300]
        inf = float("inf")
        return Outcome(comparison=comparison, version=version, difference=inf, verdict="DIFFERS", remedy=remedy)
    verdict: Verdict = "equal" if difference <= comparison.most else "DIFFERS"
    return Outcome(comparison=comparison, version=version, difference=difference, verdict=verdict)


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest absolute difference, over the largest absolute value of theirs where that exceeds 1.

    Infinite where shapes differ, where a value is no number, and where theirs are all alike: equal constants prove
    nothing.
    """
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()) or (b.size > 1 and np.ptp(b) == 0):
        return float("inf")
    return float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))


def load_package(name: str) -> ModuleType:
    """Return a module of an installed package.

    Raises:
        ImportError: it does not load, whatever the reason: packages that were built for another PyTorch end in errors
            of many types.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise
    except Exception as error:
        raise ImportError(f"{type(error).__name__}: {reason_of(error)}") from error


def load_file(path: Path) -> ModuleType:
    """Return a Python file of a checkout as a module of its own. What runs is what its SHA-256 names, not a cache."""
    module = ModuleType(f"thinslice_conform_{path.stem}")
    module.__file__ = str(path)
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module
