"""Printing the tables of `thinslice.evaluate.tables` in a terminal."""

from collections.abc import Sequence

from thinslice.evaluate.tables import Table

_WIDTH_OF_A_FILE = 160


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables to stdout, as wide as the terminal, or 160 columns into a file or pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_OF_A_FILE)
    for table in tables:
        shown = RichTable(
            box=box.SIMPLE_HEAD, title=Text(table.title, style="bold"), title_justify="left", pad_edge=False
        )
        for name, side in zip(table.header, table.align, strict=True):
            shown.add_column(Text(name), justify="left" if side == "l" else "right", overflow="fold")
        for row in table.rows:
            shown.add_row(*(Text(cell) for cell in row))
        console.print(shown)
        if table.note:
            console.print(Text(table.note, style="dim"))
        console.print()
