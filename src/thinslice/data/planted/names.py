"""The names of planted speakers and clips, by which whatever was trained on them is known to be synthetic."""

import re
from typing import Final

_PLANTED: Final = re.compile(r"planted\d{4,}\.\d{3}(\.\w+)?")


def speaker_name(number: int) -> str:
    """Return a planted speaker's name; as long as those of First Impressions, and none of them."""
    return f"planted{number:04d}"


def is_planted(clip: str) -> bool:
    """Return whether a clip is planted, by its name, with or without folders before it."""
    return _PLANTED.fullmatch(clip.rpartition("/")[2]) is not None
