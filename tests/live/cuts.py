"""For tests that cut something in the middle of a sentence: what to say, and what is stored of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from meetings.audio.frames import MIN_SAMPLES
from meetviz_site.live.client import Consent, LiveClient, LiveStream
from workers.messages import SAMPLE_RATE_HZ

AGREED = Consent(transcribe=True)
WITHIN_S = 120.0
# Three lines of the dialogue: 0.6–4.0 s, 4.9–9.0 s, 9.8–13.1 s.
UNTIL_S, AFTER_FIRST_LINE_S, IN_SECOND_LINE_S, IN_THIRD_LINE_S = 14.0, 4.7, 6.5, 11.0

Captions = list[tuple[str, str, int, int]]


def upto(speech: np.ndarray, first_s: float, last_s: float) -> np.ndarray:
    return speech[round(first_s * SAMPLE_RATE_HZ) : round(last_s * SAMPLE_RATE_HZ)]


def client_of(meeting: dict[str, str]) -> LiveClient:
    return LiveClient(meeting["ws_url"], token=meeting["join_token"], name="Anna", consent=AGREED)


def written_down(snapshot: Any) -> Captions:
    """Type, words and place of everything that is stored."""
    return [
        (caption["type"], caption.get("text", ""), caption["first_sample"], caption["last_sample"])
        for caption in snapshot["captions"]
    ]


def words(captions: Captions) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text, _first, _last in captions]


async def stored(meeting: dict[str, str]) -> Captions:
    async with LiveClient(meeting["ws_url"], token=meeting["viewer_token"]) as viewer:
        return written_down(await viewer.wait_for("snapshot"))


async def all_sent(stream: LiveStream) -> None:
    """All but a rest that is too short for a message of its own."""
    await stream.client._until(lambda: stream.written_samples - stream.sent_samples < MIN_SAMPLES, WITHIN_S, "sending")


async def speak_uncut(meeting: dict[str, str], speech: np.ndarray) -> Captions:
    """What is written down when nothing happens."""
    async with client_of(meeting) as client:
        stream = await client.open_stream(language="en")
        await stream.write(upto(speech, 0, UNTIL_S))
        await stream.close(WITHIN_S)
    captions = await stored(meeting)
    assert len(captions) >= 3 and all(kind == "caption.final" and text for kind, text, _first, _last in captions)
    assert captions == sorted(captions, key=lambda caption: caption[2])  # in the order in which it was said
    return captions
