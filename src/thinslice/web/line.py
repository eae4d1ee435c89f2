"""The waiting line before the workers: everybody knows their place, and nobody fills it alone."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from thinslice.errors import counted
from thinslice.web.refusal import Refusal
from thinslice.web.workers import Failed, ScoredUpload, UploadJob, Worker

MAX_WAITING = 200
MAX_WAITING_EACH = 64
"""Most clips that one sender's address may have waiting."""


@dataclass(eq=False)
class Ticket:
    """One clip in the line.

    Attributes:
        job: what to do.
        client: who sent it, for fairness.
        news: what happened, in order: {"position": int}, {"stage": str}, then a `ScoredUpload` or `Failed`.
    """

    job: UploadJob
    client: str
    news: asyncio.Queue[dict[str, Any] | ScoredUpload | Failed] = field(default_factory=asyncio.Queue)
    _position: int = 0

    def place(self, position: int) -> None:
        """Tell the place in the line where it changed; 1 is next."""
        if position != self._position:
            self._position = position
            self.news.put_nowait({"position": position})


class WaitingLine:
    """A fair line before a number of workers.

    Args:
        workers: who serves it; one clip each at a time.
    """

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers
        self.waiting: list[Ticket] = []
        self.running: list[Ticket] = []
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._threads = ThreadPoolExecutor(len(workers), "worker")

    async def open(self) -> None:
        """Start serving."""
        self._tasks = [asyncio.create_task(self._serve(worker)) for worker in self.workers]

    async def close(self) -> None:
        """End the workers; whoever waits is told."""
        for task in self._tasks:
            task.cancel()
        for worker in self.workers:
            worker.close()
        for ticket in (*self.running, *self.waiting):
            ticket.news.put_nowait(Failed("the server was stopped; send it again later"))
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def enter(self, job: UploadJob, client: str) -> Ticket:
        """Join the line; Refusal 429 where it, or this client's part of it, is full."""
        mine = sum(ticket.client == client for ticket in self.waiting)
        if len(self.waiting) >= MAX_WAITING or mine >= MAX_WAITING_EACH:
            raise Refusal(
                429, f"{counted(len(self.waiting), 'clip is', 'clips are')} waiting; try again in a minute", 60
            )
        ticket = Ticket(job, client)
        async with self._changed:
            self.waiting.append(ticket)
            self._changed.notify()
        self._tell_places()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Leave the line; a clip that is being scored is finished, for nobody."""
        if ticket in self.waiting:
            self.waiting.remove(ticket)
            self._tell_places()

    def order(self) -> list[Ticket]:
        """Return the waiting tickets in the order in which they are served: in turns between the senders."""
        turns = Counter(ticket.client for ticket in self.running)
        ranked = []
        for ticket in self.waiting:
            ranked.append((turns[ticket.client], ticket))
            turns[ticket.client] += 1
        return [ticket for _, ticket in sorted(ranked, key=lambda pair: pair[0])]

    def _tell_places(self) -> None:
        for position, ticket in enumerate(self.order(), 1):
            ticket.place(position)

    async def _serve(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        with suppress(EOFError, OSError):  # Tried again with the first clip.
            await loop.run_in_executor(self._threads, worker.start)
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self.waiting)
                ticket = self.order()[0]
                self.waiting.remove(ticket)
            self.running.append(ticket)
            self._tell_places()

            def tell(stage: str, news: asyncio.Queue[Any] = ticket.news) -> None:
                loop.call_soon_threadsafe(news.put_nowait, {"stage": stage})

            try:
                result = await loop.run_in_executor(self._threads, worker.score, ticket.job, tell)
            finally:
                self.running.remove(ticket)
            ticket.news.put_nowait(result)
