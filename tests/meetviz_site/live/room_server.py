"""A small server that speaks the live protocol, so that the client can be watched from the other side of the wire."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed


@dataclass
class HeardStream:
    durable: int = 0
    """What `stream.opened` will say."""
    messages: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Connection (from 1), first sample, PCM bytes: as they came."""

    @property
    def end(self) -> int:
        return max((first + len(pcm) // 2 for _connection, first, pcm in self.messages), default=0)

    def audio(self) -> bytes:
        """Everything that came, each message put at its place."""
        whole = bytearray(2 * self.end)
        for _connection, first, pcm in self.messages:
            whole[2 * first : 2 * first + len(pcm)] = pcm
        return bytes(whole)


class RoomServer:
    """Follows the protocol to the letter; `close_hello_with` and the fields after it make it misbehave as told."""

    def __init__(self) -> None:
        self.connections = 0
        self.heard: list[dict[str, Any]] = []
        self.streams: dict[str, HeardStream] = {}
        self.close_hello_with: list[int] = []
        """Close codes for the next connections, given after their hello."""
        self.answers: dict[str, list[dict[str, Any]]] = {}
        """What to send when a message of this type comes, instead of the usual answer (for `stream.close`: before)."""
        self.close_audio_with = 0
        """Close code to answer the first audio with."""
        self.drop_at: Callable[[HeardStream], bool] = lambda stream: False
        """Looked at after each audio message; true cuts the wire, once."""
        self.drop_on: str = ""
        """Cut the wire when a message of this type comes, once."""
        self.ack_everything = True
        self.limits: dict[str, float] = {}
        self.socket: ServerConnection | None = None
        self.rev = 7
        self.url = ""
        self._news = asyncio.Condition()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(condition)

    async def say(self, message: dict[str, Any]) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps(message))

    async def cut(self) -> None:
        """Take the wire away without a goodbye, as a lost network does."""
        assert self.socket is not None
        self.socket.transport.abort()

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["type"] == kind]

    async def serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        connection = self.connections
        self.socket = socket
        numbers: dict[int, str] = {}
        try:
            async for message in socket:
                if isinstance(message, bytes):
                    await self._audio(socket, connection, numbers, message)
                else:
                    await self._text(socket, numbers, json.loads(message))
                async with self._news:
                    self._news.notify_all()
        except ConnectionClosed:
            pass
        finally:
            async with self._news:
                self._news.notify_all()

    async def _audio(self, socket: ServerConnection, connection: int, numbers: dict[int, str], message: bytes) -> None:
        magic, version, encoding, number, zero, first = struct.unpack_from("<2sBBHHQ", message)
        assert (magic, version, encoding, zero) == (b"MV", 1, 1, 0)
        assert 320 <= (len(message) - 16) // 2 <= 32_000
        stream = self.streams[numbers[number]]
        stream.messages.append((connection, first, message[16:]))
        if self.close_audio_with:
            await socket.close(self.close_audio_with)
        elif self.drop_at(stream):
            self.drop_at = lambda stream: False
            socket.transport.abort()
        elif self.ack_everything:
            stream.durable = stream.end
            await self._send(socket, {"type": "audio.ack", "stream": numbers[number], "next_sample": stream.durable})

    async def _text(self, socket: ServerConnection, numbers: dict[int, str], message: dict[str, Any]) -> None:
        self.heard.append(message)
        kind = message["type"]
        if kind == self.drop_on:
            self.drop_on = ""
            socket.transport.abort()
        elif kind in self.answers and kind != "stream.close":
            for answer in self.answers[kind]:
                await self._send(socket, answer)
        elif kind == "hello" and self.close_hello_with:
            await socket.close(self.close_hello_with.pop(0))
        elif kind == "hello":
            await self._send(socket, {"type": "welcome", "you": {"role": "participant"}, "limits": self.limits})
            await self._send(socket, {"type": "snapshot", "rev": self.rev})
        elif kind == "resync":
            await self._send(socket, {"type": "snapshot", "rev": self.rev})
        elif kind == "stream.open":
            stream = self.streams.setdefault(message["stream"], HeardStream())
            number = len(numbers) + 3
            numbers[number] = message["stream"]
            opened = {"type": "stream.opened", "stream": message["stream"], "number": number}
            await self._send(socket, {**opened, "next_sample": stream.durable})
        elif kind == "stream.close":
            stream = self.streams[message["stream"]]
            for answer in self.answers.get(kind, []):
                await self._send(socket, answer)
            closed = {"type": "stream.closed", "stream": message["stream"], "next_sample": stream.end}
            await self._send(socket, closed)
        elif kind == "frame.request":
            await self._send(socket, {"type": "frame.queued", "id": "picture-1", "position": 1})

    async def _send(self, socket: ServerConnection, message: dict[str, Any]) -> None:
        await socket.send(json.dumps(message))


@asynccontextmanager
async def running(room: RoomServer, port: int = 0) -> AsyncIterator[Server]:
    async with serve(room.serve, "127.0.0.1", port, subprotocols=["meetviz.v1"], compression=None) as server:  # type: ignore[list-item]
        room.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/meetings/garden/"
        yield server
