"""Features of every clip of a manifest into a store: resumable, side by side, failures collected.

One clip is one unit of work: its media are hashed once, its sound is decoded once for all features, what is already
stored is left out. Units share nothing but the store, so that any number of processes, on any machines that see the
same folders, may work on them; a process has one unit at a time, whatever the size of the manifest.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from thinslice.cluster import Shared
from thinslice.data.manifest import Manifest
from thinslice.data.table import format_table, read_table
from thinslice.errors import ManifestError, UsageError
from thinslice.extraction.job import Job, Outcome, extract_clip
from thinslice.features.extract import reads_words
from thinslice.features.spec import FeatureSpec
from thinslice.features.store import FeatureStore, open_reader
from thinslice.files import write_atomically
from thinslice.jobs import run_jobs
from thinslice.processes import Died

FAILURES: Final = "failures.csv"
"""Table in the store's folder: what could not be extracted, and why."""

COLUMNS: Final = ("clip", "path", "feature", "error")


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What was done to a store for a manifest.

    Attributes:
        clips: (clip, media file or None) of all that was looked at: clips with media, or with a transcript where
            features of the words are wanted.
        num_without_media: the other clips of the manifest.
        num_written: features computed and stored now.
        num_present: features that were there.
        failures: (clip, path, feature, why), sorted.
        seconds: wall time.
        seconds_of: feature -> summed time of computing it.
    """

    clips: tuple[tuple[str, str | None], ...]
    num_without_media: int
    num_written: int
    num_present: int
    failures: tuple[tuple[str, str, str, str], ...]
    seconds: float
    seconds_of: Mapping[str, float]

    @property
    def num_clips(self) -> int:
        """How many clips were looked at."""
        return len(self.clips)


@dataclass(frozen=True, kw_only=True)
class Extracted(Filled):
    """What a store then has of a manifest.

    Attributes:
        num_complete: clips that have all features.
        digest: SHA-256 over clips, specs and values of the complete clips.
    """

    num_complete: int
    digest: str


def extract(
    manifest: Manifest,
    specs: Mapping[str, FeatureSpec],
    store: str | os.PathLike[str],
    workers: int = 1,
    ray_address: str | None = None,
    on_done: Callable[[Outcome], None] = lambda outcome: None,
    isolated: bool = False,
) -> Extracted:
    """Do `fill_store`, and look at what the store then has: arguments and errors are the same."""
    filled = fill_store(manifest, specs, store, workers, ray_address, on_done, isolated)
    complete, digest = 0, ""
    if (Path(store) / "features").is_dir():
        reader, _ = open_reader(store, specs, filled.clips, manifest.transcripts)
        complete, digest = len(reader), reader.digest()
    return Extracted(**vars(filled), num_complete=complete, digest=digest)


def fill_store(
    manifest: Manifest,
    specs: Mapping[str, FeatureSpec],
    store: str | os.PathLike[str],
    workers: int = 1,
    ray_address: str | None = None,
    on_done: Callable[[Outcome], None] = lambda outcome: None,
    isolated: bool = False,
) -> Filled:
    """Compute features of all clips that have media, and keep them in a store.

    Features of the words come from the manifest's transcripts, where it has them, and then need no media.

    What a killed or concurrent run has stored is used. What failed is tried again, and written to failures.csv in the
    store's folder.

    Args:
        manifest: the clips.
        specs: name -> what to compute, such as a recipe's features.
        store: the store's folder; made if it is not there.
        workers: processes on this machine.
        ray_address: compute on that Ray cluster instead, whose nodes must see the media and the store under the same
            paths; "local" starts one on this machine.
        on_done: called after each clip.
        isolated: whether a single worker, too, is a process of its own, which a clip may crash without harm.

    Raises:
        ManifestError: no clip has media, nor the words that would do.
        UsageError: an unknown extractor, wrong parameters, a store that cannot be written, a node that does not see it.
        AssetError: a pretrained file is missing.
        MissingExtraError: an optional dependency is not installed.
    """
    began = time.perf_counter()
    if workers < 1:
        raise UsageError(f"{workers} workers: take 1 or more")
    root = Path(store).absolute()
    jobs = _plan_jobs(manifest, specs, root)
    FeatureStore(root).sweep()
    written = present = 0
    seconds_of = dict.fromkeys(specs, 0.0)
    failures: list[tuple[str, str, str, str]] = []
    for outcome in _run(jobs, workers, ray_address, isolated):
        written += len(outcome.written)
        present += len(outcome.present)
        for name, seconds in outcome.seconds.items():
            seconds_of[name] += seconds
        failures += [(outcome.job.clip, outcome.job.path, name, why) for name, why in outcome.failures]
        on_done(outcome)
    failures.sort()
    _write_failures(root / FAILURES, manifest, failures)
    return Filled(
        clips=tuple((job.clip, job.path or None) for job in jobs),
        num_without_media=len(manifest) - len(jobs),
        num_written=written,
        num_present=present,
        failures=tuple(failures),
        seconds=time.perf_counter() - began,
        seconds_of=seconds_of,
    )


def _plan_jobs(manifest: Manifest, specs: Mapping[str, FeatureSpec], store: Path) -> list[Job]:
    """Return a job for each clip that has what its features are computed from; ManifestError where none has."""
    transcripts, words_do = manifest.transcripts, reads_words(specs.values())
    jobs = [
        Job(clip, str(manifest.path(i)) if path else "", dict(specs), str(store), transcripts.get(clip))
        for i, (clip, path) in enumerate(zip(manifest.clips, manifest.paths, strict=True))
        if path or (words_do and clip in transcripts)
    ]
    if not jobs:
        raise ManifestError(f"{manifest.source}: no clip has media; fill the column path")
    return jobs


def _run(jobs: Sequence[Job], workers: int, ray_address: str | None, isolated: bool) -> Iterator[Outcome]:
    """Yield the outcome of every job, in any order; a job whose process dies each time counts as failed."""
    if ray_address is None and workers == 1 and not isolated:
        yield from map(extract_clip, jobs)
        return
    media = next((os.path.dirname(job.path) for job in jobs if job.path), None)
    shared = Shared(reads=(media,) if media else (), writes=jobs[0].store)
    for place, outcome in run_jobs(partial(_identity, extract_clip), jobs, workers, ray_address, shared):
        if isinstance(outcome, Died):
            outcome = Outcome(jobs[place], failures=(("", f"{jobs[place].path}: {outcome.tell('read it')}"),))
        yield outcome


def _identity(work: Callable[[Job], Outcome]) -> Callable[[Job], Outcome]:
    return work


def _write_failures(path: Path, manifest: Manifest, failures: Sequence[tuple[str, str, str, str]]) -> None:
    """Write the table: this manifest's failures, and what earlier runs wrote of other clips."""
    mine = set(manifest.clips)
    others: list[Any] = []
    if path.exists():
        table = read_table(path, COLUMNS)
        rows = zip(*(table.column(name) for name in COLUMNS), strict=True)
        others = [row for row in rows if row[0] not in mine]
    if failures or others or path.exists():
        text = format_table(COLUMNS, sorted([*others, *failures]))
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
