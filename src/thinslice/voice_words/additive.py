"""Gaussian-process regression with an additive kernel, in closed form, whose result is linear in known features.

The noise is a clip's own plus one that all clips of a speaker share: clips of one speaker are no independent witnesses.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.sparse import csr_matrix, issparse

from thinslice.voice_words.voice_function import bumps, squared_differences


def tfidf(counts: Sequence[Mapping[str, int]], min_clips: int) -> tuple[list[str], np.ndarray, csr_matrix]:
    """Weight n-grams as `thinslice.voice_words.text_function.NGrams` does.

    Args:
        counts: for each text n-gram -> how often.
        min_clips: in how many texts an n-gram must occur.

    Returns:
        The n-grams, sorted; their inverse document frequencies ln((1 + n) / (1 + df)) + 1; and float64 (n, m) rows of
        length 1.
    """
    frequency: Counter[str] = Counter()
    for one in counts:
        frequency.update(one.keys())
    grams = sorted(gram for gram, number in frequency.items() if number >= min_clips)
    index = {gram: column for column, gram in enumerate(grams)}
    idf = np.log((1 + len(counts)) / (1 + np.array([frequency[gram] for gram in grams]))) + 1.0
    idf = idf.astype(np.float32).astype(np.float64)
    values, columns, starts = [], [], [0]
    for one in counts:
        known = sorted(index[gram] for gram in one if gram in index)
        row = (1.0 + np.log([one[grams[column]] for column in known])) * idf[known] if known else np.zeros(0)
        norm = np.sqrt((row**2).sum())
        values.append(row / norm if norm else row)
        columns += known
        starts.append(len(columns))
    return grams, idf, csr_matrix((np.concatenate(values), columns, starts), shape=(len(counts), len(grams)))


def nystrom_basis(centres: np.ndarray, gamma: float) -> np.ndarray:
    """Return B (m, f) such that bumps(x) @ B has the radial kernel as its inner product, on the centres exactly.

    Source: Williams and Seeger 2001, "Using the Nyström method to speed up kernel machines", section 3.
    """
    values, vectors = eigh(bumps(centres, centres, gamma))
    keep = values > 1e-6 * values[-1]
    return vectors[:, keep] / np.sqrt(values[keep])


def kernel_of(features: Any) -> np.ndarray:
    """Return the inner products (n, n) of the rows of features (n, f), dense or sparse, as float32."""
    if not issparse(features):
        dense = np.asarray(features, dtype=np.float32)
        return dense @ dense.T
    # Columns that many rows have would make the sparse product many times slower than a dense one.
    frequent = features.getnnz(axis=0) > 0.1 * features.shape[0]
    common = features[:, np.flatnonzero(frequent)].toarray().astype(np.float32)
    rare = features[:, np.flatnonzero(~frequent)].astype(np.float32)
    return common @ common.T + (rare @ rare.T).toarray()


def fit_additive(
    kernels: Mapping[str, np.ndarray],
    labels: np.ndarray,
    speakers: np.ndarray,
    scales: Mapping[str, float],
    noise: float,
    speaker_noise: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit labels by Gaussian-process regression, all targets alike.

    Source: Rasmussen and Williams 2006, sections 2.2 and 2.7, with a random intercept per speaker in the noise.

    Args:
        kernels: part -> its kernel, (n, n), as `kernel_of` gives it.
        labels: float64 (n, t).
        speakers: int (n,).
        scales: part -> prior variance, which multiplies its kernel.
        noise: variance of the noise.
        speaker_noise: the part of it that a speaker's clips share.

    Returns:
        The constant (t,), by generalised least squares, and dual weights D (n, t): a part adds
        ``scale * features_of_new_clip @ (features.T @ D)``.
    """
    covariance = np.float32(noise * speaker_noise) * (speakers[:, None] == speakers[None]).astype(np.float32)
    covariance[np.diag_indices_from(covariance)] += np.float32(noise * (1.0 - speaker_noise))
    for name, kernel in kernels.items():
        covariance += np.float32(scales[name]) * kernel
    factor = cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
    middle = labels.mean(axis=0)
    right = np.hstack([np.ones((len(labels), 1)), labels - middle]).astype(np.float32)
    solved = cho_solve(factor, right, check_finite=False).astype(np.float64)
    shift = solved[:, 1:].sum(axis=0) / solved[:, 0].sum()
    return middle + shift, solved[:, 1:] - solved[:, :1] * shift


def cluster_means(rows: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of k-means clusters, (count, d), and their sizes; the same on every run of one machine."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        fitted = KMeans(n_clusters=count, n_init=1, max_iter=10, random_state=seed).fit(rows)
    return fitted.cluster_centers_, np.bincount(fitted.labels_, minlength=count).astype(np.float64)


def blur_small(centres: np.ndarray, sizes: np.ndarray, rows: np.ndarray, min_rows: int) -> np.ndarray:
    """Return centres (m, d) of which those of fewer than `min_rows` rows are the mean of their nearest `min_rows`."""
    small = np.flatnonzero(sizes < min_rows)
    result = centres.copy()
    if len(small):
        nearest = np.argsort(squared_differences(centres[small], rows), axis=1, kind="stable")[:, :min_rows]
        result[small] = rows[nearest].mean(axis=1)
    return result
