"""The same results for a terminal: any width, with or without colour, in any encoding."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from thinslice.bundle import Card
from thinslice.errors import counted
from thinslice.report.cues import plain_cues
from thinslice.report.wording import (
    INTERVIEW_CAUTION,
    REVERSED,
    honest_line,
    honest_line_of,
    inputs_words,
    missing_inputs,
    num_training_clips,
    printable,
    signed,
)
from thinslice.targets import in_order, poles_of
from thinslice.traits import INTERVIEW, TARGETS
from thinslice.types import Explanation, Prediction, TraitScore

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

MAX_WHOLE = 3
"""Up to this many clips are shown one by one, more as one table."""
MAX_ROWS = 40
MAX_WARNINGS = 5
NAME_WIDTH = max(len(name) for name in TARGETS)
SCALE_WIDTHS = (12, 60)
"""Narrowest and widest scale, in characters."""
NUMBERS_WIDTH = 18
"""Columns of score and interval with the gaps before them."""
PLACE_WIDTH = 14
"""Columns of the percentile, left out where the scale would be shorter than `SCALE_WIDTHS[0]`."""

PLAIN = str.maketrans({
    "─": "-", "━": "=", "●": "O", "┊": "|", "–": "-", "−": "-", "“": '"', "”": '"', "²": "2", "×": "x", "…": "~",
})  # fmt: skip
"""What stands for the glyphs where the terminal's encoding is not Unicode; every one is a single column too."""


def render_table(predictions: Sequence[Prediction], cards: Mapping[str, Card] | None = None) -> "RenderableType":
    """Return what `console.print` shows of a run of predict.

    Up to three clips are shown one by one: each trait on a scale between its poles with its 80% interval, and what
    moved it most. More clips are shown as a table of scores.

    Args:
        predictions: scored clips.
        cards: bundle name -> model card, for the R² and the number of training clips.
    """
    return _Results(predictions, cards or {})


class _Results:
    """A rich renderable: what it draws depends on the console's width and encoding, known only when printed."""

    def __init__(self, predictions: Sequence[Prediction], cards: Mapping[str, Card]) -> None:
        self.predictions = predictions
        self.cards = cards

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator["Text"]:
        page = _Lines(options.max_width, options.encoding)
        if len(self.predictions) > MAX_WHOLE:
            yield from _batch(page, self.predictions)
        else:
            for prediction in self.predictions:
                yield from _clip(page, prediction, num_training_clips(prediction, self.cards), self.cards)
        if self.predictions:
            lines = {honest_line_of(prediction, self.cards) for prediction in self.predictions}
            yield page.line((lines.pop() if len(lines) == 1 else honest_line(None), "bold"))
            yield page.line(("An impression, not a personality; not for any decision about a person.", "dim"))


class _Lines:
    """Makes lines of text that the console can print.

    Attributes:
        width: columns of the terminal.
    """

    def __init__(self, width: int, encoding: str) -> None:
        self.width = width
        self.encoding = encoding
        self.is_unicode = encoding.startswith("utf")

    def line(self, *parts: tuple[str, str], wrap: bool = True) -> "Text":
        """Return one line of (text, style) parts, wrapped at words or cut at the width."""
        from rich.text import Text

        line = Text(no_wrap=not wrap, overflow="fold" if wrap else "crop")
        for text, style in parts:
            line.append(self.clean(text), style)
        return line

    def indented(self, indent: int, *parts: tuple[str, str]) -> Iterator["Text"]:
        """Return parts as lines with a hanging indent: the first `indent` columns are those of the first part."""
        from rich.console import Console
        from rich.text import Text

        (first, style), *rest = parts
        measure = Console(width=max(10, self.width - indent), color_system=None, legacy_windows=False)
        for index, text in enumerate(self.line(*rest).wrap(measure, max(10, self.width - indent))):
            head = self.clean(first) if index == 0 else ""
            yield Text.assemble((self.fit(head, indent), style), text, no_wrap=True, overflow="crop")

    def clean(self, text: str) -> str:
        """Return text on one line, without controls, in characters that the terminal's encoding has."""
        text = " ".join(printable(text).split("\n")).replace("\t", " ")
        if self.is_unicode:
            return text
        return text.translate(PLAIN).encode(self.encoding, "replace").decode(self.encoding)

    def fit(self, text: str, width: int) -> str:
        """Return text cut in its middle, or padded, to `width` columns; a path's end tells more than its start."""
        from rich.cells import cell_len, set_cell_size

        text = self.clean(text)
        if cell_len(text) > width:
            tail = ""
            for char in reversed(text):
                if cell_len(char + tail) > 2 * width // 3:
                    break
                tail = char + tail
            text = set_cell_size(text, width - 1 - cell_len(tail)) + self.clean("…") + tail
        return set_cell_size(text, width)


# ---- one clip


def _clip(page: _Lines, prediction: Prediction, num_clips: int | None, cards: Mapping[str, Card]) -> Iterator["Text"]:
    room = page.width - NAME_WIDTH - 1 - NUMBERS_WIDTH
    is_wide = room - PLACE_WIDTH >= SCALE_WIDTHS[0]
    scale = min(SCALE_WIDTHS[1], max(SCALE_WIDTHS[0], room - PLACE_WIDTH if is_wide else room))
    names = [name for name in in_order(prediction.traits) if name != INTERVIEW]
    explanation = prediction.explanation
    baseline = explanation.baseline if explanation else {}
    bundle = f"{prediction.bundle.get('name', '')} {prediction.bundle.get('version', '')}".strip()

    yield page.line((prediction.clip, "bold"))
    inputs = inputs_words(prediction.used, missing_inputs(prediction, cards))
    seconds = f" {prediction.seconds['total']:.1f} s." if "total" in prediction.seconds else ""
    yield page.line((f"{bundle}. {inputs}{seconds}", "dim"))
    yield page.line(("", ""))
    head = " " * (NAME_WIDTH + 1 + scale) + f"  {'score':>5}  {'interval':>9}"
    head += f"  {'higher than':>12}" if is_wide else ""
    yield page.line((head, "dim"), wrap=False)
    for name in names:
        yield from _trait(page, name, prediction.traits[name], baseline.get(name), scale, is_wide, "")
    if INTERVIEW in prediction.traits:
        interview = prediction.traits[INTERVIEW]
        yield from _trait(page, INTERVIEW, interview, baseline.get(INTERVIEW), scale, is_wide, "dim")
        yield from page.indented(NAME_WIDTH + 1, ("", ""), (INTERVIEW_CAUTION, "dim"))
    yield page.line(("", ""))
    whose = f"{num_clips:,} training clips' labels" if num_clips else "training clips' labels"
    key = "━ 80% interval, ● score" + (", ┊ baseline" if baseline else "")
    yield page.line((key + (f"; percentages are of the {whose}." if is_wide else "."), "dim"))
    for name in names:
        if name in REVERSED:
            yield page.line((f"{name} is {REVERSED[name]}.", "dim"))
    if explanation and (explanation.cues or explanation.words or explanation.inputs):
        yield page.line(("", ""))
        yield page.line(("What moved it most", "bold"))
        for name in names:
            yield from page.indented(NAME_WIDTH + 1, (name, ""), *_movers(explanation, name))
    yield page.line(("", ""))
    if prediction.timeline:
        scored = sum(bool(window.traits) for window in prediction.timeline)
        text = f"{scored} of {len(prediction.timeline)} windows scored; scores are their mean. report.html draws them."
        yield page.line((text, ""))
        yield page.line(("", ""))
    for warning in prediction.warnings[:MAX_WARNINGS]:
        yield from page.indented(2, ("!", "bold yellow"), (warning, ""))
    if len(prediction.warnings) > MAX_WARNINGS:
        yield page.line((f"  and {counted(len(prediction.warnings) - MAX_WARNINGS, 'more warning')}", "dim"))
    if prediction.warnings:
        yield page.line(("", ""))


def _trait(
    page: _Lines, name: str, score: TraitScore, mean: float | None, width: int, with_place: bool, style: str
) -> Iterator["Text"]:
    numbers = f"  {score.score:5.2f}  {f'{score.low:.2f}–{score.high:.2f}':>9}"
    numbers += f"  {_place(score.percentile):>12}" if with_place else ""
    bar = [(glyph, f"{style} {mark}".strip()) for glyph, mark in _bar(score, mean, width)]
    yield page.line((f"{page.fit(name, NAME_WIDTH)} ", style or "bold"), *bar, (numbers, style), wrap=False)
    low, high = poles_of(name)
    gap = width - len(low) - len(high)
    poles = f"{low}{' ' * gap}{high}" if gap > 0 else f"{low} to {high}"
    yield page.line((" " * (NAME_WIDTH + 1) + poles, "dim"), wrap=False)


def _bar(score: TraitScore, mean: float | None, width: int) -> list[tuple[str, str]]:
    """Return the scale from 0 to 1 as (glyph, style) pairs, one column each."""

    def column(value: float) -> int:
        return min(width - 1, max(0, round(value * (width - 1))))

    low, high, at = column(score.low), column(score.high), column(score.score)
    cells = [("━", "blue") if low <= index <= high else ("─", "dim") for index in range(width)]
    if mean is not None:
        cells[column(mean)] = ("┊", "bold")
    cells[at] = ("●", "bold blue")
    return cells


def _place(percentile: float) -> str:
    if not 0 <= percentile <= 100:
        return ""
    return "almost all" if percentile >= 99.5 else f"{percentile:.0f}% of clips"


def _movers(explanation: Explanation, name: str) -> list[tuple[str, str]]:
    """Return the four largest shares of cues, words, and inputs that have neither."""
    shares: dict[str, float] = {}
    spelling: dict[str, str] = {}
    for cue in plain_cues(explanation.cues):
        shares[cue.name] = shares.get(cue.name, 0.0) + cue.shares.get(name, 0.0)
    for word in explanation.words:
        text = word.text.strip(".,!?;:\"'()") or word.text
        label = spelling.setdefault(text.casefold(), f"“{text[:24]}”")
        shares[label] = shares.get(label, 0.0) + word.shares.get(name, 0.0)
    divided = {cue.source for cue in explanation.cues} | ({"words"} if explanation.words else set())
    for source, values in explanation.inputs.items():
        if source not in divided:
            shares[f"the {source}"] = values.get(name, 0.0)
    ranked = sorted(shares.items(), key=lambda item: -abs(item[1]))
    parts: list[tuple[str, str]] = []
    for label, value in [item for item in ranked[:4] if abs(item[1]) >= 0.0005]:
        parts += [(", " if parts else "", ""), (label, ""), (f" {signed(value)}", "blue" if value > 0 else "yellow")]
    return parts or [("nothing much", "dim")]


# ---- many clips


def _batch(page: _Lines, predictions: Sequence[Prediction]) -> Iterator["Text"]:
    names = in_order(name for prediction in predictions for name in prediction.traits)
    width = max(12, page.width - 7 * len(names) - 2)
    head = "".join(f"  {name[:4]}." for name in names)
    yield page.line((f"{counted(len(predictions), 'clip'):<{width}}  {head}", "bold"), wrap=False)
    for prediction in predictions[:MAX_ROWS]:
        mark = ("! ", "bold yellow") if prediction.warnings else ("  ", "")
        cells = [
            (f"{prediction.traits[name].score:7.2f}" if name in prediction.traits else f"{'-':>7}", _shade(name))
            for name in names
        ]
        yield page.line((page.fit(prediction.clip, width), ""), mark, *cells, wrap=False)
    if len(predictions) > MAX_ROWS:
        text = f"and {len(predictions) - MAX_ROWS:,} more: --json prints them all, --out DIR writes them with a report"
        yield page.line((text, "dim"))
    yield page.line(("", ""))
    poles = ", ".join(poles_of(name)[1] if name in TARGETS else f"high {name}" for name in names)
    yield page.line((f"0 to 1; 1 is {poles}.", "dim"))
    if INTERVIEW in names:
        yield page.line((f"Interview: {INTERVIEW_CAUTION[0].lower()}{INTERVIEW_CAUTION[1:]}", "dim"))
    counts = Counter(warning for prediction in predictions for warning in prediction.warnings)
    for warning, count in counts.most_common(MAX_WARNINGS):
        times = f" ({count:,} clips)" if count > 1 else ""
        yield from page.indented(2, ("!", "bold yellow"), (warning + times, ""))
    if len(counts) > MAX_WARNINGS:
        yield page.line((f"  and {counted(len(counts) - MAX_WARNINGS, 'other warning')}", "dim"))
    yield page.line(("", ""))


def _shade(name: str) -> str:
    return "dim" if name == INTERVIEW else ""
