"""Features of whole corpora on disk: computed once, read at random by training.

    store/features/ab/abcdef....arrow    one feature of one media file, named by `FeatureSpec.key`
    store/clips/0123.../<sha256>.json    which media file a clip's name stands for

A feature is an Arrow IPC file, so that any Arrow reader opens it; docs/feature-store.md has what the format was
measured against. Numbers are kept exactly, row-major in one column, memory-mapped when read. Pictures (see
`is_pictures`) are kept as JPEG files, one per row: exact ones would take 130 MB per clip.

Files appear under their names only when complete, and what a name stands for never changes. So a killed run leaves
nothing wrong behind, and several processes, also on several machines, may write one store.
"""

import hashlib
import json
import mmap
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from thinslice.errors import MediaError, MissingExtraError, UsageError, first_line
from thinslice.features.extractor import find_extractor
from thinslice.features.jpeg import decode_pictures, encode_pictures
from thinslice.features.spec import FeatureSpec
from thinslice.files import write_atomically
from thinslice.media.identity import media_sha256, media_stamp

FORMAT: Final = 1
"""Version of the layout; part of every feature's file."""

STALE_S: Final = 24 * 3600
"""An unfinished file this old belongs to nobody any more, seconds."""

Index = int | slice | list[int] | np.ndarray | tuple[np.ndarray, ...] | None
"""Entries of the first axis: one (the axis goes), a range, several in any order, or all. As NumPy does, a tuple of
equally long rows of numbers picks entries of as many first axes: one from each."""

_MIN_SIDE: Final = 8
_META: Final = b"thinslice"
_MOST_OPEN: Final = 8
"""Files that a reader keeps open."""


@dataclass(frozen=True)
class StoredFeature:
    """What a store holds of one feature of one media file, without its values.

    Attributes:
        shape: of the array as it was written.
        dtype: NumPy name of its type.
        coding: "exact" or "jpeg".
        sha256: of the stored bytes: of the values as little-endian numbers, or of the JPEG files in a row.
    """

    shape: tuple[int, ...]
    dtype: str
    coding: str
    sha256: str


def is_pictures(array: np.ndarray) -> bool:
    """Return whether an array is kept as pictures: uint8 (..., height, width, 3), with sides of 8 or more."""
    return (
        array.dtype == np.uint8
        and array.ndim >= 3
        and array.shape[-1] == 3
        and min(array.shape[-3:-1]) >= _MIN_SIDE
        and array.size > 0
    )


class FeatureStore:
    """A folder of features. Opening it reads nothing; it can be pickled.

    Args:
        root: the folder; made by the first `write`.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"<FeatureStore {self.root}>"

    def path(self, media_sha256: str, spec: FeatureSpec) -> Path:
        """Return where a feature lies, or would lie."""
        key = spec.key(media_sha256)
        return Path(f"{self.root}/features/{key[:2]}/{key}.arrow")

    def has(self, media_sha256: str, spec: FeatureSpec) -> bool:
        """Return whether a feature is there, complete."""
        return self.path(media_sha256, spec).exists()

    def write(self, media_sha256: str, spec: FeatureSpec, array: np.ndarray) -> StoredFeature:
        """Keep a feature. Whoever writes the same one at the same time writes the same values; the last one stays.

        Args:
            media_sha256: hash of the media file it was computed from.
            spec: what it is.
            array: numbers of any shape, or pictures.

        Raises:
            UsageError: an array that is not of numbers; the store cannot be written.
            MissingExtraError: pyarrow is not installed.
        """
        pa = _pyarrow()
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise UsageError(f"{spec.extractor}: an array of {array.dtype} cannot be stored, only numbers can")
        if is_pictures(array):
            coding, column = "jpeg", pa.array(encode_pictures(array), pa.binary())
            digest = hashlib.sha256()
            for value in column:
                digest.update(value.as_py())
        else:
            flat = np.ascontiguousarray(array).reshape(-1)
            flat = flat.view(np.uint8) if flat.dtype == bool else flat.astype(flat.dtype.newbyteorder("<"), copy=False)
            coding, column = "exact", pa.array(flat)
            digest = hashlib.sha256(flat.tobytes())
        stored = StoredFeature(array.shape, array.dtype.name, coding, digest.hexdigest())
        about = {
            "format": FORMAT,
            "shape": list(stored.shape),
            "dtype": stored.dtype,
            "coding": coding,
            "sha256": stored.sha256,
            "media_sha256": media_sha256,
            "spec": spec.to_dict(),
        }
        schema = pa.schema([("value", column.type)], {_META: json.dumps(about).encode()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch([column], schema=schema))
        write_atomically(self.path(media_sha256, spec), sink.getvalue())
        return stored

    def about(self, media_sha256: str, spec: FeatureSpec) -> StoredFeature:
        """Return what is known of a feature without reading it.

        Raises:
            UsageError: it is not there, or damaged.
            MissingExtraError: pyarrow is not installed.
        """
        return self.open(media_sha256, spec)[0]

    def shape(self, media_sha256: str, spec: FeatureSpec) -> tuple[int, ...]:
        """Return a feature's shape; raises as `about`."""
        return self.about(media_sha256, spec).shape

    def read(self, media_sha256: str, spec: FeatureSpec, index: Index = None) -> np.ndarray:
        """Return a feature or entries of its first axis; no more is read from disk, or decoded, than these.

        Args:
            media_sha256: hash of the media file.
            spec: what to read.
            index: as NumPy indexes the first axis.

        Returns:
            A new array that the caller may write to.

        Raises:
            UsageError: it is not there, or damaged.
            IndexError: an entry that it does not have.
            MissingExtraError: pyarrow is not installed.
        """
        return pick(spec.extractor, *self.open(media_sha256, spec), index)

    def remember(self, clip: str, path: str | os.PathLike[str], media_sha256: str) -> None:
        """Note that a clip's name stands for a media file, so that it need not be hashed, nor even be there, again.

        Raises:
            UsageError: the store cannot be written.
        """
        size, mtime_ns = media_stamp(path)
        record = {
            "clip": clip,
            "media_sha256": media_sha256,
            "path": os.path.abspath(path),
            "size": size,
            "mtime_ns": mtime_ns,
        }
        text = json.dumps(record, sort_keys=True, ensure_ascii=False)
        target = self._records(clip) / f"{media_sha256}.json"
        with suppress(OSError):
            if target.read_text(encoding="utf-8") == text:
                return
        write_atomically(target, text.encode("utf-8", "surrogateescape"))

    def media_of(self, clip: str, path: str | os.PathLike[str] | None = None) -> str | None:
        """Return the hash of a clip's media file as extraction saw it; None if extraction never saw it.

        Args:
            clip: name as in the manifest.
            path: its media file or folder of frames. Where it is there and is not what extraction saw (by path, size
                and time), the answer comes from hashing it, and is None if that content is new. Where it is not there,
                or not given, the answer is what extraction saw.

        Raises:
            UsageError: the file is missing, and the name stood for several different media.
        """
        records = self._load_records(clip)
        if not records:
            return None
        if path is not None:
            try:
                here = (os.path.abspath(path), *media_stamp(path))
                for record in records:
                    if (record["path"], record["size"], record["mtime_ns"]) == here:
                        return str(record["media_sha256"])
                sha256 = media_sha256(path)
            except MediaError:
                return None  # It is there, and is not a recording: a pipe, or empty.
            except OSError:
                pass  # It is not there.
            else:
                return sha256 if any(record["media_sha256"] == sha256 for record in records) else None
        if len(records) > 1:
            raise UsageError(
                f"{self.root}: {clip} is the name of {len(records)} different media files here, and its own cannot be "
                "read to tell which; put the media where the manifest says, or use one store per corpus"
            )
        return str(records[0]["media_sha256"])

    def sweep(self) -> int:
        """Delete unfinished files that a killed run left behind over a day ago; return how many."""
        count = 0
        for path in [*self.root.glob("features/*/.*.part"), *self.root.glob("clips/*/.*.part")]:
            with suppress(OSError):  # Another process may be sweeping too.
                if time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()
                    count += 1
        return count

    def _records(self, clip: str) -> Path:
        return self.root / "clips" / hashlib.sha256(clip.encode("utf-8", "surrogatepass")).hexdigest()[:40]

    def _load_records(self, clip: str) -> list[dict[str, Any]]:
        records = []
        for path in sorted(self._records(clip).glob("*.json")):
            with suppress(OSError, ValueError):
                records.append(json.loads(path.read_text(encoding="utf-8", errors="surrogateescape")))
        return records

    def open(self, media_sha256: str, spec: FeatureSpec) -> tuple[StoredFeature, Any]:
        """Return what is known of a feature and its column, memory-mapped, for `pick`; raises as `about`."""
        pa = _pyarrow()
        path = self.path(media_sha256, spec)
        try:
            # Not pyarrow's own memory map: it reads in other threads, which takes five times as long.
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            reader = pa.ipc.open_file(pa.py_buffer(mapped))
            about = json.loads(reader.schema.metadata[_META])
            column = reader.get_batch(0).column(0)
        except FileNotFoundError:
            raise UsageError(
                f"{self.root}: no {spec.extractor} of that clip; run `thinslice extract` with the same recipe and store"
            ) from None
        except (OSError, KeyError, TypeError, ValueError) as error:  # ArrowInvalid is a ValueError.
            reason = first_line(error)
            raise UsageError(f"{path}: damaged ({reason}); delete it and run `thinslice extract` again") from None
        if about["format"] != FORMAT:
            raise UsageError(f"{path}: written by another version of thinslice; extract into a new store")
        stored = StoredFeature(tuple(about["shape"]), about["dtype"], about["coding"], about["sha256"])
        return stored, column


def origin_sha256(spec: FeatureSpec, media_sha256: str | None, transcript: str | None) -> str | None:
    """Return the hash of what a feature of a clip was computed from; None where that is not known.

    It is the media file, but for a feature of the words of a clip with a transcript: other words, other feature, and a
    clip without its media has it too.
    """
    if transcript and find_extractor(spec.extractor).reads_words:
        return hashlib.sha256(b"transcript\n" + transcript.encode("utf-8", "surrogatepass")).hexdigest()
    return media_sha256


class StoreReader:
    """The features of a set of clips, for a training loop and its worker processes: it can be pickled and shared.

    Few files are kept open, those of the clip that is being read: a sample asks for a shape, then for entries.

    Args:
        root: the store's folder.
        features: name -> spec, as in a recipe.
        origins: clip -> feature -> hash of what it was computed from; see `open_reader`.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        features: Mapping[str, FeatureSpec],
        origins: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.store = FeatureStore(root)
        self.features = dict(features)
        self.origins = dict(origins)
        self._opened: dict[tuple[str, str], tuple[StoredFeature, Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": {}}  # Memory maps do not travel.

    def __len__(self) -> int:
        return len(self.origins)

    @cached_property
    def clips(self) -> tuple[str, ...]:
        """The clips, in the order given."""
        return tuple(self.origins)

    def read(self, clip: str, feature: str, index: Index = None) -> np.ndarray:
        """Return a clip's feature or entries of its first axis; as `FeatureStore.read`."""
        return pick(self.features[feature].extractor, *self._open(clip, feature), index)

    def shape(self, clip: str, feature: str) -> tuple[int, ...]:
        """Return the shape of a clip's feature, without reading it; raises as `FeatureStore.about`."""
        return self._open(clip, feature)[0].shape

    def about(self, clip: str, feature: str) -> StoredFeature:
        """Return what is known of a clip's feature, without reading it; raises as `FeatureStore.about`."""
        return self._open(clip, feature)[0]

    def _open(self, clip: str, feature: str) -> tuple[StoredFeature, Any]:
        found = self._opened.get((clip, feature))
        if found is None:
            if len(self._opened) >= _MOST_OPEN:
                self._opened.clear()
            found = self._opened[clip, feature] = self.store.open(self.origins[clip][feature], self.features[feature])
        return found

    def only(self, features: Iterable[str]) -> "StoreReader":
        """Return a reader of some of the features; it raises KeyError for others."""
        return StoreReader(self.store.root, {name: self.features[name] for name in features}, self.origins)

    def missing(self) -> list[tuple[str, str]]:
        """Return (clip, feature) of all that is not in the store."""
        return [
            (clip, name)
            for clip, origins in self.origins.items()
            for name, spec in self.features.items()
            if not self.store.has(origins[name], spec)
        ]

    def digest(self) -> str:
        """Return the SHA-256 of what training would read: clips, specs and stored values, in any order.

        Raises:
            UsageError: something is missing or damaged.
        """
        sha = hashlib.sha256(b"thinslice features 1\n")
        for clip in sorted(self.origins):
            for name, spec in sorted(self.features.items()):
                stored = self.store.about(self.origins[clip][name], spec)
                row = [clip, name, spec.to_dict(), stored.shape, stored.dtype, stored.coding, stored.sha256]
                sha.update(json.dumps(row, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        return sha.hexdigest()


def open_reader(
    root: str | os.PathLike[str],
    features: Mapping[str, FeatureSpec],
    clips: Iterable[tuple[str, str | os.PathLike[str] | None]],
    transcripts: Mapping[str, str] = MappingProxyType({}),
) -> tuple[StoreReader, list[tuple[str, str]]]:
    """Open the features of a manifest's clips.

    Args:
        root: the store's folder.
        features: name -> spec, as in a recipe.
        clips: (name, media file); the file may be None or absent, if the store knows the clip.
        transcripts: name -> words, of the clips whose words the manifest has.

    Returns:
        (a reader of the clips that have all features, (clip, what is missing) of the others).

    Raises:
        UsageError: there is no store at `root`; a name that stands for several media.
    """
    store = FeatureStore(root)
    if not (store.root / "features").is_dir():
        raise UsageError(f"{store.root}: no feature store; make it with `thinslice extract MANIFEST --store {root}`")
    found: dict[str, dict[str, str]] = {}
    absent: list[tuple[str, str]] = []
    for clip, path in clips:
        media = store.media_of(clip, path)
        origins = {name: origin_sha256(spec, media, transcripts.get(clip)) for name, spec in features.items()}
        known = {name: origin for name, origin in origins.items() if origin is not None}
        lacking = [name for name in features if name not in known or not store.has(known[name], features[name])]
        if not known:
            absent.append((clip, "not extracted"))
        elif lacking:
            absent.append((clip, "no " + ", ".join(lacking)))
        else:
            found[clip] = known
    return StoreReader(root, features, found), absent


def pick(name: str, stored: StoredFeature, column: Any, index: Index) -> np.ndarray:
    """Return an opened feature or entries of its first axes, as a new array.

    Args:
        name: of the extractor, for messages.
        stored: what is known of the feature.
        column: its rows.
        index: as NumPy indexes the first axis.

    Raises:
        IndexError: an entry that it does not have.
        ValueError: a picture that is damaged.
    """
    shape = stored.shape
    outer = shape[:-3] if stored.coding == "jpeg" else shape  # The axes of the column's rows.
    if index is None:
        return _rows(stored, column, slice(0, len(column))).reshape(shape)
    if not outer:
        raise IndexError(f"{name}: a single entry cannot be indexed")
    step = int(np.prod(outer[1:]))
    if isinstance(index, slice):
        start, stop, stride = index.indices(shape[0])
        if stride == 1:
            stop = max(stop, start)
            return _rows(stored, column, slice(start * step, stop * step)).reshape(stop - start, *shape[1:])
        index = np.arange(start, stop, stride)
    places, picked = _places(name, index, outer)
    return _rows(stored, column, places).reshape((*picked, *shape[len(outer) :]))


def _places(name: str, index: Any, outer: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the rows of a column that an index of its array picks, and the shape that they have together.

    Args:
        name: of the extractor, for messages.
        index: of the first axis, or a tuple of one for each of the first axes.
        outer: the array's axes whose entries are rows.
    """
    axes = [np.asarray(axis) for axis in (index if isinstance(index, tuple) else (index,))]
    for axis in axes:
        if axis.ndim > 1 or axis.shape != axes[0].shape or (axis.size and axis.dtype.kind not in "iu"):
            raise IndexError(f"{name}: an index is a number, a slice, a row of numbers, or a tuple of such rows")
    if len(axes) > len(outer):
        raise IndexError(f"{name}: {len(axes)} indices, of an array whose entries have {len(outer)}")
    place = np.zeros(axes[0].size, np.int64)
    for axis, size in zip(axes, outer, strict=False):
        own = axis.reshape(-1).astype(np.int64)
        own = np.where(own < 0, own + size, own)
        if ((own < 0) | (own >= size)).any():
            raise IndexError(f"{name}: entry {index!r} of {size}")
        place = place * size + own
    inner = outer[len(axes) :]
    step = int(np.prod(inner))
    return (place[:, None] * step + np.arange(step)).reshape(-1), (*axes[0].shape, *inner)


def _rows(stored: StoredFeature, column: Any, rows: slice | np.ndarray) -> np.ndarray:
    """Return rows of a column as a new array: flat numbers, or pictures (n, height, width, 3)."""
    if stored.coding == "jpeg":
        chosen = range(rows.start, rows.stop) if isinstance(rows, slice) else rows.tolist()
        return decode_pictures([column[row].as_buffer() for row in chosen], stored.shape[-3:])
    values = column.to_numpy(zero_copy_only=True)[rows]
    return np.array(values, stored.dtype)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("the feature store", "train") from None
    return pyarrow
