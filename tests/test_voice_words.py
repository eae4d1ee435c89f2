"""The bundled model: its contract, its explanations, and what the shipped weights do."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinslice.bundle import load_bundle
from thinslice.errors import BundleError, MediaError, ThinsliceError, UsageError
from thinslice.traits import TARGETS
from thinslice.voice_words.model import MODES, load_voice_words
from thinslice.voice_words.spoken_words import split_words
from thinslice.voice_words.voice_cues import CUES

FOLDER = Path(__file__).resolve().parents[1] / "src" / "thinslice" / "bundles" / "voice-words"
DOCUMENT = load_bundle(FOLDER).document
MODEL = load_voice_words(FOLDER, TARGETS)
TEXT = "So I'm really [inaudible 00:00:04] excited, about my new make-up and this camera. I don't know zzxqy!"


def voices(count: int, seed: int = 0) -> np.ndarray:
    """Profiles scattered around the training mean, as wide as the training clips."""
    from thinslice.voice_words.voice_function import LOG_COLUMNS, LOG_FLOOR

    function = MODEL.voice["voice"]
    rows = function.mean + function.scale * np.random.default_rng(seed).normal(size=(count, 26))
    columns = list(LOG_COLUMNS)
    rows[:, columns] = np.exp(rows[:, columns]) - LOG_FLOOR
    return rows


def test_every_mode_scores():
    voice = voices(3)
    voice[2] = np.nan
    scores, used = MODEL.predict(voice, [TEXT, "[inaudible]", TEXT])
    assert scores.shape == (3, len(TARGETS))
    assert ((scores > 0) & (scores < 1)).all()
    assert used == [("voice", "words"), ("voice",), ("words",)]


def test_neither_voice_nor_words_is_the_users_error():
    with pytest.raises(MediaError, match="clip 2 of 2: neither a voice nor words"):
        MODEL.predict(None, [TEXT, " "])
    with pytest.raises(ThinsliceError):
        MODEL.explain(None, None)


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_a_half_broken_voice_profile_is_refused(spoil):
    voice = voices(2)
    voice[1, 5] = spoil
    with pytest.raises(UsageError, match="voice profile 2"):
        MODEL.predict(voice, [TEXT, TEXT])


def test_a_wrong_shape_is_refused():
    with pytest.raises(UsageError, match=r"\(2, 26\)"):
        MODEL.predict(voices(3), [TEXT, TEXT])


@settings(max_examples=25)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_a_clips_score_does_not_depend_on_its_batch(order, size):
    voice = voices(6)
    voice[4] = np.nan
    texts = [TEXT, None, "hello", "you know what I mean", TEXT * 3, ""]
    alone = np.concatenate([MODEL.predict(voice[[row]], [texts[row]])[0] for row in range(6)])
    picked = list(order)[:size]
    together, _ = MODEL.predict(voice[picked], [texts[row] for row in picked])
    np.testing.assert_allclose(together, alone[picked], atol=1e-12)


@settings(max_examples=25)
@given(st.text(max_size=80))
def test_any_text_is_scored_or_counts_as_missing(text):
    scores, used = MODEL.predict(voices(1), [text])
    assert np.isfinite(scores).all()
    assert used[0] in {("voice",), ("voice", "words")}


def test_absurd_voices_give_scores():
    extreme = np.stack([np.zeros(26), np.full(26, 1e9), np.full(26, -1e9)])
    scores, _ = MODEL.predict(extreme, [None, None, None])
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("mode", MODES)
def test_an_explanation_sums_to_the_score(mode):
    voice = voices(1, seed=3)[0] if "voice" in mode else None
    text = TEXT if "words" in mode else None
    scores, (used,) = MODEL.predict(None if voice is None else voice[None], [text])
    explanation = MODEL.explain(voice, text)
    assert "+".join(used) == mode == "+".join(explanation.inputs)
    for index, target in enumerate(TARGETS):
        total = explanation.baseline[target] + sum(share[target] for share in explanation.inputs.values())
        assert total == pytest.approx(scores[0, index], abs=1e-9)
    if voice is not None:
        cues = {cue.name: cue for cue in explanation.cues if cue.source == "voice"}
        assert list(cues) == list(CUES)
        assert all(cue.level is None or 0 <= cue.level <= 100 for cue in cues.values())
        for target in TARGETS:
            total = sum(cue.shares[target] for cue in cues.values())
            assert total == pytest.approx(explanation.inputs["voice"][target], abs=1e-9)
    if text is not None:
        assert [text[word.start : word.start + len(word.text)] for word in explanation.words] == [
            word.text for word in explanation.words
        ]
        for target in TARGETS:
            total = sum(word.shares[target] for word in explanation.words)
            total += sum(cue.shares[target] for cue in explanation.cues if cue.source == "words")
            assert total == pytest.approx(explanation.inputs["words"][target], abs=1e-9)


def test_word_shares_are_what_the_model_computes():
    """A word's share is found again by dropping its n-grams, length and pace held fixed."""
    text = "really nice camera"
    function = MODEL.words["words"]
    shares = function.explain(split_words(text))
    total = np.zeros(len(TARGETS))
    for block, weights in zip(function.ngrams, function.weights, strict=True):
        _, rows, values = block.values(text.split())
        total += values @ weights[rows].astype(np.float64)
    np.testing.assert_allclose(shares.words.sum(axis=0), total, atol=1e-6)


def test_shapley_values_of_a_cue_that_is_at_its_background_are_nought():
    """Where all background rows agree with the clip in a group, the group moves nothing."""
    from dataclasses import replace

    from thinslice.voice_words.voice_cues import shapley_shares

    profile = voices(1, seed=5)[0]
    function = MODEL.voice["voice"]
    row = function.standardise(profile[None])[0]
    background = MODEL.reference.background.copy()
    columns = list(CUES["brightness"])
    background[:, columns] = row[columns]
    shares = shapley_shares(function, profile, replace(MODEL.reference, background=background))
    np.testing.assert_allclose(shares["brightness"], 0.0, atol=1e-12)
    assert np.abs(shares["timbre"]).max() > 1e-4


def test_pace_is_measured_against_the_duration():
    whole, _ = MODEL.predict(None, ["so this is what we do today " * 8], [15.3])
    unsaid, _ = MODEL.predict(None, ["so this is what we do today " * 8])
    slow, _ = MODEL.predict(None, ["so this is what we do today " * 8], [60.0])
    np.testing.assert_array_equal(whole, unsaid)
    assert np.abs(slow - whole).max() > 0.005


def test_case_and_punctuation_do_not_move_a_score():
    plain, _ = MODEL.predict(None, ["so i'm really excited about my new camera i don't know"])
    dressed, _ = MODEL.predict(None, ["So: I'M really EXCITED, about my new camera! I don’t know..."])
    np.testing.assert_array_equal(plain, dressed)


def test_damaged_weights_are_named(tmp_path):
    with pytest.raises(BundleError, match=r"weights\.npz.*install"):
        load_voice_words(tmp_path, TARGETS)
    (tmp_path / "weights.npz").write_bytes(b"not a zip file")
    with pytest.raises(BundleError, match=r"weights\.npz.*install"):
        load_voice_words(tmp_path, TARGETS)


def test_the_bundle_keeps_its_promises():
    assert (FOLDER / "weights.npz").stat().st_size < 4 * 2**20
    assert set(DOCUMENT.intervals) == set(MODES)
    for offsets in DOCUMENT.intervals.values():
        assert all(low < 0 < high for low, high in offsets.values())
    width = {mode: np.mean([high - low for low, high in DOCUMENT.intervals[mode].values()]) for mode in MODES}
    assert width["voice+words"] < width["voice"] < width["words"]
    for quantiles in DOCUMENT.percentiles.values():
        assert len(quantiles) == 101
        assert list(quantiles) == sorted(quantiles)


def test_the_weights_were_made_by_this_code():
    pytest.importorskip("scipy")
    from thinslice.voice_words.trainer import code_digest

    assert code_digest() in DOCUMENT.card.code_version, "train the bundle again: its code has changed"


def test_real_labels_are_predicted_better_than_by_their_mean(real_data):
    """In-sample, so no measure of merit; it shows that data, order of columns and weights fit together."""
    from thinslice.voice_words.trainer import load_training_data
    from thinslice.voice_words.training_card import summary

    data = load_training_data(real_data)
    rows = np.arange(0, len(data.clips), 10)
    part = data.subset(rows)
    scores, _ = MODEL.predict(part.voice, part.transcripts)
    assert summary(part.labels, scores)["r2"]["average"] > 0.2


def test_the_recipe_is_reproducible(real_data):
    from thinslice.voice_words.trainer import VoiceWordsSettings, fit_arrays, load_training_data

    data = load_training_data(real_data)
    part = data.subset(np.arange(0, len(data.clips), 15))
    small = VoiceWordsSettings(voice_widths=((0.3, 40, 0.8), (4.0, 60, 0.3)), pace_centres=10)
    one, two = fit_arrays(part, small, seed=1), fit_arrays(part, small, seed=1)
    assert one.keys() == two.keys()
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)
