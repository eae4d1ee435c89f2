"""The page's server: what it answers, whom it refuses, what it keeps, and that one clip never holds up another."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from media_files import voice_like, write_media
from thinslice import DEFAULT_BUNDLE
from thinslice.types import Prediction, TraitScore

pytest.importorskip("starlette", reason="the extra web is not installed")
testclient = pytest.importorskip("starlette.testclient", reason="httpx is not installed")

from thinslice.web import upload as upload_module  # noqa: E402
from thinslice.web.app import STATIC, ServerSettings, build_app  # noqa: E402
from thinslice.web.folder import private_folder, sweep, uploads_dir  # noqa: E402
from thinslice.web.guard import known_hosts  # noqa: E402
from thinslice.web.line import WaitingLine  # noqa: E402
from thinslice.web.openapi import openapi_document  # noqa: E402
from thinslice.web.refusal import Refusal  # noqa: E402
from thinslice.web.shelf import KEEP_S, Shelf  # noqa: E402
from thinslice.web.upload import MAX_WORDS_BYTES, safe_suffix, shown_name  # noqa: E402
from thinslice.web.workers import Failed, ScoredUpload, UploadJob, Worker  # noqa: E402

HOST = {"host": "localhost:7860"}


def prediction(clip: str, transcript: str | None = None) -> Prediction:
    return Prediction(
        clip=clip,
        traits={"extraversion": TraitScore(0.5, 0.4, 0.6, 50.0)},
        used=("voice",),
        transcript=transcript,
        warnings=(),
        seconds={"total": 0.1},
        bundle={"name": "voice-words", "version": "1"},
    )


class InProcess:
    """A worker that scores at once, in this process, and notes what it was given."""

    jobs: list[tuple[UploadJob, str | None]] = []  # noqa: RUF012

    def __init__(self, bundle: str = "", threads: int = 1, limit_s: float = 1.0) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def start(self) -> None:
        pass

    def score(self, job, on_stage):
        assert job.clip.is_file()
        words = job.words.read_text("utf-8") if job.words else None
        self.jobs.append((job, words))
        on_stage("voice")
        self.gate.wait(10)
        if job.name.startswith("bad"):
            return Failed(f"{job.name}: is text, not video or audio")
        return ScoredUpload(prediction(job.name, words), {})

    def close(self) -> None:
        self.gate.set()


@pytest.fixture
def client(tmp_path):
    InProcess.jobs = []
    app = build_app(ServerSettings(max_mb=1), tmp_path, known_hosts(), InProcess)
    with testclient.TestClient(app, "http://localhost:7860") as client:
        yield client


def post(client, data=b"x" * 10, name="talk.mp4", fields=None, **headers):
    return client.post("/api/predict", files={"clip": (name, data)}, data=fields or {}, headers=headers)


def test_a_clip_gives_one_element_of_predict_json_and_is_gone(client, tmp_path):
    answer = post(client, fields={"transcript": "Hi everyone"})
    assert answer.status_code == 200
    assert answer.json() == prediction("talk.mp4", "Hi everyone").to_dict()
    assert list(tmp_path.iterdir()) == []


def test_the_page_hears_place_stages_and_result_and_its_files_can_be_fetched(client, tmp_path):
    answer = post(client, fields={"transcript": "Hi"}, accept="application/x-ndjson")
    *news, result = [json.loads(line) for line in answer.text.splitlines()]
    assert news == [{"position": 1}, {"stage": "voice"}]
    assert result["prediction"]["clip"] == "talk.mp4"
    assert list(tmp_path.iterdir()) == []
    where = f"/results/{result['token']}"
    assert client.get(f"{where}/predictions.csv?download").text.splitlines()[0].startswith("clip,extraversion")
    assert client.get(f"{where}/predictions.json").json() == [result["prediction"]]
    report = client.get(f"{where}/report.html")
    assert "talk.mp4" in report.text
    assert "script-src" not in report.headers["content-security-policy"]
    assert client.delete(where).status_code == 204
    assert client.get(f"{where}/report.html").status_code == 404


def test_words_that_look_like_a_file_are_words(client, tmp_path):
    post(client, fields={"transcript": "/etc/passwd"})
    assert InProcess.jobs[0][1] == "/etc/passwd"


def test_a_timed_transcript_keeps_its_ending(client):
    files = {"clip": ("a.mp4", b"x"), "transcript": ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHi\n")}
    assert client.post("/api/predict", files=files).status_code == 200
    assert InProcess.jobs[0][0].words.suffix == ".srt"


@pytest.mark.parametrize(
    ("send", "status", "says"),
    [
        (lambda client: post(client, name="bad.mp4"), 422, "is text"),
        (lambda client: post(client, data=b"x" * (2 << 20)), 413, "larger than 1 MB"),
        (lambda client: post(client, fields={"transcript": "a" * (MAX_WORDS_BYTES + 1)}), 413, "transcript is longer"),
        (lambda client: post(client, fields={"bundle": "/etc"}), 400, "no such bundle"),
        (lambda client: post(client, fields={"bundle": "../voice-words"}), 400, "no such bundle"),
        (lambda client: client.post("/api/predict", data={"transcript": "Hi"}), 400, "multipart"),
        (lambda client: client.post("/api/predict", files={"other": b"x"}), 400, "no clip"),
        (lambda client: client.post("/api/predict", files=[("clip", b"x")] * 2), 400, "one clip"),
        (lambda client: post(client, fields={"transcript": ["Hi", "Bye"]}), 400, "'transcript' is sent twice"),
        (lambda client: post(client, fields={"bundle": ["", "/etc"]}), 400, "'bundle' is sent twice"),
        (lambda client: client.post("/api/predict", files=[(f"f{n}", b"x") for n in range(9)]), 400, "fields"),
        (lambda client: client.get("/api/predict"), 405, "Not Allowed"),
        (lambda client: client.get("/no/such/page"), 404, "Not Found"),
        (lambda client: client.get("/results/none/report.html"), 404, "no such result"),
        (lambda client: client.get("/static/../app.py"), 404, "Not Found"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_leaves_nothing(client, tmp_path, send, status, says):
    answer = send(client)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert str(tmp_path) not in answer.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body", [b"", b"--b\r\n", b"--b\r\nContent-Disposition: form-data; name=clip\r\n\r\nabc", b"\0" * 99]
)
def test_a_form_that_breaks_off_or_is_none_is_refused(client, tmp_path, body):
    answer = client.post("/api/predict", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 400
    assert list(tmp_path.iterdir()) == []


def test_a_boundary_of_any_length_is_a_form_or_is_refused(client):
    kind = f"multipart/form-data; boundary={'b' * 9_000}"
    answer = client.post("/api/predict", content=b"", headers={"content-type": kind})
    assert answer.status_code == 400
    assert "malformed" in answer.json()["error"]


def test_a_body_without_a_length_is_counted(client, tmp_path):
    def body():
        yield b'--b\r\nContent-Disposition: form-data; name="clip"; filename="a.mp4"\r\n\r\n'
        for _ in range(40):
            yield b"x" * (1 << 16)

    answer = client.post("/api/predict", content=body(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 413
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_before_anything_is_written(client, monkeypatch):
    monkeypatch.setattr(upload_module, "KEEP_FREE_BYTES", 1 << 62)
    answer = post(client)
    assert answer.status_code == 429
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:7860", ""])
def test_a_foreign_name_is_refused(client, host):
    """DNS rebinding: a site's own name, made to point at this machine."""
    assert client.get("/api/health", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:7860", "[::1]:7860", "192.168.1.20:7860", "LOCALHOST:7860"])
def test_own_names_and_addresses_are_served(client, host):
    assert client.get("/api/health", headers={"host": host}).json()["status"] == "ok"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_uploads_from_other_web_sites_are_refused(client, headers):
    answer = post(client, **headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_the_own_page_and_programs_may_upload(client):
    assert post(client, **{"origin": "http://localhost:7860", "sec-fetch-site": "same-origin"}).status_code == 200
    assert post(client).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/health", "/api/docs", "/static/page.js", "/missing"])
def test_every_answer_carries_the_security_headers(client, path):
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"


def test_no_file_of_the_pages_reaches_outside_or_holds_inline_code():
    for path in STATIC.iterdir():
        text = path.read_text("utf-8")
        outside = [part for part in text.split("http")[1:] if part.startswith(("://", "s://"))]
        assert all(part.startswith("://www.w3.org/2000/svg") for part in outside), path
        if path.suffix == ".html":
            assert "<style" not in text
            assert "style=" not in text
            assert re.search(r"\son[a-z]+=|<script(?! type=\"module\" src=)", text) is None


def test_openapi_names_every_route_of_the_service(client):
    document = client.get("/api/openapi.json").json()
    assert document == json.loads(json.dumps(openapi_document(1)))
    routes = {route.path for route in client.app.routes if route.path.startswith("/api/")}
    assert set(document["paths"]) == routes - {"/api/openapi.json", "/api/docs"}
    assert set(prediction("a").to_dict()) == set(document["components"]["schemas"]["Prediction"]["required"])
    page = client.get("/api/docs").text
    assert "curl -F clip=@talk.mp4 http://localhost:7860/api/predict" in page


def test_offered_bundles_are_names_never_folders(client):
    offer = client.get("/api/bundles").json()
    assert offer["bundles"][0] == {"name": DEFAULT_BUNDLE, "inputs": ["face", "voice", "words"]}
    assert offer["max_mb"] == 1


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("talk.mp4", "talk.mp4"),
        ("C:\\Users\\me\\a b.mp4", "a b.mp4"),
        ("../../etc/passwd", "passwd"),
        ("", "clip"),
        ("a\nb", "a b"),
    ],
)
def test_a_files_name_is_its_last_part(sent, shown):
    assert shown_name(sent) == shown


def test_only_a_harmless_ending_reaches_the_disk():
    assert [safe_suffix(name) for name in ("a.MP4", "a.tar.gz", "a", "a.m p", "a.%2e", "a.muchtoolong")] == [
        ".mp4", ".gz", "", "", "", "",
    ]  # fmt: skip


def test_senders_take_turns_and_know_their_place(tmp_path):
    import asyncio

    async def places() -> list[str]:
        line = WaitingLine([InProcess()])  # not opened: nobody is served
        for client, name in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1")]:
            await line.enter(UploadJob(tmp_path, name, None, ""), client)
        return [ticket.job.name for ticket in line.order()]

    assert asyncio.run(places()) == ["a1", "b1", "a2", "a3"]


def test_a_full_line_is_refused(tmp_path, monkeypatch):
    import asyncio

    from thinslice.web import line as line_module

    monkeypatch.setattr(line_module, "MAX_WAITING_EACH", 2)

    async def fill() -> None:
        line = WaitingLine([InProcess()])
        for _ in range(3):
            await line.enter(UploadJob(tmp_path, "a", None, ""), "a")

    with pytest.raises(Refusal, match="waiting"):
        asyncio.run(fill())


def test_results_are_forgotten_after_a_while():
    now_s = [0.0]
    shelf = Shelf(lambda: now_s[0])
    token = shelf.keep(ScoredUpload(prediction("a"), {}))
    assert shelf.get([token])[0].prediction.clip == "a"
    now_s[0] = KEEP_S + 1
    with pytest.raises(Refusal, match="kept for 15 minutes"):
        shelf.get([token])


def test_a_dead_servers_uploads_are_swept_and_a_living_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path))
    dead = uploads_dir() / "server-dead"
    dead.mkdir(parents=True)
    (dead / "clip.mp4").write_bytes(b"x")
    with private_folder() as folder:
        assert not dead.exists()
        assert oct(folder.stat().st_mode)[-3:] == "700"
        assert sweep(uploads_dir()) == 0
        assert folder.is_dir()
    assert not folder.exists()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("web") / "talk.wav", [voice_like(3.0)], audio_codec="pcm_s16le")


def test_a_worker_scores_tells_its_stages_and_survives_what_a_clip_does(sound, tmp_path):
    """One process: a good clip, an empty one, a clip that takes too long, and a good one again."""
    words = tmp_path / "words.txt"
    words.write_text("Hi everyone, welcome back", "utf-8")
    (tmp_path / "clip.mp4").touch()
    worker = Worker("voice-words", threads=1, limit_s=100.0)
    stages: list[str] = []
    try:
        scored = worker.score(UploadJob(sound, "talk.wav", words, "voice-words"), stages.append)
        assert isinstance(scored, ScoredUpload)
        assert scored.prediction.clip == "talk.wav"
        assert stages == ["words", "voice", "model"]
        failed = worker.score(UploadJob(tmp_path / "clip.mp4", "mine.mp4", words, "voice-words"), stages.append)
        assert isinstance(failed, Failed)
        assert failed.error.startswith("mine.mp4: is empty")
        assert str(tmp_path) not in failed.error
        worker._limit_s = 0.0
        late = worker.score(UploadJob(sound, "slow.wav", words, "voice-words"), stages.append)
        assert isinstance(late, Failed)
        assert "took longer" in late.error
        assert worker._child is None  # ended, not left behind
    finally:
        worker.close()


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_stopped_server_leaves_no_upload(tmp_path, signal_name):
    import signal
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "THINSLICE_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "thinslice", "web", "--port", str(port), "--workers", "1"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert "open http://127.0.0.1" in server.stderr.readline()
            client = _sender(port)
            _wait_for(lambda: any(path.name.startswith("clip") for path in tmp_path.rglob("*")))
        finally:
            server.send_signal(getattr(signal, signal_name))
            server.wait(60)
        client.close()
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(("clip", "server-"))] == []


def _sender(port: int):
    """A connection that has sent half a clip."""
    import socket

    for _ in range(600):
        try:
            sender = socket.create_connection(("127.0.0.1", port), timeout=5)
            break
        except OSError:
            time.sleep(0.1)
    head = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="clip"; filename="a.mp4"\r\n\r\n'
    sender.sendall(head + part + b"x" * 1000)
    return sender


def _wait_for(there) -> None:
    for _ in range(600):
        if there():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come")


def test_the_command_says_what_is_missing_or_taken(tmp_path):
    from click.testing import CliRunner

    from thinslice.cli.web import web
    from thinslice.errors import BundleError, UsageError
    from thinslice.web.serve import open_socket

    assert isinstance(CliRunner().invoke(web, ["--bundle", "no-such"]).exception, BundleError)
    with open_socket("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="cannot listen"):
        open_socket("127.0.0.1", taken.getsockname()[1])


def test_the_example_is_there_in_a_clone():
    from thinslice.infer.example import example_clip

    assert example_clip() in (Path(__file__).parents[1] / "examples" / "sample.mp4", STATIC / "example.mp4")
