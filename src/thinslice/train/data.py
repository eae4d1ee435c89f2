"""From stored features to batches, the same ones whatever the number of processes, workers and resumptions.

Nothing here keeps a state that a resumed run would have to restore: the order of an epoch depends on seed, stage and
epoch, the crop of a clip on seed, stage, epoch and clip.
"""

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from thinslice.errors import UsageError
from thinslice.features.store import Index
from thinslice.train.recipe import Arrays, Batch, ClipReader, Mode, Sample


class FeatureReader(Protocol):
    """Stored features of many clips, such as `thinslice.features.store`'s; it travels to worker processes."""

    def shape(self, clip: str, feature: str) -> tuple[int, ...]:
        """Return its shape."""
        ...

    def read(self, clip: str, feature: str, index: Index = None) -> np.ndarray:
        """Return it, or entries of its first axis."""
        ...

    def digest(self) -> str:
        """Return what identifies the values of all features of all clips."""
        ...

    def only(self, features: Sequence[str]) -> "FeatureReader":
        """Return a reader of some of the features; it raises KeyError for others."""
        ...


@dataclass(frozen=True)
class ArrayReader:
    """Features held in memory: clip -> feature -> array."""

    arrays: Mapping[str, Mapping[str, np.ndarray]]

    def shape(self, clip: str, feature: str) -> tuple[int, ...]:
        """Return its shape."""
        return tuple(self.arrays[clip][feature].shape)

    def read(self, clip: str, feature: str, index: Index = None) -> np.ndarray:
        """Return it, or entries of its first axis."""
        array = self.arrays[clip][feature]
        return array if index is None else array[index]

    def digest(self) -> str:
        """Return what identifies the values of all features of all clips."""
        sha = hashlib.sha256()
        for clip, features in sorted(self.arrays.items()):
            for name, array in sorted(features.items()):
                sha.update(f"{clip}\n{name}\n{array.dtype.str}{array.shape}\n".encode())
                sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()

    def only(self, features: Sequence[str]) -> "ArrayReader":
        """Return a reader of some of the features."""
        return ArrayReader({clip: {name: own[name] for name in features} for clip, own in self.arrays.items()})


@dataclass(frozen=True)
class StoredClip:
    """One clip of a `FeatureReader`: a `thinslice.train.recipe.ClipReader`."""

    name: str
    reader: FeatureReader

    def shape(self, feature: str) -> tuple[int, ...]:
        """Return the shape of a feature."""
        return self.reader.shape(self.name, feature)

    def read(self, feature: str, index: Index = None) -> np.ndarray:
        """Return a feature, or entries of its first axis."""
        return self.reader.read(self.name, feature, index)


@dataclass(frozen=True, eq=False)
class ClipData:
    """Clips with their labels and where their features are read.

    Attributes:
        clips: names.
        labels: float64 (clips, targets), NaN where unknown.
        targets: names of the labels.
        features: what reads their features.
        weights: how often training draws each clip, on average, against any other, (clips,), not below 0; None for
            all alike.
    """

    clips: tuple[str, ...]
    labels: np.ndarray
    targets: tuple[str, ...]
    features: FeatureReader
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def reader(self, index: int) -> ClipReader:
        """Return the features of one clip."""
        return StoredClip(self.clips[index], self.features)

    def only(self, features: Sequence[str] | None) -> "ClipData":
        """Return the clips with some of their features, all with None."""
        return self if features is None else replace(self, features=self.features.only(features))

    def select(self, rows: Sequence[int] | np.ndarray) -> "ClipData":
        """Return some of the clips, in the order of the rows."""
        weights = None if self.weights is None else self.weights[list(rows)]
        clips = tuple(self.clips[i] for i in rows)
        return ClipData(clips, self.labels[list(rows)], self.targets, self.features, weights)


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What a run learns from and is scored on.

    Attributes:
        splits: "train" and any of "validation" and "test" -> clips with labels of the recipe's outputs.
        companions: the recipe's companion data sets.
        facts: about their origin, for run.json: digests, left-out clips. Compared when a run is resumed.
        origin: where they were on this machine: "manifest" and "store". Not compared: data may move.
    """

    splits: Mapping[str, ClipData]
    companions: Mapping[str, ClipData] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)


def random_state(seed: int, *path: int | str) -> np.random.Generator:
    """Return the random generator of one thing in one place: seed, then stage, epoch, clip or the like."""
    return np.random.default_rng([seed, *(zlib.crc32(p.encode()) if isinstance(p, str) else p for p in path)])


def sample_clip(
    data: ClipData, index: int, sample: Sample, mode: Mode, seed: int, stage: str = "", epoch: int = 0
) -> Arrays:
    """Return the inputs of one clip; the message of an error names it."""
    try:
        return sample(data.reader(index), mode, random_state(seed, stage, epoch, index))
    except (ValueError, IndexError, KeyError) as error:
        raise UsageError(f"clip {data.clips[index]}: its stored features do not fit the recipe ({error})") from error


def collate(samples: Sequence[Arrays], ragged: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Stack the inputs of clips.

    Args:
        samples: inputs of each clip.
        ragged: inputs that are padded with zeros to the longest along their first axis, with "<name>_length" beside.

    Raises:
        ValueError: other inputs differ in shape.
    """
    out = {}
    for name in samples[0]:
        arrays = [np.asarray(sample[name]) for sample in samples]
        if name in ragged:
            lengths = [len(array) for array in arrays]
            stacked = np.zeros((len(arrays), max(lengths), *arrays[0].shape[1:]), arrays[0].dtype)
            for row, array in zip(stacked, arrays, strict=True):
                row[: len(array)] = array
            out[f"{name}_length"] = torch.tensor(lengths, dtype=torch.int64)
        else:
            shapes = {array.shape for array in arrays}
            if len(shapes) > 1:
                raise ValueError(f"input {name} differs in shape between clips of a batch: {sorted(shapes)[:2]}")
            stacked = np.stack(arrays)
        out[name] = torch.from_numpy(stacked)
    return out


@dataclass(frozen=True)
class Plan:
    """What one process does in one forward and backward pass.

    Attributes:
        epoch: whose crops are drawn.
        rows: clips, never empty.
        weight: share of the step's clips in `rows`, times the number of processes: with it the sum over passes and
            the mean over processes are the mean over the step's clips. 0 where there was no clip left for this pass.
        is_last: whether the optimisers step after it.
        companions: name -> (passes through its data before, entry) of each entry.
    """

    epoch: int
    rows: tuple[int, ...]
    weight: float
    is_last: bool
    companions: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)


@dataclass
class Batches(Sampler[Plan]):
    """The passes of one process through an epoch.

    Every optimiser step takes the next `batch_size` clips of the epoch's order and divides them into `num_processes`
    times `num_accumulated` near-equal parts, so that a step's gradient does not depend on how it was divided.

    Attributes:
        num_clips: in the training data.
        batch_size: clips per optimiser step.
        seed: of the order.
        stage: the stage's name.
        rank: this process, from 0.
        num_processes: how many there are.
        num_accumulated: passes per step in each process.
        drop_last: whether to leave out an incomplete last step.
        companions: name -> (entries in its data, entries per step).
        epoch: the epoch that `iter` goes through; Lightning sets it by `set_epoch`.
        weights: how often an epoch draws each clip, on average, against any other; None: every clip once. An epoch
            has `num_clips` clips either way, and a clip comes as often as its weight says, rounded stochastically,
            with the same crop each time, as if its loss weighed so much.
    """

    num_clips: int
    batch_size: int
    seed: int
    stage: str
    rank: int = 0
    num_processes: int = 1
    num_accumulated: int = 1
    drop_last: bool = False
    companions: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    epoch: int = 0
    weights: np.ndarray | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next `iter`."""
        self.epoch = epoch

    @property
    def num_steps(self) -> int:
        """Optimiser steps in an epoch."""
        whole, rest = divmod(self.num_clips, self.batch_size)
        return whole + (rest > 0 and not (self.drop_last and whole > 0))

    def __len__(self) -> int:
        return self.num_steps * self.num_accumulated

    def __iter__(self) -> Iterator[Plan]:
        order = self._order()
        num_parts = self.num_processes * self.num_accumulated
        mine = range(self.rank * self.num_accumulated, (self.rank + 1) * self.num_accumulated)
        for step in range(self.num_steps):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            parts = np.array_split(rows, num_parts)
            others = {name: self._companion(name, step, [len(part) for part in parts]) for name in self.companions}
            for part in mine:
                chosen = tuple(map(int, parts[part]))
                yield Plan(
                    epoch=self.epoch,
                    rows=chosen or (int(rows[0]),),
                    weight=len(chosen) / len(rows) * self.num_processes,
                    is_last=part == mine[-1],
                    companions={name: entries[part] for name, entries in others.items()},
                )

    def _order(self) -> np.ndarray:
        """Return the clips of the epoch, (num_clips,), in their order."""
        rng = random_state(self.seed, self.stage, "order", self.epoch)
        if self.weights is None:
            return rng.permutation(self.num_clips)
        # Systematic sampling of a shuffled list: each clip comes floor or ceil of its expected times, not now and then.
        shuffled = rng.permutation(self.num_clips)
        ends = np.cumsum(self.weights[shuffled]) / self.weights.sum() * self.num_clips
        ends[-1] = self.num_clips  # whatever rounding made of it
        drawn = shuffled[np.searchsorted(ends, np.arange(self.num_clips) + rng.random(), side="right")]
        return rng.permutation(drawn)

    def _companion(self, name: str, step: int, sizes: Sequence[int]) -> list[tuple[tuple[int, int], ...]]:
        """Return the next entries of a companion, which goes through its own data over and over.

        Each part of the clips has a share of the entries in proportion, so that a mean over all entries is the mean of
        the parts' means, weighted as the clips' are; a part without clips has one entry, which does not count.
        """
        size, count = self.companions[name]
        first = (self.epoch * self.num_steps + step) * count
        turns, places = np.divmod(np.arange(first, first + count), size)
        entries = np.empty(count, dtype=np.int64)
        for turn in np.unique(turns):
            order = random_state(self.seed, self.stage, name, int(turn)).permutation(size)
            entries[turns == turn] = order[places[turns == turn]]
        pairs = np.stack([turns, entries], 1)
        ends = np.round(np.cumsum(sizes) / sum(sizes) * count).astype(int)
        parts = np.split(pairs, ends[:-1])
        return [tuple((int(t), int(e)) for t, e in (part if len(part) else pairs[:1])) for part in parts]


@dataclass(frozen=True)
class Sampled:
    """Data and how its entries become inputs."""

    data: ClipData
    sample: Sample
    ragged: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingSet(Dataset[Batch]):
    """Makes the batch of a plan: `dataset[plan]`.

    Attributes:
        clips: the clips.
        companions: the companion data sets.
        seed: of the crops.
        stage: the stage's name.
    """

    clips: Sampled
    companions: Mapping[str, Sampled]
    seed: int
    stage: str

    def __getitem__(self, plan: Plan) -> Batch:
        own = self._part(self.clips, [(plan.epoch, row) for row in plan.rows], self.stage)
        others = {
            name: self._part(source, plan.companions[name], f"{self.stage}/{name}")
            for name, source in self.companions.items()
        }
        return {**own, **others, "epoch": plan.epoch + 1, "weight": plan.weight, "is_last": plan.is_last}

    def _part(self, source: Sampled, entries: Sequence[tuple[int, int]], path: str) -> Batch:
        data = source.data
        samples = [sample_clip(data, row, source.sample, "train", self.seed, path, turn) for turn, row in entries]
        rows = [row for _, row in entries]
        return {
            "inputs": collate(samples, source.ragged),
            "labels": torch.from_numpy(data.labels[rows].astype(np.float32)),
            "clips": torch.tensor(rows, dtype=torch.int64),
        }


@dataclass(frozen=True)
class ScoringSet(Dataset[Arrays]):
    """Single clips as validation or test sees them: `dataset[index]`."""

    source: Sampled
    mode: Mode
    seed: int

    def __len__(self) -> int:
        return len(self.source.data)

    def __getitem__(self, index: int) -> Arrays:
        return sample_clip(self.source.data, index, self.source.sample, self.mode, self.seed, self.mode)
