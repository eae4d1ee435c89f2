"""Pictures as JPEG files and back. Decoding is most of what reading a training sample costs."""

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

QUALITY: Final = 90
"""Quality at which pictures are kept, chroma not subsampled; 44 dB on First Impressions clips at 456x256."""

_Decode = Callable[[Any, np.ndarray], None]


def encode_pictures(pictures: np.ndarray) -> list[bytes]:
    """Return one JPEG file for each of the uint8 pictures (..., height, width, 3), RGB."""
    from PIL import Image

    out = []
    for picture in pictures.reshape(-1, *pictures.shape[-3:]):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY, subsampling="4:4:4")
        out.append(buffer.getvalue())
    return out


def decode_pictures(files: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return uint8 pictures (n, height, width, 3), RGB, of JPEG files that all have one size.

    simplejpeg, which the extra `train` installs, takes half of Pillow's time; both call libjpeg-turbo and give the same
    values (tested).

    Args:
        files: bytes, or what has a buffer of them.
        shape: (height, width, 3).

    Raises:
        ValueError: a file that is damaged, or of another size.
    """
    decode = _find_decoder()
    out = np.empty((len(files), *shape), np.uint8)
    for picture, file in zip(out, files, strict=True):
        decode(file, picture)
    return out


@lru_cache(maxsize=1)
def _find_decoder() -> _Decode:
    """Return what decodes a file into an array of its size."""
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return decode_by_pillow

    def decode(file: Any, out: np.ndarray) -> None:
        found = decode_jpeg(memoryview(file).cast("B"), "RGB", buffer=out)
        if found.shape != out.shape:
            raise _other_size(found, out)

    return decode


def decode_by_pillow(file: Any, out: np.ndarray) -> None:
    """Decode a file into an array of its size; ValueError as `decode_pictures`."""
    from PIL import Image

    try:
        found = np.asarray(Image.open(io.BytesIO(file)))
    except OSError as error:
        raise ValueError(f"a damaged picture: {error}") from None
    if found.shape != out.shape:
        raise _other_size(found, out)
    out[:] = found


def _other_size(found: np.ndarray, out: np.ndarray) -> ValueError:
    return ValueError(f"a stored picture of shape {found.shape} where {out.shape} was written")
