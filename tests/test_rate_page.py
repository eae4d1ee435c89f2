"""The raters' page: what its server answers, and three raters in a real browser while the server is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")
testclient = pytest.importorskip("starlette.testclient", reason="httpx is not installed")

from browser import find_chromium, open_browser, outside  # noqa: E402
from media_files import numbered, tone, write_media  # noqa: E402
from test_rate import CLIPS, SECRET, manifest, study  # noqa: E402, F401
from thinslice.rate.answers import FILE, open_answers, read_answers  # noqa: E402
from thinslice.rate.session import Session, standing  # noqa: E402
from thinslice.rate.tokens import clip_token  # noqa: E402
from thinslice.web.guard import known_hosts  # noqa: E402
from thinslice.web.rate_app import build_rate_app  # noqa: E402


@pytest.fixture
def client(tmp_path):
    media = {}
    for clip in CLIPS:
        media[clip] = tmp_path / clip
        media[clip].write_bytes(bytes(range(100)))
    with open_answers(tmp_path / FILE) as file:
        app = build_rate_app(Session(study(raters=["ann"]), CLIPS, file, SECRET), media, known_hosts())
        with testclient.TestClient(app, "http://localhost") as client:
            yield client


def test_a_rater_answers_and_undoes(client):
    task = client.post("/api/next", json={"rater": "ann"}).json()
    answer = {"rater": "ann", "task": task["task"], "answers": [1, None], "seconds": 3.5, "watched_s": [3, 3]}
    following = client.post("/api/answer", json=answer).json()
    assert following["num_done"] == 1
    assert following["task"] != task["task"]
    back = client.post("/api/undo", json={"rater": "ann"}).json()
    assert (back["media"], back["num_done"]) == (task["media"], 0)


def test_clips_are_served_in_ranges_under_opaque_names_and_nothing_else_is(client):
    token = client.post("/api/next", json={"rater": "ann"}).json()["media"][0]
    part = client.get(f"/media/{token}", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert client.get(f"/media/{token}", headers={"range": "bytes=200-"}).status_code == 416
    for name in (CLIPS[0], "clips.csv", "../answers.jsonl", "..%2fanswers.jsonl", clip_token(b"other", CLIPS[0])):
        assert client.get(f"/media/{name}").status_code == 404


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"rater": 1}', "application/json", 400),
        (b'{"rater": "ann"}', "text/plain", 400),
        (b'{"rater": "eve"}', "application/json", 422),
        (b" " * 30_000, "application/json", 413),
        (b'{"rater": "ann", "task": "a~b~c", "answers": [1, 1]}', "application/json", 422),
    ],
)
def test_what_is_no_answer_is_refused(client, body, kind, status):
    path = "/api/answer" if b"task" in body else "/api/next"
    answer = client.post(path, content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert "\n" not in answer.json()["error"]


def test_other_sites_can_neither_read_nor_answer(client):
    assert client.post("/api/next", json={"rater": "ann"}, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/api/study", headers={"host": "evil.example"}).status_code == 421


def test_the_invited_codes_are_not_told(client):
    assert "raters" not in client.get("/api/study").json()


class Server:
    """`thinslice rate` in a process that can be killed and started again."""

    def __init__(self, folder, *options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/"
        self._command = [
            sys.executable,
            "-m",
            "thinslice",
            "rate",
            str(folder / "clips.csv"),
            "--out",
            str(folder / "s"),
        ]
        self._command += ["--port", str(self.port), *options]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.address}api/health", timeout=5).read()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not start")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


QUESTIONS = """
title = "Which?"
consent = "I take part."
watch_s = 0.2
break_every = 4
check_every = 0
[[questions]]
trait = "extraversion"
text = "Who seems friendlier?"
[[questions]]
trait = "openness"
text = "Who seems more imaginative?"
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_three_raters_lose_nothing_when_the_server_is_killed(manifest, tmp_path):  # noqa: F811
    find_chromium()
    for clip in CLIPS:
        (tmp_path / clip).unlink()
        write_media(tmp_path / clip, [tone(0.6)], numbered(15))
    (tmp_path / "q.toml").write_text(QUESTIONS, "utf-8")
    server = Server(tmp_path, "--questions", str(tmp_path / "q.toml"))
    with open_browser() as browser:
        try:
            raters = {rater: _enter(browser, server.address, rater, width) for rater, width in RATERS}
            for page in raters.values():
                _settle(page, _answer(page, by_key=True))
            waiting = {rater: _watch(page) for rater, page in raters.items()}
            server.kill()
            for page in raters.values():
                _choose(page, by_key=False)
            page.wait_for_selector("#problem:has-text('sent again')")
            server.start()
            for rater, page in raters.items():
                _settle(page, waiting[rater])
                for number in range(2):
                    _settle(page, _answer(page, by_key=bool(number)))
                assert page.inner_text("#progress") == "4 done"
                assert page.is_visible("#go-on")  # a break
                assert page.evaluate("() => document.documentElement.scrollWidth") <= page.viewport_size["width"]
                assert outside(page.seen, server.address) == []
        finally:
            server.kill()
    kept = standing(read_answers(tmp_path / "s" / FILE)[0])
    assert {rater: len(entries) for rater, entries in kept.items()} == {"ann": 4, "bob": 4, "cid": 4}
    assert {entry.answers for entries in kept.values() for entry in entries} == {(1.0, -1.0)}


RATERS = (("ann", 1280), ("bob", 1280), ("cid", 390))


def _enter(browser, address: str, rater: str, width: int):
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.set_default_timeout(120_000)
    page.seen = []
    page.on("request", lambda request: page.seen.append(request.url))
    page.goto(address)
    page.fill("#code", rater)
    page.press("#code", "Enter")
    page.click("#agree")
    return page


def _clips(page) -> str:
    videos = page.query_selector_all("#clips video")
    return "".join(video.get_attribute("src") or "" for video in videos)


def _watch(page) -> str:
    """Watch both clips; return which they are."""
    page.wait_for_selector("#clips video")
    for key in "12":
        page.keyboard.press(key)
        page.wait_for_selector(f"#clips figure:nth-child({key}).seen")
    return _clips(page)


def _choose(page, by_key: bool) -> None:
    """Choose left, then right."""
    if by_key:
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowRight")
    else:
        page.click(".choose >> nth=0")
        page.click(".choose >> nth=2")


def _answer(page, by_key: bool) -> str:
    clips = _watch(page)
    _choose(page, by_key)
    return clips


def _settle(page, before: str) -> None:
    """Wait until the server has the answer and the page shows what comes next."""
    for _ in range(1200):
        if _clips(page) != before:
            return
        page.wait_for_timeout(50)
    raise AssertionError("the next pair did not come")
