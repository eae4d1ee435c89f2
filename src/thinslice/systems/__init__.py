"""Systems: one folder here for each published one, and those that come from outside.

A system is a function that builds a recipe, `recipe(variant=..., **hyperparameters)`. It may be

- a folder beside this file, whose `__init__.py` defines `SYSTEM`;
- an installed package's, by an entry point of the group ``thinslice.systems``;
- in a file of yours that defines `recipe`, whose path then is its name: ``thinslice train my_system.py``.
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from thinslice.errors import MissingExtraError, UsageError, first_line
from thinslice.systems.folder import SystemFolder

if TYPE_CHECKING:
    from thinslice.train.documents import RunDocument
    from thinslice.train.recipe import Recipe

ENTRY_POINTS: Final = "thinslice.systems"
"""Group of the entry points by which installed packages bring systems: `name = "package.module:recipe"`."""

BuildRecipe = Callable[..., "Recipe"]


@cache
def list_systems() -> Mapping[str, SystemFolder]:
    """Return the systems of the folders beside this file: name -> what each says of itself."""
    names = sorted(entry.name for entry in pkgutil.iter_modules(__path__) if entry.ispkg)
    return {name: importlib.import_module(f"{__name__}.{name}").SYSTEM for name in names}


def load_object(where: str) -> Any:
    """Return what "module:name" names, importing its module."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


class _Recipes(Mapping[str, Any]):
    """Imports a recipe's module, and with it PyTorch, when the recipe is asked for; its name costs nothing."""

    def __getitem__(self, name: str) -> BuildRecipe:
        found = list_systems()
        build: BuildRecipe = load_object(found[name].recipe) if name in found else _installed()[name].load()
        return build

    def __iter__(self) -> Iterator[str]:
        yield from {**list_systems(), **_installed()}

    def __len__(self) -> int:
        return len({**list_systems(), **_installed()})


RECIPES: Mapping[str, BuildRecipe] = _Recipes()
"""Name -> function that builds the recipe: `RECIPES[name](variant=..., **hyperparameters)`."""


def build_recipe(system: str, variant: str | None = None, **hyperparameters: Any) -> "Recipe":
    """Return a system's recipe.

    Args:
        system: a name of `RECIPES`, or the path of a file that ends in .py and defines `recipe`.
        variant: one of its variants; None for its first choice.
        **hyperparameters: those that differ from the variant's own.

    Raises:
        UsageError: no such system or file, or a file that cannot be imported or defines no `recipe`.
        MissingExtraError: PyTorch is not installed.
    """
    if variant is not None:
        hyperparameters["variant"] = variant
    recipe: Recipe = find_builder(system)(**hyperparameters)
    return replace(recipe, source=str(Path(system).resolve())) if system.endswith(".py") else recipe


def find_builder(system: str) -> BuildRecipe:
    """Return the function that builds a system's recipe; arguments and errors as `build_recipe`."""
    if system.endswith(".py"):
        return _load_file(Path(system))
    if system not in RECIPES:
        raise UsageError(f"no recipe {system!r}; there are {', '.join(RECIPES)}, and files of yours that end in .py")
    try:
        return RECIPES[system]
    except ModuleNotFoundError as error:
        if error.name in ("torch", "lightning"):
            raise MissingExtraError("training", "train") from None
        raise


def rebuild_recipe(document: "RunDocument") -> "Recipe":
    """Return the recipe of a run, as its run.json describes it; errors as `build_recipe`."""
    return build_recipe(document.source or document.recipe, **document.arguments)


def _installed() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _load_file(path: Path) -> BuildRecipe:
    """Import a file under its own name, by which worker processes find it too."""
    path = path.resolve()
    if not path.is_file():
        raise UsageError(f"{path}: no such file; a system's file defines recipe(variant=..., **hyperparameters)")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except (Exception, SystemExit) as error:
        line = first_line(error)
        raise UsageError(f"{path}: cannot be imported ({type(error).__name__}: {line})") from error
    if Path(inspect.getfile(module)).resolve() != path:
        raise UsageError(f"{path}: another module is called {path.stem}; give the file another name")
    build = vars(module).get("recipe")
    if not callable(build):
        raise UsageError(f"{path}: defines no function recipe(variant=..., **hyperparameters)")
    found: BuildRecipe = build
    return found
