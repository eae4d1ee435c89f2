"""thinslice predicts apparent personality, the Big Five as strangers perceive them, from short videos."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinslice import no_telemetry as _no_telemetry  # before anything that reads its switches
from thinslice.traits import INTERVIEW, POLES, TARGETS, TRAITS
from thinslice.types import Failure, Prediction, TraitScore, predictions_to_pandas

_no_telemetry.switch_off()

if TYPE_CHECKING:
    from thinslice.infer.predictor import Predictor

__version__ = "0.1.0"

DEFAULT_BUNDLE = "face-voice-words"
"""The model that predicts where no other is named."""

__all__ = [
    "INTERVIEW",
    "POLES",
    "TARGETS",
    "TRAITS",
    "Failure",
    "Prediction",
    "Predictor",
    "TraitScore",
    "predict",
    "predict_many",
    "predictions_to_pandas",
]


def predict(path: str | Path, *, bundle: str | Path = DEFAULT_BUNDLE, **options: Any) -> Prediction:
    """Score one media file; `options` are those of `Predictor.predict`.

    Loads the bundle at every call: for many clips use `predict_many`, or keep a `Predictor`.
    """
    from thinslice.infer.predictor import Predictor

    return Predictor(bundle).predict(path, **options)


def predict_many(
    paths: Sequence[str | Path],
    *,
    bundle: "str | Path | Predictor" = DEFAULT_BUNDLE,
    workers: int = 1,
    progress: bool = False,
    **options: Any,
) -> list[Prediction | Failure]:
    """Score many media files; a file that cannot be scored becomes a `Failure`, the others go on.

    Args:
        paths: media files; results come in their order.
        bundle: as in `Predictor`.
        workers: number of processes. A script that asks for more than 1 needs the usual
            ``if __name__ == "__main__":`` guard.
        progress: whether to draw a progress bar on stderr.
        options: those of `Predictor.predict`.
    """
    from thinslice.infer.batch import predict_batch

    results = predict_batch(paths, bundle=bundle, workers=workers, options=options)
    if not progress:
        return list(results)
    from rich.console import Console
    from rich.progress import track

    return list(track(results, "predict", total=len(paths), console=Console(stderr=True)))


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import thinslice` stays instant.
    if name == "Predictor":
        from thinslice.infer.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'thinslice' has no attribute {name!r}")
