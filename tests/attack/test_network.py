"""Nothing leaves the machine: no connection, no look-up of a name, no file outside thinslice's own folders."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from media_files import voice_like, write_media

TESTS = Path(__file__).parents[1]


def run_traced(folder: Path, *call: str) -> tuple[str, set[str]]:
    """Run a program with an empty home and temporary folder; return its network calls, and the files it left there."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace to see the calls of native code")
    home, temporary = folder / "home", folder / "tmp"
    home.mkdir(exist_ok=True)
    temporary.mkdir(exist_ok=True)
    environment = {
        name: value for name, value in os.environ.items() if not re.match(r"CI$|XDG_|THINSLICE_C|MPL|ORT_", name)
    }
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
    }
    log = folder / "calls"
    process = subprocess.run(
        [strace, "-f", "-qq", "-e", "trace=network", "-e", "signal=none", "-o", str(log), *call],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if "ptrace" in process.stderr and "not permitted" in process.stderr:
        pytest.skip("needs strace, which may not look here")
    assert process.returncode == 0, process.stderr
    left = {str(path.relative_to(folder)) for top in (home, temporary) for path in top.rglob("*") if path.is_file()}
    return log.read_text("utf-8", "replace"), left


def connections(calls: str) -> list[str]:
    """Return the calls that reach for something: a packet or connection of the internet's families, but to itself."""
    reaching = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg)\(.*AF_INET")
    return [
        line for line in calls.splitlines() if reaching.search(line) and "127.0.0.1" not in line and '"::1"' not in line
    ]


def test_the_trace_sees_a_look_up(tmp_path: Path) -> None:
    code = "import socket\ntry: socket.getaddrinfo('thinslice.invalid', 80)\nexcept OSError: pass"
    hosts = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('192.0.2.1', 53))"
    calls, _ = run_traced(tmp_path, sys.executable, "-c", f"{code}\ntry:\n {hosts}\nexcept OSError: pass")
    assert connections(calls)


def test_predict_reaches_for_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_media(tmp_path / name, [voice_like(1.5, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
    call = ("-m", "thinslice", "predict", "a.wav", "b.wav", "--workers", "2", "--out", "out")
    calls, left = run_traced(tmp_path, sys.executable, *call)
    assert connections(calls) == []
    assert {name for name in left if not name.startswith("home/.cache/thinslice/")} == set()


def test_train_and_export_reach_for_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    case = f"{TESTS / 'test_export.py'}::test_network_without_its_own_graph_is_traced"
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp={tmp_path / 'base'}")
    calls, left = run_traced(tmp_path, sys.executable, "-m", "pytest", *options, case)
    assert connections(calls) == []
    # Called as a library, thinslice leaves matplotlib its own folder.
    assert {name for name in left if not name.startswith("home/.cache/matplotlib/")} == set()


@pytest.mark.slow
def test_the_commands_of_a_whole_training_reach_for_nothing_and_leave_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    clips = ("planted/manifest.csv", "--variant", "small", "--max-steps", "2", "--device", "cpu")
    for words in (
        ("data", "planted", "planted", "--clips", "12", "--speakers", "6"),
        ("train", "deep_impression", "--out", "run", "--workers", "2", "--data", *clips),
        ("export", "run", "--out", "bundle"),
    ):
        calls, left = run_traced(tmp_path, sys.executable, "-m", "thinslice", *words)
        assert connections(calls) == [], words
        assert {name for name in left if not name.startswith("home/.cache/thinslice/")} == set(), words


SERVE_AND_ASK = """
import socket, subprocess, sys, time, urllib.request
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{free.getsockname()[1]}"
server = subprocess.Popen([sys.executable, "-m", "thinslice", "web", "--port", address.rpartition(":")[2]])
head = b'--x\\r\\nContent-Disposition: form-data; name="clip"; filename="a.wav"\\r\\n\\r\\n'
body = head + open("a.wav", "rb").read() + b"\\r\\n--x--\\r\\n"
asked = urllib.request.Request(f"{address}/api/predict", body)
asked.add_header("Content-Type", "multipart/form-data; boundary=x")
while server.poll() is None:
    try:
        answer = urllib.request.urlopen(asked).read()
        break
    except ConnectionError:
        time.sleep(0.2)
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ConnectionError):
            raise
        time.sleep(0.2)
server.terminate()
server.wait()
assert b"extraversion" in answer
"""


def test_the_page_and_its_service_reach_for_nothing_and_leave_nothing(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="the extra web is not installed")
    write_media(tmp_path / "a.wav", [voice_like(1.5, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
    calls, left = run_traced(tmp_path, sys.executable, "-c", SERVE_AND_ASK)
    assert connections(calls) == []
    assert {name for name in left if not name.startswith("home/.cache/thinslice/")} == set()
    assert not [name for name in left if name.endswith(".wav")]
