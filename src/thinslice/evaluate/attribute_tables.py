"""Accuracy per trait by gender, age range and emotion, for any systems, beside what has been published of it.

Measured rows come from scorecards (`thinslice.evaluate.scorecard.build_scorecard`), one per modality or system, all of
the same labels; printed figures of those who give any by gender stand below them (Alfonso Hernández's slides: ages as
plots without numbers). The form is that of these slides.

Deviations: intervals, numbers of clips and R² beside every accuracy, which the slides do not have.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Final

from thinslice.evaluate.card import Scorecard, Scores
from thinslice.evaluate.groups import UNKNOWN
from thinslice.evaluate.tables import Table
from thinslice.published.figures import load_published
from thinslice.traits import TRAITS

AGE_RANGES: Final = (
    (7, "0-6"),
    (14, "7-13"),
    (19, "14-18"),
    (25, "19-24"),
    (33, "25-32"),
    (46, "33-45"),
    (61, "46-60"),
)
"""First Impressions' age groups: below so many years -> name; "61+" beyond."""

EMOTIONS: Final = {
    "neutral": "neutral",
    "anger": "anger",
    "angry": "anger",
    "disgust": "disgust",
    "disgusted": "disgust",
    "fear": "fear",
    "fearful": "fear",
    "happy": "happy",
    "happiness": "happy",
    "sad": "sadness",
    "sadness": "sadness",
    "surprise": "surprise",
    "surprised": "surprise",
}
"""Spellings of the seven emotions -> the slides' name."""

_NOTHING: Final = "–"
_LETTERS: Final = tuple(trait[0].upper() for trait in TRAITS)
_BEST: Final = 2
"""Traits that the slides name under "works better for"."""

Cards = Mapping[str, Scorecard]


def age_ranges(cells: Sequence[str]) -> list[str]:
    """Return ages in years as First Impressions' age groups; a column that is not all numbers as it is."""
    try:
        years = [float(cell) if cell.strip() else None for cell in cells]
    except ValueError:
        return list(cells)
    return ["" if age is None else next((name for below, name in AGE_RANGES if age < below), "61+") for age in years]


def build_attribute_tables(cards: Cards, gender: str | None, age: str | None, emotion: str | None) -> list[Table]:
    """Return the slides' tables.

    Args:
        cards: modality or system -> its scorecard, grouped by the columns below.
        gender: the column of genders, or None.
        age: of age groups, or None.
        emotion: of emotions, or None.
    """
    tables = [_overall(cards)]
    if gender is not None:
        tables.append(_by_group(cards, gender, _published_genders()))
    if age is not None:
        tables.append(_by_group(cards, age, [], "The slides show ages as plots, without numbers."))
    if emotion is not None:
        tables += [_by_emotion(cards, emotion), _best_and_worst(cards, emotion)]
    return tables


def _overall(cards: Cards) -> Table:
    rows = [(name, str(card.num_clips), *_scores(card.official)) for name, card in cards.items()]
    rows += [(f"published: {variant}", _NOTHING, *cells) for variant, cells in _published("accuracy").items()]
    note = "Published: Alfonso Hernández, on the official FI-V2 test split, speakers of the training clips included."
    return Table("Accuracy by modality", ("modality", "clips", *_LETTERS, "average", "R²"), tuple(rows), note)


def _by_group(cards: Cards, column: str, published: Sequence[tuple[str, ...]], note: str = "") -> Table:
    rows, notes = [], [note] if note else []
    for name, card in cards.items():
        entry = card.groups[column]
        for group, panel in entry.groups.items():
            if group != UNKNOWN:
                rows.append((name, group + (" *" if panel.small else ""), str(panel.num_clips), *_scores(panel)))
        if entry.gap:
            gap = entry.gap["accuracy"]["average"]
            ends = "" if gap.ci95 is None else f" [{gap.ci95[0]:.4f}, {gap.ci95[1]:.4f}]"
            luck = "" if gap.chance95 is None else f", luck alone up to {gap.chance95:.4f}"
            notes.append(f"{name}: gap {gap.gap:.4f}{ends}{luck} ({gap.highest} highest, {gap.lowest} lowest)")
    if any("*" in row[1] for row in rows):
        notes.append("* few speakers: the interval is too narrow; where two others remain the gap leaves it out.")
    rows += list(published)
    header = ("modality", column, "clips", *_LETTERS, "average", "R²")
    return Table(f"Accuracy by modality and {column}", header, tuple(rows), "\n".join(notes), "ll" + "r" * 8)


def _by_emotion(cards: Cards, column: str) -> Table:
    rows = []
    for group in _groups(cards, column):
        for name, card in cards.items():
            panel = card.groups[column].groups.get(group)
            if panel is None or panel["accuracy"][TRAITS[0]] is None:
                continue
            accuracy = panel["accuracy"]
            ends = [f"{trait} {accuracy[trait]:.4f}" for trait in (panel.best_trait, panel.worst_trait) if trait]
            mean = _with_ends(panel, "accuracy", 4)
            shown = group + (" *" if panel.small else "")
            rows.append((shown, name, str(panel.num_clips), mean, _with_ends(panel, "r2", 3), *ends))
    header = (column, "modality", "clips", "average", "R²", "best trait", "worst trait")
    return Table(f"Best and worst trait by {column} and modality", header, tuple(rows), align="llrrrll")


def _best_and_worst(cards: Cards, column: str) -> Table:
    """The slides' own form: over all modalities the two best traits, the worst, and the worst but for one modality."""
    means = {name: card.official["accuracy"]["average"] for name, card in cards.items()}
    known = {name: mean for name, mean in means.items() if mean is not None}
    weakest = min(known, key=known.__getitem__) if len(known) > 1 else None
    published = _published_emotions()
    rows = []
    for group in _groups(cards, column):
        scores = {
            (trait, name): value
            for name, card in cards.items()
            if (panel := card.groups[column].groups.get(group))
            for trait in TRAITS
            if (value := panel["accuracy"][trait]) is not None
        }
        if scores:
            rows.append((group, *_places(scores, weakest)))
        if printed := published.get(EMOTIONS.get(group.lower(), "")):
            rows.append((f"published: {EMOTIONS[group.lower()]}", *printed))
    without = f"worst without {weakest}" if weakest else "worst without the weakest modality"
    note = "Published: the worst without audio, the slides' weakest modality."
    header = (column, "works better for", "works worst for", without)
    return Table(f"Over all modalities, by {column}", header, tuple(rows), note, "llll")


def _places(scores: Mapping[tuple[str, str], float], weakest: str | None) -> tuple[str, str, str]:
    """Return what works better for, worst for, and worst for without a modality, of (trait, modality) -> accuracy."""
    best: dict[str, tuple[float, str]] = {}
    for (trait, name), value in scores.items():
        best[trait] = max(best.get(trait, (value, name)), (value, name))
    top = sorted(best.items(), key=lambda item: -item[1][0])[:_BEST]
    others = {key: value for key, value in scores.items() if key[1] != weakest}
    return (
        "; ".join(_cell(trait, name, value) for trait, (value, name) in top),
        _lowest(scores),
        _lowest(others) if weakest else _NOTHING,
    )


def _lowest(scores: Mapping[tuple[str, str], float]) -> str:
    trait, name = min(scores, key=scores.__getitem__)
    return _cell(trait, name, scores[trait, name])


def _cell(trait: str, name: str, value: float) -> str:
    return f"{trait} {value:.4f} ({name})"


def _groups(cards: Cards, column: str) -> list[str]:
    found = dict.fromkeys(group for card in cards.values() for group in card.groups[column].groups)
    return [group for group in found if group != UNKNOWN]


def _scores(panel: Scores) -> tuple[str, ...]:
    traits = (panel["accuracy"][trait] for trait in TRAITS)
    return (
        *(_NOTHING if value is None else f"{value:.4f}" for value in traits),
        _with_ends(panel, "accuracy", 4),
        _with_ends(panel, "r2", 3),
    )


def _with_ends(panel: Scores, metric: str, decimals: int) -> str:
    value = panel[metric]["average"]
    if value is None:
        return _NOTHING
    ends = panel.interval(metric, "average")
    return f"{value:.{decimals}f}" + ("" if ends is None else f" [{ends[0]:.{decimals}f}, {ends[1]:.{decimals}f}]")


def _published(metric: str) -> dict[str, tuple[str, ...]]:
    """Return variant -> the slides' cells of a row, with nothing for R²."""
    values: dict[str, dict[str, float]] = {}
    figures = load_published()
    by_gender = {figure.system for figure in figures if figure.metric == "accuracy_male"}
    for figure in figures:
        if figure.system in by_gender and figure.metric == metric:
            values.setdefault(figure.variant, {})[figure.target] = figure.value
    return {
        variant: (*(f"{found[target]:.4f}" for target in (*TRAITS, "average")), _NOTHING)
        for variant, found in values.items()
    }


def _published_genders() -> list[tuple[str, ...]]:
    rows = {gender: _published(f"accuracy_{gender}") for gender in ("male", "female")}
    return [
        (f"published: {variant}", gender, _NOTHING, *rows[gender][variant])
        for variant in rows["male"]
        for gender in ("female", "male")
    ]


def _published_emotions() -> dict[str, tuple[str, str, str]]:
    text = resources.files("thinslice.published").joinpath("published_emotions.csv").read_text(encoding="utf-8")
    cells: dict[str, dict[str, list[str]]] = {}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        shown = _cell(row["trait"], row["variant"], float(row["accuracy"]))
        cells.setdefault(row["emotion"], {}).setdefault(row["place"], []).append(shown)
    places = ("best", "worst", "worst without audio")
    return {
        emotion: ("; ".join(found[places[0]]), found[places[1]][0], found[places[2]][0])
        for emotion, found in cells.items()
    }
