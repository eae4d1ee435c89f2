"""Words of a transcript, their places, and their n-grams."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.voice_words.additive import tfidf
from thinslice.voice_words.spoken_words import char_ngrams, count_ngrams, pace, place_ngrams, split_words

TEXTS = st.text(alphabet="abcé'’ .,!?-[]\n1ABC", max_size=60)


def test_words_and_places():
    text = "So, I'm—well [inaudible 00:00:04] I’d say 24% Élan-vital..."
    words = split_words(text)
    assert [word.text for word in words] == ["so", "i'm", "well", "i'd", "say", "24", "élan", "vital"]
    assert [text[word.start : word.end] for word in words] == ["So", "I'm", "well", "I’d", "say", "24", "Élan", "vital"]


@pytest.mark.parametrize("text", [None, "", "  \n", "...", "[inaudible 00:00:04]", "[yelling 00:01] - [crosstalk]"])
def test_nothing_said(text):
    assert split_words(text) == []


def test_an_unclosed_bracket_hides_nothing():
    assert [word.text for word in split_words("well [so it goes")] == ["well", "so", "it", "goes"]


@given(TEXTS)
def test_case_and_punctuation_count_for_nothing(text):
    plain = " ".join(word.text for word in split_words(text))
    again = split_words(plain.upper())
    assert [word.text for word in again] == plain.split()


@given(TEXTS)
def test_places_are_in_order_and_apart(text):
    words = split_words(text)
    assert all(word.start < word.end for word in words)
    assert all(one.end <= two.start for one, two in pairwise(words))


def test_character_ngrams_are_those_of_scikit_learn():
    analyzer = pytest.importorskip("sklearn.feature_extraction.text").TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5)
    )
    build = analyzer.build_analyzer()
    for word in ["i", "ab", "don't", "extraordinary"]:
        assert sorted(char_ngrams(word, 2, 5)) == sorted(build(word))


def test_tfidf_is_that_of_scikit_learn():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts = ["the cat and the dog", "a cat a cat", "dogs are not the cat", "nothing here"]
    vectorizer = text.TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True, min_df=2)
    expected = vectorizer.fit_transform(texts).toarray()
    grams, idf, matrix = tfidf([count_ngrams(one.split(), "word1") for one in texts], 2)
    assert grams == list(vectorizer.get_feature_names_out())
    np.testing.assert_allclose(idf, vectorizer.idf_, rtol=1e-6)
    np.testing.assert_allclose(matrix.toarray(), expected, atol=1e-7)


@pytest.mark.parametrize("kind", ["word1", "word2", "char2-5"])
@given(words=st.lists(st.sampled_from(["a", "be", "don't", "a", "cat", "catcat"]), max_size=8))
def test_every_ngram_is_placed_wholly(kind, words):
    counts, places = count_ngrams(words, kind), place_ngrams(words, kind)
    assert counts.keys() == places.keys()
    for parts in places.values():
        assert sum(part for _, part in parts) == pytest.approx(1.0)
        assert all(0 <= index < len(words) for index, _ in parts)


def test_pace():
    assert pace(["hello", "you", "hello"]) == (3.0, 13.0, 5.0, 2.0)
    assert pace([]) == (0.0, 0.0, 0.0, 0.0)
