"""``thinslice predict --ray`` gives what one machine gives, to the last digit, and goes on where it stopped."""

import csv
import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from command_line import run
from media_files import voice_like, write_media
from thinslice.cluster import Shared, run_on_ray
from thinslice.errors import MediaError, MissingExtraError, UsageError
from thinslice.media.check import check_file

ray_reason = "the extra ray is not installed"


# Called once in each process; workers of a cluster can import neither this file nor what it defines.
factorials = partial(partial, math.factorial)
checks = partial(partial, check_file)


def test_without_ray_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'thinslice\[ray\]'"):
        list(run_on_ray(factorials, [1], "local"))


@pytest.fixture(scope="module")
def cluster():  # type: ignore[no-untyped-def]
    ray = pytest.importorskip("ray", reason=ray_reason)
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)  # once: each start of it starts new workers
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
def test_jobs_on_a_cluster(cluster, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = dict(run_on_ray(factorials, range(20), cluster.address, Shared((str(tmp_path),), str(tmp_path / "new"))))
    assert done == {place: math.factorial(place) for place in range(20)}
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(MediaError, match=r"^/nowhere/a.mp4: no such file; check its name and folder$"):
        list(run_on_ray(checks, [Path("/nowhere/a.mp4")], cluster.address))
    with pytest.raises(UsageError, match="does not see /nowhere"):
        list(run_on_ray(factorials, [1], cluster.address, Shared(("/nowhere",))))


@pytest.mark.slow
def test_predict_on_a_cluster_is_predict(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    Path("talks").mkdir()
    for name in ("a", "b", "c"):
        seed = {"a": 1, "b": 2, "c": 3}[name]
        write_media(Path("talks", f"{name}.wav"), [voice_like(1.5 + seed / 10, 16_000)], rate_hz=16_000)
        Path("talks", f"{name}.txt").write_text("so happy to be here")
    Path("talks", "broken.mp4").write_bytes(b"not a recording")
    call = ["predict", "talks", "--json", "--bundle", "voice-words"]
    code, on_ray, said = run(*call, "--out", "ray", "--ray", cluster.address)
    assert code == 1
    assert "talks/broken.mp4: " in said
    code, alone = run_alone(*call, "--out", "alone")
    assert code == 1
    assert [strip(entry) for entry in json.loads(on_ray)] == [strip(entry) for entry in json.loads(alone)]
    assert Path("ray", "predictions.csv").read_bytes() == Path("alone", "predictions.csv").read_bytes()

    with open("inputs.csv", "w", newline="") as file:
        rows = csv.DictWriter(file, ["clip", "transcript"])
        rows.writeheader()
        rows.writerows({"clip": f"{n}", "transcript": f"hello number {n}"} for n in range(8))
    call = ["predict", "--inputs", "inputs.csv", "--bundle", "voice-words", "--json"]
    code, on_ray, _ = run(*call, "--ray", cluster.address)
    assert code == 0
    code, alone = run_alone(*call)
    assert code == 0
    assert [strip(entry) for entry in json.loads(on_ray)] == [strip(entry) for entry in json.loads(alone)]


def run_alone(*words: str) -> tuple[int, str]:
    """Call thinslice on this machine, with one thread for sums as Ray gives its workers; exit code and stdout."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "thinslice", *words]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def strip(entry: dict) -> dict:  # type: ignore[type-arg]
    entry.pop("seconds", None)
    return entry
