"""Pictures as files: which endings they have, and the module that reads them."""

from typing import Any, Final

from thinslice.errors import MissingExtraError

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Lower-case endings of files that are read as pictures; everything else is a video."""


def opencv() -> Any:
    """Return the module cv2; MissingExtraError without it."""
    try:
        import cv2
    except ImportError:
        raise MissingExtraError("reading pictures", "video") from None
    return cv2
