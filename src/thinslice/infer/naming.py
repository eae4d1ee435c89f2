"""Results of a copy, under the name of what was copied."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from thinslice.errors import ThinsliceError
from thinslice.types import Prediction


@contextmanager
def errors_named(copy: Path, name: str) -> Iterator[None]:
    """Let errors speak of `name` where they name the copy."""
    try:
        yield
    except ThinsliceError as error:
        if str(copy) not in str(error):
            raise
        raise type(error)(str(error).replace(str(copy), name)) from None


def renamed(prediction: Prediction, copy: Path, name: str) -> Prediction:
    """Return a copy's prediction as that of `name`."""

    def said(line: str) -> str:
        return line.replace(str(copy), name)

    return replace(
        prediction,
        clip=name,
        warnings=tuple(map(said, prediction.warnings)),
        timeline=tuple(replace(window, note=said(window.note)) for window in prediction.timeline),
    )
