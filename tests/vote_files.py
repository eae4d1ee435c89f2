"""Simulated voters: clips with known strengths, and people who choose by them."""

import numpy as np

from thinslice.evaluate.votes import Votes, build_votes


def simulate(
    num_clips: int, num_votes: int, sd: float, seed: int = 0, targets: tuple[str, ...] = ("openness",)
) -> tuple[Votes, np.ndarray]:
    """Return votes on random pairs by Bradley and Terry's law, and the strengths (n, k) behind them."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(0, sd, (num_clips, len(targets)))
    left = rng.integers(num_clips, size=num_votes)
    right = (left + rng.integers(1, num_clips, size=num_votes)) % num_clips
    chance = 1 / (1 + np.exp(strength[right] - strength[left]))
    choices = np.where(rng.random(chance.shape) < chance, 1.0, -1.0)
    clips = [f"s{i // 2:03d}.{i:04d}.mp4" for i in range(num_clips)]
    rows = [(clips[a], clips[b]) for a, b in zip(left, right, strict=True)]
    return build_votes(rows, choices, targets, clips=clips), strength
