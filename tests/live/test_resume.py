"""No word lost, none twice: whatever happens to the connection or the server in the middle of a sentence."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from meetviz_site.live.client import LiveError
from tests.live.cuts import (
    AFTER_FIRST_LINE_S,
    IN_SECOND_LINE_S,
    IN_THIRD_LINE_S,
    UNTIL_S,
    WITHIN_S,
    Captions,
    all_sent,
    client_of,
    speak_uncut,
    stored,
    upto,
    words,
)
from tests.live.talking import Talk, socket_to
from tests.sites import Site, local_site
from workers.messages import SAMPLE_RATE_HZ


@pytest.fixture(scope="module")
def uncut(live_site: Site, speech: np.ndarray) -> Captions:
    """What is written down when nothing happens."""
    return asyncio.run(speak_uncut(live_site.new_meeting("uncut"), speech))


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


async def test_an_engine_killed_in_the_middle_of_a_sentence_costs_nothing(
    live_site: Site, meeting: dict[str, str], speech: np.ndarray, uncut: Captions
) -> None:
    """Its process dies with one final in it and a sentence in hand; a fresh one is there at once."""
    async with client_of(meeting) as client:
        stream = await client.open_stream(language="en")
        await stream.write(upto(speech, 0, IN_THIRD_LINE_S))
        await client.wait_for("caption.final", timeout_s=WITHIN_S)
        killed = kill_engine(live_site, "PocketSphinxEngine")
        await stream.write(upto(speech, IN_THIRD_LINE_S, UNTIL_S))
        await stream.close(WITHIN_S)
    assert await stored(meeting) == uncut
    assert killed and kill_engine(live_site, "PocketSphinxEngine", really=False) not in ([], killed)


def kill_engine(site: Site, name: str, *, really: bool = True) -> list[int]:
    """Process ids of the site's children that run this engine, killed as the kernel would kill them for memory."""
    children = psutil.Process(site.processes[0].pid).children(recursive=True)
    engines = [child for child in children if name in child.cmdline()]
    for engine in engines if really else []:
        engine.kill()
    return [engine.pid for engine in engines]


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
