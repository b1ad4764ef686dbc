"""The only sender of live events. Called inside the transaction of the change; the send waits for its commit.

Everything goes to one group per meeting, already serialized, so that a web process with five hundred sockets
serializes nothing. Messages for the web processes themselves (`signal`) use the same way and never reach a client.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from channels.layers import get_channel_layer
from django.db import connection, transaction

from meetings.events import Event
from meetings.models import Meeting

log = logging.getLogger("meetviz.publish")

SEND_TIMEOUT_S = 3.0


def meeting_group(meeting_id: int) -> str:
    return f"meeting.{meeting_id}"


def raise_rev(meeting_id: int, steps: int = 1) -> int:
    """The meeting's revision after so many changes, inside the caller's transaction: the row's lock puts changes in
    order."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE meetings_meeting SET rev = rev + %s WHERE id = %s RETURNING rev", [steps, meeting_id])
        row = cursor.fetchone()
    if row is None:
        raise Meeting.DoesNotExist(meeting_id)
    return int(row[0])


def publish(meeting_id: int, event: Event) -> None:
    """Send an event to everyone in the meeting once the current transaction commits."""
    text = event.to_json()
    transaction.on_commit(lambda: _send(meeting_id, {"type": "live.event", "text": text}))


async def publish_now(meeting_id: int, event: Event) -> None:
    """Send an event that lasts nowhere, from an event loop: no transaction to wait for, no thread on the way."""
    try:
        message = {"type": "live.event", "text": event.to_json()}
        await get_channel_layer().group_send(meeting_group(meeting_id), message)
    except Exception as error:
        log.warning("live event not sent: %s", type(error).__name__)


def signal(meeting_id: int, kind: str, **values: Any) -> None:
    """Tell the web processes that hold this meeting's sockets something that clients do not see."""
    transaction.on_commit(lambda: _send(meeting_id, {"type": "live.signal", "kind": kind, **values}))


class _Loop:
    """An event loop of our own for sends from synchronous code.

    `async_to_sync` makes a loop for each call, and with it a new Redis connection; one lasting loop keeps both the
    connection and the order of messages.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Any) -> Any:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="publish", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(SEND_TIMEOUT_S)


_loop = _Loop()


def _send(meeting_id: int, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    try:
        _loop.run(layer.group_send(meeting_group(meeting_id), message))
    except Exception as error:
        # The change is committed; a client that misses the event sees the gap in `rev` and asks for a snapshot.
        log.warning("live event not sent: %s", type(error).__name__)
