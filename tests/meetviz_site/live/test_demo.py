"""The demo that plays itself, heard from the server's side of the socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from django.db import connections

from meetings.access import TokenKind, token_for
from meetings.models import Meeting
from meetviz_site.live.audio_file import read_audio
from meetviz_site.live.demo import DIALOGUE, TITLE, demo_meeting, play
from tests.meetviz_site.live.room_server import RoomServer, running

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def room() -> AsyncIterator[RoomServer]:
    room = RoomServer()
    async with running(room):
        yield room


def play_into(room: RoomServer, said: list[str], **options: object) -> None:
    play("http://garden.test/", socket_base=room.url, say=said.append, **options)  # type: ignore[arg-type]


def address_and_token() -> tuple[str, str]:
    try:
        meeting = Meeting.objects.get(title=TITLE)
        return meeting.get_absolute_url(), token_for(meeting, TokenKind.JOIN)
    finally:
        connections.close_all()  # of this thread, or the test database cannot be dropped


async def test_the_whole_dialogue_goes_through_the_socket_into_a_meeting_of_its_own(room: RoomServer) -> None:
    said: list[str] = []
    await asyncio.to_thread(play_into, room, said, speed=1_000)
    address, token = await asyncio.to_thread(address_and_token)
    assert said == [f"Demo meeting: http://garden.test{address}"]
    (hello,) = room.of_type("hello")
    assert hello["token"] == token
    assert hello["consent"]["transcribe"] and hello["consent"]["voice_id"]
    (stream,) = room.streams.values()
    assert stream.audio() == read_audio(DIALOGUE).tobytes()
    assert len(room.of_type("stream.close")) == 1


async def test_it_ends_in_the_middle_of_a_sentence_when_told_to(room: RoomServer) -> None:
    stop = threading.Event()
    playing = asyncio.create_task(asyncio.to_thread(play_into, room, [], loop=True, stop=stop))
    await room.until(lambda: any(stream.end for stream in room.streams.values()))
    stop.set()
    await playing
    assert room.socket is not None
    await room.socket.wait_closed()
    assert room.socket.close_code == 1000


async def test_it_ends_quietly_when_the_meeting_does(room: RoomServer) -> None:
    room.close_audio_with = 4410
    await asyncio.to_thread(play_into, room, [], loop=True)
    assert room.connections == 1


def test_the_same_meeting_is_used_again_until_it_has_ended() -> None:
    first = demo_meeting()
    assert demo_meeting() == first
    first.ended_at = first.created_at
    first.save()
    assert demo_meeting() != first
