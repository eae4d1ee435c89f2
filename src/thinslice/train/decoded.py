"""A decoded copy of stored pictures, made once and shared by runs, from which training reads without decoding.

    COPY/ab/abcdef....npy    the pictures of one stored feature, named by the hash of its JPEG files and its shape

What is read is what decoding gives, to the last bit, so a run is the same with a copy and without. Only training and
validation clips are copied, and companions: test clips are read once.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.features.store import FeatureStore, Index, StoredFeature, StoreReader
from thinslice.files import atomic_path, locked
from thinslice.processes import Died, run_in_processes
from thinslice.train.columns import WithColumns
from thinslice.train.data import ClipData, FeatureReader, RunData

Files = Mapping[str, Mapping[str, tuple[Path, tuple[int, ...]]]]
"""Clip -> feature -> where its decoded pictures are, and their shape."""


@dataclass(frozen=True)
class DecodedReader:
    """A `FeatureReader` that takes pictures from a decoded copy, and all else from the store.

    Attributes:
        stored: what reads the store.
        files: of the pictures that are in the copy.
    """

    stored: StoreReader
    files: Files

    def shape(self, clip: str, feature: str) -> tuple[int, ...]:
        """Return its shape."""
        found = self.files.get(clip, {}).get(feature)
        return self.stored.shape(clip, feature) if found is None else found[1]

    def read(self, clip: str, feature: str, index: Index = None) -> np.ndarray:
        """Return it, or entries of its first axes, as a new array.

        Raises:
            UsageError: its file has gone or is damaged.
        """
        found = self.files.get(clip, {}).get(feature)
        if found is None:
            return self.stored.read(clip, feature, index)
        path, shape = found
        try:
            mapped = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise UsageError(f"{path}: cannot be read ({error}); delete it, and train makes it again") from None
        if mapped.shape != shape or mapped.dtype != np.uint8:
            raise UsageError(f"{path}: is not the decoded copy of a feature; delete it, and train makes it again")
        entries: Any = ... if index is None else index
        picked: np.ndarray = np.asarray(mapped)[entries]
        return picked.copy() if np.may_share_memory(picked, mapped) else picked

    def digest(self) -> str:
        """Return what identifies the values of all features of all clips: the store's."""
        return self.stored.digest()

    def only(self, features: Sequence[str]) -> "DecodedReader":
        """Return a reader of some of the features."""
        files = {clip: {n: own[n] for n in features if n in own} for clip, own in self.files.items()}
        return DecodedReader(self.stored.only(features), files)


@dataclass(frozen=True)
class _Job:
    """One feature to be decoded."""

    store: Path
    media_sha256: str
    spec: FeatureSpec
    target: Path
    size: int


@dataclass(frozen=True)
class Copying:
    """What is missing of a copy.

    Attributes:
        root: its folder.
        jobs: of the features that are not in it.
        num_present: features that are.
    """

    root: Path
    jobs: tuple[_Job, ...]
    num_present: int

    @property
    def size(self) -> int:
        """Bytes that it will take beside what is there."""
        return sum(job.size for job in self.jobs)

    def describe(self) -> str:
        """Return what will be written and how much room there is, for a person."""
        there = f", {self.num_present:,} are there" if self.num_present else ""
        free = f"{_gigabytes(_free(self.root))} are free"
        return f"{self.root}: pictures of {len(self.jobs):,} features to decode, {_gigabytes(self.size)}{there}; {free}"

    def do(self, num_workers: int = 1) -> Iterator[int]:
        """Write what is missing; yield how much of it is done, after each feature.

        Files appear whole. Another program that fills the same folder is waited for, and what it left is taken.

        Raises:
            UsageError: it does not fit on the disk, cannot be written, or a stored feature is damaged.
        """
        if self.size > _free(self.root):
            raise UsageError(
                f"{self.root}: the decoded pictures take {_gigabytes(self.size)}, "
                f"{_gigabytes(_free(self.root))} are free there; name another folder, or train without --decoded"
            )
        with locked(self.root, wait_s=-1):
            for part in self.root.glob("*/.*.part"):  # Of a killed program: nobody else writes here.
                part.unlink(missing_ok=True)
            jobs = [job for job in self.jobs if not job.target.exists()]
            done = len(self.jobs) - len(jobs)
            for outcome in _run(jobs, num_workers):
                if isinstance(outcome, Died):
                    raise UsageError(f"{self.root}: {outcome.tell('decoded pictures')}")
                done += 1
                yield done


def plan_copy(data: RunData, root: Path) -> tuple[RunData, Copying]:
    """Return the data of a run, reading pictures from a decoded copy, and what has to be done before.

    Args:
        data: of the run, read from a feature store.
        root: folder of the copy; made when it is filled.

    Raises:
        UsageError: a stored feature is damaged.
    """
    jobs: dict[Path, _Job] = {}
    files: set[Path] = set()

    def plan(clips: ClipData) -> ClipData:
        stored = clips.features.features if isinstance(clips.features, WithColumns) else clips.features
        assert isinstance(stored, StoreReader)
        table: dict[str, dict[str, tuple[Path, tuple[int, ...]]]] = {}
        for clip in clips.clips:
            for feature, spec in stored.features.items():
                about = stored.about(clip, feature)
                if about.coding != "jpeg":
                    continue
                path = _path(root, about)
                table.setdefault(clip, {})[feature] = path, about.shape
                if path not in files and not path.exists():
                    origin = stored.origins[clip][feature]
                    jobs[path] = _Job(stored.store.root, origin, spec, path, int(np.prod(about.shape)))
                files.add(path)
        reader: FeatureReader = DecodedReader(stored, table)
        if isinstance(clips.features, WithColumns):
            reader = replace(clips.features, features=reader)
        return replace(clips, features=reader)

    splits = {name: clips if name == "test" else plan(clips) for name, clips in data.splits.items()}
    companions = {name: plan(clips) for name, clips in data.companions.items()}
    copying = Copying(root, tuple(jobs.values()), len(files) - len(jobs))
    return replace(data, splits=splits, companions=companions), copying


def _path(root: Path, stored: StoredFeature) -> Path:
    name = hashlib.sha256(f"{stored.sha256}\n{stored.shape}".encode()).hexdigest()
    return root / name[:2] / f"{name}.npy"


def _run(jobs: Sequence[_Job], num_workers: int) -> Iterator[Any]:
    if num_workers > 1 and len(jobs) > 1:
        for _, outcome in run_in_processes(_prepare, jobs, num_workers):
            yield outcome
    else:
        yield from map(_decode, jobs)


def _prepare() -> Callable[[_Job], None]:
    return _decode


def _decode(job: _Job) -> None:
    array = FeatureStore(job.store).read(job.media_sha256, job.spec)
    with atomic_path(job.target) as part, part.open("wb") as file:
        np.save(file, array)


def _free(root: Path) -> int:
    """Return the bytes that are free where a folder is, or will be."""
    place = root.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
