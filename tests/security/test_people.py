"""People, voices and what hosts send: nobody is taken for somebody else, and a no is a no at once."""

from __future__ import annotations

import logging
import sys
import uuid
from pathlib import Path
from typing import Any

import msgpack
import pytest
from celery import current_app
from django.core.exceptions import ValidationError
from django.utils import timezone
from kombu.exceptions import ContentDisallowed
from kombu.serialization import dumps, loads

from generation import dispatch
from generation.models import Frame
from generation.outcomes import frame_painted, frame_progress
from generation.services import frame_rate, frame_shown, frame_wish
from meetings.access import (
    MOST_GUESTS,
    MeetingFull,
    Membership,
    Place,
    TokenKind,
    member_for_session,
    member_for_token,
    token_for,
    turned_out,
)
from meetings.corrections import caption_assign
from meetings.lines import utterance_store
from meetings.models import Meeting, Participant, Role, Utterance
from meetings.services import (
    Refused,
    consent_record,
    invites_void,
    meeting_end,
    settings_change,
    stream_open,
)
from meetviz_site.live.snapshot import snapshot, welcome
from meetviz_site.live.status_now import Hearing
from meetviz_site.logs import PrivateFormatter
from speakers.models import Consent, Speaker, StylePreset, Voiceprint
from speakers.services import voice_delete
from tests import factories as make
from tests.listening import Listener
from workers.faults import watch_tasks
from workers.messages import PaintProgress

pytestmark = pytest.mark.django_db


# Who is who


def test_a_token_and_a_name_do_not_make_one_the_person_of_that_name() -> None:
    meeting = make.meeting()
    anna = make.participant(meeting, "Anna")
    theirs = make.stream(meeting, anna)
    eve = member_for_token(meeting, token_for(meeting, TokenKind.JOIN), "Anna")
    assert eve.participant != anna
    consent_record(eve.participant, {"transcribe": True})
    with pytest.raises(Refused) as refused:
        stream_open(eve, theirs.pk)
    assert refused.value.code == "stream_taken"
    assert member_for_token(meeting, token_for(meeting, TokenKind.JOIN), "Anna").participant == eve.participant


def test_one_invite_makes_no_more_guests_than_a_meeting_holds() -> None:
    meeting = make.meeting()
    Participant.objects.bulk_create(Participant(meeting=meeting, name=str(n)) for n in range(MOST_GUESTS))
    with pytest.raises(MeetingFull) as full:
        member_for_token(meeting, token_for(meeting, TokenKind.JOIN), "one more")
    assert full.value.code == 4403 and str(full.value)
    assert member_for_token(meeting, token_for(meeting, TokenKind.API), "tool").role == Role.OWNER


def test_places_end_with_invite_person_account_and_meeting(published: Listener) -> None:
    meeting = make.meeting()
    owner, account = make.participant(meeting, user=meeting.owner), make.participant(meeting, user=make.user())
    guest, removed = make.participant(meeting), make.participant(meeting)
    places = {p: Place(p.pk, 1) for p in (owner, account, guest, removed)}
    assert turned_out(meeting.pk, places.values()) == {}
    assert turned_out(make.meeting().pk, [places[guest]]) == {places[guest]: 4401}
    Participant.objects.filter(pk=removed.pk).delete()
    assert turned_out(meeting.pk, places.values()) == {places[removed]: 4401}
    with published(meeting) as events:
        invites_void(meeting)
    assert events.signals == [{"type": "live.signal", "kind": "invites_void", "version": 2}]
    assert set(turned_out(meeting.pk, places.values())) == {places[guest], places[removed]}
    assert turned_out(meeting.pk, [Place(guest.pk, 2)]) == {}
    type(meeting.owner).objects.filter(pk=account.user_id).update(is_active=False)
    assert turned_out(meeting.pk, [places[owner], places[account]]) == {places[account]: 4401}
    meeting_end(meeting)
    assert turned_out(meeting.pk, [places[owner]]) == {places[owner]: 4410}
    pk = meeting.pk
    meeting.delete()
    assert turned_out(pk, [places[owner]]) == {places[owner]: 4404}


def test_a_guest_cannot_ask_for_the_names_of_other_meetings() -> None:
    owner = make.user()
    here, elsewhere = make.meeting(owner), make.meeting(owner)
    line = make.utterance(here)
    secret = make.utterance(elsewhere, said_by=make.speaker(owner, "Secret guest")).speaker
    present = make.utterance(here, said_by=make.speaker(owner, "Robert")).speaker
    with pytest.raises(Refused) as refused:
        caption_assign(make.member(here), line.pk, speaker_id=secret.pk, new_name="")
    assert refused.value.code == "unknown_speaker"
    caption_assign(make.member(here), line.pk, speaker_id=present.pk, new_name="")
    caption_assign(make.member(here, role=Role.OWNER), line.pk, speaker_id=secret.pk, new_name="")
    line.refresh_from_db()
    assert line.speaker == secret


def test_ids_of_another_meeting_open_and_change_nothing() -> None:
    owner = make.user()
    here, there = make.meeting(owner), make.meeting(owner)
    member = make.member(here, role=Role.OWNER)
    line, stream = make.utterance(there), make.stream(there)
    frame = Frame.objects.create(meeting=there, state=Frame.State.READY, ready_at=timezone.now())
    foreign = StylePreset.objects.create(name="Mine", owner=make.user())
    before = [model.objects.order_by("pk").values().last() for model in (Utterance, Frame, Meeting)]
    wishes: list[Any] = [
        lambda: caption_assign(member, line.pk, speaker_id=None, new_name="x"),
        lambda: frame_rate(member, frame.pk, value=1),
        lambda: stream_open(member, stream.pk),
        lambda: settings_change(member, {"preset": foreign.pk}),
    ]
    for wish in wishes:
        with pytest.raises(Refused):
            wish()
    assert frame_shown(member, frame.pk) is None
    assert [model.objects.order_by("pk").values().last() for model in (Utterance, Frame, Meeting)] == before


def test_a_viewer_is_told_nothing_but_what_the_room_shows() -> None:
    meeting = make.meeting()
    make.participant(meeting, "Anna")
    spoken = make.utterance(meeting)
    viewer = make.member(meeting, "Max", Role.VIEWER)
    told = str([snapshot(meeting.pk, Hearing()), welcome(viewer)])
    for kind in TokenKind:
        assert token_for(meeting, kind) not in told
    for word in ("invites_version", "owner_id", "token", "email", "vector", "password", "confidence_"):
        assert word not in told, word
    assert "consent" not in str(snapshot(meeting.pk, Hearing()))
    assert spoken.text in told


# Consent


def test_what_is_on_its_way_when_the_consent_ends_leaves_no_voice() -> None:
    meeting = make.meeting()
    person = make.participant(meeting)
    stream = make.stream(meeting, person)
    in_flight = make.speech_result(stream, sounds=make.voice(1, speech_s=9.0))
    consent_record(person, {"transcribe": True, "voice_id": False})
    stored = utterance_store(in_flight)
    assert stored is not None and not Voiceprint.objects.exists() and not Consent.objects.exists()


def test_taking_a_consent_back_is_told_to_every_web_process_and_giving_one_is_not(published: Listener) -> None:
    meeting = make.meeting()
    person = make.participant(meeting)
    told = []
    for consent in ({"transcribe": True}, {"transcribe": True, "voice_id": True}, {"voice_id": 1}):
        with published(meeting) as events:
            consent_record(person, consent)
        told.append([(s["participant"], s["transcribe"], s["voice_id"]) for s in events.signals])
    assert told == [[(person.pk, True, False)], [], [(person.pk, False, False)]]


def test_without_transcription_an_earlier_stream_does_not_resume() -> None:
    meeting = make.meeting()
    member = make.member(meeting)
    stream = stream_open(member, uuid.uuid4())
    other_socket = Participant.objects.get(pk=member.participant.pk)
    consent_record(other_socket, {"transcribe": False})
    assert member.participant.consent_transcribe, "the stale copy is what this test is about"
    with pytest.raises(Refused) as refused:
        stream_open(member, stream.pk)
    assert refused.value.code == "consent_required"


def test_a_consent_does_not_bring_back_a_role_that_was_taken() -> None:
    meeting = make.meeting()
    stale = make.participant(meeting)
    Participant.objects.filter(pk=stale.pk).update(role=Role.VIEWER)
    consent_record(stale, {"transcribe": True})
    assert Participant.objects.get(pk=stale.pk).role == Role.VIEWER


def test_a_deleted_voice_is_not_learnt_again_by_the_old_yes() -> None:
    meeting = make.meeting()
    person = make.participant(meeting, consented_at=timezone.now())
    stream = make.stream(meeting, person)
    voice = make.voice(1, speech_s=9.0)
    first = utterance_store(make.speech_result(stream, sounds=voice))
    assert first is not None and Voiceprint.objects.count() == 1
    voice_delete(first.speaker)
    stream.refresh_from_db()
    utterance_store(make.speech_result(stream, first_s=4.0, sounds=voice))
    assert Utterance.objects.count() == 2 and not Voiceprint.objects.exists()
    consent_record(person, {"transcribe": True, "voice_id": True})
    utterance_store(make.speech_result(stream, first_s=8.0, sounds=voice))
    assert Voiceprint.objects.count() == 1


# What hosts send


def test_a_result_under_another_meetings_number_changes_nothing(published: Listener) -> None:
    here, there = make.meeting(), make.meeting()
    stream = make.stream(here)
    frame = Frame.objects.create(meeting=here, state=Frame.State.PAINTING)
    with published(there) as events, published(here) as own:
        assert utterance_store(make.speech_result(stream, meeting=there.pk)) is None
        assert frame_painted(make.paint_result(frame, meeting=there.pk)) is None
        frame_progress(PaintProgress(str(frame.pk), there.pk, 1, 4))
        frame_progress(PaintProgress(str(uuid.uuid4()), there.pk, 1, 4))
        frame_progress(PaintProgress(str(frame.pk), here.pk, 1, 4, 'data:image/png;base64,AA"),url("//evil'))
    frame.refresh_from_db()
    assert events == [] and not Utterance.objects.exists() and frame.state == Frame.State.PAINTING
    assert own == [{"type": "frame.progress", "id": str(frame.pk), "step": 1, "steps": 4}]


@pytest.mark.parametrize("image", [b"", b"<svg onload=alert(1)>", b"RIFF1234AVI ", b"RIFF1234WEBP" + bytes(2**24)])
def test_what_is_no_picture_is_not_stored_as_one(image: bytes, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    frame = Frame.objects.create(meeting=make.meeting(), state=Frame.State.PAINTING)
    assert frame_painted(make.paint_result(frame, image=image)) is None
    frame.refresh_from_db()
    assert (frame.state, frame.error) == (Frame.State.FAILED, "engine_failed")
    assert not list(tmp_path.rglob("*.webp"))


@pytest.mark.parametrize("kind", ["pickle", "json", "yaml"])
def test_the_broker_is_heard_in_one_language_only(kind: str) -> None:
    assert current_app.conf.accept_content == ["msgpack"]
    if kind != "yaml":
        content_type, encoding, body = dumps({"a": 1}, serializer=kind)
    else:
        content_type, encoding, body = "application/x-yaml", "utf-8", "a: 1"
    with pytest.raises(ContentDisallowed):
        loads(body, content_type, encoding, accept=current_app.conf.accept_content)


def test_extension_types_of_the_broker_stay_bytes() -> None:
    body = msgpack.packb({"a": msgpack.ExtType(42, b"cos\nsystem")})
    read = loads(body, "application/x-msgpack", "binary", accept=["application/x-msgpack"])
    assert read == {"a": msgpack.ExtType(42, b"cos\nsystem")}


@pytest.mark.parametrize("values", [{"palette": "#ffffff"}, {"palette": ["red"]}, {"palette": [["#ffffff"]]},
                                    {"palette": {"a": 1}}, {"palette": ["#ffffff"] * 25}, {"muted_topics": [1]},
                                    {"muted_topics": ["x" * 81]}, {"palette": None}])  # fmt: skip
def test_a_preset_takes_colours_and_words_only(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StylePreset(name="Odd", **values).clean()
    StylePreset(name="Good", palette=["#ffffff"], muted_topics=["war"]).clean()


@pytest.mark.parametrize("palette", [7, {"a": 1}, [["#ffffff"], 5, None, "url(//evil)"], "x"])
def test_an_odd_preset_in_the_database_does_not_stop_anybodys_painting(palette: Any) -> None:
    meeting = make.meeting()
    said = make.utterance(meeting)
    preset = StylePreset.objects.create(name="Odd")
    StylePreset.objects.filter(pk=preset.pk).update(palette=palette, muted_topics=palette)
    Speaker.objects.filter(pk=said.speaker_id).update(preset=preset)
    frame_wish(meeting, forced=True)
    request = dispatch.next_request(painters=1)
    assert request is not None and "evil" not in str(request.to_wire())


# Logs


def test_log_lines_hold_neither_tokens_nor_what_errors_quote() -> None:
    token = token_for(make.meeting(), TokenKind.API)
    try:
        try:
            raise ValueError("my bank is at the river")
        except ValueError as cause:
            raise KeyError("Anna said so") from cause
    except KeyError:
        values = ("k" * 32, token)
        record = logging.LogRecord("x", logging.ERROR, "f.py", 1, "GET /owner/%s/ %s", values, sys.exc_info())
    record.exc_text = "Traceback … my bank"
    line = PrivateFormatter("%(levelname)s %(message)s").format(record)
    assert "ERROR GET /owner/…/ api-…" in line
    assert "ValueError" in line and "KeyError" in line and "test_people.py" in line
    assert "said so" not in line.split("builtins.KeyError")[1]
    assert "k" * 32 not in line and token not in line and "Traceback … my bank" not in line


@pytest.mark.parametrize(
    "template", ["UNKNOWN_TASK_ERROR", "INVALID_TASK_ERROR", "MESSAGE_DECODE_ERROR", "UNKNOWN_FORMAT"]
)
def test_celery_does_not_log_what_is_in_a_message_it_cannot_use(template: str, caplog: Any) -> None:
    from celery.worker.consumer import consumer

    watch_tasks()
    text = getattr(consumer, template)
    places = text.count("%r") + text.count("%s")
    with caplog.at_level(logging.WARNING):
        consumer.logger.error(text, *["my bank is at the river"] * places)
    assert caplog.records and "bank" not in caplog.text
    assert "message of the broker ignored" in caplog.text


def test_memberships_of_sessions_and_users_stay_apart() -> None:
    """A place of somebody with an account is not taken over by a session that names it."""
    meeting = make.meeting()
    account = make.participant(meeting, user=make.user())
    session = {"meetviz_participants": {str(meeting.pk): {"participant": account.pk, "version": 1}}}
    assert member_for_session(meeting, make.user(), session) is None
    assert Membership(meeting, account).role == Role.PARTICIPANT
