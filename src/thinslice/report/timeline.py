"""Scores over time as SVG paths."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thinslice.errors import counted
from thinslice.report.scales import Target
from thinslice.report.wording import MAX_LINES, clock, first_of, shown
from thinslice.types import Window

MAX_WINDOWS = 1000
MAX_RANGES = 6
"""How many times are named beside one note."""


class TimelineRow(NamedTuple):
    """One target over time as SVG paths in a box 1000 wide and 100 high."""

    target: Target
    band: str
    line: str
    mean: float | None
    spoken: str


class Timeline(NamedTuple):
    """The windows of a clip."""

    rows: tuple[TimelineRow, ...]
    gaps: str
    top: str
    bottom: str
    ticks: tuple[tuple[float, str], ...]
    notes: tuple[tuple[str, str], ...]
    more_notes: str
    table: tuple[tuple[str, tuple[str, ...]], ...]
    targets: tuple[Target, ...]
    num_windows: int
    cut: str


def build_timeline(
    windows: Sequence[Window], targets: Sequence[Target], baseline: Mapping[str, float]
) -> Timeline | None:
    """Draw windows, None if there are none; all targets share one range of scores, so that they compare."""
    if not windows:
        return None
    drawn = windows[:MAX_WINDOWS]
    start, end = drawn[0].start_s, max(window.end_s for window in drawn)
    length = max(end - start, 1e-9)
    ends = [value for window in drawn for score in window.traits.values() for value in (score.low, score.high)]
    bottom = math.floor(10 * max(0.0, min(ends, default=0.0)) + 1e-9) / 10
    top = math.ceil(10 * min(1.0, max(ends, default=1.0)) - 1e-9) / 10
    if top <= bottom:
        bottom, top = 0.0, 1.0

    def x(time_s: float) -> str:
        return f"{1000 * (time_s - start) / length:.1f}"

    def y(value: float) -> str:
        return f"{100 * (top - min(top, max(bottom, value))) / (top - bottom):.1f}"

    rows = []
    for target in targets:
        scored = [(window, window.traits[target.name]) for window in drawn if target.name in window.traits]
        band = "".join(
            f"M{x(window.start_s)} {y(score.high)}H{x(window.end_s)}V{y(score.low)}H{x(window.start_s)}Z"
            for window, score in scored
        )
        line, last_s = "", math.nan
        for window, score in scored:
            joins = abs(window.start_s - last_s) < 1e-6
            line += f"V{y(score.score)}" if joins else f"M{x(window.start_s)} {y(score.score)}"
            line += f"H{x(window.end_s)}"
            last_s = window.end_s
        values = [score.score for _, score in scored]
        spoken = f"{target.name} over time: {len(values)} of {len(drawn)} windows scored" + (
            f", from {min(values):.2f} to {max(values):.2f}" if values else ""
        )
        mean = baseline.get(target.name)
        shown_mean = float(y(mean)) if mean is not None and bottom <= mean <= top else None
        rows.append(TimelineRow(target, band, line, shown_mean, spoken))
    gaps = [window for window in drawn if not window.traits]
    notes = _notes(drawn)
    return Timeline(
        rows=tuple(rows),
        gaps="".join(f"M{x(window.start_s)} 0H{x(window.end_s)}V100H{x(window.start_s)}Z" for window in gaps),
        top=f"{top:.1f}",
        bottom=f"{bottom:.1f}",
        ticks=_time_ticks(start, end),
        notes=notes[:MAX_LINES],
        more_notes=f"and {counted(len(notes) - MAX_LINES, 'more note')}" if len(notes) > MAX_LINES else "",
        table=tuple(
            (
                _span(window),
                tuple(
                    f"{window.traits[target.name].score:.2f}" if target.name in window.traits else "–"
                    for target in targets
                ),
            )
            for window in drawn
        ),
        targets=tuple(targets),
        num_windows=len(drawn),
        cut=first_of(MAX_WINDOWS, len(windows), "windows"),
    )


def _notes(windows: Sequence[Window]) -> tuple[tuple[str, str], ...]:
    """Return each note once, with the times it is of; windows that follow each other are one range."""
    ranges: dict[str, list[Window]] = {}
    for window in windows:
        for note in filter(None, window.note.split("; ")):
            spans = ranges.setdefault(note, [])
            if spans and abs(spans[-1].end_s - window.start_s) < 1e-6:
                spans[-1] = Window(spans[-1].start_s, window.end_s, {})
            else:
                spans.append(Window(window.start_s, window.end_s, {}))
    return tuple((_listed(spans), shown(note)) for note, spans in ranges.items())


def _listed(spans: Sequence[Window]) -> str:
    text = ", ".join(_span(window) for window in spans[:MAX_RANGES])
    return text + (f" and {len(spans) - MAX_RANGES:,} more" if len(spans) > MAX_RANGES else "")


def _span(window: Window) -> str:
    return f"{clock(window.start_s)}–{clock(window.end_s)}"


def _time_ticks(start_s: float, end_s: float) -> tuple[tuple[float, str], ...]:
    """Return up to six round times with their place in percent."""
    length = max(end_s - start_s, 1e-9)
    steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400]
    step = next((step for step in steps if length / step <= 5), math.ceil(length / 5))
    first = math.ceil(start_s / step - 1e-9) * step
    count = int((end_s - first) / step + 1e-9) + 1
    times = [first + index * step for index in range(count)]
    return tuple((round(100 * (time_s - start_s) / length, 2), clock(time_s)) for time_s in times)
