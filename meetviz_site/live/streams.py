"""The desk where audio streams of this process are heard: samples to utterances, utterances to the speech queue, acks.

The promise of an ack is that the outcome of every sample before it is in Postgres. So a stream's durable position is
the start of its oldest utterance without an outcome, or else the end of judged silence; silence becomes durable in one
statement for all streams, ten times a second. One final is in flight per stream: its words stay in order, and what
`core` stores can simply raise the position.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from celery import current_app
from django.db.models import Max
from django.utils.translation import gettext as _

from meetings.access import Membership
from meetings.audio.session import Gap, Pause, Silence, StreamSession, Utterance
from meetings.models import AudioStream
from meetings.publish import signal
from meetings.services import Refused, gap_store, stream_close, stream_open, streams_advance
from meetviz_site.live import limits
from meetviz_site.live.codes import CloseCode
from meetviz_site.live.threads import in_thread
from workers.messages import QUEUE_SPEECH, SAMPLE_RATE_HZ, TASK_TRANSCRIBE, SpeechRequest

if TYPE_CHECKING:
    from meetviz_site.live.consumer import LiveSocket

log = logging.getLogger("meetviz.live")

FLUSH_EVERY_S = 0.1
ACK_EVERY_S = 0.2
# A client that lost its connection finds its stream as it left it for this long; then what it said last is finished.
KEEP_DETACHED_S = 45.0
# A final without an outcome is asked for again after this; a host that is merely behind answers both, one counts.
ANSWER_WITHIN_S = 60.0
ATTEMPTS = 2
LOOK_AT_DATABASE_AFTER_S = 2.0
BROKER_RETRY_S = 1.0
GUESS_EXPIRES_S = 0.5
MAX_UNSETTLED_S = 600.0
# All streams of a process together, 460 MB of sound: beyond it, each may hold its equal share.
MAX_UNSETTLED_OF_ALL_S = 14_400.0
# Outcomes that wait: gaps hold no sound, but a client could make hundreds of them a second.
MAX_WAITING = 1_000
# Nothing is said to have been spoken earlier than this, however far a client jumps.
OLDEST_SPOKEN_S = 86_400.0
# A clock that is off by more than this was paused (a muted microphone), not late.
CLOCK_SLACK_S = 5.0


@dataclass(slots=True)
class InFlight:
    item: Utterance
    request: SpeechRequest
    sent_at: float = 0.0
    looked_at: float = 0.0


class LiveStream:
    """One open stream: its session, what waits for the recogniser, and how far it is durable."""

    def __init__(self, row: AudioStream, member: Membership, socket: LiveSocket, spoke_from: float = 0.0) -> None:
        self.id: uuid.UUID = row.pk
        self.meeting_id = member.meeting.pk
        self.participant = member.participant
        self.language = row.language if row.language != "auto" else member.meeting.language
        self.want_voice = row.participant.consent_voice_id  # as it is now, whatever this socket last heard of it
        self.socket: LiveSocket | None = socket
        self.session = StreamSession(row.next_sample)
        self.waiting: deque[Utterance | Gap] = deque()
        self.in_flight: InFlight | None = None
        self.silent_until = row.next_sample
        self.durable = row.next_sample
        self.acked_at = 0.0
        self.owes_ack = False
        self.detached_at: float | None = None
        self.closing: asyncio.Event | None = None
        self.spoke_from = spoke_from
        """When the newest utterance began (Unix seconds)."""
        self._anchor: float | None = None

    def agree_to_voice(self, agreed: bool) -> None:
        """Whether embeddings may be asked for, from now on and when what is in flight is asked for again."""
        self.want_voice = agreed
        if self.in_flight:
            self.in_flight.request.want_voice = agreed

    @property
    def oldest_open(self) -> int | None:
        """Where the oldest utterance without an outcome starts."""
        if self.in_flight:
            return self.in_flight.item.first_sample
        return self.waiting[0].first_sample if self.waiting else None

    @property
    def unheard_samples(self) -> int:
        """How much sound waits for the recogniser; gaps weigh nothing."""
        waiting = [item for item in self.waiting if isinstance(item, Utterance)]
        if self.in_flight:
            waiting.append(self.in_flight.item)
        return sum(len(item.pcm) // 2 for item in waiting)

    @property
    def is_quiet(self) -> bool:
        return self.oldest_open is None and self.session.in_hand == 0

    def spoken_at(self, sample: int) -> float:
        """The Unix time at which a sample was spoken, as far as arrival tells."""
        now = time.time()
        return max(now - OLDEST_SPOKEN_S, min((self._anchor or now) + sample / SAMPLE_RATE_HZ, now))

    def times_of(self, item: Utterance | Gap) -> tuple[float, float]:
        """When it was spoken, from and until. What is sent again at once seems to be spoken earlier the more of it has
        come; the order in which things were said stands all the same."""
        started = max(self.spoken_at(item.first_sample), self.spoke_from)
        return started, max(started, self.spoken_at(item.last_sample))

    def note_arrival(self, last_sample: int) -> None:
        """Learn where sample 0 lies on the clock; learn it anew after a pause."""
        anchor = time.time() - last_sample / SAMPLE_RATE_HZ
        if self._anchor is None or anchor - self._anchor > CLOCK_SLACK_S or anchor < self._anchor:
            self._anchor = anchor


class StreamDesk:
    """All streams of this process."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        self.streams: dict[str, LiveStream] = {}
        self._unheard_samples = 0
        self._flusher: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()

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
        row, spoke_from = await in_thread(self._open_row, member, stream_id, language, label)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_forever())
        stream = self.streams.get(str(stream_id))
        if stream is None:
            stream = self.streams[str(stream_id)] = LiveStream(row, member, socket, spoke_from)
        else:
            holder = stream.socket
            # A close whose answer was lost with the connection will be asked for again.
            closing, stream.closing = stream.closing, None
            if closing:
                closing.set()
            stream.socket, stream.detached_at = socket, None
            stream.agree_to_voice(row.participant.consent_voice_id)
            if holder is not None and holder is not socket:
                await holder.lose_stream(stream)
        return stream

    def _open_row(
        self, member: Membership, stream_id: uuid.UUID, language: str, label: str
    ) -> tuple[AudioStream, float]:
        row = stream_open(member, stream_id, language=language, label=label)
        signal(member.meeting.pk, "taken", stream=str(stream_id), desk=self.name)
        newest = row.utterances.aggregate(at=Max("started_at"))["at"]
        return row, newest.timestamp() if newest else 0.0

    async def feed(self, stream: LiveStream, first_sample: int, samples: np.ndarray) -> None:
        """Take samples in; whatever they complete goes its way."""
        stream.owes_ack = True
        stream.note_arrival(first_sample + len(samples))
        self._take(stream, stream.session.feed(first_sample, samples))
        self._pump(stream)
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
            elif isinstance(event, Pause) and not any(s.in_flight or s.waiting for s in self.streams.values()):
                # Finals come first: only an idle recogniser is worth a guess.
                probable = Utterance(event.first_sample, event.last_sample, event.pcm)
                self._spawn(self._guess(_request_for(stream, probable)))

    def _pump(self, stream: LiveStream) -> None:
        """Send the next final, or write down the next gap, when nothing of this stream is on its way."""
        if stream.in_flight or not stream.waiting:
            return
        item = stream.waiting.popleft()
        stream.spoke_from, _ended = stream.times_of(item)
        if isinstance(item, Gap):
            placeholder = Utterance(item.first_sample, item.last_sample, b"")
            stream.in_flight = InFlight(placeholder, _request_for(stream, placeholder), sent_at=time.monotonic())
            self._spawn(self._store_gap(stream, placeholder, "missing"))
            return
        stream.in_flight = InFlight(item, _request_for(stream, item))
        self._spawn(self._send(stream, stream.in_flight))

    async def _send(self, stream: LiveStream, in_flight: InFlight) -> None:
        """Hand a final to the speech queue; an unreachable broker is tried again until it is there."""
        while stream.in_flight is in_flight:
            try:
                await in_thread(_send_request, in_flight.request)
                in_flight.sent_at = in_flight.looked_at = time.monotonic()
                return
            except Exception as error:
                log.warning("speech queue unreachable: %s", type(error).__name__)
                await asyncio.sleep(BROKER_RETRY_S)

    async def _guess(self, request: SpeechRequest) -> None:
        """Let the recogniser begin a quarter of a second before the utterance is over for certain."""
        request.guess = True
        with contextlib.suppress(Exception):  # a guess may be lost
            await in_thread(_send_request, request, expires=GUESS_EXPIRES_S)

    async def _store_gap(self, stream: LiveStream, item: Utterance, reason: str) -> None:
        started_at, ended_at = stream.times_of(item)
        while str(stream.id) in self.streams:
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
                await self.settled(str(stream.id), item.last_sample)
                return
            except Exception as error:
                log.warning("gap not stored: %s", type(error).__name__)
                await asyncio.sleep(BROKER_RETRY_S)

    async def settled(self, stream_id: str, last_sample: int) -> None:
        """`core` has the outcome of everything before `last_sample` of this stream."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        if stream.in_flight and stream.in_flight.item.last_sample <= last_sample:
            stream.in_flight = None
            stream.durable = max(stream.durable, last_sample)
            await self._ack(stream)
            self._pump(stream)
        self._check_closed(stream)

    async def close(self, stream: LiveStream) -> int | None:
        """The client says the stream is over: finish what is in hand, wait for its outcome; the final position, or
        None when the stream was opened again meanwhile."""
        self._take(stream, stream.session.finish())
        closing = stream.closing = stream.closing or asyncio.Event()
        self._pump(stream)
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

    async def taken_elsewhere(self, stream_id: str, desk: str) -> None:
        """Another process has this stream now and starts at the durable position: what is in hand here is not lost."""
        stream = self.streams.get(stream_id)
        if stream is None or desk == self.name:
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
            await asyncio.wait_for(self.close(stream), timeout=ANSWER_WITHIN_S * ATTEMPTS)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self._flush()
            except Exception as error:
                log.warning("positions not stored: %s", type(error).__name__)
                await asyncio.sleep(BROKER_RETRY_S)

    async def _flush(self) -> None:
        """Make silence durable and say so; look after finals without an outcome and after streams without a socket."""
        now = time.monotonic()
        self._unheard_samples = sum(stream.unheard_samples for stream in self.streams.values())
        moved: dict[uuid.UUID, int] = {}
        for stream in self.streams.values():
            oldest = stream.oldest_open
            candidate = stream.silent_until if oldest is None else min(stream.silent_until, oldest)
            if candidate > stream.durable:
                moved[stream.id] = candidate
        if moved:
            await in_thread(streams_advance, moved)
        for stream in list(self.streams.values()):
            if stream.id in moved:
                stream.durable = max(stream.durable, moved[stream.id])
                await self._ack(stream)
            elif stream.owes_ack and now - stream.acked_at >= ACK_EVERY_S:
                await self._ack(stream)
            if stream.detached_at is not None and now - stream.detached_at > KEEP_DETACHED_S and not stream.closing:
                self._spawn(self._finish(stream))
        await self._look_after_finals(now)

    async def _look_after_finals(self, now: float) -> None:
        """A signal may be lost, a host may die: the database knows, and what stays unanswered is asked again."""
        overdue = [
            s
            for s in self.streams.values()
            if s.in_flight and s.in_flight.sent_at and now - s.in_flight.looked_at > LOOK_AT_DATABASE_AFTER_S
        ]
        if not overdue:
            return
        positions = await in_thread(_positions, [s.id for s in overdue])
        for stream in overdue:
            in_flight = stream.in_flight
            if in_flight is None or not in_flight.item.pcm:  # a gap is written by this process itself
                continue
            in_flight.looked_at = now
            if positions.get(stream.id, 0) >= in_flight.item.last_sample:
                await self.settled(str(stream.id), in_flight.item.last_sample)
            elif now - in_flight.sent_at > ANSWER_WITHIN_S:
                if in_flight.request.attempt >= ATTEMPTS:
                    in_flight.sent_at = 0.0
                    self._spawn(self._store_gap(stream, in_flight.item, "not_heard"))
                else:
                    in_flight.request.attempt += 1
                    self._spawn(self._send(stream, in_flight))

    async def _ack(self, stream: LiveStream) -> None:
        stream.acked_at, stream.owes_ack = time.monotonic(), False
        if stream.socket is not None:
            await stream.socket.send({"type": "audio.ack", "stream": str(stream.id), "next_sample": stream.durable})


def _request_for(stream: LiveStream, item: Utterance) -> SpeechRequest:
    started_at, ended_at = stream.times_of(item)
    return SpeechRequest(
        id=str(uuid.uuid4()),
        meeting=stream.meeting_id,
        stream=str(stream.id),
        first_sample=item.first_sample,
        last_sample=item.last_sample,
        settled_sample=item.last_sample,
        pcm=item.pcm,
        language=stream.language,
        want_voice=stream.want_voice,
        started_at=started_at,
        ended_at=ended_at,
    )


def _send_request(request: SpeechRequest, expires: float | None = None) -> None:
    request.asked_at = time.time()
    current_app.send_task(TASK_TRANSCRIBE, args=[request.to_wire()], queue=QUEUE_SPEECH, expires=expires)


def _positions(streams: list[uuid.UUID]) -> dict[uuid.UUID, int]:
    return dict(AudioStream.objects.filter(pk__in=streams).values_list("pk", "next_sample"))
