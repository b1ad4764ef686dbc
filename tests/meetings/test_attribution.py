"""Under whose name a line goes."""

from __future__ import annotations

import pytest

from meetings.lines import utterance_store
from meetings.merging import speakers_join
from meetings.models import AudioStream, Meeting, Utterance
from speakers.matching import THRESHOLDS
from speakers.models import Consent, Speaker, Voiceprint
from tests import factories as make
from workers.messages import VoiceEmbedding

pytestmark = pytest.mark.django_db

ANNA, ROBERT, MAX = (make.voice(seed) for seed in (1, 2, 3))


class Said:
    """A stream on which one thing is said after another."""

    def __init__(self, stream: AudioStream) -> None:
        self.stream = stream
        self.until_s = 0.0

    def __call__(self, sounds: VoiceEmbedding | None) -> Utterance:
        # Words of its own: two streams that say the same at once would be one room heard twice.
        text = f"{self.stream.pk.hex} {self.until_s}"
        result = make.speech_result(self.stream, text, first_s=self.until_s, sounds=sounds)
        self.until_s += 3.0
        stored = utterance_store(result)
        assert stored is not None and stored.speaker is not None
        return stored


def speech_in(meeting: Meeting, name: str = "Anna", **values: bool) -> Said:
    return Said(make.stream(meeting, make.participant(meeting, name, **values)))


def test_the_first_voice_of_a_named_person_takes_that_name_and_leaves_a_print() -> None:
    line = speech_in(make.meeting())(ANNA)
    assert (line.speaker.name, line.speaker.is_guest) == ("Anna", False)
    assert line.speaker_state == Utterance.SpeakerState.KNOWN
    assert line.speaker.voiceprints.get().model == ANNA.model
    assert line.speaker.consents.get().kind == Consent.Kind.VOICE_ID


def test_other_voices_at_the_same_microphone_are_guests_numbered_in_turn() -> None:
    say = speech_in(make.meeting())
    lines = [say(voice) for voice in (ANNA, ROBERT, MAX, ROBERT, ANNA)]
    assert [line.speaker.name for line in lines] == ["Anna", "Guest 1", "Guest 2", "Guest 1", "Anna"]
    assert [line.speaker_state for line in lines[:2]] == ["known", "guest"]
    assert len({line.speaker.colour for line in lines}) == 3


def test_a_person_without_a_name_is_a_guest_and_guests_count_per_meeting() -> None:
    owner = make.user()
    first, second = make.meeting(owner), make.meeting(owner)
    assert speech_in(first, "")(ANNA).speaker.name == "Guest 1"
    assert speech_in(first, "")(ROBERT).speaker.name == "Guest 2"
    assert speech_in(second, "")(MAX).speaker.name == "Guest 1"


def test_guests_are_called_so_in_the_meetings_language() -> None:
    name = speech_in(make.meeting(language="ru"), "")(ANNA).speaker.name
    assert name != "Guest 1" and name.endswith("1")


def test_a_voice_is_known_again_in_the_owners_next_meeting() -> None:
    owner = make.user()
    before = speech_in(make.meeting(owner))(ANNA).speaker
    line = speech_in(make.meeting(owner), "Someone")(make.alike(ANNA, 0.9))
    assert line.speaker == before and line.speaker_confidence > 0.5


def test_a_voice_known_to_one_owner_is_nobody_to_another() -> None:
    before = speech_in(make.meeting())(ANNA).speaker
    assert speech_in(make.meeting())(ANNA).speaker != before


def test_without_consent_no_voice_is_stored_even_if_a_host_sends_one() -> None:
    say = speech_in(make.meeting(), consent_voice_id=False)
    assert say(ANNA).speaker.name == "Anna"
    assert say(ROBERT).speaker.name == "Anna"  # nothing is told apart by voice
    assert not Voiceprint.objects.exists() and not Consent.objects.exists()


def test_without_consent_nobody_is_recognised_by_a_print_that_is_there() -> None:
    owner = make.user()
    known = make.speaker(owner, "Robert", sounds=ROBERT)
    line = speech_in(make.meeting(owner), "Anna", consent_voice_id=False)(ROBERT)
    assert line.speaker != known
    assert known.voiceprints.get().speech_s == ROBERT.speech_s


def test_without_a_voice_the_lines_go_under_the_persons_own_name_on_every_stream() -> None:
    meeting = make.meeting()
    anna = make.participant(meeting)
    first, second = Said(make.stream(meeting, anna)), Said(make.stream(meeting, anna))
    assert first(None).speaker == second(None).speaker
    assert Speaker.objects.get().name == "Anna"


def test_too_short_words_go_to_whoever_spoke_before() -> None:
    say = speech_in(make.meeting())
    say(ANNA)
    robert = say(ROBERT).speaker
    short = say(make.alike(ANNA, 0.99, speech_s=0.6))
    assert short.speaker == robert
    assert short.speaker_confidence < 0.5


def test_a_voice_found_after_too_short_words_belongs_to_the_same_person() -> None:
    say = speech_in(make.meeting())
    short = say(make.alike(ANNA, 0.99, speech_s=0.6))
    assert short.speaker.name == "Anna" and not Voiceprint.objects.exists()
    assert say(ANNA).speaker == short.speaker
    assert Speaker.objects.count() == 1


def test_an_unsure_match_says_so_and_teaches_the_print_nothing() -> None:
    say = speech_in(make.meeting())
    anna = say(ANNA).speaker
    before = anna.voiceprints.get().updated_at
    thresholds = THRESHOLDS[make.VOICE_MODEL]
    line = say(make.alike(ANNA, (thresholds.lower + thresholds.upper) / 2))
    assert (line.speaker, line.speaker_state) == (anna, Utterance.SpeakerState.UNSURE)
    assert 0 < line.speaker_confidence < 1
    assert anna.voiceprints.get().updated_at == before


def test_a_sure_match_teaches_the_print() -> None:
    say = speech_in(make.meeting())
    anna = say(ANNA).speaker
    say(make.alike(ANNA, 0.9, speech_s=5.0))
    assert anna.voiceprints.get().speech_s == pytest.approx(ANNA.speech_s + 5.0)


def test_prints_of_another_model_say_nothing_about_a_voice() -> None:
    owner = make.user()
    enrolled = make.speaker(owner, "Robert", sounds=make.voice(2, model=make.OTHER_VOICE_MODEL))
    line = speech_in(make.meeting(owner), "")(ROBERT)
    assert line.speaker != enrolled
    assert line.speaker.voiceprints.get().model == make.VOICE_MODEL


def test_a_model_without_thresholds_of_its_own_is_matched_carefully() -> None:
    unknown = VoiceEmbedding(make.voice(5).vector, "some-new-model", 4.0)
    say = speech_in(make.meeting(), "")
    first = say(unknown).speaker
    assert say(unknown).speaker == first
    assert say(make.alike(unknown, 0.75)).speaker_state == Utterance.SpeakerState.UNSURE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0], ids=str)
def test_a_vector_that_says_nothing_costs_no_words_and_leaves_no_print(value: float) -> None:
    say = speech_in(make.meeting())
    anna = say(ANNA).speaker
    line = say(VoiceEmbedding([value] * 256, make.VOICE_MODEL, 4.0))
    assert line.speaker == anna
    assert Voiceprint.objects.count() == 1


def test_a_vector_of_another_length_costs_no_words() -> None:
    say = speech_in(make.meeting())
    say(ANNA)
    assert say(VoiceEmbedding([1.0, 0.0], make.VOICE_MODEL, 4.0)).text


def test_a_name_is_shown_at_another_microphone_only_once_enough_is_known_of_the_voice() -> None:
    meeting = make.meeting()
    anna, robert = (Said(make.stream(meeting, make.participant(meeting, name))) for name in ("Anna", "Robert"))
    known = anna(make.alike(ANNA, 1.0, speech_s=2.5)).speaker
    line = robert(make.alike(ANNA, 0.95, speech_s=2.0))
    assert (line.speaker, line.speaker_state) == (known, Utterance.SpeakerState.UNSURE)
    assert anna(make.alike(ANNA, 0.95, speech_s=2.0)).speaker_state == Utterance.SpeakerState.KNOWN  # at her own
    anna(ANNA)
    assert robert(make.alike(ANNA, 0.95, speech_s=2.0)).speaker_state == Utterance.SpeakerState.KNOWN


def test_each_microphone_leaves_a_print_of_its_own_and_the_best_counts() -> None:
    meeting = make.meeting()
    person = make.participant(meeting)
    desk = Said(make.stream(meeting, person, label="desk"))
    phone = Said(make.stream(meeting, person, label="phone"))
    anna = desk(ANNA).speaker
    for say in (phone, phone, desk):
        assert say(make.alike(ANNA, 0.82)).speaker == anna
    assert sorted(anna.voiceprints.values_list("speech_s", flat=True)) == [8.0, 8.0]
    sources = set(anna.voiceprints.values_list("source", flat=True))
    assert sources == {f"microphone:{person.pk}/desk", f"microphone:{person.pk}/phone"}


@pytest.mark.parametrize("speech_s", [1.99, 2.99])
def test_what_is_below_its_floor_neither_makes_nor_changes_a_print(speech_s: float) -> None:
    say = speech_in(make.meeting())
    if speech_s > 2:
        say(ANNA)
    before = list(Voiceprint.objects.values())
    say(make.alike(ANNA, 0.95, speech_s=speech_s))
    assert list(Voiceprint.objects.values()) == before


def test_a_voice_that_does_not_reach_the_floor_makes_nobody_new() -> None:
    say = speech_in(make.meeting())
    say(ANNA)
    assert say(make.alike(ROBERT, 1.0, speech_s=1.9)).speaker.name == "Anna"
    assert Speaker.objects.count() == 1


def test_the_number_of_a_guest_who_turned_out_to_be_somebody_is_not_given_again() -> None:
    say = speech_in(make.meeting())
    anna, guest = say(ANNA).speaker, say(ROBERT).speaker
    speakers_join(guest, anna)
    assert say(MAX).speaker.name == "Guest 2"
