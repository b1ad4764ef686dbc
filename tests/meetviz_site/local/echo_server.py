"""Daphne with our manners around the smallest of applications: it echoes, and notes how each socket ended."""

from __future__ import annotations

import sys
from typing import Any

from daphne.server import Server

from meetviz_site.local import sockets


async def application(scope: dict, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": event["text"]})
    print("disconnected", event["code"], flush=True)


if __name__ == "__main__":
    sockets.install()
    Server(
        application=application,
        endpoints=[f"tcp:{sys.argv[1]}:interface=127.0.0.1"],
        websocket_max_message_size=100_000,
        websocket_max_frame_size=100_000,
        ready_callable=lambda: print("ready", flush=True),
    ).run()
