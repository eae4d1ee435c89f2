"""Finished predictions of a batch, kept line by line so that an interrupted run goes on where it stopped."""

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thinslice.types import CueShare, Explanation, Picture, Prediction, TraitScore, Window, WordShare


class Journal:
    """A JSON-lines file of predictions, each under a key of all that decides it."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Read what an earlier run finished; a line that a kill cut short is passed over."""
        self._path = path
        self._settings = json.dumps(settings, sort_keys=True, default=str)
        self._known: dict[str, Prediction] = {}
        if path.is_file():
            for line in path.read_text("utf-8", errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                    self._known[entry["key"]] = _from_json(entry["prediction"])
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, clip: str) -> Prediction | None:
        """Return the finished prediction of a file that has not changed since, else None."""
        return self._known.get(self._key(clip))

    def add(self, prediction: Prediction) -> None:
        """Append one finished prediction; it is on disk when this returns."""
        entry = {"key": self._key(prediction.clip), "prediction": _to_json(prediction)}
        with self._path.open("a", encoding="utf-8") as file:
            # Begins with the line break, so that a line cut short before it stays a line of its own.
            file.write("\n" + json.dumps(entry))
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Remove the file: the batch is complete and its results are written."""
        self._path.unlink(missing_ok=True)

    def _key(self, clip: str) -> str:
        try:
            stat = Path(clip).stat()
            state = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            state = "absent"
        return hashlib.sha256(f"{clip}\n{state}\n{self._settings}".encode()).hexdigest()


def _to_json(prediction: Prediction) -> dict[str, Any]:
    document = dataclasses.asdict(prediction)
    for picture in (document["explanation"] or {}).get("pictures", ()):
        picture["png"] = base64.b64encode(picture["png"]).decode()
    return document


def _from_json(document: dict[str, Any]) -> Prediction:
    explanation = document["explanation"]
    if explanation is not None:
        explanation = Explanation(
            baseline=explanation["baseline"],
            inputs=explanation["inputs"],
            words=[WordShare(**word) for word in explanation["words"]],
            cues=[CueShare(**cue) for cue in explanation["cues"]],
            pictures=[Picture(entry["title"], base64.b64decode(entry["png"])) for entry in explanation["pictures"]],
        )
    timeline = tuple(Window(**{**entry, "traits": _traits(entry["traits"])}) for entry in document["timeline"])
    return Prediction(
        **{
            **document,
            "traits": _traits(document["traits"]),
            "used": tuple(document["used"]),
            "warnings": tuple(document["warnings"]),
            "explanation": explanation,
            "timeline": timeline,
        }
    )


def _traits(document: dict[str, Any]) -> dict[str, TraitScore]:
    return {name: TraitScore(**entry) for name, entry in document.items()}
