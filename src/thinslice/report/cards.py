"""A model card as a few facts and one small table; bundle.json has the rest."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thinslice.bundle import Card
from thinslice.report.wording import cards_of, shown
from thinslice.types import Prediction

MAX_ROWS = 20

_FACTS = {
    "summary": "what it is",
    "trained_on": "trained on",
    "limits": "limits",
    "method": "method",
    "interval_source": "intervals",
    "paper": "paper",
    "weights": "weights",
    "licence": "licence",
    "data_credit": "data",
}
"""Fields of a card that a reader sees, in this order, and what they are called."""


class CardView(NamedTuple):
    """A model card for a reader.

    Attributes:
        name: of the bundle.
        version: of the bundle.
        facts: what it is called -> one or several lines.
        rows: clips, inputs, accuracy and R² (averages over the five traits) of each measurement.
        note: who measured.
    """

    name: str
    version: str
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[tuple[str, str, str, str], ...]
    note: str


def build_cards(predictions: Sequence[Prediction], cards: Mapping[str, Card]) -> tuple[CardView, ...]:
    """Return the cards of the bundles that made the predictions, each once."""
    views: dict[str, CardView] = {}
    for prediction in predictions:
        found = cards_of(prediction, cards)
        for name, card in found.items():
            version = prediction.bundle.get("version", "") if len(found) == 1 else ""
            views.setdefault(name, _view(name, version, card))
    return tuple(views.values())


def _view(name: str, version: str, card: Card) -> CardView:
    facts = []
    for field, label in _FACTS.items():
        value = getattr(card, field)
        lines = tuple(shown(line) for line in value[:MAX_ROWS]) if isinstance(value, tuple) else (shown(value),)
        if any(lines):
            facts.append((label, lines))
    rows = tuple(
        (shown(score.clips), shown(score.inputs.replace("+", ", ")), _average(score.accuracy), _average(score.r2))
        for score in card.scores[:MAX_ROWS]
    )
    if not rows:  # an older bundle
        clips = "as published" if card.paper else "unseen speakers"
        rows = tuple((clips, shown(inputs.replace("+", ", ")), "–", f"{r2:.3f}") for inputs, r2 in card.r2.items())
    return CardView(shown(name), shown(version), tuple(facts), rows, shown(card.scores_note))


def _average(values: Mapping[str, float]) -> str:
    value = values.get("average", math.nan)
    return f"{value:.3f}" if math.isfinite(value) else "–"
