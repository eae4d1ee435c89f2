"""The option ``--decoded``: training reads pictures from a decoded copy, which is made first."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from thinslice.output import say
from thinslice.progress import track

if TYPE_CHECKING:
    from thinslice.train.data import RunData

decoded_option = click.option(
    "--decoded",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Read pictures from a decoded copy in DIR, made first: faster, and large.",
)


def read_decoded(data: "RunData", root: Path | None, num_workers: int) -> "RunData":
    """Return the data of a run, read from the copy in a folder, after filling it; as it is where none is named.

    Raises:
        UsageError: as `thinslice.train.decoded.Copying.do`.
    """
    from thinslice.train.decoded import plan_copy

    if root is None:
        return data
    data, copying = plan_copy(data, root)
    if copying.jobs:
        say(copying.describe())
        for _ in track(copying.do(num_workers), "decode", len(copying.jobs)):
            pass
    return data
