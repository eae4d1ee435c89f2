"""Clips that are no recordings of people, as far as they say so themselves.

A file says so in its title, comment or description (``ffmpeg -metadata comment=synthetic``), a planted clip by its
name.
"""

from thinslice.data.planted.names import is_planted
from thinslice.media.source import Source


def say_if_synthetic(source: Source) -> list[str]:
    """Return one line for the user where the clip says that it is synthetic, else none."""
    if is_planted(source.path.name):
        return ["a planted clip, drawn and synthesised: its scores say nothing about people"]
    said = source.info.said_synthetic
    return [f'synthetic, as the file says ("{said}"): its scores say nothing about a person'] if said else []
