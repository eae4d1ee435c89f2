"""Groups again for the model that looks: accuracy, R² and bias by perceived age and gender, and what calibrating gains.

    python benchmarks/groups_face.py DATA OOF.npz [--out FILE.md]

DATA is the folder of First Impressions V2's training split. OOF.npz holds out-of-fold scores, no model having met a
clip's speaker: `clip` (n,) and, by names of the inputs, arrays (n, 6). Only clips that every model here scored count.
Brackets are 95% intervals over 1,000 resamples of speakers. Calibration is cross-fitted on other speakers' clips.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from groups_study import age_bins
from thinslice.data.first_impressions import import_first_impressions
from thinslice.evaluate.calibration import cross_calibrate
from thinslice.traits import TRAITS

MODELS = ("voice+words", "face", "face+voice+words")
NUM_RESAMPLES = 1000
Statistic = Callable[[np.ndarray], float]


def load(data: Path, oof: Path) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return model -> scores (n, 5), labels (n, 5), speakers (n,), attribute -> groups (n,)."""
    manifest = import_first_impressions(data).manifest.select("train")
    with np.load(oof) as arrays:
        place = {clip: row for row, clip in enumerate(arrays["clip"].tolist())}
        order = [place.get(clip, place.get(clip.removesuffix(".mp4"))) for clip in manifest.clips]
        scores = {name: arrays[name][order][:, : len(TRAITS)] for name in MODELS}
    with (data / "gender_train.csv").open(newline="") as file:
        genders = {row["clip"]: {"1": "men", "2": "women"}[row["gender"]] for row in csv.DictReader(file)}
    there = np.all([np.isfinite(table).all(axis=1) for table in scores.values()], axis=0)
    columns = {
        "age": np.array([cell or "unknown" for cell in age_bins(manifest)]),
        "gender": np.array([genders.get(clip, "unknown") for clip in manifest.clips]),
    }
    labels = manifest.labels(TRAITS)[there]
    speakers = np.array(manifest.speakers)[there]
    return (
        {name: table[there] for name, table in scores.items()},
        labels,
        speakers,
        {name: groups[there] for name, groups in columns.items()},
    )


def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(1 - np.abs(labels - scores).mean())


def r2(labels: np.ndarray, scores: np.ndarray) -> float:
    rest = ((labels - scores) ** 2).sum(0) / ((labels - labels.mean(0)) ** 2).sum(0)
    return float((1 - rest).mean())


def interval(statistic: Statistic, speakers: np.ndarray, rows: np.ndarray, seed: int = 0) -> str:
    """Return a statistic of rows as text, with its interval over resampled speakers."""
    rng = np.random.default_rng(seed)
    names, place = np.unique(speakers[rows], return_inverse=True)
    members = [rows[place == number] for number in range(len(names))]
    drawn = [
        statistic(np.concatenate([members[k] for k in rng.integers(0, len(names), len(names))]))
        for _ in range(NUM_RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{statistic(rows):.3f} [{low:.3f}, {high:.3f}]"


def explained(values: np.ndarray, groups: np.ndarray) -> float:
    """Return the share of variance that group means explain, mean over the traits."""
    means = {name: values[groups == name].mean(0) for name in np.unique(groups)}
    fitted = np.stack([means[name] for name in groups])
    return float((fitted.var(0) / values.var(0)).mean())


def given_groups(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> float:
    """Return the squared correlation of labels and scores within groups, mean over the traits."""
    inside = [labels.copy(), scores.copy()]
    for name in np.unique(groups):
        for part in inside:
            part[groups == name] -= part[groups == name].mean(0)
    covered = (inside[0] * inside[1]).sum(0) ** 2 / ((inside[0] ** 2).sum(0) * (inside[1] ** 2).sum(0))
    return float(covered.mean())


def spread(values: np.ndarray, groups: np.ndarray) -> float:
    """Return the highest less the lowest group's mean, mean over the traits."""
    means = np.array([values[groups == name].mean(0) for name in np.unique(groups)])
    return float(np.ptp(means, axis=0).mean())


def report(data: Path, oof: Path) -> list[str]:
    scores, labels, speakers, attributes = load(data, oof)
    everybody = np.arange(len(labels))
    lines = [f"{len(labels):,} clips of {len(np.unique(speakers)):,} speakers.", ""]
    lines += ["| | model | clips | speakers | accuracy | R² | bias |", "|---|---|--:|--:|--:|--:|--:|"]
    for attribute, groups in {"everybody": np.full(len(labels), "everybody"), **attributes}.items():
        for name in [group for group in np.unique(groups) if group != "unknown"]:
            rows = everybody[groups == name]
            for model, given in scores.items():
                fit = interval(lambda rows, given=given: r2(labels[rows], given[rows]), speakers, rows)
                bias = interval(lambda rows, given=given: float((given[rows] - labels[rows]).mean()), speakers, rows)
                exact = accuracy(labels[rows], given[rows])
                count = len(np.unique(speakers[rows]))
                who = name if attribute != "everybody" else "everybody"
                lines.append(f"| {who} | {model} | {len(rows):,} | {count:,} | {exact:.4f} | {fit} | {bias} |")
    lines += [
        "",
        "| | model | labels on it | scores on it | model alone | model given it | mean score apart: labels, scores |",
    ]
    lines += ["|---|---|--:|--:|--:|--:|--:|"]
    for attribute, groups in attributes.items():
        known = groups != "unknown"
        for model, given in scores.items():
            own, mine, here = labels[known], given[known], groups[known]
            alone = given_groups(own, mine, np.full(len(own), "all"))
            cells = [explained(own, here), explained(mine, here), alone, given_groups(own, mine, here)]
            apart = f"{spread(own, here):.3f}, {spread(mine, here):.3f}"
            lines.append(f"| {attribute} | {model} | {' | '.join(f'{cell:.3f}' for cell in cells)} | {apart} |")
    lines += [
        "",
        "| calibrated by | model | accuracy | R² | gap in bias | mean score apart |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for attribute, groups in attributes.items():
        for model, given in scores.items():
            after = cross_calibrate(labels, given, speakers.tolist(), groups.tolist())
            cells = [
                f"{accuracy(labels, given):.4f} → {accuracy(labels, after):.4f}",
                f"{r2(labels, given):.3f} → {r2(labels, after):.3f}",
                f"{spread(given - labels, groups):.3f} → {spread(after - labels, groups):.3f}",
                f"{spread(given, groups):.3f} → {spread(after, groups):.3f}",
            ]
            lines.append(f"| {attribute} | {model} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("oof", type=Path, metavar="OOF.npz")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = "\n".join(report(args.data, args.oof))
    print(text)
    if args.out:
        args.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
