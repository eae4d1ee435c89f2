"""Which models a caller may choose: those installed on the server, by name, never a folder."""

from pathlib import Path
from typing import Any

from thinslice.bundle import list_bundles, load_bundle
from thinslice.errors import BundleError
from thinslice.web.refusal import Refusal


def allowed_bundle(asked: str, default: str) -> str:
    """Return the bundle asked for, the server's own for ""; Refusal 400 where it is not on offer."""
    if not asked:
        return default
    installed = list_bundles()
    if all(name in installed for name in asked.split("+")):
        return asked
    raise Refusal(400, f"no such bundle: {asked[:80]!r}; there are: {', '.join(installed)}")


def offered_bundles(default: str) -> list[dict[str, Any]]:
    """Return the models on offer, the server's own first, and what each of them uses of a clip.

    Args:
        default: the server's own, as in `Predictor`.

    Raises:
        BundleError: the server's own is missing or damaged.
    """
    own = [load_bundle(name) for name in ([default] if Path(default).is_dir() else default.split("+"))]
    models = {"+".join(bundle.name for bundle in own): own}
    for name in list_bundles():
        try:
            models.setdefault(name, [load_bundle(name)])
        except BundleError:
            continue  # A damaged one is not offered.
    return [
        {"name": name, "inputs": list(dict.fromkeys(entry.label for part in parts for entry in part.inputs.values()))}
        for name, parts in models.items()
    ]
