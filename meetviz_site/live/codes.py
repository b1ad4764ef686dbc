"""Close codes of the live socket (docs/live-protocol.md)."""

from __future__ import annotations

import enum


class CloseCode(enum.IntEnum):
    RESTARTING = 1012
    MALFORMED = 4400
    NOT_AUTHENTICATED = 4401
    NOT_ALLOWED = 4403
    NO_SUCH_MEETING = 4404
    NO_HELLO = 4408
    TAKEN_OVER = 4409
    MEETING_ENDED = 4410
    TOO_LARGE = 4413
    TOO_FAST = 4429


# After these a client does not come back by itself.
FINAL_CODES = frozenset(
    {CloseCode.NOT_AUTHENTICATED, CloseCode.NOT_ALLOWED, CloseCode.NO_SUCH_MEETING, CloseCode.MEETING_ENDED}
)
