"""Processes that score clips: one clip each at a time, within a time limit, whatever the clip does to a decoder."""

import pickle
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from thinslice.bundle import Card
from thinslice.errors import ThinsliceError, first_line
from thinslice.processes import Child
from thinslice.types import Prediction

START_S = 120.0
"""How long a process may take to import what it needs and load its bundle, seconds."""
NUM_BUNDLES = 3
"""How many bundles a process keeps loaded."""


@dataclass(frozen=True)
class UploadJob:
    """One clip to score.

    Attributes:
        clip: the media file.
        name: what its sender called it.
        words: a file of the transcript, or None.
        bundle: as in `Predictor`.
        explain: whether to compute what moved the scores.
    """

    clip: Path
    name: str
    words: Path | None
    bundle: str
    explain: bool = False


@dataclass(frozen=True)
class ScoredUpload:
    """A scored clip: the prediction, and the cards of the bundles that made it."""

    prediction: Prediction
    cards: Mapping[str, Card]

    def pack(self) -> bytes:
        """Return it as bytes, to be sent or kept."""
        return pickle.dumps(self)


@dataclass(frozen=True)
class Failed:
    """Why a clip was not scored, in one line."""

    error: str


class Worker:
    """One process; started when it is first needed, and again after it was ended or died.

    Args:
        bundle: loaded at start.
        threads: processors that one prediction may use.
        limit_s: how long one clip may take, seconds.
    """

    def __init__(self, bundle: str, threads: int, limit_s: float) -> None:
        self._arguments = (bundle, threads)
        self._limit_s = limit_s
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._closed = False

    def start(self) -> None:
        """Start the process and wait until it can score."""
        with self._lock:
            if self._closed or (self._child is not None and self._child.process.is_alive()):
                return
            child = self._child = Child(_work, *self._arguments, daemon=True)
        if child.pipe.poll(START_S):
            child.pipe.recv()

    def score(self, job: UploadJob, on_stage: Callable[[str], None]) -> ScoredUpload | Failed:
        """Score one clip; blocks until it is done, the limit is over or the process died.

        Args:
            job: the clip.
            on_stage: called with each stage as it begins.
        """
        try:
            self.start()
            child = self._child
            if child is None:
                raise EOFError  # closed while it was asked
            pipe = child.pipe
            pipe.send(job)
            ends = time.monotonic() + self._limit_s
            while pipe.poll(max(0.0, ends - time.monotonic())):
                kind, value = pipe.recv()
                if kind == "stage":
                    on_stage(value)
                else:
                    return Failed(value) if kind == "failed" else pickle.loads(value)
        except (EOFError, OSError):
            self.end()
            return Failed(f"{job.name}: the decoder or the model broke down on it; convert it to mp4 or wav")
        self.end()
        return Failed(
            f"{job.name}: took longer than {self._limit_s:g} s, the most this server gives a clip; send a shorter one"
        )

    def end(self) -> None:
        """End the process, at once."""
        with self._lock:
            if self._child is not None:
                self._child.process.kill()
                self._child.end()
                self._child = None

    def close(self) -> None:
        """End the process and start no other."""
        self._closed = True
        self.end()


def _work(pipe: Connection, bundle: str, threads: int) -> None:
    """Run in the process: score what comes through the pipe."""
    from thinslice.infer.predictor import Predictor

    predictors: dict[str, Predictor] = {}
    with suppress(ThinsliceError):  # Whoever asks for this bundle is told.
        predictors[bundle] = Predictor(bundle, threads)
    pipe.send(("ready", None))
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(_score(job, predictors, threads, lambda stage: pipe.send(("stage", stage))))


def _score(
    job: UploadJob, predictors: dict[str, Any], threads: int, on_stage: Callable[[str], None]
) -> tuple[str, str | bytes]:
    from dataclasses import replace

    from thinslice.infer.predictor import Predictor

    try:
        if job.bundle not in predictors:
            while len(predictors) >= NUM_BUNDLES:
                predictors.pop(next(iter(predictors)))
            predictors[job.bundle] = Predictor(job.bundle, threads)
        predictor = predictors[job.bundle]
        prediction = predictor.predict(job.clip, transcript=job.words, explain=job.explain, on_stage=on_stage)
        warnings = tuple(_renamed(line, job) for line in prediction.warnings)
        return "done", ScoredUpload(replace(prediction, clip=job.name, warnings=warnings), predictor.cards).pack()
    except ThinsliceError as error:
        return "failed", _renamed(str(error), job)
    except MemoryError:
        return "failed", f"{job.name}: not enough memory to score it; send a shorter or smaller one"
    except Exception as error:  # the next clip is another
        line = first_line(error)
        return "failed", _renamed(f"{job.name}: unexpected {type(error).__name__}: {line}; please report this", job)


def _renamed(line: str, job: UploadJob) -> str:
    """Return a message with the sender's name of the clip in place of ours."""
    return line.replace(str(job.clip), job.name).replace(job.clip.name, job.name).replace(f"{job.clip.parent}/", "")
