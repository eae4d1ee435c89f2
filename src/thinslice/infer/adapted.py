"""Writes a bundle fitted to another population: its scores on lines, with new intervals and percentiles."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from thinslice import __version__
from thinslice.bundle import Bundle, LinearMap, Score, save_bundle
from thinslice.evaluate.adaptation import ADAPTED, AS_IT_IS, Lines, Verdict
from thinslice.evaluate.panel import AVERAGE
from thinslice.infer.lines import slope_of
from thinslice.voice_words.conformal import conformal_offsets


def write_adapted(
    bundle: Bundle,
    out: Path,
    *,
    lines: Lines | None,
    labels: np.ndarray,
    residuals: np.ndarray,
    speakers: Sequence[str],
    used: Sequence[str],
    verdict: Verdict,
    source: str,
    digest: str,
    name: str | None = None,
) -> Path:
    """Write the bundle that a verdict decides for.

    Args:
        bundle: what was adapted.
        out: the new bundle's folder.
        lines: of its scores; None to leave them as they are.
        labels: the ratings, (n, k) in the order of the bundle's outputs, NaN where unknown.
        residuals: label less score on speakers not met, (n, k).
        speakers: of each clip.
        used: labels of the inputs of each clip, joined by "+".
        verdict: what cross-validation said.
        source: the ratings' file, for the card.
        digest: of these ratings.
        name: of the new bundle; by default the old one's with "-adapted".

    Raises:
        UsageError: the folder holds something else, or cannot be written.
    """
    old = bundle.document
    kept = {target: old.lines.get(target, LinearMap()) for target in bundle.outputs}
    if lines is not None:
        kept = {target: _after(kept[target], lines, k) for k, target in enumerate(bundle.outputs)}
    intervals = {combination: dict(entry) for combination, entry in old.intervals.items()}
    percentiles = dict(old.percentiles)
    most = max(sorted(set(used)), key=list(used).count)
    for k, target in enumerate(bundle.outputs):
        known = np.isfinite(residuals[:, k])
        if not known.any():
            continue
        low, high = conformal_offsets(residuals[known, k], np.asarray(speakers, dtype=str)[known])
        before = _width(old.intervals[most][target])
        for entry in intervals.values():
            factor = max(1.0, _width(entry[target]) / before) if before > 0 else 1.0
            entry[target] = (round(min(0.0, low * factor), 4), round(max(0.0, high * factor), 4))
        quantiles = np.quantile(labels[known, k], np.linspace(0, 1, 101))
        percentiles[target] = tuple(round(float(value), 6) for value in quantiles)
    document = msgspec.structs.replace(
        old,
        name=name or f"{old.name}-adapted",
        lines={target: line for target, line in kept.items() if line != LinearMap()},
        intervals=intervals,
        percentiles=percentiles,
        card=_card(bundle, lines, most, verdict, source, digest),
    )
    files = {file: (bundle.folder / file).read_bytes() for file in old.files}
    return save_bundle(out, document, files)


def _after(old: LinearMap, lines: Lines, k: int) -> LinearMap:
    """Return a bundle's line of target k, followed by a new one on the scores and shares that it gave."""
    slope = float(lines.slope[k])
    inputs = {}
    for label in dict.fromkeys((*old.inputs, *lines.inputs)):
        before = old.inputs.get(label, LinearMap(slope=0.0))
        intercept, weight = slope * before.intercept, slope * before.slope
        if label in lines.inputs:
            intercept += float(lines.inputs[label].intercept[k])
            weight += float(lines.inputs[label].slope[k]) * slope_of(old, label)
        inputs[label] = LinearMap(intercept=round(intercept, 6), slope=round(weight, 6))
    return LinearMap(
        intercept=round(float(lines.intercept[k]) + slope * old.intercept, 6),
        slope=round(slope * old.slope, 6),
        inputs=inputs,
    )


def _card(bundle: Bundle, lines: Lines | None, used: str, verdict: Verdict, source: str, digest: str) -> Any:
    old = bundle.card
    clips = f"{source}: {verdict.num_clips} clips of {verdict.num_speakers} speakers, cross-validated, speakers apart"
    scores = [
        Score(
            clips=f"{clips}, {said}",
            inputs=used,
            accuracy=_rounded(verdict.panels[system]["accuracy"]),
            r2=_rounded(verdict.panels[system]["r2"]),
        )
        for system, said in ((ADAPTED, "adapted"), (AS_IT_IS, "not adapted"))
    ]
    quoted = verdict.panels[ADAPTED if lines is not None else AS_IT_IS]["r2"][AVERAGE]
    how = "new intervals alone; its scores are as they were" if lines is None else lines.describe()
    note = {"from": f"{bundle.name} {bundle.document.version}", "says": verdict.sentences(), "moved": lines is not None}
    return msgspec.structs.replace(
        old,
        summary=f"{old.summary} Adapted to {source} by {how}.",
        r2={used: round(quoted, 4)} if quoted is not None else {},
        scores=(*scores, *old.scores),
        num_training_clips=verdict.num_clips,
        limits=(f"Adapted to the people in {source}; it says less about others.", *old.limits),
        interval_source=f"conformal, from residuals of {clips}; with other inputs than {used}, widened as before",
        digests={**old.digests, "ratings": digest},
        notes={**old.notes, "adapted": note},
        code_version=__version__,
    )


def _rounded(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items() if value is not None}


def _width(offsets: tuple[float, float]) -> float:
    return offsets[1] - offsets[0]
