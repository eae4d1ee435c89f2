"""Many clips, one result each: a bad file never stops the rest, not even one that crashes its decoder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from thinslice.errors import ThinsliceError, UsageError, printable
from thinslice.infer.predictor import Predictor
from thinslice.processes import Died, run_in_processes
from thinslice.types import Failure, Prediction


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
    early: dict[int, Prediction | Failure] = {}
    position = 0
    for index, result in predict_unordered(paths, bundle=bundle, workers=workers, options=options):
        early[index] = result
        while position in early:
            yield early.pop(position)
            position += 1


def predict_unordered(
    paths: Sequence[str | Path],
    *,
    bundle: str | Path | Predictor,
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
    isolated: bool = False,
) -> Iterator[tuple[int, Prediction | Failure]]:
    """Score clips and yield (place in `paths`, result) as soon as each is done; as `predict_batch` otherwise.

    Args:
        paths: media files.
        bundle: as in `predict_batch`.
        workers: number of processes.
        options: keyword arguments of `Predictor.predict`.
        isolated: whether one worker or one clip, too, has a process of its own, which a clip may crash without harm.
    """
    options = dict(options or {})
    if workers < 1:
        raise UsageError(f"workers={workers}: give at least 1")
    if not isolated and (workers == 1 or len(paths) < 2):
        predictor = bundle if isinstance(bundle, Predictor) else Predictor(bundle)
        for index, path in enumerate(paths):
            yield index, _predict_one(predictor, options, str(path))
        return
    name = "+".join(str(member.bundle.folder) for member in bundle.members) if isinstance(bundle, Predictor) else bundle
    threads = None if workers == 1 else 1  # several processes share the processors
    names = [str(path) for path in paths]
    for index, result in run_in_processes(partial(_start_worker, name, threads, options), names, workers):
        yield index, _died(names[index], result) if isinstance(result, Died) else result


def _start_worker(
    bundle: str | Path, threads: int | None, options: dict[str, Any]
) -> Callable[[str], Prediction | Failure]:
    return partial(_predict_one, Predictor(bundle, threads), options)


def _died(path: str, died: Died) -> Failure:
    why = f"{path}: the process that scored it died twice ({died.why}): out of memory, or a crash in a decoder"
    return Failure(printable(path), printable(why))


def _predict_one(predictor: Predictor, options: dict[str, Any], path: str) -> Prediction | Failure:
    try:
        return predictor.predict(path, **options)
    except UsageError:
        raise
    except ThinsliceError as error:
        why = str(error)
    except MemoryError:
        why = f"{path}: not enough memory to score it; try a shorter window with --start/--end"
    except Exception as error:  # a batch goes on whatever one file does to a decoder
        reason = (str(error).splitlines() or [""])[0]
        why = f"{path}: unexpected {type(error).__name__}: {reason}; please report this"
    return Failure(printable(path), printable(why))
