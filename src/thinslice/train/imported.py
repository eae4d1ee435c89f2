"""Public weights that `thinslice import` has checked and put where trainings start from them."""

from pathlib import Path
from typing import Final

from torch import nn

from thinslice.assets.folders import asset_cache_dir
from thinslice.errors import UsageError
from thinslice.train.stage import save_weights

IMPORTED: Final = "imported"
"""Value of a hyperparameter that names a file of weights: those that were imported before."""


def imported_weights(name: str) -> Path:
    """Return where the weights that `thinslice import NAME` read are kept; they need not be there."""
    return asset_cache_dir() / name / "weights.pt"


def keep_imported(model: nn.Module, name: str) -> Path:
    """Keep a network's weights for trainings that start from them; return where.

    Raises:
        UsageError: the cache cannot be written.
    """
    target = imported_weights(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_weights(model, target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror}); see $THINSLICE_CACHE") from None
    return target
