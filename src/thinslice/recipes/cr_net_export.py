"""A trained CR-Net, with its trees, as one ONNX graph, and as a bundle that predict runs without PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec
from thinslice.models.cr_net import STREAM_INPUTS, CRNet
from thinslice.models.onnx_graph import GraphWriter, require_onnx, trace
from thinslice.recipes.cr_net import fused_features
from thinslice.recipes.cr_net_trees import Forest, SupportVectors, load_estimator
from thinslice.train.export import Exported, export_run
from thinslice.train.recipe import Arrays, FitStage, Recipe
from thinslice.train.run import RunFolder
from thinslice.traits import TARGETS

Estimator = Forest | SupportVectors

FEATURE_TOLERANCE: Final = 1e-3
"""Largest difference between the graph's features and PyTorch's, as a share of the largest feature."""

INPUTS: Final = ("frames", "faces", "waveform", "text")


class _OneClip(nn.Module):
    """Scores and features of one clip's inputs, which have no batch axis."""

    def __init__(self, network: CRNet, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(
        self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None, fourth: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        given = [entry for entry in (first, second, third, fourth) if entry is not None]
        output = self.network.fuse({name: entry[None] for name, entry in zip(self.names, given, strict=True)})
        return output.scores[0], output.features[0].flatten()


def input_names(network: CRNet) -> tuple[str, ...]:
    """Return the names of a network's inputs, in the graph's order."""
    needed = {name for stream in network.shape.streams for name in STREAM_INPUTS[stream]}
    return tuple(name for name in INPUTS if name in needed)


def build_cr_net_graph(network: CRNet, side: int, estimator: Estimator | None, num_text: int = 384) -> Any:
    """Return the ONNX model of a network and, where there is one, of the estimator on its features.

    Args:
        network: the trained network.
        side: of its pictures, pixels.
        estimator: the third stage; None for the network's own scores.
        num_text: length of the words' vector.

    Returns:
        A model of one clip: "frames" and "faces" uint8 (frames, side, side, 3), "waveform" float32 (samples,) of any
        length, "text" float32 (num_text,); "scores" (targets,) and "features" (targets * features,).
    """
    require_onnx()
    from onnx import TensorProto, checker, helper

    shape = network.shape
    pictures = torch.zeros(shape.num_frames, side, side, 3, dtype=torch.uint8)
    # torch takes one tensor given twice for one input.
    examples = {
        "frames": pictures,
        "faces": pictures.clone(),
        "waveform": torch.zeros(max(shape.num_samples // 2, 2)),
        "text": torch.zeros(num_text),
    }
    inputs = {name: examples[name] for name in input_names(network)}
    dynamic = {"waveform": [0]} if "waveform" in inputs else {}
    model = trace(_OneClip(network, tuple(inputs)), inputs, dynamic, ("network_scores", "features"))
    writer = GraphWriter("t")
    scores = "network_scores" if estimator is None else estimator.add_to_graph(writer, "features")
    writer.add("Identity", scores, result="scores")
    model.graph.node.extend(writer.nodes)
    model.graph.initializer.extend(writer.constants)
    features = next(entry for entry in model.graph.output if entry.name == "features")
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, [len(TARGETS)]))
    model.graph.output.append(features)
    checker.check_model(model)
    return model


def export_cr_net(recipe: Recipe, run: RunFolder, out: Path, samples: Sequence[Arrays]) -> Exported:
    """Write the bundle of a finished run, its trees included; see `thinslice.train.export.export_run`.

    The bundle looks at the centre of each segment only, as a test does; a training keeps more frames.

    Args:
        recipe: the run's.
        run: the finished run.
        out: the bundle's folder.
        samples: inputs of clips as the test samples them, which the graph is compared with PyTorch on.

    Raises:
        UsageError: as `export_run`.
    """
    last = recipe.stages[-1]
    estimator = load_estimator(run.stage(last.name) / "estimator") if isinstance(last, FitStage) else None
    num_text = len(samples[0]["text"]) if samples and "text" in samples[0] else 384
    build = partial(_build, int(str(recipe.arguments["side"])), estimator, num_text)
    compared: dict[str, Any] = {"build_graph": build}
    if estimator is not None:
        compared["predict"] = _Reference(build, estimator)
    exported = replace(
        recipe,
        stages=tuple(stage for stage in recipe.stages if not isinstance(stage, FitStage)),
        features=bundle_features(recipe),
        **compared,
    )
    return export_run(exported, run, out, samples)


def bundle_features(recipe: Recipe) -> dict[str, FeatureSpec]:
    """Return what a bundle computes of a clip: the segments' centres."""
    changed: dict[str, dict[str, Any]] = {
        "frames": {"num_frames": recipe.arguments["num_frames"]},
        "faces": {"draws": 1},
    }
    return {
        name: replace(spec, params={**spec.params, **changed.get(name, {})}) for name, spec in recipe.features.items()
    }


def _build(side: int, estimator: Estimator | None, num_text: int, network: nn.Module) -> Any:
    assert isinstance(network, CRNet)
    return build_cr_net_graph(network, side, estimator, num_text)


class _Reference:
    """What a graph with trees must say: PyTorch's features, and the estimator on the graph's own.

    Trees are steps: a feature that differs in its seventh digit may fall on the other side of a cut, and move a score
    by a thousandth. So features are compared with PyTorch's, scores with those of the estimator on the same features.
    """

    def __init__(self, build: Callable[[nn.Module], Any], estimator: Estimator) -> None:
        self.build, self.estimator = build, estimator
        self.session: Any = None

    def __call__(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        import onnxruntime

        if self.session is None:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            graph = self.build(network).SerializeToString()
            self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in self.session.get_inputs()]
        (features,) = self.session.run(["features"], {name: inputs[name][0].numpy() for name in names})
        expected = fused_features(network, inputs)[0].numpy()
        worst = float(np.abs(features - expected).max() / max(float(np.abs(expected).max()), 1e-6))
        if not worst < FEATURE_TOLERANCE:
            raise UsageError(f"the exported graph's features differ from PyTorch's by {worst:g}; nothing is written")
        return torch.from_numpy(self.estimator.predict(features[None]).astype(np.float32))
