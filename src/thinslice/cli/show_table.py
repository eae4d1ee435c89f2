"""Printing the tables of `thinslice.evaluate.tables` in a terminal of any width."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from thinslice.evaluate.tables import Table

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_A_FILE: Final = 160
_GAP: Final = 2
_LABEL_WIDTH: Final = 18
"""The first column, which names the rows, is made this narrow where more columns then fit beside it."""
_HEADER_WIDTH: Final = 10
"""Names of the other columns are broken at blanks beyond this, or beyond the column's numbers."""

_INTERVAL = re.compile(r" (?=\[[^\]]*\]$)")


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables to stdout, as wide as the terminal, or 160 columns into a file or pipe.

    Where a table is too wide, intervals go below their numbers; where it still is, the columns that do not fit follow
    below, under the same row names. No number and, unless it is longer than the line, no word is broken.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_OF_A_FILE)
    for table in tables:
        console.print(Text(table.title, style="bold"))
        for part in _fit(table, console.width):
            _print(console, table, part)
        if table.note:
            console.print(Text(table.note, style="dim"))
        console.print()


@dataclass(frozen=True)
class _Column:
    """A column of a table.

    Attributes:
        header: its name, on several lines where need be.
        cells: one a row, likewise.
        align: "l" or "r".
        width: of its longest line.
    """

    header: str
    cells: tuple[str, ...]
    align: str
    width: int


def _fit(table: Table, width: int) -> list[list[_Column]]:
    """Return the columns in parts that fit the width, each with the column of row names."""
    whole = [_column(table, index, None, False) for index in range(len(table.header))]
    if _width(whole) <= width or len(whole) < 2:
        return [whole]
    rest = [_column(table, index, _HEADER_WIDTH, True) for index in range(1, len(table.header))]
    labels = [whole[0], _column(table, 0, _LABEL_WIDTH, False)]
    parts = [_parts(label, rest, width) for label in labels]
    return min(parts, key=len)


def _parts(label: _Column, rest: Sequence[_Column], width: int) -> list[list[_Column]]:
    parts = [[label]]
    for column in rest:
        if len(parts[-1]) > 1 and _width([*parts[-1], column]) > width:
            parts.append([label])
        parts[-1].append(column)
    return parts


def _column(table: Table, index: int, header_width: int | None, folded: bool) -> _Column:
    """Return a column of a table.

    Args:
        table: whose.
        index: which.
        header_width: lines may be broken at blanks beyond it, the header's at any rate, other cells' where they are
            row names; None for no breaks.
        folded: whether intervals go below their numbers.
    """
    cells = [row[index] for row in table.rows]
    if folded:
        cells = [_INTERVAL.sub("\n", cell) for cell in cells]
    elif header_width:
        cells = [_wrap(cell, header_width) for cell in cells]
    width = max((_longest(cell) for cell in cells), default=0)
    header = table.header[index] if header_width is None else _wrap(table.header[index], max(width, header_width))
    return _Column(header, tuple(cells), table.align[index], max(width, _longest(header)))


def _wrap(text: str, width: int) -> str:
    """Break a text at blanks into lines of the width; what it is indented by, its other lines are too."""
    import textwrap

    indent = " " * (len(text) - len(text.lstrip()))
    lines = textwrap.wrap(text.strip(), max(width - len(indent), 1), break_long_words=False, break_on_hyphens=False)
    return "\n".join(indent + line for line in lines)


def _longest(text: str) -> int:
    from rich.cells import cell_len

    return max((cell_len(line) for line in text.split("\n")), default=0)


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _print(console: "Console", table: Table, columns: Sequence[_Column]) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    lines = max(column.header.count("\n") for column in columns)
    for column in columns:
        header = "\n" * (lines - column.header.count("\n")) + column.header  # names stand above their column's line
        shown.add_column(Text(header), justify="left" if column.align == "l" else "right", overflow="fold")
    for cells in zip(*(column.cells for column in columns), strict=True):
        shown.add_row(*map(Text, cells))
    console.print(shown)
    console.print()
