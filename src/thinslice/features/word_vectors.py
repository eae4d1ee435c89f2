"""Words as vectors: a transcript cut into words by spaCy, each replaced by its GloVe vector.

Source: Fodor et al., "Enhancing Apparent Personality Trait Analysis with Cross-Modal Embeddings", sections 3.1 and
4.2; Pennington, Socher, Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014.

Deviations: a word that has no vector is left out, the paper does not say; words are in lower case, as GloVe's are.
"""

import contextlib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.assets.folders import asset_cache_dir, cache_dir
from thinslice.assets.locate import FOLDERS_ENV
from thinslice.assets.verify import sha256_of
from thinslice.errors import AssetError, MediaError, MissingExtraError, OutputError
from thinslice.features.extractor import Extractor
from thinslice.features.transcript import transcript_of
from thinslice.files import atomic_path
from thinslice.media.source import Source

OFFICIAL_URL: Final = "https://nlp.stanford.edu/data/glove.6B.zip"
"""Wikipedia 2014 and Gigaword 5, in 50, 100, 200 and 300 dimensions."""

NUM_WORDS: Final = 80

_LETTERS = re.compile(r"[^\W\d_]")
_NOT_A_WORD = re.compile(r"[^\w']|_")


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Vectors by their words.

    Attributes:
        rows: word -> row.
        vectors: float32 (words, size).
    """

    rows: dict[str, int]
    vectors: np.ndarray

    @property
    def size(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])


def extract_word_vectors(
    source: Source,
    vectors: str,
    size: int,
    num_words: int = NUM_WORDS,
    sha256: str | None = None,
    allow_missing: bool = False,
) -> np.ndarray:
    """Return the vectors of the words of a clip.

    Args:
        source: the window of a media file, with its transcript or one beside it; see `transcript_of`.
        vectors: a file in GloVe's format: a path, or a name in a folder of $THINSLICE_ASSETS or in the asset cache.
        size: length of a vector.
        num_words: words to keep; zeros stand for those that are not there.
        sha256: of the file, to be sure of it; None for any file.
        allow_missing: whether a clip without words gives zeros; else it is an error.

    Returns:
        float32 array (num_words, size).

    Raises:
        MediaError: there is no transcript, or no word in it.
        AssetError: the vectors are not on this machine, or are not what was asked for.
        MissingExtraError: spaCy is not installed.
    """
    table = _load(str(find_vectors(vectors)), size, sha256)
    found = transcript_of(source)
    array = vectorise(found.text if found else "", table, num_words)
    if not allow_missing and not array.any():
        raise MediaError(f"{source.path}: no words known of it; put its transcript into {source.path.stem}.txt")
    return array


def pin_vectors(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the hash of the file that they name, so that a bundle takes no other file's vectors.

    Where that file is not on this machine they stay as they are.

    Raises:
        AssetError: the vectors are not what was asked for.
    """
    try:
        path = find_vectors(str(params["vectors"]))
    except AssetError:
        return dict(params)
    digest = sha256_of(path)
    if params.get("sha256") not in (None, digest):
        raise AssetError(f"{params['vectors']}: other word vectors than the model was trained with (sha256 {digest})")
    return {**params, "sha256": digest}


WORD_VECTORS_EXTRACTOR = Extractor(
    name="word_vectors",
    version=2,
    serves=(1,),
    extract=extract_word_vectors,
    extra="words",
    reads_words=True,
    pin=pin_vectors,
)


def vectorise(text: str, table: WordVectors, num_words: int = NUM_WORDS) -> np.ndarray:
    """Return the vectors of a text's first words, float32 (num_words, size), zeros after the last word."""
    out = np.zeros((num_words, table.size), np.float32)
    rows = [table.rows[word] for word in split_words(text) if word in table.rows][:num_words]
    out[: len(rows)] = table.vectors[rows]
    return out


def split_words(text: str) -> list[str]:
    """Return a text's words in lower case, as spaCy cuts them: "don't" is "do" and "n't".

    URLs, e-mail addresses and whatever holds a digit are left out, special characters are taken out of words.
    """
    words = []
    # GloVe's words have the plain apostrophe; spaCy knows few contractions in capitals.
    for token in _tokeniser()(text.replace("\u2019", "'").lower()):
        if token.like_url or token.like_email or any(letter.isdigit() for letter in token.text):
            continue
        word = _NOT_A_WORD.sub("", token.text)
        if _LETTERS.search(word):
            words.append(word)
    return words


def find_vectors(name: str) -> Path:
    """Return the file of that path or name; AssetError where there is none."""
    given = Path(name).expanduser()
    folders = [Path(folder).expanduser() for folder in os.environ.get(FOLDERS_ENV, "").split(os.pathsep) if folder]
    for path in (given, *(folder / name for folder in folders), asset_cache_dir() / name):
        if path.is_file():
            return path
    raise AssetError(
        f"{name}: no word vectors there; download {OFFICIAL_URL}, unpack it, and name its folder in ${FOLDERS_ENV}"
    )


def load_word_vectors(path: str | Path, only: Collection[str] | None = None) -> WordVectors:
    """Read a file in GloVe's format: on each line a word and its numbers, with single blanks between.

    word2vec's text format, whose first line holds two counts, is read too.

    Args:
        path: the file.
        only: words to keep; None for all.

    Raises:
        AssetError: it cannot be read, or a line does not have as many numbers as the first.
    """
    rows: dict[str, int] = {}
    values: list[np.ndarray] = []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for number, line in enumerate(stream, 1):
                word, _, rest = line.rstrip("\n").rstrip(" ").partition(" ")
                if number == 1 and rest.isdigit():
                    continue
                if only is not None and word not in only:
                    continue
                vector = _numbers(rest)
                if vector is None or not len(vector) or (values and len(vector) != len(values[0])):
                    raise AssetError(f"{path}, line {number}: not a word and its vector; give a file in GloVe's format")
                if rows.setdefault(word, len(values)) == len(values):
                    values.append(vector)
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror})") from None
    if not values:
        raise AssetError(f"{path}: holds no word vectors; give a file in GloVe's format")
    return WordVectors(rows, np.stack(values))


def _numbers(text: str) -> np.ndarray | None:
    try:
        return np.array(text.split(" "), dtype=np.float32)
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _load(path: str, size: int, sha256: str | None) -> WordVectors:
    digest = sha256_of(Path(path))
    if sha256 not in (None, digest):
        raise AssetError(f"{path}: other word vectors than the model was trained with (their sha256 differs)")
    table = _from_cache(digest) or _into_cache(load_word_vectors(path), digest)
    if table.size != size:
        raise AssetError(f"{path}: vectors of {table.size} numbers, {size} are needed")
    return table


def _from_cache(digest: str) -> WordVectors | None:
    """Return the vectors of a file as an earlier process left them, mapped into memory; None where none has."""
    words, vectors = _cached(digest)
    try:
        names = words.read_text("utf-8").split("\n")
        array = np.load(vectors, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    if array.ndim != 2 or array.dtype != np.float32 or len(array) != len(names):
        return None
    return WordVectors({word: row for row, word in enumerate(names)}, array)


def _into_cache(table: WordVectors, digest: str) -> WordVectors:
    """Leave vectors for later processes: reading a large text file takes most of a minute, mapping an array none."""
    words, vectors = _cached(digest)
    with contextlib.suppress(OSError, OutputError):
        vectors.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(vectors) as part, open(part, "wb") as stream:
            np.save(stream, table.vectors)
        with atomic_path(words) as part:
            part.write_text("\n".join(table.rows), encoding="utf-8")
        return _from_cache(digest) or table
    return table


def _cached(digest: str) -> tuple[Path, Path]:
    folder = cache_dir() / "word_vectors"
    return folder / f"{digest}.words", folder / f"{digest}.npy"


@lru_cache(maxsize=1)
def _tokeniser() -> Any:
    try:
        import spacy
    except ImportError:
        raise MissingExtraError("the feature word_vectors (spaCy)", "words") from None
    return spacy.blank("en").tokenizer
