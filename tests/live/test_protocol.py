"""The live socket, row by row of docs/live-protocol.md, against a server in a process of its own: who comes in and what
they may do.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from meetings.audio.frames import encode_frame
from tests.live.talking import CONSENT, silence, socket_to, talk_in
from tests.sites import Site
from workers.messages import SAMPLE_RATE_HZ

pytestmark = pytest.mark.usefixtures("still_well")

Meeting = dict[str, str]


# Coming in


async def test_hello_is_answered_with_welcome_and_snapshot(meeting: Meeting) -> None:
    async with socket_to(meeting["ws_url"]) as talk:
        assert talk.socket.subprotocol == "meetviz.v1"
        welcome = await talk.hello(meeting["join_token"], name=" Anna\n", colour="unknown fields are ignored")
    you = welcome["you"]
    assert (you["name"], you["role"], you["consent"]) == ("Anna", "participant", CONSENT)
    assert you["can"]["speak"] and not you["can"]["end"]
    assert welcome["meeting"]["slug"] == meeting["slug"] and welcome["server_time"]
    assert welcome["limits"]["max_message_bytes"] == 64_016
    assert [message["type"] for message in talk.seen if message["type"] != "presence"][:2] == ["welcome", "snapshot"]
    snapshot = talk.seen[-1]
    parts = {"meeting", "people", "speakers", "captions", "frames", "painting", "status"}
    assert set(snapshot) == {"type", "rev"} | parts
    assert [(person["name"], person["online"]) for person in snapshot["people"]] == [("Anna", True)]
    assert (snapshot["captions"], snapshot["frames"], snapshot["painting"], snapshot["rev"]) == ([], [], None, 0)


@pytest.mark.parametrize(("kind", "role"), [("join", "participant"), ("viewer", "viewer"), ("api", "owner")])
async def test_the_token_decides_the_role(meeting: Meeting, kind: str, role: str) -> None:
    async with socket_to(meeting["ws_url"], subprotocols=None) as talk:
        assert (await talk.hello(meeting[f"{kind}_token"]))["you"]["role"] == role


async def test_a_second_hello_changes_consent_and_name_and_nothing_else(meeting: Meeting) -> None:
    async with talk_in(meeting, consent=None) as talk:
        await talk.say("hello", token=meeting["api_token"], consent={"transcribe": True}, name="Maria")
        you = (await talk.next("welcome"))["you"]
    assert (you["role"], you["name"], you["consent"]["transcribe"], you["consent"]["voice_id"]) == (
        "participant", "Maria", True, False,
    )  # fmt: skip


FIRST_MESSAGES = {
    "no json": "hello",
    "empty": "",
    "a list": "[]",
    "a text": '"hello"',
    "null": "null",
    "no type": "{}",
    "a type that is no text": '{"type": 1}',
    "not hello": '{"type": "resync"}',
    "half": '{"type": "hello"',
    "deep": "[" * 30_000,
    "a number too long": '{"type": "hello", "n": ' + "9" * 5_000 + "}",
    "audio": encode_frame(1, 0, silence(0.1)),
    "no audio": b"",
}


@pytest.mark.parametrize("first", FIRST_MESSAGES.values(), ids=FIRST_MESSAGES.keys())
async def test_4400_for_a_first_message_that_is_not_hello(meeting: Meeting, first: str | bytes) -> None:
    async with socket_to(meeting["ws_url"]) as talk:
        await talk.say_raw(first)
        assert await talk.closed() == 4400
    assert talk.seen == []


@pytest.mark.parametrize(
    "later", ["no json", "[]", '{"type": null}', "[" * 30_000], ids=["text", "list", "null", "deep"]
)
async def test_4400_for_malformed_text_later_on(meeting: Meeting, later: str) -> None:
    async with talk_in(meeting) as talk:
        await talk.say_raw(later)
        assert await talk.closed() == 4400


WRONG_TOKENS: dict[str, Any] = {
    "none": None, "empty": "", "wrong": "join-wrong", "a number": 7, "an object": {"a": 1}, "true": True,
    "no character": "join-\ud800", "zero": "join-\x00", "long": "j" * 30_000,
}  # fmt: skip


@pytest.mark.parametrize("token", WRONG_TOKENS.values(), ids=WRONG_TOKENS.keys())
async def test_4401_for_no_token_or_a_wrong_one(meeting: Meeting, token: Any) -> None:
    async with socket_to(meeting["ws_url"]) as talk:
        await talk.say("hello", token=token)
        assert await talk.closed() == 4401
    assert talk.seen == []


@pytest.mark.parametrize("kind", ["join", "viewer", "api"])
async def test_4401_for_a_token_of_another_meeting(meeting: Meeting, other_meeting: Meeting, kind: str) -> None:
    async with socket_to(meeting["ws_url"]) as talk:
        await talk.say("hello", token=other_meeting[f"{kind}_token"])
        assert await talk.closed() == 4401


async def test_4404_for_meetings_and_addresses_that_are_not_there(meeting: Meeting, live_site: Site) -> None:
    async with socket_to(f"{live_site.ws_url}/ws/meetings/nowhere/") as talk:
        await talk.say("hello", token=meeting["join_token"])
        assert await talk.closed() == 4404
    for path in ("/ws/other/", "/"):
        async with socket_to(live_site.ws_url + path) as talk:
            assert await talk.closed() == 4404, path


async def test_4408_without_a_hello(meeting: Meeting) -> None:
    async with socket_to(meeting["ws_url"]) as talk:
        started = asyncio.get_running_loop().time()
        assert await talk.closed(within_s=15) == 4408
        assert asyncio.get_running_loop().time() - started > 4


async def test_4410_when_the_meeting_ends_and_for_everyone_after(meeting: Meeting, live_site: Site) -> None:
    async with talk_in(meeting) as talk, talk_in(meeting, "Max", "viewer") as viewer:
        await asyncio.to_thread(live_site.end_meeting, meeting)
        assert await talk.closed() == 4410
        assert await viewer.closed() == 4410
        assert talk.of_type("meeting.updated")[-1]["meeting"]["ended_at"]
    async with socket_to(meeting["ws_url"]) as late:
        await late.say("hello", token=meeting["join_token"])
        assert await late.closed() == 4410


# Cookies and where they count


async def test_a_session_counts_for_pages_of_this_site_only(meeting: Meeting, live_site: Site) -> None:
    cookie = {"Cookie": live_site.session_of("owner")}
    async with socket_to(meeting["ws_url"], origin=live_site.url, additional_headers=cookie) as talk:
        assert (await talk.hello())["you"]["role"] == "owner"
    for origin in (None, "http://evil.example", "null", "http://localhost.evil.example", "https://localhost"):
        try:
            async with socket_to(meeting["ws_url"], origin=origin, additional_headers=cookie) as talk:
                await talk.say("hello")
                assert await talk.closed() == 4401, origin
        except InvalidStatus as refused:  # Daphne turns away what is no address at all
            assert (origin, refused.response.status_code) == ("null", 400)


async def test_4403_for_someone_who_is_signed_in_but_not_in_this_meeting(meeting: Meeting, live_site: Site) -> None:
    cookie = {"Cookie": live_site.session_of("stranger")}
    async with socket_to(meeting["ws_url"], origin=live_site.url, additional_headers=cookie) as talk:
        await talk.say("hello")
        assert await talk.closed() == 4403
    async with socket_to(meeting["ws_url"], origin=live_site.url, additional_headers=cookie) as talk:
        assert (await talk.hello(meeting["viewer_token"]))["you"]["role"] == "viewer"


async def test_sentences_for_people_come_in_their_language(meeting: Meeting) -> None:
    for language, russian in (("ru-RU,ru;q=0.9", True), ("de, en;q=0.5", False), ("x" * 2_000, False)):
        async with socket_to(meeting["ws_url"], additional_headers={"Accept-Language": language}) as talk:
            await talk.hello(meeting["viewer_token"])
            await talk.say("no.such.type")
            await talk.say("stream.open", stream="no uuid")
            await talk.say("frame.request")
            for _ in range(3):
                message = (await talk.next("error"))["message"]
                assert any("а" <= c <= "я" for c in message.lower()) is russian, message


# Who may do what


async def test_viewers_watch_and_nothing_else(meeting: Meeting) -> None:
    async with talk_in(meeting, "Max", "viewer") as talk:
        somewhere = str(uuid.uuid4())
        for kind, fields in {
            "stream.open": {"stream": somewhere},
            "frame.request": {},
            "frame.rate": {"frame": somewhere, "value": 1},
            "caption.assign": {"utterance": somewhere, "new_name": "Maria"},
            "settings.change": {"paused": True},
        }.items():
            await talk.say(kind, **fields)
            assert await talk.error() == "not_allowed", kind
        await talk.say("frame.shown", frame=somewhere)
        assert (await talk.settled())[-1]["meeting"]["paused"] is False


async def test_consent_comes_first_and_may_come_later(meeting: Meeting) -> None:
    stream = str(uuid.uuid4())
    async with talk_in(meeting, consent={"transcribe": "yes"}) as talk:
        await talk.say("stream.open", stream=stream)
        assert await talk.error() == "consent_required"
        await talk.say("hello", consent={"transcribe": True})
        await talk.next("welcome")
        await talk.open_stream(stream)
    async with talk_in(meeting, consent=None) as talk:  # agreed on an earlier visit
        await talk.open_stream(stream)


async def test_consent_taken_back_ends_the_hearing(meeting: Meeting, sentence: np.ndarray) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        await talk.audio(opened, silence(1.0))
        await talk.say("hello", consent={"transcribe": False})
        await talk.next("stream.closed")
        await talk.audio(opened, sentence, first=SAMPLE_RATE_HZ)
        assert await talk.error() == "unknown_stream"
        await talk.say("stream.open", stream=opened["stream"])
        while (code := await talk.error()) == "unknown_stream":
            pass
        assert code == "consent_required"
        await talk.settled()
    assert len(talk.of_type("stream.closed")) == 1
    assert talk.seen[-1]["captions"] == []


# Settings, people, status


async def test_a_change_of_settings_reaches_everyone(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk, talk_in(meeting, "Max", "viewer") as viewer:
        await talk.say("settings.change", mode="manual", interval=15)
        for socket in (talk, viewer):
            event = await socket.next("meeting.updated")
            assert (event["meeting"]["mode"], event["meeting"]["interval"], event["rev"]) == ("manual", 15, 1)
        await talk.settled()
    assert talk.seen[-1]["rev"] == 1


async def test_people_come_and_go(meeting: Meeting) -> None:
    def online(message: dict[str, Any]) -> set[str]:
        return {person["name"] for person in message["people"] if person["online"]}

    async with talk_in(meeting) as talk:
        async with talk_in(meeting, "Max", "viewer"):
            await talk.next("presence", where=lambda m: online(m) == {"Anna", "Max"})
        await talk.next("presence", where=lambda m: online(m) == {"Anna"})


async def test_the_status_names_the_engines(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        status = talk.seen[-1]["status"]
        while not all(status["engines"].values()):
            status = await talk.next("status")
    assert status["engines"]["speech"]["demo"] is True and status["engines"]["paint"]["name"] == "poster"
    assert set(status["queue"]) == {"waiting", "eta_s"} and "notice" not in status
