"""How many fewer votes active choice of pairs needs than random pairs, with simulated raters of known noise.

    python benchmarks/rating_pairs.py [--clips 60] [--repeats 20] [--rounds 40]

Clips have strengths from N(0, sd²); raters choose by Bradley and Terry's law, so sd says how clearly they see a
difference: First Impressions' voters have 0.3 to 0.5, people who compare loudness 3 and more. A round is half as many
votes as there are clips. Printed: votes a clip until the scores' squared correlation with the strengths passes a goal.
"""

import argparse

import numpy as np

from thinslice.evaluate.bradley_terry import fit_pairs
from thinslice.evaluate.pairs import POLICIES, Policy, plan_round
from thinslice.evaluate.votes import build_votes

SDS = (0.5, 1.0, 2.0, 4.0)
GOALS = (0.5, 0.7, 0.8, 0.9)


def collect(num_clips: int, sd: float, policy: Policy, num_rounds: int, seed: int) -> list[float]:
    """Return the squared correlation of scores with strengths after each round."""
    rng = np.random.default_rng([seed, round(10 * sd)])
    clips = [f"c{i}" for i in range(num_clips)]
    strength = dict(zip(clips, rng.normal(0, sd, num_clips), strict=True))
    truth = np.array(list(strength.values()))
    rows: list[tuple[str, str]] = []
    choices: list[float] = []
    out = []
    for number in range(num_rounds):
        votes = build_votes(rows, np.array(choices)[:, None], ("x",), clips=clips)
        for a, b in plan_round(votes, policy, seed=1000 * seed + number):
            rows.append((a, b))
            choices.append(1.0 if rng.random() < 1 / (1 + np.exp(strength[b] - strength[a])) else -1.0)
        pairs = build_votes(rows, np.array(choices)[:, None], ("x",), clips=clips).answered("x")
        out.append(float(np.corrcoef(fit_pairs(pairs, sd, with_errors=False).strength, truth)[0, 1] ** 2))
    return out


def needed(curve: np.ndarray, goal: float) -> float:
    """Return after how many votes a clip (one per round) a curve passes a goal, linearly between; NaN if never."""
    if curve.max() < goal:
        return float("nan")
    after = int(np.argmax(curve >= goal))
    if after == 0:
        return 1.0
    return after + float((goal - curve[after - 1]) / (curve[after] - curve[after - 1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    print("| sd | r² | votes a clip, random | votes a clip, active | saved |")
    print("|--:|--:|--:|--:|--:|")
    for sd in SDS:
        curves = {
            policy: np.mean(
                [collect(given.clips, sd, policy, given.rounds, seed) for seed in range(given.repeats)], axis=0
            )
            for policy in POLICIES
        }
        for goal in GOALS:
            active, by_chance = needed(curves["active"], goal), needed(curves["random"], goal)
            if np.isfinite(active) and np.isfinite(by_chance):
                print(f"| {sd:g} | {goal:g} | {by_chance:.1f} | {active:.1f} | {100 * (1 - active / by_chance):.0f}% |")


if __name__ == "__main__":
    main()
