"""The live socket and what no client should send: its error or close code, and nothing else happens."""

from __future__ import annotations

import asyncio
import json
import struct
import uuid

import pytest
from websockets.exceptions import ConnectionClosed

from meetings.audio.frames import encode_frame
from meetviz_site.live.limits import AUDIO_BURST_BYTES, MAX_AUDIO_MESSAGE_BYTES, MAX_TEXT_MESSAGE_BYTES
from tests.live.talking import Talk, silence, socket_to, talk_in

pytestmark = pytest.mark.usefixtures("still_well")

Meeting = dict[str, str]


# Bad messages


async def test_an_unknown_type_changes_nothing(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        for kind in ("no.such.type", "", "\ud800", "welcome", "__class__"):
            await talk.say(kind, mode="manual")
            assert await talk.error() == "unknown_type"
        await talk.settled()
    assert talk.seen[-1]["rev"] == 0


BAD = {
    "stream.open": [
        {},
        {"stream": "x"},
        {"stream": None},
        {"stream": 5},
        {"language": "tlh"},
        {"language": 1},
        {"label": []},
    ],
    "stream.close": [{}, {"stream": "x"}],
    "frame.request": [{"hint": 5}, {"hint": ["a"]}],
    "frame.shown": [{}, {"frame": "x"}],
    "frame.rate": [{}, {"frame": "x", "value": 1}],
    "caption.assign": [{}, {"utterance": "x"}, {"speaker": "1"}, {"speaker": True}, {"speaker": 1.5}, {"new_name": 7}],
    "settings.change": [
        {"mode": "x"},
        {"interval": 5},
        {"interval": "12"},
        {"preset": -1},
        {"preset": 10**30},
        {"paused": 1},
    ],
}
USUAL = {
    "stream.open": {"stream": str(uuid.UUID(int=1))},
    "caption.assign": {"utterance": str(uuid.UUID(int=2))},
}


@pytest.mark.parametrize("kind", BAD)
async def test_bad_values_are_named_and_change_nothing(meeting: Meeting, kind: str) -> None:
    async with talk_in(meeting) as talk:
        for fields in BAD[kind]:
            usual = USUAL.get(kind, {}) if fields else {}
            await talk.say(kind, **{**usual, **fields})
            assert await talk.error() == "bad_value", fields
        await talk.settled()
    assert talk.seen[-1]["rev"] == 0
    assert not talk.of_type("stream.opened", "frame.queued", "meeting.updated")


async def test_what_is_not_there_is_named(meeting: Meeting) -> None:
    nowhere = str(uuid.uuid4())
    async with talk_in(meeting) as talk:
        await talk.say("stream.close", stream=nowhere)
        assert await talk.error() == "unknown_stream"
        await talk.say("frame.rate", frame=nowhere, value=1)
        assert await talk.error() == "unknown_frame"
        await talk.say("caption.assign", utterance=nowhere, new_name="Maria")
        assert await talk.error() == "unknown_utterance"
        await talk.say_raw(encode_frame(7, 0, silence(0.1)))
        assert await talk.error() == "unknown_stream"


async def test_text_that_no_encoding_has_is_no_reason_to_fail(meeting: Meeting) -> None:
    async with talk_in(meeting, name="An\ud800na") as talk:
        assert talk.of_type("welcome")[0]["you"]["name"] == "Anna"
        await talk.say("frame.request", hint="a castle \ud800\x00 on a hill")
        assert (await talk.next("frame.queued", "error"))["type"] == "frame.queued"
        await talk.say("stream.open", stream=str(uuid.uuid4()), label="\ud800")
        assert (await talk.next("stream.opened", "error"))["type"] == "stream.opened"


HEADERS = {
    "too short": b"MV\x01\x01\x01",
    "empty": b"",
    "wrong letters": struct.pack("<2sBBHHQ", b"VM", 1, 1, 1, 0, 0) + bytes(640),
    "wrong version": struct.pack("<2sBBHHQ", b"MV", 2, 1, 1, 0, 0) + bytes(640),
    "wrong encoding": struct.pack("<2sBBHHQ", b"MV", 1, 2, 1, 0, 0) + bytes(640),
    "reserved": struct.pack("<2sBBHHQ", b"MV", 1, 1, 1, 1, 0) + bytes(640),
    "no samples": struct.pack("<2sBBHHQ", b"MV", 1, 1, 1, 0, 0),
    "under 20 ms": struct.pack("<2sBBHHQ", b"MV", 1, 1, 1, 0, 0) + bytes(638),
    "half a sample": struct.pack("<2sBBHHQ", b"MV", 1, 1, 1, 0, 0) + bytes(641),
    "beyond the end": struct.pack("<2sBBHHQ", b"MV", 1, 1, 1, 0, 2**64 - 1) + bytes(640),
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS.keys())
async def test_4400_for_a_malformed_audio_message(meeting: Meeting, data: bytes) -> None:
    async with talk_in(meeting) as talk:
        await talk.open_stream()
        await talk.say_raw(data)
        assert await talk.closed() == 4400


# Too much


async def test_4413_for_messages_too_large_at_any_time(meeting: Meeting) -> None:
    text = json.dumps({"type": "hello", "token": meeting["join_token"], "pad": "p" * MAX_TEXT_MESSAGE_BYTES})
    for message in (text, b"MV" + bytes(MAX_AUDIO_MESSAGE_BYTES)):
        async with socket_to(meeting["ws_url"]) as talk:
            await talk.say_raw(message)
            assert await talk.closed() == 4413
        async with talk_in(meeting) as talk:
            await talk.say_raw(message)
            assert await talk.closed() == 4413


@pytest.mark.parametrize("message", [bytes(10_000_000), "x" * 10_000_000], ids=["binary", "text"])
@pytest.mark.parametrize("after_hello", [True, False], ids=["after hello", "before hello"])
async def test_4413_for_ten_megabytes(meeting: Meeting, message: str | bytes, after_hello: bool) -> None:
    async with socket_to(meeting["ws_url"]) as talk:
        if after_hello:
            await talk.hello(meeting["join_token"])
        await talk.say_raw(message)
        assert await talk.closed(within_s=30) == 4413


async def test_the_largest_allowed_message_is_taken(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        await talk.say_raw(encode_frame(opened["number"], 0, silence(2.0)))
        assert (await talk.close_stream(opened))["next_sample"] == 32_000


async def test_4429_for_a_flood_of_texts(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        flood = asyncio.create_task(_repeat(talk, json.dumps({"type": "no.such.type"}), 400))
        assert await talk.closed() == 4429
        await flood
    assert 90 <= len(talk.of_type("error")) <= 250


async def test_4429_for_a_flood_of_audio(meeting: Meeting) -> None:
    message = encode_frame(9, 0, silence(2.0))
    async with talk_in(meeting) as talk:
        flood = asyncio.create_task(_repeat(talk, message, 2 * AUDIO_BURST_BYTES // len(message)))
        assert await talk.closed(within_s=60) == 4429
        await flood


async def _repeat(talk: Talk, message: str | bytes, times: int) -> None:
    """As fast as it goes; that the other side hangs up is what the caller waits for."""
    for _ in range(times):
        try:
            await talk.say_raw(message)
        except ConnectionClosed:
            return


async def test_no_more_than_sixteen_streams_on_one_socket(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        opened = [await talk.open_stream() for _ in range(16)]
        assert len({stream["number"] for stream in opened}) == 16
        await talk.say("stream.open", stream=str(uuid.uuid4()))
        assert await talk.error() == "too_many_streams"
        assert (await talk.open_stream(opened[3]["stream"]))["number"] == opened[3]["number"]
        await talk.close_stream(opened[0])
        await talk.open_stream()
