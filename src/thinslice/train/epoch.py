"""What happens after every epoch of a stage."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from thinslice.errors import UsageError
from thinslice.train.background import BackgroundWriter
from thinslice.train.context import RunContext
from thinslice.train.data import Sampled
from thinslice.train.history import History
from thinslice.train.recipe import Predict, Stage
from thinslice.train.scoring import Loader, apply_to_clips, build_scoring_loader, headline_scores
from thinslice.train.stage import StageModule
from thinslice.train.system import as_scores


class EpochScorer:
    """Scores the validation clips, writes the history and the checkpoint, says when to stop."""

    def __init__(
        self,
        context: RunContext,
        stage: Stage,
        sources: Mapping[str, Sampled],
        predict: Predict,
        history: History | None,
        writer: BackgroundWriter,
    ) -> None:
        self.context = context
        self.stage = stage
        self.validation = sources.get("validation")
        self.predict = predict
        self.history = history
        self.writer = writer
        self.path = context.folder.stage(stage.name)
        self._loader: Loader | None = None  # Its processes stay from epoch to epoch.

    def start(self, module: StageModule) -> None:
        """Score the weights that the stage starts with, as epoch 0."""
        if self.validation is None:
            return
        row = {"stage": self.stage.name, "epoch": 0, "step": 0, **self._scores(module)}
        self._note_best(module, row)
        if self.history is not None:
            self.history.add_epoch(row)

    def end_epoch(self, module: StageModule, epoch: int, means: dict[str, float], is_whole: bool) -> bool:
        """Score an epoch, counted from 1; return whether to stop."""
        stage, progress = self.stage, module.progress
        is_end = (
            module.steps_done == module.max_steps
            or (stage.epochs is not None and epoch >= stage.epochs)
            or module.trainer.should_stop
        )
        row: dict[str, Any] = {"stage": stage.name, "epoch": epoch, "step": module.steps_done}
        row |= {f"train_{name}" if name != "seconds" else name: value for name, value in means.items()}
        if self.validation is not None and (is_end or epoch % stage.validate_every == 0):
            row |= self._scores(module)
            self._note_best(module, row)
        if self.history is not None:
            self.history.add_epoch(row)
        waited = epoch - progress.get("best_epoch", epoch)
        progress["ended"] = stage.patience is not None and waited >= stage.patience
        names = [name for name, last in stage.checkpoints.items() if epoch == last and is_whole]
        for name in [*names, "last"] if is_end or progress["ended"] else names:
            self._save_weights(module, name)
        if is_whole:
            module.trainer.save_checkpoint(self.path / "last.ckpt", weights_only=False)
        return bool(progress["ended"])

    def close(self) -> None:
        """Let the processes go that read validation clips."""
        self._loader = None

    def _save_weights(self, module: StageModule, name: str) -> None:
        if module.global_rank == 0:
            self.writer.write_torch(dict(module.model.state_dict()), self.path / f"{name}.pt")

    def _note_best(self, module: StageModule, row: Mapping[str, Any]) -> None:
        monitor, progress = self.stage.monitor, module.progress
        if monitor not in row:
            known = ", ".join(name for name, value in row.items() if isinstance(value, float))
            raise UsageError(f"stage {self.stage.name}: no {monitor} to choose the best epoch by; there is {known}")
        # Losses get better downwards, scores upwards.
        value = -row[monitor] if monitor.startswith("train_") else row[monitor]
        if "best" not in progress or value > progress["best"]:
            progress |= {"best": value, "best_epoch": row["epoch"]}
            self._save_weights(module, "best")

    def _scores(self, module: StageModule) -> dict[str, float]:
        assert self.validation is not None
        if self._loader is None:
            self._loader = build_scoring_loader(self.validation, "validation", **self.context.sharing)
        rows = apply_to_clips(
            module.model,
            self.validation,
            "validation",
            partial(as_scores, self.predict),
            autocast=module.trainer.precision_plugin.forward_context,
            loader=self._loader,
            **self.context.sharing,
        )
        predicted = np.stack([row["scores"] for row in rows]).astype(np.float64)
        data = self.validation.data
        return headline_scores(data.labels, predicted, data.targets)
