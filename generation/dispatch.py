"""Which picture next: wishes become waiting rows, and a free painter gets the meeting painted longest ago.

What waits is a row in the database that newer words simply refresh; the prompt is written only when the row is claimed,
so the paint queue never holds stale work.
"""

from __future__ import annotations

import logging
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Max, OuterRef, Q, Subquery
from django.utils import timezone

from generation import director, leases, painter_choice
from generation.briefing import brief_of, signature_of
from generation.models import Frame, FrameSource
from generation.outcomes import failure_message, frame_failed, frame_skipped
from generation.prompting import count_words
from generation.services import frame_wish
from meetings.events import FrameQueued, FrameStarted
from meetings.models import Meeting, Utterance
from meetings.publish import publish
from meetings.selectors import context_utterances, stamp
from workers.messages import PaintRequest, Scene

log = logging.getLogger("meetviz.dispatch")

# Meetings in which nothing was said for this long need no look.
ACTIVE_FOR = timedelta(minutes=5)
BLOCKED = "blocked_picture"

_Seen = tuple[int, datetime, datetime | None]
_not_yet: dict[int, tuple[_Seen, float]] = {}
"""By meeting what was known of it when the director last said to wait, and until when (Unix seconds): every change of
its lines, settings and pictures that may bring the time forward changes that. A look costs half a dozen queries and
sometimes a composition, and is asked for twice a second."""


def situation_of(meeting: Meeting, now: float) -> director.Situation:
    """What the director needs to know of a meeting.

    A skipped frame has used up the words it looked at, but not the interval: the next words may paint at once. Not so
    a cancelled one: whoever cancels does not want the next at the same moment.
    """
    claimed = meeting.frames.exclude(claimed_at=None).order_by("-claimed_at")
    looked = claimed.first()
    last = claimed.exclude(Q(state=Frame.State.SKIPPED) & ~Q(error="cancelled")).first()
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
    brief = brief_of(meeting, fresh, last) if fresh else None
    before = signature_of(Scene.from_wire(last.scene))
    return bool(brief and before and director.topic_turned(before, brief.signature))


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
    not_yet = {}
    for meeting in meetings:
        seen = (meeting.rev, meeting.heard, meeting.claimed)
        before, due_at = _not_yet.get(meeting.pk, (None, 0.0))
        if before != seen or now.timestamp() >= due_at:
            situation = situation_of(meeting, now.timestamp())
            decision = director.decide(situation)
            if not situation.requested and decision is director.Decision.PAINT:
                frame_wish(meeting, forced=False)
                wishes += 1
            due_at = (director.next_due_at(situation) or 0.0) if decision is director.Decision.WAIT else 0.0
        if now.timestamp() < due_at:
            not_yet[meeting.pk] = seen, due_at
    _not_yet.clear()
    _not_yet.update(not_yet)
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
    lease_until = leases.lease_until(now)
    for frame in candidates.select_related("meeting")[:20]:
        try:
            with transaction.atomic():
                claimed = Frame.objects.filter(pk=frame.pk, state=Frame.State.WAITING).update(
                    state=Frame.State.PAINTING,
                    claimed_at=now,
                    lease_until=lease_until,
                    attempt=frame.attempt + 1,
                )
        except IntegrityError:  # the meeting got a painting frame in between
            continue
        if claimed:
            frame.refresh_from_db()
            return frame
    return None


def _prepare(frame: Frame, *, neutral: bool = False) -> PaintRequest | None:
    """Write the prompt from the freshest context; None (and a skipped frame) when there is nothing to paint.

    `neutral`: the picture before was held back by the checker.
    """
    meeting = frame.meeting
    start = time.perf_counter()
    utterances = context_utterances(meeting, timezone.now())
    last = meeting.frames.filter(state=Frame.State.READY).order_by("-ready_at").first()
    brief = None if meeting.ended_at else brief_of(meeting, utterances, last, hint=frame.hint, neutral=neutral)
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
        "model": painter_choice.chosen_model(),
        "deadline_s": deadline_s(meeting),
        "prompted_ms": round((time.perf_counter() - start) * 1000, 1),
        "heard_at": newest.heard_at.timestamp() if newest else None,
        "neutral": neutral,
        "compromises": ["neutral"] if brief.neutral else ["words_left_out"] if brief.blocked else [],
    }
    with transaction.atomic():
        held = Frame.objects.select_for_update().filter(pk=frame.pk, state=Frame.State.PAINTING, attempt=frame.attempt)
        if not held.exists():  # cancelled while the prompt was written
            return None
        frame.save()
        known = {str(u.pk) for u in utterances}
        frame.sources.all().delete()
        FrameSource.objects.bulk_create(
            FrameSource(frame=frame, utterance_id=uuid.UUID(pk), position=i)
            for i, pk in enumerate(pk for pk in brief.why if pk in known)
        )
        publish(meeting.pk, _started(frame, because=BLOCKED if neutral else None))
    return _request_of(frame)


def _started(frame: Frame, *, because: str | None) -> FrameStarted:
    return FrameStarted(
        id=str(frame.pk),
        # Nothing measured is no estimate.
        eta_s=leases.typical_picture_s() if leases.painting_times_s() else None,
        by=frame.asked_by_id,
        because=because,
        message=failure_message(because) if because else None,
    )


def deadline_s(meeting: Meeting) -> float:
    """How long a picture may take: what the site allows, and by itself no longer than to the next one."""
    most = float(settings.PAINT_DEADLINE_S)
    return min(most, director.interval(meeting.interval_s)) if meeting.mode == Meeting.Mode.AUTO else most


def _request_of(frame: Frame) -> PaintRequest:
    waiting = Frame.objects.filter(state=Frame.State.WAITING).exclude(pk=frame.pk)
    return PaintRequest(
        id=str(frame.pk),
        meeting=frame.meeting_id,
        prompt=frame.prompt,
        negative=frame.negative,
        scene=Scene.from_wire(frame.scene),
        seed=frame.seed,
        width_px=frame.settings["width_px"],
        height_px=frame.settings["height_px"],
        model=frame.settings["model"],
        previews=True,
        finish=not waiting.exists(),
        deadline_s=frame.settings["deadline_s"],
        attempt=frame.attempt,
        asked_at=time.time(),
    )


@dataclass(slots=True)
class Lost:
    """Frames whose painters are not heard of any more."""

    again: list[PaintRequest] = field(default_factory=list)
    given_up: list[uuid.UUID] = field(default_factory=list)


def expired_leases(*, hosts_answer: bool = True) -> Lost:
    """Free meetings whose painter is not heard of any more: once more, then a visible failure.

    `hosts_answer`: whether the heartbeat of any paint host is heard.
    """
    lost, now = Lost(), timezone.now()
    for frame in leases.overdue(now, hosts_answer=hosts_answer).select_related("meeting"):
        if frame.attempt >= leases.MAX_ATTEMPTS:
            frame_failed(frame.pk, "painter_lost")
            lost.given_up.append(frame.pk)
            continue
        taken = Frame.objects.filter(pk=frame.pk, state=Frame.State.PAINTING, lease_until=frame.lease_until).update(
            lease_until=leases.lease_until(now), attempt=frame.attempt + 1
        )
        if taken and frame.scene:
            frame.attempt += 1
            lost.again.append(_request_of(frame))
    return lost


def repaint_neutrally(frame_id: uuid.UUID) -> PaintRequest | None:
    """A picture was held back by the checker: ask at once for a neutral one of the same talk, and tell everyone why.

    Once for each frame; held back again, it fails.
    """
    frame = Frame.objects.select_related("meeting").filter(pk=frame_id, state=Frame.State.PAINTING).first()
    if frame is None:
        return None
    now = timezone.now()
    if frame.settings.get("neutral"):
        frame_failed(frame.pk, BLOCKED)
        return None
    taken = Frame.objects.filter(pk=frame.pk, state=Frame.State.PAINTING, attempt=frame.attempt).update(
        lease_until=leases.lease_until(now), attempt=frame.attempt + 1
    )
    if not taken:
        return None
    frame.refresh_from_db()
    return _prepare(frame, neutral=True)


def place_in_line(frame: Frame) -> FrameQueued:
    """Where a waiting frame stands and when it will be ready, by the measured time of recent pictures."""
    ahead = Frame.objects.filter(
        Q(state=Frame.State.PAINTING) | Q(state=Frame.State.WAITING, requested_at__lt=frame.requested_at)
    ).exclude(pk=frame.pk)
    position = ahead.count()
    eta_s = round((position + 1) * leases.typical_picture_s(), 1)
    return FrameQueued(id=str(frame.pk), position=position, eta_s=eta_s, by=frame.asked_by_id)


def painting_now(meeting: Meeting) -> dict[str, Any] | None:
    """The meeting's frame on its way, for who joins late: the one that a painter has, else the one that waits."""
    ways = meeting.frames.filter(state__in=[Frame.State.PAINTING, Frame.State.WAITING]).order_by("state")
    frame = ways.first()  # "painting" comes before "waiting"
    if frame is None:
        return None
    if frame.state == Frame.State.WAITING:
        # A wish of the clock is nothing to show: it is claimed, or skipped, at once.
        return {**place_in_line(frame).to_dict(), "state": "waiting"} if frame.forced else None
    told = _started(frame, because=None).to_dict()
    begun = frame.claimed_at or timezone.now()
    step = frame.settings.get("progress", {})
    steps = {name: step[name] for name in ("step", "steps") if name in step}
    return {**told, **steps, "state": "painting", "since": stamp(begun)}


def waiting_count() -> int:
    return Frame.objects.filter(state__in=[Frame.State.WAITING, Frame.State.PAINTING]).count()
