"""The same job over Redis and PostgreSQL: two web processes, `core`, `speech` and `paint`, each on its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from meetviz_site.live.client import socket_url
from tests.live.cuts import IN_THIRD_LINE_S, UNTIL_S, WITHIN_S, client_of, speak_uncut, stored, upto
from tests.live.servers import Servers, server_site
from tests.live.story import Story, StoryTests, tell
from tests.live.talking import silence, socket_to, words_of
from workers.messages import SAMPLE_RATE_HZ

pytestmark = pytest.mark.server

Meeting = dict[str, str]
AGREED = {"transcribe": True}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with server_site(tmp_path_factory.mktemp("servers")) as site:
        yield site


@pytest.fixture(scope="module")
def story(servers: Servers, speech: np.ndarray) -> Story:
    """The speaker is at one web process, the viewer at the other."""
    meeting = servers.new_meeting("The garden by the river")
    return asyncio.run(tell(servers, meeting, speech, viewer_url=at_second(servers, meeting)))


class TestSeparateProcesses(StoryTests):
    """What holds in one process holds here."""


def at_second(servers: Servers, meeting: Meeting) -> str:
    return socket_url(servers.second_url, meeting["slug"])


async def test_what_is_said_at_one_web_process_is_seen_at_the_other(servers: Servers, sentence: np.ndarray) -> None:
    meeting = servers.new_meeting("two doors")
    async with socket_to(meeting["ws_url"]) as here, socket_to(at_second(servers, meeting)) as there:
        await here.hello(meeting["join_token"], name="Anna", consent=AGREED)
        await there.hello(meeting["viewer_token"], name="Max")
        opened = await here.open_stream(language="en")
        until = await here.audio(opened, sentence)
        caption = await here.next("caption.final")
        assert await there.next("caption.final") == caption
        assert "morning" in words_of(caption["text"])
        assert (await here.close_stream(opened))["next_sample"] == until
        await there.settled()
        assert there.seen[-1]["captions"] == [caption]
        await here.say("settings.change", paused=True)
        assert (await there.next("meeting.updated"))["meeting"]["paused"] is True


async def test_a_stream_moves_to_the_other_web_process_without_losing_a_word(
    servers: Servers, sentence: np.ndarray
) -> None:
    meeting = servers.new_meeting("moving")
    speech = np.concatenate([silence(1.0), sentence])
    middle = 3 * SAMPLE_RATE_HZ
    async with socket_to(meeting["ws_url"]) as first, socket_to(at_second(servers, meeting)) as second:
        for talk in (first, second):
            await talk.hello(meeting["join_token"], name="Anna", consent=AGREED)
        opened = await first.open_stream(language="en")
        await first.audio(opened, speech[:middle])
        acked = await first.acked(opened, SAMPLE_RATE_HZ // 2)
        again = await second.open_stream(opened["stream"], language="en")
        assert await first.closed() == 4409
        assert acked <= again["next_sample"] <= middle
        await second.audio(again, speech[again["next_sample"] :], first=again["next_sample"])
        assert (await second.close_stream(again))["next_sample"] == len(speech)
        await second.settled()
    (caption,) = second.seen[-1]["captions"]
    spoken = ["good", "morning", "everyone", "today", "we", "plan", "the", "new", "garden", "by", "the", "river"]
    heard = words_of(caption["text"])
    assert heard[:4] == spoken[:4] and len(set(spoken) & set(heard)) >= 8 and len(heard) <= 14


async def test_both_web_processes_close_their_sockets_when_the_meeting_ends(servers: Servers) -> None:
    meeting = servers.new_meeting("ends")
    async with socket_to(meeting["ws_url"]) as here, socket_to(at_second(servers, meeting)) as there:
        for talk in (here, there):
            await talk.hello(meeting["viewer_token"])
        await asyncio.to_thread(servers.end_meeting, meeting)
        assert await here.closed() == 4410
        assert await there.closed() == 4410


async def test_a_speech_host_killed_in_the_middle_of_a_sentence_costs_nothing(
    servers: Servers, speech: np.ndarray
) -> None:
    """A final is lost with the host; the web process asks again as soon as answers use to be there by then."""
    meetings = servers.new_meetings(2)
    uncut = await speak_uncut(meetings[0], speech)
    async with client_of(meetings[1]) as client:
        stream = await client.open_stream(language="en")
        await stream.write(upto(speech, 0, IN_THIRD_LINE_S))
        await client.wait_for("caption.final", timeout_s=WITHIN_S)  # the next final went out with it
        assert servers.speech_host is not None
        await asyncio.to_thread(servers.speech_host.stop, signal.SIGKILL)
        await asyncio.to_thread(servers.start_speech_host)
        await stream.write(upto(speech, IN_THIRD_LINE_S, UNTIL_S))
        await stream.close(WITHIN_S)
    assert await stored(meetings[1]) == uncut


async def test_ten_megabytes_are_refused_by_the_daphne_command_as_well(servers: Servers) -> None:
    meeting = servers.new_meeting("large")
    async with socket_to(meeting["ws_url"]) as talk:
        await talk.hello(meeting["join_token"])
        await talk.say_raw(bytes(10_000_000))
        assert await talk.closed() == 4413


async def test_a_web_process_that_stops_tells_its_sockets_to_come_back(servers: Servers) -> None:
    """Keep this test the last: the second web process is gone afterwards."""
    meeting = servers.new_meeting("restart")
    async with socket_to(at_second(servers, meeting)) as talk:
        await talk.hello(meeting["join_token"], name="Anna", consent=AGREED)
        opened = await talk.open_stream()
        await talk.audio(opened, silence(1.0))
        acked = await talk.acked(opened, 1)
        stopped = asyncio.create_task(asyncio.to_thread(servers.processes[-1].stop))
        assert await talk.closed() == 1012
        assert await stopped in (0, -15)
    async with socket_to(meeting["ws_url"]) as talk:
        await talk.hello(meeting["join_token"], name="Anna", consent=AGREED)
        assert (await talk.open_stream(opened["stream"]))["next_sample"] >= acked
