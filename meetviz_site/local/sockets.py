"""How Daphne ends sockets: 4413 for a message that is too large, 1012 when the server goes away.

Out of the box the first drops the TCP connection without a word and the second cancels the consumers, so that a client
cannot tell either from a broken line. It also takes in bodies of any size, from anybody, before it asks the
application: here a request that is larger than any form or picture ends with 413.
"""

from __future__ import annotations

import asyncio
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import defer
from twisted.web.http import Request

CODE_TOO_LARGE = 4413
CODE_RESTARTING = 1012
# Long enough for the rest of a message of some megabytes to arrive and be thrown away.
DRAIN_TOO_LARGE_S = 15
CONSUMERS_DEADLINE_S = 5.0
MAX_BODY_BYTES = 32 * 2**20


def install() -> None:
    """Teach Daphne both, for this process: called by `asgi.py`, so that the `daphne` command behaves the same."""
    WebSocketProtocol._max_message_size_exceeded = _refuse_too_large
    Server.kill_all_applications = say_goodbye
    WebRequest.gotLength = _got_length
    WebRequest.handleContentChunk = _take_chunk


def _refuse_too_large(protocol: Any, _size: int, _limit: int, _reason: str) -> None:
    """Close in good order; what still comes in is parsed but not kept (Autobahn's `failedByMe`)."""
    if protocol.state == protocol.STATE_OPEN:
        protocol.closeHandshakeTimeout = DRAIN_TOO_LARGE_S
        protocol.sendCloseFrame(code=CODE_TOO_LARGE, reasonUtf8=b"message too large", isReply=False)
    protocol.failedByMe = True


def _got_length(request: Any, length: int | None) -> None:
    Request.gotLength(request, length)
    if (length or 0) > MAX_BODY_BYTES:
        _refuse_body(request)


def _take_chunk(request: Any, data: bytes) -> None:
    if request.content.tell() + len(data) > MAX_BODY_BYTES:
        _refuse_body(request)
    else:
        Request.handleContentChunk(request, data)


def _refuse_body(request: Any) -> None:
    transport = request.channel.transport
    if not transport.disconnecting:
        transport.write(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        transport.loseConnection()


def say_goodbye(server: Any) -> defer.Deferred:
    """Close every socket with 1012, give consumers and requests time to finish, then cancel what is left."""
    for protocol in list(server.connections):
        if isinstance(protocol, WebSocketProtocol) and protocol.state == protocol.STATE_OPEN:
            protocol.sendCloseFrame(code=CODE_RESTARTING, reasonUtf8=b"restarting", isReply=False)
    applications = [
        application
        for details in server.connections.values()
        if (application := details.get("application_instance")) is not None and not application.done()
    ]
    return defer.Deferred.fromFuture(asyncio.ensure_future(_finish(applications), loop=asyncio.get_event_loop()))


async def _finish(applications: list[asyncio.Future]) -> None:
    if not applications:
        return
    _done, unfinished = await asyncio.wait(applications, timeout=CONSUMERS_DEADLINE_S)
    for application in unfinished:
        application.cancel()
    if unfinished:
        await asyncio.wait(unfinished, timeout=1.0)
