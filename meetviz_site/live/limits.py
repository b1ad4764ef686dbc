"""What one socket may send. Daphne's queue for a socket has no bound, so the bound is here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

MAX_AUDIO_MESSAGE_BYTES = 16 + 64_000
MAX_TEXT_MESSAGE_BYTES = 32_768
# Twelve times real time for as long as it takes, after a burst of four minutes: a replay of the 120 s that a browser
# keeps passes at once, a flood does not.
AUDIO_BYTES_PER_S = 12 * 32_000
AUDIO_BURST_BYTES = 240 * 32_000
TEXT_MESSAGES_PER_S = 20.0
TEXT_BURST = 100.0
HELLO_WITHIN_S = 5.0
MAX_STREAMS = 16
# Streams outlive their socket for a while: the bound on those of one person, however often they come back, and on all.
MAX_STREAMS_OF_ONE = 64
MAX_STREAMS_OF_ALL = 2_000
SNAPSHOTS_PER_S = 2.0
SNAPSHOT_BURST = 30.0
KEEP_UNACKED_S = 120


@dataclass(slots=True)
class TokenBucket:
    """Allows `burst` at once and `rate` per second after that."""

    rate: float
    burst: float
    level: float = field(init=False)
    at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, amount: float) -> bool:
        """Whether `amount` fits now; takes it if so."""
        now = time.monotonic()
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        if amount > self.level:
            return False
        self.level -= amount
        return True


def limits_dict() -> dict[str, int]:
    """`welcome.limits`."""
    return {
        "max_message_bytes": MAX_AUDIO_MESSAGE_BYTES,
        "audio_bytes_per_s": AUDIO_BYTES_PER_S,
        "keep_unacked_s": KEEP_UNACKED_S,
        "max_streams": MAX_STREAMS,
    }
