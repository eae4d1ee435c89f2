"""A model whose bundle puts its scores on lines: fitted to another population by ``thinslice adapt``."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from thinslice.bundle import Bundle, LinearMap
from thinslice.traits import SCORE_RANGE
from thinslice.types import CueShare, Explanation, WordShare


class AdaptedMember:
    """A model whose scores are put on its bundle's lines; explanations are scaled with them."""

    def __init__(self, member: Any) -> None:
        self._member = member
        self.bundle: Bundle = member.bundle
        self._lines = {name: self.bundle.document.lines.get(name, LinearMap()) for name in self.bundle.outputs}
        self._weighs_inputs = any(line.inputs for line in self._lines.values())

    def score(self, features: Mapping[str, np.ndarray], words: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the scores of one clip; where inputs are weighed, from the shares of the explanation."""
        if self._weighs_inputs:
            found = self.explain(features, words, False)
            assert found is not None  # Weights are allowed for sums alone, which always explain themselves.
            sums = [
                found.baseline[name] + sum(part[name] for part in found.inputs.values()) for name in self.bundle.outputs
            ]
            return np.clip(sums, *SCORE_RANGE), tuple(found.inputs)
        scores, used = self._member.score(features, words)
        moved = [_on(line, value) for line, value in zip(self._lines.values(), scores, strict=True)]
        return np.clip(moved, *SCORE_RANGE), used

    def explain(self, features: Mapping[str, np.ndarray], words: Any, with_pictures: bool) -> Explanation | None:
        """Return what moved the scores: the baseline on its line, every share times its slope."""
        found: Explanation | None = self._member.explain(features, words, with_pictures)
        if found is None:
            return None
        baseline = {
            name: _on(self._lines[name], value)
            + sum(entry.intercept for label, entry in self._lines[name].inputs.items() if label in found.inputs)
            for name, value in found.baseline.items()
        }
        return replace(
            found,
            baseline=baseline,
            inputs={label: self._scaled(shares, label) for label, shares in found.inputs.items()},
            words=[WordShare(word.text, word.start, self._scaled(word.shares, "words")) for word in found.words],
            cues=[
                CueShare(cue.name, cue.level, self._scaled(cue.shares, cue.source), cue.source) for cue in found.cues
            ],
        )

    def _scaled(self, shares: Mapping[str, float], label: str) -> dict[str, float]:
        return {name: value * slope_of(self._lines[name], label) for name, value in shares.items()}


def slope_of(line: LinearMap, label: str) -> float:
    """Return how much the share of an input counts after a line against before."""
    return line.slope + (line.inputs[label].slope if label in line.inputs else 0.0)


def _on(line: LinearMap, value: float) -> float:
    return line.intercept + line.slope * value
