"""Still pictures as clips: one picture, or a folder of frames named by their numbers.

A folder is a clip whose pictures are shown one after the other. `list_pictures` says when; what a folder holds beside
pictures is ignored, but for two files that may say the times: ``times.csv`` with the columns `picture` and `time_s`, or
``frame_rate.txt`` with frames per second. Without them the frames are taken to be numbered at `FRAME_RATE_HZ`.
"""

import csv
import math
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from thinslice.errors import MediaError, MissingExtraError
from thinslice.media.check import check_file
from thinslice.media.frame import Frame
from thinslice.media.limits import MAX_PIXELS

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Lower-case endings of the pictures that a folder of frames may hold."""

FRAME_RATE_HZ: Final = 30.0
"""Frames a second where a folder does not say; that of most First Impressions clips."""

MAX_SHOWN_S: Final = 1e6
"""Longest time between a clip's pictures, seconds (eleven days): more is a mistake in names or times."""

TIMES_FILE: Final = "times.csv"
RATE_FILE: Final = "frame_rate.txt"

_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"MM\x00*")
_HEIF_BRANDS: Final = (b"heic", b"heix", b"mif1", b"msf1", b"avif")
_FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")  # Of Pillow; no others are tried.
_ORIENTATION: Final = 0x0112  # Exif 2.32, section 4.6.4.
_LAST_NUMBER = re.compile(r"([0-9]+)[^0-9]*$")
_LATE_S = 0.001


@dataclass(frozen=True)
class Pictures:
    """The pictures of one clip and when they are shown.

    Attributes:
        paths: picture files, in the order of showing; one at least.
        times_s: when each is shown first, seconds, ascending; the first is 0.
        duration_s: until the last one ends: it is shown as long as the others are (their median).
    """

    paths: tuple[Path, ...]
    times_s: tuple[float, ...]
    duration_s: float


def is_pictures(path: Path) -> bool:
    """Return whether a path is a folder or, by its name or its first bytes, a picture."""
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return True
    if not path.is_file():  # A pipe would keep whoever opens it waiting.
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
    return head.startswith(_MAGIC) or is_webp or is_heif


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures that lie in a folder, sorted by name; hidden files and subfolders are left out.

    Raises:
        MediaError: the folder cannot be read.
    """
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise MediaError(f"{folder}: cannot be read ({error.strerror}); ask for permission to read it") from None


def list_pictures(path: Path) -> Pictures:
    """Return a clip's pictures: the one, or those of a folder with their times.

    Raises:
        MediaError: the folder has no pictures, names without numbers, or times that make no sense.
    """
    if not path.is_dir():
        return Pictures((path,), (0.0,), 1 / FRAME_RATE_HZ)
    files = picture_files(path)
    if not files:
        raise MediaError(f"{path}: is a folder without pictures; give the media files inside it")
    times = _given_times(path, files) if (path / TIMES_FILE).is_file() else _numbered_times(path, files)
    order = sorted(range(len(files)), key=times.__getitem__)
    shown = [times[index] - times[order[0]] for index in order]
    if not shown[-1] <= MAX_SHOWN_S:
        late = files[order[-1]]
        raise MediaError(f"{late}: comes {shown[-1]:.3g} s after the first picture; correct its name or {TIMES_FILE}")
    gaps = [later - earlier for earlier, later in pairwise(shown)] or [1 / FRAME_RATE_HZ]
    return Pictures(tuple(files[index] for index in order), tuple(shown), shown[-1] + median(gaps))


def show_pictures(
    pictures: Pictures, times_s: Iterable[float], start_s: float = 0.0, size: tuple[int, int] | None = None
) -> Iterator[Frame]:
    """Yield the picture that is shown at each time; as `thinslice.media.video.decode_frames` of a video.

    Args:
        pictures: of the clip.
        times_s: ascending times, seconds from `start_s`.
        start_s: start of the window, seconds.
        size: (width, height) to scale the upright picture to; None keeps its own.

    Raises:
        MediaError: as `read_picture`.
        ValueError: the times do not ascend.
    """
    wanted = [float(time) for time in times_s]
    if not all(earlier <= later for earlier, later in pairwise([-math.inf, *wanted])):
        raise ValueError("times_s must ascend")
    shown, image = -1, np.empty(0)
    for time in wanted:
        place = max(bisect_right(pictures.times_s, start_s + time + _LATE_S) - 1, 0)
        if place != shown:
            shown, image = place, read_picture(pictures.paths[place], size)
        yield Frame(pictures.times_s[place] - start_s, image, time)


def read_picture(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a picture, uint8 (height, width, 3), RGB, upright as its EXIF orientation says.

    What is transparent lies on black, as what lies outside a frame does; 16 bits become 8.

    Args:
        path: the file.
        size: (width, height) of the result, scaled by averaging; None keeps the picture's own.

    Raises:
        MediaError: no such file, no picture that can be read, or more than `MAX_PIXELS`.
    """
    from PIL import Image, ImageOps

    with _opened(path) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            upright = _to_rgb(ImageOps.exif_transpose(image))
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise MediaError(f"{path}: is a damaged picture ({error}); copy or download it again") from None
    if size is not None and upright.size != size:
        upright = upright.resize(size, Image.Resampling.BILINEAR)
    return np.array(upright)


def picture_size(path: Path) -> tuple[int, int, str]:
    """Return width and height of a picture as shown, and the name of its format; raises as `read_picture`."""
    with _opened(path) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Pillow turns the size of a TIFF file itself.
            turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        except (OSError, SyntaxError, ValueError):
            turned = False
        width, height = image.size[::-1] if turned else image.size
        return width, height, (image.format or "").lower()


def opencv() -> Any:
    """Return the module cv2; MissingExtraError without it."""
    try:
        import cv2
    except ImportError:
        raise MissingExtraError("cutting and writing pictures", "video") from None
    return cv2


def _opened(path: Path) -> Any:
    """Return Pillow's picture, nothing but its head read; MediaError where it is none or too large."""
    from PIL import Image

    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The size is checked below; damaged tags do not matter.
            image = Image.open(path, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise MediaError(_too_large(path)) from None
    except (OSError, SyntaxError, ValueError, EOFError):
        raise MediaError(f"{path}: is not a picture that can be read; convert it to PNG or JPEG") from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise MediaError(_too_large(path))
    return image


def _too_large(path: Path) -> str:
    return f"{path}: more than {MAX_PIXELS / 1e6:.0f} million pixels; make it smaller"


def _to_rgb(image: Any) -> Any:
    from PIL import Image

    if image.mode.startswith(("I", "F")):  # 16 bits a pixel; floats are taken to lie in [0, 1].
        values = np.nan_to_num(np.asarray(image, np.float64))
        scaled = values * 255 if image.mode == "F" else values / 257
        return Image.fromarray(np.clip(np.round(scaled), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, (0, 0, 0, 255)), whole).convert("RGB")
    return image.convert("RGB")


def _numbered_times(folder: Path, files: list[Path]) -> list[float]:
    """Return each file's time by its number, the last one in its name."""
    rate_hz = _given_rate_hz(folder)
    by_number: dict[int, Path] = {}
    numbers = []
    for file in files:
        found = _LAST_NUMBER.search(file.stem)
        if found is None and len(files) > 1:
            raise MediaError(f"{file}: has no number in its name; name frames by their numbers, as 00081.jpg")
        number = int(found[1]) if found else 0
        if number in by_number:
            raise MediaError(f"{file}: has the number of {by_number[number].name}; give each frame its own")
        by_number[number] = file
        numbers.append(number)
    return [number / rate_hz for number in numbers]


def _given_rate_hz(folder: Path) -> float:
    path = folder / RATE_FILE
    if not path.is_file():
        return FRAME_RATE_HZ
    text = path.read_text("utf-8-sig", "replace").strip()[:40]
    try:
        rate_hz = float(text)
    except ValueError:
        rate_hz = math.nan
    if not 0 < rate_hz <= 1000:
        raise MediaError(f"{path}: {text!r} is no frame rate; write frames per second, above 0 and up to 1000")
    return rate_hz


def _given_times(folder: Path, files: list[Path]) -> list[float]:
    path = folder / TIMES_FILE
    times: dict[str, float] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"picture", "time_s"} <= set(reader.fieldnames or ()):
                raise KeyError("picture")
            for row in reader:
                times[(row["picture"] or "").strip()] = float(row["time_s"] or "nan")
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError):
        raise MediaError(f"{path}: is no table of times; it needs the columns picture and time_s") from None
    for picture in files:
        if not math.isfinite(times.get(picture.name, math.nan)):
            raise MediaError(f"{path}: no time for {picture.name}; give every picture one")
    if len({times[picture.name] for picture in files}) < len(files):
        raise MediaError(f"{path}: two pictures at one time; give each its own")
    return [times[picture.name] for picture in files]
