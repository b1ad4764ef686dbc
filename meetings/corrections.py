"""What people say about who speaks: whose line it is, what somebody is called, who are one, who are two, who is to be
forgotten. Their word stands: what they confirmed is never changed by a machine, and it teaches the voiceprints.

Each is one transaction. A guest of the meeting may speak only of those who spoke in it, its owner of all they know.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import transaction
from django.utils.translation import gettext as _

from meetings.access import Membership, clean_name
from meetings.announce import (
    line_changed,
    lines_changed,
    lines_of_speaker_changed,
    meeting_lock,
    open_meetings,
    speaker_changed,
)
from meetings.attribution import (
    UNKNOWN_VOICE,
    Attribution,
    by_voice,
    guest_name,
    named_speaker,
    new_guest,
    state_of,
)
from meetings.merging import speakers_join
from meetings.models import AudioStream, HeardVoice, Meeting, Role, Utterance
from meetings.services import Refused
from meetings.voices import embedding_of, heard_in, voices_give
from speakers.calibration import thresholds_for
from speakers.enrolment import speaker_called
from speakers.models import Consent, Speaker
from speakers.services import speaker_now, speaker_rename, voice_delete, voices_score

MOST_LINES_TO_SPLIT = 100
SURE = 1.0
"""A person said so."""


@transaction.atomic
def caption_assign(member: Membership, utterance_id: uuid.UUID, *, speaker_id: int | None, new_name: str) -> None:
    """A person says whose line it is: a speaker whom they may name, or a name for whoever it is now.

    `new_name` for a guest names that guest everywhere; for a speaker who already has a name it gives only this line to
    the speaker of that name, who is made if there is none. Raises Refused.
    """
    _may_say(member)
    utterance = _line(member, utterance_id)
    name = clean_name(new_name)
    if speaker_id is None and not name:
        raise Refused("bad_value", _("Give `speaker` or a `new_name` that is not empty."))
    if speaker_id is None and utterance.speaker and utterance.speaker.is_guest:
        speaker = _name_guest(member, utterance.speaker, name)
    else:
        if speaker_id is not None:
            speaker = _speaker(member, speaker_id)
        else:
            speaker = _called(member, name) or named_speaker(member.meeting, name)
        speaker_changed(speaker, utterance.meeting_id)
    _give([utterance], speaker)
    line_changed(utterance)


@transaction.atomic
def caption_confirm(member: Membership, utterance_id: uuid.UUID, *, yes: bool) -> None:
    """A person answers the question mark of a line. No: never again this speaker for this line. Raises Refused."""
    _may_say(member)
    utterance = _line(member, utterance_id)
    if utterance.speaker is None:
        raise Refused("unknown_speaker", _("This line has no speaker to confirm: say whose it is."))
    if yes:
        _give([utterance], utterance.speaker)
    else:
        _deny(member, utterance)
    line_changed(utterance)


@transaction.atomic
def speaker_call(member: Membership, speaker_id: int, name: str) -> None:
    """A person says what somebody is called. Raises Refused.

    A guest who gets the name of a speaker that exists becomes that speaker, unless both voices are known and clearly
    differ. Somebody with a name cannot take the name of another.
    """
    _may_say(member)
    speaker, name = _speaker(member, speaker_id), clean_name(name)
    if not name:
        raise Refused("bad_value", _("Give a `name` that is not empty."))
    if speaker.is_guest:
        _name_guest(member, speaker, name)
        return
    namesake = _called(member, name)
    if namesake is not None and namesake.pk != speaker.pk:
        message = _("There is a speaker called %(name)s already: merge the two, or choose another name.")
        raise Refused("name_taken", message % {"name": namesake.name})
    meetings = open_meetings(speaker)
    speaker_rename(speaker, name)
    for meeting_id in meetings:
        speaker_changed(speaker, meeting_id)


@transaction.atomic
def speaker_name(speaker: Speaker, name: str) -> None:
    """The name and with it the end of being a guest, for the lines so far and everyone who looks at them right now."""
    meetings = open_meetings(speaker)
    speaker_rename(speaker, name)
    Utterance.objects.filter(speaker=speaker, speaker_state=Utterance.SpeakerState.GUEST).update(
        speaker_state=Utterance.SpeakerState.KNOWN
    )
    for meeting_id in meetings:
        speaker_changed(speaker, meeting_id)
        lines_of_speaker_changed(speaker, meeting_id)


@transaction.atomic
def speakers_merge(member: Membership, speaker_id: int, into_id: int) -> None:
    """A person says that two speakers are one. Of a guest and a named one the named one stays. Raises Refused."""
    _may_say(member)
    speaker, into = _speaker(member, speaker_id), _speaker(member, into_id)
    if speaker.pk == into.pk:
        raise Refused("bad_value", _("These two are one speaker already."))
    if into.is_guest and not speaker.is_guest:
        speaker, into = into, speaker
    open_meetings(speaker, into)
    speakers_join(speaker, into)


@transaction.atomic
def lines_split(member: Membership, utterance_ids: Sequence[uuid.UUID], new_name: str = "") -> Speaker:
    """A person says that these lines are somebody else's: a new guest's, or those of whoever is called `new_name`.

    Raises Refused, changing nothing, when one of the lines is not there.
    """
    _may_say(member)
    wanted = list(dict.fromkeys(utterance_ids))
    if not 1 <= len(wanted) <= MOST_LINES_TO_SPLIT:
        message = _("Give from 1 to %(most)d lines in `utterances`.") % {"most": MOST_LINES_TO_SPLIT}
        raise Refused("bad_value", message)
    if len(_lines(member.meeting, wanted)) != len(wanted):
        raise Refused("unknown_utterance", _("There is no such line in this meeting."))
    name = clean_name(new_name)
    speaker = (_called(member, name) or named_speaker(member.meeting, name)) if name else None
    return lines_leave(member.meeting, wanted, speaker)


@transaction.atomic
def lines_leave(meeting: Meeting, utterance_ids: Sequence[uuid.UUID], to: Speaker | None = None) -> Speaker:
    """These lines of a meeting were never their speaker's: they are somebody else's (None: a new guest's)."""
    lines = _lines(meeting, utterance_ids)
    speaker = to or new_guest(meeting)
    for utterance in lines:
        _note_denial(utterance, utterance.speaker)
    _give(lines, speaker)
    speaker_changed(speaker, meeting.pk)
    # All of them: nothing else tells the room that these lines left their speaker.
    lines_changed(meeting.pk, lines, most=MOST_LINES_TO_SPLIT)
    return speaker


@transaction.atomic
def speaker_forget(member: Membership, speaker_id: int) -> None:
    """Nothing stays of somebody's voice nor of their name. Raises Refused."""
    _may_say(member)
    speaker_erase(_speaker(member, speaker_id), member.meeting)


@transaction.atomic
def speaker_erase(speaker: Speaker, meeting: Meeting | None = None) -> None:
    """Voiceprints and the voices of lines go, the consent ends, and the person is a fresh "Guest n" (as `meeting`
    counts, or the last in which they spoke) on all lines."""
    meetings = open_meetings(speaker)
    newest = speaker.utterances.select_related("meeting").order_by("-started_at").first()
    meeting = meeting or (newest.meeting if newest else None)
    name = guest_name(meeting) if meeting else str(_("Guest"))
    # Whoever was merged into them was the same person.
    for same in [speaker, *Speaker.objects.filter(merged_into=speaker)]:
        # There may have been nothing to agree to yet: withdrawn it is all the same, so that nothing is learned later.
        Consent.objects.get_or_create(speaker=same, kind=Consent.Kind.VOICE_ID, withdrawn_at=None)
        voice_delete(same)
        same.enrolments.all().delete()
        same.name, same.is_guest, same.user = name, True, None
        same.save(update_fields=["name", "is_guest", "user"])
    Utterance.objects.filter(speaker=speaker).update(speaker_state=Utterance.SpeakerState.GUEST)
    for meeting_id in meetings:
        speaker_changed(speaker, meeting_id)
        lines_of_speaker_changed(speaker, meeting_id)


# What all of them share


def _may_say(member: Membership) -> None:
    if not member.can["assign"]:
        raise Refused("not_allowed", _("Only people who speak in this meeting may name its speakers."))


def _line(member: Membership, utterance_id: uuid.UUID) -> Utterance:
    lines = _lines(member.meeting, [utterance_id])
    if not lines:
        raise Refused("unknown_utterance", _("There is no such line in this meeting."))
    return lines[0]


def _lines(meeting: Meeting, utterance_ids: Sequence[uuid.UUID]) -> list[Utterance]:
    """Lines of this meeting with words, locked after the meeting itself as whoever writes them does."""
    meeting_lock(meeting.pk)
    found = Utterance.objects.select_for_update(of=("self",), no_key=True).filter(
        pk__in=utterance_ids, meeting=meeting, kind=Utterance.Kind.WORDS
    )
    return list(found.select_related("speaker__preset", "stream__participant").order_by("started_at"))


def _speaker(member: Membership, speaker_id: int) -> Speaker:
    """Someone this person may name, whoever they turned out to be meanwhile. A guest chooses among who spoke here: the
    others are people of meetings that the guest may not see, and their names would come back with the answer."""
    speaker = speaker_now(speaker_id)
    if speaker is None or speaker.owner_id != member.meeting.owner_id or not _within_reach(member, speaker):
        raise Refused("unknown_speaker", _("There is no such speaker."))
    return speaker


def _within_reach(member: Membership, speaker: Speaker) -> bool:
    return member.role == Role.OWNER or Utterance.objects.filter(meeting=member.meeting, speaker=speaker).exists()


def _called(member: Membership, name: str) -> Speaker | None:
    """The speaker of this name whom this person may know about."""
    if member.role == Role.OWNER:
        return speaker_called(owner_id=member.meeting.owner_id, name=name)
    here = Utterance.objects.filter(meeting=member.meeting, speaker__name__iexact=name).values("speaker")
    return Speaker.objects.filter(pk__in=here).select_related("preset").order_by("is_guest", "pk").first()


def _name_guest(member: Membership, guest: Speaker, name: str) -> Speaker:
    """The guest under this name, in every open meeting: as somebody who is there already, or with the name alone."""
    namesake = _called(member, name)
    if namesake is not None and namesake.pk != guest.pk and not _clearly_differ(guest, namesake):
        open_meetings(guest, namesake)
        if namesake.is_guest:
            speaker_rename(namesake, name)
        speakers_join(guest, namesake)
        return namesake
    speaker_name(guest, name)
    return guest


def _clearly_differ(one: Speaker, other: Speaker) -> bool:
    """Two people of one name: what is known of their voices is as unlike as a new voice is to everybody."""
    scored = voices_score(one, other)
    return scored is not None and scored[0] < thresholds_for(scored[1]).lower


def _give(lines: Sequence[Utterance], speaker: Speaker) -> None:
    """Lines are somebody's because a person says so: confirmed, and learned from where there is consent."""
    for utterance in lines:
        utterance.speaker, utterance.speaker_state = speaker, state_of(speaker)
        utterance.speaker_confidence, utterance.speaker_confirmed = SURE, True
        utterance.not_speakers = [pk for pk in utterance.not_speakers if pk != speaker.pk]
    fields = ["speaker", "speaker_confidence", "speaker_state", "speaker_confirmed", "not_speakers"]
    Utterance.objects.bulk_update(lines, fields)
    voices_give(heard_in(lines), speaker)
    for utterance in lines:
        _stream_follows(utterance)


def _stream_follows(utterance: Utterance) -> None:
    """What comes next on a stream and cannot be told by voice goes to whoever its last line is by."""
    if utterance.stream_id is None:
        return
    later = Utterance.objects.filter(stream=utterance.stream_id, first_sample__gt=utterance.first_sample)
    if not later.filter(kind=Utterance.Kind.WORDS).exists():
        AudioStream.objects.filter(pk=utterance.stream_id).update(speaker=utterance.speaker)


def _deny(member: Membership, utterance: Utterance) -> None:
    """It is not who it says: the line goes to the next most alike voice, or to somebody new."""
    _note_denial(utterance, utterance.speaker)
    voices = heard_in([utterance])
    who = _next_best(member, utterance, voices[0]) if voices else None
    somebody_new = who is None
    if who is None:
        guest = new_guest(member.meeting)
        who = Attribution(guest, UNKNOWN_VOICE, state_of(guest))
        speaker_changed(guest, utterance.meeting_id)
    utterance.speaker, utterance.speaker_state = who.speaker, who.state
    utterance.speaker_confidence, utterance.speaker_confirmed = who.confidence, False
    fields = ["speaker", "speaker_state", "speaker_confidence", "speaker_confirmed", "not_speakers"]
    utterance.save(update_fields=fields)
    voices_give(voices, who.speaker, teach=somebody_new)
    _stream_follows(utterance)


def _next_best(member: Membership, utterance: Utterance, heard: HeardVoice) -> Attribution | None:
    if utterance.stream is None:
        return None
    utterance.stream.meeting = member.meeting
    who = by_voice(utterance.stream, embedding_of(heard), besides=utterance.not_speakers)
    return who if who and _within_reach(member, who.speaker) else None


def _note_denial(utterance: Utterance, speaker: Speaker | None) -> None:
    """Not saved yet: whoever calls changes more of the line."""
    if speaker is not None and speaker.pk not in utterance.not_speakers:
        utterance.not_speakers = [*utterance.not_speakers, speaker.pk]
