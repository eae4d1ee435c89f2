"""What MkDocs does for the site besides: pages made from the code and notebooks, and links that leave docs/."""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
"""File in the repository's root -> page of the site."""
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Put pages that the navigation does not name under "More", so that none is left out."""
    listed = set(re.findall(r"[\w/-]+\.md", json.dumps(config.nav)))
    found = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    if found - listed:
        config.nav.append({"More": sorted(found - listed)})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the commands' page, the notebooks and the pages from the repository's root."""
    made = {page: (ROOT / name).read_text("utf-8") for name, page in ROOT_PAGES.items()}
    made["cli.md"] = _commands()
    for notebook in sorted((ROOT / "examples" / "notebooks").glob("*.ipynb")):
        made[f"tutorials/{notebook.stem}.md"] = _notebook(notebook)
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at the site's pages; one to a file that is not in the site keeps its text alone."""
    uri = page.file.src_uri
    root = uri in ROOT_PAGES.values()
    return LINK.sub(lambda link: _site_link(link, posixpath.dirname(uri), root), markdown)


def _site_link(link: re.Match[str], folder: str, root: bool) -> str:
    text, target = link.groups()
    if ":" in target or target.startswith("#"):
        return link.group()
    path, mark, anchor = target.partition("#")
    place = posixpath.normpath(path if root else posixpath.join("docs", folder, path))
    place = re.sub(r"^examples/notebooks/(\w+)\.ipynb$", r"docs/tutorials/\1.md", place)
    place = ROOT_PAGES.get(place, place.removeprefix("docs/") if place.startswith("docs/") else "")
    if not place:
        return text
    if text.endswith(".md") and (page := ROOT / "docs" / place).is_file():
        text = page.read_text("utf-8").partition("\n")[0].removeprefix("# ").partition(":")[0]
    return f"[{text}]({posixpath.relpath(place, folder or '.')}{mark}{anchor})"


def _notebook(path: Path) -> str:
    """Return a notebook without outputs as Markdown."""
    parts = [f"*This page is the notebook `examples/notebooks/{path.name}`.*"]
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    first = parts.pop(1)  # the title
    return "\n\n".join([first, *parts]) + "\n"


def _commands() -> str:
    """Return the page of all commands: what each says of itself with --help."""
    from thinslice.cli import cli

    parts = ["# Commands", "What `thinslice COMMAND --help` prints."]
    with click.Context(cli, info_name="thinslice") as context:
        for name in cli.list_commands(context):
            parts += _help(cli.get_command(context, name), name, context)
    return "\n\n".join(parts) + "\n"


def _help(command: Any, name: str, parent: click.Context) -> list[str]:
    with click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100) as context:
        parts = [f"## {context.command_path}", f"```text\n{command.get_help(context)}\n```"]
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                parts += _help(command.get_command(context, inner), inner, context)
    return parts
