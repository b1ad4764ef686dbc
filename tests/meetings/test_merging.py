"""In the background: guests who are one voice become one, lines in doubt become clear, what people said stays."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from meetings.corrections import caption_confirm, lines_split, speaker_call
from meetings.merging import meetings_to_tidy, voices_tidy
from meetings.models import AudioStream, HeardVoice, Meeting, Role, Utterance
from meetings.services import consent_record, meeting_end
from meetings.voices import voice_keep
from speakers.models import Speaker, Voiceprint
from tests import factories as make
from tests.listening import Listener
from tests.meetings.test_corrections import Scene, now
from workers.messages import VoiceEmbedding

pytestmark = pytest.mark.django_db

ANNA, ROBERT, MAX = (make.voice(seed) for seed in (1, 2, 3))


def spoke(
    meeting: Meeting, speaker: Speaker, *voices: VoiceEmbedding, stream: AudioStream | None = None, ago_s: float = 60.0
) -> list[Utterance]:
    """Lines that were written down while it was not clear yet that two speakers are one."""
    stream = stream or make.stream(meeting)
    lines = []
    for number, voice in enumerate(voices):
        line = make.utterance(meeting, f"words {number} of {speaker.pk}", said_by=speaker, ago_s=ago_s - 4 * number)
        line.stream, line.first_sample = stream, 1000 * Utterance.objects.count()
        line.speaker_state, line.speaker_confidence = ("guest" if speaker.is_guest else "known"), 0.9
        line.save()
        # Nobody sounds twice exactly the same.
        once = VoiceEmbedding([v + 1e-4 * number * (-1) ** n for n, v in enumerate(voice.vector)], voice.model, 4.0)
        voice_keep(line, once, learnt=True)
        lines.append(line)
    return lines


def guest(meeting: Meeting, name: str, sounds: VoiceEmbedding) -> Speaker:
    """A guest of this meeting with a print and two lines, ten seconds in all."""
    made = make.speaker(meeting.owner, name, is_guest=True, sounds=sounds)
    Voiceprint.objects.filter(speaker=made).update(speech_s=10.0)
    return made


def two_guests_of_one_voice(cosine: float = 0.9) -> tuple[Meeting, Speaker, Speaker]:
    meeting = make.meeting()
    first, second = guest(meeting, "Guest 1", ANNA), guest(meeting, "Guest 2", make.alike(ANNA, cosine))
    spoke(meeting, first, ANNA, ANNA, ago_s=60)
    spoke(meeting, second, make.alike(ANNA, cosine), make.alike(ANNA, cosine), ago_s=40)
    return meeting, first, second


def test_guests_who_are_one_voice_become_the_older_one(published: Listener) -> None:
    meeting, first, second = two_guests_of_one_voice()
    with published(meeting) as events:
        assert voices_tidy(meeting.pk) == 1
    second.refresh_from_db()
    assert second.merged_into == first
    assert set(meeting.utterances.values_list("speaker", flat=True)) == {first.pk}
    assert events[0]["type"] == "speaker.updated"
    assert (events[0]["speaker"]["id"], events[0]["merged_from"]) == (first.pk, second.pk)
    assert len(events.of_type("caption.final")) == 4
    assert voices_tidy(meeting.pk) == 0


def test_a_guest_becomes_the_named_person_they_sound_like() -> None:
    meeting = make.meeting()
    visitor = guest(meeting, "Guest 1", make.alike(ANNA, 0.9))
    anna = make.speaker(meeting.owner, "Anna", sounds=make.voice(1, speech_s=20.0))
    lines = spoke(meeting, visitor, make.alike(ANNA, 0.9), make.alike(ANNA, 0.9))
    assert voices_tidy(meeting.pk) == 1
    assert now(lines[0]).speaker == anna and now(lines[0]).speaker_state == "known"


def test_three_guests_of_one_voice_become_one() -> None:
    meeting, first, _second = two_guests_of_one_voice(0.99)
    third = guest(meeting, "Guest 3", make.alike(ANNA, 0.98))
    spoke(meeting, third, make.alike(ANNA, 0.98), make.alike(ANNA, 0.98), ago_s=20)
    assert voices_tidy(meeting.pk) == 2
    assert set(meeting.utterances.values_list("speaker", flat=True)) == {first.pk}


@pytest.mark.parametrize("why", ["unlike", "too little", "both named", "told apart", "both confirmed", "at once"])
def test_who_may_be_two_stays_two(why: str) -> None:
    meeting, first, second = two_guests_of_one_voice(0.6 if why == "unlike" else 0.9)
    ours, theirs = meeting.utterances.filter(speaker=first), meeting.utterances.filter(speaker=second)
    if why == "too little":
        Voiceprint.objects.filter(speaker=first).update(speech_s=4.0)
        HeardVoice.objects.filter(utterance=ours.first()).delete()
    elif why == "both named":
        Speaker.objects.update(is_guest=False)
    elif why == "told apart":
        line = theirs.first()
        line.not_speakers = [first.pk]
        line.save()
    elif why == "both confirmed":
        meeting.utterances.update(speaker_confirmed=True)
    elif why == "at once":
        one, other = ours.first(), theirs.first()
        Utterance.objects.filter(pk=other.pk).update(started_at=one.started_at, ended_at=one.ended_at)
        Utterance.objects.filter(pk=other.pk).update(text="something else altogether")
        Utterance.objects.filter(pk=one.pk).update(text="quite another thing")
    assert voices_tidy(meeting.pk) == 0
    assert set(meeting.utterances.values_list("speaker", flat=True)) == {first.pk, second.pk}


def test_one_voice_at_two_microphones_at_once_is_one_when_the_words_are_the_same() -> None:
    meeting, first, second = two_guests_of_one_voice()
    one, other = (meeting.utterances.filter(speaker=speaker).first() for speaker in (first, second))
    said = {"started_at": one.started_at, "ended_at": one.ended_at, "text": "the old house by the river"}
    Utterance.objects.filter(pk__in=[one.pk, other.pk]).update(**said)
    assert voices_tidy(meeting.pk) == 1


def test_between_two_people_with_names_nothing_is_decided() -> None:
    meeting = make.meeting()
    visitor = guest(meeting, "Guest 1", ANNA)
    for name in ("Anna", "Maria"):
        make.speaker(meeting.owner, name, sounds=make.alike(ANNA, 0.9, speech_s=20.0))
    spoke(meeting, visitor, ANNA, ANNA)
    assert voices_tidy(meeting.pk) == 0


def test_lines_split_by_a_person_are_not_merged_back() -> None:
    scene = Scene()
    lines = [scene.say(ANNA) for _line in range(4)]
    lines_split(scene.guest, [line.pk for line in lines[2:]])
    assert voices_tidy(scene.meeting.pk) == 0
    assert now(lines[3]).speaker != now(lines[0]).speaker


def test_an_unsure_line_becomes_clear_once_the_voice_is_better_known(published: Listener) -> None:
    scene = Scene()
    lean = make.alike(ANNA, 0.74)
    anna = scene.say(ANNA).speaker
    unsure = [scene.say(lean) for _line in range(3)]
    caption_confirm(scene.guest, unsure[0].pk, yes=True)
    with published(scene.meeting) as events:
        assert voices_tidy(scene.meeting.pk) == 2
    assert [now(line).speaker_state for line in unsure] == ["known"] * 3
    assert {now(line).speaker for line in unsure} == {anna}
    assert {event["id"] for event in events.of_type("caption.final")} == {str(line.pk) for line in unsure[1:]}
    assert not now(unsure[1]).speaker_confirmed


def test_a_short_line_goes_to_whoever_it_clearly_belongs_to_by_now() -> None:
    scene = Scene()
    scene.say(ANNA)
    short = scene.say(make.alike(ROBERT, 0.99, speech_s=1.5))  # nobody knows Robert yet
    assert short.speaker.name == "Anna" and short.speaker_confidence < 0.5
    robert = scene.say(ROBERT).speaker
    assert voices_tidy(scene.meeting.pk) == 0  # four seconds of a voice are not enough to go back for
    scene.say(ROBERT)
    assert voices_tidy(scene.meeting.pk) == 1
    assert now(short).speaker == robert


@pytest.mark.parametrize("how", ["confirmed", "denied"])
def test_what_a_person_said_is_never_changed(how: str) -> None:
    scene = Scene()
    first = scene.say(ANNA)
    for _line in range(2):
        scene.say(ROBERT)
    short = scene.say(make.alike(ROBERT, 0.99, speech_s=1.5))
    robert = short.speaker
    if how == "confirmed":
        Utterance.objects.filter(pk=short.pk).update(
            speaker=first.speaker, speaker_confirmed=True, speaker_state="unsure"
        )
    else:
        caption_confirm(scene.guest, short.pk, yes=False)
    before = now(short).speaker
    voices_tidy(scene.meeting.pk)
    assert now(short).speaker == before != robert


def test_only_open_meetings_with_fresh_voices_are_looked_at() -> None:
    fresh, ended, old, voiceless = (Scene() for _n in range(4))
    for scene in (fresh, ended, old):
        scene.say(ANNA)
    voiceless.say(None)
    meeting_end(ended.meeting)
    Utterance.objects.filter(meeting=old.meeting).update(ended_at=timezone.now() - timedelta(minutes=5))
    assert meetings_to_tidy() == [fresh.meeting.pk]
    fresh.meeting.delete()
    assert voices_tidy(fresh.meeting.pk or 0) == 0


def test_another_owners_people_are_never_merged_with_ours() -> None:
    meeting = make.meeting()
    visitor = guest(meeting, "Guest 1", ANNA)
    spoke(meeting, visitor, ANNA, ANNA)
    make.speaker(make.user(), "Anna", sounds=make.voice(1, speech_s=20.0))
    assert voices_tidy(meeting.pk) == 0


def test_a_name_given_before_the_merge_stays() -> None:
    meeting, first, second = two_guests_of_one_voice()
    speaker_call(make.member(meeting, "owner", Role.OWNER), second.pk, "Maria")
    assert voices_tidy(meeting.pk) == 1
    first.refresh_from_db()
    assert first.merged_into_id == second.pk and set(
        meeting.utterances.values_list("speaker__name", "speaker_state")
    ) == {("Maria", "known")}


@pytest.mark.django_db(transaction=True)
def test_words_corrections_and_merges_at_one_moment_do_not_block_each_other() -> None:
    scenes = [Scene(name="Anna")]
    scenes += [_beside(scenes[0], name) for name in ("Robert", "Max")]
    first = scenes[0].say(ANNA)
    said, failed = [], []

    def work(act: Callable[[], object], times: int) -> None:
        try:
            for _time in range(times):
                said.append(act())
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    def correct() -> None:
        lines = Utterance.objects.filter(meeting=scenes[0].meeting).order_by("-started_at")
        caption_confirm(scenes[0].owner, lines[0].pk, yes=False)
        lines_split(scenes[0].owner, [first.pk])
        consent_record(scenes[2].participant, {"transcribe": True, "voice_id": False}, "")

    acts = [(lambda s=scene, v=voice: s.say(v), 12) for scene, voice in zip(scenes, (ANNA, ROBERT, MAX), strict=True)]
    acts += [(correct, 8), (lambda: voices_tidy(scenes[0].meeting.pk), 8)]
    workers = [threading.Thread(target=work, args=act) for act in acts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert failed == [] and len(said) == 52
    assert Utterance.objects.count() == 37
    assert not HeardVoice.objects.filter(utterance__stream=scenes[2].stream).exists()


def _beside(scene: Scene, name: str) -> Scene:
    """Another microphone in the same meeting."""
    other = copy.copy(scene)
    other.stream, other.until_s = make.stream(scene.meeting, make.participant(scene.meeting, name)), 0.0
    return other
