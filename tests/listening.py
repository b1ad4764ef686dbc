"""Hears what a meeting publishes, through the real channel layer, as a web process does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from channels.layers import get_channel_layer

from meetings.models import Meeting
from meetings.publish import meeting_group

WITHIN_S = 10.0
_LAST = "test.last"


class Published(list[dict[str, Any]]):
    """What everyone in the meeting got, in order; `signals` are those for the web processes alone."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: list[dict[str, Any]] = []

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self if event["type"] == kind]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self]


Listener = Callable[[Meeting], AbstractContextManager[Published]]


@contextlib.contextmanager
def listening(meeting: Meeting, commit: Callable[[], AbstractContextManager[Any]]) -> Iterator[Published]:
    """Collect what is published within the block. `commit` runs what waits for the commit when the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    layer, group = get_channel_layer(), meeting_group(meeting.pk)
    heard = Published()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(WITHIN_S)

    async def join() -> str:
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        return channel

    async def collect() -> None:
        await layer.group_send(group, {"type": _LAST})
        while (message := await layer.receive(channel))["type"] != _LAST:
            if message["type"] == "live.event":
                heard.append(json.loads(message["text"]))
            else:
                heard.signals.append(message)
        await layer.group_discard(group, channel)

    channel = run(join())
    try:
        with commit():
            yield heard
        run(collect())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WITHIN_S)
        loop.close()
