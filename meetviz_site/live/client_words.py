"""The words of the live socket's client: errors, consent, events, addresses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from meetviz_site.live.codes import CloseCode


class LiveError(Exception):
    """The server said no, or is not there.

    `code`: the server's error code, or `unreachable`, `timeout`, `closed`. `close_code`: when a close said it.
    """

    def __init__(
        self, code: str, message: str, *, close_code: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.close_code = close_code
        self.retry_after = retry_after


_REASONS = {
    CloseCode.NOT_AUTHENTICATED: ("not_authenticated", "The server does not know this token."),
    CloseCode.NOT_ALLOWED: ("not_allowed", "The server does not let this token into the meeting."),
    CloseCode.NO_SUCH_MEETING: ("no_such_meeting", "There is no such meeting on this server."),
    CloseCode.MEETING_ENDED: ("meeting_ended", "The meeting has ended."),
}


def failure_of_close(code: int, reason: str = "") -> LiveError:
    """A close of the server as an error with a sentence for people."""
    if code in _REASONS:
        name, text = _REASONS[CloseCode(code)]
        return LiveError(name, text, close_code=code)
    name = CloseCode(code).name.lower() if code in iter(CloseCode) else "closed"
    said = f": {reason}" if reason else ""
    text = f"The server closed the connection ({code} {name.replace('_', ' ')}{said})."
    return LiveError(name, text, close_code=code)


def failure_of_handshake(url: str, error: Exception) -> LiveError:
    """A connection that did not come about as an error with a sentence for people."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status in (401, 403):
            return LiveError("not_allowed", f"The server at {url} refused the connection (HTTP {status}).")
        if status == 404:
            return LiveError("no_such_meeting", f"There is no live socket at {url} (HTTP 404).")
        return LiveError("unreachable", f"The server at {url} answered HTTP {status}.")
    if isinstance(error, InvalidURI):
        return LiveError("bad_address", f"{url} is not a ws:// or wss:// address.")
    if isinstance(error, InvalidHandshake):
        return LiveError("bad_address", f"What answers at {url} is not a live socket ({error}).")
    return LiveError("unreachable", f"There is no server at {urlsplit(url).netloc}.")


@dataclass(frozen=True, slots=True)
class Consent:
    """What the speaker agreed to. Audio needs at least `transcribe`."""

    transcribe: bool = False
    voice_id: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A message of the server."""

    number: int
    """Counted from 1 in the order of arrival, over all connections of this client."""
    type: str
    data: dict[str, Any]
    """The whole message, `type` included."""
    received_at: float
    """Unix seconds."""

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.data.get(key, default)


def socket_url(base: str, slug: str) -> str:
    """The socket of a meeting on a server: `base` is its http(s):// or ws(s):// address, or already a whole one."""
    if "://" not in base:
        base = f"ws://{base}"
    base = base.replace("http", "ws", 1) if base.startswith("http") else base
    return base if "/ws/meetings/" in base else f"{base.rstrip('/')}/ws/meetings/{slug}/"


def is_local(url: str) -> bool:
    """Whether a proxy from the environment must be left out."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
