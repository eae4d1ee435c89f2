"""thinslice predicts apparent personality, the Big Five as strangers perceive them, from short videos."""

import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinslice import no_telemetry as _no_telemetry  # before anything that reads its switches
from thinslice.traits import INTERVIEW, POLES, TARGETS, TRAITS
from thinslice.types import Failure, Prediction, TraitScore, predictions_to_pandas

_no_telemetry.switch_off()

if TYPE_CHECKING:
    from thinslice.infer.predictor import Predictor
    from thinslice.media.spool import Clip
    from thinslice.prediction_table import PredictionTable

__version__ = "0.1.0"

DEFAULT_BUNDLE = "face-voice-words"
"""The model that predicts where no other is named."""

_LAZY = {
    "Predictor": "thinslice.infer.predictor",
    "PredictionTable": "thinslice.prediction_table",
}
"""What is loaded on first use, so that `import thinslice` is instant: name -> its module."""

__all__ = [
    "DEFAULT_BUNDLE",
    "INTERVIEW",
    "POLES",
    "TARGETS",
    "TRAITS",
    "Failure",
    "Prediction",
    "PredictionTable",
    "Predictor",
    "TraitScore",
    "predict",
    "predict_many",
    "predictions_to_pandas",
]


def predict(
    clip: "Clip",
    *,
    bundle: str | Path = DEFAULT_BUNDLE,
    transcript: str | Path | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    every_s: float | None = None,
    audio_track: int | None = None,
    only: Iterable[str] | None = None,
    without: Iterable[str] | None = None,
    explain: bool = True,
    pictures: bool = True,
    on_stage: Callable[[str], None] | None = None,
) -> Prediction:
    """Score one clip: a path, the bytes of a media file, or a file open for reading bytes.

    Loads the bundle at every call: for many clips use `predict_many`, or keep a `Predictor`.

    Args:
        clip: as in `Predictor.predict`, and so are all below but `bundle`.
        bundle: name or folder of a model, or several names joined by "+".
        transcript: the words spoken, or a .txt, .srt or .vtt file of them.
        start_s: where to start, seconds.
        end_s: where to end, seconds.
        every_s: also score consecutive windows of this many seconds.
        audio_track: which sound track to hear, counted from 1.
        only: the only inputs to use, such as ("face", "words").
        without: inputs not to use.
        explain: whether to compute what moved the scores.
        pictures: whether the explanation has heat maps of the face; they take some seconds.
        on_stage: called with what begins.

    Raises:
        thinslice.errors.ThinsliceError: one line that names the clip and the remedy.
    """
    from thinslice.infer.predictor import Predictor

    return Predictor(bundle).predict(
        clip,
        transcript=transcript,
        start_s=start_s,
        end_s=end_s,
        every_s=every_s,
        audio_track=audio_track,
        only=only,
        without=without,
        explain=explain,
        pictures=pictures,
        on_stage=on_stage,
    )


def predict_many(
    clips: "Sequence[Clip]",
    *,
    bundle: "str | Path | Predictor" = DEFAULT_BUNDLE,
    workers: int = 1,
    progress: bool = False,
    start_s: float = 0.0,
    end_s: float | None = None,
    every_s: float | None = None,
    audio_track: int | None = None,
    only: Iterable[str] | None = None,
    without: Iterable[str] | None = None,
    explain: bool = True,
    pictures: bool = False,
) -> "PredictionTable":
    """Score many clips; one that cannot be scored becomes a `Failure`, the others go on.

    Args:
        clips: as in `predict`; results come in their order. Words are read from files beside them.
        bundle: as in `predict`, or a loaded predictor.
        workers: number of processes. A script that asks for more than 1 needs the usual
            ``if __name__ == "__main__":`` guard.
        progress: whether to show on stderr how many are done.
        start_s: as in `predict`, and so are all below.
        end_s: where to end, seconds.
        every_s: also score consecutive windows of this many seconds.
        audio_track: which sound track to hear, counted from 1.
        only: the only inputs to use.
        without: inputs not to use.
        explain: whether to compute what moved the scores.
        pictures: whether the explanation has heat maps of the face.
    """
    from thinslice.infer.batch import predict_batch
    from thinslice.prediction_table import PredictionTable
    from thinslice.progress import track

    options = {
        "start_s": start_s, "end_s": end_s, "every_s": every_s, "audio_track": audio_track,
        "only": only, "without": without, "explain": explain, "pictures": pictures,
    }  # fmt: skip
    results = predict_batch(clips, bundle=bundle, workers=workers, options=options)
    return PredictionTable(tuple(track(results, "predict", len(clips)) if progress else results))


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'thinslice' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
