"""CSV tables read strictly and written atomically: every mistake is named with its file and line."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from thinslice.errors import ManifestError, counted
from thinslice.files import read_file

MAX_CELL_CHARS = csv.field_size_limit()
"""Longest cell, in characters; a longer one is nearly always a quotation mark that was never closed."""

_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class CsvTable:
    """A CSV file as text: nothing converted, nothing trimmed except the names in the header.

    Attributes:
        source: the file, for messages.
        header: column names, unique, in the file's order.
        rows: one tuple of cells per row, as long as the header.
        lines: number of the file's line on which each row begins, counted from 1.
    """

    source: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, name: str) -> tuple[str, ...]:
        """Return one column's cells; KeyError for a column that is not there."""
        try:
            index = self.header.index(name)
        except ValueError:
            raise KeyError(name) from None
        return tuple(row[index] for row in self.rows)

    def where(self, row: int) -> str:
        """Return "file, line N" of a row, counted from 0."""
        return f"{self.source}, line {self.lines[row]}"


def read_table(path: str | os.PathLike[str], required: Sequence[str] = ()) -> CsvTable:
    """Read a CSV file: UTF-8, with or without byte order mark, commas, any line ending, quoted newlines.

    Args:
        path: the file.
        required: columns that must be there.

    Raises:
        ManifestError: file absent or unreadable, not UTF-8, separated by something else, a header that is
            empty, doubled or lacks a required column, a row of another length, a quotation mark left open.
    """
    source = os.fspath(path)
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise ManifestError(f"{source}: no such file") from None
    except OSError as error:
        raise ManifestError(f"{source}: cannot be read ({error.strerror})") from None
    return parse_table(data, source, required)


def parse_table(data: bytes, source: str, required: Sequence[str] = (), delimiter: str = ",") -> CsvTable:
    """Read a CSV file's bytes; as `read_table`, with another delimiter where a corpus uses one."""
    decode_utf8(data, source)  # for its errors; below, text is made bit by bit, which keeps large tables lean
    # newline="" leaves newlines inside quotes as they are: transcripts are kept verbatim.
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    reader = csv.reader(text, strict=True, delimiter=delimiter)
    header: tuple[str, ...] | None = None
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    start = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            hint = "is a quotation mark missing, or not doubled inside a quoted cell?"
            raise ManifestError(f"{source}, line {start}: not valid CSV ({error}); {hint}") from None
        if cells is None:
            break
        line, start = start, reader.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue  # blank lines, and the rows of commas that spreadsheets leave at the end
        if header is None:
            header = _header(cells, f"{source}, line {line}", required)
        elif len(cells) != len(header):
            raise ManifestError(
                f"{source}, line {line}: {counted(len(cells), 'cell')} where the header has {len(header)} columns; "
                "is a comma unquoted?"
            )
        else:
            rows.append(tuple(cells))
            lines.append(line)
    if header is None:
        raise ManifestError(f"{source}: empty; expected a header line with {', '.join(required) or 'columns'}")
    return CsvTable(source, header, tuple(rows), tuple(lines))


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a CSV table as text with "\\n" line ends; `parse_table` reads back the same cells.

    Raises:
        ManifestError: a cell longer than `MAX_CELL_CHARS`, which no reader would take back.
    """
    out = []
    buffer = io.StringIO(newline="")
    # With "\r\n" as line end csv quotes cells that hold either character, whatever the Python version.
    writer = csv.writer(buffer, lineterminator="\r\n")
    for cells in (header, *rows):
        if any(len(cell) > MAX_CELL_CHARS for cell in cells):
            raise ManifestError(f"row of {cells[0]!r}: a cell is longer than {MAX_CELL_CHARS:,} characters")
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        out.append(buffer.getvalue()[:-2])
    return "\n".join(out) + "\n"


def decode_utf8(data: bytes, source: str) -> str:
    """Return a text file's text without byte order mark; ManifestError with the line where it is not UTF-8."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ManifestError(f"{source}: saved as UTF-16; save it as UTF-8 (in Excel: 'CSV UTF-8')")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise ManifestError(
            f"{source}, line {line}: byte 0x{byte:02x} is not UTF-8; save it as UTF-8 (in Excel: 'CSV UTF-8')"
        ) from None


def _header(cells: Sequence[str], where: str, required: Sequence[str]) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in cells)
    missing = [name for name in required if name not in names]
    if missing:
        for delimiter, word in _OTHER_DELIMITERS.items():
            if any(delimiter in name for name in names):
                raise ManifestError(f"{where}: columns are separated by {word}; separate them by commas")
        plural = "s" if len(missing) > 1 else ""
        found = " ".join(", ".join(names).split())  # on one line, whatever a broken file has there
        found = found if len(found) <= 300 else found[:300] + "..."
        raise ManifestError(f"{where}: no column{plural} {', '.join(missing)}; found {found}")
    for name in names:
        if not name:
            raise ManifestError(f"{where}: a column has no name")
        if names.count(name) > 1:
            raise ManifestError(f"{where}: column {name[:100]!r} is listed twice")
    return names
