"""Results kept in memory for a while, so that a page can show and download them; nothing is written to disk."""

import asyncio
import pickle
import secrets
import time
from collections.abc import Callable

from thinslice.web.refusal import Refusal
from thinslice.web.workers import ScoredUpload

KEEP_S = 900.0
MAX_BYTES = 64 << 20


class Shelf:
    """ScoredUpload clips under names that cannot be guessed.

    Args:
        now_s: the clock, seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._kept: dict[str, tuple[float, bytes]] = {}

    def keep(self, scored: ScoredUpload) -> str:
        """Keep a result; return its name. The oldest go where there are too many."""
        token = secrets.token_urlsafe(16)
        self._kept[token] = (self._now_s(), scored.pack())
        self._clear()
        return token

    def get(self, tokens: list[str]) -> list[ScoredUpload]:
        """Return results in the order asked for; Refusal 404 where one is no longer there."""
        self._clear()
        missing = [token for token in tokens if token not in self._kept]
        if missing or not tokens:
            minutes = KEEP_S / 60
            raise Refusal(404, f"no such result: they are kept for {minutes:.0f} minutes; send the clip again")
        return [pickle.loads(self._kept[token][1]) for token in tokens]

    def drop(self, tokens: list[str]) -> None:
        """Forget results."""
        for token in tokens:
            self._kept.pop(token, None)

    async def forget_in_time(self) -> None:
        """Drop what was kept long enough, also where nobody asks; runs until it is cancelled."""
        while True:
            await asyncio.sleep(60)
            self._clear()

    def _clear(self) -> None:
        size = sum(len(data) for _, data in self._kept.values())
        for token, (at_s, data) in list(self._kept.items()):
            if self._now_s() - at_s <= KEEP_S and size <= MAX_BYTES:
                break
            del self._kept[token]
            size -= len(data)
