"""The clips of docs/groups.md that all models can score, what is known of them, and what is computed of both."""

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from thinslice.data.first_impressions import import_first_impressions
from thinslice.data.manifest import Manifest, load_manifest, save_manifest
from thinslice.evaluate import bootstrap, metrics
from thinslice.evaluate.attribute_share import attribute_shares
from thinslice.evaluate.bootstrap import Draws
from thinslice.evaluate.calibration import fit_calibration
from thinslice.evaluate.groups import UNKNOWN, ordered_groups
from thinslice.evaluate.panel import Resampling, System, score_systems
from thinslice.traits import TARGETS, TRAITS
from thinslice.voice_words.additive import fit_additive, kernel_of
from thinslice.voice_words.model import MODES
from thinslice.voice_words.spoken_words import pace
from thinslice.voice_words.text_function import Z_LIMIT as PACE_LIMIT
from thinslice.voice_words.text_function import NGrams
from thinslice.voice_words.trainer import (
    TrainingData,
    VoiceWordsSettings,
    fit_voice_part,
    fit_words_parts,
    grouped_folds,
    load_training_data,
)
from thinslice.voice_words.voice_function import Z_LIMIT, bumps, transform

NUM_FOLDS = 5
MODELS = ("voice", "words", "voice+words")
PLAIN = "plain"
AGE_BINS = {
    "0-6": "0-18",
    "7-13": "0-18",
    "14-18": "0-18",
    "46-60": "46+",
    "61+": "46+",
}
"""Age groups of fewer than 50 speakers join their neighbours."""


def age_bins(manifest: Manifest) -> list[str]:
    return [AGE_BINS.get(cell, cell) for cell in manifest.columns["age_group"]]


def equal_weights(groups: list[str]) -> np.ndarray:
    """Return weights by which every group counts as much as any other, 1 on average; unknown clips weigh 1."""
    cells = np.array(groups)
    weights = np.ones(len(cells))
    names = [name for name in np.unique(cells) if name]
    known = np.count_nonzero(cells != "")
    for name in names:
        weights[cells == name] = known / len(names) / np.count_nonzero(cells == name)
    return weights


def fit_predict(
    train: TrainingData, test: TrainingData, weights: Mapping[str, np.ndarray], settings: VoiceWordsSettings
) -> dict[str, np.ndarray]:
    """Return "MODE WEIGHTING" -> scores (n, 6) of test clips by the bundled model's learner, NaN where it lacks input.

    A clip of weight w has its noise, its own and what its speaker's clips share, divided by w: two clips of weight 1
    that agree say as much as one of weight 2. With weights of 1 it is `fit_voice_words`, but for rounding.
    """
    heard = np.isfinite(train.voice).all(axis=1)
    said = np.array([bool(words) for words in train.words])
    arrays, parts = fit_voice_part(train.voice, heard, settings, 0)
    more, texts = fit_words_parts(train, said, settings, 0)
    arrays |= more
    parts |= texts
    there = {"voice": np.isfinite(test.voice).all(axis=1), "words": np.array([bool(w) for w in test.words])}
    profiles = transform(np.where(there["voice"][:, None], test.voice, 1.0))
    profiles = np.clip((profiles - arrays["voice_mean"]) / arrays["voice_scale"], -Z_LIMIT, Z_LIMIT)
    new = {
        "voice": np.hstack(
            [
                bumps(profiles, arrays[f"voice_centres{i}"], gamma) @ parts["voice"].bases[i]
                for i, gamma in enumerate(arrays["voice_gammas"])
            ]
        )
    }
    numbers = np.array([pace(words) for words in test.words])
    numbers = np.clip((numbers - arrays["pace_mean"]) / arrays["pace_scale"], -PACE_LIMIT, PACE_LIMIT)
    new["pace"] = bumps(numbers, arrays["pace_centres"], settings.pace_gamma) @ parts["pace"].bases[0]
    for kind in settings.min_clips:
        new[kind] = _ngrams(test, kind, arrays)
    kernels = {name: kernel_of(part.features) for name, part in parts.items()}
    scales = {"voice": 1.0, **settings.scales, "weights": 1.0}
    result = {}
    for mode in MODES:
        names = [name for name in parts if ("voice" if name == "voice" else "words") in mode]
        rows = np.flatnonzero((heard | ("voice" not in mode)) & (said | ("words" not in mode)))
        own = {name: kernels[name][np.ix_(rows, rows)] for name in names}
        usable = np.logical_and.reduce([there[name] for name in mode.split("+")])
        for weighting, all_weights in weights.items():
            noise = settings.noise[mode]
            if weighting != PLAIN:
                root = np.sqrt(all_weights[rows])
                same = train.speakers[rows][:, None] == train.speakers[rows]
                shared = noise * (settings.speaker_noise * same + (1 - settings.speaker_noise) * np.eye(len(rows)))
                own["weights"] = (shared * (1 / np.outer(root, root) - 1)).astype(np.float32)
            constant, duals = fit_additive(
                own, train.labels[rows], train.speakers[rows], scales, noise, settings.speaker_noise
            )
            scores = constant + sum(
                new[name] @ (scales[name] * (parts[name].features[rows].T @ duals)) for name in names
            )
            result[f"{mode} {weighting}"] = np.where(usable[:, None], np.clip(scores, 0.0, 1.0), np.nan)
    return result


def _ngrams(test: TrainingData, kind: str, arrays: Mapping[str, np.ndarray]) -> csr_matrix:
    grams = arrays[f"{kind}_grams"].tobytes().decode().split("\n")
    block = NGrams(kind, {gram: i for i, gram in enumerate(grams)}, arrays[f"{kind}_idf"].astype(np.float64))
    found = [block.values(words)[1:] for words in test.words]
    starts = np.cumsum([0, *(len(columns) for columns, _ in found)])
    columns, values = (np.concatenate(part) for part in zip(*found, strict=True))
    return csr_matrix((values, columns, starts), shape=(len(found), len(grams)))


def predict(data_folder: Path, out: Path) -> None:
    """Write the manifest, the out-of-fold predictions, and those of models that two folds were kept from."""
    (out / "parts").mkdir(parents=True, exist_ok=True)
    manifest = import_first_impressions(data_folder).manifest.select("train")
    save_manifest(manifest, out / "fi.csv")
    data = load_training_data(data_folder)
    place = {clip: i for i, clip in enumerate(manifest.clips)}
    order = [place[clip] for clip in data.clips]
    ages, genders = age_bins(manifest), manifest.columns["gender"]
    weights = {
        PLAIN: np.ones(len(order)),
        "age": equal_weights([ages[i] for i in order]),
        "gender": equal_weights([genders[i] for i in order]),
    }
    folds = grouped_folds(data.speakers, NUM_FOLDS, 0)
    pairs = list(itertools.combinations(range(NUM_FOLDS), 2))
    for left_out in [*((fold,) for fold in range(NUM_FOLDS)), *pairs]:
        path = out / "parts" / f"without-{'-'.join(map(str, left_out))}.npz"
        if path.is_file():
            continue
        kept, held = (np.flatnonzero(np.isin(folds, left_out) == flag) for flag in (False, True))
        wanted = weights if len(left_out) == 1 else {PLAIN: weights[PLAIN]}
        some = {name: values[kept] for name, values in wanted.items()}
        scores = fit_predict(data.subset(kept), data.subset(held), some, VoiceWordsSettings())
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, rows=held, **scores)
        temporary.replace(path)
        print(f"wrote {path}", flush=True)
    for name in [f"{mode} {weighting}" for mode in MODES for weighting in weights]:
        scores = np.full(data.labels.shape, np.nan)
        for fold in range(NUM_FOLDS):
            with np.load(out / "parts" / f"without-{fold}.npz") as part:
                scores[part["rows"]] = part[name]
        mode, weighting = name.split()
        path = out / f"{mode}.csv" if weighting == PLAIN else out / f"{mode}-weighted-by-{weighting}.csv"
        _write_predictions(path, data.clips, scores)


def _write_predictions(path: Path, clips: tuple[str, ...], scores: np.ndarray) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", *TARGETS])
        for clip, row in zip(clips, scores, strict=True):
            if np.isfinite(row).all():
                writer.writerow([clip, *row.round(6)])


@dataclass(frozen=True)
class Study:
    """The clips that all three models can score, in the manifest's order, and what is known of them.

    Attributes:
        clips: names.
        labels: (n, 6).
        speakers: of each clip.
        attributes: name -> group of each clip, UNKNOWN where nothing is known.
        scores: prediction file -> (n, 6), out of fold.
        folds: (n,), of speakers.
        inner: mode -> (fold, n, 6): scores by models that met neither the clip's fold nor that fold; NaN in that fold.
    """

    clips: tuple[str, ...]
    labels: np.ndarray
    speakers: np.ndarray
    attributes: Mapping[str, np.ndarray]
    scores: Mapping[str, np.ndarray]
    folds: np.ndarray
    inner: Mapping[str, np.ndarray]

    @cached_property
    def everybody(self) -> np.ndarray:
        return np.full(len(self.clips), "everybody")

    def known(self, attribute: str) -> np.ndarray:
        return np.flatnonzero(self.attributes[attribute] != UNKNOWN)


def load_study(data_folder: Path, out: Path) -> Study:
    if not (out / "fi.csv").is_file():
        raise SystemExit(f"{out}: run 'predict' first")
    manifest, data = load_manifest(out / "fi.csv"), load_training_data(data_folder)
    place = {clip: i for i, clip in enumerate(data.clips)}
    order = np.array([place[clip] for clip in manifest.clips])
    folds = grouped_folds(data.speakers, NUM_FOLDS, 0)
    parts = {
        left_out: dict(np.load(out / "parts" / f"without-{'-'.join(map(str, left_out))}.npz"))
        for left_out in itertools.combinations(range(NUM_FOLDS), 2)
    }
    inner = {mode: np.full((NUM_FOLDS, *data.labels.shape), np.nan) for mode in MODELS}
    for (one, other), part in parts.items():
        rows = part["rows"]
        for mode in MODELS:
            for outer, fold in ((one, other), (other, one)):
                chosen = folds[rows] == fold
                inner[mode][outer, rows[chosen]] = part[f"{mode} {PLAIN}"][chosen]
    scores = {}
    for path in sorted(out.glob("*.csv")):
        if path.name != "fi.csv":
            scores[path.stem] = _read_predictions(path, manifest.clips)
    complete = np.flatnonzero(np.all([np.isfinite(table).all(axis=1) for table in scores.values()], axis=0))
    likeable = _read_column(data_folder / "mood_train.csv", "likeability", manifest.clips)
    columns = {
        "age": age_bins(manifest),
        "gender": list(manifest.columns["gender"]),
        "valence": list(manifest.columns["valence"]),
        "arousal": list(manifest.columns["arousal"]),
        "likeability": likeable,
    }
    columns["age and gender"] = _crossed(columns["age"], columns["gender"])
    columns["valence and arousal"] = _crossed(columns["valence"], columns["arousal"])
    return Study(
        clips=tuple(manifest.clips[i] for i in complete),
        labels=manifest.labels()[complete],
        speakers=np.array(manifest.speakers)[complete],
        attributes={name: np.array([cells[i] or UNKNOWN for i in complete]) for name, cells in columns.items()},
        scores={name: table[complete] for name, table in scores.items()},
        folds=folds[order][complete],
        inner={mode: table[:, order][:, complete] for mode, table in inner.items()},
    )


def _read_predictions(path: Path, clips: Sequence[str]) -> np.ndarray:
    with path.open(newline="") as file:
        table = {row["clip"]: [float(row[target]) for target in TARGETS] for row in csv.DictReader(file)}
    return np.array([table.get(clip, [np.nan] * len(TARGETS)) for clip in clips])


def _read_column(path: Path, name: str, clips: Sequence[str]) -> list[str]:
    with path.open(newline="") as file:
        table = {row["clip"]: row[name] for row in csv.DictReader(file)}
    return [table.get(clip, "") for clip in clips]


def _crossed(one: Sequence[str], other: Sequence[str]) -> list[str]:
    return [f"{a} {b}" if a and b else "" for a, b in zip(one, other, strict=True)]


def stacked(study: Study, rows: np.ndarray, groups: np.ndarray, mode: str | None) -> np.ndarray:
    """Return the best linear guess of labels from a model's scores and the groups, (rows, 6), cross-fitted.

    A clip's guess comes from shifts and scales that were fitted on other speakers' clips, and those clips' scores from
    models that met neither them nor this clip's fold: nothing knows the clip's speaker. `mode` None: groups alone.
    """
    out = np.empty((len(rows), len(TARGETS)))
    for fold in range(NUM_FOLDS):
        held, kept = (np.flatnonzero((study.folds[rows] == fold) == flag) for flag in (True, False))
        if mode is None:
            fit_on, new = (np.zeros((len(part), len(TARGETS))) for part in (kept, held))
        else:
            fit_on, new = study.inner[mode][fold, rows[kept]], study.scores[mode][rows[held]]
        fitted = fit_calibration(study.labels[rows[kept]], fit_on, study.speakers[rows[kept]], groups[rows[kept]])
        out[held] = fitted.apply(new, groups[rows[held]])
    return out


def compare(study: Study, rows: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[dict, dict, dict]:
    """Return the panels of two systems and their paired differences."""
    systems = {"one": System(one), "other": System(other)}
    panels, differences = score_systems(study.labels[rows], systems, study.speakers[rows], RESAMPLING, "one")
    return panels["one"], panels["other"], differences["other"]


RESAMPLING = Resampling(2000, 0)


def share_of(study: Study, attribute: str, mode: str, rows: np.ndarray) -> dict:
    groups = study.attributes[attribute][rows].tolist()
    return attribute_shares(study.labels[rows], study.scores[mode][rows], study.speakers[rows], groups, RESAMPLING)


def mean_draws(study: Study, values: np.ndarray, rows: np.ndarray, groups: np.ndarray) -> tuple[list[str], Draws]:
    """Return the groups and the draws (..., G, 6) of the mean of `values` (n, 6) in each."""
    names = ordered_groups(groups[rows].tolist())
    index, count = bootstrap.speaker_index(study.speakers[rows].tolist())
    sums = np.stack(
        [
            bootstrap.group_sums(metrics.clip_sums(np.zeros_like(values[rows]), values[rows]) * mask, index, count)
            for mask in ((groups[rows] == name)[:, None, None] for name in names)
        ],
        axis=1,
    )
    return names, bootstrap.draw(sums, RESAMPLING.num_resamples, RESAMPLING.seed)["bias"]


def mitigated(study: Study, mode: str, attribute: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return name -> scores (rows, 6) of what can be done about one attribute."""
    groups = study.attributes[attribute]
    return {
        "as it is": study.scores[mode][rows],
        "calibrated": stacked(study, rows, groups, mode),
        "reweighted": study.scores[f"{mode}-weighted-by-{attribute}"][rows],
        "levelled": levelled(study, mode, rows, groups),
    }


def levelled(study: Study, mode: str, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return scores whose mean is the same in every group: each group's excess, seen on other speakers, taken away."""
    scores = study.scores[mode][rows]
    out = scores.copy()
    for fold in range(NUM_FOLDS):
        held, kept = study.folds[rows] == fold, study.folds[rows] != fold
        for name in np.unique(groups[rows]):
            own = groups[rows] == name
            out[held & own] -= scores[kept & own].mean(axis=0) - scores[kept].mean(axis=0)
    return np.clip(out, 0.0, 1.0)


def gap_draws(
    study: Study, scores: np.ndarray, rows: np.ndarray, groups: np.ndarray, of_bias: bool
) -> tuple[Draws, float]:
    """Return the draws (...,) of the mean over traits of the gap in bias, or in the mean prediction, between groups.

    And how wide luck alone makes it in one of twenty cases where the groups are equal.
    """

    def gap(means: np.ndarray) -> np.ndarray:
        return np.ptp(means, axis=-2)[..., : len(TRAITS)].mean(axis=-1)

    values = np.full((len(study.clips), len(TARGETS)), np.nan)
    values[rows] = scores - (study.labels[rows] if of_bias else 0.0)
    _, draws = mean_draws(study, values, rows, groups)
    return draws.map(gap), float(np.percentile(gap(draws.samples - draws.point), 95))


REMEDIES = {"as it is": "#1b1f24", "calibrated": "#0072b2", "reweighted": "#e69f00", "levelled": "#d55e00"}
