"""Which picture next: wishes, turns, claims, leases."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from generation import director, dispatch, leases
from generation.models import Frame
from generation.outcomes import frame_failed, frame_painted
from generation.services import frame_request, frame_wish, words_arrived
from meetings.models import Meeting, Utterance
from speakers.models import StylePreset
from tests import factories as make
from tests.listening import Listener
from workers.messages import PaintRequest

pytestmark = pytest.mark.django_db

FEW, MANY = 1, 9
"""Painters."""


def talked(**values: object) -> Meeting:
    """A meeting in which something was just said that can be painted."""
    meeting = make.meeting(**values)
    make.utterance(meeting)
    return meeting


def wish(meeting: Meeting) -> Frame:
    return frame_wish(meeting, forced=True)


def claimed(*, painters: int = MANY) -> PaintRequest:
    request = dispatch.next_request(painters=painters)
    assert request is not None
    return request


def lease_over() -> None:
    Frame.objects.filter(state=Frame.State.PAINTING).update(lease_until=timezone.now() - timedelta(seconds=1))


# Wishes


def test_one_wish_waits_per_meeting_and_a_second_refreshes_it() -> None:
    meeting = talked()
    first = frame_wish(meeting, forced=False)
    second = frame_request(make.member(meeting), hint="  a castle \n on a hill ")
    assert first.pk == second.pk
    frame = Frame.objects.get()
    assert (frame.forced, frame.hint, frame.asked_by.name) == (True, "a castle on a hill", "Anna")


def test_the_clocks_wish_does_not_take_a_persons_wish_back() -> None:
    meeting = talked()
    frame_request(make.member(meeting), hint="a castle")
    frame_wish(meeting, forced=False)
    assert (Frame.objects.get().forced, Frame.objects.get().hint) == (True, "a castle")


@pytest.mark.parametrize("state", [Frame.State.WAITING, Frame.State.PAINTING])
def test_the_database_itself_keeps_one_waiting_and_one_painting(state: str) -> None:
    meeting = make.meeting()
    Frame.objects.create(meeting=meeting, state=state)
    with pytest.raises(IntegrityError), transaction.atomic():
        Frame.objects.create(meeting=meeting, state=state)
    Frame.objects.create(meeting=make.meeting(), state=state)


@pytest.mark.django_db(transaction=True)
def test_wishes_at_the_same_moment_become_one() -> None:
    meeting = talked()
    start, frames = threading.Barrier(6), []

    def press() -> None:
        start.wait(10)
        frames.append(wish(meeting).pk)
        connection.close()

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(frames) == 6 and len(set(frames)) == 1


def test_the_director_wishes_where_something_was_said_and_only_there() -> None:
    spoken, silent, paused, manual, ended = (
        talked(), make.meeting(), talked(paused=True), talked(mode=Meeting.Mode.MANUAL), talked(),
    )  # fmt: skip
    Meeting.objects.filter(pk=ended.pk).update(ended_at=timezone.now())
    assert dispatch.wish_where_due() == 1
    assert [frame.meeting for frame in Frame.objects.all()] == [spoken]
    assert not Frame.objects.get().forced
    assert {silent, paused, manual}.isdisjoint({frame.meeting for frame in Frame.objects.all()})


def test_nothing_new_since_the_last_picture_is_no_reason_for_another() -> None:
    meeting = talked()
    dispatch.wish_where_due()
    frame_painted(make.paint_result(claimed()))
    assert dispatch.wish_where_due() == 0
    Frame.objects.update(claimed_at=timezone.now() - timedelta(seconds=30))
    make.utterance(meeting, make.HARBOUR)
    assert dispatch.wish_where_due() == 1


def test_a_meeting_that_has_to_wait_is_looked_at_again_when_something_new_was_said_or_its_time_has_come(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = talked()
    dispatch.wish_where_due()
    frame_painted(make.paint_result(claimed()))
    make.utterance(meeting, make.HARBOUR)
    assert dispatch.wish_where_due() == 0
    with django_assert_num_queries(1):
        assert dispatch.wish_where_due() == 0
    make.utterance(meeting, "And so it begins.", ago_s=0.0)
    with CaptureQueriesContext(connection) as looked:
        assert dispatch.wish_where_due() == 0
    assert len(looked) > 1
    later = timezone.now() + timedelta(seconds=director.LONGEST_INTERVAL_S + 1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert dispatch.wish_where_due() == 1


def test_long_silence_costs_no_look() -> None:
    make.utterance(make.meeting(), ago_s=dispatch.ACTIVE_FOR.total_seconds() + 10)
    assert dispatch.wish_where_due() == 0


# Whose turn it is


def test_the_meeting_painted_longest_ago_comes_first_and_a_new_one_before_all() -> None:
    recent, longer, never = talked(), talked(), talked()
    for meeting, minutes in ((recent, 1), (longer, 5)):
        at = timezone.now() - timedelta(minutes=minutes)
        Frame.objects.create(meeting=meeting, state=Frame.State.READY, claimed_at=at, ready_at=at)
    for meeting in (recent, longer, never):  # the most patient one wished last
        wish(meeting)
    assert [claimed().meeting for _ in range(3)] == [never.pk, longer.pk, recent.pk]
    assert dispatch.next_request(painters=MANY) is None


def test_meetings_take_turns_however_often_one_asks() -> None:
    eager, patient = talked(), talked()
    order = []
    wish(patient)
    for _ in range(4):
        wish(eager)
        if patient.frames.filter(state=Frame.State.WAITING).count() == 0:
            wish(patient)
        request = claimed(painters=FEW)
        order.append(request.meeting)
        frame_painted(make.paint_result(request))
    assert order == [patient.pk, eager.pk, patient.pk, eager.pk]


def test_never_two_in_flight_for_one_meeting() -> None:
    meeting, other = talked(), talked()
    wish(meeting)
    first = claimed()
    wish(meeting)
    assert dispatch.next_request(painters=MANY) is None
    wish(other)
    assert claimed().meeting == other.pk
    frame_painted(make.paint_result(first))
    assert claimed().meeting == meeting.pk


def test_no_more_are_in_flight_than_there_are_painters() -> None:
    for _ in range(3):
        wish(talked())
    assert dispatch.next_request(painters=2) is not None
    assert dispatch.next_request(painters=2) is not None
    assert dispatch.next_request(painters=2) is None


@pytest.mark.django_db(transaction=True)
def test_claims_at_the_same_moment_have_one_winner() -> None:
    meeting = talked()
    frame = wish(meeting)
    start, requests = threading.Barrier(6), []

    def claim() -> None:
        start.wait(10)
        requests.append(dispatch.next_request(painters=MANY))
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    winners = [request for request in requests if request]
    assert len(requests) == 6 and [request.id for request in winners] == [str(frame.pk)]
    frame.refresh_from_db()
    assert (frame.state, frame.attempt) == (Frame.State.PAINTING, 1)


def test_a_wish_waits_for_words_that_are_being_heard_but_not_longer() -> None:
    frame = frame_request(make.member(talked()))
    assert dispatch.next_request(painters=MANY) is None
    words_arrived(frame.pk)
    assert claimed().id == str(frame.pk)


# What is painted


def test_the_prompt_is_written_from_the_freshest_words_when_the_turn_comes(published: Listener) -> None:
    meeting = talked()
    frame = wish(meeting)
    assert frame.prompt == ""
    newest = make.utterance(meeting, make.HARBOUR, ago_s=0.0)
    with published(meeting) as events:
        request = claimed()
    assert "rocket" in request.prompt
    assert (request.width_px, request.height_px, request.steps) == (0, 0, 0)
    assert request.scene.things and request.scene.title
    frame.refresh_from_db()
    assert frame.prompt == request.prompt and frame.seed == request.seed
    assert newest.pk in set(frame.sources.values_list("utterance", flat=True))
    assert set(frame.alt) == {"en", "ru"}
    assert events.types == ["frame.started"] and events[0]["id"] == request.id


def test_what_the_speech_engine_said_in_english_reaches_the_prompt() -> None:
    meeting = make.meeting(language="ru")
    said = make.utterance(meeting, "Мы видели сохатого на опушке")
    said.language, said.text_en = "ru", "We saw a moose at the edge of the forest."
    said.save()
    wish(meeting)
    request = claimed()
    assert "moose" in request.prompt
    assert request.scene.title == "сохатый на опушке"


def test_words_older_than_the_context_are_not_painted() -> None:
    meeting = make.meeting(context_minutes=1)
    make.utterance(meeting, make.HARBOUR, ago_s=70)
    make.utterance(meeting, make.GARDEN)
    wish(meeting)
    request = claimed()
    assert "river" in request.prompt and "rocket" not in request.prompt


def test_only_words_of_the_meeting_itself_are_painted() -> None:
    owner = make.user()
    there, here = make.meeting(owner), make.meeting(owner)
    make.utterance(there, make.HARBOUR, ago_s=0.0)
    make.utterance(here, make.GARDEN)
    wish(here)
    request = claimed()
    assert "rocket" not in request.prompt and "telescope" not in str(request.scene)


def test_a_hint_is_painted_even_before_anybody_spoke() -> None:
    meeting = make.meeting()
    words_arrived(frame_request(make.member(meeting), hint="a castle on a hill").pk)
    assert "castle" in claimed().prompt


def test_the_speakers_own_palette_is_used_unless_the_room_has_one() -> None:
    meeting = make.meeting()
    own = StylePreset.objects.create(name="Own", palette=["#010203"], style_words="linocut")
    room = StylePreset.objects.create(name="Room", palette=["#0a0b0c"], style_words="fresco")
    anna = make.speaker(meeting.owner)
    anna.preset = own
    anna.save()
    make.utterance(meeting, said_by=anna)
    wish(meeting)
    first = claimed()
    assert "#010203" in first.scene.palette and "linocut" in first.prompt
    assert [style["preset"] for style in Frame.objects.get().styles] == ["Own"]
    frame_painted(make.paint_result(first))
    Meeting.objects.filter(pk=meeting.pk).update(preset=room)
    wish(meeting)
    second = claimed()
    assert "#0a0b0c" in second.scene.palette and "linocut" not in second.prompt


def test_the_next_picture_knows_the_layout_of_the_one_before() -> None:
    meeting = talked()
    wish(meeting)
    frame_painted(make.paint_result(claimed(), layout="horizon"))
    wish(meeting)
    request = claimed()
    assert (request.scene.previous_layout, request.scene.number) == ("horizon", 1)


def test_nothing_to_paint_is_skipped_and_told_to_who_asked(published: Listener) -> None:
    meeting = make.meeting()
    frame = wish(meeting)
    with published(meeting) as events:
        assert dispatch.next_request(painters=MANY) is None
    frame.refresh_from_db()
    assert (frame.state, frame.error) == (Frame.State.SKIPPED, "nothing_to_paint")
    (event,) = events
    assert (event["type"], event["reason"]) == ("frame.skipped", "nothing_to_paint") and event["message"]


def test_nothing_to_paint_is_no_news_when_nobody_asked(published: Listener) -> None:
    meeting = make.meeting()
    frame_wish(meeting, forced=False)
    with published(meeting) as events:
        assert dispatch.next_request(painters=MANY) is None
    assert Frame.objects.get().state == Frame.State.SKIPPED and events == []


def test_a_skipped_wish_does_not_hold_up_the_next_meeting() -> None:
    wish(make.meeting())
    second = talked()
    wish(second)
    assert claimed().meeting == second.pk


def test_a_meeting_that_ended_is_not_painted() -> None:
    meeting = talked()
    frame = wish(meeting)
    Meeting.objects.filter(pk=meeting.pk).update(ended_at=timezone.now())
    assert dispatch.next_request(painters=MANY) is None
    frame.refresh_from_db()
    assert (frame.state, frame.error) == (Frame.State.SKIPPED, "meeting_ended")


# Painters that never answer


def test_a_painter_that_does_not_answer_gets_a_second_attempt_then_everyone_learns_it_failed(
    published: Listener,
) -> None:
    meeting = talked()
    wish(meeting)
    first = claimed()
    assert dispatch.expired_leases() == dispatch.Lost()
    lease_over()
    (second,) = dispatch.expired_leases().again
    assert (second.id, second.attempt) == (first.id, 2)
    assert (second.prompt, second.seed, second.scene) == (first.prompt, first.seed, first.scene)
    assert dispatch.expired_leases() == dispatch.Lost()  # a lease of its own
    lease_over()
    with published(meeting) as events:
        assert dispatch.expired_leases().given_up == [uuid.UUID(first.id)]
    (event,) = events
    assert (event["type"], event["id"], event["reason"]) == ("frame.failed", first.id, "painter_lost")
    assert Frame.objects.get().state == Frame.State.FAILED
    wish(meeting)
    assert claimed().meeting == meeting.pk


def test_the_first_painters_late_picture_is_taken_and_the_second_changes_nothing() -> None:
    meeting = talked()
    wish(meeting)
    first = claimed()
    lease_over()
    (second,) = dispatch.expired_leases().again
    assert frame_painted(make.paint_result(first, seed=1)) is not None
    assert frame_painted(make.paint_result(second, seed=2)) is None
    assert Frame.objects.get().seed == 1


def test_a_picture_after_the_failure_was_told_changes_nothing() -> None:
    wish(talked())
    request = claimed()
    frame_failed(Frame.objects.get().pk, "painter_lost")
    assert frame_painted(make.paint_result(request)) is None
    assert Frame.objects.get().state == Frame.State.FAILED


def test_a_frame_whose_prompt_was_never_written_is_not_lost_for_good() -> None:
    """`core` died between the claim and the prompt."""
    meeting = talked()
    wish(meeting)
    frame = dispatch._claim(MANY)
    assert frame is not None and frame.scene == {}
    lease_over()
    dispatch.expired_leases()
    lease_over()
    dispatch.expired_leases()
    assert Frame.objects.get().state != Frame.State.PAINTING
    wish(meeting)
    assert claimed().prompt


# The line


def test_the_place_in_line_counts_what_is_ahead() -> None:
    frames = [wish(talked()) for _ in range(3)]
    claimed(painters=FEW)
    assert [dispatch.place_in_line(frame).position for frame in frames[1:]] == [1, 2]
    assert dispatch.waiting_count() == 3
    line = dispatch.place_in_line(frames[2])
    assert line.eta_s is not None and line.eta_s > 0


def test_how_long_a_picture_takes_is_what_the_last_ones_took() -> None:
    assert leases.typical_picture_s() == leases.TYPICAL_PICTURE_S
    for painted in (400.0, 500.0, 9000.0):
        Frame.objects.create(
            meeting=make.meeting(), state=Frame.State.READY, ready_at=timezone.now(),
            timings_ms={"painted": painted, "stored": 20.0},
        )  # fmt: skip
    assert leases.typical_picture_s() == pytest.approx(0.52)


def test_gaps_are_not_words() -> None:
    meeting = make.meeting()
    line = make.utterance(meeting)
    Utterance.objects.filter(pk=line.pk).update(kind=Utterance.Kind.GAP)
    assert dispatch.wish_where_due() == 0


def test_a_look_that_found_nothing_uses_up_its_words_but_not_the_interval() -> None:
    meeting = make.meeting()
    make.utterance(meeting, "And so it begins.")
    wish = frame_wish(meeting, forced=False)
    assert dispatch.next_request(painters=1) is None
    wish.refresh_from_db()
    assert wish.state == Frame.State.SKIPPED
    now = timezone.now().timestamp()
    assert dispatch.situation_of(meeting, now).heard_since_painted == 0
    make.utterance(meeting, "A red house stands by the old bridge over the river.", ago_s=0.0)
    situation = dispatch.situation_of(meeting, timezone.now().timestamp())
    assert situation.last_painted_at is None
    assert director.decide(situation) is director.Decision.PAINT
