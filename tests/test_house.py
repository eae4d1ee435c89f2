"""The structure of the source: no circles, nothing too long, no system known by name outside its folder."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from thinslice.systems import list_systems

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "thinslice"
FILES = sorted(SOURCE.rglob("*.py"))
MEASURED = [*FILES, *sorted((ROOT / "benchmarks").glob("*.py"))]

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 500, 80


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def imports_of(file: Path) -> set[str]:
    """Return the modules of the package that a file imports anywhere, also for types alone."""
    found = set()
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{entry.name}" for entry in node.names)}
        elif isinstance(node, ast.Import):
            found |= {entry.name for entry in node.names}
    # The package itself imports predict() when it is first used, and everything may ask it for the version.
    return {name for name in found if name in MODULES and name not in (name_of(file), "thinslice")}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: imports_of(file) for name, file in MODULES.items() if name != "thinslice"}
    assert len(graph) > 200
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_what_quiet_silences_is_decided_in_one_place() -> None:
    """`say`, `warn` and `detail` of thinslice.output write to stderr, and no other line does."""
    assert [file.name for file in FILES if re.search(r"\berr=True", file.read_text("utf-8"))] == ["output.py"]


def test_no_file_is_too_long() -> None:
    lengths = {file.relative_to(ROOT).as_posix(): len(file.read_text("utf-8").splitlines()) for file in MEASURED}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_function_is_too_long() -> None:
    too_long = {
        f"{file.relative_to(ROOT).as_posix()}:{node.name}": node.end_lineno - node.lineno + 1
        for file in MEASURED
        for node in ast.walk(parse(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    }
    assert too_long == {}


@pytest.mark.parametrize("folder", ["infer", "cli", "evaluate", "train", "report", "explain"])
def test_no_system_is_known_by_name(folder: str) -> None:
    """Documentation may name one: docstrings, and the examples of commands."""
    names = re.compile("|".join(rf"\b{name}\b" for name in list_systems()), re.I)
    found = {}
    for file in sorted((SOURCE / folder).rglob("*.py")):
        texts = {
            id(node.value)
            for node in ast.walk(parse(file))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
                spoken = [line for line in node.value.splitlines() if not re.match(r"\s*(thinslice|torchrun) ", line)]
            elif isinstance(node, ast.ImportFrom):
                spoken = [node.module or "", *(entry.name for entry in node.names)]
            elif isinstance(node, ast.Name | ast.Attribute):
                spoken = [node.id if isinstance(node, ast.Name) else node.attr]
            else:
                continue
            if any(names.search(line) for line in spoken):
                found[f"{file.name}:{node.lineno}"] = spoken
    assert found == {}


def test_the_places_that_contributing_names_are_there() -> None:
    table = (
        (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Ten typical changes")[2].partition("## Rules")[0]
    )
    rows = [line for line in table.splitlines() if line.startswith("| a")]
    assert len(rows) == 10
    named = re.compile(r"`(\w+)` of `([\w./]+\.py)`")
    for row in rows:
        paths = [path for path in re.findall(r"`((?:src|tests|docs)/[\w./]+)`", row) if "NAME" not in path]
        assert all((ROOT / path).exists() for path in paths), row
        assert all(re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8")) for name, path in named.findall(row)), (
            row
        )
