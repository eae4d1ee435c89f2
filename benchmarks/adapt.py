"""What `thinslice adapt` gains on real labels: voice-words fitted to an age group that it was trained without.

    python benchmarks/adapt.py DATA [--draws 40] [--speakers 15 30 60]

DATA is the folder of First Impressions V2's training split. voice-words is trained on the clips of all speakers but
those of the age groups below, and scores the clips of these. Then, for each group and number of rated speakers, that
many speakers are drawn at random, the model is fitted to their clips as `thinslice adapt` does, and all other speakers
of the group are scored. Prints a table of R², means over the draws: of the model as it is, of a shift and a scale
alone, of what adapt chooses (weights of voice and words among it), and of the mean of the ratings; in how many draws
weights were chosen, in how many a sure gain was claimed, and how many of these claims were wrong.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from thinslice.data.first_impressions import import_first_impressions
from thinslice.evaluate.adaptation import fit_lines, judge
from thinslice.evaluate.metrics import average, r2
from thinslice.evaluate.panel import Resampling
from thinslice.traits import TARGETS
from thinslice.voice_words.model import VoiceWords
from thinslice.voice_words.spoken_words import split_words
from thinslice.voice_words.trainer import VoiceWordsSettings, fit_voice_words, load_training_data

GROUPS = {"up to 18 years": ("0-6", "7-13", "14-18"), "46 and more": ("46-60", "61+")}
HEADER = """\
| group | rated speakers | as it is | shift and scale | what adapt chooses | mean of the ratings | weights chosen \
| claims | of these wrong |
|---|--:|--:|--:|--:|--:|--:|--:|--:|"""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=40)
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
    print(HEADER)
    for name in GROUPS:
        rows = np.flatnonzero(group == name)
        texts = [data.transcripts[i] or None for i in rows]
        scores, used = model.predict(data.voice[rows], texts)
        shares = shares_of(model, data.voice[rows], texts, used)
        people = np.unique(data.speakers[rows])
        for count in given.speakers:
            found = [
                draw(data.labels[rows], scores, shares, data.speakers[rows], people, count, k)
                for k in range(given.draws)
            ]
            r2s = [np.mean([entry[0][i] for entry in found]) for i in range(4)]
            chosen = sum(entry[1] for entry in found)
            claims = [entry for entry in found if entry[2]]
            wrong = sum(entry[0][2] <= entry[0][0] for entry in claims)
            shown = " | ".join(f"{value:.3f}" for value in r2s)
            print(
                f"| {name} ({len(people)} speakers) | {count} | {shown} | {chosen} of {len(found)} "
                f"| {len(claims)} of {len(found)} | {wrong} |",
                flush=True,
            )


def shares_of(
    model: VoiceWords, voice: np.ndarray, texts: Sequence[str | None], used: Sequence[Sequence[str]]
) -> dict[str, np.ndarray]:
    """Return what voice and words each add to the scores, (n, 6), NaN where a clip lacks them."""
    shares = {name: np.full((len(texts), len(TARGETS)), np.nan) for name in ("voice", "words")}
    for row, inputs in enumerate(used):
        mode = "+".join(inputs)
        if "voice" in inputs:
            shares["voice"][row] = model.voice[mode].predict(voice[row : row + 1])[0]
        if "words" in inputs:
            shares["words"][row] = model.words[mode].predict([split_words(texts[row])])[0]
    return shares


def draw(
    labels: np.ndarray,
    scores: np.ndarray,
    shares: Mapping[str, np.ndarray],
    speakers: np.ndarray,
    people: np.ndarray,
    count: int,
    seed: int,
) -> tuple[list[float], bool, bool]:
    """Draw the rated speakers and score all others.

    Returns:
        R² as it is, by a shift and a scale alone, adapted and of the mean; whether weights of inputs were chosen;
        whether a sure gain was claimed.
    """
    rated = np.isin(speakers, np.random.default_rng(seed).choice(people, count, replace=False))
    own = speakers[rated].astype(str).tolist()
    known = {name: values[rated] for name, values in shares.items()}
    new = {name: values[~rated] for name, values in shares.items()}
    verdict, _ = judge(labels[rated], scores[rated], own, TARGETS, Resampling(1000), seed, known)
    plain = fit_lines(labels[rated], scores[rated], own, seed)
    lines = fit_lines(labels[rated], scores[rated], own, seed, known)
    as_it_is = scores[~rated]
    adapted = lines.apply(as_it_is, new) if verdict.helps else as_it_is
    mean = np.broadcast_to(labels[rated].mean(axis=0), as_it_is.shape)
    everyone = (as_it_is, plain.apply(as_it_is), adapted, mean)
    r2s = [float(average(r2(labels[~rated], one), TARGETS)) for one in everyone]
    return r2s, verdict.helps and bool(lines.inputs), verdict.is_sure


if __name__ == "__main__":
    main()
