"""SphereFace-20's public weights, from which PersEmoN's face network starts."""

from pathlib import Path
from typing import Final

from torch import nn

from thinslice.errors import UsageError
from thinslice.systems.persemon.network import PersEmoN
from thinslice.systems.persemon.sphereface import SphereFace, load_sphereface
from thinslice.train.imported import IMPORTED, imported_weights, keep_imported
from thinslice.train.recipe import TrainingClips

NAME: Final = "sphereface"
"""What `thinslice import` calls the weights."""


def import_sphereface(file: Path) -> Path:
    """Check a public file of SphereFace-20's weights and keep them for the variants that start from them.

    Args:
        file: a .caffemodel or a PyTorch state dict, see `thinslice.systems.persemon.sphereface.load_sphereface`.

    Returns:
        Where they are kept: a PyTorch state dict with the same names.

    Raises:
        UsageError: the file is of another network, or damaged; the cache cannot be written.
    """
    model = SphereFace()
    load_sphereface(model, file)
    return keep_imported(model, NAME)


def need_sphereface(path: str) -> None:
    """Raise UsageError, with the remedy, where the weights that a training is to start from were never imported."""
    if path == IMPORTED and not imported_weights(NAME).is_file():
        raise UsageError(
            "persemon starts from SphereFace-20's public weights: get the file from github.com/wy1iu/sphereface and "
            "run thinslice import sphereface FILE; or take a variant with fresh weights, fresh or small_joint"
        )


def start_from_sphereface(path: str, model: nn.Module, data: TrainingClips) -> None:
    """Load SphereFace-20's weights into PersEmoN's face network; UsageError where they were never imported."""
    assert isinstance(model, PersEmoN)
    need_sphereface(path)
    load_sphereface(model.fem, imported_weights(NAME) if path == IMPORTED else Path(path))
