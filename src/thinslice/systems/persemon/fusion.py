"""PersEmoN's last stage: the weight of PAM's scores beside RAM's (section 4.4)."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from thinslice.layers.losses import mean_absolute_error
from thinslice.systems.persemon.network import PersEmoN
from thinslice.train.recipe import Batch, Stage, Update

RATIOS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 10.0, 15.0, float("inf"), 6.0)
"""PAM's weight beside RAM's 1 that are tried: RAM alone, ..., PAM alone, and last the paper's."""


class SetToRate(torch.optim.Optimizer):
    """No descent: a step sets the parameters to the learning rate, whose schedule goes through what is to be tried.

    Args:
        params: what to set.
    """

    def __init__(self, params: Iterable[Any]) -> None:
        super().__init__(params, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Set them."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.fill_(group["lr"])


def _weight_of_epoch(epoch: int) -> float:
    """Return PAM's share that an epoch, from 0, tries."""
    ratio = RATIOS[min(epoch, len(RATIOS) - 1)]
    return 1.0 if ratio == float("inf") else ratio / (1 + ratio)


def build_fusion_stage() -> Stage:
    """Try PAM's weights one after the other and keep what the validation clips score best with (section 4.4).

    An epoch is a weight: PAM's and RAM's scores are computed once, and the loop scores every epoch on the validation
    clips and keeps the best. Without validation clips the last stays, the paper's 6 to 1.
    """
    update = Update(
        name="fusion",
        loss=_fusion_loss,
        optimiser=SetToRate,
        schedule=partial(LambdaLR, lr_lambda=_weight_of_epoch),
        trains=("fusion",),
    )
    return Stage(
        name="fusion",
        updates=(update,),
        batch_size=100,
        epochs=len(RATIOS),
        precompute=_module_scores,
        predict=_fuse_scores,
        keep="best",
        validate_start=True,
    )


def _module_scores(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert isinstance(model, PersEmoN)
    personality, relationship = model.scores(inputs["faces"])
    return {"pam": personality, "ram": relationship}


def _fuse_scores(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    assert isinstance(model, PersEmoN)
    return model.fuse(inputs["pam"], inputs["ram"])


def _fusion_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Return the training clips' mean absolute error: for the log, the choice is by the validation clips."""
    return mean_absolute_error(_fuse_scores(model, batch["inputs"]), batch["labels"])
