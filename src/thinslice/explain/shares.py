"""How much each input of a model moved its scores: Shapley values over whole inputs."""

import math
from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np

Score = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Named arrays in, scores (outputs,) out."""


def shapley_shares(
    score: Score, inputs: Mapping[str, np.ndarray], neutral: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the score of neutral inputs and what each real input added to it, averaged over all orders.

    The baseline and the shares sum to the score of the real inputs. An input that has no value in `inputs` keeps
    its neutral one and has no share. Calls `score` 2 ** len(inputs) times, so this is for a few inputs.

    Source: Shapley 1953; as attribution with a baseline input: Sundararajan and Najmi, "The many Shapley values
    for model explanation", ICML 2020, section 2 (baseline Shapley).

    Args:
        score: the model.
        inputs: name -> array of the clip.
        neutral: name -> array that stands for knowing nothing of that input; has every name of `inputs`.

    Returns:
        (baseline (outputs,), name -> share (outputs,)).
    """
    names = tuple(inputs)
    values = {}
    for size in range(len(names) + 1):
        for present in combinations(names, size):
            mixed = {**neutral, **{name: inputs[name] for name in present}}
            values[frozenset(present)] = np.asarray(score(mixed), dtype=np.float64)
    shares = {}
    for name in names:
        others = [other for other in names if other != name]
        share = np.zeros_like(values[frozenset()])
        for size in range(len(others) + 1):
            # 1 / (number of orders in which exactly these come before), Shapley's weight.
            weight = 1.0 / (len(names) * math.comb(len(others), size))
            for before in combinations(others, size):
                share += weight * (values[frozenset((*before, name))] - values[frozenset(before)])
        shares[name] = share
    return values[frozenset()], shares
