"""``thinslice import bimodal``: the authors' trained networks."""

from pathlib import Path

import click

from thinslice.output import say

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE [FILE]", type=_FILE)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Bundle folder to write.")
def bimodal(files: tuple[Path, ...], out: Path) -> None:
    """Convert the Torch7 networks of Subramaniam et al. 2016: the LSTM, the 3-D network, or the mean of both.

    The files are read as data, no code in them is run. Those the authors published are recognised by their SHA-256.

    \b
    Examples:
      thinslice import bimodal "LSTMModel#440.net" --out bimodal-lstm
      thinslice import bimodal "LSTMModel#440.net" "3DCNNModel#600.net" --out bimodal
      thinslice predict talk.mp4 --bundle ./bimodal
    """
    from thinslice.systems.bimodal.weights import import_bimodal

    folder, networks = import_bimodal(files, out)
    for path, network in zip(files, networks, strict=True):
        origin = "the authors' file" if network.official else "unknown, not a file the authors published"
        numbers = sum(array.size for array in network.arrays.values())
        say(f"{path}: {network.architecture}, {numbers:,} weights, {origin}")
    say(f"wrote {folder}")
