"""The second lane to the recogniser: interims, what is understood while someone still speaks. They may all be lost.

Newest wins, one on its way from this process, none while a final waits or while nobody is in the middle of a word; what
they cost the host sets how often they come, and a host for which they cost too much is not asked for them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from celery import current_app

from meetings.audio.endpointing import EndpointingOptions
from meetings.audio.language import Understood
from meetings.events import CaptionInterim
from meetings.publish import publish_now
from meetings.selectors import stamp
from meetviz_site.live.live_stream import LiveStream, ShownInterim
from meetviz_site.live.threads import in_thread
from workers.messages import QUEUE_SPEECH, TASK_INTERIM, InterimRequest, InterimResult

log = logging.getLogger("meetviz.live")

EXPIRES_S = 1.0
"""A host that has not begun with it by then is behind."""
LOST_AFTER_S = 2.0
"""Without an answer for so long, and what the last one cost: the next may be asked for."""
REST_FACTOR = 1.0
"""After each the host has as long for other work as it took: a final never waits for more than one."""
_PRE_ROLL_S = EndpointingOptions().pre_roll_ms / 1000


class InterimLane:
    """The interims of all streams of this process; `spawn` keeps a task until it is done."""

    def __init__(self, streams: dict[str, LiveStream], spawn: Callable[[Coroutine[Any, Any, Any]], None]) -> None:
        self._streams = streams
        self._spawn = spawn
        self._free_at = 0.0

    def consider(self, stream: LiveStream) -> None:
        """New sound came: ask for an interim if it is time. The caller knows that no final waits."""
        now = time.monotonic()
        if now < self._free_at or stream.closing or stream.understood is Understood.FOREIGN:
            return
        pace, last_sample = stream.interim_pace, stream.session.received_sample
        if not pace.is_due(now=now, speech_s=stream.session.in_hand - _PRE_ROLL_S, last_sample=last_sample):
            return
        so_far = stream.session.so_far()
        if so_far is None:
            return
        pace.asked(now, last_sample)
        self._free_at = now + LOST_AFTER_S + (0.0 if pace.is_worthless else pace.cost_s)
        self._spawn(_send(stream.interim_request_for(so_far)))

    async def heard(self, result: InterimResult) -> None:
        """An interim came back: show it, unless its utterance is closed by now."""
        stream = self._streams.get(result.stream)
        if stream is None:
            return
        cost_s = result.decode_ms / 1000
        self._free_at = time.monotonic() + REST_FACTOR * cost_s
        was_worthless = stream.interim_pace.is_worthless
        # What an engine cannot do today it will not do in a second; another error may be a child that died.
        stream.interim_pace.answered(float("inf") if result.error == "language_unsupported" else cost_s)
        if stream.interim_pace.is_worthless and not was_worthless:
            log.info("no interims for now: the last took the host %.1f s, %s", cost_s, result.error or "too long")
        if stream.closing or stream.session.first_in_hand != result.first_sample:
            return
        if stream.understood is not Understood.CLEAR:  # perhaps these words are in no language that was spoken
            return
        if stream.interim is None or stream.interim.first_sample != result.first_sample:
            started_at = max(stream.spoken_at(result.first_sample), stream.spoke_from)
            stream.interim = ShownInterim(result.first_sample, started_at)
        if stream.interim.words.update(result.text):
            await _show(stream, stream.interim, stream.interim.words.text, stream.interim.words.stable)

    async def settled(self, stream: LiveStream, last_sample: int, *, captioned: bool) -> None:
        """The outcome of everything before `last_sample` is known: its final replaces the interim, or nothing does."""
        shown = stream.interim
        if shown is not None and shown.first_sample < last_sample:
            stream.interim = None
            if not captioned and shown.words.text:
                await _show(stream, shown, "", 0)

    async def take_back_if_dropped(self, stream: LiveStream) -> None:
        """What began as speech turned out to be a noise, of which no outcome will ever come."""
        shown = stream.interim
        if shown is not None and not stream.holds(shown.first_sample):
            await self.settled(stream, shown.first_sample + 1, captioned=False)


async def _show(stream: LiveStream, shown: ShownInterim, text: str, stable: int) -> None:
    event = CaptionInterim(
        stream=str(stream.id),
        text=text,
        stable=stable,
        started_at=stamp(datetime.fromtimestamp(shown.started_at, UTC)) or "",
        speaker=stream.speaker,
    )
    await publish_now(stream.meeting_id, event)


async def _send(request: InterimRequest) -> None:
    with contextlib.suppress(Exception):  # the next one follows soon
        await in_thread(_send_request, request)


def _send_request(request: InterimRequest) -> None:
    request.asked_at = time.time()
    current_app.send_task(TASK_INTERIM, args=[request.to_wire()], queue=QUEUE_SPEECH, expires=EXPIRES_S)
