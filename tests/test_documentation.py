"""The documentation: its links lead somewhere, and what the start page and the notebooks show runs."""

import re
import shutil
import sys
import tomllib
from collections import Counter
from pathlib import Path

import click
import pytest

from documents_run import run_notebook, run_page
from thinslice.cli import cli

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))]
NOTEBOOKS = ROOT / "examples" / "notebooks"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.S | re.M)
CALL = re.compile(r"(?<![\w/.=-])thinslice ((?:[a-z]|-[-\w])[^\n`|;&>#]*)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    text = FENCE.sub("", page.read_text("utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def find_calls(text: str) -> list[str]:
    """Return the calls of thinslice in a page's blocks, and those that fill a piece of code in its sentences."""
    text = text.replace("\\\n", " ")
    blocks = [call for block in FENCE.findall(text) for call in CALL.findall(block)]
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", text))
    return blocks + [call for span in spans for call in CALL.findall(" ".join(span.split())) if span.startswith("thin")]


def find_wrong_words(call: str) -> list[str]:
    """Return the command or the options of a call that do not exist."""
    command: click.Command = cli
    context = click.Context(cli)
    words = call.split()
    while isinstance(command, click.Group) and words and re.match("[a-z]", words[0]):
        found = command.get_command(context, words[0])
        if found is None:
            return words[:1]
        command, words = found, words[1:]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    known |= {name for option in cli.params for name in option.opts} | {"--help", "-h"}
    given = [word.split("=")[0] for word in words if re.match(r"--[a-z]", word)]
    return [word for word in given if word not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_call_that_a_page_shows_has_commands_and_options_that_exist(page: Path) -> None:
    wrong = {call: words for call in find_calls(page.read_text("utf-8")) if (words := find_wrong_words(call))}
    wrong.pop("verify", None)  # docs/command-line.md shows how a wrong command is answered.
    assert wrong == {}


def test_the_pages_show_calls() -> None:
    assert sum(len(find_calls(page.read_text("utf-8"))) for page in PAGES) > 200
    assert find_wrong_words("data verify --fast fi.csv") == ["--fast"]
    assert find_wrong_words("pradict talk.mp4") == ["pradict"]


def test_the_navigation_names_pages_that_are_there() -> None:
    made = {
        "cli",
        "changelog",
        "contributing",
        "security",
        *(f"tutorials/{path.stem}" for path in NOTEBOOKS.glob("*.ipynb")),
    }
    named = re.findall(r"^ +- (?:[^:]+: )?([\w/-]+)\.md$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    assert len(named) > 30
    assert [page for page in named if page not in made and not (DOCS / f"{page}.md").is_file()] == []


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with a clip."""
    clip = ROOT / "examples" / "sample.mp4"
    if not clip.is_file():
        pytest.skip("not on this machine: examples, which only a clone of the repository has")
    shutil.copy(clip, tmp_path / "talk.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_the_start_page_runs(workplace: Path) -> None:
    reasons = run_page(DOCS / "start.md")
    assert reasons == ["it installs packages", "they bring the clip themselves"]
    assert (workplace / "report" / "report.html").is_file()


def test_the_notebook_on_predicting_runs(workplace: Path) -> None:
    pytest.importorskip("pandas")
    run_notebook(NOTEBOOKS / "predict.ipynb")
    assert (workplace / "report.html").is_file()


def test_the_notebook_on_evaluating_runs(workplace: Path) -> None:
    run_notebook(NOTEBOOKS / "evaluate.ipynb")
    assert (workplace / "scores" / "scores.md").is_file()


@pytest.mark.slow
def test_the_notebook_on_training_runs(workplace: Path) -> None:
    pytest.importorskip("lightning")
    run_notebook(NOTEBOOKS / "train.ipynb")
    assert (workplace / "my_bundle" / "bundle.json").is_file()


def test_notebooks_hold_no_outputs() -> None:
    found = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert [path.stem for path in found] == ["evaluate", "predict", "train"]
    for path in found:
        assert '"image/png"' not in path.read_text("utf-8")
        assert re.findall(r'"outputs": (\[\]?)', path.read_text("utf-8")).count("[]") == path.read_text("utf-8").count(
            '"outputs"'
        )


def test_the_readme_on_an_index_has_no_link_into_the_repository() -> None:
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["metadata"]["hooks"]
    text = (ROOT / "README.md").read_text("utf-8")
    for change in hook["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    assert [target for target in LINK.findall(text) if not re.match(r"https?:|#", target)] == []


def test_the_results_page_shows_what_its_sources_say() -> None:
    sys.path.append(str(ROOT / "benchmarks"))
    try:
        from results_page import TABLE, fill, read, refresh
    finally:
        sys.path.pop()
    rows = read(TABLE)
    counts = Counter(row["source"].partition(":")[0] for row in rows)
    assert counts["card"] > 10
    assert counts["leaderboard"] >= 12
    assert [refresh(row) for row in rows] == rows, "run: python benchmarks/results_page.py"
    page = (DOCS / "results.md").read_text("utf-8")
    assert fill(page, rows) == page, "run: python benchmarks/results_page.py"
    cards = [row for row in rows if row["source"] == "card:face-voice-words" and row["inputs"] == "face+voice+words"]
    assert f"{float(cards[0]['r2_unseen']):.3f}" in page
