"""A client of the live socket, for everything that is not a browser: `manage.py talk`, the demo, tests, benches.

It does what the protocol asks of clients: numbers every sample, keeps what is not acked, comes back by itself after a
lost connection and sends from where the server is, follows `rev` and asks for a snapshot when it missed something.

    async with LiveClient(url, token=token, name="Anna", consent=Consent(transcribe=True)) as client:
        stream = await client.open_stream(language="en")
        await stream.play(read_audio("hello.wav"))
        await stream.close()
        caption = await client.wait_for("caption.final")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from meetings.audio import SAMPLE_RATE_HZ
from meetings.audio.frames import encode_frame
from meetviz_site.live.audio_file import AudioFileError, read_audio
from meetviz_site.live.client_events import EventLog
from meetviz_site.live.client_stream import LiveStream
from meetviz_site.live.client_words import (
    Consent,
    Event,
    LiveError,
    failure_of_close,
    failure_of_handshake,
    is_local,
    socket_url,
)
from meetviz_site.live.codes import FINAL_CODES, CloseCode
from meetviz_site.live.limits import TokenBucket

__all__ = [
    "AudioFileError",
    "CloseCode",
    "Consent",
    "Event",
    "LiveClient",
    "LiveError",
    "LiveStream",
    "read_audio",
    "socket_url",
]

SUBPROTOCOL = Subprotocol("meetviz.v1")
FIRST_DELAY_S, LONGEST_DELAY_S = 0.25, 8.0
LARGEST_MESSAGE = 16 * 2**20
PACE = 0.9
"""How much of the bytes per second that the server allows is used, so that headers and clocks do not matter."""
ABNORMAL_CLOSE = 1006
"""RFC 6455: the connection ended without a close message."""


class LiveClient(EventLog):
    """One person's connection to one meeting, over as many sockets as it takes.

    `url`: `ws(s)://HOST/ws/meetings/<slug>/`. `cookie`: a browser session's cookie header instead of a token.
    `give_up_s`: how long to try for without getting any further before the client ends with `unreachable` (or with
    the code that every connection was closed with).
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        name: str | None = None,
        consent: Consent | None = None,
        cookie: str | None = None,
        give_up_s: float = 120.0,
        open_timeout_s: float = 10.0,
        first_delay_s: float = FIRST_DELAY_S,
        longest_delay_s: float = LONGEST_DELAY_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__()
        self.url = url
        self.rev: int | None = None
        """The newest revision of the meeting that came on the present connection."""
        self.welcome: Event | None = None
        self.connections = 0
        """How many times a `welcome` came."""
        self.connected = False
        self.close_codes: list[int] = []
        self.streams: dict[str, LiveStream] = {}
        self.on_reconnect: Callable[[str], None] | None = None
        """Called with a plain sentence when the connection is lost and when it is back."""
        self._hello = {"type": "hello", "token": token, "name": name, "consent": asdict(consent) if consent else None}
        self._headers = {"Cookie": cookie} if cookie else None
        self._give_up_s = give_up_s
        self._open_timeout_s = open_timeout_s
        self._delays_s = (first_delay_s, longest_delay_s)
        self._jitter = jitter
        self._socket: ClientConnection | None = None
        self._runner: asyncio.Task[None] | None = None
        self._soon: set[asyncio.Future[None]] = set()
        self._resync_asked = False
        self._progress_at = 0.0

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # The life of the client

    async def connect(self, *, wait_s: float = 0.0) -> Event:
        """Open the first connection and return its `welcome`; from then on the client keeps itself connected.

        `wait_s`: how long to wait for a server that is not there yet. Raises LiveError.
        """
        self._progress_at = time.monotonic()
        self._runner = asyncio.create_task(self._run(wait_s))
        try:
            await self._until(lambda: self.welcome is not None)
        except BaseException:
            await self.aclose()
            raise
        assert self.welcome is not None
        return self.welcome

    async def aclose(self) -> None:
        """Leave. Streams stay resumable by their id; what was not sent is dropped."""
        self._stopping = True
        if self._runner:
            self._runner.cancel()
            await asyncio.wait([self._runner])
        self._end(LiveError("closed", "The client was closed."))

    def _end(self, error: LiveError) -> None:
        self.error = self.error or error
        self.connected = False
        self._wake()

    async def _run(self, wait_s: float) -> None:
        """Connect, serve the connection, come back: until a final close, giving up, or `aclose`."""
        first_s, longest_s = self._delays_s
        attempt = 0
        waits_until = time.monotonic() + wait_s
        while True:
            since, progress_before = time.monotonic(), self._progress_at
            try:
                failure = await self._connection()
            except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
                failure = failure_of_handshake(self.url, error)
                if self.welcome is None and (failure.code != "unreachable" or time.monotonic() >= waits_until):
                    return self._end(failure)
            except Exception as error:  # a bug must end the client loudly, not leave its callers waiting
                self._end(LiveError("failed", f"The client failed: {error!r}"))
                raise
            finally:
                self.connected = False
                for stream in self.streams.values():
                    stream.number = None
            if failure.close_code in FINAL_CODES:
                return self._end(failure)
            now = time.monotonic()
            if self._progress_at > progress_before or (failure.close_code and now - since > longest_s):
                attempt, self._progress_at = 0, now
            if now - self._progress_at > max(self._give_up_s, wait_s):
                return self._end(failure)
            self._tell(f"{failure.message} Coming back …")
            self._wake()
            await asyncio.sleep(backoff_s(attempt, self._jitter(), first_s, longest_s))
            attempt += 1

    async def _connection(self) -> LiveError:
        """One connection from hello to close; returns why it ended."""
        async with connect(
            self.url,
            subprotocols=[SUBPROTOCOL],
            additional_headers=self._headers,
            compression=None,  # audio does not shrink, and captions are short
            open_timeout=self._open_timeout_s,
            close_timeout=2.0,
            max_size=LARGEST_MESSAGE,
            proxy=None if is_local(self.url) else True,
        ) as socket:
            self._socket = socket
            self.rev, self._resync_asked = None, False
            sender: asyncio.Task[None] | None = None
            try:
                await socket.send(_to_json(self._hello))
                async with asyncio.timeout(self._open_timeout_s) as patience:
                    async for message in socket:
                        event = self._received(message)
                        if event and event.type == "welcome":
                            patience.reschedule(None)
                            self.welcome = event
                            self.connections += 1
                            self.connected = True
                            if self.connections > 1:
                                self._tell("Connected again.")
                            sender = asyncio.create_task(self._send_audio(socket))
                            sender.add_done_callback(self._sender_done)
                        self._wake()
            except ConnectionClosed:
                pass
            except TimeoutError:
                return LiveError("timeout", "The server did not answer in time.")
            finally:
                self._socket = None
                if sender:
                    sender.cancel()
                    await asyncio.wait([sender])
                if self._stopping:
                    # Otherwise the context manager, seeing a cancellation, would tell the server of an error (1011).
                    await socket.close()
        code = socket.close_code or ABNORMAL_CLOSE
        self.close_codes.append(code)
        return failure_of_close(code, socket.close_reason or "")

    # What comes

    def _received(self, message: str | bytes) -> Event | None:
        try:
            data = json.loads(message)
            kind = str(data["type"])
        except (ValueError, KeyError, TypeError):
            return None  # a newer server may say things that this client does not know
        self._count += 1
        event = Event(self._count, kind, data, time.time())
        self.events_kept.append(event)
        self._follow_rev(event)
        stream = self.streams.get(str(data.get("stream")))
        if stream is None:
            return event
        if kind == "stream.opened":
            stream._opened(int(data["number"]), int(data["next_sample"]))
        elif kind == "audio.ack":
            if int(data["next_sample"]) > stream.acked_samples:
                self._progress_at = time.monotonic()
            stream._acked(int(data["next_sample"]))
        elif kind == "stream.closed":
            stream._acked(int(data.get("next_sample", 0)))
            stream.number = None
            stream.closed = event
            self.streams.pop(stream.id, None)
        return event

    def _follow_rev(self, event: Event) -> None:
        rev = event.get("rev")
        if not isinstance(rev, int):
            return
        if event.type == "snapshot":
            # An event may overtake the snapshot that was taken before it.
            self.rev, self._resync_asked = max(rev, self.rev or 0), False
        elif self.rev is None or rev > self.rev:
            if self.rev is not None and rev > self.rev + 1 and not self._resync_asked:
                self._resync_asked = True
                self._send_soon({"type": "resync"})
            self.rev = rev

    # What goes

    async def open_stream(
        self,
        *,
        language: str | None = None,
        label: str | None = None,
        stream: str | None = None,
        timeout_s: float = 15.0,
    ) -> LiveStream:
        """Open a stream, or resume the one with the uuid `stream`: write it again from its first sample on, what the
        server has already is not sent twice.

        Raises LiveError when the server refuses it.
        """
        opened = LiveStream(self, str(uuid.UUID(stream) if stream else uuid.uuid4()), language, label)
        before = self._count
        self.streams[opened.id] = opened
        self._wake()

        def answer() -> LiveStream | LiveError | None:
            if opened.number is not None or opened.closed:
                return opened
            return self._refusal_after(before)

        try:
            outcome: LiveStream | LiveError = await self._until(answer, timeout_s, "the stream to open")
        except BaseException:
            self.streams.pop(opened.id, None)
            raise
        if isinstance(outcome, LiveError):
            self.streams.pop(opened.id, None)
            raise outcome
        return outcome

    async def send(self, type: str, **fields: Any) -> None:
        """Send any message, once there is a connection. Fields that are None are left out. Raises LiveError."""
        await self._until(lambda: self.connected)
        with contextlib.suppress(ConnectionClosed):
            if self._socket:
                await self._socket.send(_to_json({"type": type, **fields}))

    async def frame_request(self, hint: str | None = None, *, timeout_s: float = 15.0) -> Event:
        """Ask for a picture now and return `frame.queued`. Raises LiveError when the server refuses."""
        before = self._count
        await self.send("frame.request", hint=hint)

        def answer() -> Event | LiveError | None:
            for event in self._events_after(before):
                if event.type == "frame.queued":
                    return event
            return self._refusal_after(before)

        outcome: Event | LiveError = await self._until(answer, timeout_s, "the picture to be queued")
        if isinstance(outcome, LiveError):
            raise outcome
        return outcome

    async def frame_shown(self, frame_id: str) -> None:
        """Report that a picture is really on the wall."""
        await self.send("frame.shown", frame=frame_id)

    async def _send_audio(self, socket: ClientConnection) -> None:
        """Everything that the streams have to say on one connection: open, audio in turn, close."""
        asked_open: set[str] = set()
        asked_close: set[str] = set()
        bucket = self._bucket()
        with contextlib.suppress(ConnectionClosed):
            while True:
                news = self._news
                busy = False
                for stream in list(self.streams.values()):
                    if stream.id not in asked_open:
                        asked_open.add(stream.id)
                        await socket.send(_to_json(stream._open_message()))
                    if stream.number is None:
                        continue
                    if frame := stream._next_frame():
                        message = encode_frame(stream.number, *frame)
                        while not bucket.take(len(message)):
                            await asyncio.sleep((len(message) - bucket.level) / bucket.rate)
                        await socket.send(message)
                        busy = True
                    elif stream.closing and stream._all_sent and stream.id not in asked_close:
                        asked_close.add(stream.id)
                        await socket.send(_to_json({"type": "stream.close", "stream": stream.id}))
                if not busy:
                    await news.wait()
                # A socket that takes everything at once never makes `send` wait: let the receiver have its turn.
                await asyncio.sleep(0)

    def _bucket(self) -> TokenBucket:
        """What the server takes: at once as much as clients are told to keep, then its bytes per second."""
        limits = self.welcome.get("limits", {}) if self.welcome else {}
        rate = limits.get("audio_bytes_per_s", math.inf) * PACE
        return TokenBucket(rate=rate, burst=limits.get("keep_unacked_s", math.inf) * 2 * SAMPLE_RATE_HZ)

    def _sender_done(self, sender: asyncio.Task[None]) -> None:
        """A bug in the sender must end the client loudly, not leave its callers waiting for acks."""
        if not sender.cancelled() and (error := sender.exception()):
            self._end(LiveError("failed", f"The client failed: {error!r}"))

    def _send_soon(self, message: dict[str, Any]) -> None:
        async def send(socket: ClientConnection) -> None:
            with contextlib.suppress(ConnectionClosed):
                await socket.send(_to_json(message))

        if self._socket:
            task = asyncio.ensure_future(send(self._socket))
            self._soon.add(task)
            task.add_done_callback(self._soon.discard)

    def _tell(self, sentence: str) -> None:
        if self.on_reconnect:
            self.on_reconnect(sentence)


def backoff_s(attempt: int, chance: float, first_s: float = FIRST_DELAY_S, longest_s: float = LONGEST_DELAY_S) -> float:
    """How long to wait before attempt number `attempt` (from 0) to come back; `chance`: 0 to 1.

    Jitter spreads a room full of clients that lost the same server: between half of the doubling delay and all of it.
    """
    return min(longest_s, first_s * 2.0 ** min(attempt, 32)) * (0.5 + chance / 2)


def _to_json(message: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in message.items() if value is not None}, ensure_ascii=False)
