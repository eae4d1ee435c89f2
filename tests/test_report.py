"""The page: complete, closed to the outside, safe whatever it is given, and bounded."""

import base64
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_examples import BASELINE, CARD, CARDS, FAILURES, TEXT, example, faces, windows
from thinslice.bundle import Card, Score, load_bundle
from thinslice.errors import UsageError
from thinslice.report.cues import glossary, plain_cues
from thinslice.report.html import TEMPLATES, render_report, write_report
from thinslice.report.view import build_page
from thinslice.report.wording import honest_line, honest_line_of, percentile_words, printable, r2_of, side_words, signed
from thinslice.traits import POLES, TARGETS
from thinslice.types import CueShare, Explanation, Failure, Picture, TraitScore, Window, WordShare

VOID = {"meta", "br", "img", "input", "col", "line", "rect", "circle", "path"}


class Page(HTMLParser):
    """A page taken apart: elements with attributes, the text below each class, and whether all tags match."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.open, self.unmatched = [], [], [], []
        self.feed(html)
        self.close()
        self.unmatched += self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        if tag not in VOID:
            self.open.append((tag, attrs.get("class") or ""))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            self.unmatched.append(tag)
        else:
            self.open.pop()

    def handle_data(self, data):
        self.text.append((data, [entry[1] for entry in self.open], [entry[0] for entry in self.open]))

    def under(self, css_class):
        return "".join(data for data, classes, _ in self.text if any(css_class in each.split() for each in classes))

    def words(self):
        return " ".join("".join(data for data, _, tags in self.text if "style" not in tags).split())

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def page_of(predictions, failures=(), cards=CARDS):
    return Page(render_report(predictions, failures, cards))


EXAMPLES = {
    "one": ([example()], []),
    "voice only": ([example(text="", warnings=["no transcript: scored from the voice alone"])], []),
    "unexplained": ([example(explain=False)], []),
    "timeline": ([example(timeline=windows(40, silent=(7, 8, 23)))], []),
    "pictures": ([example(text="", voice=False, other_inputs=("face",), targets=TARGETS[:5], pictures=faces())], []),
    "batch with failures": ([example(f"{index}.mp4", seed=index) for index in range(6)], FAILURES),
    "only failures": ([], FAILURES),
    "nothing": ([], []),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_page_is_closed_to_the_outside_and_well_formed(name):
    page = page_of(*EXAMPLES[name])
    assert page.unmatched == []
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in page.elements}
    (policy,) = [attrs["content"] for _, attrs in page.elements if "http-equiv" in attrs]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert all(uri.startswith("data:image/png;base64,") for uri in page.attributes("src"))
    css = page.under("") + "".join(data for data, _, tags in page.text if tags[-1:] == ["style"])
    assert not re.search(r"@import|url\((?!#)", css)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert all(link.startswith("#") and link[1:] in ids for link in page.attributes("href"))
    assert all(target in ids for target in page.attributes("for"))
    assert not any(key.startswith("on") for _, attrs in page.elements for key in attrs)


def test_every_picture_has_a_text_alternative():
    for name in EXAMPLES:
        for tag, attrs in page_of(*EXAMPLES[name]).elements:
            if tag == "svg":
                assert attrs.get("aria-hidden") == "true" or len(attrs["aria-label"]) > 10
            if tag == "img":
                assert attrs["alt"]


def test_page_says_what_a_reader_must_know():
    prediction = example()
    text = page_of([prediction]).words()
    for name, score in prediction.traits.items():
        assert f"{score.score:.2f}" in text
        assert f"{score.low:.2f} to {score.high:.2f}" in text
        assert percentile_words(score.percentile, 6000) in text
        assert all(pole in text for pole in POLES[name])
    assert text.count("R² about 0.25 for unseen speakers, with these inputs: most of what strangers think") == 1
    assert "Not for hiring" in text
    assert "it did not look at the picture" in text
    assert "ChaLearn First Impressions V2" in text
    assert "reversed: 1 is comfortable" in text
    assert CARD.summary in text
    assert "speech to text 1.21 s" in text


def test_a_model_card_is_one_small_folded_table():
    older = {"voice-words": Card(summary="", r2={"voice+words": 0.2})}
    for cards, cells in ((CARDS, ["voice, words", "0.897", "0.247"]), (older, ["voice, words", "–", "0.200"])):
        page = page_of([example()], cards=cards)
        (details,) = [attrs for tag, attrs in page.elements if tag == "details" and attrs.get("class") == "card"]
        assert "open" not in details
        shown = [data for data, classes, tags in page.text if "card" in classes and tags[-1] == "td"]
        assert shown[: len(cells)] == cells
    assert CARD.digests["annotation_training.pkl"] not in page_of([example()]).words()


def test_spoken_scale_has_the_numbers():
    prediction = example()
    labels = [
        attrs["aria-label"] for tag, attrs in page_of([prediction]).elements if tag == "svg" and "aria-label" in attrs
    ]
    score = prediction.traits["neuroticism"]
    (label,) = [label for label in labels if label.startswith("neuroticism")]
    assert label.startswith(f"neuroticism, from 0, uneasy, to 1, comfortable: {score.score:.2f}, 80% interval")
    assert f"baseline {BASELINE['neuroticism']:.2f}" in label


def test_r2_is_that_of_the_inputs_used():
    assert r2_of(example(), CARDS) == 0.247
    assert r2_of(example(text=""), CARDS) == 0.221
    assert r2_of(example(voice=False), CARDS) == 0.070
    assert r2_of(example(), {}) is None
    turned = {"voice-words": Card(summary="", r2={"words+voice": 0.2})}
    assert r2_of(example(), turned) == 0.2
    assert r2_of(example(text=""), turned) is None
    published = {"bimodal": Card(summary="", r2={"": 0.44})}
    assert r2_of(example(bundle="bimodal", text="", other_inputs=("face",)), published) == 0.44
    both = CARDS | published
    assert r2_of(example(bundle="bimodal+voice-words"), both) is None


def test_words_stand_as_spoken_and_are_coloured_by_their_share():
    prediction = example()
    page = page_of([prediction])
    assert page.under("words") == TEXT
    (clip,) = build_page([prediction], [], CARDS).clips
    coloured = [piece for piece in clip.transcript.pieces if piece.classes]
    largest = max(abs(share) for word in prediction.explanation.words for share in word.shares.values())
    shares = {(word.text, word.start): word.shares for word in prediction.explanation.words}
    at = 0
    for piece in clip.transcript.pieces:
        for css_class in piece.classes.split():
            (target,) = [name for name in TARGETS if name[0] == css_class[0]]
            share = shares[piece.text, at][target]
            assert ("p" if share > 0 else "m") == css_class[1]
            assert int(css_class[2]) == round(4 * abs(share) / largest)
        at += len(piece.text)
    assert any(css_class.endswith("4") for piece in coloured for css_class in piece.classes.split())


def test_words_that_are_not_where_they_say_are_left_plain():
    words = [
        WordShare("Hi", 0, {"openness": 0.1}),
        WordShare("i e", 1, {"openness": 0.2}),
        WordShare("XX", 3, {"openness": 0.3}),
    ]
    base = example()
    prediction = replace(base, explanation=replace(base.explanation, words=words))
    (clip,) = build_page([prediction], [], CARDS).clips
    assert [piece.text for piece in clip.transcript.pieces if piece.classes] == ["Hi"]
    assert "".join(piece.text for piece in clip.transcript.pieces) == TEXT


def test_columns_of_the_account_add_up():
    prediction = example()
    (clip,) = build_page([prediction], [], CARDS).clips
    number = [[float(cell.text.replace("−", "-")) for cell in row.cells] for row in clip.moved.rows]
    kinds = [row.kind for row in clip.moved.rows]
    for column, name in enumerate(TARGETS):
        inputs = sum(row[column] for row, kind in zip(number, kinds, strict=True) if kind == "input")
        assert number[0][column] + inputs == pytest.approx(number[-1][column], abs=0.0021)
        assert number[-1][column] == pytest.approx(prediction.traits[name].score, abs=0.0006)
    voice = kinds.index("input")
    cues = [row for row, kind in zip(number[voice + 1 :], kinds[voice + 1 :], strict=True) if kind == "cue"]
    assert sum(row[0] for row in cues) == pytest.approx(number[voice][0], abs=0.005)


def test_what_no_cue_holds_is_shown_as_such():
    base = example(text="")
    explanation = replace(base.explanation, cues=base.explanation.cues[:3])
    (clip,) = build_page([replace(base, explanation=explanation)], [], CARDS).clips
    assert [row.name for row in clip.moved.rows][-2] == "no single cue"


def test_the_trait_of_the_lede_is_the_one_opened():
    base = example()
    middle = {name: replace(score, percentile=50.0) for name, score in base.traits.items()}
    traits = {**middle, "agreeableness": replace(middle["agreeableness"], percentile=88.0)}
    page = page_of([replace(base, traits=traits)])
    assert "Furthest from the middle is agreeableness" in page.words()
    assert [attrs["id"] for _, attrs in page.elements if "checked" in attrs] == ["c1-a"]


def test_measures_of_one_thing_stand_together_under_a_persons_word():
    base = example()
    shares = dict.fromkeys(base.traits, 0.036)
    opposite = dict.fromkeys(base.traits, -0.030)
    cues = [CueShare("timbre", None, opposite, "voice"), CueShare("fine timbre", None, shares, "voice")]
    cues += [CueShare("spectral tilt", 90.0, shares, "voice"), CueShare("brightness", 20.0, opposite, "voice")]
    cues += [CueShare("smile", 70.0, shares, "face")]
    merged = {cue.name: cue for cue in plain_cues(cues)}
    assert list(merged) == ["colour of the voice", "brightness", "smile"]
    assert merged["colour of the voice"].shares["openness"] == pytest.approx(0.006)
    assert merged["brightness"].level == 20.0
    assert glossary(merged)[0][0] == "brightness"
    text = page_of([base]).words()
    assert "fine timbre" not in text
    assert "colour of the voice what tells two voices" in text


def test_timeline_has_gaps_where_nothing_could_be_scored():
    prediction = example(timeline=windows(40, silent=(7, 8, 23)))
    (clip,) = build_page([prediction], [], CARDS).clips
    rows = clip.timeline.rows
    assert len(rows) == 6
    assert all(row.line.count("M") == 3 for row in rows), "the line must break at both gaps"
    assert all(row.band.count("Z") == 37 for row in rows)
    assert clip.timeline.gaps.count("Z") == 3
    assert clip.timeline.notes == (("1:45–2:15, 5:45–6:00", "digital silence"),)
    assert rows[0].spoken.startswith("openness over time: 37 of 40 windows scored, from 0.")
    text = page_of([prediction]).words()
    assert text.count("digital silence") == 1
    places = [float(place) for place in re.findall(r"V(-?[\d.]+)", "".join(row.band for row in rows))]
    assert 0 <= min(places) <= max(places) <= 100


def test_timeline_without_a_single_score_still_renders():
    silent = [Window(0, 5, {}, "silence"), Window(5, 10, {}, "silence")]
    assert "0:00–0:10: silence" in page_of([example(timeline=silent)]).words()


def test_pictures_are_inside_the_page_and_others_are_refused():
    pictures = [*faces(), Picture("not a picture", b"<svg onload=alert(1)>")]
    page = page_of([example(pictures=pictures)])
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert [base64.b64decode(attrs["src"].split(",")[1]) for attrs in images] == [picture.png for picture in faces()]
    assert (images[-1]["width"], images[-1]["height"]) == ("224", "224")
    assert "1 of 8 pictures left out" in page.words()


def test_large_batch_stays_bounded_and_says_so(tmp_path):
    predictions = [example(f"clips/{index}.mp4", seed=index % 7) for index in range(3000)]
    write_report(predictions, [Failure(f"{index}.mp4", "broken") for index in range(500)], CARDS, tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text("utf-8")
    assert len(html) < 4_000_000
    text = Page(html).words()
    assert "The first 50 of 3,000 clips are shown in detail" in text
    assert "The first 1,000 of 3,000 clips are listed" in text
    assert "The first 200 of 500 files that failed are listed" in text


def test_long_transcript_timeline_and_pictures_stay_bounded():
    big = b"\x89PNG\r\n\x1a\n" + b"\0" * 2_000_000
    predictions = [
        example(
            f"{index}.mp4",
            text=" ".join([TEXT] * 50),
            timeline=windows(1500),
            pictures=[Picture("big", big)],
            warnings=[f"warning {n}" for n in range(500)],
        )
        for index in range(4)
    ]
    html = render_report(predictions, [], CARDS)
    assert len(html) < 12_000_000
    text = Page(html).words()
    assert f"The first 1,500 of {50 * len(TEXT.split()):,} words are shown." in text
    assert "The first 1,000 of 1,500 windows are shown." in text
    assert "1 of 1 pictures left out" in text
    assert "and 480 more" in text


def test_one_word_without_spaces_is_cut():
    (clip,) = build_page([example(text="a" * 1_000_000)], [], CARDS).clips
    assert sum(len(piece.text) for piece in clip.transcript.pieces) < 100_000


HOSTILE = st.text(max_size=60) | st.sampled_from([
    "</script><script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "</p></style>{{ 7*7 }}{% raw %}",
    "\x00\x1b[31m\u202egpj.exe", "\udcff\ud800", "&lt;b&gt; &amp;", "javascript:alert(1)",
    "مرحبا 👩🏽‍🎨", "a\u00adb\u200b",
])  # fmt: skip


@settings(max_examples=60)
@given(clip=HOSTILE, text=HOSTILE, warning=HOSTILE, cue=HOSTILE, card=HOSTILE, title=HOSTILE)
def test_nothing_from_outside_becomes_markup(clip, text, warning, cue, card, title):
    plain = page_of(
        [example("x.mp4", text="x", timeline=windows(2), pictures=faces()[:1], warnings=["w"])], FAILURES[:1]
    )
    base = example(
        clip, text=f"x{text}", timeline=windows(2), pictures=[Picture(title, faces()[0].png)], warnings=[warning]
    )
    cues = [replace(each, name=cue) for each in base.explanation.cues]
    noted = tuple(replace(window, note=warning) for window in base.timeline)
    hostile = replace(base, explanation=replace(base.explanation, cues=cues), timeline=noted)
    cards = {"voice-words": msgspec.structs.replace(CARD, summary=card, limits=(card,), notes={card: card})}
    html = render_report([hostile], [Failure(clip, warning)], cards)
    page = Page(html.encode("utf-8", "replace").decode())
    assert page.unmatched == []
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements}
    assert {key for _, attrs in page.elements for key in attrs} <= {key for _, attrs in plain.elements for key in attrs}
    shown = html.encode("utf-8", "replace").decode()
    assert not re.search("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert page.under("words") == printable(f"x{text}")


def test_file_name_that_is_no_utf8_is_written(tmp_path):
    write_report([example("a\udcffb.mp4")], [], CARDS, tmp_path / "sub" / "r.html")
    assert "a\ufffdb.mp4" in (tmp_path / "sub" / "r.html").read_text("utf-8")


def test_report_that_cannot_be_written_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match="is a folder; name a file"):
        write_report([example()], [], CARDS, tmp_path)


def test_same_predictions_give_the_same_page():
    assert render_report([example()], FAILURES, CARDS) == render_report([example()], FAILURES, CARDS)


def test_numbers_that_are_none_do_not_break_the_page():
    base = example()
    odd = TraitScore(float("nan"), -0.2, 1.4, float("nan"))
    prediction = replace(base, traits=base.traits | {"openness": odd}, explanation=Explanation({}, {}))
    page = page_of([prediction])
    assert page.unmatched == []
    widths = [attrs["width"] for tag, attrs in page.elements if tag == "rect" and attrs.get("class") == "s-band"]
    assert widths[0] == "100.0%"


def test_wording():
    assert percentile_words(63.4, 6000) == "higher than 63% of the 6,000 training clips"
    assert percentile_words(0.2, None) == "lower than almost all of the training clips"
    assert percentile_words(99.9, None) == "higher than almost all of the training clips"
    assert percentile_words(float("nan"), None) == ""
    assert side_words(30, None) == "lower than 70% of the training clips"
    assert side_words(0.2, None) == "lower than almost all of the training clips"
    assert [signed(0.0124), signed(-0.5), signed(-0.0004)] == ["+0.012", "−0.500", "0.000"]
    assert honest_line(None) == "Most of what strangers think of a person is not in these scores."
    assert honest_line(0.6, "(test, 9 clips)").startswith("R² about 0.60 (test, 9 clips): much of")


@pytest.mark.parametrize(
    ("clips", "said"), [("official test, as published", "as published"), ("test, 9 clips", "test, 9 clips")]
)
def test_a_trained_network_does_not_pass_its_own_score_off_as_the_papers(clips, said):
    base = example()
    score = Score(clips=clips, r2={"average": 0.44})
    card = Card(summary="A network.", paper="Somebody 2016", r2={"": 0.4401}, scores=(score,))
    line = honest_line_of(base, {base.bundle["name"]: card})
    assert line.startswith("R² about 0.44 (")
    assert said in line
    assert ("published" in line) == ("published" in clips)


def _luminance(colour):
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first, second):
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _palettes():
    css = (TEMPLATES / "style.css").read_text("utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, re.S)
    palettes = [dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", block)) for block in blocks]
    return dict(zip(("light", "dark"), palettes, strict=False))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_reaches_contrast_aa(mode):
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text; 1.4.11: 3 to 1 for what carries meaning."""
    colours = _palettes()[mode]
    for text in ("ink", "soft", "accent", "down"):
        for ground in ("paper", "faint"):
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for level in (1, 2, 3, 4):
        assert _contrast(colours["ink"], colours[f"p{level}"]) >= 4.5
        assert _contrast(colours["ink"], colours[f"m{level}"]) >= 4.5
    assert _contrast(colours["accent"], colours["band"]) >= 3


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = "import sys, thinslice.report.html, thinslice.report.terminal; print({'jinja2', 'rich'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[1] / "src"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert done.stdout.strip() == "set()"


BROWSER = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright to look at the page in a browser")
    if not BROWSER.exists():
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = driver.chromium.launch(executable_path=str(BROWSER), args=options)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_page_fits_the_window_and_asks_for_nothing(browser, tmp_path, width):
    long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3
    predictions = [
        example(
            f"{long}.mp4", text=f"{long} {TEXT}", timeline=windows(40, silent=(3,)), pictures=faces(), warnings=[long]
        ),
        example(text="", clip="b.mp4"),
    ]
    write_report(predictions, [Failure("c.mp4", long)], CARDS, tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": 812}, java_script_enabled=True)
    requests, messages = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert all(url.startswith(("file:", "data:")) for url in requests)
    assert messages == []
    page.click("label[for=c1-o]")
    seen = "name => getComputedStyle(document.querySelector(`#c1 .top-${name}`)).display"
    assert [page.evaluate(seen, name) for name in ("o", "e")] == ["block", "none"]
    page.close()


BROKEN_WORDS = """() => {
  const broken = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.parentElement.closest("td, th, dt, .tabs, .ends")) continue;
    for (const found of node.data.matchAll(/[^\\s+\\-\\/,_]+/g)) {
      if (found[0].includes("\\u00ad")) continue; // has its own places to break at
      const range = document.createRange();
      range.setStart(node, found.index);
      range.setEnd(node, found.index + found[0].length);
      const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
      if (new Set(boxes.map((box) => Math.round(box.top))).size > 1) broken.push(found[0]);
    }
  }
  return broken;
}"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("look", [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"media": "print"}])
def test_no_cell_breaks_a_word(browser, tmp_path, width, look):
    cards = CARDS | {"voice-words": load_bundle("voice-words").card}
    predictions = [example(timeline=windows(40, silent=(3,)), pictures=faces()), example(clip="talks/ben.mp4")]
    write_report(predictions, FAILURES, cards, tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.emulate_media(**look)
    page.goto((tmp_path / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate(BROKEN_WORDS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
