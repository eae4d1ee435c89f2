"""How often people agree with people, and predictions with people, on the real training votes: table and figure.

    python benchmarks/human_ceiling.py --data DIR [--predictions NAME=FILE.csv ...] [--figure STEM]

DIR is the folder of the research data. A prediction file must be of clips whose speakers its system was not trained on
(out of fold, speakers apart). Prints the tables of docs/human-ceiling.md.
"""

import argparse
import csv
from itertools import cycle
from pathlib import Path

import numpy as np

from thinslice.data.votes import load_votes
from thinslice.evaluate.bradley_terry import fit_pairs
from thinslice.evaluate.figures import STYLE, save_figure
from thinslice.evaluate.human import crossfit, score_against_votes
from thinslice.evaluate.metrics import pcc, r2
from thinslice.evaluate.predictions import read_predictions
from thinslice.evaluate.reliability import spearman_brown, split_half
from thinslice.evaluate.votes import Votes, vote_reliability
from thinslice.formats.python2_pickle import load_annotations
from thinslice.traits import TARGETS

SHARES = (1 / 18, 1 / 9, 1 / 4, 1 / 2, 1.0)
"""Parts of the votes from which the others' consensus is made."""

HELD_BACK_VOTES = (2, 4, 9, 18, 36)
HELD_BACK = {
    "openness": ((0.507, 0.527, 0.539, 0.560, 0.570), {"winner 2017": 0.584, "2026 system": 0.586, "2016": 0.560}),
    "conscientiousness": (
        (0.531, 0.555, 0.582, 0.604, 0.626),
        {"winner 2017": 0.626, "2026 system": 0.632, "2016": 0.585},
    ),
    "extraversion": ((0.523, 0.539, 0.569, 0.594, 0.606), {"winner 2017": 0.610, "2026 system": 0.613, "2016": 0.572}),
    "agreeableness": ((0.503, 0.516, 0.521, 0.541, 0.554), {"winner 2017": 0.559, "2026 system": 0.568, "2016": 0.532}),
    "neuroticism": ((0.517, 0.543, 0.566, 0.579, 0.599), {"winner 2017": 0.603, "2026 system": 0.602, "2016": 0.576}),
    "interview": ((0.520, 0.548, 0.574, 0.585, 0.606), {"winner 2017": 0.615}),
}
"""Agreement on the official test split: of others by votes a clip, and of published prediction files. Measured on votes
that are held back, not printed by the papers; 7,000 to 7,400 votes a trait."""

_COLOURS = {"winner 2017": "#d55e00", "2026 system": "#cc79a7", "2016": "#e69f00"}
_OURS = "#009e73"


def print_labels(votes: Votes, labels: dict[str, dict[str, float]]) -> None:
    """Bradley-Terry scores against the official labels, and how far the number of votes explains the rest."""
    print("| trait | votes a clip | r with labels | r expected, labels of 40 votes | votes that explain r |")
    print("|---|--:|--:|--:|--:|")
    for trait in TARGETS:
        pairs = votes.answered(trait)
        official = np.array([labels[trait][clip] for clip in votes.clips])
        r = float(np.corrcoef(fit_pairs(pairs, with_errors=False).score, official)[0, 1])
        g, n = vote_reliability(pairs), float(pairs.num_votes.mean())
        noise = 1 - g
        best = np.sqrt((g + noise / 40) / (g + noise / n))
        explains = noise / (r**2 * (g + noise / n) - g)
        print(f"| {trait} | {n:.1f} | {r:.3f} | {best:.3f} | {explains:.0f} |")


def measure_others(votes: Votes) -> dict[str, list[tuple[float, float]]]:
    """Return trait -> (votes a clip, agreement of others)."""
    out = {}
    for trait in TARGETS:
        pairs = votes.answered(trait)
        wanted, per_clip = np.arange(len(pairs)), float(pairs.num_votes.mean())
        out[trait] = [
            (0.9 * share * per_clip, np.mean([crossfit(pairs, wanted, share, seed=s).mean() for s in range(3)]))
            for share in SHARES
        ]
    return out


def print_others(votes: Votes, others: dict[str, list[tuple[float, float]]]) -> None:
    """The curves, and what the formula makes of the reliability of one vote alone."""
    print("\n| trait | " + " | ".join(f"{n:.0f} votes a clip" for n, _ in others["openness"]) + " | formula | limit |")
    print("|---|" + "--:|" * (len(SHARES) + 2))
    for trait, curve in others.items():
        g = vote_reliability(votes.answered(trait))
        cells = " | ".join(f"{value:.3f}" for _, value in curve)
        formula = 0.5 + _perfect(g) * np.sqrt(spearman_brown(g, curve[-1][0]))
        print(f"| {trait} | {cells} | {formula:.3f} | {0.5 + _perfect(g):.3f} |")


def print_predictions(votes: Votes, labels: dict[str, dict[str, float]], files: dict[str, Path]) -> dict[str, dict]:
    """What voters say of prediction files."""
    found = {}
    for name, path in files.items():
        file = read_predictions(path)
        known = [i for i, clip in enumerate(file.clips) if clip in labels["openness"]]
        clips = [file.clips[i] for i in known]
        scores = file.scores[known]
        found[name] = score_against_votes(votes, clips, scores, [clip.rsplit(".", 2)[0] for clip in clips])
        truth = np.array([[labels[trait][clip] for trait in TARGETS] for clip in clips])
        r, share = (
            dict(zip(TARGETS, pcc(truth, scores), strict=True)),
            dict(zip(TARGETS, r2(truth, scores), strict=True)),
        )
        print(f"\n{name}: {len(clips):,} clips")
        print("| trait | votes | agreement | others | one rater | equal raters | r | r, noise-corrected | R² share |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
        for trait, one in found[name].items():
            low, high = one.ci95.agreement or (np.nan, np.nan)
            equal = "more than any" if one.equal_raters is None else f"{one.equal_raters:.0f}"
            cells = ["", "", ""]
            if trait in r and one.reliability:
                at_40 = split_half(votes.answered(trait)).at(40)
                cells = [f"{r[trait]:.3f}", f"{r[trait] / np.sqrt(at_40):.3f}", f"{share[trait] / at_40:.2f}"]
            print(
                f"| {trait} | {one.num_votes:,} | {one.agreement:.3f} [{low:.3f}, {high:.3f}] | {one.others:.3f} "
                f"| {one.one_rater:.3f} | {equal} | {' | '.join(cells)} |"
            )
    return found


def draw(votes: Votes, others: dict[str, list[tuple[float, float]]], found: dict[str, dict], stem: Path) -> None:
    """Agreement against votes a clip, with what predictions reach as lines across."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.8), layout="constrained")
        grid = figure.subplots(2, 3, sharex=True, sharey=True)
        for axes, trait in zip(grid.flat, TARGETS, strict=True):
            g = vote_reliability(votes.answered(trait))
            n = np.geomspace(0.9, 400, 100)
            curve = 0.5 + _perfect(g) * np.sqrt([spearman_brown(g, x) for x in n])
            axes.plot(n, curve, color="#6e7781", linewidth=1, label="others, by theory")
            axes.plot(
                *zip(*others[trait], strict=True), "o", color="#0072b2", markersize=4, label="others, training votes"
            )
            values, systems = HELD_BACK[trait]
            axes.plot(HELD_BACK_VOTES, values, "s", color="#56b4e9", markersize=3.5, label="others, test votes")
            for name, value in systems.items():
                axes.axhline(value, color=_COLOURS[name], linewidth=1, linestyle="--", label=f"{name} (test votes)")
            for (name, scores), style in zip(found.items(), cycle(("-", "-.", ":"))):
                label = f"{name} (training votes)"
                axes.axhline(scores[trait].agreement, color=_OURS, linewidth=1.2, linestyle=style, label=label)
            axes.set_xscale("log")
            axes.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
            axes.minorticks_off()
            axes.set_title(trait, loc="left", fontweight="bold", pad=3)
        for axes in grid[1]:
            axes.set_xlabel("votes a clip")
        for axes in grid[:, 0]:
            axes.set_ylabel("agreement with the next vote")
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncol=3)
    for path in save_figure(figure, stem):
        print(f"wrote {path}")


def _perfect(g: float) -> float:
    """How far beyond a half somebody would agree who knew what all voters have in common."""
    return float(np.sqrt(4 * g / np.pi) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--predictions", action="append", default=[], metavar="NAME=FILE.csv")
    parser.add_argument("--figure", type=Path, metavar="STEM")
    parser.add_argument("--csv", type=Path, help="also write the curves")
    given = parser.parse_args()
    votes = load_votes(given.data / "votes" / "votes_train.csv.gz")
    labels = load_annotations(given.data / "first_impressions_v2" / "annotation_training.pkl")
    print_labels(votes, labels)
    others = measure_others(votes)
    print_others(votes, others)
    files = {name: Path(path) for name, _, path in (entry.partition("=") for entry in given.predictions)}
    found = print_predictions(votes, labels, files)
    if given.csv:
        with given.csv.open("w", newline="") as file:
            csv.writer(file).writerows((trait, *point) for trait, curve in others.items() for point in curve)
    if given.figure:
        draw(votes, others, found, given.figure)


if __name__ == "__main__":
    main()
