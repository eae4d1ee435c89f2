"""The option ``--set``: hyperparameters of a recipe, the same in every command that has it."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from thinslice.train.recipe import Recipe

set_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A size or rate of the recipe, as thinslice systems NAME lists them; repeatable.",
)


def build_changed(system: str, variant: str | None, changes: tuple[str, ...], targets: str | None = None) -> "Recipe":
    """Return a system's recipe with the hyperparameters of `--set` changed.

    Args:
        system: as `thinslice.systems.build_recipe`.
        variant: likewise.
        changes: NAME=VALUE each.
        targets: what it is to predict, names joined by ","; None for what it does by itself.

    Raises:
        UsageError: as `build_recipe`, and for a name or value that the recipe does not have.
    """
    from thinslice.systems import build_recipe, find_builder
    from thinslice.systems.hyperparameters import list_hyperparameters, parse_changes
    from thinslice.targets import parse_targets

    recipe = build_recipe(system, variant)
    if targets is not None:
        changes = (*changes, f"targets={','.join(parse_targets(targets))}")
    if not changes:
        return recipe
    known = list_hyperparameters(recipe, find_builder(system))
    return build_recipe(system, variant, **parse_changes(system, changes, known))
