"""Runs what the documentation shows: its Python in this process, its thinslice commands through the command line."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

from command_line import run

BLOCK = re.compile(r"(<!-- not run by the tests: ([^\n]+) -->\n)?```(python|sh)\n(.*?)```", re.S)


def run_page(page: Path) -> list[str]:
    """Run the blocks of a Markdown page in order, and return the reasons of those that are marked as not run."""
    names: dict[str, Any] = {}
    skipped = []
    for _, reason, language, code in BLOCK.findall(page.read_text("utf-8")):
        if reason:
            skipped.append(reason)
        elif language == "python":
            exec(compile(code, str(page), "exec"), names)
        else:
            for line in code.replace("\\\n", " ").splitlines():
                call(line.partition("#")[0])
    return skipped


def run_notebook(path: Path) -> None:
    """Run the cells of a notebook; a line `!thinslice ...` is a command."""
    names: dict[str, Any] = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        code = "".join(cell["source"])
        if code.startswith("!"):
            call(code.removeprefix("!").replace("\\\n", " "))
        else:
            exec(compile(code, f"{path.name}: {code[:40]!r}", "exec"), names)


def call(line: str) -> None:
    """Run one line of a shell, which has to be a command of thinslice that succeeds."""
    words = shlex.split(line)
    if not words:
        return
    assert words[0] == "thinslice", f"{line}: mark the block as not run, with the reason"
    code, _, stderr = run(*words[1:])
    assert code == 0, f"{line}: {stderr}"
