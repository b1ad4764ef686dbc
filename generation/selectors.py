"""Reads: frames as the live socket and the gallery show them."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet, Sum
from django.urls import reverse
from django.utils.translation import get_language

from generation.models import Frame, FrameSource
from meetings.events import FrameReady
from meetings.models import Meeting
from meetings.selectors import stamp

SNAPSHOT_FRAMES = 12


def with_sources(frames: QuerySet[Frame]) -> QuerySet[Frame]:
    """Along with the meeting and the quoted utterances with their speakers."""
    sources = FrameSource.objects.select_related("utterance__speaker")
    return frames.select_related("meeting").prefetch_related(Prefetch("sources", queryset=sources))


def frame_ready_event(frame: Frame) -> FrameReady:
    """A painted frame as everyone gets it. Expects `with_sources`."""
    quotes = [source.utterance for source in frame.sources.all() if source.utterance and source.utterance.text]
    speakers = {u.speaker.pk: u.speaker for u in quotes if u.speaker}
    language = get_language() or "en"
    alt = frame.alt.get(frame.meeting.language) or frame.alt.get(language[:2]) or frame.alt.get("en", "")
    # Browsers keep a picture under its address for good.
    edition = f"?v={frame.settings['edition']}" if frame.settings.get("edition", 1) > 1 else ""
    return FrameReady(
        id=str(frame.pk),
        rev=frame.rev,
        url=reverse("generation:image", args=[frame.meeting.slug, frame.pk]) + edition,
        thumb_url=reverse("generation:thumbnail", args=[frame.meeting.slug, frame.pk]) + edition,
        width=frame.width_px,
        height=frame.height_px,
        alt=alt,
        alts=frame.alt,
        prompt=frame.prompt,
        prompt_local=frame.prompt_local,
        why=[str(u.pk) for u in quotes],
        quotes=[
            {"utterance": str(u.pk), "text": u.text, "speaker": u.speaker.pk if u.speaker else None} for u in quotes
        ],
        speakers=[{"id": s.pk, "name": s.name, "color": s.colour} for s in speakers.values()],
        references=[],
        engine=frame.engine,
        seed=frame.seed,
        timings_ms=frame.timings_ms,
        ready_at=stamp(frame.ready_at) or "",
        styles=frame.styles,
        compromises=frame.settings.get("compromises", []),
    )


def recent_frames(meeting: Meeting, limit: int = SNAPSHOT_FRAMES) -> list[dict[str, Any]]:
    """The last pictures, oldest first."""
    ready = meeting.frames.filter(state=Frame.State.READY, hidden=False).order_by("-ready_at")[:limit]
    frames = with_sources(Frame.objects.filter(pk__in=[frame.pk for frame in ready])).order_by("ready_at")
    return [frame_ready_event(frame).to_dict() for frame in frames]


def rating_dict(frame: Frame) -> dict[str, int]:
    return {
        "sum": frame.ratings.aggregate(sum=Sum("value"))["sum"] or 0,
        "likes": frame.ratings.filter(value=1).count(),
        "dislikes": frame.ratings.filter(value=-1).count(),
    }
