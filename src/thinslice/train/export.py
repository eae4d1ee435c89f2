"""From a run to a bundle: the trained network as an ONNX graph, checked against PyTorch, with all that predict needs.

This is not part of `thinslice.infer`, which never imports PyTorch; the two meet in the bundle's format
(`thinslice.bundle`).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from thinslice import __version__
from thinslice.arrays import format_arrays
from thinslice.bundle import BundleDocument, BundleInput, Card, GraphComparison, Score, check_place, save_bundle
from thinslice.errors import UsageError, counted
from thinslice.features.extractor import find_extractor
from thinslice.features.spec import FeatureSpec
from thinslice.layers.onnx_graph import require_onnx, trace
from thinslice.train.data import ClipData
from thinslice.train.documents import RunDocument, SplitScores
from thinslice.train.recipe import Arrays, ClipReader, Estimator, FitStage, Mode, Predict, Recipe, Sample, Stage
from thinslice.train.run import RunFolder
from thinslice.train.stage import load_weights
from thinslice.train.system import predict_system, weights_of
from thinslice.traits import TARGETS

TOLERANCE: Final = 1e-4
"""Largest difference between the graph's scores and PyTorch's that a bundle is written with; as a share of the scores
where these are beyond 1, as an untrained network's are."""

FEATURE_TOLERANCE: Final = 1e-3
"""The same of the features that an estimator sees, as a share of the largest."""

Offsets = tuple[float, float]
"""Ends of an interval, from a score."""

_Z80: Final = 1.2815515655446004
"""Half the width of a normal distribution's middle 80%, in standard deviations."""


@dataclass(frozen=True)
class Exported:
    """A bundle and how well its graph agrees with PyTorch.

    Attributes:
        folder: the bundle.
        largest_difference: of any score, over the clips compared.
        num_compared: clips compared.
    """

    folder: Path
    largest_difference: float
    num_compared: int


def load_trained(recipe: Recipe, run: RunFolder) -> nn.Module:
    """Return a run's network with its final weights, in evaluation mode.

    Raises:
        UsageError: the run is not finished, or damaged.
    """
    networks = [stage.name for stage in recipe.stages if isinstance(stage, Stage)]
    model = recipe.build_model()
    if networks:
        load_weights(model, weights_of(run, networks[-1]))
    return model.eval()


def export_run(
    recipe: Recipe,
    run: RunFolder,
    out: Path,
    samples: Sequence[Arrays],
    *,
    name: str | None = None,
    validation: ClipData | None = None,
) -> Exported:
    """Write a run's bundle.

    Args:
        recipe: the run's.
        run: a finished run.
        out: the bundle's folder; an older bundle there is replaced.
        samples: inputs of clips, sampled as for the test, of different lengths where lengths are free: the graph is
            compared with PyTorch on these.
        name: of the bundle; by default the recipe's and its variant.
        validation: clips that say how wide the intervals are where inputs are missing, for a recipe that can do
            without; without them the spread of the labels does.

    Raises:
        UsageError: the run is not finished, `out` holds something else, nothing to compare with, or the graph's scores
            differ from PyTorch's by `TOLERANCE` or more.
        MissingExtraError: a package for export is not installed.
    """
    document = run.load()
    model = load_trained(recipe, run)
    last = recipe.stages[-1]
    estimator = last.load(run.stage(last.name) / "estimator") if isinstance(last, FitStage) else None
    graph = build_graph(recipe, model, samples, estimator)
    splits, labels = run.load_scores(), document.data.labels
    known = splits["validation"].residuals if "validation" in splits else {}
    residuals: dict[tuple[str, ...], Mapping[str, Offsets]] = {tuple(recipe.inputs): known}
    if validation is not None and len(validation):
        residuals |= residuals_of_parts(recipe, run, model, validation)
    return write_bundle(
        recipe,
        graph,
        model,
        samples,
        out,
        name=name or "-".join(filter(None, [recipe.name, recipe.variant])),
        percentiles=_percentiles(recipe, labels.quantiles, run),
        intervals=_intervals(recipe, residuals, labels.deviation),
        card=build_card(recipe, document, splits),
        estimator=estimator,
    )


@dataclass(frozen=True)
class _Without:
    """Samples a clip as one that lacks some inputs."""

    sample: Sample
    gone: Mapping[str, float]

    def __call__(self, clip: ClipReader, mode: Mode, rng: np.random.Generator) -> Arrays:
        arrays = self.sample(clip, mode, rng)
        return arrays | {name: np.full_like(arrays[name], value) for name, value in self.gone.items()}


def parts_of_inputs(recipe: Recipe) -> list[tuple[str, ...]]:
    """Return every combination of inputs that a recipe can score with, all of them first."""
    names = tuple(recipe.inputs)
    gone = itertools.chain.from_iterable(
        itertools.combinations(recipe.absent, n) for n in range(len(recipe.absent) + 1)
    )
    found = [tuple(name for name in names if name not in missing) for missing in gone]
    return [part for part in found if part]


def residuals_of_parts(
    recipe: Recipe, run: RunFolder, model: nn.Module, clips: ClipData
) -> dict[tuple[str, ...], dict[str, Offsets]]:
    """Return the 10% and 90% quantiles of label minus score with every combination of inputs but all of them."""
    out: dict[tuple[str, ...], dict[str, tuple[float, float]]] = {}
    for part in parts_of_inputs(recipe)[1:]:
        gone = {name: value for name, value in recipe.absent.items() if name not in part}
        lacking = replace(recipe, sample=_Without(recipe.sample, gone))
        scores = predict_system(lacking, run, model, clips, "test", seed=0, device=torch.device("cpu"))
        out[part] = {}
        for k, target in enumerate(recipe.outputs):
            if not np.isnan(clips.labels[:, k]).all():
                low, high = np.nanquantile(clips.labels[:, k] - scores[:, k], [0.1, 0.9])
                out[part][target] = (float(low), float(high))
    return out


def build_graph(recipe: Recipe, model: nn.Module, samples: Sequence[Arrays], estimator: Estimator | None = None) -> Any:
    """Return the ONNX model of a trained system: the recipe's own, or torch's trace of `predict` on a sample.

    Raises:
        UsageError: no sample to trace on, or an estimator that the recipe makes no graph of.
    """
    last = recipe.stages[-1]
    if estimator is not None and isinstance(last, FitStage):
        if last.build_graph is None:
            raise UsageError(f"{recipe.name}: its stage {last.name} fits an estimator that cannot be exported")
        return last.build_graph(model, estimator)
    if recipe.build_graph is not None:
        return recipe.build_graph(model)
    if not samples:
        raise UsageError(f"{recipe.name}: torch traces the network on a clip, and there is none")
    inputs = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in samples[0].items()}
    shapes = {name: {np.asarray(sample[name]).shape for sample in samples} for name in inputs}
    free = {
        name: [axis for axis in range(inputs[name].ndim) if len({shape[axis] for shape in found}) > 1]
        for name, found in shapes.items()
    }
    return trace(_OfOneClip(model, recipe.predict, tuple(inputs), recipe.ragged), inputs, free)


class _OfOneClip(nn.Module):
    """Adds the batch axis that a bundle's inputs lack."""

    def __init__(self, model: nn.Module, predict: Predict, names: tuple[str, ...], ragged: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.predict, self.names, self.ragged = model, predict, names, ragged

    def forward(self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None) -> Tensor:
        arrays = [array for array in (first, second, third) if array is not None]
        return predict_one(self.model, self.predict, dict(zip(self.names, arrays, strict=True)), self.ragged)


def predict_one(model: nn.Module, predict: Predict, inputs: Mapping[str, Tensor], ragged: Sequence[str]) -> Tensor:
    """Return the scores (outputs,) of one clip's inputs without a batch axis."""
    batch = {name: tensor[None] for name, tensor in inputs.items()}
    for name in set(ragged) & set(inputs):
        batch[f"{name}_length"] = torch.tensor([inputs[name].shape[0]])
    return predict(model, batch)[0]


def largest_difference(
    recipe: Recipe, graph: Any, model: nn.Module, samples: Sequence[Arrays], estimator: Estimator | None = None
) -> float:
    """Return the largest difference of any score between ONNX Runtime's and PyTorch's, over some clips.

    With an estimator the features are compared with PyTorch's, and the scores with the estimator's on the graph's own
    features: trees are steps, so that a feature that differs in its seventh digit may fall on the other side of a
    cut and move a score by a thousandth.

    Raises:
        UsageError: an estimator's features differ by `FEATURE_TOLERANCE` or more.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    last = recipe.stages[-1]
    predict = last.features if estimator is not None and isinstance(last, FitStage) else recipe.predict
    worst = 0.0
    for sample in samples:
        inputs = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in sample.items()}
        with torch.no_grad():
            expected = predict_one(model.eval(), predict, inputs, recipe.ragged).numpy()
        scores, *others = session.run(None, {name: sample[name] for name in names})
        if estimator is not None:
            features = np.asarray(others[0]).reshape(-1)
            apart = _largest(features - expected) / max(float(np.abs(expected).max()), 1e-6)
            if not apart < FEATURE_TOLERANCE:
                raise UsageError(
                    f"{recipe.name}: the graph's features differ from PyTorch's by {apart:g}; nothing is written"
                )
            expected = estimator.predict(features[None])[0]
        size = max(1.0, float(np.abs(expected).max()))
        worst = max(worst, _largest(np.asarray(scores).reshape(-1) - expected) / size)
    return worst


def _largest(differences: np.ndarray) -> float:
    largest = float(np.abs(differences).max())
    return float("inf") if np.isnan(largest) else largest


def write_bundle(
    recipe: Recipe,
    graph: Any,
    model: nn.Module,
    samples: Sequence[Arrays],
    out: Path,
    *,
    name: str,
    percentiles: Mapping[str, Sequence[float]],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]],
    card: Card,
    version: str = "1",
    estimator: Estimator | None = None,
) -> Exported:
    """Compare a graph with its network and write the bundle.

    Args:
        recipe: what the network is.
        graph: its ONNX model.
        model: the network.
        samples: inputs of clips to compare on.
        out: the folder.
        name: of the bundle.
        percentiles: output -> 101 quantiles of the training labels.
        intervals: labels of the inputs that are there, joined by "+" -> output -> offsets (low, high) of the 80%
            interval.
        card: for people; what is measured here is added.
        version: of the bundle.
        estimator: what a last `FitStage` fitted.

    Raises:
        UsageError: as `export_run`.
    """
    require_onnx()
    if not samples:
        raise UsageError("no clip to compare the graph with PyTorch on")
    check_place(out)
    worst = largest_difference(recipe, graph, model, samples, estimator)
    if not worst < TOLERANCE:
        raise UsageError(f"{name}: the exported graph's scores differ from PyTorch's by {worst:g}; nothing is written")
    specs = {name: _pinned(spec) for name, spec in (recipe.bundle_features or recipe.features).items()}
    files = {"model.onnx": graph.SerializeToString()}
    if recipe.absent:
        neutral = {name: np.full_like(samples[0][name], value) for name, value in recipe.absent.items()}
        files["neutral.npz"] = format_arrays(neutral)
    compared = GraphComparison(largest_difference=worst, num_clips=len(samples))
    document = BundleDocument(
        name=name,
        version=version,
        kind="onnx",
        outputs=recipe.outputs,
        inputs={
            feature: BundleInput.of(specs[feature], label, feature in recipe.absent)
            for feature, label in recipe.inputs.items()
        },
        neutral="neutral.npz" if recipe.absent else None,
        intervals={used: dict(entry) for used, entry in intervals.items()},
        percentiles={target: tuple(quantiles) for target, quantiles in percentiles.items()},
        card=msgspec.structs.replace(card, compared_with_pytorch=compared, code_version=__version__),
    )
    save_bundle(out, document, files)
    return Exported(out, worst, len(samples))


def _pinned(spec: FeatureSpec) -> FeatureSpec:
    """Return a feature whose parameters say which files they mean, where its extractor reads such."""
    pin = find_extractor(spec.extractor).pin
    return spec if pin is None else replace(spec, params=pin(spec.params))


def _percentiles(
    recipe: Recipe, quantiles: Mapping[str, Sequence[float]], run: RunFolder
) -> dict[str, Sequence[float]]:
    unlabelled = [target for target in recipe.outputs if target not in quantiles]
    if unlabelled:
        raise UsageError(f"{run.path}: was trained without any label of {', '.join(unlabelled)}; it cannot be exported")
    return {target: quantiles[target] for target in recipe.outputs}


def _intervals(
    recipe: Recipe,
    residuals: Mapping[tuple[str, ...], Mapping[str, Offsets]],
    deviation: Mapping[str, float],
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return for every combination of inputs the middle 80% of the validation clips' residuals.

    Without these, that of the labels about their mean. No interval lies within one of more inputs: where chance has it
    so, it is widened to it.
    """
    found: dict[tuple[str, ...], dict[str, tuple[float, float]]] = {}
    for part in parts_of_inputs(recipe):
        more = [entry for other, entry in found.items() if set(part) < set(other)]
        found[part] = {}
        for target in recipe.outputs:
            spread = _Z80 * deviation[target]
            low, high = residuals.get(part, {}).get(target, (-spread, spread))
            low = min([low, 0.0, *(entry[target][0] for entry in more)])
            high = max([high, 0.0, *(entry[target][1] for entry in more)])
            found[part][target] = (round(low, 4), round(high, 4))
    return {"+".join(dict.fromkeys(recipe.inputs[name] for name in part)): entry for part, entry in found.items()}


def _predicts(recipe: Recipe) -> str:
    """Return the sentence on what a recipe predicts, where that is not the Big Five."""
    own = [name for name in recipe.outputs if name not in TARGETS]
    return f" Predicts {', '.join(recipe.outputs)}, as its training clips were rated." if own else ""


def build_card(recipe: Recipe, document: RunDocument, splits: Mapping[str, SplitScores]) -> Card:
    """Return a run's card, from its run.json and the splits of its scores.json."""
    data, origin = document.data, document.data.origin
    clips = ", ".join(f"{count:,} {split}" for split, count in data.num_clips.items())
    scores = []
    for split, entry in splits.items():
        accuracy, r2 = ({} if value is None else {"average": round(value, 4)} for value in (entry.accuracy, entry.r2))
        scores.append(Score(clips=f"{split}, {counted(entry.num_clips, 'clip')}", accuracy=accuracy, r2=r2))
    source = "the labels' spread: the run had no validation clips"
    if "validation" in splits:
        source = f"residuals of {splits['validation'].num_clips} validation clips, used to choose epochs as well"
    if recipe.absent:
        source += "; with fewer inputs, of the same clips without them where the export had them"
    # Of clips that chose nothing, where there are any; with all inputs, on which the clips were scored.
    quoted = next((splits[split].r2 for split in ("test", "validation") if split in splits), None)
    digests = {"manifest": origin.get("manifest_digest"), "labels": data.labels.digest}
    return Card(
        summary=f"{recipe.name}, variant {recipe.variant}: {' and '.join(recipe.inputs.values())}.{_predicts(recipe)}",
        paper=recipe.paper,
        trained_on=f"{origin.get('manifest', 'clips')} ({clips})",
        num_training_clips=data.num_clips.get("train"),
        synthetic=bool(origin.get("synthetic")),
        r2={} if quoted is None else {"+".join(dict.fromkeys(recipe.inputs.values())): round(quoted, 4)},
        scores=tuple(scores),
        interval_source=source,
        limits=(
            "Predicts how strangers judge a person at first sight, not who the person is.",
            *filter(None, [recipe.limits]),
        ),
        licence="that of the clips it was trained on",
        digests={name: digest for name, digest in digests.items() if digest},
        source_sha256=document.code.source_sha256,
        seed=document.seed,
    )
