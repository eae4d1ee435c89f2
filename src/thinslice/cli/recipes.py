"""Recipes by their name, for the commands that take one."""

from typing import Any

from thinslice.errors import UsageError


def build_recipe(name: str, variant: str | None = None) -> Any:
    """Return a recipe; UsageError for a name that no recipe has."""
    from thinslice.systems import RECIPES

    if name not in RECIPES:
        raise UsageError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name](**({} if variant is None else {"variant": variant}))
