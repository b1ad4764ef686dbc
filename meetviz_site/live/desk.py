"""The desk where audio streams of this process are heard: samples to utterances, utterances to the speech queue, acks.

The promise of an ack is that the outcome of every sample before it is in Postgres. So a stream's durable position is
the start of its oldest utterance without an outcome, or else the end of judged silence. Streams in which nobody speaks
are judged together, and their silence becomes durable in one statement, twenty times a second. One final is in flight
per stream (`finals.py`): its words stay in order, and what `core` stores can simply raise the position. Beside them
`interims.py` shows what is being said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db import DatabaseError
from django.db.models import Max
from django.utils.translation import gettext as _

from meetings.access import Membership
from meetings.audio.language import Understood
from meetings.audio.session import Gap, Pause, Silence, Utterance, catch_up_together
from meetings.models import AudioStream
from meetings.publish import signal
from meetings.selectors import speaker_brief
from meetings.services import Refused, silence_settle, stream_close, stream_open
from meetviz_site.live import limits
from meetviz_site.live.codes import CloseCode
from meetviz_site.live.finals import BROKER_RETRY_S, GIVE_UP_AFTER_S, FinalLane
from meetviz_site.live.interims import InterimLane
from meetviz_site.live.live_stream import InFlight, LiveStream, seconds_of
from meetviz_site.live.status_now import Hearing
from meetviz_site.live.threads import in_thread
from workers.messages import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from meetviz_site.live.consumer import LiveSocket

log = logging.getLogger("meetviz.live")

FLUSH_EVERY_S = 0.05
LEAST_REST_S = 0.01
# While looks are in time, silence is judged and acked when a browser's message of it has come (96 ms). Else `is_due`
# says when: with two of them, which halves what positions and acks cost.
SOON_FRAMES = 3
# Longer than between two messages of a microphone.
CATCH_UP_AFTER_S = 0.15
ACK_EVERY_S = 0.2
# A client that lost its connection finds its stream as it left it for this long; then what it said last is finished.
KEEP_DETACHED_S = 45.0
MAX_UNSETTLED_S = 600.0
# All streams of a process together, 460 MB of sound: beyond it, each may hold its equal share.
MAX_UNSETTLED_OF_ALL_S = 14_400.0
# Outcomes that wait: gaps hold no sound, but a client could make hundreds of them a second.
MAX_WAITING = 1_000


class StreamDesk:
    """All streams of this process."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self.streams: dict[str, LiveStream] = {}
        self._unheard_samples = 0
        self._in_time = True
        self._flusher: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._finals = FinalLane(self.streams, self._spawn, self.settled)
        self.interims = InterimLane(self.streams, self._spawn)

    def has_meeting(self, meeting_id: int) -> bool:
        return any(stream.meeting_id == meeting_id for stream in self.streams.values())

    async def open(
        self, member: Membership, socket: LiveSocket, stream_id: uuid.UUID, *, language: str, label: str
    ) -> LiveStream:
        """Open or resume a stream for this socket; whoever held it before is told so. Raises Refused."""
        if str(stream_id) not in self.streams:
            of_one = sum(s.participant.pk == member.participant.pk for s in self.streams.values())
            if of_one >= limits.MAX_STREAMS_OF_ONE or len(self.streams) >= limits.MAX_STREAMS_OF_ALL:
                raise Refused("too_many_streams", _("Too many streams are open: close some, or try again in a minute."))
        row, spoke_from, speaker = await in_thread(self._open_row, member, stream_id, language, label)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_forever())
        stream = self.streams.get(str(stream_id))
        if stream is None:
            stream = self.streams[str(stream_id)] = LiveStream(row, member, socket, spoke_from)
            stream.speaker = speaker
        else:
            holder = stream.socket
            # A close whose answer was lost with the connection will be asked for again.
            closing, stream.closing = stream.closing, None
            if closing:
                closing.set()
            stream.socket, stream.detached_at, stream.openings = socket, None, row.openings
            stream.agree_to_voice(row.participant.consent_voice_id)
            if holder is not None and holder is not socket:
                await holder.lose_stream(stream)
        return stream

    def _open_row(
        self, member: Membership, stream_id: uuid.UUID, language: str, label: str
    ) -> tuple[AudioStream, float, dict[str, Any] | None]:
        row = stream_open(member, stream_id, language=language, label=label)
        signal(member.meeting.pk, "taken", stream=str(stream_id), desk=self.name, openings=row.openings)
        newest = row.utterances.aggregate(at=Max("started_at"))["at"]
        speaker = speaker_brief(row.speaker) if row.speaker else None
        return row, newest.timestamp() if newest else 0.0, speaker

    async def feed(self, stream: LiveStream, first_sample: int, samples: np.ndarray) -> None:
        """Take samples in; whatever they complete goes its way."""
        stream.owes_ack = True
        stream.fed_at = time.monotonic()
        stream.note_arrival(first_sample + len(samples))
        events = stream.session.take(first_sample, samples)
        if events or stream.interim is not None or not stream.is_quiet:
            self._take(stream, events)
            await self._go_on(stream)

    async def _go_on(self, stream: LiveStream) -> None:
        """After something was judged: ask for what it calls for."""
        self._finals.pump(stream)
        if stream.interim is not None:
            await self.interims.take_back_if_dropped(stream)
        if stream.session.is_speaking and self._finals.is_idle:
            self.interims.consider(stream)
        if stream.socket is not None and self._is_too_much(stream):
            await stream.socket.close(CloseCode.TOO_FAST)

    def _is_too_much(self, stream: LiveStream) -> bool:
        """Whether a stream holds more than the recogniser will ever catch up with, or than memory should hold."""
        if len(stream.waiting) > MAX_WAITING:
            return True
        most_s = MAX_UNSETTLED_S
        if self._unheard_samples > MAX_UNSETTLED_OF_ALL_S * SAMPLE_RATE_HZ:
            most_s = min(most_s, MAX_UNSETTLED_OF_ALL_S / len(self.streams))
        return stream.unheard_samples > most_s * SAMPLE_RATE_HZ

    def _take(self, stream: LiveStream, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Utterance | Gap):
                stream.waiting.append(event)
            elif isinstance(event, Silence):
                stream.silent_until = max(stream.silent_until, event.until_sample)
            elif isinstance(event, Pause):
                self._finals.guess(stream, event)
            if isinstance(event, Utterance):
                stream.wordless.spoke(time.monotonic(), seconds_of(event))
                stream.interim_pace.utterance_over()
        if stream.session.first_in_hand is None:
            stream.interim_pace.utterance_over()

    async def settled(self, stream_id: str, last_sample: int, heard: Mapping[str, Any] | None = None) -> None:
        """`core` has the outcome of everything before `last_sample` of this stream. `heard`: `text` (its end),
        `language` and `language_probability` where there were words, `speaker` where they became a caption,
        `understood` where the engine said something of the language."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        if heard and heard.get("understood"):
            stream.note_understood(Understood(heard["understood"]), time.monotonic())
        in_flight = self._finals.outcome(stream, last_sample)
        if in_flight:
            if heard and heard.get("text"):
                self._words_came(stream, in_flight, heard)
            else:
                stream.no_words_came()
            stream.durable = max(stream.durable, last_sample)
            await self._ack(stream)
            self._finals.pump(stream)
        await self.interims.settled(stream, last_sample, captioned=bool(heard and heard.get("speaker")))
        self._check_closed(stream)

    def _words_came(self, stream: LiveStream, in_flight: InFlight, heard: Mapping[str, Any]) -> None:
        stream.speaker = heard.get("speaker") or stream.speaker
        other_language = stream.words_came(
            in_flight,
            text=heard["text"],
            language=heard.get("language", ""),
            probability=heard.get("language_probability", 0.0),
        )
        if other_language:
            self._spawn(self._keep_language(stream))

    async def _keep_language(self, stream: LiveStream) -> None:
        """So that the stream need not find it out again after a restart."""
        with contextlib.suppress(DatabaseError):
            await in_thread(_store_language, stream.id, stream.language_lock.language)

    def hearing_of(self, meeting_id: int) -> Hearing:
        """How far behind the streams of a meeting are in this process, and whether they give words."""
        now, clock = time.time(), time.monotonic()
        streams = [stream for stream in self.streams.values() if stream.meeting_id == meeting_id]
        return Hearing(
            waits_s=tuple(now - spoken_at for s in streams if (spoken_at := s.waits_since) is not None),
            wordless=any(stream.wordless.is_wrong(clock) for stream in streams),
            foreign=any(stream.is_foreign(clock) for stream in streams),
        )

    async def close(self, stream: LiveStream) -> int | None:
        """The client says the stream is over: finish what is in hand, wait for its outcome; the final position, or
        None when the stream was opened again meanwhile."""
        self._take(stream, stream.session.finish())
        if stream.interim is not None:
            await self.interims.take_back_if_dropped(stream)
        closing = stream.closing = stream.closing or asyncio.Event()
        self._finals.pump(stream)
        self._check_closed(stream)
        await closing.wait()
        end = stream.session.received_sample
        if stream.closing is closing:
            await in_thread(stream_close, stream.id, end)
        if stream.closing is not closing:
            return None
        stream.durable = end
        self.streams.pop(str(stream.id), None)
        return end

    def _check_closed(self, stream: LiveStream) -> None:
        if stream.closing and stream.oldest_open is None:
            stream.closing.set()

    def detach(self, socket: LiveSocket) -> None:
        """The socket is gone; its streams wait a while for it to come back."""
        for stream in self.streams.values():
            if stream.socket is socket:
                stream.socket, stream.detached_at = None, time.monotonic()

    async def taken_elsewhere(self, stream_id: str, desk: str, openings: int) -> None:
        """Another process has this stream now and starts at the durable position: what is in hand here is not lost.

        A message of an opening before our own comes late; it changes nothing.
        """
        stream = self.streams.get(stream_id)
        if stream is None or desk == self.name or openings <= stream.openings:
            return
        del self.streams[stream_id]
        if stream.socket is not None:
            await stream.socket.close(CloseCode.TAKEN_OVER)

    async def consent_withdrawn(self, participant: int, *, transcribe: bool, voice_id: bool) -> None:
        """A person took something back, on whatever socket: it holds for all their streams, what is on its way too."""
        for stream in list(self.streams.values()):
            if stream.participant.pk != participant:
                continue
            stream.agree_to_voice(voice_id)
            if transcribe or stream.closing:
                continue
            if stream.socket is not None:
                await stream.socket.end_stream(stream)
            else:
                self._spawn(self._finish(stream))

    async def quiet(self, meeting_id: int, timeout_s: float) -> None:
        """Wait until nothing that was said in the meeting is still being heard, or for `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            busy = [s for s in self.streams.values() if s.meeting_id == meeting_id and not s.is_quiet]
            if not busy:
                return
            await asyncio.sleep(FLUSH_EVERY_S / 2)

    async def finish_meeting(self, meeting_id: int) -> None:
        """The meeting ended: what was said until now is still written down."""
        streams = [s for s in self.streams.values() if s.meeting_id == meeting_id]
        for stream in streams:
            self._spawn(self._finish(stream))

    async def _finish(self, stream: LiveStream) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.close(stream), timeout=GIVE_UP_AFTER_S)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _flush_forever(self) -> None:
        took_s = 0.0
        while True:
            # Counted from when the last began: under load that takes a while, and everybody waits for the next.
            await asyncio.sleep(max(LEAST_REST_S, FLUSH_EVERY_S - took_s))
            began_at = time.monotonic()
            try:
                await self._flush()
            except Exception as error:
                log.warning("positions not stored: %s", type(error).__name__)
                await asyncio.sleep(BROKER_RETRY_S)
            took_s = time.monotonic() - began_at
            self._in_time = took_s < FLUSH_EVERY_S

    async def _flush(self) -> None:
        """Judge what waits, make silence durable and say so; look after finals without an outcome and after streams
        without a socket."""
        now = time.monotonic()
        self._unheard_samples = sum(stream.unheard_samples for stream in self.streams.values())
        await self._judge_together(now)
        moved: dict[uuid.UUID, int] = {}
        for stream in self.streams.values():
            oldest = stream.oldest_open
            candidate = stream.silent_until if oldest is None else min(stream.silent_until, oldest)
            if candidate > stream.durable:
                moved[stream.id] = candidate
        settled = await in_thread(silence_settle, moved) if moved else set()
        for stream in list(self.streams.values()):
            if stream.id in settled:
                stream.durable = max(stream.durable, moved[stream.id])
                await self._ack(stream)
            elif stream.owes_ack and now - stream.acked_at >= ACK_EVERY_S:
                await self._ack(stream)
            if stream.detached_at is not None and now - stream.detached_at > KEEP_DETACHED_S and not stream.closing:
                self._spawn(self._finish(stream))
        await self._finals.look_after(now)

    async def _judge_together(self, now: float) -> None:
        """Those in which nobody speaks, all together; where somebody speaks, sound is judged as it comes."""
        due = []
        for stream in self.streams.values():
            if stream.fed_at is not None:
                is_late = now - stream.fed_at > CATCH_UP_AFTER_S
                if is_late:
                    stream.fed_at = None
                if is_late or stream.session.is_due or (self._in_time and stream.session.waiting_frames >= SOON_FRAMES):
                    due.append(stream)
        for stream, events in zip(due, catch_up_together([stream.session for stream in due]), strict=True):
            self._take(stream, events)
        for stream in due:
            if not stream.is_quiet or stream.interim is not None:
                await self._go_on(stream)

    async def _ack(self, stream: LiveStream) -> None:
        stream.acked_at, stream.owes_ack = time.monotonic(), False
        if stream.socket is not None:
            await stream.socket.send({"type": "audio.ack", "stream": str(stream.id), "next_sample": stream.durable})


def _store_language(stream_id: uuid.UUID, language: str) -> None:
    AudioStream.objects.filter(pk=stream_id).update(heard_language=language)
