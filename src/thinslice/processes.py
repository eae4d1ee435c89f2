"""Work in processes that may die: a job that kills its process costs only itself.

Why not `concurrent.futures`: when one of its processes dies, all jobs under way are lost and nobody knows whose fault
it was; and its processes outlive a parent that is killed. Here every process has a pipe of its own, so that a death
names its job, which is tried once more, alone.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Final, TypeVar

from thinslice.errors import UsageError

Job = TypeVar("Job")
Result = TypeVar("Result")

_READY, _DONE, _RAISED = "ready", "done", "raised"
_MOST_FAILED_STARTS: Final = 3
_PARENT_CHECK_S: Final = 0.5
_LEAVE_S: Final = 5.0


@dataclass(frozen=True)
class Died:
    """What became of a job whose process died each time it was tried.

    Attributes:
        why: what ended the process, for a person.
        times: how often it was tried.
    """

    why: str
    times: int = 2

    def tell(self, what: str) -> str:
        """Return what became of a file, in one line.

        Args:
            what: what the process did, such as "read it".
        """
        often = {2: "twice"}.get(self.times, f"{self.times} times")
        return f"the process that {what} died {often} ({self.why}): out of memory, or a crash in a decoder"


def run_in_processes(
    prepare: Callable[[], Callable[[Job], Result]], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[int, Result | Died]]:
    """Do jobs in several processes; yield (place in `jobs`, result) in the order in which they are done.

    A job whose process dies (a crash in native code, the system short of memory, somebody's kill) is tried once more
    after all others, alone. Processes are spawned, not forked: the parent may hold threads that a fork would break.
    None of them outlives this generator, nor, by more than a second, a parent that is killed.

    Args:
        prepare: called once in every process, gives what does a job. It, the jobs and the results are pickled.
        jobs: what to do.
        workers: how many processes at most.

    Raises:
        UsageError: processes cannot be started.
        Exception: what a job or `prepare` raises ends everything.
    """
    died = []
    for index, outcome in _run(prepare, [(index, job) for index, job in enumerate(jobs)], workers):
        if isinstance(outcome, Died):
            died.append(index)
        else:
            yield index, outcome
    yield from _run(prepare, [(index, jobs[index]) for index in sorted(died)], 1)


def end_with_parent(forked_by: int | None = None) -> None:
    """In a child process: end it soon after its parent ends, however that did.

    Args:
        forked_by: the parent, where it forked and this process is not one of `multiprocessing`'s.
    """
    parent = multiprocessing.parent_process() if forked_by is None else None
    pid = parent.pid if parent else forked_by or os.getppid()

    def watch() -> None:
        # A pipe held by the parent would not do: siblings hold copies of it where they are forked.
        while os.getppid() == pid if os.name == "posix" or parent is None else parent.is_alive():
            time.sleep(_PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()


class Child:
    """A process and a pipe to it; it leaves Ctrl-C to its parent and ends soon after it.

    Spawned, not forked: the parent may hold threads that a fork would break.

    Args:
        target: what it runs, given its end of the pipe, then the arguments.
        arguments: pickled.
        daemon: whether the program may end without waiting for it; such a process starts none of its own.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any, daemon: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_enter, args=(target, theirs, *arguments), daemon=daemon)
        self.process.start()
        theirs.close()

    def end(self, wait_s: float = 0.0) -> str:
        """Close the pipe, which lets an idle process go, and kill one that goes on; return how it ended."""
        self.pipe.close()
        self.process.join(wait_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


class _Worker(Child):
    """A process, its pipe, and the job it has."""

    def __init__(self, prepare: Callable[[], Any]) -> None:
        super().__init__(_serve, prepare)
        self.is_ready = False
        self.index: int | None = None

    def give(self, index: int, job: Any) -> None:
        self.index = index
        with suppress(OSError):  # It has died; whoever reads from it will see.
            self.pipe.send(job)


def _run(prepare: Callable[[], Any], jobs: Sequence[tuple[int, Any]], workers: int) -> Iterator[tuple[Any, Any]]:
    """Yield (index, result or Died)."""
    waiting = deque(jobs)
    team: dict[Any, _Worker] = {}
    failed_starts = 0
    try:
        while waiting or any(worker.index is not None for worker in team.values()):
            while waiting and len(team) < workers:
                worker = _Worker(prepare)
                team[worker.pipe] = worker
                worker.give(*waiting.popleft())
            for pipe in wait([pipe for pipe, worker in team.items() if worker.index is not None]):
                worker = team[pipe]
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, OSError):
                    del team[pipe]
                    ended = worker.end(_LEAVE_S)
                    failed_starts += not worker.is_ready
                    if failed_starts >= _MOST_FAILED_STARTS:
                        raise _not_started(ended) from None
                    kind, value = _DONE, Died(ended)
                if kind == _RAISED:
                    raise value
                if kind == _READY:
                    worker.is_ready, failed_starts = True, 0
                    continue
                done, worker.index = worker.index, None
                if waiting and pipe in team:
                    worker.give(*waiting.popleft())
                yield done, value
    finally:
        for worker in team.values():
            worker.pipe.close()
        for worker in team.values():
            worker.end(_LEAVE_S if worker.index is None else 0.0)


def _not_started(ended: str) -> UsageError:
    return UsageError(
        f"worker processes do not start ({ended}); a script that asks for several needs: if __name__ == '__main__':"
    )


def _enter(target: Callable[..., None], pipe: Connection, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It reaches the whole group; the parent handles it.
    end_with_parent()
    target(pipe, *arguments)


def _serve(pipe: Connection, prepare: Callable[[], Callable[[Any], Any]]) -> None:
    """Do jobs until the parent closes the pipe."""
    try:
        work = prepare()
        pipe.send((_READY, None))
        while (job := _next_job(pipe)) is not None:
            pipe.send((_DONE, work(job[0])))
    except (BrokenPipeError, ConnectionResetError):
        return  # Nobody is left to answer to.
    except Exception as error:
        pipe.send((_RAISED, _sendable(error)))


def _next_job(pipe: Connection) -> tuple[Any] | None:
    try:
        return (pipe.recv(),)
    except (EOFError, OSError):
        return None


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a foreign exception does when pickled
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
