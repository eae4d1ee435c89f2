"""The flags by which ``thinslice evaluate`` adds a row to a leaderboard."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

_FLAGS = {"submit_to": "--submit-to", "system": "--system", "system_inputs": "--inputs", "repository": "--repository"}


def submission_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags to a command, which gets what they say as `submission`, None without --submit-to."""

    @click.option(
        "--submit-to",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="TABLE.csv",
        help="Add these scores as a row of a leaderboard; nothing is added where the file is not complete.",
    )
    @click.option("--system", metavar="NAME", help="With --submit-to: what made it.  [default: the file's name]")
    @click.option(
        "--inputs", "system_inputs", metavar="TEXT", help="With --submit-to: what it uses, such as face+voice."
    )
    @click.option("--repository", metavar="TEXT", help="With --submit-to: where others find it.")
    @wraps(command)
    def with_submission(predictions: Path, **given: Any) -> None:
        from thinslice.evaluate.leaderboard import Submission

        said = {name: given.pop(name) for name in _FLAGS}
        file = said["submit_to"]
        if file is None:
            for name, flag in _FLAGS.items():
                if said[name] is not None:
                    raise click.UsageError(f"{flag} needs --submit-to")
            submission = None
        else:
            system = said["system"] or predictions.stem
            submission = Submission(file, system, said["system_inputs"] or "", said["repository"] or "")
        command(predictions=predictions, submission=submission, **given)

    return with_submission
