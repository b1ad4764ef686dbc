"""How long a painter may be silent: long for a slow or a cold one, never for ever."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from generation import dispatch, leases
from generation.models import Frame
from generation.outcomes import frame_progress
from generation.services import frame_request, words_arrived
from meetings.models import Meeting
from tests import factories as make
from tests.generation.painting import asked
from workers.messages import PaintProgress, PaintRequest

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def painted(seconds: float, *, ago: timedelta = timedelta(), model: str = "sd-turbo") -> None:
    Frame.objects.create(
        meeting=make.meeting(), state=Frame.State.READY, ready_at=timezone.now() - ago,
        timings_ms={"painted": seconds * 1000, "stored": 0.0}, engine={"model": model},
    )  # fmt: skip


def lease(request: PaintRequest) -> timedelta:
    frame = Frame.objects.get(pk=request.id)
    assert frame.lease_until is not None and frame.claimed_at is not None
    return frame.lease_until - frame.claimed_at


def silent_since(request: PaintRequest, at: datetime) -> None:
    Frame.objects.filter(pk=request.id).update(claimed_at=at)


def test_the_first_picture_may_take_minutes_for_its_model_is_loaded_first() -> None:
    assert lease(asked()) >= 4 * MINUTE


def test_a_painter_that_was_idle_for_long_may_have_to_load_again() -> None:
    painted(2.0, ago=timedelta(hours=1))
    assert lease(asked()) >= 4 * MINUTE


@pytest.mark.parametrize(("took_s", "allowed"), [(0.4, MINUTE), (30.0, 2 * MINUTE), (4000.0, leases.MOST)])
def test_a_warm_painter_gets_a_multiple_of_what_it_took_lately(took_s: float, allowed: timedelta) -> None:
    painted(took_s)
    assert lease(asked()) == pytest.approx(allowed, abs=timedelta(seconds=1))


def test_only_the_painter_at_work_counts() -> None:
    painted(120.0, model="sdxl")
    painted(0.5, model="sd-turbo")
    assert leases.typical_picture_s() == 0.5


def test_every_step_renews_the_lease_and_a_slow_step_more_than_a_quick_one() -> None:
    meeting = make.meeting()
    request = asked(meeting)
    silent_since(request, timezone.now() - timedelta(seconds=40))
    Frame.objects.update(lease_until=timezone.now() + timedelta(seconds=1))
    frame_progress(PaintProgress(request.id, meeting.pk, 1, 8))
    slow = Frame.objects.get().lease_until
    assert slow is not None and slow > timezone.now() + 2 * MINUTE
    frame_progress(PaintProgress(request.id, meeting.pk, 2, 8))
    quick = Frame.objects.get().lease_until
    assert quick is not None and timezone.now() + MINUTE / 2 < quick < slow


def test_without_any_heartbeat_nobody_waits_for_the_long_lease() -> None:
    request = asked()
    assert dispatch.expired_leases(hosts_answer=False) == dispatch.Lost()
    silent_since(request, timezone.now() - leases.LEAST - timedelta(seconds=1))
    assert dispatch.expired_leases(hosts_answer=True) == dispatch.Lost()
    (again,) = dispatch.expired_leases(hosts_answer=False).again
    assert (again.id, again.attempt) == (request.id, 2)


def test_a_picture_is_finished_in_full_only_while_nobody_waits() -> None:
    assert asked().finish
    other, meeting = make.meeting(), make.meeting()
    frame_request(make.member(other), hint="a castle")
    assert not asked(meeting).finish


def test_a_picture_must_be_there_before_the_next_is_due_and_within_what_the_site_allows(settings: object) -> None:
    settings.PAINT_DEADLINE_S = 15  # type: ignore[attr-defined]
    assert asked(make.meeting(interval_s=12)).deadline_s == 12
    assert asked(make.meeting(interval_s=20)).deadline_s == 15
    by_hand = make.meeting(interval_s=10, mode=Meeting.Mode.MANUAL)
    words_arrived(frame_request(make.member(by_hand), hint="a castle").pk)
    request = dispatch.next_request(painters=9)
    assert request is not None and request.deadline_s == 15
