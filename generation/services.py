"""Changes to frames: wishes, outcomes, ratings. What to paint and whose turn it is stands in `dispatch.py`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from generation.models import Frame, Rating
from generation.selectors import frame_ready_event, rating_dict, with_sources
from meetings.access import Membership
from meetings.events import FrameFailed, FrameProgress, FrameSkipped, FrameUpdated
from meetings.models import Meeting
from meetings.publish import publish, raise_rev
from meetings.services import Refused
from workers.messages import PaintProgress, PaintResult

# How long a person's wish waits for words that are just being heard.
WORDS_GRACE = timedelta(seconds=2.5)
PREVIEW = re.compile(r"data:image/(jpeg|png|webp);base64,[A-Za-z0-9+/=]{1,200000}")
MOST_PICTURE_BYTES = 16 * 2**20


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


def frame_progress(progress: PaintProgress) -> None:
    """A step of a frame that is being painted, told to its own meeting; whatever else a host sends is dropped."""
    if not Frame.objects.filter(pk=progress.id, meeting=progress.meeting, state=Frame.State.PAINTING).exists():
        return
    preview = progress.preview if PREVIEW.fullmatch(progress.preview) else None
    publish(progress.meeting, FrameProgress(id=progress.id, step=progress.step, steps=progress.steps, preview=preview))


def frame_painted(result: PaintResult) -> Frame | None:
    """Store a picture and show it; idempotent. None when the frame is not waiting for it any more.

    The files are written before the transaction that names them: a crash between leaves a stray file, never a row
    without its picture.
    """
    frame = Frame.objects.select_related("meeting").filter(pk=uuid.UUID(result.id), meeting=result.meeting).first()
    if frame is None or frame.state != Frame.State.PAINTING:
        return None
    if not (_is_webp(result.image) and _is_webp(result.thumbnail)):
        frame_failed(frame.pk, "engine_failed")
        return None
    storage = frame.image.storage
    image_name = storage.save(frame.image.field.generate_filename(frame, f"{frame.pk}.webp"), ContentFile(result.image))
    thumb_name = storage.save(
        frame.thumbnail.field.generate_filename(frame, f"{frame.pk}.thumb.webp"), ContentFile(result.thumbnail)
    )
    now = timezone.now()
    with transaction.atomic():
        rev = raise_rev(frame.meeting_id)
        claimed = Frame.objects.filter(pk=frame.pk, state=Frame.State.PAINTING).update(
            state=Frame.State.READY,
            image=image_name,
            thumbnail=thumb_name,
            width_px=result.width_px,
            height_px=result.height_px,
            seed=result.seed,
            settings={**frame.settings, "layout": result.layout},
            engine=result.engine.to_wire() if result.engine else {},
            timings_ms=_timings(frame, result, now.timestamp()),
            ready_at=now,
            lease_until=None,
            rev=rev,
        )
        if claimed:
            frame = with_sources(Frame.objects.filter(pk=frame.pk)).get()
            publish(frame.meeting_id, frame_ready_event(frame))
    if not claimed:
        storage.delete(image_name)
        storage.delete(thumb_name)
        return None
    return frame


def _timings(frame: Frame, result: PaintResult, stored_at: float) -> dict[str, float]:
    """The latency trace of a picture, ms. `total` counts from the end of its newest words to the stored picture."""
    spoken = frame.newest_words_at.timestamp() if frame.newest_words_at else None
    claimed = frame.claimed_at.timestamp() if frame.claimed_at else result.started_at
    heard = frame.settings.get("heard_at")
    timings = {
        "waited": (result.started_at - claimed) * 1000,
        "prompted": frame.settings.get("prompted_ms", 0.0),
        "painted": (result.painted_at - result.started_at) * 1000,
        "stored": (stored_at - result.painted_at) * 1000,
        "total": (stored_at - (spoken or claimed)) * 1000,
    }
    if heard and spoken:
        timings["heard"] = (heard - spoken) * 1000
        timings["waited"] += (claimed - heard) * 1000
    return {name: round(max(0.0, value), 1) for name, value in timings.items()}


def _is_webp(data: bytes) -> bool:
    """By its first bytes: it is handed to browsers as it came, as WebP and nothing else, and never opened here."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) <= MOST_PICTURE_BYTES


@transaction.atomic
def frame_failed(frame_id: uuid.UUID, error: str) -> None:
    """The picture could not be painted: everyone learns why, the last picture stays."""
    frame = Frame.objects.select_for_update().filter(pk=frame_id, state=Frame.State.PAINTING).first()
    if frame is None:
        return
    frame.state, frame.error, frame.lease_until = Frame.State.FAILED, error, None
    frame.save(update_fields=["state", "error", "lease_until"])
    publish(frame.meeting_id, FrameFailed(id=str(frame.pk), reason=error, message=failure_message(error)))


@transaction.atomic
def frame_skipped(frame: Frame, reason: str) -> None:
    """There is nothing to paint from; only a person's wish is worth an answer."""
    Frame.objects.filter(pk=frame.pk).update(state=Frame.State.SKIPPED, error=reason, lease_until=None)
    if frame.forced:
        publish(frame.meeting_id, FrameSkipped(id=str(frame.pk), reason=reason, message=failure_message(reason)))


def failure_message(code: str) -> str:
    """What a code means for a person, in the active language."""
    messages = {
        "nothing_to_paint": _("Nothing has been said yet that could be painted. Say something, or type what to paint."),
        "out_of_memory": _("The painter ran out of memory. The last picture stays; a smaller size will help."),
        "model_missing": _("The painter's model is not on its host. The last picture stays."),
        "black_picture": _("The painter gave an empty picture twice. The last picture stays."),
        "engine_missing": _("The painter's software is not installed on its host. The last picture stays."),
        "bad_setting": _("The painter's host is set up wrongly; its log says how. The last picture stays."),
        "blocked_picture": _("The picture was held back by the safety checker. The last picture stays."),
        "painter_lost": _("No painter answered in time. The last picture stays; press Paint now to try again."),
        "meeting_ended": _("The meeting has ended."),
    }
    return messages.get(code) or _("The painter failed. The last picture stays; press Paint now to try again.")


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
