"""The figure of clips with their trait bars."""

from pathlib import Path

import numpy as np
import pytest

from thinslice.errors import UsageError
from thinslice.evaluate.figures import save_figure
from thinslice.report.thumbnails import Thumbnail, build_thumbnail, plot_thumbnails
from thinslice.traits import POLES, TRAITS
from thinslice.types import Prediction, TraitScore


def prediction() -> Prediction:
    traits = {name: TraitScore(0.1 + 0.15 * i, 0.05, 0.9, 50.0) for i, name in enumerate((*TRAITS, "interview"))}
    return Prediction("a", traits, ("scene",), None, (), {}, {"name": "x", "version": "1"})


def thumbnail(seed: int) -> Thumbnail:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (36, 64, 3), dtype=np.uint8)
    scores = dict(zip(TRAITS, rng.uniform(size=5), strict=True))
    return Thumbnail(image, scores, dict.fromkeys(TRAITS, (0.2, 0.8)), {TRAITS[0]: 0.7}, f"clip {seed}")


def test_bars_are_the_scores_in_the_order_of_traits(tmp_path: Path) -> None:
    clips = [thumbnail(seed) for seed in range(7)]
    figure = plot_thumbnails(clips)
    axes = np.array(figure.axes).reshape(4, 5)
    for place, clip in enumerate(clips):
        bars = axes[2 * (place // 5) + 1][place % 5]
        assert [bar.get_width() for bar in bars.patches] == [clip.scores[trait] for trait in TRAITS]
        assert bars.yaxis_inverted()  # Openness on top, as the names beside the first bars.
        lines = [line.get_xdata() for line in bars.lines]
        assert sum(list(line) == [0.2, 0.8] for line in lines) == 5
        assert sum(list(line) == [0.7, 0.7] for line in lines) == 1
    names = [label.get_text() for label in axes[1][0].get_yticklabels()]
    assert names == [POLES[trait][1] for trait in TRAITS]
    files = save_figure(figure, tmp_path / "figure")
    assert [file.suffix for file in files] == [".png", ".svg"]
    assert "comfortable" in files[1].read_text("utf-8")


def test_clips_without_all_traits_are_refused() -> None:
    with pytest.raises(UsageError, match="no clip"):
        plot_thumbnails([])
    with pytest.raises(UsageError, match="no score for conscientiousness"):
        plot_thumbnails([Thumbnail(np.zeros((4, 4, 3), np.uint8), {"openness": 0.5}, {}, {})])


def test_middle_frame_of_a_real_clip(real_clips: list[Path]) -> None:
    built = build_thumbnail(real_clips[0], prediction(), {"openness": 0.4}, "a")
    assert max(built.image.shape[:2]) == 480
    assert built.image.std() > 10
    assert set(built.scores) == set(TRAITS)
    assert built.intervals["openness"] == (0.05, 0.9)
    assert plot_thumbnails([built]).axes[0].images[0].get_array().shape == built.image.shape
