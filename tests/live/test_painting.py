"""Pictures on their way, over the socket: told to who comes late, cancelled by who may; and a real painter from a wish
to the stored file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.live.talking import noise, talk_in
from tests.painting_sites import painting_site
from tests.sites import Site

Meeting = dict[str, str]


async def test_a_wish_that_waits_is_seen_by_who_comes_late_and_taken_back_by_who_made_it(meeting: Meeting) -> None:
    async with talk_in(meeting) as anna, talk_in(meeting, "Robert") as robert:
        opened = await robert.open_stream()
        await robert.audio(opened, noise(0.3))  # what is being heard holds the picture back for a moment
        await anna.say("frame.request", hint="a castle on a hill")
        queued = await anna.next("frame.queued")
        await anna.say("frame.cancel", frame=queued["id"])
        skipped = await anna.next("frame.skipped", "frame.ready", where=lambda m: m["id"] == queued["id"])
        if skipped["type"] == "frame.skipped":  # else the picture was quicker
            assert skipped["reason"] == "cancelled" and skipped["message"]
            assert (await robert.next("frame.skipped"))["id"] == queued["id"]
        await anna.say("frame.request", hint="a castle on a hill")
        ready = await anna.next("frame.ready", where=lambda m: m["id"] != queued["id"])
        assert "castle" in ready["prompt"] and ready["compromises"] == []
        await robert.settled()
        assert robert.seen[-1]["painting"] is None


@pytest.mark.parametrize(
    ("frame", "code"),
    [(str(uuid.uuid4()), "unknown_frame"), ("castle", "bad_value"), (7, "bad_value"), (None, "bad_value")],
)
async def test_what_is_no_picture_on_its_way_cannot_be_cancelled(meeting: Meeting, frame: object, code: str) -> None:
    async with talk_in(meeting) as talk:
        await talk.say("frame.cancel", frame=frame)
        assert await talk.error() == code


async def test_another_meetings_picture_cannot_be_cancelled(meeting: Meeting, other_meeting: Meeting) -> None:
    async with talk_in(meeting) as anna, talk_in(other_meeting, "Eve", "api") as eve:
        await anna.say("frame.request", hint="a castle on a hill")
        queued = await anna.next("frame.queued")
        await eve.say("frame.cancel", frame=queued["id"])
        assert await eve.error() == "unknown_frame"
        assert (await anna.next("frame.ready", "frame.skipped"))["type"] == "frame.ready"


@pytest.fixture(scope="module")
def real_painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The one-process server with a small random pipeline, and a tiny autoencoder beside its own."""
    with painting_site(tmp_path_factory) as site:
        yield site


async def test_a_wish_becomes_steps_and_a_picture_of_the_real_painter(real_painter: Site) -> None:
    meeting = real_painter.new_meeting()
    async with talk_in(meeting) as talk, talk_in(meeting, "Max", "viewer") as viewer:
        await talk.say("frame.request", hint="a lighthouse on a rock")
        queued = await talk.next("frame.queued")
        ready = await talk.next("frame.ready")
        assert ready["id"] == queued["id"] and ready["engine"]["name"] == "diffusers"
        assert ready["engine"]["demo"] is False and ready["timings_ms"]["painted"] > 0
        steps = talk.of_type("frame.progress")
        assert steps and all(0 < step["step"] <= step["steps"] and step["id"] == ready["id"] for step in steps)
        assert (await viewer.next("frame.ready"))["id"] == ready["id"]
        assert len(viewer.of_type("frame.progress")) == len(steps)
