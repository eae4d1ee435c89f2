"""How large CR-Net's 1,000 extra trees per target are on the corpus's 6,000 training clips, and how fast.

python benchmarks/cr_net_trees.py [NUM_FITTED]

A few trees are fitted to made-up features of 512 numbers; a fully grown tree has one leaf per clip whatever it learns.
The whole forest is those trees, repeated for six targets, so that files and times are measured and not computed.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from thinslice.layers.onnx_graph import GraphWriter
from thinslice.systems.cr_net.trees import Forest, fit_estimator
from thinslice.traits import TARGETS

NUM_CLIPS, NUM_FEATURES, NUM_TREES = 6_000, 512, 1_000


def repeat(forest: Forest, num_trees: int, num_targets: int) -> Forest:
    """Return a forest of one target's trees repeated until there are enough, for several targets."""
    times = num_trees * num_targets // forest.roots.size
    starts = np.arange(times)[:, None] * len(forest.feature) + forest.roots.reshape(1, -1)
    return replace(
        forest,
        roots=starts.astype(np.int32).reshape(num_targets, -1),
        feature=np.tile(forest.feature, times),
        threshold=np.tile(forest.threshold, times),
        right=np.tile(forest.right, times),
    )


def main(num_fitted: int) -> None:
    import onnxruntime
    from onnx import helper

    rng = np.random.default_rng(0)
    features = rng.normal(size=(NUM_CLIPS, NUM_FEATURES)).astype(np.float32)
    labels = 0.5 + 0.1 * features[:, :1] + 0.1 * rng.normal(size=(NUM_CLIPS, 1))
    began = time.process_time()
    fitted = fit_estimator("extra_trees", num_fitted, NUM_FEATURES, features, labels, 0)
    seconds = (time.process_time() - began) / num_fitted
    assert isinstance(fitted, Forest)
    print(f"{seconds:.2f} processor seconds to fit a tree, {len(fitted.feature) / num_fitted:,.0f} nodes in it")
    whole = repeat(fitted, NUM_TREES, len(TARGETS))
    print(f"{len(whole.feature):,} nodes of {whole.roots.size:,} trees, depth {whole.depth}")
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder))
        size = (Path(folder) / "trees.npz").stat().st_size / num_fitted * whole.roots.size
        print(f"trees.npz, compressed: {size / 2**20:.0f} MiB (from {num_fitted} trees)")
    began = time.perf_counter()
    whole.predict(features[:1])
    print(f"NumPy scores a clip in {time.perf_counter() - began:.2f} s")
    writer = GraphWriter("t")
    writer.add("Identity", whole.add_to_graph(writer, "features"), result="scores")
    info = helper.make_tensor_value_info
    model = writer.model([info("features", 1, [NUM_FEATURES])], [info("scores", 1, [len(TARGETS)])])
    graph = model.SerializeToString()
    print(f"in an ONNX graph: {len(graph) / 2**20:.0f} MiB")
    began = time.perf_counter()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter()
    (scores,) = session.run(None, {"features": features[0]})
    print(f"ONNX Runtime loads it in {loaded - began:.1f} s, scores a clip in {time.perf_counter() - loaded:.2f} s")
    print(f"largest difference from NumPy: {np.abs(scores - whole.predict(features[:1])[0]).max():.1e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
