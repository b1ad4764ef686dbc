"""One microphone or file of a `LiveClient`: what was written, what was sent, what the server has for good."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from meetings.audio import SAMPLE_RATE_HZ
from meetings.audio.frames import MIN_SAMPLES, Samples
from meetviz_site.live.client_words import Event

if TYPE_CHECKING:
    from meetviz_site.live.client import LiveClient

FRAME_SAMPLES = 1_536
"""96 ms, as browsers send. Three frames of voice activity detection: no frame waits for the next message, and a message
adds 32 ms to a caption on average."""
KEPT_SAMPLES = 120 * SAMPLE_RATE_HZ
"""As much unacked audio is kept as a browser keeps; then `write` waits for acks."""


@dataclass(eq=False)
class LiveStream:
    """One microphone (or file). Made by `LiveClient.open_stream`; positions are samples from the stream's start."""

    client: LiveClient
    id: str
    language: str | None
    label: str | None
    number: int | None = None
    """The server's number for it on the present connection; None while it is not open there."""
    acked_samples: int = 0
    """Everything before is durable on the server."""
    sent_samples: int = 0
    """Where the next message starts."""
    written_samples: int = 0
    closing: bool = False
    closed: Event | None = None
    _kept: bytearray = field(default_factory=bytearray)
    _kept_from: int = 0

    @property
    def unacked_samples(self) -> int:
        return self.written_samples - self._kept_from

    async def write(self, samples: Samples | bytes | bytearray | memoryview) -> None:
        """Add audio (int16 array of shape (n,), or PCM16 little-endian bytes) to what is sent, as fast as it goes.

        Waits while 120 s are unacked. Raises LiveError when the client has ended.
        """
        data = memoryview(_pcm_bytes(samples)).cast("B")
        if len(data) % 2:
            raise ValueError("PCM16 comes in pairs of bytes")
        if self.closing:
            raise ValueError("the stream is closing")
        while data:
            if self.client.error:
                raise self.client.error
            await self.client._until(lambda: self.unacked_samples < KEPT_SAMPLES)
            piece = data[: 2 * (KEPT_SAMPLES - self.unacked_samples)]
            data = data[len(piece) :]
            self.written_samples += len(piece) // 2
            self._kept += piece
            # What an earlier client of the same stream made durable needs no second trip.
            self._forget(self.acked_samples)
            self.client._wake()

    async def play(self, samples: Samples | bytes, *, speed: float = 1.0) -> float:
        """Write `samples` as a microphone would: each 96 ms when they have been spoken, `speed` times as fast.

        Returns the Unix time at which the first sample was spoken.
        """
        if not speed > 0:
            raise ValueError("speed must be above 0")
        data = memoryview(_pcm_bytes(samples)).cast("B")
        loop = asyncio.get_running_loop()
        started_at, start = time.time(), loop.time()
        # A rest too short for a message of its own is spoken together with the piece before it.
        pieces = max(1, (len(data) // 2 - MIN_SAMPLES) // FRAME_SAMPLES + 1)
        for number in range(pieces):
            offset = 2 * FRAME_SAMPLES * number
            piece = data[offset:] if number == pieces - 1 else data[offset : offset + 2 * FRAME_SAMPLES]
            spoken_s = (offset + len(piece)) / 2 / SAMPLE_RATE_HZ / speed
            await asyncio.sleep(start + spoken_s - loop.time())
            await self.write(piece)
        return started_at

    async def close(self, timeout_s: float = 60.0) -> Event:
        """Send what is left, let the server decode it, and return its `stream.closed`. Raises LiveError."""
        self.closing = True
        self.client._wake()
        await self.client._until(lambda: self.closed is not None, timeout_s, "the end of the stream")
        assert self.closed is not None
        return self.closed

    def _open_message(self) -> dict[str, Any]:
        return {"type": "stream.open", "stream": self.id, "language": self.language, "label": self.label}

    def _opened(self, number: int, next_sample: int) -> None:
        """The server has the stream open on this connection and wants it from `next_sample` on."""
        self._acked(next_sample)
        self.number = number
        self.sent_samples = max(next_sample, self._kept_from)

    def _acked(self, next_sample: int) -> None:
        self.acked_samples = max(self.acked_samples, next_sample)
        self._forget(self.acked_samples)

    def _forget(self, before: int) -> None:
        count = min(before, self.written_samples) - self._kept_from
        if count > 0:
            del self._kept[: 2 * count]
            self._kept_from += count

    def _next_frame(self) -> tuple[int, Samples] | None:
        """First sample and samples of the next message, or None when there is nothing to send yet."""
        start = max(self.sent_samples, self._kept_from)
        ready = self.written_samples - start
        if ready <= 0 or (ready < MIN_SAMPLES and not self.closing):
            return None
        # A rest too short for a message of its own travels with the frame before it.
        count = ready if ready < FRAME_SAMPLES + MIN_SAMPLES and self.closing else min(ready, FRAME_SAMPLES)
        offset = 2 * (start - self._kept_from)
        pcm = bytes(self._kept[offset : offset + 2 * count])
        self.sent_samples = start + count
        if count < MIN_SAMPLES:
            pcm += bytes(2 * (MIN_SAMPLES - count))
        return start, np.frombuffer(pcm, "<i2")

    @property
    def _all_sent(self) -> bool:
        return self.sent_samples >= self.written_samples


def _pcm_bytes(samples: Samples | bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
    if isinstance(samples, bytes | bytearray | memoryview):
        return samples
    if samples.dtype != "int16" or samples.ndim != 1:
        raise ValueError("audio must be int16 of shape (n,)")
    return samples.astype("<i2", copy=False).tobytes()
