"""Which of a model's inputs a prediction may use: all, only some, or all but some."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from thinslice.bundle import Bundle
from thinslice.errors import UsageError

Labels = frozenset[str]

LOOKING: Labels = frozenset({"face", "scene"})
"""Labels of the inputs that still pictures have, too."""


def chosen_labels(
    bundles: Sequence[Bundle], only: Iterable[str] | None = None, without: Iterable[str] | None = None
) -> Labels:
    """Return the labels of the inputs that may be used.

    Args:
        bundles: of the predictor's members.
        only: labels such as "face" and "words", or one text with commas between; None for all.
        without: labels to leave out, in the same form.

    Raises:
        UsageError: a label that no bundle has, nothing left, or no bundle that can do with what is left.
    """
    known = list(dict.fromkeys(entry.label for bundle in bundles for entry in bundle.inputs.values()))
    name = "+".join(bundle.name for bundle in bundles)
    kept, dropped = _labels(only), _labels(without)
    unknown = [label for label in (*kept, *dropped) if label not in known]
    if unknown:
        raise UsageError(f"bundle {name} has no input {unknown[0]!r}; its inputs are: {', '.join(known)}")
    allowed = frozenset(label for label in (known if only is None else kept) if label not in dropped)
    if not allowed:
        raise UsageError(f"bundle {name}: no input is left to use; its inputs are: {', '.join(known)}")
    needed = [_lacks(bundle, allowed) for bundle in bundles]
    if all(needed):
        raise UsageError(f"bundle {name} cannot do without {', '.join(needed[0])}")
    return allowed


def restrict(bundle: Bundle, allowed: Labels) -> Bundle:
    """Return a bundle whose features are only those of the inputs allowed."""
    specs = {name: spec for name, spec in bundle.specs.items() if bundle.inputs[name].label in allowed}
    return replace(bundle, specs=specs)


def _labels(given: Iterable[str] | None) -> list[str]:
    return [label.strip() for label in (given.split(",") if isinstance(given, str) else given or ())]


def _lacks(bundle: Bundle, allowed: Labels) -> list[str]:
    """Return the labels a bundle would need: of inputs it must have, or all where it has none that is allowed."""
    inputs = bundle.inputs.values()
    needed = [entry.label for entry in inputs if not entry.optional and entry.label not in allowed]
    return needed or ([] if any(entry.label in allowed for entry in inputs) else [entry.label for entry in inputs])
