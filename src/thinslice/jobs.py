"""Batches that no single job can end: in processes of this machine, or on a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from thinslice.cluster import NOTHING_SHARED, Shared, run_on_ray
from thinslice.processes import Died, run_in_processes

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    prepare: Callable[[], Callable[[Job], Result]],
    jobs: Sequence[Job],
    workers: int = 1,
    ray_address: str | None = None,
    shared: Shared = NOTHING_SHARED,
) -> Iterator[tuple[int, Result | Died]]:
    """Do jobs in `workers` processes, or on the cluster at `ray_address`; yield (place in `jobs`, result) as they end.

    Arguments and errors are those of `thinslice.processes.run_in_processes` and `thinslice.cluster.run_on_ray`.
    """
    if ray_address is not None:
        yield from run_on_ray(prepare, jobs, ray_address, shared)
    else:
        yield from run_in_processes(prepare, jobs, workers)
