"""The sample clip that comes with thinslice: a synthetic talking head (examples/README.md)."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def example_clip() -> Path | None:
    """Return the sample clip: inside the package in a wheel, in `examples/` in a clone; None without either."""
    places = (_PACKAGE / "web" / "static" / "example.mp4", _PACKAGE.parents[1] / "examples" / "sample.mp4")
    return next((place for place in places if place.is_file()), None)
