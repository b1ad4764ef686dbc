"""What the desk asks of the recogniser, and what it does with the answers. The queue and the database are real."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from celery import current_app
from channels.layers import get_channel_layer
from django.db import connection
from kombu.simple import SimpleQueue

from meetings.access import Membership
from meetings.models import AudioStream, Language, Utterance
from meetings.publish import meeting_group
from meetviz_site.live import desk as desk_module
from meetviz_site.live import finals
from meetviz_site.live.consumer import LiveSocket
from meetviz_site.live.desk import StreamDesk
from meetviz_site.live.live_stream import LiveStream
from meetviz_site.live.status_now import Hearing, live_status
from meetviz_site.live.threads import _pool as thread_pool
from meetviz_site.live.threads import in_thread
from tests import factories as make
from tests.sounds import RATE_HZ, dialogue, lines, silence, spoken
from workers import guesses
from workers.messages import (
    QUEUE_SPEECH,
    TASK_INTERIM,
    TASK_TRANSCRIBE,
    InterimRequest,
    InterimResult,
    SpeechRequest,
    SpeechResult,
    Transcript,
)

pytestmark = pytest.mark.django_db(transaction=True)

WITHIN_S = 10.0
MESSAGE = 1600


@dataclass
class Desk:
    """A desk with one open stream, and the speech queue behind it."""

    desk: StreamDesk
    stream: LiveStream
    queue: SimpleQueue

    async def say(self, samples: np.ndarray) -> None:
        """On the stream, from where it is."""
        for start in range(0, len(samples), MESSAGE):
            first = self.stream.session.received_sample
            await self.desk.feed(self.stream, first, samples[start : start + MESSAGE])

    async def asked(self, kind: str) -> Any:
        """The next request of a kind (`guess`, `final`, `interim`); guesses before it are lost, interims answered."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                for found, request in self.waiting():
                    if found == kind:
                        return request
                    if found == "interim":
                        await self.interim(request, "")
                await asyncio.sleep(0.01)

    def waiting(self) -> Iterator[tuple[str, Any]]:
        """Takes what is in the queue now."""
        while self.queue.qsize():
            message = self.queue.get(block=False)
            message.ack()
            (wire,), _kwargs, _embed = message.payload
            if message.headers["task"] == TASK_TRANSCRIBE:
                request = SpeechRequest.from_wire(wire)
                yield ("guess" if request.guess else "final"), request
            elif message.headers["task"] == TASK_INTERIM:
                yield "interim", InterimRequest.from_wire(wire)

    async def all_sent(self) -> None:
        """Nothing is on its way from the desk to the queue."""
        async with asyncio.timeout(WITHIN_S):
            while self.desk._running:
                await asyncio.sleep(0.01)

    async def settle(self, request: SpeechRequest, **heard: Any) -> None:
        """As `core` says that the outcome is stored."""
        await self.desk.settled(str(self.stream.id), request.last_sample, heard)

    async def interim(self, request: InterimRequest, text: str, **values: Any) -> None:
        fields = {"decode_ms": 1.0, "text": text, "language": "en", **values}
        await self.desk.interims.heard(
            InterimResult(request.meeting, request.stream, request.first_sample, request.last_sample, **fields)
        )


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """`await opened(language="auto")`: a desk with a stream in a new meeting of that language."""
    pool: list[Desk] = []
    broker = current_app.connection_for_read()

    async def open_one(**values: Any) -> Desk:
        member: Membership = await in_thread(lambda: make.member(make.meeting(**values)))
        desk = StreamDesk()
        socket = LiveSocket({"headers": [], "type": "websocket"}, asyncio.Event().wait, asyncio.Event().wait)
        stream = await desk.open(member, socket, uuid.uuid4(), language="", label="")
        queue = SimpleQueue(broker, QUEUE_SPEECH, no_ack=False, accept=["msgpack"])
        queue.clear()
        pool.append(Desk(desk, stream, queue))
        return pool[-1]

    yield open_one
    for one in pool:
        one.queue.close()
        assert one.desk._flusher is not None
        one.desk._flusher.cancel()
        for task in list(one.desk._running):
            task.cancel()
    broker.release()
    await close_connections()


async def close_connections() -> None:
    """Those of the desk's own threads, or the test database could not be dropped."""
    threads = len(thread_pool._threads)
    everyone = threading.Barrier(threads, timeout=WITHIN_S)

    def close() -> None:
        everyone.wait()
        connection.close()

    await asyncio.gather(*(in_thread(close) for _ in range(threads)))


def sentence(number: int) -> np.ndarray:
    return np.concatenate([spoken(number), silence(0.7)])


async def test_a_guess_and_its_final_ask_for_the_same(opened: Any) -> None:
    one = await opened(language="auto")
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    first = await one.asked("final")
    await one.settle(first, text="Good morning everyone.", language="en", language_probability=0.9, speaker={"id": 1})
    await one.say(sentence(1))
    await one.all_sent()
    asked = dict(one.waiting())
    guess, final = asked["guess"], asked["final"]
    assert guess.prompt == final.prompt == "Good morning everyone."
    assert guess.language_hint == final.language_hint == "en"
    assert guess.level_dbfs == final.level_dbfs < 0
    result = SpeechResult(
        guess.id, guess.meeting, guess.stream, guess.first_sample, guess.last_sample, 1.0, 2.0, Transcript("I see.")
    )
    guesses.keep(guess, result)
    assert guesses.take(final) is not None


async def test_what_was_said_helps_until_three_seconds_of_silence(opened: Any) -> None:
    one = await opened()
    words = "word " * 60 + "and the end."
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    await one.settle(await one.asked("final"), text=words)
    await one.say(sentence(2))
    second = await one.asked("final")
    assert second.prompt.endswith("and the end.") and len(second.prompt) <= 200
    assert second.prompt.startswith("word ")
    await one.settle(second, text="There should be a bridge.")
    await one.say(np.concatenate([silence(3.5), sentence(4)]))
    assert (await one.asked("final")).prompt == ""


async def test_silence_waits_for_the_next_look_and_is_durable_after_it(opened: Any) -> None:
    one = await opened()
    await one.say(silence(1.0))
    session = one.stream.session
    assert session.waiting_frames == len(silence(1.0)) // 512, "judged on its own"
    durable = (session.waiting_frames - 12) * 512
    async with asyncio.timeout(WITHIN_S):
        while one.stream.durable < durable:
            await asyncio.sleep(0.01)
    assert one.stream.durable == durable
    row = AudioStream.objects.filter(pk=one.stream.id)
    assert await in_thread(lambda: row.get().next_sample) == durable


async def test_what_was_said_between_two_looks_is_asked_for_after_the_second(opened: Any) -> None:
    one = await opened()
    word = spoken(0)[: round(1.1 * RATE_HZ)]
    await one.desk.feed(one.stream, 0, np.concatenate([silence(0.2), word, silence(0.65)]))
    assert one.stream.session.waiting_frames and not one.stream.waiting and one.stream.in_flight is None
    final = await one.asked("final")
    assert final.first_sample < 0.5 * RATE_HZ < RATE_HZ < final.last_sample
    await one.settle(final, text="Good.")
    assert one.stream.durable == final.last_sample


async def test_an_outcome_without_words_prompts_nothing(opened: Any) -> None:
    one = await opened()
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    await one.settle(await one.asked("final"), text="Good morning.")
    await one.say(sentence(2))
    await one.settle(await one.asked("final"))
    await one.say(sentence(4))
    assert (await one.asked("final")).prompt == ""


async def test_a_language_that_is_sure_is_kept_for_the_stream(opened: Any) -> None:
    one = await opened(language="auto")
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    first = await one.asked("final")
    assert (first.language, first.language_hint, first.want_english) == ("auto", "", True)
    await one.settle(first, text="Доброе утро.", language="ru", language_probability=0.95)
    await one.say(sentence(2))
    second = await one.asked("final")
    assert (second.language, second.language_hint, second.want_english) == ("auto", "ru", True)
    row = AudioStream.objects.filter(pk=one.stream.id)
    async with asyncio.timeout(WITHIN_S):
        while await in_thread(lambda: row.get().heard_language) != "ru":
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("language", "want_english"), [("en", False), ("ru", True)])
async def test_a_meeting_of_one_language_asks_for_it(opened: Any, language: str, want_english: bool) -> None:
    one = await opened(language=language)
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    final = await one.asked("final")
    assert (final.language, final.language_hint, final.want_english) == (language, "", want_english)
    await one.settle(final, text="Good.", language=Language.ENGLISH, language_probability=1.0)
    await one.say(sentence(2))
    assert (await one.asked("final")).language_hint == ""


async def test_an_interim_has_all_of_the_utterance_so_far(opened: Any) -> None:
    one = await opened()
    speech = np.concatenate([silence(1), spoken(0)])
    await one.say(speech[: round(2.2 * RATE_HZ)])
    asked = await one.asked("interim")
    assert asked.first_sample == one.stream.session.first_in_hand
    assert asked.pcm == speech[asked.first_sample : asked.last_sample].astype("<i2").tobytes()
    assert 0.7 < (asked.last_sample - asked.first_sample) / RATE_HZ < 1.5


async def test_one_interim_is_on_its_way_and_the_next_has_the_newest_sound(opened: Any) -> None:
    one = await opened()
    speech = np.concatenate([silence(1), spoken(0)])
    await one.say(speech[: 4 * RATE_HZ])
    first = await one.asked("interim")
    assert [kind for kind, _ in one.waiting()] == []
    await one.interim(first, "Good morning")
    await asyncio.sleep(0.005)  # as long as the first took: the host's own time
    await one.say(speech[4 * RATE_HZ : 4 * RATE_HZ + 2 * MESSAGE])
    assert (await one.asked("interim")).last_sample > 4 * RATE_HZ


async def test_no_interim_is_asked_for_while_a_final_waits(opened: Any) -> None:
    one = await opened()
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    final = await one.asked("final")
    await one.say(spoken(2)[: 2 * RATE_HZ])
    await one.all_sent()
    late = [request for kind, request in one.waiting() if kind == "interim"]
    assert all(request.first_sample <= final.first_sample for request in late)
    for request in late:
        await one.interim(request, "")
    await one.settle(final, text="Good morning.")
    await one.say(spoken(2)[2 * RATE_HZ : round(2.5 * RATE_HZ)])
    assert (await one.asked("interim")).first_sample >= final.last_sample


async def listening(one: Desk) -> Callable[[], Any]:
    """Awaits the next live event that the room gets."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(meeting_group(one.stream.meeting_id), channel)

    async def heard() -> dict[str, Any]:
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = await layer.receive(channel)
                if message["type"] == "live.event":
                    return json.loads(message["text"])

    return heard


async def test_an_interim_is_shown_and_taken_back_when_no_words_follow(opened: Any) -> None:
    one = await opened()
    heard = await listening(one)
    await one.say(np.concatenate([silence(0.5), spoken(0)]))
    await one.interim(await one.asked("interim"), "Good")
    shown = await heard()
    assert (shown["type"], shown["text"], shown["stable"]) == ("caption.interim", "Good", 0)
    await one.say(silence(0.7))
    await one.settle(await one.asked("final"))
    assert (await heard())["text"] == ""


async def test_an_interim_that_comes_after_the_end_is_not_shown(opened: Any) -> None:
    one = await opened()
    heard = await listening(one)
    await one.say(np.concatenate([silence(0.5), spoken(0)]))
    late = await one.asked("interim")
    await one.say(silence(0.7))
    final = await one.asked("final")
    await one.interim(late, "Good morning")
    await one.settle(final, text="Good morning.", speaker={"id": 7, "name": "Anna", "color": "#aabbcc"})
    await one.say(spoken(2))
    await one.interim(await one.asked("interim"), "There should")
    shown = await heard()
    assert shown["text"] == "There should", "a stale interim was shown"
    assert shown["speaker"] == {"id": 7, "name": "Anna", "color": "#aabbcc"}


async def test_a_host_that_cannot_do_the_language_is_left_in_peace(opened: Any) -> None:
    one = await opened()
    await one.say(np.concatenate([silence(0.5), spoken(0)[: 2 * RATE_HZ]]))
    await one.interim(await one.asked("interim"), "", error="language_unsupported")
    await one.say(spoken(0)[2 * RATE_HZ :])
    await one.all_sent()
    assert [kind for kind, _ in one.waiting()] == []


async def test_what_waits_for_its_words_is_how_far_hearing_is_behind(opened: Any) -> None:
    one = await opened()
    meeting_id = one.stream.meeting_id
    assert one.desk.hearing_of(meeting_id) == Hearing()
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    final = await one.asked("final")
    assert one.stream.in_flight is not None
    one.stream.in_flight.request.ended_at -= 9
    hearing = one.desk.hearing_of(meeting_id)
    assert len(hearing.waits_s) == 1 and hearing.waits_s[0] > 9
    assert one.desk.hearing_of(meeting_id + 1) == Hearing()
    await one.settle(final, text="Good morning.")
    assert one.desk.hearing_of(meeting_id) == Hearing()


async def test_twenty_seconds_of_speech_without_words_raise_the_notice_and_words_clear_it(opened: Any) -> None:
    one = await opened()
    meeting_id = one.stream.meeting_id
    one.stream.wordless.spoke(time.monotonic() - 2, 19)
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    assert one.desk.hearing_of(meeting_id).wordless
    await one.settle(await one.asked("final"), text="Good morning.")
    assert not one.desk.hearing_of(meeting_id).wordless


def test_the_notice_says_what_to_check_and_the_lag_is_that_of_now() -> None:
    from tests.meetviz_site.test_status import all_well

    all_well()
    meeting = make.meeting()
    assert live_status(meeting, Hearing()).notice is None
    status = live_status(meeting, Hearing(waits_s=(0.5, 7.25), wordless=True))
    assert status.lag_s == 7.25
    assert status.notice is not None and status.notice["code"] == "no_words"
    assert "microphone" in status.notice["message"]


async def test_a_final_without_an_answer_is_asked_for_again_and_then_a_gap(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finals, "LOOK_AT_DATABASE_AFTER_S", -1.0)
    monkeypatch.setattr(desk_module, "FLUSH_EVERY_S", 3600.0)  # the test looks after the finals itself
    one = await opened()
    await one.say(np.concatenate([silence(0.5), sentence(0)]))
    first = await one.asked("final")
    in_flight = one.stream.in_flight
    assert in_flight is not None
    for attempt in range(2, finals.ATTEMPTS + 1):
        await one.all_sent()
        await one.desk._finals.look_after(in_flight.sent_at + 1)
        await one.all_sent()
        assert "final" not in [kind for kind, _ in one.waiting()], "asked again too early"
        await one.desk._finals.look_after(in_flight.sent_at + 61)
        again = await one.asked("final")
        assert (again.id, again.attempt) == (first.id, attempt)
    await one.all_sent()
    await one.desk._finals.look_after(in_flight.asked_at + finals.GIVE_UP_AFTER_S + 1)
    async with asyncio.timeout(WITHIN_S):
        while one.stream.in_flight:
            await asyncio.sleep(0.01)
    gap = await in_thread(lambda: Utterance.objects.get(stream_id=one.stream.id))
    assert (gap.kind, gap.reason, gap.last_sample) == (Utterance.Kind.GAP, "not_heard", first.last_sample)
    assert one.stream.durable == first.last_sample


async def test_a_dialogue_is_asked_for_in_order_and_whole(opened: Any) -> None:
    """Whatever interims and guesses go beside them."""
    one = await opened()
    until_s = lines()[3].end_s + 1
    await one.say(dialogue()[: round(until_s * RATE_HZ)])
    spans = []
    while one.stream.in_flight:
        final = await one.asked("final")
        spans.append((final.first_sample, final.last_sample))
        await one.settle(final, text="Words.")
    assert len(spans) >= 4
    assert spans == sorted(spans)
    for line in lines()[:4]:
        assert any(first / RATE_HZ < line.start_s + 0.3 and line.end_s - 0.5 < last / RATE_HZ for first, last in spans)


async def test_a_stream_goes_to_the_process_that_opened_it_last_however_late_the_message(opened: Any) -> None:
    one = await opened()
    name, number = str(one.stream.id), one.stream.openings
    await one.desk.taken_elsewhere(name, "another process", number - 1)
    await one.desk.taken_elsewhere(name, one.desk.name, number)
    assert name in one.desk.streams
    await one.desk.taken_elsewhere(name, "another process", number + 1)
    assert name not in one.desk.streams
