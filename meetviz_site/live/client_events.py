"""What came from the server, in order, and waiting for what is still to come."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from meetviz_site.live.client_words import Event, LiveError

EVENTS_KEPT = 20_000

T = TypeVar("T")


class EventLog:
    """The events of a client: one after the other, or the first that fits. Whoever adds one calls `_wake`."""

    def __init__(self) -> None:
        self.events_kept: collections.deque[Event] = collections.deque(maxlen=EVENTS_KEPT)
        self.error: LiveError | None = None
        """Why the client has ended, if it has."""
        self._count = 0
        self._stopping = False
        self._news = asyncio.Event()

    async def wait_for(
        self,
        type: str,
        predicate: Callable[[Event], bool] | None = None,
        timeout_s: float = 30.0,
        *,
        after: Event | int = 0,
    ) -> Event:
        """The first event of `type` for which `predicate` holds, whether it already came or is still to come.

        `after`: look only behind this event (or event number). Raises LiveError (`timeout`, or why the client ended).
        """
        seen = after.number if isinstance(after, Event) else after

        def found() -> Event | None:
            nonlocal seen
            for event in self._events_after(seen):
                if event.type == type and (predicate is None or predicate(event)):
                    return event
            seen = max(seen, self._count)
            return None

        return await self._until(found, timeout_s, f"a {type!r} message")

    async def events(self, *, after: Event | int = 0) -> AsyncIterator[Event]:
        """Every event behind `after`, in order, until the client is closed. Raises LiveError if it ended otherwise."""
        seen = after.number if isinstance(after, Event) else after
        while True:
            news = self._news
            for event in self._events_after(seen):
                seen = event.number
                yield event
            if self.error:
                if self._stopping:
                    return
                raise self.error
            if self._count <= seen:
                await news.wait()

    def _events_after(self, number: int) -> list[Event]:
        """From the newest back, so that a waiter does not walk through a long meeting at every message."""
        found: list[Event] = []
        for event in reversed(self.events_kept):
            if event.number <= number:
                break
            found.append(event)
        return found[::-1]

    def _refusal_after(self, number: int) -> LiveError | None:
        for event in self._events_after(number):
            if event.type == "error":
                code = str(event.get("code"))
                return LiveError(code, str(event.get("message") or code), retry_after=event.get("retry_after"))
        return None

    def _wake(self) -> None:
        """Let everyone who waits look again. A fresh event each time: nobody has to clear it."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _until(self, found: Callable[[], T | None], timeout_s: float | None = None, what: str = "") -> T:
        """Wait until `found()` is truthy and return it. Raises LiveError on time-out or when the client has ended."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    news = self._news
                    if outcome := found():
                        return outcome
                    if self.error:
                        raise self.error
                    await news.wait()
        except TimeoutError:
            raise LiveError("timeout", f"No answer within {timeout_s:g} s: waited for {what}.") from None
