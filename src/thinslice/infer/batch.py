"""Many clips, one result each: a bad file never stops the rest, not even one that crashes its decoder."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from thinslice.cluster import Shared
from thinslice.errors import ThinsliceError, UsageError, first_line, one_line, printable
from thinslice.infer.inputs_table import InputRow
from thinslice.infer.predictor import Predictor
from thinslice.jobs import run_jobs
from thinslice.media.spool import Clip, name_of, read_clip
from thinslice.processes import Died
from thinslice.types import Failure, Prediction


@dataclass(frozen=True)
class Batch:
    """How a batch is worked on.

    Attributes:
        bundle: as in `Predictor`, or a loaded predictor (then used in this process where one is enough).
        options: keyword arguments of `Predictor.predict`; of these a row of a table knows `only` and `without`.
        num_explained: how many of the first clips get what `options` say of explanations; the others get none. None
            for all.
        workers: number of processes; each loads the bundle once.
        ray_address: work on that Ray cluster instead, whose nodes see the media, and the bundle, under the same paths.
        isolated: whether one worker or one clip, too, has a process of its own, which a clip may crash without harm.
    """

    bundle: str | Path | Predictor
    options: Mapping[str, Any]
    num_explained: int | None = None
    workers: int = 1
    ray_address: str | None = None
    isolated: bool = False

    def is_explained(self, place: int) -> bool:
        """Return whether the clip at that place gets its explanation."""
        return self.num_explained is None or place < self.num_explained


def predict_batch(
    clips: Sequence[Clip],
    *,
    bundle: str | Path | Predictor,
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Prediction | Failure]:
    """Score clips one after the other, or in `workers` processes; yield results in the order of `clips`.

    Args:
        clips: media files, or what `Predictor.predict` takes besides.
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
    for place, result in predict_unordered(list(enumerate(clips)), Batch(bundle, options or {}, workers=workers)):
        early[place] = result
        while position in early:
            yield early.pop(position)
            position += 1


def predict_unordered(
    clips: Sequence[tuple[int, Clip | InputRow]], batch: Batch
) -> Iterator[tuple[int, Prediction | Failure]]:
    """Score (place, clip) pairs and yield (place, result) as soon as each is done.

    Raises:
        UsageError: the options are wrong for every clip.
    """
    if batch.workers < 1:
        raise UsageError(f"workers={batch.workers}: give at least 1")
    alone = batch.workers == 1 or len(clips) < 2
    if batch.ray_address is None and not batch.isolated and alone:
        predictor = batch.bundle if isinstance(batch.bundle, Predictor) else Predictor(batch.bundle)
        for place, clip in clips:
            yield place, _predict_one(predictor, batch.options, (clip, batch.is_explained(place)))
        return
    bundle = batch.bundle
    name = "+".join(str(member.bundle.folder) for member in bundle.members) if isinstance(bundle, Predictor) else bundle
    on_ray = batch.ray_address is not None
    # Several processes share the processors; Ray gives each job one.
    prepare = partial(
        _start_worker, name, 1 if on_ray or batch.workers > 1 else None, batch.options, os.getcwd() if on_ray else None
    )
    jobs = [
        (clip if isinstance(clip, InputRow) else read_clip(clip), batch.is_explained(place)) for place, clip in clips
    ]
    for index, result in run_jobs(prepare, jobs, batch.workers, batch.ray_address, _shared(clips)):
        place, clip = clips[index]
        yield place, _died(_name(clip), result) if isinstance(result, Died) else result


def _start_worker(
    bundle: str | Path, threads: int | None, options: Mapping[str, Any], folder: str | None
) -> Callable[[tuple[Clip | InputRow, bool]], Prediction | Failure]:
    if folder is not None:
        os.chdir(folder)  # Paths are as the caller wrote them.
    return partial(_predict_one, Predictor(bundle, threads), options)


def _shared(clips: Sequence[tuple[int, Clip | InputRow]]) -> Shared:
    """Return what a cluster's nodes must see: the working folder, and the folder of the first file."""
    given = (clip.pictures if isinstance(clip, InputRow) else clip for _, clip in clips)
    first = next((os.path.abspath(path) for path in given if isinstance(path, str | os.PathLike)), None)
    return Shared(reads=(os.getcwd(), *((os.path.dirname(first),) if first and os.path.exists(first) else ())))


def _name(clip: Clip | InputRow) -> str:
    return clip.clip if isinstance(clip, InputRow) else name_of(clip)


def _died(name: str, died: Died) -> Failure:
    return Failure(printable(name), one_line(f"{name}: {died.tell('scored it')}"))


def _predict_one(
    predictor: Predictor, options: Mapping[str, Any], job: tuple[Clip | InputRow, bool]
) -> Prediction | Failure:
    clip, explained = job
    name = _name(clip)
    try:
        if isinstance(clip, InputRow):
            return _predict_row(predictor, options, clip)
        return predictor.predict(clip, **(options if explained else {**options, "explain": False, "pictures": False}))
    except UsageError:
        raise
    except ThinsliceError as error:
        why = str(error)
    except MemoryError:
        why = f"{name}: not enough memory to score it; try a shorter window with --start/--end"
    except Exception as error:  # a batch goes on whatever one file does to a decoder
        reason = first_line(error)
        why = f"{name}: unexpected {type(error).__name__}: {reason}; please report this"
    return Failure(printable(name), one_line(why))


def _predict_row(predictor: Predictor, options: Mapping[str, Any], row: InputRow) -> Prediction:
    return predictor.predict_inputs(
        row.clip,
        None if row.voice_profile is None else np.array(row.voice_profile),
        row.transcript,
        row.pictures,
        only=options.get("only"),
        without=options.get("without"),
        explain=False,
    )
