"""A whole planted corpus in the official layout, with a manifest and what is planted beside it."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.data.manifest import SPLITS, Manifest, save_manifest
from thinslice.data.planted.causes import (
    BEST_R2,
    CAUSES,
    ICC,
    INTERVIEW_WEIGHTS,
    MEAN,
    NUM_CUE_WORDS,
    SD,
    Causes,
    best_r2,
    draw_causes,
    intraclass_correlation,
)
from thinslice.data.planted.clip import Format, write_clip
from thinslice.data.planted.drawing import STYLES
from thinslice.data.planted.names import speaker_name
from thinslice.data.planted.official_files import annotation_pickle, transcription_pickle
from thinslice.data.planted.words import write_transcript
from thinslice.data.splits import resplit
from thinslice.data.table import format_table
from thinslice.errors import UsageError, counted
from thinslice.files import write_atomically
from thinslice.processes import Died, run_in_processes
from thinslice.traits import TARGETS, TRAITS

GENERATOR_VERSION: Final = 1
"""Raised whenever the same arguments give other clips or labels."""

WARNING: Final = (
    "SYNTHETIC: drawn faces and synthesised voices with made-up labels. A score on these clips shows what a system can "
    "learn from which input. It says nothing about accuracy on people."
)

_OFFICIAL_NAMES: Final = {"train": "training", "validation": "validation", "test": "test"}


def plant(
    folder: str | os.PathLike[str],
    num_clips: int = 400,
    num_speakers: int | None = None,
    seed: int = 0,
    form: Format | None = None,
    workers: int = 1,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Write a planted corpus; a call that was interrupted goes on where it stopped.

    No speaker is in two splits, and 3/5, 1/5 and 1/5 of the clips are in train, validation and test.

    Args:
        folder: where to; new, empty, or of an interrupted call with the same arguments.
        num_clips: how many.
        num_speakers: how many people, 3 or more; None for one to four clips, rounded up.
        seed: another seed gives other people, cues, labels and noise.
        form: size and length of the clips; None for `Format()`.
        workers: processes.
        on_done: called with (clips done, clips in all).

    Returns:
        The manifest, as written to manifest.csv.

    Raises:
        UsageError: numbers out of range, or a folder that holds something else.
        ManifestError: the folder cannot be written.
    """
    form = form or Format()
    num_speakers = max(-(-num_clips // 4), 3) if num_speakers is None else num_speakers
    _check(num_clips, num_speakers, seed, form, workers)
    root = Path(folder)
    causes = draw_causes(num_clips, num_speakers, seed)
    manifest = _manifest(root, causes, seed)
    about = _about(causes, manifest, num_clips, num_speakers, seed, form)
    _claim(root, about)
    for split in SPLITS:
        (root / split).mkdir(exist_ok=True)
    jobs = [
        (root / manifest.paths[i], causes.cues[i], [seed, 1, int(causes.speakers[i])], [seed, 2, i], form)
        for i in range(num_clips)
        if not (root / manifest.paths[i]).exists()
    ]
    done = num_clips - len(jobs)
    on_done(done, num_clips)
    for _ in _written(jobs, workers):
        done += 1
        on_done(done, num_clips)
    for split in SPLITS:
        part = manifest.select(split)
        columns = dict(zip(TARGETS, part.labels(TARGETS).T.tolist(), strict=True))
        labels = {name: dict(zip(part.clips, values, strict=True)) for name, values in columns.items()}
        name = _OFFICIAL_NAMES[split]
        write_atomically(root / f"annotation_{name}.pkl", annotation_pickle(labels))
        transcripts = dict(zip(part.clips, part.column("transcript").tolist(), strict=True))
        write_atomically(root / f"transcription_{name}.pkl", transcription_pickle(transcripts))
    write_atomically(root / "causes.csv", _causes_table(manifest, causes).encode())
    write_atomically(root / "README.md", _readme(about).encode())
    save_manifest(manifest, root / "manifest.csv")
    return manifest


def _check(num_clips: int, num_speakers: int, seed: int, form: Format, workers: int) -> None:
    if num_speakers < len(SPLITS):
        raise UsageError(
            f"{counted(num_speakers, 'speaker')} cannot be divided among {len(SPLITS)} splits; take 3 or more"
        )
    if num_clips > 999 * num_speakers:
        raise UsageError(f"{num_clips} clips of {num_speakers} speakers: 999 clips of each are the most")
    if seed < 0 or workers < 1:
        raise UsageError(f"seed {seed}, {workers} workers: a seed is 0 or more, workers 1 or more")
    if min(form.width, form.height) < 64 or form.width % 2 or form.height % 2 or form.width < form.height:
        raise UsageError(f"{form.width}x{form.height}: sides are even, 64 or more, and no clip is taller than wide")
    if not 1.5 <= form.duration_s <= 60 or not 5 <= form.rate_hz <= 60:
        raise UsageError(f"{form.duration_s:g} s at {form.rate_hz} frames/s: take 1.5 to 60 s, 5 to 60 frames/s")
    if form.style not in STYLES:
        raise UsageError(f"unknown style {form.style!r}; there are {', '.join(STYLES)}")


def _manifest(root: Path, causes: Causes, seed: int) -> Manifest:
    """Return the manifest; names are as long as those of First Impressions, and not among them."""
    speakers = [speaker_name(speaker) for speaker in causes.speakers.tolist()]
    counts: dict[str, int] = {}
    clips = []
    for speaker in speakers:
        clips.append(f"{speaker}.{counts.get(speaker, 0):03d}.mp4")
        counts[speaker] = counts.get(speaker, 0) + 1
    texts = [
        write_transcript(num_warm, np.random.default_rng([seed, 3, i]))
        for i, num_warm in enumerate(causes.warm_words.tolist())
    ]
    columns = {"transcript": tuple(texts)}
    columns |= {name: tuple(f"{v:.4f}" for v in causes.labels[:, k].tolist()) for k, name in enumerate(TARGETS)}
    undivided = Manifest(
        clips=tuple(clips),
        paths=("",) * len(clips),
        splits=("train",) * len(clips),
        speakers=tuple(speakers),
        columns=columns,
        folder=root,
        source=str(root / "manifest.csv"),
    )
    divided = resplit(undivided, seed=seed)
    paths = tuple(f"{split}/{clip}" for split, clip in zip(divided.splits, clips, strict=True))
    return Manifest(
        clips=divided.clips,
        paths=paths,
        splits=divided.splits,
        speakers=divided.speakers,
        columns=divided.columns,
        folder=root,
        source=divided.source,
    )


def _about(
    causes: Causes, manifest: Manifest, num_clips: int, num_speakers: int, seed: int, form: Format
) -> dict[str, Any]:
    splits = np.array(manifest.splits)
    realised = {}
    for split in SPLITS:
        labels, expected = causes.labels[splits == split], causes.expected[splits == split]
        spread = ((labels - labels.mean(axis=0)) ** 2).sum(axis=0)
        lost = ((labels - expected) ** 2).sum(axis=0)
        r2 = [round(1 - float(a / b), 4) if b > 0 else None for a, b in zip(lost, spread, strict=True)]
        realised[split] = {"clips": len(labels), "r2_of_the_cues": dict(zip(TARGETS, r2, strict=True))}
    return {
        "warning": WARNING,
        "generator_version": GENERATOR_VERSION,
        "arguments": {"clips": num_clips, "speakers": num_speakers, "seed": seed, **asdict(form)},
        "causes": {trait: {"input": where, "cue": cue} for trait, (where, cue) in CAUSES.items()},
        "interview_weights": dict(INTERVIEW_WEIGHTS),
        "labels": {"mean": MEAN, "sd": SD, "intraclass_correlation": ICC},
        "best_r2": best_r2(),
        "best_r2_of_all_inputs": BEST_R2,
        "realised": {
            "splits": realised,
            "mean": dict(zip(TARGETS, causes.labels.mean(axis=0).round(4).tolist(), strict=True)),
            "sd": dict(zip(TARGETS, causes.labels.std(axis=0).round(4).tolist(), strict=True)),
            "intraclass_correlation": {
                name: _or_none(intraclass_correlation(causes.labels[:, k], causes.speakers))
                for k, name in enumerate(TARGETS)
            },
        },
        "manifest_digest": manifest.digest,
    }


def _or_none(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def _claim(root: Path, about: dict[str, Any]) -> None:
    """Write planted.json; UsageError if the folder holds something else."""
    path = root / "planted.json"
    text = json.dumps(about, indent=1) + "\n"
    try:
        if path.read_text(encoding="utf-8") == text:
            return
        raise UsageError(f"{root}: holds a planted corpus made with other arguments; choose another folder")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{root}: cannot be used ({error}); choose another folder") from None
    if root.exists() and any(root.iterdir()):
        raise UsageError(f"{root}: is not empty; choose another folder")
    write_atomically(path, text.encode())


def _written(jobs: list[tuple[Any, ...]], workers: int) -> Iterator[None]:
    """Write clips, in processes of their own if there are several; yield after each."""
    if workers <= 1 or len(jobs) < 2:
        yield from map(_write, jobs)
        return
    for place, died in run_in_processes(_writer, jobs, workers):
        if isinstance(died, Died):
            raise UsageError(f"{jobs[place][0]}: the process that wrote it died twice ({died.why}); use fewer workers")
        yield


def _writer() -> Callable[[tuple[Any, ...]], None]:
    return _write


def _write(job: tuple[Any, ...]) -> None:
    write_clip(*job)


def _causes_table(manifest: Manifest, causes: Causes) -> str:
    header = ["clip", *(f"{trait}_cue" for trait in TRAITS), "warm_words", *(f"{name}_expected" for name in TARGETS)]
    rows = [
        [
            clip,
            *(f"{value:.5f}" for value in causes.cues[i].tolist()),
            str(causes.warm_words[i]),
            *(f"{value:.5f}" for value in causes.expected[i].tolist()),
        ]
        for i, clip in enumerate(manifest.clips)
    ]
    return format_table(header, rows)


def _readme(about: dict[str, Any]) -> str:
    lines = [
        "# Planted clips",
        "",
        f"**{about['warning']}**",
        "",
        f"{about['arguments']['clips']} clips of {about['arguments']['speakers']} drawn people, seed "
        f"{about['arguments']['seed']}, generator version {about['generator_version']} of `thinslice data planted`.",
        "",
        "| trait | seen or heard in | cue | best R² from that input, unseen speakers | from any other |",
        "|---|---|---|---|---|",
        *(f"| {trait} | {where} | {cue} | {BEST_R2} | 0 |" for trait, (where, cue) in CAUSES.items()),
        "",
        f"Labels have mean {MEAN}, standard deviation {SD}, and {ICC:.0%} of their variance between speakers, who act "
        "through the cues alone.",
        f"`interview` is a mixture of the five cues; the best R² from one input is {about['best_r2']['interview']}.",
        f"Each transcript has {NUM_CUE_WORDS} cue words. What is written cannot be heard.",
        "",
        "`planted.json` has these figures and those that this sample realises, `causes.csv` what is planted in each.",
        "Labels and transcripts lie here as in the official First Impressions V2; `manifest.csv` is made of them.",
        "",
    ]
    return "\n".join(lines)
