"""The state of a study: who has answered what, and what each rater has before them. All of it follows from the file."""

import random
import re
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from thinslice.errors import UsageError
from thinslice.evaluate.pairs import Policy
from thinslice.rate.answers import Answer, AnswerFile
from thinslice.rate.choose import ClipChooser, PairChooser
from thinslice.rate.questions import Study
from thinslice.rate.tokens import clip_token, sign, verify

CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")
Kept = defaultdict[str, list[Answer]]
"""Rater -> the answers that count, in the order in which they came."""


@dataclass(frozen=True)
class Task:
    """What a rater has before them.

    Attributes:
        token: its name, which proves that we made it.
        clips: the two clips, left and right, or the one.
        check: as in `Answer`.
        number: how many this rater has answered before.
    """

    token: str
    clips: tuple[str, ...]
    check: str
    number: int


class Session:
    """A running study. Its methods may be called from several threads.

    Args:
        study: the questions.
        clips: names of all clips.
        file: where the answers go.
        secret: of the study.
        policy: how pairs are chosen.
    """

    def __init__(
        self, study: Study, clips: Sequence[str], file: AnswerFile, secret: bytes, policy: Policy = "active"
    ) -> None:
        self.study = study
        self.clips = tuple(clips)
        self._file = file
        self._secret = secret
        self._lock = threading.RLock()
        self._clip_of = {clip_token(secret, clip): clip for clip in clips}
        traits = [question.trait for question in study.questions]
        self._pairs = PairChooser(clips, traits, policy) if study.mode == "pairs" else None
        self._singles = ClipChooser(clips)
        self._open: dict[str, Task] = {}
        self._kept: Kept = defaultdict(list)
        self._agreed: set[str] = set()
        for entry in file.entries:
            self._fold(entry)

    def clip(self, token: str) -> str | None:
        """Return the clip of an opaque name."""
        return self._clip_of.get(token)

    def check_rater(self, rater: str) -> None:
        """Raise UsageError for a code that may not take part."""
        if not CODE.fullmatch(rater):
            raise UsageError("a code is 1 to 32 letters, digits, - or _")
        if self.study.raters and rater not in self.study.raters:
            raise UsageError("this code does not take part; please check it")

    def consented(self, rater: str) -> bool:
        """Return whether a rater has agreed, or need not."""
        return not self.study.consent or rater in self._agreed

    def consent(self, rater: str) -> None:
        """Record that a rater agrees."""
        self.check_rater(rater)
        with self._lock:
            if not self.consented(rater):
                self._record(Answer(kind="consent", rater=rater, at=_now()))

    def answers(self, rater: str | None = None) -> list[Answer]:
        """Return the answers that count, of all raters or one: those not taken back, checks and repeats included."""
        kept = [self._kept.get(rater, [])] if rater is not None else self._kept.values()
        return [entry for entries in kept for entry in entries]

    def next(self, rater: str) -> Task | None:
        """Return what a rater has to do: the same until it is answered; None when all is done.

        Raises:
            UsageError: the code may not take part, or its rater has not agreed.
        """
        self.check_rater(rater)
        if not self.consented(rater):
            raise UsageError("please agree first")
        with self._lock:
            if rater not in self._open:
                task = self._new_task(rater)
                if task is None:
                    return None
                self._open[rater] = task
            return self._open[rater]

    def answer(
        self, rater: str, token: str, answers: Sequence[float | None], seconds: float, watched_s: Sequence[float]
    ) -> None:
        """Record an answer; when this returns it is on the disk. The same one sent again is recorded once.

        Raises:
            UsageError: the task is not this rater's, the answers do not fit the questions, or the disk is full.
        """
        self.check_rater(rater)
        parts = verify(self._secret, rater, token)
        clips = [self._clip_of.get(part) for part in parts[3:]] if parts and len(parts) > 3 else [None]
        if parts is None or None in clips:
            raise UsageError("this task is not yours, or of another study; reload the page")
        self._check_answers(answers)
        with self._lock:
            if any(entry.task == token for entry in self.answers(rater)):
                return
            entry = Answer(
                kind="answer",
                rater=rater,
                at=_now(),
                task=token,
                clips=tuple(clip for clip in clips if clip),
                answers=tuple(None if value is None else float(value) for value in answers),
                check=parts[2],
                seconds=round(float(seconds), 2),
                watched_s=tuple(round(float(value), 2) for value in watched_s[:2]),
            )
            self._record(entry)
            if self._open.get(rater) and self._open[rater].token == token:
                del self._open[rater]

    def undo(self, rater: str) -> Task | None:
        """Take back a rater's last answer and return its task; None where there is none to take back."""
        self.check_rater(rater)
        with self._lock:
            mine = self.answers(rater)
            if not mine:
                return None
            last = mine[-1]
            self._record(Answer(kind="undo", rater=rater, at=_now(), task=last.task))
            task = self._task(rater, last.clips, last.check, len(mine) - 1)
            self._open[rater] = task
            return task

    def _record(self, entry: Answer) -> None:
        self._file.append(entry)
        self._fold(entry)

    def _fold(self, entry: Answer) -> None:
        if entry.kind == "consent":
            self._agreed.add(entry.rater)
        fold(self._kept, entry)

    def _check_answers(self, answers: Sequence[float | None]) -> None:
        if len(answers) != len(self.study.questions):
            raise UsageError(f"{len(answers)} answers to {len(self.study.questions)} questions; reload the page")
        scale = self.study.scale
        allowed = (-1.0, 1.0) if self.study.mode == "pairs" else (scale.low, scale.high)
        for value in answers:
            if value is None:
                continue
            if not allowed[0] <= value <= allowed[1] or (self.study.mode == "pairs" and value not in allowed):
                raise UsageError(f"an answer of {value:g} is outside the scale")

    def _new_task(self, rater: str) -> Task | None:
        mine = self.answers(rater)
        if (check := self._check_due(mine)) is not None:
            return self._task(rater, *check, len(mine))
        earnest = [entry for entry in mine if not entry.check]
        if self.study.answers_each and len(earnest) >= self.study.answers_each:
            return None
        everybody = [entry for entry in self.answers() if not entry.check]
        others = [task.clips for other, task in self._open.items() if other != rater and not task.check]
        if self._pairs is not None:
            seen = {frozenset(entry.clips) for entry in earnest}
            pair = self._pairs.next(everybody, seen, {frozenset(clips) for clips in others})
            return pair and self._task(rater, pair, "", len(mine))
        clip = self._singles.next(everybody, {entry.clips[0] for entry in earnest}, [clips[0] for clips in others])
        return self._task(rater, (clip,), "", len(mine)) if clip is not None else None

    def _check_due(self, mine: Sequence[Answer]) -> tuple[tuple[str, ...], str] | None:
        """Return clips and kind of the attention check or repeat that is due, by turns."""
        every = self.study.check_every
        earnest = [entry for entry in mine if not entry.check]
        num_checks = len(mine) - len(earnest)
        if not every or len(earnest) < every * (num_checks + 1):
            return None
        chance = random.Random(f"{mine[-1].rater} {len(mine)}")
        if num_checks % 2:
            clips = chance.choice(earnest[: -every // 2] or earnest).clips
            return clips[::-1], "repeat"
        if self._pairs is not None:
            first, second = chance.sample(self.clips, 2)
            return (first, second), f"told:{chance.choice(('left', 'right'))}"
        return (chance.choice(self.clips),), f"told:{chance.choice(('low', 'high'))}"

    def _task(self, rater: str, clips: tuple[str, ...], check: str, number: int) -> Task:
        nonce = f"{random.SystemRandom().getrandbits(40):x}"
        names = tuple(clip_token(self._secret, clip) for clip in clips)
        return Task(sign(self._secret, rater, (nonce, str(number), check, *names)), clips, check, number)

    def describe(self, rater: str, task: Task | None) -> dict[str, Any]:
        """Return a task as the page needs it; `{"done": true}` for None."""
        goal = self.study.answers_each or (len(self.clips) if self.study.mode == "ratings" else 0)
        num_done = sum(not entry.check for entry in self.answers(rater))
        if task is None:
            return {"done": True, "num_done": num_done}
        media = [clip_token(self._secret, clip) for clip in task.clips]
        told = task.check.partition(":")[2] if task.check.startswith("told") else ""
        return {"task": task.token, "media": media, "told": told, "num_done": num_done, "goal": goal}


def fold(kept: Kept, entry: Answer) -> None:
    """Add an answer to those that count, or take the rater's last one back."""
    if entry.kind == "answer":
        kept[entry.rater].append(entry)
    elif entry.kind == "undo" and kept[entry.rater]:
        kept[entry.rater].pop()


def standing(entries: Sequence[Answer]) -> Kept:
    """Return the answers in a file that were not taken back, by rater."""
    kept: Kept = defaultdict(list)
    for entry in entries:
        fold(kept, entry)
    return kept


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
