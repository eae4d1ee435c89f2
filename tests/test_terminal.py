"""What the terminal shows: within its width, in its encoding, with or without colour."""

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from report_examples import CARDS, TEXT, example, windows
from thinslice.report.terminal import render_table
from thinslice.traits import POLES, TARGETS, TRAITS
from thinslice.types import CueShare, Explanation, TraitScore, WordShare

STRANGE = "日本\x1b[31m\u202e\udcff\n会議の録画-Zażółć.mp4"


def printed(predictions, cards=CARDS, *, width=80, encoding="utf-8", **options):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")
    console = Console(file=stream, width=width, legacy_windows=False, **options)
    console.print(render_table(predictions, cards))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


CASES = {
    "one": [example(warnings=["no transcript: " + "give one with --transcript " * 8])],
    "voice only": [example(text="")],
    "unexplained": [example(explain=False)],
    "strange": [example(STRANGE, text=f"Zażółć gęślą — jaźń 🎉 {TEXT}", warnings=[STRANGE])],
    "timeline": [example(timeline=windows(4, silent=(1,)))],
    "batch": [example(f"{STRANGE}{n}.mp4", seed=n, warnings=["w"] * (n % 7 == 0)) for n in range(50)],
    "five traits": [example(targets=TRAITS)],
    "nothing": [],
}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize("width", [48, 80, 200])
@pytest.mark.parametrize("name", CASES)
def test_no_line_is_wider_than_the_terminal_in_any_encoding(name, width, encoding):
    text = printed(CASES[name], width=width, encoding=encoding)
    assert all(cell_len(line.rstrip()) <= width for line in text.split("\n"))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_clip_shows_scale_interval_place_and_caution():
    prediction = example()
    text = printed([prediction])
    for name in TARGETS:
        score = prediction.traits[name]
        assert re.search(
            rf"{name} .* {score.score:.2f}  {score.low:.2f}–{score.high:.2f}  {score.percentile:.0f}% of", text
        )
        assert re.search(rf"{POLES[name][0]} +{POLES[name][1]}", text)
    assert "R² about 0.25 for unseen speakers, with these inputs: most of what strangers" in text
    assert "Not for hiring" in text
    assert "6,000 training clips" in " ".join(text.split())
    assert "neuroticism is reversed: 1 is comfortable" in text


@pytest.mark.parametrize(("value", "column"), [(0.0, 0), (0.5, 0.5), (1.0, 1)])
def test_dot_and_band_stand_where_the_numbers_say(value, column):
    score = TraitScore(value, max(0, value - 0.2), min(1, value + 0.1), 50.0)
    base = example(explain=False, targets=("openness",))
    text = printed([replace(base, traits={"openness": score})], width=100)
    (bar,) = re.findall(r"^openness +([─━●┊]+) ", text, re.M)
    assert bar.index("●") == round(column * (len(bar) - 1))
    band = [index / (len(bar) - 1) for index, glyph in enumerate(bar) if glyph in "━●"]
    assert band[0] == pytest.approx(score.low, abs=0.02)
    assert band[-1] == pytest.approx(score.high, abs=0.02)


def test_movers_are_the_largest_shares_with_repeated_words_added_up():
    words = [
        WordShare("Um,", 0, {"openness": -0.02}),
        WordShare("um", 4, {"openness": -0.03}),
        WordShare("so", 7, {"openness": 0.0001}),
    ]
    cues = [CueShare("loudness", 40.0, {"openness": 0.04}, "voice")]
    explanation = Explanation(
        {"openness": 0.5}, {"voice": {"openness": 0.04}, "words": {"openness": -0.05}}, words, cues
    )
    base = example(targets=("openness",))
    text = printed([replace(base, explanation=explanation)])
    assert "openness          “Um” −0.050, loudness +0.040\n" in text


def test_batch_is_a_table_that_says_what_it_leaves_out():
    text = printed(CASES["batch"])
    rows = re.findall(r"(?:\s+0\.\d\d){6}$", text, re.M)
    assert len(rows) == 40
    assert "and 10 more: --json prints them all" in text
    assert "! w (8 clips)" in text


def test_no_color_leaves_shapes_that_still_tell_band_from_axis(monkeypatch):
    coloured = printed([example()], force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = printed([example()], force_terminal=True, color_system="standard")
    assert re.search(r"\x1b\[[\d;]*3[0-7]m", coloured)
    assert not re.search(r"\x1b\[[\d;]*3[0-7]m", plain)
    assert "━" in plain
    assert "●" in plain


def test_ascii_terminal_gets_ascii_glyphs():
    text = printed([example()], encoding="ascii")
    assert re.search(r"^openness +-+=*[|=]*O=+-+ +0\.\d\d  0\.\d\d-0\.\d\d", text, re.M)
    assert "R2 about 0.25" in text
    assert "?" not in text
