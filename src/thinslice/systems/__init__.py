"""One folder per system: network, recipe, foreign weights and whatever else it alone needs."""

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from thinslice.train.recipe import Recipe

_FUNCTIONS: Final = {
    "audiovisual_attributes": "thinslice.systems.audiovisual_attributes.recipe:audiovisual_attributes",
    "bimodal": "thinslice.systems.bimodal.recipe:bimodal",
    "cross_modal": "thinslice.systems.cross_modal.recipe:cross_modal",
    "cr_net": "thinslice.systems.cr_net.recipe:cr_net",
    "deep_impression": "thinslice.systems.deep_impression.recipe:deep_impression",
    "persemon": "thinslice.systems.persemon.recipe:persemon",
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
