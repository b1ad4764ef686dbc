"""The live socket and pictures; and that nothing of one meeting is seen in another."""

from __future__ import annotations

import asyncio
import io
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tests.live.talking import noise, silence, talk_in
from tests.sites import Site

pytestmark = pytest.mark.usefixtures("still_well")

Meeting = dict[str, str]


# Between meetings


async def test_nothing_of_one_meeting_is_seen_in_another(
    meeting: Meeting, other_meeting: Meeting, sentence: np.ndarray
) -> None:
    async with talk_in(meeting) as talk, talk_in(other_meeting, "Anna") as stranger:
        opened = await talk.open_stream()
        await stranger.say("stream.open", stream=opened["stream"])
        assert await stranger.error() == "stream_taken"
        await talk.audio(opened, sentence)
        caption = await talk.next("caption.final")
        await talk.say("frame.request")
        frame = await talk.next("frame.ready")
        for kind, fields, code in (
            ("caption.assign", {"utterance": caption["id"], "new_name": "Mine"}, "unknown_utterance"),
            ("frame.rate", {"frame": frame["id"], "value": 1}, "unknown_frame"),
            ("stream.close", {"stream": opened["stream"]}, "unknown_stream"),
        ):
            await stranger.say(kind, **fields)
            assert await stranger.error() == code
        await stranger.say("frame.shown", frame=frame["id"])
        await stranger.settled()
    snapshot = stranger.seen[-1]
    assert (snapshot["captions"], snapshot["frames"], snapshot["speakers"], snapshot["rev"]) == ([], [], [], 0)
    assert {m["type"] for m in stranger.seen} <= {"welcome", "snapshot", "error", "presence", "status"}


async def test_someone_elses_stream_in_the_same_meeting_cannot_be_taken(meeting: Meeting) -> None:
    async with talk_in(meeting, "Anna") as anna, talk_in(meeting, "Robert") as robert:
        opened = await anna.open_stream()
        await robert.say("stream.open", stream=opened["stream"])
        assert await robert.error() == "stream_taken"
        await anna.audio(opened, silence(1.0))
        assert (await anna.close_stream(opened))["next_sample"] == 16_000


# Pictures


def fetch(site: Site, path: str, token: str = "") -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(site.url + path, headers=headers), timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


async def test_a_picture_from_wish_to_rating(meeting: Meeting, other_meeting: Meeting, live_site: Site) -> None:
    async with talk_in(meeting) as talk, talk_in(meeting, "Max", "viewer") as viewer:
        await talk.say("frame.request", hint="a castle on a hill by the sea")
        queued = await talk.next("frame.queued")
        assert queued["position"] >= 0 and queued["eta_s"] > 0
        started = await talk.next("frame.started")
        ready = await talk.next("frame.ready")
        assert queued["id"] == started["id"] == ready["id"]
        assert (await viewer.next("frame.ready")) == ready
        assert "castle" in ready["prompt"] and ready["alt"] and (ready["width"], ready["height"]) == (1024, 576)
        steps = talk.of_type("frame.progress")
        assert steps and all(0 < step["step"] <= step["steps"] and step["id"] == ready["id"] for step in steps)
        for path, size in ((ready["url"], (1024, 576)), (ready["thumb_url"], (320, 180))):
            for kind in ("join", "viewer", "api"):
                status, data = await asyncio.to_thread(fetch, live_site, path, meeting[f"{kind}_token"])
                assert status == 200
                picture = Image.open(io.BytesIO(data))
                assert (picture.format, picture.size) == ("WEBP", size)
            for wrong in ("", "join-wrong", other_meeting["api_token"]):
                assert (await asyncio.to_thread(fetch, live_site, path, wrong))[0] == 404
        await viewer.say("frame.shown", frame=ready["id"])
        await talk.say("frame.rate", frame=ready["id"], value=1, note="lovely")
        for socket in (talk, viewer):
            updated = await socket.next("frame.updated")
            assert updated["rating"] == {"sum": 1, "likes": 1, "dislikes": 0} and updated["rev"] == ready["rev"] + 1
        await talk.say("frame.rate", frame=ready["id"], value=2)
        assert await talk.error() == "bad_value"
        await talk.settled()
    assert [frame["id"] for frame in talk.seen[-1]["frames"]] == [ready["id"]]


async def test_nothing_to_paint_is_said(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        await talk.say("frame.request")
        queued = await talk.next("frame.queued")
        skipped = await talk.next("frame.skipped")
        assert (skipped["id"], skipped["reason"]) == (queued["id"], "nothing_to_paint") and skipped["message"]


async def test_wishes_while_one_waits_are_one_wish(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk, talk_in(meeting, "Robert") as robert:
        opened = await robert.open_stream()
        await robert.audio(opened, noise(0.3))
        for hint in ("a castle", "a castle on a hill"):
            await talk.say("frame.request", hint=hint)
        first, second = await talk.next("frame.queued"), await talk.next("frame.queued")
        ready = await talk.next("frame.ready")
        if first["id"] == second["id"]:
            assert "hill" in ready["prompt"]
        else:  # the first was being painted already
            assert (await talk.next("frame.ready"))["id"] == second["id"]
