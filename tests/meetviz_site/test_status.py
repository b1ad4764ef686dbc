"""What the room says about its machinery."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from generation import leases
from generation.models import Frame
from generation.services import frame_wish
from meetings.models import Meeting, Utterance
from meetviz_site.models import Host
from meetviz_site.status import a_painter_answers, host_seen, painters_alive, status_of
from tests import factories as make
from workers.messages import QUEUE_PAINT, QUEUE_SPEECH, EngineFacts, Heartbeat

pytestmark = pytest.mark.django_db

SPEECH = EngineFacts("pocketsphinx", "en-us", demo=True, languages=["en"])
VOICE = EngineFacts("resemblyzer", "ge2e-256", demo=True)
PAINT = EngineFacts("poster", "poster-1")


def beat(queue: str, host: str = "one", *, ago_s: float = 0.0, **engines: EngineFacts) -> None:
    host_seen(Heartbeat(queue, host, {role: facts.to_wire() for role, facts in engines.items()}, at=0.0))
    if ago_s:
        Host.objects.filter(queue=queue, name=host).update(seen_at=timezone.now() - timedelta(seconds=ago_s))


def all_well() -> None:
    beat(QUEUE_SPEECH, speech=SPEECH, voice=VOICE)
    beat(QUEUE_PAINT, paint=PAINT)


def told(meeting: Meeting) -> dict[str, Any]:
    return status_of(meeting).to_dict()


def test_engines_are_named_with_all_that_people_should_know() -> None:
    all_well()
    status = told(make.meeting())
    assert status["engines"]["speech"] == {
        "name": "pocketsphinx", "model": "en-us", "device": "cpu", "demo": True, "languages": ["en"],
    }  # fmt: skip
    assert status["engines"]["voice"]["name"] == "resemblyzer"
    assert status["engines"]["paint"]["demo"] is False
    assert "notice" not in status


def test_a_host_that_is_silent_is_not_there() -> None:
    all_well()
    beat(QUEUE_SPEECH, speech=SPEECH, voice=VOICE, ago_s=21)
    status = told(make.meeting())
    assert status["engines"]["speech"] is None and status["engines"]["paint"]["name"] == "poster"
    assert status["notice"]["code"] == "no_speech_host"


def test_without_a_painter_the_notice_says_what_to_start() -> None:
    beat(QUEUE_SPEECH, speech=SPEECH)
    notice = told(make.meeting())["notice"]
    assert notice["code"] == "no_paint_host" and "-Q paint" in notice["message"]


@pytest.mark.parametrize(("language", "code"), [("ru", "language_unsupported"), ("en", None), ("auto", None)])
def test_a_language_that_the_engine_cannot_do_is_said_openly(language: str, code: str | None) -> None:
    all_well()
    assert told(make.meeting(language=language)).get("notice", {}).get("code") == code


def test_a_heartbeat_moves_a_host_and_old_ones_are_forgotten() -> None:
    beat(QUEUE_SPEECH, "old", speech=SPEECH, ago_s=4000)
    beat(QUEUE_SPEECH, "one", speech=SPEECH, ago_s=30)
    beat(QUEUE_SPEECH, "one", speech=SPEECH)
    assert [host.name for host in Host.objects.all()] == ["one"]
    assert Host.objects.get().seen_at > timezone.now() - timedelta(seconds=5)


@pytest.mark.parametrize(
    ("role", "queue", "code"),
    [("speech", QUEUE_SPEECH, "model_failed"), ("paint", QUEUE_PAINT, "painter_model_failed")],
)
def test_a_model_that_another_engine_stands_in_for_is_said_openly(role: str, queue: str, code: str) -> None:
    all_well()
    facts = EngineFacts("poster", "poster-1", demo=True, instead_of="sd-turbo")
    beat(queue, **{role: facts})
    notice = told(make.meeting())["notice"]
    assert notice["code"] == code and "sd-turbo" in notice["message"] and "poster" in notice["message"]


def test_painters_are_counted_and_never_none() -> None:
    assert painters_alive() == 1
    for name in ("one", "two"):
        beat(QUEUE_PAINT, name, paint=PAINT)
    beat(QUEUE_PAINT, "gone", paint=PAINT, ago_s=60)
    assert painters_alive() == 2


def test_a_painter_answers_while_its_heart_beats() -> None:
    beat(QUEUE_SPEECH, speech=SPEECH)
    assert not a_painter_answers()
    beat(QUEUE_PAINT, paint=PAINT)
    assert a_painter_answers()
    beat(QUEUE_PAINT, paint=PAINT, ago_s=60)
    assert not a_painter_answers()


def test_the_queue_and_how_far_hearing_is_behind() -> None:
    meeting = make.meeting()
    line = make.utterance(meeting)
    Utterance.objects.filter(pk=line.pk).update(heard_at=line.ended_at + timedelta(seconds=1.25))
    frame_wish(meeting, forced=True)
    status = told(meeting)
    assert status["lag_s"] == 1.25
    assert status["queue"] == {"waiting": 1, "eta_s": leases.TYPICAL_PICTURE_S}


def test_nothing_heard_is_no_lag() -> None:
    assert told(make.meeting())["lag_s"] == 0.0


def test_the_next_picture_is_counted_down_only_where_one_will_come() -> None:
    meeting = make.meeting()
    make.utterance(meeting)
    Frame.objects.create(meeting=meeting, state=Frame.State.READY, claimed_at=timezone.now() - timedelta(seconds=4))
    make.utterance(meeting, ago_s=0.0)
    assert 6.0 < told(meeting)["next_in_s"] <= 8.0
    assert "next_in_s" not in told(make.meeting())
    for values in ({"paused": True}, {"mode": Meeting.Mode.MANUAL}, {"ended_at": timezone.now()}):
        Meeting.objects.filter(pk=meeting.pk).update(paused=False, mode=Meeting.Mode.AUTO, ended_at=None)
        Meeting.objects.filter(pk=meeting.pk).update(**values)
        meeting.refresh_from_db()
        assert "next_in_s" not in told(meeting)
