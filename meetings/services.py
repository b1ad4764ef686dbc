"""Changes to meetings. Each is one transaction; what everyone must see is published from inside it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from meetings.access import Membership, clean_name
from meetings.announce import line_changed, meeting_lock
from meetings.attribution import own_speaker
from meetings.events import MeetingUpdated, Presence
from meetings.models import AudioStream, Language, Meeting, Participant, Utterance
from meetings.publish import publish, raise_rev, signal
from meetings.selectors import meeting_dict, people_dicts
from meetings.voices import voices_erase
from workers.messages import SAMPLE_RATE_HZ, EnglishResult

CONNECTED_FOR = timedelta(seconds=45)
# A result that overlaps what is already durable by more than this has been heard before (a replay after a restart
# cuts at slightly other places than the first time).
REPLAY_SLACK_SAMPLES = SAMPLE_RATE_HZ // 4


class Refused(Exception):
    """A wish that cannot be granted: `code` for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def meeting_create(*, owner: Any, title: str, language: str = Language.AUTO, **values: Any) -> Meeting:
    return Meeting.objects.create(
        owner=owner,
        title=clean_name(title)[:120] or "MeetViz",
        language=language,
        interval_s=values.pop("interval_s", settings.PAINT_INTERVAL_S),
        context_minutes=values.pop("context_minutes", settings.CONTEXT_MINUTES),
        retention_days=values.pop("retention_days", settings.RETENTION_DAYS),
        **values,
    )


@transaction.atomic
def meeting_end(meeting: Meeting) -> None:
    """Close the meeting for good: what is in hand is still written down, sockets close with 4410."""
    if Meeting.objects.filter(pk=meeting.pk, ended_at=None).update(ended_at=timezone.now()):
        _meeting_changed(meeting)
        signal(meeting.pk, "ended")


@transaction.atomic
def invites_void(meeting: Meeting) -> None:
    """No invite so far opens the meeting any more, and who came by one is out: sessions, tokens and open sockets."""
    Meeting.objects.filter(pk=meeting.pk).update(invites_version=F("invites_version") + 1)
    meeting.refresh_from_db(fields=["invites_version"])
    signal(meeting.pk, "invites_void", version=meeting.invites_version)


@transaction.atomic
def settings_change(member: Membership, wishes: Mapping[str, Any]) -> None:
    """Mode, interval, preset or pause, as `settings.change` asks. Raises Refused, changing nothing, for a bad value."""
    from speakers.models import StylePreset

    if not member.can["settings"]:
        raise Refused("not_allowed", _("Only the owner may change the settings of this meeting."))
    changes: dict[str, Any] = {}
    if "mode" in wishes:
        if wishes["mode"] not in Meeting.Mode.values:
            raise Refused("bad_value", _("mode must be auto, suggest or manual."))
        changes["mode"] = wishes["mode"]
    if "interval" in wishes:
        interval = wishes["interval"]
        if isinstance(interval, bool) or not isinstance(interval, int | float) or not 10 <= interval <= 20:
            raise Refused("bad_value", _("interval must be a number of seconds from 10 to 20."))
        changes["interval_s"] = round(interval)
    if "paused" in wishes:
        if not isinstance(wishes["paused"], bool):
            raise Refused("bad_value", _("paused must be true or false."))
        changes["paused"] = wishes["paused"]
    if "preset" in wishes:
        preset = wishes["preset"]
        if preset is not None and (
            isinstance(preset, bool)
            or not isinstance(preset, int)
            or (
                not StylePreset.objects.filter(pk=preset, owner__in=[member.meeting.owner_id]).exists()
                and not StylePreset.objects.filter(pk=preset, owner=None).exists()
            )
        ):
            raise Refused("bad_value", _("There is no such preset."))
        changes["preset_id"] = preset
    if changes:
        Meeting.objects.filter(pk=member.meeting.pk).update(**changes)
        _meeting_changed(member.meeting)


def _meeting_changed(meeting: Meeting) -> None:
    rev = raise_rev(meeting.pk)
    fresh = Meeting.objects.get(pk=meeting.pk)
    publish(meeting.pk, MeetingUpdated(rev=rev, meeting=meeting_dict(fresh)))


@transaction.atomic
def consent_record(participant: Participant, consent: Mapping[str, Any], name: str = "") -> None:
    """What someone agreed to at the door. Only `true` counts as a yes; what was taken back ends everywhere at once."""
    # The meeting first, as whoever writes lines: no voice is stored behind the back of a consent that is taken back.
    meeting_lock(participant.meeting_id)
    before = Participant.objects.select_for_update().get(pk=participant.pk)
    participant.consent_transcribe = consent.get("transcribe") is True
    participant.consent_voice_id = consent.get("voice_id") is True
    participant.consent_keep = consent.get("keep") is True
    participant.consented_at = timezone.now()
    if clean_name(name):
        participant.name = clean_name(name)
    # Not the rest: what a socket knows of its person may be older than what the admin says since.
    consents = ["consent_transcribe", "consent_voice_id", "consent_keep", "consented_at"]
    participant.save(update_fields=[*consents, "name"])
    if not participant.consent_voice_id:
        voices_forget(participant)
    now = (participant.consent_transcribe, participant.consent_voice_id)
    if (before.consent_transcribe and not now[0]) or (before.consent_voice_id and not now[1]):
        signal(participant.meeting_id, "consent", participant=participant.pk, transcribe=now[0], voice_id=now[1])


@transaction.atomic
def voices_forget(participant: Participant) -> None:
    """Without consent nothing is known of voices at a person's microphones: from now on it is they who speak there."""
    voices_erase(participant)
    streams = AudioStream.objects.filter(participant=participant)
    if streams.exclude(speaker=None).exists():
        streams.update(speaker=own_speaker(participant))


def name_record(participant: Participant, name: str) -> None:
    """How someone who agreed to nothing new wants to be called."""
    if clean_name(name):
        participant.name = clean_name(name)
        participant.save(update_fields=["name"])


@transaction.atomic
def presence_touch(meeting_id: int, participants: list[int], *, left: list[int] = ()) -> None:  # type: ignore[assignment]
    """Keep people's places warm; announce it when somebody came or went."""
    now = timezone.now()
    fresh = Participant.objects.filter(meeting_id=meeting_id)
    came = fresh.filter(pk__in=participants).exclude(connected_until__gt=now).exists()
    fresh.filter(pk__in=participants).update(connected_until=now + CONNECTED_FOR)
    went = fresh.filter(pk__in=left).update(connected_until=None) if left else 0
    if came or went:
        publish(meeting_id, Presence(people=people_dicts(meeting_id)))


@transaction.atomic
def stream_open(member: Membership, stream_id: uuid.UUID, *, language: str = "", label: str = "") -> AudioStream:
    """Open or resume a stream. Raises Refused when it may not, or when the uuid belongs to somebody else."""
    if not member.can["speak"]:
        raise Refused("not_allowed", _("You may watch this meeting, not speak in it. Ask for an invite to speak."))
    participant = Participant.objects.get(pk=member.participant.pk)
    if not participant.consent_transcribe:
        raise Refused("consent_required", _("Audio needs your consent to transcription: send `consent` in `hello`."))
    if language and language not in Language.values:
        raise Refused("bad_value", _("language must be en, ru or auto."))
    stream, created = (
        AudioStream.objects.select_for_update(of=("self",))
        .select_related("participant")
        .get_or_create(
            pk=stream_id,
            defaults={
                "meeting": member.meeting,
                "participant": participant,
                "language": language or member.meeting.language,
                "label": clean_name(label)[:120],
            },
        )
    )
    if not created and (stream.meeting_id != member.meeting.pk or stream.participant_id != participant.pk):
        raise Refused("stream_taken", _("This stream id is in use by somebody else: choose a new uuid."))
    stream.closed_at = None
    stream.openings += 1
    stream.save(update_fields=["closed_at", "openings"])
    return stream


def silence_settle(positions: Mapping[uuid.UUID, int]) -> set[uuid.UUID]:
    """Make judged silence durable; returns the streams of which that is true now. A stream whose words are being stored
    at this moment is left for the next time: hundreds of others need not wait for it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH p AS (SELECT * FROM unnest(%s::uuid[], %s::bigint[]) AS p(id, next_sample)),"
            " free AS (SELECT s.id FROM meetings_audiostream AS s JOIN p USING (id) FOR NO KEY UPDATE OF s SKIP LOCKED)"
            " UPDATE meetings_audiostream AS s SET next_sample = GREATEST(s.next_sample, p.next_sample)"
            " FROM p JOIN free USING (id) WHERE s.id = p.id RETURNING s.id",
            [list(positions), list(positions.values())],
        )
        return {row[0] for row in cursor.fetchall()}


def streams_advance(positions: Mapping[uuid.UUID, int]) -> None:
    """Raise `next_sample` of streams in one statement, never lowering it."""
    if not positions:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE meetings_audiostream AS s SET next_sample = GREATEST(s.next_sample, p.next_sample)"
            " FROM unnest(%s::uuid[], %s::bigint[]) AS p(id, next_sample) WHERE s.id = p.id",
            [list(positions), list(positions.values())],
        )


def stream_close(stream_id: uuid.UUID, next_sample: int) -> None:
    streams_advance({stream_id: next_sample})
    AudioStream.objects.filter(pk=stream_id).update(closed_at=timezone.now())


@transaction.atomic
def gap_store(
    stream_id: uuid.UUID, *, first_sample: int, last_sample: int, reason: str, started_at: float, ended_at: float
) -> None:
    """Write down that a stretch of audio has no words and never will; it counts as settled."""
    meeting_lock(AudioStream.objects.values_list("meeting", flat=True).get(pk=stream_id))
    stream = AudioStream.objects.select_for_update(no_key=True).get(pk=stream_id)
    if first_sample < stream.next_sample - REPLAY_SLACK_SAMPLES:
        return
    _utterance, created = Utterance.objects.get_or_create(
        stream=stream,
        first_sample=first_sample,
        defaults={
            "meeting_id": stream.meeting_id,
            "kind": Utterance.Kind.GAP,
            "last_sample": last_sample,
            "reason": reason,
            "started_at": moment(started_at),
            "ended_at": moment(ended_at),
        },
    )
    stream_settle(stream, last_sample)
    if created:
        line_changed(_utterance)


@transaction.atomic
def english_store(result: EnglishResult) -> None:
    """What an utterance says, in English: for prompts, and for whoever reads along."""
    utterance = Utterance.objects.select_related("speaker").filter(pk=uuid.UUID(result.id), text_en="").first()
    if utterance is not None and result.text_en:
        utterance.text_en = result.text_en
        utterance.save(update_fields=["text_en"])
        line_changed(utterance)


def stream_settle(stream: AudioStream, last_sample: int, **heard: Any) -> None:
    """Everything before `last_sample` has its outcome. `heard`: `text` (its end), `language`, `language_probability`
    where there were words."""
    streams_advance({stream.pk: last_sample})
    signal(stream.meeting_id, "settled", stream=str(stream.pk), last_sample=last_sample, **heard)


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, tz=timezone.get_default_timezone())
