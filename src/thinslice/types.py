"""What passes between the parts of thinslice: plain frozen values."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TraitScore:
    """One trait of one clip.

    Attributes:
        score: predicted label in [0, 1].
        low: lower end of the 80% prediction interval, in [0, 1].
        high: upper end of the 80% prediction interval, in [0, 1].
        percentile: share of the training clips' labels below the score, in [0, 100].
    """

    score: float
    low: float
    high: float
    percentile: float


@dataclass(frozen=True, slots=True)
class WordShare:
    """What one word of the transcript added to the scores.

    Attributes:
        text: the word as the transcript has it.
        start: index of its first character in the transcript.
        shares: target -> part of the score, in score units.
    """

    text: str
    start: int
    shares: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CueShare:
    """What one cue, a group of features under a human name, added to the scores.

    Attributes:
        name: what a person would call the cue, such as "loudness".
        level: its value among the training clips, as a percentile in [0, 100]; None where that has no meaning.
        shares: target -> part of the score, in score units.
        source: the input it belongs to: "voice", "words", "face" ...
    """

    name: str
    level: float | None
    shares: Mapping[str, float]
    source: str


@dataclass(frozen=True)
class Picture:
    """An image the model looked at, ready for a report.

    Attributes:
        title: one line for the reader.
        png: the encoded image.
    """

    title: str
    png: bytes


@dataclass(frozen=True)
class Explanation:
    """What moved each score: baseline + every share of `inputs` = score, for every target.

    Attributes:
        baseline: target -> score of a clip of which nothing is known.
        inputs: input ("voice", "words", "face" ...) -> target -> share.
        words: shares of single words; they and what the words' cues hold sum to inputs["words"].
        cues: shares of named cues; those of one source sum to that input's share, less its single words.
        pictures: what was looked at, with heat maps where the model has them.
    """

    baseline: Mapping[str, float]
    inputs: Mapping[str, Mapping[str, float]]
    words: Sequence[WordShare] = ()
    cues: Sequence[CueShare] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a clip with its own scores, for timelines.

    Attributes:
        start_s: start in the clip, seconds.
        end_s: end in the clip, seconds.
        traits: target -> score; empty where the window could not be scored.
        note: why it could not, or what was missing.
    """

    start_s: float
    end_s: float
    traits: Mapping[str, TraitScore]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The traits of one clip as strangers are predicted to see them.

    Attributes:
        clip: the file as it was named.
        traits: target -> score, in the order of `thinslice.targets.in_order`.
        used: inputs that the model really had, such as ("voice", "words").
        transcript: the words used, None if there were none.
        warnings: one line each.
        seconds: stage -> wall seconds, "total" last.
        bundle: {"name": ..., "version": ...} of the model.
        explanation: what moved the scores, None where it was not asked for.
        timeline: scores of windows, empty unless asked for.
    """

    clip: str
    traits: Mapping[str, TraitScore]
    used: tuple[str, ...]
    transcript: str | None
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]
    bundle: Mapping[str, str]
    explanation: Explanation | None = field(default=None, repr=False)
    timeline: tuple[Window, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of the command line's contract."""
        out: dict[str, Any] = {
            "clip": self.clip,
            "traits": {name: _trait_dict(score) for name, score in self.traits.items()},
            "used": list(self.used),
            "transcript": self.transcript,
            "warnings": list(self.warnings),
            "seconds": dict(self.seconds),
            "bundle": dict(self.bundle),
        }
        if self.timeline:
            out["timeline"] = [
                {
                    "start_s": window.start_s,
                    "end_s": window.end_s,
                    "traits": {name: _trait_dict(score) for name, score in window.traits.items()},
                    "note": window.note,
                }
                for window in self.timeline
            ]
        return out

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {score.score:.2f}" for name, score in self.traits.items())
        said = {0: "", 1: "; 1 warning"}.get(len(self.warnings), f"; {len(self.warnings)} warnings")
        return f"Prediction({self.clip!r}: {scores}; from {', '.join(self.used) or 'nothing'}{said})"

    def _repr_html_(self) -> str:
        from thinslice.notebook import clip_html

        bundle = " ".join(filter(None, (self.bundle.get("name"), self.bundle.get("version"))))
        return clip_html(self.clip, self.traits, f"{bundle}, from {', '.join(self.used)}", self.warnings)

    def to_pandas(self) -> Any:
        """Return a one-row pandas DataFrame in the form of a prediction file."""
        return predictions_to_pandas([self])


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that could not be scored, and why, in one line."""

    clip: str
    error: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of the command line's contract."""
        return {"clip": self.clip, "error": self.error}


def _trait_dict(score: TraitScore) -> dict[str, float]:
    return {"score": score.score, "low": score.low, "high": score.high, "percentile": score.percentile}


def prediction_rows(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return the rows of a prediction file: clip, the targets, their interval ends, and what to know of the clip."""
    return list(_prediction_rows(predictions))


def _prediction_rows(predictions: Sequence[Prediction]) -> Iterator[dict[str, Any]]:
    for prediction in predictions:
        yield {
            "clip": prediction.clip,
            **_score_columns(prediction.traits),
            "used": "+".join(prediction.used),
            "bundle": " ".join(filter(None, (prediction.bundle.get("name"), prediction.bundle.get("version")))),
            "warnings": "; ".join(prediction.warnings),
        }


def _timeline_rows(predictions: Sequence[Prediction]) -> Iterator[dict[str, Any]]:
    for prediction in predictions:
        for window in prediction.timeline:
            scores = _score_columns(window.traits)
            times = {"start_s": window.start_s, "end_s": window.end_s}
            yield {"clip": prediction.clip, **times, **scores, "note": window.note}


def _score_columns(traits: Mapping[str, TraitScore]) -> dict[str, float]:
    columns = {name: score.score for name, score in traits.items()}
    for name, score in traits.items():
        columns |= {f"{name}_low": score.low, f"{name}_high": score.high}
    return columns


def predictions_csv(predictions: Sequence[Prediction]) -> str:
    """Return the text of a prediction file."""
    return _csv(lambda: _prediction_rows(predictions), ("clip",), ("used", "bundle", "warnings"))


def timeline_csv(predictions: Sequence[Prediction]) -> str:
    """Return the text of a table of the windows of all timelines: start and end in seconds, scores, a note."""
    return _csv(lambda: _timeline_rows(predictions), ("clip", "start_s", "end_s"), ("note",))


def failures_csv(failures: Sequence[Failure]) -> str:
    """Return the text of a table of clips that could not be scored, and why."""
    return _csv(lambda: (failure.to_dict() for failure in failures), ("clip",), ("error",))


def _csv(rows: Callable[[], Iterator[Mapping[str, Any]]], first: Sequence[str], last: Sequence[str]) -> str:
    """Return rows as CSV; what a row lacks is empty. They are asked for twice, so that none need be kept."""
    between = dict.fromkeys(name for row in rows() for name in row if name not in (*first, *last))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*first, *between, *last])
    writer.writeheader()
    writer.writerows(rows())
    return text.getvalue()


def predictions_to_pandas(predictions: Sequence[Prediction]) -> Any:
    """Return predictions as a pandas DataFrame; MissingExtraError without pandas."""
    try:
        import pandas as pd
    except ImportError:
        from thinslice.errors import MissingExtraError

        raise MissingExtraError("to_pandas()", "pandas") from None
    return pd.DataFrame(prediction_rows(predictions))
