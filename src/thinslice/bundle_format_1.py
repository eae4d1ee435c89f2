"""What thinslice 0.1 wrote: a bundle.json of format 1, whose card was free text and nested figures."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_TOP: Final = (
    "name",
    "version",
    "kind",
    "outputs",
    "inputs",
    "files",
    "neutral",
    "intervals",
    "percentiles",
    "card",
)
_INPUT: Final = ("extractor", "version", "params", "label", "optional")
_TEXTS: Final = (
    "summary",
    "scores_note",
    "trained_on",
    "interval_source",
    "paper",
    "weights",
    "method",
    "licence",
    "data_credit",
    "neutral",
    "source_sha256",
    "code_version",
)
_LABELS: Final = {"voice", "words", "face", "scene", "sound"}


def upgrade_format_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bundle.json of format 1 as one of format 2, unchecked; what the card held beside is kept as notes."""
    out = {key: data[key] for key in _TOP if key in data}
    inputs, card = out.get("inputs"), out.get("card")
    if isinstance(inputs, Mapping):
        out["inputs"] = {name: _only(entry, _INPUT) for name, entry in inputs.items()}
    if isinstance(card, Mapping):
        intervals = out.get("intervals")
        out["card"] = _upgrade_card(card, list(intervals) if isinstance(intervals, Mapping) else [])
    return {**out, "format": 2}


def _only(entry: Any, names: tuple[str, ...]) -> Any:
    return {name: entry[name] for name in names if name in entry} if isinstance(entry, Mapping) else entry


def _upgrade_card(card: Mapping[str, Any], combinations: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {"summary": "", "r2": _r2_to_quote(card.get("scores"), combinations)}
    notes: dict[str, Any] = {}
    for key, value in card.items():
        if key in _TEXTS and isinstance(value, str):
            out[key] = value
        elif key == "intervals" and isinstance(value, str):
            out["interval_source"] = value
        elif key == "limits" and isinstance(value, str | list):
            out[key] = [value] if isinstance(value, str) else [str(entry) for entry in value]
        elif key == "digests" and isinstance(value, Mapping):
            out[key] = {name: digest for name, digest in value.items() if isinstance(digest, str)}
        elif key in ("seed", "num_training_clips") and isinstance(value, int):
            out[key] = int(value)
        elif key == "synthetic" and isinstance(value, bool):
            out[key] = value
        else:
            notes[key] = value
    return {**out, "notes": notes}


def _r2_to_quote(scores: Any, combinations: list[str]) -> dict[str, float]:
    """Return the R² that the report of thinslice 0.1 quoted for each combination of inputs.

    The scores were searched in their own order for a mapping under the inputs joined by "+", and in it for `r2`, a
    number or a mapping with an `average`. Scores that were not kept by inputs were searched for their first `r2`.
    """
    if not isinstance(scores, Mapping):
        return {}
    by_inputs = [(set(key.split("+")), value) for key, value in _walk(scores)]
    by_inputs = [(inputs, value) for inputs, value in by_inputs if inputs <= _LABELS]
    if not by_inputs:
        first = next(_r2_values(scores), None)
        return {} if first is None else {"": first}
    out: dict[str, float] = {}
    for combination in combinations:
        found = (value for inputs, value in by_inputs if inputs == set(combination.split("+")))
        first = next((r2 for value in found for r2 in _r2_values(value)), None)
        if first is not None:
            out[combination] = first
    return out


def _walk(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        yield key, value
        if isinstance(value, Mapping):
            yield from _walk(value)


def _r2_values(tree: Any) -> Iterator[float]:
    if isinstance(tree, Mapping):
        for key, value in _walk(tree):
            if key.lower() in ("r2", "r²"):
                number = value.get("average") if isinstance(value, Mapping) else value
                if isinstance(number, int | float) and not isinstance(number, bool):
                    yield float(number)
