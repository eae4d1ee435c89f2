"""The page in a real browser: one clip, a batch, a recording, a phone; nothing from outside, no complaint."""

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

from browser import find_chromium, open_browser, outside, serve
from media_files import voice_like, write_media
from thinslice.infer.predictor import Predictor
from thinslice.web.app import ServerSettings, build_app
from thinslice.web.guard import known_hosts
from thinslice.web.workers import _score

WORDS = "Hi everyone, welcome back. I really love this soup."


class InThread:
    """A worker that scores in this process: the browser tests are about the page."""

    def __init__(self, bundle, threads, limit_s):
        self.predictors = {bundle: Predictor(bundle, threads)}

    def start(self):
        pass

    def score(self, job, on_stage):
        import pickle

        from thinslice.web.workers import Failed

        kind, value = _score(job, self.predictors, 1, on_stage)
        return pickle.loads(value) if kind == "done" else Failed(value)

    def close(self):
        pass


@pytest.fixture(scope="module")
def browser():
    find_chromium()
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    app = build_app(ServerSettings(num_workers=1), tmp_path_factory.mktemp("uploads"), known_hosts(), InThread)
    with serve(app) as address:
        yield address


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#bundle option", state="attached")
    yield page
    context.close()
    assert outside(requests, address) == []
    assert [line for line in complaints if "422" not in line] == []


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name in ("one.wav", "two.wav"):
        write_media(folder / name, [voice_like(2.0)], audio_codec="pcm_s16le")
        (folder / name).with_suffix(".txt").write_text(WORDS, "utf-8")
    (folder / "bad.mp4").write_text("no clip", "utf-8")
    return folder


def test_a_clip_plays_beside_its_scores_with_its_words_and_whole_report(page, clips):
    page.fill("#transcript", WORDS)
    page.set_input_files("#file", clips / "one.wav")
    page.wait_for_selector("#result .scale")
    assert page.locator("#result .scale").count() == 6
    assert page.locator("#result audio").get_attribute("src").startswith("blob:")
    assert page.inner_text(".words .text") == WORDS
    assert page.locator(".words mark").count() > 3
    page.click(".words .tabs button >> nth=0")
    assert page.get_attribute(".words .tabs button >> nth=0", "aria-pressed") == "true"
    frame = page.frame_locator("#frame")
    frame.locator("h1").wait_for()
    assert frame.locator("h1").inner_text() == "one.wav"
    page.wait_for_timeout(300)
    inner, outer = page.eval_on_selector(
        "#frame", "frame => [frame.contentDocument.documentElement.scrollHeight, frame.clientHeight]"
    )
    assert inner <= outer  # nothing scrolls inside
    with page.expect_download() as download:
        page.click("text=CSV")
    text = download.value.path().read_text("utf-8")
    assert text.splitlines()[1].startswith("one.wav,")
    page.click("text=Forget")
    page.wait_for_selector("#result", state="hidden")


def test_a_batch_with_transcripts_beside_it_and_one_bad_file(page, clips):
    page.set_input_files("#file", sorted(clips.iterdir()))
    page.wait_for_selector(".batch tbody tr >> nth=1")
    page.wait_for_selector("#clips .failed")
    assert "text" in page.inner_text("#clips .failed")
    assert page.inner_text(".words .text") == WORDS
    page.click("text=one.wav >> nth=0")
    assert page.inner_text(".clip-name") == "one.wav"


def test_a_recording_of_webcam_and_microphone_is_scored(page):
    page.fill("#transcript", WORDS)
    page.click("#record")
    page.wait_for_selector("#clock:has-text('2 s')")
    page.click("#stop")
    page.wait_for_selector("#result .scale, #clips .failed")
    assert page.inner_text(".clip-name").startswith("recording.")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_scrolls_sideways(page, clips, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.fill("#transcript", WORDS)
    page.set_input_files("#file", clips / "one.wav")
    page.wait_for_selector("#result .scale")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(22, 24, 26)"


def test_a_page_from_elsewhere_cannot_upload(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.route("http://evil.example/", lambda route: route.fulfill(body="<h1>evil</h1>", content_type="text/html"))
    page.goto("http://evil.example/")
    refused = page.evaluate(
        """async (target) => {
            const form = new FormData();
            form.append("clip", new Blob(["x"]), "a.mp4");
            try { await fetch(target, {method: "POST", body: form}); return "answered"; } catch { return "refused"; }
        }""",
        f"{address}api/predict",
    )
    context.close()
    assert refused == "refused"
