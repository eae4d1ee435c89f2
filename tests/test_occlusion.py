"""Shares of inputs and occlusion maps: exact where the answer is known by hand."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from thinslice.explain import occlusion
from thinslice.explain.occlusion import LOWERED, RAISED, draw_heat, draw_strip, encode_png, occlusion_map
from thinslice.explain.picture_and_sound import explain_picture_and_sound
from thinslice.explain.shares import shapley_shares

OUTPUTS = ("openness", "extraversion")


def arrays(**values: float) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in values.items()}


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_shares_of_two_inputs_by_hand(scores):
    nothing, only_a, only_b, both = scores
    table = {(0, 0): nothing, (1, 0): only_a, (0, 1): only_b, (1, 1): both}
    baseline, shares = shapley_shares(
        lambda given: np.array([table[int(given["a"][0]), int(given["b"][0])]]), arrays(a=1, b=1), arrays(a=0, b=0)
    )
    assert baseline[0] == nothing
    assert shares["a"][0] == pytest.approx((only_a - nothing + both - only_b) / 2)
    assert shares["b"][0] == pytest.approx((only_b - nothing + both - only_a) / 2)
    assert baseline[0] + shares["a"][0] + shares["b"][0] == pytest.approx(both)


@given(st.integers(0, 1000), st.integers(1, 4))
def test_shares_sum_to_the_score_and_an_unused_input_has_none(seed, count):
    chance = np.random.default_rng(seed)
    names = [f"input{index}" for index in range(count)]
    weights = chance.normal(size=(count, 2))

    def score(given: dict[str, np.ndarray]) -> np.ndarray:
        total = sum(given[name] * weight for name, weight in zip(names, weights, strict=True))
        return np.tanh(total) + total[::-1] ** 2

    real = {name: chance.normal(size=1) for name in names} | {"unused": np.ones(1)}
    neutral = {name: np.zeros(1) for name in real}
    baseline, shares = shapley_shares(score, real, neutral)
    np.testing.assert_allclose(baseline + sum(shares.values()), score(real), atol=1e-9)
    np.testing.assert_allclose(shares["unused"], 0, atol=1e-12)


def test_equal_inputs_have_equal_shares():
    baseline, shares = shapley_shares(
        lambda given: np.array([given["a"][0] * given["b"][0] * given["c"][0]]),
        arrays(a=2, b=2, c=2),
        arrays(a=1, b=1, c=1),
    )
    assert baseline[0] == 1
    assert [shares[name][0] for name in "abc"] == pytest.approx([7 / 3] * 3)


def test_an_input_that_is_missing_stays_neutral():
    baseline, shares = shapley_shares(lambda given: given["a"] + given["b"], arrays(a=3), arrays(a=1, b=10))
    assert baseline[0] == 11
    assert set(shares) == {"a"}
    assert shares["a"][0] == 2


def mean_of(rows: slice, columns: slice):
    """A model that looks at one region of the picture only."""
    return lambda pictures: np.array([pictures[..., rows, columns, :].mean() / 255, 0.5])


def test_the_map_is_hot_where_the_model_looks_and_nowhere_else():
    pictures = np.full((2, 6, 112, 112, 3), 200, np.uint8)
    looked_at = slice(80, 100)
    heat = occlusion_map(mean_of(looked_at, looked_at), pictures, np.zeros(3, np.uint8), patch=16, stride=8)
    assert heat.shape == (112, 112, 2)
    assert heat[80:100, 80:100, 0].min() > 0
    assert heat[:64, :, 0].max() == 0
    assert heat[:, :64, 0].max() == 0
    assert np.all(heat[..., 1] == 0)  # the second score does not depend on the picture
    assert np.unravel_index(heat[..., 0].argmax(), (112, 112))[0] in range(80, 100)


def test_one_square_over_everything_is_the_whole_difference():
    pictures = np.full((1, 6, 112, 112, 3), 255, np.uint8)
    heat = occlusion_map(mean_of(slice(None), slice(None)), pictures, np.zeros(3, np.uint8), patch=112)
    np.testing.assert_allclose(heat[..., 0], 1.0)


@given(st.integers(5, 40), st.integers(5, 40), st.integers(1, 30), st.integers(1, 30))
def test_every_pixel_is_covered_and_the_pictures_are_left_alone(rows, columns, patch, stride):
    stride = min(stride, patch)
    pictures = np.random.default_rng(0).integers(0, 256, (1, 2, rows, columns, 3), dtype=np.uint8)
    before = pictures.copy()
    calls = []

    def score(seen: np.ndarray) -> np.ndarray:
        calls.append((seen != before).any())
        return np.array([float(seen.sum())])

    heat = occlusion_map(score, pictures, pictures * 0, patch=patch, stride=stride)
    assert np.isfinite(heat).all()
    np.testing.assert_array_equal(pictures, before)
    assert not calls[0]


def toy_score(given: dict[str, np.ndarray]) -> np.ndarray:
    assert given["pictures"].dtype == np.uint8
    seen = given["pictures"][..., :40, :40, :].mean() / 255
    heard = float(given["sound"].mean())
    return np.array([0.3 + 0.4 * seen + 0.1 * heard, 0.5 + 0.2 * heard])


def toy_inputs() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    features = {"pictures": np.full((3, 6, 112, 112, 3), 255, np.uint8), "sound": np.ones((6, 68), np.float32)}
    neutral = {"pictures": np.zeros((1, 6, 112, 112, 3), np.uint8), "sound": np.zeros((6, 68), np.float32)}
    return features, neutral


def test_explanation_of_picture_and_sound():
    features, neutral = toy_inputs()
    explanation = explain_picture_and_sound(toy_score, features, neutral, OUTPUTS)
    assert explanation.baseline == pytest.approx({"openness": 0.3, "extraversion": 0.5})
    assert explanation.inputs["face"] == pytest.approx({"openness": 0.4, "extraversion": 0.0})
    assert explanation.inputs["sound"] == pytest.approx({"openness": 0.1, "extraversion": 0.2})
    strip, *maps = explanation.pictures
    assert imread(BytesIO(strip.png)).shape[:2] == (112, 6 * 114 - 2)
    assert [entry.title.split(":")[0] for entry in maps] == list(OUTPUTS)
    openness, extraversion = (imread(BytesIO(entry.png))[..., :3] for entry in maps)
    # Blue, as all that raises a score, in the corner that the first score looks at; the second looks nowhere.
    assert openness[10, 10, 2] > openness[10, 10, 0] + 0.2
    assert openness[200, 200, 0] == pytest.approx(openness[200, 200, 2])
    assert np.ptp(extraversion) == 0


def test_explanation_without_sound_and_without_pictures_drawn():
    features, neutral = toy_inputs()
    del features["sound"]
    explanation = explain_picture_and_sound(toy_score, features, neutral, OUTPUTS, with_pictures=False)
    assert set(explanation.inputs) == {"face"}
    assert explanation.pictures == ()
    total = {name: explanation.baseline[name] + explanation.inputs["face"][name] for name in OUTPUTS}
    assert total == pytest.approx({"openness": 0.7, "extraversion": 0.5})


def test_heat_has_the_colours_of_the_report():
    style = (Path(occlusion.__file__).parents[1] / "report" / "templates" / "style.css").read_text("utf-8")
    raised, lowered = (f"#{bytes(colour.astype(np.uint8)).hex()}" for colour in (RAISED, LOWERED))
    assert f"--accent: {raised}" in style
    assert f"--down: {lowered}" in style


def test_drawings_are_png_files_of_the_right_colours():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_allclose(imread(BytesIO(encode_png(image)))[..., :3] * 255, image, atol=0.5)
    heat = np.zeros((20, 30))
    heat[0, 0], heat[19, 29] = 1.0, -1.0
    drawn = imread(BytesIO(draw_heat(image, heat, limit=1.0, scale=3)))[..., :3]
    assert drawn.shape == (60, 90, 3)
    assert drawn[0, 0, 2] > drawn[0, 0, 0]
    assert drawn[59, 89, 0] > drawn[59, 89, 2]
    strip = imread(BytesIO(draw_strip(np.stack([image, image]), gap=4)))
    assert strip.shape[:2] == (20, 64)
