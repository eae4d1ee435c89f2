"""Where thinslice keeps files on this machine."""

import os
from pathlib import Path

CACHE_ENV = "THINSLICE_CACHE"
BUNDLES_ENV = "THINSLICE_BUNDLES"


def cache_dir() -> Path:
    """Return the folder of what can be fetched or computed again: $THINSLICE_CACHE, else the user's cache folder.

    It need not exist yet.
    """
    if given := os.environ.get(CACHE_ENV):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("thinslice", appauthor=False))


def asset_cache_dir() -> Path:
    """Return the folder inside the cache in which each downloaded asset has a folder of its own."""
    return cache_dir() / "assets"


def matplotlib_dir() -> Path:
    """Return the folder inside the cache for matplotlib's list of fonts."""
    return cache_dir() / "matplotlib"


def bundle_dir() -> Path:
    """Return the folder of bundles installed by the user: $THINSLICE_BUNDLES, else the user's data folder.

    A bundle is a folder `<name>` in it. It need not exist yet.
    """
    if given := os.environ.get(BUNDLES_ENV):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("thinslice", appauthor=False)) / "bundles"
