"""What a dataset's splits leak before any model looks at a clip.

For each split but training: how many of its clips are of speakers who are in training, and what a lookup of those
speakers' training labels scores there. For the labels: how much of their variance the speaker explains (ICC), which
says how much knowing the speaker is worth, and the ceiling it implies (see `lookup`). It needs no clip and no model.

`leave_one_out` says what a lookup would score on a split *by clips*: every training clip is guessed from the other
training clips of its speaker. It shows what a random split would be worth as a test, also where the dataset has no
other labelled split.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from thinslice.errors import ManifestError
from thinslice.evaluate import metrics
from thinslice.evaluate.lookup import Lookup, fit_lookup, leave_one_out
from thinslice.evaluate.metrics import Floats
from thinslice.evaluate.panel import by_target
from thinslice.evaluate.protocols import is_seen
from thinslice.evaluate.scorecard import ceiling
from thinslice.traits import INTERVIEW, TARGETS, TRAITS

TRAIN: Final = "train"
_NOTICEABLE: Final = 0.01
_RELIABLE: Final = 0.3


def audit(speakers: Sequence[str], splits: Sequence[str], labels: Floats, train_split: str = TRAIN) -> dict[str, Any]:
    """Audit a dataset.

    Args:
        speakers: of each clip.
        splits: of each clip.
        labels: (n, 6) in the order of `thinslice.traits.TARGETS`, NaN where unknown.
        train_split: name of the split that systems learn from.

    Returns:
        {"num_clips", "num_speakers", "train_split", "splits": {name: {"num_clips", "num_speakers", "num_labelled",
        "seen_clips", "seen_share", "shared_speakers", "training_mean": {"accuracy", "r2"}, "lookup": {"accuracy",
        "r2"}}}, "shared_speakers": [{"splits": [a, b], "num_speakers": n}], "reliability": {"num_clips",
        "num_speakers", "icc", "within_speaker_sd", "between_speaker_sd"}, "ceiling": {"accuracy", "r2"},
        "leave_one_out": {"seen_share", "accuracy", "r2"}, "verdict": [sentences]}. Of the training split the last five
        entries are None; scores are None where there are no labels.

    Raises:
        ManifestError: no clips, or none in the training split.
    """
    if not len(speakers):
        raise ManifestError("there are no clips to audit")
    names = list(dict.fromkeys(splits))
    if train_split not in names:
        raise ManifestError(f"no split {train_split}; there are {', '.join(names)}: name one with --train-split")
    split_of = np.asarray(splits)
    rows: dict[str, list[int]] = {name: np.flatnonzero(split_of == name).tolist() for name in names}
    people = {name: {speakers[i] for i in index} for name, index in rows.items()}
    train = rows[train_split]
    train_labels, train_speakers = labels[train], [speakers[i] for i in train]
    targets = TARGETS if np.isfinite(labels[:, TARGETS.index(INTERVIEW)]).any() else TRAITS
    labelled = bool(np.isfinite(train_labels).any())
    lookup = fit_lookup(train_labels, train_speakers) if labelled else None

    out: dict[str, Any] = {
        "num_clips": len(speakers),
        "num_speakers": len(set(speakers)),
        "train_split": train_split,
        "splits": {},
    }
    for name in names:
        index = rows[name]
        there = [speakers[i] for i in index]
        out["splits"][name] = entry = _size(len(index), len(people[name]), labels[index])
        if name != train_split:
            entry |= _shared(there, labels[index], train_speakers, lookup, targets)
    out["shared_speakers"] = [
        {"splits": [a, b], "num_speakers": len(people[a] & people[b])}
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    out["reliability"] = out["ceiling"] = out["leave_one_out"] = None
    if lookup is not None:
        out |= _explain_lookup(lookup, train_labels, train_speakers, targets)
    out["verdict"] = _verdict(out)
    return out


def _explain_lookup(lookup: Lookup, labels: Floats, speakers: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """Return how reliable the training labels are, what knowing a speaker's mean would score, and what it scores."""
    top = ceiling(lookup.parts, targets)
    _, person, count = np.unique(speakers, return_inverse=True, return_counts=True)
    return {
        "reliability": {
            "num_clips": len(labels),
            "num_speakers": len(set(speakers)),
            "icc": top.icc,
            "within_speaker_sd": top.within_speaker_sd,
            "between_speaker_sd": top.between_speaker_sd,
        },
        "ceiling": {"accuracy": top.accuracy, "r2": top.r2},
        "leave_one_out": {
            "seen_share": float((count[person] > 1).mean()),
            **_scores(labels, leave_one_out(labels, speakers), targets),
        },
    }


def _size(num_clips: int, num_speakers: int, labels: Floats) -> dict[str, Any]:
    return {
        "num_clips": num_clips,
        "num_speakers": num_speakers,
        "num_labelled": int(np.isfinite(labels).any(axis=1).sum()),
        "seen_clips": None,
        "seen_share": None,
        "shared_speakers": None,
        "training_mean": None,
        "lookup": None,
    }


def _shared(
    speakers: Sequence[str],
    labels: Floats,
    train_speakers: Sequence[str],
    lookup: Lookup | None,
    targets: Sequence[str],
) -> dict[str, Any]:
    """Return what a split other than training shares with it."""
    seen = is_seen(speakers, train_speakers)
    entry: dict[str, Any] = {
        "seen_clips": int(seen.sum()),
        "seen_share": float(seen.mean()),
        "shared_speakers": len(set(speakers) & set(train_speakers)),
    }
    if lookup is not None and np.isfinite(labels).any():
        mean = np.tile(lookup.parts.mean, (len(labels), 1))
        entry["training_mean"] = _scores(labels, mean, targets)
        entry["lookup"] = _scores(labels, lookup.predict(speakers), targets)
    return entry


def _scores(labels: Floats, guess: Floats, targets: Sequence[str]) -> dict[str, Any]:
    return {
        "accuracy": by_target(metrics.accuracy(labels, guess), targets),
        "r2": by_target(metrics.r2(labels, guess), targets),
    }


def _verdict(found: Mapping[str, Any]) -> list[str]:
    """Say in plain words what the numbers mean."""
    out = []
    train = found["train_split"]
    others = {name: entry for name, entry in found["splits"].items() if name != train}
    if not others:
        out.append(f"There is only the split {train}, so nothing can leak between splits yet.")
    leaking = {name: entry for name, entry in others.items() if entry["seen_share"] >= _NOTICEABLE}
    for name, entry in others.items():
        share = f"{100 * entry['seen_share']:.0f}% of the {entry['num_clips']:,} {name} clips"
        if not entry["seen_clips"]:
            out.append(f"No speaker of {name} is in {train}: a score on {name} is a score on people not met before.")
            continue
        out.append(
            f"{share} are of speakers who also have clips in {train} ({entry['shared_speakers']:,} of "
            f"{entry['num_speakers']:,} speakers)."
        )
        if entry["lookup"] and entry["lookup"]["accuracy"]["average"] is not None:
            out.append(
                f"Looking up those speakers' {train} labels, without opening a clip, scores accuracy "
                f"{entry['lookup']['accuracy']['average']:.4f} and R² {_number(entry['lookup']['r2']['average'])} on "
                f"{name}; the {train} mean scores {entry['training_mean']['accuracy']['average']:.4f}. That much "
                "of a system's score may be recognition of people."
            )
    icc = found["reliability"] and found["reliability"]["icc"]["average"]
    if icc is not None:
        top = found["ceiling"]["accuracy"]["average"]
        out.append(
            f"Two clips of one speaker have labels that correlate {icc:.2f} (mean of the five traits). A system that "
            f"says the same of all clips of a person can score accuracy {top:.3f} and R² {icc:.2f} at best."
        )
        if not leaking and found["leave_one_out"]["seen_share"] >= _NOTICEABLE and icc >= _RELIABLE:
            loo = found["leave_one_out"]
            out.append(
                f"Do not split it by clips: a lookup would then score accuracy {loo['accuracy']['average']:.4f} and R² "
                f"{_number(loo['r2']['average'])} ({100 * loo['seen_share']:.0f}% of the clips share their speaker "
                "with another clip). Split by speaker."
            )
    elif found["reliability"] is None:
        out.append(f"{train} has no labels: what a lookup scores cannot be said.")
    else:
        out.append("How far labels of one speaker agree cannot be said: no trait has speakers with two labelled clips.")
    if leaking:
        out.append(
            "Report scores on seen and unseen speakers apart (thinslice evaluate --train does), or use a split "
            "by speaker."
        )
    return out


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
