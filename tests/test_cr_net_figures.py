"""CR-Net's figures: highlighted regions by hand, and pictures that can be read back."""

from pathlib import Path

import numpy as np
import pytest

from thinslice.explain.activation import activation_map, highlighted, share_of_points_inside
from thinslice.report.heatmaps import draw_errors, draw_heat_maps

POINTS = {
    "left_eye": (0.5, 0.5),
    "right_eye": (9.5, 0.5),
    "nose_tip": (5.0, 9.9),
    "mouth_left": (0.0, 1.0),
    "mouth_right": (6.0, 3.0),
}


def test_highest_share_of_pixels() -> None:
    heat = np.arange(100.0).reshape(10, 10)
    assert highlighted(heat).sum() == 30
    assert highlighted(heat)[7:].all()


def test_points_by_hand() -> None:
    heat = np.zeros((10, 10))
    heat[:3] = np.arange(1, 31).reshape(3, 10)  # The three upper rows are the 30%.
    # Inside: both eyes, the left corner of the mouth, and its middle, (3, 2); outside: nose, right corner.
    assert share_of_points_inside([heat], [POINTS]) == pytest.approx(4 / 6)
    outside = {**POINTS, "left_eye": (-0.5, 0.5)}
    assert share_of_points_inside([heat], [outside]) == pytest.approx(3 / 6)


def test_a_map_at_random_has_its_share() -> None:
    rng = np.random.default_rng(0)
    heats = rng.random((400, 20, 20))
    points = [{name: tuple(rng.uniform(0, 20, 2)) for name in POINTS} for _ in heats]
    assert share_of_points_inside(heats, points) == pytest.approx(0.3, abs=0.03)


def test_map_is_scaled_and_keeps_its_place() -> None:
    maps = np.zeros((2, 4, 4))
    maps[0, 1, 2] = 6
    heat = activation_map(maps, 40, 80)
    assert heat.shape == (40, 80)
    assert (heat.min(), heat.max()) == (0, 1)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 12 <= row <= 17
    assert 45 <= column <= 54
    assert not activation_map(np.ones((3, 2, 2)), 8, 8).any()


def test_pictures_are_written(tmp_path: Path) -> None:
    labels = np.linspace(0, 1, 20)
    path = draw_errors(labels, {"without": labels * 0 + 0.5, "with": labels}, tmp_path / "errors.svg")
    assert "without: mean 0.26" in path.read_text().replace("<!-- ", "")
    picture = np.zeros((8, 8, 3), np.uint8)
    written = draw_heat_maps([picture] * 3, [np.eye(8)] * 3, tmp_path / "heat.png")
    assert written.read_bytes().startswith(b"\x89PNG")
