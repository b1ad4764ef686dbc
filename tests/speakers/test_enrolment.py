"""What becomes of a recording that is to teach a voice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone, translation

from speakers import enrolment
from speakers.enrolment import EnrolmentRefused, enrolment_finish, enrolment_start, voice_enrol
from speakers.models import Consent, Enrolment, Speaker, Voiceprint
from speakers.services import voice_candidates, voice_delete
from tests import factories as make
from workers.messages import EmbedResult, VoiceEmbedding

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> Any:
    return make.user()


def finish(of: Enrolment, voice: VoiceEmbedding | None = None, *, error: str = "", **values: Any) -> Enrolment:
    speech_s = values.get("speech_s", voice.speech_s if voice else 0.0)
    enrolment_finish(EmbedResult(str(of.pk), voice, speech_s, error))
    of.refresh_from_db()
    return of


def test_a_recording_makes_a_speaker_with_consent_and_a_voice_that_is_found_again(owner: Any) -> None:
    done = finish(enrolment_start(owner=owner, name="Anna"), make.voice(1, speech_s=8.0))
    assert (done.state, done.speech_s, done.error) == (Enrolment.State.DONE, 8.0, "")
    anna = done.speaker
    assert (anna.name, anna.is_guest, anna.owner) == ("Anna", False, owner)
    assert anna.consents.get().withdrawn_at is None
    print_ = anna.voiceprints.get()
    assert (print_.source, print_.model, print_.speech_s) == ("enrolment", make.VOICE_MODEL, 8.0)
    (candidate,) = voice_candidates(owner_id=owner.pk, voice=make.voice(1))
    assert (candidate.speaker, candidate.cosine) == (anna.pk, pytest.approx(1.0))


def test_a_result_that_arrives_twice_changes_nothing(owner: Any) -> None:
    start = enrolment_start(owner=owner, name="Anna")
    finish(start, make.voice(1, speech_s=8.0))
    before = np.asarray(Voiceprint.objects.get().vector)
    finish(start, make.voice(2, speech_s=20.0))
    assert (Speaker.objects.count(), Consent.objects.count()) == (1, 1)
    assert np.array_equal(np.asarray(Voiceprint.objects.get().vector), before)
    assert Voiceprint.objects.get().speech_s == 8.0


@pytest.mark.parametrize(
    ("speech_s", "sentence"), [(1.8, "3.2 s more needed"), (0.0, "5.0 s more needed"), (4.99, "0.1 s more needed")]
)
def test_too_little_speech_says_how_much_more(owner: Any, speech_s: float, sentence: str) -> None:
    done = finish(enrolment_start(owner=owner, name="Anna"), make.voice(1, speech_s=speech_s))
    assert (done.state, done.error) == (Enrolment.State.FAILED, "too_little_speech")
    assert enrolment.refusal(done.error, done.speech_s) == sentence
    assert not Speaker.objects.exists()


def test_seconds_are_written_as_the_language_writes_them() -> None:
    with translation.override("ru"):
        assert "3,2" in enrolment.more_needed(1.8)


def test_a_recording_without_any_voice_needs_all_of_it(owner: Any) -> None:
    done = finish(enrolment_start(owner=owner, name="Anna"), None, error="too_little_speech")
    assert enrolment.refusal(done.error, done.speech_s) == "5.0 s more needed"


@pytest.mark.parametrize(
    ("vector", "model", "code"),
    [
        ([float("nan")] * 256, make.VOICE_MODEL, "not_usable"),
        ([float("inf")] + [0.0] * 255, make.VOICE_MODEL, "not_usable"),
        ([0.0] * 256, make.VOICE_MODEL, "not_usable"),
        ([1.0] + [0.0] * 191, make.VOICE_MODEL, "not_usable"),
        ([1.0, 0.0], "somebody-elses-model", "unknown_model"),
    ],
    ids=["nan", "infinite", "zero", "another model's length", "another model"],
)
def test_an_embedding_that_says_nothing_is_refused_with_a_message(
    owner: Any, vector: list[float], model: str, code: str
) -> None:
    done = finish(enrolment_start(owner=owner, name="Anna"), VoiceEmbedding(vector, model, 9.0))
    assert (done.state, done.error) == (Enrolment.State.FAILED, code)
    assert len(enrolment.refusal(code)) > 20
    assert not Speaker.objects.exists() and not Voiceprint.objects.exists()


def test_an_engine_that_fails_leaves_a_message_and_nothing_else(owner: Any) -> None:
    done = finish(enrolment_start(owner=owner, name="Anna"), None, error="engine_failed")
    assert done.state == Enrolment.State.FAILED
    assert "Nothing was learned" in enrolment.refusal(done.error)


def test_a_name_that_is_known_gets_the_voice_however_it_is_written(owner: Any) -> None:
    anna = make.speaker(owner, "Anna")
    assert finish(enrolment_start(owner=owner, name="ANNA"), make.voice(1, speech_s=8.0)).speaker == anna
    anna.refresh_from_db()
    assert anna.name == "Anna"


def test_a_second_recording_adds_to_the_first_by_its_length(owner: Any) -> None:
    finish(enrolment_start(owner=owner, name="Anna"), make.voice(1, speech_s=10.0))
    other = make.alike(make.voice(1), 0.9, speech_s=30.0)
    finish(enrolment_start(owner=owner, name="Anna"), other)
    print_ = Voiceprint.objects.get()
    assert print_.speech_s == 40.0
    cosine = np.asarray(print_.vector)
    assert cosine @ np.asarray(other.vector) > cosine @ np.asarray(make.voice(1).vector) > 0.9


def test_what_meetings_learned_stays_beside_what_was_taught(owner: Any) -> None:
    anna = make.speaker(owner, "Anna", sounds=make.voice(1))
    finish(enrolment_start(owner=owner, name="Anna"), make.alike(make.voice(1), 0.9, speech_s=8.0))
    assert sorted(anna.voiceprints.values_list("source", flat=True)) == ["", "enrolment"]


def test_another_persons_voice_is_not_mixed_into_a_known_one(owner: Any) -> None:
    anna = make.speaker(owner, "Anna", sounds=make.voice(1))
    done = finish(enrolment_start(owner=owner, name="Anna"), make.alike(make.voice(1), 0.3, speech_s=8.0))
    assert (done.state, done.error) == (Enrolment.State.FAILED, "other_voice")
    assert anna.voiceprints.count() == 1
    other_model = make.voice(2, speech_s=8.0, model=make.OTHER_VOICE_MODEL)
    assert finish(enrolment_start(owner=owner, name="Anna"), other_model).state == Enrolment.State.DONE


def test_a_guest_of_that_name_is_one_no_more(owner: Any) -> None:
    make.speaker(owner, "Guest 1", sounds=make.voice(1), is_guest=True)
    done = finish(enrolment_start(owner=owner, name="Guest 1"), make.alike(make.voice(1), 0.9, speech_s=8.0))
    assert not done.speaker.is_guest


def test_names_of_other_owners_are_other_people(owner: Any) -> None:
    theirs = make.speaker(make.user(), "Anna", sounds=make.voice(2))
    done = finish(enrolment_start(owner=owner, name="Anna"), make.voice(1, speech_s=8.0))
    assert done.speaker != theirs
    assert theirs.voiceprints.count() == 1


def test_a_voice_deleted_while_it_was_being_learned_stays_deleted(owner: Any) -> None:
    anna = make.speaker(owner, "Anna")
    voice_enrol(owner_id=owner.pk, name="Anna", voice=make.voice(1, speech_s=8.0))
    start = enrolment_start(owner=owner, name="Anna")
    voice_delete(anna)
    assert finish(start, make.voice(1, speech_s=8.0)).error == "forgotten"
    assert not anna.voiceprints.exists()
    again = finish(enrolment_start(owner=owner, name="Anna"), make.voice(1, speech_s=8.0))
    assert again.state == Enrolment.State.DONE, "who agrees anew is learned anew"
    assert anna.consents.filter(withdrawn_at=None).count() == 1


def test_a_result_for_an_enrolment_that_was_erased_is_dropped(owner: Any) -> None:
    start = enrolment_start(owner=owner, name="Anna")
    Enrolment.objects.all().delete()
    enrolment_finish(EmbedResult(str(start.pk), make.voice(1, speech_s=8.0), 8.0))
    assert not Speaker.objects.exists()


def test_recordings_are_counted_and_old_ones_forgotten(owner: Any) -> None:
    for _number in range(enrolment.MOST_IN_A_WHILE):
        enrolment_start(owner=owner, name="Anna")
    with pytest.raises(EnrolmentRefused, match="too_often"):
        enrolment_start(owner=owner, name="Anna")
    enrolment_start(owner=make.user(), name="Anna")
    Enrolment.objects.filter(owner=owner).update(created_at=timezone.now() - timedelta(days=2))
    enrolment_start(owner=owner, name="Anna")
    assert Enrolment.objects.filter(owner=owner).count() == 1
