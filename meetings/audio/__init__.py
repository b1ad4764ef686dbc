"""Sound as it comes in: frames, order, voice activity, utterances. Plain code: no Django, no Celery, no sockets.

Positions are sample counts from the start of a stream, at 16 kHz; ranges are half-open (`last_sample` is one past the
last). Sound is signed 16-bit mono, as the live socket carries it.
"""

from __future__ import annotations

SAMPLE_RATE_HZ = 16_000
"""The only rate of the live protocol; `workers.messages` says the same to the other side."""
