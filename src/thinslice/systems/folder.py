"""What a system's folder says of itself, without importing PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SystemFolder:
    """A system's folder; its `__init__.py` has one of these as `SYSTEM`. What is named is imported when it is used.

    Everything else that a system brings (tables, further scores) is a field of its
    `thinslice.train.recipe.Recipe`. Commands stand here, since some of them run where PyTorch is not installed.

    Attributes:
        recipe: "module:function" of the function that builds the recipe.
        imports: name -> "module:command" of what `thinslice import NAME` calls: foreign weights.
        commands: name -> "module:command" of what `thinslice NAME` calls.
        bundles_of: asset -> "module:function" that makes bundles of it: (files, folder of bundles) -> their folders.
    """

    recipe: str
    imports: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    bundles_of: Mapping[str, str] = field(default_factory=dict)
