"""Speakers and their voiceprints in the database."""

from __future__ import annotations

import numpy as np
import pytest

from speakers.models import SPEAKER_COLOURS, Consent, Speaker, StylePreset, Voiceprint
from speakers.services import (
    MOST_PRINTS,
    UnusableVoice,
    speaker_create,
    speaker_now,
    voice_candidates,
    voice_delete,
    voiceprint_learn,
    voiceprints_move,
    voices_withdraw,
)
from tests import factories as make
from workers.messages import VoiceEmbedding

pytestmark = pytest.mark.django_db


def learn(speaker: Speaker, voice: VoiceEmbedding) -> Voiceprint | None:
    return voiceprint_learn(speaker=speaker, voice=voice, source="test")


def test_speakers_get_colours_and_styles_that_differ() -> None:
    owner, taken = make.user(), []
    for number in range(len(SPEAKER_COLOURS)):
        taken.append(
            speaker_create(owner_id=owner.pk, name=f"{number}", is_guest=True, taken_colours=[s.colour for s in taken])
        )
    assert {speaker.colour for speaker in taken} == set(SPEAKER_COLOURS)
    assert len({speaker.preset_id for speaker in taken}) == len(SPEAKER_COLOURS)


def test_a_speaker_more_than_there_are_colours_still_gets_one() -> None:
    assert speaker_create(owner_id=make.user().pk, name="Nina", is_guest=True, taken_colours=SPEAKER_COLOURS).colour


def test_the_nearest_voices_come_first_and_only_of_the_same_owner() -> None:
    owner, stranger = make.user(), make.user()
    anna = make.speaker(owner, "Anna", sounds=make.voice(1))
    robert = make.speaker(owner, "Robert", sounds=make.voice(2))
    make.speaker(stranger, "Anna", sounds=make.voice(1))
    candidates = voice_candidates(owner_id=owner.pk, voice=make.alike(make.voice(1), 0.8))
    assert [candidate.speaker for candidate in candidates] == [anna.pk, robert.pk]
    assert candidates[0].cosine == pytest.approx(0.8, abs=1e-3)


def test_voices_of_different_models_are_never_compared() -> None:
    owner = make.user()
    make.speaker(owner, sounds=make.voice(1, model=make.OTHER_VOICE_MODEL))
    assert voice_candidates(owner_id=owner.pk, voice=make.voice(1)) == []


def test_a_vector_of_another_length_under_the_same_models_name_is_not_compared_either() -> None:
    owner = make.user()
    make.speaker(owner, sounds=VoiceEmbedding(make.voice(1).vector, "some-new-model", 4.0))
    short = VoiceEmbedding([1.0, 0.0, 0.0], "some-new-model", 4.0)
    assert voice_candidates(owner_id=owner.pk, voice=short) == []


def test_a_speaker_merged_into_another_is_no_candidate() -> None:
    owner = make.user()
    anna, double = make.speaker(owner), make.speaker(owner, "Guest 1", sounds=make.voice(1))
    Speaker.objects.filter(pk=double.pk).update(merged_into=anna)
    assert voice_candidates(owner_id=owner.pk, voice=make.voice(1)) == []


@pytest.mark.parametrize(
    "vector",
    [[], [0.0] * 256, [float("nan")] * 256, [float("inf")] + [0.0] * 255, [1.0] + [0.0] * 191],
    ids=["empty", "zero", "nan", "infinite", "another model's length"],
)
def test_a_vector_that_says_nothing_is_refused(vector: list[float]) -> None:
    with pytest.raises(UnusableVoice):
        voice_candidates(owner_id=make.user().pk, voice=VoiceEmbedding(vector, make.VOICE_MODEL, 4.0))


def test_a_first_print_needs_two_seconds_and_notes_the_consent() -> None:
    anna = make.speaker(make.user())
    assert learn(anna, make.voice(1, speech_s=1.9)) is None
    assert not anna.voiceprints.exists() and not anna.consents.exists()
    print_ = learn(anna, make.voice(1, speech_s=2.0))
    assert print_ is not None and print_.model == make.VOICE_MODEL
    assert anna.consents.get().kind == Consent.Kind.VOICE_ID


def test_a_print_changes_only_with_three_seconds_and_moves_towards_what_it_heard() -> None:
    anna = make.speaker(make.user())
    learn(anna, make.voice(1, speech_s=4.0))
    heard = make.alike(make.voice(1), 0.8, speech_s=2.9)
    before = np.asarray(anna.voiceprints.get().vector)
    assert learn(anna, heard) is None
    assert np.array_equal(np.asarray(anna.voiceprints.get().vector), before)
    learn(anna, make.alike(make.voice(1), 0.8, speech_s=4.0))
    after = anna.voiceprints.get()
    assert np.asarray(after.vector) @ np.asarray(heard.vector) > 0.9
    assert np.linalg.norm(after.vector) == pytest.approx(1.0, abs=1e-5)
    assert after.speech_s == pytest.approx(8.0)


def test_a_speaker_keeps_the_prints_of_the_microphones_heard_last_and_those_made_for_it() -> None:
    anna = make.speaker(make.user())
    for number in range(MOST_PRINTS + 3):
        source = "enrolment" if number == 0 else f"microphone:{number}/"
        voiceprint_learn(speaker=anna, voice=make.voice(number), source=source)
    kept = set(anna.voiceprints.values_list("source", flat=True))
    assert kept == {"enrolment", *(f"microphone:{number}/" for number in range(4, MOST_PRINTS + 3))}


def test_one_microphone_has_two_prints_where_a_person_sounds_like_two() -> None:
    anna = make.speaker(make.user())
    for voice in (make.voice(1), make.voice(2), make.voice(1), make.voice(2)):
        learn(anna, voice)
    assert sorted(anna.voiceprints.values_list("speech_s", flat=True)) == [8.0, 8.0]


def test_prints_and_consent_of_one_who_is_merged_go_along() -> None:
    owner = make.user()
    anna, double = make.speaker(owner), make.speaker(owner, "Guest 1", is_guest=True)
    learn(anna, make.voice(1))
    learn(double, make.alike(make.voice(1), 0.9))
    voiceprint_learn(speaker=double, voice=make.voice(2), source="elsewhere")
    voiceprints_move(of=double, to=anna)
    assert sorted(anna.voiceprints.values_list("source", "speech_s")) == [("elsewhere", 4.0), ("test", 8.0)]
    assert not double.voiceprints.exists()


def test_what_was_learned_at_a_microphone_is_erased_with_its_consent() -> None:
    owner = make.user()
    anna, robert = make.speaker(owner), make.speaker(owner, "Robert")
    for speaker, source in ((anna, "microphone:1/"), (robert, "microphone:1/desk"), (robert, "microphone:12/")):
        voiceprint_learn(speaker=speaker, voice=make.voice(speaker.pk), source=source)
    voices_withdraw("microphone:1/")
    assert list(Voiceprint.objects.values_list("speaker", "source")) == [(robert.pk, "microphone:12/")]
    assert [consent.withdrawn_at is None for consent in Consent.objects.order_by("speaker")] == [False, True]


def test_a_merged_speaker_leads_to_who_they_are() -> None:
    owner = make.user()
    first, second, third = (make.speaker(owner, name) for name in ("one", "two", "three"))
    Speaker.objects.filter(pk=first.pk).update(merged_into=second)
    Speaker.objects.filter(pk=second.pk).update(merged_into=third)
    assert speaker_now(first.pk) == third == speaker_now(third.pk)
    assert speaker_now(0) is None
    Speaker.objects.filter(pk=third.pk).update(merged_into=first)  # by a slip in the admin
    assert speaker_now(first.pk) is not None


def test_each_model_has_a_print_of_its_own() -> None:
    anna = make.speaker(make.user(), sounds=make.voice(1))
    learn(anna, make.voice(1, model=make.OTHER_VOICE_MODEL))
    assert {print_.model: len(print_.vector) for print_ in anna.voiceprints.all()} == make.DIMENSIONS


def test_forgetting_a_voice_takes_every_print_and_withdraws_the_consent() -> None:
    anna = make.speaker(make.user())
    learn(anna, make.voice(1))
    learn(anna, make.voice(1, model=make.OTHER_VOICE_MODEL))
    assert voice_delete(anna) == 2
    assert not anna.voiceprints.exists()
    assert anna.consents.get().withdrawn_at is not None
    learn(anna, make.voice(1))
    assert anna.consents.filter(withdrawn_at=None).count() == 1


def test_changing_a_preset_raises_its_version_whatever_is_saved() -> None:
    preset = StylePreset.objects.create(name="Mine", palette=["#112233"])
    assert preset.version == 1
    preset.style_words = "woodcut"
    preset.save()
    preset.name = "Yours"
    preset.save(update_fields=["name"])
    assert StylePreset.objects.get(pk=preset.pk).version == 3
