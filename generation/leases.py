"""How long a painter may be silent, from what pictures took lately: a slow one is left alone, a dead one is noticed.

A lease runs from the claim and begins anew with every step that the painter reports. Who lets it run out twice has
lost the picture (`painter_lost`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from generation.models import Frame

LEAST = timedelta(seconds=60)
COLD = timedelta(minutes=5)
"""Before the first picture of a painter: gigabytes are read from a slow disk, perhaps moved to a card and compiled."""
MOST = timedelta(minutes=9)
"""Below the broker's own patience (`workers.app.VISIBILITY_TIMEOUT_S`): after it the task is delivered once more."""
PATIENCE = 4.0
"""A picture or a step may take this many times as long as the slowest lately."""
WARM_FOR = timedelta(minutes=15)
"""A painter that gave a picture so lately has its model loaded."""
MAX_ATTEMPTS = 2
MEASURED = 9
"""Pictures that times are taken from."""
TYPICAL_PICTURE_S = 1.0
"""Before anything was measured."""


def painting_times_s() -> list[float]:
    """What the last pictures of the painter now at work took from its start to the stored file, newest first."""
    recent = list(
        Frame.objects.filter(state=Frame.State.READY)
        .order_by("-ready_at")
        .values_list("timings_ms", "engine")[:MEASURED]
    )
    if not recent:
        return []
    model = recent[0][1].get("model")
    return [
        (t.get("painted", 0.0) + t.get("stored", 0.0)) / 1000 for t, engine in recent if engine.get("model") == model
    ]


def typical_picture_s() -> float:
    """Median time of the last pictures of this site, s."""
    times = sorted(painting_times_s())
    return round(times[len(times) // 2], 2) if times else TYPICAL_PICTURE_S


def lease_until(now: datetime) -> datetime:
    """For a picture that is asked for now."""
    times = painting_times_s()
    warm = Frame.objects.filter(state=Frame.State.READY, ready_at__gt=now - WARM_FOR).exists()
    if not times or not warm:
        return now + COLD
    return now + _patience(max(times))


def renewed(frame: Frame, now: datetime) -> datetime:
    """For a picture of which a step was just reported: at least as long again as the step before took."""
    last_sign = frame.settings.get("progress", {}).get("at") or (frame.claimed_at or now).timestamp()
    silent_s = max(0.0, now.timestamp() - last_sign)
    return now + _patience(max([silent_s, *painting_times_s()]))


def _patience(longest_s: float) -> timedelta:
    return min(MOST, max(LEAST, timedelta(seconds=PATIENCE * longest_s)))


def overdue(now: datetime, *, hosts_answer: bool) -> QuerySet[Frame]:
    """Frames whose painter is not heard of any more.

    `hosts_answer`: whether any paint host lets its heartbeat be heard; without one nobody need wait for a long lease.
    """
    late = Q(lease_until__lt=now)
    if not hosts_answer:
        late |= Q(claimed_at__lt=now - LEAST, attempt=1) & ~Q(settings__has_key="progress")
    return Frame.objects.filter(late, state=Frame.State.PAINTING)
