"""No word lost, none twice: whatever happens to the connection or the server in the middle of a sentence."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meetings.audio.frames import MIN_SAMPLES
from meetviz_site.live.client import Consent, LiveClient, LiveError, LiveStream
from tests.live.talking import Talk, socket_to
from tests.sites import Site, local_site
from workers.messages import SAMPLE_RATE_HZ

AGREED = Consent(transcribe=True)
WITHIN_S = 120.0
# Three lines of the dialogue: 0.6–4.0 s, 4.9–9.0 s, 9.8–13.1 s.
UNTIL_S, AFTER_FIRST_LINE_S, IN_SECOND_LINE_S, IN_THIRD_LINE_S = 14.0, 4.7, 6.5, 11.0

Captions = list[tuple[str, str, int, int]]


def upto(speech: np.ndarray, first_s: float, last_s: float) -> np.ndarray:
    return speech[round(first_s * SAMPLE_RATE_HZ) : round(last_s * SAMPLE_RATE_HZ)]


def client_of(meeting: dict[str, str]) -> LiveClient:
    return LiveClient(meeting["ws_url"], token=meeting["join_token"], name="Anna", consent=AGREED)


def written_down(snapshot: Any) -> Captions:
    """Type, words and place of everything that is stored."""
    return [
        (caption["type"], caption.get("text", ""), caption["first_sample"], caption["last_sample"])
        for caption in snapshot["captions"]
    ]


def words(captions: Captions) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text, _first, _last in captions]


async def stored(meeting: dict[str, str]) -> Captions:
    async with LiveClient(meeting["ws_url"], token=meeting["viewer_token"]) as viewer:
        return written_down(await viewer.wait_for("snapshot"))


async def all_sent(stream: LiveStream) -> None:
    """All but a rest that is too short for a message of its own."""
    await stream.client._until(lambda: stream.written_samples - stream.sent_samples < MIN_SAMPLES, WITHIN_S, "sending")


@pytest.fixture(scope="module")
def uncut(live_site: Site, speech: np.ndarray) -> Captions:
    """What is written down when nothing happens."""

    async def speak() -> Captions:
        meeting = live_site.new_meeting("uncut")
        async with client_of(meeting) as client:
            stream = await client.open_stream(language="en")
            await stream.write(upto(speech, 0, UNTIL_S))
            await stream.close(WITHIN_S)
        return await stored(meeting)

    captions = asyncio.run(speak())
    assert len(captions) >= 3 and all(kind == "caption.final" and text for kind, text, _first, _last in captions)
    assert captions == sorted(captions, key=lambda caption: caption[2])  # in the order in which it was said
    return captions


@pytest.fixture(scope="module")
def own_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that may be killed."""
    home = tmp_path_factory.mktemp("killed")
    for folder in [home, *home.parents][:3]:
        folder.chmod(0o711)
    with local_site(Path(home)) as site:
        yield site


async def test_a_connection_cut_in_the_middle_of_a_sentence_costs_nothing(
    meeting: dict[str, str], speech: np.ndarray, uncut: Captions
) -> None:
    async with client_of(meeting) as client:
        stream = await client.open_stream(language="en")
        for part in ((0, IN_SECOND_LINE_S), (IN_SECOND_LINE_S, IN_THIRD_LINE_S), (IN_THIRD_LINE_S, UNTIL_S)):
            await stream.write(upto(speech, *part))
            await all_sent(stream)
            before = client.connections
            client._socket.transport.abort()
            await client._until(lambda before=before: client.connections > before, WITHIN_S)
        await stream.close(WITHIN_S)
        assert client.connections == 4
    assert await stored(meeting) == uncut


async def test_a_page_that_is_reloaded_goes_on_where_it_was_durable(
    meeting: dict[str, str], speech: np.ndarray, uncut: Captions
) -> None:
    """The second client is a new one that knows only the stream's uuid and has the audio."""
    async with client_of(meeting) as before:
        stream = await before.open_stream(language="en")
        await stream.write(upto(speech, 0, IN_SECOND_LINE_S))
        await before.wait_for("caption.final", timeout_s=WITHIN_S)
    async with client_of(meeting) as after:
        again = await after.open_stream(language="en", stream=stream.id)
        assert 0 < again.acked_samples <= IN_SECOND_LINE_S * SAMPLE_RATE_HZ
        await again.write(upto(speech, 0, UNTIL_S))
        await again.close(WITHIN_S)
    assert await stored(meeting) == uncut


async def test_a_second_socket_takes_the_stream_over_and_the_first_is_told(
    meeting: dict[str, str], speech: np.ndarray, uncut: Captions
) -> None:
    async with socket_to(meeting["ws_url"]) as first, socket_to(meeting["ws_url"]) as second:
        for talk in (first, second):
            await talk.hello(meeting["join_token"], name="Anna", consent={"transcribe": True})
        opened = await first.open_stream(language="en")
        await first.audio(opened, upto(speech, 0, IN_SECOND_LINE_S))
        again = await second.open_stream(opened["stream"], language="en")
        assert await first.closed() == 4409
        await resend(second, again, speech)
        await second.close_stream(again, within_s=WITHIN_S)
    assert await stored(meeting) == uncut


async def resend(talk: Talk, opened: dict[str, Any], speech: np.ndarray) -> None:
    """All from where the server wants it."""
    first = opened["next_sample"]
    await talk.audio(opened, speech[first : round(UNTIL_S * SAMPLE_RATE_HZ)], first=first)


async def test_what_was_being_said_when_the_meeting_ended_is_still_written_down(
    live_site: Site, speech: np.ndarray
) -> None:
    meeting = live_site.new_meeting("ends")
    cookie = live_site.session_of("owner")
    async with client_of(meeting) as client:
        stream = await client.open_stream(language="en")
        await stream.write(upto(speech, 0, 3.6))  # still speaking
        await client._until(lambda: stream.acked_samples > 0, WITHIN_S)
        await asyncio.to_thread(live_site.page, f"/m/{meeting['slug']}/end/", cookie, b"")
        with pytest.raises(LiveError, match="ended") as ended:
            await client.wait_for("never", timeout_s=WITHIN_S)
        assert ended.value.close_code == 4410
    async with asyncio.timeout(WITHIN_S):
        while "Good morning" not in await asyncio.to_thread(live_site.page, f"/m/{meeting['slug']}/gallery/", cookie):
            pass


def test_a_server_killed_in_the_middle_of_a_sentence_costs_nothing(
    own_site: Site, speech: np.ndarray, uncut: Captions
) -> None:
    asyncio.run(_through_kills(own_site, speech, uncut, [signal.SIGKILL, signal.SIGKILL]))


def test_a_server_that_is_restarted_says_so_and_costs_nothing(
    own_site: Site, speech: np.ndarray, uncut: Captions
) -> None:
    codes = asyncio.run(_through_kills(own_site, speech, uncut, [signal.SIGTERM]))
    assert codes[0] == 1012


async def _through_kills(site: Site, speech: np.ndarray, uncut: Captions, how: list[signal.Signals]) -> list[int]:
    """Kill the server while the first line is being heard, start it, kill it again in the middle of the second."""
    meeting = await asyncio.to_thread(site.new_meeting, "killed")
    async with client_of(meeting) as client:
        stream = await client.open_stream(language="en")
        at = 0.0
        for kill, until in zip(how, (AFTER_FIRST_LINE_S, IN_THIRD_LINE_S), strict=False):
            await stream.write(upto(speech, at, until))
            at = until
            await all_sent(stream)
            before = client.connections
            await asyncio.to_thread(site.processes[0].stop, kill)
            await asyncio.to_thread(site.start)
            await client._until(lambda before=before: client.connections > before, WITHIN_S)
        await stream.write(upto(speech, at, UNTIL_S))
        await stream.close(WITHIN_S)
        codes = client.close_codes
    after = await stored(meeting)
    assert words(after) == words(uncut)
    # A server that knows nothing of the sound before may hear a sentence begin a moment earlier or later.
    assert np.abs(np.subtract([line[2:] for line in after], [line[2:] for line in uncut])).max() < SAMPLE_RATE_HZ // 8
    return codes
