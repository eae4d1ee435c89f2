"""Trains cross_modal's rows and prints Tables 1 and 2 beside the published figures, with what embeddings separate.

    python benchmarks/cross_modal_tables.py MANIFEST STORE OUT [--small] [--rows ROW ...] [--size NAME=VALUE ...]

Without --rows every row of Table 1 is trained; "cross-modal" alone gives "audio", "video", "text" and
"audio+video+text" too, from its earlier stages. OUT gets the runs, tables.json and the figures 3 and 4. A call that was
interrupted goes on. On planted clips the figures say what can be learned from which input, nothing about people.
Needs the extras ``train``, ``words`` and ``egemaps``.
"""

import argparse
import ast
import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from thinslice.evaluate.metrics import accuracy, r2
from thinslice.evaluate.published import load_published
from thinslice.explain.embedding_map import measure_separation, plot_class_histograms, plot_embeddings
from thinslice.metric_losses import trait_classes
from thinslice.models.cross_modal import CrossModal
from thinslice.recipes.cross_modal import ROWS, SMALL_PREFIX, Look, cross_modal, hidden_of
from thinslice.train.data import ClipData, Source
from thinslice.train.inputs import load_run_data
from thinslice.train.loop import Settings, train, weights_of
from thinslice.train.scoring import apply_to_clips
from thinslice.train.stage import load_weights
from thinslice.traits import TRAITS

WHOLE = "cross-modal"
FROM_WHOLE = ("audio", "video", "text", "audio+video+text")
NAMES = {WHOLE: "cross-modal (ours)"}


def hidden(model: CrossModal, recipe, clips: ClipData) -> tuple[np.ndarray, np.ndarray]:
    source = Source(clips, Look(tuple(recipe.features), recipe.arguments["side"]))
    rows = apply_to_clips(model, source, "test", hidden_of, seed=0, device=torch.device("cpu"))
    return np.stack([row["hidden"] for row in rows]), np.stack([row["present"] for row in rows]) > 0.5


def scores_by_stage(model: CrossModal, values: np.ndarray) -> dict[str, np.ndarray]:
    given = torch.from_numpy(values)
    with torch.no_grad():
        out = {name: model.heads[name](given[:, i]) for i, name in enumerate(model.modalities)}
        out["audio+video+text"] = model.score_fusion(given)
        out[WHOLE] = model.score_fused(given)
    return {name: np.clip(scores.double().numpy(), 0, 1) for name, scores in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rows", nargs="*", default=[row for row in ROWS if row not in FROM_WHOLE])
    parser.add_argument("--size", nargs="*", default=[], metavar="NAME=VALUE")
    chosen = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    sizes = {}
    for entry in chosen.size:
        name, _, value = entry.partition("=")
        sizes[name] = ast.literal_eval(value) if value[:1].isdigit() else value

    scores: dict[str, np.ndarray] = {}
    document: dict[str, object] = {}
    labels = train_labels = None
    for row in chosen.rows:
        recipe = cross_modal((SMALL_PREFIX if chosen.small else "") + row, **sizes)
        data, left_out = load_run_data(recipe, chosen.manifest, chosen.store)
        counts = {split: len(clips) for split, clips in data.splits.items()}
        print(f"{row}: {counts}, {len(left_out)} clips left out", flush=True)
        folder = train(recipe, data, chosen.out / row, Settings(device="cpu", resume=True, tensorboard=False))
        test = data.splits["test"]
        labels, train_labels = test.labels, data.splits["train"].labels
        table = np.genfromtxt(folder.predictions("test"), delimiter=",", names=True, dtype=None, encoding="utf-8")
        scores[row] = np.stack([table[trait] for trait in TRAITS], 1)
        if row == WHOLE:
            model = recipe.build_model().eval()
            load_weights(model, weights_of(folder, "fused"))
            document |= whole_system(model, recipe, data, scores, chosen.out)
    assert labels is not None
    assert train_labels is not None
    scores["training mean"] = np.broadcast_to(train_labels.mean(0), labels.shape)
    document["table1"] = table_1(labels, scores)
    document["table2"] = table_2(labels, train_labels, scores)
    (chosen.out / "tables.json").write_text(json.dumps(document, indent=1))


def whole_system(model: CrossModal, recipe, data, scores, out: Path) -> dict[str, object]:
    test, validation = data.splits["test"], data.splits["validation"]
    values, present = hidden(model, recipe, test)
    scores |= scores_by_stage(model, values)
    print("\nMissing inputs (test clips): accuracy, R², width of the 80% interval from the validation clips")
    held, _ = hidden(model, recipe, validation)
    missing = {}
    for gone in [(), *((i,) for i in range(3)), (0, 1), (0, 2), (1, 2)]:
        without, without_held = values.copy(), held.copy()
        for i in gone:
            without[:, i] = without_held[:, i] = model.stand_in[i].numpy()
        found, found_held = (scores_by_stage(model, given)[WHOLE] for given in (without, without_held))
        low, high = np.quantile(validation.labels - found_held, [0.1, 0.9], axis=0)
        name = ", ".join(model.modalities[i] for i in gone) or "none"
        missing[name] = {
            "accuracy": accuracy(test.labels, found).tolist(),
            "r2": r2(test.labels, found).tolist(),
            "width": (high - low).tolist(),
        }
        entry = missing[name]
        print(f"- {name}: " + ", ".join(f"{key} {np.mean(entry[key]):.4f}" for key in entry), flush=True)

    mean, sd = model.class_mean, model.class_sd
    classes = trait_classes(torch.from_numpy(test.labels).float(), mean, sd).numpy()
    with torch.no_grad():
        embedded = model.embed(torch.from_numpy(values)).numpy()
    raw, embedded = (np.where(present[..., None], array, np.nan) for array in (values, embedded))
    print("\nExtremes apart (test clips): silhouette, retrieval, retrieval across modalities; chance")
    separation = {}
    for k, trait in enumerate(TRAITS):
        for name, array in (("hidden", raw), ("embeddings", embedded)):
            found = separation[f"{trait}, {name}"] = asdict(measure_separation(array, classes[:, k]))
            shown = ", ".join(f"{found[key]:.3f}" for key in ("silhouette", "retrieval", "across"))
            print(f"- {trait}, {name}: {shown}; {found['chance']:.3f}")
    out.mkdir(parents=True, exist_ok=True)
    labels = {split: data.splits[split].labels for split in ("train", "test")}
    plot_class_histograms(labels, mean.tolist(), sd.tolist(), TRAITS).savefig(out / "figure3.png", dpi=120)
    k = TRAITS.index("neuroticism")
    for name, array in (("hidden", raw), ("embeddings", embedded)):
        figure = plot_embeddings(array, classes[:, k], model.modalities, f"neuroticism, {name}")
        figure.savefig(out / f"figure4_{name}.png", dpi=120)
    return {"missing": missing, "separation": separation}


def published(row: str, metric: str, target: str) -> str:
    for figure in load_published():
        wanted = ("cross_modal", NAMES.get(row, row), metric, target)
        if (figure.system, figure.variant, figure.metric, figure.target) == wanted:
            return f"{figure.value:.4f}"
    return "–"


def table_1(labels: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, object]:
    print("\n| row | " + " | ".join(TRAITS) + " | average | R² | published |\n|---|" + "---|" * (len(TRAITS) + 3))
    out = {}
    for row in [*(row for row in ROWS if row in scores), "training mean"]:
        each, explained = accuracy(labels, scores[row]), r2(labels, scores[row])
        cells = " | ".join(f"{a:.4f} ({b:+.2f})" for a, b in zip(each, explained, strict=True))
        theirs = published(row, "accuracy", "average")
        print(f"| {row} | {cells} | {each.mean():.4f} | {explained.mean():+.3f} | {theirs} |")
        out[row] = {"accuracy": each.tolist(), "r2": explained.tolist()}
    return out


def table_2(labels: np.ndarray, train_labels: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, object]:
    mean, sd = train_labels.mean(0), train_labels.std(0)
    print(
        "\n| trait | " + " | ".join(f"{row} {end} (published)" for row in ("A+V+T", "ours") for end in ("low", "high"))
    )
    out = {}
    for k, trait in enumerate(TRAITS):
        cells = []
        for row in ("audio+video+text", WHOLE):
            for end, mask in (("low", labels[:, k] < mean[k] - sd[k]), ("high", labels[:, k] >= mean[k] + sd[k])):
                if row in scores:
                    value = float(1 - np.abs(labels[mask, k] - scores[row][mask, k]).mean())
                    out[f"{trait}, {row}, {end}"] = value
                    cells.append(f"{value:.4f} ({published(row, f'accuracy_{end}_extreme', trait)})")
        print(f"| {trait} | " + " | ".join(cells) + " |")
    return out


if __name__ == "__main__":
    main()
