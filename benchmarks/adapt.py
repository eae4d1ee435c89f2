"""What `thinslice adapt` gains on real labels: voice-words fitted to an age group that it was trained without.

    python benchmarks/adapt.py DATA [--draws 20] [--speakers 15 30 60]

DATA is the folder of First Impressions V2's training split. voice-words is trained on the clips of all speakers but
those of the age groups below, and scores the clips of these. Then, for each group and number of rated speakers, that
many speakers are drawn at random, the model is fitted to their clips as `thinslice adapt` does, and all other speakers
of the group are scored. Prints a table of R², means over the draws, in how many of them a sure gain was claimed, and
how many of these claims were wrong.
"""

import argparse
from pathlib import Path

import numpy as np

from thinslice.data.first_impressions import import_first_impressions
from thinslice.evaluate.adaptation import fit_lines, judge
from thinslice.evaluate.metrics import average, r2
from thinslice.evaluate.panel import Resampling
from thinslice.traits import TARGETS
from thinslice.voice_words.trainer import VoiceWordsSettings, fit_voice_words, load_training_data

GROUPS = {"up to 18 years": ("0-6", "7-13", "14-18"), "46 and more": ("46-60", "61+")}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--speakers", type=int, nargs="+", default=[15, 30, 60])
    given = parser.parse_args()
    table = import_first_impressions(given.data).manifest.select("train")
    data = load_training_data(given.data)
    age = dict(zip(table.clips, table.column("age_group"), strict=True))
    group = np.array([next((g for g, ages in GROUPS.items() if age[c] in ages), "") for c in data.clips])
    left_out = set(data.speakers[group != ""].tolist())
    kept = np.array([speaker not in left_out for speaker in data.speakers])
    model = fit_voice_words(data.subset(np.flatnonzero(kept)), VoiceWordsSettings(), 0)
    print(f"trained on {kept.sum():,} clips without the {len(left_out):,} speakers of the groups", flush=True)
    print("| group | rated speakers | as it is | adapted | mean of the ratings | claims | of these wrong |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in GROUPS:
        rows = np.flatnonzero(group == name)
        scores, _ = model.predict(data.voice[rows], [data.transcripts[i] or None for i in rows])
        people = np.unique(data.speakers[rows])
        for count in given.speakers:
            found = [
                _draw(data.labels[rows], scores, data.speakers[rows], people, count, k) for k in range(given.draws)
            ]
            values = np.array([entry[:3] for entry in found]).mean(axis=0)
            claims = [entry for entry in found if entry[3]]
            wrong = sum(entry[1] <= entry[0] for entry in claims)
            shown = " | ".join(f"{value:.3f}" for value in values)
            print(
                f"| {name} ({len(people)} speakers) | {count} | {shown} | {len(claims)} of {len(found)} | {wrong} |",
                flush=True,
            )


def _draw(
    labels: np.ndarray, scores: np.ndarray, speakers: np.ndarray, people: np.ndarray, count: int, seed: int
) -> tuple[float, float, float, bool]:
    """Return R² as it is, adapted and of the mean on the speakers not rated, and whether a sure gain was claimed."""
    rated = np.isin(speakers, np.random.default_rng(seed).choice(people, count, replace=False))
    own = speakers[rated].astype(str).tolist()
    verdict, _ = judge(labels[rated], scores[rated], own, TARGETS, Resampling(1000), seed)
    lines = fit_lines(labels[rated], scores[rated], own, seed)
    new = lines.apply(scores[~rated]) if verdict.helps else scores[~rated]
    mean = np.broadcast_to(labels[rated].mean(axis=0), new.shape)
    r2s = [float(average(r2(labels[~rated], one), TARGETS)) for one in (scores[~rated], new, mean)]
    return r2s[0], r2s[1], r2s[2], verdict.is_sure


if __name__ == "__main__":
    main()
