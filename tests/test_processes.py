"""Work in processes that die: what a job may do to its process, and what a killed parent leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from thinslice.errors import MissingExtraError, UsageError
from thinslice.processes import Died, run_in_processes


def prepare() -> Callable[[str], str]:
    return work


def work(job: str) -> str:
    what, _, path = job.partition(" ")
    if what == "die" or (what == "die-once" and not Path(path).exists()):
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise MissingExtraError("this", "asr")
    if what == "sleep":
        Path(path, str(os.getpid())).touch()
        time.sleep(600)
    return what.upper()


def never_starts() -> Callable[[str], str]:
    os._exit(3)


def test_a_job_that_kills_its_process_costs_only_itself(tmp_path: Path) -> None:
    jobs = ["one", f"die {tmp_path / 'a'}", "two", f"die-once {tmp_path / 'b'}", "three"]
    found = dict(run_in_processes(prepare, jobs, 2))
    assert found == {0: "ONE", 1: Died("SIGKILL"), 2: "TWO", 3: "DIE-ONCE", 4: "THREE"}


def test_an_error_for_all_jobs_comes_back_as_it_was() -> None:
    with pytest.raises(MissingExtraError, match=r"this needs an optional part of thinslice: .*\[asr\]"):
        list(run_in_processes(prepare, ["raise", "one"], 1))


def test_processes_that_do_not_start_are_one_line() -> None:
    with pytest.raises(UsageError, match=r"do not start \(exit code 3\)"):
        list(run_in_processes(never_starts, ["one"] * 9, 1))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def wait_for(what: Callable[[], object], seconds: float = 120) -> object:
    """Wait until something is so, however slow the machine is."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.05)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux: looks under /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    code = (
        "from test_processes import prepare; from thinslice.processes import run_in_processes; import sys\n"
        "if __name__ == '__main__': list(run_in_processes(prepare, [f'sleep {sys.argv[1]}'] * 4, 2))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment)
    try:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        parent.send_signal(how)
    assert parent.wait(60) == -how
    workers = [int(path.name) for path in tmp_path.iterdir()]
    wait_for(lambda: not any(alive(pid) for pid in workers))
