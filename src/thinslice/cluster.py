"""Jobs on a Ray cluster, a bounded number at a time: as `thinslice.processes` does them on one machine."""

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from thinslice.errors import MissingExtraError, UsageError, first_line
from thinslice.processes import Died

Job = TypeVar("Job")
Result = TypeVar("Result")

_RETRIES: Final = 2
"""How often a job is tried again when its node or process dies."""


@dataclass(frozen=True)
class Shared:
    """What every node must have under the same path.

    Attributes:
        reads: files and folders that must be there.
        writes: a folder that nodes write to and this machine reads; None where there is none.
    """

    reads: tuple[str, ...] = ()
    writes: str | None = None


NOTHING_SHARED: Final = Shared()


def run_on_ray(
    prepare: Callable[[], Callable[[Job], Result]], jobs: Sequence[Job], address: str, shared: Shared = NOTHING_SHARED
) -> Iterator[tuple[int, Result | Died]]:
    """Do jobs on a cluster; yield (place in `jobs`, result) in the order in which they are done.

    At most two per processor are under way. A job whose process or node dies is tried twice more.

    Args:
        prepare: called once in every process, gives what does a job. It, the jobs and the results are pickled.
        jobs: what to do.
        address: "host:port" or "ray://host:port" of a running cluster, "auto" for the one that this machine belongs
            to, or "local" for a new one on this machine.
        shared: checked on every node before anything begins.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: no cluster at that address; a node that lacks thinslice, or does not see what is shared.
        Exception: what a job or `prepare` raises ends everything.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError("work on a Ray cluster", "ray") from None
    began = not ray.is_initialized()
    if began:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            line = first_line(error)
            raise UsageError(f"--ray {address}: no cluster there ({line}); start one with `ray start --head`") from None
    try:
        _check_nodes(ray, shared)
        yield from _run(ray, prepare, jobs)
    finally:
        if began:
            ray.shutdown()


def _run(ray: Any, prepare: Callable[[], Callable[[Any], Any]], jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    remote: Any = ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_do)
    limit = 2 * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    name, stored = uuid.uuid4().hex, ray.put(prepare)
    waiting = iter(enumerate(jobs))
    running = {remote.remote(name, stored, job): place for place, job in islice(waiting, limit)}
    while running:
        ready, _ = ray.wait(list(running), num_returns=1)
        for reference in ready:
            place = running.pop(reference)
            try:
                outcome = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                line = first_line(error)
                outcome = Died(line, _RETRIES + 1)
            yield place, outcome
            running |= {remote.remote(name, stored, job): at for at, job in islice(waiting, 1)}


_prepared: dict[str, Callable[[Any], Any]] = {}


def _do(name: str, prepare: Callable[[], Callable[[Any], Any]], job: Any) -> Any:
    """On a node: do a job with what this process has prepared for it, once for all jobs of a run."""
    if name not in _prepared:
        _prepared.clear()
        _prepared[name] = prepare()
    return _prepared[name](job)


def _check_nodes(ray: Any, shared: Shared) -> None:
    """Make sure that every node has thinslice, sees what is shared, and writes where this machine reads."""
    root = None if shared.writes is None else Path(shared.writes)
    if root is not None:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{root}: cannot be written ({error.strerror})") from None
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    look: Any = ray.remote(num_cpus=0)(_look)
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        token = None if root is None else root / f".{node['NodeID'][:16]}.token"
        where = strategy(node["NodeID"], soft=False)
        try:
            missing = ray.get(look.options(scheduling_strategy=where).remote(shared.reads, token and str(token)))
        except ray.exceptions.RayError as error:
            line = first_line(getattr(error, "cause", error))
            raise UsageError(
                f"node {node['NodeManagerHostname']}: thinslice does not work there ({line}); install it on all nodes"
            ) from None
        if token is not None and not token.exists():
            missing.append(str(root))
        elif token is not None:
            token.unlink()
        if missing:
            raise UsageError(
                f"node {node['NodeManagerHostname']}: does not see {missing[0]}; mount the same folders on all nodes"
            )


def _look(paths: Sequence[str], token: str | None) -> list[str]:
    """On a node: leave a token in the folder to write to, and return which paths are not there."""
    missing = [path for path in paths if not os.path.exists(path)]
    if token is not None:
        try:
            Path(token).touch()
        except OSError:
            missing.append(os.path.dirname(token))
    return missing
