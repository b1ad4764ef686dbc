"""Which picture next: wishes become waiting rows, and a free painter gets the meeting painted longest ago.

What waits is a row in the database that newer words simply refresh; the prompt is written only when the row is claimed,
so the paint queue never holds stale work.
"""

from __future__ import annotations

import logging
import secrets
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Max, OuterRef, Q, Subquery
from django.utils import timezone

from generation import director
from generation.models import Frame, FrameSource
from generation.prompting import Brief, Line, Style, compose, count_words
from generation.services import frame_failed, frame_skipped, frame_wish
from meetings.events import FrameQueued, FrameStarted
from meetings.models import Meeting, Utterance
from meetings.publish import publish
from meetings.selectors import context_utterances
from speakers.models import StylePreset
from workers.messages import PaintRequest, Scene

log = logging.getLogger("meetviz.dispatch")

LEASE = timedelta(seconds=60)
MAX_ATTEMPTS = 2
# Meetings in which nothing was said for this long need no look.
ACTIVE_FOR = timedelta(minutes=5)
TYPICAL_PICTURE_S = 1.0


def situation_of(meeting: Meeting, now: float) -> director.Situation:
    """What the director needs to know of a meeting.

    A skipped frame has used up the words it looked at, but not the interval: the next words may paint at once.
    """
    claimed = meeting.frames.exclude(claimed_at=None).order_by("-claimed_at")
    looked = claimed.first()
    last = claimed.exclude(state=Frame.State.SKIPPED).first()
    words = meeting.utterances.filter(kind=Utterance.Kind.WORDS)
    fresh = words.filter(heard_at__gt=looked.claimed_at) if looked else words
    texts = list(fresh.order_by("-heard_at").values_list("text", "heard_at")[:50])
    states = set(
        meeting.frames.filter(state__in=[Frame.State.WAITING, Frame.State.PAINTING]).values_list("state", "forced")
    )
    return director.Situation(
        mode=meeting.mode,
        paused=meeting.paused,
        interval_s=float(meeting.interval_s),
        now=now,
        last_painted_at=last.claimed_at.timestamp() if last and last.claimed_at else None,
        last_heard_at=texts[0][1].timestamp() if texts else None,
        heard_since_painted=sum(count_words(text) for text, _at in texts),
        in_flight=any(state == Frame.State.PAINTING for state, _forced in states),
        requested=any(state == Frame.State.WAITING and forced for state, forced in states),
        topic_turned=_topic_turned(meeting, last, now) if texts else False,
    )


def _topic_turned(meeting: Meeting, last: Frame | None, now: float) -> bool:
    """Whether what was said since the last picture is about other things than it shows.

    Asked twice a second for every meeting, so it composes only while the answer can bring a picture forward: once the
    interval is over the picture is due anyway.
    """
    if last is None or not last.scene or last.claimed_at is None:
        return False
    if now >= last.claimed_at.timestamp() + director.interval(meeting.interval_s):
        return False
    fresh = [u for u in context_utterances(meeting, timezone.now()) if u.heard_at > last.claimed_at]
    brief = _compose(meeting, fresh, last, hint="") if fresh else None
    before = _signature(Scene.from_wire(last.scene))
    return bool(brief and before and director.topic_turned(before, brief.signature))


def _signature(scene: Scene) -> frozenset[str]:
    return frozenset(thing.english or thing.label for thing in scene.things)


def wish_where_due() -> int:
    """Let the director look at every meeting where something new was said; returns how many wishes came of it."""
    now = timezone.now()
    heard = Max("utterances__heard_at", filter=Q(utterances__kind=Utterance.Kind.WORDS))
    meetings = (
        Meeting.objects.filter(ended_at=None, paused=False, mode=Meeting.Mode.AUTO)
        .annotate(heard=heard, claimed=_last_claimed_at("pk"))
        .filter(heard__gt=now - ACTIVE_FOR)
        .filter(Q(claimed=None) | Q(heard__gt=F("claimed")))
    )
    wishes = 0
    for meeting in meetings:
        situation = situation_of(meeting, now.timestamp())
        if not situation.requested and director.decide(situation) is director.Decision.PAINT:
            frame_wish(meeting, forced=False)
            wishes += 1
    return wishes


def _last_claimed_at(meeting: str) -> Subquery:
    """When the newest frame of the outer query's meeting was claimed; NULL before the first."""
    claimed = Frame.objects.filter(meeting=OuterRef(meeting)).exclude(claimed_at=None)
    return Subquery(claimed.order_by("-claimed_at").values("claimed_at")[:1])


def next_request(*, painters: int) -> PaintRequest | None:
    """Claim the waiting frame whose meeting was painted longest ago, and write its prompt now.

    `painters`: how many pictures may be in flight in all. None when nothing waits or every painter is busy.
    """
    while True:
        frame = _claim(painters)
        if frame is None:
            return None
        request = _prepare(frame)
        if request is not None:
            return request


def _claim(painters: int) -> Frame | None:
    """Move one row from waiting to painting; the UPDATE decides between several dispatchers."""
    now = timezone.now()
    if Frame.objects.filter(state=Frame.State.PAINTING).count() >= painters:
        return None
    candidates = (
        Frame.objects.filter(state=Frame.State.WAITING, not_before__lte=now)
        .exclude(meeting__frames__state=Frame.State.PAINTING)
        .annotate(meeting_painted=_last_claimed_at("meeting"))
        .order_by(F("meeting_painted").asc(nulls_first=True), "requested_at")
    )
    for frame in candidates.select_related("meeting")[:20]:
        try:
            with transaction.atomic():
                claimed = Frame.objects.filter(pk=frame.pk, state=Frame.State.WAITING).update(
                    state=Frame.State.PAINTING, claimed_at=now, lease_until=now + LEASE, attempt=frame.attempt + 1
                )
        except IntegrityError:  # the meeting got a painting frame in between
            continue
        if claimed:
            frame.refresh_from_db()
            return frame
    return None


def _prepare(frame: Frame) -> PaintRequest | None:
    """Write the prompt from the freshest context; None (and a skipped frame) when there is nothing to paint."""
    meeting = frame.meeting
    start = time.perf_counter()
    utterances = context_utterances(meeting, timezone.now())
    last = meeting.frames.filter(state=Frame.State.READY).order_by("-ready_at").first()
    brief = _compose(meeting, utterances, last, hint=frame.hint) if not meeting.ended_at else None
    if brief is None:
        frame_skipped(frame, "meeting_ended" if meeting.ended_at else "nothing_to_paint")
        return None
    newest = utterances[-1] if utterances else None
    frame.scene = brief.scene.to_wire()
    frame.prompt, frame.prompt_local, frame.negative = brief.prompt, brief.prompt_local, brief.negative
    frame.alt, frame.styles = dict(brief.alt), list(brief.style_shares)
    frame.seed = secrets.randbelow(2**31)
    frame.newest_words_at = newest.ended_at if newest else None
    frame.settings = {
        "width_px": settings.PICTURE_WIDTH_PX,
        "height_px": settings.PICTURE_HEIGHT_PX,
        "prompted_ms": round((time.perf_counter() - start) * 1000, 1),
        "heard_at": newest.heard_at.timestamp() if newest else None,
    }
    with transaction.atomic():
        frame.save()
        known = {str(u.pk) for u in utterances}
        FrameSource.objects.bulk_create(
            FrameSource(frame=frame, utterance_id=uuid.UUID(pk), position=i)
            for i, pk in enumerate(pk for pk in brief.why if pk in known)
        )
        publish(meeting.pk, FrameStarted(id=str(frame.pk), eta_s=typical_picture_s()))
    return _request_of(frame)


def _request_of(frame: Frame) -> PaintRequest:
    return PaintRequest(
        id=str(frame.pk),
        meeting=frame.meeting_id,
        prompt=frame.prompt,
        negative=frame.negative,
        scene=Scene.from_wire(frame.scene),
        seed=frame.seed,
        width_px=frame.settings["width_px"],
        height_px=frame.settings["height_px"],
        attempt=frame.attempt,
        asked_at=time.time(),
    )


def _compose(meeting: Meeting, utterances: Sequence[Utterance], last: Frame | None, *, hint: str) -> Brief | None:
    lines = [
        Line(
            utterance=str(u.pk),
            text=u.text,
            language=u.language,
            speaker=str(u.speaker_id or ""),
            ended_at=u.ended_at.timestamp(),
            duration_s=(u.ended_at - u.started_at).total_seconds(),
            text_en=u.text_en,
        )
        for u in utterances
    ]
    language = meeting.language if meeting.language != "auto" else (utterances[-1].language if utterances else "en")
    brief = compose(
        lines,
        _styles(meeting, utterances),
        now=time.time(),
        window_s=meeting.context_minutes * 60.0,
        language=language,
        previous=Scene.from_wire(last.scene) if last and last.scene else None,
        number=meeting.frames.filter(state=Frame.State.READY).count(),
        hint=hint,
        since=last.claimed_at.timestamp() if last and last.claimed_at else None,
    )
    if brief and last:
        brief.scene.previous_layout = last.settings.get("layout", "")
    return brief


def _styles(meeting: Meeting, utterances: Sequence[Utterance]) -> dict[str, Style]:
    """Each speaker's preset, or the room's over all."""
    presets = {
        p.pk: p for p in StylePreset.objects.filter(speakers__in={u.speaker_id for u in utterances if u.speaker_id})
    }
    styles = {}
    for speaker in {u.speaker_id: u.speaker for u in utterances if u.speaker}.values():
        preset = meeting.preset or presets.get(speaker.preset_id)
        styles[str(speaker.pk)] = Style(
            speaker=str(speaker.pk),
            name=preset.name if preset else "",
            colour=speaker.colour,
            palette=_texts(preset.palette) if preset else (),
            style_words=preset.style_words if preset else "",
            negative_words=preset.negative_words if preset else "",
            strength=preset.strength if preset else 0.0,
            muted=_texts(preset.muted_topics) if preset else (),
            version=preset.version if preset else 0,
        )
    return styles


def _texts(values: Any) -> tuple[str, ...]:
    """The texts of a JSON field, whatever else got into it: one odd preset must not stop every meeting's painting."""
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


def expired_leases() -> list[PaintRequest]:
    """Free meetings whose painter never answered: once more, then a visible failure."""
    again = []
    for frame in Frame.objects.filter(state=Frame.State.PAINTING, lease_until__lt=timezone.now()):
        if frame.attempt >= MAX_ATTEMPTS:
            frame_failed(frame.pk, "painter_lost")
            continue
        until = timezone.now() + LEASE
        taken = Frame.objects.filter(pk=frame.pk, lease_until=frame.lease_until).update(
            lease_until=until, attempt=frame.attempt + 1
        )
        if taken and frame.scene:
            frame.attempt += 1
            again.append(_request_of(frame))
    return again


def place_in_line(frame: Frame) -> FrameQueued:
    """Where a waiting frame stands and when it will be ready, by the measured time of recent pictures."""
    ahead = Frame.objects.filter(
        Q(state=Frame.State.PAINTING) | Q(state=Frame.State.WAITING, requested_at__lt=frame.requested_at)
    ).exclude(pk=frame.pk)
    position = ahead.count()
    return FrameQueued(id=str(frame.pk), position=position, eta_s=round((position + 1) * typical_picture_s(), 1))


def typical_picture_s() -> float:
    """Median time of the last pictures of this site, s."""
    recent = (
        Frame.objects.filter(state=Frame.State.READY).order_by("-ready_at").values_list("timings_ms", flat=True)[:9]
    )
    times = sorted((t.get("painted", 0.0) + t.get("stored", 0.0)) / 1000 for t in recent)
    return round(times[len(times) // 2], 2) if times else TYPICAL_PICTURE_S


def waiting_count() -> int:
    return Frame.objects.filter(state__in=[Frame.State.WAITING, Frame.State.PAINTING]).count()
