"""Telling everyone of lines and speakers that changed: each event with a revision of its own, a bounded number."""

from __future__ import annotations

from collections.abc import Iterable

from meetings.events import SpeakerUpdated
from meetings.models import Meeting, Utterance
from meetings.publish import publish, raise_rev
from meetings.selectors import caption_event, speaker_dict
from speakers.models import Speaker

# Of lines that change at once only the newest are sent again: older ones follow their speaker's `speaker.updated`,
# and are right in the next snapshot.
MOST_LINES = 50


def line_changed(utterance: Utterance) -> None:
    """A line is new or another; expects `speaker` selected along."""
    utterance.rev = raise_rev(utterance.meeting_id)
    Utterance.objects.filter(pk=utterance.pk).update(rev=utterance.rev)
    publish(utterance.meeting_id, caption_event(utterance))


def lines_changed(meeting_id: int, utterances: Iterable[Utterance], *, most: int = MOST_LINES) -> None:
    """The newest of these lines of one meeting again, oldest first; expects `speaker` selected along."""
    newest = sorted(utterances, key=lambda u: (u.started_at, u.first_sample))[-most:]
    if not newest:
        return
    first = raise_rev(meeting_id, len(newest)) - len(newest) + 1
    for rev, utterance in enumerate(newest, first):
        utterance.rev = rev
    Utterance.objects.bulk_update(newest, ["rev"])
    for utterance in newest:
        publish(meeting_id, caption_event(utterance))


def lines_of_speaker_changed(speaker: Speaker, meeting_id: int) -> None:
    """Everything the speaker said in a meeting, as it is now."""
    said = Utterance.objects.filter(meeting_id=meeting_id, speaker=speaker, kind=Utterance.Kind.WORDS)
    lines_changed(meeting_id, said.select_related("speaker").order_by("-started_at")[:MOST_LINES])


def speaker_changed(speaker: Speaker, meeting_id: int, *, merged_from: int | None = None) -> None:
    event = SpeakerUpdated(rev=raise_rev(meeting_id), speaker=speaker_dict(speaker), merged_from=merged_from)
    publish(meeting_id, event)


def open_meetings(*speakers: Speaker) -> list[int]:
    """Where people may be looking at words of these speakers, locked against changes that interleave with ours.

    Always taken in the same order, and before anything of a meeting: two changes can wait for each other, not forever.
    """
    here = Utterance.objects.filter(speaker__in=speakers).values("meeting")
    meetings = Meeting.objects.select_for_update(no_key=True).filter(ended_at=None, pk__in=here).order_by("pk")
    return list(meetings.values_list("pk", flat=True))


def meeting_lock(meeting_id: int) -> bool:
    """Keep other writers of this meeting's lines waiting until our transaction ends; False when it is gone."""
    return Meeting.objects.select_for_update(no_key=True).filter(pk=meeting_id).values_list("pk").first() is not None
