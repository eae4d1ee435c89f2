"""Weighted means of predictions keep scores, intervals and explanations exact."""

import pytest

from thinslice.infer.combine import (
    combine_explanations,
    combine_traits,
    equal_weights,
    inverse_variance_weights,
    join_transcripts,
)
from thinslice.types import CueShare, Explanation, Prediction, TraitScore, WordShare


def trait(score: float, half: float) -> TraitScore:
    return TraitScore(score, score - half, score + half, 50.0)


def test_weights_are_inverse_squares_of_the_interval_widths() -> None:
    parts = [{"openness": trait(0.4, 0.1)}, {"openness": trait(0.7, 0.2)}]
    weights = inverse_variance_weights(parts)
    assert [weight["openness"] for weight in weights] == pytest.approx([0.8, 0.2])
    (combined,) = combine_traits(parts, weights, lambda target, score: 12.0).values()
    assert combined.score == pytest.approx(0.46)
    assert (combined.low, combined.high) == pytest.approx((0.46 - 0.12, 0.46 + 0.12))
    assert combined.percentile == 12.0


def test_a_target_only_one_part_has_keeps_that_part_s_score() -> None:
    parts = [{"openness": trait(0.4, 0.1)}, {"openness": trait(0.6, 0.1), "interview": trait(0.3, 0.1)}]
    for weights in (inverse_variance_weights(parts), equal_weights(parts)):
        combined = combine_traits(parts, weights, lambda target, score: 0.0)
        assert combined["interview"].score == pytest.approx(0.3)
        assert combined["openness"].score == pytest.approx(0.5)


def explanation(baseline: float, voice: float, word: float) -> Explanation:
    return Explanation(
        baseline={"openness": baseline},
        inputs={"voice": {"openness": voice}, "words": {"openness": word}},
        words=[WordShare("hello", 0, {"openness": word})],
        cues=[CueShare("loudness", 30.0, {"openness": voice}, "voice")],
    )


def test_combined_shares_sum_to_the_combined_score() -> None:
    parts = [explanation(0.5, 0.1, 0.05), explanation(0.5, -0.2, 0.02)]
    scores = [{"openness": trait(0.65, 0.1)}, {"openness": trait(0.32, 0.1)}]
    weights = equal_weights(scores)
    combined = combine_explanations(parts, weights, word_offsets=[0, 9])
    assert combined is not None
    total = combined.baseline["openness"] + sum(shares["openness"] for shares in combined.inputs.values())
    assert total == pytest.approx((0.65 + 0.32) / 2)
    assert sum(word.shares["openness"] for word in combined.words) == pytest.approx(0.035)
    assert [word.start for word in combined.words] == [0, 9]
    (cue,) = combined.cues
    assert cue.shares["openness"] == pytest.approx(-0.05)
    assert cue.level == 30.0


def test_no_explanation_unless_every_part_has_one() -> None:
    weights = [{"openness": 0.5}, {"openness": 0.5}]
    assert combine_explanations([explanation(0.5, 0.0, 0.0), None], weights) is None


def test_joined_transcripts_know_where_each_begins() -> None:
    def part(text: str | None) -> Prediction:
        return Prediction("clip", {}, (), text, (), {}, {})

    text, offsets = join_transcripts([part("one two"), part(None), part("three")])
    assert text == "one two three"
    assert [text[offset:] for offset in (offsets[0], offsets[2])] == ["one two three", "three"]
    assert join_transcripts([part(None)]) == (None, [0])
