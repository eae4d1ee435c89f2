"""The service under load, on this machine's loopback: many uploads at once, many in a row, a slow clip beside others.

    python benchmarks/web.py CLIP [--workers 2] [--parallel 50] [--requests 100] [--out FILE.md]

Starts `thinslice web` on a free port and ends it. The transcript is given, so that speech to text is left out. Memory
is the resident size of the server and of all its workers together, after 20 requests to warm up and at the end.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WORDS = "Hi everyone and welcome back to my kitchen. Today I am baking my grandmother's lemon cake."
WARM_UP = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(url: str, clip: bytes) -> tuple[int, float]:
    """Send one clip; return the status and the seconds until its answer."""
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="transcript"\r\n\r\n' + WORDS.encode() + b"\r\n",
        b'--b\r\nContent-Disposition: form-data; name="clip"; filename="talk.mp4"\r\n\r\n' + clip + b"\r\n--b--\r\n",
    ]
    request = urllib.request.Request(
        f"{url}api/predict", b"".join(parts), {"content-type": "multipart/form-data; boundary=b"}
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as answer:
        assert "traits" in json.load(answer)
        return answer.status, time.perf_counter() - began


def get(url: str) -> float:
    began = time.perf_counter()
    urllib.request.urlopen(url, timeout=60).read()
    return time.perf_counter() - began


def family(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return [pid, *(grandchild for child in children for grandchild in family(int(child)))]


def resident_mb(pid: int) -> float:
    def one(pid: int) -> float:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    return sum(one(each) for each in family(pid))


def cpu_s(pid: int) -> float:
    def one(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    return sum(one(each) for each in family(pid))


def measure(url: str, pid: int, clip: bytes, parallel: int, requests: int, cache: Path) -> dict[str, str]:
    rows: dict[str, str] = {}
    for _ in range(WARM_UP):
        post(url, clip)
    rows["memory after 20 requests, MB"] = f"{resident_mb(pid):.0f}"
    before_s, began = cpu_s(pid), time.perf_counter()
    alone = [post(url, clip)[1] for _ in range(requests)]
    rows[f"{requests} requests in a row: median s each"] = f"{statistics.median(alone):.2f}"
    rows[f"{requests} requests in a row: CPU s each"] = f"{(cpu_s(pid) - before_s) / requests:.3f}"
    rows[f"memory after {requests} more, MB"] = f"{resident_mb(pid):.0f}"

    health: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            health.append(get(f"{url}api/health"))
            done.wait(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        answers = list(pool.map(lambda _: post(url, clip), range(parallel)))
    total = time.perf_counter() - began
    done.set()
    watcher.join()
    rows[f"{parallel} uploads at once: answered with 200"] = str(sum(status == 200 for status, _ in answers))
    rows[f"{parallel} uploads at once: s until the last"] = f"{total:.1f}"
    rows["health meanwhile: median, slowest s"] = f"{statistics.median(health):.3f}, {max(health):.3f}"
    rows["memory after them, MB"] = f"{resident_mb(pid):.0f}"
    rows["uploads left on disk"] = str(sum(path.name.startswith("clip") for path in cache.rglob("*")))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=50)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "thinslice", "web", "--port", str(port), "--workers", str(arguments.workers)]
        server = subprocess.Popen(command, env={**os.environ, "THINSLICE_CACHE": cache}, stderr=subprocess.PIPE)
        try:
            began = time.perf_counter()
            while True:
                try:
                    get(f"{url}api/health")
                    break
                except OSError:
                    if server.poll() is not None:
                        raise SystemExit("the server did not start") from None
                    time.sleep(0.05)
            rows = {"start until health answers: wall s": f"{time.perf_counter() - began:.2f}"}
            rows["start until health answers: CPU s"] = f"{cpu_s(server.pid):.2f}"
            size = Path(f"/proc/{server.pid}/status").read_text().split("VmRSS:")[1].split()[0]
            rows["memory of the server without its workers, MB"] = f"{int(size) / 1024:.0f}"
            clip = arguments.clip.read_bytes()
            rows |= measure(url, server.pid, clip, arguments.parallel, arguments.requests, Path(cache))
        finally:
            server.terminate()
            server.wait(30)
        rows["files left after SIGTERM"] = str(sum("server-" in path.name for path in Path(cache).rglob("*")))
    text = "| what | figure |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
