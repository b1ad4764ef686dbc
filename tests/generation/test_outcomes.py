"""What a painter sends besides a picture: steps, failures, compromises, a better edition; and what nobody wants."""

from __future__ import annotations

import io
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation
from PIL import Image

from generation import dispatch
from generation.models import Frame
from generation.outcomes import (
    failure_message,
    frame_failed,
    frame_improved,
    frame_painted,
    frame_progress,
    frames_end_with_meetings,
)
from generation.services import frame_cancel, frame_request, words_arrived
from meetings.models import Meeting, Role
from meetings.services import Refused, meeting_end
from tests import factories as make
from tests.generation.painting import asked, files_of, ready
from tests.listening import Listener
from workers.messages import PaintProgress, PaintResult

pytestmark = pytest.mark.django_db

CODES = [
    "nothing_to_paint", "out_of_memory", "model_missing", "engine_missing", "bad_setting", "black_picture",
    "blocked_picture", "bad_reference", "painter_lost", "cancelled", "meeting_ended", "engine_failed",
]  # fmt: skip


# Steps


def test_a_step_goes_to_everyone_and_stays_for_who_joins_late(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    with published(meeting) as events:
        frame_progress(PaintProgress(request.id, meeting.pk, 2, 4))
    assert events == [{"type": "frame.progress", "id": request.id, "step": 2, "steps": 4}]
    now = dispatch.painting_now(meeting)
    assert now is not None
    assert (now["id"], now["state"], now["step"], now["steps"]) == (request.id, "painting", 2, 4)
    assert now["since"] and "by" not in now


def test_a_preview_is_an_image_or_nothing(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    with published(meeting) as events:
        for preview in ("data:image/jpeg;base64,AAAA", 'data:image/png;base64,AA"),url("//evil', "https://evil"):
            frame_progress(PaintProgress(request.id, meeting.pk, 1, 4, preview))
    assert [event.get("preview") for event in events] == ["data:image/jpeg;base64,AAAA", None, None]


def test_steps_that_make_no_sense_or_come_late_are_dropped(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    with published(meeting) as events:
        frame_progress(PaintProgress(request.id, meeting.pk, 5, 4))
        frame_progress(PaintProgress(request.id, meeting.pk, 0, 0))
    assert events == []
    frame = frame_painted(make.paint_result(request))
    assert frame is not None
    with published(meeting) as events:
        frame_progress(PaintProgress(request.id, meeting.pk, 4, 4))
    assert events == []
    frame.refresh_from_db()
    assert "progress" not in frame.settings and dispatch.painting_now(meeting) is None


# Failures


def test_a_failure_is_told_with_a_sentence_for_people(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    with published(meeting) as events:
        frame_failed(uuid.UUID(request.id), "out_of_memory")
        frame_failed(uuid.UUID(request.id), "out_of_memory")
    (event,) = events
    assert (event["type"], event["reason"]) == ("frame.failed", "out_of_memory")
    assert event["message"] == failure_message("out_of_memory")
    assert Frame.objects.get().state == Frame.State.FAILED


def test_every_reason_has_a_sentence_of_its_own() -> None:
    assert len({failure_message(code) for code in CODES}) == len(CODES)
    assert failure_message("a_code_of_tomorrow") == failure_message("engine_failed")


@pytest.mark.parametrize("code", ["nothing_to_paint", "out_of_memory", "painter_lost", "meeting_ended"])
def test_reasons_are_told_in_the_language_of_who_reads_them(code: str) -> None:
    with translation.override("ru"):
        assert any("а" <= letter <= "я" for letter in failure_message(code))


# Compromises


def test_what_was_given_up_is_kept_and_told(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    with published(meeting) as events:
        frame = frame_painted(make.paint_result(request, compromises=["smaller", "offloaded", "smaller"], steps=2))
    assert events[0]["compromises"] == ["smaller", "offloaded"]
    assert frame is not None and (frame.settings["compromises"], frame.settings["steps"]) == (
        ["smaller", "offloaded"],
        2,
    )


def test_only_codes_count_as_compromises(published: Listener) -> None:
    meeting = make.meeting()
    odd: list[Any] = ["smaller", "<b>", 7, None, "x" * 41, *(f"code_{n}" for n in range(40))]
    with published(meeting) as events:
        frame_painted(make.paint_result(asked(meeting), compromises=odd))
    told = events.of_type("frame.ready")[0]["compromises"]
    assert told[0] == "smaller" and len(told) == 12 and all(code.replace("_", "").isalnum() for code in told)


def test_words_that_were_left_out_are_told(published: Listener) -> None:
    meeting = make.meeting()
    words_arrived(frame_request(make.member(meeting), hint="a naked woman at a lighthouse").pk)
    request = dispatch.next_request(painters=9)
    assert request is not None and "lighthouse" in request.prompt and "naked" not in request.prompt
    with published(meeting) as events:
        frame_painted(make.paint_result(request, compromises=["smaller"]))
    assert events[0]["compromises"] == ["words_left_out", "smaller"]


# A better edition


def better(frame: Frame, **values: Any) -> PaintResult:
    picture = {"image": make.webp(64, 36, "#2a5ae2"), "thumbnail": make.webp(32, 18, "#2a5ae2")}
    return make.paint_result(frame, finished=True, **{**picture, **values})


def test_a_better_edition_takes_the_place_of_a_picture_under_a_new_address(
    published: Listener, client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    meeting = make.meeting()
    frame = ready(meeting)
    before = frame.image.name
    client.force_login(meeting.owner)
    old_tag = client.get(f"/m/{meeting.slug}/frames/{frame.pk}.webp")["ETag"]
    with published(meeting) as events:
        improved = frame_improved(better(frame))
    assert improved is not None and improved.image.name != before
    (event,) = events
    assert (event["type"], event["id"]) == ("frame.ready", str(frame.pk))
    assert event["rev"] == frame.rev + 1 == Meeting.objects.get(pk=meeting.pk).rev
    assert event["url"] == f"/m/{meeting.slug}/frames/{frame.pk}.webp?v=2" and event["thumb_url"].endswith("?v=2")
    response = client.get(event["url"], headers={"If-None-Match": old_tag})
    assert response.status_code == 200, "a browser would keep the picture before"
    red, _green, blue = Image.open(io.BytesIO(b"".join(response.streaming_content))).getpixel((5, 5))  # type: ignore[misc]
    assert blue > red
    assert len(files_of(frame)) == 2, "the files of the edition before are still there"


def test_the_same_edition_twice_changes_nothing(published: Listener) -> None:
    meeting = make.meeting()
    frame = ready(meeting)
    with published(meeting):
        frame_improved(better(frame))
    before, files = Frame.objects.values().get(), files_of(frame)
    with published(meeting) as events:
        assert frame_improved(better(frame)) is None
    assert events == [] and Frame.objects.values().get() == before and files_of(frame) == files


@pytest.mark.parametrize("why", ["smaller", "hidden", "failed", "no picture", "another meeting's", "still painting"])
def test_an_edition_that_does_not_fit_changes_nothing(published: Listener, why: str) -> None:
    meeting = make.meeting()
    frame = ready(meeting)
    result = better(frame)
    if why == "smaller":
        result.width_px = 63
    elif why == "hidden":
        Frame.objects.update(hidden=True)
    elif why == "failed":
        Frame.objects.update(state=Frame.State.FAILED)
    elif why == "still painting":
        Frame.objects.update(state=Frame.State.PAINTING)
    elif why == "no picture":
        result.image = b"<svg onload=alert(1)>"
    else:
        result.meeting = make.meeting().pk
    before, files = Frame.objects.values().get(), files_of(frame)
    with published(meeting) as events:
        assert frame_improved(result) is None
    assert events == [] and Frame.objects.values().get() == before and files_of(frame) == files


# Not wanted any more


def test_who_asked_for_a_picture_and_the_owner_may_cancel_it(published: Listener) -> None:
    meeting = make.meeting()
    make.utterance(meeting)
    anna, owner = make.member(meeting, "Anna"), make.member(meeting, "Olga", Role.OWNER)
    for who in (anna, owner):
        words_arrived(frame_request(anna).pk)
        request = dispatch.next_request(painters=9)
        assert request is not None
        with published(meeting) as events:
            assert frame_cancel(who, uuid.UUID(request.id)) == [uuid.UUID(request.id)]
        (event,) = events
        assert (event["type"], event["id"], event["reason"]) == ("frame.skipped", request.id, "cancelled")
        assert event["message"] == failure_message("cancelled")
        frame = Frame.objects.get(pk=request.id)
        assert (frame.state, frame.error, frame.lease_until) == (Frame.State.SKIPPED, "cancelled", None)


def test_a_picture_that_only_waits_is_cancelled_without_a_painter_to_tell() -> None:
    meeting = make.meeting()
    anna = make.member(meeting)
    assert frame_cancel(anna, frame_request(anna).pk) == []
    assert dispatch.next_request(painters=9) is None


def test_nobody_else_may_cancel_it(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)  # by the clock, as far as the frame knows
    wished = Frame.objects.get(pk=request.id)
    stranger = make.member(make.meeting(meeting.owner), role=Role.OWNER)
    with published(meeting) as events:
        for who, code in (
            (make.member(meeting, "Max", Role.VIEWER), "not_allowed"),
            (make.member(meeting, "Robert"), "not_allowed"),
            (stranger, "unknown_frame"),
        ):
            with pytest.raises(Refused) as refused:
                frame_cancel(who, wished.pk)
            assert refused.value.code == code
    wished.refresh_from_db()
    assert events == [] and wished.state == Frame.State.PAINTING


def test_what_is_ready_or_unknown_cannot_be_cancelled() -> None:
    meeting = make.meeting()
    owner = make.member(meeting, role=Role.OWNER)
    for frame_id in (ready(meeting).pk, uuid.uuid4()):
        with pytest.raises(Refused) as refused:
            frame_cancel(owner, frame_id)
        assert refused.value.code == "unknown_frame"


def test_the_late_picture_of_a_cancelled_frame_changes_nothing(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    frame = Frame.objects.get(pk=request.id)
    frame_cancel(make.member(meeting, role=Role.OWNER), frame.pk)
    before = Frame.objects.values().get()
    with published(meeting) as events:
        frame_progress(PaintProgress(request.id, meeting.pk, 1, 4))
        assert frame_painted(make.paint_result(request)) is None
        frame_failed(frame.pk, "engine_failed")
        assert frame_improved(better(frame)) is None
    assert events == [] and Frame.objects.values().get() == before and files_of(frame) == []


def test_after_cancelling_the_clock_waits_for_its_interval() -> None:
    meeting = make.meeting()
    request = asked(meeting)
    frame_cancel(make.member(meeting, role=Role.OWNER), uuid.UUID(request.id))
    make.utterance(meeting, make.GARDEN, ago_s=0.0)
    assert dispatch.wish_where_due() == 0
    Frame.objects.update(claimed_at=timezone.now() - timedelta(seconds=30))
    assert dispatch.wish_where_due() == 1


def test_the_end_of_a_meeting_cancels_what_is_on_its_way_and_a_pause_does_not(published: Listener) -> None:
    ended, paused = make.meeting(), make.meeting()
    request, other = asked(ended), asked(paused)
    make.utterance(ended)
    waiting = frame_request(make.member(ended))
    Meeting.objects.filter(pk=paused.pk).update(paused=True)
    meeting_end(ended)
    with published(ended) as events:
        assert frames_end_with_meetings() == [uuid.UUID(request.id)]
    assert {(event["id"], event["reason"]) for event in events} == {
        (request.id, "meeting_ended"),
        (str(waiting.pk), "meeting_ended"),
    }
    assert Frame.objects.get(pk=other.id).state == Frame.State.PAINTING
    assert frames_end_with_meetings() == []


# Held back by the checker


def test_a_blocked_picture_is_told_and_painted_once_more_without_things(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    with published(meeting) as events:
        neutral = dispatch.repaint_neutrally(uuid.UUID(request.id))
    assert neutral is not None
    assert (neutral.id, neutral.attempt) == (request.id, 2) and neutral.seed != request.seed
    assert "house" in request.prompt and "house" not in neutral.prompt and "landscape" in neutral.prompt
    assert [thing.english for thing in neutral.scene.things] == ["river"] and neutral.scene.title == ""
    (event,) = events
    assert (event["type"], event["because"]) == ("frame.started", "blocked_picture")
    assert event["message"] == failure_message("blocked_picture")
    with published(meeting) as events:
        frame = frame_painted(make.paint_result(neutral))
    assert frame is not None and events[0]["compromises"] == ["neutral"] and events[0]["quotes"] == []


def test_a_neutral_picture_that_is_blocked_as_well_fails() -> None:
    frame_id = uuid.UUID(asked().id)
    assert dispatch.repaint_neutrally(frame_id) is not None
    assert dispatch.repaint_neutrally(frame_id) is None
    frame = Frame.objects.get()
    assert (frame.state, frame.error, frame.attempt) == (Frame.State.FAILED, "blocked_picture", 2)
    assert dispatch.repaint_neutrally(frame_id) is None
