"""CR-Net's third stage: Extra Trees, a random forest or support vectors on the networks' features.

Source: Li et al. 2020 (CR-Net), sections 3.4 and 5.5, figure 11.

They are fitted by scikit-learn and kept as plain arrays, never as a pickle; predicting needs NumPy, or the nodes that
they add to an ONNX graph, and no scikit-learn.

Deviations: each target has its own estimator, which sees that target's features only (section 3.4: "the other traits
can be obtained in the same way"). What figure 11 says of the random forest and of SVR is only their names: here 1,000
trees with bootstrapping and scikit-learn's other settings, and an RBF kernel on standardised features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from thinslice.arrays import load_arrays
from thinslice.errors import MissingExtraError, UsageError
from thinslice.layers.onnx_graph import GraphWriter

Regressor = Literal["extra_trees", "random_forest", "svr"]

_ROWS_AT_ONCE: Final = 64
_LEAF: Final = -1
_MAX_NODES: Final = 180_000_000
"""An ONNX file cannot be larger than 2 GB; a node takes 8 bytes, and a network of full size 0.34 GB."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Regression trees of several targets in one table; the left child of a node is the next one.

    Attributes:
        roots: int32 (targets, trees), a tree's first node.
        feature: int16 (nodes,), which feature a node looks at; -1 in a leaf.
        threshold: float32 (nodes,): a value of it or less goes left. In a leaf, the leaf's score.
        right: uint16, or int32 where a tree is too large (nodes,): how far after a node its right child comes; 0 in a
            leaf.
        depth: longest way from a root to a leaf.
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    right: np.ndarray
    depth: int

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return scores (n, targets), the mean over the trees, of features (n, d)."""
        features = np.asarray(features, np.float32)
        parts = [self._predict(part) for part in np.array_split(features, max(-(-len(features) // _ROWS_AT_ONCE), 1))]
        return np.concatenate(parts)

    def _predict(self, features: np.ndarray) -> np.ndarray:
        node = np.broadcast_to(self.roots, (len(features), *self.roots.shape))
        rows = np.arange(len(features))[:, None, None]
        for _ in range(self.depth):
            feature = self.feature[node]
            goes_left = features[rows, np.maximum(feature, 0)] <= self.threshold[node]
            node = node + np.where((feature != _LEAF) & goes_left, 1, self.right[node].astype(np.int32))
        scores: np.ndarray = self.threshold[node].mean(-1, dtype=np.float64)
        return scores

    def save(self, folder: Path) -> None:
        """Write the table as trees.npz."""
        arrays = {"roots": self.roots, "feature": self.feature, "threshold": self.threshold, "right": self.right}
        np.savez_compressed(folder / "trees.npz", depth=np.array(self.depth), **arrays)  # type: ignore[arg-type]

    def add_to_graph(self, writer: GraphWriter, features: str) -> str:
        """Add the trees to an ONNX graph; return the name of the scores (targets,) for features (d,)."""
        from onnx import TensorProto, helper

        if len(self.feature) > _MAX_NODES:
            raise UsageError(f"{len(self.feature):,} nodes of trees do not fit into an ONNX file; fit fewer trees")
        tables = {name: writer.constant(getattr(self, name)) for name in ("feature", "threshold", "right")}
        leaf, one = writer.constant(np.array(_LEAF, np.int32)), writer.constant(np.array(1, np.int32))
        first = writer.constant(np.array(0, np.int32))
        body = GraphWriter(f"{writer.prefix}tree")
        node = f"{body.prefix}node"
        feature = body.add("Cast", body.add("Gather", tables["feature"], node), to=TensorProto.INT32)
        value = body.add("Gather", features, body.add("Max", feature, first))
        goes_left = body.add("LessOrEqual", value, body.add("Gather", tables["threshold"], node))
        goes_left = body.add("And", goes_left, body.add("Not", body.add("Equal", feature, leaf)))
        to_right = body.add("Cast", body.add("Gather", tables["right"], node), to=TensorProto.INT32)
        after = body.add("Add", node, body.add("Where", goes_left, one, to_right))
        going = f"{body.prefix}going"
        still = body.add("Identity", going)
        inputs = [
            helper.make_tensor_value_info(f"{body.prefix}turn", TensorProto.INT64, []),
            helper.make_tensor_value_info(going, TensorProto.BOOL, [1]),
            helper.make_tensor_value_info(node, TensorProto.INT32, self.roots.shape),
        ]
        outputs = [
            helper.make_tensor_value_info(still, TensorProto.BOOL, [1]),
            helper.make_tensor_value_info(after, TensorProto.INT32, self.roots.shape),
        ]
        walk = helper.make_graph(body.nodes, f"{body.prefix}walk", inputs, outputs)
        turns, yes = writer.constant(np.array(self.depth, np.int64)), writer.constant(np.array(True))
        leaves = writer.add("Loop", turns, yes, writer.constant(self.roots), body=walk)
        reached = writer.add("Gather", tables["threshold"], leaves)
        return writer.add("ReduceMean", reached, writer.constant(np.array([-1])), keepdims=0)


@dataclass(frozen=True, eq=False)
class SupportVectors:
    """Support vector regression with an RBF kernel, for several targets side by side.

    Attributes:
        mean: float32 (targets, f) of the training features.
        scale: their standard deviation.
        vectors: float32 (targets, s, f), standardised; rows of zeros where a target has fewer than s.
        weights: float32 (targets, s), 0 there.
        offset: float32 (targets,).
        gamma: of the kernel exp(-gamma |x - v|²), float32 (targets,).
    """

    mean: np.ndarray
    scale: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    gamma: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return scores (n, targets) of features (n, targets * f)."""
        x = (np.asarray(features, np.float32).reshape(len(features), *self.mean.shape) - self.mean) / self.scale
        columns = []
        for k in range(len(self.mean)):
            squares = (x[:, k] ** 2).sum(1)[:, None] + (self.vectors[k] ** 2).sum(1) - 2 * x[:, k] @ self.vectors[k].T
            columns.append(np.exp(-self.gamma[k] * squares) @ self.weights[k] + self.offset[k])
        return np.stack(columns, 1)

    def save(self, folder: Path) -> None:
        """Write the arrays as svr.npz."""
        np.savez_compressed(folder / "svr.npz", **self.__dict__)

    def add_to_graph(self, writer: GraphWriter, features: str) -> str:
        """Add the machine to an ONNX graph; return the name of the scores (targets,) for features (d,)."""
        shaped = writer.add("Reshape", features, writer.constant(np.array(self.mean.shape)))
        x = writer.add("Div", writer.add("Sub", shaped, writer.constant(self.mean)), writer.constant(self.scale))
        x = writer.add("Unsqueeze", x, writer.constant(np.array([1])))
        apart = writer.add("Sub", writer.constant(self.vectors), x)
        squares = writer.add("ReduceSum", writer.add("Mul", apart, apart), writer.constant(np.array([-1])), keepdims=0)
        kernel = writer.add("Exp", writer.add("Mul", squares, writer.constant(-self.gamma[:, None])))
        weighted = writer.add("Mul", kernel, writer.constant(self.weights))
        total = writer.add("ReduceSum", weighted, writer.constant(np.array([-1])), keepdims=0)
        return writer.add("Add", total, writer.constant(self.offset))


def fit_estimator(
    kind: Regressor, num_trees: int, max_features: int, features: np.ndarray, labels: np.ndarray, seed: int
) -> Forest | SupportVectors:
    """Fit one estimator per target.

    Args:
        kind: which.
        num_trees: k, 1,000 in the paper.
        max_features: m, features tried at each node of an extra tree, 512 in the paper; at most all.
        features: (n, targets * f), those of the first target first.
        labels: (n, targets), NaN where unknown.
        seed: of the trees.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        UsageError: a target without any label.
    """
    try:
        from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
    except ImportError:
        raise MissingExtraError("fitting trees", "train") from None

    num_targets = labels.shape[1]
    unknown = np.flatnonzero(np.isnan(labels).all(axis=0))
    if len(unknown):
        raise UsageError(
            f"no training clip is labelled with output {int(unknown[0]) + 1} of {num_targets}, and trees need all; "
            "fill its column of the manifest"
        )
    length = features.shape[1] // num_targets
    parts = [features[:, k * length : (k + 1) * length].astype(np.float32) for k in range(num_targets)]
    if kind == "svr":
        return _fit_svr(parts, labels)
    settings = {"n_estimators": num_trees, "random_state": seed, "n_jobs": -1}
    makes: dict[str, Callable[[], Any]] = {
        "extra_trees": lambda: ExtraTreesRegressor(max_features=min(max_features, length), **settings),
        "random_forest": lambda: RandomForestRegressor(**settings),
    }
    forests = []
    for k, part in enumerate(parts):
        known = ~np.isnan(labels[:, k])
        forests.append(makes[kind]().fit(part[known], labels[known, k]))
    return tabulate(forests, length)


def tabulate(forests: list[Any], length: int) -> Forest:
    """Return scikit-learn's fitted forests, one per target, as one table; target k's features begin at k * length."""
    roots, tables, depth, start = [], [], 0, 0
    for k, forest in enumerate(forests):
        for fitted in forest.estimators_:
            tree = fitted.tree_
            is_leaf = tree.children_left < 0
            places = np.arange(tree.node_count)
            if not (tree.children_left[~is_leaf] == places[~is_leaf] + 1).all():
                raise UsageError("this version of scikit-learn orders the nodes of its trees in another way")
            feature = np.where(is_leaf, _LEAF, tree.feature + k * length).astype(np.int16)
            threshold = np.where(is_leaf, tree.value[:, 0, 0].astype(np.float32), _rounded_down(tree.threshold))
            right = np.where(is_leaf, 0, tree.children_right - places)
            tables.append((feature, threshold.astype(np.float32), right.astype(np.int32)))
            roots.append(start)
            start += tree.node_count
            depth = max(depth, tree.max_depth)
    features, thresholds, rights = (np.concatenate(column) for column in zip(*tables, strict=True))
    if rights.max(initial=0) <= np.iinfo(np.uint16).max:
        rights = rights.astype(np.uint16)
    return Forest(np.array(roots, np.int32).reshape(len(forests), -1), features, thresholds, rights, depth)


def _rounded_down(values: np.ndarray) -> np.ndarray:
    # A feature is float32: it is at most a threshold where it is at most the float32 next below the threshold.
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _fit_svr(parts: list[np.ndarray], labels: np.ndarray) -> SupportVectors:
    from sklearn.svm import SVR

    rows = []
    for k, part in enumerate(parts):
        known = ~np.isnan(labels[:, k])
        mean, scale = part[known].mean(0), part[known].std(0) + 1e-6
        x = (part[known] - mean) / scale
        # Errors within a third of the labels' spread, 0.15, do not count.
        fitted = SVR(kernel="rbf", C=1.0, epsilon=0.05, gamma=1 / x.shape[1]).fit(x, labels[known, k])
        rows.append((mean, scale, fitted.support_vectors_, fitted.dual_coef_[0], fitted.intercept_[0], 1 / x.shape[1]))
    most = max(len(row[2]) for row in rows)
    padded = [np.pad(row[2], ((0, most - len(row[2])), (0, 0))) for row in rows]
    weights = [np.pad(row[3], (0, most - len(row[3]))) for row in rows]
    means, scales, offsets, gammas = ([row[i] for row in rows] for i in (0, 1, 4, 5))
    arrays = (np.asarray(entry, np.float32) for entry in (means, scales, padded, weights, offsets, gammas))
    return SupportVectors(*arrays)


def save_estimator(estimator: Forest | SupportVectors, folder: Path) -> None:
    """Write an estimator into a folder."""
    estimator.save(folder)


def load_estimator(folder: Path) -> Forest | SupportVectors:
    """Read an estimator back.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    is_forest = (folder / "trees.npz").is_file()
    path = folder / ("trees.npz" if is_forest else "svr.npz")
    try:
        arrays = load_arrays(path)
        if is_forest:
            return Forest(depth=int(arrays.pop("depth")), **arrays)
        return SupportVectors(**arrays)
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); go on with: thinslice train ... --resume") from error
