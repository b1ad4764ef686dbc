"""A room full of open microphones, from a process of its own: `python -m tests.load < plan.json > outcome.json`.

Each microphone is a person with a socket, as in browsers. Most are in rooms where nobody speaks; some play the
dialogue. The load must not share Python's lock with whoever looks at what the site makes of it.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from meetings.audio import SAMPLE_RATE_HZ
from meetviz_site.live.client import Consent, LiveClient, LiveStream
from meetviz_site.live.client_stream import FRAME_SAMPLES
from tests import sounds
from tests.sites import ROOT, Site

ROOM_DBFS = (-62, -55, -50, -46)
ROOMS = 12
WITHIN_S = 90.0
SETTLED_AFTER_SAMPLES = 12 * 512 + 511
"""Silence is durable but for the pre-roll of the utterance that may begin (384 ms) and a frame that is not whole."""


@dataclass(frozen=True, slots=True)
class Plan:
    meetings: list[dict[str, str]]
    """What `new_meeting --json` says of each; the people are shared out among them."""
    streams: int
    speaking: int
    seconds: float
    spread_s: float = FRAME_SAMPLES / SAMPLE_RATE_HZ
    """The microphones do not send at the same moment, but evenly over this time."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What a microphone hears: a sound over and over, from some place in it on."""

    sound: sounds.Sound
    begin: int

    def piece(self, first: int, last: int) -> sounds.Sound:
        return np.take(self.sound, np.arange(self.begin + first, self.begin + last), mode="wrap")


@dataclass(slots=True)
class Microphone:
    """What became of one stream."""

    stream: str
    speaks: bool
    sent_samples: int = 0
    closed_sample: int = 0
    """Up to where the server says it is durable, at the end."""
    connections: int = 0
    captions: int = 0
    ack_ms: list[float] = field(default_factory=list)
    """From sending a message to the ack of what it settles, of silent microphones."""


@dataclass(slots=True)
class Outcome:
    microphones: list[Microphone]

    @property
    def silent(self) -> list[Microphone]:
        return [m for m in self.microphones if not m.speaks]

    @property
    def ack_ms(self) -> list[float]:
        return [ms for microphone in self.silent for ms in microphone.ack_ms]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database of a site holds for good."""

    ends: dict[str, int]
    """Durable position by stream."""
    gap_samples: dict[str, int]
    """Of the streams that have gaps."""
    words: int
    """In all captions."""

    def lost_samples(self, outcome: Outcome) -> int:
        """What was sent and is not durable, or is a gap."""
        return sum(
            max(0, m.sent_samples - self.ends.get(m.stream, 0)) + self.gap_samples.get(m.stream, 0)
            for m in outcome.microphones
        )


def stored(site: Site) -> Stored:
    code = "\n".join(
        [
            "import collections, json",
            "from meetings.models import AudioStream, Utterance",
            "ends = {str(pk): end for pk, end in AudioStream.objects.values_list('pk', 'next_sample')}",
            "gaps = collections.Counter()",
            "for gap in Utterance.objects.filter(kind='gap'):",
            "    gaps[str(gap.stream_id)] += gap.last_sample - gap.first_sample",
            "words = sum(len(u.text.split()) for u in Utterance.objects.filter(kind='words'))",
            "print(json.dumps([ends, gaps, words]))",
        ]
    )
    return Stored(*json.loads(site.shell(code).strip().splitlines()[-1]))


class Load:
    """The process, from outside. `wait` gives its Outcome."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.load"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(plan)))
        self._process.stdin.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_all_are_open(self) -> None:
        """Returns when every microphone is open and the first samples are sent."""
        self._line()

    def wait(self) -> Outcome:
        found = json.loads(self._line())
        self._process.wait(WITHIN_S)
        return Outcome([Microphone(**values) for values in found["microphones"]])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load ended with {self._process.wait(WITHIN_S)}; its last words are above")
        return line


async def run(plan: Plan) -> Outcome:
    """Open everything, play, close everything."""
    length = int(plan.seconds * SAMPLE_RATE_HZ)
    rooms = [sounds.room(20, ROOM_DBFS[n % len(ROOM_DBFS)], n + 1) for n in range(ROOMS)]
    sources = [_source_of(n, plan, rooms) for n in range(plan.streams)]
    clients = [_client(n, plan) for n in range(plan.streams)]
    try:
        for client in clients:
            await client.connect()
        streams = [await client.open_stream(language="en", label="load") for client in clients]
        print("open", flush=True)
        delay_s = plan.spread_s / plan.streams
        plays = [_play(streams[n], sources[n], length, n * delay_s) for n in range(plan.streams)]
        sent = await asyncio.gather(*plays)
        closed = await asyncio.gather(*(stream.close(WITHIN_S) for stream in streams))
        microphones = [
            _report(clients[n], streams[n], n < plan.speaking, sent[n], closed[n]["next_sample"])
            for n in range(plan.streams)
        ]
    finally:
        await asyncio.gather(*(client.aclose() for client in clients))
    return Outcome(microphones)


def _client(number: int, plan: Plan) -> LiveClient:
    # Those who speak come first, so that they are in meetings of their own as far as there are any.
    meeting = plan.meetings[number % len(plan.meetings)]
    consent = Consent(transcribe=True, voice_id=number < plan.speaking)
    return LiveClient(meeting["ws_url"], token=meeting["join_token"], name=f"Person {number}", consent=consent)


def _source_of(number: int, plan: Plan, rooms: list[sounds.Sound]) -> Source:
    if number < plan.speaking:
        return Source(sounds.dialogue(), number * 20 * SAMPLE_RATE_HZ)
    return Source(rooms[number % len(rooms)], number * 7_919)


async def _play(stream: LiveStream, source: Source, length: int, delay_s: float) -> list[tuple[int, float]]:
    """As a microphone does; where each message ended and when it was sent."""
    sent = []
    loop = asyncio.get_running_loop()
    start = loop.time() + delay_s
    for first in range(0, length, FRAME_SAMPLES):
        last = min(first + FRAME_SAMPLES, length)
        await asyncio.sleep(start + last / SAMPLE_RATE_HZ - loop.time())
        await stream.write(source.piece(first, last))
        sent.append((last, time.time()))
    return sent


def _report(
    client: LiveClient, stream: LiveStream, speaks: bool, sent: list[tuple[int, float]], closed_sample: int
) -> Microphone:
    events = list(client.events_kept)
    acks = [(e["next_sample"], e.received_at) for e in events if e.type == "audio.ack" and e["stream"] == stream.id]
    return Microphone(
        stream=stream.id,
        speaks=speaks,
        sent_samples=stream.written_samples,
        closed_sample=closed_sample,
        connections=client.connections,
        captions=sum(e.type == "caption.final" and e["stream"] == stream.id for e in events),
        ack_ms=[] if speaks else ack_times_ms(sent, acks),
    )


def ack_times_ms(sent: list[tuple[int, float]], acks: list[tuple[int, float]]) -> list[float]:
    """For each message (its end, when it was sent) how long until the ack of what it settled."""
    positions = [position for position, _ in acks]  # acks never go back
    times = []
    for last, at in sent:
        settled = last - SETTLED_AFTER_SAMPLES
        index = bisect.bisect_left(positions, settled)
        if settled > 0 and index < len(acks):
            times.append(round(max(0.0, acks[index][1] - at) * 1000, 1))
    return times


def main() -> None:
    plan: dict[str, Any] = json.load(sys.stdin)
    outcome = asyncio.run(run(Plan(**plan)))
    print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main()
