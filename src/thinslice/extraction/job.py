"""One clip's features into a store: the unit of work of an extraction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from thinslice.errors import AssetError, MediaError, MissingExtraError, ThinsliceError, UsageError, first_line
from thinslice.features.extract import extract_features
from thinslice.features.spec import FeatureSpec
from thinslice.features.store import FeatureStore, origin_sha256
from thinslice.media.source import Source

_EVERY_CLIP: Final = (MissingExtraError, AssetError, UsageError)
"""What is wrong for every clip, if for one: the run stops at once."""


@dataclass(frozen=True)
class Job:
    """One clip to do.

    Attributes:
        clip: its name in the manifest.
        path: its media file, absolute; "" where there is none.
        specs: name -> what to compute.
        store: the store's folder, absolute.
        transcript: its words, None where the manifest does not know them.
    """

    clip: str
    path: str
    specs: Mapping[str, FeatureSpec]
    store: str
    transcript: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one clip.

    Attributes:
        job: which.
        written: features computed and stored now.
        present: features that were there.
        failures: (feature, why) of the others; feature is "" where the file itself cannot be read.
        seconds: feature -> wall time of computing it.
    """

    job: Job
    written: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def extract_clip(job: Job) -> Outcome:
    """Do one clip: compute and store what is not stored yet. A feature that fails does not stop the others.

    Raises:
        UsageError, AssetError, MissingExtraError: what would be wrong for every clip.
    """
    store = FeatureStore(job.store)
    source = Source(job.path or job.clip, transcript=job.transcript)
    sha256: str | None = None
    failures: list[tuple[str, str]] = []
    if job.path:
        try:
            sha256 = store.media_of(job.clip, job.path) or source.sha256()
            store.remember(job.clip, job.path, sha256)
        except (MediaError, OSError) as error:
            failures.append(("", _reason(job, error)))
    # Without media, the features of the words are left.
    origins = {name: origin_sha256(spec, sha256, job.transcript) for name, spec in job.specs.items()}
    todo = {name: origin for name, origin in origins.items() if origin and not store.has(origin, job.specs[name])}
    written: list[str] = []
    seconds: dict[str, float] = {}
    for name, origin in todo.items():
        try:
            arrays, taken = extract_features(source, {name: job.specs[name]})
            store.write(origin, job.specs[name], arrays[name])
        except _EVERY_CLIP:
            raise
        except Exception as error:  # A corpus goes on, whatever one file does to a decoder.
            failures.append((name, _reason(job, error)))
            continue
        written.append(name)
        seconds |= taken
    present = tuple(name for name, origin in origins.items() if origin and name not in todo)
    return Outcome(job, tuple(written), present, tuple(failures), seconds)


def _reason(job: Job, error: BaseException) -> str:
    """Return one line on what went wrong."""
    if isinstance(error, ThinsliceError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{job.path}: not enough memory for it; use fewer workers"
    line = first_line(error)
    if isinstance(error, OSError):
        return f"{job.path}: cannot be read ({error.strerror or line})"
    return f"{job.path}: unexpected {type(error).__name__}: {line}; please report this"
