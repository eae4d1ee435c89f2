"""The lookup of speakers: by hand, against loops, and on the real training labels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinslice.evaluate import lookup
from thinslice.traits import TARGETS

REAL_ICC = {
    "extraversion": 0.638,
    "neuroticism": 0.621,
    "agreeableness": 0.516,
    "conscientiousness": 0.707,
    "openness": 0.590,
    "interview": 0.668,
}


def test_by_hand() -> None:
    labels = np.array([[0.2], [0.4], [0.6], [0.8], [0.8], [0.2]])
    speakers = ["a", "a", "b", "b", "b", "c"]
    parts = lookup.variance_parts(labels, speakers)
    # mean 0.5; a deviates by 0.1 twice, b (mean 2.2/3) by -0.4/3, 0.2/3, 0.2/3; 6 clips - 3 speakers = 3
    within = (2 * 0.01 + 0.24 / 9) / 3
    between = (2 * 0.09 + 2 * 0.09 + 2 * 0.01) / 5 - within
    assert parts.mean[0] == pytest.approx(0.5)
    assert parts.within[0] == pytest.approx(within)
    assert parts.between[0] == pytest.approx(between)
    assert parts.icc[0] == pytest.approx(between / (between + within))
    assert parts.sd[0] == pytest.approx(np.std([0.2, 0.4, 0.6, 0.8, 0.8, 0.2]))
    assert parts.ceiling_accuracy[0] == pytest.approx(1 - np.sqrt(2 * within / np.pi))
    guess = lookup.fit_lookup(labels, speakers).predict(["b", "a", "stranger", "c"])[:, 0]
    assert guess == pytest.approx(
        [
            0.5 + 3 * between / (3 * between + within) * (2.2 / 3 - 0.5),
            0.5 + 2 * between / (2 * between + within) * (0.3 - 0.5),
            0.5,
            0.5 + between / (between + within) * (0.2 - 0.5),
        ]
    )


def test_labels_unknown_in_one_trait_count_in_the_others() -> None:
    rng = np.random.default_rng(0)
    labels, speakers = rng.random((30, 2)), [f"s{i // 3}" for i in range(30)]
    holes = labels.copy()
    holes[[0, 1, 2, 7], 0] = np.nan
    found = lookup.fit_lookup(holes, speakers).predict(speakers)
    kept = [i for i in range(30) if i not in (0, 1, 2, 7)]
    without = lookup.fit_lookup(labels[kept], [speakers[i] for i in kept]).predict(speakers)
    assert found[:, 0] == pytest.approx(without[:, 0])
    assert found[:, 1] == pytest.approx(lookup.fit_lookup(labels, speakers).predict(speakers)[:, 1])
    assert found[0, 0] == pytest.approx(np.nanmean(holes[:, 0]))  # a speaker without labels of this trait


def test_without_repeated_speakers_there_is_nothing_to_look_up() -> None:
    labels = np.array([[0.2], [0.5], [0.8]])
    model = lookup.fit_lookup(labels, ["a", "b", "c"])
    assert np.isnan(model.parts.within[0])
    assert np.isnan(model.parts.icc[0])
    assert np.isnan(model.parts.ceiling_accuracy[0])
    assert model.predict(["a", "b", "z"])[:, 0] == pytest.approx([0.5] * 3)


def test_constant_and_perfectly_reliable_labels() -> None:
    constant = lookup.fit_lookup(np.full((4, 1), 0.5), ["a", "a", "b", "b"])
    assert constant.predict(["a", "z"])[:, 0] == pytest.approx([0.5, 0.5])
    assert np.isnan(constant.parts.icc[0])
    reliable = lookup.fit_lookup(np.array([[0.2], [0.2], [0.8], [0.8]]), ["a", "a", "b", "b"])
    assert reliable.predict(["a", "b"])[:, 0] == pytest.approx([0.2, 0.8])
    assert reliable.parts.icc[0] == pytest.approx(1)
    assert reliable.parts.ceiling_accuracy[0] == pytest.approx(1)


def test_between_variance_is_never_negative() -> None:
    labels = np.array([[0.0], [1.0], [0.0], [1.0]])  # all the variance is within speakers
    model = lookup.fit_lookup(labels, ["a", "a", "b", "b"])
    assert model.parts.between[0] == 0
    assert model.predict(["a", "b"])[:, 0] == pytest.approx([0.5, 0.5])


def test_no_training_clips() -> None:
    model = lookup.fit_lookup(np.empty((0, 6)), [])
    assert np.isnan(model.predict(["a"])).all()
    assert model.predict([]).shape == (0, 6)
    with pytest.raises(ValueError, match="do not fit"):
        lookup.fit_lookup(np.zeros((3, 6)), ["a"])


@given(st.lists(st.sampled_from("abcde"), min_size=3, max_size=30), st.integers(0, 99))
def test_order_of_training_clips_is_irrelevant(speakers: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, order = rng.random((len(speakers), 2)), rng.permutation(len(speakers))
    one = lookup.fit_lookup(labels, speakers)
    other = lookup.fit_lookup(labels[order], [speakers[i] for i in order])
    assert other.predict(list("abcdef")) == pytest.approx(one.predict(list("abcdef")), abs=1e-9)


def test_leave_one_out_is_the_loop() -> None:
    rng = np.random.default_rng(0)
    speakers = [f"s{i}" for i in rng.integers(12, size=40)]
    labels = rng.random((40, 1))
    labels[4] = np.nan
    parts = lookup.variance_parts(labels, speakers)
    found = lookup.leave_one_out(labels, speakers)
    for i in range(40):
        others = [labels[j, 0] for j in range(40) if j not in (i, 4) and speakers[j] == speakers[i]]
        n, mu = len(others), parts.mean[0]
        weight = n * parts.between[0] / (n * parts.between[0] + parts.within[0])
        assert found[i, 0] == pytest.approx(mu + weight * (np.mean(others) - mu) if n else mu)


def test_simulated_variances_are_found() -> None:
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(4000), rng.integers(1, 6, size=4000))
    labels = 0.5 + rng.normal(0, 0.12, (4000, 1))[speakers] + rng.normal(0, 0.09, (len(speakers), 1))
    parts = lookup.variance_parts(labels, speakers.astype(str).tolist())
    assert np.sqrt(parts.between[0]) == pytest.approx(0.12, rel=0.03)
    assert np.sqrt(parts.within[0]) == pytest.approx(0.09, rel=0.03)
    truth = 1 - np.abs(rng.normal(0, 0.09, 200_000)).mean()
    assert parts.ceiling_accuracy[0] == pytest.approx(truth, abs=0.002)


@pytest.fixture(scope="module")
def real_training(real_data: Path) -> tuple[np.ndarray, list[str]]:
    """Labels (6000, 6) and speakers of First Impressions' training split."""
    from thinslice.data.first_impressions import import_first_impressions

    manifest = import_first_impressions(real_data).manifest.select("train")
    return manifest.labels(), list(manifest.speakers)


def test_real_training_labels(real_training: tuple[np.ndarray, list[str]]) -> None:
    labels, speakers = real_training
    parts = lookup.variance_parts(labels, speakers)
    assert len(labels) == 6000
    assert (parts.num_speakers == 2624).all()
    for name, icc in REAL_ICC.items():
        assert parts.icc[TARGETS.index(name)] == pytest.approx(icc, abs=0.0005), name
    assert parts.ceiling_accuracy[:5].mean() == pytest.approx(0.927, abs=0.0005)


def test_the_rest_within_real_speakers_is_nearly_gaussian(real_training: tuple[np.ndarray, list[str]]) -> None:
    """The ceiling assumes so: differences of two clips of a speaker have a Gaussian's mean size, and its kurtosis."""
    labels, speakers = real_training
    index = np.unique(speakers, return_inverse=True)[1]
    order = np.argsort(index, kind="stable")
    same = index[order[1:]] == index[order[:-1]]
    differences = labels[order[1:][same]] - labels[order[:-1][same]]
    measured = 1 - np.abs(differences).mean(axis=0) / np.sqrt(2)
    assert measured == pytest.approx(lookup.variance_parts(labels, speakers).ceiling_accuracy, abs=0.0005)
    kurtosis = (differences**4).mean(axis=0) / (differences**2).mean(axis=0) ** 2
    assert (np.abs(kurtosis - 3) < 0.3).all()
