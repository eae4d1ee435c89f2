"""Pretrained files that are not part of thinslice: found on this machine, or fetched once when asked for."""

import shutil
from contextlib import suppress
from pathlib import Path

from thinslice.assets.catalogue import ASSETS, Asset, AssetFile, Wheel
from thinslice.assets.folders import asset_cache_dir, bundle_dir, cache_dir, matplotlib_dir
from thinslice.assets.locate import FOLDERS_ENV, FoundAsset, locate
from thinslice.assets.verify import forget_stamps
from thinslice.errors import AssetError

__all__ = [
    "ASSETS",
    "FOLDERS_ENV",
    "Asset",
    "AssetFile",
    "FoundAsset",
    "Wheel",
    "asset_files",
    "bundle_dir",
    "cache_dir",
    "clear_assets",
    "find_asset",
    "get_asset",
    "locate",
    "remove_asset",
]


def get_asset(name: str, folder: Path | None = None) -> FoundAsset:
    """Make an asset present: find it, else take it from a folder if one is given, else download it.

    Args:
        name: one of `ASSETS`.
        folder: holds its files under any names; they are recognised by sha256 and copied into the cache.

    Raises:
        AssetError: it can be had from nowhere; the message names the official place and the alternatives.
    """
    from thinslice.assets.fetch import download, install_from_folder

    asset = _asset(name)
    if folder is not None:
        install_from_folder(asset, folder)
    found, problems = locate(asset)
    if found is None:
        download(asset)
        found, problems = locate(asset)
    if found is None:  # what was just checked and written is gone or changed
        raise AssetError("; ".join(problems) or f"{name} vanished from {asset_cache_dir()}; run the command again")
    return found


def find_asset(name: str, *, download: bool = False) -> Path:
    """Return where an asset is: its file, or the folder of its files.

    It is looked for in the folders of $THINSLICE_ASSETS, in the cache, then in an installed wheel known to carry
    it. Every file's sha256 is checked.

    Args:
        name: one of `ASSETS`.
        download: fetch it from its official place if it is not here.

    Raises:
        AssetError: unknown name, or not on this machine and not to be downloaded.
    """
    if download:
        return get_asset(name).path
    asset = _asset(name)
    found, problems = locate(asset)
    if found is None:
        trouble = f" ({'; '.join(problems)})" if problems else ""
        raise AssetError(f"{name} is not on this machine{trouble}; run: thinslice assets get {name}")
    return found.path


def asset_files(name: str) -> dict[str, Path]:
    """Return name -> path of an asset's files on this machine; AssetError where it is not."""
    path = find_asset(name)
    files = ASSETS[name].files
    return {file.name: path / file.name if len(files) > 1 else path for file in files}


def remove_asset(name: str) -> bool:
    """Delete an asset's files from the cache, and from nowhere else; return whether there were any."""
    folder = asset_cache_dir() / _asset(name).name
    if not folder.is_dir():
        return False
    shutil.rmtree(folder)
    return True


def clear_assets() -> bool:
    """Delete everything that was downloaded or copied into the cache; return whether there was any."""
    folder, found = asset_cache_dir(), False
    if folder.is_dir():
        found = any(folder.iterdir())
        shutil.rmtree(folder)
    forget_stamps()
    shutil.rmtree(matplotlib_dir(), ignore_errors=True)
    with suppress(OSError):
        cache_dir().rmdir()  # only if nothing else lies there
    return found


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        raise AssetError(f"{name}: no such asset; there are {', '.join(ASSETS)}")
    return ASSETS[name]
