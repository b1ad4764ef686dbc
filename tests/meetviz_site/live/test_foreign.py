"""A stream in a language that the engine does not know, as the desk sees it: no interims, and a notice."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from meetings.access import Membership
from meetings.audio.hearing import FORGET_SPEECH_S
from meetings.models import AudioStream, Meeting
from meetviz_site.live.status_now import Hearing, live_status
from meetviz_site.live.threads import in_thread
from meetviz_site.status import host_seen
from tests import factories as make
from tests.meetviz_site.live.test_desk import Desk, listening, opened  # noqa: F401  (a fixture)
from tests.sounds import RATE_HZ, silence, spoken
from workers.messages import QUEUE_PAINT, QUEUE_SPEECH, EngineFacts, Heartbeat

pytestmark = pytest.mark.django_db(transaction=True)


async def utterance(one: Desk, number: int, understood: str, **heard: Any) -> None:
    """Somebody says a line of the dialogue, and `core` says what it makes of it. Interims are answered, none is lost:
    an unanswered one would keep the lane from the next."""
    await one.say(np.concatenate([silence(0.5), spoken(number), silence(0.7)]))
    await one.all_sent()
    requests = dict(one.waiting())
    if "interim" in requests:
        await one.interim(requests["interim"], "")
    await one.settle(requests["final"], understood=understood, **heard)


async def test_while_it_is_doubtful_no_interim_is_shown(opened: Any) -> None:  # noqa: F811
    one = await opened(language="auto")
    heard = await listening(one)
    await utterance(one, 0, "doubtful")
    await one.say(np.concatenate([silence(0.5), spoken(2)[: 2 * RATE_HZ]]))
    await one.interim(await one.asked("interim"), "Invented words")
    await one.say(silence(0.7))
    await one.all_sent()
    final = dict(one.waiting())["final"]
    await one.settle(final, understood="clear", text="Good.", speaker={"id": 7, "name": "Anna"})
    await one.say(np.concatenate([silence(0.5), spoken(4)[: 2 * RATE_HZ]]))
    await one.interim(await one.asked("interim"), "There should")
    assert (await heard())["text"] == "There should"


async def test_in_another_language_no_interim_is_asked_for(opened: Any) -> None:  # noqa: F811
    one = await opened(language="auto")
    await utterance(one, 0, "foreign")
    await one.say(np.concatenate([silence(0.5), spoken(2)]))
    await one.all_sent()
    assert "interim" not in [kind for kind, _request in one.waiting()]


async def test_people_are_told_until_it_is_understood_again(opened: Any) -> None:  # noqa: F811
    one = await opened(language="auto")
    meeting_id = one.stream.meeting_id
    await utterance(one, 0, "foreign")
    assert one.desk.hearing_of(meeting_id).foreign and not one.desk.hearing_of(meeting_id + 1).foreign
    await utterance(one, 2, "doubtful")
    assert not one.desk.hearing_of(meeting_id).foreign


async def test_people_are_not_told_for_ever_of_who_left(opened: Any) -> None:  # noqa: F811
    one = await opened(language="auto")
    await utterance(one, 0, "foreign")
    now = time.monotonic()
    assert one.stream.is_foreign(now) and not one.stream.is_foreign(now + FORGET_SPEECH_S)


async def test_a_restarted_server_still_knows(opened: Any) -> None:  # noqa: F811
    one = await opened(language="auto")
    await in_thread(AudioStream.objects.filter(pk=one.stream.id).update, foreign=True, language_doubt=5.0)
    del one.desk.streams[str(one.stream.id)]
    member = await in_thread(_member_of, one.stream.id)
    again = await one.desk.open(member, one.stream.socket, one.stream.id, language="", label="")
    assert again.understood == "foreign"


def _member_of(stream_id: Any) -> Any:
    participant = AudioStream.objects.select_related("participant__meeting").get(pk=stream_id).participant
    return Membership(participant.meeting, participant)


def test_the_notice_says_what_is_known_and_what_to_do() -> None:
    meeting: Meeting = make.meeting(language="auto")
    speech = EngineFacts("pocketsphinx", "en-us", demo=True, languages=["en"]).to_wire()
    host_seen(Heartbeat(QUEUE_SPEECH, "host", {"speech": speech}, time.time()))
    host_seen(Heartbeat(QUEUE_PAINT, "host", {"paint": EngineFacts("poster", "poster-1").to_wire()}, time.time()))
    assert live_status(meeting, Hearing()).notice is None
    notice = live_status(meeting, Hearing(foreign=True, wordless=True)).notice
    assert notice is not None and notice["code"] == "language_unsupported"
    assert "en" in notice["message"] and "Fetch the real engines" in notice["message"]
