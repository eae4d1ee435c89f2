"""Writes the tables of docs/results.md from docs/results.csv.

python benchmarks/results_page.py
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from thinslice.bundle import load_bundle

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TABLE = DOCS / "results.csv"
LEADERBOARD = ROOT / "src" / "thinslice" / "published" / "leaderboard.csv"
HEADER = (
    "| model | inputs | R², unseen | R², seen | accuracy, unseen | accuracy, seen | CCC, unseen | CCC, seen "
    "| votes | s | MB |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)
COLUMNS = {
    "r2_unseen": 4,
    "r2_seen": 4,
    "accuracy_unseen": 4,
    "accuracy_seen": 4,
    "ccc_unseen": 3,
    "ccc_seen": 3,
    "votes": 3,
    "seconds": 2,
    "megabytes": 1,
}
"""Column of the CSV file -> decimals."""


def main() -> None:
    """Write the table and the page."""
    rows = [refresh(row) for row in read(TABLE)]
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    page = DOCS / "results.md"
    page.write_text(fill(page.read_text("utf-8"), rows), "utf-8")


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table; "" where nothing was measured."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def refresh(row: Mapping[str, str]) -> dict[str, str]:
    """Return a row with the scores that its source has now."""
    if row["source"] == "leaderboard":
        (entry,) = [one for one in read(LEADERBOARD) if (one["system"], one["inputs"]) == (row["model"], row["inputs"])]
        metrics = ("accuracy", "r2", "ccc")
        seen = {f"{metric}_seen": entry[metric] for metric in metrics}
        return {**row, **seen, **{f"{metric}_unseen": entry[f"unseen_{metric}"] for metric in metrics}}
    found: dict[str, str] = {}
    if row["source"].startswith("card:"):
        for score in load_bundle(row["source"].removeprefix("card:")).card.scores:
            if row["inputs"] == "none" and "training mean" in score.clips:
                sides = ("seen", "unseen")
            elif row["inputs"] == score.inputs:
                sides = ("seen",) if "several folds" in score.clips else ("unseen",)
            else:
                continue
            for side in sides:
                found |= {f"accuracy_{side}": str(score.accuracy["average"]), f"r2_{side}": str(score.r2["average"])}
    return {**row, **found}


def fill(text: str, rows: Iterable[Mapping[str, str]]) -> str:
    """Return the page's text with the tables of these rows between its marks."""
    rows = sorted(rows, key=lambda row: -float(row["r2_unseen"] or -1))
    for clips in dict.fromkeys(row["clips"] for row in rows):
        start, end = f"<!-- {clips} -->\n", f"<!-- end of {clips} -->"
        before, _, rest = text.partition(start)
        after = rest.partition(end)[2]
        table = "\n".join([HEADER, *(_line(row) for row in rows if row["clips"] == clips)])
        text = f"{before}{start}{table}\n{end}{after}"
    return text


def _line(row: Mapping[str, str]) -> str:
    cells = [f"{float(row[name]):.{decimals}f}" if row[name] else "–" for name, decimals in COLUMNS.items()]
    return f"| {row['model']} | {row['inputs']} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
