"""From a manifest and a feature store to what a run learns from; what is missing is extracted first."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.data.manifest import SPLITS, WEIGHT, Manifest, load_manifest
from thinslice.data.planted.names import is_planted
from thinslice.errors import UsageError
from thinslice.extraction.job import Outcome
from thinslice.extraction.run import FAILURES, fill_store
from thinslice.features.extract import reads_words
from thinslice.features.spec import FeatureSpec
from thinslice.features.store import StoreReader, open_reader
from thinslice.train.columns import with_columns
from thinslice.train.data import ClipData, RunData, StoredClip, random_state
from thinslice.train.documents import RunDocument
from thinslice.train.recipe import Arrays, Recipe, Stage


@dataclass(frozen=True)
class LeftOut:
    """A clip that a run does without, and why."""

    clip: str
    split: str
    why: str


def load_run_data(
    recipe: Recipe,
    manifest: Path,
    store: Path,
    companions: Mapping[str, Path] | None = None,
    *,
    extract_missing: bool = True,
    num_workers: int = 1,
    on_done: Callable[[Outcome], None] = lambda outcome: None,
    isolated: bool = False,
) -> tuple[RunData, list[LeftOut]]:
    """Return the clips of a manifest with their stored features, and the clips that had to be left out.

    A clip is left out where a feature of it cannot be had or none of the recipe's outputs is labelled. They are in
    run.json; a validation or test clip that is left out is in no score.

    Args:
        recipe: what wants the clips.
        manifest: the table of clips; splits other than train, validation and test are not used.
        store: the feature store.
        companions: manifests of the recipe's companions, of which the split train is used; all rows where there is no
            such split.
        extract_missing: whether to compute what the store lacks, where the media are there.
        num_workers: processes that extract.
        on_done: called after each extracted clip.
        isolated: whether a single extracting worker, too, is a process of its own, which a clip may crash without harm.

    Raises:
        ManifestError: the manifest is wrong.
        UsageError: before anything is extracted, a companion that the recipe does not have or that is missing, or
            something that it needs for training and is not on this machine; features that fail for every clip.
    """
    if extract_missing:
        if recipe.check_needs is not None:
            recipe.check_needs()
        check_companions(recipe, companions or {})
    further = _open_companions(recipe, companions or {})
    fill = _Filling(store, max(num_workers, 1) if extract_missing else 0, on_done, isolated)
    table = load_manifest(manifest)
    table = table.select([i for i, split in enumerate(table.splits) if split in SPLITS])
    rows, clips, left_out = _open(table, recipe.features, recipe.outputs, fill)
    clips = replace(clips, features=with_columns(clips.features, table, recipe.columns))
    split_of = [table.splits[row] for row in rows]
    splits = {split: clips.select([i for i, own in enumerate(split_of) if own == split]) for split in SPLITS}
    facts: dict[str, Any] = {
        "manifest": manifest.name,
        "manifest_digest": table.digest,
        "features_digest": clips.features.digest(),
        "left_out": [[entry.clip, entry.split, entry.why] for entry in left_out],
    }
    if any(is_planted(clip) for clip in table.clips):
        facts["synthetic"] = True
    others = {}
    for name, entries in further.items():
        companion = recipe.companions[name]
        _, others[name], missing = _open(entries, companion.features, companion.targets, fill)
        facts[f"{name}_manifest_digest"] = entries.digest
        facts[f"{name}_features_digest"] = others[name].features.digest()
        facts[f"{name}_left_out"] = [[entry.clip, entry.split, entry.why] for entry in missing]
        left_out += missing
    run_data = RunData(
        splits={split: clips for split, clips in splits.items() if len(clips)},
        companions=others,
        facts=facts,
        origin={"manifest": str(manifest.absolute()), "store": str(store.absolute())},
    )
    return run_data, left_out


def check_companions(recipe: Recipe, given: Collection[str]) -> None:
    """Raise UsageError where a recipe learns from a companion data set that is not given."""
    needed = {name for stage in recipe.stages if isinstance(stage, Stage) for name in stage.companions}
    missing = sorted(needed - set(given))
    if missing:
        raise UsageError(f"{recipe.name} learns from {', '.join(missing)} too: give --companion {missing[0]}=MANIFEST")


def _open_companions(recipe: Recipe, given: Mapping[str, Path]) -> dict[str, Manifest]:
    """Return the entries of companions' manifests that are learned from."""
    tables = {}
    for name, path in given.items():
        if name not in recipe.companions:
            known = ", ".join(recipe.companions) or "none"
            raise UsageError(f"{recipe.name} has no companion {name!r}; it has {known}")
        table = load_manifest(path)
        tables[name] = table.select("train") if "train" in table.splits else table
    return tables


def fill_companions(recipe: Recipe, companions: Mapping[str, Path], store: Path, num_workers: int = 1) -> None:
    """Extract what a store lacks of all entries of companions' manifests, also of those that no run learns from.

    Args:
        recipe: whose companions they are.
        companions: their manifests.
        store: the feature store.
        num_workers: processes that extract.

    Raises:
        ManifestError: a manifest is wrong.
        UsageError: features that fail for every entry.
    """
    fill = _Filling(store, num_workers, lambda outcome: None, isolated=False)
    for name, path in companions.items():
        _open_filled(load_manifest(path), recipe.companions[name].features, fill)


@dataclass(frozen=True)
class _Filling:
    """A store, and how what it lacks is extracted: by `num_workers` processes, or not at all with 0."""

    store: Path
    num_workers: int
    on_done: Callable[[Outcome], None]
    isolated: bool


def _open(
    table: Manifest, specs: Mapping[str, FeatureSpec], targets: tuple[str, ...], fill: _Filling
) -> tuple[list[int], ClipData, list[LeftOut]]:
    """Return the rows of the clips that can be learned from, these clips, and the others."""
    reader, absent = _open_filled(table, specs, fill)
    labels = table.labels(targets)
    known = np.asarray(~np.isnan(labels).all(axis=1))
    rows = [i for i, clip in enumerate(table.clips) if clip in reader.origins and known[i]]
    why = dict(absent)
    left_out = [
        LeftOut(clip, table.splits[i], why.get(clip, "no label"))
        for i, clip in enumerate(table.clips)
        if clip in why or not known[i]
    ]
    clips = ClipData(tuple(table.clips[i] for i in rows), labels[rows], targets, reader, _weights(table, rows))
    return rows, clips, left_out


def _open_filled(
    table: Manifest, specs: Mapping[str, FeatureSpec], fill: _Filling
) -> tuple[StoreReader, list[tuple[str, str]]]:
    """Open what a store has of a manifest's clips; extract what it lacks first, where there is anything to read."""
    at_hand = any(path is not None and path.exists() for path in table.media) or (
        bool(table.transcripts) and reads_words(specs.values())
    )
    can_extract = fill.num_workers > 0 and at_hand
    if not can_extract or (fill.store / "features").is_dir():
        reader, absent = _reader(table, specs, fill.store)
        if not (can_extract and absent):
            return reader, absent
    filled = fill_store(table, specs, fill.store, fill.num_workers, on_done=fill.on_done, isolated=fill.isolated)
    if (fill.store / "features").is_dir() or not filled.failures:
        reader, absent = _reader(table, specs, fill.store)
        if reader.clips or not filled.failures:
            return reader, absent
    first = filled.failures[0][-1]
    raise UsageError(f"no clip has all its features: {first} (the others: {fill.store / FAILURES})")


def _reader(
    table: Manifest, specs: Mapping[str, FeatureSpec], store: Path
) -> tuple[StoreReader, list[tuple[str, str]]]:
    """Open what a store has of a manifest's clips, and say what it lacks; as `open_reader`."""
    return open_reader(store, specs, zip(table.clips, table.media, strict=True), table.transcripts)


def _weights(table: Manifest, rows: Sequence[int]) -> np.ndarray | None:
    """Return the weights of some clips, 1 where the manifest has none; None where it has none of any."""
    weights = table.labels((WEIGHT,))[list(rows), 0]
    return None if np.isnan(weights).all() else np.nan_to_num(weights, nan=1.0)


def load_samples(
    recipe: Recipe, document: RunDocument, manifest: Path | None, store: Path | None, count: int = 3
) -> list[Arrays]:
    """Return the inputs of some clips as the test samples them: the shortest, the longest, and some between.

    Args:
        recipe: what samples them.
        document: the run's run.json, which knows manifest and store of its last session.
        manifest: another manifest, or None.
        store: another store, or None.
        count: how many.

    Raises:
        UsageError: no stored clip.
        ManifestError: the manifest is not there any more.
    """
    where, stored = _origin(document, manifest, store)
    table = load_manifest(where)
    reader, _ = _reader(table, recipe.features, stored)
    if not reader.clips:
        raise UsageError(f"{stored}: has no clip of {where} with all features of {recipe.name}")

    def size(clip: str) -> int:
        return sum(int(np.prod(reader.shape(clip, feature))) for feature in recipe.features)

    by_size = sorted(reader.clips, key=lambda clip: (size(clip), clip))
    chosen = dict.fromkeys(by_size[int(place)] for place in np.linspace(0, len(by_size) - 1, count))
    full = with_columns(reader, table, recipe.columns)
    return [recipe.sample(StoredClip(clip, full), "test", random_state(0, clip)) for clip in chosen]


def load_split(
    recipe: Recipe, document: RunDocument, split: str, manifest: Path | None, store: Path | None
) -> ClipData | None:
    """Return the clips of a run's split that are in the store, None where there are none; as `load_samples`."""
    return load_run_of(recipe, document, manifest, store).splits.get(split)


def load_run_of(recipe: Recipe, document: RunDocument, manifest: Path | None, store: Path | None) -> RunData:
    """Return all clips of a run that are in the store; as `load_samples`."""
    data, _ = load_run_data(recipe, *_origin(document, manifest, store), extract_missing=False)
    return data


def _origin(document: RunDocument, manifest: Path | None, store: Path | None) -> tuple[Path, Path]:
    """Return the manifest and the store given, else those of a run's last session."""
    origin = document.sessions[-1].origin if document.sessions else {}
    where = manifest or (Path(origin["manifest"]) if "manifest" in origin else None)
    stored = store or (Path(origin["store"]) if "store" in origin else None)
    if where is None or stored is None:
        raise UsageError("the run does not say what it was trained on: give --data MANIFEST and --store DIR")
    return where, stored
