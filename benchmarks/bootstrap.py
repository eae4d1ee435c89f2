"""How long the bootstrap over speakers takes, and how often its 95% intervals hold the truth.

    OMP_NUM_THREADS=1 python benchmarks/bootstrap.py  # seconds for 10,000 resamples of 2,000 clips on one core
    python benchmarks/bootstrap.py --coverage  # share of intervals that hold the truth, by number of speakers

Coverage is measured on made-up clips: labels and errors have a part common to a speaker's clips and a part of their
own, of the sizes found in First Impressions, and speakers have as many clips as there. That says how intervals behave,
not how well any system does.
"""

import argparse
import time

import numpy as np

from thinslice.evaluate import bootstrap, metrics

METRICS = ("accuracy", "r2", "pcc", "ccc", "calibration_slope")
CLIPS_PER_SPEAKER = np.array([916, 694, 534, 332, 122, 26]) / 2624  # 1 to 6 clips, as in the training split


def simulate(rng: np.random.Generator, num_speakers: int) -> np.ndarray:
    """Return the sums of each speaker, (S, 5, len(SUMS)): labels with ICC 0.6, predictions with R² of about 0.5."""
    clips = rng.choice(np.arange(1, 7), size=num_speakers, p=CLIPS_PER_SPEAKER)
    index = np.repeat(np.arange(num_speakers), clips)

    def parts(common: float, own: float) -> np.ndarray:
        return rng.normal(0, common, (num_speakers, 5))[index] + rng.normal(0, own, (len(index), 5))

    labels = 0.53 + parts(0.117, 0.092)
    predictions = 0.53 + 0.45 * (labels - 0.53) + parts(0.05, 0.05)
    return bootstrap.group_sums(metrics.clip_sums(labels, predictions), index, num_speakers)


def show_time() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.random((2000, 6)), rng.random((2000, 6))
    index, num_speakers = bootstrap.speaker_index([str(i) for i in rng.integers(2200, size=2000)])
    wall, cpu = [], []
    for _ in range(5):
        start = time.perf_counter(), time.process_time()
        sums = bootstrap.group_sums(metrics.clip_sums(labels, predictions), index, num_speakers)
        for draws in bootstrap.draw(sums).values():
            bootstrap.interval(draws)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    num_metrics = len(metrics.summed_metrics())
    print(f"2,000 clips, {num_speakers:,} speakers, 6 targets, {num_metrics} metrics, 10,000 resamples")
    print(f"median of 5: {np.median(cpu):.2f} s of one core, {np.median(wall):.2f} s of the clock")


def show_coverage(trials: int) -> None:
    rng = np.random.default_rng(0)
    whole = metrics.metrics_from_sums(simulate(rng, 400_000).sum(axis=0))
    truth = {name: whole[name].mean() for name in METRICS}
    print(f"coverage of nominal 95% intervals of averages over five traits, {trials} trials, 2,000 resamples each")
    print("| speakers | method | " + " | ".join(METRICS) + " |")
    print("|--:|:--|" + "--:|" * len(METRICS))
    for num_speakers in (15, 30, 50, 100, 1400):
        hits = {method: dict.fromkeys(METRICS, 0) for method in ("percentile", "BCa")}
        for trial in range(trials):
            found = bootstrap.draw(simulate(rng, num_speakers), 2000, trial)
            for name in METRICS:
                average = found[name].map(lambda values: values.mean(axis=-1))
                for method, ends in (
                    ("percentile", np.percentile(average.samples, [2.5, 97.5])),
                    ("BCa", bootstrap.interval(average)),
                ):
                    hits[method][name] += ends[0] <= truth[name] <= ends[1]
        for method, counts in hits.items():
            shares = " | ".join(f"{100 * counts[name] / trials:.0f}%" for name in METRICS)
            print(f"| {num_speakers} | {method} | {shares} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--trials", type=int, default=500)
    arguments = parser.parse_args()
    if arguments.coverage:
        show_coverage(arguments.trials)
    else:
        show_time()
