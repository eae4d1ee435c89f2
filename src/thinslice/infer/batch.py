"""Many clips, one result each, in order: a bad file never stops the rest."""

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from thinslice.errors import ThinsliceError, UsageError
from thinslice.infer.predictor import Predictor
from thinslice.types import Failure, Prediction

_worker_predictor: Predictor | None = None


def predict_batch(
    paths: Sequence[str | Path],
    *,
    bundle: str | Path | Predictor,
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Prediction | Failure]:
    """Score clips one after the other, or in `workers` processes; yield results in the order of `paths`.

    Args:
        paths: media files.
        bundle: as in `Predictor`, or a loaded predictor (then used in this process when `workers` is 1).
        workers: number of processes; each loads the bundle once.
        options: keyword arguments of `Predictor.predict`.

    Yields:
        A `Prediction`, or a `Failure` for a clip that could not be scored.

    Raises:
        UsageError: the options are wrong for every clip.
    """
    options = dict(options or {})
    if workers < 1:
        raise UsageError(f"workers={workers}: give at least 1")
    if workers == 1 or len(paths) < 2:
        predictor = bundle if isinstance(bundle, Predictor) else Predictor(bundle)
        for path in paths:
            yield _predict_one(predictor, str(path), options)
        return
    name = "+".join(str(member.bundle.folder) for member in bundle.members) if isinstance(bundle, Predictor) else bundle
    # Spawned, not forked: the parent may hold threads (ONNX Runtime, a progress bar) that a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(name,)) as pool:
        yield from pool.map(_work, [(str(path), options) for path in paths])


def _start_worker(bundle: str | Path) -> None:
    global _worker_predictor
    _worker_predictor = Predictor(bundle, threads=1)  # the processes share the processors


def _work(job: tuple[str, dict[str, Any]]) -> Prediction | Failure:
    assert _worker_predictor is not None
    return _predict_one(_worker_predictor, *job)


def _predict_one(predictor: Predictor, path: str, options: dict[str, Any]) -> Prediction | Failure:
    try:
        return predictor.predict(path, **options)
    except UsageError:
        raise
    except ThinsliceError as error:
        return Failure(path, str(error))
    except MemoryError:
        return Failure(path, f"{path}: not enough memory to score it; try a shorter window with --start/--end")
    except Exception as error:  # a batch goes on whatever one file does to a decoder
        reason = (str(error).splitlines() or [""])[0]
        return Failure(path, f"{path}: unexpected {type(error).__name__}: {reason}; please report this")
