"""Speakers and lines put right in the admin."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from meetings.access import owner_create
from meetings.models import HeardVoice, Utterance
from speakers.models import Speaker, Voiceprint
from tests import factories as make
from tests.listening import Listener
from tests.meetings.test_corrections import Scene, likeness, now

pytestmark = pytest.mark.django_db

ANNA, ROBERT = make.voice(1), make.voice(2)


def act(action: str, page: str, *rows: Speaker | Utterance) -> str:
    """Run an admin action on these rows; the page's answer."""
    client = Client()
    client.force_login(owner_create())
    wish = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(reverse(f"admin:{page}_changelist"), wish, follow=True).content.decode()


def test_speakers_are_merged_into_the_one_with_a_name(published: Listener) -> None:
    scene = Scene()
    anna, guest = scene.say(ANNA), scene.say(ROBERT)
    with published(scene.meeting) as events:
        act("merge", "speakers_speaker", guest.speaker, anna.speaker)
    assert now(guest).speaker == anna.speaker
    assert events[0]["merged_from"] == guest.speaker_id


def test_people_of_different_owners_are_not_merged() -> None:
    ours, theirs = Scene().say(ANNA).speaker, Scene().say(ROBERT).speaker
    assert "of one owner" in act("merge", "speakers_speaker", ours, theirs)
    assert not Speaker.objects.exclude(merged_into=None).exists()


def test_speakers_are_forgotten(published: Listener) -> None:
    scene = Scene()
    anna = scene.say(ANNA).speaker
    with published(scene.meeting) as events:
        act("forget", "speakers_speaker", anna)
    anna.refresh_from_db()
    assert (anna.name, anna.is_guest, anna.voiceprints.count()) == ("Guest 1", True, 0)
    assert events.types == ["speaker.updated", "caption.final"]


def test_lines_are_given_to_somebody_new() -> None:
    scene = Scene()
    mine, theirs = scene.say(ANNA), scene.say(make.alike(ANNA, 0.85))
    act("split", "meetings_utterance", theirs)
    assert now(theirs).speaker.name == "Guest 1" and now(mine).speaker.name == "Anna"
    assert likeness(now(mine).speaker, ANNA) == pytest.approx(1.0, abs=1e-4)


def test_a_consent_that_is_unticked_erases_what_was_heard() -> None:
    scene = Scene()
    scene.say(ANNA)
    client = Client()
    client.force_login(owner_create())
    person = scene.participant
    form = {"meeting": scene.meeting.pk, "name": "Anna", "role": person.role, "consent_transcribe": "on"}
    client.post(reverse("admin:meetings_participant_change", args=[person.pk]), form)
    person.refresh_from_db()
    assert not person.consent_voice_id and not HeardVoice.objects.exists() and not Voiceprint.objects.exists()
