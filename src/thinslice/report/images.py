"""Pictures as data: URIs."""

import base64
import struct
from collections.abc import Sequence
from typing import NamedTuple

from thinslice.report.wording import shown
from thinslice.types import Picture

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Image(NamedTuple):
    """A picture as a data: URI with its size in pixels."""

    title: str
    uri: str
    width: int
    height: int


def build_images(pictures: Sequence[Picture], max_bytes: int) -> tuple[tuple[Image, ...], int]:
    """Return the pictures that fit, and their bytes; what is not a PNG is left out."""
    images, spent = [], 0
    for picture in pictures:
        if not picture.png.startswith(_PNG_SIGNATURE) or len(picture.png) < 24:
            continue
        if spent + len(picture.png) > max_bytes:
            continue
        spent += len(picture.png)
        width, height = struct.unpack(">II", picture.png[16:24])
        uri = "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")
        images.append(Image(shown(picture.title), uri, width, height))
    return tuple(images), spent
