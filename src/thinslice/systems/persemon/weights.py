"""SphereFace-20's public weights, from which PersEmoN's face network starts."""

from pathlib import Path
from typing import Final

from torch import nn

from thinslice.assets.folders import asset_cache_dir
from thinslice.errors import UsageError
from thinslice.systems.persemon.network import PersEmoN
from thinslice.systems.persemon.sphereface import SphereFace, load_sphereface
from thinslice.train.recipe import TrainingClips
from thinslice.train.stage import save_weights

IMPORTED: Final = "imported"
"""Value of the hyperparameter `sphereface`: the weights that `thinslice import sphereface` has put in their place."""

WEIGHTS: Final = "sphereface20.pt"


def imported_weights() -> Path:
    """Return where `thinslice import sphereface` keeps the weights; they need not be there."""
    return asset_cache_dir() / "sphereface" / WEIGHTS


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
    target = imported_weights()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_weights(model, target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror}); see $THINSLICE_CACHE") from None
    return target


def start_from_sphereface(path: str, model: nn.Module, data: TrainingClips) -> None:
    """Load SphereFace-20's weights into PersEmoN's face network; UsageError where they were never imported."""
    assert isinstance(model, PersEmoN)
    file = imported_weights() if path == IMPORTED else Path(path)
    if path == IMPORTED and not file.is_file():
        raise UsageError(
            "persemon starts from SphereFace-20's public weights: get the file from github.com/wy1iu/sphereface and "
            "run thinslice import sphereface FILE; or take a variant with fresh weights, fresh or small_joint"
        )
    load_sphereface(model.fem, file)
