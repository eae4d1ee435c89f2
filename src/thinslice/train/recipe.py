"""What a published system is: its inputs, its network, its stages and its figures, as plain frozen values.

A recipe is made by a function (see `thinslice.systems.RECIPES`) and run by `thinslice.train.loop.train`, the only
training loop. All that is unusual about a system is in functions that its recipe names: how a clip becomes an input
(`Sample`), what is minimised (`Loss`), what happens when a stage begins (`Stage.prepare`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar, get_args, get_origin

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from thinslice.errors import UsageError
from thinslice.features.spec import FeatureSpec, Scalar
from thinslice.features.store import Index
from thinslice.published.figures import Figure as Published

Mode = Literal["train", "validation", "test"]
"""How a clip is looked at: with the training's randomness; as often as every epoch; as the paper's test does."""

Arrays = dict[str, np.ndarray]
"""The inputs of one clip: name -> array without a batch axis."""

Batch = dict[str, Any]
"""What a loss gets: "inputs" (name -> tensor, batch first; of each ragged input also "<name>_length", int64 (batch,)),
"labels" (batch, targets), float32, NaN where unknown, "clips" (batch,), int64, the clips' places in the training data;
under the name of each companion, the same of its own data; "epoch", int, the stage's epoch counted from 1."""


class ClipReader(Protocol):
    """The stored features of one clip."""

    @property
    def name(self) -> str:
        """The clip."""
        ...

    def shape(self, feature: str) -> tuple[int, ...]:
        """Return the shape of a feature, without reading it."""
        ...

    def read(self, feature: str, index: Index = None) -> np.ndarray:
        """Return a feature, or entries of its first axis, reading no more than that."""
        ...


class TrainingClips(Protocol):
    """What `Stage.prepare` may see of the training clips."""

    @property
    def clips(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the labels."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """Labels (clips, targets), NaN where unknown."""
        ...

    def reader(self, index: int) -> ClipReader:
        """Return the features of a clip."""
        ...


class Estimator(Protocol):
    """What a `FitStage` makes."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return scores (n, targets) of features (n, d)."""
        ...


Sample = Callable[[ClipReader, Mode, np.random.Generator], Arrays]
Loss = Callable[[nn.Module, Batch], Tensor | dict[str, Tensor]]
"""Returns the loss, a mean over the batch and never a sum; or a dict of it ("loss") and of parts to be logged."""
Predict = Callable[[nn.Module, Mapping[str, Tensor]], Tensor]
"""Returns scores (batch, outputs) of inputs; the model is in evaluation mode."""

Tables = Mapping[str, Mapping[str, str]]
"""Published table -> variant -> the name that the variant has in it."""

Scores = Mapping[str, Mapping[str, float]]
"""Metric -> target -> score."""


class FurtherScores(Protocol):
    """Scores of a finished run that are not those of its traits on clips, such as on a companion's entries."""

    def __call__(
        self, run: Path, companions: Mapping[str, Path], store: Path, split: str, personality: Scores
    ) -> Scores:
        """Return `personality`, the scores on clips, with others added or what means nothing left out.

        Args:
            run: the run's folder.
            companions: manifests of the recipe's companions that were given.
            store: the feature store.
            split: what is scored; "validation" where a companion has no such split.
            personality: scores on the clips.
        """
        ...


class DrawFigures(Protocol):
    """Figures of a system's paper, from a finished run."""

    def __call__(self, run: Path, data: Any, device: str, out: Path) -> Sequence[Path]:
        """Draw them; return their files.

        Args:
            run: the run's folder.
            data: its clips, a `thinslice.train.data.RunData`.
            device: "auto", "cpu" or "cuda".
            out: the folder of the pictures, which is there.
        """
        ...


EVERYTHING: Final = ("",)


def call_model(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return what the model gives for its inputs, passed by name."""
    scores: Tensor = model(**inputs)
    return scores


@dataclass(frozen=True, kw_only=True)
class Update:
    """One optimiser and what it minimises. A stage with several does them in turn on every batch.

    Attributes:
        loss: what is minimised.
        optimiser: makes torch's optimiser of parameters, such as `partial(torch.optim.Adam, lr=2e-4)`.
        schedule: makes torch's learning-rate schedule of the optimiser; None for a constant rate.
        per_step: whether the schedule counts optimiser steps; else epochs.
        trains: beginnings of the names of the parameters that this update changes; ("",) for all. Others get no
            gradient from its loss.
        options: beginning of a parameter's name -> settings of the optimiser that differ for those parameters, such as
            {"siamese": {"weight_decay": 0.0}}.
        name: for the logs.
    """

    loss: Loss
    optimiser: Callable[[Iterable[Any]], Optimizer]
    schedule: Callable[[Optimizer], LRScheduler] | None = None
    per_step: bool = False
    trains: tuple[str, ...] = EVERYTHING
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    name: str = "loss"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What trains, on which loss, from which weights, for how long.

    A parameter that no update trains is frozen; a module all of whose parameters are frozen is in evaluation mode, so
    that its running statistics and dropout stand still too.

    Attributes:
        name: unique in its recipe; letters, digits, "-" and "_".
        updates: done in turn on every batch.
        epochs: passes over the training clips at most; None for no limit.
        steps: optimiser steps of each update at most; None for no limit. One of the two is needed.
        batch_size: clips per optimiser step, over all processes and accumulated batches together.
        sample: how a clip becomes an input in this stage; None for the recipe's.
        predict: how scores are got for validation in this stage; None for the recipe's.
        precompute: what a frozen part gives for a clip: (model, inputs of a batch of one) -> name -> tensor (1, ...).
            It runs once over all clips, sampled for validation, when the stage begins; its results are the inputs of
            this stage's losses and of `predict`. None to sample again every time.
        parts: beginnings of the names of the parameters and buffers that this stage reads or changes, where its loss,
            `predict`, `precompute` and `prepare` look; ("",) for all. Variants of one system that agree in these, and
            in what else determines the stage, share it: see `thinslice.train.shared_stages`.
        features: those of the recipe's features and "column:NAME"s that it reads, no others can be read; None for all.
        start: the weights to begin with: of the stage before (""), or of the stage named.
        prepare: changes the model in place when the stage begins, such as copying weights or setting buffers from the
            training clips' statistics; not called again on resuming.
        companions: companion data sets of the recipe whose batches run beside the clips'.
        keep: whether the stage ends with its best weights on the validation clips, or its last.
        monitor: what "best" is by: a column of history.csv.
        patience: epochs without a better `monitor` after which the stage ends; None to go on.
        validate_every: epochs between two scorings of the validation clips; the last epoch is always scored.
        checkpoints: name -> epoch whose weights are kept too, as NAME.pt: rows "VARIANT@NAME" of `Recipe.tables`.
        whole_batch: whether the loss compares the clips of a batch with each other, so that it has to see all of them
            at once, however many processes and passes there are.
        validate_start: whether the weights that the stage starts with are scored too, as epoch 0 of history.csv. With
            `keep` "best" they are what the stage ends with where no epoch is better, such as a fine-tuning that hurts.
        drop_last: whether an epoch's last, incomplete batch is left out of training (batch normalisation over single
            vectors cannot take a batch of one).
    """

    name: str
    updates: tuple[Update, ...]
    batch_size: int
    epochs: int | None = None
    steps: int | None = None
    sample: Sample | None = None
    predict: Predict | None = None
    precompute: Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    parts: tuple[str, ...] = EVERYTHING
    features: tuple[str, ...] | None = None
    start: str = ""
    prepare: Callable[[nn.Module, TrainingClips], None] | None = None
    companions: tuple[str, ...] = ()
    keep: Literal["best", "last"] = "best"
    monitor: str = "accuracy"
    patience: int | None = None
    validate_every: int = 1
    checkpoints: Mapping[str, int] = field(default_factory=dict)
    whole_batch: bool = False
    validate_start: bool = False
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.epochs is None and self.steps is None:
            raise UsageError(f"stage {self.name}: give it epochs or steps, it would never end")
        if {"best", "last"} & set(self.checkpoints):
            raise UsageError(
                f"stage {self.name}: best and last are weights of every stage; name a checkpoint otherwise"
            )
        if self.validate_start and self.monitor.startswith("train_"):
            raise UsageError(f"stage {self.name}: there is no {self.monitor} before training; monitor a score")


@dataclass(frozen=True, kw_only=True)
class FitStage:
    """A stage without gradients: fits an estimator, such as trees, on what the networks give for each clip.

    It is the recipe's last stage; its scores are the system's.

    Attributes:
        name: unique in its recipe.
        features: (model, inputs of a batch of one) -> tensor (1, d).
        fit: (features (n, d), labels (n, targets), seed) -> estimator.
        save: writes the estimator into a folder; never as a pickle.
        load: reads it back.
        start: as `Stage.start`.
        build_graph: makes the ONNX model of (model, estimator) for a bundle, as `Recipe.build_graph` does, with a
            second output: what `features` gives for the clip. None where it cannot be exported.
    """

    name: str
    features: Predict
    fit: Callable[[np.ndarray, np.ndarray, int], Estimator]
    save: Callable[[Any, Path], None]
    load: Callable[[Path], Estimator]
    start: str = ""
    build_graph: Callable[[nn.Module, Any], Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Companion:
    """A companion data set, such as images with emotions, whose batches run beside the clips'.

    Attributes:
        targets: label columns of its manifest.
        features: what is stored of each of its entries.
        sample: how an entry becomes an input.
        batch_size: entries per optimiser step, over all processes.
    """

    targets: tuple[str, ...]
    features: Mapping[str, FeatureSpec]
    sample: Sample
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A system, ready to be trained.

    Attributes:
        name: the system's, also of its model's and its recipe's module.
        arguments: what the recipe's function was called with; calling it so again gives the same recipe.
        hyperparameters: the frozen dataclass of what may be changed of a variant, as it was chosen: names, types and,
            in its docstring, meanings of what `--set` takes; None where the function's own arguments say it.
        variants: all variants that the function knows.
        paper: authors and place.
        inputs: what it looks at and listens to, as a person calls it, by feature: {"waveform": "sound"}.
        outputs: the targets it predicts, in the order of its scores.
        features: what `thinslice extract` stores of every clip, by the name that `sample` reads it under.
        columns: of the manifest, that `sample` reads beside the features, as `clip.read("column:gender")`: a string
            array of shape (), empty where the manifest says nothing. A bundle has none.
        sample: how a clip's features become inputs; the random generator's state depends on seed, stage, epoch and clip
            alone.
        build_model: makes the network with fresh weights, on the CPU.
        predict: scores of a batch of inputs.
        stages: in their order.
        ragged: inputs whose first axis differs between clips: padded with zeros in a batch, their lengths beside them.
        companions: its companion data sets, by name.
        build_graph: makes the trained network's ONNX model, whose inputs are the features by their names, of one clip,
            without a batch axis, and whose output is the scores; None to let torch trace `predict`.
        absent: inputs that the network can do without, if not without all -> the number that fills the array of one
            that a clip lacks. Its bundle says so, has an interval for every combination, and leaves it to
            `bundle_features` that an extractor says what is missing.
        bundle_features: what a bundle computes of a clip, by the names of `features`: what `sample` takes of them for a
            test, where training stores more; None for `features`.
        limits: one or two sentences on where the system fails, for its bundles' cards.
        tables: what `thinslice table` can run: published table -> variant, or VARIANT@CHECKPOINT -> its name in the
            published figures.
        table_splits: published table -> the split that it scores, where that is not the test clips.
        further_scores: what a finished run is scored by beside its traits; None for nothing.
        source: file that the recipe comes from, where that is none of an installed package.
        seed: of weights, order and crops, unless the user gives another.
        draw_figures: draws figures of its paper from a finished run, see `thinslice figures`; None for none.
        check_needs: raises UsageError, with the remedy, where what a training starts from is not on this machine, such
            as public weights; called before anything is extracted. None for nothing needed.
    """

    name: str
    arguments: Mapping[str, Scalar]
    variants: tuple[str, ...]
    paper: str
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    features: Mapping[str, FeatureSpec]
    sample: Sample
    build_model: Callable[[], nn.Module]
    stages: tuple[Stage | FitStage, ...]
    predict: Predict = call_model
    hyperparameters: Any = None
    ragged: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    companions: Mapping[str, Companion] = field(default_factory=dict)
    build_graph: Callable[[nn.Module], Any] | None = None
    absent: Mapping[str, float] = field(default_factory=dict)
    bundle_features: Mapping[str, FeatureSpec] | None = None
    limits: str = ""
    tables: Tables = field(default_factory=dict)
    table_splits: Mapping[str, str] = field(default_factory=dict)
    further_scores: FurtherScores | None = None
    source: str = ""
    seed: int = 0
    draw_figures: DrawFigures | None = None
    check_needs: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise UsageError(f"recipe {self.name}: its stages need different names; they are {names}")
        for position, stage in enumerate(self.stages):
            if stage.start and stage.start not in names[:position]:
                raise UsageError(f"recipe {self.name}: stage {stage.name} starts from {stage.start}, not before it")
            if isinstance(stage, FitStage) and position + 1 < len(names):
                raise UsageError(f"recipe {self.name}: {stage.name} fits an estimator, so no stage can come after it")

    @property
    def variant(self) -> str:
        """The variant that this is."""
        return str(self.arguments.get("variant", ""))

    @property
    def published(self) -> tuple[Published, ...]:
        """What its paper, and papers that quote it, print."""
        from thinslice.published.figures import load_published

        return tuple(figure for figure in load_published() if figure.system == self.name)


Hyperparameters = TypeVar("Hyperparameters")


def set_hyperparameters(system: str, base: Hyperparameters, changes: Mapping[str, Any]) -> Hyperparameters:
    """Return a system's hyperparameters, a dataclass, with some of them changed.

    Raises:
        UsageError: one that it does not have, or, of one with a few choices, a value that is none of them.
    """
    assert is_dataclass(base)
    assert not isinstance(base, type)
    unknown = sorted(set(changes) - {entry.name for entry in fields(base)})
    if unknown:
        known = ", ".join(entry.name for entry in fields(base))
        raise UsageError(f"{system} has no hyperparameter {', '.join(unknown)}; there are {known}")
    for entry in fields(base):
        if get_origin(entry.type) is Literal and entry.name in changes:
            choices = get_args(entry.type)
            if changes[entry.name] not in choices:
                known = ", ".join(map(str, choices))
                raise UsageError(f"{system}: {entry.name}={changes[entry.name]!r}; {entry.name} is one of {known}")
    return replace(base, **changes)


def describe(value: Any) -> Any:
    """Return the JSON form of a recipe or any part of it: all settings, functions by their names.

    It says what a run did; `Recipe.arguments` is what builds the recipe again.
    """
    if is_dataclass(value) and not isinstance(value, type):
        named = {} if isinstance(value, Recipe | Stage | FitStage | Update) else {"is": _name(type(value))}
        return named | {entry.name: describe(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, partial):
        settings = {str(index): describe(entry) for index, entry in enumerate(value.args)}
        return {"call": _name(value.func)} | settings | {name: describe(v) for name, v in value.keywords.items()}
    if isinstance(value, Mapping):
        return {str(name): describe(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [describe(entry) for entry in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return _name(value)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)
