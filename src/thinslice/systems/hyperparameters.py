"""A recipe's hyperparameters: their names, types, defaults and meanings, and their values from a command line.

They are the fields of the dataclass that a recipe names (`thinslice.train.recipe.Recipe.hyperparameters`); of a recipe
that names none, such as one in a file, the arguments of its function.
"""

import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Final

import msgspec

from thinslice.errors import UsageError
from thinslice.features.spec import Scalar
from thinslice.train.recipe import Recipe

NotNegative = Annotated[float, msgspec.Meta(ge=0)]
"""A rate, a weight decay and the like."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""Of dropout, of momentum and the like."""

Even = Annotated[int, msgspec.Meta(ge=2, multiple_of=2)]
"""What is divided between two directions."""

_NAMES: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter of a variant.

    Attributes:
        name: as in `--set NAME=VALUE`.
        default: the variant's value.
        type: what values have: int, float, bool, str, a Literal, or one of these or None.
        about: what it is; "" where nothing says.
    """

    name: str
    default: Scalar
    type: Any
    about: str

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        bounds = {
            "ge": "{} or more",
            "gt": "above {}",
            "le": "{} at most",
            "lt": "below {}",
            "multiple_of": "a multiple of {}",
        }
        meta = [entry for kind in self._kinds for entry in typing.get_args(kind) if isinstance(entry, msgspec.Meta)]
        own = [words.format(getattr(entry, name)) for entry in meta for name, words in bounds.items()
               if getattr(entry, name) is not None]  # fmt: skip
        if not own and self._lowest is not None:
            own = [f"{self._lowest} or more"]
        kinds = [_words(kind) for kind in self._kinds] + (["none"] if type(None) in _members(self.type) else [])
        return ", ".join([" or ".join(kinds), *own])

    def parse(self, text: str) -> Scalar:
        """Return a value of a command line; UsageError, saying what is allowed, where it is none."""
        if text.lower() in ("none", "null") and type(None) in _members(self.type):
            return None
        text = "" if text == '""' else text
        for kind in self._kinds:
            try:
                value: Scalar = msgspec.convert(text, kind, strict=False)
            except msgspec.ValidationError:
                continue
            too_low = self._lowest is not None and isinstance(value, int) and value < self._lowest
            if not too_low and not (isinstance(value, float) and not math.isfinite(value)):
                return value
        raise UsageError(f"{self.name}={text}: {self.name} is {self.allowed}; by default {show_value(self.default)}")

    @property
    def _kinds(self) -> list[Any]:
        return [kind for kind in _members(self.type) if kind is not type(None)]

    @property
    def _lowest(self) -> int | None:
        """The least that a whole number may be: what is counted, and is not 0 by default, is 1 or more."""
        if int not in self._kinds:
            return None
        return 0 if isinstance(self.default, int) and self.default <= 0 else 1


def list_hyperparameters(recipe: Recipe, build: Callable[..., Any] | None = None) -> dict[str, Hyperparameter]:
    """Return a recipe's hyperparameters by their names.

    Args:
        recipe: the variant whose values are the defaults.
        build: the function that made it; looked at where the recipe does not name a dataclass.
    """
    chosen = recipe.hyperparameters
    if is_dataclass(chosen):
        types = typing.get_type_hints(type(chosen), include_extras=True)
        about = _read_block(type(chosen).__doc__, "Attributes")
        return {
            entry.name: Hyperparameter(
                entry.name, getattr(chosen, entry.name), types[entry.name], about.get(entry.name, "")
            )
            for entry in fields(chosen)
        }
    if build is None:
        return {}
    about = _read_block(build.__doc__, "Args")
    hints = typing.get_type_hints(build, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(build).parameters.items():
        if name == "variant" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        value = recipe.arguments.get(name, None if parameter.default is parameter.empty else parameter.default)
        kind = hints.get(name, type(value) if value is not None else int | float | bool | str)
        found[name] = Hyperparameter(name, value, kind, about.get(name, ""))
    return found


def parse_changes(
    system: str, given: Sequence[str], known: Mapping[str, Hyperparameter], option: str = "--set"
) -> dict[str, Scalar]:
    """Return the values of NAME=VALUE entries; the last of a name counts.

    Raises:
        UsageError: an entry of another form, a name that the system does not have, or a value that is not allowed.
    """
    changes = {}
    for entry in given:
        name, sign, text = entry.partition("=")
        name = name.strip()
        if not (name and sign):
            raise UsageError(f"{option} {entry}: give it as NAME=VALUE")
        if name not in known:
            there_are = f"there are {', '.join(known)}" if known else "it has none"
            raise UsageError(f"{option} {entry}: {system} has no hyperparameter {name}; {there_are}")
        changes[name] = known[name].parse(text.strip())
    return changes


def show_value(value: Scalar) -> str:
    """Return a value as `--set` takes it; "" in quotation marks."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union, in an order in which the first that fits is right; else the type alone."""
    if typing.get_origin(kind) not in (typing.Union, UnionType):
        return (kind,)
    order = (int, float, bool)
    return tuple(sorted(typing.get_args(kind), key=lambda one: order.index(one) if one in order else len(order)))


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(show_value, typing.get_args(kind)))}"
    if hasattr(kind, "__metadata__"):
        return _words(kind.__origin__)
    return _NAMES.get(kind, str(getattr(kind, "__name__", kind)))


def _read_block(text: str | None, title: str) -> dict[str, str]:
    """Return name -> meaning of a docstring's block of that title."""
    found: dict[str, str] = {}
    lines = inspect.cleandoc(text or "").splitlines()
    if f"{title}:" not in lines:
        return found
    name = ""
    for line in lines[lines.index(f"{title}:") + 1 :]:
        indent = len(line) - len(line.lstrip())
        if not line.strip() or indent < 4:
            break
        if indent == 4:
            name, _, rest = line.strip().partition(": ")
            found[name] = rest
        else:
            found[name] += " " + line.strip()
    return found
