"""The account from the baseline to the score: shares of inputs and cues as rows of bars."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from thinslice.errors import counted
from thinslice.report.cues import glossary, plain_cues
from thinslice.report.scales import Target, finite
from thinslice.report.wording import SMALLEST_SHARE, shown, signed
from thinslice.types import CueShare, Explanation, TraitScore

MAX_CUES = 12


class Cell(NamedTuple):
    """One share: its text and its bar, from `left`, `width` wide, in percent; `side` is "up", "down" or ""."""

    key: str
    text: str
    left: float
    width: float
    side: str


class AccountRow(NamedTuple):
    """One line of the account from the baseline to the score; `kind` is "end", "input" or "cue"."""

    kind: str
    name: str
    level: str
    cells: tuple[Cell, ...]


class Moved(NamedTuple):
    """What moved the scores: the account by inputs and cues, and what the cues' names mean."""

    rows: tuple[AccountRow, ...]
    mostly: str
    scale: str
    glossary: tuple[tuple[str, str], ...]


def build_account(
    explanation: Explanation, traits: Mapping[str, TraitScore], targets: Sequence[Target]
) -> Moved | None:
    """Arrange shares as rows that add up, column by column, from the baseline to the score; None without inputs."""
    if not explanation.inputs:
        return None
    names = [target.name for target in targets]
    lines: list[tuple[str, str, str, Mapping[str, float]]] = []
    for source, shares in explanation.inputs.items():
        lines.append(("input", source, "", shares))
        lines += [("cue", cue.name, _level(cue.level), cue.shares) for cue in _cue_lines(explanation, source, names)]
    largest = max((abs(finite(shares.get(name, 0.0))) for *_, shares in lines for name in names), default=0.0)
    rows = [_end_row("baseline", explanation.baseline, names)]
    rows += [
        AccountRow(kind, shown(name), level, tuple(_cell(shares.get(target, 0.0), target, largest) for target in names))
        for kind, name, level, shares in lines
    ]
    rows.append(_end_row("score", {name: traits[name].score for name in names}, names))
    return Moved(
        rows=tuple(rows),
        mostly=_mostly(explanation, names),
        scale=f"{largest:.3f}",
        glossary=glossary(row.name for row in rows if row.kind == "cue"),
    )


def _cue_lines(explanation: Explanation, source: str, names: Sequence[str]) -> list[CueShare]:
    """Return the cues of one input, largest first, the small ones and what no cue holds added up."""
    cues = plain_cues([cue for cue in explanation.cues if cue.source == source])
    cues.sort(key=lambda cue: -max((abs(finite(cue.shares.get(name, 0.0))) for name in names), default=0.0))
    small = cues[MAX_CUES:]
    lines = cues[:MAX_CUES]
    if small:
        lines.append(CueShare(counted(len(small), "smaller cue"), None, _sum(small, names), source))
    words = _sum(explanation.words, names) if source == "words" else dict.fromkeys(names, 0.0)
    if explanation.words and source == "words" and cues:
        lines.insert(0, CueShare("single words, together", None, words, source))
    if lines:
        known = _sum(cues, names)
        whole = explanation.inputs[source]
        rest = {name: finite(whole.get(name, 0.0)) - known[name] - words[name] for name in names}
        if max(abs(value) for value in rest.values()) >= SMALLEST_SHARE:
            lines.append(CueShare("no single cue", None, rest, source))
    return lines


def _sum(parts: Sequence[Any], names: Sequence[str]) -> dict[str, float]:
    return {name: math.fsum(finite(part.shares.get(name, 0.0)) for part in parts) for name in names}


def _end_row(name: str, values: Mapping[str, float], names: Sequence[str]) -> AccountRow:
    cells = [Cell(target[0], f"{values[target]:.3f}" if target in values else "", 0, 0, "") for target in names]
    return AccountRow("end", name, "", tuple(cells))


def _cell(value: float, target: str, largest: float) -> Cell:
    value = finite(value)
    width = round(50.0 * abs(value) / largest, 1) if largest else 0.0
    return Cell(
        key=target[0],
        text=signed(value),
        left=round(50.0 - width if value < 0 else 50.0, 1),
        width=width,
        side="down" if value < 0 else "up",
    )


def _level(level: float | None) -> str:
    if level is None or not math.isfinite(level):
        return ""
    number = min(99, max(1, round(level)))
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} percentile"


def _mostly(explanation: Explanation, names: Sequence[str]) -> str:
    """Return each input's part of all movement, absolute shares summed over the targets."""
    moved = {
        source: math.fsum(abs(finite(shares.get(name, 0.0))) for name in names)
        for source, shares in explanation.inputs.items()
    }
    total = math.fsum(moved.values())
    if len(moved) < 2 or not total:
        return ""
    parts = [f"the {source} made {100 * value / total:.0f}%" for source, value in moved.items()]
    return f"Of all movement away from the baseline, {', '.join(parts)}."
