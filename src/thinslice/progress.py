"""How far a long work is, on stderr: a bar where a person looks at a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from thinslice.output import say, volume

T = TypeVar("T")
Step = Callable[[int, int | None], None]
"""Called with how much is done, and of how much; None where that is not known."""

LINE_EVERY_S: Final = 10.0
"""Without a terminal: seconds between two lines."""


@contextmanager
def progress(what: str, *, in_bytes: bool = False, clock: Callable[[], float] = time.monotonic) -> Iterator[Step]:
    """Give a function that shows how far a work is: a bar in a terminal, lines without one, nothing with `--quiet`.

    Args:
        what: one word for the work.
        in_bytes: whether what is counted are bytes.
        clock: seconds that pass.
    """
    if volume().quiet:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(what, in_bytes) as step:
            yield step
    else:
        yield _Lines(what, in_bytes, clock).step


def track(results: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """Yield results and show how many of them there were; of a single one nothing is shown."""
    if total == 1:
        yield from results
        return
    with progress(what) as step:
        step(0, total)
        for done, result in enumerate(results, 1):
            yield result
            step(done, total)


@contextmanager
def _bar(what: str, in_bytes: bool) -> Iterator[Step]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    amount = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:

        def step(done: int, total: int | None) -> None:
            if not bar.tasks:  # What is never counted has no bar.
                bar.add_task(what, total=total)
            bar.update(bar.tasks[0].id, completed=done, total=total)

        yield step


class _Lines:
    """A line each `LINE_EVERY_S` seconds, for a log file."""

    def __init__(self, what: str, in_bytes: bool, clock: Callable[[], float]) -> None:
        self.what = what
        self.in_bytes = in_bytes
        self.clock = clock
        self.began = self.said = clock()

    def step(self, done: int, total: int | None) -> None:
        now = self.clock()
        if now - self.said < LINE_EVERY_S or not done:
            return
        self.said = now
        amount = f"{self._number(done)} of {self._number(total)}" if total else self._number(done)
        left = f", about {_span((total - done) * (now - self.began) / done)} left" if total and done < total else ""
        say(f"{self.what}: {amount}{' MB' if self.in_bytes else ''} in {_span(now - self.began)}{left}")

    def _number(self, value: int) -> str:
        return f"{value / 1e6:,.0f}" if self.in_bytes else f"{value:,}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
