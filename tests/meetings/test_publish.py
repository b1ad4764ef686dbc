"""Live events leave when their change is committed, in order, and only to their meeting."""

from __future__ import annotations

import json
import threading

import pytest
from django.db import connection, transaction

from meetings.events import CaptionGap, FrameQueued, MeetingUpdated, Status
from meetings.publish import publish, raise_rev, signal
from tests import factories as make
from tests.listening import Listener

pytestmark = pytest.mark.django_db


def test_an_event_says_its_type_and_leaves_out_what_is_none() -> None:
    assert FrameQueued(id="a", position=0).to_dict() == {"type": "frame.queued", "id": "a", "position": 0}
    assert json.loads(Status(engines={}, queue={}, lag_s=0.0).to_json()) == {
        "type": "status", "engines": {}, "queue": {}, "lag_s": 0.0,
    }  # fmt: skip


def test_cyrillic_travels_as_it_is() -> None:
    gap = CaptionGap("i", 1, None, 0, 1, "a", "b", reason="Река")
    assert "Река" in gap.to_json()


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_never_told(published: Listener) -> None:
    meeting = make.meeting()

    class Oops(Exception):
        pass

    with published(meeting) as events:
        with pytest.raises(Oops), transaction.atomic():
            publish(meeting.pk, MeetingUpdated(rev=raise_rev(meeting.pk), meeting={"title": "never"}))
            signal(meeting.pk, "ended")
            raise Oops
        with transaction.atomic():
            publish(meeting.pk, MeetingUpdated(rev=raise_rev(meeting.pk), meeting={"title": "once"}))
    assert [(event["rev"], event["meeting"]["title"]) for event in events] == [(1, "once")]
    assert events.signals == []


def test_other_meetings_hear_nothing(published: Listener) -> None:
    here, there = make.meeting(), make.meeting()
    with published(there) as events:
        publish(here.pk, FrameQueued(id="x"))
        signal(here.pk, "ended")
    assert events == [] and events.signals == []


@pytest.mark.django_db(transaction=True)
def test_revisions_from_many_threads_are_each_given_once(published: Listener) -> None:
    meeting = make.meeting()
    start = threading.Barrier(5)

    def work() -> None:
        start.wait(10)
        for _ in range(5):
            with transaction.atomic():
                publish(meeting.pk, MeetingUpdated(rev=raise_rev(meeting.pk), meeting={}))
        connection.close()

    with published(meeting) as events:
        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(event["rev"] for event in events) == list(range(1, 26))
