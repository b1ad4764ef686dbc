"""What becomes of a frame that is being painted: progress, a picture, a better edition of it, or why there is none."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any

from django.core.files.base import ContentFile
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from generation import leases
from generation.models import Frame
from generation.selectors import frame_ready_event, with_sources
from meetings.events import FrameFailed, FrameProgress, FrameSkipped
from meetings.publish import publish, raise_rev
from workers.messages import PaintProgress, PaintResult

PREVIEW = re.compile(r"data:image/(jpeg|png|webp);base64,[A-Za-z0-9+/=]{1,200000}")
MOST_PICTURE_BYTES = 16 * 2**20
CODE = re.compile(r"[a-z0-9_]{1,40}")
MOST_COMPROMISES = 12
IN_FLIGHT = (Frame.State.WAITING, Frame.State.PAINTING)


def frame_progress(progress: PaintProgress) -> None:
    """A step of a frame that is being painted: it renews the lease, stays for who joins late, and is told to its own
    meeting. Whatever else a host sends is dropped."""
    now = timezone.now()
    painting = Frame.objects.filter(pk=progress.id, meeting=progress.meeting, state=Frame.State.PAINTING)
    frame = painting.first()
    if frame is None or not 0 < progress.step <= progress.steps:
        return
    step = {"step": progress.step, "steps": progress.steps, "at": now.timestamp()}
    if not painting.filter(attempt=frame.attempt).update(
        lease_until=leases.renewed(frame, now), settings={**frame.settings, "progress": step}
    ):
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
    if not _has_pictures(result):
        frame_failed(frame.pk, "engine_failed")
        return None
    image_name, thumb_name = _save_files(frame, result)
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
            settings=_settings(frame, result),
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
        _delete_files(frame, image_name, thumb_name)
        return None
    return frame


def frame_improved(result: PaintResult) -> Frame | None:
    """Put a better edition in the place of a picture that is on the wall; None, changing nothing, where that is not so.

    Once for each picture, never a smaller one, never one that somebody hid. The address changes with the edition, for
    browsers keep what they have under the old one; its files go once nobody is told of them any more.
    """
    frame = Frame.objects.filter(pk=uuid.UUID(result.id), meeting=result.meeting).first()
    if frame is None or not _may_improve(frame, result) or not _has_pictures(result):
        return None
    names = _save_files(frame, result)
    with transaction.atomic():
        rev = raise_rev(frame.meeting_id)
        frame = with_sources(Frame.objects.select_for_update(of=("self",)).filter(pk=frame.pk)).get()
        improved = _may_improve(frame, result)
        if improved:
            before = frame.image.name, frame.thumbnail.name
            frame.image.name, frame.thumbnail.name = names
            frame.width_px, frame.height_px, frame.rev = result.width_px, result.height_px, rev
            frame.settings = {**frame.settings, "edition": 2}
            finished_ms = max(0.0, (result.painted_at - result.started_at) * 1000)
            frame.timings_ms = {**frame.timings_ms, "finished": round(finished_ms, 1)}
            frame.save(update_fields=["image", "thumbnail", "width_px", "height_px", "rev", "settings", "timings_ms"])
            publish(frame.meeting_id, frame_ready_event(frame))
            transaction.on_commit(lambda: _delete_files(frame, *before))
    if not improved:
        _delete_files(frame, *names)
        return None
    return frame


def _may_improve(frame: Frame, result: PaintResult) -> bool:
    return (
        frame.state == Frame.State.READY
        and not frame.hidden
        and bool(frame.image)
        and frame.settings.get("edition", 1) == 1
        and result.width_px >= frame.width_px
        and result.height_px >= frame.height_px
    )


def _save_files(frame: Frame, result: PaintResult) -> tuple[str, str]:
    """Names of the picture and its thumbnail; what has such a name already stays."""
    storage = frame.image.storage
    image_name = storage.save(frame.image.field.generate_filename(frame, f"{frame.pk}.webp"), ContentFile(result.image))
    thumb_name = storage.save(
        frame.thumbnail.field.generate_filename(frame, f"{frame.pk}.thumb.webp"), ContentFile(result.thumbnail)
    )
    return image_name, thumb_name


def _delete_files(frame: Frame, *names: str) -> None:
    for name in names:
        frame.image.storage.delete(name)


def _settings(frame: Frame, result: PaintResult) -> dict[str, Any]:
    kept = {name: value for name, value in frame.settings.items() if name != "progress"}
    painters = [code for code in result.compromises if isinstance(code, str) and CODE.fullmatch(code)]
    compromises = list(dict.fromkeys([*kept.get("compromises", []), *painters]))[:MOST_COMPROMISES]
    return {**kept, "layout": result.layout, "steps": result.steps, "compromises": compromises}


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


def _has_pictures(result: PaintResult) -> bool:
    return _is_webp(result.image) and _is_webp(result.thumbnail)


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


@transaction.atomic
def frames_cancelled(frames: Iterable[Frame], reason: str) -> list[uuid.UUID]:
    """These are not wanted any more, whoever paints them: everyone is told. Returns those that a painter may have; what
    it still sends changes nothing."""
    painted = []
    for frame in frames:
        state = frame.state
        if not Frame.objects.filter(pk=frame.pk, state=state, state__in=IN_FLIGHT).update(
            state=Frame.State.SKIPPED, error=reason, lease_until=None
        ):
            continue  # ready, or cancelled by somebody else, at the same moment
        publish(frame.meeting_id, FrameSkipped(id=str(frame.pk), reason=reason, message=failure_message(reason)))
        if state == Frame.State.PAINTING:
            painted.append(frame.pk)
    return painted


def frames_end_with_meetings() -> list[uuid.UUID]:
    """Cancel what is still to be painted for meetings that have ended; returns as `frames_cancelled`."""
    return frames_cancelled(Frame.objects.filter(state__in=IN_FLIGHT).exclude(meeting__ended_at=None), "meeting_ended")


def failure_message(code: str) -> str:
    """What a code means for a person, in the active language."""
    messages = {
        "nothing_to_paint": _("Nothing has been said yet that could be painted. Say something, or type what to paint."),
        "out_of_memory": _("The painter ran out of memory. The last picture stays; a smaller size will help."),
        "model_missing": _("The painter's model is not on its host. The last picture stays."),
        "black_picture": _("The painter gave an empty picture twice. The last picture stays."),
        "engine_missing": _("The painter's software is not installed on its host. The last picture stays."),
        "bad_setting": _("The painter's host is set up wrongly; its log says how. The last picture stays."),
        "bad_reference": _("A reference could not be used by the painter. The last picture stays."),
        "blocked_picture": _("The picture was held back by the safety checker. The last picture stays."),
        "painter_lost": _("No painter answered in time. The last picture stays; press Paint now to try again."),
        "cancelled": _("Painting was cancelled. The last picture stays."),
        "meeting_ended": _("The meeting has ended."),
    }
    return messages.get(code) or _("The painter failed. The last picture stays; press Paint now to try again.")
