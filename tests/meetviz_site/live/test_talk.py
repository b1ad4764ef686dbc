"""`manage.py talk`, from its arguments to its exit code."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.meetviz_site.live.room_server import RoomServer, running

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def room() -> AsyncIterator[RoomServer]:
    room = RoomServer()
    async with running(room):
        yield room


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    for name, count, value in (("one.wav", 8_000, 100), ("two.flac", 6_000, 200)):
        soundfile.write(tmp_path / name, np.full(count, value, np.int16), 16_000)
    return [str(tmp_path / "one.wav"), str(tmp_path / "two.flac")]


async def talk(room: RoomServer, *arguments: str) -> tuple[str, str]:
    """Run the command in a thread, as its own process would; returns stdout and stderr. Raises CommandError."""
    out, err = io.StringIO(), io.StringIO()
    address = ("--meeting", "garden", "--token", "t", "--url", room.url, "--speed", "100")
    await asyncio.to_thread(call_command, "talk", *arguments, *address, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


async def test_files_are_spoken_one_after_another_in_one_stream(room: RoomServer, recordings: list[str]) -> None:
    await talk(room, *recordings, "--language", "en", "--name", "Anna")
    (stream,) = room.streams.values()
    expected = np.concatenate([np.full(8_000, 100), np.zeros(12_800), np.full(6_000, 200)]).astype("<i2")
    assert stream.audio() == expected.tobytes()
    (opened,) = room.of_type("stream.open")
    assert (opened["language"], opened["label"]) == ("en", "one.wav, two.flac")
    (hello,) = room.of_type("hello")
    assert (hello["name"], hello["consent"]) == ("Anna", {"transcribe": True, "voice_id": True, "keep": False})
    assert len(room.of_type("stream.close")) == 1


async def test_together_each_file_has_its_own_stream(room: RoomServer, recordings: list[str]) -> None:
    await talk(room, *recordings, "--together", "--no-voice-id")
    heard = sorted(stream.audio() for stream in room.streams.values())
    assert heard == sorted([np.full(8_000, 100, "<i2").tobytes(), np.full(6_000, 200, "<i2").tobytes()])
    assert room.of_type("hello")[0]["consent"]["voice_id"] is False


async def test_captions_and_pictures_are_printed_to_the_last(room: RoomServer, recordings: list[str]) -> None:
    room.answers["stream.close"] = [
        {
            "type": "caption.final",
            "id": "1",
            "rev": 8,
            "text": "a garden",
            "speaker": {"name": "Anna", "state": "known"},
        },
        {"type": "caption.final", "id": "2", "rev": 9, "text": "a boat", "speaker": {"name": "Ben", "state": "unsure"}},
        {"type": "frame.ready", "id": "3", "rev": 10, "alt": "A boat on a river", "url": "/media/3.webp"},
    ]
    printed, _err = await talk(room, recordings[0])
    assert printed.splitlines() == ["Anna: a garden", "Ben?: a boat", "[picture] A boat on a river — /media/3.webp"]


async def test_json_prints_every_event_as_one_line(room: RoomServer, recordings: list[str]) -> None:
    printed, _err = await talk(room, recordings[0], "--json")
    events = [json.loads(line) for line in printed.splitlines()]
    assert [event["type"] for event in events[:3]] == ["welcome", "snapshot", "stream.opened"]
    assert events[-1]["type"] == "stream.closed"
    assert events[-1]["next_sample"] == 8_000
    assert all(event["received_at"] > 1.7e9 for event in events)


async def test_a_lost_connection_is_told_and_mended(room: RoomServer, recordings: list[str]) -> None:
    room.drop_at = lambda stream: stream.end >= 4_000
    _printed, told = await talk(room, recordings[0])
    assert "Coming back" in told
    assert "Connected again" in told
    (stream,) = room.streams.values()
    assert stream.audio() == np.full(8_000, 100, "<i2").tobytes()


@pytest.mark.parametrize(
    ("code", "words"), [(4401, "token"), (4403, "not speak"), (4404, "no meeting"), (4410, "ended")]
)
async def test_what_the_server_refuses_is_one_plain_line(
    code: int, words: str, room: RoomServer, recordings: list[str]
) -> None:
    room.close_hello_with = [code]
    with pytest.raises(CommandError, match=words) as error:
        await talk(room, recordings[0])
    assert "\n" not in str(error.value)
    assert str(code) in str(error.value)
    assert room.connections == 1


async def test_a_meeting_that_ends_while_someone_speaks_ends_the_command(
    room: RoomServer, recordings: list[str]
) -> None:
    room.close_audio_with = 4410
    with pytest.raises(CommandError, match="has ended"):
        await talk(room, recordings[0])


async def test_a_refused_stream_is_told_in_the_servers_words(room: RoomServer, recordings: list[str]) -> None:
    room.answers["stream.open"] = [{"type": "error", "code": "not_allowed_here", "message": "You may only watch."}]
    with pytest.raises(CommandError, match="You may only watch"):
        await talk(room, recordings[0])


async def test_a_bad_file_is_told_before_anything_is_sent(
    room: RoomServer, recordings: list[str], tmp_path: Path
) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(CommandError, match=r"empty\.wav is empty"):
        await talk(room, recordings[0], str(tmp_path / "empty.wav"))
    assert room.connections == 0


def run_talk(tmp_path: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEETVIZ_")}
    environment |= {"MEETVIZ_HOME": str(tmp_path / "home"), **settings}
    command = [sys.executable, "manage.py", "talk", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_without_a_server_it_says_how_to_start_one_and_fails(recordings: list[str], tmp_path: Path) -> None:
    done = run_talk(tmp_path, recordings[0], "--meeting", "garden", MEETVIZ_TOKEN="t", PORT="9")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "localhost:9" in line
    assert "make run" in line


def test_without_a_token_or_a_file_it_says_so(recordings: list[str], tmp_path: Path) -> None:
    for arguments, words in ((recordings, "--token"), (["--token", "t"], "--mic")):
        done = run_talk(tmp_path, *arguments, "--meeting", "garden")
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert words in line


def test_it_loads_no_engine_and_opens_no_database(recordings: list[str], tmp_path: Path) -> None:
    code = (
        "import sys, django; django.setup(); from django.core.management import call_command\n"
        "try: call_command('talk', *sys.argv[1:])\n"
        "except Exception as error: print(error)\n"
        "from django.db import connection\n"
        "heavy = ('torch', 'diffusers', 'transformers', 'faster_whisper', 'pocketsphinx', 'resemblyzer')\n"
        "print([module for module in heavy if module in sys.modules])\n"
        "print(connection.connection)"
    )
    environment = {
        **os.environ,
        "MEETVIZ_HOME": str(tmp_path / "home"),
        "DJANGO_SETTINGS_MODULE": "meetviz_site.settings",
    }
    arguments = [recordings[0], "--meeting", "garden", "--token", "t", "--url", "ws://localhost:9"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert lines[1:] == ["[]", "None"], done.stderr
    assert not (tmp_path / "home" / "postgres").exists()
