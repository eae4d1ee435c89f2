"""What CR-Net's streams reach together, from runs in which each was trained by itself: fusion and trees only.

python benchmarks/cr_net_fuse.py SCENE_RUN FACE_RUN AUDIO_TEXT_RUN

The streams share no weight and each has its own optimiser, so that training them together, as the variant "all" does,
is the same but for random numbers. The runs must be of one size and on one manifest, which is looked for where the
first run found it.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from thinslice.errors import UsageError
from thinslice.evaluate.metrics import score
from thinslice.systems.cr_net.network import CRNet
from thinslice.systems.cr_net.recipe import cr_net, fused_features, network_scores
from thinslice.systems.cr_net.trees import fit_estimator
from thinslice.train.data import Sampled
from thinslice.train.inputs import load_run_data
from thinslice.train.run import RunFolder
from thinslice.train.scoring import apply_to_clips


def outputs(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what the trees see, and the streams' averaged scores."""
    return {"features": fused_features(model, inputs), "scores": network_scores(model, inputs)}


def main(runs: list[RunFolder]) -> None:
    documents = [run.load() for run in runs]
    sizes = [{name: value for name, value in entry.arguments.items() if name != "variant"} for entry in documents]
    # The motion's gain concerns stacked frames alone; that of the first run, the scene's, is taken.
    if any({**other, "motion_gain": sizes[0]["motion_gain"]} != sizes[0] for other in sizes):
        raise UsageError("the runs are of different sizes; train the streams with the same settings")
    small = "small_" if documents[0].arguments["variant"].startswith("small_") else ""
    recipe = cr_net(f"{small}all", **sizes[0])
    network = recipe.build_model()
    assert isinstance(network, CRNet)
    state = {}
    for run in runs:
        for stage in sorted(run.path.glob("stages/joint_*")):
            state |= torch.load(stage / "last.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(state)
    origin = documents[0].sessions[-1].origin
    data, _ = load_run_data(recipe, Path(origin["manifest"]), Path(origin["store"]))
    seen, labels = {}, {}
    for split, clips in data.splits.items():
        source = Sampled(clips, recipe.sample, recipe.ragged)
        mode = "validation" if split == "train" else "test"
        rows = apply_to_clips(network, source, mode, outputs, seed=recipe.seed, device=torch.device("cpu"))
        seen[split] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        labels[split] = clips.labels
    print("R² of", ", ".join(recipe.outputs))
    for kind in ("extra_trees", "random_forest", "svr"):
        trees = (int(recipe.arguments["num_trees"]), int(recipe.arguments["max_features"]))
        fitted = fit_estimator(kind, *trees, seen["train"]["features"], labels["train"], recipe.seed)
        for split in set(seen) - {"train"}:
            predicted = np.clip(fitted.predict(seen[split]["features"]), 0, 1)
            print(kind, split, score(labels[split], predicted)["r2"].round(2))
    for split in set(seen) - {"train"}:
        predicted = np.clip(seen[split]["scores"], 0, 1)
        print("streams' own scores, averaged 7:5:3,", split, score(labels[split], predicted)["r2"].round(2))


if __name__ == "__main__":
    main([RunFolder(Path(path)) for path in sys.argv[1:]])
