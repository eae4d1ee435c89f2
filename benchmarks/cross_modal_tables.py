"""Trains cross_modal's rows, prints Tables 1 and 2 beside the published figures and draws Figures 3 and 4.

    python benchmarks/cross_modal_tables.py MANIFEST STORE RUNS [--small] [--rows ROW ...] [--size NAME=VALUE ...]

RUNS gets a run per row, as `thinslice table cross_modal 1` leaves them, and tables.json, figure3.png and figure4_*.png;
what is finished there is not trained again. The row "cross-modal" gives "audio", "video", "text" and "audio+video+text"
too, from its earlier stages, and what a missing input costs and how far embeddings hold the extremes apart. On planted
clips the figures say what can be learned from which input, nothing about people. There only one input knows a trait, so
that no embedding of another can lie with it; with --mixed each label becomes a sum of the three that an input tells
(openness, agreeableness, neuroticism), its own weighted by 2, and every input knows a part of every trait. Needs the
extras ``train``, ``words`` and ``egemaps``.
"""

import argparse
import ast
import csv
import itertools
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from thinslice.evaluate.metrics import accuracy, r2
from thinslice.explain.embedding_map import measure_separation, plot_class_histograms, plot_embeddings
from thinslice.layers.metric_losses import trait_classes
from thinslice.systems.cross_modal.look import Look
from thinslice.systems.cross_modal.network import CrossModal
from thinslice.systems.cross_modal.recipe import cross_modal, hidden_of
from thinslice.systems.cross_modal.variants import ROWS, SMALL_PREFIX, TABLES
from thinslice.train.data import ClipData, Sampled
from thinslice.train.inputs import load_run_data
from thinslice.train.loop import train
from thinslice.train.recipe import Recipe
from thinslice.train.scoring import apply_to_clips
from thinslice.train.settings import LoopSettings
from thinslice.train.stage import load_weights
from thinslice.train.system import weights_of
from thinslice.traits import TRAITS

WHOLE, BASELINE = "cross-modal", "audio+video+text"
TOLD = {"audio": "neuroticism", "video": "openness", "text": "agreeableness"}
"""Modality -> the trait of planted clips that it tells these networks."""

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]
"""Split -> what `hidden_of_clips` returns."""

FROM_WHOLE = ("audio", "video", "text", BASELINE)
PUBLISHED = {(figure.variant, figure.metric, figure.target): figure.value for figure in cross_modal().published}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rows", nargs="*", default=[row for row in ROWS if row not in FROM_WHOLE])
    parser.add_argument("--size", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--seed", type=int)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    sizes = {}
    for entry in chosen.size:
        name, _, value = entry.partition("=")
        sizes[name] = ast.literal_eval(value) if value[:1].isdigit() else value

    scores: dict[str, np.ndarray] = {}
    document: dict[str, object] = {}
    for row in chosen.rows:
        recipe = cross_modal((SMALL_PREFIX if chosen.small else "") + row, **sizes)
        data, left_out = load_run_data(recipe, chosen.manifest, chosen.store)
        if chosen.mixed:
            splits = {split: replace(clips, labels=mixed(clips.labels)) for split, clips in data.splits.items()}
            data = replace(data, splits=splits, facts={**data.facts, "labels": "mixed"})
        counts = {split: len(clips) for split, clips in data.splits.items()}
        print(f"{row}: {counts}, {len(left_out)} clips left out", flush=True)
        settings = LoopSettings(
            device="cpu", resume=True, tensorboard=False, max_steps=chosen.max_steps, seed=chosen.seed
        )
        folder = train(recipe, data, chosen.runs / recipe.variant, settings)
        test, training = data.splits["test"], data.splits["train"]
        table = np.genfromtxt(folder.predictions("test"), delimiter=",", names=True, dtype=None, encoding="utf-8")
        scores[row] = np.stack([table[trait] for trait in TRAITS], 1)
        if row == WHOLE:
            model = recipe.build_model().eval()
            load_weights(model, weights_of(folder, "fused"))
            assert isinstance(model, CrossModal)
            hidden = {split: hidden_of_clips(model, recipe, clips) for split, clips in data.splits.items()}
            scores |= scores_by_stage(model, hidden["test"][0])
            document["missing"] = cost_of_missing(model, {split: hidden[split][0] for split in hidden}, data.splits)
            causes = chosen.manifest.parent / "causes.csv"
            document["separation"] = separation(model, hidden, data.splits, causes, chosen.mixed, chosen.runs)
    scores["training mean"] = np.broadcast_to(training.labels.mean(0), test.labels.shape)
    document["table1"] = table_1(test.labels, scores)
    if WHOLE in scores or BASELINE in scores:
        document["table2"] = table_2(test.labels, training.labels, scores)
    (chosen.runs / "tables.json").write_text(json.dumps(document, indent=1))


def mixed(labels: np.ndarray) -> np.ndarray:
    """Return labels (clips, traits) with all of `TOLD` in each, of the same spread where the traits are independent."""
    told = np.isin(TRAITS, list(TOLD.values())).astype(float)
    weights = np.diag(told) + told[:, None]
    return np.clip(0.5 + (labels - 0.5) @ (weights / np.linalg.norm(weights, axis=0)), 0, 1)


def hidden_of_clips(model: CrossModal, recipe: Recipe, clips: ClipData) -> tuple[np.ndarray, np.ndarray]:
    """Return what the networks give, (clips, modalities, Q), and which inputs are there, (clips, modalities)."""
    side = recipe.arguments["side"]
    assert isinstance(side, int)
    source = Sampled(clips, Look(tuple(recipe.features), side))
    rows = apply_to_clips(model, source, "test", hidden_of, seed=0, device=torch.device("cpu"))
    return np.stack([row["hidden"] for row in rows]), np.stack([row["present"] for row in rows]) > 0.5


def scores_by_stage(model: CrossModal, hidden: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of each modality's own head, of the fusion and of the whole system."""
    given = torch.from_numpy(hidden)
    with torch.no_grad():
        out = {name: model.heads[name](given[:, i]) for i, name in enumerate(model.modalities)}
        out[BASELINE] = model.score_fusion(given)
        out[WHOLE] = model.score_fused(given)
    return {name: np.clip(values.double().numpy(), 0, 1) for name, values in out.items()}


def cost_of_missing(model: CrossModal, hidden: dict[str, np.ndarray], splits) -> dict[str, object]:
    """Print what each absence costs on the test clips, and how wide the interval from the validation clips is."""
    print("\n| missing | accuracy | R² | " + " | ".join(TRAITS) + " | width | coverage |\n|" + "---|" * 10)
    out: dict[str, object] = {}
    validation, test = splits["validation"].labels, splits["test"].labels
    for gone in itertools.chain.from_iterable(itertools.combinations(range(3), n) for n in range(3)):
        found = {}
        for split in ("validation", "test"):
            values = hidden[split].copy()
            for i in gone:
                values[:, i] = model.stand_in[i].numpy()
            found[split] = scores_by_stage(model, values)[WHOLE]
        low, high = np.quantile(validation - found["validation"], [0.1, 0.9], axis=0)
        width = np.minimum(found["test"] + high, 1) - np.maximum(found["test"] + low, 0)
        covered = (test >= found["test"] + low) & (test <= found["test"] + high)
        each, explained = accuracy(test, found["test"]), r2(test, found["test"])
        name = " and ".join(model.modalities[i] for i in gone) or "nothing"
        cells = " | ".join(f"{value:+.2f}" for value in explained)
        summary = f"{each.mean():.4f} | {explained.mean():+.3f}"
        print(f"| {name} | {summary} | {cells} | {width.mean():.3f} | {covered.mean():.0%} |", flush=True)
        out[name] = {
            "accuracy": each.tolist(),
            "r2": explained.tolist(),
            "width": width.mean(0).tolist(),
            "coverage": covered.mean(0).tolist(),
        }
    return out


def separation(
    model: CrossModal, hidden: Pairs, splits: dict[str, ClipData], causes: Path, mix: bool, out: Path
) -> dict[str, object]:
    """Print how far the extremes are apart before and after the Siamese network; draw Figures 3 and 4."""
    mean, sd = model.class_mean, model.class_sd
    ends = ("silhouette", "all inputs", "within an input", "across inputs", "chance")
    print("\n| clips, trait, space | " + " | ".join(ends) + " |\n|---|" + "---|" * len(ends))
    found: dict[str, object] = {}
    for split in ("train", "test"):
        classes = trait_classes(torch.from_numpy(splits[split].labels).float(), mean, sd).numpy()
        spaces = spaces_of(model, *hidden[split])
        if causes.is_file():
            cues = cue_embeddings(causes, splits[split].clips, model.modalities, mix, sd.numpy())
            spaces["the cues themselves"] = cues
        for name, array in spaces.items():
            rows = []
            for k, trait in enumerate(TRAITS):
                of_trait = array[..., k, :] if array.ndim == 4 else array
                entry = measure_separation(of_trait, classes[:, k])
                alone = [measure_separation(of_trait[:, i : i + 1], classes[:, k]).retrieval for i in range(3)]
                found[f"{split}, {trait}, {name}"] = {
                    **asdict(entry),
                    "alone": dict(zip(model.modalities, alone, strict=True)),
                }
                rows.append((entry.silhouette, entry.retrieval, np.mean(alone), entry.across, entry.chance))
                if split == "test":
                    print(f"| {split}, {trait}, {name} | " + " | ".join(f"{value:.3f}" for value in rows[-1]) + " |")
            average = np.mean(rows, axis=0)
            print(f"| {split}, average, {name} | " + " | ".join(f"{value:.3f}" for value in average) + " |", flush=True)
        if split == "test":
            out.mkdir(parents=True, exist_ok=True)
            labels = {part: splits[part].labels for part in ("train", "test")}
            plot_class_histograms(labels, mean.tolist(), sd.tolist(), TRAITS).savefig(out / "figure3.png", dpi=120)
            k = TRAITS.index("neuroticism")
            for name in ("hidden", "embeddings"):
                figure = plot_embeddings(spaces[name], classes[:, k], model.modalities, f"neuroticism, {name}")
                figure.savefig(out / f"figure4_{name}.png", dpi=120)
    return found


def spaces_of(model: CrossModal, hidden: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the Siamese network gets and gives, (clips, modalities, d), NaN where an input is missing."""
    with torch.no_grad():
        # Of unit length, as the loss compares them.
        embedded = torch.nn.functional.normalize(model.embed(torch.from_numpy(hidden)), dim=2).numpy()
    return {
        "hidden": np.where(present[..., None], hidden, np.nan),
        "embeddings": np.where(present[..., None], embedded, np.nan),
    }


def cue_embeddings(
    causes: Path, clips: Sequence[str], modalities: Sequence[str], mix: bool, sd: np.ndarray
) -> np.ndarray:
    """Return what embeddings of planted clips could be at best: each input's own share of each label, as an angle.

    Returns:
        (clips, modalities, traits, 2), on the half circle from low to high; in its middle where the input tells
        nothing of the trait.
    """
    with causes.open(newline="") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file)}
    angles = np.zeros((len(clips), len(modalities), len(TRAITS)))
    for i, modality in enumerate(modalities):
        labels = np.full((len(clips), len(TRAITS)), 0.5)
        labels[:, TRAITS.index(TOLD[modality])] = [float(rows[clip][f"{TOLD[modality]}_expected"]) for clip in clips]
        angles[:, i] = np.pi / 2 * np.tanh(3 * ((mixed(labels) if mix else labels) - 0.5) / sd)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def table_1(labels: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, object]:
    """Print each row's accuracies, R² in brackets, and the published accuracies below it."""
    print("\n| row | " + " | ".join(TRAITS) + " | average |\n|---|" + "---|" * (len(TRAITS) + 1))
    out = {}
    for row in [*(row for row in ROWS if row in scores), "training mean"]:
        each, explained = accuracy(labels, scores[row]), r2(labels, scores[row])
        cells = " | ".join(f"{a:.4f} ({b:+.2f})" for a, b in zip(each, explained, strict=True))
        print(f"| {row} | {cells} | {each.mean():.4f} ({explained.mean():+.3f}) |")
        out[row] = {"accuracy": each.tolist(), "r2": explained.tolist()}
        theirs = [published(row, "accuracy", target) for target in (*TRAITS, "average")]
        if theirs[-1] != "–":
            print("| published | " + " | ".join(theirs) + " |")
    return out


def table_2(labels: np.ndarray, train_labels: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Print the accuracy on either extreme of the baseline and of the whole system, the published ones in brackets."""
    mean, sd = train_labels.mean(0), train_labels.std(0)
    ends = [f"{row}, {end}" for row in ("baseline", "ours") for end in ("all", "low", "high")]
    print("\n| trait | " + " | ".join(ends) + " | low, high clips |\n|---|" + "---|" * (len(ends) + 1))
    out: dict[str, float] = {}
    for k, trait in enumerate(TRAITS):
        masks = {
            "accuracy": np.ones(len(labels), bool),
            "accuracy_low_extreme": labels[:, k] < mean[k] - sd[k],
            "accuracy_high_extreme": labels[:, k] >= mean[k] + sd[k],
        }
        cells = []
        for row, (metric, mask) in itertools.product((BASELINE, WHOLE), masks.items()):
            if row in scores:
                value = out[f"{trait}, {row}, {metric}"] = accuracy(labels[mask], scores[row][mask])[k].item()
                cells.append(f"{value:.4f} ({published(row, metric, trait)})")
        counts = ", ".join(str(mask.sum()) for mask in list(masks.values())[1:])
        print(f"| {trait} | " + " | ".join(cells) + f" | {counts} |")
    return out


def published(row: str, metric: str, target: str) -> str:
    """Return a published figure, or a dash."""
    value = PUBLISHED.get((TABLES["1"].get(row, row), metric, target))
    return "–" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    main()
