"""The life of a sentence on the core queue, over the real in-process broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.utils import timezone
from kombu import Consumer

from generation.models import Frame
from generation.services import frame_request, words_arrived
from meetings.models import Meeting, Utterance
from meetviz_site import pipeline
from meetviz_site.local.workers import LocalWorkers
from meetviz_site.models import Host
from tests import factories as make
from tests.listening import Listener
from workers.messages import (
    QUEUE_CORE,
    QUEUE_PAINT,
    TASK_HEARD,
    TASK_PAINT,
    TASK_PAINTED,
    EngineFacts,
    Heartbeat,
    PaintProgress,
    PaintRequest,
)

WITHIN_S = 30.0


@contextmanager
def paint_host() -> Iterator[Any]:
    """Takes paint requests off the queue, as a painter does: `take()` waits for the next, `take(0)` looks once."""
    requests: list[PaintRequest] = []

    def on_message(body: Any, message: Any) -> None:
        message.ack()
        assert message.headers["task"] == TASK_PAINT
        requests.append(PaintRequest.from_wire(body[0][0]))

    def take(within_s: float = WITHIN_S) -> PaintRequest | None:
        deadline = time.monotonic() + within_s
        while not requests:
            try:
                connection.drain_events(timeout=max(0.05, deadline - time.monotonic()))
            except TimeoutError:
                return None
        return requests.pop(0)

    with current_app.connection_for_read() as connection:
        queue = current_app.amqp.queues[QUEUE_PAINT]
        queue(connection.default_channel).declare()
        queue(connection.default_channel).purge()
        accept = ["msgpack", "json"]
        with Consumer(connection, [queue], callbacks=[on_message], accept=accept):
            yield take


@pytest.fixture
def painter() -> Iterator[Any]:
    with paint_host() as take:
        yield take


def hear(meeting: Meeting, text: str = make.GARDEN, **values: Any) -> None:
    pipeline.heard(make.speech_result(make.stream(meeting), text, **values).to_wire())


@pytest.mark.django_db
def test_words_that_were_heard_are_stored_and_the_first_picture_is_asked_for(painter: Any) -> None:
    meeting = make.meeting()
    hear(meeting)
    request = painter()
    assert Utterance.objects.get().text == make.GARDEN
    assert request.meeting == meeting.pk and "river" in request.prompt
    assert Frame.objects.get().state == Frame.State.PAINTING


@pytest.mark.django_db
def test_a_picture_comes_back_and_the_meeting_that_waited_has_its_turn(painter: Any, published: Listener) -> None:
    first, second = make.meeting(), make.meeting()
    hear(first)
    request = painter()
    words_arrived(frame_request(make.member(second), hint="a castle on a hill").pk)
    pipeline.paint_next()
    assert painter(0) is None  # one painter, and it is busy
    with published(first) as events:
        pipeline.painted(make.paint_result(request).to_wire())
    assert events.types == ["frame.ready"]
    following = painter()
    assert following.meeting == second.pk and "castle" in following.prompt


@pytest.mark.django_db
def test_a_failure_is_told_and_the_next_meeting_has_its_turn(painter: Any, published: Listener) -> None:
    first, second = make.meeting(), make.meeting()
    hear(first)
    request = painter()
    words_arrived(frame_request(make.member(second), hint="a castle on a hill").pk)
    with published(first) as events:
        pipeline.painted(make.paint_result(request, error="black_picture", image=b"").to_wire())
    assert [(event["type"], event["reason"]) for event in events] == [("frame.failed", "black_picture")]
    assert painter().meeting == second.pk


@pytest.mark.django_db
def test_a_better_edition_replaces_the_picture_and_asks_nobody_for_another(painter: Any, published: Listener) -> None:
    meeting = make.meeting()
    hear(meeting)
    request = painter()
    pipeline.painted(make.paint_result(request).to_wire())
    with published(meeting) as events:
        pipeline.painted(make.paint_result(request, finished=True).to_wire())
    (event,) = events
    assert (event["type"], event["id"]) == ("frame.ready", request.id) and event["url"].endswith("?v=2")
    assert painter(0) is None


@pytest.mark.django_db
def test_a_blocked_picture_is_painted_neutrally_once_and_then_fails(painter: Any, published: Listener) -> None:
    meeting = make.meeting()
    hear(meeting)
    first = painter()
    with published(meeting) as events:
        pipeline.painted(make.paint_result(first, error="blocked_picture", image=b"").to_wire())
    assert [(event["type"], event["because"]) for event in events] == [("frame.started", "blocked_picture")]
    neutral = painter()
    assert (neutral.id, neutral.attempt) == (first.id, 2) and "landscape" in neutral.prompt
    with published(meeting) as events:
        pipeline.painted(make.paint_result(neutral, error="blocked_picture", image=b"").to_wire())
    assert [(event["type"], event["reason"]) for event in events] == [("frame.failed", "blocked_picture")]
    assert painter(0) is None


@pytest.mark.django_db
def test_what_a_host_says_of_a_cancelled_picture_is_no_failure(painter: Any, published: Listener) -> None:
    meeting = make.meeting()
    hear(meeting)
    request = painter()
    with published(meeting) as events:
        pipeline.painted(make.paint_result(request, error="cancelled", image=b"").to_wire())
    assert events == [] and Frame.objects.get().state == Frame.State.PAINTING


@pytest.mark.django_db
def test_results_that_arrive_twice_change_nothing(painter: Any, published: Listener) -> None:
    meeting = make.meeting()
    heard = make.speech_result(make.stream(meeting), sounds=make.voice(1)).to_wire()
    pipeline.heard(heard)
    painted = make.paint_result(painter()).to_wire()
    pipeline.painted(painted)
    before = Utterance.objects.values().get(), Frame.objects.values().get(), Meeting.objects.values().get()
    with published(meeting) as events:
        pipeline.heard(heard)
        pipeline.painted(painted)
    assert (Utterance.objects.values().get(), Frame.objects.values().get(), Meeting.objects.values().get()) == before
    assert events == [] and painter(0) is None


@pytest.mark.django_db
def test_a_message_of_a_newer_worker_with_fields_we_do_not_know_is_understood(painter: Any) -> None:
    wire = make.speech_result(make.stream(make.meeting())).to_wire()
    pipeline.heard({**wire, "emotion": "joy", "transcript": {**wire["transcript"], "punctuated": True}})
    assert Utterance.objects.get().text == make.GARDEN


@pytest.mark.django_db
def test_voices_of_open_meetings_are_tidied(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    for number, sounds in enumerate((make.voice(1), make.alike(make.voice(2), 1.0, speech_s=1.5), make.voice(2))):
        pipeline.heard(
            make.speech_result(
                stream, f"line {number}", first_s=3.0 * number, last_s=3.0 * number + 3, sounds=sounds
            ).to_wire()
        )
    pipeline.heard(make.speech_result(stream, "line 3", first_s=9.0, sounds=make.alike(make.voice(2), 0.95)).to_wire())
    with published(meeting) as events:
        pipeline.tidy_voices()
    (caption,) = events.of_type("caption.final")
    assert (caption["text"], caption["speaker"]["name"]) == ("line 1", "Guest 1")


@pytest.mark.django_db
def test_a_lost_painters_frame_is_sent_out_again_by_the_next_look(painter: Any) -> None:
    hear(make.meeting())
    first = painter()
    assert first.model == "" and (first.width_px, first.height_px) == (0, 0) and first.previews
    Frame.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    pipeline.look()
    second = painter()
    assert (second.id, second.attempt) == (first.id, 2)


@pytest.mark.django_db
def test_progress_and_heartbeats_find_their_way(published: Listener) -> None:
    meeting = make.meeting()
    frame = Frame.objects.create(meeting=meeting, state=Frame.State.PAINTING)
    with published(meeting) as events:
        pipeline.paint_progress(PaintProgress(str(frame.pk), meeting.pk, 1, 4).to_wire())
    assert events.types == ["frame.progress"]
    facts = EngineFacts("poster", "poster-1").to_wire()
    pipeline.heartbeat(Heartbeat(QUEUE_PAINT, "host", {"paint": facts}, 0.0).to_wire())
    assert Host.objects.get().engines["paint"]["name"] == "poster"


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_carries_a_sentence_to_the_picture(painter: Any, published: Listener) -> None:
    meeting = make.meeting()
    heard = make.speech_result(make.stream(meeting)).to_wire()
    workers = LocalWorkers(current_app._get_current_object(), [QUEUE_CORE])
    with published(meeting) as events:
        workers.start()
        try:
            current_app.send_task(TASK_HEARD, args=[heard], queue=QUEUE_CORE)
            request = painter()
            assert request is not None
            current_app.send_task(TASK_PAINTED, args=[make.paint_result(request).to_wire()], queue=QUEUE_CORE)
        finally:
            assert workers.stop(deadline_s=WITHIN_S)  # it empties its queue before it goes
    assert Frame.objects.get(pk=request.id).state == Frame.State.READY
    kinds = [kind for kind in events.types if kind != "status"]
    assert kinds == ["speaker.updated", "caption.final", "frame.started", "frame.ready"]
