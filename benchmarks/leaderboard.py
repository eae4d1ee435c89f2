"""The leaderboard that ships with thinslice: our rows in it, its page and its figure.

    python benchmarks/leaderboard.py ours DATA [--descriptors FILE]   # trained and scored on the training clips
    python benchmarks/leaderboard.py page                    # docs/leaderboard.md and docs/figures/leaderboard.png

DATA is the folder of First Impressions V2's training split; FILE is what the trainer of face-voice-words keeps, without
it there are rows of voice-words alone. `ours` divides its 6,000 clips by clip, as the organisers
divided theirs, so that most but not all speakers of a test clip are in training; another seed is another division.
`page` puts the tables between the page's markers and draws the figure, from src/thinslice/published/leaderboard.csv.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.data.first_impressions import import_first_impressions
from thinslice.data.manifest import Manifest
from thinslice.evaluate.figures import STYLE, save_figure
from thinslice.evaluate.leaderboard import (
    KNOWN_SPLITS,
    LeaderboardRow,
    Submission,
    make_entry,
    read_leaderboard,
    rounded,
    submit,
)
from thinslice.evaluate.predictions import read_predictions
from thinslice.evaluate.scorecard import LabelledClips, build_scorecard
from thinslice.face_voice_words.model import MODES
from thinslice.face_voice_words.trainer import FaceVoiceWordsSettings, Fitted, cross_predict, prepare
from thinslice.files import write_atomically
from thinslice.train.run import write_predictions
from thinslice.traits import TARGETS, TRAITS
from thinslice.voice_words.trainer import TrainingData, VoiceWordsSettings, fit_voice_words, load_training_data

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "src" / "thinslice" / "published" / "leaderboard.csv"
PAGE = ROOT / "docs" / "leaderboard.md"
FIGURE = ROOT / "docs" / "figures" / "leaderboard"
NUM_TEST = 1500
"""Test clips of a division: a quarter, as the official 2,000 are of train and test together."""
BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"
_COLOURS = ("#0072b2", "#d55e00", "#cc79a7", "#009e73", "#e69f00", "#56b4e9")
_INK, _GREY = "#1b1f24", "#6e7781"


def add_ours(data_dir: Path, num_seeds: int, descriptors: Path | None) -> None:
    """Train our models on three quarters of the training clips, score them on the fourth: a row for each and seed."""
    table = import_first_impressions(data_dir).manifest.select("train")
    data = load_training_data(data_dir)
    place = {clip: i for i, clip in enumerate(table.clips)}
    labelled = _labelled(table.select([place[clip] for clip in data.clips]))
    fitted = None
    if descriptors is not None:
        with np.load(descriptors) as kept:
            fitted = prepare(data, kept["descriptors"], kept["counts"], FaceVoiceWordsSettings(), 0)
    for seed in range(num_seeds):
        order = np.random.default_rng(seed).permutation(len(data.clips))
        test, train = np.sort(order[:NUM_TEST]), np.sort(order[NUM_TEST:])
        model = fit_voice_words(data.subset(train), VoiceWordsSettings(), seed)
        scores, _ = model.predict(data.voice[test], [data.transcripts[i] or None for i in test])
        tested, learned = labelled.of(test.tolist()), [labelled.of(train.tolist())]
        _add(f"thinslice voice-words, seed {seed}", "voice+words", scores, tested, learned)
        if fitted is not None:
            scores = _looking(data, fitted, train, test)
            _add(f"thinslice face-voice-words, seed {seed}", "face+voice+words", scores, tested, learned)


def _looking(data: TrainingData, fitted: Fitted, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return face-voice-words' scores of the test clips, each by all inputs that it has."""
    folds = np.zeros(len(data.clips), int)
    folds[test] = 1
    found = cross_predict(data, fitted, folds, FaceVoiceWordsSettings())
    scores = np.full((len(data.clips), len(TARGETS)), np.nan)
    for mode in MODES:
        scores = np.where(np.isnan(scores), found[mode], scores)
    return scores[test]


def _add(name: str, inputs: str, scores: np.ndarray, tested: LabelledClips, learned: list[LabelledClips]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.csv"
        write_predictions(file, tested.clips, TRAITS, scores[:, : len(TRAITS)])
        card, _ = build_scorecard(tested, read_predictions(file), learned)
        entry = make_entry(Submission(TABLE, name, inputs, "thinslice"), card, tested, learned, file.read_bytes())
    submit(rounded(entry), TABLE)
    print(f"{name}: R² {entry.r2:.4f}, unseen {entry.unseen_r2:.4f} ({entry.unseen_num_clips} clips)", flush=True)


def make_page() -> None:
    """Put the tables into the page and draw the figure."""
    entries = read_leaderboard(TABLE)
    page = PAGE.read_text(encoding="utf-8")
    write_atomically(PAGE, with_tables(page, entries).encode())
    save_figure(draw(entries), FIGURE)
    FIGURE.with_suffix(".svg").unlink()


def with_tables(page: str, entries: list[LeaderboardRow]) -> str:
    """Return the page with its tables made again: one for the official split, one for all others."""
    official = [entry for entry in entries if entry.test_sha256 in KNOWN_SPLITS]
    others = [entry for entry in entries if entry.test_sha256 not in KNOWN_SPLITS]
    for name, rows in (("official", official), ("others", others)):
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{table_of(rows)}{end}{after}"
    return page


def ranked(entries: list[LeaderboardRow]) -> list[LeaderboardRow]:
    """Return rows in the order of the tables: the best on unseen speakers first."""
    return sorted(entries, key=lambda entry: -entry.unseen_r2)


def table_of(entries: list[LeaderboardRow]) -> str:
    """Return rows as a Markdown table; their numbers are those of the figure."""
    names = ("", "system", "inputs", "trained on", "R², all clips", "R², unseen speakers", "accuracy: all, unseen")
    lines = [f"| {' | '.join((*names, 'lookup: accuracy, R²'))} |", f"|{'---|' * (len(names) + 1)}"]
    for number, entry in enumerate(ranked(entries), 1):
        whole = f"{entry.r2:.3f} [{entry.r2_low:.3f}, {entry.r2_high:.3f}]"
        whole += f" ({entry.missing} clip missing)" if entry.missing else ""
        unseen = f"**{entry.unseen_r2:.3f}** [{entry.unseen_r2_low:.3f}, {entry.unseen_r2_high:.3f}]"
        known = entry.lookup_accuracy is not None and entry.lookup_r2 is not None
        cells = (
            str(number),
            entry.system,
            entry.inputs,
            entry.trained_on.replace("+", " + "),
            whole,
            f"{unseen}, {entry.unseen_num_clips} clips",
            f"{entry.accuracy:.4f}, {entry.unseen_accuracy:.4f}",
            f"{entry.lookup_accuracy:.4f}, {entry.lookup_r2:.3f}" if known else "not known",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(entries: list[LeaderboardRow]) -> Any:
    """Draw R² on all clips against R² on unseen speakers, with 95% intervals; a system's rows have one colour."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    families = list(dict.fromkeys(_family(entry) for entry in entries))
    colour = {family: _COLOURS[place % len(_COLOURS)] for place, family in enumerate(families)}
    official = [entry for entry in ranked(entries) if entry.test_sha256 in KNOWN_SPLITS]
    lookups = [entry.lookup_r2 for entry in entries if entry.lookup_r2 is not None]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 0.6], [0, 0.6], color=_GREY, linewidth=0.7, linestyle=":", zorder=1)
        text = {"textcoords": "offset points", "fontsize": 7}
        axes.annotate(
            "as good with speakers\nit has not met", (0.17, 0.17), xytext=(-8, -8), ha="right", color=_GREY, **text
        )
        if lookups:
            axes.plot(
                lookups, [0] * len(lookups), marker="s", markersize=4, color=_INK, linestyle="none", clip_on=False
            )
            said = "a lookup of the speaker's training labels"
            axes.annotate(said, (min(lookups), 0), xytext=(-6, 5), ha="right", color=_INK, **text)
        for entry in entries:
            _point(axes, entry, colour[_family(entry)])
        for number, entry in enumerate(official, 1):
            side = -1 if number % 2 else 1
            axes.annotate(str(number), (entry.r2, entry.unseen_r2), xytext=(5 * side, -side * 3 + 1), color=_INK,
                          ha="right" if side < 0 else "left", va="center", zorder=5, **text)  # fmt: skip
        axes.set(xlim=(0, 0.58), ylim=(0, 0.58), aspect="equal")
        axes.set_xlabel("R², all test clips (most speakers are in training)")
        axes.set_ylabel("R², clips of speakers who are not in training")
        handles = []
        for family in families:
            first = next(entry for entry in entries if _family(entry) == family)
            shape = {"marker": _marker(first), "markersize": 4.5, "markerfacecolor": _fill(first, colour[family])}
            handles.append(Line2D([], [], color=colour[family], linestyle="none", label=family, **shape))
        axes.legend(handles=handles, loc="upper left", handletextpad=0.3)
    return figure


def _point(axes: Any, entry: LeaderboardRow, colour: str) -> None:
    axes.errorbar(
        entry.r2,
        entry.unseen_r2,
        xerr=[[entry.r2 - entry.r2_low], [entry.r2_high - entry.r2]],
        yerr=[[entry.unseen_r2 - entry.unseen_r2_low], [entry.unseen_r2_high - entry.unseen_r2]],
        marker=_marker(entry),
        markersize=4.5,
        color=colour,
        elinewidth=0.5,
        markerfacecolor=_fill(entry, colour),
        linestyle="none",
        zorder=3,
    )


def _marker(entry: LeaderboardRow) -> str:
    return "o" if entry.test_sha256 in KNOWN_SPLITS else "D"


def _fill(entry: LeaderboardRow, colour: str) -> str:
    return colour if entry.test_sha256 in KNOWN_SPLITS else "white"


def _family(entry: LeaderboardRow) -> str:
    """A system without its seed; whoever is not scored on the official test split is marked."""
    name = entry.system.partition(", seed ")[0]
    return name if entry.test_sha256 in KNOWN_SPLITS else f"{name}: seeds, within the training clips"


def _labelled(table: Manifest) -> LabelledClips:
    return LabelledClips(table.clips, table.speakers, table.labels(), {"split": table.splits}, "training clips")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    ours = commands.add_parser("ours")
    ours.add_argument("data", type=Path)
    ours.add_argument("--seeds", type=int, default=5)
    ours.add_argument("--descriptors", type=Path)
    commands.add_parser("page")
    given = parser.parse_args()
    if given.command == "ours":
        add_ours(given.data, given.seeds, given.descriptors)
    else:
        make_page()


if __name__ == "__main__":
    main()
