"""What people say about who speaks: it stands, it teaches, and it reaches past lines."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest

from meetings.access import Membership
from meetings.corrections import (
    MOST_LINES_TO_SPLIT,
    caption_assign,
    caption_confirm,
    lines_split,
    speaker_call,
    speaker_erase,
    speaker_forget,
    speakers_merge,
)
from meetings.lines import utterance_store
from meetings.models import AudioStream, HeardVoice, Meeting, Participant, Role, Utterance
from meetings.services import Refused, consent_record
from speakers.models import Consent, Enrolment, Speaker, Voiceprint
from tests import factories as make
from tests.listening import Listener
from workers.messages import VoiceEmbedding

pytestmark = pytest.mark.django_db

ANNA, ROBERT, MAX = (make.voice(seed) for seed in (1, 2, 3))
UNSURE = 0.74  # between the thresholds of the embedded engine


class Scene:
    """One microphone in one meeting, at which things are said; its owner may say who everybody is."""

    def __init__(self, owner: Any = None, name: str = "Anna", **values: Any) -> None:
        self.meeting: Meeting = make.meeting(owner)
        self.owner: Membership = make.member(self.meeting, "owner", Role.OWNER)
        self.guest: Membership = make.member(self.meeting, "guest")
        self.stream: AudioStream = make.stream(self.meeting, make.participant(self.meeting, name, **values))
        self.until_s = 0.0

    @property
    def participant(self) -> Participant:
        return self.stream.participant

    def say(self, sounds: VoiceEmbedding | None) -> Utterance:
        text = f"{self.stream.pk.hex} {self.until_s}"
        stored = utterance_store(make.speech_result(self.stream, text, first_s=self.until_s, sounds=sounds))
        self.until_s += 3.0
        assert stored is not None
        return stored


def now(utterance: Utterance) -> Utterance:
    return Utterance.objects.select_related("speaker").get(pk=utterance.pk)


def likeness(speaker: Speaker, voice: VoiceEmbedding) -> float | None:
    """How much the speaker's voiceprints are like a voice; None where there is none."""
    prints = [float(np.dot(print_.vector, voice.vector)) for print_ in Voiceprint.objects.filter(speaker=speaker)]
    return max(prints, default=None)


# Yes or no


def test_yes_makes_the_line_sure_and_teaches_the_voice(published: Listener) -> None:
    scene = Scene()
    anna = scene.say(ANNA).speaker
    doubtful = scene.say(make.alike(ANNA, UNSURE))
    assert now(doubtful).speaker_state == Utterance.SpeakerState.UNSURE
    before = Voiceprint.objects.get().speech_s
    with published(scene.meeting) as events:
        caption_confirm(scene.guest, doubtful.pk, yes=True)
    line = now(doubtful)
    assert (line.speaker, line.speaker_state, line.speaker_confirmed) == (anna, "known", True)
    assert Voiceprint.objects.get().speech_s == before + 4.0
    assert events.types == ["caption.final"] and events[0]["speaker"]["state"] == "known"
    caption_confirm(scene.guest, doubtful.pk, yes=True)
    assert Voiceprint.objects.get().speech_s == before + 4.0  # said twice, learned once


def test_yes_without_consent_teaches_nothing() -> None:
    scene = Scene(consent_voice_id=False)
    line = scene.say(ANNA)
    caption_confirm(scene.guest, line.pk, yes=True)
    assert now(line).speaker_confirmed and not Voiceprint.objects.exists()


def test_no_gives_the_line_to_somebody_new_and_never_to_that_speaker_again(published: Listener) -> None:
    scene = Scene()
    anna = scene.say(ANNA).speaker
    doubtful = scene.say(make.alike(ANNA, UNSURE))
    with published(scene.meeting) as events:
        caption_confirm(scene.guest, doubtful.pk, yes=False)
    line = now(doubtful)
    assert (line.speaker.name, line.speaker_state, line.speaker_confirmed) == ("Guest 1", "guest", False)
    assert line.not_speakers == [anna.pk]
    assert events.types == ["speaker.updated", "caption.final"]
    # The new guest is known by this voice from now on.
    assert scene.say(make.alike(ANNA, UNSURE)).speaker == line.speaker


def test_no_gives_the_line_to_the_next_most_alike_voice() -> None:
    scene = Scene()
    scene.say(ANNA)
    robert = make.speaker(scene.meeting.owner, "Robert", sounds=make.alike(ANNA, 0.72, speech_s=20.0))
    between = scene.say(make.alike(ANNA, UNSURE))
    first = now(between).speaker
    other = robert if first.name == "Anna" else Speaker.objects.get(name="Anna")
    caption_confirm(scene.owner, between.pk, yes=False)
    assert now(between).speaker == other
    caption_confirm(scene.owner, between.pk, yes=False)
    assert now(between).speaker.name == "Guest 1"
    assert set(now(between).not_speakers) == {first.pk, other.pk}


def test_no_shows_a_guest_nobody_from_other_meetings() -> None:
    scene = Scene()
    doubtful = scene.say(ANNA)
    make.speaker(scene.meeting.owner, "Secret", sounds=make.alike(ANNA, 0.9, speech_s=20.0))
    caption_confirm(scene.guest, doubtful.pk, yes=False)
    assert now(doubtful).speaker.name == "Guest 1"


def test_no_takes_back_what_the_line_taught() -> None:
    scene = Scene()
    line = scene.say(ANNA)
    anna = line.speaker
    caption_confirm(scene.guest, line.pk, yes=False)
    assert likeness(anna, ANNA) is None
    assert likeness(now(line).speaker, ANNA) == pytest.approx(1.0, abs=1e-4)


# Whose line


def test_a_corrected_line_teaches_the_right_voice_and_is_forgotten_by_the_wrong_one() -> None:
    scene = Scene()
    anna = scene.say(ANNA).speaker
    wrong = scene.say(make.alike(ANNA, 0.85))  # near enough to be taken for her
    assert wrong.speaker == anna and likeness(anna, ANNA) < 0.99
    robert = make.speaker(scene.meeting.owner, "Robert")
    caption_assign(scene.owner, wrong.pk, speaker_id=robert.pk, new_name="")
    assert likeness(anna, ANNA) == pytest.approx(1.0, abs=1e-4)
    assert likeness(robert, make.alike(ANNA, 0.85)) == pytest.approx(1.0, abs=1e-4)
    assert HeardVoice.objects.get(utterance=wrong).speaker == robert


def test_what_follows_on_a_stream_without_voices_goes_to_whoever_the_last_line_was_given_to() -> None:
    scene = Scene(consent_voice_id=False)
    first, last = scene.say(None), scene.say(None)
    robert, maria = (make.speaker(scene.meeting.owner, name) for name in ("Robert", "Maria"))
    caption_assign(scene.owner, last.pk, speaker_id=robert.pk, new_name="")
    caption_assign(scene.owner, first.pk, speaker_id=maria.pk, new_name="")
    assert scene.say(None).speaker == robert


def test_a_new_name_that_somebody_here_has_gives_the_line_to_them() -> None:
    scene = Scene()
    anna, robert = scene.say(ANNA), scene.say(ROBERT)
    caption_assign(scene.guest, robert.pk, speaker_id=None, new_name="Robert")
    caption_assign(scene.guest, anna.pk, speaker_id=None, new_name="robert")
    assert now(anna).speaker == now(robert).speaker
    assert Speaker.objects.filter(name__iexact="robert").count() == 1


# Names


def test_a_new_name_is_heard_of_in_every_open_meeting(published: Listener) -> None:
    owner = make.user()
    here, there = Scene(owner), Scene(owner)
    guest = make.speaker(owner, "Guest 1", is_guest=True, sounds=ROBERT)
    here_line, there_line = here.say(ROBERT), there.say(ROBERT)
    assert here_line.speaker == there_line.speaker == guest
    with published(there.meeting) as events:
        speaker_call(here.guest, guest.pk, " Robert ")
    assert events.types == ["speaker.updated", "caption.final"]
    assert events[0]["speaker"]["name"] == "Robert" and not events[0]["speaker"]["guest"]
    assert now(there_line).speaker_state == "known"


def test_a_guest_who_gets_a_known_name_becomes_that_person(published: Listener) -> None:
    scene = Scene()
    robert = make.speaker(scene.meeting.owner, "Robert")
    line = scene.say(ANNA), scene.say(ROBERT)
    guest = line[1].speaker
    with published(scene.meeting) as events:
        speaker_call(scene.owner, guest.pk, "robert")
    assert now(line[1]).speaker == robert and now(line[1]).speaker_state == "known"
    assert Speaker.objects.get(pk=guest.pk).merged_into == robert
    assert events[0]["merged_from"] == guest.pk and events[0]["speaker"]["name"] == "Robert"
    assert scene.say(ROBERT).speaker == robert


def test_two_people_of_one_name_whose_voices_clearly_differ_stay_two() -> None:
    scene = Scene()
    known = make.speaker(scene.meeting.owner, "Robert", sounds=MAX)
    scene.say(ANNA)
    guest = scene.say(ROBERT).speaker
    speaker_call(scene.owner, guest.pk, "Robert")
    guest.refresh_from_db()
    assert (guest.name, guest.is_guest, guest.merged_into) == ("Robert", False, None)
    assert Speaker.objects.filter(name="Robert", merged_into=None).count() == 2 and known.pk != guest.pk


def test_a_guest_of_the_meeting_cannot_find_out_who_else_the_owner_knows() -> None:
    scene = Scene()
    secret = make.speaker(scene.meeting.owner, "Robert")
    scene.say(ANNA)
    guest = scene.say(ROBERT).speaker
    speaker_call(scene.guest, guest.pk, "Robert")
    guest.refresh_from_db()
    assert guest.merged_into is None and guest.pk != secret.pk
    with pytest.raises(Refused) as refused:
        speaker_call(scene.guest, secret.pk, "x")
    assert refused.value.code == "unknown_speaker"


def test_somebody_with_a_name_cannot_take_anothers() -> None:
    scene = Scene()
    anna = scene.say(ANNA).speaker
    make.speaker(scene.meeting.owner, "Robert")
    with pytest.raises(Refused) as refused:
        speaker_call(scene.owner, anna.pk, "ROBERT")
    assert refused.value.code == "name_taken" and "Robert" in str(refused.value)
    speaker_call(scene.owner, anna.pk, "anna")  # one's own name in other letters is no other's
    assert Speaker.objects.get(pk=anna.pk).name == "anna"


# One or two


def test_merging_moves_lines_voices_and_everything_that_comes_later(published: Listener) -> None:
    scene = Scene()
    anna, guest = scene.say(ANNA), scene.say(ROBERT)
    caption_confirm(scene.guest, guest.pk, yes=True)
    with published(scene.meeting) as events:
        speakers_merge(scene.guest, guest.speaker_id, anna.speaker_id)
    assert now(guest).speaker == anna.speaker and now(guest).speaker_confirmed
    assert events[0]["type"] == "speaker.updated" and events[0]["merged_from"] == guest.speaker_id
    assert {event["id"] for event in events.of_type("caption.final")} == {str(anna.pk), str(guest.pk)}
    assert {event["speaker"]["name"] for event in events.of_type("caption.final")} == {"Anna"}
    assert scene.say(make.alike(ROBERT, 0.95)).speaker == anna.speaker
    assert not Voiceprint.objects.filter(speaker=guest.speaker).exists()
    # The old number still says who is meant.
    speaker_call(scene.owner, guest.speaker_id, "Maria")
    assert now(anna).speaker.name == "Maria"


def test_the_one_with_a_name_stays_whichever_way_they_are_merged() -> None:
    scene = Scene()
    anna, guest = scene.say(ANNA).speaker, scene.say(ROBERT).speaker
    speakers_merge(scene.owner, anna.pk, guest.pk)
    guest.refresh_from_db()
    assert guest.merged_into == anna
    with pytest.raises(Refused) as refused:
        speakers_merge(scene.owner, guest.pk, anna.pk)
    assert refused.value.code == "bad_value"


def test_revisions_of_a_merge_follow_each_other_however_many_lines_change(published: Listener) -> None:
    scene = Scene()
    anna = scene.say(ANNA)
    guests = [scene.say(ROBERT) for _line in range(55)]
    before = Meeting.objects.get(pk=scene.meeting.pk).rev
    with published(scene.meeting) as events:
        speakers_merge(scene.owner, guests[0].speaker_id, anna.speaker_id)
    assert [event["rev"] for event in events] == list(range(before + 1, before + 1 + len(events)))
    assert len(events.of_type("caption.final")) == 50
    assert events[-1]["id"] == str(guests[-1].pk)
    assert not Utterance.objects.exclude(speaker=anna.speaker).exists()


def test_splitting_makes_two_voices_of_one(published: Listener) -> None:
    scene = Scene()
    mine = [scene.say(ANNA), scene.say(make.alike(ANNA, 0.95))]
    anna = mine[0].speaker
    theirs = [scene.say(make.alike(ANNA, 0.84)) for _line in range(2)]
    assert {line.speaker for line in theirs} == {anna}
    with published(scene.meeting) as events:
        lines_split(scene.guest, [line.pk for line in theirs])
    other = now(theirs[0]).speaker
    assert other.name == "Guest 1" and now(theirs[1]).speaker == other
    assert all(now(line).speaker_confirmed and now(line).not_speakers == [anna.pk] for line in theirs)
    assert likeness(anna, ANNA) > 0.98
    assert likeness(other, make.alike(ANNA, 0.84)) == pytest.approx(1.0, abs=1e-4)
    assert events.types == ["speaker.updated", "caption.final", "caption.final"]
    assert scene.say(make.alike(ANNA, 0.84)).speaker == other


def test_split_lines_may_be_named_at_once() -> None:
    scene = Scene()
    line = scene.say(ANNA)
    assert lines_split(scene.guest, [line.pk, line.pk], " Maria ").name == "Maria"
    assert now(line).speaker_state == "known"


# Forgetting


def test_forgetting_takes_the_voice_and_the_name_from_every_line(published: Listener) -> None:
    scene = Scene()
    lines = [scene.say(ANNA), scene.say(ROBERT), scene.say(ANNA)]
    anna = lines[0].speaker
    Enrolment.objects.create(owner=scene.meeting.owner, speaker=anna, name="Anna", state=Enrolment.State.DONE)
    with published(scene.meeting) as events:
        speaker_forget(scene.guest, anna.pk)
    anna.refresh_from_db()
    assert (anna.name, anna.is_guest) == ("Guest 2", True)
    assert not anna.voiceprints.exists() and not anna.heard_voices.exists() and not anna.enrolments.exists()
    assert not anna.consents.filter(withdrawn_at=None).exists()
    assert {now(line).speaker_state for line in lines} == {"guest"}
    assert events[0]["speaker"]["name"] == "Guest 2"
    assert "Anna" not in str(events)
    assert HeardVoice.objects.get().speaker == lines[1].speaker  # nobody else's


def test_who_was_forgotten_is_not_learned_again_without_a_new_yes() -> None:
    scene = Scene()
    consent_record(scene.participant, {"transcribe": True, "voice_id": True}, "")
    anna = scene.say(ANNA).speaker
    speaker_forget(scene.guest, anna.pk)
    robert = scene.say(ROBERT).speaker  # a voice that nobody knows might be hers: it is not learned
    assert robert == anna and not HeardVoice.objects.exists() and not Voiceprint.objects.exists()
    assert scene.say(ANNA).speaker == anna
    consent_record(scene.participant, {"transcribe": True, "voice_id": True}, "")
    scene.stream.refresh_from_db()
    assert scene.say(ANNA).speaker == anna
    assert Voiceprint.objects.get().speaker == anna


def test_a_known_voice_beside_one_that_was_forgotten_stays_known() -> None:
    scene = Scene()
    robert = make.speaker(scene.meeting.owner, "Robert", sounds=ROBERT)
    forgotten = scene.say(ANNA).speaker
    speaker_forget(scene.owner, forgotten.pk)
    assert [scene.say(voice).speaker for voice in (ROBERT, ANNA, ROBERT)] == [robert, forgotten, robert]
    assert not forgotten.voiceprints.exists()


def test_who_was_merged_into_someone_is_forgotten_with_them() -> None:
    scene = Scene()
    anna, guest = scene.say(ANNA).speaker, scene.say(ROBERT).speaker
    speaker_call(scene.guest, guest.pk, "Anna Maria")
    speakers_merge(scene.owner, guest.pk, anna.pk)
    speaker_erase(anna)
    assert not Speaker.objects.filter(name__contains="Anna").exists()
    assert Consent.objects.filter(withdrawn_at=None).count() == 0


def test_consent_taken_back_erases_what_was_heard_and_learned_at_that_persons_microphones() -> None:
    scene = Scene()
    other = Scene(scene.meeting.owner, name="Robert")
    scene.say(ANNA), scene.say(MAX), other.say(ROBERT)
    enrolled = make.speaker(scene.meeting.owner, "Maria", sounds=make.voice(9))
    consent_record(scene.participant, {"transcribe": True, "voice_id": False}, "")
    assert [heard.speaker.name for heard in HeardVoice.objects.all()] == ["Robert"]
    assert {print_.speaker.name for print_ in Voiceprint.objects.all()} == {"Robert", "Maria"}
    assert not Consent.objects.filter(speaker__name="Anna", withdrawn_at=None).exists()
    assert enrolled.voiceprints.exists()
    scene.stream.refresh_from_db()
    assert scene.say(MAX).speaker.name == "Anna"  # the last voice there was another; now it is the person's own line


# Who may say what


def wishes(member: Membership, line: Utterance, speaker: int, other: int) -> dict[str, Any]:
    return {
        "assign": lambda: caption_assign(member, line.pk, speaker_id=other, new_name=""),
        "confirm": lambda: caption_confirm(member, line.pk, yes=False),
        "rename": lambda: speaker_call(member, speaker, "Maria"),
        "merge": lambda: speakers_merge(member, speaker, other),
        "merge into": lambda: speakers_merge(member, other, speaker),
        "split": lambda: lines_split(member, [line.pk]),
        "forget": lambda: speaker_forget(member, speaker),
    }


WISHES = ["assign", "confirm", "rename", "merge", "merge into", "split", "forget"]


@pytest.mark.parametrize("wish", WISHES)
def test_who_only_watches_says_nothing(wish: str) -> None:
    scene = Scene()
    lines = scene.say(ANNA), scene.say(ROBERT)
    viewer = make.member(scene.meeting, "viewer", Role.VIEWER)
    before = list(Speaker.objects.order_by("pk").values()), list(Utterance.objects.order_by("pk").values())
    with pytest.raises(Refused) as refused:
        wishes(viewer, lines[0], lines[0].speaker_id, lines[1].speaker_id)[wish]()
    assert refused.value.code == "not_allowed"
    assert (list(Speaker.objects.order_by("pk").values()), list(Utterance.objects.order_by("pk").values())) == before


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("role", [Role.PARTICIPANT, Role.OWNER])
def test_nobody_says_anything_about_another_owners_meeting(wish: str, role: str) -> None:
    here, there = Scene(), Scene()
    lines = there.say(ANNA), there.say(ROBERT)
    here.say(MAX)
    member = make.member(here.meeting, "member", role)
    with pytest.raises(Refused) as refused:
        wishes(member, lines[0], lines[0].speaker_id, lines[1].speaker_id)[wish]()
    assert refused.value.code in ("unknown_utterance", "unknown_speaker")


@pytest.mark.parametrize("number", [0, -1, 10**40, 2**31])
def test_numbers_that_are_nobodys_are_refused(number: int) -> None:
    scene = Scene()
    scene.say(ANNA)
    for wish in (
        lambda: speaker_call(scene.owner, number, "x"),
        lambda: speaker_forget(scene.owner, number),
        lambda: speakers_merge(scene.owner, number, number),
    ):
        with pytest.raises(Refused) as refused:
            wish()
        assert refused.value.code == "unknown_speaker"


def test_empty_names_and_lists_are_refused() -> None:
    scene = Scene()
    line = scene.say(ANNA)
    some = [line.pk, uuid.uuid4()]
    many = [uuid.uuid4() for _n in range(MOST_LINES_TO_SPLIT + 1)]
    for wish, code in (
        (lambda: speaker_call(scene.owner, line.speaker_id, " \n"), "bad_value"),
        (lambda: lines_split(scene.owner, []), "bad_value"),
        (lambda: lines_split(scene.owner, many), "bad_value"),
        (lambda: lines_split(scene.owner, some), "unknown_utterance"),
    ):
        with pytest.raises(Refused) as refused:
            wish()
        assert refused.value.code == code
    assert Speaker.objects.count() == 1 and not now(line).speaker_confirmed
