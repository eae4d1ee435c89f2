"""Model cards as nested plain text."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from thinslice.bundle import Card
from thinslice.report.wording import cards_of, shown
from thinslice.types import Prediction


class CardView(NamedTuple):
    """A model card as nested plain values; see `_plain`."""

    name: str
    version: str
    fields: tuple[tuple[str, Any], ...]


def build_cards(predictions: Sequence[Prediction], cards: Mapping[str, Card]) -> tuple[CardView, ...]:
    """Return the cards of the bundles that made the predictions, each once."""
    views: dict[str, CardView] = {}
    for prediction in predictions:
        found = cards_of(prediction, cards)
        for name, card in found.items():
            version = prediction.bundle.get("version", "") if len(found) == 1 else ""
            fields = tuple((_label(key), _plain(value)) for key, value in _shown_fields(card).items())
            views.setdefault(name, CardView(shown(name), shown(version), fields))
    return tuple(views.values())


def _shown_fields(card: Card) -> dict[str, Any]:
    """Return what a reader sees of a card: its fields that say something, its notes among them."""
    fields: dict[str, Any] = msgspec.to_builtins(card)
    fields["scores"] = {
        ", ".join(filter(None, (score.clips, score.inputs))): {"accuracy": score.accuracy, "r2": score.r2}
        for score in card.scores
    }
    hidden = ("inputs", "notes")
    return {key: value for key, value in fields.items() if value and key not in hidden} | card.notes


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a card's value as text, a tuple of texts, or a dict of such; bounded in size and depth."""
    if isinstance(value, Mapping) and depth < 4:
        return {_label(key): _plain(entry, depth + 1) for key, entry in list(value.items())[:100]}
    if isinstance(value, list | tuple) and depth < 4:
        return tuple(_leaf(entry) for entry in value[:100])
    return _leaf(value)


def _leaf(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value)
    return shown("" if value is None else value)


def _number(value: float) -> str:
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}"
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"


def _label(key: object) -> str:
    return {"r2": "R²", "num_training_clips": "training clips"}.get(str(key), shown(key).replace("_", " "))
