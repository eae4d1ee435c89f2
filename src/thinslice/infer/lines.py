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
        self._lines = self.bundle.document.lines

    def score(self, features: Mapping[str, np.ndarray], words: Any) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the scores of one clip."""
        scores, used = self._member.score(features, words)
        lines = [self._lines.get(name, LinearMap()) for name in self.bundle.outputs]
        moved = [line.intercept + line.slope * value for line, value in zip(lines, scores, strict=True)]
        return np.clip(moved, *SCORE_RANGE), used

    def explain(self, features: Mapping[str, np.ndarray], words: Any, with_pictures: bool) -> Explanation | None:
        """Return what moved the scores: the baseline on its line, every share times the slope."""
        found: Explanation | None = self._member.explain(features, words, with_pictures)
        if found is None:
            return None
        baseline = {}
        for name, value in found.baseline.items():
            line = self._lines.get(name, LinearMap())
            baseline[name] = line.intercept + line.slope * value
        return replace(
            found,
            baseline=baseline,
            inputs={name: self._scaled(shares) for name, shares in found.inputs.items()},
            words=[WordShare(word.text, word.start, self._scaled(word.shares)) for word in found.words],
            cues=[CueShare(cue.name, cue.level, self._scaled(cue.shares), cue.source) for cue in found.cues],
        )

    def _scaled(self, shares: Mapping[str, float]) -> dict[str, float]:
        return {name: value * self._lines.get(name, LinearMap()).slope for name, value in shares.items()}
