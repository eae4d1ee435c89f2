"""Tables in a terminal: whatever its width, no number and no word is broken, and none is lost."""

import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from thinslice.cli import show_table
from thinslice.evaluate.tables import Table

NAMES = ("openness", "conscientiousness", "extraversion", "  over the training mean")
WIDE = Table(
    "Per trait",
    ("trait", "accuracy", "R²", "Pearson r", "lookup accuracy", "seen speakers (80 clips)"),
    tuple((name, f"0.9{k}83 [0.92{k}0, 0.9372]", f"{k}.647 [-0.575, 0.703]", f"0.8{k}4", "–", f"0.{k}111")
          for k, name in enumerate(NAMES)),
    note="What a reader must know.",
)  # fmt: skip


def printed(table: Table, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(show_table, "_WIDTH_OF_A_FILE", width)
    show_table.print_tables([table])
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [48, 60, 80, 100, 160])
def test_no_line_is_too_wide_and_no_number_or_word_broken(width, capsys, monkeypatch):
    text = printed(WIDE, width, capsys, monkeypatch)
    assert all(cell_len(line.rstrip()) <= width for line in text.splitlines())
    for row in WIDE.rows:
        for number in re.findall(r"\[.*?\]|[0-9.]+(?= \[)|(?<!.)[0-9.]+(?!.)", " \n".join(row[1:])):
            assert number in text
    for word in " ".join((*WIDE.header, *NAMES)).split():
        assert word in text


def test_at_80_columns_intervals_stand_below_their_numbers(capsys, monkeypatch):
    lines = [line.rstrip() for line in printed(WIDE, 80, capsys, monkeypatch).splitlines()]
    place = next(index for index, line in enumerate(lines) if line.startswith("openness"))
    assert lines[place].split() == ["openness", "0.9083", "0.647", "0.804", "–"]
    assert lines[place + 1].split("  ")[-2:] == ["[0.9200, 0.9372]", "[-0.575, 0.703]"]
    assert lines[place + 1].index("]") == lines[place].index("0.9083") + len("0.9083") - 1
    assert sum(line.startswith("openness") for line in lines) == 2  # the last column follows below


def test_a_wide_terminal_shows_one_line_a_row(capsys, monkeypatch):
    text = printed(WIDE, 160, capsys, monkeypatch)
    assert re.search(r"^openness +0.9083 \[0.9200, 0.9372\] +0.647 \[-0.575, 0.703\] +0.804 +– +0.0111$", text, re.M)


def test_a_terminal_s_own_width_counts(monkeypatch):
    console = Console(width=80)
    parts = show_table._fit(WIDE, console.width)
    assert [part[0].header for part in parts] == ["trait"] * len(parts)
    assert sum(len(part) - 1 for part in parts) == len(WIDE.header) - 1
