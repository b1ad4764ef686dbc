from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.sites import Process, environment_for, free_port

TEN_MB = 10_000_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Process, str]]:
    port = free_port()
    process = Process(
        [sys.executable, "-m", "tests.meetviz_site.local.echo_server", str(port)], environment_for(tmp_path, port)
    )
    process.wait_for_line("ready")
    yield process, f"ws://127.0.0.1:{port}/"
    process.stop()


def close_code(caught: pytest.ExceptionInfo[ConnectionClosed]) -> int | None:
    return caught.value.rcvd.code if caught.value.rcvd else None


@pytest.mark.parametrize("chunks", [1, 200], ids=["in one frame", "in 200 frames"])
def test_a_message_that_is_too_large_gets_its_code_and_harms_no_other_socket(
    server: tuple[Process, str], chunks: int
) -> None:
    process, url = server
    with connect(url) as other, connect(url) as greedy:
        with pytest.raises(ConnectionClosed) as caught:
            greedy.send("x" * TEN_MB if chunks == 1 else ["x" * (TEN_MB // chunks)] * chunks)
            greedy.recv(timeout=20)
        assert close_code(caught) == 4413
        process.wait_for_line("disconnected 4413")
        other.send("still here")
        assert other.recv(timeout=20) == "still here"


def test_sockets_hear_that_the_server_restarts_and_their_consumers_end(server: tuple[Process, str]) -> None:
    process, url = server
    with connect(url) as one, connect(url) as two:
        for socket in (one, two):
            socket.send("hello")
            assert socket.recv(timeout=20) == "hello"
        assert process.stop(signal.SIGTERM) == 0
        for socket in (one, two):
            with pytest.raises(ConnectionClosed) as caught:
                socket.recv(timeout=20)
            assert close_code(caught) == 1012
    assert process.lines.count("disconnected 1012") == 2
