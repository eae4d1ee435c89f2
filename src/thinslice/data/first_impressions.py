"""From a First Impressions download, or one's own folder of clips, to a manifest; nothing is dropped without a word.

Understood, wherever they lie below the folder and also inside ZIP archives (docs/data.md shows each):

- the official V2 layout: ``annotation_*.pkl``, ``transcription_*.pkl``, ``eth_gender_annotations_*.csv``, age tables;
- the hub's layout: a ``metadata.csv`` per split;
- V1: ground truth as CSV, ``VideoName,ValueExtraversion,...``;
- media in any folders, one's own tables given explicitly.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from thinslice.data.archives import ArchiveMember, base_name, extract_members
from thinslice.data.corpus_files import CorpusFile, MediaIndex, checked_folder, scan_folder, stem_of
from thinslice.data.label_files import LabelFile, NotLabelsError, parse_labels_csv, parse_pickle, split_of
from thinslice.data.manifest import (
    NUMERIC_COLUMNS,
    OPTIONAL_COLUMNS,
    SPLITS,
    Manifest,
    normalise_clip,
    speaker_of,
)
from thinslice.data.official import load_official_clips
from thinslice.data.own_ratings import RatingScale
from thinslice.errors import ManifestError, counted
from thinslice.files import read_file
from thinslice.formats.python2_pickle import load_annotations, load_transcripts
from thinslice.traits import TARGETS

__all__ = ["Imported", "import_first_impressions", "import_folder", "load_annotations", "load_transcripts"]

NO_SPLIT: Final = "unassigned"
"""Split of a clip when nothing says which; `resplit` gives it one."""

_UNOPENED = dict.fromkeys(("rar", "7z", "tar", "gz", "tgz", "z01"), "an archive that is not opened here; unpack it")
_OFFICIAL_NAME = re.compile(r".{11}\.\d{3}(\.mp4)?", re.IGNORECASE)


@dataclass(frozen=True)
class Imported:
    """An import and everything a user should know of it.

    Attributes:
        manifest: the clips; those without media have an empty path, those without labels empty labels.
        read: label file -> what was read from it.
        not_read: file -> why it was not.
        notes: conversions and choices, one line each.
        problems: what failed although the rest was done, one line each.
        labels_without_media: labelled clips of which no media file was found, neither on disk nor in an archive.
        media_without_labels: media files, relative to the folder, that no label names.
        in_archives: clips whose media lie in an archive only -> where.
        rated: columns of which any makes a clip labelled.
    """

    manifest: Manifest
    read: Mapping[str, str]
    not_read: Mapping[str, str]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    labels_without_media: tuple[str, ...]
    media_without_labels: tuple[str, ...]
    in_archives: Mapping[str, str]
    rated: tuple[str, ...] = TARGETS

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON form."""
        return {
            "num_clips": len(self.manifest),
            "num_speakers": len(set(self.manifest.speakers)),
            "splits": self.counts(),
            "digest": self.manifest.digest,
            "read": dict(self.read),
            "not_read": dict(self.not_read),
            "labels_without_media": list(self.labels_without_media),
            "media_without_labels": list(self.media_without_labels),
            "media_in_archives": dict(self.in_archives),
            "notes": list(self.notes),
            "problems": list(self.problems),
        }

    def counts(self) -> dict[str, dict[str, int]]:
        """Return split -> number of clips, of those with labels, transcript and media, and of official ones there are.

        The official splits are always listed where the corpus has any official clip.
        """
        clips = load_official_clips()
        manifest = self.manifest
        known = any(normalise_clip(clip) in clips for clip in manifest.clips)
        official = Counter(clip.split for clip in clips.values() if known)
        labelled = _labelled(manifest.columns, len(manifest), self.rated)
        texts = manifest.columns.get("transcript", ("",) * len(manifest))
        out: dict[str, dict[str, int]] = {}
        for split in dict.fromkeys((*(SPLITS if known else ()), *manifest.splits)):
            rows = [i for i, name in enumerate(manifest.splits) if name == split]
            out[split] = {
                "clips": len(rows),
                "labelled": sum(labelled[i] for i in rows),
                "transcripts": sum(bool(texts[i]) for i in rows),
                "media": sum(bool(manifest.paths[i]) for i in rows),
                "official": official.get(split, 0),
            }
        return out


@dataclass
class _Findings:
    """What an import collects on its way."""

    read: dict[str, str] = field(default_factory=dict)
    not_read: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def import_first_impressions(
    folder: str | os.PathLike[str],
    *,
    labels: Sequence[str | os.PathLike[str]] = (),
    password: str | None = None,
    extract_to: str | os.PathLike[str] | None = None,
    on_extracted: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Make a manifest of a First Impressions download, V1 or V2, whole or in part.

    A clip's split is the one its label file's name says, else the official one, else the one its media's folder says.
    Its speaker is its YouTube video. Number codes of age, gender, ethnicity and mood become words and [-1, 1].

    Args:
        folder: wherever the download lies, unpacked or not.
        labels: further CSV files to take for labels, whatever their names.
        password: of encrypted archives.
        extract_to: folder into which media found in archives only are extracted; None leaves their paths empty.
        on_extracted: called with bytes done and bytes in all while extracting.

    Raises:
        ManifestError: no such folder, nothing to import in it, not enough space to extract.
    """
    found = _Findings()
    root = checked_folder(folder)
    files = scan_folder(root, password, found.problems)
    sources = _read_all(files, password, found)
    sources += [_read_explicit(path, found) for path in labels]
    media = [file for file in files if file.is_media]
    return _assemble(root, media, sources, found, password, extract_to, on_extracted, speaker_of)


def import_folder(
    folder: str | os.PathLike[str],
    labels: Sequence[str | os.PathLike[str]],
    scale: RatingScale | None = None,
) -> Imported:
    """Make a manifest of one's own folder of media and tables of labels.

    Numbers and words are taken as they stand. A clip is named in the tables as its file is, with or without suffix, or
    by its path below the folder. Without a column `speaker` each clip counts as its own speaker; without `split` the
    path may say it (``train/x.mp4``).

    A folder of frames is a clip (`scan_folder` says what is one). A picture that lies by itself is a clip where a table
    names it, or where the folder holds no recordings and no frames at all.

    Args:
        folder: holds the media, at any depth.
        labels: CSV files with a column that names clips.
        scale: how ratings in these files are meant; None for traits and the interview from 0 to 1.

    Raises:
        ManifestError: no such folder, no media and no labels, a mistake in a table.
    """
    found = _Findings()
    root = checked_folder(folder)
    everything = scan_folder(root, None, found.problems)
    scale = scale or RatingScale()
    sources = [_read_explicit(path, found, scale) for path in labels]
    files = [file for file in everything if file.is_media]
    no_recordings = not files
    named = {stem_of(clip) for source in sources for clip in source.clips}
    for file in everything:
        if file.is_picture and file.path and (no_recordings or {stem_of(file.where), stem_of(file.name)} & named):
            files.append(file)
    packed = [file.where for file in everything if file.is_picture and file.path is None]
    _report(found.problems, "picture", "in archives; unpack to use:", packed)
    if not any("speaker" in source.cells for source in sources):
        found.notes.append("no column speaker: each clip counts as its own speaker, so no split can be seen to leak")
    return _assemble(root, files, sources, found, None, None, lambda done, total: None, _speaker_of_own, scale.rated)


def _speaker_of_own(clip: str) -> str:
    """Official names keep their meaning; of any other name the stem, since nothing tells what its parts mean."""
    name = clip.rpartition("/")[2]
    return speaker_of(name) if _OFFICIAL_NAME.fullmatch(name) else stem_of(clip)


def _read_all(files: Iterable[CorpusFile], password: str | None, found: _Findings) -> list[LabelFile]:
    """Read every label file; pickles first, since where two files differ the first counts."""
    sources = []
    candidates = [(file, file.name.lower().rpartition(".")[2]) for file in files if not file.is_media]
    for file, suffix in sorted(candidates, key=lambda pair: (pair[1] not in ("pkl", "pickle"), pair[0].where)):
        if suffix not in ("pkl", "pickle", "csv"):
            found.not_read[file.where] = _UNOPENED.get(suffix, "no label file, archive or media")
            continue
        try:
            parse = parse_labels_csv if suffix == "csv" else parse_pickle
            source = parse(file.read(password), file.where)
        except NotLabelsError as why:
            found.not_read[file.where] = str(why)
        except ManifestError as error:
            found.problems.append(str(error))
            found.not_read[file.where] = "see problems"
        else:
            sources.append(source)
            found.read[file.where] = source.summary
            found.notes.extend(source.notes)
    return sources


def _read_explicit(path: str | os.PathLike[str], found: _Findings, own: RatingScale | None = None) -> LabelFile:
    """Read a table the user named; what is wrong with it stops the import."""
    where = os.fspath(path)
    try:
        data = read_file(path)
    except OSError as error:
        raise ManifestError(f"{where}: cannot be read ({error.strerror})") from None
    try:
        source = parse_labels_csv(data, where, trusted=True, own=own)
    except NotLabelsError as why:
        raise ManifestError(f"{where}: {why}") from None
    # Only the file's own name may say a split: what the folders above it are called is the user's affair.
    source = replace(source, split=split_of(base_name(where)))
    found.read[where] = source.summary
    found.notes.extend(source.notes)
    return source


def _assemble(
    root: Path,
    files: Sequence[CorpusFile],
    sources: Sequence[LabelFile],
    found: _Findings,
    password: str | None,
    extract_to: str | os.PathLike[str] | None,
    on_extracted: Callable[[int, int], None],
    speaker_from_name: Callable[[str], str],
    rated: Sequence[str] = TARGETS,
) -> Imported:
    index = MediaIndex(files)
    names = _clip_names(sources)
    media = {key: index.find(clip) for key, clip in names.items()}
    for clip, file in index.unused():
        taken = _key_of(clip) in names  # the same name in two folders, one of them labelled
        key = normalise_clip(file.where) if taken else _key_of(clip)
        names[key], media[key] = file.where if taken else clip, file
    if not names:
        reasons = "; ".join(found.problems[:3]) or "neither label files nor media are in it"
        raise ManifestError(f"{root}: nothing to import: {reasons}")
    _report(found.problems, "clip", "whose media lie there more than once; used is", index.doubled)
    _report(found.problems, "media file", "that two clips name:", index.shared)
    _report(found.notes, "file", "named as a clip's media but for the suffix, left out:", index.alternates)
    columns = _merge(sources, names, found)
    said = _splits_said(sources, names, found.problems)
    labelled = {key for name, cells in columns.items() if name in rated for key in cells}
    without_media = tuple(sorted(names[key] for key in labelled if media[key] is None))
    without_labels = {file.where for key, file in media.items() if file is not None and key not in labelled}
    _report_unknown_attributes(sources, names, found.notes)

    splits = _choose_splits(names, said, media, found.problems)
    order = {split: i for i, split in enumerate(SPLITS)}
    keys = sorted(names, key=lambda key: (order.get(splits[key], len(order)), splits[key], names[key]))
    paths, in_archives = _paths(keys, names, media, root, extract_to, password, found, on_extracted)
    manifest = Manifest(
        clips=tuple(names[key] for key in keys),
        paths=tuple(paths[key] for key in keys),
        splits=tuple(splits[key] for key in keys),
        speakers=tuple(columns.get("speaker", {}).get(key) or speaker_from_name(names[key]) for key in keys),
        columns={
            name: tuple(columns[name].get(key, "") for key in keys)
            for name in dict.fromkeys((*OPTIONAL_COLUMNS, *columns))
            if columns.get(name) and name != "speaker"
        },
        folder=root,
        source=str(root),
    )
    return Imported(
        manifest=manifest,
        read=found.read,
        not_read=found.not_read,
        notes=tuple(found.notes),
        problems=tuple(found.problems),
        labels_without_media=without_media,
        media_without_labels=tuple(sorted(without_labels)),
        in_archives=in_archives,
        rated=tuple(rated),
    )


def _clip_names(sources: Iterable[LabelFile]) -> dict[str, str]:
    """Return normalised name -> name as the manifest will have it, of every clip that is to be a row."""
    official = load_official_clips()
    names: dict[str, str] = {}
    for source in sources:
        for clip in source.clips:
            key = _key_of(clip)
            names.setdefault(key, official[key].clip if key in official else clip)
    return names


def _key_of(clip: str) -> str:
    """One key for all spellings of a clip; of official clips folders before the name do not count."""
    key = normalise_clip(clip)
    base = key.rpartition("/")[2]
    return base if base in load_official_clips() else key


def _merge(sources: Iterable[LabelFile], names: Mapping[str, str], found: _Findings) -> dict[str, dict[str, str]]:
    """Join what all files say; where two differ the first one counts, and the difference is a problem."""
    columns: dict[str, dict[str, str]] = {}
    origin: dict[str, str] = {}
    for source in sources:
        for name, cells in source.cells.items():
            if name == "split":
                continue
            column = columns.setdefault(name, {})
            first = origin.setdefault(name, source.where)
            differing = []
            for clip, text in cells.items():
                key = _key_of(clip)
                if key in names and not _agrees(name, column.setdefault(key, text), text):
                    differing.append(names[key])
            _report(found.problems, "clip", f"whose {name} in {source.where} is not that of {first}:", differing)
    return columns


def _report(lines: list[str], noun: str, text: str, cases: Sequence[str]) -> None:
    """Add one line for all cases of one kind: how many there are, and the first."""
    if cases:
        lines.append(f"{counted(len(cases), noun)} {text} {cases[0]}")


def _agrees(name: str, first: str, second: str) -> bool:
    if first == second:
        return True
    # Text files of the labels have fewer digits than the pickles; a step of the label grid is above 0.009.
    return name in NUMERIC_COLUMNS and abs(float(first) - float(second)) < 1e-4


def _splits_said(sources: Iterable[LabelFile], names: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    """Return the split that label files give each clip, by a column or by their own name."""
    said: dict[str, str] = {}
    for source in sources:
        contradicted = []
        column = {_key_of(clip): text for clip, text in source.cells.get("split", {}).items()}
        keys = dict.fromkeys(_key_of(clip) for clip in source.clips)
        for key in (*keys, *(key for key in column if key not in keys)):
            split = column.get(key) or (source.split if key in keys else None)
            if split and key in names and said.setdefault(key, split) != split:
                contradicted.append(f"{names[key]}, {said[key]} elsewhere and {split} there")
        _report(problems, "clip", f"whose split {source.where} contradicts:", contradicted)
    return said


def _choose_splits(
    names: Mapping[str, str],
    said: Mapping[str, str],
    media: Mapping[str, CorpusFile | None],
    problems: list[str],
) -> dict[str, str]:
    """Return each clip's split: what a label file says, else the official one, else what the media's folder says."""
    official = load_official_clips()
    splits = {}
    unofficial = []
    for key, name in names.items():
        file = media[key]
        by_name = official[key].split if key in official else None
        splits[key] = said.get(key) or by_name or (split_of(file.where) if file else None) or NO_SPLIT
        if by_name and splits[key] != by_name:
            unofficial.append(f"{name}, here {splits[key]}, officially {by_name}")
    _report(problems, "clip", "not in the official split:", unofficial)
    return splits


def _report_unknown_attributes(sources: Iterable[LabelFile], names: Mapping[str, str], notes: list[str]) -> None:
    for source in sources:
        if source.clips:
            continue
        unknown = {_key_of(clip) for cells in source.cells.values() for clip in cells} - names.keys()
        if unknown:
            notes.append(f"{source.where}: left out, as nothing else is known of them: {counted(len(unknown), 'clip')}")


def _paths(
    keys: Sequence[str],
    names: Mapping[str, str],
    media: Mapping[str, CorpusFile | None],
    root: Path,
    extract_to: str | os.PathLike[str] | None,
    password: str | None,
    found: _Findings,
    on_extracted: Callable[[int, int], None],
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the path of each clip's media, extracting what lies in archives if asked, and what stays in archives."""
    paths = dict.fromkeys(keys, "")
    packed: dict[str, ArchiveMember] = {}
    in_archives: dict[str, str] = {}
    for key in keys:
        file = media[key]
        if file is not None and file.path is not None:
            paths[key] = file.where
        elif file is not None and file.member is not None:
            packed[key] = file.member
            in_archives[names[key]] = file.where
    if extract_to is None or not packed:
        return paths, in_archives
    total, done = sum(member.size for member in packed.values()), 0

    def step(member: ArchiveMember) -> None:
        nonlocal done
        done += member.size
        on_extracted(done, total)

    target = Path(extract_to).absolute()
    extracted = extract_members(list(packed.values()), target, password, found.problems, step)
    for key, member in packed.items():
        if member in extracted:
            paths[key] = Path(os.path.relpath(extracted[member], root)).as_posix()
            del in_archives[names[key]]
    return paths, in_archives


def _labelled(columns: Mapping[str, Sequence[str]], num_clips: int, rated: Sequence[str]) -> list[bool]:
    cells = [columns[name] for name in rated if name in columns]
    return [any(column[i] for column in cells) for i in range(num_clips)]
