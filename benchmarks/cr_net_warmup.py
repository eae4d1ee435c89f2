"""Why CR-Net's second stage explodes in its first steps, and what a rising rate does about it.

    python benchmarks/cr_net_warmup.py [STEPS_OF_FIRST_STAGE]

One stream of stacked pictures, a ResNet-10 on 4 frames of 32 x 32, whose last layer is as wide as the paper's (512
features) or an eighth of it, on 60 made-up clips whose brightness follows the labels. Prints the joint loss of the
first steps after a first stage of so many steps, with and without a warm-up, and how far a step moves the scores.
"""

import sys

import torch
from torch import Tensor

from thinslice.systems.cr_net.network import CRNet, Shape
from thinslice.systems.cr_net.recipe import class_loss, joint_loss
from thinslice.systems.cr_net.variants import CRNetKind
from thinslice.systems.cr_net.warm_adam import WarmAdam

FRAMES, SIDE, CLIPS, BATCH, RATE, DECAY = 4, 32, 60, 15, 0.002, 0.005
SHOWN = (0, 1, 2, 3, 5, 10, 20, 30)
KIND = CRNetKind(streams=("scene",))


def made_up_clips() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(CLIPS, 6, generator=generator).mul(0.15).add(0.55).clamp(0, 1)
    shown = labels[:, None, None, None, :3] * 160 + 60 * torch.rand(CLIPS, FRAMES, SIDE, SIDE, 3, generator=generator)
    return shown.clamp(0, 255).to(torch.uint8), labels


def train(width: int, first_steps: int, warmup_steps: int) -> tuple[list[float], float]:
    """Return the joint losses of the second stage's first steps, and how far its first step moves scores on average."""
    torch.manual_seed(0)
    frames, labels = made_up_clips()
    shape = Shape(streams=("scene",), layout="resnet10", width=width, num_frames=FRAMES, stacked=("scene",))
    model = CRNet(shape)
    order = torch.Generator().manual_seed(1)

    def batch() -> dict[str, object]:
        chosen = torch.randperm(CLIPS, generator=order)[:BATCH]
        return {"inputs": {"frames": frames[chosen]}, "labels": labels[chosen], "epoch": 1}

    branch = [p for name, p in model.named_parameters() if not name.endswith(("head.weight", "head.bias"))]
    classes = torch.optim.SGD(branch, lr=RATE, momentum=0.9, weight_decay=DECAY)
    for _ in range(first_steps):
        classes.zero_grad()
        class_loss("scene", 4, model, batch()).backward()
        classes.step()
    settings = {"lr": RATE, "weight_decay": DECAY, "betas": (0.5, 0.999)}
    adam = (
        WarmAdam(model.parameters(), warmup_steps=warmup_steps, **settings)
        if warmup_steps
        else torch.optim.Adam(model.parameters(), **settings)  # type: ignore[arg-type]
    )
    losses, moved = [], 0.0
    for step in range(SHOWN[-1] + 1):
        given = batch()
        adam.zero_grad()
        parts = joint_loss("scene", KIND.losses, KIND.num_classes, 50, model, given)
        losses.append(float(parts["loss"].detach()))
        parts["loss"].backward()
        before = None if step else model.run_stream("scene", given["inputs"]).scores.detach()  # type: ignore[arg-type]
        adam.step()
        if before is not None:
            after = model.run_stream("scene", given["inputs"]).scores.detach()  # type: ignore[arg-type]
            moved = float((after - before).abs().mean())
    return losses, moved


def main() -> None:
    torch.set_num_threads(1)
    first_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(f"| features | first stage | warm-up | first step moves scores by | joint loss at step {SHOWN} |")
    runs = ((64, 0, 0), *((64, first_steps, warmup) for warmup in (0, 20, 200)), (8, first_steps, 0))
    for width, steps, warmup in runs:
        losses, moved = train(width, steps, warmup)
        shown = ", ".join(f"{losses[step]:,.0f}" for step in SHOWN)
        print(f"| {8 * width} | {steps} steps | {warmup} | {moved:.2f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
