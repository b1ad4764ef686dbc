"""What people do with frames: wish for one, cancel it, rate it, see it. What to paint and whose turn it is stands in
`dispatch.py`, what comes of it in `outcomes.py`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from generation.models import Frame, Rating
from generation.outcomes import IN_FLIGHT, frames_cancelled
from generation.selectors import rating_dict
from meetings.access import Membership
from meetings.events import FrameUpdated
from meetings.models import Meeting, Role
from meetings.publish import publish, raise_rev
from meetings.services import Refused

# How long a person's wish waits for words that are just being heard.
WORDS_GRACE = timedelta(seconds=2.5)


def frame_request(member: Membership, *, hint: str = "") -> Frame:
    """A person's wish for a picture now. One waits per meeting: a second wish refreshes the first. Raises Refused."""
    if not member.can["paint"]:
        raise Refused("not_allowed", _("You may watch this meeting, not paint in it."))
    hint = " ".join(str(hint).split())[:300]
    return frame_wish(member.meeting, forced=True, asked_by=member.participant.pk, hint=hint, grace=WORDS_GRACE)


@transaction.atomic
def frame_wish(
    meeting: Meeting, *, forced: bool, asked_by: int | None = None, hint: str = "", grace: timedelta = timedelta(0)
) -> Frame:
    """The meeting's one waiting frame, made or refreshed."""
    values: dict[str, Any] = {"not_before": timezone.now() + grace} if grace else {}
    if forced:
        values.update(forced=True, asked_by_id=asked_by)
    if hint:
        values["hint"] = hint
    waiting = Frame.objects.select_for_update().filter(meeting=meeting, state=Frame.State.WAITING).first()
    if waiting is None:
        try:
            with transaction.atomic():
                return Frame.objects.create(meeting=meeting, **values)
        except IntegrityError:  # somebody else wished at the same moment
            waiting = Frame.objects.select_for_update().get(meeting=meeting, state=Frame.State.WAITING)
    for name, value in values.items():
        setattr(waiting, name, value)
    waiting.save()
    return waiting


def words_arrived(frame_id: uuid.UUID) -> None:
    """Nothing more is being heard: a waiting frame need not wait any longer."""
    Frame.objects.filter(pk=frame_id, state=Frame.State.WAITING).update(not_before=timezone.now())


@transaction.atomic
def frame_cancel(member: Membership, frame_id: uuid.UUID) -> list[uuid.UUID]:
    """Take a picture back before it is there. The owner of the meeting may, and who asked for it.

    Returns the frames that a painter may be at work on, to be told. Raises Refused.
    """
    frame = Frame.objects.filter(pk=frame_id, meeting=member.meeting, state__in=IN_FLIGHT).first()
    if frame is None:
        raise Refused("unknown_frame", _("This picture is not being painted any more."))
    if member.role != Role.OWNER and not (member.can["paint"] and frame.asked_by_id == member.participant.pk):
        raise Refused("not_allowed", _("Only who asked for this picture, or the owner, may cancel it."))
    return frames_cancelled([frame], "cancelled")


@transaction.atomic
def frame_rate(member: Membership, frame_id: uuid.UUID, *, value: Any, note: str = "") -> None:
    """One rating of −1, 0 or 1 for each person and frame; 0 takes it back. Raises Refused."""
    if not member.can["rate"]:
        raise Refused("not_allowed", _("Only people of this meeting may rate its pictures."))
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
        raise Refused("bad_value", _("value must be a number from -1 to 1."))
    frame = Frame.objects.filter(pk=frame_id, meeting=member.meeting).first()
    if frame is None:
        raise Refused("unknown_frame", _("There is no such picture in this meeting."))
    Rating.objects.update_or_create(
        frame=frame, participant=member.participant, defaults={"value": round(value), "note": str(note)[:300]}
    )
    rev = raise_rev(frame.meeting_id)
    publish(frame.meeting_id, FrameUpdated(id=str(frame.pk), rev=rev, rating=rating_dict(frame), hidden=frame.hidden))


def frame_shown(member: Membership, frame_id: uuid.UUID) -> Mapping[str, float] | None:
    """The first screen that shows a picture closes its latency trace. Returns the trace, or None if it was closed."""
    frame = Frame.objects.filter(pk=frame_id, meeting=member.meeting, shown_at=None).first()
    if frame is None or frame.ready_at is None:
        return None
    now = timezone.now()
    shown_ms = round((now - frame.ready_at).total_seconds() * 1000, 1)
    timings = {**frame.timings_ms, "shown": shown_ms}
    Frame.objects.filter(pk=frame.pk, shown_at=None).update(shown_at=now, timings_ms=timings)
    return timings
