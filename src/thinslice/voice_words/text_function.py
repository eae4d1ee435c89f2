"""What a transcript says and how much, as deviations of the six targets: n-grams, exactly linear, plus pace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from thinslice.voice_words.spoken_words import Word, count_ngrams, pace, place_ngrams
from thinslice.voice_words.voice_function import bumps

KINDS: Final = ("word1", "word2", "char2-5")
"""Kinds of n-grams a model may hold, as `thinslice.voice_words.spoken_words.count_ngrams` names them."""

PACE_CUE: Final = "amount and pace of speech"
OFFSET_CUE: Final = "all words together"


CLIP_S: Final = 15.3
"""How long the training clips last, seconds; pace is measured against it."""
SHORTEST_S: Final = 3.0
"""Pace is not extrapolated from less speech than this."""
Z_LIMIT: Final = 3.0
"""Standardised pace is cut here; no training clip lies much further out."""


@dataclass(frozen=True)
class NGrams:
    """One kind of n-grams.

    Attributes:
        kind: see `KINDS`.
        index: n-gram -> row.
        idf: float64 (m,), inverse document frequency.
    """

    kind: str
    index: Mapping[str, int]
    idf: np.ndarray

    def values(self, words: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return the known n-grams of a text, their rows, and their values: (1 + ln count) * idf, of length 1.

        As scikit-learn's ``TfidfVectorizer(sublinear_tf=True)`` weights them.
        """
        counts = count_ngrams(words, self.kind)
        known = [gram for gram in counts if gram in self.index]
        rows = np.fromiter((self.index[gram] for gram in known), dtype=np.intp, count=len(known))
        count = np.fromiter((counts[gram] for gram in known), dtype=np.float64, count=len(known))
        values = (1.0 + np.log(count)) * self.idf[rows] if known else count
        norm = np.sqrt((values**2).sum())
        return known, rows, values / norm if norm else values


@dataclass(frozen=True)
class TextShares:
    """What moved a text's deviations.

    Attributes:
        places: the words.
        words: float64 (words, 6), their shares.
        rest: cue of the text as a whole -> share (6,).
        num_words: how many words there would be in a clip as long as the training clips.
    """

    places: Sequence[Word]
    words: np.ndarray
    rest: Mapping[str, np.ndarray]
    num_words: float


@dataclass(frozen=True)
class TextFunction:
    """Words -> deviations of the six targets; see the module.

    Attributes:
        ngrams: the kinds of n-grams.
        weights: for each kind float32 (m, 6), in score units.
        pace_mean: float64 (4,), of the training clips' `thinslice.voice_words.spoken_words.pace`.
        pace_scale: float64 (4,), their standard deviation.
        pace_centres: float64 (k, 4), standardised.
        pace_gamma: width of the bumps around them.
        pace_bumps: float64 (k, 6).
        pace_offset: float64 (6,), makes the pace's part zero on average over the training clips.
        offset: float64 (6,), makes the n-grams' part zero on average over the training clips.
    """

    ngrams: tuple[NGrams, ...]
    weights: tuple[np.ndarray, ...]
    pace_mean: np.ndarray
    pace_scale: np.ndarray
    pace_centres: np.ndarray
    pace_gamma: float
    pace_bumps: np.ndarray
    pace_offset: np.ndarray
    offset: np.ndarray

    def predict(self, texts: Sequence[Sequence[Word]], durations_s: Sequence[float] | None = None) -> np.ndarray:
        """Return deviations (n, 6) in score units; each text must have a word.

        Args:
            texts: the words of each text.
            durations_s: how long each takes to say; None for 15.3 s each.
        """
        # Text by text, so that a clip's score does not depend on what else is in the batch, to the last bit.
        return np.stack(
            [
                self._from_ngrams([word.text for word in words])
                + self._from_pace(words, None if durations_s is None else durations_s[row])
                + self.offset
                for row, words in enumerate(texts)
            ]
        )

    def explain(self, words: Sequence[Word], duration_s: float | None = None) -> TextShares:
        """Return exact shares: the words' and the rest's sum to what `predict` gives, up to rounding."""
        texts = [word.text for word in words]
        shares = np.zeros((len(words), len(self.offset)))
        for block, weights in zip(self.ngrams, self.weights, strict=True):
            known, rows, values = block.values(texts)
            places = place_ngrams(texts, block.kind)
            for gram, row, value in zip(known, rows, values, strict=True):
                for index, part in places[gram]:
                    shares[index] += part * value * weights[row]
        return TextShares(
            places=words,
            words=shares,
            rest={PACE_CUE: self._from_pace(words, duration_s), OFFSET_CUE: self.offset},
            num_words=len(words) * _per_clip(duration_s),
        )

    def _from_ngrams(self, words: Sequence[str]) -> np.ndarray:
        total = np.zeros(len(self.offset))
        for block, weights in zip(self.ngrams, self.weights, strict=True):
            _, rows, values = block.values(words)
            total += values @ weights[rows]
        return total

    def _from_pace(self, words: Sequence[Word], duration_s: float | None) -> np.ndarray:
        numbers = np.array(pace([word.text for word in words])) * _per_clip(duration_s)
        row = np.clip((numbers - self.pace_mean) / self.pace_scale, -Z_LIMIT, Z_LIMIT)
        return (bumps(row[None], self.pace_centres, self.pace_gamma) @ self.pace_bumps)[0] + self.pace_offset

    @classmethod
    def all_from_arrays(cls, arrays: Mapping[str, np.ndarray], modes: Sequence[str]) -> dict[str, "TextFunction"]:
        """Read the arrays that `thinslice.voice_words.trainer` writes: mode -> function, sharing the n-grams."""
        blocks = []
        for kind in KINDS:
            if f"{kind}_grams" not in arrays:
                continue
            grams = arrays[f"{kind}_grams"].tobytes().decode("utf-8").split("\n")
            idf = arrays[f"{kind}_idf"].astype(np.float64)
            if len(grams) != len(idf):
                raise ValueError(f"{kind}: {len(grams)} n-grams, {len(idf)} frequencies")
            blocks.append(NGrams(kind, {gram: row for row, gram in enumerate(grams)}, idf))
        shared = {name: arrays[name].astype(np.float64) for name in ("pace_mean", "pace_scale", "pace_centres")}
        return {
            mode: cls(
                ngrams=tuple(blocks),
                weights=tuple(arrays[f"{block.kind}_weights:{mode}"].astype(np.float32) for block in blocks),
                pace_gamma=float(arrays["pace_gamma"]),
                pace_bumps=arrays[f"pace_bumps:{mode}"].astype(np.float64),
                pace_offset=arrays[f"pace_offset:{mode}"].astype(np.float64),
                offset=arrays[f"words_offset:{mode}"].astype(np.float64),
                **shared,
            )
            for mode in modes
        }


def _per_clip(duration_s: float | None) -> float:
    """Return by what to multiply counts so that they are those of a clip as long as the training clips."""
    return 1.0 if duration_s is None else CLIP_S / max(float(duration_s), SHORTEST_S)


def pack_grams(grams: Sequence[str]) -> np.ndarray:
    """Return n-grams as bytes for an npz file, one a line: uint8 (bytes,)."""
    return np.frombuffer("\n".join(grams).encode("utf-8"), dtype=np.uint8)
