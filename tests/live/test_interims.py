"""Words appear while they are spoken, steadily, and the final takes their place."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from meetviz_site.live.client import Consent, Event, LiveClient
from tests.live.talking import silence, words_of
from tests.sites import Site
from workers.messages import SAMPLE_RATE_HZ

WITHIN_S = 60.0


def client_of(meeting: dict[str, str], token: str = "join_token") -> LiveClient:
    return LiveClient(meeting["ws_url"], token=meeting[token], name="Anna", consent=Consent(transcribe=True))


def of_type(client: LiveClient, *types: str) -> list[Event]:
    return [event for event in client.events_kept if event.type in types]


@pytest.fixture(scope="module")
def talk(live_site: Site, speech: np.ndarray) -> list[Event]:
    """Two lines at the pace of speech: interims and finals as somebody who only watches sees them."""
    return asyncio.run(_talk(live_site.new_meeting("interims"), speech))


async def _talk(meeting: dict[str, str], speech: np.ndarray) -> list[Event]:
    async with client_of(meeting) as speaker, client_of(meeting, "viewer_token") as viewer:
        await speaker.wait_for("status", lambda e: e["engines"].get("speech"), WITHIN_S)
        stream = await speaker.open_stream(language="en")
        await stream.play(speech[: round(9.5 * SAMPLE_RATE_HZ)])
        await stream.close(WITHIN_S)
        last = of_type(speaker, "caption.final")[-1]
        await viewer.wait_for("caption.final", lambda e: e["id"] == last["id"], WITHIN_S)
        return of_type(viewer, "caption.interim", "caption.final")


def of_each_utterance(talk: list[Event]) -> list[tuple[list[Event], Event]]:
    """The interims before each final."""
    found, interims = [], []
    for event in talk:
        if event.type == "caption.final":
            found.append((interims, event))
            interims = []
        else:
            interims.append(event)
    assert not interims, "an interim came after the last final"
    return found


def test_words_are_seen_before_the_sentence_is_over(talk: list[Event]) -> None:
    utterances = of_each_utterance(talk)
    assert len(utterances) >= 2
    for interims, final in utterances:
        assert len(interims) >= 2
        assert {interim["stream"] for interim in interims} == {final["stream"]}
        assert interims[0].received_at < final.received_at - 1
        shared = set(words_of(interims[-1]["text"])) & set(words_of(final["text"]))
        assert len(shared) >= len(words_of(final["text"])) / 2


def test_what_is_called_stable_stays_until_the_final(talk: list[Event]) -> None:
    for interims, _final in of_each_utterance(talk):
        for earlier, later in itertools.pairwise(interims):
            assert later["stable"] >= earlier["stable"]
            assert later["text"].startswith(earlier["text"][: earlier["stable"]])
        assert interims[-1]["stable"] > 0
        assert all(interim["stable"] < len(interim["text"]) for interim in interims)


def test_an_interim_says_when_it_was_said_and_by_whom(talk: list[Event]) -> None:
    (first, first_final), (second, _second_final), *_ = of_each_utterance(talk)
    assert "speaker" not in first[0].data
    speaker = first_final["speaker"]
    assert second[0]["speaker"] == {key: speaker[key] for key in ("id", "name", "color")}
    for interims, final in of_each_utterance(talk):
        assert all(abs(_seconds(i["started_at"]) - _seconds(final["started_at"])) < 0.5 for i in interims)


def _seconds(stamp: str) -> float:
    return float(np.datetime64(stamp[:23], "ms").astype(int)) / 1000


async def test_what_is_sent_again_at_once_gives_finals_and_no_stale_interims(
    live_site: Site, speech: np.ndarray
) -> None:
    """Thirty seconds in one go: a final always waits, so nothing else is asked of the recogniser."""
    meeting = live_site.new_meeting("replay")
    async with client_of(meeting) as client:
        stream = await client.open_stream(language="en")
        await stream.write(speech[: 30 * SAMPLE_RATE_HZ])
        await stream.close(WITHIN_S)
        events = of_type(client, "caption.interim", "caption.final")
    shown = [event for event in events if event.type == "caption.final"]
    assert len(shown) >= 4
    assert len(events) - len(shown) <= 2, "interims were decoded while finals waited"


async def test_noise_that_begins_like_speech_leaves_nothing_on_the_page(live_site: Site, speech: np.ndarray) -> None:
    """Half a word and then nothing: whatever was shown of it is taken back or becomes a line."""
    meeting = live_site.new_meeting("half a word")
    piece = speech[round(0.3 * SAMPLE_RATE_HZ) : round(1.5 * SAMPLE_RATE_HZ)][::-1].copy()
    async with client_of(meeting) as client:
        stream = await client.open_stream(language="en")
        await stream.play(np.concatenate([silence(0.5), piece, silence(1.0)]))
        await stream.close(WITHIN_S)
        events = of_type(client, "caption.interim", "caption.final")
    if events and events[-1].type == "caption.interim":
        assert events[-1]["text"] == ""
