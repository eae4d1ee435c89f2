"""The background: its colour is the planted cue; brightness, pattern and its direction are chance."""

from typing import Final

import numpy as np

CHROMA_PER_UNIT: Final = 20.0
"""How far one standard unit of the cue moves the colour along the axis from blue to orange (Cr - Cb over sqrt 2)."""

PATTERNS: Final = ("stripes", "checks", "dots", "clouds")


def draw_scene(cue: float, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Return a background, float32 (height, width, 3), RGB in 0 to 255.

    Args:
        cue: standard units; negative is blue, positive orange.
        width: pixels.
        height: pixels.
        rng: of everything else.
    """
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    angle, frequency, phase = rng.uniform(0, np.pi), rng.uniform(2, 8), rng.uniform(0, 2 * np.pi, 2)
    along = np.sin(2 * np.pi * frequency * (np.cos(angle) * x + np.sin(angle) * y) + phase[0])
    across = np.sin(2 * np.pi * frequency * (np.cos(angle) * y - np.sin(angle) * x) + phase[1])
    kind = PATTERNS[rng.integers(len(PATTERNS))]
    if kind == "stripes":
        pattern = np.tanh(6 * along)
    elif kind == "checks":
        pattern = np.tanh(6 * along * across)
    elif kind == "dots":
        pattern = np.tanh(8 * (along + across - 1.2))
    else:
        pattern = along * np.sin(3 * across + 2 * along)
    slope = rng.uniform(-15, 15) * (x - 1) + rng.uniform(-15, 15) * (y - 0.5)
    luma = rng.uniform(95, 165) + rng.uniform(5, 25) * pattern + slope
    on_axis = CHROMA_PER_UNIT * cue
    off_axis = rng.normal(0, 8)
    red, blue = (off_axis + on_axis) / np.sqrt(2), (off_axis - on_axis) / np.sqrt(2)
    # JPEG's (BT.601, full range) luma and chroma to RGB.
    rgb = np.stack([luma + 1.402 * red, luma - 0.344 * blue - 0.714 * red, luma + 1.772 * blue], axis=-1)
    return np.clip(rgb, 0, 255).astype(np.float32)
