"""A drawn person: a shaded head on a body before a plain chair back, as a picture with transparency.

Everything is in head units: the origin is between eyes and nose, x to the right, y downwards, and the chin is at y = 1.
The chair back hides the scene around the head, so that what a face crop shows does not tell of the scene.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

EYE_Y: Final = -0.12
MOUTH_Y: Final = 0.52
MOUTH_HALF_WIDTH: Final = 0.33
CURVATURE: Final = 0.075
"""How far one standard unit of mouth curvature lifts the corners against the middle, head units."""

_SUPERSAMPLING: Final = 2

SKINS: Final = np.array(
    [[247, 214, 190], [235, 190, 160], [222, 170, 135], [196, 144, 108], [160, 110, 80], [122, 82, 60]], float
)
HAIRS: Final = np.array(
    [[32, 26, 24], [60, 40, 28], [96, 62, 36], [150, 104, 60], [196, 160, 100], [140, 60, 34], [130, 128, 126]], float
)
STYLES: Final = ("shaded", "sketch")
"""How a person is drawn: in shaded colours, or in pale grey with dark outlines."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """What a person looks like; colours are RGB in 0 to 255.

    Attributes:
        skin: colour.
        hair: colour.
        eyes: colour of the iris.
        lips: colour.
        width: half the head's width, head units.
        jaw: how narrow the jaw is, in [0, 1].
        hair_length: how far down the hair goes at the sides, head units.
        hairline: where the hair begins on the forehead, head units (negative).
        brow: thickness of the eyebrows, head units.
        eye_gap: half the distance of the eyes, head units.
        nose: length factor.
    """

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    eyes: tuple[float, float, float]
    lips: tuple[float, float, float]
    width: float
    jaw: float
    hair_length: float
    hairline: float
    brow: float
    eye_gap: float
    nose: float


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """What differs between clips of one person.

    Attributes:
        clothes: colour.
        chair: colour of the chair back.
        light: where the light comes from: -1 left, 1 right.
        ambience: share of the light that comes from everywhere, in [0, 1].
    """

    clothes: tuple[float, float, float]
    chair: tuple[float, float, float]
    light: float
    ambience: float


@dataclass(frozen=True, kw_only=True)
class Expression:
    """What the face does.

    Attributes:
        curvature: of the mouth, in standard units; positive is a smile.
        opening: of the mouth, in [0, 1].
        lids: how far the eyes are open, in [0, 1]; 0 is a blink.
        brows: how far the eyebrows are raised, in [-1, 1].
    """

    curvature: float = 0.0
    opening: float = 0.0
    lids: float = 0.8
    brows: float = 0.0


def draw_person(rng: np.random.Generator) -> Person:
    """Return a person whose features are drawn at random."""
    skin = _mix(SKINS, rng)
    hair = _mix(HAIRS, rng)
    lips = 0.62 * skin + 0.38 * np.array([186, 60, 70]) + rng.normal(0, 6, 3)
    eyes = np.array([[70, 45, 30], [60, 90, 130], [80, 110, 70], [50, 40, 35]], float)[rng.integers(4)]
    return Person(
        skin=_colour(skin),
        hair=_colour(hair),
        eyes=_colour(eyes),
        lips=_colour(lips),
        width=float(rng.uniform(0.68, 0.8)),
        jaw=float(rng.uniform(0.1, 0.9)),
        hair_length=float(rng.choice([-0.1, 0.3, 0.9, 1.4])),
        hairline=float(rng.uniform(-0.72, -0.58)),
        brow=float(rng.uniform(0.03, 0.055)),
        eye_gap=float(rng.uniform(0.29, 0.34)),
        nose=float(rng.uniform(0.85, 1.15)),
    )


def draw_appearance(rng: np.random.Generator) -> Appearance:
    """Return clothes, chair and light of one clip, drawn at random."""
    grey = rng.uniform(70, 200)
    return Appearance(
        clothes=_colour(rng.uniform(30, 220, 3)),
        chair=_colour(grey + rng.normal(0, 12, 3)),
        light=float(rng.uniform(-0.8, 0.8)),
        ambience=float(rng.uniform(0.5, 0.7)),
    )


def render(
    person: Person,
    appearance: Appearance,
    expressions: Mapping[Any, Expression],
    size: tuple[int, int],
    centre: tuple[float, float],
    head_px: float,
    style: str = "shaded",
) -> dict[Any, np.ndarray]:
    """Draw a person with several expressions.

    Args:
        person: who.
        appearance: in what clothes and light.
        expressions: name -> expression.
        size: (width, height), pixels.
        centre: where the origin of the head lies, pixels.
        head_px: pixels per head unit.
        style: one of `STYLES`.

    Returns:
        Name -> float32 (height, width, 4), RGB in 0 to 255 multiplied by alpha, and alpha in [0, 1].
    """
    width, height = size
    scale = head_px * _SUPERSAMPLING
    xs = (np.arange(width * _SUPERSAMPLING, dtype=np.float32) + 0.5 - centre[0] * _SUPERSAMPLING) / scale
    ys = (np.arange(height * _SUPERSAMPLING, dtype=np.float32) + 0.5 - centre[1] * _SUPERSAMPLING) / scale
    soft = 1.4 / scale  # Edges as wide as a pixel and a half before averaging.
    body = _Canvas(xs, ys, soft, style == "sketch")
    _draw_chair_and_body(body, person, appearance)
    _draw_head(body, person, appearance)
    # Only the face is drawn again for each expression.
    columns = slice(*np.searchsorted(xs, (-0.62, 0.62)))
    rows = slice(*np.searchsorted(ys, (-0.55, 0.86)))
    pictures = {}
    for name, expression in expressions.items():
        face = body.part(rows, columns)
        _draw_eyes(face, person, expression)
        _draw_mouth(face, person, expression)
        whole = body.pixels.copy()
        whole[rows, columns] = face.pixels
        if style == "sketch":
            colour, alpha = whole[..., :3], whole[..., 3:]
            grey = 0.35 * colour.mean(axis=-1, keepdims=True) + 0.6 * 255 * alpha - 20 * alpha
            whole[..., :3] = np.clip(grey, 0, 255)
        pictures[name] = whole.reshape(height, _SUPERSAMPLING, width, _SUPERSAMPLING, 4).mean(axis=(1, 3))
    return pictures


class _Canvas:
    """A picture under construction; `paint` lays colour over it where a mask says so."""

    def __init__(self, xs: np.ndarray, ys: np.ndarray, soft: float, outlined: bool) -> None:
        self.x, self.y = xs[None, :], ys[:, None]
        self.soft = soft
        self.outlined = outlined
        self.pixels = np.zeros((len(ys), len(xs), 4), np.float32)

    def part(self, rows: slice, columns: slice) -> "_Canvas":
        part = _Canvas(self.x[0, columns], self.y[rows, 0], self.soft, self.outlined)
        part.pixels = self.pixels[rows, columns].copy()
        return part

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """Return a mask; its edge is soft by one and a half pixels."""
        return self.inside((np.hypot((self.x - x) / rx, (self.y - y) / ry) - 1) * min(rx, ry))

    def inside(self, distance: np.ndarray) -> np.ndarray:
        """Return the mask of where a signed distance, head units, is negative."""
        return np.clip(0.5 - distance / self.soft, 0, 1).astype(np.float32)

    def glow(self, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """Return a mask without edge."""
        return np.exp(-(((self.x - x) / rx) ** 2) - ((self.y - y) / ry) ** 2).astype(np.float32)

    def paint(self, mask: np.ndarray, colour: Any, opacity: float = 1.0) -> None:
        """Lay a colour, or a picture of colours, over the canvas."""
        box = _box(mask)
        colour = np.asarray(colour, np.float32)
        alpha = (mask[box] * np.float32(opacity))[..., None]
        pixels = self.pixels[box]
        pixels *= 1 - alpha
        pixels[..., :3] += (colour[box] if colour.ndim > 1 else colour) * alpha
        pixels[..., 3:] += alpha

    def shade(self, mask: np.ndarray, factor: float) -> None:
        """Make what is there darker (below 1) or lighter."""
        box = _box(mask)
        pixels = self.pixels[box]
        pixels[..., :3] *= 1 + np.float32(factor - 1) * mask[box][..., None]
        np.minimum(pixels[..., :3], 255 * pixels[..., 3:], out=pixels[..., :3])


def _draw_chair_and_body(canvas: _Canvas, person: Person, appearance: Appearance) -> None:
    x, y = canvas.x, canvas.y
    corner = np.hypot(np.maximum(np.abs(x) - 1.05, 0), np.maximum(np.abs(y - 0.9) - 2.05, 0)) - 0.3
    canvas.paint(canvas.inside(corner), appearance.chair)
    if canvas.outlined:
        canvas.paint(canvas.inside(np.abs(corner) - 0.02), (60, 60, 60))
    hair_back = canvas.inside(
        np.maximum(
            (np.hypot(x / (person.width * 1.18), np.minimum(y + 0.2, 0) / 1.02) - 1) * 0.8, y - person.hair_length
        )
    )
    canvas.paint(hair_back, np.asarray(person.hair) * 0.75)
    shoulders = y - 1.28 - 0.42 * (np.sqrt(1 + (x / 0.55) ** 2) - 1) ** 0.9
    torso = canvas.inside(np.maximum(-shoulders, np.abs(x) - 1.75))
    shading = 1.0 - 0.25 * np.clip(np.abs(x) / 1.7, 0, 1) ** 2 + 0.1 * appearance.light * x
    canvas.paint(torso, np.asarray(appearance.clothes) * (shading + 0 * y)[..., None])
    neck = canvas.inside(np.maximum(np.abs(x) - 0.36 - 0.12 * np.clip(y - 1.0, 0, 1) ** 2, y - 1.45 + 0.6 * np.abs(x)))
    canvas.paint(neck * (y > 0.4), np.asarray(person.skin) * 0.78)


def _draw_head(canvas: _Canvas, person: Person, appearance: Appearance) -> None:
    x, y = canvas.x, canvas.y
    skin, hair = np.asarray(person.skin), np.asarray(person.hair)
    for side in (-1, 1):
        canvas.paint(canvas.ellipse(side * person.width * 1.0, 0.08, 0.11, 0.2), skin * 0.82)
    taper = 1 - (0.12 + 0.2 * person.jaw) * np.clip(y, 0, 1.0) ** 2
    across = x / (person.width * taper)
    radius = np.sqrt(across**2 + np.where(y < 0, (y / 1.0) ** 2, np.abs(y) ** 2.4))
    face = canvas.inside((radius - 1) * 0.7)
    depth = np.sqrt(np.clip(1 - np.minimum(radius, 1) ** 2, 0, 1))
    lit = appearance.ambience + (1.12 - appearance.ambience) * np.clip(
        0.85 * depth + 0.55 * appearance.light * across - 0.18 * y, 0, 1
    )
    canvas.paint(face, skin * lit[..., None])
    if canvas.outlined:
        canvas.paint(canvas.inside(np.abs(radius - 1) * 0.7 - 0.025), (50, 50, 50))
    eye_y = EYE_Y
    for side in (-1, 1):
        canvas.shade(canvas.glow(side * person.eye_gap, eye_y - 0.06, 0.2, 0.13), 0.84)
        cheek = canvas.glow(side * 0.4, 0.28, 0.2, 0.16) * face
        canvas.paint(cheek, skin * 0.5 + np.array([230, 110, 100]) * 0.5, 0.22)
    nose_end = 0.26 * person.nose
    canvas.shade(canvas.glow(0.0, nose_end - 0.2, 0.05, 0.24), 1.1)
    canvas.shade(canvas.glow(-0.1 * np.sign(appearance.light or 1), nose_end - 0.12, 0.05, 0.2), 0.88)
    canvas.shade(canvas.glow(0.0, nose_end - 0.02, 0.075, 0.06), 1.12)
    canvas.shade(canvas.glow(0.0, nose_end + 0.06, 0.15, 0.045), 0.72)
    for side in (-1, 1):
        canvas.shade(canvas.glow(side * 0.115, nose_end, 0.035, 0.06), 0.8)
        canvas.paint(canvas.ellipse(side * 0.06, nose_end + 0.035, 0.035, 0.018), skin * 0.35, 0.8)
    canvas.shade(canvas.glow(0.0, 0.93, 0.3, 0.06), 0.93)
    fringe = person.hairline + 0.1 * across**2 - 0.05 * across + 0.02 * np.cos(9 * across)
    top = np.hypot(x / (person.width * 1.1), (y + 0.15) / 0.98) - 1
    side_hair = np.maximum(np.abs(across) * -1 + 0.93, np.maximum(y - min(person.hair_length, 0.25), -1 - y))
    mask = canvas.inside(np.minimum(np.maximum(top * 0.8, y - fringe), np.maximum(side_hair, top * 0.8)))
    gloss = 0.8 + 0.35 * np.exp(-(((y + 0.85) / 0.16) ** 2)) + 0.08 * np.sin(40 * across)
    canvas.paint(mask, hair * gloss[..., None])


def _draw_eyes(canvas: _Canvas, person: Person, expression: Expression) -> None:
    x, y = canvas.x, canvas.y
    skin = np.asarray(person.skin)
    lift = 0.06 * expression.brows
    half_height = 0.02 + 0.085 * expression.lids
    for side in (-1, 1):
        u = (x - side * person.eye_gap) / 0.15
        arch = np.clip(1 - u**2, 0, 1)
        upper = EYE_Y - half_height * arch**0.8
        lower = EYE_Y + 0.55 * half_height * arch
        eye = canvas.inside(np.maximum(upper - y, y - lower)) * (np.abs(u) < 1)
        canvas.paint(eye, (238, 236, 232))
        iris_y = EYE_Y - 0.012
        canvas.paint(canvas.ellipse(side * person.eye_gap, iris_y, 0.068, 0.068) * eye, person.eyes)
        canvas.paint(canvas.ellipse(side * person.eye_gap, iris_y, 0.032, 0.032) * eye, (12, 10, 10))
        canvas.paint(canvas.ellipse(side * person.eye_gap + 0.022, iris_y - 0.025, 0.014, 0.014) * eye, (255, 255, 255))
        lash = canvas.inside(np.abs(y - upper) - 0.018) * (np.abs(u) < 1.04)
        canvas.paint(lash, (28, 20, 18), 0.95)
        canvas.paint(canvas.inside(np.abs(y - lower) - 0.007) * (np.abs(u) < 0.95), skin * 0.5, 0.6)
        canvas.paint(canvas.inside(np.abs(y - (upper - 0.05)) - 0.006) * (np.abs(u) < 0.9), skin * 0.6, 0.5)
        brow = -0.31 - lift + 0.05 * (u + side * 0.1) ** 2 - 0.015 * side * u
        canvas.paint(
            canvas.inside(np.abs(y - brow) - person.brow * (1 - 0.25 * np.abs(u))) * (np.abs(u) < 1.12),
            np.asarray(person.hair) * 0.7,
            0.9,
        )


def _draw_mouth(canvas: _Canvas, person: Person, expression: Expression) -> None:
    x, y = canvas.x, canvas.y
    u = x / MOUTH_HALF_WIDTH
    within = np.abs(u) < 1
    arch = np.sqrt(np.clip(1 - u**2, 0, 1))
    line = MOUTH_Y - CURVATURE * expression.curvature * (np.minimum(u**2, 1.1) - 0.4)
    gap = 0.17 * expression.opening
    top, bottom = line - 0.3 * gap * arch, line + 0.7 * gap * arch
    cupid = 1 - 0.25 * np.exp(-((u / 0.14) ** 2))
    lips = np.asarray(person.lips)
    upper_lip = canvas.inside(np.maximum(top - 0.055 * arch * cupid - y, y - top)) * within
    lower_lip = canvas.inside(np.maximum(bottom - y, y - bottom - 0.075 * arch)) * within
    canvas.shade(np.exp(-(((y - bottom - 0.13) / 0.04) ** 2) - (u / 0.6) ** 2).astype(np.float32), 0.85)
    canvas.paint(canvas.inside(np.maximum(top - y, y - bottom)) * within, (58, 20, 22))
    teeth = canvas.inside(np.maximum(top - y, y - np.minimum(top + 0.05 * arch, bottom))) * (np.abs(u) < 0.8)
    canvas.paint(teeth, (240, 236, 228), 0.9 if gap > 0.03 else 0.0)
    canvas.paint(upper_lip, lips * 0.88)
    canvas.paint(lower_lip, lips * 1.05)
    canvas.paint(canvas.inside(np.abs(y - top) - 0.012) * (np.abs(u) < 1.05), (90, 34, 36), 0.9 if gap < 0.03 else 0.4)


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns outside which a mask does nothing that could be seen."""
    seen = mask > 0.002
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _mix(palette: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    first, second = palette[rng.integers(len(palette))], palette[rng.integers(len(palette))]
    return first + 0.3 * (second - first) * rng.random() + rng.normal(0, 4, 3)


def _colour(rgb: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = np.clip(rgb, 8, 250).tolist()
    return red, green, blue
