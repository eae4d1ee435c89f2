"""What is said in a clip as one vector: a sentence embedding, or vectors of the user's own.

CR-Net (Li et al. 2020, section 3.1.2) takes skip-thought vectors (Kiros et al. 2015), whose files cannot be had any
more. In their place: all-MiniLM-L6-v2 of Sentence Transformers (Wang et al. 2020, "MiniLM"; Reimers and Gurevych 2019),
384 numbers, Apache-2.0; docs/systems/cr_net.md has what it was compared with.

It runs on NumPy: 60 words take 59 ms of processor time. ONNX Runtime takes 32 ms and agrees to 1e-7, but its graph is a
second file of 90 MB, and the rest of a clip's features take seconds. The packages tokenizers and safetensors would add
compiled code in place of thirty lines that a test compares with the published tokeniser's pieces.
"""

import json
import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from thinslice.assets import find_asset
from thinslice.errors import MediaError
from thinslice.features.extractor import Extractor
from thinslice.features.transcript import transcript_of
from thinslice.media.source import Source

ASSET: Final = "all-minilm-l6-v2"

SUFFIX: Final = ".vector.npy"
"""A clip's own vector lies beside it: clip.mp4 has clip.vector.npy."""

_MAX_TOKENS: Final = 256
_NUM_HEADS: Final = 12
_NORM_EPS: Final = 1e-12
_RATE_HZ: Final = 16_000
_WORD = re.compile(r"\w+|[^\w\s]", re.UNICODE)


def extract_text_embedding(source: Source) -> np.ndarray:
    """Return the sentence embedding of what is said.

    The words are those of `thinslice.features.transcript.transcript_of`; without a transcript they are
    recognised where the `asr` extra is installed.

    Returns:
        float32 array (384,), each number of the order of 1: the unit vector times the root of 384.

    Raises:
        MediaError: nothing is known of what is said, or nothing is said.
        AssetError: the embedding's files are not on this machine.
        MissingExtraError: SciPy is not installed.
    """
    text, reason = _find_words(source)
    if not text.strip():
        raise MediaError(f"{source.path}: {reason}; put its transcript beside it, as {source.path.stem}.txt")
    return embed(text) * np.float32(np.sqrt(384))


TEXT_EMBEDDING_EXTRACTOR = Extractor(
    name="text_embedding", version=2, serves=(1,), extract=extract_text_embedding, extra="train", reads_words=True
)


def extract_text_vector(source: Source) -> np.ndarray:
    """Return a vector of any size that the user computed from what is said: ``clip.vector.npy`` beside ``clip.mp4``.

    Returns:
        float32 array (d,).

    Raises:
        MediaError: the file is missing or not one vector of numbers; an array of objects is never read.
    """
    path = source.path.with_name(source.path.stem + SUFFIX)
    try:
        vector = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise MediaError(f"{path}: missing; each clip needs the vector of its words there") from None
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise MediaError(f"{path}: cannot be read ({error}); save it with numpy.save") from None
    if vector.ndim != 1 or vector.dtype.kind not in "fiu" or not len(vector) or not np.isfinite(vector).all():
        raise MediaError(f"{path}: not one vector of finite numbers (it is {vector.dtype} of shape {vector.shape})")
    return vector.astype(np.float32)


TEXT_VECTOR_EXTRACTOR = Extractor(name="text_vector", version=1, extract=extract_text_vector)


def embed(text: str) -> np.ndarray:
    """Return the embedding, float32 (384,), of unit length: the mean of the last layer's states of all tokens.

    Texts of more than 254 tokens are cut, as the published model does.

    Raises:
        AssetError: the embedding's files are not on this machine.
        MissingExtraError: SciPy is not installed.
    """
    weights, vocabulary = _load()
    states = encode(weights, tokenise(text, vocabulary))
    mean = states.mean(0)
    unit: np.ndarray = mean / np.linalg.norm(mean)
    return unit


def tokenise(text: str, vocabulary: dict[str, int]) -> list[int]:
    """Return the numbers of a text's word pieces between [CLS] and [SEP], at most 256.

    Source: Devlin et al. 2019 (BERT), uncased WordPiece: lower case, no accents, the longest known piece first.
    """
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    pieces: list[int] = []
    for word in _WORD.findall(plain.replace("_", " _ ")):
        pieces += _split(word, vocabulary)
    return [vocabulary["[CLS]"], *pieces[: _MAX_TOKENS - 2], vocabulary["[SEP]"]]


def _split(word: str, vocabulary: dict[str, int]) -> list[int]:
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                pieces.append(vocabulary[piece])
                start = end
                break
        else:
            return [vocabulary["[UNK]"]]
    return pieces


def encode(weights: dict[str, np.ndarray], tokens: list[int]) -> np.ndarray:
    """Return BERT's last states, float32 (tokens, width), of one text.

    Source: Devlin et al. 2019; parameter names of the transformers package.
    """
    from thinslice.errors import MissingExtraError

    try:
        from scipy.special import erf
    except ImportError:
        raise MissingExtraError("the feature text_embedding", "train") from None

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normalise(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + _NORM_EPS)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["embeddings.word_embeddings.weight"][tokens]
    x = x + weights["embeddings.position_embeddings.weight"][: len(tokens)]
    x = normalise("embeddings.LayerNorm", x + weights["embeddings.token_type_embeddings.weight"][0])
    length, width = x.shape
    layer = 0
    while f"encoder.layer.{layer}.output.dense.weight" in weights:
        name = f"encoder.layer.{layer}"
        query, key, value = (
            linear(f"{name}.attention.self.{part}", x).reshape(length, _NUM_HEADS, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / np.float32(np.sqrt(width / _NUM_HEADS))
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        context = (shares @ value).swapaxes(0, 1).reshape(length, width)
        x = normalise(f"{name}.attention.output.LayerNorm", x + linear(f"{name}.attention.output.dense", context))
        hidden = linear(f"{name}.intermediate.dense", x)
        hidden = hidden * (1 + erf(hidden / np.float32(np.sqrt(2)))) / 2
        x = normalise(f"{name}.output.LayerNorm", x + linear(f"{name}.output.dense", hidden.astype(np.float32)))
        layer += 1
    return x


def _find_words(source: Source) -> tuple[str, str]:
    """Return the words, and why there are none where there are none."""
    found = transcript_of(source)
    if found is not None:
        return found.text, "its transcript has no words"
    from thinslice.features.asr import recognise

    text, reason = recognise(source.audio(_RATE_HZ))
    return text or "", reason or "no words were recognised"


@lru_cache(maxsize=1)
def _load() -> tuple[dict[str, np.ndarray], dict[str, int]]:
    folder = find_asset(ASSET)
    words = (folder / "vocab.txt").read_text("utf-8").split("\n")
    return _read_safetensors(folder / "model.safetensors"), {word: i for i, word in enumerate(words) if word}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the float32 tensors of a safetensors file: a length, a JSON header with places, raw numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:start])
    out = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = entry["data_offsets"]
            flat = np.frombuffer(data, np.float32, count=(last - first) // 4, offset=start + first)
            out[name] = flat.reshape(entry["shape"])
    return out
