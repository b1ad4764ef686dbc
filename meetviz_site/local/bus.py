"""The in-process bus of the one-command server: a channel layer that any thread may use.

(Its other half, Celery over `memory://`, is only settings: `workers.app.broker_settings`.)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from channels.layers import InMemoryChannelLayer

# A full group of sockets hears one message a few times a second; a reader this far behind is gone or stuck.
DEFAULT_CAPACITY = 1000
HANDOVER_DEADLINE_S = 10.0


class ThreadSafeInMemoryLayer(InMemoryChannelLayer):
    """Channels' in-memory layer, usable from worker threads.

    Its queues belong to the loop that reads them (the server's). What another thread puts there directly does not wake
    that loop: the message waits until something else does. So calls from elsewhere are handed to the reading loop and
    waited for; order per caller is kept. What is sent before anyone reads waits, as with the plain layer.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY, **options: Any) -> None:
        super().__init__(capacity=capacity, **options)
        self._reader: asyncio.AbstractEventLoop | None = None
        self._reader_lock = threading.Lock()

    async def receive(self, channel: str) -> dict[str, Any]:
        self._adopt_running_loop()
        return await super().receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        self._adopt_running_loop()
        await self._on_reader(super().group_add, group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._on_reader(super().group_discard, group, channel)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Raises ChannelFull when the channel holds `capacity` unread messages."""
        await self._on_reader(super().send, channel, message)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Full channels of the group miss the message."""
        await self._on_reader(super().group_send, group, message)

    async def flush(self) -> None:
        await self._on_reader(super().flush)

    def _adopt_running_loop(self) -> None:
        """The first loop that reads is the reader, until it is gone (each test brings a loop of its own)."""
        running = asyncio.get_running_loop()
        with self._reader_lock:
            if self._reader is running:
                return
            if self._reader is None or not self._reader.is_running():
                if self._reader is not None:
                    # Queues that waited on a dead loop can wake nobody: what they hold is lost with it.
                    self.channels, self.groups = {}, {}
                self._reader = running

    async def _on_reader(self, method: Any, *arguments: Any) -> None:
        reader = self._reader
        if reader is None or reader is asyncio.get_running_loop():
            await method(*arguments)
        elif reader.is_running():
            call: Coroutine[Any, Any, None] = method(*arguments)
            future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, reader))
            # The reader may stop between the question above and now; then the answer never comes.
            await asyncio.wait_for(future, HANDOVER_DEADLINE_S)
