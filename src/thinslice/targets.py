"""Targets of one's own: what may be predicted beside the Big Five, and in which order targets are shown."""

import re
from collections.abc import Iterable
from typing import Final

from thinslice.errors import UsageError
from thinslice.traits import POLES, TARGETS, TRAITS

MAX_TARGETS: Final = 64
OWN_POLES: Final = ("low", "high")
"""What a score of 0 and a score of 1 mean of a target of which nothing else is known."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_\-]{0,63}", re.ASCII)
_TAKEN: Final = frozenset(
    {"clip", "path", "split", "speaker", "transcript", "age_group", "gender", "ethnicity", "emotion", "weight"}
    | {"average", "used", "bundle", "warnings", "error"}
)
_ENDS: Final = ("_low", "_high", "_error")


def is_target(name: str) -> bool:
    """Return whether a name can be a target's: letters, digits, "_" and "-", and no name that tables use otherwise."""
    return bool(_NAME.fullmatch(name)) and name not in _TAKEN and not name.endswith(_ENDS)


def split_names(text: str, option: str) -> tuple[str, ...]:
    """Return the names of a list with commas between, such as that of ``--by age,gender``; () where it is empty.

    Args:
        text: the list; spaces around names do not count.
        option: what the message calls it.

    Raises:
        UsageError: a name twice.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise UsageError(f"{option} {text}: {twice} is named twice; name it once")
    return names


def parse_targets(text: str) -> tuple[str, ...]:
    """Return the targets of ``--targets warmth,competence``.

    Raises:
        UsageError: none, one twice, or a name that cannot be a target's.
    """
    names = split_names(text, "--targets")
    if not names:
        raise UsageError("--targets: name columns of the manifest, such as warmth,competence")
    for name in names:
        if not is_target(name):
            raise UsageError(
                f"--targets {name}: not the name of a target; it has letters, digits, _ and -, begins with a letter "
                f"and does not end with {', '.join(_ENDS)}"
            )
    if len({name.lower() for name in names}) < len(names):
        raise UsageError(f"--targets {text}: a target is listed twice")
    if len(names) > MAX_TARGETS:
        raise UsageError(f"--targets: {len(names)} targets; at most {MAX_TARGETS}")
    return names


def chosen_targets(text: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Return the targets that a text names, as `parse_targets`, or the default where it is empty."""
    return parse_targets(text) if text.strip() else default


def averaged(targets: Iterable[str]) -> tuple[str, ...]:
    """Return the targets that "average" is over: the five traits where all are there, else all but `interview`."""
    names = tuple(targets)
    if set(TRAITS) <= set(names):
        return TRAITS
    return tuple(name for name in names if name not in TARGETS[len(TRAITS) :]) or names


def in_order(targets: Iterable[str]) -> tuple[str, ...]:
    """Return targets in the order in which they are shown: those of `TARGETS` first, others as they come."""
    names = tuple(dict.fromkeys(targets))
    return (*(name for name in TARGETS if name in names), *(name for name in names if name not in TARGETS))


def poles_of(target: str) -> tuple[str, str]:
    """Return what 0 and 1 of a target mean: the annotators' words for a trait, else "low" and "high"."""
    return POLES.get(target, OWN_POLES)


def more_of(target: str) -> str:
    """Return what a higher score of a target says: "more friendly" of extraversion, "higher" of one's own."""
    return f"more {POLES[target][1]}" if target in POLES else "higher"
