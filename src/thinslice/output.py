"""Writing to a terminal, file or pipe of any encoding."""

import codecs
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

_PLAIN: Final = {
    "²": "2", "³": "3", "–": "-", "—": "-", "−": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "×": "x",
    "±": "+-", "≥": ">=", "≤": "<=", "≈": "~", "→": "->", "←": "<-", "·": ".", "•": "*", "\u00a0": " ", "\u202f": " ",
    "█": "#", "▇": "#", "▆": "#", "▅": "=", "▄": "=", "▃": "-", "▂": "-", "▁": "_", "░": ".", "▒": ":", "▓": "#",
    "─": "-", "━": "-", "│": "|", "┃": "|", "┼": "+", "├": "+", "┤": "+",
    "●": "o", "○": "o", "◆": "o", "▲": "^", "▼": "v",
}  # fmt: skip
"""How our own texts read where an encoding lacks their characters."""

_HANDLER: Final = "thinslice.plain"


@dataclass
class Volume:
    """How much a command says on stderr: `--quiet` and `--verbose`, given before or after the command's name."""

    quiet: bool = False
    verbose: bool = False


def volume() -> Volume:
    """Return the volume of the command that runs; the usual one outside the command line."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Volume) if context else None
    return found or Volume()


def say(text: str) -> None:
    """Tell on stderr what is worth knowing but neither result, warning nor failure; nothing with `--quiet`."""
    if not volume().quiet:
        click.echo(text, err=True)


def warn(text: str) -> None:
    """Tell on stderr of a warning or a failure, with `--quiet` too."""
    click.echo(text, err=True)


def detail(text: str) -> None:
    """Tell on stderr what only those want to know who said `--verbose`."""
    if volume().verbose:
        click.echo(text, err=True)


def prepare_streams() -> None:
    """Let stdout and stderr take every character: one that their encoding lacks is written in plain ones."""
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def print_json(document: Any) -> None:
    """Print one JSON document; characters that stdout cannot take are escaped as JSON does."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    text = json.dumps(document, indent=1, ensure_ascii=encoding not in ("utf-8", "utf8"), allow_nan=False)
    click.echo(text)


def make_folder(out: Path) -> None:
    """Create a folder for results; UsageError where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--out {out}: cannot make that folder ({error.strerror})") from None


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    plain = "".join(_PLAIN.get(character) or _escaped(character) for character in lost)
    return plain, error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")
