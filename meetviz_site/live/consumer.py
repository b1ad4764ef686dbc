"""One live socket (docs/live-protocol.md): it checks and forwards, nothing else.

A plain ASGI application rather than a Channels consumer: Channels takes every message through a queue, a task and a
thread hop (195 ms p95 to the ack with 400 microphones; 17 ms without).
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from celery import current_app
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from generation import dispatch
from generation.services import frame_rate, frame_request, frame_shown, words_arrived
from meetings.access import (
    AccessDenied,
    MeetingFull,
    Membership,
    Place,
    turned_out,
)
from meetings.audio.frames import FrameError, parse_frame
from meetings.publish import publish
from meetings.services import (
    Refused,
    consent_record,
    presence_touch,
    settings_change,
)
from meetviz_site.cancelling import cancel
from meetviz_site.fetching import models_fetch
from meetviz_site.live import limits, speaker_messages
from meetviz_site.live.admission import admit, language_of
from meetviz_site.live.codes import CloseCode
from meetviz_site.live.hub import Hub, get_hub
from meetviz_site.live.incoming import Closed, parse, text_in, uuid_in
from meetviz_site.live.live_stream import LiveStream
from meetviz_site.live.snapshot import snapshot, welcome
from meetviz_site.live.threads import in_thread
from meetviz_site.pipeline import TASK_PAINT_NEXT
from meetviz_site.status import hosts_alive
from workers.faults import described
from workers.messages import QUEUE_CORE

log = logging.getLogger("meetviz.live")

SUBPROTOCOL = "meetviz.v1"
# How long a wish to paint waits for words that are being heard at that moment.
QUIET_WITHIN_S = 2.2
# Made once: `json.dumps` would make an encoder for every ack.
_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


async def live_socket(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
    """The ASGI application behind `/ws/meetings/<slug>/`."""
    await LiveSocket(scope, receive, send).run()


class LiveSocket:
    """One connection, from the first byte to the last."""

    def __init__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.hub: Hub = get_hub()
        self.member: Membership | None = None
        self.place: Place | None = None
        """What it was let in with: kept, because invites may become void while it is open."""
        self.language = language_of(scope)
        self._open = False
        self._backlog: list[str] | None = []
        self._streams: dict[int, LiveStream] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._audio = limits.TokenBucket(limits.AUDIO_BYTES_PER_S, limits.AUDIO_BURST_BYTES)
        self._texts = limits.TokenBucket(limits.TEXT_MESSAGES_PER_S, limits.TEXT_BURST)
        self._snapshots = limits.TokenBucket(limits.SNAPSHOTS_PER_S, limits.SNAPSHOT_BURST)

    # The life of the connection

    async def run(self) -> None:
        message = await self._receive()
        if message["type"] != "websocket.connect":
            return
        offered = self.scope.get("subprotocols") or []
        await self._send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if SUBPROTOCOL in offered else None})
        self._open = True
        try:
            await self._greet()
            while self._open:
                message = await self._receive()
                if message["type"] == "websocket.disconnect":
                    break
                if message.get("bytes") is not None:
                    await self._on_audio(message["bytes"])
                else:
                    await self._on_text(message.get("text") or "")
        except Closed as closed:
            await self.close(closed.code)
        except _Gone:
            pass
        finally:
            self._open = False
            for task in self._tasks:
                task.cancel()
            self.hub.desk.detach(self)
            if self.member:
                await self.hub.leave(self, self.member.meeting.pk)

    async def _greet(self) -> None:
        """`hello`, then who this is, then `welcome` and `snapshot`."""
        try:
            hello = await asyncio.wait_for(self._first_message(), limits.HELLO_WITHIN_S)
        except TimeoutError:
            raise Closed(CloseCode.NO_HELLO) from None
        try:
            self.member = await in_thread(admit, self.scope, hello)
        except MeetingFull as full:
            with translation.override(self.language):
                await self._error("meeting_full", str(full))
            raise Closed(CloseCode.NOT_ALLOWED) from None
        except AccessDenied as denied:
            raise Closed(CloseCode(denied.code)) from None
        meeting_id = self.member.meeting.pk
        self.place = Place(self.member.participant.pk, self.member.meeting.invites_version)
        await self.hub.join(self, meeting_id)
        # What became void or ended between the two is told to those who have joined, not to this socket.
        for code in (await in_thread(turned_out, meeting_id, [self.place])).values():
            raise Closed(CloseCode(code))
        await in_thread(presence_touch, meeting_id, [self.member.participant.pk])
        await self.send(await in_thread(self._in_language, welcome, self.member))
        await self.send_snapshot()

    async def _first_message(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _Gone
        if message.get("bytes") is not None:
            too_large = len(message["bytes"]) > limits.MAX_AUDIO_MESSAGE_BYTES
            raise Closed(CloseCode.TOO_LARGE if too_large else CloseCode.MALFORMED)
        text = message.get("text") or ""
        if len(text) > limits.MAX_TEXT_MESSAGE_BYTES:
            raise Closed(CloseCode.TOO_LARGE)
        hello = parse(text)
        if hello["type"] != "hello":
            raise Closed(CloseCode.MALFORMED)
        return hello

    # What comes in

    async def _on_audio(self, data: bytes) -> None:
        if len(data) > limits.MAX_AUDIO_MESSAGE_BYTES:
            raise Closed(CloseCode.TOO_LARGE)
        if not self._audio.take(len(data)):
            raise Closed(CloseCode.TOO_FAST)
        try:
            frame = parse_frame(data)
        except FrameError:
            raise Closed(CloseCode.MALFORMED) from None
        stream = self._streams.get(frame.stream_number)
        if stream is None or stream.closing:
            with translation.override(self.language):
                await self._error("unknown_stream", _("This stream number is not open here: send stream.open first."))
            return
        await self.hub.desk.feed(stream, frame.first_sample, frame.samples)

    async def _on_text(self, text: str) -> None:
        if len(text) > limits.MAX_TEXT_MESSAGE_BYTES:
            raise Closed(CloseCode.TOO_LARGE)
        if not self._texts.take(1):
            raise Closed(CloseCode.TOO_FAST)
        message = parse(text)
        with translation.override(self.language):
            await self._handle(message)

    async def _handle(self, message: dict[str, Any]) -> None:
        handler = self._HANDLERS.get(message["type"])
        if handler is None:
            await self._error("unknown_type", _("This kind of message is not known."))
            return
        try:
            await handler(self, message)
        except Refused as refused:
            await self._error(refused.code, str(refused))
        except Closed:
            raise
        except Exception as error:
            log.error("message %s failed: %s", message["type"][:40], described(error))
            await self._error("server_error", _("That did not work. Nothing was changed; please try again."), 2.0)

    async def _stream_open(self, message: dict[str, Any]) -> None:
        stream_id = uuid_in(message, "stream")
        if len(self._streams) >= limits.MAX_STREAMS and not any(s.id == stream_id for s in self._streams.values()):
            raise Refused("too_many_streams", _("Too many streams on one connection: close one first."))
        stream = await self._call_desk_open(stream_id, message)
        number = next((n for n, s in self._streams.items() if s.id == stream.id), None)
        if number is None:
            number = max(self._streams, default=0) + 1
        self._streams[number] = stream
        await self.send(
            {"type": "stream.opened", "stream": str(stream.id), "number": number, "next_sample": stream.durable}
        )

    async def _call_desk_open(self, stream_id: uuid.UUID, message: dict[str, Any]) -> LiveStream:
        assert self.member is not None
        return await self.hub.desk.open(
            self.member,
            self,
            stream_id,
            language=text_in(message, "language"),
            label=text_in(message, "label"),
        )

    async def _stream_close(self, message: dict[str, Any]) -> None:
        stream_id = uuid_in(message, "stream")
        number = next((n for n, s in self._streams.items() if s.id == stream_id), None)
        if number is None:
            raise Refused("unknown_stream", _("This stream is not open here."))
        # What is left takes its time to be heard: the socket goes on meanwhile.
        self._spawn(self._close_stream(number))

    async def _close_stream(self, number: int) -> None:
        """End a stream once, whoever asks: the client, a consent taken back here or on another socket."""
        stream = self._streams.get(number)
        if stream is None or stream.closing:
            return
        end = await self.hub.desk.close(stream)
        if end is None:  # opened again in the meantime: it goes on
            return
        self._streams.pop(number, None)
        await self.send({"type": "stream.closed", "stream": str(stream.id), "next_sample": end})

    async def _frame_request(self, message: dict[str, Any]) -> None:
        frame = await self.call(_request_frame, self.member, text_in(message, "hint"))
        self._spawn(self._paint_when_quiet(frame))

    async def _paint_when_quiet(self, frame: Any) -> None:
        """What is being said at the moment of the wish belongs into the picture."""
        assert self.member is not None
        await self.hub.desk.quiet(self.member.meeting.pk, QUIET_WITHIN_S)
        await in_thread(_release_frame, frame.pk)

    async def _frame_cancel(self, message: dict[str, Any]) -> None:
        await self.call(cancel, self.member, uuid_in(message, "frame"))

    async def _frame_shown(self, message: dict[str, Any]) -> None:
        await self.call(frame_shown, self.member, uuid_in(message, "frame"))

    async def _frame_rate(self, message: dict[str, Any]) -> None:
        await self.call(
            frame_rate,
            self.member,
            uuid_in(message, "frame"),
            value=message.get("value"),
            note=text_in(message, "note"),
        )

    async def _settings_change(self, message: dict[str, Any]) -> None:
        assert self.member is not None
        await self.call(_refresh, self.member)
        await self.call(settings_change, self.member, message)
        room = self.hub.rooms.get(self.member.meeting.pk)
        if room:
            await room.send_status()

    async def _models_fetch(self, message: dict[str, Any]) -> None:
        await self.call(_fetch_models, self.member, message.get("models"))

    async def _resync(self, message: dict[str, Any]) -> None:
        if not self._snapshots.take(1):
            raise Closed(CloseCode.TOO_FAST)
        await self.send_snapshot()

    async def _hello_again(self, message: dict[str, Any]) -> None:
        """A second hello may change a name or a consent, nothing else."""
        assert self.member is not None
        if isinstance(message.get("consent"), dict):
            await self.call(consent_record, self.member.participant, message["consent"], text_in(message, "name"))
            for number, stream in self._streams.items():
                stream.agree_to_voice(self.member.participant.consent_voice_id)
                if not self.member.participant.consent_transcribe:
                    self._spawn(self._close_stream(number))
        await self.send(await self.call(welcome, self.member))

    _HANDLERS: dict[str, Callable[[LiveSocket, dict[str, Any]], Awaitable[None]]] = {
        "hello": _hello_again,
        "stream.open": _stream_open,
        "stream.close": _stream_close,
        "frame.request": _frame_request,
        "frame.cancel": _frame_cancel,
        "frame.shown": _frame_shown,
        "frame.rate": _frame_rate,
        **speaker_messages.HANDLERS,
        "settings.change": _settings_change,
        "models.fetch": _models_fetch,
        "resync": _resync,
    }

    # What goes out

    async def send(self, message: dict[str, Any]) -> None:
        await self._send_text(_as_json(message))

    async def send_event(self, text: str) -> None:
        """An event for everyone; held back until the snapshot is out."""
        if self._backlog is not None:
            self._backlog.append(text)
        else:
            await self._send_text(text)

    async def send_snapshot(self) -> None:
        assert self.member is not None
        meeting_id = self.member.meeting.pk
        hearing = self.hub.desk.hearing_of(meeting_id)
        await self.send(await in_thread(self._in_language, snapshot, meeting_id, hearing))
        backlog, self._backlog = self._backlog, None
        for text in backlog or []:
            await self._send_text(text)

    async def _send_text(self, text: str) -> None:
        if self._open:
            await self._send({"type": "websocket.send", "text": text})

    async def _error(self, code: str, message: str, retry_after: float | None = None) -> None:
        values: dict[str, Any] = {"type": "error", "code": code, "message": message}
        if retry_after is not None:
            values["retry_after"] = retry_after
        await self.send(values)

    async def close(self, code: CloseCode) -> None:
        if self._open:
            self._open = False
            await self._send({"type": "websocket.close", "code": int(code)})

    async def end_stream(self, stream: LiveStream) -> None:
        """The person took the consent back elsewhere: nothing more is heard from here."""
        for number, own in list(self._streams.items()):
            if own is stream:
                self._spawn(self._close_stream(number))
                with translation.override(self.language):
                    await self._error("consent_required", _("You took your consent back: nothing is heard any more."))

    async def lose_stream(self, stream: LiveStream) -> None:
        """The same stream was opened on another socket."""
        self._streams = {number: s for number, s in self._streams.items() if s is not stream}
        await self.close(CloseCode.TAKEN_OVER)

    # Helpers

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await in_thread(self._in_language, function, *args, **kwargs)

    def _in_language(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with translation.override(self.language):
            return function(*args, **kwargs)


class _Gone(Exception):
    """The client left before it said hello."""


def _request_frame(member: Membership, hint: str) -> Any:
    with transaction.atomic():
        frame = frame_request(member, hint=hint)
        publish(member.meeting.pk, dispatch.place_in_line(frame))
    return frame


def _release_frame(frame_id: uuid.UUID) -> None:
    words_arrived(frame_id)
    current_app.send_task(TASK_PAINT_NEXT, queue=QUEUE_CORE)


def _fetch_models(member: Membership, wanted: Any) -> None:
    models_fetch(member, wanted, hosts_alive())


def _refresh(member: Membership) -> None:
    member.meeting.refresh_from_db()
