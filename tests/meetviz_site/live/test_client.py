"""The client of the live socket, seen from the other end of the wire."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from meetviz_site.live.audio_file import AudioFileError, read_audio
from meetviz_site.live.client import Consent, LiveClient, LiveError, backoff_s, socket_url
from meetviz_site.live.client_stream import FRAME_SAMPLES, KEPT_SAMPLES
from tests.meetviz_site.live.room_server import RoomServer, running


@pytest.fixture
async def room() -> AsyncIterator[RoomServer]:
    room = RoomServer()
    async with running(room):
        yield room


def client_of(room: RoomServer, **options: float) -> LiveClient:
    return LiveClient(
        room.url, token="t", name="Anna", consent=Consent(transcribe=True), first_delay_s=0.001, **options
    )


def noise(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**15), 2**15, count).astype(np.int16)


# What is sent


async def test_hello_says_who_and_what_was_agreed_and_keeps_the_token_out_of_the_address(room: RoomServer) -> None:
    async with client_of(room) as client:
        assert client.welcome is not None and client.welcome["you"]["role"] == "participant"
        await client.wait_for("snapshot")
        assert client.rev == 7
    assert room.heard[0] == {
        "type": "hello",
        "token": "t",
        "name": "Anna",
        "consent": {"transcribe": True, "voice_id": False, "keep": False},
    }
    assert room.socket is not None and room.socket.request is not None
    assert room.socket.subprotocol == "meetviz.v1"
    assert room.socket.request.path == "/ws/meetings/garden/"


async def test_every_sample_arrives_once_and_in_order_in_messages_of_160_ms(room: RoomServer) -> None:
    samples = noise(5 * FRAME_SAMPLES + 1_234)
    async with client_of(room) as client:
        stream = await client.open_stream(language="en", label="a file")
        await stream.write(samples[:4_000])
        await stream.write(samples[4_000:].tobytes())
        closed = await stream.close()
    assert closed["next_sample"] == len(samples)
    heard = room.streams[stream.id]
    assert heard.audio() == samples.astype("<i2").tobytes()
    firsts = [first for _connection, first, _pcm in heard.messages]
    counts = [len(pcm) // 2 for _connection, _first, pcm in heard.messages]
    assert firsts == [sum(counts[:i]) for i in range(len(counts))]
    assert max(counts) == FRAME_SAMPLES
    opened = room.of_type("stream.open")
    assert opened == [{"type": "stream.open", "stream": stream.id, "language": "en", "label": "a file"}]


async def test_a_message_is_byte_for_byte_what_the_protocol_says() -> None:
    messages: list[bytes] = []

    class Listener(RoomServer):
        async def _audio(self, socket, connection, numbers, message):  # type: ignore[no-untyped-def]
            messages.append(message)
            await super()._audio(socket, connection, numbers, message)

    room = Listener()
    async with running(room), client_of(room) as client:
        stream = await client.open_stream()
        await stream.write(np.array([0, 1, -1, 32767, -32768] * 100, np.int16))
        await stream.close()
    header = struct.pack("<2sBBHHQ", b"MV", 1, 1, 3, 0, 0)
    assert messages == [header + struct.pack("<5h", 0, 1, -1, 32767, -32768) * 100]


async def test_a_rest_too_short_for_a_message_travels_with_the_one_before_it(room: RoomServer) -> None:
    samples = noise(FRAME_SAMPLES + 100)
    async with client_of(room) as client:
        stream = await client.open_stream()
        await stream.write(samples)
        await stream.close()
    assert room.streams[stream.id].messages == [(1, 0, samples.tobytes())]


async def test_a_stream_shorter_than_the_least_message_is_filled_up_with_silence(room: RoomServer) -> None:
    async with client_of(room) as client:
        stream = await client.open_stream()
        await stream.write(np.full(7, 9, np.int16))
        await stream.close()
    assert room.streams[stream.id].audio() == np.full(7, 9, np.int16).tobytes() + bytes(2 * 313)


async def test_streams_do_not_mix(room: RoomServer) -> None:
    first, second = noise(20_000, 1), noise(33_000, 2)
    async with client_of(room) as client:
        one, two = await client.open_stream(), await client.open_stream()
        await asyncio.gather(one.write(first), two.write(second))
        await asyncio.gather(one.close(), two.close())
    assert room.streams[one.id].audio() == first.tobytes()
    assert room.streams[two.id].audio() == second.tobytes()


async def test_playing_takes_as_long_as_speaking_divided_by_the_speed(room: RoomServer) -> None:
    loop = asyncio.get_running_loop()
    async with client_of(room) as client:
        stream = await client.open_stream()
        start = loop.time()
        await stream.play(noise(32_000), speed=10)
        assert loop.time() - start >= 0.2
        await stream.close()
    assert room.streams[stream.id].audio() == noise(32_000).tobytes()


async def test_writing_waits_while_two_minutes_are_unacked(room: RoomServer) -> None:
    room.ack_everything = False
    samples = noise(KEPT_SAMPLES + 16_000)
    async with client_of(room) as client:
        stream = await client.open_stream()
        writing = asyncio.create_task(stream.write(samples))
        await room.until(lambda: room.streams[stream.id].end == KEPT_SAMPLES)
        assert not writing.done()
        assert stream.unacked_samples == KEPT_SAMPLES
        await room.say({"type": "audio.ack", "stream": stream.id, "next_sample": 16_000})
        await writing
        await stream.close()
    assert room.streams[stream.id].audio() == samples.tobytes()


async def test_the_servers_bytes_per_second_are_kept(room: RoomServer) -> None:
    room.limits = {"audio_bytes_per_s": 400_000, "keep_unacked_s": 1}
    loop = asyncio.get_running_loop()
    async with client_of(room) as client:
        stream = await client.open_stream()
        start = loop.time()
        await stream.write(noise(48_000))  # one second at once, then 64 kB at 360 kB/s
        await stream.close()
        assert loop.time() - start >= 0.16
    assert room.streams[stream.id].audio() == noise(48_000).tobytes()


# Coming back


async def test_after_a_lost_connection_exactly_what_is_not_durable_is_sent_again(room: RoomServer) -> None:
    samples = noise(40 * FRAME_SAMPLES + 77)
    durable = 9_999  # in the middle of a message

    def drop(stream) -> bool:  # type: ignore[no-untyped-def]
        stream.durable = durable
        return bool(stream.end >= 20 * FRAME_SAMPLES)

    room.ack_everything, room.drop_at = False, drop
    async with client_of(room) as client:
        stream = await client.open_stream()
        await stream.write(samples)
        await stream.close()
        assert client.connections == 2
    heard = room.streams[stream.id]
    again = [(first, pcm) for connection, first, pcm in heard.messages if connection == 2]
    assert again[0][0] == durable
    assert b"".join(pcm for _first, pcm in again) == samples[durable:].tobytes()
    assert [first for first, _pcm in again[1:]] == [first + len(pcm) // 2 for first, pcm in again[:-1]]
    assert heard.audio() == samples.tobytes()
    assert [m["stream"] for m in room.of_type("stream.open")] == [stream.id, stream.id]


async def test_what_was_acked_is_forgotten_and_never_sent_again(room: RoomServer) -> None:
    samples = noise(8 * FRAME_SAMPLES)
    async with client_of(room) as client:
        stream = await client.open_stream()
        await stream.write(samples)
        await client.wait_for("audio.ack", lambda ack: ack["next_sample"] == len(samples))
        assert stream.unacked_samples == 0
        await room.cut()
        await client.wait_for("stream.opened", lambda opened: opened["next_sample"] == len(samples))
        await stream.write(samples[:5_000])
        await stream.close()
    again = [(first, pcm) for connection, first, pcm in room.streams[stream.id].messages if connection == 2]
    assert again[0][0] == len(samples)
    assert b"".join(pcm for _first, pcm in again) == samples[:5_000].tobytes()


async def test_words_spoken_while_the_connection_is_lost_are_not_lost(room: RoomServer) -> None:
    samples = noise(12 * FRAME_SAMPLES)
    room.close_hello_with = []
    async with client_of(room) as client:
        stream = await client.open_stream()
        await stream.write(samples[:10_000])
        await room.until(lambda: room.streams[stream.id].end >= 9_000)
        room.close_hello_with = [1012, 1012, 1012]
        await room.cut()
        await stream.write(samples[10_000:])
        await stream.close()
        assert client.close_codes[-3:] == [1012, 1012, 1012]
    assert room.streams[stream.id].audio() == samples.tobytes()


async def test_a_stream_can_be_resumed_by_a_new_client_that_writes_it_again(room: RoomServer) -> None:
    samples = noise(6 * FRAME_SAMPLES)
    async with client_of(room) as client:
        stream = await client.open_stream()
        await stream.write(samples[:7_000])
        await client.wait_for("audio.ack", lambda ack: ack["next_sample"] >= 6_000)
    durable = room.streams[stream.id].durable
    async with client_of(room) as client:
        resumed = await client.open_stream(stream=stream.id)
        assert resumed.acked_samples == durable
        await resumed.write(samples)
        await resumed.close()
    again = [first for connection, first, _pcm in room.streams[stream.id].messages if connection == 2]
    assert again[0] == durable
    assert room.streams[stream.id].audio() == samples.tobytes()


async def test_closing_a_stream_survives_a_connection_lost_at_that_moment(room: RoomServer) -> None:
    room.drop_on = "stream.close"
    async with client_of(room) as client:
        stream = await client.open_stream()
        await stream.write(noise(4_000))
        closed = await stream.close()
        assert client.connections == 2
    assert closed.type == "stream.closed"
    assert len(room.of_type("stream.close")) == 2


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4400, 4408, 4409, 4413, 4429])
async def test_it_comes_back_after(code: int, room: RoomServer) -> None:
    async with client_of(room) as client:
        assert room.socket is not None
        await room.socket.close(code)
        await room.until(lambda: len(room.of_type("hello")) == 2)
        await client.wait_for("welcome", after=client.welcome)
        assert client.close_codes == [code]
        assert client.error is None


@pytest.mark.parametrize(
    ("code", "name"),
    [(4401, "not_authenticated"), (4403, "not_allowed"), (4404, "no_such_meeting"), (4410, "meeting_ended")],
)
async def test_it_stays_away_after(code: int, name: str, room: RoomServer) -> None:
    room.close_hello_with = [code]
    with pytest.raises(LiveError) as at_hello:
        await client_of(room).connect()
    async with client_of(room) as client:
        stream, other = await client.open_stream(), await client.open_stream()
        assert room.socket is not None
        await room.socket.close(code)
        with pytest.raises(LiveError) as later:
            await stream.close()
        with pytest.raises(LiveError):
            await other.write(noise(100))
        # The task that would come back has ended, so nothing is left that could.
        assert client._runner is not None and client._runner.done()
    assert (at_hello.value.code, at_hello.value.close_code) == (name, code)
    assert (later.value.code, later.value.close_code) == (name, code)
    assert room.connections == 2


async def test_it_gives_up_in_the_end_when_no_connection_gets_anywhere(room: RoomServer) -> None:
    async with client_of(room, give_up_s=0.05) as client:
        stream = await client.open_stream()
        room.close_hello_with = [4400] * 1_000
        await room.cut()
        with pytest.raises(LiveError) as error:
            await stream.close()
    assert error.value.close_code == 4400


def test_the_delay_doubles_from_a_quarter_of_a_second_to_eight_with_jitter() -> None:
    assert [backoff_s(attempt, 1.0) for attempt in range(8)] == [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    assert [backoff_s(attempt, 0.0) for attempt in (0, 5)] == [0.125, 4.0]
    assert backoff_s(10_000, 1.0) == 8


async def test_no_server_is_said_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = socket_url(f"http://127.0.0.1:{unused.getsockname()[1]}", "garden")
        with pytest.raises(LiveError) as error:
            await LiveClient(url, token="t").connect()
    assert error.value.code == "unreachable"


async def test_it_can_wait_for_a_server_that_is_still_starting(room: RoomServer) -> None:
    late = RoomServer()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    tried = asyncio.Event()
    client = LiveClient(socket_url(f"localhost:{port}", "garden"), token="t", first_delay_s=0.001, longest_delay_s=0.01)
    client.on_reconnect = lambda sentence: tried.set()
    connecting = asyncio.create_task(client.connect(wait_s=20))
    await tried.wait()
    async with running(late, port):
        welcome = await connecting
        await client.aclose()
    assert welcome.type == "welcome"


async def test_something_else_at_the_address_is_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        with pytest.raises(LiveError) as error:
            await LiveClient(socket_url(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", "garden")).connect()
    assert error.value.code in ("bad_address", "unreachable")


async def test_leaving_is_a_normal_close_and_ends_everyone_who_waits(room: RoomServer) -> None:
    client = client_of(room)
    await client.connect()
    waiting = asyncio.create_task(client.wait_for("caption.final"))
    listening = asyncio.create_task(_all_events(client))
    await client.wait_for("snapshot")
    await client.aclose()
    with pytest.raises(LiveError) as error:
        await waiting
    assert error.value.code == "closed"
    assert await listening == ["welcome", "snapshot"]
    assert room.socket is not None
    await room.socket.wait_closed()
    assert room.socket.close_code == 1000


async def _all_events(client: LiveClient) -> list[str]:
    return [event.type async for event in client.events()]


# Revisions, waiting, refusals


async def test_a_gap_in_rev_asks_for_one_snapshot_and_repeats_ask_for_none(room: RoomServer) -> None:
    async with client_of(room) as client:
        await client.wait_for("snapshot")
        for rev in (8, 8, 9):
            await room.say({"type": "caption.final", "id": f"c{rev}", "rev": rev, "text": "hello"})
        last = await client.wait_for("caption.final", lambda event: event["rev"] == 9)
        assert room.of_type("resync") == []
        room.rev = 13
        await room.say({"type": "caption.final", "id": "c12", "rev": 12, "text": "hello"})
        await room.say({"type": "caption.final", "id": "c13", "rev": 13, "text": "hello"})
        snapshot = await client.wait_for("snapshot", after=last)
        assert snapshot["rev"] == client.rev == 13
        assert len(room.of_type("resync")) == 1


async def test_waiting_finds_what_came_before_and_what_comes_after(room: RoomServer) -> None:
    async with client_of(room) as client:
        await client.wait_for("snapshot")
        await room.say({"type": "frame.ready", "id": "one", "rev": 8})
        one = await client.wait_for("frame.ready")
        assert (await client.wait_for("frame.ready"))["id"] == "one"
        waiting = asyncio.create_task(client.wait_for("frame.ready", after=one))
        await room.say({"type": "frame.ready", "id": "two", "rev": 9})
        two = await waiting
        assert two["id"] == "two"
        assert two.received_at >= one.received_at
        with pytest.raises(LiveError) as error:
            await client.wait_for("frame.failed", timeout_s=0.01)
        assert error.value.code == "timeout"


async def test_messages_that_the_client_does_not_know_are_harmless(room: RoomServer) -> None:
    async with client_of(room) as client:
        assert room.socket is not None
        for message in ("[]", "no json", '{"no": "type"}', '{"type": "news.of.2031", "rev": "x"}'):
            await room.socket.send(message)
        await room.socket.send(b"\x00\x01")
        await room.say({"type": "status", "lag_s": 0})
        await client.wait_for("status")
        assert client.connections == 1


async def test_a_refused_stream_raises_with_the_servers_words(room: RoomServer) -> None:
    refusal = {"type": "error", "code": "consent_required", "message": "Tick the box first.", "retry_after": 3}
    room.answers["stream.open"] = [refusal]
    async with client_of(room) as client:
        with pytest.raises(LiveError, match="Tick the box first") as error:
            await client.open_stream()
        assert (error.value.code, error.value.retry_after) == ("consent_required", 3)
        assert client.streams == {}


async def test_a_picture_is_asked_for_and_reported_as_shown(room: RoomServer) -> None:
    async with client_of(room) as client:
        queued = await client.frame_request("more boats")
        await client.frame_shown(queued["id"])
        await room.until(lambda: room.of_type("frame.shown"))
        room.answers["frame.request"] = [{"type": "error", "code": "too_soon", "message": "Wait a little."}]
        with pytest.raises(LiveError) as error:
            await client.frame_request()
    assert error.value.code == "too_soon"
    assert room.of_type("frame.request")[0] == {"type": "frame.request", "hint": "more boats"}
    assert room.of_type("frame.shown") == [{"type": "frame.shown", "frame": "picture-1"}]


def test_addresses_of_sockets() -> None:
    assert socket_url("http://localhost:8000", "abc") == "ws://localhost:8000/ws/meetings/abc/"
    assert socket_url("https://example.org/", "abc") == "wss://example.org/ws/meetings/abc/"
    assert socket_url("localhost:81", "abc") == "ws://localhost:81/ws/meetings/abc/"
    assert socket_url("wss://h/ws/meetings/xyz/", "abc") == "wss://h/ws/meetings/xyz/"


# Audio files


def wav(path: Path, samples: np.ndarray, rate_hz: int = 16_000) -> Path:
    soundfile.write(path, samples, rate_hz)
    return path


def tone(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(rate_hz * seconds)) / rate_hz)


def loudest_hz(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * 16_000 / len(samples))


def test_a_16_khz_mono_file_is_read_sample_for_sample(tmp_path: Path) -> None:
    samples = noise(12_345)
    assert np.array_equal(read_audio(wav(tmp_path / "a.wav", samples)), samples)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_any_container_rate_and_channels_become_16_khz_mono(name: str, rate_hz: int, tmp_path: Path) -> None:
    left, right = tone(440, rate_hz), tone(440, rate_hz) * 0.5
    samples = read_audio(wav(tmp_path / name, np.stack([left, right], axis=1), rate_hz))
    assert samples.dtype == np.int16
    assert samples.ndim == 1
    assert abs(len(samples) - 16_000) < 1_600
    assert abs(loudest_hz(samples[2_000:14_000]) - 440) < 5
    # The mean of both channels: 0.375 of full scale at the peak.
    assert np.sqrt(np.mean(samples[2_000:14_000].astype(float) ** 2)) == pytest.approx(
        0.375 / 2**0.5 * 32_768, rel=0.05
    )


def test_files_that_cannot_be_spoken_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "letter.wav").write_text("Dear all, this is not sound. " * 50)
    wav(tmp_path / "nothing.wav", np.zeros(0, np.int16))
    whole = wav(tmp_path / "whole.flac", noise(64_000)).read_bytes()
    (tmp_path / "head.flac").write_bytes(whole[:60])
    for name, words in {
        "empty.wav": "empty",
        "letter.wav": "not an audio file",
        "nothing.wav": "no sound|not an audio file",
        "head.flac": "no sound|damaged|not an audio file",
        "missing.wav": "no such file",
        "": "folder",
    }.items():
        with pytest.raises(AudioFileError, match=words) as error:
            read_audio(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_picture_is_not_audio(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    with pytest.raises(AudioFileError, match="holds no audio"):
        read_audio(tmp_path / "photo.png")
