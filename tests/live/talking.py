"""A bare socket for tests: it says exactly what it is told, right or wrong, and remembers what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from meetings.audio.frames import encode_frame
from workers.messages import SAMPLE_RATE_HZ

WITHIN_S = 60.0
FRAME_SAMPLES = 2_560
CONSENT = {"transcribe": True, "voice_id": True, "keep": False}

Message = dict[str, Any]


class Talk:
    """One open socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[Message] = []
        """Everything that came, in order."""

    async def say(self, type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def say_raw(self, message: str | bytes) -> None:
        await self.socket.send(message)

    async def next(
        self, *types: str, where: Callable[[Message], bool] = lambda message: True, within_s: float = WITHIN_S
    ) -> Message:
        """The next message of one of these types that fits; what else comes meanwhile is in `seen`."""
        async with asyncio.timeout(within_s):
            while True:
                message = json.loads(await self.socket.recv())
                self.seen.append(message)
                if message["type"] in types and where(message):
                    return message

    async def error(self) -> str:
        """The code of the next error, which must have a sentence too."""
        message = await self.next("error")
        assert message["message"].strip()
        return message["code"]

    async def settled(self) -> list[Message]:
        """Everything that came until the server answered a question that was asked now: it has nothing more to say
        about what was sent before."""
        await self.say("resync")
        await self.next("snapshot")
        return self.seen

    async def closed(self, within_s: float = WITHIN_S) -> int:
        """The code with which the server closes the socket."""
        async with asyncio.timeout(within_s):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    self.seen.append(json.loads(await self.socket.recv()))
        assert self.socket.close_code is not None
        return self.socket.close_code

    def of_type(self, *types: str) -> list[Message]:
        return [message for message in self.seen if message["type"] in types]

    # What clients usually do

    async def hello(self, token: str | None = None, *, consent: Any = CONSENT, **fields: Any) -> Message:
        """Come in; the snapshot is the last message in `seen`."""
        await self.say("hello", token=token, consent=consent, **fields)
        welcome = await self.next("welcome")
        await self.next("snapshot")
        return welcome

    async def open_stream(self, stream: str | None = None, **fields: Any) -> Message:
        await self.say("stream.open", stream=stream or str(uuid.uuid4()), **fields)
        return await self.next("stream.opened")

    async def audio(self, opened: Message, samples: np.ndarray, *, first: int = 0) -> int:
        """Send samples of a stream in messages of 160 ms; returns where the next one would start."""
        for start in range(0, len(samples), FRAME_SAMPLES):
            await self.say_raw(encode_frame(opened["number"], first + start, samples[start : start + FRAME_SAMPLES]))
        return first + len(samples)

    async def close_stream(self, opened: Message, *, within_s: float = 60.0) -> Message:
        await self.say("stream.close", stream=opened["stream"])
        return await self.next("stream.closed", within_s=within_s)

    async def acked(self, opened: Message, at_least: int, *, within_s: float = WITHIN_S) -> int:
        ack = await self.next(
            "audio.ack",
            where=lambda m: m["stream"] == opened["stream"] and m["next_sample"] >= at_least,
            within_s=within_s,
        )
        return ack["next_sample"]


@contextlib.asynccontextmanager
async def socket_to(url: str, **options: Any) -> AsyncIterator[Talk]:
    """An open socket that has said nothing yet."""
    values = {"subprotocols": ["meetviz.v1"], "max_size": 2**24, "close_timeout": 2, "proxy": None, **options}
    async with connect(url, **values) as socket:
        yield Talk(socket)


@contextlib.asynccontextmanager
async def talk_in(meeting: dict[str, str], name: str = "Anna", kind: str = "join", **hello: Any) -> AsyncIterator[Talk]:
    """Someone who came in by a token of the meeting."""
    async with socket_to(meeting["ws_url"]) as talk:
        await talk.hello(meeting[f"{kind}_token"], name=name, **hello)
        yield talk


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.int16)


def noise(seconds: float, amplitude: int = 2_000) -> np.ndarray:
    count = round(seconds * SAMPLE_RATE_HZ)
    return np.random.default_rng(5).normal(0, amplitude, count).clip(-32_000, 32_000).astype(np.int16)


def words_of(text: str) -> list[str]:
    return ["".join(c for c in word if c.isalnum()) for word in text.lower().split()]
