"""Whether a manifest and the media it names are what they should be: a list of findings, and a memory of work done."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from thinslice.data.manifest import SPLITS, Manifest, normalise_clip, speaker_of
from thinslice.data.official import GRID_TOLERANCE, LABEL_GRID, distance_to_grid, load_official_clips
from thinslice.data.splits import speaker_overlap
from thinslice.errors import ThinsliceError, UsageError, counted
from thinslice.files import clear_write_errors
from thinslice.media.identity import media_stamp
from thinslice.media.source import MIN_DURATION_S, Source
from thinslice.traits import TARGETS

Severity = Literal["error", "warning", "note"]
Depth = Literal["none", "quick", "full"]

MAX_GAP_S: Final = 2.0
"""A clip whose pictures stop so many seconds before its end is cut off."""

_DEPTHS: Final = ("none", "quick", "full")
_MANY: Final = 64


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, of all clips it concerns.

    Attributes:
        severity: "error": wrong; "warning": probably not what you want; "note": good to know.
        check: short fixed name of what was checked.
        message: one line.
        clips: the clips concerned, () where it concerns the table.
    """

    severity: Severity
    check: str
    message: str
    clips: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileFacts:
    """What was found out about a media file.

    Attributes:
        size: bytes.
        sha256: hexadecimal; "" where the file could not be read.
        depth: how much was decoded, "none", "quick" or "full".
        problem: why it could not be read or decoded, None if it could.
        lacks: "sound" or "pictures" if it has none.
        num_pictures: of a folder of frames or a picture; 0 for a recording.
    """

    size: int
    sha256: str
    depth: Depth
    problem: str | None = None
    lacks: str | None = None
    num_pictures: int = 0


@dataclass(frozen=True)
class Verified:
    """All findings on a manifest.

    Attributes:
        findings: errors first.
        num_files: media files looked at.
        num_remembered: of these, how many an earlier run had looked at and that have not changed since.
        num_official: clips whose bytes are the official ones.
    """

    findings: tuple[Finding, ...]
    num_files: int
    num_remembered: int
    num_official: int

    @property
    def num_errors(self) -> int:
        """Number of findings that are errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON form."""
        return {
            "ok": not self.num_errors,
            "num_files": self.num_files,
            "num_remembered": self.num_remembered,
            "num_official": self.num_official,
            "findings": [asdict(finding) for finding in self.findings],
        }


def verify(
    manifest: Manifest,
    *,
    depth: Depth = "quick",
    media: bool = True,
    memory: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    workers: int = 1,
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> Verified:
    """Check a manifest's table and its media.

    Args:
        manifest: loading it has already checked columns, duplicates and ranges.
        depth: how much of each file to decode: nothing; the first picture and the first second of sound; everything.
        media: False checks the table only.
        memory: file that remembers what was found about each media file, so that a run can be interrupted in any way
            and taken up again; None remembers nothing.
        fresh: look at every file again, whatever is remembered.
        workers: files looked at side by side.
        on_file: called with files done and files in all.
    """
    findings = check_table(manifest)
    if not media:
        return Verified(_sorted(findings), 0, 0, 0)
    rows = [i for i in range(len(manifest)) if manifest.paths[i]]
    paths = {i: manifest.path(i) for i in rows}
    facts, num_remembered = inspect_files(
        list(paths.values()), depth, memory=memory, fresh=fresh, workers=workers, on_file=on_file
    )
    media_findings, num_official = check_media(manifest, {i: facts[path] for i, path in paths.items()})
    return Verified(_sorted(findings + media_findings), len(facts), num_remembered, num_official)


def check_table(manifest: Manifest) -> list[Finding]:
    """Check what a manifest says without looking at media: speakers, splits, labels, transcripts."""
    findings = [Finding("warning", "table", line) for line in manifest.warnings]
    findings += _check_speakers(manifest)
    findings += _check_official(manifest)
    findings += _check_labels(manifest)
    if "transcript" in manifest.columns:
        silent = _clips(manifest, [not text.strip() for text in manifest.columns["transcript"]])
        findings += _finding("note", "transcripts", "{} without a transcript", silent)
    findings += _finding("note", "media", "{} without a media path", _clips(manifest, [not p for p in manifest.paths]))
    return findings


def check_media(manifest: Manifest, facts: dict[int, FileFacts]) -> tuple[list[Finding], int]:
    """Compare what was found out about media files with what they should be.

    Args:
        manifest: the table.
        facts: row -> what was found out about its file.

    Returns:
        Findings, and how many clips are byte for byte the official ones.
    """
    official = load_official_clips()
    findings: list[Finding] = []
    wrong: dict[str, list[str]] = {"size": [], "hash": []}
    lacking: dict[str, list[str]] = {}
    same: dict[str, list[int]] = {}
    num_official = 0
    for i, fact in facts.items():
        clip = manifest.clips[i]
        if fact.problem:
            findings.append(Finding("error", "decode" if fact.sha256 else "file", fact.problem, (clip,)))
        if not fact.sha256:
            continue
        same.setdefault(fact.sha256, []).append(i)
        if fact.lacks and not fact.num_pictures:
            lacking.setdefault(fact.lacks, []).append(clip)
        entry = official.get(normalise_clip(clip))
        if entry is None or fact.num_pictures:  # Pictures out of an official clip have no official checksum.
            continue
        if fact.size != entry.size:
            wrong["size"].append(f"{clip} has {fact.size:,} bytes, officially {entry.size:,}")
        elif fact.sha256 != entry.sha256:
            wrong["hash"].append(f"{clip} has SHA-256 {fact.sha256[:12]}..., officially {entry.sha256[:12]}...")
        else:
            num_official += 1
    for check, lines in wrong.items():
        findings += [Finding("error", check, f"{line}: download it again", (line.split(" has ")[0],)) for line in lines]
    stills = [manifest.clips[i] for i, fact in facts.items() if fact.num_pictures]
    findings += _finding("note", "streams", "{} of still pictures, without sound", stills)
    for what, lack in lacking.items():
        findings += _finding("warning", "streams", f"{{}} without {what}", lack)
    for rows in same.values():
        if len(rows) > 1:
            clips = tuple(manifest.clips[i] for i in rows)
            splits = sorted({manifest.splits[i] for i in rows})
            across = f"in {' and '.join(splits)}" if len(splits) > 1 else f"all in {splits[0]}"
            message = f"the same bytes under {len(clips)} names, {across}: {', '.join(clips[:3])}"
            findings.append(Finding("error" if len(splits) > 1 else "warning", "duplicates", message, clips))
    recorded = [i for i, fact in facts.items() if not fact.num_pictures]
    unknown = [manifest.clips[i] for i in recorded if normalise_clip(manifest.clips[i]) not in official]
    if len(unknown) < len(recorded):
        findings += _finding("note", "checksums", "{} not among the official ones, so there is no checksum", unknown)
    return findings, num_official


def inspect_files(
    paths: Sequence[Path],
    depth: Depth,
    *,
    memory: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    workers: int = 1,
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[Path, FileFacts], int]:
    """Find out about media files, those that an earlier run has looked at and that are unchanged from memory.

    Returns:
        path -> facts, and how many of them were remembered.
    """
    todo = list(dict.fromkeys(paths))
    known = {} if fresh else _recall(memory)
    facts: dict[Path, FileFacts] = {}
    keys = {path: _key(path) for path in todo}
    for path in todo:
        fact = known.get(keys[path] or "")
        if fact is not None and _DEPTHS.index(fact.depth) >= _DEPTHS.index(depth):
            facts[path] = fact
    num_remembered = len(facts)
    if facts:
        on_file(num_remembered, len(todo))
    left = (path for path in todo if path not in facts)
    with _Memory(memory) as remember:
        for path, fact in _in_threads(left, depth, workers):
            facts[path] = fact
            # A file that could not even be opened may be back tomorrow, with the same size and time.
            if fact.sha256 and (key := keys[path]) is not None and key == _key(path):
                remember(key, fact)
            on_file(len(facts), len(todo))
    return facts, num_remembered


def inspect_file(path: Path, depth: Depth) -> FileFacts:
    """Read a media file once for its hash and decode as much of it as asked."""
    source = Source(path)
    try:
        size, _ = media_stamp(path)
        sha256 = source.sha256()
        num_pictures = len(source.pictures.paths) if source.pictures else 0
    except ThinsliceError as error:
        return FileFacts(0, "", depth, str(error))
    except OSError as error:
        return FileFacts(0, "", depth, f"{path}: {_reason(error)}")
    facts = FileFacts(size, sha256, depth, num_pictures=num_pictures)
    if depth == "none":
        return facts
    try:
        info = source.info
        if info.has_video:
            times = [0.0] if depth == "quick" else _times_s(source)
            shown_s = [frame.time_s for frame in source.frames(times)]
            if not num_pictures and shown_s[-1] < times[-1] - MAX_GAP_S:
                problem = f"{path}: is cut off: its pictures end at {shown_s[-1]:.1f} s of {info.duration_s:.1f} s"
                return replace(facts, problem=problem)
        if info.has_audio:
            source.audio(end_s=MIN_DURATION_S if depth == "quick" else None)
    except ThinsliceError as error:
        return replace(facts, problem=str(error))
    except Exception as error:  # a decoder's surprise at one file must not end a run over thousands
        return replace(facts, problem=f"{path}: cannot be decoded ({type(error).__name__}: {error})")
    lacks = "sound" if not info.has_audio else "pictures" if not info.has_video else None
    return replace(facts, problem="; ".join(source.warnings) or None, lacks=lacks)


def _times_s(source: Source) -> list[float]:
    """Return times at which to look at all of a clip: one a second, or at every picture of a folder."""
    if source.pictures is not None:
        return list(source.pictures.times_s)
    return np.arange(0.0, max(source.info.duration_s, 0.1), 1.0).tolist()


def _reason(error: OSError) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"


def _in_threads(paths: Iterator[Path], depth: Depth, workers: int) -> Iterator[tuple[Path, FileFacts]]:
    """Inspect files side by side; hashing and decoding leave Python's lock. Few are queued, so that an end is quick."""
    with ThreadPoolExecutor(max(1, workers), "verify") as pool:
        running: dict[Future[FileFacts], Path] = {}
        try:
            while True:
                while len(running) < min(2 * workers, _MANY) and (path := next(paths, None)) is not None:
                    running[pool.submit(inspect_file, path, depth)] = path
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _key(path: Path) -> str | None:
    """What must be unchanged for a memory of a file to hold; None for a file that is not there."""
    try:
        size, mtime_ns = media_stamp(path)
    except (OSError, ThinsliceError):
        return None
    # The real path: two manifests may lead to the file by different ways.
    return f"{os.path.realpath(path)}\n{size}\n{mtime_ns}"


class _Memory:
    """Appends facts to a file of JSON lines, each on its way to the disk before the next file is looked at."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = None if path is None else Path(path)
        self._file: Any = None

    def __enter__(self) -> Callable[[str, FileFacts], None]:
        if self._path is None:
            return lambda key, fact: None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "ab", buffering=0)
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be written ({error.strerror}); give another --memory") from None
        return self._append

    def _append(self, key: str, fact: FileFacts) -> None:
        # One write, beginning with the line break: a line that a kill cut short spoils only itself.
        assert self._path is not None
        with clear_write_errors(self._path):
            self._file.write(b"\n" + json.dumps({"key": key, "at": int(time.time()), **asdict(fact)}).encode())

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _recall(memory: str | os.PathLike[str] | None) -> dict[str, FileFacts]:
    """Read a memory; lines that are no facts are passed over."""
    known: dict[str, FileFacts] = {}
    if memory is None:
        return known
    try:
        lines = Path(memory).read_bytes().split(b"\n")
    except OSError:
        return known
    for line in lines:
        try:
            entry = json.loads(line)
            key, _ = entry.pop("key"), entry.pop("at")
            fact = FileFacts(**entry)
            if len(fact.sha256) == 64 and fact.depth in _DEPTHS and isinstance(fact.size, int):
                known[key] = fact
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return known


def _check_speakers(manifest: Manifest) -> list[Finding]:
    findings = []
    for (a, b), shared in speaker_overlap(manifest).items():
        known = set(shared)
        mine = zip(manifest.clips, manifest.speakers, manifest.splits, strict=True)
        clips = tuple(clip for clip, speaker, split in mine if split == b and speaker in known)
        message = f"{counted(len(shared), 'speaker')} both in {a} and in {b}, with {counted(len(clips), 'clip')} of {b}"
        findings.append(Finding("warning", "speakers", message, clips))
    return findings


def _check_official(manifest: Manifest) -> list[Finding]:
    """Compare names, splits and speakers of official clips with what they officially are."""
    official = load_official_clips()
    mine = [(i, official[key]) for i, key in enumerate(map(normalise_clip, manifest.clips)) if key in official]
    if not mine:
        return []
    moved = [manifest.clips[i] for i, entry in mine if manifest.splits[i] != entry.split]
    renamed = [manifest.clips[i] for i, entry in mine if manifest.speakers[i] != speaker_of(entry.clip)]
    findings = _finding("warning", "splits", "{} not in the official split", moved)
    findings += _finding("warning", "speakers", "{} whose speaker is not the YouTube video", renamed)
    here, all_of = Counter(entry.split for _, entry in mine), Counter(entry.split for entry in official.values())
    for split in SPLITS:
        if here[split] < all_of[split]:
            text = f"{here[split]:,} of the {all_of[split]:,} official {split} clips are in the manifest"
            findings.append(Finding("note", "completeness", text))
    return findings


def _check_labels(manifest: Manifest) -> list[Finding]:
    official = load_official_clips()
    labels = manifest.labels(TARGETS)
    present = ~np.isnan(labels)
    num_labels = [int(num) for num in present.sum(axis=1)]
    num_columns = int(present.any(axis=0).sum())
    findings = _finding("note", "labels", "{} without labels", _clips(manifest, [not num for num in num_labels]))
    partly = [0 < num < num_columns for num in num_labels]
    findings += _finding("warning", "labels", "{} with some labels but not all", _clips(manifest, partly))
    for k, target in enumerate(TARGETS):
        off = [
            clip
            for i, clip in enumerate(manifest.clips)
            if present[i, k]
            and normalise_clip(clip) in official
            and distance_to_grid(target, labels[i, k]) > GRID_TOLERANCE
        ]
        text = f"{target} of {{}} is not on the official grid of 1/{LABEL_GRID[target]}: rounded, or changed?"
        findings += _finding("warning", "grid", text, off)
    return findings


def _clips(manifest: Manifest, mask: Iterable[Any]) -> list[str]:
    return [clip for clip, chosen in zip(manifest.clips, mask, strict=True) if chosen]


def _finding(severity: Severity, check: str, message: str, clips: Sequence[str]) -> list[Finding]:
    return [Finding(severity, check, message.format(counted(len(clips), "clip")), tuple(clips))] if clips else []


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    rank = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda finding: (rank[finding.severity], finding.check)))
