"""Scores as a notebook shows them: the report's scale, small, without script and in the page's own colours."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, Protocol

from thinslice.errors import counted
from thinslice.targets import in_order, poles_of

CAUTION: Final = "An impression, not a personality; not for any decision about a person."
MAX_ROWS: Final = 30

_BAND, _DOT, _LINE = "rgba(52,130,190,.38)", "#2a7ab8", "rgba(128,128,128,.6)"  # Seen on white and on black.
_CELL = "padding:2px 8px;text-align:left;vertical-align:middle;border:0;background:none"
_SOFT = "opacity:.7;font-size:85%"


class ShownPrediction(Protocol):
    """A score with its 80% interval, all in [0, 1]."""

    @property
    def score(self) -> float:
        """The score."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


def clip_html(clip: str, traits: Mapping[str, ShownPrediction], about: str, warnings: Sequence[str]) -> str:
    """Return one clip's scores, each on its scale.

    Args:
        clip: its name.
        traits: target -> score.
        about: what was used, in one line.
        warnings: one line each.
    """
    rows = "".join(
        f'<tr style="background:none"><th scope="row" style="{_CELL}">{escape(name)}</th>'
        f'<td style="{_CELL};width:240px">{_scale(name, traits[name])}{_ends(name)}</td>'
        f'<td style="{_CELL}">{traits[name].score:.2f}<br><span style="{_SOFT}">{traits[name].low:.2f} to '
        f"{traits[name].high:.2f}</span></td></tr>"
        for name in in_order(traits)
    )
    lines = "".join(f'<div style="{_SOFT}">! {escape(line)}</div>' for line in warnings)
    return (
        f'<div><strong>{escape(clip)}</strong><div style="{_SOFT}">{escape(about)}</div>'
        f'<table style="border-collapse:collapse;border:0;color:inherit;font:inherit">{rows}</table>{lines}'
        f'<div style="{_SOFT}">Dot: score; band: 80% interval. {CAUTION}</div></div>'
    )


def table_html(clips: Sequence[tuple[str, Mapping[str, ShownPrediction]]], failures: Sequence[tuple[str, str]]) -> str:
    """Return many clips, a row each, the first `MAX_ROWS` of them.

    Args:
        clips: (name, target -> score).
        failures: (name, why) of clips without scores.
    """
    names = in_order(name for _, traits in clips for name in traits)
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr style="background:none"><th scope="row" style="{_CELL}">{escape(clip)}</th>'
        + "".join(f'<td style="{_CELL};min-width:80px">{_cell(name, traits)}</td>' for name in names)
        + "</tr>"
        for clip, traits in clips[:MAX_ROWS]
    )
    more = len(clips) - MAX_ROWS
    notes = [f"and {counted(more, 'more clip')}"] if more > 0 else []
    notes += [f"{len(failures):,} not scored, such as {clip}: {why}" for clip, why in failures[:1]]
    lines = "".join(f'<div style="{_SOFT}">{escape(line)}</div>' for line in notes)
    poles = "; ".join(f"{name}: {' to '.join(poles_of(name))}" for name in names)
    return (
        f'<div><table style="border-collapse:collapse;border:0;color:inherit;font:inherit"><thead><tr>'
        f'<th scope="col" style="{_CELL}">clip</th>{head}</tr></thead><tbody>{body}</tbody></table>{lines}'
        f'<div style="{_SOFT}">{escape(poles)}. {CAUTION}</div></div>'
    )


def _cell(name: str, traits: Mapping[str, ShownPrediction]) -> str:
    return f"{traits[name].score:.2f}{_scale(name, traits[name])}" if name in traits else "–"


def _scale(name: str, score: ShownPrediction) -> str:
    low, high, at = (100 * min(1.0, max(0.0, value)) for value in (score.low, score.high, score.score))
    spoken = f"{name} {score.score:.2f}, 80% interval {score.low:.2f} to {score.high:.2f}"
    ticks = "".join(f'<line x1="{x}%" x2="{x}%" y1="5" y2="11" stroke="{_LINE}"/>' for x in (0, 25, 50, 75, 100))
    return (
        f'<svg role="img" aria-label="{escape(spoken)}" width="100%" height="16" '
        f'style="display:block;overflow:visible">'
        f'<line x1="0" x2="100%" y1="8" y2="8" stroke="{_LINE}"/>{ticks}'
        f'<rect x="{low:.1f}%" width="{max(high - low, 0):.1f}%" y="4" height="8" rx="2" fill="{_BAND}"/>'
        f'<circle cx="{at:.1f}%" cy="8" r="4.5" fill="{_DOT}"/></svg>'
    )


def _ends(name: str) -> str:
    low, high = poles_of(name)
    return (
        f'<div style="display:flex;justify-content:space-between;{_SOFT}">'
        f"<span>{escape(low)}</span><span>{escape(high)}</span></div>"
    )
