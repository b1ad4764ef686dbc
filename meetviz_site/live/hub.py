"""One hub per process: it subscribes to each meeting once and writes to the sockets itself.

A group of 500 Channels consumers takes 185–850 ms (p95) for a message, because each has its own queue and task; the hub
takes one message, already serialized, and writes it to all sockets in one go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from channels.layers import get_channel_layer

from meetings.access import Place, turned_out
from meetings.models import Meeting
from meetings.publish import meeting_group
from meetings.services import presence_touch
from meetviz_site.live.codes import CloseCode
from meetviz_site.live.desk import StreamDesk
from meetviz_site.live.status_now import live_status
from meetviz_site.live.threads import in_thread
from workers.messages import InterimResult

if TYPE_CHECKING:
    from meetviz_site.live.consumer import LiveSocket

log = logging.getLogger("meetviz.live")

STATUS_EVERY_S = 2.0
PRESENCE_EVERY_S = 20.0
TURN_OUT_EVERY_S = 5.0
RESUBSCRIBE_AFTER_S = 1.0


class Room:
    """The sockets of one meeting in this process."""

    def __init__(self, hub: Hub, meeting_id: int) -> None:
        self.hub = hub
        self.meeting_id = meeting_id
        self.sockets: set[LiveSocket] = set()
        self.subscribed = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_informed())]
        self._last_status: dict[str, Any] = {}

    async def _listen(self) -> None:
        layer = get_channel_layer()
        group = meeting_group(self.meeting_id)
        while True:
            try:
                channel = await layer.new_channel()
                await layer.group_add(group, channel)
                self.subscribed.set()
                try:
                    while True:
                        await self._on_message(await layer.receive(channel))
                finally:
                    with contextlib.suppress(Exception):
                        await layer.group_discard(group, channel)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("live subscription lost: %s", type(error).__name__)
                await asyncio.sleep(RESUBSCRIBE_AFTER_S)
                for socket in list(self.sockets):  # what was missed meanwhile is in the snapshot
                    await socket.send_snapshot()

    async def _on_message(self, message: dict[str, Any]) -> None:
        if message["type"] == "live.event":
            await self.broadcast(message["text"])
        elif message["type"] == "live.signal":
            await self.hub.on_signal(self, message)

    async def broadcast(self, text: str) -> None:
        for socket in list(self.sockets):
            await socket.send_event(text)

    async def _keep_informed(self) -> None:
        """Engine and queue status when it changes; people's places kept warm."""
        touched = looked = time.monotonic()
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            if self.hub.drop_if_empty(self):
                return
            try:
                if time.monotonic() - looked > TURN_OUT_EVERY_S:
                    looked = time.monotonic()
                    await self._turn_out()
                if time.monotonic() - touched > PRESENCE_EVERY_S:
                    touched = time.monotonic()
                    people = [s.member.participant.pk for s in self.sockets if s.member]
                    await in_thread(presence_touch, self.meeting_id, people)
                await self.send_status()
            except Exception as error:
                log.warning("status not sent: %s", type(error).__name__)

    async def _turn_out(self) -> None:
        """Close sockets whose person has no place any more, whatever took it and whether or not a signal said so."""
        places = {socket.place for socket in self.sockets if socket.place}
        gone: dict[Place, int] = await in_thread(turned_out, self.meeting_id, places)
        for socket in list(self.sockets):
            if socket.place in gone:
                await socket.close(CloseCode(gone[socket.place]))

    async def close_guests(self, version: int) -> None:
        """Close the sockets of those without an account who came by an invite older than this version."""
        for socket in list(self.sockets):
            guest = socket.member is not None and socket.member.participant.user_id is None
            if guest and socket.place and socket.place.invites_version < version:
                await socket.close(CloseCode.NOT_AUTHENTICATED)

    async def send_status(self) -> None:
        hearing = self.hub.desk.hearing_of(self.meeting_id)
        event = await in_thread(lambda: live_status(Meeting.objects.get(pk=self.meeting_id), hearing))
        values = event.to_dict()
        steady = {key: value for key, value in values.items() if key != "next_in_s"}
        if steady != self._last_status or values.get("next_in_s") is not None:
            self._last_status = steady
            await self.broadcast(event.to_json())

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


class Hub:
    """All rooms of this process, on its event loop."""

    def __init__(self) -> None:
        self.rooms: dict[int, Room] = {}
        self.desk = StreamDesk()

    async def join(self, socket: LiveSocket, meeting_id: int) -> Room:
        """Add a socket; on return, nothing published from now on passes it by."""
        room = self.rooms.get(meeting_id)
        if room is None:
            room = self.rooms[meeting_id] = Room(self, meeting_id)
        room.sockets.add(socket)
        try:
            await asyncio.wait_for(room.subscribed.wait(), timeout=5)
        except TimeoutError:
            log.warning("joined without a live subscription")
        return room

    async def leave(self, socket: LiveSocket, meeting_id: int) -> None:
        room = self.rooms.get(meeting_id)
        if room is None:
            return
        room.sockets.discard(socket)
        member = socket.member
        if member and not any(s.member and s.member.participant.pk == member.participant.pk for s in room.sockets):
            await in_thread(presence_touch, meeting_id, [], left=[member.participant.pk])
        self.drop_if_empty(room)

    def drop_if_empty(self, room: Room) -> bool:
        """Forget a room without sockets in which nothing is being heard any more."""
        if room.sockets or self.desk.has_meeting(room.meeting_id) or self.rooms.get(room.meeting_id) is not room:
            return False
        del self.rooms[room.meeting_id]
        room.stop()
        return True

    async def on_signal(self, room: Room, message: dict[str, Any]) -> None:
        if message["kind"] == "settled":
            await self.desk.settled(message["stream"], message["last_sample"], message)
        elif message["kind"] == "interim":
            await self.desk.interims.heard(InterimResult.from_wire(message))
        elif message["kind"] == "taken":
            await self.desk.taken_elsewhere(message["stream"], message["desk"], message["openings"])
        elif message["kind"] == "invites_void":
            await room.close_guests(message["version"])
        elif message["kind"] == "consent":
            await self.desk.consent_withdrawn(
                message["participant"], transcribe=message["transcribe"], voice_id=message["voice_id"]
            )
        elif message["kind"] == "ended":
            await self.desk.finish_meeting(room.meeting_id)
            for socket in list(room.sockets):
                await socket.close(CloseCode.MEETING_ENDED)


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def get_hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs.clear()  # a loop that is gone (a test's) takes its hub along
        _hubs[loop] = Hub()
    return _hubs[loop]
