"""Units of work on a Ray cluster, a bounded number at a time."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from thinslice.errors import MissingExtraError, UsageError
from thinslice.extraction.job import Job, Outcome

_RETRIES = 2
"""How often a unit is tried again when its node or process dies."""


def run_on_ray(work: Callable[[Job], Outcome], jobs: Sequence[Job], address: str) -> Iterator[Outcome]:
    """Yield the outcome of every job, in any order; at most two per processor of the cluster are under way.

    Args:
        work: does one job.
        jobs: what to do.
        address: "host:port" or "ray://host:port" of a running cluster, "auto" for the one that this machine belongs
            to, or "local" for a new one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: no cluster at that address; a node that does not see the media or the store.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError("extraction on a Ray cluster", "ray") from None
    began = not ray.is_initialized()
    if began:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            line = (str(error).splitlines() or [""])[0]
            raise UsageError(f"--ray {address}: no cluster there ({line}); start one with `ray start --head`") from None
    try:
        _check_nodes(ray, jobs[0])
        remote: Any = ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(work)
        limit = 2 * max(int(ray.cluster_resources().get("CPU", 1)), 1)
        waiting = iter(jobs)
        running = {remote.remote(job): job for job in islice(waiting, limit)}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                job = running.pop(reference)
                try:
                    outcome = ray.get(reference)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                    line = (str(error).splitlines() or [""])[0]
                    why = f"{job.path}: the process that read it died {_RETRIES + 1} times ({line})"
                    outcome = Outcome(job, failures=(("", why),))
                yield outcome
                running |= {remote.remote(job): job for job in islice(waiting, 1)}
    finally:
        if began:
            ray.shutdown()


def _check_nodes(ray: Any, job: Job) -> None:
    """Make sure that every node sees the media and can write where this machine reads."""
    root = Path(job.store)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{root}: the feature store cannot be written ({error.strerror})") from None
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    look: Any = ray.remote(num_cpus=0)(_look)
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        token = root / f".{node['NodeID'][:16]}.token"
        where = strategy(node["NodeID"], soft=False)
        sees_media = ray.get(look.options(scheduling_strategy=where).remote(job.path, str(token)))
        written = token.exists()
        token.unlink(missing_ok=True)
        if not written or not sees_media:
            what = "the store" if not written else f"the media ({job.path})"
            raise UsageError(
                f"node {node['NodeManagerHostname']}: does not see {what}; mount the same folders on all nodes"
            )


def _look(media: str, token: str) -> bool:
    """On a node: leave a token in the store's folder, and return whether the media's folder is there."""
    try:
        Path(token).touch()
    except OSError:
        return False
    return os.path.isdir(os.path.dirname(media))
