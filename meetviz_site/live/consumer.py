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
from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.http.request import split_domain_port, validate_host
from django.utils import translation
from django.utils.translation import gettext as _

from generation import dispatch
from generation.services import frame_rate, frame_request, frame_shown, words_arrived
from meetings.access import (
    AccessDenied,
    MeetingFull,
    Membership,
    Place,
    member_for_session,
    member_for_token,
    turned_out,
)
from meetings.audio.frames import FrameError, parse_frame
from meetings.models import Meeting
from meetings.publish import publish
from meetings.services import (
    Refused,
    caption_assign,
    consent_record,
    name_record,
    presence_touch,
    settings_change,
)
from meetviz_site.live import limits
from meetviz_site.live.codes import CloseCode
from meetviz_site.live.hub import Hub, get_hub
from meetviz_site.live.snapshot import snapshot, welcome
from meetviz_site.live.streams import LiveStream
from meetviz_site.live.threads import in_thread
from meetviz_site.pipeline import TASK_PAINT_NEXT
from workers.faults import described
from workers.messages import QUEUE_CORE

log = logging.getLogger("meetviz.live")

SUBPROTOCOL = "meetviz.v1"
# How long a wish to paint waits for words that are being heard at that moment.
QUIET_WITHIN_S = 2.2
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class _Closed(Exception):
    """The socket is to be closed with this code."""

    def __init__(self, code: CloseCode) -> None:
        super().__init__(code)
        self.code = code


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
        self.language = _language_of(scope)
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
        except _Closed as closed:
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
            raise _Closed(CloseCode.NO_HELLO) from None
        try:
            self.member = await in_thread(self._admit, hello)
        except MeetingFull as full:
            with translation.override(self.language):
                await self._error("meeting_full", str(full))
            raise _Closed(CloseCode.NOT_ALLOWED) from None
        except AccessDenied as denied:
            raise _Closed(CloseCode(denied.code)) from None
        meeting_id = self.member.meeting.pk
        self.place = Place(self.member.participant.pk, self.member.meeting.invites_version)
        await self.hub.join(self, meeting_id)
        # What became void or ended between the two is told to those who have joined, not to this socket.
        for code in (await in_thread(turned_out, meeting_id, [self.place])).values():
            raise _Closed(CloseCode(code))
        await in_thread(presence_touch, meeting_id, [self.member.participant.pk])
        await self.send(await in_thread(self._in_language, welcome, self.member))
        await self.send_snapshot()

    async def _first_message(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _Gone
        if message.get("bytes") is not None:
            too_large = len(message["bytes"]) > limits.MAX_AUDIO_MESSAGE_BYTES
            raise _Closed(CloseCode.TOO_LARGE if too_large else CloseCode.MALFORMED)
        text = message.get("text") or ""
        if len(text) > limits.MAX_TEXT_MESSAGE_BYTES:
            raise _Closed(CloseCode.TOO_LARGE)
        hello = _parse(text)
        if hello["type"] != "hello":
            raise _Closed(CloseCode.MALFORMED)
        return hello

    def _admit(self, hello: dict[str, Any]) -> Membership:
        """Who is this, in this meeting? Raises AccessDenied with the close code."""
        meeting = Meeting.objects.filter(slug=self.scope["url_route"]["kwargs"]["slug"]).first()
        if meeting is None:
            raise AccessDenied(CloseCode.NO_SUCH_MEETING)
        token, name = hello.get("token"), hello.get("name")
        name = name if isinstance(name, str) else ""
        if token is not None:
            member = member_for_token(meeting, token if isinstance(token, str) else "", name)
        else:
            user = self.scope["user"]
            found = member_for_session(meeting, user, self.scope["session"]) if self._same_origin() else None
            if found is None:
                signed_in = self._same_origin() and user.is_authenticated
                raise AccessDenied(CloseCode.NOT_ALLOWED if signed_in else CloseCode.NOT_AUTHENTICATED)
            member = found
        if meeting.ended_at:
            raise AccessDenied(CloseCode.MEETING_ENDED)
        if isinstance(hello.get("consent"), dict):
            consent_record(member.participant, hello["consent"], name)
        elif token is None:
            name_record(member.participant, name)
        return member

    def _same_origin(self) -> bool:
        """Cookies count only for pages of this site: a socket has no CSRF token."""
        headers = dict(self.scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        if not origin or not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
            return False
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if origin in settings.CSRF_TRUSTED_ORIGINS:
            return True
        # Where the site is served by https, nobody on the way may speak for it by a page of plain http.
        secure = parts.scheme == "https" or not settings.SESSION_COOKIE_SECURE or parts.hostname in THIS_MACHINE
        return secure and parts.netloc == host

    # What comes in

    async def _on_audio(self, data: bytes) -> None:
        if len(data) > limits.MAX_AUDIO_MESSAGE_BYTES:
            raise _Closed(CloseCode.TOO_LARGE)
        if not self._audio.take(len(data)):
            raise _Closed(CloseCode.TOO_FAST)
        try:
            frame = parse_frame(data)
        except FrameError:
            raise _Closed(CloseCode.MALFORMED) from None
        stream = self._streams.get(frame.stream_number)
        if stream is None or stream.closing:
            with translation.override(self.language):
                await self._error("unknown_stream", _("This stream number is not open here: send stream.open first."))
            return
        await self.hub.desk.feed(stream, frame.first_sample, frame.samples)

    async def _on_text(self, text: str) -> None:
        if len(text) > limits.MAX_TEXT_MESSAGE_BYTES:
            raise _Closed(CloseCode.TOO_LARGE)
        if not self._texts.take(1):
            raise _Closed(CloseCode.TOO_FAST)
        message = _parse(text)
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
        except _Closed:
            raise
        except Exception as error:
            log.error("message %s failed: %s", message["type"][:40], described(error))
            await self._error("server_error", _("That did not work. Nothing was changed; please try again."), 2.0)

    async def _stream_open(self, message: dict[str, Any]) -> None:
        stream_id = _uuid_in(message, "stream")
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
            language=_text_in(message, "language"),
            label=_text_in(message, "label"),
        )

    async def _stream_close(self, message: dict[str, Any]) -> None:
        stream_id = _uuid_in(message, "stream")
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
        frame = await self._call(_request_frame, self.member, _text_in(message, "hint"))
        self._spawn(self._paint_when_quiet(frame))

    async def _paint_when_quiet(self, frame: Any) -> None:
        """What is being said at the moment of the wish belongs into the picture."""
        assert self.member is not None
        await self.hub.desk.quiet(self.member.meeting.pk, QUIET_WITHIN_S)
        await in_thread(_release_frame, frame.pk)

    async def _frame_shown(self, message: dict[str, Any]) -> None:
        await self._call(frame_shown, self.member, _uuid_in(message, "frame"))

    async def _frame_rate(self, message: dict[str, Any]) -> None:
        await self._call(
            frame_rate,
            self.member,
            _uuid_in(message, "frame"),
            value=message.get("value"),
            note=_text_in(message, "note"),
        )

    async def _caption_assign(self, message: dict[str, Any]) -> None:
        speaker = message.get("speaker")
        if speaker is not None and (isinstance(speaker, bool) or not isinstance(speaker, int)):
            raise Refused("bad_value", _("speaker must be the number of a speaker."))
        await self._call(
            caption_assign,
            self.member,
            _uuid_in(message, "utterance"),
            speaker_id=speaker,
            new_name=_text_in(message, "new_name"),
        )

    async def _settings_change(self, message: dict[str, Any]) -> None:
        assert self.member is not None
        await self._call(_refresh, self.member)
        await self._call(settings_change, self.member, message)
        room = self.hub.rooms.get(self.member.meeting.pk)
        if room:
            await room.send_status()

    async def _resync(self, message: dict[str, Any]) -> None:
        if not self._snapshots.take(1):
            raise _Closed(CloseCode.TOO_FAST)
        await self.send_snapshot()

    async def _hello_again(self, message: dict[str, Any]) -> None:
        """A second hello may change a name or a consent, nothing else."""
        assert self.member is not None
        if isinstance(message.get("consent"), dict):
            await self._call(consent_record, self.member.participant, message["consent"], _text_in(message, "name"))
            for number, stream in self._streams.items():
                stream.agree_to_voice(self.member.participant.consent_voice_id)
                if not self.member.participant.consent_transcribe:
                    self._spawn(self._close_stream(number))
        await self.send(await self._call(welcome, self.member))

    _HANDLERS: dict[str, Callable[[LiveSocket, dict[str, Any]], Awaitable[None]]] = {
        "hello": _hello_again,
        "stream.open": _stream_open,
        "stream.close": _stream_close,
        "frame.request": _frame_request,
        "frame.shown": _frame_shown,
        "frame.rate": _frame_rate,
        "caption.assign": _caption_assign,
        "settings.change": _settings_change,
        "resync": _resync,
    }

    # What goes out

    async def send(self, message: dict[str, Any]) -> None:
        await self._send_text(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    async def send_event(self, text: str) -> None:
        """An event for everyone; held back until the snapshot is out."""
        if self._backlog is not None:
            self._backlog.append(text)
        else:
            await self._send_text(text)

    async def send_snapshot(self) -> None:
        assert self.member is not None
        await self.send(await in_thread(self._in_language, snapshot, self.member.meeting.pk))
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

    async def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await in_thread(self._in_language, function, *args, **kwargs)

    def _in_language(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with translation.override(self.language):
            return function(*args, **kwargs)


class _Gone(Exception):
    """The client left before it said hello."""


def _parse(text: str) -> dict[str, Any]:
    """A JSON object with a `type`. Raises _Closed(4400) for anything else."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise _Closed(CloseCode.MALFORMED) from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise _Closed(CloseCode.MALFORMED)
    return message


def _uuid_in(message: dict[str, Any], field: str) -> uuid.UUID:
    try:
        return uuid.UUID(_text_in(message, field))
    except ValueError:
        raise Refused("bad_value", _("%(field)s must be a uuid.") % {"field": field}) from None


def _text_in(message: dict[str, Any], field: str) -> str:
    value = message.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("bad_value", _("%(field)s must be text.") % {"field": field})
    # JSON can spell what neither PostgreSQL nor any encoding has.
    return value.replace("\x00", "").encode("utf-8", "ignore").decode()


def _request_frame(member: Membership, hint: str) -> Any:
    with transaction.atomic():
        frame = frame_request(member, hint=hint)
        publish(member.meeting.pk, dispatch.place_in_line(frame))
    return frame


def _release_frame(frame_id: uuid.UUID) -> None:
    words_arrived(frame_id)
    current_app.send_task(TASK_PAINT_NEXT, queue=QUEUE_CORE)


def _refresh(member: Membership) -> None:
    member.meeting.refresh_from_db()


def _language_of(scope: dict[str, Any]) -> str:
    """The viewer's language: the language cookie of the pages, else what the browser prefers, else the site's."""
    cookie = (scope.get("cookies") or {}).get(settings.LANGUAGE_COOKIE_NAME, "")
    header = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
    for wanted in [cookie, *(part.split(";")[0].strip() for part in header.split(","))]:
        try:
            if wanted:
                return translation.get_supported_language_variant(wanted)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE
