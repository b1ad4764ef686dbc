"""Speakers and their voiceprints in the database."""

from __future__ import annotations

import numpy as np
import pytest

from speakers.models import SPEAKER_COLOURS, Consent, Speaker, StylePreset, Voiceprint
from speakers.services import UnusableVoice, speaker_create, voice_candidates, voice_delete, voiceprint_learn
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
    anna = make.speaker(make.user(), sounds=make.voice(1, speech_s=4.0))
    heard = make.alike(make.voice(1), 0.8, speech_s=2.9)
    before = np.asarray(anna.voiceprints.get().vector)
    assert learn(anna, heard) is None
    assert np.array_equal(np.asarray(anna.voiceprints.get().vector), before)
    learn(anna, make.alike(make.voice(1), 0.8, speech_s=4.0))
    after = anna.voiceprints.get()
    assert np.asarray(after.vector) @ np.asarray(heard.vector) > 0.9
    assert np.linalg.norm(after.vector) == pytest.approx(1.0, abs=1e-5)
    assert after.speech_s == pytest.approx(8.0)


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
