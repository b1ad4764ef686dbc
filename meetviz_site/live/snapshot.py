"""`welcome` and `snapshot`: all that a client needs to draw the room from nothing."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from generation.dispatch import painting_now
from generation.selectors import recent_frames
from meetings.access import Membership
from meetings.models import Meeting
from meetings.selectors import meeting_dict, people_dicts, recent_captions, speaker_dict, speakers_of, stamp
from meetviz_site.fetching import may_fetch
from meetviz_site.live.limits import limits_dict
from meetviz_site.live.status_now import Hearing, live_status


def welcome(member: Membership) -> dict[str, Any]:
    return {
        "type": "welcome",
        "protocol": "meetviz.v1",
        "you": {
            "participant": member.participant.pk,
            "name": member.participant.name,
            "role": member.role,
            "can": {**member.can, "fetch_models": may_fetch(member)},
            "consent": {
                "transcribe": member.participant.consent_transcribe,
                "voice_id": member.participant.consent_voice_id,
                "keep": member.participant.consent_keep,
            },
        },
        "meeting": meeting_dict(member.meeting),
        "server_time": stamp(timezone.now()),
        "limits": limits_dict(),
    }


@transaction.atomic
def snapshot(meeting_id: int, hearing: Hearing) -> dict[str, Any]:
    """One consistent view: the revision is read first, so a change in between is sent again rather than missed."""
    meeting = Meeting.objects.select_related("preset").get(pk=meeting_id)
    return {
        "type": "snapshot",
        "rev": meeting.rev,
        "meeting": meeting_dict(meeting),
        "people": people_dicts(meeting.pk),
        "speakers": [speaker_dict(speaker) for speaker in speakers_of(meeting)],
        "captions": recent_captions(meeting),
        "frames": recent_frames(meeting),
        "painting": painting_now(meeting),
        "status": live_status(meeting, hearing).to_dict(),
    }
