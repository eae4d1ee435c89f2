"""Weighted means of predictions: several bundles on one clip, or several windows of one bundle."""

from collections.abc import Callable, Mapping, Sequence

from thinslice.types import CueShare, Explanation, Prediction, TraitScore, WordShare

Weights = Sequence[Mapping[str, float]]
"""One mapping target -> weight for each part; the weights of a target sum to 1 over the parts that have it."""

NARROWEST = 0.01
"""An interval cut off at 0 or 1, down to nothing where a score is beyond, weighs as one of this width at least."""


def inverse_variance_weights(parts: Sequence[Mapping[str, TraitScore]]) -> Weights:
    """Weight each part, per target, by the inverse square of its interval's width.

    An 80% interval's width is proportional to the residual's standard deviation, so these are the weights that
    minimise the variance of the mean if the parts' errors were independent. They are not, quite.
    """
    weights: list[dict[str, float]] = [{} for _ in parts]
    for target in _targets(parts):
        widths = [part[target].high - part[target].low if target in part else None for part in parts]
        inverse = [0.0 if width is None else 1.0 / max(width, NARROWEST) ** 2 for width in widths]
        for weight, value in zip(weights, inverse, strict=True):
            if value:
                weight[target] = value / sum(inverse)
    return weights


def equal_weights(parts: Sequence[Mapping[str, TraitScore]]) -> Weights:
    """Weight all parts alike, per target."""
    count = {target: sum(target in part for part in parts) for target in _targets(parts)}
    return [{target: 1.0 / count[target] for target in part} for part in parts]


def combine_traits(
    parts: Sequence[Mapping[str, TraitScore]], weights: Weights, percentile: Callable[[str, float], float]
) -> dict[str, TraitScore]:
    """Return the weighted mean of scores and interval ends.

    The interval ends are averaged as if the errors were wholly correlated, which never makes them too narrow.
    """
    result = {}
    for target in _targets(parts):
        members = [
            (part[target], weight[target]) for part, weight in zip(parts, weights, strict=True) if target in part
        ]
        score = sum(entry.score * weight for entry, weight in members)
        result[target] = TraitScore(
            score=score,
            low=sum(entry.low * weight for entry, weight in members),
            high=sum(entry.high * weight for entry, weight in members),
            percentile=percentile(target, score),
        )
    return result


def combine_explanations(
    parts: Sequence[Explanation | None], weights: Weights, word_offsets: Sequence[int] | None = None
) -> Explanation | None:
    """Return the weighted sum of explanations, None unless every part has one.

    Shares stay exact: the baseline and the shares still sum to the combined score. `word_offsets` moves each
    part's words to where its transcript starts in the joined one.
    """
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    offsets = word_offsets or [0] * len(known)
    baseline: dict[str, float] = {}
    inputs: dict[str, dict[str, float]] = {}
    cues: dict[tuple[str, str], tuple[list[float], dict[str, float]]] = {}
    words = []
    for part, weight, offset in zip(known, weights, offsets, strict=True):
        _add(baseline, part.baseline, weight)
        for name, shares in part.inputs.items():
            _add(inputs.setdefault(name, {}), shares, weight)
        for cue in part.cues:
            levels, total = cues.setdefault((cue.source, cue.name), ([], {}))
            if cue.level is not None:
                levels.append(cue.level)
            _add(total, cue.shares, weight)
        words += [WordShare(word.text, word.start + offset, _scaled(word.shares, weight)) for word in part.words]
    return Explanation(
        baseline=baseline,
        inputs=inputs,
        words=words,
        cues=[
            CueShare(name, sum(levels) / len(levels) if levels else None, shares, source)
            for (source, name), (levels, shares) in cues.items()
        ],
        pictures=[picture for part in known for picture in part.pictures],
    )


def join_transcripts(parts: Sequence[Prediction]) -> tuple[str | None, list[int]]:
    """Return the windows' transcripts as one text, and where each begins in it."""
    text, offsets = "", []
    for part in parts:
        if text and part.transcript:
            text += " "
        offsets.append(len(text))
        text += part.transcript or ""
    return text or None, offsets


def _targets(parts: Sequence[Mapping[str, TraitScore]]) -> list[str]:
    return list(dict.fromkeys(target for part in parts for target in part))


def _scaled(shares: Mapping[str, float], weight: Mapping[str, float]) -> dict[str, float]:
    return {target: value * weight.get(target, 0.0) for target, value in shares.items()}


def _add(total: dict[str, float], shares: Mapping[str, float], weight: Mapping[str, float]) -> None:
    for target, value in _scaled(shares, weight).items():
        total[target] = total.get(target, 0.0) + value
