"""Outcomes of utterances that were decoded on a guess, until their finals ask for them.

A quarter of a second of silence usually means that someone has finished; half a second makes it certain. Decoding in
between hides that much of the engine's time. What is kept here is never shown by itself, and a final that comes to
another process, or says other samples, is simply decoded.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict

from workers.messages import SpeechRequest, SpeechResult

MOST_KEPT = 32

_lock = threading.Lock()
_kept: OrderedDict[tuple, SpeechResult] = OrderedDict()


def keep(request: SpeechRequest, result: SpeechResult) -> None:
    if result.error:
        return
    with _lock:
        _kept[_key(request)] = result
        while len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)


def take(request: SpeechRequest) -> SpeechResult | None:
    """The outcome as the answer to this final, if it was guessed right. `decode` becomes what the final waited."""
    with _lock:
        result = _kept.pop(_key(request), None)
    if result is None:
        return None
    engines_ms = result.timings_ms.get("decode", 0.0) + result.timings_ms.get("voice", 0.0)
    waited_ms = round(max(0.0, (result.decoded_at - request.asked_at) * 1000), 1)
    return dataclasses.replace(
        result,
        id=request.id,
        meeting=request.meeting,
        started_at=request.started_at,
        ended_at=request.ended_at,
        timings_ms={"decode": waited_ms, "guessed": engines_ms},
    )


def _key(request: SpeechRequest) -> tuple:
    asked = (request.language, request.language_hint, request.prompt, request.want_voice)
    return (request.stream, request.first_sample, request.last_sample, *asked)
