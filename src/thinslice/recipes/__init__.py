"""One file per system; each holds the published numbers beside what reproduces them."""

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from thinslice.train.recipe import Recipe

_FUNCTIONS: Final = {
    "audiovisual_attributes": "thinslice.recipes.audiovisual_attributes:audiovisual_attributes",
    "bimodal": "thinslice.recipes.bimodal_training:bimodal",
    "cross_modal": "thinslice.recipes.cross_modal:cross_modal",
    "cr_net": "thinslice.recipes.cr_net:cr_net",
    "deep_impression": "thinslice.recipes.deep_impression:deep_impression",
    "persemon": "thinslice.recipes.persemon:persemon",
}
"""Recipe -> "module:function"; a system whose module is listed here is one that `thinslice train` runs."""


class _Recipes(Mapping[str, Any]):
    """Imports a recipe's module, and with it PyTorch, when the recipe is asked for; its name costs nothing."""

    def __getitem__(self, name: str) -> Any:
        module, _, function = _FUNCTIONS[name].partition(":")
        return getattr(importlib.import_module(module), function)

    def __iter__(self) -> Iterator[str]:
        return iter(_FUNCTIONS)

    def __len__(self) -> int:
        return len(_FUNCTIONS)


RECIPES: "Mapping[str, Callable[..., Recipe]]" = _Recipes()
"""Name -> function that builds the recipe: `RECIPES[name](variant=..., **sizes)`."""
