"""The first of the two lanes to the recogniser: finals. Never dropped, one in flight per stream, so in order.

A final that stays without an outcome is asked for again, sooner where answers use to come soon: a dead host costs
seconds. A host that is merely behind answers both, and one counts. What nobody hears for two minutes becomes a gap that
everyone sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from celery import current_app

from meetings.audio.hearing import Patience
from meetings.audio.session import Gap, Pause, Utterance
from meetings.models import AudioStream
from meetings.services import gap_store
from meetviz_site.live.live_stream import InFlight, LiveStream
from meetviz_site.live.threads import in_thread
from workers.messages import QUEUE_SPEECH, TASK_TRANSCRIBE, SpeechRequest

log = logging.getLogger("meetviz.live")

ATTEMPTS = 3
GIVE_UP_AFTER_S = 120.0
LOOK_AT_DATABASE_AFTER_S = 2.0
BROKER_RETRY_S = 1.0
GUESS_EXPIRES_S = 0.5


class FinalLane:
    """The finals of all streams of this process.

    `settled(stream id, last sample)` is called when a gap was written; `spawn` keeps a task until it is done.
    """

    def __init__(
        self,
        streams: dict[str, LiveStream],
        spawn: Callable[[Coroutine[Any, Any, Any]], None],
        settled: Callable[[str, int], Awaitable[None]],
    ) -> None:
        self._streams = streams
        self._spawn = spawn
        self._settled = settled
        self._patience = Patience()

    @property
    def is_idle(self) -> bool:
        """Whether nothing of this process waits for the recogniser."""
        return not any(stream.in_flight or stream.waiting for stream in self._streams.values())

    def pump(self, stream: LiveStream) -> None:
        """Send the next final, or write down the next gap, when nothing of this stream is on its way."""
        if stream.in_flight or not stream.waiting:
            return
        item = stream.waiting.popleft()
        stream.spoke_from, _ended = stream.times_of(item)
        if isinstance(item, Gap):
            placeholder = Utterance(item.first_sample, item.last_sample, b"")
            stream.in_flight = InFlight(placeholder, stream.request_for(placeholder))
            self._spawn(self._store_gap(stream, placeholder, "missing"))
            return
        stream.in_flight = InFlight(item, stream.request_for(item))
        self._spawn(self._send(stream, stream.in_flight))

    def guess(self, stream: LiveStream, pause: Pause) -> None:
        """Let the recogniser begin a quarter of a second before the utterance is over for certain: when it is idle."""
        if self.is_idle:
            request = stream.request_for(pause)
            request.guess = True
            self._spawn(self._send_guess(request))

    def outcome(self, stream: LiveStream, last_sample: int) -> InFlight | None:
        """`core` has the outcome of everything before `last_sample`: the final that this settles, if one is on its
        way."""
        in_flight = stream.in_flight
        if in_flight is None or in_flight.item.last_sample > last_sample:
            return None
        if in_flight.asked_at:
            self._patience.answered(time.monotonic() - in_flight.asked_at)
        stream.in_flight = None
        return in_flight

    async def look_after(self, now: float) -> None:
        """A signal may be lost, a host may die: the database knows, and what stays unanswered is asked again."""
        overdue = [
            s
            for s in self._streams.values()
            if s.in_flight and s.in_flight.asked_at and now - s.in_flight.looked_at > LOOK_AT_DATABASE_AFTER_S
        ]
        if not overdue:
            return
        positions = await in_thread(_positions, [s.id for s in overdue])
        for stream in overdue:
            in_flight = stream.in_flight
            if in_flight is None or not in_flight.asked_at:
                continue
            in_flight.looked_at = now
            if positions.get(stream.id, 0) >= in_flight.item.last_sample:
                await self._settled(str(stream.id), in_flight.item.last_sample)
            elif now - in_flight.asked_at > GIVE_UP_AFTER_S:
                in_flight.asked_at = 0.0
                self._spawn(self._store_gap(stream, in_flight.item, "not_heard"))
            elif self._is_lost(in_flight, now):
                log.warning("final asked for again: no answer for %.0f s", now - in_flight.sent_at)
                in_flight.request.attempt += 1
                self._spawn(self._send(stream, in_flight))

    def _is_lost(self, in_flight: InFlight, now: float) -> bool:
        """Each attempt waits longer than the one before: what answers late may be busy."""
        attempt = in_flight.request.attempt
        return attempt < ATTEMPTS and now - in_flight.sent_at > self._patience.patience_s * attempt

    async def _send(self, stream: LiveStream, in_flight: InFlight) -> None:
        """Hand a final to the speech queue; an unreachable broker is tried again until it is there."""
        in_flight.sent_at = time.monotonic()
        while stream.in_flight is in_flight:
            try:
                await in_thread(_send_request, in_flight.request)
                in_flight.sent_at = in_flight.looked_at = time.monotonic()
                in_flight.asked_at = in_flight.asked_at or in_flight.sent_at
                return
            except Exception as error:
                log.warning("speech queue unreachable: %s", type(error).__name__)
                await asyncio.sleep(BROKER_RETRY_S)

    async def _send_guess(self, request: SpeechRequest) -> None:
        with contextlib.suppress(Exception):  # a guess may be lost
            await in_thread(_send_request, request, expires=GUESS_EXPIRES_S)

    async def _store_gap(self, stream: LiveStream, item: Utterance, reason: str) -> None:
        started_at, ended_at = stream.times_of(item)
        while str(stream.id) in self._streams:
            try:
                await in_thread(
                    gap_store,
                    stream.id,
                    first_sample=item.first_sample,
                    last_sample=item.last_sample,
                    reason=reason,
                    started_at=started_at,
                    ended_at=ended_at,
                )
                await self._settled(str(stream.id), item.last_sample)
                return
            except Exception as error:
                log.warning("gap not stored: %s", type(error).__name__)
                await asyncio.sleep(BROKER_RETRY_S)


def _send_request(request: SpeechRequest, expires: float | None = None) -> None:
    request.asked_at = time.time()
    current_app.send_task(TASK_TRANSCRIBE, args=[request.to_wire()], queue=QUEUE_SPEECH, expires=expires)


def _positions(streams: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    return dict(AudioStream.objects.filter(pk__in=streams).values_list("pk", "next_sample"))
