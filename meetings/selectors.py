"""Reads: what the live socket and the pages show of a meeting. Every dict here is part of `docs/live-protocol.md`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from meetings.events import CaptionFinal, CaptionGap
from meetings.models import Meeting, Participant, Utterance
from speakers.models import Speaker

SNAPSHOT_CAPTIONS = 50
CONTEXT_UTTERANCES = 400


def stamp(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment else None


def meeting_dict(meeting: Meeting) -> dict[str, Any]:
    return {
        "slug": meeting.slug,
        "title": meeting.title,
        "language": meeting.language,
        "mode": meeting.mode,
        "interval": meeting.interval_s,
        "context_minutes": meeting.context_minutes,
        "paused": meeting.paused,
        "preset": meeting.preset_id,
        "created_at": stamp(meeting.created_at),
        "ended_at": stamp(meeting.ended_at),
        "rev": meeting.rev,
    }


def person_dict(participant: Participant, now: datetime) -> dict[str, Any]:
    return {
        "id": participant.pk,
        "name": participant.name,
        "role": participant.role,
        "online": bool(participant.connected_until and participant.connected_until > now),
    }


def people_dicts(meeting_id: int) -> list[dict[str, Any]]:
    """Everyone who is here, and everyone who ever spoke or has an account; passing viewers drop out."""
    now = timezone.now()
    people = Participant.objects.filter(meeting_id=meeting_id).filter(
        Q(connected_until__gt=now) | Q(user__isnull=False) | Q(streams__isnull=False)
    )
    return [person_dict(p, now) for p in people.distinct().order_by("pk")]


def speaker_dict(speaker: Speaker) -> dict[str, Any]:
    preset = speaker.preset
    return {
        "id": speaker.pk,
        "name": speaker.name,
        "color": speaker.colour,
        "guest": speaker.is_guest,
        "preset": {"id": preset.pk, "name": preset.name, "palette": preset.palette} if preset else None,
    }


def speaker_brief(speaker: Speaker) -> dict[str, Any]:
    """As an interim carries whoever was last heard on its stream."""
    return {"id": speaker.pk, "name": speaker.name, "color": speaker.colour}


def caption_event(utterance: Utterance) -> CaptionFinal | CaptionGap:
    """An utterance as the event that announces it: words or a gap. Expects `speaker` selected along."""
    common: dict[str, Any] = {
        "id": str(utterance.pk),
        "rev": utterance.rev,
        "stream": str(utterance.stream_id) if utterance.stream_id else None,
        "first_sample": utterance.first_sample,
        "last_sample": utterance.last_sample,
        "started_at": stamp(utterance.started_at),
        "ended_at": stamp(utterance.ended_at),
    }
    if utterance.kind == Utterance.Kind.GAP:
        return CaptionGap(**common, reason=utterance.reason)
    speaker = utterance.speaker
    return CaptionFinal(
        **common,
        text=utterance.text,
        text_en=utterance.text_en or None,
        language=utterance.language,
        speaker={
            "id": speaker.pk,
            "name": speaker.name,
            "color": speaker.colour,
            "confidence": round(utterance.speaker_confidence, 3),
            "state": utterance.speaker_state,
        }
        if speaker
        else None,
        words=utterance.words or None,
        timings_ms=utterance.timings_ms or None,
    )


def utterances_of(meeting: Meeting) -> QuerySet[Utterance]:
    return meeting.utterances.select_related("speaker")


def recent_captions(meeting: Meeting, limit: int = SNAPSHOT_CAPTIONS) -> list[dict[str, Any]]:
    """The last captions, oldest first."""
    seen = utterances_of(meeting).exclude(kind=Utterance.Kind.HELD)
    latest = list(seen.order_by("-started_at", "-first_sample")[:limit])
    return [caption_event(u).to_dict() for u in reversed(latest)]


def speakers_of(meeting: Meeting) -> list[Speaker]:
    """Everyone whose words are in the meeting, in the order in which they first spoke."""
    return list(
        Speaker.objects.filter(pk__in=meeting.utterances.exclude(speaker=None).values("speaker"))
        .select_related("preset")
        .order_by("pk")
    )


def context_utterances(meeting: Meeting, now: datetime) -> list[Utterance]:
    """The newest words of the last `context_minutes`, oldest first: all that a picture may come from."""
    since = now - timedelta(minutes=meeting.context_minutes)
    words = utterances_of(meeting).filter(kind=Utterance.Kind.WORDS, ended_at__gte=since)
    return list(words.order_by("-ended_at")[:CONTEXT_UTTERANCES])[::-1]
