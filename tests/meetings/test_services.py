"""What is written down, once: utterances, gaps, positions; captions corrected, settings changed, streams opened."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from meetings.corrections import caption_assign
from meetings.lines import utterance_store
from meetings.models import AudioStream, Meeting, Participant, Role, Utterance
from meetings.selectors import context_utterances, people_dicts, recent_captions
from meetings.services import (
    Refused,
    consent_record,
    gap_store,
    meeting_create,
    meeting_end,
    presence_touch,
    settings_change,
    stream_close,
    stream_open,
    streams_advance,
)
from speakers.models import Speaker, StylePreset
from tests import factories as make
from tests.listening import Listener
from workers.messages import SAMPLE_RATE_HZ

pytestmark = pytest.mark.django_db


def lines_of(meeting: Meeting) -> list[str]:
    return list(meeting.utterances.order_by("first_sample").values_list("text", flat=True))


def durable_s(stream: AudioStream) -> float:
    stream.refresh_from_db()
    return stream.next_sample / SAMPLE_RATE_HZ


def rev_of(meeting: Meeting) -> int:
    return Meeting.objects.values_list("rev", flat=True).get(pk=meeting.pk)


def gap(stream: AudioStream, first_s: float, last_s: float, reason: str = "missing") -> None:
    gap_store(
        stream.pk,
        first_sample=round(first_s * SAMPLE_RATE_HZ),
        last_sample=round(last_s * SAMPLE_RATE_HZ),
        reason=reason,
        started_at=time.time() - last_s + first_s,
        ended_at=time.time(),
    )


# Utterances


def test_what_was_heard_is_stored_settled_and_shown(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    result = make.speech_result(stream, "The old house by the river")
    with published(meeting) as events:
        stored = utterance_store(result)
    assert stored is not None and str(stored.pk) == result.id
    assert durable_s(stream) == 3.0
    (caption,) = events.of_type("caption.final")
    assert caption["id"] == result.id
    assert caption["text"] == "The old house by the river"
    assert (caption["stream"], caption["first_sample"], caption["last_sample"]) == (str(stream.pk), 0, 48_000)
    assert caption["speaker"]["name"] == "Anna"
    assert caption["words"][0] == {"text": "The", "start_ms": 0, "end_ms": 180}
    assert caption["rev"] == rev_of(meeting)
    (signal,) = events.signals
    assert (signal["kind"], signal["stream"], signal["last_sample"]) == ("settled", str(stream.pk), 48_000)


def test_the_same_result_twice_changes_nothing(published: Listener) -> None:
    meeting = make.meeting()
    result = make.speech_result(make.stream(meeting), sounds=make.voice(1))
    utterance_store(result)
    before = Utterance.objects.values().get(), Speaker.objects.get().voiceprints.values().get(), rev_of(meeting)
    with published(meeting) as events:
        assert utterance_store(result) is None
    assert (
        Utterance.objects.values().get(),
        Speaker.objects.get().voiceprints.values().get(),
        rev_of(meeting),
    ) == before
    assert events == []
    assert [signal["kind"] for signal in events.signals] == ["settled"]  # whoever waits for it may go on


def test_what_is_heard_again_after_a_replay_is_known_even_when_cut_at_other_places() -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    utterance_store(make.speech_result(stream, "one two three", first_s=1.0, last_s=4.0))
    assert utterance_store(make.speech_result(stream, "one two", first_s=1.03, last_s=3.2)) is None
    assert utterance_store(make.speech_result(stream, "two three", first_s=2.0, last_s=4.02)) is None
    assert lines_of(meeting) == ["one two three"]


def test_what_follows_directly_is_new_even_when_it_begins_a_moment_before_the_end() -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    utterance_store(make.speech_result(stream, "one", first_s=0.0, last_s=3.0))
    assert utterance_store(make.speech_result(stream, "two", first_s=2.9, last_s=5.0)) is not None
    assert lines_of(meeting) == ["one", "two"]
    assert durable_s(stream) == 5.0


def test_a_result_of_an_erased_stream_is_forgotten(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    result = make.speech_result(stream)
    stream.delete()
    with published(meeting) as events:
        assert utterance_store(result) is None
    assert not Utterance.objects.exists() and events == [] and events.signals == []


def test_a_result_that_names_another_meetings_stream_is_not_stored() -> None:
    here, there = make.meeting(), make.meeting()
    result = make.speech_result(make.stream(there), meeting=here.pk)
    assert utterance_store(result) is None
    assert not Utterance.objects.exists()


def test_nothing_heard_is_settled_without_a_line(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    with published(meeting) as events:
        assert utterance_store(make.speech_result(stream, "")) is None
    assert durable_s(stream) == 3.0
    assert not Utterance.objects.exists() and events == [] and rev_of(meeting) == 0


def test_an_error_of_the_engine_becomes_a_visible_gap_once(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    result = make.speech_result(stream, error="language_unsupported")
    with published(meeting) as events:
        utterance_store(result)
        utterance_store(result)
    (caption,) = events
    assert (caption["type"], caption["reason"]) == ("caption.gap", "language_unsupported")
    assert durable_s(stream) == 3.0


def test_every_change_raises_the_revision_by_one_and_carries_it(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    with published(meeting) as events:
        for number in range(4):
            utterance_store(make.speech_result(stream, f"line {number}", first_s=3.0 * number))
        gap(stream, 12.0, 13.0)
    assert [event["rev"] for event in events] == list(range(1, len(events) + 1))
    assert events.types == ["speaker.updated", *["caption.final"] * 4, "caption.gap"]
    assert [event["text"] for event in events.of_type("caption.final")] == [f"line {n}" for n in range(4)]


@pytest.mark.django_db(transaction=True)
def test_the_same_result_from_two_workers_at_once_is_stored_once() -> None:
    meeting = make.meeting()
    result = make.speech_result(make.stream(meeting), sounds=make.voice(1))
    start, stored = threading.Barrier(4), []

    def work() -> None:
        start.wait(10)
        stored.append(utterance_store(result))
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(stored) == 4 and sum(utterance is not None for utterance in stored) == 1
    assert Utterance.objects.count() == 1 and Speaker.objects.count() == 1


# Gaps and positions


def test_a_gap_is_stored_once_and_counts_as_settled(published: Listener) -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    with published(meeting) as events:
        gap(stream, 0.0, 2.0)
        gap(stream, 0.0, 2.0)
    (caption,) = events
    assert (caption["reason"], caption["first_sample"], caption["last_sample"]) == ("missing", 0, 32_000)
    assert durable_s(stream) == 2.0


def test_a_gap_never_covers_words_that_are_there() -> None:
    stream = make.stream(make.meeting())
    utterance_store(make.speech_result(stream, "one", last_s=3.0))
    gap(stream, 0.0, 3.0, "not_heard")
    assert Utterance.objects.get().kind == Utterance.Kind.WORDS


def test_words_that_come_after_their_gap_was_written_change_nothing() -> None:
    stream = make.stream(make.meeting())
    gap(stream, 0.0, 3.0, "not_heard")
    assert utterance_store(make.speech_result(stream, "late", last_s=3.0)) is None
    assert Utterance.objects.get().kind == Utterance.Kind.GAP


def test_positions_only_rise() -> None:
    meeting = make.meeting()
    one, two, three = (make.stream(meeting, next_sample=1000) for _ in range(3))
    streams_advance({one.pk: 500, two.pk: 4000, uuid.uuid4(): 10})
    streams_advance({})
    for stream in (one, two, three):
        stream.refresh_from_db()
    assert [stream.next_sample for stream in (one, two, three)] == [1000, 4000, 1000]


def test_a_position_may_be_as_large_as_the_protocol_allows() -> None:
    stream = make.stream(make.meeting())
    streams_advance({stream.pk: 2**63 - 1})
    stream.refresh_from_db()
    assert stream.next_sample == 2**63 - 1


def test_closing_a_stream_settles_its_end() -> None:
    stream = make.stream(make.meeting())
    stream_close(stream.pk, 5000)
    stream.refresh_from_db()
    assert stream.next_sample == 5000 and stream.closed_at is not None


# Opening streams


def test_a_stream_opens_with_the_meetings_language_and_resumes_where_it_is_durable() -> None:
    member, uid = make.member(make.meeting(language="en")), uuid.uuid4()
    opened = stream_open(member, uid, label="  Desk\x00 mic ")
    assert (opened.language, opened.label, opened.next_sample) == ("en", "Desk mic", 0)
    streams_advance({uid: 4800})
    stream_close(uid, 4800)
    again = stream_open(member, uid)
    assert (again.pk, again.next_sample, again.closed_at) == (uid, 4800, None)


def test_viewers_may_not_open_streams() -> None:
    with pytest.raises(Refused) as refused:
        stream_open(make.member(make.meeting(), role=Role.VIEWER), uuid.uuid4())
    assert refused.value.code == "not_allowed"


def test_without_consent_nothing_is_opened() -> None:
    with pytest.raises(Refused) as refused:
        stream_open(make.member(make.meeting(), consent_transcribe=False), uuid.uuid4())
    assert refused.value.code == "consent_required"
    assert not AudioStream.objects.exists()


def test_a_stream_of_someone_else_cannot_be_taken() -> None:
    meeting = make.meeting()
    uid = make.stream(meeting, make.participant(meeting, "Robert")).pk
    for other in (make.member(meeting, "Anna"), make.member(make.meeting(meeting.owner), "Robert")):
        with pytest.raises(Refused) as refused:
            stream_open(other, uid)
        assert refused.value.code == "stream_taken"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        stream_open(make.member(make.meeting()), uuid.uuid4(), language="tlh")
    assert refused.value.code == "bad_value"


def test_only_true_is_a_yes() -> None:
    anna = make.participant(make.meeting(), consent_transcribe=False, consent_voice_id=False)
    consent_record(anna, {"transcribe": "true", "voice_id": 1, "keep": None}, "")
    anna.refresh_from_db()
    assert not (anna.consent_transcribe or anna.consent_voice_id or anna.consent_keep)
    consent_record(anna, {"transcribe": True}, "  Anna  Maria ")
    anna.refresh_from_db()
    assert (anna.consent_transcribe, anna.consent_voice_id, anna.name) == (True, False, "Anna Maria")


# Whose line it is


def line_by_guest(meeting: Meeting) -> Utterance:
    guest = make.speaker(meeting.owner, "Guest 1", is_guest=True)
    line = make.utterance(meeting, said_by=guest)
    Utterance.objects.filter(pk=line.pk).update(speaker_state=Utterance.SpeakerState.GUEST)
    line.refresh_from_db()
    return line


def test_a_name_for_a_guest_names_that_guest_everywhere(published: Listener) -> None:
    meeting = make.meeting()
    line = line_by_guest(meeting)
    other = make.utterance(meeting, said_by=line.speaker)
    Utterance.objects.filter(pk=other.pk).update(speaker_state=Utterance.SpeakerState.GUEST)
    with published(meeting) as events:
        caption_assign(make.member(meeting), line.pk, speaker_id=None, new_name="  Maria ")
    line.refresh_from_db()
    other.refresh_from_db()
    assert line.speaker_id == other.speaker_id
    assert (line.speaker.name, line.speaker.is_guest) == ("Maria", False)
    assert line.speaker_confirmed and not other.speaker_confirmed
    assert other.speaker_state == Utterance.SpeakerState.KNOWN
    assert events[0]["type"] == "speaker.updated" and events[0]["speaker"]["name"] == "Maria"
    assert {event["id"] for event in events.of_type("caption.final")} == {str(line.pk), str(other.pk)}
    assert events[-1]["id"] == str(line.pk)
    assert events[-1]["speaker"] == {**events[-1]["speaker"], "name": "Maria", "confidence": 1.0, "state": "known"}


def test_a_new_name_for_someone_known_makes_a_new_speaker_and_leaves_the_other() -> None:
    meeting = make.meeting()
    line = make.utterance(meeting, said_by=make.speaker(meeting.owner, "Anna"))
    caption_assign(make.member(meeting), line.pk, speaker_id=None, new_name="Maria")
    line.refresh_from_db()
    assert line.speaker.name == "Maria"
    assert sorted(Speaker.objects.values_list("name", flat=True)) == ["Anna", "Maria"]
    assert len(set(Speaker.objects.values_list("colour", flat=True))) == 2


def test_a_line_can_be_given_to_another_speaker() -> None:
    meeting = make.meeting()
    line, robert = make.utterance(meeting), make.speaker(meeting.owner, "Robert")
    caption_assign(make.member(meeting, role=Role.OWNER), line.pk, speaker_id=robert.pk, new_name="")
    line.refresh_from_db()
    assert line.speaker == robert and line.speaker_confidence == 1.0


@pytest.mark.parametrize(
    "case", ["viewer", "other meeting", "gap", "no such line", "stranger's speaker", "huge", "no name"]
)
def test_what_may_not_be_assigned_is_refused_and_changes_nothing(case: str, published: Listener) -> None:
    meeting = make.meeting()
    line = line_by_guest(meeting)
    member, target, speaker, name = make.member(meeting), line.pk, None, "Maria"
    if case == "viewer":
        member, code = make.member(meeting, role=Role.VIEWER), "not_allowed"
    elif case == "other meeting":
        member, code = make.member(make.meeting(meeting.owner)), "unknown_utterance"
    elif case == "gap":
        Utterance.objects.filter(pk=line.pk).update(kind=Utterance.Kind.GAP)
        code = "unknown_utterance"
    elif case == "no such line":
        target, code = uuid.uuid4(), "unknown_utterance"
    elif case == "stranger's speaker":
        speaker, code = make.speaker(make.user()).pk, "unknown_speaker"
    elif case == "huge":
        speaker, code = 10**40, "unknown_speaker"
    else:
        name, code = " \n ", "bad_value"
    before = Utterance.objects.values().get(pk=line.pk)
    with published(meeting) as events, pytest.raises(Refused) as refused:
        caption_assign(member, target, speaker_id=speaker, new_name=name)
    assert refused.value.code == code
    assert Utterance.objects.values().get(pk=line.pk) == before
    assert not Speaker.objects.filter(name="Maria").exists()
    assert events == [] and rev_of(meeting) == 0


# Settings and the end


def test_settings_change_and_everyone_hears_of_it(published: Listener) -> None:
    meeting = make.meeting()
    preset = StylePreset.objects.filter(owner=None).first()
    assert preset is not None
    wishes = {"mode": "manual", "interval": 19.6, "paused": True, "preset": preset.pk, "unknown": 1}
    with published(meeting) as events:
        settings_change(make.member(meeting), wishes)
    (event,) = events
    told = event["meeting"]
    assert (event["type"], event["rev"]) == ("meeting.updated", 1)
    assert (told["mode"], told["interval"], told["paused"], told["preset"]) == ("manual", 20, True, preset.pk)
    settings_change(make.member(meeting), {"preset": None, "paused": False})
    meeting.refresh_from_db()
    assert meeting.preset is None and meeting.paused is False and meeting.mode == "manual"


@pytest.mark.parametrize(
    "bad",
    [
        {"mode": "loud"}, {"mode": None}, {"mode": ["auto"]}, {"interval": 9.9}, {"interval": 21}, {"interval": "12"},
        {"interval": True}, {"interval": float("nan")}, {"interval": float("inf")}, {"interval": None}, {"paused": 1},
        {"paused": "no"}, {"preset": -1}, {"preset": True}, {"preset": "1"}, {"preset": 10**40}, {"preset": {}},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_value_changes_nothing_not_even_the_good_ones_beside_it(bad: dict[str, Any], published: Listener) -> None:
    meeting = make.meeting()
    good = {"mode": "manual", "interval": 15, "paused": True}
    before = Meeting.objects.values().get(pk=meeting.pk)
    with published(meeting) as events, pytest.raises(Refused) as refused:
        settings_change(make.member(meeting), {**good, **bad})
    assert refused.value.code == "bad_value"
    assert Meeting.objects.values().get(pk=meeting.pk) == before
    assert events == []


def test_the_preset_of_another_owner_is_none_of_ours() -> None:
    meeting = make.meeting()
    theirs = StylePreset.objects.create(name="Theirs", owner=make.user())
    ours = StylePreset.objects.create(name="Ours", owner=meeting.owner)
    with pytest.raises(Refused):
        settings_change(make.member(meeting), {"preset": theirs.pk})
    settings_change(make.member(meeting), {"preset": ours.pk})
    meeting.refresh_from_db()
    assert meeting.preset == ours


@pytest.mark.parametrize(("role", "open_settings"), [(Role.VIEWER, True), (Role.PARTICIPANT, False)])
def test_who_may_not_change_settings_does_not(role: str, open_settings: bool) -> None:
    meeting = make.meeting(open_settings=open_settings)
    with pytest.raises(Refused) as refused:
        settings_change(make.member(meeting, role=role), {"paused": True})
    assert refused.value.code == "not_allowed"


def test_a_meeting_ends_once_and_the_sockets_learn_it(published: Listener) -> None:
    meeting = make.meeting()
    with published(meeting) as events:
        meeting_end(meeting)
        meeting_end(meeting)
    assert events.types == ["meeting.updated"] and events[0]["meeting"]["ended_at"]
    assert [signal["kind"] for signal in events.signals] == ["ended"]


def test_a_meeting_without_a_title_still_has_one() -> None:
    assert meeting_create(owner=make.user(), title=" \x00 ").title
    assert len(meeting_create(owner=make.user(), title="t" * 500).title) == 80


# Who is here


def test_coming_and_going_is_announced_once(published: Listener) -> None:
    meeting = make.meeting()
    anna = make.participant(meeting)
    with published(meeting) as events:
        presence_touch(meeting.pk, [anna.pk])
        presence_touch(meeting.pk, [anna.pk])
        presence_touch(meeting.pk, [], left=[anna.pk])
    assert [[person["online"] for person in event["people"]] for event in events] == [[True], []]


def test_only_people_of_the_meeting_are_listed() -> None:
    here, there = make.meeting(), make.meeting()
    make.stream(here, make.participant(here, "Anna"))
    make.stream(there, make.participant(there, "Robert"))
    make.participant(here, "passing viewer", role=Role.VIEWER)
    assert [person["name"] for person in people_dicts(here.pk)] == ["Anna"]
    presence_touch(here.pk, list(Participant.objects.values_list("pk", flat=True)))
    assert [person["name"] for person in people_dicts(here.pk)] == ["Anna", "passing viewer"]


# Reading back


def test_the_last_captions_come_oldest_first_gaps_among_them() -> None:
    meeting = make.meeting()
    stream = make.stream(meeting)
    for number in range(4):
        utterance_store(
            make.speech_result(stream, f"line {number}", first_s=3.0 * number, started_at=100.0 + 3 * number)
        )
    assert [caption["text"] for caption in recent_captions(meeting, limit=3)] == ["line 1", "line 2", "line 3"]


def test_a_picture_leans_on_the_newest_words_however_many_there_are() -> None:
    meeting = make.meeting(context_minutes=60)
    stream, anna, now = make.stream(meeting), make.speaker(meeting.owner), timezone.now()
    Utterance.objects.bulk_create(
        Utterance(
            meeting=meeting, stream=stream, first_sample=n, last_sample=n + 1, text=f"{n}", speaker=anna,
            started_at=now - timedelta(seconds=1001 - n), ended_at=now - timedelta(seconds=1000 - n),
        )
        for n in range(500)
    )  # fmt: skip
    texts = [line.text for line in context_utterances(meeting, now)]
    assert texts[-1] == "499"
    assert [int(text) for text in texts] == sorted(int(text) for text in texts)
