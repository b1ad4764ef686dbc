"""What becomes of a frame: stored once, rated, shown."""

from __future__ import annotations

import io
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from PIL import Image

from generation import dispatch
from generation.models import Frame, Rating
from generation.outcomes import frame_painted
from generation.selectors import recent_frames
from generation.services import frame_rate, frame_request, frame_shown, frame_wish
from meetings.models import Meeting, Role
from meetings.services import Refused
from tests import factories as make
from tests.generation.painting import asked, files_of, ready
from tests.listening import Listener

pytestmark = pytest.mark.django_db


def test_a_picture_is_stored_with_everything_that_explains_it(published: Listener) -> None:
    meeting = make.meeting()
    request = asked(meeting)
    with published(meeting) as events:
        frame = frame_painted(make.paint_result(request))
    assert frame is not None and frame.state == Frame.State.READY
    (event,) = events
    assert event["type"] == "frame.ready" and event["id"] == request.id
    assert event["rev"] == Meeting.objects.get(pk=meeting.pk).rev == frame.rev
    assert (event["width"], event["height"], event["seed"]) == (64, 36, 7)
    assert event["url"] == f"/m/{meeting.slug}/frames/{frame.pk}.webp"
    assert event["engine"]["name"] == "poster"
    assert (
        event["prompt"] == request.prompt and set(event["alts"]) == {"en", "ru"} and event["alt"] == event["alts"]["en"]
    )
    assert event["why"] == [str(u.pk) for u in meeting.utterances.all()]
    assert [quote["text"] for quote in event["quotes"]] == [make.GARDEN]
    assert [speaker["name"] for speaker in event["speakers"]] == ["Anna"]
    assert set(event["timings_ms"]) == {"heard", "waited", "prompted", "painted", "stored", "total"}
    assert all(value >= 0 for value in event["timings_ms"].values())


def test_files_are_pictures_that_only_the_owner_of_the_process_can_read() -> None:
    frame = ready()
    names = [path.name for path in files_of(frame)]
    assert names == [f"{frame.pk}.thumb.webp", f"{frame.pk}.webp"]
    for path in files_of(frame):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        folder = path.parent
        while folder != Path(settings.MEDIA_ROOT).parent:
            assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder
            folder = folder.parent
    with default_storage.open(frame.image.name) as file:
        assert Image.open(io.BytesIO(file.read())).size == (64, 36)


def test_the_same_picture_twice_changes_nothing_and_leaves_no_file(published: Listener) -> None:
    meeting = make.meeting()
    result = make.paint_result(asked(meeting))
    frame = frame_painted(result)
    assert frame is not None
    before, files = Frame.objects.values().get(), files_of(frame)
    with published(meeting) as events:
        assert frame_painted(result) is None
    assert Frame.objects.values().get() == before and files_of(frame) == files and events == []


@pytest.mark.django_db(transaction=True)
def test_the_same_picture_from_two_workers_at_once_is_stored_once_and_whole() -> None:
    result = make.paint_result(asked())
    start, frames = threading.Barrier(4), []

    def work() -> None:
        start.wait(10)
        frames.append(frame_painted(result))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (stored,) = [frame for frame in frames if frame]
    assert len(frames) == 4
    assert [path.name for path in files_of(stored)] == sorted(
        Path(name).name for name in (stored.image.name, stored.thumbnail.name)
    )


def test_a_picture_of_a_frame_that_is_gone_is_forgotten() -> None:
    request = asked()
    Frame.objects.all().delete()
    assert frame_painted(make.paint_result(request)) is None


def test_timings_add_up_from_the_end_of_the_words_to_the_stored_picture() -> None:
    meeting = make.meeting()
    make.utterance(meeting, ago_s=2.0)
    frame_wish(meeting, forced=True)
    request = dispatch.next_request(painters=9)
    assert request is not None
    frame = frame_painted(make.paint_result(request, started_at=time.time(), painted_at=time.time() + 0.001))
    assert frame is not None
    parts = frame.timings_ms
    assert parts["total"] >= 2000
    assert parts["total"] == pytest.approx(sum(v for k, v in parts.items() if k not in ("total", "prompted")), abs=5)


def test_viewers_may_not_ask_for_pictures() -> None:
    with pytest.raises(Refused) as refused:
        frame_request(make.member(make.meeting(), role=Role.VIEWER))
    assert refused.value.code == "not_allowed" and not Frame.objects.exists()


def test_the_last_pictures_come_oldest_first_without_hidden_ones() -> None:
    meeting = make.meeting()
    frames = [ready(meeting) for _ in range(4)]
    Frame.objects.filter(pk=frames[1].pk).update(hidden=True)
    assert [frame["id"] for frame in recent_frames(meeting, limit=2)] == [str(frames[2].pk), str(frames[3].pk)]
    assert recent_frames(make.meeting()) == []


# Ratings


def test_everyone_rates_once_and_may_think_again(published: Listener) -> None:
    meeting = make.meeting()
    frame = ready(meeting)
    anna, robert = make.member(meeting, "Anna"), make.member(meeting, "Robert")
    with published(meeting) as events:
        frame_rate(anna, frame.pk, value=1)
        frame_rate(robert, frame.pk, value=-1, note="too dark")
        frame_rate(anna, frame.pk, value=0)
    assert [event["rating"] for event in events] == [
        {"sum": 1, "likes": 1, "dislikes": 0},
        {"sum": 0, "likes": 1, "dislikes": 1},
        {"sum": -1, "likes": 0, "dislikes": 1},
    ]
    assert [event["rev"] for event in events] == sorted({event["rev"] for event in events})
    assert Rating.objects.count() == 2


@pytest.mark.parametrize("value", [2, -1.01, True, "1", None, [], float("nan"), float("inf"), 10**30], ids=str)
def test_a_rating_out_of_bounds_is_refused(value: Any) -> None:
    meeting = make.meeting()
    frame = ready(meeting)
    with pytest.raises(Refused) as refused:
        frame_rate(make.member(meeting), frame.pk, value=value)
    assert refused.value.code == "bad_value" and not Rating.objects.exists()


def test_pictures_of_other_meetings_and_viewers_ratings_do_not_count() -> None:
    meeting = make.meeting()
    frame = ready(meeting)
    for member, code in (
        (make.member(make.meeting(meeting.owner)), "unknown_frame"),
        (make.member(meeting, role=Role.VIEWER), "not_allowed"),
    ):
        with pytest.raises(Refused) as refused:
            frame_rate(member, frame.pk, value=1)
        assert refused.value.code == code
    assert not Rating.objects.exists()


# Shown


def test_the_first_screen_that_shows_a_picture_closes_its_trace() -> None:
    meeting = make.meeting()
    frame = ready(meeting)
    trace = frame_shown(make.member(meeting, role=Role.VIEWER), frame.pk)
    assert trace is not None and trace["shown"] >= 0 and trace["total"] == frame.timings_ms["total"]
    assert frame_shown(make.member(meeting, "Robert"), frame.pk) is None
    frame.refresh_from_db()
    assert frame.shown_at is not None and frame.timings_ms == trace


def test_nobody_of_another_meeting_closes_it() -> None:
    frame = ready()
    assert frame_shown(make.member(make.meeting()), frame.pk) is None
    assert Frame.objects.get(pk=frame.pk).shown_at is None
