"""Which of a model's inputs a prediction may use: all, only some, or all but some."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from thinslice.errors import UsageError
from thinslice.infer.bundle import Bundle

Labels = frozenset[str]

LOOKING = ("face", "scene")
"""Labels of the inputs that still pictures have, too."""


def chosen_labels(
    bundles: Sequence[Bundle], only: Iterable[str] | None = None, without: Iterable[str] | None = None
) -> Labels:
    """Return the labels of the inputs that may be used.

    Args:
        bundles: of the predictor's members.
        only: labels such as "face" and "words"; None for all.
        without: labels to leave out.

    Raises:
        UsageError: a label that no bundle has, nothing left, or no bundle that can do with what is left.
    """
    known = list(dict.fromkeys(entry.label for bundle in bundles for entry in bundle.inputs.values()))
    name = "+".join(bundle.name for bundle in bundles)
    kept, dropped = _labels("only", only), _labels("without", without)
    unknown = [label for label in (*kept, *dropped) if label not in known]
    if unknown:
        raise UsageError(f"bundle {name} has no input {unknown[0]!r}; its inputs are {', '.join(known)}")
    allowed = frozenset(label for label in (known if only is None else kept) if label not in dropped)
    if not allowed:
        raise UsageError(f"bundle {name}: no input is left to use; its inputs are {', '.join(known)}")
    needed = [_needs(bundle, allowed) for bundle in bundles]
    if all(needed):
        raise UsageError(f"bundle {name} cannot do without {', '.join(needed[0])}; choose another bundle, or use it")
    return allowed


def restrict(bundle: Bundle, allowed: Labels) -> Bundle:
    """Return a bundle that knows of no inputs but those allowed, for extracting and for finding out what is missing."""
    return replace(bundle, inputs={name: entry for name, entry in bundle.inputs.items() if entry.label in allowed})


def _labels(name: str, given: Iterable[str] | None) -> list[str]:
    if isinstance(given, str):
        given = given.split(",")
    labels = [label.strip() for label in given or ()]
    if given is not None and not all(labels):
        raise UsageError(f"{name}: an empty name among the inputs; write for example face,words")
    return labels


def _needs(bundle: Bundle, allowed: Labels) -> list[str]:
    """Return what a bundle lacks: the inputs it must have, or all where it has none."""
    inputs = bundle.inputs.values()
    needed = [entry.label for entry in inputs if not entry.optional and entry.label not in allowed]
    return needed or ([] if any(entry.label in allowed for entry in inputs) else [entry.label for entry in inputs])
