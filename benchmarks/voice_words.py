"""Repeats the figures of docs/bundled-model.md: what was tried, coverage, resamplers, damaged transcripts, speed.

    python benchmarks/voice_words.py DATA learners [--only NAME ...]
    python benchmarks/voice_words.py DATA coverage
    python benchmarks/voice_words.py DATA concordance
    python benchmarks/voice_words.py DATA media
    python benchmarks/voice_words.py DATA transcripts
    python benchmarks/voice_words.py DATA speed

DATA is the folder of First Impressions V2's training split. Needs the extra ``train``.
"""

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from thinslice.evaluate.metrics import accuracy, ccc, r2
from thinslice.features.voice import extract_voice_profile, voice_profile
from thinslice.media.source import Source
from thinslice.traits import TARGETS, TRAITS
from thinslice.voice_words.additive import fit_additive, kernel_of
from thinslice.voice_words.model import MODES, load_voice_words
from thinslice.voice_words.spoken_words import split_words
from thinslice.voice_words.text_function import TextFunction
from thinslice.voice_words.trainer import (
    TrainingData,
    VoiceWordsSettings,
    coverages,
    cross_predict,
    fit_voice_part,
    fit_voice_words,
    fit_words_parts,
    grouped_folds,
    load_training_data,
    random_folds,
)
from thinslice.voice_words.voice_function import Bumps, VoiceFunction, transform

BUNDLE = Path(__file__).resolve().parents[1] / "src" / "thinslice" / "bundles" / "voice-words"
NUM_FOLDS = 5

FitPredict = Callable[[TrainingData, TrainingData], np.ndarray]


def row(name: str, labels: np.ndarray, grouped: np.ndarray, shuffled: np.ndarray) -> str:
    def figures(scores: np.ndarray) -> str:
        there = np.isfinite(scores).all(axis=1)
        found = [measure(labels[there], scores[there])[: len(TRAITS)].mean() for measure in (accuracy, r2)]
        return f"{found[0]:.4f} | {found[1]:+.3f}"

    return f"| {name} | {figures(grouped)} | {figures(shuffled)} |"


def cross(data: TrainingData, fit_predict: FitPredict) -> tuple[np.ndarray, np.ndarray]:
    result = []
    for folds in (grouped_folds(data.speakers, NUM_FOLDS, 0), random_folds(len(data.clips), NUM_FOLDS, 0)):
        scores = np.empty_like(data.labels)
        for fold in range(NUM_FOLDS):
            held = np.flatnonzero(folds == fold)
            scores[held] = fit_predict(data.subset(np.flatnonzero(folds != fold)), data.subset(held))
        result.append(scores)
    return result[0], result[1]


def voice_matrix(data: TrainingData) -> np.ndarray:
    return transform(np.where(np.isfinite(data.voice), data.voice, np.nanmedian(data.voice, axis=0)))


def standardised(train: TrainingData, test: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    one, two = voice_matrix(train), voice_matrix(test)
    mean, scale = one.mean(axis=0), one.std(axis=0)
    return np.clip((one - mean) / scale, -4, 4), np.clip((two - mean) / scale, -4, 4)


def training_mean(train: TrainingData, test: TrainingData) -> np.ndarray:
    return np.broadcast_to(train.labels.mean(axis=0), test.labels.shape)


def per_target(build: Callable[[], object]) -> FitPredict:
    def fit_predict(train: TrainingData, test: TrainingData) -> np.ndarray:
        one, two = standardised(train, test)
        return np.stack([build().fit(one, labels).predict(two) for labels in train.labels.T], axis=1)  # type: ignore[attr-defined]

    return fit_predict


def boosting() -> object:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.05, max_leaf_nodes=12, min_samples_leaf=30, l2_regularization=5, random_state=0
    )


def extra_trees(train: TrainingData, test: TrainingData) -> np.ndarray:
    from sklearn.ensemble import ExtraTreesRegressor

    one, two = standardised(train, test)
    trees = ExtraTreesRegressor(400, min_samples_leaf=5, max_features=0.5, random_state=0)
    return trees.fit(one, train.labels).predict(two)


def support_vectors(cost: float) -> Callable[[], object]:
    from sklearn.svm import SVR

    return lambda: SVR(C=cost, gamma=0.01, epsilon=0.05)


def networks(train: TrainingData, test: TrainingData) -> np.ndarray:
    """Eight networks 26-96-48-6, absolute error, dropout 0.2, noise 0.3 on the input, 30 epochs; their mean."""
    import torch

    torch.manual_seed(0)
    one, two = (torch.tensor(rows, dtype=torch.float32) for rows in standardised(train, test))
    mean, scale = train.labels.mean(axis=0), train.labels.std(axis=0)
    labels = torch.tensor((train.labels - mean) / scale, dtype=torch.float32)
    total = np.zeros_like(test.labels)
    for _ in range(8):
        net = torch.nn.Sequential(
            *(torch.nn.Linear(26, 96), torch.nn.SiLU(), torch.nn.Dropout(0.2)),
            *(torch.nn.Linear(96, 48), torch.nn.SiLU(), torch.nn.Dropout(0.2), torch.nn.Linear(48, 6)),
        )
        steps = 30 * (len(one) // 256)
        optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.2)
        for _ in range(steps):
            picked = torch.randint(len(one), (256,))
            error = net(one[picked] + 0.3 * torch.randn(256, 26)) - labels[picked]
            optimizer.zero_grad()
            error.abs().mean().backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            total += net.eval()(two).numpy() / 8
    return total * scale + mean


def tfidf_ridge(train: TrainingData, test: TrainingData) -> np.ndarray:
    """The usual baseline on text as it stands, punctuation and remarks included; no pace."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    blocks = [
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=5, sublinear_tf=True),
    ]
    one = hstack([block.fit_transform(train.transcripts) for block in blocks]).tocsr()
    two = hstack([block.transform(test.transcripts) for block in blocks]).tocsr()
    mean = train.labels.mean(axis=0)
    return Ridge(alpha=30, solver="sparse_cg").fit(one, train.labels - mean).predict(two) + mean


def voice_process(settings: VoiceWordsSettings) -> FitPredict:
    """The shipped learner on the voice alone."""

    def fit_predict(train: TrainingData, test: TrainingData) -> np.ndarray:
        filled = np.where(np.isfinite(train.voice), train.voice, np.nanmedian(train.voice, axis=0))
        arrays, parts = fit_voice_part(filled, np.ones(len(filled), dtype=bool), settings, 0)
        features = parts["voice"].features
        constant, duals = fit_additive(
            {"voice": kernel_of(features)},
            train.labels,
            train.speakers,
            {"voice": 1.0},
            settings.noise["voice"],
            settings.speaker_noise,
        )
        function = VoiceFunction(
            arrays["voice_mean"],
            arrays["voice_scale"],
            tuple(
                Bumps(arrays[f"voice_centres{width}"], gamma, weights)
                for width, (gamma, weights) in enumerate(
                    zip(arrays["voice_gammas"], parts["voice"].bumps(features.T @ duals), strict=True)
                )
            ),
            np.zeros(len(TARGETS)),
        )
        missing = ~np.isfinite(test.voice).all(axis=1)
        return constant + function.predict(np.where(missing[:, None], np.nanmedian(train.voice, axis=0), test.voice))

    return fit_predict


def words_process(settings: VoiceWordsSettings, parts_used: tuple[str, ...]) -> FitPredict:
    """The shipped learner on some parts of the words alone."""

    def fit_predict(train: TrainingData, test: TrainingData) -> np.ndarray:
        arrays, parts = fit_words_parts(train, np.array([bool(words) for words in train.words]), settings, 0)
        constant, duals = fit_additive(
            {name: kernel_of(parts[name].features) for name in parts_used},
            train.labels,
            train.speakers,
            settings.scales,
            settings.noise["words"],
            settings.speaker_noise,
        )
        nothing = np.zeros(len(TARGETS))
        arrays |= {"pace_bumps:words": np.zeros((len(arrays["pace_centres"]), len(TARGETS)))}
        arrays |= {"pace_offset:words": nothing, "words_offset:words": nothing}
        for name, part in parts.items():
            used = settings.scales[name] * (name in parts_used)
            weights = used * (part.features.T @ duals)
            arrays |= {"pace_bumps:words": part.bumps(weights)[0]} if part.bases else {f"{name}_weights:words": weights}
        function = TextFunction.all_from_arrays(arrays, ["words"])["words"]
        scores = np.tile(constant, (len(test.clips), 1))
        for row_, text in enumerate(test.transcripts):
            words = split_words(text)
            if words:
                scores[row_] += function.predict([words])[0]
        return scores

    return fit_predict


SHIPPED = VoiceWordsSettings()
SIMPLE: dict[str, FitPredict] = {
    "training mean": training_mean,
    "voice: gradient boosting": per_target(boosting),
    "voice: extra trees": extra_trees,
    "voice: support vectors, C 0.05": per_target(support_vectors(0.05)),
    "voice: support vectors, C 0.2": per_target(support_vectors(0.2)),
    "voice: 8 small networks": networks,
    "voice: process, wide bumps only": voice_process(replace(SHIPPED, voice_widths=((0.3, 600, 1.0),))),
    "voice: process, narrow bumps only": voice_process(replace(SHIPPED, voice_widths=((4.0, 1600, 1.0),))),
    "voice: process, no noise shared by a speaker": voice_process(replace(SHIPPED, speaker_noise=0.0)),
    "voice: process, all columns weigh alike": voice_process(replace(SHIPPED, fine_timbre_scale=1.0)),
    "voice: process, less noise": voice_process(replace(SHIPPED, noise={"voice": 0.5})),
    "voice: process, as shipped": voice_process(SHIPPED),
    "words: tf-idf ridge, no pace": tfidf_ridge,
    "words: process, n-grams without pace": words_process(SHIPPED, ("char2-5", "word1")),
    "words: process, pace without n-grams": words_process(SHIPPED, ("pace",)),
    "words: process, as shipped": words_process(SHIPPED, ("pace", "char2-5", "word1")),
}


SHIPPED_TOGETHER = "voice + words: process, as shipped"


def compare_learners(data: TrainingData, only: list[str]) -> None:
    print("| learner | grouped: accuracy | R2 | random: accuracy | R2 |\n|---|---|---|---|---|")
    for name, fit_predict in SIMPLE.items():
        if not only or name in only:
            print(row(name, data.labels, *cross(data, fit_predict)), flush=True)
    if not only or SHIPPED_TOGETHER in only:
        grouped = cross_predict(data, grouped_folds(data.speakers, NUM_FOLDS, 0), SHIPPED, 0)
        shuffled = cross_predict(data, random_folds(len(data.clips), NUM_FOLDS, 0), SHIPPED, 0)
        print(row(SHIPPED_TOGETHER, data.labels, grouped["voice+words"], shuffled["voice+words"]), flush=True)


def measure_coverage(data: TrainingData) -> None:
    grouped = cross_predict(data, grouped_folds(data.speakers, NUM_FOLDS, 0), SHIPPED, 0)
    shuffled = cross_predict(data, random_folds(len(data.clips), NUM_FOLDS, 0), SHIPPED, 0)
    found = coverages(data, grouped, shuffled, 0)
    print("| inputs | unseen speakers | as in the official splits |\n|---|---|---|")
    for mode in MODES:
        spread = [np.array(list(found[kind][mode].values())) for kind in ("unseen_speakers", "seen_speakers")]
        print(f"| {mode} | " + " | ".join(f"{v.mean():.1%} ({v.min():.1%} to {v.max():.1%})" for v in spread) + " |")


def measure_media(data: TrainingData, clips: Path) -> None:
    """Scores from the file's voice profiles against scores from the clips' own sound."""
    model = load_voice_words(BUNDLE, TARGETS)
    paths = [path for path in sorted(clips.glob("*.mp4")) if path.name in data.clips]
    at = [data.clips.index(path.name) for path in paths]
    spread = np.nanstd(data.voice, axis=0)
    for name, measure_profile in PROFILES.items():
        measured = np.stack([measure_profile(Source(path)) for path in paths])
        moved = np.abs(measured - data.voice[at]) / spread
        print(
            f"{name}: profile differs by {moved.mean():.4f} standard deviations on average, {moved.max():.3f} at most"
        )
        for mode in ("voice", "voice+words"):
            texts = [data.transcripts[one] if mode == "voice+words" else None for one in at]
            from_file, _ = model.predict(data.voice[at], texts)
            from_media, _ = model.predict(measured, texts)
            change = np.abs(from_media - from_file)
            shown = ", ".join(
                f"{target} {value:.5f}" for target, value in zip(TARGETS, change.mean(axis=0), strict=True)
            )
            print(f"  {mode}, mean absolute change over {len(at)} clips: {shown}; largest {change.max():.4f}")


def soxr_profile(source: Source) -> np.ndarray:
    """As extract_voice_profile, but resampled by SoX's very-high-quality filter."""
    return voice_profile(source.audio(22050, 7.0))


PROFILES = {"kaiser_best, as predict does": extract_voice_profile, "SoX very high quality": soxr_profile}


def damage(text: str, rng: np.random.Generator) -> str:
    """Lower case, no punctuation or remarks, and 15% of the words dropped, doubled or replaced by another's."""
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", re.sub(r"\[[^\]]*\]", " ", text.lower()))
    result: list[str] = []
    for word in words:
        chance = rng.random()
        if chance < 0.05:
            continue
        result.append(words[rng.integers(len(words))] if chance < 0.10 else word)
        if chance > 0.95:
            result.append(word)
    return " ".join(result)


def measure_transcripts(data: TrainingData) -> None:
    rng = np.random.default_rng(0)
    folds = grouped_folds(data.speakers, NUM_FOLDS, 0)
    kinds = {
        "as given": data.transcripts,
        "lower case, bare": tuple(
            re.sub(r"[^\w' ]", " ", re.sub(r"\[[^\]]*\]", " ", t)).lower() for t in data.transcripts
        ),
        "15% of words wrong": tuple(damage(text, rng) for text in data.transcripts),
    }
    scores = {name: {mode: np.full_like(data.labels, np.nan) for mode in ("words", "voice+words")} for name in kinds}
    for fold in range(NUM_FOLDS):
        held = np.flatnonzero(folds == fold)
        model = fit_voice_words(data.subset(np.flatnonzero(folds != fold)), SHIPPED)
        for name, texts in kinds.items():
            there = [one for one in held if re.search(r"\w", texts[one]) and np.isfinite(data.voice[one]).all()]
            part = [texts[one] for one in there]
            scores[name]["words"][there] = model.predict(None, part)[0]
            scores[name]["voice+words"][there] = model.predict(data.voice[there], part)[0]
    print("| transcript | inputs | accuracy | R2 | mean change of a score |\n|---|---|---|---|---|")
    for name in kinds:
        for mode, values in scores[name].items():
            there = np.isfinite(values).all(axis=1) & np.isfinite(scores["as given"][mode]).all(axis=1)
            found = [measure(data.labels[there], values[there])[: len(TRAITS)].mean() for measure in (accuracy, r2)]
            change = np.abs(values - scores["as given"][mode])[there].mean()
            print(f"| {name} | {mode} | {found[0]:.4f} | {found[1]:.3f} | {change:.4f} |")


def measure_speed(data: TrainingData) -> None:
    began = time.process_time()
    model = load_voice_words(BUNDLE, TARGETS)
    print(f"load: {1e3 * (time.process_time() - began):.1f} ms")
    rows = [index for index in range(200) if np.isfinite(data.voice[index]).all()]
    for name, call in {
        "predict": lambda one: model.predict(data.voice[[one]], [data.transcripts[one]]),
        "explain": lambda one: model.explain(data.voice[one], data.transcripts[one]),
    }.items():
        spent = []
        for one in rows:
            began = time.process_time()
            call(one)
            spent.append(1e3 * (time.process_time() - began))
        median, most = np.quantile(spent, [0.5, 0.95])
        print(f"{name}: median {median:.2f} ms of processor time a clip, 95% under {most:.2f} ms")


def measure_concordance(data: TrainingData) -> None:
    """Print the mean over the five traits of CCC on unseen speakers, which the card does not have."""
    grouped = cross_predict(data, grouped_folds(data.speakers, NUM_FOLDS, 0), SHIPPED, 0)
    for mode, scores in grouped.items():
        there = np.isfinite(scores).all(axis=1)
        found = ccc(data.labels[there], scores[there])[: len(TRAITS)].mean()
        print(f"{mode}: CCC {found:.4f}, unseen speakers, {there.sum():,} clips", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("what", choices=["learners", "coverage", "concordance", "media", "transcripts", "speed"])
    parser.add_argument("--only", nargs="*", default=[], help="names of learners")
    given = parser.parse_args()
    data = load_training_data(given.data)
    if given.what == "learners":
        compare_learners(data, given.only)
    elif given.what == "coverage":
        measure_coverage(data)
    elif given.what == "concordance":
        measure_concordance(data)
    elif given.what == "media":
        measure_media(data, given.data / "clips")
    elif given.what == "transcripts":
        measure_transcripts(data)
    else:
        measure_speed(data)


if __name__ == "__main__":
    main()
