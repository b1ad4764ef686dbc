"""Pictures that nobody wants any more, as a paint host hears of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.utils import timezone
from kombu import Consumer, Exchange, Queue

from generation import dispatch
from generation.models import Frame
from generation.services import frame_request, words_arrived
from meetings.models import Role
from meetings.services import Refused, meeting_end
from meetviz_site import cancelling, pipeline
from tests import factories as make
from tests.generation.painting import asked
from workers.messages import EXCHANGE_CANCEL

pytestmark = pytest.mark.django_db

WITHIN_S = 30.0


@pytest.fixture
def told() -> Iterator[Callable[[int], list[str]]]:
    """`told(n)`: the frames that all paint hosts were told of, once there are `n`; `told(0)` looks once."""
    heard: list[str] = []

    def on_message(body: Any, message: Any) -> None:
        heard.append(body["id"])

    def collect(count: int) -> list[str]:
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                connection.drain_events(timeout=0.05)
            except TimeoutError:
                if len(heard) >= count or time.monotonic() > deadline:
                    return heard

    with current_app.connection_for_read() as connection:
        exchange = Exchange(EXCHANGE_CANCEL, type="fanout")
        queue = Queue(f"test-{uuid.uuid4().hex}", exchange, exclusive=True, auto_delete=True, durable=False)
        with Consumer(connection, [queue], callbacks=[on_message], accept=["msgpack"], no_ack=True):
            yield collect


def test_cancelling_tells_the_hosts_and_gives_the_next_meeting_its_turn(told: Callable[[int], list[str]]) -> None:
    meeting, other = make.meeting(), make.meeting()
    request = asked(meeting)
    words_arrived(frame_request(make.member(other), hint="a castle on a hill").pk)
    assert dispatch.next_request(painters=1) is None
    cancelling.cancel(make.member(meeting, role=Role.OWNER), uuid.UUID(request.id))
    assert told(1) == [request.id]
    following = dispatch.next_request(painters=1)
    assert following is not None and following.meeting == other.pk


def test_a_refused_wish_to_cancel_tells_nobody(told: Callable[[int], list[str]]) -> None:
    meeting = make.meeting()
    with pytest.raises(Refused):
        cancelling.cancel(make.member(meeting), uuid.UUID(asked(meeting).id))
    assert told(0) == []


def test_the_end_of_a_meeting_is_noticed_by_the_next_look(told: Callable[[int], list[str]]) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    meeting_end(meeting)
    pipeline.look()
    assert told(1) == [request.id]
    assert Frame.objects.get().error == "meeting_ended"


def test_whoever_still_paints_what_another_has_finished_or_nobody_waits_for_may_stop(
    told: Callable[[int], list[str]],
) -> None:
    finished, lost = asked(), asked()
    Frame.objects.filter(pk=finished.id).update(attempt=2)
    pipeline.painted(make.paint_result(finished).to_wire())
    assert told(1) == [finished.id]
    Frame.objects.filter(pk=lost.id).update(attempt=2, lease_until=timezone.now() - timedelta(seconds=1))
    pipeline.look()
    assert told(2) == [finished.id, lost.id]


def test_a_picture_at_the_first_attempt_leaves_the_hosts_in_peace(told: Callable[[int], list[str]]) -> None:
    pipeline.painted(make.paint_result(asked()).to_wire())
    assert told(0) == []
