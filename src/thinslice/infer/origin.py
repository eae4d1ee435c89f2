"""Clips that are no recordings of people, as far as they say so themselves or their faces look drawn.

A file says so in its title, comment or description (``ffmpeg -metadata comment=synthetic``), a planted clip by its
name.
"""

from collections.abc import Mapping

import numpy as np

from thinslice.bundle import Bundle
from thinslice.data.planted.names import is_planted
from thinslice.features.drawn_faces import LIMIT, looks_drawn
from thinslice.media.source import Source


def say_if_synthetic(source: Source) -> list[str]:
    """Return one line for the user where the clip says that it is synthetic, else none."""
    if is_planted(source.path.name):
        return ["a planted clip, drawn and synthesised: its scores say nothing about people"]
    said = source.info.said_synthetic
    return [f'synthetic, as the file says ("{said}"): its scores say nothing about a person'] if said else []


def say_if_drawn(bundle: Bundle, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return one line for the user where the faces that a bundle is given look drawn, else none.

    A bundle that was trained on drawn faces has nothing against them.
    """
    if bundle.card.synthetic:
        return []
    names = [name for name, spec in bundle.specs.items() if spec.extractor == "face_portraits" and name in arrays]
    if any(looks_drawn(arrays[name]) > LIMIT for name in names):
        return ["the face looks drawn or painted: its scores say nothing about a person"]
    return []
