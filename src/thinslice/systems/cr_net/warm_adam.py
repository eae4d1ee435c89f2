"""Adam whose rate rises at first, for stages whose first steps would throw the weights far off."""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class WarmAdam(torch.optim.Adam):
    """Adam with a rate that rises linearly over its first steps to what the schedule says.

    In its first steps Adam moves every weight by nearly the whole rate, whichever the size of its gradient. In a wide
    network these moves add up: a score that is linear in d features, each linear in d inputs, moves by up to d² rates.

    The steps are counted in Adam's own state, so that a resumed training goes on where it was.

    Args:
        params: as Adam's.
        warmup_steps: number of steps, 1 or more, after which the rate is whole.
        **settings: Adam's.
    """

    def __init__(self, params: Iterable[Any], *, warmup_steps: int, **settings: Any) -> None:
        super().__init__(params, **settings)
        self.warmup_steps = warmup_steps

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Do a step."""
        done = max((int(state["step"]) for state in self.state.values() if "step" in state), default=0)
        rates = [group["lr"] for group in self.param_groups]
        try:
            for group in self.param_groups:
                group["lr"] *= min((done + 1) / (self.warmup_steps + 1), 1.0)
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate
