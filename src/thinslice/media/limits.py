"""Bounds on what a media file may ask of the machine; docs/limits.md says what the user is told."""

from typing import Final

MAX_PIXELS: Final = 40_000_000
"""Largest picture that is decoded: above 8K video (7680 x 4320, 33 million) and what telephones photograph."""

MAX_BOXES: Final = 100_000
"""Most boxes of an MP4 or MOV file that are looked at; a recording in fragments of 1 s has 7,200 an hour."""

MAX_BOX_DEPTH: Final = 8
"""How deep boxes may lie within each other; the tracks' descriptions lie five deep."""

MAX_THREADS: Final = 4
"""Most threads of a decoder; each holds pictures of its own."""

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
"""Sampling rates of sound; below the first no speech is left, above the second nothing is recorded."""

MAX_SPOOLED_BYTES: Final = 4_000_000_000
"""Most bytes of a pipe or an open file that are copied to the disk to be looked at: two hours of usual 1080p."""
