"""The authors' own program of deep_impression, and bimodal's own files, read by others."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch

from thinslice.conform import chainer_program
from thinslice.conform.comparison import Checkout, Comparison, Given, NotHereError, Package, Pair, load_package
from thinslice.conform.networks import vary
from thinslice.errors import UsageError
from thinslice.systems.bimodal.torch7_weights import read_bimodal
from thinslice.systems.deep_impression.chainer import AUTHORS_ORDER, chainer_name, read_chainer
from thinslice.systems.deep_impression.network import DeepImpression
from thinslice.traits import TRAITS

CHAINER_PROGRAM = Checkout("yagguc/deep_impression", "audiovisual_stream.py", "MIT")
TORCHFILE = Package("torchfile", "BSD", "--no-deps torchfile")
BIMODAL_FILES = tuple(
    Checkout("InnovArul/first-impressions", f"models/{name}", "Apache-2.0")
    for name in ("LSTMModel#440.net", "3DCNNModel#600.net")
)
BIMODAL_ORDER: Final = ("extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness")
"""Of the columns that the authors' `writeIntoCsvFile` writes (src/utilities.lua)."""

NUM_CLIPS: Final = 3
NUM_FRAMES: Final = 4
NUM_SAMPLES: Final = 16_321
_LONGEST_S: Final = 600


def deep_impression(given: Given) -> Sequence[Pair]:
    """Scores beside the authors' program's: drawn weights in a file that both load, drawn sound and frames."""
    checkout = CHAINER_PROGRAM.path(given).parent
    if given.chainer is None:
        install = "pip install chainer==1.24.0 'numpy<1.20' 'protobuf<3.21'"
        raise NotHereError(f"--chainer PYTHON, a Python from 2.7 to 3.9 in which you called: {install}")
    generator = torch.Generator().manual_seed(0)
    pairs = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_as_chainer(folder / "model")
        ours = read_chainer(folder / "model")
        for clip in range(NUM_CLIPS):
            waveform = 0.2 * torch.randn(NUM_SAMPLES, generator=generator)
            frames = torch.randint(
                0, 256, (1, NUM_FRAMES + clip, 64, 76 + clip, 3), generator=generator, dtype=torch.uint8
            )
            inputs = {
                "sound": waveform.numpy()[None, None, None],
                "frames": frames[0].permute(0, 3, 1, 2).numpy().astype(np.float32),
            }
            with torch.no_grad():
                scores = ours(waveform[None], frames)[0].numpy()
            order = [TRAITS.index(trait) for trait in AUTHORS_ORDER]
            pairs.append((scores[order], _scores_of_chainer(given.chainer, checkout, folder, inputs)))
    return pairs


def save_as_chainer(path: Path) -> None:
    """Write a network of drawn weights under the names and in the shapes of the authors' file."""
    torch.manual_seed(0)
    network = DeepImpression()
    vary(network)
    with torch.no_grad():
        network.pictures.conv.weight /= 100  # type: ignore[union-attr]  # Pictures go up to 255.
        network.head.weight.normal_(0, 0.002)  # Scores at an end would agree whatever comes before.
    arrays: dict[str, Any] = {}
    for name, value in network.state_dict().items():
        theirs, array = chainer_name(name), value.numpy()
        arrays[theirs] = array[:, :, None] if theirs.endswith("/W") and array.ndim == 3 else array
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _scores_of_chainer(python: str, checkout: Path, folder: Path, inputs: Mapping[str, Any]) -> np.ndarray:
    np.savez(folder / "inputs.npz", **inputs)
    paths = (checkout.resolve(), folder / "model", folder / "inputs.npz", folder / "scores.npz")
    call = [python, chainer_program.__file__, *map(str, paths)]
    other = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            call, env=other, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S, check=False
        )
    except OSError as error:
        raise UsageError(f"--chainer {python}: {error.strerror}; give a Python that has Chainer 1") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(f"--chainer {python}: the authors' program ends with {said!r}")
    with np.load(folder / "scores.npz") as found:
        scores: np.ndarray = found["scores"]
    return scores


def bimodal_files(given: Given) -> Sequence[Pair]:
    """All weights of both files of the authors, read by us and by torchfile."""
    torchfile = load_package("torchfile")
    pairs = []
    for checkout in BIMODAL_FILES:
        path = checkout.path(given)
        theirs = list(_weights(torchfile.load(str(path))))
        ours = read_bimodal(path).arrays
        order = [TRAITS.index(trait) for trait in BIMODAL_ORDER]
        for (name, mine), other in zip(ours.items(), theirs, strict=True):
            pairs.append((mine[order] if name.startswith("traits.") else mine, other))
    return pairs


def _weights(module: Any) -> Iterator[np.ndarray]:
    """Yield weights and biases of a Torch7 module, in the order in which its parts stand in the file."""
    for part in module["modules"] or ():
        yield from _weights(part)
    yield from (module[name] for name in ("weight", "bias") if module[name] is not None)


AUTHORS = (
    Comparison(
        name="deep_impression",
        what="scores of sound and frames",
        systems=("deep_impression",),
        theirs=CHAINER_PROGRAM,
        expected=3e-7,
        most=1e-6,
        run=deep_impression,
    ),
    Comparison(
        name="bimodal_files",
        what="weights in the authors' files",
        systems=("bimodal",),
        theirs=TORCHFILE,
        expected=0.0,
        most=0.0,
        run=bimodal_files,
    ),
)
